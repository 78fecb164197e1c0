package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/gate"
	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

// run is one run of a client.
type run struct {
	*Client
	*workflow
	// fetcher reads the repository; the client's own, or what is imported.
	fetcher Fetcher
	// imported: this says nothing of what the server has.
	imported bool
	report   Report
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
	// fetched are the lists whose files this run fetched.
	fetched []statuslist.Info

	foreign foreignHashes

	// queue holds what the next transaction does, in order.
	queue []op
}

// op is a part of a transaction.
type op struct {
	// role that it belongs to, empty for what is common to all.
	role string
	// what it installs, for the report; empty for metadata.
	what string
	// bytes that it holds of a list or the keys, 0 for anything else, and by how
	// many the lists in the store grow.
	bytes, grows int64
	do           func(Tx) error
}

// Once brings the store up to date. The error joins everything that failed;
// the report says what went well all the same. Whatever failed, what is held
// goes on answering, and the next run starts anew.
func (c *Client) Once(ctx context.Context) (Report, error) {
	c.running.Lock()
	defer c.running.Unlock()
	ctx, yield := context.WithCancelCause(ctx)
	defer yield(nil)
	c.mu.Lock()
	c.yield = yield
	if c.imports > 0 {
		yield(errYield)
	}
	c.mu.Unlock()
	return c.run(ctx, &run{fetcher: c.config.Fetcher})
}

// errYield ends a run for an import.
var errYield = errors.New("something is imported")

// Import brings in what another fetcher has: a stick, or a bundle that came over
// a line. Everything is verified and stored as if the server had sent it. A run
// from the server that is on its way is cut short, as it may be waiting for a
// server that does not answer, which is why there is a stick; the next one
// begins right after. What is not there is a failure in the report and the
// error, but not in [Client.Status], which tells of the server.
func (c *Client) Import(ctx context.Context, f Fetcher) (Report, error) {
	c.mu.Lock()
	c.imports++
	if c.yield != nil {
		c.yield(errYield)
	}
	c.mu.Unlock()
	c.running.Lock()
	defer c.running.Unlock()
	c.mu.Lock()
	c.imports--
	c.mu.Unlock()
	report, err := c.run(ctx, &run{fetcher: f, imported: true})
	c.Kick()
	return report, err
}

// resting returns why the list failed before, while it is too soon to fetch it
// once more. A technician with a stick is not kept waiting.
func (r *run) resting(info statuslist.Info) error {
	if r.imported {
		return nil
	}
	return r.Client.resting(info)
}

// run does one run and remembers how it went. The caller holds running.
func (c *Client) run(ctx context.Context, r *run) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, longestRun)
	defer cancel()
	now, quality := c.config.Clock.Now()
	r.Client, r.quality, r.held = c, quality, map[string]statuslist.Info{}
	err := r.do(ctx, now)
	if r.workflow != nil {
		r.report.Fetched = r.came
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errStopped, err)
	} else {
		if raw := r.raw[metadata.TIMESTAMP]; raw != nil {
			c.latest = raw
		}
		if !r.report.Unchanged {
			c.current, c.currentHashes = r.current, r.foreign.current
		}
		err = r.report.err()
	}
	// After an import that failed too, the next run looks at everything.
	c.complete = err == nil
	r.noteFailed()
	r.noteFailedHashes()
	yielded := errors.Is(context.Cause(ctx), errYield)

	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.absent, func(_ string, at time.Time) bool { return time.Since(at) >= c.config.Every })
	for _, uri := range r.wants {
		came := slices.Contains(r.current, uri)
		if !came && (r.imported || yielded) {
			continue // the server may have it
		}
		// One that failed is asked for again by whoever stands at the gate.
		delete(c.wanted, uri)
		if !came {
			c.absent[uri] = time.Now()
		}
	}
	if r.imported {
		c.config.Log.Info("imported", "what", r.report.Installed, "timestamp", r.report.Timestamp, "error", err)
		return r.report, err
	}
	if yielded {
		return r.report, err
	}
	previous := c.status.LastError
	c.status.LastTry, c.status.LastError, c.status.Report = now, err, r.report
	c.status.Totals.add(r.report, err)
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

	r.setReference(now)
	var err error
	if r.workflow, err = r.root(); err != nil {
		return err
	}
	newest := r.latest
	if newest == nil {
		newest = store.Metadata(metadata.TIMESTAMP)
	}
	fetched, err := r.fetch(ctx, timestampFile, r.config.Limits.Timestamp)
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	// No list is accepted on this path, so the chain of roots may wait.
	if !r.imported && r.complete && len(r.wants) == 0 && r.hashesHeld() && now.Sub(r.rootsAt) < rootsEvery && !now.Before(r.rootsAt) {
		if done, err := r.quiet(newest, fetched); done {
			return err
		}
		left, came := r.left, r.came
		if r.workflow, err = r.root(); err != nil {
			return err
		}
		r.left, r.came = left, came
	}

	version := r.trusted.Root.Signed.Version
	err = r.roots(ctx, func(raw []byte, forget bool) error {
		err := r.install(func(tx Tx) error {
			if forget {
				r.latest = nil
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
	if !r.imported {
		r.rootsAt = now
	}
	if r.trusted.Root.Signed.Version != version {
		// The timestamp may have been signed anew together with the root.
		if r.latest == nil {
			newest = store.Metadata(metadata.TIMESTAMP)
		}
		if fetched, err = r.fetch(ctx, timestampFile, r.config.Limits.Timestamp); err != nil {
			return fmt.Errorf("timestamp: %w", err)
		}
	}

	if _, err := r.timestamp(newest, fetched); err != nil {
		return err
	}
	if err := r.setIssued(newest); err != nil {
		return err
	}
	newer := !bytes.Equal(r.raw[metadata.TIMESTAMP], store.Metadata(metadata.TIMESTAMP))
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
	r.foreign.held = map[hashlist.ID]hashlist.Info{}
	for _, info := range store.HashLists() {
		r.foreign.held[info.ID] = info
	}
	return r.deliver(ctx, targets, newer)
}

// setReference fixes the time that the run takes for now.
func (r *run) setReference(now time.Time) {
	floor := r.config.Clock.FloorTime()
	r.reference = now.UTC()
	if r.quality == gate.ClockUnset || floor.After(r.reference) {
		r.reference = floor.UTC()
	}
	r.report.Reference = r.reference
}

// setIssued takes the signed time of the timestamp that was verified, which
// does not go back.
func (r *run) setIssued(newest []byte) error {
	at, err := issued(r.trusted.Timestamp)
	if err != nil {
		return err
	}
	version := r.trusted.Timestamp.Signed.Version
	if before := issuedOf(newest); at.Before(before) {
		return fmt.Errorf("timestamp %d: %w: issued %s after %s", version, ErrRollback, day(at), day(before))
	}
	// Whoever stole the key must not drive the floor up, step by step: then
	// everything honest would have expired.
	synchronised := r.quality == gate.ClockNetwork || r.quality == gate.ClockConfirmed
	if synchronised && at.After(r.reference.Add(maxAhead)) {
		return fmt.Errorf("timestamp %d: %w: issued %s, it is %s", version, ErrFuture, day(at), day(r.reference))
	}
	r.issued, r.report.Timestamp, r.report.Issued = at, version, at
	if r.quality == gate.ClockUnset && at.After(r.reference) {
		// No clock says more than the signed time itself.
		r.reference = at
		r.trusted.RefTime, r.report.Reference = at, at
	}
	return nil
}

// issuedOf returns the signed time of a timestamp that was verified before,
// zero for none. A damaged one says nothing; the run replaces it.
func issuedOf(raw []byte) (at time.Time) {
	if len(raw) == 0 {
		return at
	}
	err := protect(func() error {
		md, err := metadata.Timestamp().FromBytes(raw)
		if err != nil {
			return err
		}
		at, err = issued(md)
		return err
	})
	if err != nil {
		return time.Time{}
	}
	return at
}

// root starts the workflow from the newer of the stored and the pinned root.
// A stored root that is damaged does not keep the gate from its lists.
func (r *run) root() (*workflow, error) {
	c := r.config
	pinned, err := newWorkflow(r.fetcher, c.Limits, c.Root, r.reference)
	if err != nil {
		return nil, err
	}
	raw := c.Store.Metadata(metadata.ROOT)
	if len(raw) == 0 {
		return pinned, nil
	}
	stored, err := newWorkflow(r.fetcher, c.Limits, raw, r.reference)
	if err != nil {
		c.Log.Warn("stored root is damaged, starting from the pinned one", "error", err)
		return pinned, nil
	}
	if stored.trusted.Root.Signed.Version < pinned.trusted.Root.Signed.Version {
		return pinned, nil
	}
	return stored, nil
}

// quiet ends a run in which nothing changed but the signed time, if that: the
// timestamp names the snapshot that is held with all it leads to. The disk is
// written only now and then, so that a card is not worn by the hub's saying
// every minute that all is well; the newest timestamp is kept in memory.
// Anything else, an error too, is for the whole workflow.
func (r *run) quiet(newest, fetched []byte) (done bool, err error) {
	if r.trusted.Root.Signed.IsExpired(r.reference) {
		return false, nil
	}
	if newer, err := r.timestamp(newest, fetched); err != nil || !newer && !bytes.Equal(newest, fetched) {
		return false, nil
	}
	same := false
	err = protect(func() error {
		old, err := metadata.Timestamp().FromBytes(newest)
		if err != nil {
			return err
		}
		a, b := old.Signed.Meta["snapshot.json"], r.trusted.Timestamp.Signed.Meta["snapshot.json"]
		same = a.Version == b.Version && a.Length == b.Length && maps.EqualFunc(a.Hashes, b.Hashes,
			func(x, y metadata.HexBytes) bool { return bytes.Equal(x, y) })
		return nil
	})
	if err != nil || !same || r.setIssued(newest) != nil {
		return false, nil
	}
	r.report.Unchanged = true
	raised := r.raise()
	disk := issuedOf(r.config.Store.Metadata(metadata.TIMESTAMP))
	if r.issued.Sub(disk) < r.writeEvery() {
		return true, nil
	}
	return true, r.install(func(tx Tx) error {
		if err := tx.SetMetadata(metadata.TIMESTAMP, fetched); err != nil {
			return err
		}
		if raised || !r.report.Leap {
			if err := tx.RaiseFloor(r.issued); err != nil {
				return err
			}
		}
		if err := tx.ConfirmHashes(r.currentHashes, r.issued); err != nil {
			return err
		}
		return tx.Confirm(r.Client.current, r.issued)
	})
}

// writeEvery is how far the confirmation on disk may be behind the newest: a
// fraction of the time after which lists count as stale.
func (r *run) writeEvery() time.Duration {
	if d := r.config.Store.Policy().StaleAfter.Duration() / 4; d > 0 {
		return min(d, writeEvery)
	}
	return writeEvery
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
	roles := []string{keysRole, policyRole, mapRole}
	roles = append(roles, r.statusRoles()...)
	if err := r.forgetHashes(); err != nil {
		return err
	}
	if len(r.config.Foreign) > 0 {
		roles = append(roles, revocationRole)
	}
	// While the keys of a role have changed and its lists are not all in, the
	// old targets stay stored: they are how the next run knows that lower
	// sequences are to be taken from the new keys.
	var rotated []string
	for _, role := range roles {
		if r.rotated(targets, role) {
			rotated = append(rotated, role)
		}
	}
	if err := r.top(newer, len(rotated) == 0); err != nil {
		return err
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
		case revocationRole:
			err = r.hashes(ctx, targets, md, stored)
		case mapRole:
			err = r.riskMap(ctx, targets, md, stored)
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
			if err := r.keep(metadata.TARGETS); err != nil {
				return err
			}
		}
	}
	if err := r.confirmHashes(newer); err != nil {
		return err
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

// resting returns why the list failed before, while it is too soon to fetch the
// same once more: a list that there is no room for would else come over the
// line with every poll.
func (c *Client) resting(info statuslist.Info) error {
	f, ok := c.failed[info.URI]
	if !ok || !sameInfo(f.info, info) || time.Since(f.at) >= f.wait(c.config.Every) {
		return nil
	}
	return f.err
}

// wait is the time until the list is fetched again: the first failure is tried
// again at the next poll, and each one after it waits twice as long.
func (f failedList) wait(every time.Duration) time.Duration {
	if f.times < 2 {
		return 0
	}
	wait := every
	for range f.times - 1 {
		wait = min(2*wait, longestWait)
	}
	return max(wait, every)
}

// noteFailed remembers the lists that were fetched for nothing.
func (r *run) noteFailed() {
	for _, info := range r.fetched {
		i := slices.IndexFunc(r.report.Failures, func(f Failure) bool { return f.What == info.URI })
		if i < 0 {
			delete(r.failed, info.URI)
			continue
		}
		f := r.failed[info.URI]
		if !sameInfo(f.info, info) {
			f = failedList{info: info}
		}
		f.err, f.times, f.at = r.report.Failures[i].Err, f.times+1, time.Now()
		r.failed[info.URI] = f
	}
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
// the floor. The time and what guards against a rollback do not wait for a list
// of a rotated role that may never come; only targets do.
func (r *run) top(newer, targets bool) error {
	roles := []string{metadata.TIMESTAMP, metadata.SNAPSHOT}
	if targets {
		roles = append(roles, metadata.TARGETS)
	}
	if err := r.keep(roles...); err != nil {
		return err
	}
	if r.raise() || newer && !r.report.Leap {
		return r.enqueue(op{do: func(tx Tx) error { return tx.RaiseFloor(r.issued) }})
	}
	return nil
}

// keep queues the metadata of top-level roles where it is not what is stored.
func (r *run) keep(roles ...string) error {
	for _, role := range roles {
		raw := r.raw[role]
		if bytes.Equal(raw, r.config.Store.Metadata(role)) {
			continue
		}
		if err := r.enqueue(op{do: func(tx Tx) error { return tx.SetMetadata(role, raw) }}); err != nil {
			return err
		}
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

// enqueue adds to the next transaction, and stores what is queued before it
// would grow beyond Limits.Batch. A recolour of a few lists is one transaction
// with all its metadata.
func (r *run) enqueue(o op) error {
	queued := o.bytes
	for _, q := range r.queue {
		queued += q.bytes
	}
	if o.bytes > 0 && queued > o.bytes && queued > r.config.Limits.Batch {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.queue = append(r.queue, o)
	return nil
}

// flush stores what is queued in one transaction. When the store refuses it,
// the lists in it are stored one by one, so that the one it has no room for
// does not keep the others out.
func (r *run) flush() error {
	queue := r.queue
	r.queue = nil
	err := r.commit(queue)
	if err == nil {
		return nil
	}
	var parts [][]op
	large := 0
	for _, o := range queue {
		if o.bytes > 0 {
			large++
		}
		if len(parts) == 0 || o.bytes > 0 && large > 1 {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], o)
	}
	if large < 2 {
		return r.without(queue, err)
	}
	for _, part := range parts {
		// The metadata that describes a list that failed waits with it.
		part = slices.DeleteFunc(part, func(o op) bool { return o.role != "" && o.what == "" && r.failedAny(o.role) })
		if err := r.commit(part); err != nil {
			if err := r.without(part, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// without stores what the store refused without the large thing in it, if there
// is one, which may be what it has no room for, and without the metadata that
// describes it.
func (r *run) without(queue []op, err error) error {
	i := slices.IndexFunc(queue, func(o op) bool { return o.bytes > 0 })
	if i < 0 {
		return err
	}
	large := queue[i]
	gone := func(uri string) bool { return uri == large.what }
	r.current, r.fresh = slices.DeleteFunc(r.current, gone), slices.DeleteFunc(r.fresh, gone)
	rest := slices.DeleteFunc(queue, func(o op) bool {
		return o.bytes > 0 || o.role == large.role && o.what == ""
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
