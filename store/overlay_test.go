package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/statuslist"
)

// history makes the generations of one list: each changes a few entries of the
// one before it, as recolouring does.
type history struct {
	t    testing.TB
	r    *rand.Rand
	info statuslist.Info
	raw  []byte
}

func newHistory(t testing.TB, n, size int) *history {
	t.Helper()
	info, raw := made(n, 1, size)
	return &history{t, rand.New(rand.NewPCG(uint64(n), 1)), info, raw}
}

// next makes the next generation with so many entries drawn anew, and returns
// the delta to it.
func (h *history) next(changes int) (delta []byte) {
	h.t.Helper()
	from, err := statuslist.FromRaw(h.raw, 2)
	if err != nil {
		h.t.Fatal(err)
	}
	to, err := statuslist.FromRaw(bytes.Clone(h.raw), 2)
	if err != nil {
		h.t.Fatal(err)
	}
	for range changes {
		if err := to.Set(h.r.Uint64N(to.Len()), uint8(h.r.IntN(4))); err != nil {
			h.t.Fatal(err)
		}
	}
	if delta, err = statuslist.Diff(from, to); err != nil {
		h.t.Fatal(err)
	}
	h.raw = to.Raw()
	h.info.Sequence++
	h.info.Issued = h.info.Issued.Add(time.Minute)
	h.info.SHA256 = sha256.Sum256(h.raw)
	return delta
}

// want compares what is held with the newest generation, entry by entry.
func (h *history) want(db *DB) {
	h.t.Helper()
	for i := range uint64(len(h.raw) * 4) {
		l := db.Lookup(pass.StatusRef{URI: h.info.URI, Index: i})
		if l.Sequence != h.info.Sequence || l.Status != gate.StatusOf(h.raw[i/4]>>(i%4*2)&3) {
			h.t.Fatalf("generation %d, entry %d: %+v", h.info.Sequence, i, l)
		}
	}
}

// overlays counts the deltas in the file, and tells their bytes.
func overlays(t testing.TB, db *DB) (n int) {
	t.Helper()
	if err := db.bolt.View(func(tx *bolt.Tx) error {
		return tx.Bucket(overlaysBucket).ForEach(func(k, v []byte) error { n++; return nil })
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDeltasLieOverTheListUntilThereAreTooMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	h := newHistory(t, 1, 64<<10)
	install(t, db, func(tx *Tx) error { return tx.PutList(h.info, h.raw) })
	other := put(t, db, 2, 1, 1000)

	most, merged, before := 0, 0, 0
	for range 3 * maxOverlays {
		delta := h.next(20)
		install(t, db, func(tx *Tx) error { return tx.PatchList(h.info, delta) })
		if !bytes.Equal(db.Bits(h.info.URI), h.raw) {
			t.Fatalf("generation %d is another", h.info.Sequence)
		}
		n := overlays(t, db)
		most = max(most, n)
		if n < before {
			merged++
		}
		before = n
	}
	if most != maxOverlays || merged < 2 {
		t.Errorf("at most %d deltas over the list, merged %d times", most, merged)
	}
	if n := generations(t, db); n != 2 {
		t.Errorf("%d generations for two lists", n)
	}
	shut(t, db)
	db = open(t, path, Options{})
	h.want(db)
	if !bytes.Equal(db.Bits(uri(2)), other) {
		t.Error("the other list changed")
	}
	if n := generations(t, db); n != 2 {
		t.Errorf("%d generations for two lists after the start", n)
	}

	// One large delta is a list written anew.
	delta := h.next(60_000)
	install(t, db, func(tx *Tx) error { return tx.PatchList(h.info, delta) })
	h.want(db)
	if n := overlays(t, db); n != 0 {
		t.Errorf("%d deltas behind a list written anew", n)
	}
	install(t, db, func(tx *Tx) error { return tx.DropList(h.info.URI) })
	if n := generations(t, db); n != 1 {
		t.Errorf("%d generations for one list", n)
	}
}

// A year of days must not make the file grow without bound.
func TestAYearOfDeltas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	lists := make([]*history, 4)
	raw := int64(0)
	install(t, db, func(tx *Tx) error {
		for i := range lists {
			lists[i] = newHistory(t, i, 256<<10)
			raw += lists[i].info.Size
			if err := tx.PutList(lists[i].info, lists[i].raw); err != nil {
				return err
			}
		}
		return nil
	})
	var largest int64
	for day := range 365 {
		install(t, db, func(tx *Tx) error {
			for _, h := range lists {
				if err := tx.PatchList(h.info, h.next(1<<20/100)); err != nil {
					return err
				}
			}
			return nil
		})
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if day == 30 {
			largest = fi.Size()
		}
		if day > 30 && fi.Size() > largest {
			t.Fatalf("day %d: the file has %d bytes, after a month it had %d", day, fi.Size(), largest)
		}
	}
	// It grows by whole MiB.
	if largest > 3*raw+1<<20 {
		t.Errorf("%d bytes of file for %d of lists", largest, raw)
	}
	shut(t, db)
	db = open(t, path, Options{})
	for _, h := range lists {
		if !bytes.Equal(db.Bits(h.info.URI), h.raw) {
			t.Errorf("list %s is another after the start", h.info.URI)
		}
	}
}

func TestPatchRefuses(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "lists.db"), Options{})
	h := newHistory(t, 1, 1000)
	delta := h.next(5)
	if err := db.Install(func(tx *Tx) error { return tx.PatchList(h.info, delta) }); !errors.Is(err, ErrInvalid) {
		t.Errorf("a list that is not held: %v", err)
	}
	first, raw := made(1, 1, 1000)
	install(t, db, func(tx *Tx) error { return tx.PutList(first, raw) })
	for name, c := range map[string]struct {
		delta []byte
		want  error
	}{
		"nothing":   {nil, ErrInvalid},
		"half":      {delta[:len(delta)-1], ErrInvalid},
		"another's": {func() []byte { other := newHistory(t, 2, 1000); return other.next(9) }(), ErrDigest},
	} {
		if err := db.Install(func(tx *Tx) error { return tx.PatchList(h.info, c.delta) }); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		wantList(t, db, 1, 1, 1000)
	}
	var late *Tx
	install(t, db, func(tx *Tx) error { late = tx; return tx.PatchList(h.info, delta) })
	h.want(db)
	if err := late.PatchList(h.info, delta); !errors.Is(err, ErrDone) {
		t.Errorf("after the end: %v", err)
	}
}

// The same bits under a new signature need not come again.
func TestHeldBitsNeedNotComeAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	h := newHistory(t, 1, 1000)
	install(t, db, func(tx *Tx) error { return tx.PutList(h.info, h.raw) })
	delta := h.next(3)
	install(t, db, func(tx *Tx) error { return tx.PatchList(h.info, delta) })
	h.info.Sequence++
	install(t, db, func(tx *Tx) error { return tx.PutList(h.info, nil) })
	h.want(db)
	shut(t, db)
	db = open(t, path, Options{})
	h.want(db)
	h.info.SHA256[0] ^= 1
	if err := db.Install(func(tx *Tx) error { return tx.PutList(h.info, nil) }); !errors.Is(err, ErrDigest) {
		t.Errorf("bits that are not held: %v", err)
	}
}

func TestDamagedOverlayDropsItsListOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	h := newHistory(t, 1, 1000)
	install(t, db, func(tx *Tx) error { return tx.PutList(h.info, h.raw) })
	delta := h.next(3)
	install(t, db, func(tx *Tx) error { return tx.PatchList(h.info, delta) })
	put(t, db, 2, 1, 1000)
	shut(t, db)
	edit(t, path, func(tx *bolt.Tx) error {
		c := tx.Bucket(overlaysBucket).Cursor()
		k, v := c.First()
		spoiled := bytes.Clone(v)
		spoiled[len(spoiled)-1] ^= 0x80
		return tx.Bucket(overlaysBucket).Put(bytes.Clone(k), spoiled)
	})
	db = open(t, path, Options{})
	if l := db.Lookup(pass.StatusRef{URI: h.info.URI}); l.Found {
		t.Errorf("a list with a damaged delta answers: %+v", l)
	}
	wantList(t, db, 2, 1, 1000)
	if n := overlays(t, db); n != 0 {
		t.Errorf("%d deltas without a list", n)
	}
}

// A file from before there were deltas is taken as it is.
func TestFileWithoutOverlays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	put(t, db, 1, 1, 1000)
	shut(t, db)
	edit(t, path, func(tx *bolt.Tx) error { return tx.DeleteBucket(overlaysBucket) })
	db = open(t, path, Options{})
	wantList(t, db, 1, 1, 1000)
	if db.SetAside() != "" {
		t.Error("set aside")
	}
}

func TestRecentIsAskedOnce(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "lists.db"), Options{MaxBytes: 1500})
	put(t, db, 1, 1, 1000)
	if db.Recent(uri(1)) || db.Recent(uri(2)) {
		t.Error("recent without a lookup")
	}
	db.Lookup(pass.StatusRef{URI: uri(1)})
	info, raw := made(1, 2, 1000)
	install(t, db, func(tx *Tx) error { return tx.PutList(info, raw) })
	if !db.Recent(uri(1)) || db.Recent(uri(1)) {
		t.Error("a lookup counts once, across generations")
	}
	if other, _ := made(2, 1, 1000); db.Room(other) {
		t.Error("room for 2000 bytes in 1500")
	}
	if !db.Room(info) {
		t.Error("no room in its own place")
	}
}

// BenchmarkHundredDays takes a hundred days of 1 % into 150 million codes, in
// the transactions of 4 MiB in which the lists' client brings them in.
func BenchmarkHundredDays(b *testing.B) {
	const lists, together = 143, 16
	var file, raw int64
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "lists.db")
		db, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		histories := make([]*history, lists)
		each := func(f func(tx *Tx, h *history) error) {
			for from := 0; from < lists; from += together {
				install(b, db, func(tx *Tx) error {
					for _, h := range histories[from:min(from+together, lists)] {
						if err := f(tx, h); err != nil {
							return err
						}
					}
					return nil
				})
			}
		}
		raw = 0
		for i := range histories {
			histories[i] = newHistory(b, i%patched+patched*2*(i/patched), 256<<10)
			raw += histories[i].info.Size
		}
		each(func(tx *Tx, h *history) error { return tx.PutList(h.info, h.raw) })
		for range 100 {
			each(func(tx *Tx, h *history) error { delta := h.next(1 << 20 / 100); return tx.PatchList(h.info, delta) })
		}
		fi, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		file = fi.Size()
		shut(b, db)
	}
	b.ReportMetric(float64(file)/float64(raw), "ratio.150m")
}
