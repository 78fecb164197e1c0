package pass

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

var day = time.Date(2020, 2, 11, 0, 0, 0, 0, time.UTC)

func edPublic(b byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, 32)).Public().(ed25519.PublicKey)
}

func ecPublic(tb testing.TB) *ecdsa.PublicKey {
	tb.Helper()
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{2}, 32))
	if err != nil {
		tb.Fatal(err)
	}
	return &k.PublicKey
}

func someKeys(tb testing.TB) []Key {
	tb.Helper()
	return []Key{
		{ID: []byte("hz01"), Algorithm: EdDSA, Public: edPublic(1), Use: UseCode, Region: "3301", NotBefore: day, NotAfter: day.AddDate(1, 0, 0)},
		{ID: []byte{0, 255}, Algorithm: ES256, Public: ecPublic(tb), Use: UseCode, NotBefore: day, NotAfter: day},
		{
			ID: []byte("hz01"), Algorithm: EdDSA, Public: edPublic(3), Use: UsePermit, NotBefore: day, NotAfter: day.AddDate(1, 0, 0),
			Enterprise: "企业 91330100", Zones: []string{"office", "dock"},
		},
	}
}

func TestKeySet(t *testing.T) {
	keys := someKeys(t)
	data, err := MarshalKeySet(keys)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseKeySet(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, keys) {
		t.Errorf("got %+v\nwant %+v", got, keys)
	}
	m := NewKeyMap(got)
	if n := len(m.Keys([]byte("hz01"))); n != 2 {
		t.Errorf("%d keys with the shared kid, want 2", n)
	}
	if n := len(m.Keys([]byte("none"))); n != 0 {
		t.Errorf("%d keys with an unknown kid", n)
	}
	empty, err := MarshalKeySet(nil)
	if err != nil || string(empty) != `{"keys":[]}` {
		t.Errorf("no keys: %s, %v", empty, err)
	}
	if got, err := ParseKeySet(empty); err != nil || len(got) != 0 {
		t.Errorf("no keys: %v, %v", got, err)
	}
}

// TestKeySetText: times in other zones are written in UTC, points may be
// compressed, white space and order are free.
func TestKeySetText(t *testing.T) {
	pub := ecPublic(t)
	full, err := pub.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	point := append([]byte{2 + full[64]&1}, full[1:33]...)
	text := ` { "keys" : [ {"use":"code", "kid":"aHowMQ", "region":"", "not_after":"2021-02-11T00:00:00Z",
		"not_before":"2020-02-11T00:00:00Z", "alg":"ES256", "public":"` + base64.RawURLEncoding.EncodeToString(point) + `"} ] } ` + "\n"
	keys, err := ParseKeySet([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if !pub.Equal(keys[0].Public) || string(keys[0].ID) != "hz01" {
		t.Errorf("got %+v", keys[0])
	}
	k := someKeys(t)[0]
	k.NotBefore = day.In(time.FixedZone("CST", 8*3600))
	data, err := MarshalKeySet([]Key{k})
	if err != nil || !strings.Contains(string(data), `"not_before":"2020-02-11T00:00:00Z"`) {
		t.Errorf("got %s, %v", data, err)
	}
}

func TestParseKeySetRefuses(t *testing.T) {
	data, err := MarshalKeySet(someKeys(t))
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	one := `{"kid":"aHowMQ",`
	off := base64.RawURLEncoding.EncodeToString(append([]byte{4}, make([]byte, 64)...))
	for _, c := range []struct{ name, old, with string }{
		{"trailing data", "", "x"},
		{"trailing object", "", "{}"},
		{"unknown name in a key", one, one + `"private":"x",`},
		{"name twice", one, one + `"alg":"EdDSA",`},
		{"name in capitals", `"kid"`, `"KID"`},
		{"unknown name beside keys", `{"keys"`, `{"version":1,"keys"`},
		{"keys twice", `{"keys":[`, `{"keys":[],"keys":[`},
		{"keys null", good, `{"keys":null}`},
		{"no keys", good, `{}`},
		{"an array", good, `[]`},
		{"nothing", good, ``},
		{"half", good, good[:len(good)/2]},
		{"key null", good, `{"keys":[null]}`},
		{"key without anything", good, `{"keys":[{}]}`},
		{"comma at the end", "}]}", "},]}"},
		{"not UTF-8", "office", "off\xffce"},
		{"kid no text", `"kid":"aHowMQ"`, `"kid":1`},
		{"kid with padding", "aHowMQ", "aHowMQ=="},
		{"kid with spare bits", "aHowMQ", "aHowMR"},
		{"kid with a line end", "aHowMQ", `aHow\nMQ`},
		{"kid empty", "aHowMQ", ""},
		{"kid of 33 bytes", "aHowMQ", strings.Repeat("A", 44)},
		{"another alg", `"alg":"EdDSA"`, `"alg":"RS256"`},
		{"alg of another key", `"alg":"EdDSA"`, `"alg":"ES256"`},
		{"EdDSA with a point", `"alg":"ES256"`, `"alg":"EdDSA"`},
		{"short key", `"public":"`, `"public":"AAAA","x":"`},
		{"point off the curve", good, `{"keys":[{"kid":"aHowMQ","alg":"ES256","public":"` + off + `","use":"code","region":"","not_before":"2020-02-11T00:00:00Z","not_after":"2021-02-11T00:00:00Z"}]}`},
		{"another use", `"use":"code"`, `"use":"root"`},
		{"use of a permit key", `"use":"code"`, `"use":"permit"`},
		{"use of a code key", `"use":"permit"`, `"use":"code"`},
		{"region of letters", `"region":"3301"`, `"region":"zj"`},
		{"region of three digits", `"region":"3301"`, `"region":"330"`},
		{"region of eight digits", `"region":"3301"`, `"region":"33010101"`},
		{"time with a fraction", "2020-02-11T00:00:00Z", "2020-02-11T00:00:00.5Z"},
		{"time in a zone", "2020-02-11T00:00:00Z", "2020-02-11T08:00:00+08:00"},
		{"time that is none", "2020-02-11T00:00:00Z", "2020-02-31T00:00:00Z"},
		{"time before 1970", "2020-02-11T00:00:00Z", "1960-02-11T00:00:00Z"},
		{"ends before it begins", "2021-02-11T00:00:00Z", "2019-02-11T00:00:00Z"},
		{"no enterprise", `"enterprise":"企业 91330100",`, ``},
		{"enterprise with a control character", `企业`, `\u0007`},
		{"no zones", `,"zones":["office","dock"]`, ``},
		{"zone twice", `"dock"`, `"office"`},
		{"zone empty", `"dock"`, `""`},
		{"zone no text", `"dock"`, `1`},
		{"65 zones", `"dock"`, `"z"` + strings.Repeat(`,"z"`, 64)},
	} {
		text := good + c.with
		if c.old != "" {
			if !strings.Contains(good, c.old) {
				t.Fatalf("%s: %q is not in the list", c.name, c.old)
			}
			text = strings.Replace(good, c.old, c.with, 1)
		}
		if keys, err := ParseKeySet([]byte(text)); !errors.Is(err, ErrKeySet) || keys != nil {
			t.Errorf("%s: %d keys, %v; want ErrKeySet", c.name, len(keys), err)
		}
	}
}

func TestKeySetBounds(t *testing.T) {
	if _, err := ParseKeySet(make([]byte, MaxKeySet+1)); !errors.Is(err, ErrKeySet) {
		t.Errorf("too many bytes: %v", err)
	}
	if _, err := MarshalKeySet(make([]Key, MaxKeys+1)); !errors.Is(err, ErrKeySet) {
		t.Errorf("too many keys written: %v", err)
	}
	if testing.Short() {
		return
	}
	data, err := MarshalKeySet(someKeys(t)[:1])
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSuffix(strings.TrimPrefix(string(data), `{"keys":[`), `]}`)
	list := `{"keys":[` + strings.Repeat(key+",", MaxKeys-1) + key
	if _, err := ParseKeySet([]byte(list + "," + key + `]}`)); !errors.Is(err, ErrKeySet) || !strings.Contains(err.Error(), "too many keys") {
		t.Errorf("one key more: %v", err)
	}
}

func TestMarshalKeySetRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Key){
		"no kid":            func(k *Key) { k.ID = nil },
		"no key":            func(k *Key) { k.Public = nil },
		"nil ECDSA":         func(k *Key) { k.Algorithm, k.Public = ES256, (*ecdsa.PublicKey)(nil) },
		"-19":               func(k *Key) { k.Algorithm = Ed25519 },
		"no use":            func(k *Key) { k.Use = "" },
		"no period":         func(k *Key) { k.NotBefore, k.NotAfter = time.Time{}, time.Time{} },
		"year 10000":        func(k *Key) { k.NotAfter = day.AddDate(9000, 0, 0) },
		"zones of a code":   func(k *Key) { k.Zones = []string{"a"} },
		"permit, no zones":  func(k *Key) { k.Use, k.Enterprise = UsePermit, "e" },
		"zone not UTF-8":    func(k *Key) { k.Use, k.Enterprise, k.Zones = UsePermit, "e", []string{"\xff"} },
		"region from words": func(k *Key) { k.Region = "hangzhou" },
	} {
		k := someKeys(t)[0]
		edit(&k)
		if data, err := MarshalKeySet([]Key{k}); !errors.Is(err, ErrKeySet) || data != nil {
			t.Errorf("%s: %s, %v; want ErrKeySet", name, data, err)
		}
	}
}

// FuzzParseKeySet: what parses is written, and parses again to the same keys.
func FuzzParseKeySet(f *testing.F) {
	data, err := MarshalKeySet(someKeys(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{"kid":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := ParseKeySet(data)
		if err != nil {
			if !errors.Is(err, ErrKeySet) {
				t.Errorf("%q: %v is not ErrKeySet", data, err)
			}
			return
		}
		again, err := MarshalKeySet(keys)
		if err != nil {
			t.Fatalf("%q parses and is not written: %v", data, err)
		}
		got, err := ParseKeySet(again)
		if err != nil || !reflect.DeepEqual(got, keys) {
			t.Errorf("%q comes back as %+v, %v", data, got, err)
		}
	})
}
