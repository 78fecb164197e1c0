package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/statuslist"
)

// described is a role's metadata.
type described = *metadata.Metadata[metadata.TargetsType]

// may says whether the path is the role's own, and targets lets it deliver it.
func may(targets described, role, path string) error {
	d := delegation(targets, role)
	if d != nil && owns(role, path) {
		if ok, err := d.IsDelegatedPath(path); err == nil && ok {
			return nil
		}
	}
	return fmt.Errorf("target %s: %w: %s", path, ErrDelegation, role)
}

// parsed fetches a target and reads it; nothing is fetched when the stored
// metadata, which came with what it describes, has the same target.
func parsed[T any](ctx context.Context, r *run, targets described, role, path string, md, stored described,
	limit int64, parse func([]byte) (T, error)) (value T, raw []byte, err error) {
	t := md.Signed.Targets[path]
	if t == nil || stored != nil && sameTarget(stored.Signed.Targets[path], t) {
		return value, nil, nil
	}
	if err := may(targets, role, path); err != nil {
		return value, nil, err
	}
	if raw, err = r.target(ctx, path, t, limit); err != nil {
		return value, nil, err
	}
	if value, err = parse(raw); err != nil {
		return value, nil, fmt.Errorf("target %s: %w: %w", path, ErrMalformed, err)
	}
	return value, raw, nil
}

// keys brings the key list in.
func (r *run) keys(ctx context.Context, targets, md described, stored []byte) error {
	raw := r.raw[keysRole]
	if bytes.Equal(raw, stored) {
		return nil
	}
	keys, data, err := parsed(ctx, r, targets, keysRole, keysPath, md, parseTargets(stored), r.config.Limits.Keys, pass.ParseKeySet)
	if err != nil {
		return err
	}
	if data != nil {
		version := uint64(md.Signed.Version)
		err := r.enqueue(op{role: keysRole, what: "keys", bytes: int64(len(data)), do: func(tx Tx) error {
			return tx.SetKeys(version, keys, data)
		}})
		if err != nil {
			return err
		}
	}
	return r.enqueue(op{role: keysRole, do: func(tx Tx) error { return tx.SetMetadata(keysRole, raw) }})
}

// policy brings the policy in.
func (r *run) policy(ctx context.Context, targets, md described, stored []byte) error {
	raw := r.raw[policyRole]
	if bytes.Equal(raw, stored) {
		return nil
	}
	policy, data, err := parsed(ctx, r, targets, policyRole, policyPath, md, parseTargets(stored), gate.MaxPolicy, gate.ParsePolicy)
	if err != nil {
		return err
	}
	if data != nil {
		err := r.enqueue(op{role: policyRole, what: "policy", do: func(tx Tx) error { return tx.SetPolicy(policy, data) }})
		if err != nil {
			return err
		}
	}
	return r.enqueue(op{role: policyRole, do: func(tx Tx) error { return tx.SetMetadata(policyRole, raw) }})
}

// riskMap brings the map in.
func (r *run) riskMap(ctx context.Context, targets, md described, stored []byte) error {
	raw := r.raw[mapRole]
	if bytes.Equal(raw, stored) {
		return nil
	}
	riskMap, data, err := parsed(ctx, r, targets, mapRole, mapPath, md, parseTargets(stored), gate.MaxRiskMap, gate.ParseRiskMap)
	if err != nil {
		return err
	}
	if data != nil {
		err := r.enqueue(op{role: mapRole, what: "map", do: func(tx Tx) error { return tx.SetMap(riskMap, data) }})
		if err != nil {
			return err
		}
	}
	return r.enqueue(op{role: mapRole, do: func(tx Tx) error { return tx.SetMetadata(mapRole, raw) }})
}

// statusRoles returns the status roles of the provinces whose lists are held,
// configured or wanted.
func (r *run) statusRoles() []string {
	provinces := map[string]bool{}
	for _, region := range r.config.Regions {
		provinces[region[:2]] = true
	}
	uris := slices.Concat(slices.Collect(maps.Keys(r.held)), r.wants)
	for _, uri := range uris {
		if _, region, err := pathOf(uri); err == nil {
			provinces[region[:2]] = true
		}
	}
	var roles []string
	for _, p := range slices.Sorted(maps.Keys(provinces)) {
		roles = append(roles, statusPrefix+p)
	}
	return roles
}

// lists brings in the lists of one province that this gate holds or wants.
// Each stands for itself; what fails is reported, only the store's refusal is
// returned.
func (r *run) lists(ctx context.Context, targets described, role string, md described, stored []byte) error {
	province := strings.TrimPrefix(role, statusPrefix)
	rotated := r.rotated(targets, role)

	asked := map[string]string{}
	for _, uri := range r.wants {
		if path, region, err := pathOf(uri); err == nil && region[:2] == province {
			asked[path] = uri
		}
	}
	had := map[string]string{}
	for uri := range r.held {
		if path, region, err := pathOf(uri); err == nil && region[:2] == province {
			had[path] = uri
		}
	}

	fail := func(what string, err error) { r.fail(role, what, err) }
	for _, path := range slices.Sorted(maps.Keys(md.Signed.Targets)) {
		region, ok := regionOf(path)
		if !ok {
			continue // a kind of target that a later gate knows
		}
		if !strings.HasPrefix(region, province) {
			fail(path, fmt.Errorf("%w: %s", ErrDelegation, role))
			continue
		}
		inRegion := slices.ContainsFunc(r.config.Regions, func(s string) bool { return overlap(s, region) })
		if _, held := r.held[had[path]]; !inRegion && asked[path] == "" && !held {
			continue
		}
		if err := may(targets, role, path); err != nil {
			fail(path, err)
			continue
		}
		t := md.Signed.Targets[path]
		d, err := describe(path, t)
		if err != nil {
			fail(path, err)
			continue
		}
		if held, ok := r.held[d.URI]; !ok || !sameInfo(held, d.Info) {
			if err := r.resting(d.Info); err != nil {
				fail(d.URI, err)
				continue
			}
		}
		if err := r.list(ctx, role, d, path, t, rotated); err != nil {
			if errors.Is(err, ErrStore) {
				return err
			}
			fail(d.URI, err)
			continue
		}
		if old := had[path]; old != "" && old != d.URI {
			if err := r.drop(role, old); err != nil {
				return err
			}
		}
	}
	for path, uri := range had {
		if md.Signed.Targets[path] == nil {
			if err := r.drop(role, uri); err != nil {
				return err
			}
		}
	}
	if raw := r.raw[role]; !r.failedAny(role) && !bytes.Equal(raw, stored) {
		err := r.enqueue(op{role: role, do: func(tx Tx) error { return tx.SetMetadata(role, raw) }})
		if err != nil {
			return err
		}
	}
	for path, uri := range asked {
		if md.Signed.Targets[path] == nil {
			fail(uri, fmt.Errorf("%w: the authority does not publish it", ErrNotFound))
		}
	}
	return nil
}

func (r *run) drop(role, uri string) error {
	r.report.Dropped = append(r.report.Dropped, uri)
	return r.enqueue(op{role: role, do: func(tx Tx) error { return tx.DropList(uri) }})
}

// describe reads the description of a list, which must be of the list that
// the path is for.
func describe(path string, t *metadata.TargetFiles) (d statuslist.Description, err error) {
	if t.Custom == nil {
		return d, fmt.Errorf("%w: list without a description", ErrMalformed)
	}
	if d, err = statuslist.ParseDescription(*t.Custom); err != nil {
		return d, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	own, _, err := pathOf(d.URI)
	if err != nil {
		return d, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if own != path {
		return d, fmt.Errorf("%w: %s describes list %s", ErrDelegation, path, d.URI)
	}
	return d, nil
}

// list brings one list in if it is not held as described: by a delta to what is
// held or whole, whichever is fewer bytes.
func (r *run) list(ctx context.Context, role string, d statuslist.Description, path string, t *metadata.TargetFiles, rotated bool) error {
	info := d.Info
	held, ok := r.held[info.URI]
	if ok && sameInfo(held, info) {
		r.current = append(r.current, info.URI)
		return nil
	}
	// After a rotation of the role's keys a lower sequence is the honest one:
	// a thief may have driven the number up.
	if ok && !rotated {
		switch {
		case info.Sequence < held.Sequence:
			return fmt.Errorf("%w: sequence %d, held is %d", ErrRollback, info.Sequence, held.Sequence)
		case info.Sequence == held.Sequence:
			return fmt.Errorf("%w: another list with the held sequence %d", ErrRollback, held.Sequence)
		case info.Issued.Before(held.Issued):
			return fmt.Errorf("%w: issued %s, held is of %s", ErrRollback, day(info.Issued), day(held.Issued))
		}
	}
	if r.reference.After(info.Expires) {
		return fmt.Errorf("%w on %s", ErrExpired, day(info.Expires))
	}
	if info.Issued.After(r.issued) {
		return fmt.Errorf("%w: issued %s, after the timestamp", ErrMalformed, day(info.Issued))
	}
	if ok && held.SHA256 == info.SHA256 && held.Bits == info.Bits && held.Size == info.Size {
		r.report.Renewed++
		return r.bring(role, info, 0, func(tx Tx) error { return tx.PutList(info, nil) })
	}
	if err := r.makeRoom(info); err != nil {
		return err
	}
	// What a thief of the role's old keys called a generation is no base for the
	// new ones' deltas.
	if delta, found := d.Best(held); ok && !rotated && found && delta.Size < t.Length {
		switch err := r.patch(ctx, role, info, path, delta); {
		case err == nil:
			return nil
		case errors.Is(err, ErrStore), ctx.Err() != nil:
			return err
		default:
			// A mirror that has no deltas, a wrong one, or one that it cannot
			// give, may still have the list.
			r.config.Log.Info("delta not used, fetching the list", "uri", info.URI, "from", delta.From, "error", err)
		}
	}
	data, err := r.target(ctx, path, t, r.config.Limits.List)
	if err != nil {
		return err
	}
	r.fetched = append(r.fetched, info)
	l, err := statuslist.ParseCBOR(data, info.Size)
	if errors.Is(err, statuslist.ErrSize) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	raw := l.Raw()
	if l.Bits() != info.Bits || int64(len(raw)) != info.Size || sha256.Sum256(raw) != info.SHA256 {
		return fmt.Errorf("%w: the unpacked list is another", ErrHash)
	}
	r.report.Snapshots++
	if info.Size > r.config.Limits.Batch {
		if err := r.config.Store.Stage(info, raw); err != nil {
			return fmt.Errorf("%w: %w", ErrRoom, err)
		}
		raw = nil // the store has it
	}
	return r.bring(role, info, info.Size, func(tx Tx) error { return tx.PutList(info, raw) })
}

// bring queues what makes the list current.
func (r *run) bring(role string, info statuslist.Info, bytes int64, do func(Tx) error) error {
	o := op{role: role, what: info.URI, bytes: max(bytes, 1), grows: info.Size - r.held[info.URI].Size, do: do}
	if err := r.enqueue(o); err != nil {
		return err
	}
	r.current, r.fresh = append(r.current, info.URI), append(r.fresh, info.URI)
	return nil
}

// patch brings a list in by a delta to the bits that are held.
func (r *run) patch(ctx context.Context, role string, info statuslist.Info, path string, delta statuslist.Delta) error {
	data, err := r.fetch(ctx, deltaName(path, delta), delta.Size)
	if err != nil {
		return err
	}
	if int64(len(data)) != delta.Size || sha256.Sum256(data) != delta.SHA256 {
		return fmt.Errorf("delta from %d: %w", delta.From, ErrHash)
	}
	// Before the transaction, where a failure would take other lists with it.
	l, err := statuslist.FromRaw(bytes.Clone(r.config.Store.Bits(info.URI)), info.Bits)
	if err == nil {
		err = l.Patch(data)
	}
	if err != nil {
		return fmt.Errorf("delta from %d: %w: %w", delta.From, ErrMalformed, err)
	}
	if sha256.Sum256(l.Raw()) != info.SHA256 {
		return fmt.Errorf("delta from %d: %w: it makes another list", delta.From, ErrHash)
	}
	r.report.Deltas++
	r.fetched = append(r.fetched, info)
	return r.bring(role, info, info.Size, func(tx Tx) error { return tx.PatchList(info, data) })
}

// makeRoom lets lists go that nobody configured, until the described one fits:
// first those that nobody came with a code of since they were last looked at.
func (r *run) makeRoom(info statuslist.Info) error {
	fits := func() bool {
		next := info
		for _, o := range r.queue {
			next.Size += o.grows
		}
		return r.config.Store.Room(next)
	}
	if fits() {
		return nil
	}
	var idle, recent []string
	for _, uri := range slices.Sorted(maps.Keys(r.held)) {
		switch {
		case uri == info.URI || r.configured(uri) || slices.Contains(r.wants, uri):
		case r.config.Store.Recent(uri):
			recent = append(recent, uri)
		default:
			idle = append(idle, uri)
		}
	}
	evictable := slices.Concat(idle, recent)
	if len(evictable) == 0 || !r.roomWithout(info, evictable) {
		return fmt.Errorf("%w: list of %d bytes", ErrRoom, info.Size)
	}
	for _, uri := range evictable {
		delete(r.held, uri)
		r.current = slices.DeleteFunc(r.current, func(c string) bool { return c == uri })
		r.fresh = slices.DeleteFunc(r.fresh, func(c string) bool { return c == uri })
		if err := r.enqueue(op{do: func(tx Tx) error { return tx.DropList(uri) }}); err != nil {
			return err
		}
		if err := r.flush(); err != nil {
			return err
		}
		r.report.Evicted = append(r.report.Evicted, uri)
		if fits() {
			return nil
		}
	}
	return fmt.Errorf("%w: list of %d bytes", ErrRoom, info.Size)
}

// roomWithout says whether the list would fit if these were gone. Where it would
// not, none of them goes: with each poll they would make room for nothing, and
// come back with the next code.
func (r *run) roomWithout(info statuslist.Info, uris []string) bool {
	// As the next generation of one of them, since their number is bounded too.
	next := statuslist.Info{URI: uris[0], Size: info.Size - r.held[info.URI].Size}
	for _, uri := range uris[1:] {
		next.Size -= r.held[uri].Size
	}
	for _, o := range r.queue {
		next.Size += o.grows
	}
	return r.config.Store.Room(next)
}

// configured says whether the configuration names the list's region.
func (r *run) configured(uri string) bool {
	_, region, err := pathOf(uri)
	return err == nil && slices.ContainsFunc(r.config.Regions, func(s string) bool { return overlap(s, region) })
}

func sameInfo(a, b statuslist.Info) bool {
	return a.URI == b.URI && a.Sequence == b.Sequence && a.Bits == b.Bits && a.Size == b.Size &&
		a.SHA256 == b.SHA256 && a.Issued.Equal(b.Issued) && a.Expires.Equal(b.Expires)
}
