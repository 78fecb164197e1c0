package qr

import (
	"encoding/binary"
	"math"
	"math/bits"

	"greengate/scanner"
)

// maxFinders is how many finder patterns are remembered of a picture. A sheet
// printed full of them holds more; the rest is not looked at.
const maxFinders = 120

// finder is a place that looks like a finder pattern: dark, light, dark, light
// and dark in the ratio 1:1:3:1:1 (ISO/IEC 18004, 6.3.3), across, down and along
// a diagonal.
type finder struct {
	at Point
	// module is the width of one module in pixels.
	module float64
	// light is a pattern of a code printed light on dark.
	light bool
	// seen counts the rows that crossed it.
	seen int
}

// finderSearch looks for finder patterns along every few rows. Both polarities
// come of one pass: the run lengths are the same.
type finderSearch struct {
	f      scanner.Frame
	levels *thresholdMap
	// step is the distance between rows that are looked at.
	step  int
	found []finder
	// checks counts what the last row had looked at closely.
	checks int

	edges []int32 // where the colour changes in a row
}

// dark reports the colour of a pixel.
func (s *finderSearch) dark(x, y int) bool {
	return int(s.f.Pix[y*s.f.Stride+x]) <= s.levels.levelAt(x, y)
}

// row looks along row y.
func (s *finderSearch) row(y int) {
	s.checks = 0
	edges, dark := s.runs(y)
	for i := 0; i+5 < len(edges); i++ {
		e := edges[i : i+6 : i+6]
		c := int(e[3] - e[2])
		b, d := int(e[2]-e[1]), int(e[4]-e[3])
		if c < b || c < d {
			continue
		}
		a, e5 := int(e[1]-e[0]), int(e[5]-e[4])
		if c < a || c < e5 {
			continue
		}
		total := a + b + c + d + e5
		if !finderRuns(a, b, c, d, e5, total) {
			continue
		}
		light := dark == (i&1 == 1)
		s.check(float64(e[2]+e[3])/2, y, float64(total), light)
		if len(s.found) == maxFinders {
			return
		}
	}
}

// finderRuns reports whether runs have the ratio 1:1:3:1:1, each within half a
// module and a bit.
func finderRuns(a, b, c, d, e, total int) bool {
	if total < 7 {
		return false
	}
	slack := total + total/8 + 7
	return abs(14*a-2*total) < slack && abs(14*b-2*total) < slack &&
		abs(14*d-2*total) < slack && abs(14*e-2*total) < slack && abs(14*c-6*total) < 3*total+7
}

func abs(n int) int { return max(n, -n) }

// runs returns where row y changes its colour, with both its ends, and whether
// it begins dark: a code may be cut at its very edge.
func (s *finderSearch) runs(y int) (edges []int32, dark bool) {
	width := s.f.Width
	row := s.f.Pix[y*s.f.Stride:][:width]
	levels := s.levels.at[(y>>blockShift)*s.levels.w:][:s.levels.w]
	if cap(s.edges) < width+2 {
		s.edges = make([]int32, width+2)
	}
	out := s.edges[:width+2]
	out[0] = 0
	n := 1
	var last uint64 // the colour of the pixel before, 1 is dark
	if row[0] <= levels[0] {
		last, dark = 1, true
	}
	whole := width / blockSide
	for bx, level := range levels[:whole] {
		x := bx * blockSide
		t := uint64(level>>1)*lanes | high
		p := row[x : x+16 : x+16]
		a := (t - binary.LittleEndian.Uint64(p)>>1&low) & high
		b := (t - binary.LittleEndian.Uint64(p[8:])>>1&low) & high
		// Most blocks are of one colour, the one before them.
		if same := -last & high; a == same && b == same {
			continue
		}
		m := (a>>7)*0x0102040810204080>>56 | (b>>7)*0x0102040810204080>>56<<8
		change := (m ^ (m<<1 | last)) & 0xffff
		for change != 0 {
			out[n] = int32(x + bits.TrailingZeros64(change))
			n++
			change &= change - 1
		}
		last = m >> 15
	}
	for x := whole * blockSide; x < width; x++ {
		var v uint64
		if row[x] <= levels[x>>blockShift] {
			v = 1
		}
		if v != last {
			out[n] = int32(x)
			n++
			last = v
		}
	}
	out[n] = int32(width)
	return out[:n+1], dark
}

// check looks closer at what a row at y crossed in the middle x, total pixels
// wide.
func (s *finderSearch) check(x float64, y int, total float64, light bool) {
	fy, module := float64(y)+0.5, total/7
	for i := range s.found {
		p := &s.found[i]
		if p.light == light && math.Abs(p.at.X-x) < 1.2*p.module && math.Abs(p.at.Y-fy) < 1.7*p.module &&
			module < 1.8*p.module && p.module < 1.8*module {
			p.seen++
			return
		}
	}
	s.checks++
	dark := !light
	xi := int(x)
	off, down, ok := s.profile(xi, y, 0, 1, dark, total)
	if !ok {
		return
	}
	cy := fy + off
	off, across, ok := s.profile(xi, int(cy), 1, 0, dark, down)
	if !ok {
		return
	}
	cx := float64(xi) + 0.5 + off
	off, down, ok = s.profile(int(cx), int(cy), 0, 1, dark, across)
	if !ok {
		return
	}
	cy = float64(int(cy)) + 0.5 + off
	if _, _, ok := s.profile(int(cx), int(cy), 1, 1, dark, (across+down)/2); !ok {
		if _, _, ok = s.profile(int(cx), int(cy), 1, -1, dark, (across+down)/2); !ok {
			return
		}
	}
	for i := range s.found {
		p := &s.found[i]
		if p.light == light && math.Abs(p.at.X-cx) < 1.2*p.module && math.Abs(p.at.Y-cy) < 1.2*p.module {
			p.seen++
			return
		}
	}
	s.found = append(s.found, finder{at: Point{cx, cy}, module: (across + down) / 14, light: light, seen: 1})
}

// profile looks for 1:1:3:1:1 through the pixel x, y in the direction dx, dy. It
// returns how far the middle is from it and how long the whole is, in steps.
// Each run is followed only as far as it can be one: most of what is looked at
// is none.
func (s *finderSearch) profile(x, y, dx, dy int, dark bool, about float64) (offset, total float64, ok bool) {
	if uint(x) >= uint(s.f.Width) || uint(y) >= uint(s.f.Height) || s.dark(x, y) != dark {
		return 0, 0, false
	}
	// Of the middle, three modules; a finder seen aside may be two and a half
	// times longer one way than the other.
	limit := int(about*3.2/7*2.5) + 2
	ahead := walk{x: x, y: y, dx: dx, dy: dy, dark: dark}
	behind := walk{x: x, y: y, dx: -dx, dy: -dy, dark: dark}
	a0, ok := s.next(&behind, limit)
	if !ok {
		return 0, 0, false
	}
	b0, ok := s.next(&ahead, limit-behind.steps)
	if !ok {
		return 0, 0, false
	}
	module := (a0 + b0) / 3
	if module < 0.6 || module*20 < about || module*2 > about {
		return 0, 0, false
	}
	limit = int(2.2*module) + 2
	b1, ok := s.next(&ahead, limit)
	if !ok || b1-b0 < 0.3*module-0.4 {
		return 0, 0, false
	}
	a1, ok := s.next(&behind, limit)
	if !ok || a1-a0 < 0.3*module-0.4 {
		return 0, 0, false
	}
	b2, okAhead := s.next(&ahead, limit)
	a2, okBehind := s.next(&behind, limit)
	// The end of the picture is as good as the end of the pattern.
	if !okAhead && !ahead.out || !okBehind && !behind.out {
		return 0, 0, false
	}
	total = a2 + b2
	module = total / 7
	slack := module/2 + 0.35
	if module < 1 || total*5 < about*2 || total*2 > about*5 ||
		math.Abs(a2-a1-module) > slack || math.Abs(a1-a0-module) > slack ||
		math.Abs(b1-b0-module) > slack || math.Abs(b2-b1-module) > slack ||
		math.Abs(a0+b0-3*module) > 2*slack {
		return 0, 0, false
	}
	return (b0 - a0) / 2, total, true
}

// walk goes from change to change of colour.
type walk struct {
	x, y, dx, dy int
	steps        int
	dark         bool
	out          bool // of the picture
}

// next returns how far the next change is from the start, in steps and parts of
// one, if it comes within so many more.
func (s *finderSearch) next(w *walk, limit int) (float64, bool) {
	x, y, dark := w.x, w.y, w.dark
	i, by := y*s.f.Stride+x, w.dy*s.f.Stride+w.dx
	pix, levels, wide := s.f.Pix, s.levels.at, s.levels.w
	before := int(pix[i]) - int(levels[(y>>blockShift)*wide+x>>blockShift])
	for d := 1; d <= limit; d++ {
		x, y, i = x+w.dx, y+w.dy, i+by
		if uint(x) >= uint(s.f.Width) || uint(y) >= uint(s.f.Height) {
			w.out = true
			return float64(w.steps+d) - 0.5, false
		}
		v := int(pix[i]) - int(levels[(y>>blockShift)*wide+x>>blockShift])
		if (v <= 0) != dark {
			part := 0.5
			if v != before {
				part = min(max((float64(before)-0.5)/float64(before-v), 0), 1)
			}
			at := float64(w.steps+d-1) + part
			w.x, w.y, w.dark = x, y, !dark
			w.steps += d
			return at, true
		}
		before = v
	}
	return 0, false
}

// start prepares the search for a picture. Code modules of two pixels make a
// middle of six: rows are as far apart as still crosses it in large pictures,
// and small pictures are looked at more closely.
func (s *finderSearch) start(f scanner.Frame, levels *thresholdMap) {
	s.f, s.levels, s.found, s.checks = f, levels, s.found[:0], 0
	switch {
	case f.Height >= 700:
		s.step = 4
	case f.Height >= 300:
		s.step = 3
	default:
		s.step = 2
	}
}
