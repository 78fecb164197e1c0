package statuslist

import (
	"bytes"
	"compress/zlib"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"greengate/pass/cose"
)

// shared finds the folder of shared vectors beside the module.
func shared(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the package")
		}
		dir = filepath.Dir(dir)
	}
	p := filepath.Join(dir, "..", "shared", "vectors", path)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("vectors %s are not here", path)
	}
	return p
}

// vector is a row of the draft's examples.
type vector struct {
	ID      string
	Bits    int
	Entries uint64
	NonZero map[string]uint8 `json:"status_nonzero"`
	// Status is []int, which JSON does not take for []uint8.
	Status  []int
	JSON    *struct{ Lst string }
	CborHex string `json:"cbor_hex"`
	CwtHex  string `json:"cwt_hex"`
}

func vectors(t *testing.T) []vector {
	t.Helper()
	data, err := os.ReadFile(shared(t, "token-status-list/index.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for line := range bytes.Lines(data) {
		var v vector
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors reads the draft's lists, in CBOR and in the base64url of the
// JSON form, and asks for every entry.
func TestVectors(t *testing.T) {
	lists := 0
	for _, v := range vectors(t) {
		if v.CborHex == "" {
			continue
		}
		lists++
		want := func(i uint64) uint8 {
			if v.Status != nil {
				return uint8(v.Status[i])
			}
			return v.NonZero[strconv.FormatUint(i, 10)]
		}
		check := func(form string, data []byte) {
			l, err := ParseCBOR(data, 1<<20)
			if err != nil {
				t.Errorf("%s %s: %v", v.ID, form, err)
				return
			}
			if l.Bits() != v.Bits || l.Len() != v.Entries {
				t.Errorf("%s %s: %d entries of %d bits, want %d of %d", v.ID, form, l.Len(), l.Bits(), v.Entries, v.Bits)
				return
			}
			for i := range l.Len() {
				if got, err := l.Get(i); err != nil || got != want(i) {
					t.Errorf("%s %s: entry %d is %d, %v; want %d", v.ID, form, i, got, err, want(i))
					return
				}
			}
			if _, err := l.Get(l.Len()); !errors.Is(err, ErrOutOfBounds) {
				t.Errorf("%s %s: entry behind the last: %v", v.ID, form, err)
			}
		}
		check("cbor", unhex(t, v.CborHex))
		if v.JSON != nil {
			lst, err := base64.RawURLEncoding.DecodeString(v.JSON.Lst)
			if err != nil {
				t.Fatal(err)
			}
			check("json", packed(t, uint64(v.Bits), lst))
		}
	}
	if lists < 6 {
		t.Errorf("only %d lists", lists)
	}
}

// packed is the CBOR around a compressed list.
func packed(tb testing.TB, bits uint64, lst []byte) []byte {
	tb.Helper()
	data, err := encMode.Marshal(compressed{Bits: bits, List: lst})
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// TestVectorToken verifies the draft's CWT with the draft's key.
func TestVectorToken(t *testing.T) {
	var jwk struct{ X, Y string }
	data, err := os.ReadFile(shared(t, "token-status-list/keys/example.jwk.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &jwk); err != nil {
		t.Fatal(err)
	}
	point := []byte{4}
	for _, c := range []string{jwk.X, jwk.Y} {
		b, err := base64.RawURLEncoding.DecodeString(c)
		if err != nil {
			t.Fatal(err)
		}
		point = append(point, b...)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	e := cose.Envelope{Algorithm: cose.ES256, Public: pub}
	now := time.Unix(1686920170, 0)
	seen := 0
	for _, v := range vectors(t) {
		switch v.ID {
		case "tsl/status-list-token-cwt":
			seen++
			token, err := OpenToken(e, unhex(t, v.CwtHex), now, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			want := Token{
				Subject: "https://example.com/statuslists/1", Issued: now.UTC(),
				Expires: time.Unix(2291720170, 0).UTC(), TTL: 43200 * time.Second, List: token.List,
			}
			if !reflect.DeepEqual(*token, want) {
				t.Errorf("got %+v, want %+v", *token, want)
			}
			if token.List.Bits() != 1 || !bytes.Equal(token.List.Raw(), []byte{0xb9, 0xa3}) {
				t.Errorf("list %d bits, %x", token.List.Bits(), token.List.Raw())
			}
		case "tsl/referenced-token-cwt":
			seen++
			// A genuine CWT of the same key that is no status list.
			if _, err := OpenToken(e, unhex(t, v.CwtHex), now, 1<<20); !errors.Is(err, cose.ErrMalformed) {
				t.Errorf("referenced token: %v, want cose.ErrMalformed", err)
			}
			m, err := cose.Parse(unhex(t, v.CwtHex))
			if err != nil || m.Verify(cose.ES256, pub, nil) != nil {
				t.Errorf("referenced token does not verify: %v", err)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d tokens, want 2", seen)
	}
}

func TestList(t *testing.T) {
	for _, bits := range []int{1, 2, 4, 8} {
		top := uint8(1<<bits - 1)
		l, err := New(100, bits, 1)
		if err != nil {
			t.Fatal(err)
		}
		if l.Len() < 100 || l.Len()-100 > 7 {
			t.Errorf("%d bits: %d entries for 100", bits, l.Len())
		}
		for _, i := range []uint64{0, 1, 7, 8, 63, 99} {
			if err := l.Set(i, top); err != nil {
				t.Fatal(err)
			}
		}
		for i := range l.Len() {
			want := uint8(1)
			if i == 0 || i == 1 || i == 7 || i == 8 || i == 63 || i == 99 {
				want = top
			}
			if got, err := l.Get(i); err != nil || got != want {
				t.Errorf("%d bits, entry %d: %d, %v; want %d", bits, i, got, err, want)
			}
		}
		if err := l.Set(3, 0); err != nil {
			t.Error(err)
		}
		if got, err := l.Get(3); err != nil || got != 0 {
			t.Errorf("%d bits: cleared entry is %d, %v", bits, got, err)
		}
		for _, i := range []uint64{l.Len(), 1 << 32, 1<<64 - 1} {
			if v, err := l.Get(i); !errors.Is(err, ErrOutOfBounds) || v == Valid {
				t.Errorf("%d bits, entry %d: %d, %v", bits, i, v, err)
			}
			if err := l.Set(i, 0); !errors.Is(err, ErrOutOfBounds) {
				t.Errorf("%d bits, set %d: %v", bits, i, err)
			}
		}
		if bits < 8 {
			if err := l.Set(0, top+1); !errors.Is(err, ErrBits) {
				t.Errorf("%d bits: value too large: %v", bits, err)
			}
			if _, err := New(8, bits, top+1); !errors.Is(err, ErrBits) {
				t.Errorf("%d bits: fill too large: %v", bits, err)
			}
		}
	}
	for _, c := range []struct {
		n    uint64
		bits int
		err  error
	}{{8, 0, ErrBits}, {8, 3, ErrBits}, {8, 16, ErrBits}, {8, -1, ErrBits}, {0, 2, ErrSize}, {MaxSize*4 + 1, 2, ErrSize}, {1<<64 - 1, 8, ErrSize}} {
		if _, err := New(c.n, c.bits, 0); !errors.Is(err, c.err) {
			t.Errorf("New(%d, %d): %v, want %v", c.n, c.bits, err, c.err)
		}
	}
	if _, err := FromRaw(nil, 2); !errors.Is(err, ErrSize) {
		t.Errorf("no bytes: %v", err)
	}
	if _, err := FromRaw([]byte{0}, 5); !errors.Is(err, ErrBits) {
		t.Errorf("five bits: %v", err)
	}
	var zero List
	if _, err := zero.Get(0); !errors.Is(err, ErrOutOfBounds) || zero.Len() != 0 {
		t.Errorf("zero list: %v", err)
	}
	if _, err := zero.MarshalCBOR(); !errors.Is(err, ErrSize) {
		t.Errorf("zero list written: %v", err)
	}
}

func deflate(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestParseCBOR(t *testing.T) {
	raw := bytes.Repeat([]byte{0x55, 0xaa}, 500)
	z := deflate(t, raw)
	wrongSum := bytes.Clone(z)
	wrongSum[len(wrongSum)-1] ^= 1
	bomb := deflate(t, make([]byte, 1<<20))
	for _, c := range []struct {
		name  string
		data  []byte
		limit int64
		err   error
	}{
		{"good", packed(t, 2, z), 1 << 20, nil},
		{"exactly the limit", packed(t, 2, z), 1000, nil},
		{"one above the limit", packed(t, 2, z), 999, ErrSize},
		{"bomb", packed(t, 2, bomb), 1 << 16, ErrSize},
		{"limit zero", packed(t, 2, z), 0, ErrSize},
		{"trailing in zlib", packed(t, 2, append(bytes.Clone(z), 0)), 1 << 20, ErrTrailing},
		{"zlib twice", packed(t, 2, append(bytes.Clone(z), z...)), 1 << 20, ErrTrailing},
		{"trailing in CBOR", append(packed(t, 2, z), 0), 1 << 20, ErrTrailing},
		{"checksum at the limit", packed(t, 2, wrongSum), 1000, ErrMalformed},
		{"zlib cut", packed(t, 2, z[:len(z)-5]), 1 << 20, ErrMalformed},
		{"checksum cut", packed(t, 2, z[:len(z)-2]), 1 << 20, ErrMalformed},
		{"no zlib", packed(t, 2, raw), 1 << 20, ErrMalformed},
		{"nothing packed", packed(t, 2, deflate(t, nil)), 1 << 20, ErrSize},
		{"no lst", []byte("\xa1\x64bits\x02"), 1 << 20, ErrMalformed},
		{"no bits", append([]byte("\xa1\x63lst\x59"), append([]byte{byte(len(z) >> 8), byte(len(z))}, z...)...), 1 << 20, ErrBits},
		{"three bits", packed(t, 3, z), 1 << 20, ErrBits},
		{"very many bits", packed(t, 1<<63, z), 1 << 20, ErrBits},
		{"bits twice", []byte("\xa3\x64bits\x02\x64bits\x02\x63lst\x40"), 1 << 20, ErrMalformed},
		{"indefinite", []byte("\xbf\x64bits\x02\x63lst\x40\xff"), 1 << 20, ErrMalformed},
		{"nothing", nil, 1 << 20, ErrMalformed},
		{"garbage", []byte("garbage"), 1 << 20, ErrMalformed},
	} {
		l, err := ParseCBOR(c.data, c.limit)
		if !errors.Is(err, c.err) || (err != nil && !errors.Is(err, ErrMalformed)) || (l == nil) == (err == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if err == nil && !bytes.Equal(l.Raw(), raw) {
			t.Errorf("%s: another list", c.name)
		}
	}
}

var (
	edKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	issued = time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
)

func TestToken(t *testing.T) {
	l, err := New(1<<12, 2, Invalid)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Set(4000, ApplicationSpecific); err != nil {
		t.Fatal(err)
	}
	e := cose.Envelope{Algorithm: cose.EdDSA, KeyID: []byte("s1"), Public: edKey.Public(), Private: edKey}
	for _, want := range []Token{
		{Subject: "sl:330106/0", Issued: issued, Expires: issued.Add(48 * time.Hour), TTL: time.Minute, List: l},
		{Subject: "sl:330106/0", Issued: issued, List: l},
	} {
		data, err := SignToken(e, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := OpenToken(e, data, issued, MaxSize)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
		again, err := SignToken(e, *got)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("written again it differs: %v", err)
		}
		for name, c := range map[string]struct {
			now   time.Time
			limit int64
			data  []byte
			err   error
		}{
			"too early":    {issued.Add(-time.Second), MaxSize, data, ErrTokenNotYetValid},
			"above limit":  {issued, 1023, data, ErrSize},
			"trailing":     {issued, MaxSize, append(bytes.Clone(data), 0), cose.ErrTrailing},
			"changed":      {issued, MaxSize, bytes.Replace(data, []byte("330106"), []byte("330107"), 1), cose.ErrSignature},
			"cut in half":  {issued, MaxSize, data[:len(data)/2], cose.ErrMalformed},
			"another type": {issued, MaxSize, bytes.Replace(data, []byte("statuslist+cwt"), []byte("statuslist+cwx"), 1), cose.ErrMalformed},
		} {
			if _, err := OpenToken(e, c.data, c.now, c.limit); !errors.Is(err, c.err) {
				t.Errorf("%s: %v, want %v", name, err, c.err)
			}
		}
		if !want.Expires.IsZero() {
			if _, err := OpenToken(e, data, want.Expires, MaxSize); !errors.Is(err, ErrTokenExpired) {
				t.Errorf("at exp: %v, want ErrTokenExpired", err)
			}
		}
	}
	for name, token := range map[string]Token{
		"no subject":           {Issued: issued, List: l},
		"no time":              {Subject: "s", List: l},
		"expires before":       {Subject: "s", Issued: issued, Expires: issued, List: l},
		"negative ttl":         {Subject: "s", Issued: issued, TTL: -1, List: l},
		"no list":              {Subject: "s", Issued: issued},
		"subject with a space": {Subject: "s t", Issued: issued, List: l},
	} {
		if _, err := SignToken(e, token); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	// Signed by the right key, but not what the draft says.
	for name, payload := range map[string]string{
		"no list":     "\xa2\x02\x61s\x06\x1a\x5e\x4a\x40\x00",
		"no iat":      "\xa2\x02\x61s\x19\xff\xfd\xa2\x64bits\x02\x63lst\x40",
		"iat as text": "\xa1\x06\x61x",
		"list null":   "\xa3\x02\x61s\x06\x01\x19\xff\xfd\xf6",
		"a tag":       "\xa3\x02\x61s\x06\xc1\x01\x19\xff\xfd\xf6",
		"huge ttl":    "\xa4\x02\x61s\x06\x01\x19\xff\xfd\xa2\x64bits\x02\x63lst\x40\x19\xff\xfe\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		data, err := e.Sign(TokenType, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenToken(e, data, issued, MaxSize); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func someInfo() Info {
	return Info{
		URI: "sl:330106/0", Sequence: 17, Issued: issued, Expires: issued.Add(48 * time.Hour),
		Bits: 2, Size: 262144, SHA256: [32]byte{1, 0xab, 31: 0xff},
	}
}

func TestInfo(t *testing.T) {
	want := someInfo()
	data, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"uri":"sl:330106/0","sequence":17,"issued":"2020-02-17T08:00:00Z","expires":"2020-02-19T08:00:00Z",` +
		`"bits":2,"size":262144,"sha256":"01ab0000000000000000000000000000000000000000000000000000000000ff"}`
	if string(data) != text {
		t.Errorf("got %s\nwant %s", data, text)
	}
	spaced := strings.NewReplacer(",", " ,\n\t", ":\"", " : \"").Replace(text)
	spaced = strings.Replace(strings.Replace(spaced, "sl : \"", "sl:\"", 1), "{", " {", 1)
	for _, s := range []string{text, spaced} {
		if got, err := ParseInfo([]byte(s)); err != nil || got != want {
			t.Errorf("%s\ngot %+v, %v; want %+v", s, got, err, want)
		}
	}
	local := want
	local.Issued = want.Issued.In(time.FixedZone("CST", 8*3600)).Add(time.Millisecond)
	if again, err := local.Marshal(); err != nil || string(again) != text {
		t.Errorf("another zone and a fraction: %s, %v", again, err)
	}
	for _, c := range []struct{ name, old, with string }{
		{"unknown name", `{`, `{"x":1,`},
		{"name twice", `{`, `{"bits":2,`},
		{"name in capitals", `"uri"`, `"URI"`},
		{"name missing", `"bits":2,`, ``},
		{"trailing", `ff"}`, `ff"}{}`},
		{"cut", `ff"}`, `ff"`},
		{"array", text, `[]`},
		{"nothing", text, ``},
		{"null", text, `null`},
		{"huge", text, text + strings.Repeat(" ", MaxInfo)},
		{"not UTF-8", "330106", "\xff"},
		{"uri empty", "sl:330106/0", ""},
		{"uri long", "sl:330106/0", strings.Repeat("u", 257)},
		{"uri with a space", "sl:330106/0", "a b"},
		{"uri no text", `"sl:330106/0"`, `7`},
		{"sequence zero", `17`, `0`},
		{"sequence negative", `17`, `-17`},
		{"sequence a float", `17`, `17.0`},
		{"sequence with an exponent", `17`, `1e1`},
		{"sequence beyond exact", `17`, `9007199254740992`},
		{"sequence text", `17`, `"17"`},
		{"sequence null", `17`, `null`},
		{"sequence nested", `17`, `{"a":17}`},
		{"bits three", `"bits":2`, `"bits":3`},
		{"bits beyond 32", `"bits":2`, `"bits":4294967298`},
		{"size zero", `262144`, `0`},
		{"size large", `262144`, `67108865`},
		{"digest in capitals", `01ab`, `01AB`},
		{"digest short", `01ab`, ``},
		{"digest no hex", `01ab`, `01zz`},
		{"time with a fraction", `2020-02-17T08:00:00Z`, `2020-02-17T08:00:00.1Z`},
		{"time in a zone", `2020-02-17T08:00:00Z`, `2020-02-17T08:00:00+00:00`},
		{"expires with issued", `2020-02-19T08:00:00Z`, `2020-02-17T08:00:00Z`},
		{"before 1970", `2020-02-17T08:00:00Z`, `1960-02-17T08:00:00Z`},
	} {
		s := strings.Replace(text, c.old, c.with, 1)
		if got, err := ParseInfo([]byte(s)); !errors.Is(err, ErrInfo) || got != (Info{}) {
			t.Errorf("%s: %+v, %v; want ErrInfo", c.name, got, err)
		}
	}
	if _, err := (Info{}).Marshal(); !errors.Is(err, ErrInfo) {
		t.Errorf("zero info written: %v", err)
	}
}

// FuzzParseCBOR: no bytes make it panic or pass the limit, and what parses
// comes back.
func FuzzParseCBOR(f *testing.F) {
	f.Add(packed(f, 2, deflate(f, []byte{1, 2, 3})))
	f.Add(packed(f, 1, deflate(f, make([]byte, 5000))))
	f.Add([]byte("\xa2\x64bits\x02\x63lst\x40"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 4096
		l, err := ParseCBOR(data, limit)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%x: %v is not ErrMalformed", data, err)
			}
			return
		}
		if len(l.Raw()) > limit {
			t.Errorf("%x: %d bytes, limit %d", data, len(l.Raw()), limit)
		}
		again, err := l.MarshalCBOR()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseCBOR(again, limit); err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%x comes back as %+v, %v", data, got, err)
		}
	})
}

// FuzzParseInfo: what parses is written, and parses again to the same.
func FuzzParseInfo(f *testing.F) {
	data, err := someInfo().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"uri":"u"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := ParseInfo(data)
		if err != nil {
			if !errors.Is(err, ErrInfo) {
				t.Errorf("%q: %v is not ErrInfo", data, err)
			}
			return
		}
		again, err := i.Marshal()
		if err != nil {
			t.Fatalf("%q parses and is not written: %v", data, err)
		}
		if got, err := ParseInfo(again); err != nil || got != i {
			t.Errorf("%q comes back as %+v, %v", data, got, err)
		}
	})
}
