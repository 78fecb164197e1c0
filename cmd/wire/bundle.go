package wire

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"syscall"
)

const (
	// maxBundle is the most bytes of a bundle: what one run of the lists'
	// client may fetch.
	maxBundle = 256 << 20
	// maxBundleFiles bounds its entries: a nation's lists are some 900.
	maxBundleFiles = 20000
)

var (
	errBundle = errors.New("no bundle of lists")
	errRoom   = errors.New("too little room on the disk")
)

// bundlePath is what a file of a repository may be called: no hidden files, no
// names of other systems, nothing deep.
var bundlePath = regexp.MustCompile(`^(metadata|targets(/[A-Za-z0-9][A-Za-z0-9_-]{0,63}){0,4})/[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

// unpacker takes a bundle apart: a tar with regular files of a repository, each
// once, to its very end. What is in them is for the lists' client to judge.
type unpacker struct {
	dir string
	// room is asked now and then whether the disk has enough left.
	room  func() error
	files int
	size  int64
}

// unpack writes the files below dir.
func (u *unpacker) unpack(r io.Reader) error {
	if err := u.room(); err != nil {
		return err
	}
	root, err := os.OpenRoot(u.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	in := &tail{r: r, left: maxBundle}
	t := tar.NewReader(in)
	for entries := 0; ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return bundleError(err)
		}
		if entries++; entries > 2*maxBundleFiles || u.files >= maxBundleFiles {
			return fmt.Errorf("%w: more than %d files", errBundle, maxBundleFiles)
		}
		name := strings.TrimPrefix(h.Name, "./")
		switch {
		case h.Typeflag == tar.TypeDir && (name == "" || fs.ValidPath(strings.TrimSuffix(name, "/"))):
			continue // made with the files in it
		case h.Typeflag != tar.TypeReg:
			return fmt.Errorf("%w: %.100q is no regular file", errBundle, h.Name)
		case !fs.ValidPath(name) || !bundlePath.MatchString(name):
			return fmt.Errorf("%w: it holds %.100q, and not only metadata/ and targets/", errBundle, h.Name)
		case h.Size > maxBundle-u.size:
			return fmt.Errorf("%w: more than %d MiB\nhint: `gatehub lists export -region` writes fewer lists", errBundle, int64(maxBundle)>>20)
		}
		if err := u.file(root, name, t); err != nil {
			return err
		}
	}
	if err := in.end(); err != nil {
		return err
	}
	if u.files == 0 {
		return fmt.Errorf("%w: it is empty", errBundle)
	}
	return nil
}

func (u *unpacker) file(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return diskError(err)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %.100q is in it twice", errBundle, name)
	}
	if err != nil {
		return diskError(err)
	}
	defer f.Close()
	const step = 1 << 20
	for {
		n, err := io.CopyN(f, r, step)
		if u.size += n; u.size > maxBundle {
			// A sparse entry is longer than what came of it.
			return fmt.Errorf("%w: more than %d MiB", errBundle, int64(maxBundle)>>20)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return bundleError(err)
		}
		if err := u.room(); err != nil {
			return err
		}
	}
	u.files++
	return diskError(f.Close())
}

// bundleError tells an error of what came from one of where it was written to.
func bundleError(err error) error {
	var disk *fs.PathError
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.As(err, &disk):
		return diskError(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends in the middle\nhint: send it again, whole", errBundle)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: not a tar\nhint: a folder, or what `gatehub lists export` wrote; packed bundles are unpacked first", errBundle)
	}
	return fmt.Errorf("%w: %w", errBundle, err)
}

func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", errRoom, err)
	}
	return err
}

// tail remembers how what came ended: archive/tar takes a bundle that was cut
// between two files for a whole one.
type tail struct {
	r    io.Reader
	left int64
	read int64
	// zeros is how many of the last bytes are 0.
	zeros int64
}

func (t *tail) Read(p []byte) (int, error) {
	if t.left <= 0 {
		return 0, fmt.Errorf("more than %d MiB\nhint: `gatehub lists export -region` writes fewer lists", int64(maxBundle)>>20)
	}
	n, err := t.r.Read(p[:min(int64(len(p)), t.left)])
	t.left -= int64(n)
	t.read += int64(n)
	for _, b := range p[:n] {
		if t.zeros++; b != 0 {
			t.zeros = 0
		}
	}
	return n, err
}

// end reads what is left, which is zeros that pad a tar to its record, and
// fails where the two blocks of zeros that end one are missing.
func (t *tail) end() error {
	if t.read == 0 {
		return fmt.Errorf("%w: nothing came", errBundle)
	}
	if t.zeros < 1024 {
		return fmt.Errorf("%w: it ends in the middle\nhint: send it again, whole", errBundle)
	}
	zeros, read := t.zeros, t.read
	if _, err := io.Copy(io.Discard, t); err != nil {
		return bundleError(err)
	}
	if t.zeros-zeros != t.read-read {
		return fmt.Errorf("%w: something follows its end", errBundle)
	}
	return nil
}
