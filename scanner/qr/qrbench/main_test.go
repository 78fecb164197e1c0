package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"greengate/scanner"
	"greengate/scanner/qr"
)

// write draws text as a PGM file.
func write(t *testing.T, name, text string) string {
	t.Helper()
	img, err := qr.Picture(text, 4)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, fmt.Appendf(nil, "P5\n%d %d\n255\n%s", img.Rect.Dx(), img.Rect.Dy(), img.Pix), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLines(t *testing.T) {
	code := write(t, "code.pgm", "JKM1:LINES")
	white := filepath.Join(t.TempDir(), "white.pgm")
	if err := os.WriteFile(white, append([]byte("P5\n100 100\n255\n"), bytes.Repeat([]byte{0xff}, 1e4)...), 0o600); err != nil {
		t.Fatal(err)
	}
	paths := code + "\n\n" + white + "\n"
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte(paths), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, which := range []string{"ours", "stock"} {
		for _, from := range []string{list, "-"} {
			var out bytes.Buffer
			if err := run([]string{"-list", from, "-reader", which, "-reps", "3", "-allocs"}, strings.NewReader(paths), &out, io.Discard); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(lines) != 2 {
				t.Fatalf("%d lines for two pictures:\n%s", len(lines), out.String())
			}
			for i, want := range []struct{ path, count, text string }{
				{code, "1", base64.StdEncoding.EncodeToString([]byte("JKM1:LINES"))},
				{white, "0", ""},
			} {
				f := strings.Split(lines[i], "\t")
				if len(f) != 7 || f[0] != which || f[1] != want.path || f[4] != want.count || f[5] != want.text {
					t.Errorf("%s: got %q", which, f)
					continue
				}
				for _, n := range []string{f[2], f[3], f[6]} {
					if v, err := strconv.ParseFloat(n, 64); err != nil || v < 0 {
						t.Errorf("%s: %q is no number: %v", which, n, err)
					}
				}
			}
		}
	}
}

func TestWrongArguments(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pgm")
	for _, args := range []string{
		"", "-list x -empty 3", "-empty -1", "-list - -reps 0", "-list - -clip -reps 2", "-list - -reader best", "-list - more", "-list " + missing, "-list -",
	} {
		if err := run(strings.Fields(args), strings.NewReader(missing), io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	if err := run([]string{"-list", "-"}, strings.NewReader(missing), io.Discard, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a picture that is not there: %v", err)
	}
}

// diary is a reader that writes down what is asked of it.
type diary struct{ events string }

func (d *diary) read(scanner.Frame) ([][]byte, error) { d.events += "r"; return nil, nil }
func (d *diary) forget()                              { d.events += "f" }

// A clip's pictures are read with what is known from those before; other
// pictures, and each reading again, without.
func TestWhenTheReaderForgets(t *testing.T) {
	dir := t.TempDir()
	var paths strings.Builder
	for _, name := range []string{"s00_f00.pgm", "s00_f01.pgm", "s01_f00.pgm", "s01_f01.pgm"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("P5\n1 1\n255\n."), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&paths, path)
	}
	for _, tt := range []struct {
		clip bool
		reps int
		want string
	}{
		{clip: true, reps: 1, want: "frrfrr"},
		{reps: 1, want: "frfrfrfr"},
		{reps: 2, want: "frfr" + "frfr" + "frfr" + "frfr"},
	} {
		d := &diary{}
		b := bench{reader: d, clip: tt.clip, reps: tt.reps, out: bufio.NewWriter(io.Discard)}
		if err := b.files(strings.NewReader(paths.String())); err != nil {
			t.Fatal(err)
		}
		// In front of all, the first picture warms the program up.
		if want := "rf" + tt.want; d.events != want {
			t.Errorf("clip %t, %d times: %s, want %s", tt.clip, tt.reps, d.events, want)
		}
	}
}

func TestEmpty(t *testing.T) {
	e, again, other := newEmpty(5), newEmpty(5), newEmpty(6)
	for _, e := range []*empty{e, again, other} {
		e.sizes = [4]size{{160, 120}, {160, 120}, {200, 100}, {120, 160}}
	}
	differ := false
	seen := map[string]bool{}
	for i := range kinds {
		name, f := e.next(i)
		if err := f.Check(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kind, _, _ := strings.Cut(name, "/")
		seen[kind] = true
		if _, g := again.next(i); !bytes.Equal(f.Pix, g.Pix) {
			t.Errorf("%s: two pictures of one seed", name)
		}
		if _, g := other.next(i); !bytes.Equal(f.Pix, g.Pix) {
			differ = true
		}
		low, high := f.Pix[0], f.Pix[0]
		for _, p := range f.Pix {
			low, high = min(low, p), max(high, p)
		}
		if high-low < 5 {
			t.Errorf("%s: from %d to %d, nothing to be seen", name, low, high)
		}
		if codes, err := new(ours).read(f); err != nil || len(codes) > 0 {
			t.Errorf("%s: read %q, %v", name, codes, err)
		}
	}
	if !differ || len(seen) != len(kinds) {
		t.Errorf("seeds differ: %t; kinds: %v", differ, seen)
	}
}

func TestEmptyLines(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-empty", "1", "-seed", "7"}, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 6 || f[1] != fmt.Sprintf("empty-%s/%06d", kinds[i].name, i) || f[4] != "0" || f[5] != "" {
			t.Errorf("line %d: %q", i, f)
		}
	}
}
