package journal

import (
	"errors"
	"os"
	"syscall"
)

// lostErrors are what the kernel says of bytes that a disk does not give back: of
// the medium, and of a file system that finds its own sums wrong.
var lostErrors = []error{syscall.EIO, syscall.EBADMSG, syscall.EUCLEAN}

// datasync flushes the file's bytes. It leaves the times in the inode to
// their own pace, which is the second flush that fsync would cost.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// reserve takes blocks for so many bytes, which are zeros until they are written.
func reserve(f *os.File, size int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fallocate", err)
		}
	}
}
