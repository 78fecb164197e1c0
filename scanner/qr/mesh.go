package qr

import (
	"math"

	"greengate/scanner"
)

// maxNodes is how many lines a mesh has at most in each direction: tracking has
// many, alignment patterns have 7.
const maxNodes = 32

// maxAlign is how many alignment patterns lie on a line at most.
const maxAlign = 7

// mesh bends a flat grid to where the alignment patterns were seen (ISO/IEC
// 18004, 6.3.6): between its nodes the shift changes evenly, and beyond them it
// goes on as it came.
type mesh struct {
	n   int                        // lines in each direction; 0 is no mesh
	at  [maxNodes]float64          // where they are, in modules
	per [maxNodes]float64          // one over the distance to the next
	by  [maxNodes * maxNodes]Point // the shift in pixels, row after row
}

// cell finds the line before u.
func (m *mesh) cell(u float64) (int, float64) {
	i := 0
	for i+2 < m.n && u >= m.at[i+1] {
		i++
	}
	return i, (u - m.at[i]) * m.per[i]
}

// shift at a point of the code.
func (m *mesh) shift(u, v float64) Point {
	if m.n == 0 {
		return Point{}
	}
	i, k := m.cell(u)
	j, l := m.cell(v)
	a, b := m.by[j*m.n+i], m.by[j*m.n+i+1]
	c, d := m.by[(j+1)*m.n+i], m.by[(j+1)*m.n+i+1]
	top, bottom := a.along(b.minus(a), k), c.along(d.minus(c), k)
	return top.along(bottom.minus(top), l)
}

// row sets the shift at each upright line, for a row of modules at v.
func (m *mesh) row(v float64, out *[maxNodes]Point) {
	if m.n == 0 {
		return
	}
	j, l := m.cell(v)
	for i := range m.n {
		a, b := m.by[j*m.n+i], m.by[(j+1)*m.n+i]
		out[i] = a.along(b.minus(a), l)
	}
}

// lines sets where the lines are.
func (m *mesh) lines(at []int) {
	m.n = len(at)
	for i, c := range at {
		m.at[i] = float64(c) + 0.5
		if i > 0 {
			m.per[i-1] = 1 / (m.at[i] - m.at[i-1])
		}
	}
}

// alignment finds the alignment patterns of a code.
type alignment struct {
	f     *scanner.Frame
	g     *grid
	known [maxAlign * maxAlign]bool
}

// bend looks for the alignment patterns of g, near the finder patterns first,
// so that each tells where the next will be, and sets the mesh of g.
func bend(f *scanner.Frame, g *grid, centres []int) {
	n := len(centres)
	if n == 0 {
		return
	}
	s := alignment{f: f, g: g}
	m := &g.mesh
	m.lines(centres)
	finders := [3]int{0, n - 1, (n - 1) * n}
	var matches [maxAlign*maxAlign + 12]match
	used := 0
	for i, c := range g.centres() {
		s.known[finders[i]] = true
		m.by[finders[i]] = g.corners[i].at.minus(g.h.at(c.X, c.Y))
		matches[used] = match{c.X, c.Y, g.corners[i].at, 3}
		used++
	}
	for sum := 1; sum <= 2*(n-1); sum++ {
		for j := max(0, sum-n+1); j <= min(sum, n-1); j++ {
			i := sum - j
			if s.known[j*n+i] {
				continue
			}
			u, v := m.at[i], m.at[j]
			if p, ok := s.seek(i, j); ok {
				s.known[j*n+i] = true
				m.by[j*n+i] = p.minus(g.h.at(u, v))
				matches[used] = match{u, v, p, 1}
				used++
			}
		}
	}
	if used >= 4 {
		s.again(matches[:], used, finders)
	}
	for i := range n * n {
		if !s.known[i] {
			m.by[i] = s.guess(i%n, i/n)
		}
	}
}

// again fits the flat grid to everything that was found, so that the mesh holds
// what is bent and no more.
func (s *alignment) again(matches []match, used int, finders [3]int) {
	g, m := s.g, &s.g.mesh
	u, v, _, _ := axes(&g.corners)
	for i, c := range g.centres() {
		k := &g.corners[i]
		for _, half := range [2]float64{-3.5, 3.5} {
			matches[used] = match{c.X + half, c.Y, k.at.along(u, half*k.u), 0.03}
			matches[used+1] = match{c.X, c.Y + half, k.at.along(v, half*k.v), 0.03}
			used += 2
		}
	}
	h, ok := fitHomography(matches[:used])
	if !ok {
		return
	}
	for i, known := range s.known[:m.n*m.n] {
		if !known {
			continue
		}
		p := Point{m.at[i%m.n], m.at[i/m.n]}
		for k, at := range finders {
			if at == i {
				p = g.centres()[k]
			}
		}
		m.by[i] = m.by[i].plus(g.h.at(p.X, p.Y)).minus(h.at(p.X, p.Y))
	}
	g.h = h
}

// guess is the shift that the known nodes suggest at a node, the nearest most.
func (s *alignment) guess(i, j int) Point {
	n := s.g.mesh.n
	var sum Point
	weight := 0.0
	for k, known := range s.known[:n*n] {
		if known {
			di, dj := float64(k%n-i), float64(k/n-j)
			w := 1 / max(di*di+dj*dj, 1e-3)
			w *= w
			sum = sum.along(s.g.mesh.by[k], w)
			weight += w
		}
	}
	return sum.times(1 / weight)
}

// seek looks for an alignment pattern around where it should be.
func (s *alignment) seek(i, j int) (Point, bool) {
	g, n := s.g, s.g.mesh.n
	u, v := g.mesh.at[i], g.mesh.at[j]
	p := g.h.at(u, v)
	du, dv := g.h.at(u+1, v).minus(p), g.h.at(u, v+1).minus(p)
	p = p.plus(s.guess(i, j))
	radius := 1.5
	switch {
	case n == 2:
		radius += float64(g.side) / 16
	case i == n-1 && j == n-1:
		radius = 2
	}
	return s.around(p, du, dv, radius)
}

// around looks for an alignment pattern at most radius modules from p.
func (s *alignment) around(p, du, dv Point, radius float64) (Point, bool) {
	contrast := s.contrast(p, du, dv)
	// What is far from where it should be has to look better.
	penalty := max(0.05*contrast, 1)
	best, bx, by := math.Inf(-1), 0.0, 0.0
	look := func(x, y float64) {
		if score := s.score(p.along(du, x).along(dv, y), du, dv) - penalty*math.Hypot(x, y); score > best {
			best, bx, by = score, x, y
		}
	}
	for y := -radius; y <= radius; y += 0.5 {
		for x := -radius; x <= radius; x += 0.5 {
			look(x, y)
		}
	}
	x0, y0 := bx, by
	for _, y := range [3]float64{-0.25, 0, 0.25} {
		for _, x := range [3]float64{-0.25, 0, 0.25} {
			look(x0+x, y0+y)
		}
	}
	return p.along(du, bx).along(dv, by), best > 0.45*contrast && best > 6
}

// score is how much lighter the ring of an alignment pattern is than the rest,
// if its middle is p.
func (s *alignment) score(p, du, dv Point) float64 {
	w, h := 2.6*(math.Abs(du.X)+math.Abs(dv.X)), 2.6*(math.Abs(du.Y)+math.Abs(dv.Y))
	if !(p.X-w >= 0 && p.Y-h >= 0 && p.X+w < float64(s.f.Width) && p.Y+h < float64(s.f.Height)) {
		return -1
	}
	light, dark := 0, 0
	for j := -2; j <= 2; j++ {
		for i := -2; i <= 2; i++ {
			q := p.along(du, float64(i)).along(dv, float64(j))
			v := int(s.f.Pix[int(q.Y)*s.f.Stride+int(q.X)])
			switch max(abs(i), abs(j)) {
			case 0:
				dark += 4 * v
			case 1:
				light += v
			default:
				dark += v
			}
		}
	}
	score := float64(light)/8 - float64(dark)/20
	if s.g.light {
		return -score
	}
	return score
}

// contrast around a point, nine modules wide.
func (s *alignment) contrast(p, du, dv Point) float64 {
	lo, hi := 255*unit, 0
	for j := -4; j <= 4; j += 2 {
		for i := -4; i <= 4; i++ {
			v := greyAt(s.f, p.along(du, float64(i)).along(dv, float64(j)))
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return float64(hi-lo) / unit
}
