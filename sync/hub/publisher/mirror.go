package publisher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Mirrored is what a mirror wrote.
type Mirrored struct {
	// Written and Removed count files, Bytes what was written.
	Written int   `json:"written"`
	Removed int   `json:"removed"`
	Bytes   int64 `json:"bytes"`
}

// mirrorTries is how often a mirror begins anew because files that it was about
// to copy were swept meanwhile. They are kept for many publishes.
const mirrorTries = 3

// Mirror makes the folder out hold the repository in repoDir as plain files, for
// a web server or for what fills an object store. Only what is new is written,
// each file whole or not at all, and timestamp.json last: whoever fetches from
// out meanwhile sees the old state or the new one. What the repository no
// longer holds goes. A publish may happen at the same time.
func Mirror(ctx context.Context, repoDir, out string) (m Mirrored, err error) {
	fail := func(err error) (Mirrored, error) { return m, fmt.Errorf("mirror in %s: %w", out, err) }
	if apart, err := apartFrom(repoDir, out); err != nil {
		return fail(err)
	} else if !apart {
		return fail(errors.New("it lies in the repository's own folder, or the other way round"))
	}
	if err := makeDirs(filepath.Join(out, "metadata"), 0o755); err != nil {
		return fail(err)
	}
	unlock, err := lockFolder(out)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	for range mirrorTries {
		err = m.copy(ctx, repoDir, out)
		if !errors.Is(err, errSwept) {
			break
		}
	}
	if err != nil {
		return fail(err)
	}
	return m, nil
}

// errSwept: a file went while it was about to be copied.
var errSwept = errors.New("the repository moved on")

// apartFrom reports that neither folder lies in the other.
func apartFrom(a, b string) (bool, error) {
	var abs [2]string
	for i, dir := range []string{a, b} {
		path, err := filepath.Abs(dir)
		if err != nil {
			return false, err
		}
		// The folder may not be there yet; one that is may be a link.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		abs[i] = path + string(filepath.Separator)
	}
	return !strings.HasPrefix(abs[0], abs[1]) && !strings.HasPrefix(abs[1], abs[0]), nil
}

// lockFolder keeps other mirrors out of the folder.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		// Closing gives the lock back; there is nothing to lose in a file
		// without content.
		_ = f.Close()
	}, nil
}

// copy brings out up to the timestamp that is visible as it begins. All that
// this names is there by then.
func (m *Mirrored) copy(ctx context.Context, repoDir, out string) error {
	newest, err := newestRoot(repoDir)
	if err != nil {
		return err
	}
	timestamp, err := os.ReadFile(timestampPath(repoDir))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("folder %s: %w", repoDir, ErrNoRepository)
	}
	if err != nil {
		return err
	}
	if err := sameAuthority(repoDir, out); err != nil {
		return err
	}
	wanted := map[string]bool{}
	// Roots come after all other metadata: whoever follows a new one needs the rest.
	var roots []string
	for _, top := range []string{"targets", "metadata"} {
		err := filepath.WalkDir(filepath.Join(repoDir, top), func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // no target was published yet, or it was swept since the folder was read
			}
			if err != nil {
				return err
			}
			name, err := filepath.Rel(repoDir, path)
			if err != nil {
				return err
			}
			if !e.Type().IsRegular() || !versioned.MatchString(e.Name()) {
				return nil
			}
			wanted[name] = true
			if rootFile.MatchString(e.Name()) {
				roots = append(roots, name)
				return nil
			}
			return m.file(ctx, repoDir, out, name)
		})
		if err != nil {
			return err
		}
	}
	// A root that came meanwhile would say that another key signs the timestamp
	// than signed this one, until the next mirror.
	if now, err := newestRoot(repoDir); err != nil || now != newest {
		return errors.Join(errSwept, err)
	}
	for _, name := range roots {
		if err := m.file(ctx, repoDir, out, name); err != nil {
			return err
		}
	}
	if have, err := os.ReadFile(timestampPath(out)); err == nil && bytes.Equal(have, timestamp) {
		return nil // and nothing to sweep either
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeFile(timestampPath(out), timestamp, 0o644); err != nil {
		return err
	}
	m.Written, m.Bytes = m.Written+1, m.Bytes+int64(len(timestamp))
	return m.sweep(out, wanted)
}

// sameAuthority refuses to write over what another authority publishes.
func sameAuthority(repoDir, out string) error {
	mine, err := os.ReadFile(metadataPath(repoDir, "root", 1))
	if err != nil {
		return err
	}
	theirs, err := os.ReadFile(metadataPath(out, "root", 1))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(mine, theirs) {
		return fmt.Errorf("%w, and its root is another", ErrExists)
	}
	return nil
}

// file copies one file unless it is there. A target's name has its digest, so
// that a length is enough to know it again; metadata that a cut publish left
// may come again with other bytes.
func (m *Mirrored) file(ctx context.Context, repoDir, out, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	from, to := filepath.Join(repoDir, name), filepath.Join(out, name)
	target := !strings.HasPrefix(name, "metadata")
	have, err := os.Stat(to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && target {
		if info, err := os.Stat(from); err == nil && info.Size() == have.Size() {
			return nil
		}
	}
	data, rerr := os.ReadFile(from)
	if errors.Is(rerr, fs.ErrNotExist) {
		return errSwept
	}
	if rerr != nil {
		return rerr
	}
	if target {
		if sum := sha256.Sum256(data); !strings.HasPrefix(filepath.Base(name), hex.EncodeToString(sum[:])+".") {
			return damaged(from, errors.New("it is not what its name says"))
		}
	} else if err == nil {
		old, err := os.ReadFile(to)
		if err != nil {
			return err
		}
		if bytes.Equal(old, data) {
			return nil
		}
	}
	if err := makeDirs(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := writeFile(to, data, 0o644); err != nil {
		return err
	}
	m.Written, m.Bytes = m.Written+1, m.Bytes+int64(len(data))
	return nil
}

// sweep removes what a mirror wrote once and the repository holds no more.
// What somebody else put there is left alone.
func (m *Mirrored) sweep(out string, wanted map[string]bool) error {
	for _, top := range []string{"targets", "metadata"} {
		err := filepath.WalkDir(filepath.Join(out, top), func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !e.Type().IsRegular() || !ours(path) || rootFile.MatchString(e.Name()) {
				return err
			}
			name, err := filepath.Rel(out, path)
			if err != nil || wanted[name] {
				return err
			}
			m.Removed++
			return os.Remove(path)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
