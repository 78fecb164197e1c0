package store

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Check reads each list held from the file again and compares it with what was
// signed. It returns how many it read, and what is wrong. The lists in memory
// were compared when they came in, and go on answering whatever it finds.
func (db *DB) Check() (checked int, problems []error) {
	for _, uri := range slices.Sorted(maps.Keys(db.view.Load().lists)) {
		// A transaction for each list: a long one would keep the pages of all
		// that is replaced meanwhile, and the file would grow.
		held, err := db.checkList(uri)
		if err != nil {
			problems = append(problems, fmt.Errorf("list %s: %w", uri, err))
		}
		if held {
			checked++
		}
	}
	return checked, problems
}

// checkList checks one list, if it is still held.
func (db *DB) checkList(uri string) (held bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			held, err = true, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	err = db.bolt.View(func(tx *bolt.Tx) error {
		stored := tx.Bucket(listsBucket).Get([]byte(uri))
		if stored == nil {
			return nil
		}
		held = true
		p, info, err := decodePointer(uri, stored)
		if err != nil {
			return err
		}
		raw, err := readGeneration(tx, p.Generation, info.Size)
		if err != nil {
			return err
		}
		if sha256.Sum256(raw) != info.SHA256 {
			return ErrDigest
		}
		return nil
	})
	return held, err
}
