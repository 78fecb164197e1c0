package publisher

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// contents maps the files below a folder to their digests, but for locks.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == ".lock" {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		out[name] = sha256.Sum256(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	x, y := contents(t, a), contents(t, b)
	for name, sum := range x {
		if y[name] != sum {
			t.Errorf("%s differs or is missing", name)
		}
	}
	for name := range y {
		if _, ok := x[name]; !ok {
			t.Errorf("%s is left over", name)
		}
	}
}

func TestMirror(t *testing.T) {
	d := newDesk(t, "33")
	out := filepath.Join(t.TempDir(), "www", "lists")
	mirror := func() Mirrored {
		t.Helper()
		m, err := Mirror(t.Context(), d.repo, out)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	d.publish(Contents{Keys: issuer(t), Lists: []List{list("https://h.example/3301/0", 0), list("https://h.example/3301/1", 0)}})
	if m := mirror(); m.Written < 8 {
		t.Errorf("first time %+v", m)
	}
	sameFiles(t, d.repo, out)
	if m := mirror(); m != (Mirrored{}) {
		t.Errorf("nothing new, but %+v", m)
	}

	// A recolour is a list, its role, the snapshot and the timestamp.
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 3)}})
	if m := mirror(); m.Written != 4 {
		t.Errorf("a recolour wrote %+v, want four files", m)
	}
	sameFiles(t, d.repo, out)

	// What the repository swept goes, and what is somebody else's stays.
	foreign := filepath.Join(out, "metadata", "README")
	if err := os.WriteFile(foreign, []byte("ours"), 0o644); err != nil {
		t.Fatal(err)
	}
	removed := 0
	for i := range byte(6) {
		d.publish(Contents{Lists: []List{list("https://h.example/3301/0", i%3)}})
		removed += mirror().Removed
	}
	if removed == 0 {
		t.Error("nothing was removed in six publishes")
	}
	if err := os.Remove(foreign); err != nil {
		t.Errorf("a file of somebody else: %v", err)
	}
	sameFiles(t, d.repo, out)
}

// A publish that was cut leaves metadata that comes again with other bytes.
func TestMirrorOfACutPublish(t *testing.T) {
	d := newDesk(t, "33")
	out := t.TempDir()
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 0)}})
	next := metadataPath(d.repo, "snapshot", 3)
	if err := os.WriteFile(next, []byte("half of another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Mirror(t.Context(), d.repo, out); err != nil {
		t.Fatal(err)
	}
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 1)}})
	if _, err := Mirror(t.Context(), d.repo, out); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(next); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, d.repo, out)
}

// Cut anywhere, the folder is the old state or can be completed: the timestamp
// never names what is not there.
func TestMirrorCutAnywhere(t *testing.T) {
	d := newDesk(t, "33")
	d.publish(Contents{Keys: issuer(t), Lists: []List{list("https://h.example/3301/0", 0)}})
	for n := 0; ; n++ {
		out := t.TempDir()
		if _, err := Mirror(t.Context(), d.repo, out); err != nil {
			t.Fatal(err)
		}
		d.publish(Contents{Lists: []List{list("https://h.example/3301/0", byte(n%3)), list("https://h.example/3301/1", byte(n%2))}})
		_, err := Mirror(&cutAfter{Context: t.Context(), left: n}, d.repo, out)
		if _, lerr := loadRepository(out); lerr != nil {
			t.Fatalf("cut at file %d: %v", n, lerr)
		}
		if err == nil {
			if n < 4 {
				t.Fatalf("only %d places to cut at", n)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := Mirror(t.Context(), d.repo, out); err != nil {
			t.Fatal(err)
		}
		sameFiles(t, d.repo, out)
	}
}

// cutAfter ends when it was asked so many times.
type cutAfter struct {
	context.Context
	left int
}

func (c *cutAfter) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestMirrorRefuses(t *testing.T) {
	d, other := newDesk(t, "33"), newDesk(t, "33")
	for _, out := range []string{d.repo, filepath.Join(d.repo, "www"), filepath.Dir(d.repo)} {
		if _, err := Mirror(t.Context(), d.repo, out); err == nil || !strings.Contains(err.Error(), "own folder") {
			t.Errorf("%s: %v", out, err)
		}
	}
	out := t.TempDir()
	if _, err := Mirror(t.Context(), other.repo, out); err != nil {
		t.Fatal(err)
	}
	if _, err := Mirror(t.Context(), d.repo, out); !errors.Is(err, ErrExists) {
		t.Errorf("over another authority's lists: %v", err)
	}
	sameFiles(t, other.repo, out)
	if _, err := Mirror(t.Context(), t.TempDir(), t.TempDir()); !errors.Is(err, ErrNoRepository) {
		t.Errorf("of an empty folder: %v", err)
	}
	// A target that the disk changed is not spread.
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 0)}})
	targets, err := filepath.Glob(filepath.Join(d.repo, "targets", "status", "3301", "*"))
	if err != nil || len(targets) != 1 {
		t.Fatal(targets, err)
	}
	if err := os.WriteFile(targets[0], []byte("rot"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Mirror(t.Context(), d.repo, t.TempDir()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a changed target: %v", err)
	}
}
