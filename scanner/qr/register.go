package qr

import (
	"math"

	"greengate/scanner"
)

// mark is a module whose colour is known, or believed from earlier pictures.
type mark struct {
	u, v float64
	by   Point // of the mesh
	dark bool  // in the picture
}

const (
	// maxMarks is about how many data modules are looked at, and as many of those
	// that are known.
	maxMarks = 240
	// fewMarks is one in how many of them is looked at in the first, wide search.
	fewMarks = 3
	// nearReach and farReach are how many modules a grid is moved at most: one
	// that was found in this picture, and one of an earlier picture.
	nearReach, farReach = 0.5, 2.5
	// turnReach is by how many modules the turns that are tried move the ends of
	// a code.
	turnReach = 1.4
	// registerWork is all of it.
	registerWork = 2_000_000
)

// marksOf are the modules by which a code is found again: those that every code
// has, and the surest of sum.
func marksOf(l *layout, sum []int16, g *grid, out []mark) []mark {
	out = out[:0]
	pitch := l.side + 2
	put := func(at uint16, dark bool) {
		u, v := float64(int(at)%pitch)-0.5, float64(int(at)/pitch)-0.5
		out = append(out, mark{u, v, g.mesh.shift(u, v), dark != g.light})
	}
	for i := 0; i < len(l.known); i += max(len(l.known)/maxMarks, 1) {
		put(l.known[i].at, l.known[i].dark)
	}
	if sum == nil {
		return out
	}
	all := 0
	for _, at := range l.order {
		all += abs(int(sum[at]))
	}
	sure := all / len(l.order) / 2
	for i := 0; i < len(l.order); i += max(len(l.order)/maxMarks, 1) {
		if at := l.order[i]; abs(int(sum[at])) > sure {
			put(at, sum[at] > 0)
		}
	}
	return out
}

// move places a grid of what v looks at in the picture.
func (g *grid) move(v view) {
	for c := range 3 {
		g.h[c] = v.factor*g.h[c] + v.left*g.h[6+c]
		g.h[3+c] = v.factor*g.h[3+c] + v.top*g.h[6+c]
	}
	for i := range g.mesh.by[:g.mesh.n*g.mesh.n] {
		g.mesh.by[i] = g.mesh.by[i].times(v.factor)
	}
	for i := range g.corners {
		c := &g.corners[i]
		c.at, c.u, c.v = v.of(c.at), c.u*v.factor, c.v*v.factor
	}
}

// quad maps a square of that side to four corners.
func quad(c *[4]Point, side float64) (h homography, ok bool) {
	d1, d2 := c[1].minus(c[2]), c[3].minus(c[2])
	s := c[0].minus(c[1]).plus(c[2]).minus(c[3])
	den := d1.cross(d2)
	if math.Abs(den) < 1e-9 {
		return h, false
	}
	g, k := s.cross(d2)/den, d1.cross(s)/den
	a, b := c[1].minus(c[0]).along(c[1], g), c[3].minus(c[0]).along(c[3], k)
	return homography{a.X / side, b.X / side, c[0].X, a.Y / side, b.Y / side, c[0].Y, g / side, k / side, 1}, true
}

// contrastOf is how much lighter the light marks are than the dark ones, of
// every step-th.
func contrastOf(f *scanner.Frame, h *homography, marks []mark, step int) int {
	var sum, n [2]int
	for i := 0; i < len(marks); i += step {
		m := &marks[i]
		p := h.at(m.u, m.v).plus(m.by)
		k := 0
		if m.dark {
			k = 1
		}
		sum[k] += grey(f, int(p.X*256), int(p.Y*256))
		n[k]++
	}
	return sum[0]/max(n[0], 1) - sum[1]/max(n[1], 1)
}

// register moves g to where its marks are seen best, at most so many modules
// away: those of sum, if there is one, and those that every code has. It is
// false when they are seen nowhere.
func (r *Reader) register(f *scanner.Frame, g *grid, sum []int16, reach float64) bool {
	l, err := r.symbols.layouts.of(g.version())
	if err != nil || !r.budget.grant(registerWork) {
		return false
	}
	marks := marksOf(l, sum, g, r.fusion.marks)
	r.fusion.marks = marks
	d := float64(g.side)
	module := g.moduleSize()
	var at [4]Point
	for i, c := range [4]Point{{0, 0}, {d, 0}, {d, d}, {0, d}} {
		at[i] = g.h.at(c.X, c.Y)
	}
	if !(module > 0 && module < float64(f.Width)) {
		return false
	}
	best := math.MinInt
	try := func(c *[4]Point, marks []mark, step int) {
		if h, ok := quad(c, d); ok {
			if s := contrastOf(f, &h, marks, step); s > best {
				best, at, g.h = s, *c, h
			}
		}
	}
	if reach > nearReach {
		middle, base := g.h.at(d/2, d/2), at
		for _, turn := range [3]float64{0, -1, 1} {
			sin, cos := math.Sincos(turn * turnReach / d)
			turned := base
			for i, p := range base {
				q := p.minus(middle)
				turned[i] = middle.plus(Point{cos*q.X - sin*q.Y, sin*q.X + cos*q.Y})
			}
			for y := -reach; y <= reach; y += 0.5 {
				for x := -reach; x <= reach; x += 0.5 {
					c := turned
					for i := range c {
						c[i] = c[i].plus(Point{x * module, y * module})
					}
					try(&c, marks, fewMarks)
				}
			}
		}
		best = math.MinInt
	}
	from := at
	try(&from, marks, 1)
	for _, step := range [3]float64{0.5, 0.25, 0.12} {
		for range 2 {
			for i := range at {
				for _, by := range [4]Point{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
					c := at
					c[i] = c[i].along(by, step*module)
					try(&c, marks, 1)
				}
			}
		}
	}
	return best > 0
}
