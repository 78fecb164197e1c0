package serial

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// shareable prepares opening a port that may be the slave of a pseudo-terminal,
// and returns what to call once it is open.
//
// The library marks each port as exclusive (TIOCEXCL). A real port loses the
// mark when its last reader is gone, even by a kill. The slave of a
// pseudo-terminal keeps it for as long as the master is open, and then nobody
// but root can open it again: a gate that was killed in front of a simulated
// scanner could not come back. So here the mark is taken off such a port again,
// through a handle of our own that was open before.
func shareable(port string) (release func(), err error) {
	real, err := filepath.EvalSymlinks(port)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(real, "/dev/pts/") {
		return func() {}, nil
	}
	fd, err := unix.Open(real, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return func() {
		// Failing leaves the port exclusive, as the library made it: the reader
		// works all the same.
		_ = unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
		_ = unix.Close(fd)
	}, nil
}
