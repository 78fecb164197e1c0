package trust

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
			t.Skip("no go.mod above the package")
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
func find(t *testing.T, w *workflow, path, role, delegator string, seen map[string]bool) *metadata.TargetFiles {
	t.Helper()
	if seen[role] {
		return nil
	}
	seen[role] = true
	md, err := w.targets(context.Background(), role, delegator, nil)
	if err != nil {
		t.Fatal(err)
	}
	if target := md.Signed.Targets[path]; target != nil {
		return target
	}
	if md.Signed.Delegations == nil {
		return nil
	}
	for _, d := range md.Signed.Delegations.GetRolesForTarget(path) {
		if target := find(t, w, path, d.Name, role, seen); target != nil || d.Terminating {
			return target
		}
	}
	return nil
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
			refresh := func(at time.Time, stored map[string][]byte) (*workflow, int, error) {
				ctx := context.Background()
				w, err := newWorkflow(folder, Limits{}.withDefaults(), read(root), at)
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
			target := find(t, w, path, metadata.TARGETS, metadata.ROOT, map[string]bool{})
			if target == nil {
				t.Fatalf("target %s not found", path)
			}
			data, err := w.target(context.Background(), path, target, 1<<20)
			if err != nil || int64(len(data)) != target.Length {
				t.Errorf("target %s: %d bytes, %v", path, len(data), err)
			}

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
