package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"greengate/scanner"
)

// empty makes pictures without a code: what a camera sees most of the day, and
// what is drawn so that a reader believes there is one. The same seed gives the
// same pictures on every machine.
type empty struct {
	seed  uint64
	sizes [4]size // as often as they are here
	pix   []byte
	soft  []byte
}

type size struct{ width, height int }

func newEmpty(seed uint64) *empty {
	return &empty{seed: seed, sizes: [4]size{{640, 480}, {640, 480}, {640, 480}, {1280, 720}}}
}

// kinds are what is drawn, by turns. Each gives the brightness at a point, in
// units of its own, of a surface that is then turned, scaled and seen badly.
var kinds = []struct {
	name string
	make func(*rand.Rand) func(u, v int) byte
}{
	{"wall", wall},
	{"weave", weave},
	{"blobs", blobs},
	{"stripes", stripes},
	{"squares", squares},
	{"rings", rings},
	{"sham", sham},
	{"text", text},
	{"bars", bars},
}

// next is picture i, and its name: kind and number. The frame is good until the
// next call.
func (e *empty) next(i int) (string, scanner.Frame) {
	rng := rand.New(rand.NewPCG(e.seed, uint64(i)))
	kind := kinds[i%len(kinds)]
	size := e.sizes[rng.IntN(len(e.sizes))]
	w, h := size.width, size.height
	if cap(e.pix) < w*h {
		e.pix, e.soft = make([]byte, w*h), make([]byte, w*h)
	}
	pix := e.pix[:w*h]
	at := kind.make(rng)

	// The surface is turned, mostly a little, and tilted a little.
	angle := (rng.Float64() - 0.5) * 0.4
	if rng.IntN(3) == 0 {
		angle = rng.Float64() * 2 * math.Pi
	}
	scale := 1 / (1.5 + rng.ExpFloat64()*3)
	tiltX, tiltY := (rng.Float64()-0.5)*0.3/float64(w), (rng.Float64()-0.5)*0.3/float64(w)
	sin, cos := math.Sincos(angle)
	low, span := rng.Float64()*60, 60+rng.Float64()*130
	shade := (rng.Float64() - 0.5) * 80 / float64(w)
	noise := rng.IntN(12)
	// Noise comes from a row that is read from a place of chance: a generator's
	// call for each pixel would take longer than the reading.
	var grain [1024]int16
	for j := range grain {
		grain[j] = int16(rng.NormFloat64() * float64(noise))
	}
	for y := range h {
		g := rng.IntN(len(grain))
		for x := range w {
			dx, dy := float64(x-w/2), float64(y-h/2)
			z := scale / (1 + tiltX*dx + tiltY*dy)
			u, v := int(math.Floor((cos*dx-sin*dy)*z)), int(math.Floor((sin*dx+cos*dy)*z))
			p := low + span*float64(at(u, v))/255 + shade*dx + float64(grain[(x+g)%len(grain)])
			pix[y*w+x] = byte(max(0, min(255, p)))
		}
	}
	for range rng.IntN(3) {
		pix = e.soften(pix, w, h)
	}
	return fmt.Sprintf("empty-%s/%06d", kind.name, i), scanner.Frame{Pix: pix, Stride: w, Width: w, Height: h}
}

// soften takes the mean of each pixel and its four neighbours.
func (e *empty) soften(pix []byte, w, h int) []byte {
	out := e.soft[:w*h]
	copy(out, pix)
	for y := 1; y < h-1; y++ {
		for i := y*w + 1; i < y*w+w-1; i++ {
			out[i] = byte((4*int(pix[i]) + int(pix[i-1]) + int(pix[i+1]) + int(pix[i-w]) + int(pix[i+w])) / 8)
		}
	}
	e.pix, e.soft = e.soft, e.pix
	return out
}

// scatter is a number of chance that belongs to a place, 0 to 255.
func scatter(seed uint32, u, v int) byte {
	x := seed ^ uint32(u)*0x9e3779b1 ^ uint32(v)*0x85ebca6b
	x = (x ^ x>>15) * 0x2c1b3c6d
	x = (x ^ x>>12) * 0x297a2d39
	return byte(x >> 20)
}

// mod is the remainder that is never below 0.
func mod(a, b int) int { return (a%b + b) % b }

// wall is what a camera sees most: nothing, and its own noise.
func wall(*rand.Rand) func(u, v int) byte {
	return func(int, int) byte { return 128 }
}

// weave is cloth: threads over and under, some missing.
func weave(rng *rand.Rand) func(u, v int) byte {
	a, b, holes, seed := 1+rng.IntN(4), 1+rng.IntN(4), byte(rng.IntN(60)), rng.Uint32()
	return func(u, v int) byte {
		p, q := u/a, v/b
		if scatter(seed, p, q) < holes {
			return 128
		}
		if (p+q)%2 == 0 {
			return 0
		}
		return 255
	}
}

// blobs are modules of chance without an order: specks, gravel, leaves.
func blobs(rng *rand.Rand) func(u, v int) byte {
	size, share, grey, seed := 1+rng.IntN(6), byte(60+rng.IntN(140)), rng.IntN(2) == 0, rng.Uint32()
	return func(u, v int) byte {
		switch s := scatter(seed, u/size, v/size); {
		case grey:
			return s
		case s < share:
			return 0
		}
		return 255
	}
}

// stripes are 1:1:3:1:1 across and endless along: a finder for every row.
func stripes(rng *rand.Rand) func(u, v int) byte {
	gap, both := 1+rng.IntN(5), rng.IntN(2) == 0
	dark := func(u int) bool {
		u = mod(u, 7+gap)
		return u == 0 || u >= 2 && u <= 4 || u == 6
	}
	return func(u, v int) byte {
		if dark(u) != (both && dark(v)) {
			return 0
		}
		return 255
	}
}

// inFinder tells whether a module of a finder is dark: 7×7, the ring and the middle.
func inFinder(u, v int) bool {
	r := max(u-3, 3-u, v-3, 3-v)
	return r <= 1 || r == 3
}

// squares is a sheet full of finders.
func squares(rng *rand.Rand) func(u, v int) byte {
	pitch, share, seed := 8+rng.IntN(12), byte(40+rng.IntN(216)), rng.Uint32()
	return func(u, v int) byte {
		p, q := mod(u, pitch), mod(v, pitch)
		if p < 7 && q < 7 && scatter(seed, (u-p)/pitch, (v-q)/pitch) < share && inFinder(p, q) {
			return 0
		}
		return 255
	}
}

// rings are eyes, buttons and the targets of other codes.
func rings(rng *rand.Rand) func(u, v int) byte {
	pitch, width, seed := 20+rng.IntN(30), 1+rng.IntN(3), rng.Uint32()
	return func(u, v int) byte {
		p, q := mod(u, pitch), mod(v, pitch)
		x, y := p-pitch/2, q-pitch/2
		r := int(math.Sqrt(float64(x*x + y*y)))
		if r < pitch/2-1 && r/width%2 == int(scatter(seed, (u-p)/pitch, (v-q)/pitch))%2 {
			return 0
		}
		return 255
	}
}

// sham is what looks most like a code and is none: finders and timing patterns
// in their places, and modules of chance. No sum of check bytes fits: one in
// some millions would, at the lowest level.
func sham(rng *rand.Rand) func(u, v int) byte {
	n, pitch, seed := 21+4*rng.IntN(20), 0, rng.Uint32()
	pitch = n + 4 + rng.IntN(20)
	return func(u, v int) byte {
		p, q := mod(u+n/2, pitch), mod(v+n/2, pitch)
		dark := scatter(seed, u, v) < 128
		switch {
		case p >= n || q >= n:
			dark = false
		case p < 8 && q < 8:
			dark = p < 7 && q < 7 && inFinder(p, q)
		case p >= n-8 && q < 8:
			dark = p > n-8 && q < 7 && inFinder(p-n+7, q)
		case p < 8 && q >= n-8:
			dark = p < 7 && q > n-8 && inFinder(p, q-n+7)
		case p == 6:
			dark = q%2 == 0
		case q == 6:
			dark = p%2 == 0
		}
		if dark {
			return 0
		}
		return 255
	}
}

// text is a page of a screen: lines of letters, of which only the strokes are
// like letters, words, paragraphs and boxes.
func text(rng *rand.Rand) func(u, v int) byte {
	// A letter is 5×7 of which columns and rows are strokes.
	var letters [32][7]byte
	for i := range letters {
		across, down := byte(rng.IntN(32)), [3]int{0, 3, 6}
		for y := range 7 {
			letters[i][y] = across & 0b10101
		}
		for _, y := range down[:1+rng.IntN(3)] {
			letters[i][y] = 0b11111
		}
	}
	line, seed, dark := 9+rng.IntN(6), rng.Uint32(), rng.IntN(3) == 0
	return func(u, v int) byte {
		row, col := (v-mod(v, line))/line, (u-mod(u, 6))/6
		y, x := mod(v, line), mod(u, 6)
		ink := false
		switch length := int(scatter(seed, row, 0)); {
		case length < 30: // between paragraphs
		case length > 240: // a box with a bar
			ink = y == 0 || y == line-1 || mod(u, 120) < 60
		default:
			s := scatter(seed, col, row+1)
			ink = y < 7 && x < 5 && s > 40 && mod(col, 100) < 10+length/3 && letters[s%32][y]>>x&1 == 1
		}
		if ink != dark {
			return 0
		}
		return 255
	}
}

// bars are the codes of goods, and matrix codes of other makes: a solid edge, a
// dotted one, and modules of chance.
func bars(rng *rand.Rand) func(u, v int) byte {
	n, seed, matrix := 20+2*rng.IntN(30), rng.Uint32(), rng.IntN(2) == 0
	return func(u, v int) byte {
		p, q := mod(u, n+6), mod(v, n+6)
		dark := scatter(seed, u, 0) < 128
		switch {
		case p >= n || q >= n:
			dark = false
		case !matrix:
		case p == 0 || q == n-1:
			dark = true
		case p == n-1 || q == 0:
			dark = (p+q)%2 == 0
		default:
			dark = scatter(seed, u, v) < 128
		}
		if dark {
			return 0
		}
		return 255
	}
}
