package qr

import (
	"math"

	"greengate/scanner"
)

// Grid tracking follows a code over a surface that is not flat: a bottle, a
// folded sheet, cloth. Nothing but the modules themselves say where they are: a
// grid lies right where its samples differ most, for between two modules all is
// grey. From the finder patterns outwards, each patch of modules is moved to
// where that is so, beginning where its neighbours went.
const (
	// trackCell is about how many modules lie between two nodes.
	trackCell = 6
	// trackPatch is how many modules on each side of a node are looked at.
	trackPatch = 3
	// trackWork is a node: its patch in so many places.
	trackWork = 7000
)

// tracker bends a grid to the modules.
type tracker struct {
	f      *scanner.Frame
	levels *thresholdMap

	by    [maxNodes * maxNodes]Point // how far each node was moved, in modules
	known [maxNodes * maxNodes]bool
}

// track bends g, which is nearly right, to what is seen.
func (t *tracker) track(g *grid) {
	m := mesh{}
	m.even(g.side)
	n := m.n
	for i := range n * n {
		m.by[i] = g.mesh.shift(m.at[i%n], m.at[i/n])
	}
	g.mesh = m
	clear(t.known[:n*n])
	t.by[0], t.by[n-1], t.by[(n-1)*n] = Point{}, Point{}, Point{}
	t.known[0], t.known[n-1], t.known[(n-1)*n] = true, true, true
	// Rings around the three corners, all at once.
	for ring := 1; ring < 2*n; ring++ {
		for j := range n {
			for i := range n {
				if k := j*n + i; !t.known[k] && min(i+j, n-1-i+j, i+n-1-j) == ring {
					t.by[k] = t.node(g, i, j)
					t.known[k] = true
				}
			}
		}
	}
	// A patch without much in it may have gone astray: each follows its
	// neighbours half way.
	for j := range n {
		for i := range n {
			var sum Point
			count := 0.0
			for _, d := range [4][2]int{{-1, 0}, {1, 0}, {0, -1}, {0, 1}} {
				if x, y := i+d[0], j+d[1]; x >= 0 && y >= 0 && x < n && y < n {
					sum = sum.plus(t.by[y*n+x])
					count++
				}
			}
			k := j*n + i
			by := t.by[k].times(0.5).along(sum, 0.5/count)
			if (i == 0 || i == n-1) && (j == 0 || j == n-1) && !(i == n-1 && j == n-1) {
				by = t.by[k]
			}
			u, v := m.at[i], m.at[j]
			p := g.h.at(u, v)
			du, dv := g.h.at(u+1, v).minus(p), g.h.at(u, v+1).minus(p)
			g.mesh.by[k] = m.by[k].along(du, by.X).along(dv, by.Y)
		}
	}
}

// even lays lines at even distances, from the middle of one finder pattern to
// that of the next.
func (m *mesh) even(side int) {
	m.n = min(max((side-7+trackCell/2)/trackCell, 2), maxNodes-1) + 1
	step := (float64(side) - 7) / float64(m.n-1)
	for i := range m.n {
		m.at[i], m.per[i] = 3.5+float64(i)*step, 1/step
	}
}

// node finds how far a node is to be moved.
func (t *tracker) node(g *grid, i, j int) Point {
	n := g.mesh.n
	var sum Point
	weight := 0.0
	for dj := -1; dj <= 1; dj++ {
		for di := -1; di <= 1; di++ {
			x, y := i+di, j+dj
			if x < 0 || y < 0 || x >= n || y >= n || !t.known[y*n+x] {
				continue
			}
			by, w := t.by[y*n+x], 1.0
			if di != 0 && dj != 0 {
				w = 0.4
			}
			// What bends goes on bending.
			if xx, yy := x+di, y+dj; xx >= 0 && yy >= 0 && xx < n && yy < n && t.known[yy*n+xx] {
				by = by.along(by.minus(t.by[yy*n+xx]), 0.6)
			}
			sum = sum.along(by, w)
			weight += w
		}
	}
	if weight > 0 {
		sum = sum.times(1 / weight)
	}
	u, v := g.mesh.at[i], g.mesh.at[j]
	p := g.at(u, v)
	du, dv := g.at(u+1, v).minus(p), g.at(u, v+1).minus(p)
	best, at := math.Inf(-1), sum
	look := func(x, y float64) {
		q := p.along(du, sum.X+x).along(dv, sum.Y+y)
		if s := float64(t.opening(q, du, dv)) * (1 - 0.15*(x*x+y*y)); s > best {
			best, at = s, Point{sum.X + x, sum.Y + y}
		}
	}
	for y := -2.0; y <= 2; y++ {
		for x := -2.0; x <= 2; x++ {
			look(x*0.25, y*0.25)
		}
	}
	x0, y0 := at.X-sum.X, at.Y-sum.Y
	for y := -1.0; y <= 1; y++ {
		for x := -1.0; x <= 1; x++ {
			look(x0+x*0.12, y0+y*0.12)
		}
	}
	return at
}

// opening is how far from the threshold the modules around p are: as an eye
// diagram is widest where bits are to be sampled. How many of them are dark does
// not count, or patches would drift to where light and dark are mixed.
func (t *tracker) opening(p, du, dv Point) int {
	ux, uy, vx, vy := int(du.X*256), int(du.Y*256), int(dv.X*256), int(dv.Y*256)
	x0, y0 := int(p.X*256)-trackPatch*(ux+vx), int(p.Y*256)-trackPatch*(uy+vy)
	sum := 0
	f := t.f
	for range 2*trackPatch + 1 {
		x, y := x0, y0
		for range 2*trackPatch + 1 {
			xi, yi := min(max(x>>8, 0), f.Width-1), min(max(y>>8, 0), f.Height-1)
			sum += abs(grey(f, x, y) - unit*t.levels.levelAt(xi, yi))
			x, y = x+ux, y+uy
		}
		x0, y0 = x0+vx, y0+vy
	}
	return sum
}
