package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Whatever bbolt is asked to do has an end: a damaged page may make it panic,
// fault, or go round for ever.
const (
	// patience is how long bbolt may take for something small: a card that is
	// worn out answers after seconds.
	patience = 30 * time.Second
	// within is how many bytes the slowest disk believed in moves meanwhile.
	within = 64 << 20
)

// errNoEnd: what was begun goes on, and holds what it holds.
var errNoEnd = errors.New("no end")

// limit is how long something may take that moves so many bytes.
func (db *DB) limit(bytes int64) time.Duration {
	return db.patience + time.Duration(float64(db.patience)*float64(bytes)/within)
}

// bounded calls f, which uses bbolt. A panic in there, a mapped page that
// cannot be read, and no end within the limit are ErrDamaged. After the last,
// which is also errNoEnd, f goes on, and nobody may use what it uses.
func bounded(limit time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("%w: %v", ErrDamaged, p)
			}
		}()
		done <- f()
	}()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case err := <-done:
		return err
	case <-timeout.C:
		return fmt.Errorf("%w: %w within %s", ErrDamaged, errNoEnd, limit)
	}
}

// guard calls f, which uses bbolt. After damage the memory goes on answering,
// nothing more is written to this file, and mend begins another. The caller
// holds mu.
func (db *DB) guard(f func() error) error {
	if db.hung {
		return db.broken // f would use what still goes on
	}
	err := bounded(db.limit(4*db.most), f)
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	db.hung = errors.Is(err, errNoEnd)
	return errors.Join(err, db.breaks(err))
}

// breaks takes note that the file is damaged. If the process ends before
// another is begun, the next start sets it aside. The caller holds mu.
func (db *DB) breaks(err error) error {
	if db.broken != nil {
		return nil
	}
	db.broken = err
	if db.inner {
		return nil
	}
	db.log.Error("store damaged, another file is begun", "error", err)
	return marker(db.path+".opening").write(db.path, maxTries)
}

// usable says whether the file may be written. What was left to mend is mended
// first; whoever called has planned with what was before, and begins again.
// The caller holds mu.
func (db *DB) usable() error {
	if db.closed {
		return ErrClosed
	}
	if found := db.suspect.Load(); found != nil {
		if err := db.breaks(*found); err != nil {
			return err
		}
	}
	if err := errors.Join(db.broken, db.unsure); err != nil {
		return db.mend(err)
	}
	began := 0 // not db's own, which belongs to another file once this has no end
	if err := db.guard(func() (err error) {
		began, err = lastTx(db.bolt)
		return err
	}); err != nil {
		return err
	}
	db.began = began
	return nil
}

// lastTx returns the number of the file's last transaction.
func lastTx(b *bolt.DB) (id int, err error) {
	err = b.View(func(tx *bolt.Tx) error {
		id = tx.ID()
		return nil
	})
	return id, err
}

// mend puts right what went wrong while the file was changed, for which err
// was returned: a damaged file is replaced; one in which a commit failed and
// is there all the same is read again. It returns err with what cannot be put
// right. The caller holds mu, and has no transaction.
func (db *DB) mend(err error) error {
	if err == nil || db.inner {
		return err
	}
	if db.broken == nil && db.unsure == nil {
		// bbolt takes a failed commit back, but when the last flush of all
		// failed, its own next reader finds the transaction done.
		now := db.began
		e := db.guard(func() (err error) {
			now, err = lastTx(db.bolt)
			return err
		})
		if e != nil {
			err = errors.Join(err, e)
		} else if now != db.began {
			db.unsure = err
		}
	}
	if db.broken == nil && db.unsure != nil {
		err = errors.Join(err, db.settle())
	}
	if db.broken != nil {
		err = errors.Join(err, db.heal())
	}
	return err
}
