package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Defaults.
const (
	// DefaultMaxBytes is the most bytes of all lists together: 268 million codes.
	DefaultMaxBytes = 64 << 20
	// lockWait is how long another process is waited for: the one before this
	// may be on its way out.
	lockWait = time.Second
	// is64 is whether int has 64 bits.
	is64 = strconv.IntSize == 64
	// maxFile32 is the most bytes of the file where addresses have 32 bits.
	// bbolt maps the whole file, and its handle is dead once a mapping fails.
	maxFile32 = 256 << 20
)

// Options of a store. The zero Options are good.
type Options struct {
	// MaxBytes is the most bytes that all lists may have together,
	// DefaultMaxBytes if 0. They are in memory once and in the file up to
	// three times.
	MaxBytes int64
	// MapBytes is the address space reserved for the file, four times MaxBytes
	// if 0, and less where addresses have 32 bits. It costs no memory; a file
	// that outgrows it stalls readers of the file, not lookups.
	MapBytes int
	// Log hears of trouble that is handled here; nil for none.
	Log *slog.Logger
}

// DB is an open store.
type DB struct {
	path string
	log  *slog.Logger
	most int64
	bolt *bolt.DB
	lock io.Closer
	// aside is where a damaged file was put, "" for none.
	aside string

	view atomic.Pointer[view]

	mu     sync.Mutex // held while the file is changed
	closed bool
	broken error            // a panic of bbolt's; nothing is written any more
	staged map[string]*list // by URI
}

// Open opens the file at path, and makes it if there is none. Its directory
// must exist.
//
// A file that is damaged is set aside, under its name with ".damaged-1" behind
// it, and a new one is begun; [DB.SetAside] tells. A single list that is
// damaged is dropped. Errors wrap [ErrLocked] or [ErrSchema], or are the disk's.
func Open(path string, o Options) (*DB, error) {
	db := &DB{path: path, log: o.Log, most: o.MaxBytes, staged: map[string]*list{}}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.most == 0 {
		db.most = DefaultMaxBytes
	}
	mapBytes := o.MapBytes
	if mapBytes == 0 {
		mapBytes = int(min(4*db.most, 1<<31-1))
	}
	if !is64 {
		mapBytes = min(mapBytes, maxFile32)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	db.lock = lock
	if err := db.open(mapBytes); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", path, err), lock.Close())
	}
	return db, nil
}

// lockFile takes a lock beside the file. bbolt's own lock comes too late: it
// does not cover the marker.
func lockFile(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	deadline := time.NewTimer(lockWait)
	defer deadline.Stop()
	again := time.NewTicker(lockWait / 20)
	defer again.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
		}
		select {
		case <-again.C:
		case <-deadline.C:
			return nil, errors.Join(ErrLocked, f.Close())
		}
	}
}

// open opens the file, or sets it aside and opens a new one.
func (db *DB) open(mapBytes int) error {
	m := marker(db.path + ".opening")
	tried, err := m.tried(db.path)
	if err != nil {
		return err
	}
	if tried >= maxTries {
		if err := db.setAside(fmt.Errorf("%w: %d starts ended while it was opened", ErrDamaged, tried)); err != nil {
			return err
		}
		tried = 0
	}
	switch err := m.write(db.path, tried+1); {
	case errors.Is(err, syscall.ENOSPC):
		// A gate whose disk is full must live to empty its journal.
		db.log.Warn("no room for the store's marker, opened without", "file", string(m), "error", err)
	case err != nil:
		return err
	}
	err = db.attempt(mapBytes)
	if errors.Is(err, ErrDamaged) {
		if err = db.setAside(err); err == nil {
			err = db.attempt(mapBytes)
		}
	}
	if rerr := m.remove(); !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}

// attempt opens the file once. A panic of bbolt on this goroutine, and a
// mapped page that cannot be read, are ErrDamaged.
func (db *DB) attempt(mapBytes int) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		if err != nil && db.bolt != nil {
			err = errors.Join(err, abandon(db.bolt))
			db.bolt = nil
		}
	}()
	o := &bolt.Options{
		Timeout:         lockWait,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mapBytes,
		PageSize:        pageSize,
	}
	if !is64 {
		o.MaxSize = maxFile32
	}
	db.bolt, err = bolt.Open(db.path, 0o600, o)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
	if err != nil {
		return unlessDisk(err)
	}
	// The file grows by whole MiB: fewer changes of its size, fewer flushes.
	db.bolt.AllocSize = 1 << 20
	return db.load()
}

// unlessDisk marks bbolt's errors about what it read with ErrDamaged, many of
// which have no name, and leaves those of the disk and of limits as they are:
// a file that cannot be read today may be read tomorrow.
func unlessDisk(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) || errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return diskError(err)
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// guard calls f, which uses bbolt. A panic in there, or a mapped page that
// cannot be read, is ErrDamaged: the memory goes on answering, nothing more is
// written, and the next start sets the file aside. The caller holds mu.
func (db *DB) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			db.broken = fmt.Errorf("%w: %v", ErrDamaged, p)
			db.log.Error("store damaged, to be set aside at the next start", "error", db.broken)
			err = errors.Join(db.broken, marker(db.path+".opening").write(db.path, maxTries))
		}
	}()
	return f()
}

// usable says whether the file may be written. The caller holds mu.
func (db *DB) usable() error {
	if db.closed {
		return ErrClosed
	}
	return db.broken
}

// abandon closes a file that did not open well. bbolt may panic once more, or
// wait for a lock that a panic has left: then its handle is left to the
// process's end, which is why the file is renamed and never opened again.
func abandon(b *bolt.DB) error {
	closed := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				closed <- fmt.Errorf("close: %v", p)
			}
		}()
		closed <- b.Close()
	}()
	deadline := time.NewTimer(lockWait)
	defer deadline.Stop()
	select {
	case err := <-closed:
		return err
	case <-deadline.C:
		return errors.New("close: no end")
	}
}

// SetAside returns where Open has put a damaged file, "" if it was whole. What
// was in it must be fetched again, and the clock's floor is lost with it.
func (db *DB) SetAside() string { return db.aside }

// Close waits for an Install that runs and closes the file. Lookups go on
// answering from memory. Close may be called twice.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	if db.broken != nil {
		return errors.Join(abandon(db.bolt), db.lock.Close())
	}
	return errors.Join(db.bolt.Close(), db.lock.Close())
}

// Metadata returns what SetMetadata kept for the role, nil for nothing. Bytes
// that are not what was kept count as nothing, and are logged.
func (db *DB) Metadata(role string) []byte {
	raw, err := db.metadata(role)
	if err != nil {
		db.log.Error("stored metadata not readable", "role", role, "error", err)
		return nil
	}
	return raw
}

func (db *DB) metadata(role string) (raw []byte, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			raw, err = nil, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	err = db.bolt.View(func(tx *bolt.Tx) (err error) {
		if stored := tx.Bucket(metadataBucket).Get([]byte(role)); stored != nil {
			raw, err = checked("metadata of role "+role, stored)
		}
		return err
	})
	return raw, err
}
