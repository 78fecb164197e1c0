package camera

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// folderEvery is how often a folder is looked at.
	folderEvery = 100 * time.Millisecond
	// maxFile is the largest picture file that is read.
	maxFile = 32 << 20
)

// Folder is a Source of the pictures that appear in a folder: PNG and JPEG, by
// their names' ends, in the order of their names, each once. What is there
// when it starts is looked at too.
//
// Put a picture there by renaming: one that is still being written is looked
// at and, when it has changed, looked at again. Names that begin with a dot are
// passed over.
type Folder struct {
	// Path of the folder.
	Path string
	// Consume removes each picture once it was looked at, so that none is looked at
	// again after a restart.
	Consume bool
}

// Live is false: each picture counts.
func (f *Folder) Live() bool { return false }

// String is the path.
func (f *Folder) String() string { return f.Path }

// version tells one content of a file from the next, without reading it.
type version struct {
	size int64
	at   time.Time
}

// Run delivers pictures until ctx is done or the folder cannot be read.
func (f *Folder) Run(ctx context.Context, ready func(), frames func(Image)) error {
	tick := time.NewTicker(folderEvery)
	defer tick.Stop()
	seen := map[string]version{}
	for first := true; ; first = false {
		entries, err := os.ReadDir(f.Path) // sorted by name
		if err != nil {
			return fmt.Errorf("picture folder: %w", err)
		}
		if first {
			ready()
		}
		there := make(map[string]version, len(seen))
		for _, e := range entries {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() || !picture(e.Name()) {
				continue // gone again, or not ours
			}
			v := version{info.Size(), info.ModTime()}
			there[e.Name()] = v
			if old, ok := seen[e.Name()]; ok && old == v {
				continue
			}
			name := filepath.Join(f.Path, e.Name())
			data, err := readFile(name)
			if err != nil {
				if os.IsNotExist(err) {
					continue
				}
				return err
			}
			frames(Image{Format: Encoded, Data: data})
			if f.Consume {
				if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
					return fmt.Errorf("picture folder: %w", err)
				}
			}
		}
		seen = there
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// picture reports whether a file of that name is one.
func picture(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".png", ".jpg", ".jpeg":
		return true
	}
	return false
}

// readFile reads a picture file; of one that is larger than maxFile, only so
// much that decoding it fails.
func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, fmt.Errorf("picture %s: %w", name, err)
	}
	return data, nil
}
