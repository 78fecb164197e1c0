package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/gate"
	"greengate/pass/statuslist"
)

// run is one run of a client.
type run struct {
	*Client
	*workflow
	report Report
	// reference is the time that the run takes for now.
	reference time.Time
	quality   gate.ClockQuality
	issued    time.Time
	held      map[string]statuslist.Info
	wants     []string
	// stored targets from before this run, to see rotated keys; nil for none.
	before *metadata.Metadata[metadata.TargetsType]
	// current are the lists that are held as the authority describes them.
	current []string
	// fresh are those among them that this run brought in.
	fresh []string

	// queue holds what the next transaction does, in order; at most one list's
	// bytes are in it.
	queue []op
}

// op is a part of a transaction.
type op struct {
	// role that it belongs to, empty for what is common to all.
	role string
	// what it installs, for the report; empty for metadata.
	what string
	// heavy: it holds a list or all keys.
	heavy bool
	do    func(Tx) error
}

// Once brings the store up to date. The error joins everything that failed;
// the report says what went well all the same. Whatever failed, what is held
// goes on answering, and the next run starts anew.
func (c *Client) Once(ctx context.Context) (Report, error) {
	c.running.Lock()
	defer c.running.Unlock()

	now, quality := c.config.Clock.Now()
	r := &run{Client: c, quality: quality, held: map[string]statuslist.Info{}}
	err := r.do(ctx, now)
	if r.workflow != nil {
		r.report.Fetched = c.config.Limits.Run - r.left
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errStopped, err)
	} else {
		err = r.report.err()
	}
	c.complete = err == nil

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, uri := range r.wants {
		// One that failed is asked for again by whoever stands at the gate.
		delete(c.wanted, uri)
	}
	previous := c.status.LastError
	c.status.LastTry, c.status.LastError, c.status.Report = now, err, r.report
	switch {
	case err == nil:
		c.status.LastOK = now
		if previous != nil {
			c.config.Log.Info("lists are up to date again", "timestamp", r.report.Timestamp)
		}
	case previous == nil || previous.Error() != err.Error():
		// A fault that lasts is logged once, not every minute.
		c.config.Log.Warn("lists not all up to date", "error", err)
	}
	if len(r.report.Installed) > 0 {
		c.config.Log.Info("installed", "what", r.report.Installed, "timestamp", r.report.Timestamp)
	}
	return r.report, err
}

// do is the run; an error ends it before the roles.
func (r *run) do(ctx context.Context, now time.Time) error {
	store := r.config.Store
	r.mu.Lock()
	for uri := range r.wanted {
		r.wants = append(r.wants, uri)
	}
	r.mu.Unlock()
	slices.Sort(r.wants)

	storedTime := r.setReference(now)
	root, err := r.root()
	if err != nil {
		return err
	}
	r.workflow = root

	storedTimestamp := store.Metadata(metadata.TIMESTAMP)
	fetched, err := r.fetch(ctx, timestampFile, r.config.Limits.Timestamp)
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	// Nothing is accepted on this path, so the chain of roots may wait.
	if r.complete && len(r.wants) == 0 && bytes.Equal(fetched, storedTimestamp) &&
		now.Sub(r.rootsAt) < rootsEvery && !now.Before(r.rootsAt) {
		return r.unchanged(fetched)
	}

	version := r.trusted.Root.Signed.Version
	err = r.roots(ctx, func(raw []byte, forget bool) error {
		err := r.install(func(tx Tx) error {
			if forget {
				for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT} {
					if err := tx.SetMetadata(role, nil); err != nil {
						return err
					}
				}
			}
			return tx.SetMetadata(metadata.ROOT, raw)
		})
		if err == nil {
			r.report.Installed = append(r.report.Installed, "root")
		}
		return err
	})
	if err != nil {
		return err
	}
	r.rootsAt = now
	if r.trusted.Root.Signed.Version != version {
		// The timestamp may have been signed anew together with the root.
		storedTimestamp = store.Metadata(metadata.TIMESTAMP)
		if fetched, err = r.fetch(ctx, timestampFile, r.config.Limits.Timestamp); err != nil {
			return fmt.Errorf("timestamp: %w", err)
		}
	}

	newer, err := r.timestamp(storedTimestamp, fetched)
	if err != nil {
		return err
	}
	r.issued, err = issued(r.trusted.Timestamp)
	if err != nil {
		return err
	}
	r.report.Timestamp, r.report.Issued = r.trusted.Timestamp.Signed.Version, r.issued
	if len(storedTimestamp) > 0 && r.issued.Before(storedTime) {
		return fmt.Errorf("timestamp %d: %w: issued %s after %s", r.report.Timestamp, ErrRollback, day(r.issued), day(storedTime))
	}
	if r.quality == gate.ClockUnset && r.issued.After(r.reference) {
		// No clock says more than the signed time itself.
		r.reference = r.issued
		r.trusted.RefTime, r.report.Reference = r.reference, r.reference
	}
	if err := r.snapshot(ctx, store.Metadata(metadata.SNAPSHOT)); err != nil {
		return err
	}
	storedTargets := store.Metadata(metadata.TARGETS)
	r.before = parseTargets(storedTargets)
	targets, err := r.targets(ctx, metadata.TARGETS, metadata.ROOT, storedTargets)
	if err != nil {
		return err
	}
	for _, info := range store.Lists() {
		r.held[info.URI] = info
	}
	return r.deliver(ctx, targets, newer)
}

// setReference fixes the time that the run takes for now, and returns the
// signed time of the stored timestamp, zero for none.
func (r *run) setReference(now time.Time) (stored time.Time) {
	if raw := r.config.Store.Metadata(metadata.TIMESTAMP); len(raw) > 0 {
		// A damaged one is no reference; the run replaces it.
		_ = protect(func() error {
			md, err := metadata.Timestamp().FromBytes(raw)
			if err != nil {
				return err
			}
			stored, err = issued(md)
			return err
		})
	}
	floor := r.config.Clock.FloorTime()
	r.reference = now.UTC()
	if r.quality == gate.ClockUnset || floor.After(r.reference) {
		r.reference = floor.UTC()
	}
	r.report.Reference = r.reference
	return stored
}

// root starts the workflow from the newer of the stored and the pinned root.
// A stored root that is damaged does not keep the gate from its lists.
func (r *run) root() (*workflow, error) {
	c := r.config
	pinned, err := newWorkflow(c.Fetcher, c.Limits, c.Root, r.reference)
	if err != nil {
		return nil, err
	}
	raw := c.Store.Metadata(metadata.ROOT)
	if len(raw) == 0 {
		return pinned, nil
	}
	stored, err := newWorkflow(c.Fetcher, c.Limits, raw, r.reference)
	if err != nil {
		c.Log.Warn("stored root is damaged, starting from the pinned one", "error", err)
		return pinned, nil
	}
	if stored.trusted.Root.Signed.Version < pinned.trusted.Root.Signed.Version {
		return pinned, nil
	}
	return stored, nil
}

// unchanged ends a run whose timestamp is the stored one; it may have expired
// since.
func (r *run) unchanged(raw []byte) error {
	md, err := metadata.Timestamp().FromBytes(raw)
	if err != nil {
		return refused("timestamp", err, ErrVersion)
	}
	at, err := issued(md)
	if err != nil {
		return err
	}
	r.issued, r.report.Timestamp, r.report.Issued = at, md.Signed.Version, at
	if md.Signed.IsExpired(r.reference) {
		return fmt.Errorf("timestamp %d: %w on %s", md.Signed.Version, ErrExpired, day(md.Signed.Expires))
	}
	r.report.Unchanged = true
	if r.raise() {
		// A leap that waited is believed now.
		return r.install(func(tx Tx) error { return tx.RaiseFloor(at) })
	}
	return nil
}

func parseTargets(raw []byte) (md *metadata.Metadata[metadata.TargetsType]) {
	if len(raw) == 0 {
		return nil
	}
	err := protect(func() (err error) {
		md, err = metadata.Targets().FromBytes(raw)
		return err
	})
	if err != nil {
		return nil
	}
	return md
}

// deliver brings each role's targets in. A role or a list that fails is
// reported and does not stop the others; only the store's refusal does.
func (r *run) deliver(ctx context.Context, targets *metadata.Metadata[metadata.TargetsType], newer bool) error {
	roles := []string{keysRole, policyRole}
	roles = append(roles, r.statusRoles()...)
	// While the keys of a role have changed and its lists are not all in, the
	// old targets stay stored: they are how the next run knows that lower
	// sequences are to be taken from the new keys.
	var rotated []string
	for _, role := range roles {
		if r.rotated(targets, role) {
			rotated = append(rotated, role)
		}
	}
	if len(rotated) == 0 {
		if err := r.top(newer); err != nil {
			return err
		}
	}
	for _, role := range roles {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if delegation(targets, role) == nil {
			r.fail(role, role, fmt.Errorf("%w: targets do not name it", ErrNotFound))
			continue
		}
		stored := r.config.Store.Metadata(role)
		md, err := r.targets(ctx, role, metadata.TARGETS, stored)
		if err != nil {
			r.fail(role, role, err)
			continue
		}
		switch role {
		case keysRole:
			err = r.keys(ctx, targets, md, stored)
		case policyRole:
			err = r.policy(ctx, targets, md, stored)
		default:
			err = r.lists(ctx, targets, role, md, stored)
		}
		if errors.Is(err, ErrStore) {
			return err
		}
		if err != nil {
			r.fail(role, role, err)
		}
	}
	if len(rotated) > 0 {
		// What failed to be stored shows only now.
		if err := r.flush(); err != nil {
			return err
		}
		if !r.failedAny(rotated...) {
			if err := r.top(newer); err != nil {
				return err
			}
		}
	}
	if len(r.fresh) > 0 || newer && len(r.current) > 0 {
		// What is confirmed is read at the commit: a list that the store
		// refuses is taken out before.
		err := r.enqueue(op{do: func(tx Tx) error {
			confirmed := r.fresh
			if newer {
				confirmed = r.current
			}
			return tx.Confirm(confirmed, r.issued)
		}})
		if err != nil {
			return err
		}
	}
	return r.flush()
}

func (r *run) fail(role, what string, err error) {
	r.report.Failures = append(r.report.Failures, Failure{role, what, err})
}

// failedAny says whether any of the roles, or a list of theirs, failed.
func (r *run) failedAny(roles ...string) bool {
	return slices.ContainsFunc(r.report.Failures, func(f Failure) bool { return slices.Contains(roles, f.Role) })
}

// rotated says whether the role's keys are others than when its lists were
// last brought in.
func (r *run) rotated(targets *metadata.Metadata[metadata.TargetsType], role string) bool {
	old, now := delegation(r.before, role), delegation(targets, role)
	return old != nil && now != nil && !sameKeys(old.KeyIDs, now.KeyIDs)
}

// top queues timestamp, snapshot and targets, which describe each other, and
// the floor.
func (r *run) top(newer bool) error {
	store := r.config.Store
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		raw := r.raw[role]
		if bytes.Equal(raw, store.Metadata(role)) {
			continue
		}
		if err := r.enqueue(op{do: func(tx Tx) error { return tx.SetMetadata(role, raw) }}); err != nil {
			return err
		}
	}
	if r.raise() || newer && !r.report.Leap {
		return r.enqueue(op{do: func(tx Tx) error { return tx.RaiseFloor(r.issued) }})
	}
	return nil
}

// raise tells the clock the signed time, and says whether its floor moved.
// The clock decides whether it believes a leap.
func (r *run) raise() bool {
	before := r.config.Clock.FloorTime()
	r.config.Clock.Floor(r.issued)
	after := r.config.Clock.FloorTime()
	r.report.Leap = after.Before(r.issued)
	return after.After(before)
}

// install runs f in one transaction.
func (r *run) install(f func(Tx) error) error {
	if err := r.config.Store.Install(f); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return nil
}

// enqueue adds to the next transaction. What is large already in the queue is
// stored before something large is added, so that memory holds one list at a
// time; a recolour of one list is one transaction with all its metadata.
func (r *run) enqueue(o op) error {
	if o.heavy && slices.ContainsFunc(r.queue, func(o op) bool { return o.heavy }) {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.queue = append(r.queue, o)
	return nil
}

// flush stores what is queued in one transaction. When the store refuses it
// with something large inside, that may be what it has no room for: the rest
// is stored without it, and without the metadata that describes it.
func (r *run) flush() error {
	queue := r.queue
	r.queue = nil
	err := r.commit(queue)
	if err == nil {
		return nil
	}
	i := slices.IndexFunc(queue, func(o op) bool { return o.heavy })
	if i < 0 {
		return err
	}
	large := queue[i]
	gone := func(uri string) bool { return uri == large.what }
	r.current, r.fresh = slices.DeleteFunc(r.current, gone), slices.DeleteFunc(r.fresh, gone)
	rest := slices.DeleteFunc(queue, func(o op) bool {
		return o.heavy || o.role == large.role && o.what == ""
	})
	if again := r.commit(rest); again != nil {
		return again
	}
	r.fail(large.role, large.what, err)
	return nil
}

func (r *run) commit(queue []op) error {
	if len(queue) == 0 {
		return nil
	}
	err := r.install(func(tx Tx) error {
		for _, o := range queue {
			if err := o.do(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range queue {
		if o.what != "" {
			r.report.Installed = append(r.report.Installed, o.what)
		}
	}
	return nil
}
