package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
)

// issuerKey is the kid of the tests' issuer.
var issuerKey = []byte{0x0c, 0x4b, 0x15, 0x51, 0x2b, 0xe9, 0x14, 0x01}

func hashID(s hashlist.Scheme, part string) hashlist.ID {
	return hashlist.ID{Scheme: s, KeyID: hex.EncodeToString(issuerKey), Part: part}
}

func ask(db *DB, s hashlist.Scheme, h hashlist.Hash) gate.Revocation {
	return db.Revoked(pass.RevocationID{Scheme: string(s), KeyID: issuerKey, Hash: h})
}

// revoked is a list as a map, which is what the store is compared with.
type revoked map[hashlist.Hash]int64

// add revokes n more that follow from the seed.
func (r revoked) add(id hashlist.ID, seed uint64, n int) {
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	for range n {
		var h hashlist.Hash
		_, _ = source.Read(h[:]) // never fails
		if len(id.Part) > 0 {
			first, err := hex.DecodeString((id.Part + hex.EncodeToString(h[:1])[1:])[:2])
			if err != nil {
				panic(err)
			}
			h[0] = first[0]
		}
		r[h] = 0
		if id.Scheme == hashlist.SHC && h[1]&1 == 1 {
			r[h] = 1 + int64(h[2])<<24
		}
	}
}

// list makes generation sequence of what is revoked.
func (r revoked) list(id hashlist.ID, sequence uint64) (hashlist.Info, hashlist.List) {
	entries := make([]hashlist.Entry, 0, len(r))
	for h, before := range r {
		entries = append(entries, hashlist.Entry{Hash: h, Before: before})
	}
	l, err := hashlist.New(id.Scheme, hashlist.Normal(entries))
	if err != nil {
		panic(err) // the child has no t
	}
	return hashlist.Info{ID: id, Sequence: sequence, Issued: day.Add(time.Duration(sequence) * time.Minute), Expires: day.Add(1000 * time.Hour),
		Entries: int64(l.Len()), SHA256: sha256.Sum256(l.File())}, l
}

func putHashes(t testing.TB, db *DB, info hashlist.Info, l hashlist.List) {
	t.Helper()
	if err := db.StageHashes(info, l.File()); err != nil {
		t.Fatal(err)
	}
	install(t, db, func(tx *Tx) error { return tx.PutHashes(info) })
}

func putHashDelta(t testing.TB, db *DB, info hashlist.Info, changes []hashlist.Change) {
	t.Helper()
	if err := db.StageHashDelta(info, changes); err != nil {
		t.Fatal(err)
	}
	install(t, db, func(tx *Tx) error { return tx.PutHashes(info) })
}

// wantHashes asks for everything that is revoked, and for as much that is not.
func wantHashes(t testing.TB, db *DB, id hashlist.ID, sequence uint64, want revoked) {
	t.Helper()
	for h, before := range want {
		r := ask(db, id.Scheme, h)
		if !r.Found || !r.Revoked || r.Sequence != sequence || (before == 0) != r.Before.IsZero() || before != 0 && r.Before.Unix() != before {
			t.Fatalf("%x: %+v, want revoked before %d in sequence %d", h, r, before, sequence)
		}
		for _, at := range []int{15, 7} {
			miss := h
			miss[at] ^= 0x10
			if _, there := want[miss]; there {
				continue
			}
			if r := ask(db, id.Scheme, miss); !r.Found || r.Revoked || r.Sequence != sequence {
				t.Fatalf("%x: %+v, want not revoked in sequence %d", miss, r, sequence)
			}
		}
	}
	for _, h := range []hashlist.Hash{{}, {0xff, 0xff, 0xff}, hashlist.Hash(bytes.Repeat([]byte{0xff}, 16))} {
		if _, there := want[h]; !there && id.Contains(h) {
			if r := ask(db, id.Scheme, h); !r.Found || r.Revoked {
				t.Fatalf("%x: %+v, want not revoked", h, r)
			}
		}
	}
}

// tables counts the generations of hashes in the file.
func tables(t testing.TB, db *DB) (n int) {
	t.Helper()
	err := db.bolt.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(hashBlocksBucket); b != nil {
			return b.ForEach(func(k, v []byte) error { n++; return nil })
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestHashLists(t *testing.T) {
	for _, s := range hashlist.Schemes() {
		for _, n := range []int{0, 1, perBlock(s.Width()) - 1, perBlock(s.Width()), perBlock(s.Width()) + 1, 20000} {
			t.Run(fmt.Sprintf("%s %d", s, n), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "lists.db")
				db := open(t, path, Options{})
				id := hashID(s, "")
				if r := ask(db, s, hashlist.Hash{1}); r != (gate.Revocation{}) {
					t.Errorf("without a list: %+v", r)
				}
				r := revoked{}
				r.add(id, 1, n)
				info, l := r.list(id, 1)
				putHashes(t, db, info, l)
				wantHashes(t, db, id, 1, r)
				shut(t, db)
				db = open(t, path, Options{})
				wantHashes(t, db, id, 1, r)
				if held := db.HashLists(); len(held) != 1 || !held[0].Same(info) {
					t.Errorf("held %+v, want %+v", held, info)
				}
				// Another scheme, another key.
				other := hashlist.EU
				if s == hashlist.EU {
					other = hashlist.SHC
				}
				for h := range r {
					if r := ask(db, other, h); r.Found {
						t.Fatalf("found in scheme %s", other)
					}
					if r := db.Revoked(pass.RevocationID{Scheme: string(s), KeyID: []byte{1}, Hash: h}); r.Found {
						t.Fatal("found under another key")
					}
					break
				}
			})
		}
	}
}

// TestHashDeltas follows a list over forty deltas; every tenth comes after
// a start of the program, and some span several generations.
func TestHashDeltas(t *testing.T) {
	for _, s := range hashlist.Schemes() {
		t.Run(string(s), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lists.db")
			db := open(t, path, Options{})
			id := hashID(s, "a")
			r := revoked{}
			r.add(id, 1, 12000)
			info, l := r.list(id, 1)
			putHashes(t, db, info, l)
			source := rand.New(rand.NewPCG(1, 2))
			most, rewritten := 0, 0
			var pending []hashlist.Change
			for sequence := uint64(2); sequence <= 40; sequence++ {
				r.add(id, sequence, 1+source.IntN(100))
				for _, h := range slices.SortedFunc(maps.Keys(r), func(a, b hashlist.Hash) int { return bytes.Compare(a[:], b[:]) }) {
					if source.IntN(400) == 0 {
						delete(r, h)
					}
				}
				before := l
				info, l = r.list(id, sequence)
				pending = hashlist.Join(pending, hashlist.Diff(before, l))
				if source.IntN(4) == 0 && sequence < 40 {
					continue // the gate was away
				}
				base := db.view.Load().hashes[id].base
				putHashDelta(t, db, info, pending)
				pending = nil
				held := db.view.Load().hashes[id]
				if held.base != base {
					rewritten++
				}
				most = max(most, len(held.over))
				if got := tables(t, db); got != 1+len(held.over) {
					t.Fatalf("sequence %d: %d generations in the file, want %d", sequence, got, 1+len(held.over))
				}
				if sequence%10 == 0 {
					wantHashes(t, db, id, sequence, r)
					shut(t, db)
					db = open(t, path, Options{})
					wantHashes(t, db, id, sequence, r)
				}
			}
			wantHashes(t, db, id, 40, r)
			if most < 2 || most > maxHashOverlays || rewritten < 1 || rewritten > 10 {
				t.Errorf("up to %d overlays and %d times rewritten", most, rewritten)
			}
		})
	}
}

// TestManySmallHashDeltas would pile up overlays that are each too large to
// join with the next.
func TestManySmallHashDeltas(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "lists.db"), Options{})
	id := hashID(hashlist.EU, "")
	r := revoked{}
	r.add(id, 1, 40000)
	info, l := r.list(id, 1)
	putHashes(t, db, info, l)
	for i := range uint64(14) {
		before := l
		r.add(id, 100+i, max(1, 1000>>i))
		info, l = r.list(id, 2+i)
		putHashDelta(t, db, info, hashlist.Diff(before, l))
		if n := len(db.view.Load().hashes[id].over); n > maxHashOverlays {
			t.Fatalf("%d overlays", n)
		}
	}
	wantHashes(t, db, id, 15, r)
}

func TestHashListRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{MaxHashBytes: 1 << 20})
	id := hashID(hashlist.EU, "3")
	r := revoked{}
	r.add(id, 1, 10000)
	info, l := r.list(id, 1)
	putHashes(t, db, info, l)
	size := func() int64 {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	before := size()

	next := maps.Clone(r)
	next.add(id, 2, 100)
	info2, l2 := next.list(id, 2)
	changes := hashlist.Diff(l, l2)
	wrong := info2
	wrong.SHA256[0] ^= 1
	if err := db.StageHashes(wrong, l2.File()); !errors.Is(err, ErrDigest) {
		t.Errorf("another digest: %v", err)
	}
	if err := db.StageHashDelta(wrong, changes); !errors.Is(err, ErrDigest) {
		t.Errorf("a delta with another digest: %v", err)
	}
	wrong = info2
	wrong.Entries--
	if err := db.StageHashDelta(wrong, changes); !errors.Is(err, ErrDigest) {
		t.Errorf("a delta with fewer entries: %v", err)
	}
	for _, n := range []int64{-1, math.MaxInt64} {
		wrong.Entries = n
		if err := db.StageHashDelta(wrong, changes); !errors.Is(err, ErrInvalid) {
			t.Errorf("a delta to %d entries: %v", n, err)
		}
	}
	if err := db.StageHashDelta(info2, changes[1:]); !errors.Is(err, ErrDigest) {
		t.Errorf("a delta that lacks a change: %v", err)
	}
	wrong = info2
	wrong.Part = "4"
	if err := db.StageHashes(wrong, l2.File()); !errors.Is(err, ErrInvalid) {
		t.Errorf("another partition: %v", err)
	}
	if err := db.StageHashDelta(wrong, changes); !errors.Is(err, ErrInvalid) {
		t.Errorf("a delta of a list that is not held: %v", err)
	}
	if err := db.Install(func(tx *Tx) error { return tx.PutHashes(info2) }); !errors.Is(err, ErrInvalid) {
		t.Errorf("never staged: %v", err)
	}
	large := revoked{}
	large.add(hashID(hashlist.EU, "5"), 3, 60000)
	info5, l5 := large.list(hashID(hashlist.EU, "5"), 1)
	if err := db.StageHashes(info5, l5.File()); !errors.Is(err, ErrFull) {
		t.Errorf("more than there is room for: %v", err)
	}
	wantHashes(t, db, id, 1, r)
	if after := size(); after != before {
		t.Errorf("what was refused made the file grow from %d to %d", before, after)
	}

	// Staged for a generation that another one took the place of.
	big := maps.Clone(next)
	big.add(id, 4, 1)
	info3, l3 := big.list(id, 3)
	if err := db.StageHashDelta(info3, hashlist.Diff(l, l3)); err != nil {
		t.Fatal(err)
	}
	staged := db.stagedHashes[id]
	putHashes(t, db, info2, l2)
	db.stagedHashes[id] = staged
	if staged.on == nil {
		t.Fatal("a small delta was not laid over the list")
	}
	if err := db.Install(func(tx *Tx) error { return tx.PutHashes(info3) }); !errors.Is(err, ErrInvalid) {
		t.Errorf("staged for another generation: %v", err)
	}
	wantHashes(t, db, id, 2, next)
}

func TestHashListsAreConfirmedRenewedAndDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	id := hashID(hashlist.EU, "")
	r := revoked{}
	r.add(id, 1, 10)
	info, l := r.list(id, 1)
	putHashes(t, db, info, l)
	var h hashlist.Hash
	for h = range r {
		break
	}
	later := day.Add(5 * time.Hour)
	install(t, db, func(tx *Tx) error { return tx.RaiseFloor(day) })
	install(t, db, func(tx *Tx) error {
		return tx.ConfirmHashes([]hashlist.ID{id, hashID(hashlist.SHC, "")}, later)
	})
	install(t, db, func(tx *Tx) error { return tx.ConfirmHashes([]hashlist.ID{id}, day) })
	for range 2 {
		if a := ask(db, id.Scheme, h); !a.Confirmed.Equal(later) || !a.Issued.Equal(info.Issued) {
			t.Errorf("%+v, want confirmed %s", a, later)
		}
		shut(t, db)
		db = open(t, path, Options{})
	}

	// The same bytes under a new signature: nothing is fetched, nothing staged.
	info.Sequence, info.Expires = 2, info.Expires.Add(time.Hour)
	info.Issued = day.Add(6 * time.Hour)
	install(t, db, func(tx *Tx) error { return tx.PutHashes(info) })
	if a := ask(db, id.Scheme, h); !a.Revoked || a.Sequence != 2 || !a.Confirmed.Equal(info.Issued) {
		t.Errorf("%+v after another life", a)
	}

	// Partitions: the later list answers for its part, the old one for the rest.
	part := hashID(hashlist.EU, hex.EncodeToString(h[:1])[:1])
	info2, l2 := revoked{}.list(part, 1)
	info2.Issued = day.Add(7 * time.Hour)
	putHashes(t, db, info2, l2)
	if a := ask(db, id.Scheme, h); !a.Found || a.Revoked {
		t.Errorf("%+v, want what the partition says", a)
	}
	install(t, db, func(tx *Tx) error { return tx.DropHashes(id) })
	other := h
	other[0] ^= 0x80
	if a := ask(db, id.Scheme, other); a.Found {
		t.Errorf("%+v of a list that was dropped", a)
	}
	if a := ask(db, id.Scheme, h); !a.Found {
		t.Errorf("%+v of the partition that is held", a)
	}
	install(t, db, func(tx *Tx) error { return errors.Join(tx.DropHashes(part), tx.DropHashes(part)) })
	if n := tables(t, db); n != 0 || len(db.HashLists()) != 0 {
		t.Errorf("%d generations of %d lists are left", n, len(db.HashLists()))
	}
}

// TestStagedHashesGo: what was staged and never put is gone after a start.
func TestStagedHashesGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	id := hashID(hashlist.EU, "")
	r := revoked{}
	r.add(id, 1, 5000)
	info, l := r.list(id, 1)
	putHashes(t, db, info, l)
	next := maps.Clone(r)
	next.add(id, 2, 5000)
	info2, l2 := next.list(id, 2)
	for range 2 { // staging again replaces
		if err := db.StageHashes(info2, l2.File()); err != nil {
			t.Fatal(err)
		}
	}
	if n := tables(t, db); n != 2 {
		t.Errorf("%d generations, want the held one and the staged one", n)
	}
	wantHashes(t, db, id, 1, r)
	shut(t, db)
	db = open(t, path, Options{})
	if n := tables(t, db); n != 1 {
		t.Errorf("%d generations after a start, want 1", n)
	}
	wantHashes(t, db, id, 1, r)
}

// TestDamagedHashes does to the blocks what disks do: whatever it is, nobody
// who is revoked is ever called not revoked, and the list can be fetched anew.
func TestDamagedHashes(t *testing.T) {
	id := hashID(hashlist.EU, "")
	r := revoked{}
	r.add(id, 1, 5000)
	next := maps.Clone(r)
	next.add(id, 2, 300)
	// at returns the n-th key of a generation's bucket.
	at := func(b *bolt.Bucket, n int) ([]byte, []byte) {
		c := b.Cursor()
		k, v := c.First()
		for range n {
			k, v = c.Next()
		}
		return bytes.Clone(k), bytes.Clone(v)
	}
	for _, row := range []struct {
		what string
		do   func(tx *bolt.Tx, base, over *bolt.Bucket) error
	}{
		{"a bit of a hash", func(tx *bolt.Tx, base, over *bolt.Bucket) error {
			k, v := at(base, 3)
			v[100] ^= 4
			return base.Put(k, v)
		}},
		{"a bit of an overlay", func(tx *bolt.Tx, base, over *bolt.Bucket) error {
			k, v := at(over, 0)
			v[60] ^= 4
			return over.Put(k, v)
		}},
		{"a block lost", func(tx *bolt.Tx, base, over *bolt.Bucket) error { k, _ := at(base, 5); return base.Delete(k) }},
		{"the first block lost", func(tx *bolt.Tx, base, over *bolt.Bucket) error { k, _ := at(base, 0); return base.Delete(k) }},
		{"the last block lost", func(tx *bolt.Tx, base, over *bolt.Bucket) error { k, _ := base.Cursor().Last(); return base.Delete(k) }},
		{"all blocks lost", func(tx *bolt.Tx, base, over *bolt.Bucket) error {
			for k, _ := base.Cursor().First(); k != nil; k, _ = base.Cursor().First() {
				if err := base.Delete(k); err != nil {
					return err
				}
			}
			return nil
		}},
		{"a block cut short by an entry", func(tx *bolt.Tx, base, over *bolt.Bucket) error {
			k, v := at(base, 2)
			return base.Put(k, v[:len(v)-16])
		}},
		{"a block in another's place", func(tx *bolt.Tx, base, over *bolt.Bucket) error {
			k, _ := at(base, 2)
			_, v := at(base, 3)
			return base.Put(k, v)
		}},
		{"a whole block of an older generation", func(tx *bolt.Tx, base, over *bolt.Bucket) error {
			k, v := at(base, 2)
			b, err := decodeBlock(1, 16, k, v)
			if err != nil {
				return err
			}
			b.records = b.records[:len(b.records)-32]
			return base.Put(k, encodeBlock(77, b))
		}},
		{"a generation lost", func(tx *bolt.Tx, base, over *bolt.Bucket) error {
			return tx.Bucket(hashBlocksBucket).DeleteBucket(number(1))
		}},
	} {
		t.Run(row.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lists.db")
			db := open(t, path, Options{})
			info, l := r.list(id, 1)
			putHashes(t, db, info, l)
			info2, l2 := next.list(id, 2)
			putHashDelta(t, db, info2, hashlist.Diff(l, l2))
			held := db.view.Load().hashes[id]
			if held.base.Generation != 1 || len(held.over) != 1 {
				t.Fatalf("%+v, want an overlay on generation 1", held)
			}
			err := db.bolt.Update(func(tx *bolt.Tx) error {
				all := tx.Bucket(hashBlocksBucket)
				return row.do(tx, all.Bucket(number(1)), all.Bucket(number(held.over[0].Generation)))
			})
			if err != nil {
				t.Fatal(err)
			}
			missed := 0
			for h := range next {
				switch a := ask(db, id.Scheme, h); {
				case !a.Found:
					missed++
				case !a.Revoked:
					t.Fatalf("%x: %+v, and it is revoked", h, a)
				}
			}
			if missed == 0 {
				t.Error("the damage was not found")
			}
			if len(db.HashLists()) != 0 {
				t.Error("the damaged list counts as held")
			}
			if err := db.StageHashDelta(info2, nil); !errors.Is(err, ErrInvalid) {
				t.Errorf("a delta of the damaged list: %v", err)
			}
			// It comes anew, under the same sequence.
			putHashes(t, db, info2, l2)
			wantHashes(t, db, id, 2, next)
			shut(t, db)
			db = open(t, path, Options{})
			wantHashes(t, db, id, 2, next)
			if n := tables(t, db); n != 1 {
				t.Errorf("%d generations, want 1", n)
			}
		})
	}
	// A delta finds damage that nobody has asked for yet.
	db := open(t, filepath.Join(t.TempDir(), "lists.db"), Options{})
	info, l := r.list(id, 1)
	putHashes(t, db, info, l)
	if err := db.bolt.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(hashBlocksBucket).Bucket(number(1))
		k, v := at(b, 7)
		v[99] ^= 1
		return b.Put(k, v)
	}); err != nil {
		t.Fatal(err)
	}
	info2, l2 := next.list(id, 2)
	if err := db.StageHashDelta(info2, hashlist.Diff(l, l2)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a delta over a damaged list: %v", err)
	}
	if len(db.HashLists()) != 0 {
		t.Error("the damaged list counts as held")
	}
}

// TestDamagedHashPointer: one list is dropped at the start, the others answer.
func TestDamagedHashPointer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	a, b := hashID(hashlist.EU, ""), hashID(hashlist.SHC, "")
	for _, id := range []hashlist.ID{a, b} {
		r := revoked{}
		r.add(id, 1, 500)
		info, l := r.list(id, 1)
		putHashes(t, db, info, l)
	}
	if err := db.bolt.Update(func(tx *bolt.Tx) error {
		p := tx.Bucket(hashListsBucket)
		v := bytes.Clone(p.Get([]byte(a.String())))
		v[50] ^= 1
		return p.Put([]byte(a.String()), v)
	}); err != nil {
		t.Fatal(err)
	}
	shut(t, db)
	db = open(t, path, Options{})
	if held := db.HashLists(); len(held) != 1 || held[0].ID != b || db.SetAside() != "" || tables(t, db) != 1 {
		t.Errorf("held %v, %d generations, set aside %q", held, tables(t, db), db.SetAside())
	}
}

// TestHashesWhileReplaced looks up while generations come and go.
func TestHashesWhileReplaced(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "lists.db"), Options{})
	id := hashID(hashlist.EU, "")
	always := revoked{}
	always.add(id, 1, 6000)
	info, l := always.list(id, 1)
	putHashes(t, db, info, l)
	hashes := slices.Collect(maps.Keys(always))
	var stop atomic.Bool
	var asked atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			last := uint64(0)
			for i := w; !stop.Load(); i++ {
				a := ask(db, id.Scheme, hashes[i%len(hashes)])
				if !a.Found || !a.Revoked || a.Sequence < last {
					t.Errorf("%+v after sequence %d", a, last)
					return
				}
				last = a.Sequence
				asked.Add(1)
			}
		})
	}
	r := maps.Clone(always)
	for sequence := uint64(2); sequence < 40; sequence++ {
		before := l
		r.add(id, sequence, 100)
		info, l = r.list(id, sequence)
		if sequence%3 == 0 {
			putHashes(t, db, info, l)
		} else {
			putHashDelta(t, db, info, hashlist.Diff(before, l))
		}
	}
	stop.Store(true)
	wg.Wait()
	if asked.Load() < 100 {
		t.Errorf("only %d lookups", asked.Load())
	}
}

// generationOf is what the killed process revokes in a sequence.
func generationOf(id hashlist.ID, sequence uint64) revoked {
	r := revoked{}
	r.add(id, 1, 8000)
	for s := uint64(2); s <= sequence; s++ {
		r.add(id, s, 40)
	}
	return r
}

// hashesForEver brings in one generation after another, and says what it does.
func hashesForEver(path string) error {
	db, err := Open(path, Options{})
	if err != nil {
		return err
	}
	id := hashID(hashlist.EU, "")
	sequence := uint64(0)
	for _, i := range db.HashLists() {
		sequence = i.Sequence
	}
	var l hashlist.List
	if sequence > 0 {
		_, l = generationOf(id, sequence).list(id, sequence)
	}
	for sequence++; ; sequence++ {
		before := l
		var info hashlist.Info
		info, l = generationOf(id, sequence).list(id, sequence)
		fmt.Println("staging", sequence)
		if sequence%3 == 1 {
			err = db.StageHashes(info, l.File())
		} else {
			err = db.StageHashDelta(info, hashlist.Diff(before, l))
		}
		if err != nil {
			return err
		}
		fmt.Println("putting", sequence)
		if err := db.Install(func(tx *Tx) error { return tx.PutHashes(info) }); err != nil {
			return err
		}
		fmt.Println("installed", sequence)
	}
}

// TestKillDuringHashes kills the process at any point: after each start the
// old or the new generation answers, whole.
func TestKillDuringHashes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	id := hashID(hashlist.EU, "")
	for round := range 8 {
		cmd := part(context.Background(), "hashes", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var installed, began uint64
		lines := bufio.NewScanner(out)
		for n, kill := 0, rand.IntN(20); lines.Scan(); n++ {
			var what string
			var sequence uint64
			if _, err := fmt.Sscan(lines.Text(), &what, &sequence); err != nil {
				t.Errorf("round %d: child says %q", round, lines.Text())
			}
			began = max(began, sequence)
			if what == "installed" {
				installed = sequence
			}
			if n == kill {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("round %d: the child ended by itself", round)
		}
		db, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if db.SetAside() != "" {
			t.Fatalf("round %d: set aside", round)
		}
		if held := db.HashLists(); len(held) > 0 {
			s := held[0].Sequence
			if s < installed || s > began {
				t.Errorf("round %d: sequence %d, installed was %d, begun %d", round, s, installed, began)
			}
			wantHashes(t, db, id, s, generationOf(id, s))
			if n, want := tables(t, db), 1+len(db.view.Load().hashes[id].over); n != want {
				t.Errorf("round %d: %d generations, want %d", round, n, want)
			}
		} else if installed > 0 {
			t.Errorf("round %d: no list, installed was %d", round, installed)
		}
		shut(t, db)
		check(t, path)
	}
}

// As for status lists: what a thief of the timestamp's key confirmed far ahead
// gives way to the honest time.
func TestHashListConfirmedInTheFuture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	id := hashID(hashlist.EU, "")
	r := revoked{}
	r.add(id, 1, 10)
	info, l := r.list(id, 1)
	putHashes(t, db, info, l)
	install(t, db, func(tx *Tx) error { return tx.RaiseFloor(day) })
	for _, at := range []time.Duration{31 * 24 * time.Hour, time.Hour} {
		install(t, db, func(tx *Tx) error { return tx.ConfirmHashes([]hashlist.ID{id}, day.Add(at)) })
	}
	for range 2 {
		if at := db.HashConfirmed(id); !at.Equal(day.Add(time.Hour)) {
			t.Errorf("confirmed %s, want %s", at, day.Add(time.Hour))
		}
		shut(t, db)
		db = open(t, path, Options{})
	}
	if at := db.HashConfirmed(hashID(hashlist.SHC, "")); !at.IsZero() {
		t.Errorf("a list that is not held was confirmed %s", at)
	}
	shut(t, db)
}

// Check reads revocation lists through, what lies over them too. One that is
// not as it was signed is named, and is not held from then on.
func TestCheckHashes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	id := hashID(hashlist.EU, "")
	r := revoked{}
	r.add(id, 1, 10_000)
	info, l := r.list(id, 1)
	putHashes(t, db, info, l)
	r.add(id, 2, 100)
	info2, l2 := r.list(id, 2)
	if err := db.StageHashDelta(info2, hashlist.Diff(l, l2)); err != nil {
		t.Fatal(err)
	}
	install(t, db, func(tx *Tx) error { return tx.PutHashes(info2) })
	if n, problems := db.Check(); n != 1 || len(problems) != 0 {
		t.Errorf("whole: %d lists, %v", n, problems)
	}
	over := db.view.Load().hashes[id].over
	if len(over) != 1 {
		t.Fatalf("%d overlays", len(over))
	}
	if err := db.bolt.Update(func(tx *bolt.Tx) error {
		b, err := tableBucket(tx, over[0])
		if err != nil {
			return err
		}
		k, v := b.Cursor().First()
		v = bytes.Clone(v)
		v[len(v)-30] ^= 1
		return b.Put(bytes.Clone(k), v)
	}); err != nil {
		t.Fatal(err)
	}
	if n, problems := db.Check(); n != 1 || len(problems) != 1 || !errors.Is(problems[0], ErrDamaged) {
		t.Errorf("damaged: %d lists, %v", n, problems)
	}
	if len(db.HashLists()) != 0 {
		t.Error("the damaged list is held still")
	}
	if n, problems := db.Check(); n != 0 || len(problems) != 0 {
		t.Errorf("not held: %d lists, %v", n, problems)
	}
	shut(t, db)
}
