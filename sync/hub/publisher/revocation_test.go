package publisher

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"greengate/pass/hashlist"
)

const berlin = "0c4b15512be91401"

// numbers are the hashes from number first to before n.
func numbers(first, n int) []hashlist.Entry {
	entries := make([]hashlist.Entry, 0, n)
	for i := first; i < n; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		entries = append(entries, hashlist.Entry{Hash: hashlist.Hash(sum[:16])})
	}
	return hashlist.Normal(entries)
}

func eu(first, n int) Contents {
	return Contents{Revocations: []HashList{{Scheme: hashlist.EU, KeyID: berlin, Entries: numbers(first, n)}}}
}

// described reads a list as it is published.
func (d *desk) described(id hashlist.ID) hashlist.Description {
	d.t.Helper()
	r, err := loadRepository(d.repo)
	if err != nil {
		d.t.Fatal(err)
	}
	t := r.targets[revocationRole].Signed.Targets[id.Path()]
	if t == nil {
		d.t.Fatalf("list %s is not published", id)
	}
	x, err := hashDescription(id.Path(), t)
	if err != nil {
		d.t.Fatal(err)
	}
	return x
}

func (d *desk) target(name string) []byte {
	d.t.Helper()
	data, err := os.ReadFile(filepath.Join(d.repo, "targets", filepath.FromSlash(name)))
	if err != nil {
		d.t.Fatal(err)
	}
	return data
}

func TestRevocationsCostNothingUnchanged(t *testing.T) {
	d := newDesk(t, "33")
	v := d.publish(eu(0, 500))
	if !slices.Equal(v.Signed, []string{revocationRole}) || len(v.Revocations) != 1 || v.Revocations[0].Sequence != 1 || v.Revocations[0].Entries != 500 {
		t.Errorf("first: signed %v, lists %+v", v.Signed, v.Revocations)
	}
	before := d.files()
	if v = d.publish(eu(0, 500)); len(v.Signed) != 0 || len(v.Revocations) != 0 {
		t.Errorf("unchanged: signed %v, lists %+v", v.Signed, v.Revocations)
	}
	if after := d.files(); !slices.Equal(before, after) {
		t.Errorf("unchanged: files %v, want %v", after, before)
	}
	// The offline keys are away: what is revoked does not wait for them.
	if err := os.Rename(filepath.Join(d.keys, "offline"), filepath.Join(d.keys, "away")); err != nil {
		t.Fatal(err)
	}
	if v = d.publish(eu(0, 501)); len(v.Revocations) != 1 || v.Revocations[0].Sequence != 2 {
		t.Errorf("one more: %+v", v.Revocations)
	}
	// Past half their life they get another, under the next sequence, in passing.
	d.now = d.now.Add(16 * 24 * time.Hour)
	v = d.publish(Contents{})
	if len(v.Revocations) != 1 || v.Revocations[0].Sequence != 3 || v.Revocations[0].SHA256 != sha256.Sum256(mustList(t, numbers(0, 501)).File()) {
		t.Errorf("after 16 days: %+v", v.Revocations)
	}
	// An empty list is a list; a dropped one is gone.
	v = d.publish(Contents{Revocations: []HashList{{Scheme: hashlist.SHC, KeyID: "ff"}, {Scheme: hashlist.EU, KeyID: berlin, Drop: true}}})
	infos, err := d.Revocations()
	if err != nil || len(infos) != 1 || infos[0].Scheme != hashlist.SHC || infos[0].Entries != 0 || len(v.Revocations) != 1 {
		t.Errorf("published are %+v, %v", infos, err)
	}
}

func mustList(t *testing.T, entries []hashlist.Entry) hashlist.List {
	t.Helper()
	l, err := hashlist.New(hashlist.EU, entries)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestRevocationDeltas publishes for 60 days, and makes the last generation of
// each one that a gate may hold.
func TestRevocationDeltas(t *testing.T) {
	d := newDesk(t, "33")
	id := hashlist.ID{Scheme: hashlist.EU, KeyID: berlin}
	var generations []hashlist.List
	var times []time.Time
	put := func(first, n int) {
		entries := numbers(first, n)
		generations = append(generations, mustList(t, entries))
		d.publish(Contents{Revocations: []HashList{{Scheme: hashlist.EU, KeyID: berlin, Entries: entries}}})
		times = append(times, d.now)
	}
	for i := range 60 {
		put(i, 2000+3*i) // one is no longer revoked, three more are
		if i%3 == 2 {
			// Somebody is, and is not.
			put(i, 2000+3*i+1)
			put(i, 2000+3*i)
		}
		d.now = d.now.Add(24 * time.Hour)
	}
	last := len(generations)
	x := d.described(id)
	if x.Sequence < uint64(last) || len(x.Deltas) < 3 || len(x.Deltas) > 5 {
		t.Fatalf("sequence %d with %d deltas", x.Sequence, len(x.Deltas))
	}
	served := 0
	for g, l := range generations[:last-1] {
		held := x.Info
		held.Sequence, held.SHA256 = uint64(g+1), sha256.Sum256(l.File())
		delta, ok := x.Delta(held)
		if !ok {
			if age := d.now.Sub(times[g]); age < 30*24*time.Hour {
				t.Errorf("generation of %s ago has no delta", age)
			}
			continue
		}
		served++
		file := d.target(hashDeltaName(id, delta))
		if sha256.Sum256(file) != delta.SHA256 || int64(len(file)) != delta.Size {
			t.Fatalf("delta from %d is not the described one", delta.From)
		}
		changes, err := hashlist.ParseDelta(hashlist.EU, file)
		if err != nil {
			t.Fatal(err)
		}
		made, err := hashlist.Apply(hashlist.EU, l, changes)
		if err != nil || sha256.Sum256(made.File()) != x.SHA256 {
			t.Errorf("delta from %d on generation %d makes another list, %v", delta.From, g+1, err)
		}
	}
	if served < 25 {
		t.Errorf("%d generations are served by deltas", served)
	}
	// The folder holds what the kept snapshots point to, and no more.
	files := 0
	if err := filepath.WalkDir(filepath.Join(d.repo, "targets", "revocation"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files++
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if files > 3*6 {
		t.Errorf("%d files are left", files)
	}
	// A delta that the disk lost leads nowhere; the list is there.
	for _, p := range d.files() {
		if strings.HasSuffix(p, ".ghd") {
			if err := os.Remove(filepath.Join(d.repo, p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(100, 2200)
	if x := d.described(id); len(x.Deltas) != 1 || x.Deltas[0].From != x.Sequence-1 {
		t.Errorf("deltas %+v, want one from the last generation", x.Deltas)
	}
}

// TestPartitions: a list that is too large for one is cut, and grown together
// again when it shrank.
func TestPartitions(t *testing.T) {
	large := HashList{Scheme: hashlist.EU, KeyID: berlin, Entries: numbers(0, 600_000)}
	for _, row := range []struct {
		what      string
		n, digits int // as it is published now, -1 for not
		want      int
	}{
		{"small", 1000, -1, 1},
		{"as large as fits at first", 500_000, -1, 1},
		{"more", 600_000, -1, 16},
		{"more, and one list until now", 600_000, 0, 1},
		{"cut, and still large", 200_000, 1, 16},
		{"cut, and small", 20_000, 1, 1},
		{"cut finely", 600_000, 2, 256},
		{"none", 0, -1, 1},
	} {
		l := large
		l.Entries = l.Entries[:row.n]
		parts, err := l.parts(row.digits)
		if err != nil || len(parts) != row.want {
			t.Errorf("%s: %d parts, %v; want %d", row.what, len(parts), err, row.want)
		}
		sum := 0
		for _, p := range parts {
			sum += len(p.entries)
			for _, e := range p.entries {
				if !p.id.Contains(e.Hash) {
					t.Fatalf("%s: %x in part %s", row.what, e.Hash, p.id)
				}
			}
		}
		if sum != row.n {
			t.Errorf("%s: %d entries in the parts, want %d", row.what, sum, row.n)
		}
	}
	l := HashList{Scheme: hashlist.EU, KeyID: berlin, Entries: []hashlist.Entry{{Hash: hashlist.Hash{2}}, {Hash: hashlist.Hash{1}}}}
	if _, err := l.parts(-1); !errors.Is(err, ErrHashList) {
		t.Errorf("unsorted: %v", err)
	}

	d := newDesk(t, "33")
	v := d.publish(Contents{Revocations: []HashList{large}})
	if len(v.Revocations) != 16 {
		t.Fatalf("%d lists, want 16", len(v.Revocations))
	}
	large.Entries = numbers(0, 600_001)
	if v = d.publish(Contents{Revocations: []HashList{large}}); len(v.Revocations) != 1 || v.Revocations[0].Sequence != 2 {
		t.Errorf("one more entry: %+v", v.Revocations)
	}
	large.Entries = nil
	v = d.publish(Contents{Revocations: []HashList{large}})
	if infos, err := d.Revocations(); err != nil || len(infos) != 1 || infos[0].Part != "" || len(v.Revocations) != 1 {
		t.Errorf("published are %+v, %v", infos, err)
	}
}

// TestRevocationsComeBack: whoever held a list before it was dropped or cut
// another way sees that what came back is newer.
func TestRevocationsComeBack(t *testing.T) {
	d := newDesk(t, "33")
	all := hashlist.ID{Scheme: hashlist.EU, KeyID: berlin}
	last := uint64(0)
	for range 3 {
		for n := range 3 {
			d.publish(eu(0, n))
			x := d.described(all)
			if x.Sequence <= last {
				t.Errorf("sequence %d after %d", x.Sequence, last)
			}
			last = x.Sequence
		}
		d.publish(Contents{Revocations: []HashList{{Scheme: hashlist.EU, KeyID: berlin, Drop: true}}})
	}
	if _, err := d.Rotate(context.Background(), revocationRole); err != nil {
		t.Fatal(err)
	}
	d.publish(eu(0, 1))
	if x := d.described(all); x.Sequence <= last {
		t.Errorf("after a rotation: sequence %d after %d", x.Sequence, last)
	}
}

func TestRevocationsRefused(t *testing.T) {
	d := newDesk(t, "33")
	for _, l := range []HashList{
		{Scheme: "nzcp", KeyID: berlin},
		{Scheme: hashlist.EU, KeyID: "Berlin"},
		{Scheme: hashlist.EU, KeyID: berlin, Entries: []hashlist.Entry{{Before: 5}}},
	} {
		if _, err := d.Publish(context.Background(), Contents{Issued: d.now.Add(time.Minute), Revocations: []HashList{l}}); !errors.Is(err, ErrHashList) {
			t.Errorf("%s of key %s: %v", l.Scheme, l.KeyID, err)
		}
	}
	if infos, err := d.Revocations(); err != nil || len(infos) != 0 {
		t.Errorf("published are %+v, %v", infos, err)
	}
	// A repository from before there was the role gets it with the offline keys.
	if _, err := d.AddRole(context.Background(), revocationRole); err != nil {
		t.Error(err)
	}
	if v, err := d.Rotate(context.Background(), revocationRole); err != nil || v.Roles[revocationRole] == 0 {
		t.Errorf("rotated: %+v, %v", v, err)
	}
	d.publish(eu(0, 3))
}
