package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"greengate/pass/hashlist"
)

// Defaults.
const (
	// DefaultMaxBytes is the most bytes of all lists together: 268 million codes.
	DefaultMaxBytes = 64 << 20
	// DefaultMaxHashBytes is the most bytes of all revocation lists: 12 million
	// hashes; a quarter of that where addresses have 32 bits.
	DefaultMaxHashBytes = 192 << 20
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
	// MaxHashBytes is the most bytes that all revocation lists of foreign codes
	// may have together, DefaultMaxHashBytes if 0. They are in the file twice
	// while they are replaced, and in memory not at all.
	MaxHashBytes int64
	// MapBytes is the address space reserved for the file, four times MaxBytes
	// and twice MaxHashBytes if 0, and less where addresses have 32 bits. It costs no memory; a file
	// that outgrows it stalls readers of the file, not lookups.
	MapBytes int
	// Log hears of trouble that is handled here; nil for none.
	Log *slog.Logger

	patience time.Duration // for tests
}

// DB is an open store.
type DB struct {
	path     string
	log      *slog.Logger
	most     int64
	mapBytes int
	// mostHashes is the most bytes of all revocation lists.
	mostHashes int64
	patience   time.Duration
	lock       io.Closer
	// inner: this is the file that a damaged one is replaced by.
	inner bool

	view atomic.Pointer[view]
	// reading is what Metadata reads, nil while there is nothing to read.
	reading atomic.Pointer[bolt.DB]
	// suspect is the damage that Metadata met with, for the next Install.
	suspect atomic.Pointer[error]
	// aside is where a damaged file was put, nil for none.
	aside atomic.Pointer[string]

	mu     sync.Mutex // held while the file is changed
	bolt   *bolt.DB   // nil after a disk did not let it be opened again
	closed bool
	broken error // what is wrong with the file; nothing is written any more
	hung   bool  // bbolt did not come back, and may still be at it
	unsure error // why it is not known what the disk holds
	healed time.Time
	began  int              // the file's last transaction when this change began
	staged map[string]*list // by URI
	// stagedHashes are the revocation lists that are written and not put.
	stagedHashes map[hashlist.ID]*stagedHashes
}

// Open opens the file at path, and makes it if there is none. Its directory
// must exist.
//
// A file that is damaged is set aside, under its name with ".damaged-1" behind
// it, and a new one is begun; [DB.SetAside] tells. A single list that is
// damaged is dropped. Errors wrap [ErrLocked] or [ErrSchema], or are the disk's.
func Open(path string, o Options) (*DB, error) {
	db := &DB{path: path, log: o.Log, most: o.MaxBytes, mapBytes: o.MapBytes, patience: o.patience, staged: map[string]*list{},
		mostHashes: o.MaxHashBytes, stagedHashes: map[hashlist.ID]*stagedHashes{}}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.patience == 0 {
		db.patience = patience
	}
	if db.most == 0 {
		db.most = DefaultMaxBytes
	}
	if db.mostHashes == 0 {
		db.mostHashes = DefaultMaxHashBytes
		if !is64 {
			db.mostHashes /= 4
		}
	}
	if db.mapBytes == 0 {
		db.mapBytes = int(min(4*db.most+2*db.mostHashes, 1<<31-1))
	}
	if !is64 {
		db.mapBytes = min(db.mapBytes, maxFile32)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	db.lock = lock
	if err := db.open(); err != nil {
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
func (db *DB) open() error {
	m := marker(db.path + ".opening")
	tried, err := m.tried(db.path)
	if err != nil {
		return err
	}
	if err := os.Remove(db.path + healing); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
	err = db.attempt()
	if errors.Is(err, errNoEnd) {
		// Nobody is in the lane yet, and what goes on would take a core for
		// ever: the program had better end, and be started again.
		return errors.Join(fmt.Errorf("%w; the next start sets the file aside", err), m.write(db.path, maxTries))
	}
	if errors.Is(err, ErrDamaged) {
		if err = db.setAside(err); err == nil {
			err = db.attempt()
		}
	}
	if rerr := m.remove(); !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}

// attempt opens the file once, and reads it into memory.
func (db *DB) attempt() error {
	size := int64(0)
	if fi, err := os.Stat(db.path); err == nil {
		size = fi.Size()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Apart from db: what has no end goes on.
	s := db.sibling(db.path)
	var late atomic.Bool
	err := bounded(db.limit(size), func() error {
		err := s.read()
		if late.Load() && s.bolt != nil {
			err = errors.Join(err, s.bolt.Close()) // nobody is there to hear it
		}
		return err
	})
	if errors.Is(err, errNoEnd) {
		late.Store(true)
		return err
	}
	if err != nil {
		if s.bolt != nil {
			err = errors.Join(err, abandon(s.bolt))
		}
		return err
	}
	db.bolt, db.unsure, db.staged, db.stagedHashes = s.bolt, s.unsure, s.staged, s.stagedHashes
	// The view first: a list of the old one may have lost its blocks in the file
	// that is read from now on, and would be taken for damaged.
	db.view.Store(s.view.Load())
	db.reading.Store(s.bolt)
	return nil
}

// sibling returns a store with the bounds of this one that is not open yet.
func (db *DB) sibling(path string) *DB {
	return &DB{path: path, log: db.log, most: db.most, mapBytes: db.mapBytes, patience: db.patience, staged: map[string]*list{},
		mostHashes: db.mostHashes, stagedHashes: map[hashlist.ID]*stagedHashes{}}
}

// read is what attempt does.
func (db *DB) read() (err error) {
	if db.unsure, err = inspect(db.path); err != nil {
		return err
	}
	if db.unsure != nil {
		db.log.Warn("store not flushed, its lists answer and none is replaced", "error", db.unsure)
	}
	o := &bolt.Options{
		Timeout:         lockWait,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: db.mapBytes,
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

// abandon closes a file. bbolt may panic once more, or wait for a lock that a
// panic, or a reader without an end, has left: then its handle is left to the
// process's end, which is why such a file is renamed and never opened again.
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

// SetAside returns where a damaged file was put by Open, or while the store was
// in use; "" if it was whole. After Open what was in it must be fetched again,
// and the clock's floor is lost with it.
func (db *DB) SetAside() string {
	if p := db.aside.Load(); p != nil {
		return *p
	}
	return ""
}

// Close waits for an Install that runs and closes the file. Lookups go on
// answering from memory. Close may be called twice.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	db.reading.Store(nil)
	if db.bolt == nil {
		return db.lock.Close()
	}
	return errors.Join(abandon(db.bolt), db.lock.Close())
}

// Metadata returns what SetMetadata kept for the role, nil for nothing. Bytes
// that are not what was kept count as nothing, and are logged; so does all
// metadata of a file that is damaged, until it has been fetched again.
func (db *DB) Metadata(role string) []byte {
	b := db.reading.Load()
	if b == nil || db.suspect.Load() != nil {
		return nil
	}
	var raw []byte
	var wrong error
	err := bounded(db.limit(MaxMetadata), func() error {
		return b.View(func(tx *bolt.Tx) error {
			if stored := tx.Bucket(metadataBucket).Get([]byte(role)); stored != nil {
				raw, wrong = checked("metadata of role "+role, stored)
			}
			return nil
		})
	})
	if err == nil {
		err = wrong
	} else if errors.Is(err, ErrDamaged) && b == db.reading.Load() {
		db.suspect.Store(&err)
	}
	if err != nil {
		db.log.Error("stored metadata not readable", "role", role, "error", err)
		return nil
	}
	return raw
}
