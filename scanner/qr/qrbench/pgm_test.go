package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

func TestPGM(t *testing.T) {
	var p pgm
	for _, file := range []string{"P5\n3 2\n255\nabcdef", "P5 3 2 255 abcdef", "P5\r3\t2\n255\n\x00\xff\n\n\n\n"} {
		f, err := p.read(iotest.OneByteReader(strings.NewReader(file)))
		if err != nil || f.Width != 3 || f.Height != 2 || f.Stride != 3 || string(f.Pix) != file[len(file)-6:] {
			t.Errorf("%q: got %+v, %v", file, f, err)
		}
		if err := f.Check(); err != nil {
			t.Error(err)
		}
	}
	for _, file := range []string{
		"", "P5", "P6\n1 1\n255\na", "P5\n1 1\n255", "P5\n1 1\n255\n", "P5\n1 1\n255\nab", "P5\n0 1\n255\n", "P5\n1 0\n255\n",
		"P5\n1 1\n65535\nab", "P5\n1 1\n254\na", "P5\n# by hand\n1 1\n255\na", "P5\n01 1\n255\na", "P5\n-1 1\n255\na", "P5\n 1 1\n255\na",
		"P5\n16385 1\n255\n" + strings.Repeat("a", 16385), "P5\n16384 16384\n255\na",
	} {
		if f, err := p.read(strings.NewReader(file)); !errors.Is(err, errPGM) {
			t.Errorf("%.40q: got %d×%d, %v, want %v", file, f.Width, f.Height, err, errPGM)
		}
	}
	broken := errors.New("the card is out")
	if _, err := p.read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

// endless is a file without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestPGMHasAnEnd(t *testing.T) {
	if _, err := new(pgm).read(endless{}); !errors.Is(err, errPGM) {
		t.Errorf("got %v, want %v", err, errPGM)
	}
}

func FuzzPGM(f *testing.F) {
	f.Add([]byte("P5\n3 2\n255\nabcdef"))
	f.Add([]byte("P5 16384 1 255 a"))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := parsePGM(file)
		if err != nil {
			return
		}
		if err := got.Check(); err != nil {
			t.Fatal(err)
		}
		plain := fmt.Appendf(nil, "P5\n%d %d\n255\n%s", got.Width, got.Height, got.Pix)
		again, err := parsePGM(plain)
		if err != nil || !bytes.Equal(again.Pix, got.Pix) || len(plain) != len(file) {
			t.Errorf("%q read and written is %q: %v", file, plain, err)
		}
	})
}
