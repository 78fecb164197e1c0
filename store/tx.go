package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

// stagePieces is how many pieces of a list one transaction of Stage writes:
// 4 MiB. One transaction for a list of 37.5 MB took up to 232 MB of memory,
// ones of 4 MiB took 35 MB.
const stagePieces = 4 << 20 / chunkBytes

// Tx changes the store within [DB.Install].
type Tx struct {
	db   *DB
	bolt *bolt.Tx
	view *view
	// dirty says that there is something to write.
	dirty bool
	// used are the staged lists that were taken.
	used []string
	// usedHashes are the staged revocation lists that were taken, staleHashes
	// the generations of hashes that nothing points to any more.
	usedHashes  []hashlist.ID
	staleHashes []uint64
	done        bool
}

// Install calls f with a transaction. When f returns nil, all that it did is
// on the disk and in memory when Install returns; else nothing of it is. What
// changes nothing writes nothing. After an error of the disk the memory holds
// what was before.
func (db *DB) Install(f func(*Tx) error) (err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.usable(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { err = db.mend(err) }()
	var b *bolt.Tx
	if err := db.guard(func() (err error) { b, err = db.bolt.Begin(true); return err }); err != nil {
		return fmt.Errorf("store: %w", diskError(err))
	}
	tx := &Tx{db: db, bolt: b, view: db.view.Load().clone()}
	defer func() {
		tx.done = true
		if db.hung {
			return // err says so
		}
		if e := db.guard(b.Rollback); e != nil && !errors.Is(e, bolterrors.ErrTxClosed) {
			err = errors.Join(err, fmt.Errorf("store: %w", e))
		}
	}()
	if err := f(tx); err != nil {
		return err
	}
	if db.broken != nil {
		return db.broken
	}
	if !tx.dirty {
		return nil
	}
	if err := db.guard(b.Commit); err != nil {
		return fmt.Errorf("store: %w", diskError(err))
	}
	db.view.Store(tx.view)
	for _, uri := range tx.used {
		delete(db.staged, uri)
	}
	db.committedHashes(tx)
	return nil
}

// diskError marks the errors of a full disk with ErrFull.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// put writes a value unless it is there already.
func (tx *Tx) put(bucket, key, value []byte) error {
	return tx.change(func() error {
		b := tx.bolt.Bucket(bucket)
		if bytes.Equal(b.Get(key), value) {
			return nil
		}
		tx.dirty = true
		if err := b.Put(key, value); err != nil {
			return fmt.Errorf("store: %s: %w", bucket, err)
		}
		return nil
	})
}

// change calls f, which uses the file, unless the store is beyond that.
func (tx *Tx) change(f func() error) error {
	if tx.db.broken != nil {
		return tx.db.broken
	}
	return tx.db.guard(f)
}

// SetMetadata keeps the newest verified metadata of a role, as it came; nil
// forgets it.
func (tx *Tx) SetMetadata(role string, raw []byte) error {
	if tx.done {
		return ErrDone
	}
	if len(role) == 0 || len(role) > MaxRole || len(raw) > MaxMetadata {
		return fmt.Errorf("%w: metadata of %d bytes for a role of %d", ErrInvalid, len(raw), len(role))
	}
	key := []byte(role)
	if raw == nil {
		return tx.change(func() error {
			b := tx.bolt.Bucket(metadataBucket)
			if b.Get(key) == nil {
				return nil
			}
			tx.dirty = true
			return b.Delete(key)
		})
	}
	if err := tx.change(func() error {
		b := tx.bolt.Bucket(metadataBucket)
		if b.Get(key) != nil {
			return nil
		}
		c, n := b.Cursor(), 0
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if n++; n >= maxRoles {
				return fmt.Errorf("%w: metadata of more than %d roles", ErrInvalid, maxRoles)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return tx.put(metadataBucket, key, digested(raw))
}

// SetKeys replaces all issuer and enterprise keys. They must be what
// pass.ParseKeySet reads from raw, which is what is kept.
func (tx *Tx) SetKeys(version uint64, keys []pass.Key, raw []byte) error {
	if tx.done {
		return ErrDone
	}
	parsed, err := pass.ParseKeySet(raw)
	if err != nil {
		return fmt.Errorf("%w: key list %d: %w", ErrInvalid, version, err)
	}
	if len(parsed) != len(keys) || (len(keys) > 0 && !reflect.DeepEqual(parsed, keys)) {
		return fmt.Errorf("%w: key list %d: keys are not those of the signed bytes", ErrInvalid, version)
	}
	tx.view.keyVersion, tx.view.keys, tx.view.signed.keys = version, pass.NewKeyMap(parsed), bytes.Clone(raw)
	return tx.put(keysBucket, currentKey, digested(append(number(version), raw...)))
}

// SetPolicy replaces the policy in force. It must be what gate.ParsePolicy
// reads from raw, which is what is kept.
func (tx *Tx) SetPolicy(p gate.Policy, raw []byte) error {
	if tx.done {
		return ErrDone
	}
	parsed, err := gate.ParsePolicy(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !reflect.DeepEqual(parsed, p) {
		return fmt.Errorf("%w: policy %d is not that of the signed bytes", ErrInvalid, p.Version)
	}
	tx.view.policy, tx.view.signed.policy = parsed, bytes.Clone(raw)
	return tx.put(policyBucket, currentKey, digested(raw))
}

// SetMap replaces the map. It must be what gate.ParseRiskMap reads from raw,
// which is what is kept.
func (tx *Tx) SetMap(m gate.RiskMap, raw []byte) error {
	if tx.done {
		return ErrDone
	}
	parsed, err := gate.ParseRiskMap(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if parsed.Version != m.Version || parsed.Day != m.Day || len(parsed.Counties) != len(m.Counties) ||
		(len(m.Counties) > 0 && !reflect.DeepEqual(parsed, m)) {
		return fmt.Errorf("%w: map %d is not that of the signed bytes", ErrInvalid, m.Version)
	}
	tx.view.riskMap, tx.view.signed.riskMap = parsed, bytes.Clone(raw)
	return tx.put(mapBucket, currentKey, digested(raw))
}

// RaiseFloor raises the clock's floor to a signed time; an earlier one than
// the floor changes nothing.
func (tx *Tx) RaiseFloor(issued time.Time) error {
	if tx.done {
		return ErrDone
	}
	if err := checkTime(issued); err != nil {
		return err
	}
	issued = time.Unix(issued.Unix(), 0).UTC()
	if !issued.After(tx.view.floor) {
		return nil
	}
	tx.view.floor = issued
	return tx.put(metaBucket, floorKey, digested(seconds(issued)))
}

// maxLeap is how far beyond the floor a signed time is believed (DESIGN section 4).
const maxLeap = 30 * 24 * time.Hour

// Confirm says that the authority called what is held of these lists current
// at this signed time; their age counts from it. An earlier time than the last
// changes nothing, and neither does a list that is not held. The exception is a
// last one that is more than 30 days beyond the clock's floor, which nobody has
// borne out: whoever stole the timestamp's key signed it, perhaps, and after
// that key was rotated the honest time holds.
func (tx *Tx) Confirm(uris []string, issued time.Time) error {
	if tx.done {
		return ErrDone
	}
	if err := checkTime(issued); err != nil {
		return err
	}
	issued = time.Unix(issued.Unix(), 0).UTC()
	for _, uri := range uris {
		old := tx.view.lists[uri]
		if old == nil || !tx.confirms(issued, old.confirmed) {
			continue
		}
		l := *old
		l.confirmed = issued
		tx.view.lists[uri] = &l
		if err := tx.put(confirmedBucket, []byte(uri), digested(seconds(issued))); err != nil {
			return err
		}
	}
	return nil
}

// confirms says whether a signed time takes the place of the last one.
func (tx *Tx) confirms(issued, last time.Time) bool {
	return issued.After(last) || last.After(tx.view.floor.Add(maxLeap))
}

// checkList says whether raw is what the authority signed in info.
func checkList(info statuslist.Info, raw []byte) error {
	if err := checkInfo(info); err != nil {
		return err
	}
	if int64(len(raw)) != info.Size || sha256.Sum256(raw) != info.SHA256 {
		return fmt.Errorf("list %s, sequence %d, %d bytes: %w", info.URI, info.Sequence, len(raw), ErrDigest)
	}
	return nil
}

// Stage writes a list to the disk ahead of the Install that will put it, in
// small transactions, so that a large list does not take its tenfold in
// memory. It changes nothing that is looked up. Staging a list again replaces
// it; what is staged and never put goes at the next start. The store keeps raw.
func (db *DB) Stage(info statuslist.Info, raw []byte) (err error) {
	if err := checkList(info, raw); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.usable(); err != nil {
		return fmt.Errorf("stage list %s: %w", info.URI, err)
	}
	defer func() { err = db.mend(err) }()
	if err := db.room(db.view.Load(), info); err != nil {
		return err
	}
	var generation uint64
	update := func(f func(tx *bolt.Tx) error) error {
		if err := db.guard(func() error { return db.bolt.Update(f) }); err != nil {
			return fmt.Errorf("stage list %s: %w", info.URI, diskError(err))
		}
		return nil
	}
	err = update(func(tx *bolt.Tx) (err error) {
		if old := db.staged[info.URI]; old != nil {
			if err := deleteGeneration(tx, old.generation); err != nil {
				return err
			}
		}
		generation, err = newGeneration(tx)
		return err
	})
	if err != nil {
		return err
	}
	delete(db.staged, info.URI)
	for i := int64(0); i < chunks(info.Size); i += stagePieces {
		if err := update(func(tx *bolt.Tx) error {
			return writePieces(tx, generation, raw, i, min(i+stagePieces, chunks(info.Size)))
		}); err != nil {
			if db.broken != nil {
				return err
			}
			return errors.Join(err, update(func(tx *bolt.Tx) error { return deleteGeneration(tx, generation) }))
		}
	}
	db.staged[info.URI] = &list{info: info, raw: raw, generation: generation}
	return nil
}

// newGeneration makes the bucket of a generation and returns its number.
func newGeneration(tx *bolt.Tx) (uint64, error) {
	b := tx.Bucket(generationsBucket)
	n, err := b.NextSequence()
	if err != nil {
		return 0, err
	}
	_, err = b.CreateBucket(number(n))
	return n, err
}

// writePieces writes the pieces from to before of raw.
func writePieces(tx *bolt.Tx, generation uint64, raw []byte, from, before int64) error {
	b := tx.Bucket(generationsBucket).Bucket(number(generation))
	for i := from; i < before; i++ {
		end := min((i+1)*chunkBytes, int64(len(raw)))
		if err := b.Put(chunkKey(i), raw[i*chunkBytes:end]); err != nil {
			return err
		}
	}
	return nil
}

// room says whether a list still fits.
func (db *DB) room(v *view, info statuslist.Info) error {
	sum := v.bytes + info.Size
	if old := v.lists[info.URI]; old != nil {
		sum -= old.info.Size
	} else if len(v.lists) >= MaxLists {
		return fmt.Errorf("list %s: %w: %d lists", info.URI, ErrFull, MaxLists)
	}
	if sum > db.most {
		return fmt.Errorf("list %s: %w: lists of %d bytes, allowed are %d", info.URI, ErrFull, sum, db.most)
	}
	return nil
}

// PutList replaces the list of this URI, or adds it. raw must have the size
// and SHA-256 of info, and the store keeps it. It may be nil for a list that was
// staged, and for one whose bytes are those that are held. The sequence is the
// caller's to judge.
func (tx *Tx) PutList(info statuslist.Info, raw []byte) error {
	if tx.done {
		return ErrDone
	}
	if old := tx.view.lists[info.URI]; raw == nil && old != nil && old.info.SHA256 == info.SHA256 {
		raw = old.raw
	}
	staged := tx.db.staged[info.URI]
	if staged != nil && (staged.info.SHA256 != info.SHA256 || staged.info.Size != info.Size) {
		staged = nil
	}
	if raw == nil && staged != nil {
		raw = staged.raw
	}
	if err := checkList(info, raw); err != nil {
		return err
	}
	return tx.replace(info, func(l, old *list) error { return tx.write(l, old, staged, raw) })
}

// PatchList makes the generation that info describes of the one that is held,
// by a delta between them. Only the delta is written, beside the list's bytes,
// until there are too many of them: then the list is written anew.
func (tx *Tx) PatchList(info statuslist.Info, delta []byte) error {
	if tx.done {
		return ErrDone
	}
	old := tx.view.lists[info.URI]
	if old == nil || old.info.Bits != info.Bits {
		return fmt.Errorf("%w: a delta for list %s, which is not held", ErrInvalid, info.URI)
	}
	l, err := statuslist.FromRaw(bytes.Clone(old.raw), info.Bits)
	if err == nil {
		err = l.Patch(delta)
	}
	if err != nil {
		return fmt.Errorf("%w: list %s: %w", ErrInvalid, info.URI, err)
	}
	raw := l.Raw()
	if err := checkList(info, raw); err != nil {
		return err
	}
	return tx.replace(info, func(l, old *list) error {
		if old.overlays == maxOverlays || old.overlayBytes+int64(len(delta)) > overlayRoom(old.generation, info.Size) {
			return tx.write(l, old, nil, raw)
		}
		l.raw, l.generation = raw, old.generation
		l.overlays, l.overlayBytes = old.overlays+1, old.overlayBytes+int64(len(delta))
		if err := tx.bolt.Bucket(overlaysBucket).Put(overlayKey(l.generation, l.overlays), delta); err != nil {
			return err
		}
		return tx.bolt.Bucket(confirmedBucket).Delete([]byte(info.URI))
	})
}

// replace puts the list that write makes in the place of the one held.
func (tx *Tx) replace(info statuslist.Info, write func(l, old *list) error) error {
	// As it will be read again: whole seconds, UTC.
	encoded, err := info.Marshal()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if info, err = statuslist.ParseInfo(encoded); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	old := tx.view.lists[info.URI]
	if old != nil && old.info == info {
		return nil
	}
	if err := tx.db.room(tx.view, info); err != nil {
		return err
	}
	l := &list{info: info, confirmed: info.Issued, recent: new(atomic.Bool)}
	if old != nil {
		l.recent = old.recent
	}
	if err := tx.change(func() error { return write(l, old) }); err != nil {
		return fmt.Errorf("list %s: %w", info.URI, err)
	}
	tx.dirty = true
	if old != nil {
		tx.view.bytes -= old.info.Size
	}
	p, err := pointer{Info: encoded, Generation: l.generation, Overlays: l.overlays}.encode()
	if err != nil {
		return fmt.Errorf("list %s: %w", info.URI, err)
	}
	tx.view.lists[info.URI] = l
	tx.view.bytes += info.Size
	return tx.put(listsBucket, []byte(info.URI), p)
}

// write gives l its bytes and its generation: the old list's, the staged
// one's, or a new one's; and removes what nothing points to any more.
func (tx *Tx) write(l, old, staged *list, raw []byte) (err error) {
	if staged != nil {
		tx.used = append(tx.used, l.info.URI)
	}
	switch {
	case old != nil && old.info.SHA256 == l.info.SHA256 && old.info.Size == l.info.Size:
		// The same bytes under a new signature: only the pointer is written.
		l.raw, l.generation = old.raw, old.generation
		l.overlays, l.overlayBytes = old.overlays, old.overlayBytes
		if staged != nil {
			if err := deleteGeneration(tx.bolt, staged.generation); err != nil {
				return err
			}
		}
	case staged != nil:
		l.raw, l.generation = staged.raw, staged.generation
	default:
		if l.generation, err = newGeneration(tx.bolt); err != nil {
			return err
		}
		l.raw = raw
		if err := writePieces(tx.bolt, l.generation, l.raw, 0, chunks(l.info.Size)); err != nil {
			return err
		}
	}
	if old == nil {
		return nil
	}
	if err := tx.bolt.Bucket(confirmedBucket).Delete([]byte(l.info.URI)); err != nil {
		return err
	}
	if old.generation == l.generation {
		return nil
	}
	return deleteGeneration(tx.bolt, old.generation)
}

// DropList forgets a list; one that is not held is no error.
func (tx *Tx) DropList(uri string) error {
	if tx.done {
		return ErrDone
	}
	old := tx.view.lists[uri]
	if old == nil {
		return nil
	}
	tx.dirty = true
	delete(tx.view.lists, uri)
	tx.view.bytes -= old.info.Size
	if err := tx.change(func() error { return deleteList(tx.bolt, uri) }); err != nil {
		return fmt.Errorf("list %s: %w", uri, err)
	}
	return nil
}
