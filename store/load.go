package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

// load reads the file into memory, and takes out what a crash has left.
func (db *DB) load() error {
	fresh, missing := false, false
	if err := db.bolt.View(func(tx *bolt.Tx) (err error) {
		fresh, err = checkSchema(tx)
		missing = slices.ContainsFunc(later, func(name []byte) bool { return tx.Bucket(name) == nil })
		return err
	}); err != nil {
		return err
	}
	if fresh {
		if err := db.bolt.Update(begin); err != nil {
			return diskError(err)
		}
	}
	if missing {
		if err := db.bolt.Update(beginLater); err != nil {
			return diskError(err)
		}
	}
	v := &view{policy: gate.DefaultPolicy(), lists: map[string]*list{}, hashes: map[hashlist.ID]*hashList{}}
	var bad []string // lists
	var strays []uint64
	err := db.bolt.View(func(tx *bolt.Tx) (err error) {
		if v.floor, err = loadTime(tx.Bucket(metaBucket), floorKey); err != nil {
			return fmt.Errorf("clock floor: %w", err)
		}
		if err := loadSigned(tx, v); err != nil {
			return err
		}
		bad, err = db.loadLists(tx, v)
		if err != nil {
			return err
		}
		strays, err = findStrays(tx, v)
		return err
	})
	if err != nil {
		return err
	}
	if len(bad) > 0 || len(strays) > 0 {
		err := db.bolt.Update(func(tx *bolt.Tx) error {
			for _, uri := range bad {
				if err := deleteList(tx, uri); err != nil {
					return err
				}
			}
			for _, n := range strays {
				if err := deleteGeneration(tx, n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			if err = unlessDisk(err); errors.Is(err, ErrDamaged) {
				return fmt.Errorf("remove stray generations: %w", err)
			}
			// A full disk does not keep the lists that are whole from answering.
			db.log.Warn("stray generations not removed", "error", err)
			db.unsure = err
		}
	}
	if err := db.loadHashes(v); err != nil {
		return err
	}
	db.view.Store(v)
	return nil
}

// checkSchema says whether the file is empty, and checks one that is not.
func checkSchema(tx *bolt.Tx) (fresh bool, err error) {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		if k, _ := tx.Cursor().First(); k != nil {
			return false, fmt.Errorf("%w: bucket %s is missing", ErrDamaged, metaBucket)
		}
		return true, nil
	}
	b := meta.Get(schemaKey)
	if len(b) != 8 {
		return false, fmt.Errorf("%w: schema of %d bytes", ErrDamaged, len(b))
	}
	switch n := binary.BigEndian.Uint64(b); {
	case n > schema:
		return false, fmt.Errorf("%w: schema %d, known is %d", ErrSchema, n, schema)
	case n == 0:
		return false, fmt.Errorf("%w: schema 0", ErrDamaged)
	}
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return false, fmt.Errorf("%w: bucket %s is missing", ErrDamaged, name)
		}
	}
	return false, nil
}

// begin makes the buckets of a new file.
func begin(tx *bolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return tx.Bucket(metaBucket).Put(schemaKey, number(schema))
}

// beginLater makes the buckets that an older file does not have.
func beginLater(tx *bolt.Tx) error {
	for _, name := range later {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// loadTime reads a time; the zero time if there is none.
func loadTime(b *bolt.Bucket, key []byte) (time.Time, error) {
	stored := b.Get(key)
	if stored == nil {
		return time.Time{}, nil
	}
	value, err := checked("time", stored)
	if err != nil {
		return time.Time{}, err
	}
	return parseSeconds(value)
}

// loadSigned reads keys, policy and map.
func loadSigned(tx *bolt.Tx, v *view) error {
	if stored := tx.Bucket(keysBucket).Get(currentKey); stored != nil {
		value, err := checked("key list", stored)
		if err != nil {
			return err
		}
		if len(value) < 8 {
			return fmt.Errorf("%w: key list of %d bytes", ErrDamaged, len(value))
		}
		keys, err := pass.ParseKeySet(value[8:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		v.keyVersion, v.keys, v.signed.keys = binary.BigEndian.Uint64(value), pass.NewKeyMap(keys), value[8:]
	}
	if stored := tx.Bucket(policyBucket).Get(currentKey); stored != nil {
		value, err := checked("policy", stored)
		if err != nil {
			return err
		}
		if v.policy, err = gate.ParsePolicy(value); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		v.signed.policy = value
	}
	if stored := tx.Bucket(mapBucket).Get(currentKey); stored != nil {
		value, err := checked("map", stored)
		if err != nil {
			return err
		}
		if v.riskMap, err = gate.ParseRiskMap(value); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		v.signed.riskMap = value
	}
	return nil
}

// loadLists reads the lists. Those whose bytes are not the signed ones are
// named in bad: the unit of consistency is one list.
func (db *DB) loadLists(tx *bolt.Tx, v *view) (bad []string, err error) {
	c := tx.Bucket(listsBucket).Cursor()
	n := 0
	for k, stored := c.First(); k != nil; k, stored = c.Next() {
		// A damaged page may lead the cursor round in a ring.
		if n++; n > MaxLists {
			return nil, fmt.Errorf("%w: more than %d lists", ErrDamaged, MaxLists)
		}
		uri := string(k)
		p, info, err := decodePointer(uri, stored)
		if err != nil {
			return nil, err
		}
		l := &list{info: info, generation: p.Generation, overlays: p.Overlays, recent: new(atomic.Bool)}
		if l.confirmed, err = loadTime(tx.Bucket(confirmedBucket), k); err != nil {
			return nil, fmt.Errorf("list %s: %w", uri, err)
		}
		if l.confirmed.Before(info.Issued) {
			l.confirmed = info.Issued
		}
		if l.raw, l.overlayBytes, err = readList(tx, p, info); err != nil {
			db.log.Error("status list dropped, it must be fetched again", "uri", uri, "error", err)
			bad = append(bad, uri)
			continue
		}
		v.lists[uri] = l
		v.bytes += info.Size
	}
	return bad, nil
}

// readList reads a list's bytes and compares them with what was signed.
func readList(tx *bolt.Tx, p pointer, info statuslist.Info) (raw []byte, overlayBytes int64, err error) {
	if raw, err = readGeneration(tx, p.Generation, info.Size); err != nil {
		return nil, 0, err
	}
	l, err := statuslist.FromRaw(raw, info.Bits)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for n := 1; n <= p.Overlays; n++ {
		delta := tx.Bucket(overlaysBucket).Get(overlayKey(p.Generation, n))
		if err := l.Patch(delta); err != nil {
			return nil, 0, fmt.Errorf("%w: overlay %d of generation %d: %w", ErrDamaged, n, p.Generation, err)
		}
		overlayBytes += int64(len(delta))
	}
	if sha256.Sum256(raw) != info.SHA256 {
		return nil, 0, ErrDigest
	}
	return raw, overlayBytes, nil
}

// readGeneration puts a list's pieces together.
func readGeneration(tx *bolt.Tx, generation uint64, size int64) ([]byte, error) {
	b := tx.Bucket(generationsBucket).Bucket(number(generation))
	if b == nil {
		return nil, fmt.Errorf("%w: generation %d is missing", ErrDamaged, generation)
	}
	raw := make([]byte, 0, size)
	for i := range chunks(size) {
		piece := b.Get(chunkKey(i))
		if want := min(chunkBytes, size-int64(len(raw))); int64(len(piece)) != want {
			return nil, fmt.Errorf("%w: piece %d of generation %d has %d bytes, not %d", ErrDamaged, i, generation, len(piece), want)
		}
		raw = append(raw, piece...)
	}
	return raw, nil
}

// findStrays lists the generations that no list points to: a crash during an
// Install of many, or while one was staged, leaves them.
func findStrays(tx *bolt.Tx, v *view) ([]uint64, error) {
	current := map[uint64]bool{}
	for _, l := range v.lists {
		current[l.generation] = true
	}
	var strays []uint64
	c := tx.Bucket(generationsBucket).Cursor()
	n := 0
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if n++; n > 4*MaxLists {
			return nil, fmt.Errorf("%w: more than %d generations", ErrDamaged, 4*MaxLists)
		}
		if len(k) != 8 || !bytes.Equal(k, number(binary.BigEndian.Uint64(k))) {
			return nil, fmt.Errorf("%w: generation of %d bytes", ErrDamaged, len(k))
		}
		if g := binary.BigEndian.Uint64(k); !current[g] {
			strays = append(strays, g)
		}
	}
	return strays, nil
}

// deleteList removes a list's pointer, confirmation and bytes.
func deleteList(tx *bolt.Tx, uri string) error {
	key := []byte(uri)
	stored := tx.Bucket(listsBucket).Get(key)
	if stored == nil {
		return nil
	}
	p, _, err := decodePointer(uri, stored)
	if err != nil {
		return err
	}
	if err := tx.Bucket(listsBucket).Delete(key); err != nil {
		return err
	}
	if err := tx.Bucket(confirmedBucket).Delete(key); err != nil {
		return err
	}
	return deleteGeneration(tx, p.Generation)
}

// deleteGeneration removes a generation, and what lies over it, if it is there.
func deleteGeneration(tx *bolt.Tx, generation uint64) error {
	overlays := tx.Bucket(overlaysBucket)
	for n := 1; n <= maxOverlays; n++ {
		key := overlayKey(generation, n)
		if overlays.Get(key) == nil {
			break // they are numbered without a gap
		}
		if err := overlays.Delete(key); err != nil {
			return err
		}
	}
	b, key := tx.Bucket(generationsBucket), number(generation)
	if b.Bucket(key) == nil {
		return nil
	}
	return b.DeleteBucket(key)
}
