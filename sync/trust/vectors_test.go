package trust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// shared returns a folder beside the module, or skips the test.
func shared(t *testing.T, parts ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the package")
		}
		dir = up
	}
	path := filepath.Join(append([]string{dir, "..", "shared"}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("vectors %s are not there", path)
	}
	return path
}

// find walks the delegations in order of trust, as the specification's section
// 5.6.7 says: our own roles need no search, other repositories do.
func find(w *workflow, path, role, delegator string, seen map[string]bool) (*metadata.TargetFiles, error) {
	if seen[role] {
		return nil, nil
	}
	seen[role] = true
	md, err := w.targets(context.Background(), role, delegator, nil)
	if err != nil {
		return nil, err
	}
	if target := md.Signed.Targets[path]; target != nil || md.Signed.Delegations == nil {
		return target, nil
	}
	for _, d := range md.Signed.Delegations.GetRolesForTarget(path) {
		if target, err := find(w, path, d.Name, role, seen); err != nil || target != nil || d.Terminating {
			return target, err
		}
	}
	return nil, nil
}

// tampered reads from a folder, with one file changed on its way.
type tampered struct {
	Fetcher
	path   string
	change func([]byte) []byte
	asked  map[string]bool
}

func (f *tampered) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	data, err := f.Fetcher.Fetch(ctx, path, limit)
	if err == nil {
		f.asked[path] = true
	}
	if err != nil || path != f.path {
		return data, err
	}
	return f.change(slices.Clone(data)), nil
}

// The repositories of two other implementations, whole.
func TestVectors(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(shared(t, "vectors", "tuf-static"), "*", "initial_root.json"))
	if err != nil || len(dirs) < 2 {
		t.Fatalf("found %v, %v, want two repositories", dirs, err)
	}
	read := func(parts ...string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(parts...))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, root := range dirs {
		dir := filepath.Dir(root)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			at, err := time.Parse("2006-01-02 15:04:05-07:00", strings.TrimSpace(string(read(dir, "faketime"))))
			if err != nil {
				t.Fatal(err)
			}
			folder, err := OpenDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer folder.Close()
			way := &tampered{Fetcher: folder, asked: map[string]bool{}}
			refresh := func(at time.Time, stored map[string][]byte) (*workflow, int, error) {
				ctx := context.Background()
				w, err := newWorkflow(way, Limits{}.withDefaults(), read(root), at)
				if err != nil {
					return nil, 0, err
				}
				roots := 0
				err = w.roots(ctx, func([]byte, bool) error { roots++; return nil })
				if err != nil {
					return w, roots, err
				}
				fetched, err := w.fetch(ctx, timestampFile, w.limits.Timestamp)
				if err != nil {
					return w, roots, err
				}
				if _, err := w.timestamp(stored[metadata.TIMESTAMP], fetched); err != nil {
					return w, roots, err
				}
				return w, roots, w.snapshot(ctx, stored[metadata.SNAPSHOT])
			}
			w, roots, err := refresh(at, nil)
			if err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, "metadata", "*.root.json"))
			if err != nil {
				t.Fatal(err)
			}
			first, err := metadata.Root().FromBytes(read(root))
			if err != nil {
				t.Fatal(err)
			}
			newest := w.trusted.Root.Signed.Version
			if newest != int64(len(files)) || roots != int(newest-first.Signed.Version) {
				t.Errorf("followed %d roots from version %d to %d, want to reach %d", roots, first.Signed.Version, newest, len(files))
			}
			path := strings.TrimSpace(string(read(dir, "targetpath")))
			target, err := find(w, path, metadata.TARGETS, metadata.ROOT, map[string]bool{})
			if err != nil || target == nil {
				t.Fatalf("target %s not found: %v", path, err)
			}
			data, err := w.target(context.Background(), path, target, 1<<20)
			if err != nil || int64(len(data)) != target.Length {
				t.Errorf("target %s: %d bytes, %v", path, len(data), err)
			}

			// Every file of the repository was needed; each of them changed in
			// whatever way is refused.
			all := func() error {
				w, _, err := refresh(at, nil)
				if err != nil {
					return err
				}
				target, err := find(w, path, metadata.TARGETS, metadata.ROOT, map[string]bool{})
				if err != nil {
					return err
				}
				if target == nil {
					return fmt.Errorf("target %s: %w", path, ErrNotFound)
				}
				_, err = w.target(context.Background(), path, target, 1<<20)
				return err
			}
			for _, glob := range []string{"metadata/*.json", "targets/*", "targets/*/*"} {
				names, err := filepath.Glob(filepath.Join(dir, glob))
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					rel, err := filepath.Rel(dir, name)
					if err != nil {
						t.Fatal(err)
					}
					info, err := os.Stat(name)
					if err != nil {
						t.Fatal(err)
					}
					// The root that one starts from is not fetched, nor those before it, nor
					// a role that has nothing to do with the target.
					var n int64
					_, scan := fmt.Sscanf(rel, "metadata/%d.root.json", &n)
					if info.IsDir() || scan == nil && n <= first.Signed.Version || strings.HasPrefix(rel, "metadata/5.registry.") {
						continue
					}
					if !way.asked[rel] {
						t.Errorf("%s was not asked for", rel)
					}
					for what, change := range map[string]func([]byte) []byte{
						"a bit":    func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
						"cut":      func(b []byte) []byte { return b[:len(b)-2] },
						"empty":    func([]byte) []byte { return nil },
						"one more": func(b []byte) []byte { return append(b, 'x') },
					} {
						way.path, way.change = rel, change
						if err := all(); err == nil {
							t.Errorf("%s changed (%s) and nobody minds", rel, what)
						}
					}
					way.path = ""
				}
			}
			if err := all(); err != nil {
				t.Errorf("unchanged again: %v", err)
			}

			// Each of the ends in the metadata is one: a second after the first of
			// them something is refused, a second before nothing is.
			ends := w.trusted.Root.Signed.Expires
			for _, end := range []time.Time{w.trusted.Timestamp.Signed.Expires, w.trusted.Snapshot.Signed.Expires, w.trusted.Targets[metadata.TARGETS].Signed.Expires} {
				if end.Before(ends) {
					ends = end
				}
			}
			for _, md := range w.trusted.Targets {
				if md.Signed.Expires.Before(ends) {
					ends = md.Signed.Expires
				}
			}
			was := at
			at = ends.Add(-time.Second)
			if err := all(); err != nil {
				t.Errorf("a second before the end: %v", err)
			}
			at = ends.Add(time.Second)
			if err := all(); !errors.Is(err, ErrExpired) {
				t.Errorf("a second after the end: got %v, want ErrExpired", err)
			}
			at = was

			// Again on what was stored, and then far too late.
			if _, _, err := refresh(at, w.raw); err != nil {
				t.Errorf("second refresh: %v", err)
			}
			if _, _, err := refresh(at.AddDate(50, 0, 0), nil); !errors.Is(err, ErrExpired) {
				t.Errorf("fifty years later: got %v, want ErrExpired", err)
			}
		})
	}
}
