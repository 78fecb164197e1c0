package qr

import (
	"math"
	"slices"
)

const (
	// maxCorners is how many finders, those that most rows crossed, are combined
	// into codes: every three of them are looked at.
	maxCorners = 40
	// maxTriples is how many combinations are kept.
	maxTriples = 48
)

// triple is three finders that may be the corners of one code.
type triple struct {
	top, right, bottom int // top left, top right, bottom left
	// doubt grows with what is unlike a code seen from the front.
	doubt float64
	// length is the longer side in pixels.
	length float64
}

// triples finds the combinations of three finders that look most like a code,
// best first.
func triples(found []finder, out []triple) []triple {
	out = out[:0]
	slices.SortStableFunc(found, func(a, b finder) int { return b.seen - a.seen })
	found = found[:min(len(found), maxCorners)]
	for i := range found {
		for j := i + 1; j < len(found); j++ {
			if !alike(&found[i], &found[j]) {
				continue
			}
			for k := j + 1; k < len(found); k++ {
				if !alike(&found[i], &found[k]) || !alike(&found[j], &found[k]) {
					continue
				}
				for _, t := range arrange(found, i, j, k) {
					if t.length == 0 || len(out) == maxTriples && t.doubt >= out[maxTriples-1].doubt {
						continue
					}
					at, _ := slices.BinarySearchFunc(out, t, func(a, b triple) int {
						if a.doubt <= b.doubt {
							return -1
						}
						return 1
					})
					out = slices.Insert(out[:min(len(out), maxTriples-1)], at, t)
				}
			}
		}
	}
	return out
}

// alike reports whether two finders may be of one code.
func alike(a, b *finder) bool {
	return a.light == b.light && a.module < 2.3*b.module && b.module < 2.3*a.module
}

// arrange puts three finders in their order: the longest side is opposite the
// top left one, or, seen from far aside, one that is nearly as long. What is no
// code has no length.
func arrange(found []finder, i, j, k int) (t [3]triple) {
	square := func(a, b int) float64 {
		d := found[a].at.minus(found[b].at)
		return d.X*d.X + d.Y*d.Y
	}
	ij, ik, jk := square(i, j), square(i, k), square(j, k)
	longest := max(ij, ik, jk)
	for n, corner := range [3]struct {
		a, b, c  int
		opposite float64
	}{{i, j, k, jk}, {j, i, k, ik}, {k, i, j, ij}} {
		if corner.opposite >= 0.7*longest {
			t[n] = angle(found, corner.a, corner.b, corner.c)
			t[n].doubt += 0.8 * (1 - corner.opposite/longest)
		}
	}
	return t
}

// angle makes a triple of which a is the top left.
func angle(found []finder, a, b, c int) triple {
	p, q, r := &found[a], &found[b], &found[c]
	u, v := q.at.minus(p.at), r.at.minus(p.at)
	module := (p.module + q.module + r.module) / 3
	uu, vv := u.X*u.X+u.Y*u.Y, v.X*v.X+v.Y*v.Y
	short, long := min(uu, vv), max(uu, vv)
	if short < 100*module*module || long > 40000*module*module {
		return triple{}
	}
	ratio := math.Sqrt(long / short)
	cos := math.Abs(u.X*v.X+u.Y*v.Y) / math.Sqrt(uu*vv)
	if cos > 0.75 || ratio > 2.2 {
		return triple{}
	}
	if u.cross(v) < 0 {
		b, c = c, b
	}
	small, large := min(p.module, q.module, r.module), max(p.module, q.module, r.module)
	seen := min(p.seen, 4) + min(q.seen, 4) + min(r.seen, 4)
	return triple{a, b, c,
		cos + 0.7*(ratio-1) + 0.8*(large/small-1) - 0.06*float64(seen),
		math.Sqrt(long)}
}
