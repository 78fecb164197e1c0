package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// maxTries is how many starts may end while the file is opened before it is
// set aside: once may be a power cut, twice is the file.
const maxTries = 2

// marker is a file that exists while the store is opened. Some damaged files
// end the process in a goroutine of bbolt's own, where nothing recovers, or
// never come to an end: the marker is how the next start knows.
type marker string

// mark is the marker's content.
type mark struct {
	Tries int `json:"tries"`
	// Inode tells the file, so that one put in its place is tried anew.
	Inode uint64 `json:"inode"`
}

func inode(path string) (uint64, error) {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino, nil
	}
	return 0, nil
}

// tried returns how many starts in a row ended while the file at path was opened.
func (m marker) tried(path string) (int, error) {
	data, err := os.ReadFile(string(m))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var old mark
	if json.Unmarshal(data, &old) != nil {
		return 1, nil // the marker itself was cut
	}
	now, err := inode(path)
	if err != nil {
		return 0, err
	}
	if old.Inode != now || old.Tries < 0 {
		return 0, nil
	}
	return old.Tries, nil
}

func (m marker) write(path string, tries int) error {
	now, err := inode(path)
	if err != nil {
		return err
	}
	data, err := json.Marshal(mark{Tries: tries, Inode: now})
	if err != nil {
		return err
	}
	return os.WriteFile(string(m), data, 0o600)
}

func (m marker) remove() error { return os.Remove(string(m)) }

// keptAside is how many damaged files are kept for whoever looks into it.
const keptAside = 2

// asideName returns a free name for a damaged file; the oldest of those set
// aside before may go.
func (db *DB) asideName() (string, error) {
	name := func(n int) string { return fmt.Sprintf("%s.damaged-%d", db.path, n) }
	n := 1
	for ; n <= keptAside; n++ {
		if _, err := os.Lstat(name(n)); errors.Is(err, fs.ErrNotExist) {
			return name(n), nil
		} else if err != nil {
			return "", err
		}
	}
	for i := 1; i < keptAside; i++ {
		if err := os.Rename(name(i+1), name(i)); err != nil {
			return "", err
		}
	}
	return name(keptAside), nil
}

// setAside renames the file.
func (db *DB) setAside(cause error) error {
	to, err := db.asideName()
	if err != nil {
		return err
	}
	if err := os.Rename(db.path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db.aside.Store(&to)
	db.log.Error("store set aside, lists must be fetched again", "to", to, "error", cause)
	return nil
}
