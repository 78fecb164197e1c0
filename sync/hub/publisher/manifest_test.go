package publisher

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRestore: a folder is brought from one state to another and back, cut in
// between, and holds what the manifest says and nothing else.
func TestRestore(t *testing.T) {
	keys, lists := filepath.Join(t.TempDir(), "keys"), filepath.Join(t.TempDir(), "lists")
	now := time.Now()
	p, err := Init(keys, lists, Options{Provinces: []string{"33"}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	first, err := ReadManifest(lists)
	if err != nil {
		t.Fatal(err)
	}
	old := map[string][]byte{}
	for _, f := range first.Files {
		if old[f.Path], err = os.ReadFile(filepath.Join(lists, f.Path)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := ReadManifest(lists)
	if err != nil {
		t.Fatal(err)
	}
	if second.Timestamp != first.Timestamp+1 {
		t.Errorf("timestamp %d after %d", second.Timestamp, first.Timestamp)
	}
	out := filepath.Join(t.TempDir(), "out")
	fetches := 0
	fetch := func(_ context.Context, f ManifestFile) ([]byte, error) {
		if fetches++; fetches == 3 {
			return nil, errors.New("cut")
		}
		return os.ReadFile(filepath.Join(lists, f.Path))
	}
	if err := second.Restore(t.Context(), out, fetch); err == nil {
		t.Error("a fetch that was cut restored the state")
	}
	if _, err := os.Stat(timestampPath(out)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a state has a timestamp: %v", err)
	}
	if err := second.Restore(t.Context(), out, fetch); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(keys, out, Options{}); err != nil {
		t.Errorf("what was restored: %v", err)
	}
	back := func(_ context.Context, f ManifestFile) ([]byte, error) { return old[f.Path], nil }
	if err := first.Restore(t.Context(), out, back); err != nil {
		t.Fatal(err)
	}
	got, err := ReadManifest(out)
	if err != nil {
		t.Fatal(err)
	}
	want, err := first.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if data, err := got.Marshal(); err != nil || string(data) != string(want) {
		t.Errorf("restored %s, want %s: %v", data, want, err)
	}
	// Other bytes than the digest says are not taken.
	wrong := func(context.Context, ManifestFile) ([]byte, error) { return []byte("{}"), nil }
	if err := second.Restore(t.Context(), out, wrong); !errors.Is(err, ErrDamaged) {
		t.Errorf("wrong bytes: %v", err)
	}
}

// TestFollow: nobody signs in a folder that another hub's lists lie in.
func TestFollow(t *testing.T) {
	keys, lists := filepath.Join(t.TempDir(), "keys"), filepath.Join(t.TempDir(), "lists")
	p, err := Init(keys, lists, Options{Provinces: []string{"33"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := Follow(lists, true); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Heartbeat(t.Context()); !errors.Is(err, ErrFollower) {
		t.Errorf("heartbeat: %v", err)
	}
	for range 2 {
		if err := Follow(lists, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Heartbeat(t.Context()); err != nil {
		t.Errorf("heartbeat again: %v", err)
	}
}

// TestParseManifest: nothing that leads out of the folder, or is not as it is written, is taken.
func TestParseManifest(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	file := func(path string) string { return `{"path":"` + path + `","sha256":"` + sum + `","size":1}` }
	list := func(files ...string) string { return `{"timestamp":7,"files":[` + strings.Join(files, ",") + `]}` }
	stamp := file("metadata/timestamp.json")
	if m, err := ParseManifest([]byte(list(file("metadata/1.root.json"), stamp))); err != nil || m.Timestamp != 7 || len(m.Files) != 2 {
		t.Errorf("a good one: %v %v", m, err)
	}
	for _, text := range []string{
		"", "{}", list(), list(file("metadata/1.root.json")), list(stamp, stamp), list(stamp, file("metadata/1.root.json")),
		list(stamp, file("metadata/../../x")), list(stamp, file("targets/../1.a.json")), list(stamp, file("/targets/1.a.json")),
		list(stamp, file("other/1.a.json")), list(stamp, file("targets/plain")), list(stamp) + " ", " " + list(stamp),
		strings.Replace(list(stamp), sum, "ab", 1), strings.Replace(list(stamp), ":1}", ":-1}", 1),
		strings.Replace(list(stamp), "{", `{"more":1,`, 1),
	} {
		if _, err := ParseManifest([]byte(text)); err == nil {
			t.Errorf("taken: %s", text)
		}
	}
}
