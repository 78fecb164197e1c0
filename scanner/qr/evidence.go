package qr

// Evidence returns two opposite corners of where in the picture that was looked
// at last a code was found and not read; false where there was no such thing.
func (r *Reader) Evidence() (from, to Point, ok bool) {
	return r.unread[0], r.unread[1], r.unread[0] != r.unread[1]
}

// unreadIn is where in g, which v places in the picture, there is a code: within
// the three corners that look most like one, else somewhere in all of g.
func (r *Reader) unreadIn(g region, v view) [2]Point {
	from, to := Point{float64(g.left), float64(g.top)}, Point{float64(g.right), float64(g.bottom)}
	// With fewer than three corners the combinations are those of an earlier picture.
	if found := r.search.found; len(found) >= 3 && len(r.triples) > 0 {
		t := r.triples[0]
		from, to = to, from
		for _, n := range [3]int{t.top, t.right, t.bottom} {
			f, half := found[n], 3.5*found[n].module
			from = Point{min(from.X, f.at.X-half), min(from.Y, f.at.Y-half)}
			to = Point{max(to.X, f.at.X+half), max(to.Y, f.at.Y+half)}
		}
	}
	return [2]Point{v.of(from), v.of(to)}
}

// unreadOn is where the code lies that was seen best and not read.
func (s *fusion) unreadOn(origin Point) [2]Point {
	o := s.best.outline()
	from, to := o[0], o[0]
	for _, p := range o[1:] {
		from = Point{min(from.X, p.X), min(from.Y, p.Y)}
		to = Point{max(to.X, p.X), max(to.Y, p.Y)}
	}
	return [2]Point{from.minus(origin), to.minus(origin)}
}
