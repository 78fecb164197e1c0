package main

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"greengate/pass/base45"
	"greengate/scanner"
	"greengate/scanner/qr"
)

// Codes as long as the longest in the queue are read as they are held, or when
// they are turned: a person of the demonstration never stands there for good.
func TestEverySnapshotIsReadAtLastTurned(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	var d qr.Reader
	for range 100 {
		raw := make([]byte, 286)
		random.Read(raw)
		code := "JKM1:" + string(base45.Encode(raw))
		read := false
		for turns := 0; turns < 4 && !read; turns++ {
			frame, err := snapshot(code, turns)
			if err != nil {
				t.Fatal(err)
			}
			var f scanner.Frame
			f.SetImage(frame)
			got, err := d.Decode(f)
			read = err == nil && string(got) == code
		}
		if !read {
			t.Error("a code was not read in any of four turns")
		}
	}
}

// Four quarters are a whole turn, and one is none.
func TestTurned(t *testing.T) {
	m, err := qr.Picture("HELLO", 1)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(turned(m).Pix, m.Pix) || !bytes.Equal(turned(turned(turned(turned(m)))).Pix, m.Pix) {
		t.Error("the picture did not turn")
	}
}

// A word where a flag was meant is not passed over: `demo once` would stay up.
func TestUnexpectedArguments(t *testing.T) {
	for _, args := range [][]string{{"demo", "once"}, {"gate", "-config", "x", "y"}} {
		var out, errs bytes.Buffer
		if err := run(t.Context(), args, &out, &errs); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
