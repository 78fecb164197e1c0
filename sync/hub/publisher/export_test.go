package publisher

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// names lists a tar, in its order.
func names(t *testing.T, bundle []byte) (names []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(bundle)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

// An export has what is current and nothing else, of the regions asked for.
func TestExport(t *testing.T) {
	d := newDesk(t, "33", "44")
	lists := func(colour byte) []List {
		return []List{list("https://h.example/3301/0", colour), list("https://h.example/3302/0", colour), list("https://h.example/4401/0", colour)}
	}
	d.publish(Contents{Keys: issuer(t), Lists: lists(0)})
	d.publish(Contents{Lists: lists(3)})
	if _, err := d.Rotate(t.Context(), "root"); err != nil {
		t.Fatal(err)
	}
	before := d.files()
	for _, row := range []struct {
		regions   []string
		lists     int
		has, lack []string
	}{
		{nil, 3, []string{"/3301/", "/3302/", "/4401/", "keys.json", "1.root.json", "2.root.json"}, nil},
		{[]string{"33"}, 2, []string{"/3301/", "/3302/", ".status-33.json"}, []string{"/4401/", "status-44"}},
		{[]string{"330106"}, 1, []string{"/3301/", "keys.json"}, []string{"/3302/", "/4401/"}},
		{[]string{"3302", "44"}, 2, []string{"/3302/", "/4401/"}, []string{"/3301/"}},
		{[]string{"55"}, 0, []string{"keys.json"}, []string{"status-"}},
	} {
		var a, b bytes.Buffer
		out, err := ExportTar(d.repo, row.regions, &a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ExportTar(d.repo, row.regions, &b); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%v: twice the same is not the same: %v", row.regions, err)
		}
		files := names(t, a.Bytes())
		all := strings.Join(files, "\n")
		for _, s := range row.has {
			if !strings.Contains(all, s) {
				t.Errorf("%v: no %s in\n%s", row.regions, s, all)
			}
		}
		for _, s := range row.lack {
			if strings.Contains(all, s) {
				t.Errorf("%v: %s in\n%s", row.regions, s, all)
			}
		}
		if out.Lists != row.lists || out.Files != len(files) || files[len(files)-1] != "metadata/timestamp.json" || strings.Count(all, ".snapshot.json") != 1 {
			t.Errorf("%v: %+v in\n%s", row.regions, out, all)
		}
		stick := filepath.Join(t.TempDir(), "stick")
		if _, err := ExportDir(d.repo, row.regions, stick); err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			got, err := os.ReadFile(filepath.Join(stick, filepath.FromSlash(name)))
			if want, _ := os.ReadFile(filepath.Join(d.repo, filepath.FromSlash(name))); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v: %s: %v", row.regions, name, err)
			}
		}
	}
	if after := d.files(); !slices.Equal(before, after) {
		t.Errorf("the repository changed:\n%v\n%v", before, after)
	}
	if _, err := ExportTar(d.repo, []string{"zhejiang"}, io.Discard); err == nil {
		t.Error("a region in words was taken")
	}
}

// A stick is used again and again: the last export is all that is on it, beside
// what is not ours.
func TestExportToAUsedStick(t *testing.T) {
	d := newDesk(t, "33")
	stick := t.TempDir()
	count := func() (n int) {
		err := filepath.WalkDir(stick, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := os.WriteFile(filepath.Join(stick, "holiday.jpg"), []byte("sea"), 0o644); err != nil {
		t.Fatal(err)
	}
	for colour := range 3 {
		d.publish(Contents{Lists: []List{list("https://h.example/3301/0", byte(colour))}})
		out, err := ExportDir(d.repo, nil, stick)
		if err != nil || count() != out.Files+1 {
			t.Errorf("export %d: %+v, %d files, %v", colour, out, count(), err)
		}
	}
	if _, err := ExportDir(d.repo, nil, d.repo); !errors.Is(err, ErrExists) {
		t.Errorf("onto the repository itself: %v", err)
	}
	if _, err := ExportDir(stick, nil, t.TempDir()); err != nil {
		t.Errorf("from a stick to the next: %v", err)
	}
	if _, err := ExportDir(t.TempDir(), nil, t.TempDir()); !errors.Is(err, ErrNoRepository) {
		t.Errorf("from nothing: %v", err)
	}
	targets, err := filepath.Glob(filepath.Join(d.repo, "targets", "status", "3301", "*.tsl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range targets {
		if err := os.WriteFile(path, []byte("not this"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ExportDir(d.repo, nil, t.TempDir()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged list was exported: %v", err)
	}
}
