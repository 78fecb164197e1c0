package base45

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
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

func TestVectors(t *testing.T) {
	data, err := os.ReadFile(shared(t, "base45/vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct{ Text, Hex, Base45, Error string }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) < 10 {
		t.Fatalf("%d vectors, want 10 or more", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		got, err := Decode(v.Base45)
		if v.Error != "" {
			if err == nil {
				t.Errorf("%q decodes to %x, want an error: %s", v.Base45, got, v.Error)
			}
			continue
		}
		want := []byte(v.Text)
		if v.Hex != "" {
			if want, err = hex.DecodeString(v.Hex); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q decodes to %q, %v; want %q", v.Base45, got, err, want)
		}
		if s := Encode(want); s != v.Base45 {
			t.Errorf("%q encodes to %q, want %q", want, s, v.Base45)
		}
	}
}

// TestExamples has the examples of RFC 9285 section 4.3 and 4.4, and each way to fail.
func TestExamples(t *testing.T) {
	for _, c := range []struct {
		text, bytes string
		err         error
	}{
		{"", "", nil},
		{"BB8", "AB", nil},
		{"%69 VD92EX0", "Hello!!", nil},
		{"UJCLQE7W581", "base-45", nil},
		{"QED8WEX0", "ietf!", nil},
		{"FGW", "\xff\xff", nil},
		{"U5", "\xff", nil},
		{"000", "\x00\x00", nil},
		{"00", "\x00", nil},
		{"GGW", "", ErrRange},
		{":::", "", ErrRange},
		{"V5", "", ErrRange},
		{"::", "", ErrRange},
		{"A", "", ErrLength},
		{"BB8A", "", ErrLength},
		{"bb8", "", ErrAlphabet},
		{"BB\n", "", ErrAlphabet},
		{"BB\xff", "", ErrAlphabet},
		{"é0", "", ErrAlphabet},
		{"BB8_0", "", ErrAlphabet},
		{"BB80_", "", ErrAlphabet},
	} {
		got, err := AppendDecode([]byte("x"), []byte(c.text))
		if !errors.Is(err, c.err) || string(got) != "x"+c.bytes {
			t.Errorf("decode %q: got %q, %v; want %q, %v", c.text, got, err, "x"+c.bytes, c.err)
		}
	}
}

// TestEveryPair goes through all two-byte strings, and so all triplets.
func TestEveryPair(t *testing.T) {
	for v := range 1 << 16 {
		b := []byte{byte(v >> 8), byte(v)}
		s := AppendEncode(nil, b)
		got, err := AppendDecode(nil, s)
		if err != nil || !bytes.Equal(got, b) || len(s) != EncodedLen(2) || len(got) != DecodedLen(len(s)) {
			t.Fatalf("%x: text %q, back %x, %v", b, s, got, err)
		}
	}
}

func TestDecodeAllocates(t *testing.T) {
	src, dst := []byte(Encode(make([]byte, 300))), make([]byte, 0, 300)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := AppendDecode(dst, src); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations into a buffer that is large enough, want 0", n)
	}
}

// FuzzDecode: what decodes encodes to the same text.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "BB8", "QED8WEX0", "GGW", "A", "é0", "::"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := AppendDecode(nil, text)
		if err != nil {
			return
		}
		if again := AppendEncode(nil, b); !bytes.Equal(again, text) {
			t.Errorf("%q decodes to %x, which encodes to %q", text, b, again)
		}
	})
}

// FuzzEncode: every byte string comes back.
func FuzzEncode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("Hello!!"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(Encode(b))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%x comes back as %x, %v", b, got, err)
		}
	})
}
