package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/pass/hashlist"
)

// revocationRole delivers the hash lists of foreign codes.
const revocationRole = "revocation"

// foreignHashes are the hash lists of a run.
type foreignHashes struct {
	held map[hashlist.ID]hashlist.Info
	// current are the lists that are held as the authority describes them,
	// fresh those among them that this run brought in.
	current, fresh []hashlist.ID
	// fetched are the lists whose files this run fetched.
	fetched []hashlist.Info
	// staged are written and wait for a transaction.
	staged []hashlist.Info
}

// failedHashes is a hash list that was fetched, and refused.
type failedHashes struct {
	failedList
	described hashlist.Info
}

// hashes brings in the hash lists of the schemes that this gate takes codes
// of. Each stands for itself; what fails is reported, only the store's refusal
// is returned.
func (r *run) hashes(ctx context.Context, targets, md described, stored []byte) error {
	rotated := r.rotated(targets, revocationRole)
	failed := map[string]bool{} // issuer keys
	wanted := map[hashlist.ID]bool{}
	for _, path := range slices.Sorted(maps.Keys(md.Signed.Targets)) {
		id, err := hashlist.ParsePath(path)
		if err != nil {
			continue // a kind of target that a later gate knows
		}
		if !slices.Contains(r.config.Foreign, string(id.Scheme)) {
			continue
		}
		wanted[id] = true
		err = may(targets, revocationRole, path)
		if err == nil {
			err = r.hashList(ctx, id, md.Signed.Targets[path], rotated)
		}
		if errors.Is(err, ErrStore) {
			return err
		}
		if err != nil {
			failed[id.KeyID] = true
			r.fail(revocationRole, id.String(), err)
		}
	}
	if err := r.putHashes(); err != nil {
		return err
	}
	for _, id := range slices.SortedFunc(maps.Keys(r.foreign.held), byName) {
		// While a list of its key did not come, what is cut another way now
		// goes on answering.
		if wanted[id] || failed[id.KeyID] {
			continue
		}
		if err := r.dropHashes(id); err != nil {
			return err
		}
	}
	if raw := r.raw[revocationRole]; !r.failedAny(revocationRole) && !bytes.Equal(raw, stored) {
		return r.enqueue(op{role: revocationRole, do: func(tx Tx) error { return tx.SetMetadata(revocationRole, raw) }})
	}
	return nil
}

func byName(a, b hashlist.ID) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) }

func (r *run) dropHashes(id hashlist.ID) error {
	r.report.Dropped = append(r.report.Dropped, id.String())
	return r.enqueue(op{role: revocationRole, do: func(tx Tx) error { return tx.DropHashes(id) }})
}

// forgetHashes drops the lists of schemes that are no longer configured.
func (r *run) forgetHashes() error {
	for _, id := range slices.SortedFunc(maps.Keys(r.foreign.held), byName) {
		if !slices.Contains(r.config.Foreign, string(id.Scheme)) {
			if err := r.dropHashes(id); err != nil {
				return err
			}
			delete(r.foreign.held, id)
		}
	}
	return nil
}

// describeHashes reads the description of a list, which must be of the list
// and of the file that the path is for.
func describeHashes(id hashlist.ID, t *metadata.TargetFiles) (hashlist.Description, error) {
	if t.Custom == nil {
		return hashlist.Description{}, fmt.Errorf("%w: list without a description", ErrMalformed)
	}
	d, err := hashlist.ParseDescription(*t.Custom)
	if err != nil {
		return d, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if d.ID != id {
		return d, fmt.Errorf("%w: the description is of list %s", ErrDelegation, d.ID)
	}
	if d.Size() != t.Length || !bytes.Equal(d.SHA256[:], t.Hashes["sha256"]) {
		return d, fmt.Errorf("%w: the description is of another file", ErrMalformed)
	}
	return d, nil
}

// hashList brings one list in if it is not held as described: by a delta from
// what is held or whole, whichever is fewer bytes.
func (r *run) hashList(ctx context.Context, id hashlist.ID, t *metadata.TargetFiles, rotated bool) error {
	d, err := describeHashes(id, t)
	if err != nil {
		return err
	}
	held, ok := r.foreign.held[id]
	if ok && held.Same(d.Info) {
		r.foreign.current = append(r.foreign.current, id)
		return nil
	}
	if err := r.restingHashes(d.Info); err != nil {
		return err
	}
	// After a rotation of the role's keys a lower sequence is the honest one.
	if ok && !rotated {
		switch {
		case d.Sequence < held.Sequence:
			return fmt.Errorf("%w: sequence %d, held is %d", ErrRollback, d.Sequence, held.Sequence)
		case d.Sequence == held.Sequence:
			return fmt.Errorf("%w: another list with the held sequence %d", ErrRollback, held.Sequence)
		case d.Issued.Before(held.Issued):
			return fmt.Errorf("%w: issued %s, held is of %s", ErrRollback, day(d.Issued), day(held.Issued))
		}
	}
	if r.reference.After(d.Expires) {
		return fmt.Errorf("%w on %s", ErrExpired, day(d.Expires))
	}
	if d.Issued.After(r.issued) {
		return fmt.Errorf("%w: issued %s, after the timestamp", ErrMalformed, day(d.Issued))
	}
	if ok && held.SHA256 == d.SHA256 {
		return r.staged(d.Info)
	}
	if delta, found := d.Delta(held); ok && found && !rotated {
		switch err := r.hashDelta(ctx, d, delta); {
		case err == nil:
			return r.staged(d.Info)
		case errors.Is(err, ErrStore), ctx.Err() != nil:
			return err
		default:
			// A mirror that has no deltas, or a wrong one, still has the list.
			r.config.Log.Info("delta not used, fetching the list", "list", id.String(), "from", delta.From, "error", err)
		}
	}
	file, err := r.target(ctx, id.Path(), t, hashlist.MaxFile)
	if err != nil {
		return err
	}
	r.foreign.fetched = append(r.foreign.fetched, d.Info)
	if _, err := hashlist.Parse(id.Scheme, file); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := r.config.Store.StageHashes(d.Info, file); err != nil {
		return fmt.Errorf("%w: %w", ErrRoom, err)
	}
	return r.staged(d.Info)
}

// hashDelta lays a delta over the list that is held. The store compares what
// comes of it with the signed digest.
func (r *run) hashDelta(ctx context.Context, d hashlist.Description, delta hashlist.DeltaInfo) error {
	name := hashed(d.DeltaPath(delta.From), fmt.Sprintf("%x", delta.SHA256))
	data, err := r.fetch(ctx, name, delta.Size)
	if err != nil {
		return err
	}
	if int64(len(data)) != delta.Size || sha256.Sum256(data) != delta.SHA256 {
		return fmt.Errorf("delta from %d: %w", delta.From, ErrHash)
	}
	r.foreign.fetched = append(r.foreign.fetched, d.Info)
	changes, err := hashlist.ParseDelta(d.Scheme, data)
	if err != nil {
		return fmt.Errorf("delta from %d: %w: %w", delta.From, ErrMalformed, err)
	}
	if err := r.config.Store.StageHashDelta(d.Info, changes); err != nil {
		return fmt.Errorf("delta from %d: %w: %w", delta.From, ErrHash, err)
	}
	return nil
}

// staged notes a list that waits for a transaction. Many small ones share one.
func (r *run) staged(info hashlist.Info) error {
	r.foreign.staged = append(r.foreign.staged, info)
	size := int64(0)
	for _, i := range r.foreign.staged {
		size += i.Size()
	}
	if size < r.config.Limits.Batch && len(r.foreign.staged) < maxStaged {
		return nil
	}
	return r.putHashes()
}

// maxStaged is how many lists wait for a transaction at most: so many a crash
// costs to fetch again.
const maxStaged = 64

// putHashes makes what is staged answer: all of it in one transaction, or, if
// the store refuses that, each in its own.
func (r *run) putHashes() error {
	staged := r.foreign.staged
	r.foreign.staged = nil
	if len(staged) == 0 {
		return nil
	}
	put := func(infos []hashlist.Info) error {
		err := r.install(func(tx Tx) error {
			ids := make([]hashlist.ID, 0, len(infos))
			for _, info := range infos {
				if err := tx.PutHashes(info); err != nil {
					return err
				}
				ids = append(ids, info.ID)
			}
			// At once: one that was only signed anew is as old as its entries, and
			// would be too old for anybody until the end of the run.
			return tx.ConfirmHashes(ids, r.issued)
		})
		if err == nil {
			for _, info := range infos {
				r.foreign.current, r.foreign.fresh = append(r.foreign.current, info.ID), append(r.foreign.fresh, info.ID)
				r.report.Installed = append(r.report.Installed, info.String())
			}
		}
		return err
	}
	if put(staged) == nil {
		return nil
	}
	for _, info := range staged {
		if err := put([]hashlist.Info{info}); err != nil {
			r.fail(revocationRole, info.String(), err)
		}
	}
	return nil
}

// confirmHashes queues that the authority called these lists current.
func (r *run) confirmHashes(newer bool) error {
	confirmed := r.foreign.fresh
	if newer {
		confirmed = r.foreign.current
	}
	if len(confirmed) == 0 {
		return nil
	}
	return r.enqueue(op{do: func(tx Tx) error { return tx.ConfirmHashes(confirmed, r.issued) }})
}

// hashesHeld says whether the lists that the last run left current are held
// still: the store loses one when it finds it damaged.
func (c *Client) hashesHeld() bool {
	if len(c.currentHashes) == 0 {
		return true
	}
	held := map[hashlist.ID]bool{}
	for _, info := range c.config.Store.HashLists() {
		held[info.ID] = true
	}
	return !slices.ContainsFunc(c.currentHashes, func(id hashlist.ID) bool { return !held[id] })
}

// restingHashes is resting for hash lists.
func (r *run) restingHashes(info hashlist.Info) error {
	f, ok := r.failedHashes[info.ID]
	if r.imported || !ok || !f.described.Same(info) || time.Since(f.at) >= f.wait(r.config.Every) {
		return nil
	}
	return f.err
}

// noteFailedHashes remembers the hash lists that were fetched for nothing.
func (r *run) noteFailedHashes() {
	for _, info := range r.foreign.fetched {
		i := slices.IndexFunc(r.report.Failures, func(f Failure) bool { return f.What == info.String() })
		if i < 0 {
			delete(r.failedHashes, info.ID)
			continue
		}
		f := r.failedHashes[info.ID]
		if !f.described.Same(info) {
			f = failedHashes{described: info}
		}
		f.err, f.times, f.at = r.report.Failures[i].Err, f.times+1, time.Now()
		r.failedHashes[info.ID] = f
	}
}
