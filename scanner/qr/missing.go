package qr

import (
	"math"

	"greengate/scanner"
)

const (
	// maxPairs is how many pairs of finders are looked at for a third.
	maxPairs = 4
	// leastLikeness is the correlation from which a place counts as a finder
	// pattern that the search has missed.
	leastLikeness = 0.5
	// likely is the correlation of one that the search has seen: it has its
	// run lengths already.
	likely = 0.38
	// pairWork is a search for the third of a pair.
	pairWork = 300_000
)

// pattern is a finder pattern with its separator: 1 is dark.
var pattern = func() (p [81]int) {
	for i := range p {
		r := max(abs(i%9-4), abs(i/9-4))
		p[i] = -1
		if r <= 1 || r == 3 {
			p[i] = 1
		}
	}
	return p
}()

// likeness is the correlation, up to 1, of the finder pattern with what is
// around p in a picture, with modules of du and dv.
func likeness(f *scanner.Frame, p, du, dv Point, light bool) float64 {
	sum, squares, match, dark := 0, 0, 0, 0
	const reach = 4
	ux, uy, vx, vy := int(du.X*256), int(du.Y*256), int(dv.X*256), int(dv.Y*256)
	x0, y0 := int(p.X*256)-reach*(ux+vx), int(p.Y*256)-reach*(uy+vy)
	i := 0
	for range 2*reach + 1 {
		x, y := x0, y0
		for range 2*reach + 1 {
			xi, yi := x>>8, y>>8
			if uint(xi) >= uint(f.Width) || uint(yi) >= uint(f.Height) {
				xi, yi = min(max(xi, 0), f.Width-1), min(max(yi, 0), f.Height-1)
			}
			v := int(f.Pix[yi*f.Stride+xi])
			sum += v
			squares += v * v
			match += pattern[i] * v
			dark += pattern[i]
			i++
			x, y = x+ux, y+uy
		}
		x0, y0 = x0+vx, y0+vy
	}
	n := float64(i)
	mean, bias := float64(sum)/n, float64(dark)/n
	spread := float64(squares)/n - mean*mean
	if spread < 9 {
		return 0
	}
	r := (bias*mean - float64(match)/n) / math.Sqrt(spread*(1-bias*bias))
	if light {
		return -r
	}
	return r
}

// sure reports whether what run lengths took for a finder pattern correlates
// with one, however it is turned.
func sure(f *scanner.Frame, p *finder) bool {
	for _, angle := range [3]float64{0, math.Pi / 6, math.Pi / 3} {
		sin, cos := math.Sincos(angle)
		// Across and down a turned pattern is longer than along its sides.
		m := p.module * max(cos, sin)
		if likeness(f, p.at, Point{cos * m, sin * m}, Point{-sin * m, cos * m}, p.light) >= likely {
			return true
		}
	}
	return false
}

// crowd is how many finders are more than a picture with a code or two has.
const crowd = 7

// thin drops the finders of a crowd that are surely none: of noise and fine
// patterns there are many, and every three of them would have to be looked at.
func thin(f *scanner.Frame, found []finder) []finder {
	if len(found) < crowd {
		return found
	}
	kept := found[:0]
	for i := range found {
		if sure(f, &found[i]) {
			kept = append(kept, found[i])
		}
	}
	return kept
}

// missing looks for the third finder pattern of a code of which the search saw
// two: where a code can have it, by correlation, which a scratch or a
// reflection disturbs less than run lengths. It calls try with each three that
// may be a code until that returns true.
func (s *gridFit) missing(found []finder, b *budget, try func([3]finder) bool) bool {
	pairs := 0
	for i := range found {
		for j := i + 1; j < len(found); j++ {
			if !alike(&found[i], &found[j]) {
				continue
			}
			if pairs++; pairs > maxPairs || !b.spend(pairWork) {
				return false
			}
			if s.third(found[i], found[j], try) {
				return true
			}
		}
	}
	return false
}

// third looks for the third finder of a pair.
func (s *gridFit) third(a, b finder, try func([3]finder) bool) bool {
	line := b.at.minus(a.at)
	length := line.norm()
	e := line.times(1 / length)
	// Two finders of one code are side by side or opposite each other: then
	// their own sides are turned by 45°.
	const r = math.Sqrt2 / 2
	side := [2]Point{e, {r * (e.X - e.Y), r * (e.X + e.Y)}}
	var size [2][2]Point // of a module at a and b, along the side and across
	var fit [2]float64
	for k, d := range side {
		across := Point{-d.Y, d.X}
		for i, f := range [2]*finder{&a, &b} {
			size[k][i] = Point{f.module, f.module}
			if ahead, behind, ok := s.reach(f.at, d, f.module, f.light); ok {
				size[k][i].X = (ahead + behind) / 7
			}
			if ahead, behind, ok := s.reach(f.at, across, f.module, f.light); ok {
				size[k][i].Y = (ahead + behind) / 7
			}
			fit[k] += likeness(s.f, f.at, d.times(size[k][i].X), across.times(size[k][i].Y), f.light)
		}
	}
	k := 0
	if fit[1] > fit[0] {
		k = 1
	}
	if fit[k] < 2*likely {
		return false
	}
	d := side[k]
	across := Point{-d.Y, d.X}
	module := size[k][0].plus(size[k][1]).times(0.5)
	if modules := length / module.X; modules < 10 || modules > 260 {
		return false
	}
	var guesses [4]Point
	n := 0
	if k == 0 {
		// Perspective makes what lies across shorter, as it does the modules.
		for _, from := range [2]int{0, 1} {
			at, m := a.at, size[0][from]
			if from == 1 {
				at = b.at
			}
			h := length * min(max(m.Y/m.X, 0.5), 2)
			guesses[n], guesses[n+1] = at.along(across, h), at.along(across, -h)
			n += 2
		}
	} else {
		// From a along one side as far as b is.
		u, v := line.X*d.X+line.Y*d.Y, line.X*across.X+line.Y*across.Y
		guesses[0], guesses[1] = a.at.along(d, u), a.at.along(across, v)
		n = 2
	}
	du, dv := d.times(module.X), across.times(module.Y)
	for _, g := range guesses[:n] {
		p, like := s.seekFinder(g, du, dv, 0.15*length/module.X+1, a.light)
		if like < leastLikeness {
			continue
		}
		c := finder{at: p, module: math.Sqrt(module.X * module.Y), light: a.light, seen: 1}
		three := []finder{a, b, c}
		best := triple{}
		for _, t := range arrange(three, 0, 1, 2) {
			if t.length > 0 && (best.length == 0 || t.doubt < best.doubt) {
				best = t
			}
		}
		if best.length > 0 && try([3]finder{three[best.top], three[best.right], three[best.bottom]}) {
			return true
		}
	}
	return false
}

// seekFinder finds where, at most radius modules from p, a finder pattern is
// seen best.
func (s *gridFit) seekFinder(p, du, dv Point, radius float64, light bool) (Point, float64) {
	radius = min(radius, 16)
	best, at := 0.0, p
	look := func(q Point) {
		if !inside(s.f, q, 0) {
			return
		}
		if like := likeness(s.f, q, du, dv, light); like > best {
			best, at = like, q
		}
	}
	for y := -radius; y <= radius; y += 0.75 {
		for x := -radius; x <= radius; x += 0.75 {
			look(p.along(du, x).along(dv, y))
		}
	}
	for step := 0.375; step > 0.1; step /= 2 {
		q := at
		for y := -1.0; y <= 1; y++ {
			for x := -1.0; x <= 1; x++ {
				look(q.along(du, x*step).along(dv, y*step))
			}
		}
	}
	return at, best
}
