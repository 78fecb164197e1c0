package qr

// Evidence returns the corners that were found of what is most likely a code,
// and not read, in the picture that was looked at last; false where there was
// no such thing.
func (r *Reader) Evidence() (corners [3]Point, ok bool) {
	// With fewer than three corners the combinations are those of an earlier picture.
	if len(r.codes) > 0 || len(r.search.found) < 3 || len(r.triples) == 0 {
		return corners, false
	}
	t := r.triples[0]
	for i, n := range [3]int{t.top, t.right, t.bottom} {
		corners[i] = r.search.found[n].at
	}
	return corners, true
}
