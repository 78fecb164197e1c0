package qr

import (
	"math"
	"slices"

	"greengate/scanner"
)

// The sides of versions 1 and 40 in modules.
const (
	minSide = 21
	maxSide = 177
)

// corner is a finder pattern of a code, measured along the code's own axes.
type corner struct {
	at Point
	// u and v are the size of a module in pixels along the top of the code and
	// along its left side.
	u, v float64
}

// grid says where in a picture the modules of a code are.
type grid struct {
	side  int
	light bool
	// corners in the order top left, top right, bottom left.
	corners [3]corner
	h       homography
	mesh    mesh
	// timing is how well the timing patterns are where they should be: 1 is
	// every module, 0 is chance.
	timing float64
}

// version of a code of that side.
func (g *grid) version() int { return (g.side - 17) / 4 }

// moduleSize is the size in pixels of a module in the middle of the code.
func (g *grid) moduleSize() float64 {
	m := float64(g.side) / 2
	c := g.h.at(m, m)
	a, b := g.h.at(m+1, m).minus(c), g.h.at(m, m+1).minus(c)
	return math.Sqrt(math.Abs(a.cross(b)))
}

// at is where the point (u, v) of the code is seen.
func (g *grid) at(u, v float64) Point { return g.h.at(u, v).plus(g.mesh.shift(u, v)) }

// centres of the three finder patterns in modules.
func (g *grid) centres() [3]Point {
	far := float64(g.side) - 3.5
	return [3]Point{{3.5, 3.5}, {far, 3.5}, {3.5, far}}
}

// gridFit finds the grid of a code from three finder patterns.
type gridFit struct {
	f      *scanner.Frame
	levels *thresholdMap
}

// ray walks from the middle of a finder pattern and returns the distance to its
// outer edge, the third change of colour.
func (s *gridFit) ray(c, d Point, module float64, light bool) (float64, bool) {
	step := max(min(0.5, module/4), module/9)
	n := 0
	level := func(x, y int) int { return unit * s.levels.levelAt(x>>8, y>>8) }
	x, y := c.X*256, c.Y*256
	dx, dy := d.X*256*step, d.Y*256*step
	before := grey(s.f, int(x), int(y)) - level(s.clamp(int(x), int(y)))
	if light {
		before = -before
	}
	limit := int(7 * module / step)
	for i := 1; i < limit; i++ {
		x, y = x+dx, y+dy
		xi, yi := int(x), int(y)
		if uint(xi>>8) >= uint(s.f.Width) || uint(yi>>8) >= uint(s.f.Height) {
			return (float64(i) - 0.5) * step, n == 2 // the edge of the picture is as good
		}
		v := grey(s.f, xi, yi) - level(xi, yi)
		if light {
			v = -v
		}
		if v != 0 && (v > 0) == (n&1 == 0) {
			if n++; n == 3 {
				part := 0.5
				if (before > 0) != (v > 0) && before != v {
					part = float64(before) / float64(before-v)
				}
				return (float64(i-1) + part) * step, true
			}
		}
		before = v
	}
	return 0, false
}

// clamp moves a point in 1/256 pixels into the picture.
func (s *gridFit) clamp(x, y int) (int, int) {
	return min(max(x, 0), s.f.Width<<8-1), min(max(y, 0), s.f.Height<<8-1)
}

// reach measures a finder pattern along a direction and against it, on five
// parallel lines.
func (s *gridFit) reach(c Point, d Point, module float64, light bool) (ahead, behind float64, ok bool) {
	across := Point{-d.Y, d.X}
	var a, b [5]float64
	na, nb := 0, 0
	for k := -2; k <= 2; k++ {
		from := c.along(across, float64(k)*0.5*module)
		if r, ok := s.ray(from, d, module, light); ok {
			a[na] = r
			na++
		}
		if r, ok := s.ray(from, d.times(-1), module, light); ok {
			b[nb] = r
			nb++
		}
	}
	if na < 2 || nb < 2 {
		return 0, 0, false
	}
	slices.Sort(a[:na])
	slices.Sort(b[:nb])
	return a[na/2], b[nb/2], true
}

// axes are the directions of the top and of the left side, and their lengths
// between the middles of the finder patterns.
func axes(c *[3]corner) (u, v Point, along, down float64) {
	u, v = c[1].at.minus(c[0].at), c[2].at.minus(c[0].at)
	along, down = u.norm(), v.norm()
	return u.times(1 / along), v.times(1 / down), along, down
}

// measure sets the corners from what the search found, twice: the first look
// says in which direction to look.
func (s *gridFit) measure(found *[3]finder) (c [3]corner) {
	for i, f := range found {
		c[i] = corner{at: f.at, u: f.module, v: f.module}
	}
	light := found[0].light
	for range 2 {
		u, v, _, _ := axes(&c)
		for i := range c {
			k := &c[i]
			module := math.Sqrt(k.u * k.v)
			if a, b, ok := s.reach(k.at, u, module, light); ok {
				k.u = (a + b) / 7
				k.at = k.at.along(u, (a-b)/2)
			}
			if a, b, ok := s.reach(k.at, v, module, light); ok {
				k.v = (a + b) / 7
				k.at = k.at.along(v, (a-b)/2)
			}
		}
	}
	return c
}

// count is how many modules there seem to be along a side. Under perspective a
// distance of N modules is N·√(s₁·s₂), with the sizes of a module at both ends.
func count(c *[3]corner) (along, down float64) {
	_, _, lu, lv := axes(c)
	return lu/math.Sqrt(c[0].u*c[1].u) + 7, lv/math.Sqrt(c[0].v*c[2].v) + 7
}

const (
	// goodTiming is a timing pattern that is surely where it should be.
	goodTiming = 0.55
	// leastTiming is one that may be.
	leastTiming = 0.25
)

// fit sets g to the grid that the three finder patterns span, or reports that
// they are of no code.
func (s *gridFit) fit(found *[3]finder, g *grid) bool {
	*g = grid{light: found[0].light, corners: s.measure(found)}
	along, down := count(&g.corners)
	if along-7 > 1.5*(down-7) || down-7 > 1.5*(along-7) {
		return false
	}
	first := int(math.Round(((along+down)/2-17)/4))*4 + 17
	g.timing = -1
	s.try(g, first)
	if g.timing < goodTiming {
		s.try(g, first+4)
		s.try(g, first-4)
		if g.timing < goodTiming && first > 45 {
			s.try(g, first+8)
			s.try(g, first-8)
		}
	}
	return g.timing >= leastTiming
}

// likely reports whether the three finder patterns, as they were measured, may
// be of one code that is seen from not too far aside.
func (g *grid) likely() bool {
	along, down := count(&g.corners)
	return along < 1.5*down && down < 1.5*along && min(along, down) > 17 && max(along, down) < maxSide+20
}

// try gives g that side if the timing patterns fit it better.
func (s *gridFit) try(g *grid, side int) {
	if side < minSide || side > maxSide {
		return
	}
	h, ok := spread(&g.corners, side)
	if !ok {
		return
	}
	if t := s.timing(&h, side, g.light); t > g.timing {
		g.timing, g.side, g.h = t, side, h
	}
}

// spread maps a code of that side so that its finder patterns, middles and
// edges, are where they were measured.
func spread(c *[3]corner, side int) (homography, bool) {
	u, v, _, _ := axes(c)
	g := grid{side: side}
	var m [15]match
	n := 0
	for i, centre := range g.centres() {
		k := &c[i]
		m[n] = match{centre.X, centre.Y, k.at, 4}
		n++
		// The directions are those between two finder patterns: of a third one
		// only the size along its own sides is known.
		wu, wv := 0.5, 0.5
		switch i {
		case 1:
			wv = 0.02
		case 2:
			wu = 0.02
		}
		for _, half := range [2]float64{-3.5, 3.5} {
			m[n] = match{centre.X + half, centre.Y, k.at.along(u, half*k.u), wu}
			m[n+1] = match{centre.X, centre.Y + half, k.at.along(v, half*k.v), wv}
			n += 2
		}
	}
	return fitHomography(m[:n])
}

// timing follows both timing patterns and returns how many of the modules
// differ from their neighbours as they should, from -1 to 1.
func (s *gridFit) timing(h *homography, side int, light bool) float64 {
	total := 0.0
	for axis := range 2 {
		good, all := 0, 0
		var before, last int
		for i := 7; i < side-7; i++ {
			p := h.at(float64(i)+0.5, 6.5)
			if axis == 1 {
				p = h.at(6.5, float64(i)+0.5)
			}
			if !inside(s.f, p, 0) {
				return -1
			}
			v := greyAt(s.f, p)
			if i >= 9 {
				// The module before this one is dark when its number is even.
				lighter := before+v > 2*last
				if lighter == (i&1 == 1) != light {
					good++
				}
				all++
			}
			before, last = last, v
		}
		total += 2*float64(good)/float64(all) - 1
	}
	return total / 2
}

// inside reports whether p is in the picture, or at most so many pixels beside
// it. What is not a number is not.
func inside(f *scanner.Frame, p Point, beside float64) bool {
	return p.X >= -beside && p.Y >= -beside && p.X < float64(f.Width)+beside && p.Y < float64(f.Height)+beside
}

// outline are the corners of a code as it is printed: top left, top right,
// bottom right, bottom left.
func (g *grid) outline() [4]Point {
	d := float64(g.side)
	return [4]Point{g.at(0, 0), g.at(d, 0), g.at(d, d), g.at(0, d)}
}

// whole reports whether all of the code is in the picture, or nearly, and seen
// from its front.
func (g *grid) whole(f *scanner.Frame) bool {
	o := g.outline()
	for i, p := range o {
		a, b := o[(i+1)%4], o[(i+2)%4]
		if !inside(f, p, 2*g.moduleSize()) || !(a.minus(p).cross(b.minus(a)) > 0) {
			return false
		}
	}
	return true
}
