package hashlist

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// shared finds the folder of shared vectors beside the module.
func shared(t *testing.T, path string) string {
	t.Helper()
	p := filepath.Join("..", "..", "..", "shared", "vectors", path)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("vectors %s are not here", path)
	}
	return p
}

func hash(first ...byte) (h Hash) {
	copy(h[:], first)
	return h
}

// entries makes n entries that follow from the seed.
func entries(s Scheme, seed byte, n int) []Entry {
	r := mathrand.New(mathrand.NewChaCha8([32]byte{seed}))
	all := make([]Entry, n)
	for i := range all {
		for j := range all[i].Hash {
			all[i].Hash[j] = byte(r.UintN(256))
		}
		if s == SHC && r.IntN(2) == 0 {
			all[i].Before = 1 + r.Int64N(MaxSecond)
		}
	}
	return Normal(all)
}

func list(t testing.TB, s Scheme, e []Entry) List {
	t.Helper()
	l, err := New(s, e)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEUSignature(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("certificate"))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	// The twin that a forger makes of a revoked certificate verifies, and does not escape.
	twin := new(big.Int).Sub(elliptic.P256().Params().N, s)
	if !ecdsa.Verify(&key.PublicKey, digest[:], r, twin) {
		t.Fatal("the twin does not verify")
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	other := bytes.Clone(signature)
	twin.FillBytes(other[32:])
	a, errA := EUSignature(signature, -7)
	b, errB := EUSignature(other, -7)
	sum := sha256.Sum256(signature[:32])
	if errA != nil || errB != nil || a != b || a != Hash(sum[:16]) {
		t.Errorf("hashes %x and %x, errors %v, %v; want %x", a, b, errA, errB, sum[:16])
	}
	// Of RSA all is hashed.
	if a, err = EUSignature(signature, -37); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(signature); a != Hash(sum[:16]) {
		t.Errorf("PS256: %x, want %x", a, sum[:16])
	}
	for _, bad := range []struct {
		signature []byte
		alg       int
	}{{nil, -7}, {signature[:63], -7}, {nil, -37}, {signature, -8}, {signature, 0}} {
		if _, err := EUSignature(bad.signature, bad.alg); !errors.Is(err, ErrIdentifier) {
			t.Errorf("%d bytes, algorithm %d: %v", len(bad.signature), bad.alg, err)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	const uci = "URN:UVCI:01:SE:EHM/V12907267LAJW#E"
	sum := sha256.Sum256([]byte(uci))
	if h := EUUCI(uci); h != Hash(sum[:16]) {
		t.Errorf("UCI %x, want %x", h, sum[:16])
	}
	sum = sha256.Sum256([]byte("SE" + uci))
	if h := EUCountryUCI("SE", uci); h != Hash(sum[:16]) {
		t.Errorf("COUNTRYCODEUCI %x, want %x", h, sum[:16])
	}
	if _, err := SHCRevocationID("vwAjHdarZuc"); err != nil {
		t.Error(err)
	}
	for _, rid := range []string{"", "this-rid-is-longer-than-the-24", "base64==", "$wrong", "a.b", "中文"} {
		if _, err := SHCRevocationID(rid); !errors.Is(err, ErrIdentifier) {
			t.Errorf("rid %q: %v", rid, err)
		}
	}
}

func TestID(t *testing.T) {
	kid, err := SHCKeyID("3Kfdg-XwP-7gXyywtUfUADwBumDOPKMQx-iELL11W9s")
	if err != nil || len(kid) != 64 {
		t.Fatalf("kid %s, %v", kid, err)
	}
	for _, id := range []ID{{EU, "0c4b15512be91401", ""}, {EU, "0c4b15512be91401", "3"}, {SHC, kid, "ff"}} {
		got, err := ParsePath(id.Path())
		if err != nil || got != id {
			t.Errorf("path %s: %+v, %v", id.Path(), got, err)
		}
	}
	for _, bad := range []string{"", "revocation/eu/0c/all", "revocation/eu/0/all.ghl", "revocation/eu/0c/.ghl", "revocation/eu/0c/123.ghl",
		"revocation/eu/0C/all.ghl", "revocation/nz/0c/all.ghl", "revocation/eu/0c/all.ghl/", "x/revocation/eu/0c/all.ghl",
		"revocation/eu/" + strings.Repeat("0c", 33) + "/all.ghl"} {
		if id, err := ParsePath(bad); !errors.Is(err, ErrID) {
			t.Errorf("path %q: %+v, %v", bad, id, err)
		}
	}
	id := ID{EU, "0c", "3"}
	if !id.Contains(hash(0x3f)) || id.Contains(hash(0x4f)) {
		t.Error("partition 3 does not hold what begins with 3 alone")
	}
}

func TestList(t *testing.T) {
	for _, s := range Schemes() {
		for _, n := range []int{0, 1, 2, 1000} {
			all := entries(s, 1, n)
			l := list(t, s, all)
			if l.Len() != n || int64(len(l.File())) != s.FileSize(int64(n)) {
				t.Fatalf("%s: %d entries in %d bytes, want %d", s, l.Len(), len(l.File()), n)
			}
			for i, e := range all {
				if got, ok := l.Find(e.Hash); !ok || got != e || l.At(i) != e {
					t.Errorf("%s: entry %d is %+v, %v; want %+v", s, i, got, ok, e)
				}
				miss := e.Hash
				miss[15] ^= 1
				if _, ok := l.Find(miss); ok {
					t.Errorf("%s: found %x, which is not there", s, miss)
				}
			}
		}
	}
}

func TestNormal(t *testing.T) {
	got := Normal([]Entry{{hash(2), 9}, {hash(1), 5}, {hash(1), 7}, {hash(2), 0}, {hash(1), 6}, {hash(3), 0}, {hash(3), 4}})
	want := []Entry{{hash(1), 7}, {hash(2), 0}, {hash(3), 0}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	eu, shc := list(t, EU, entries(EU, 1, 3)).File(), list(t, SHC, []Entry{{hash(1), 5}}).File()
	change := func(file []byte, at int, b byte) []byte {
		file = bytes.Clone(file)
		file[at] = b
		return file
	}
	for _, row := range []struct {
		what string
		s    Scheme
		file []byte
		want error
	}{
		{"nothing", EU, nil, ErrList},
		{"another magic", EU, change(eu, 3, '2'), ErrList},
		{"another scheme's width", SHC, eu, ErrList},
		{"one byte less", EU, eu[:len(eu)-1], ErrList},
		{"one byte more", EU, append(bytes.Clone(eu), 0), ErrList},
		{"one entry more than there is", EU, change(eu, 8, 4), ErrList},
		{"four thousand million entries", EU, change(eu, 5, 0xff), ErrList},
		{"out of order", EU, change(eu, headerSize, 0xff), ErrList},
		{"a hash twice", EU, append(append(bytes.Clone(eu[:headerSize+16]), eu[headerSize:headerSize+16]...), eu[headerSize+32:]...), ErrList},
		{"a negative time", SHC, change(shc, headerSize+16, 0x80), ErrList},
		{"a time after 9999", SHC, change(shc, headerSize+16, 0x01), ErrList},
		{"too large", EU, make([]byte, MaxFile+1), ErrSize},
		{"no scheme", "nz", eu, ErrList},
	} {
		if _, err := Parse(row.s, row.file); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.what, err, row.want)
		}
	}
	if _, err := New(EU, []Entry{{hash(1), 5}}); err == nil {
		// The width has no room for a time: it would be lost in silence.
		t.Error("an EU entry with a time was taken")
	}
}

// TestDelta makes generations that follow each other, and each later one of
// each earlier one by one cumulative delta.
func TestDelta(t *testing.T) {
	for _, s := range Schemes() {
		r := mathrand.New(mathrand.NewChaCha8([32]byte{7}))
		generations := []List{list(t, s, entries(s, 0, 500))}
		for g := range 6 {
			var next []Entry
			for e := range generations[g].All() {
				switch r.IntN(10) {
				case 0: // no longer revoked
				case 1:
					if s == SHC {
						e.Before = 1 + r.Int64N(MaxSecond)
					}
					next = append(next, e)
				default:
					next = append(next, e)
				}
			}
			next = append(next, entries(s, byte(g+1), 30)...)
			// Something that left comes back.
			next = append(next, generations[0].At(g))
			generations = append(generations, list(t, s, Normal(next)))
		}
		for from := range generations[:6] {
			var changes []Change
			for g := from; g < 6; g++ {
				changes = Join(changes, Diff(generations[g], generations[g+1]))
			}
			file, err := MarshalDelta(s, changes)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := ParseDelta(s, file)
			if err != nil || !reflect.DeepEqual(parsed, changes) {
				t.Fatalf("%s: delta from %d does not read as it was written: %v", s, from, err)
			}
			for g := from; g < 7; g++ {
				got, err := Apply(s, generations[g], parsed)
				if err != nil || !bytes.Equal(got.File(), generations[6].File()) {
					t.Errorf("%s: delta from %d on generation %d: %d entries, %v; want %d", s, from, g, got.Len(), err, generations[6].Len())
				}
			}
		}
		if d := Diff(generations[0], generations[0]); len(d) != 0 {
			t.Errorf("%s: %d changes between equal lists", s, len(d))
		}
	}
}

func TestParseDeltaRefuses(t *testing.T) {
	both := append([]byte("GHD1\x10\x00\x00\x00\x01\x00\x00\x00\x01"), make([]byte, 32)...)
	for _, row := range []struct {
		what string
		file []byte
		want error
	}{
		{"nothing", nil, ErrDelta},
		{"another magic", []byte("GHL1\x10\x00\x00\x00\x00\x00\x00\x00\x00"), ErrDelta},
		{"another width", []byte("GHD1\x18\x00\x00\x00\x00\x00\x00\x00\x00"), ErrDelta},
		{"more than there is", []byte("GHD1\x10\xff\xff\xff\xff\xff\xff\xff\xff"), ErrDelta},
		{"removed and added", both, ErrDelta},
		{"too large", make([]byte, MaxDelta+1), ErrSize},
	} {
		if _, err := ParseDelta(EU, row.file); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.what, err, row.want)
		}
	}
}

var issued = time.Date(2022, 3, 1, 8, 0, 0, 0, time.UTC)

func described() Description {
	return Description{
		Info: Info{ID: ID{EU, "0c4b15512be91401", "3f"}, Sequence: 9, Issued: issued, Expires: issued.Add(720 * time.Hour), Entries: 1000, SHA256: [32]byte{1}},
		Deltas: []DeltaInfo{
			{From: 2, Issued: issued.Add(-48 * time.Hour), Before: [32]byte{2}, Size: 900, SHA256: [32]byte{3}},
			{From: 8, Issued: issued.Add(-time.Minute), Before: [32]byte{4}, Size: 29, SHA256: [32]byte{5}},
		},
	}
}

func TestDescription(t *testing.T) {
	d := described()
	data, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseDescription(data)
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Fatalf("got %+v, %v; want %+v", got, err, d)
	}
	text := string(data)
	for _, row := range []struct{ what, old, new string }{
		{"a name missing", `"scheme":"eu",`, ``},
		{"a name twice", `"scheme":"eu",`, `"scheme":"eu","scheme":"eu",`},
		{"an unknown name", `"part"`, `"Part"`},
		{"another scheme", `"eu"`, `"nz"`},
		{"a kid in capitals", `0c4b`, `0C4B`},
		{"three digits", `"3f"`, `"3f0"`},
		{"sequence 0", `"sequence":9`, `"sequence":0`},
		{"a fraction", `"sequence":9`, `"sequence":9.0`},
		{"more than fits", `"entries":1000`, `"entries":1048577`},
		{"a negative number", `"entries":1000`, `"entries":-1`},
		{"expired before it was issued", `2022-03-31`, `2022-02-01`},
		{"a digest in capitals", `"sha256":"01`, `"sha256":"0A`},
		{"a delta to itself", `"from":8`, `"from":9`},
		{"deltas out of order", `"from":8`, `"from":1`},
		{"an empty delta", `"size":29`, `"size":0`},
		{"null for deltas", `"deltas":[`, `"deltas":null,"x":[`},
		{"trailing data", `}]}`, `}]}{}`},
		{"not UTF-8", `"part":"3f"`, "\"part\":\"3f\xff\""},
	} {
		bad := strings.Replace(text, row.old, row.new, 1)
		if bad == text {
			t.Fatalf("%s: nothing to replace", row.what)
		}
		if _, err := ParseDescription([]byte(bad)); !errors.Is(err, ErrDescription) {
			t.Errorf("%s: %v", row.what, err)
		}
	}
}

func TestChooseDelta(t *testing.T) {
	d := described()
	held := func(sequence uint64, sum byte) Info {
		i := d.Info
		i.Sequence, i.SHA256 = sequence, [32]byte{sum}
		return i
	}
	for _, row := range []struct {
		what string
		held Info
		from uint64 // 0 for the whole list
	}{
		{"the last one", held(8, 4), 8},
		{"the last one, with other bytes", held(8, 9), 2},
		{"one between", held(5, 77), 2},
		{"the oldest", held(2, 2), 2},
		{"before the oldest", held(1, 1), 0},
		{"the same", held(9, 1), 0},
		{"a later one", held(10, 1), 0},
	} {
		got, ok := d.Delta(row.held)
		if ok != (row.from != 0) || got.From != row.from {
			t.Errorf("%s: delta from %d, %v; want from %d", row.what, got.From, ok, row.from)
		}
	}
	d.Deltas[1].Size = d.Size()
	if got, ok := d.Delta(held(8, 4)); !ok || got.From != 2 {
		t.Errorf("a delta of the list's size is used: from %d", got.From)
	}
}

// TestCRL reads the lists that issuers of SMART Health Cards publish.
func TestCRL(t *testing.T) {
	dir := shared(t, "shc/crl")
	for _, row := range []struct {
		file string
		n    int // -1: refused
	}{
		{"spec-example-3Kfdg.json", 4},
		{"duplicate-rid.json", 2},
		{"version-mismatch.json", 4}, // whether ctr is crlVersion is for who has the key set
		{"non-base64url-rid.json", -1},
		{"invalid-method.json", -1},
		{"too-long-rid.json", -1},
	} {
		data, err := os.ReadFile(filepath.Join(dir, row.file))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCRL(data)
		if row.n < 0 {
			if !errors.Is(err, ErrCRL) {
				t.Errorf("%s: %v", row.file, err)
			}
			continue
		}
		if err != nil || len(c.Entries) != row.n {
			t.Errorf("%s: %d entries, %v; want %d", row.file, len(c.Entries), err, row.n)
			continue
		}
		l := list(t, SHC, c.Entries)
		timed, err := SHCRevocationID("vwAjHdarZuc")
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := l.Find(timed); !ok || e.Before == 0 {
			t.Errorf("%s: %+v, %v; want a time", row.file, e, ok)
		}
		always, err := SHCRevocationID("XkNHp2Iyk0Y")
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := l.Find(always); !ok || (e.Before == 0) != (row.file == "duplicate-rid.json") {
			t.Errorf("%s: %+v, %v", row.file, e, ok)
		}
	}
	kid := hex.EncodeToString([]byte{0xdc, 0xa7, 0xdd, 0x83})
	data, err := os.ReadFile(filepath.Join(dir, "spec-example-3Kfdg.json"))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := ParseCRL(data); err != nil || !strings.HasPrefix(c.KeyID, kid) || c.Counter != 1 {
		t.Errorf("kid %s, counter %d, %v", c.KeyID, c.Counter, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(true, list(f, EU, entries(EU, 1, 3)).File())
	f.Add(false, list(f, SHC, entries(SHC, 1, 3)).File())
	f.Fuzz(func(t *testing.T, eu bool, file []byte) {
		s := SHC
		if eu {
			s = EU
		}
		l, err := Parse(s, file)
		if err != nil {
			return
		}
		var all []Entry
		for e := range l.All() {
			all = append(all, e)
		}
		if again := list(t, s, all); !bytes.Equal(again.File(), file) {
			t.Errorf("encodes to %x, was %x", again.File(), file)
		}
	})
}

func FuzzParseDelta(f *testing.F) {
	for _, s := range Schemes() {
		file, err := MarshalDelta(s, Diff(list(f, s, entries(s, 1, 5)), list(f, s, entries(s, 2, 5))))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s == EU, file)
	}
	f.Fuzz(func(t *testing.T, eu bool, file []byte) {
		s := SHC
		if eu {
			s = EU
		}
		changes, err := ParseDelta(s, file)
		if err != nil {
			return
		}
		if again, err := MarshalDelta(s, changes); err != nil || !bytes.Equal(again, file) {
			t.Errorf("encodes to %x, %v; was %x", again, err, file)
		}
	})
}

func FuzzParseDescription(f *testing.F) {
	data, err := described().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDescription(data)
		if err != nil {
			return
		}
		again, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if e, err := ParseDescription(again); err != nil || !reflect.DeepEqual(d, e) {
			t.Errorf("%s reads as %+v, and again as %+v, %v", data, d, e, err)
		}
	})
}

func FuzzParseCRL(f *testing.F) {
	f.Add([]byte(`{"kid":"AQID","method":"rid","ctr":1,"rids":["a","b.5"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseCRL(data)
		if err != nil {
			return
		}
		if _, err := New(SHC, c.Entries); err != nil && !errors.Is(err, ErrSize) {
			t.Errorf("%q makes no list: %v", data, err)
		}
	})
}
