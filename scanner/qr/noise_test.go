package qr

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"greengate/scanner"
)

func TestGrain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	const w, h = 320, 240
	draw := func(at func(x, y int) float64) scanner.Frame {
		f := scanner.Frame{Pix: make([]byte, w*h), Stride: w, Width: w, Height: h}
		for i := range f.Pix {
			f.Pix[i] = byte(min(max(at(i%w, i/w), 0), 255))
		}
		return f
	}
	for _, tt := range []struct {
		name  string
		at    func(x, y int) float64
		noisy bool
	}{
		{"grey", func(x, y int) float64 { return 90 }, false},
		{"a slope", func(x, y int) float64 { return float64(x) * 0.7 }, false},
		{"squares", func(x, y int) float64 { return float64(200 * ((x/5 + y/5) % 2)) }, false},
		{"noise of 3", func(x, y int) float64 { return 90 + 3*rnd.NormFloat64() }, false},
		{"noise of 15", func(x, y int) float64 { return 90 + 15*rnd.NormFloat64() }, true},
	} {
		if g := grain(draw(tt.at)); (g >= noisyGrain) != tt.noisy {
			t.Errorf("%s: grain %d, want noisy: %t", tt.name, g, tt.noisy)
		}
	}
	for _, f := range []scanner.Frame{{Pix: []byte{1}, Stride: 1, Width: 1, Height: 1}, {Pix: bytes.Repeat([]byte{7}, 600), Stride: 300, Width: 300, Height: 2}} {
		if g := grain(f); g != 0 {
			t.Errorf("%d×%d pixels of one grey: grain %d", f.Width, f.Height, g)
		}
	}
}

func TestSmooth(t *testing.T) {
	f := scanner.Frame{Pix: make([]byte, 25), Stride: 5, Width: 5, Height: 5}
	f.Pix[12] = 160
	var r Reader
	want := []byte{
		0, 0, 0, 0, 0,
		0, 10, 20, 10, 0,
		0, 20, 40, 20, 0,
		0, 10, 20, 10, 0,
		0, 0, 0, 0, 0,
	}
	if got := r.smooth(f); !bytes.Equal(got.Pix, want) {
		t.Errorf("got %v\nwant %v", got.Pix, want)
	}
}

// TestDenoise reads a code in noise in which the search sees no finder pattern.
func TestDenoise(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 6))
	code := frameOf(t, native(9), 4)
	for i, p := range code.Pix {
		code.Pix[i] = byte(min(max(90+float64(p)/255*75+22*rnd.NormFloat64(), 0), 255))
	}
	var r Reader
	r.budget.start(0, nil, 1<<22)
	if r.pass(code, view{factor: 1}, true); len(r.codes) > 0 {
		t.Fatal("read at first sight: it shows nothing")
	}
	if got, err := r.Decode(code); err != nil || string(got) != native(9) {
		t.Errorf("got %.20q, %v", got, err)
	}
}
