package store

import (
	"fmt"
	"maps"
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
		held, err := db.checkHeld(uri)
		if err != nil {
			problems = append(problems, fmt.Errorf("list %s: %w", uri, err))
		}
		if held {
			checked++
		}
	}
	return checked, problems
}

// checkHeld checks one list, if it is still held.
func (db *DB) checkHeld(uri string) (held bool, err error) {
	b := db.reading.Load()
	if b == nil {
		return true, ErrClosed
	}
	var wrong error
	err = bounded(db.limit(MaxListBytes), func() error {
		return b.View(func(tx *bolt.Tx) error {
			stored := tx.Bucket(listsBucket).Get([]byte(uri))
			if stored == nil {
				return nil
			}
			held = true
			p, info, err := decodePointer(uri, stored)
			if err == nil {
				_, _, err = readList(tx, p, info)
			}
			wrong = err
			return nil
		})
	})
	if err != nil {
		return true, err
	}
	return held, wrong
}
