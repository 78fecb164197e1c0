package publisher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tempPrefix marks files that a crash left behind; the sweep removes them.
const tempPrefix = ".tmp-"

// writeFile makes the file appear whole or not at all: after the rename, a
// power cut leaves either the old or the new content.
func writeFile(path string, data []byte, perm os.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	renamed := false
	defer func() {
		if err != nil && !renamed {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		// Without the flush the rename may reach the disk before the bytes do.
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	renamed = true
	if serr := syncDir(dir); serr != nil {
		return fmt.Errorf("flush %s: %w", dir, serr)
	}
	return nil
}

// makeDirs makes the folder and those above it that are missing. Each is on disk
// in the folder above it before anything is written into it: flushing a file
// says nothing of the folders that lead to it.
func makeDirs(dir string, perm os.FileMode) error {
	err := os.Mkdir(dir, perm)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(filepath.Dir(dir), perm); err != nil {
			return err
		}
		err = os.Mkdir(dir, perm)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // a file of this name shows when something is written into it
	}
	if err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("flush %s: %w", filepath.Dir(dir), err)
	}
	return nil
}

// syncDir makes renames in the folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// hashed returns the name under which a target file lies with consistent
// snapshots: "status/3301/0.tsl" becomes "status/3301/HASH.0.tsl"
// (TUF specification 1.0, section 6.2).
func hashed(path, hash string) string {
	i := strings.LastIndexByte(path, '/') + 1
	return path[:i] + hash + "." + path[i:]
}
