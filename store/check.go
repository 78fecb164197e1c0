package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"greengate/pass/hashlist"
)

// Check reads each list held from the file again and compares it with what was
// signed. It returns how many it read, and what is wrong. The status lists in
// memory were compared when they came in, and go on answering whatever it
// finds; a revocation list that is damaged is not held from then on.
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
	for _, info := range db.HashLists() {
		l := db.view.Load().hashes[info.ID]
		if l == nil {
			continue // dropped meanwhile
		}
		checked++
		if err := db.checkHeldHashes(l); err != nil {
			problems = append(problems, fmt.Errorf("list %s: %w", info, err))
		}
	}
	return checked, problems
}

// checkHeldHashes checks one revocation list.
func (db *DB) checkHeldHashes(l *hashList) error {
	err := db.readHashes(func(tx *bolt.Tx) error {
		var all []hashlist.Change
		for _, t := range l.over {
			older, err := t.changes(tx)
			if err != nil {
				return err
			}
			all = hashlist.Join(older, all)
		}
		_, err := merged(tx, l, l.info, all, sha256.New(), false)
		return err
	})
	switch now := db.view.Load().hashes[l.info.ID]; {
	case err == nil || errors.Is(err, ErrClosed):
		return err
	case now == nil || !slices.Equal(now.tables(), l.tables()):
		return nil // replaced while it was read
	}
	l.lose(db, err)
	return err
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
