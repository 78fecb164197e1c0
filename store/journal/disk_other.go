//go:build !linux

package journal

import (
	"errors"
	"os"
	"syscall"
)

// lostErrors are what the system says of bytes that a disk does not give back.
var lostErrors = []error{syscall.EIO}

// datasync flushes the file's bytes.
func datasync(f *os.File) error { return f.Sync() }

// reserve is not known here.
func reserve(*os.File, int64) error { return errors.ErrUnsupported }
