package main

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"greengate/scanner/qr"
)

// What is drawn flat, sharp and in even light is read by the reader: the code
// and its text are those of the index.
func TestSee(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	text := payload(r, 60)
	s := scene{width: 320, height: 240, pixels: 4, turn: 0.1, low: 20, span: 180, noise: 2}
	f, err := s.see(r, text)
	if err != nil {
		t.Fatal(err)
	}
	codes, err := new(qr.Reader).Read(f)
	if err != nil || len(codes) != 1 || string(codes[0].Payload) != text {
		t.Errorf("got %+v, %v, want %q", codes, err, text)
	}
}

func TestKinds(t *testing.T) {
	for _, k := range hard {
		var first []byte
		for range 2 {
			r := rand.New(rand.NewPCG(7, 7))
			s := newScene(r, k)
			s.width, s.height = 160, 120
			f, err := s.see(r, payload(r, 60))
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = f.Pix
			} else if !bytes.Equal(first, f.Pix) {
				t.Errorf("%s: two pictures of one seed", k.name)
			}
			if slices.Max(f.Pix)-slices.Min(f.Pix) < 60 {
				t.Errorf("%s: from %d to %d, nothing to be seen", k.name, slices.Min(f.Pix), slices.Max(f.Pix))
			}
		}
	}
}

func TestDrawSets(t *testing.T) {
	dir := t.TempDir()
	stamp := kind{"stamp", func(_ *rand.Rand, s *scene) { s.width, s.height = 64, 48 }, few}
	if err := drawSets(dir, []kind{stamp}, 7, 1); err != nil {
		t.Fatal(err)
	}
	sets, err := openSets(dir)
	if err != nil || len(sets) != 1 || sets[0].name != "drawn-stamp" || sets[0].group != drawn || len(sets[0].pictures) != 1 {
		t.Fatalf("got %+v, %v", sets, err)
	}
	if f, err := grey(filepath.Join(sets[0].dir, sets[0].pictures[0].file)); err != nil || f.Width != 64 {
		t.Errorf("%d pixels wide, %v", f.Width, err)
	}
}
