package qr

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing/qrcode/decoder"

	"greengate/scanner"
)

// warp draws, for each pixel of a new frame, what from says is seen there, four
// looks a pixel.
func warp(f scanner.Frame, width, height int, from func(x, y float64) (u, v float64)) scanner.Frame {
	out := scanner.Frame{Pix: make([]byte, width*height), Stride: width, Width: width, Height: height}
	for y := range height {
		for x := range width {
			sum := 0
			for k := range 4 {
				u, v := from(float64(x)+0.25+0.5*float64(k%2), float64(y)+0.25+0.5*float64(k/2))
				p := 0xc0
				if u >= 0 && v >= 0 && int(u) < f.Width && int(v) < f.Height {
					p = int(f.Pix[int(v)*f.Stride+int(u)])
				}
				sum += p
			}
			out.Pix[y*width+x] = byte(sum / 4)
		}
	}
	return out
}

// bottle shows f on an upright cylinder of that radius, in pixels.
func bottle(f scanner.Frame, radius float64) scanner.Frame {
	w, h := float64(f.Width), float64(f.Height)
	return warp(f, f.Width, f.Height+60, func(x, y float64) (float64, float64) {
		s := (x - w/2) / radius
		if math.Abs(s) >= 1 {
			return -1, -1
		}
		// Seen a little from above: what is nearer hangs lower.
		return radius*math.Asin(s) + w/2, y - 40*math.Sqrt(1-s*s) - (h+60-h)/2 + 30
	})
}

// aside shows f seen from the side: the left near, the right far.
func aside(f scanner.Frame, far float64) scanner.Frame {
	w, h := float64(f.Width), float64(f.Height)
	return warp(f, f.Width, f.Height, func(x, y float64) (float64, float64) {
		depth := 1 / (1 - (1-far)*x/w)
		return x * depth * far, (y-h/2)*depth + h/2
	})
}

// shadow darkens all that is right of a line.
func shadow(f scanner.Frame, part float64) scanner.Frame {
	out := f
	out.Pix = bytes.Clone(f.Pix)
	for y := range f.Height {
		for x := f.Width/2 + y/4 - f.Height/8; x < f.Width; x++ {
			out.Pix[y*f.Stride+x] = byte(part * float64(out.Pix[y*f.Stride+x]))
		}
	}
	return out
}

// scratch paints a square of so many pixels over a place.
func scratch(f scanner.Frame, x, y, side int, grey byte) scanner.Frame {
	out := f
	out.Pix = bytes.Clone(f.Pix)
	for dy := range side {
		for dx := range side {
			out.Pix[(y+dy)*f.Stride+x+dx] = grey
		}
	}
	return out
}

// TestHeldUp is what people hold up.
func TestHeldUp(t *testing.T) {
	const text = "JKM1:HELD UP TO THE CAMERA AT THE GATE 0123456789"
	plain := frameOf(t, text, 6) // version 3
	for _, tt := range []struct {
		name string
		f    scanner.Frame
	}{
		{"aside", aside(plain, 0.7)},
		{"on a bottle", bottle(plain, 0.8*float64(plain.Width))},
		{"half in shadow", noise(shadow(plain, 0.3), 3)},
		{"out of focus", noise(blur(blur(blur(blur(plain)))), 2)},
		{"a corner scratched", scratch(plain, 24, 24, 18, 0x90)},
		{"a corner gone", scratch(plain, 6*4, 6*4, 6*4, 0xff)},
		{"glare on the data", scratch(plain, 6*14, 6*14, 6*5, 0xff)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := new(Reader).Decode(tt.f)
			if err != nil || string(got) != text {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// TestEveryVersion reads a code of each version, at three pixels a module.
func TestEveryVersion(t *testing.T) {
	var r Reader
	seen := make(map[int]bool)
	for n := 5; len(seen) < 40 && n < 3400; n += 1 + n/24 {
		text := "JKM1:" + strings.Repeat("7", n-5)
		img, err := Picture(text, 3)
		if err != nil {
			break
		}
		version := (img.Rect.Dx()/3 - 8 - 17) / 4
		if seen[version] {
			continue
		}
		seen[version] = true
		var f scanner.Frame
		f.SetImage(img)
		codes, err := r.Read(f)
		if err != nil || len(codes) != 1 || string(codes[0].Payload) != text || codes[0].Version != version {
			t.Errorf("version %d: got %d codes, %v", version, len(codes), err)
		}
	}
	for v := 1; v <= 40; v++ {
		if !seen[v] && v > 1 {
			t.Errorf("no code of version %d was drawn", v)
		}
	}
}

func TestThresholdMap(t *testing.T) {
	// Squares of 4 pixels, dark and light, on the left from 100 to 200 and on
	// the right from 20 to 60.
	const w, h = 200, 90
	f := scanner.Frame{Pix: make([]byte, w*h), Stride: w, Width: w, Height: h}
	for y := range h {
		for x := range w {
			lo, hi := byte(100), byte(200)
			if x >= w/2 {
				lo, hi = 20, 60
			}
			f.Pix[y*w+x] = lo
			if (x/4+y/4)%2 == 0 {
				f.Pix[y*w+x] = hi
			}
		}
	}
	for _, local := range [2]bool{false, true} {
		m := thresholdMap{local: local}
		m.build(f)
		for _, tt := range []struct{ x, y, from, to int }{
			{10, 10, 145, 155}, {60, 85, 145, 155}, {190, 10, 35, 45}, {199, 89, 35, 45},
		} {
			if got := m.levelAt(tt.x, tt.y); got < tt.from || got > tt.to {
				t.Errorf("local %v: threshold %d at %d,%d, want %d to %d", local, got, tt.x, tt.y, tt.from, tt.to)
			}
		}
		for _, v := range m.at {
			if v&1 == 0 {
				t.Fatalf("local %v: threshold %d is even", local, v)
			}
		}
	}
}

// TestThresholdMapBlocks compares what words find with what a loop finds.
func TestThresholdMapBlocks(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 9))
	for _, size := range [][2]int{{21, 21}, {16, 16}, {100, 37}, {268, 268}, {333, 50}} {
		f := scanner.Frame{Pix: make([]byte, size[0]*size[1]), Stride: size[0], Width: size[0], Height: size[1]}
		for i := range f.Pix {
			f.Pix[i] = byte(rnd.Uint32() >> (rnd.Uint32() & 3))
		}
		var m thresholdMap
		m.build(f)
		for by := range m.h {
			rows := m.sparse(f, by*blockSide)
			for bx := range m.w {
				lo, hi := byte(255), byte(0)
				for _, r := range rows {
					for _, p := range r[bx*blockSide : min((bx+1)*blockSide, f.Width)] {
						lo, hi = min(lo, p), max(hi, p)
					}
				}
				i := by*m.w + bx
				if m.min[i]|1 != lo|1 || m.max[i]|1 != hi|1 {
					t.Fatalf("%v, block %d,%d: %d to %d, want %d to %d", size, bx, by, m.min[i], m.max[i], lo, hi)
				}
			}
		}
	}
}

// searched runs the search over f.
func searched(f scanner.Frame) (finderSearch, *thresholdMap) {
	var m thresholdMap
	m.build(f)
	var s finderSearch
	s.start(f, &m)
	for y := s.step / 2; y < f.Height; y += s.step {
		s.row(y)
	}
	return s, &m
}

func TestFinderSearch(t *testing.T) {
	upright := frameOf(t, native(2), 4) // 69 modules in a margin of 4
	const near, far = 16 + 14, 16 + 4*69 - 14
	for _, tt := range []struct {
		name  string
		f     scanner.Frame
		light bool
	}{{"dark on light", upright, false}, {"light on dark", invert(upright), true}} {
		s, _ := searched(tt.f)
		for _, want := range []Point{{near, near}, {far, near}, {near, far}} {
			if !slices.ContainsFunc(s.found, func(p finder) bool {
				return p.at.distance(want) < 1 && math.Abs(p.module-4) < 0.3 && p.light == tt.light
			}) {
				t.Errorf("%s: no finder at %v in %+v", tt.name, want, s.found)
			}
		}
	}
}

// TestRuns compares the changes of colour that words find with those that a
// loop finds.
func TestRuns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, w := range []int{21, 32, 77, 160} {
		f := scanner.Frame{Pix: make([]byte, w*32), Stride: w, Width: w, Height: 32}
		for i := range f.Pix {
			f.Pix[i] = byte(rnd.Uint32())
		}
		s, m := searched(f)
		for y := range f.Height {
			want := []int32{0}
			for x := 1; x < w; x++ {
				if (int(f.Pix[y*w+x]) <= m.levelAt(x, y)) != (int(f.Pix[y*w+x-1]) <= m.levelAt(x-1, y)) {
					want = append(want, int32(x))
				}
			}
			want = append(want, int32(w))
			got, dark := s.runs(y)
			if !slices.Equal(got, want) || dark != s.dark(0, y) {
				t.Fatalf("width %d, row %d: got %v, dark %v\nwant %v, %v", w, y, got, dark, want, s.dark(0, y))
			}
		}
	}
}

func TestHomography(t *testing.T) {
	want := homography{3, 0.4, 20, -0.2, 2.5, 30, 0.001, -0.002, 1}
	var m []match
	for _, p := range []Point{{0, 0}, {40, 0}, {0, 40}, {40, 40}, {13, 20}, {30, 7}} {
		m = append(m, match{p.X, p.Y, want.at(p.X, p.Y), 1})
	}
	h, ok := fitHomography(m)
	if !ok {
		t.Fatal("no fit")
	}
	for _, p := range []Point{{5, 5}, {38, 2}, {20, 39}} {
		if got, want := h.at(p.X, p.Y), want.at(p.X, p.Y); got.distance(want) > 0.05 {
			t.Errorf("%v is at %v, want %v", p, got, want)
		}
	}
	if _, ok := fitHomography(m[:1]); ok {
		t.Error("a fit to one point")
	}
}

func TestTriples(t *testing.T) {
	found := []finder{
		{at: Point{300, 100}, module: 4, seen: 3},
		{at: Point{100, 300}, module: 4, seen: 3},
		{at: Point{100, 100}, module: 4, seen: 3},
		{at: Point{400, 420}, module: 4, light: true, seen: 3},
		{at: Point{180, 150}, module: 12, seen: 1},
	}
	got := triples(found, nil)
	if len(got) == 0 {
		t.Fatal("none")
	}
	at := func(i int) Point { return found[i].at }
	if b := got[0]; at(b.top) != (Point{100, 100}) || at(b.right) != (Point{300, 100}) || at(b.bottom) != (Point{100, 300}) {
		t.Errorf("best is %v, %v, %v", at(b.top), at(b.right), at(b.bottom))
	}
	// A sheet of them is bounded.
	rnd := rand.New(rand.NewPCG(4, 4))
	found = nil
	for range maxFinders {
		found = append(found, finder{at: Point{1000 * rnd.Float64(), 1000 * rnd.Float64()}, module: 4, seen: rnd.IntN(9)})
	}
	got = triples(found, got)
	if len(got) != maxTriples || !slices.IsSortedFunc(got, func(a, b triple) int {
		if a.doubt < b.doubt {
			return -1
		}
		return 1
	}) {
		t.Errorf("%d triples, or not in order", len(got))
	}
}

// onceUsed checks that each module is data or known, and not both.
func onceUsed(t *testing.T, version int, l *layout) {
	t.Helper()
	seen := make(map[uint16]bool)
	for _, at := range l.order {
		seen[at] = true
	}
	for _, k := range l.known {
		seen[k.at] = true
	}
	if len(seen) != len(l.order)+len(l.known) {
		t.Errorf("version %d: a module has two uses", version)
	}
}

// TestLayout compares each layout with what the library says of the version.
func TestLayout(t *testing.T) {
	for n := 1; n <= 40; n++ {
		v, err := decoder.Version_GetVersionForNumber(n)
		if err != nil {
			t.Fatal(err)
		}
		l := newLayout(v)
		if len(l.order) != 8*v.GetTotalCodewords() {
			t.Errorf("version %d: %d bits, want %d", n, len(l.order), 8*v.GetTotalCodewords())
		}
		onceUsed(t, n, l)
	}
	// ISO/IEC 18004, annex C: level M, mask 5; annex D: version 7.
	if got := formatCodes[0b00101]; got != 0b100000011001110 {
		t.Errorf("format of M and 5 is %015b", got)
	}
	if got := versionCode(7); got != 0b000111110010010100 {
		t.Errorf("version 7 is %018b", got)
	}
}

func TestReedSolomon(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	const n, check = 60, 18
	for wrong := 0; wrong <= check/2; wrong++ {
		for erased := 0; 2*wrong+erased <= check; erased++ {
			// Zero is a word of every such code; what is added to it is an error.
			block := make([]byte, n)
			places := rnd.Perm(n)[:wrong+erased]
			for _, at := range places {
				block[at] = byte(1 + rnd.IntN(255))
			}
			var s [maxCheck]uint8
			if syndromes(block, check, &s) != (wrong+erased == 0) {
				t.Errorf("%d wrong, %d erased: syndromes say right %v", wrong, erased, wrong+erased == 0)
			}
			got, ok := correct(block, check, &s, places[:erased])
			if !ok || got != wrong || !bytes.Equal(block, make([]byte, n)) {
				t.Fatalf("%d wrong, %d erased: got %d, %v", wrong, erased, got, ok)
			}
		}
	}
	// What is random is refused, and left alone.
	for range 200 {
		block := make([]byte, n)
		for i := range block {
			block[i] = byte(rnd.Uint32())
		}
		before := bytes.Clone(block)
		var s [maxCheck]uint8
		syndromes(block, check, &s)
		if wrong, ok := correct(block, check, &s, nil); ok && proof(n, wrong, check-2*wrong) >= leastProof {
			t.Errorf("noise is a word with %d errors", wrong)
		} else if !ok && !bytes.Equal(block, before) {
			t.Error("changed by what failed")
		}
	}
}

func TestProof(t *testing.T) {
	for _, tt := range []struct{ n, wrong, spare, min, max int }{
		{26, 2, 3, 30, 33},   // version 1-L, what the standard allows
		{26, 3, 1, 19, 21},   // what it keeps back
		{100, 15, 0, 60, 70}, // a large block
		{100, 0, 0, 0, 0},    // all taken as missing
	} {
		if got := proof(tt.n, tt.wrong, tt.spare); got < tt.min-1 || got > tt.max {
			t.Errorf("%d of %d wrong, %d spare: %d bits, want %d to %d", tt.wrong, tt.n, tt.spare, got, tt.min, tt.max)
		}
	}
}

// TestEqualise mixes each module with its neighbours, as defocus does.
func TestEqualise(t *testing.T) {
	v, err := decoder.Version_GetVersionForNumber(5)
	if err != nil {
		t.Fatal(err)
	}
	l := newLayout(v)
	rnd := rand.New(rand.NewPCG(2, 3))
	var clean, mixed, equal modules
	clean.fit(l.side)
	mixed.fit(l.side)
	pitch := clean.pitch()
	for i := range clean.v {
		clean.v[i] = 200 * unit
		if x, y := i%pitch, i/pitch; x > 0 && y > 0 && x <= l.side && y <= l.side && rnd.IntN(2) == 0 {
			clean.v[i] = 40 * unit
		}
	}
	for _, k := range l.known {
		clean.v[k.at] = 200 * unit
		if k.dark {
			clean.v[k.at] = 40 * unit
		}
	}
	copy(mixed.v, clean.v)
	for y := 1; y <= l.side; y++ {
		for x := 1; x <= l.side; x++ {
			i := y*pitch + x
			side := int(clean.v[i-1]) + int(clean.v[i+1]) + int(clean.v[i-pitch]) + int(clean.v[i+pitch])
			mixed.v[i] = int16(0.48*float64(clean.v[i]) + 0.13*float64(side))
		}
	}
	wrong := func(m *modules) (n int) {
		for _, at := range l.order {
			if (m.v[at] < 120*unit) != (clean.v[at] < 120*unit) {
				n++
			}
		}
		return n
	}
	before := wrong(&mixed)
	if !equalise(&mixed, &equal, l.known) {
		t.Fatal("no filter")
	}
	if after := wrong(&equal); before < 20 || after > before/10 {
		t.Errorf("%d of %d modules wrong, equalised %d", before, len(l.order), after)
	}
}

// TestMissing hides one finder after the other from the search.
func TestMissing(t *testing.T) {
	f := turn(frameOf(t, native(3), 5), 12)
	s, m := searched(f)
	found := triples(s.found, nil)
	if len(found) == 0 {
		t.Fatal("no triple")
	}
	want := [3]finder{s.found[found[0].top], s.found[found[0].right], s.found[found[0].bottom]}
	for hidden := range want {
		var two []finder
		for i, p := range want {
			if i != hidden {
				two = append(two, p)
			}
		}
		fit := gridFit{f: &f, levels: m}
		var b budget
		b.start(0, nil, f.Width*f.Height)
		if !fit.missing(two, &b, func(got [3]finder) bool { return got[hidden].at.distance(want[hidden].at) < 2 }) {
			t.Errorf("finder %d at %v was not found", hidden, want[hidden].at)
		}
	}
}

// painted makes pictures that are hard on a search: the first byte says of what.
func painted(data []byte) scanner.Frame {
	seed := uint64(1)
	for _, b := range data {
		seed = seed*1099511628211 + uint64(b)
	}
	rnd := rand.New(rand.NewPCG(seed, 7))
	kind := 0
	if len(data) > 0 {
		kind = int(data[0])
	}
	w, h := 64+rnd.IntN(400), 64+rnd.IntN(300)
	f := scanner.Frame{Pix: make([]byte, w*h), Stride: w, Width: w, Height: h}
	side := 14 + rnd.IntN(40)
	module := 1 + rnd.IntN(4)
	for y := range h {
		for x := range w {
			v := byte(230)
			switch kind % 5 {
			case 0: // noise
				v = byte(rnd.Uint32())
			case 1: // a sheet of finders
				if r := max(abs(x%side-side/2), abs(y%side-side/2)) / module; r <= 1 || r == 3 {
					v = 20
				}
			case 2: // rings
				if int(math.Hypot(float64(x-w/2), float64(y-h/2)))/module%2 == 0 {
					v = 20
				}
			case 3: // lines of text
				if y/module%4 < 3 && (x*7919+y/(4*module)*104729)%13 < 6 {
					v = 20
				}
			case 4: // a code's texture, and finders here and there
				if (x/module*7919^y/module*104729)%17 < 8 {
					v = 20
				}
			}
			f.Pix[y*w+x] = v
		}
	}
	if kind%5 == 4 {
		for range 3 + rnd.IntN(30) {
			cx, cy := rnd.IntN(w), rnd.IntN(h)
			for y := max(cy-4*module, 0); y < min(cy+4*module, h); y++ {
				for x := max(cx-4*module, 0); x < min(cx+4*module, w); x++ {
					f.Pix[y*w+x] = 230
					if r := max(abs(x-cx), abs(y-cy)) / module; r <= 1 || r == 3 {
						f.Pix[y*w+x] = 20
					}
				}
			}
		}
	}
	return f
}

// FuzzPainted looks for a picture that makes the reader fall, read what is not
// there, or do more than its budget.
func FuzzPainted(f *testing.F) {
	for i := range 15 {
		f.Add([]byte{byte(i), byte(i / 5)})
	}
	var r Reader
	f.Fuzz(func(t *testing.T, data []byte) {
		p := painted(data)
		got, err := r.Read(p)
		if err == nil {
			t.Fatalf("read %+v", got)
		}
		if !errors.Is(err, ErrNoCode) || strings.Contains(err.Error(), "panicked") {
			t.Fatal(err)
		}
		if r.budget.left < 0 {
			t.Fatalf("%d more work than allowed", -r.budget.left)
		}
	})
}
