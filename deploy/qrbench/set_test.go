package main

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/text/encoding/japanese"

	"greengate/scanner"
)

func TestParseIndex(t *testing.T) {
	got, err := parseIndex([]byte("a.png\tone\\r\\ntwo\\\\n\tor this\nsub/b.jpg\t-\n\nc.webp\t?\nd.png\t-\t?\n"))
	want := []picture{
		{file: "a.png", texts: []string{"one\r\ntwo\\n", "or this"}},
		{file: "sub/b.jpg"},
		{file: "c.webp", any: true},
		{file: "d.png", texts: []string{"-", "?"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"a.png", "../a.png\t-", "/etc/passwd\t?", "\t-", "a.png\t" + strings.Repeat("x", 1<<17)} {
		if got, err := parseIndex([]byte(bad)); !errors.Is(err, errIndex) {
			t.Errorf("%.30q: got %+v, %v, want %v", bad, got, err, errIndex)
		}
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte("a.png\tone\\r\\ntwo\nb.png\t-\nc.png\t?\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pictures, err := parseIndex(b)
		for _, p := range pictures {
			if err != nil || !filepath.IsLocal(p.file) || p.any && p.texts != nil {
				t.Errorf("%q: %+v, %v", b, p, err)
			}
		}
	})
}

func TestRight(t *testing.T) {
	kana, err := japanese.ShiftJIS.NewEncoder().String("内側QRコード")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		picture picture
		read    []string
		want    bool
	}{
		{"nothing read", picture{texts: []string{"A"}}, nil, false},
		{"the text", picture{texts: []string{"A"}}, []string{"A"}, true},
		{"another", picture{texts: []string{"A"}}, []string{"AA"}, false},
		{"one of both", picture{texts: []string{"A", "B"}}, []string{"C", "B"}, true},
		{"bytes of Shift JIS", picture{texts: []string{"内側QRコード"}}, []string{kana}, true},
		{"bytes of Latin 1", picture{texts: []string{"é\u0080"}}, []string{"\xe9\x80"}, true},
		{"any", picture{any: true}, []string{"A"}, true},
		{"any, and nothing read", picture{any: true}, nil, false},
		{"no code", picture{}, []string{"A"}, false},
	} {
		var read [][]byte
		for _, r := range tt.read {
			read = append(read, []byte(r))
		}
		if got := tt.picture.right(read); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// folder makes a set of one white picture with the index and other files given.
func folder(t *testing.T, dir, picture, index string, more ...string) {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 4, 3))
	img.SetGray(1, 2, color.Gray{Y: 7})
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{picture: b.Bytes(), "index.tsv": []byte(index)}
	for _, m := range more {
		files[m] = nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenSets(t *testing.T) {
	dir := t.TempDir()
	folder(t, filepath.Join(dir, "found"), "a.png", "a.png\tA\n")
	folder(t, filepath.Join(dir, "made-tilt"), "a.png", "a.png\tA\n", "params.tsv")
	folder(t, filepath.Join(dir, "clip-glare"), "s00_f00.png", "s00_f00.png\tA\n")
	folder(t, filepath.Join(dir, "made-none"), "a.png", "a.png\t-\n", "params.tsv")
	sets, err := openSets(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]group{}
	for _, s := range sets {
		got[s.name] = s.groupOf(s.pictures[0])
	}
	want := map[string]group{"found": photos, "made-tilt": synthetic, "clip-glare": clips, "made-none": none}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	one, err := openSets(filepath.Join(dir, "found"))
	if err != nil || len(one) != 1 || one[0].name != "found" {
		t.Errorf("a set by itself: %+v, %v", one, err)
	}
	if sets, err := openSets(t.TempDir()); !errors.Is(err, errIndex) {
		t.Errorf("an empty folder: %+v, %v", sets, err)
	}
}

func TestThin(t *testing.T) {
	s := set{}
	for range 10 {
		s.pictures = append(s.pictures, picture{file: string(rune('a' + len(s.pictures)))})
	}
	s.thin(4)
	if got := s.pictures; len(got) != 4 || got[0].file != "a" || got[3].file != "h" {
		t.Errorf("4 of 10: %+v", got)
	}
	if s.thin(9); len(s.pictures) != 4 {
		t.Errorf("9 of 4: %+v", s.pictures)
	}
}

func TestShrink(t *testing.T) {
	for _, n := range []struct{ old, new int }{{10, 10}, {10, 3}, {7, 5}, {3000, 1920}, {2, 5}} {
		covered := make([]float64, n.old)
		for _, ws := range weights(n.old, n.new) {
			sum := 0.0
			for _, w := range ws {
				sum += w.share
				covered[w.at] += w.share
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Errorf("%d to %d: a pixel of %v parts", n.old, n.new, sum)
			}
		}
		for i, c := range covered {
			if math.Abs(c-float64(n.new)/float64(n.old)) > 1e-9 {
				t.Errorf("%d to %d: pixel %d counts %v", n.old, n.new, i, c)
			}
		}
	}
	wide := scanner.Frame{Pix: bytes.Repeat([]byte{10, 30}, 2*maxSide), Stride: 2 * maxSide, Width: 2 * maxSide, Height: 2}
	got := shrink(wide)
	if got.Width != maxSide || got.Height != 1 || got.Check() != nil || got.Pix[0] != 20 || got.Pix[maxSide-1] != 20 {
		t.Errorf("%d×%d, %v", got.Width, got.Height, got.Pix[:2])
	}
	if same := shrink(got); &same.Pix[0] != &got.Pix[0] {
		t.Error("a picture as large as a camera's is another afterwards")
	}
}

func TestGreyToPGM(t *testing.T) {
	dir := t.TempDir()
	folder(t, dir, "a.png", "a.png\t-\n")
	f, err := grey(filepath.Join(dir, "a.png"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a.pgm")
	if err := writePGM(path, f); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := "P5\n4 3\n255\n" + strings.Repeat("\x00", 9) + "\x07\x00\x00"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
