package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"greengate/pass"
)

const (
	// healing is behind the name of a file that is being begun.
	healing = ".healing"
	// healRest is the least time between two files begun anew: a card that is
	// dying would be written full.
	healRest = 10 * time.Minute
)

// settle reads the file again after a commit failed and is there all the same.
// Then what the disk holds and what the memory holds are the same again.
func (db *DB) settle() error {
	cause := db.unsure
	db.reading.Store(nil)
	if db.bolt != nil {
		b := db.bolt
		db.bolt = nil
		if err := abandon(b); err != nil {
			return err
		}
	}
	switch err := db.attempt(); {
	case errors.Is(err, ErrDamaged):
		return errors.Join(err, db.breaks(err))
	case err != nil:
		return fmt.Errorf("store read again: %w", err)
	}
	db.log.Warn("store read again after a write failed", "error", cause, "settled", db.unsure == nil)
	return nil
}

// heal begins another file with what the memory holds, and puts it in the
// place of the damaged one, which is set aside. Metadata is not in memory: the
// lists' client fetches it again, and finds the lists there.
func (db *DB) heal() (err error) {
	if !db.healed.IsZero() && time.Since(db.healed) < healRest {
		return nil
	}
	db.healed = time.Now()
	n := db.sibling(db.path + healing)
	n.inner = true
	if err := os.Remove(n.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("begin another file: %w", err)
	}
	defer func() {
		if err == nil {
			return
		}
		err = fmt.Errorf("begin another file: %w", err)
		db.log.Error("store stays damaged; its lists answer and none is replaced", "error", err)
		if n.bolt != nil && !n.hung {
			err = errors.Join(err, abandon(n.bolt))
		}
		err = errors.Join(err, os.Remove(n.path))
	}()
	if err := n.attempt(); err != nil {
		return err
	}
	if err := n.restore(db.view.Load()); err != nil {
		return err
	}
	to, err := db.asideName()
	if err != nil {
		return err
	}
	// A second name first, so that there is a file at every moment; not every
	// file system has that.
	if os.Link(db.path, to) != nil {
		if err := os.Rename(db.path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(n.path, db.path); err != nil {
		return err
	}
	old, hung := db.bolt, db.hung
	db.bolt, db.broken, db.hung, db.unsure, db.staged, db.stagedHashes = n.bolt, nil, false, nil, map[string]*list{}, n.stagedHashes
	db.view.Store(n.view.Load())
	db.reading.Store(n.bolt)
	db.suspect.Store(nil)
	db.aside.Store(&to)
	db.log.Error("damaged store set aside, another begun with what was in memory", "to", to, "no_end", hung)
	if old != nil && !hung {
		if err := abandon(old); err != nil {
			db.log.Warn("damaged store not closed", "error", err)
		}
	}
	// From here on the new file is in use, whatever happens.
	if err := marker(db.path + ".opening").remove(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		db.log.Warn("store's marker not removed", "error", err)
	}
	if err := syncDir(filepath.Dir(db.path)); err != nil {
		db.log.Warn("store's folder not flushed", "error", err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// restore fills a new file with what a view holds. Revocation lists are not in
// memory: they are fetched anew, and count as not held until then.
func (db *DB) restore(v *view) error {
	err := db.Install(func(tx *Tx) error {
		if raw := v.signed.keys; raw != nil {
			keys, err := pass.ParseKeySet(raw)
			if err != nil {
				return err
			}
			if err := tx.SetKeys(v.keyVersion, keys, raw); err != nil {
				return err
			}
		}
		if v.signed.policy != nil {
			if err := tx.SetPolicy(v.policy, v.signed.policy); err != nil {
				return err
			}
		}
		if v.signed.riskMap != nil {
			if err := tx.SetMap(v.riskMap, v.signed.riskMap); err != nil {
				return err
			}
		}
		if v.floor.IsZero() {
			return nil
		}
		return tx.RaiseFloor(v.floor)
	})
	if err != nil {
		return err
	}
	for uri, l := range v.lists {
		raw := l.raw
		if l.info.Size > stagePieces*chunkBytes {
			if err := db.Stage(l.info, raw); err != nil {
				return err
			}
			raw = nil
		}
		if err := db.Install(func(tx *Tx) error {
			return errors.Join(tx.PutList(l.info, raw), tx.Confirm([]string{uri}, l.confirmed))
		}); err != nil {
			return err
		}
	}
	return nil
}
