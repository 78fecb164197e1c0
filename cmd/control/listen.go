package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// maxPath is the longest path of a unix socket (unix(7)).
const maxPath = 107

// Listen opens a unix socket that only its owner and root can use. A socket on
// which nobody answers, left behind by a crash, is replaced; anything else that
// stands there stays.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("%s has %d bytes, a socket's path at most %d\nhint: name a shorter one", path, len(path), maxPath)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there and is no socket\nhint: name another path, or remove it", path)
	default:
		if c, err := net.Dial("unix", path); err == nil {
			return nil, errors.Join(fmt.Errorf("%s: another process answers there\nhint: give each gate a socket of its own", path), c.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w\nhint: its folder must exist, and this user write there", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
