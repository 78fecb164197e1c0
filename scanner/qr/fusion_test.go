package qr

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"greengate/scanner"
)

// lane is what a camera sees that looks at a lane: a picture, somewhere.
func lane(code scanner.Frame, x, y int) scanner.Frame {
	const w, h = 310, 300
	f := scanner.Frame{Pix: bytes.Repeat([]byte{0x90}, w*h), Stride: w, Width: w, Height: h}
	for row := range code.Height {
		copy(f.Pix[(y+row)*w+x:], code.Pix[row*code.Stride:][:code.Width])
	}
	return f
}

// held is picture k of a hand that holds a code: it is never quite still.
func held(code scanner.Frame, k int) scanner.Frame {
	return lane(code, 16+[]int{0, 2, 3, 1, -2, -3}[k%6], 11+[]int{0, -1, 2, 3, 1}[k%5])
}

// third is a good third of the width of a code of native length.
const third = 78

// glared lays a band without any contrast over f, so many pixels wide. Each
// picture it lies elsewhere.
func glared(f scanner.Frame, k, wide int) scanner.Frame {
	from := 45 + 44*k%156
	for y := range f.Height {
		for x := range f.Width {
			if d := x + y/3 - from; d >= 0 && d < wide {
				f.Pix[y*f.Stride+x] = 0xff
			}
		}
	}
	return f
}

// dimmed is f in little light: a contrast of 50, and normal noise of 34.
func dimmed(f scanner.Frame, rnd *rand.Rand) scanner.Frame {
	for i, p := range f.Pix {
		f.Pix[i] = byte(min(max(100+float64(p)/255*50+34*rnd.NormFloat64(), 0), 255))
	}
	return f
}

// TestFusion shows codes again and again of which hardly a picture can be read
// by itself.
func TestFusion(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	code := frameOf(t, native(21), 3)
	for _, tt := range []struct {
		name    string
		picture func(k int) scanner.Frame
		least   int // pictures that fusion must read more
	}{
		{"glare", func(k int) scanner.Frame { return glared(held(code, k), k, third) }, 6},
		{"glare, mirrored and inverted", func(k int) scanner.Frame { return glared(held(mirror(invert(code)), k), k, third) }, 6},
		{"noise", func(k int) scanner.Frame { return dimmed(held(code, k), rnd) }, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r, single Reader
			read, alone := 0, 0
			for k := range 11 {
				f := tt.picture(k)
				single.Forget()
				if _, err := single.Decode(f); err == nil {
					alone++
				}
				codes, err := r.Read(f)
				if err != nil {
					continue
				}
				read++
				c := codes[0]
				if string(c.Payload) != native(21) || c.Version != 13 || c.Inverted != (tt.name == "glare, mirrored and inverted") ||
					c.Mirrored != c.Inverted {
					t.Errorf("picture %d: got %+v", k, c)
				}
				at := Point{16 + 3*4, 11 + 3*4} // the margin of four modules
				for _, corner := range c.Corners {
					if d := corner.minus(at); min(d.norm(), d.minus(Point{3 * 69, 0}).norm(), d.minus(Point{0, 3 * 69}).norm(), d.minus(Point{3 * 69, 3 * 69}).norm()) > 7 {
						t.Errorf("picture %d: a corner at %.0f", k, corner)
					}
				}
			}
			if read < alone+tt.least {
				t.Errorf("%d of 11 pictures read, and %d by themselves, want %d more", read, alone, tt.least)
			}
			// Once forgotten, a picture is by itself again.
			f := tt.picture(11)
			single.Forget()
			if _, err := single.Decode(f); err == nil {
				t.Fatal("the last picture can be read by itself: it shows nothing")
			}
			r.Forget()
			if got, err := r.Decode(f); err == nil {
				t.Errorf("after Forget: got %.20q", got)
			}
		})
	}
}

// TestSwapped holds up a telephone after the other at the same place, all of them
// glaring. Their codes are of one version, and say the same but for a character
// or a few, or nothing that is the same. What is read is what is shown.
func TestSwapped(t *testing.T) {
	first := native(31)
	change := func(at, n int) string {
		b := []byte(first)
		for i := at; i < at+n; i++ {
			b[i] = alphanumeric[(bytes.IndexByte([]byte(alphanumeric), b[i])+7)%len(alphanumeric)]
		}
		return string(b)
	}
	for _, tt := range []struct {
		name          string
		first, second string
		module, wide  int
	}{
		{"another", first, native(32), 3, third},
		{"the last character", first, change(len(first)-1, 1), 3, third},
		{"a few, far apart", first, change(30, 1)[:100] + change(100, 10)[100:300] + change(300, 1)[300:], 3, third},
		{"one of a code of one block", "JKM1:TICKET-2026-0001", "JKM1:TICKET-2026-0002", 7, 54},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Reader
			codes := map[string]scanner.Frame{tt.first: frameOf(t, tt.first, tt.module), tt.second: frameOf(t, tt.second, tt.module)}
			read := map[string]int{}
			k := 0
			for _, turn := range []struct {
				text     string
				pictures int
			}{{tt.first, 2}, {tt.second, 7}, {tt.first, 6}, {tt.second, 1}, {tt.first, 4}} {
				code := codes[turn.text]
				for range turn.pictures {
					k++
					got, err := r.Decode(glared(held(code, k), k, tt.wide))
					if err != nil {
						continue
					}
					read[string(got)]++
					if string(got) != turn.text {
						t.Errorf("picture %d: got another code, or one that nobody showed: %.20q", k, got)
					}
				}
			}
			if read[tt.first] == 0 || read[tt.second] == 0 {
				t.Errorf("%d and %d pictures read of 12 and 8", read[tt.first], read[tt.second])
			}
		})
	}
}

// TestBears holds a code that was read against pictures: of itself, of another,
// and of one that is another's in one block.
func TestBears(t *testing.T) {
	var s symbolReader
	l, err := s.layouts.of(13)
	if err != nil {
		t.Fatal(err)
	}
	soft := func(text string) []int16 {
		var r Reader
		if _, err := r.Decode(frameOf(t, text, 4)); err != nil {
			t.Fatal(err)
		}
		return bytesOfSoft(&r.soft)
	}
	a, b := soft(native(1)), soft(native(2))
	m := softModules{}
	m.fit(l.side)
	copy(m.v, a)
	if _, _, err := s.decode(&m, true); err != nil {
		t.Fatal(err)
	}
	if !s.bears(a) {
		t.Error("a code does not bear itself")
	}
	if s.bears(b) {
		t.Error("a code bears another")
	}
	// One block of the second code, the rest of the first.
	mixed := append([]int16(nil), a...)
	blocks, _ := eachBlock(s.last, func(int, int, int) {})
	for i := range len(l.order) / 8 {
		if i%blocks == 0 {
			for _, at := range l.order[8*i : 8*i+8] {
				mixed[at] = b[at]
			}
		}
	}
	if s.bears(mixed) {
		t.Error("a code bears one that differs in a block")
	}
	// Noise, and a third that says nothing, take nothing from it.
	rnd := rand.New(rand.NewPCG(1, 9))
	for i, v := range a {
		a[i] = int16(float64(v) * (1 + 0.5*rnd.NormFloat64()))
		if i%l.side < l.side/3 {
			a[i] = 0
		}
	}
	if !s.bears(a) {
		t.Error("a code does not bear itself in noise")
	}
}

func bytesOfSoft(s *softModules) []int16 { return append([]int16(nil), s.v...) }

// known is how many pictures are added up.
func known(r *Reader) (n int) {
	for i := range r.fusion.stacks {
		n += r.fusion.stacks[i].n
	}
	return n
}

// TestFusionForgets shows half of what it takes, then an empty lane for long.
func TestFusionForgets(t *testing.T) {
	code := frameOf(t, native(21), 3)
	empty := lane(scanner.Frame{}, 0, 0)
	for _, pictures := range []int{maxIdle - 1, maxIdle + 1} {
		t.Run(fmt.Sprint(pictures), func(t *testing.T) {
			var r Reader
			if _, err := r.Decode(glared(held(code, 5), 5, third)); err == nil || known(&r) != 1 {
				t.Fatalf("%v, and %d pictures known, want one that is not read", err, known(&r))
			}
			for range pictures {
				if _, err := r.Decode(empty); !errors.Is(err, ErrNoCode) {
					t.Fatal(err)
				}
			}
			left := known(&r)
			if want := pictures < maxIdle; (left > 0) != want {
				t.Errorf("%d pictures are still known, want some: %t", left, want)
			}
		})
	}
}

// TestFusionAllocatesNothing looks at empty pictures, and at one that shows a
// code that says nothing, with something in memory.
func TestFusionAllocatesNothing(t *testing.T) {
	blank := frameOf(t, native(21), 3)
	rnd := rand.New(rand.NewPCG(2, 8))
	for y := 48; y < 186; y++ {
		for x := 48; x < 186; x++ {
			blank.Pix[y*blank.Stride+x] = byte(rnd.Uint32())
		}
	}
	pictures := []scanner.Frame{lane(blank, 20, 20), lane(scanner.Frame{}, 0, 0)}
	var r Reader
	look := func() {
		for _, f := range pictures {
			if _, err := r.Decode(f); !errors.Is(err, ErrNoCode) {
				t.Errorf("got %v, want %v", err, ErrNoCode)
			}
		}
	}
	look()
	if look(); known(&r) == 0 {
		t.Fatal("nothing in memory")
	}
	if n := testing.AllocsPerRun(5, look); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// TestOrigin shows the same code in parts of a picture, cut elsewhere each time:
// the reader knows where it lay, and says where it lies in the part.
func TestOrigin(t *testing.T) {
	code := frameOf(t, native(21), 3)
	var r Reader
	read := 0
	for k := range 8 {
		whole := glared(held(code, k), k, third)
		part := region{9 * (k % 2), 6 * (k % 2), whole.Width, whole.Height}
		r.Origin = Point{float64(part.left), float64(part.top)}
		codes, err := r.Read(part.cut(whole))
		if err != nil {
			continue
		}
		read++
		if d := codes[0].Corners[0].plus(r.Origin).distance(Point{16 + 3*4, 11 + 3*4}); string(codes[0].Payload) != native(21) || d > 7 {
			t.Errorf("picture %d: %.20q, %.0f pixels from its place", k, codes[0].Payload, d)
		}
	}
	if read < 3 {
		t.Errorf("%d of 8 pictures read, want 3", read)
	}
}

// FuzzFusion shows three pictures in a row, whatever is in them.
func FuzzFusion(f *testing.F) {
	img, err := Picture("JKM1:FUSION", 3)
	if err != nil {
		f.Fatal(err)
	}
	torn := bytes.Clone(img.Pix)
	for i := len(torn) / 3; i < len(torn)/2; i++ {
		torn[i] = 0xff
	}
	f.Add(torn, img.Pix, uint16(img.Stride), 3.0)
	f.Add(torn, torn, uint16(img.Stride), -1e300)
	f.Fuzz(func(t *testing.T, a, b []byte, width uint16, left float64) {
		if width == 0 || len(a) > 1<<16 || len(b) > 1<<16 {
			return
		}
		w := int(width)
		var r Reader
		for i, pix := range [][]byte{a, b, a} {
			r.Origin.X = left * float64(i)
			got, err := r.Decode(scanner.Frame{Pix: pix, Stride: w, Width: w, Height: len(pix) / w})
			if err == nil && len(got) == 0 {
				t.Error("no error and no payload")
			}
			if err != nil && strings.Contains(err.Error(), "panicked") {
				t.Error(err)
			}
		}
	})
}

// TestRegister puts a grid a little beside the code, as it lay in an earlier
// picture.
func TestRegister(t *testing.T) {
	f := turn(frameOf(t, native(3), 3), 7)
	var r Reader
	codes, err := r.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	want, right := codes[0].Corners, r.grid
	module := right.moduleSize()
	for _, by := range []Point{{0, 0}, {2.2, -1.8}, {-2.4, 2.4}} {
		g := right
		g.move(view{by.X * module, by.Y * module, 1})
		if !r.register(&f, &g, nil, farReach) {
			t.Errorf("%v modules aside: not found", by)
		}
		for i, p := range g.outline() {
			if d := p.distance(want[i]) / module; d > 0.7 {
				t.Errorf("%v modules aside: corner %d is %.2f modules from where it is", by, i, d)
			}
		}
	}
	if g := right; r.register(&scanner.Frame{Pix: make([]byte, 300*300), Stride: 300, Width: 300, Height: 300}, &g, nil, farReach) {
		t.Error("found in a black picture")
	}
}
