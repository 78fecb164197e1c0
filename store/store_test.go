package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/statuslist"
)

// open opens a store and checks its file when the test ends.
func open(t testing.TB, path string, o Options) *DB {
	t.Helper()
	db, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shut(t, db)
		check(t, path)
	})
	return db
}

func shut(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// check is bbolt's own check of every page, as its btesting does it.
func check(t testing.TB, path string) {
	t.Helper()
	b, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: time.Second})
	if err != nil {
		t.Errorf("check %s: %v", path, err)
		return
	}
	err = b.View(func(tx *bolt.Tx) error {
		var all []error
		for e := range tx.Check() {
			all = append(all, e)
		}
		return errors.Join(all...)
	})
	if err := errors.Join(err, b.Close()); err != nil {
		t.Errorf("check %s: %v", path, err)
	}
	if _, err := inspect(path); err != nil {
		t.Errorf("the survey finds damage in a good file: %v", err)
	}
}

// generations counts the generations in the file.
func generations(t testing.TB, db *DB) (n int) {
	t.Helper()
	err := db.bolt.View(func(tx *bolt.Tx) error {
		return tx.Bucket(generationsBucket).ForEach(func(k, v []byte) error { n++; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var day = time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)

func uri(n int) string { return fmt.Sprintf("https://lists.example.org/33/3301/%d", n) }

// patched is the first number of the lists that come as deltas.
const patched = 100

// made makes a list whose bytes follow from its number and sequence.
func made(n int, sequence uint64, size int) (statuslist.Info, []byte) {
	raw := make([]byte, size)
	if n >= patched {
		// Its generations differ in a few bytes.
		r := rand.NewChaCha8([32]byte{byte(n)})
		_, _ = r.Read(raw) // never fails
		for i := range sequence % 50 {
			raw[int(i*7+sequence)%size] ^= byte(sequence)
		}
	} else {
		r := rand.NewChaCha8([32]byte{byte(n), byte(sequence), byte(sequence >> 8)})
		_, _ = r.Read(raw) // never fails
	}
	return statuslist.Info{URI: uri(n), Sequence: sequence, Issued: day.Add(time.Duration(sequence) * time.Minute),
		Expires: day.Add(1000 * time.Hour), Bits: 2, Size: int64(size), SHA256: sha256.Sum256(raw)}, raw
}

func install(t testing.TB, db *DB, f func(*Tx) error) {
	t.Helper()
	if err := db.Install(f); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, db *DB, n int, sequence uint64, size int) []byte {
	t.Helper()
	info, raw := made(n, sequence, size)
	install(t, db, func(tx *Tx) error { return tx.PutList(info, raw) })
	return raw
}

// wantList compares every entry of a list with its bytes.
func wantList(t *testing.T, db *DB, n int, sequence uint64, size int) {
	t.Helper()
	info, raw := made(n, sequence, size)
	for i := range uint64(size * 4) {
		l := db.Lookup(pass.StatusRef{URI: uri(n), Index: i})
		want := gate.StatusOf(raw[i/4] >> (i % 4 * 2) & 3)
		if !l.Found || !l.InBounds || l.Status != want || l.Sequence != sequence || !l.Issued.Equal(info.Issued) {
			t.Fatalf("list %d entry %d = %+v, want %s of sequence %d", n, i, l, want, sequence)
		}
	}
	if l := db.Lookup(pass.StatusRef{URI: uri(n), Index: uint64(size * 4)}); !l.Found || l.InBounds || l.Status != gate.StatusUnknown {
		t.Fatalf("entry behind the end of list %d = %+v", n, l)
	}
}

func someKeys(t testing.TB) ([]pass.Key, []byte) {
	t.Helper()
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	raw, err := pass.MarshalKeySet([]pass.Key{{ID: []byte("k1"), Algorithm: pass.EdDSA, Use: pass.UseCode, Region: "33",
		Public: ed25519.NewKeyFromSeed(seed).Public(), NotBefore: day, NotAfter: day.Add(time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pass.ParseKeySet(raw)
	if err != nil {
		t.Fatal(err)
	}
	return keys, raw
}

func TestEmptyStore(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "lists.db"), Options{})
	if got := db.Policy(); got != gate.DefaultPolicy() {
		t.Errorf("policy %+v, want the default", got)
	}
	if l := db.Lookup(pass.StatusRef{URI: uri(1)}); l != (gate.Listing{}) {
		t.Errorf("lookup = %+v, want nothing", l)
	}
	if r := db.Risk("330106"); r != gate.RiskUnknown {
		t.Errorf("risk = %s", r)
	}
	if k := db.Keys([]byte("k1")); len(k) != 0 {
		t.Errorf("%d keys", len(k))
	}
	if db.Metadata("root") != nil || len(db.Lists()) != 0 || !db.Floor().IsZero() || db.MapVersion() != 0 || db.MapDay() != "" || db.SetAside() != "" {
		t.Error("an empty store holds something")
	}
}

func TestEverythingSurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	keys, rawKeys := someKeys(t)
	rawPolicy := []byte(`{"version":3,"passback_window_seconds":60}`)
	policy, err := gate.ParsePolicy(rawPolicy)
	if err != nil {
		t.Fatal(err)
	}
	rawMap := []byte(`{"version":9,"day":"2020-02-17","counties":{"330106":"high"}}`)
	riskMap, err := gate.ParseRiskMap(rawMap)
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{1, chunkBytes, chunkBytes + 1, 3*chunkBytes - 1}
	install(t, db, func(tx *Tx) error {
		var errs []error
		for n, size := range sizes {
			info, raw := made(n, 1, size)
			errs = append(errs, tx.PutList(info, raw))
		}
		return errors.Join(append(errs, tx.SetMetadata("root", []byte("r1")), tx.SetMetadata("timestamp", []byte("t1")),
			tx.SetKeys(4, keys, rawKeys), tx.SetPolicy(policy, rawPolicy), tx.SetMap(riskMap, rawMap),
			tx.Confirm([]string{uri(0), uri(99)}, day.Add(5*time.Hour)), tx.RaiseFloor(day.Add(time.Hour)), tx.RaiseFloor(day))...)
	})
	for range 2 {
		for n, size := range sizes {
			wantList(t, db, n, 1, size)
		}
		if got := db.Lookup(pass.StatusRef{URI: uri(0)}).Confirmed; !got.Equal(day.Add(5 * time.Hour)) {
			t.Errorf("list 0 confirmed %s", got)
		}
		if got := db.Lookup(pass.StatusRef{URI: uri(1)}).Confirmed; !got.Equal(day.Add(time.Minute)) {
			t.Errorf("list 1 confirmed %s, want when it was issued", got)
		}
		if got := db.Keys([]byte("k1")); !reflect.DeepEqual(got, keys) || db.KeyVersion() != 4 {
			t.Errorf("keys %d: %+v", db.KeyVersion(), got)
		}
		if db.Policy() != policy || db.Risk("330106") != gate.RiskHigh || db.MapVersion() != 9 || db.MapDay() != "2020-02-17" {
			t.Errorf("policy %+v, risk %s of map %d for %s", db.Policy(), db.Risk("330106"), db.MapVersion(), db.MapDay())
		}
		if string(db.Metadata("root")) != "r1" || string(db.Metadata("timestamp")) != "t1" || db.Metadata("snapshot") != nil {
			t.Error("metadata is not what was kept")
		}
		if !db.Floor().Equal(day.Add(time.Hour)) {
			t.Errorf("floor %s", db.Floor())
		}
		if infos := db.Lists(); len(infos) != len(sizes) || infos[2].URI != uri(2) {
			t.Errorf("lists %+v", infos)
		}
		shut(t, db)
		db = open(t, path, Options{})
	}
	install(t, db, func(tx *Tx) error {
		return errors.Join(tx.DropList(uri(0)), tx.DropList(uri(0)), tx.SetMetadata("timestamp", nil), tx.SetMetadata("none", nil))
	})
	shut(t, db)
	db = open(t, path, Options{})
	if db.Lookup(pass.StatusRef{URI: uri(0)}).Found || db.Metadata("timestamp") != nil {
		t.Error("what was dropped is there")
	}
	if got := generations(t, db); got != len(sizes)-1 {
		t.Errorf("%d generations for %d lists", got, len(sizes)-1)
	}
}

func TestListsAreReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	for sequence := uint64(1); sequence <= 5; sequence++ {
		put(t, db, 1, sequence, 9000)
		wantList(t, db, 1, sequence, 9000)
	}
	put(t, db, 1, 2, 5000) // the caller has judged it
	info, raw := made(1, 2, 5000)
	info.Sequence, info.Issued = 7, day.Add(8*time.Hour)
	install(t, db, func(tx *Tx) error { return tx.PutList(info, raw) }) // the same bytes, signed again
	if l := db.Lookup(pass.StatusRef{URI: uri(1)}); l.Sequence != 7 || !l.Confirmed.Equal(info.Issued) {
		t.Errorf("same bytes, new signature: %+v", l)
	}
	if got := generations(t, db); got != 1 {
		t.Errorf("%d generations of one list", got)
	}
	shut(t, db)
	db = open(t, path, Options{})
	if l := db.Lookup(pass.StatusRef{URI: uri(1)}); l.Sequence != 7 {
		t.Errorf("reopened: %+v", l)
	}
}

func TestStage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	const size = 9 << 20 // three transactions
	old := put(t, db, 1, 1, 2000)
	info, raw := made(1, 2, size)
	for range 2 {
		if err := db.Stage(info, raw); err != nil {
			t.Fatal(err)
		}
	}
	if l := db.Lookup(pass.StatusRef{URI: uri(1)}); l.Sequence != 1 || l.Status != gate.StatusOf(old[0]&3) {
		t.Errorf("a staged list answers: %+v", l)
	}
	if got := generations(t, db); got != 2 {
		t.Errorf("%d generations, want the current and the staged", got)
	}
	fail := errors.New("no")
	if err := db.Install(func(tx *Tx) error { return errors.Join(tx.PutList(info, nil), fail) }); !errors.Is(err, fail) {
		t.Fatal(err)
	}
	install(t, db, func(tx *Tx) error { return tx.PutList(info, nil) })
	if got := generations(t, db); got != 1 {
		t.Errorf("%d generations, want the current", got)
	}
	if !bytes.Equal(db.view.Load().lists[uri(1)].raw, raw) {
		t.Error("the staged list is not in memory")
	}
	// One that is never put goes at the next start.
	other, rawOther := made(2, 1, 5000)
	if err := db.Stage(other, rawOther); err != nil {
		t.Fatal(err)
	}
	shut(t, db)
	db = open(t, path, Options{})
	if got := generations(t, db); got != 1 {
		t.Errorf("%d generations after reopening", got)
	}
	if !bytes.Equal(db.view.Load().lists[uri(1)].raw, raw) {
		t.Error("the staged list is not in the file")
	}
	if err := db.Install(func(tx *Tx) error { return tx.PutList(other, nil) }); !errors.Is(err, ErrDigest) {
		t.Errorf("put of what was staged before the restart: %v, want ErrDigest", err)
	}
}

func TestRefusals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{MaxBytes: 10000})
	put(t, db, 1, 1, 4000)
	before := db.view.Load()
	keys, rawKeys := someKeys(t)
	list := func(change func(*statuslist.Info, *[]byte)) func(*Tx) error {
		info, raw := made(1, 2, 4000)
		change(&info, &raw)
		return func(tx *Tx) error { return tx.PutList(info, raw) }
	}
	var kept *Tx
	for name, c := range map[string]struct {
		f    func(*Tx) error
		want error
	}{
		"flipped bit":        {list(func(_ *statuslist.Info, raw *[]byte) { (*raw)[77] ^= 4 }), ErrDigest},
		"cut":                {list(func(_ *statuslist.Info, raw *[]byte) { *raw = (*raw)[:3999] }), ErrDigest},
		"longer":             {list(func(_ *statuslist.Info, raw *[]byte) { *raw = append(*raw, 0) }), ErrDigest},
		"nothing":            {list(func(_ *statuslist.Info, raw *[]byte) { *raw = nil }), ErrDigest},
		"one bit a code":     {list(func(i *statuslist.Info, _ *[]byte) { i.Bits = 1 }), ErrInvalid},
		"eight bits a code":  {list(func(i *statuslist.Info, _ *[]byte) { i.Bits = 8 }), ErrInvalid},
		"size 0":             {list(func(i *statuslist.Info, _ *[]byte) { i.Size = 0 }), ErrInvalid},
		"no uri":             {list(func(i *statuslist.Info, _ *[]byte) { i.URI = "" }), ErrInvalid},
		"too large":          {func(tx *Tx) error { i, raw := made(2, 1, 6001); return tx.PutList(i, raw) }, ErrFull},
		"no role":            {func(tx *Tx) error { return tx.SetMetadata("", []byte("x")) }, ErrInvalid},
		"other keys":         {func(tx *Tx) error { return tx.SetKeys(1, append(keys, keys[0]), rawKeys) }, ErrInvalid},
		"no key list":        {func(tx *Tx) error { return tx.SetKeys(1, keys, []byte("x")) }, ErrInvalid},
		"other policy":       {func(tx *Tx) error { return tx.SetPolicy(gate.DefaultPolicy(), []byte(`{"version":2}`)) }, ErrInvalid},
		"no policy":          {func(tx *Tx) error { return tx.SetPolicy(gate.Policy{}, nil) }, ErrInvalid},
		"no map":             {func(tx *Tx) error { return tx.SetMap(gate.RiskMap{}, []byte("[]")) }, ErrInvalid},
		"floor before 1970":  {func(tx *Tx) error { return tx.RaiseFloor(time.Time{}) }, ErrInvalid},
		"confirmed in 10000": {func(tx *Tx) error { return tx.Confirm([]string{uri(1)}, time.Unix(maxSecond+1, 0)) }, ErrInvalid},
		"its own error":      {func(tx *Tx) error { kept = tx; return os.ErrInvalid }, os.ErrInvalid},
		"nested digest": {func(tx *Tx) error {
			return errors.Join(tx.SetMetadata("root", []byte("new")), list(func(_ *statuslist.Info, raw *[]byte) { (*raw)[0] ^= 1 })(tx))
		}, ErrDigest},
	} {
		if err := db.Install(c.f); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if db.view.Load() != before || db.Metadata("root") != nil {
		t.Error("a refused Install changed something")
	}
	if err := kept.RaiseFloor(day); !errors.Is(err, ErrDone) {
		t.Errorf("a Tx after its Install: %v, want ErrDone", err)
	}
	info, raw := made(1, 2, 4000)
	raw[5] ^= 1
	if err := db.Stage(info, raw); !errors.Is(err, ErrDigest) {
		t.Errorf("Stage of other bytes: %v, want ErrDigest", err)
	}
	shut(t, db)
	if err := db.Install(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Install after Close: %v, want ErrClosed", err)
	}
	if db.Metadata("root") != nil {
		t.Error("metadata after Close")
	}
	wantList(t, db, 1, 1, 4000) // from memory
	db = open(t, path, Options{})
	wantList(t, db, 1, 1, 4000)
}

func TestPanicInInstallUndoesIt(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "lists.db"), Options{})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = db.Install(func(tx *Tx) error {
			if err := tx.SetMetadata("root", []byte("x")); err != nil {
				t.Error(err)
			}
			panic("in the caller")
		})
	}()
	put(t, db, 1, 1, 100) // no lock was left
	if db.Metadata("root") != nil {
		t.Error("half an Install is there")
	}
}

func TestNothingNewWritesNothing(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "lists.db"), Options{})
	info, raw := made(1, 1, 4000)
	keys, rawKeys := someKeys(t)
	f := func(tx *Tx) error {
		return errors.Join(tx.PutList(info, raw), tx.SetMetadata("root", []byte("r")), tx.SetKeys(1, keys, rawKeys),
			tx.RaiseFloor(day), tx.Confirm([]string{uri(1)}, day.Add(time.Hour)))
	}
	id := func() (n int) {
		if err := db.bolt.View(func(tx *bolt.Tx) error { n = tx.ID(); return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	install(t, db, f)
	before := id()
	install(t, db, f)
	if after := id(); after != before {
		t.Errorf("the same again wrote transaction %d behind %d", after, before)
	}
}

func TestLaterSchemaIsRefusedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	if err := db.bolt.Update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(schemaKey, number(schema+1)) }); err != nil {
		t.Fatal(err)
	}
	shut(t, db)
	if _, err := Open(path, Options{}); !errors.Is(err, ErrSchema) {
		t.Fatalf("Open: %v, want ErrSchema", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file of a later version was moved: %v", err)
	}
}

func TestAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	// A second open file is to the lock what a second process is.
	start := time.Now()
	if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
	if d := time.Since(start); d > 5*lockWait {
		t.Errorf("it took %s to say so", d)
	}
	shut(t, db)
	b, err := bolt.Open(path, 0o600, nil) // somebody with bbolt's own tool
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("Open beside bbolt: %v, want ErrLocked", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if db := open(t, path, Options{}); db.SetAside() != "" {
		t.Error("a locked file was set aside")
	}
}

func TestDamagedListIsDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	put(t, db, 1, 1, 9000)
	put(t, db, 2, 1, 9000)
	put(t, db, 3, 1, 9000)
	if err := db.bolt.Update(func(tx *bolt.Tx) error {
		g := tx.Bucket(generationsBucket)
		one := g.Bucket(number(db.view.Load().lists[uri(1)].generation))
		piece := bytes.Clone(one.Get(chunkKey(1)))
		piece[100] ^= 1
		return errors.Join(one.Put(chunkKey(1), piece),
			g.Bucket(number(db.view.Load().lists[uri(3)].generation)).Delete(chunkKey(0)))
	}); err != nil {
		t.Fatal(err)
	}
	shut(t, db)
	for range 2 {
		db = open(t, path, Options{})
		if l := db.Lists(); len(l) != 1 || l[0].URI != uri(2) || db.SetAside() != "" {
			t.Fatalf("lists %+v, set aside %q", l, db.SetAside())
		}
		wantList(t, db, 2, 1, 9000)
		if got := generations(t, db); got != 1 {
			t.Errorf("%d generations", got)
		}
		shut(t, db)
	}
}

func TestDamagedFileIsSetAside(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"not a store": func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("no store "), 9000), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"cut": func(t *testing.T, path string) {
			if err := os.Truncate(path, 5000); err != nil {
				t.Fatal(err)
			}
		},
		"both meta pages": func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 2*pageSize), 0)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"a digest of the policy": func(t *testing.T, path string) { spoil(t, path, policyBucket, currentKey) },
		"a pointer":              func(t *testing.T, path string) { spoil(t, path, listsBucket, []byte(uri(1))) },
		"the floor":              func(t *testing.T, path string) { spoil(t, path, metaBucket, floorKey) },
		"a missing bucket": func(t *testing.T, path string) {
			edit(t, path, func(tx *bolt.Tx) error { return tx.DeleteBucket(confirmedBucket) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lists.db")
			for round := 1; round <= keptAside+1; round++ {
				db := open(t, path, Options{})
				put(t, db, 1, 1, 9000)
				raw := []byte(`{"version":3}`)
				p, err := gate.ParsePolicy(raw)
				if err != nil {
					t.Fatal(err)
				}
				install(t, db, func(tx *Tx) error { return errors.Join(tx.SetPolicy(p, raw), tx.RaiseFloor(day)) })
				shut(t, db)
				damage(t, path)
				db = open(t, path, Options{})
				want := fmt.Sprintf("%s.damaged-%d", path, min(round, keptAside))
				if db.SetAside() != want {
					t.Fatalf("set aside as %q, want %q", db.SetAside(), want)
				}
				if len(db.Lists()) != 0 {
					t.Error("the new file is not empty")
				}
				put(t, db, 1, 1, 9000)
				shut(t, db)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			aside, err := filepath.Glob(path + ".damaged-*")
			if err != nil || len(aside) != keptAside {
				t.Errorf("%d files aside, want %d", len(aside), keptAside)
			}
			open(t, path, Options{}) // there must be one to check
		})
	}
}

func edit(t *testing.T, path string, f func(*bolt.Tx) error) {
	t.Helper()
	b, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Update(f), b.Close()); err != nil {
		t.Fatal(err)
	}
}

// spoil flips a bit of a value.
func spoil(t *testing.T, path string, bucket, key []byte) {
	t.Helper()
	edit(t, path, func(tx *bolt.Tx) error {
		v := bytes.Clone(tx.Bucket(bucket).Get(key))
		v[len(v)-1] ^= 1
		return tx.Bucket(bucket).Put(key, v)
	})
}

func TestTwoStartsThatEndedWhileOpening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	m := marker(path + ".opening")
	db := open(t, path, Options{})
	put(t, db, 1, 1, 100)
	shut(t, db)
	for tries, aside := range []bool{false, false, true} {
		if err := m.write(path, tries); err != nil {
			t.Fatal(err)
		}
		db := open(t, path, Options{})
		if (db.SetAside() != "") != aside {
			t.Errorf("after %d tries set aside: %q", tries, db.SetAside())
		}
		shut(t, db)
		if _, err := os.Stat(string(m)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the marker is left: %v", err)
		}
	}
	// A file that was put in its place is tried anew, whatever the marker says.
	if err := m.write(path, maxTries); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(path+".damaged-1", path+".back"), os.Rename(path+".back", path)); err != nil {
		t.Fatal(err)
	}
	db = open(t, path, Options{})
	if db.SetAside() != "" {
		t.Error("a file put back was set aside by the mark of another")
	}
	wantList(t, db, 1, 1, 100)
}

// TestACity loads 8.62 million codes, and holds little more than their bytes.
func TestACity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	const lists, size = 9, 256 << 10
	install(t, db, func(tx *Tx) error {
		for n := range lists {
			info, raw := made(n, 1, size)
			if err := tx.PutList(info, raw); err != nil {
				return err
			}
		}
		return nil
	})
	shut(t, db)
	db = nil
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	db = open(t, path, Options{})
	if used := int64(heap()) - int64(before); used > lists*size*5/4 {
		t.Errorf("%d bytes of memory for %d of lists", used, lists*size)
	}
	if len(db.Lists()) != lists {
		t.Errorf("%d lists", len(db.Lists()))
	}
}

func FuzzDecodePointer(f *testing.F) {
	info, _ := made(1, 1, 100)
	encoded, err := info.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	p, err := pointer{Info: encoded, Generation: 3}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p[sha256.Size:])
	f.Fuzz(func(t *testing.T, data []byte) {
		_, info, err := decodePointer(uri(1), digested(data))
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
		if err == nil && (info.URI != uri(1) || info.Bits != 2 || info.Size > MaxListBytes) {
			t.Errorf("%q was taken", data)
		}
	})
}

// A confirmation from a future that nobody bore out gives way to an honest one;
// any other only moves forward, whatever the order within one transaction.
func TestConfirmationFromTheFuture(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for _, c := range []struct {
		name               string
		floor, first, then time.Duration // from day; the floor is there before
		want               time.Duration
	}{
		{"forward", 0, time.Hour, 2 * time.Hour, 2 * time.Hour},
		{"not back", 0, 2 * time.Hour, time.Hour, 2 * time.Hour},
		{"30 days ahead is believed", 0, month, time.Hour, month},
		{"further is not", 0, month + time.Second, time.Hour, time.Hour},
		{"decades are not", 0, 70 * 12 * month, time.Hour, time.Hour},
		{"but forward they go", 0, 2 * month, 3 * month, 3 * month},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lists.db")
			db, err := Open(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			info, raw := made(1, 1, 64)
			for _, do := range []func(*Tx) error{
				func(tx *Tx) error { return errors.Join(tx.PutList(info, raw), tx.RaiseFloor(day.Add(c.floor))) },
				func(tx *Tx) error { return tx.Confirm([]string{uri(1)}, day.Add(c.first)) },
				func(tx *Tx) error { return tx.Confirm([]string{uri(1)}, day.Add(c.then)) },
			} {
				if err := db.Install(do); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // as it is, and as the file has it
				if got := db.Lookup(pass.StatusRef{URI: uri(1)}).Confirmed; !got.Equal(day.Add(c.want)) {
					t.Errorf("confirmed %s, want %s", got.Sub(day), c.want)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				if db, err = Open(path, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
