package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Fetcher reads one file of a repository. Errors wrap ErrNotFound,
// ErrTooLarge or ErrUnavailable.
type Fetcher interface {
	// Fetch returns the file at a slash-separated path below the repository,
	// whole, and never more than limit bytes of it.
	Fetch(ctx context.Context, path string, limit int64) ([]byte, error)
}

// timestampFile is the only file that changes under its name.
const timestampFile = "metadata/timestamp.json"

// Dir fetches from a folder, such as a USB stick's. No link leads out of it.
type Dir struct {
	root *os.Root
}

// OpenDir opens the repository in the folder; the caller closes it.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("repository folder: %w", err)
	}
	return &Dir{root}, nil
}

// Close closes the folder.
func (d *Dir) Close() error { return d.root.Close() }

// Fetch implements [Fetcher].
func (d *Dir) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	if !fs.ValidPath(path) {
		return nil, fmt.Errorf("file %.64q: %w: no path", path, ErrNotFound)
	}
	// A stick may hold a pipe under this name, and opening one would wait for ever.
	info, err := d.root.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("file %s: %w", path, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("file %s: %w: not a regular file", path, ErrNotFound)
	}
	f, err := d.root.Open(path)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	defer f.Close()
	return readAll(f, path, limit)
}

// readAll reads to the end, or one byte beyond limit.
func readAll(r io.Reader, path string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("file %s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	return data, nil
}

var (
	_ Fetcher = (*HTTPS)(nil)
	_ Fetcher = (*Dir)(nil)
)
