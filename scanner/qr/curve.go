package qr

import (
	"math"

	"greengate/scanner"
)

const (
	// curveWork is a fit of a curved grid.
	curveWork = 50_000
	// maxCurves is how many combinations of finders in a look may be of a code
	// that is bent.
	maxCurves = 2
	// leastCurve is the timing that a curved grid must reach.
	leastCurve = 0.45
)

// tangents are the sides of one module at a finder pattern, as they are seen:
// along the top of the code, and down its left side.
type tangents struct{ u, v Point }

// tangentsAt measures how a finder pattern lies, by the slopes of its edges.
func (s *gridFit) tangentsAt(c *corner, u, v Point, light bool) (t tangents, ok bool) {
	// The edges left and right say where down is, those above and below where
	// along is.
	downBy, ok1 := s.slope(c.at, u, v, c.u, c.v, light)
	alongBy, ok2 := s.slope(c.at, v, u, c.v, c.u, light)
	if !ok1 || !ok2 {
		return t, false
	}
	down, along := v.along(u, downBy), u.along(v, alongBy)
	skew := along.cross(down)
	if skew < 0.3 {
		return t, false
	}
	t.u = along.times(c.u * u.cross(down) / skew)
	t.v = down.times(c.v * along.cross(v) / skew)
	return t, true
}

// slope is by how much the two edges of a finder pattern that lie ahead and
// behind in the direction d lean towards d, for each step across.
func (s *gridFit) slope(c, d, across Point, size, wide float64, light bool) (float64, bool) {
	var sums [2]struct{ n, x, y, xx, xy float64 }
	for k := -4; k <= 4; k++ {
		x := float64(k) * 0.6 * wide
		from := c.along(across, x)
		for i, sign := range [2]float64{1, -1} {
			// Beside the middle the rays cross fewer rings; only the outer edge
			// counts.
			y, ok := s.edge(from, d.times(sign), size, light)
			if !ok {
				continue
			}
			a := &sums[i]
			y *= sign
			a.n++
			a.x += x
			a.y += y
			a.xx += x * x
			a.xy += x * y
		}
	}
	slope, n := 0.0, 0.0
	for _, a := range sums {
		if a.n >= 5 {
			slope += (a.xy - a.x*a.y/a.n) / (a.xx - a.x*a.x/a.n)
			n++
		}
	}
	return slope / max(n, 1), n > 0
}

// edge is how far from the axis of a finder pattern its outer edge is: the last
// change from dark to light before four and a half modules.
func (s *gridFit) edge(from, d Point, size float64, light bool) (float64, bool) {
	at, found := 0.0, false
	before := 0
	step := max(size/8, 0.25)
	for r := 2.2 * size; r < 4.6*size; r += step {
		p := from.along(d, r)
		if !inside(s.f, p, 0) {
			return 0, false
		}
		v := greyAt(s.f, p) - unit*s.levels.levelAt(int(p.X), int(p.Y))
		if light {
			v = -v
		}
		if before < 0 && v >= 0 {
			at, found = r-step+step*float64(before)/float64(before-v), true
		}
		before = v
	}
	return at, found
}

// surface is a code that is bent: both sides that begin in the top left corner
// are curves that leave one finder pattern as its modules lie and arrive at the
// next as those do (Hermite).
type surface struct {
	side    float64
	corners [3]Point
	t       [3]tangents
}

// hermite is the curve from a to b, n modules apart, with those tangents.
func hermite(a, b, ta, tb Point, n, u float64) Point {
	t := u / n
	t2 := t * t
	t3 := t2 * t
	return a.times(2*t3-3*t2+1).along(ta, n*(t3-2*t2+t)).along(b, 3*t2-2*t3).along(tb, n*(t3-t2))
}

// turning is what takes a to b, a turn and a change of length, done to that part.
func turning(a, b Point, part float64) (cos, sin float64) {
	aa := a.X*a.X + a.Y*a.Y
	re, im := (a.X*b.X+a.Y*b.Y)/aa, a.cross(b)/aa
	return 1 + part*(re-1), part * im
}

// at is where a point of the code is.
func (s *surface) at(u, v float64) Point {
	n := s.side - 7
	u, v = u-3.5, v-3.5
	top := hermite(s.corners[0], s.corners[1], s.t[0].u, s.t[1].u, n, u).minus(s.corners[0])
	left := hermite(s.corners[0], s.corners[2], s.t[0].v, s.t[2].v, n, v).minus(s.corners[0])
	// The left side, moved along the top, turns as the modules there do; and the
	// top, moved down. The truth lies between.
	c, d := turning(s.t[0].v, s.t[1].v, u/n)
	e, f := turning(s.t[0].u, s.t[2].u, v/n)
	a := top.plus(Point{c*left.X - d*left.Y, d*left.X + c*left.Y})
	b := left.plus(Point{e*top.X - f*top.Y, f*top.X + e*top.Y})
	return s.corners[0].plus(a.plus(b).times(0.5))
}

// curve fits g to a code on a bottle, a can, a bent sheet. It reports whether
// the timing patterns agree.
func (s *gridFit) curve(g *grid) bool {
	u, v, lu, lv := axes(&g.corners)
	var bent surface
	for i := range g.corners {
		t, ok := s.tangentsAt(&g.corners[i], u, v, g.light)
		if !ok {
			return false
		}
		bent.corners[i], bent.t[i] = g.corners[i].at, t
	}
	// Across a bend the modules between are larger than at the ends, from which
	// they would be counted: the side that is straight has fewer and is right.
	along := lu/math.Sqrt(bent.t[0].u.norm()*bent.t[1].u.norm()) + 7
	down := lv/math.Sqrt(bent.t[0].v.norm()*bent.t[2].v.norm()) + 7
	first := int(math.Round((min(along, down)-17)/4))*4 + 17
	best := 0.0
	for _, off := range [...]int{0, 4, -4} {
		side := first + off
		if side < minSide || side > maxSide {
			continue
		}
		bent.side = float64(side)
		if fit := s.timingOn(&bent, g.light) - 0.02*math.Abs(float64(off)); fit > best {
			best, g.side = fit, side
		}
	}
	if best < leastCurve {
		return false
	}
	bent.side = float64(g.side)
	h, ok := spread(&g.corners, g.side)
	if !ok {
		return false
	}
	g.h, g.timing = h, best
	g.mesh.even(g.side)
	m := &g.mesh
	for i := range m.n * m.n {
		u, v := m.at[i%m.n], m.at[i/m.n]
		m.by[i] = bent.at(u, v).minus(h.at(u, v))
	}
	s.fourth(g)
	return true
}

// fourth moves the corner without a finder pattern to where its alignment
// pattern is seen, and what lies between with it.
func (s *gridFit) fourth(g *grid) {
	if g.version() < 2 {
		return
	}
	u := float64(g.side) - 6.5
	p := g.at(u, u)
	du, dv := g.at(u+1, u).minus(p), g.at(u, u+1).minus(p)
	a := alignment{f: s.f, g: g}
	q, ok := a.around(p, du, dv, min(2+float64(g.side)/10, 7))
	if !ok {
		return
	}
	m := &g.mesh
	by := q.minus(p)
	for i := range m.n * m.n {
		x, y := (m.at[i%m.n]-3.5)/(u-3.5), (m.at[i/m.n]-3.5)/(u-3.5)
		m.by[i] = m.by[i].along(by, x*y)
	}
}

// timingOn is how well the timing patterns fit a surface, up to 1.
func (s *gridFit) timingOn(b *surface, light bool) float64 {
	total := 0.0
	for axis := range 2 {
		total += timingFit(s.f, int(b.side), light, func(u float64) Point {
			if axis == 1 {
				return b.at(6.5, u)
			}
			return b.at(u, 6.5)
		})
	}
	return total / 2
}

// timingFit is how much the modules of a timing pattern differ from their
// neighbours in the way that they should, from -1 to 1.
func timingFit(f *scanner.Frame, side int, light bool, at func(u float64) Point) float64 {
	before, last, sum, all := 0, 0, 0, 0
	for i := 7; i < side-7; i++ {
		p := at(float64(i) + 0.5)
		if !inside(f, p, 0) {
			return -1
		}
		v := greyAt(f, p)
		if i >= 9 {
			d := before + v - 2*last // above zero where the last is dark
			if i&1 == 0 {
				d = -d
			}
			sum += d
			all += max(d, -d)
		}
		before, last = last, v
	}
	fit := float64(sum) / float64(max(all, 1))
	if light {
		return -fit
	}
	return fit
}
