package hashlist

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadHashes(t *testing.T) {
	a, b := EUUCI("a"), EUUCI("b")
	lines := hex.EncodeToString(a[:]) + "\n" +
		strings.ToUpper(hex.EncodeToString(a[:])) + "\r\n" +
		base64.StdEncoding.EncodeToString(b[:]) + "\n" +
		base64.RawStdEncoding.EncodeToString(b[:])
	got, err := ReadHashes(iotest.OneByteReader(strings.NewReader(lines)))
	want := Normal([]Entry{{Hash: a}, {Hash: b}})
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	if got, err := ReadHashes(strings.NewReader("")); err != nil || len(got) != 0 {
		t.Errorf("no line: %v %v", got, err)
	}

	good := hex.EncodeToString(a[:]) + "\n"
	for bad, says := range map[string]string{
		good + "\n" + good:                    "line 2: is empty",
		good + good + strings.Repeat("0", 64): "line 3: 64 characters are a whole SHA-256",
		strings.Repeat("A", 43) + "=\n":       "line 1: 44 characters are a whole SHA-256",
		good[:31] + "g\n":                     "line 1: \"",
		good[:30] + "\n" + good:               "line 1: 30 characters",
		" " + good:                            "line 1: 33 characters",
		"\ufeff" + good:                       "line 1: 35 characters",
		good[:32] + "\r\r\n":                  "line 1: 33 characters",
		"AAAAAAAAAAAAAAAAAAAAAB==\n":          "is not base64", // bits behind the end
		"AAAAAAAAAAAAAAAAAAAA\rA==\n":         "is not base64",
		good + strings.Repeat("0", 1<<20):     "line 2: ",
		good + "AAAAAAAAAAAAAAAAAAAA-A==\n":   "line 2: ", // base64url
	} {
		got, err := ReadHashes(strings.NewReader(bad))
		if !errors.Is(err, ErrHashes) || !strings.Contains(err.Error(), says) || got != nil {
			t.Errorf("%.80q: %v %v, want %q", bad, got, err, says)
		}
	}
	if _, err := ReadHashes(io.MultiReader(strings.NewReader(good), iotest.ErrReader(io.ErrUnexpectedEOF))); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrHashes) {
		t.Errorf("cut off: %v", err)
	}
}

// TestReadHashesBound: one line more than a key may have is refused, before it
// is looked at.
func TestReadHashesBound(t *testing.T) {
	line := strings.Repeat("0", 2*HashSize) + "\n"
	got, err := readHashes(strings.NewReader(strings.Repeat(line, 3)), 3)
	if err != nil || len(got) != 1 {
		t.Errorf("as many as may be: %d entries, %v", len(got), err)
	}
	if got, err := readHashes(strings.NewReader(strings.Repeat(line, 3)+"x"), 3); !errors.Is(err, ErrHashes) || !strings.Contains(err.Error(), "line 4: more than 3") {
		t.Errorf("one more: %v %v", got, err)
	}
}

func TestParseKID(t *testing.T) {
	const thumb = "3Kfdg-XwP-7gXyywtUfUADwBumDOPKMQx-iELL11W9s"
	for _, c := range []struct {
		scheme   Scheme
		kid, hex string
	}{
		{EU, "DEsVUSvpFAE=", "0c4b15512be91401"},
		{SHC, thumb, "dca7dd83e5f03feee05f2cb0b547d4003c01ba60ce3ca310c7e8842cbd755bdb"},
	} {
		for _, kid := range []string{c.kid, c.hex} {
			if got, err := c.scheme.ParseKID(kid); err != nil || got != c.hex {
				t.Errorf("%s %s: %s %v", c.scheme, kid, got, err)
			}
		}
		if got := (ID{Scheme: c.scheme, KeyID: c.hex}).KID(); got != c.kid {
			t.Errorf("%s %s is written %s", c.scheme, c.hex, got)
		}
	}
	for _, c := range []struct {
		scheme Scheme
		kid    string
	}{{EU, ""}, {EU, thumb}, {EU, "DEsVUSvpFAF="}, {EU, "DEsVUSvp\nFAE="}, {EU, "0C4B15512BE91401"}, {SHC, ""}, {SHC, "a"}, {SHC, thumb + "\n"}, {"nz", "DEsVUSvpFAE="}} {
		if got, err := c.scheme.ParseKID(c.kid); !errors.Is(err, ErrID) {
			t.Errorf("%s %q: %s %v", c.scheme, c.kid, got, err)
		}
	}
}

// FuzzReadHashes: what is taken is the same set when it is written again, one
// hash from each line.
func FuzzReadHashes(f *testing.F) {
	f.Add([]byte("0c4b15512be914010c4b15512be91401\n"))
	f.Add([]byte("AAAAAAAAAAAAAAAAAAAAAA==\r\nAAAAAAAAAAAAAAAAAAAAAA\n"))
	f.Add([]byte("\n"))
	f.Add([]byte(strings.Repeat("ab", 32)))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := ReadHashes(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrHashes) || !strings.Contains(err.Error(), "line ") || entries != nil {
				t.Fatalf("%v %v", entries, err)
			}
			return
		}
		if lines := bytes.Count(data, []byte("\n")) + 1; len(entries) > lines || len(data) > 0 && len(entries) == 0 {
			t.Fatalf("%d entries of %d lines", len(entries), lines)
		}
		var again []byte
		for _, e := range entries {
			again = append(hex.AppendEncode(again, e.Hash[:]), '\n')
		}
		got, err := ReadHashes(bytes.NewReader(again))
		if err != nil || len(got) != len(entries) {
			t.Fatalf("again: %v %v", got, err)
		}
		for i := range got {
			if got[i] != entries[i] {
				t.Fatalf("entry %d: %v, was %v", i, got[i], entries[i])
			}
		}
		if _, err := New(EU, entries); err != nil {
			t.Fatal(err)
		}
	})
}
