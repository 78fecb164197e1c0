package qr

import "greengate/scanner"

// region is a part of a picture.
type region struct{ left, top, right, bottom int }

// cut is the part of f that lies in it.
func (g region) cut(f scanner.Frame) scanner.Frame {
	f.Pix = f.Pix[g.top*f.Stride+g.left:]
	f.Width, f.Height = g.right-g.left, g.bottom-g.top
	return f
}

// maxEvidence is how many finders, those that most rows crossed, are looked at
// for whether they are.
const maxEvidence = 48

// loneReach is how many modules around a finder without its like are looked at.
const loneReach = 80

// evidence is where in a picture there may be a code that was not read: around
// two finder patterns of a kind, or one that more than one row crossed. Nothing else is reason to look twice,
// or an empty picture would cost as much as a full one.
func evidence(f *scanner.Frame, found []finder) (g region, ok bool) {
	g = region{f.Width, f.Height, 0, 0}
	n := 0
	var kept [maxEvidence]*finder
	for i := range found[:min(len(found), maxEvidence)] {
		if sure(f, &found[i]) {
			kept[n] = &found[i]
			n++
		}
	}
	for i, a := range kept[:n] {
		// As far as the furthest of its like that one code can have.
		reach := 0.0
		for j, b := range kept[:n] {
			if i != j && alike(a, b) {
				if d := a.at.distance(b.at); d < 250*a.module {
					reach = max(reach, d)
				}
			}
		}
		switch {
		case reach > 0:
			reach = 1.2*reach + 12*a.module
		case a.seen > 1:
			reach = loneReach * a.module
		default:
			continue
		}
		ok = true
		g.left, g.right = min(g.left, int(a.at.X-reach)), max(g.right, int(a.at.X+reach))
		g.top, g.bottom = min(g.top, int(a.at.Y-reach)), max(g.bottom, int(a.at.Y+reach))
	}
	g.left, g.top = max(g.left, 0), max(g.top, 0)
	g.right, g.bottom = min(g.right, f.Width), min(g.bottom, f.Height)
	return g, ok && g.right-g.left >= minSide && g.bottom-g.top >= minSide
}

// retry looks again, in other ways, at where there seems to be a code.
func (r *Reader) retry(f scanner.Frame, v view, nearest bool) {
	r.fusion.again = true
	g, ok := evidence(&r.frame, r.search.found)
	if ok {
		r.unread = r.unreadIn(g, v)
	}
	if r.denoise(f, v, nearest) || !ok {
		return
	}
	part := g.cut(f)
	v.left, v.top = v.left+float64(g.left)*v.factor, v.top+float64(g.top)*v.factor
	for _, look := range [...]func() bool{
		// Shadows: what is dark on the light side may be light on the other.
		func() bool {
			r.levels.local = true
			defer func() { r.levels.local = false }()
			return r.again(part, v, nearest)
		},
		// Moiré, and modules so large that their grain is seen.
		func() bool {
			if part.Width < 4*minSide || part.Height < 4*minSide || !r.budget.spend(part.Width*part.Height/2) {
				return false
			}
			w := v
			w.factor *= 2
			return r.again(r.halve(part), w, nearest)
		},
		// Defocus and movement.
		func() bool {
			if !r.budget.spend(2 * part.Width * part.Height) {
				return false
			}
			return r.again(r.sharp.of(part), v, nearest)
		},
	} {
		if look() {
			return
		}
	}
}

// again looks at a part of a picture and reports whether that ends it.
func (r *Reader) again(f scanner.Frame, v view, nearest bool) bool {
	if !r.budget.spend(f.Width * f.Height / 2) {
		return true
	}
	r.pass(f, v, nearest)
	return len(r.codes) > 0
}

// halve makes f half as large, each pixel the mean of four.
func (r *Reader) halve(f scanner.Frame) scanner.Frame {
	w, h := f.Width/2, f.Height/2
	if cap(r.half) < w*h {
		r.half = make([]byte, w*h)
	}
	out := r.half[:w*h]
	for y := range h {
		a, b := f.Pix[2*y*f.Stride:][:2*w], f.Pix[(2*y+1)*f.Stride:][:2*w]
		for x := range out[y*w:][:w] {
			out[y*w+x] = byte((uint(a[2*x]) + uint(a[2*x+1]) + uint(b[2*x]) + uint(b[2*x+1]) + 2) >> 2)
		}
	}
	return scanner.Frame{Pix: out, Stride: w, Width: w, Height: h}
}

// sharpener adds to each pixel what sets it off from the 25 around it, twice.
type sharpener struct {
	pix  []byte
	sums []int32 // of each column, five rows
}

const sharpRadius = 2

func (s *sharpener) of(f scanner.Frame) scanner.Frame {
	w, h := f.Width, f.Height
	if cap(s.pix) < w*h {
		s.pix = make([]byte, w*h)
	}
	if cap(s.sums) < w+2*sharpRadius {
		s.sums = make([]int32, w+2*sharpRadius)
	}
	out, sums := s.pix[:w*h], s.sums[:w+2*sharpRadius]
	clear(sums)
	row := func(y int) []byte {
		y = min(max(y, 0), h-1)
		return f.Pix[y*f.Stride:][:w]
	}
	middle := sums[sharpRadius:][:w]
	for y := -sharpRadius; y <= sharpRadius; y++ {
		for x, p := range row(y) {
			middle[x] += int32(p)
		}
	}
	for y := range h {
		if y > 0 {
			gone := row(y - 1 - sharpRadius)
			for x, p := range row(y + sharpRadius) {
				middle[x] += int32(p) - int32(gone[x])
			}
		}
		for i := range sharpRadius {
			sums[i], sums[len(sums)-1-i] = middle[0], middle[w-1]
		}
		var sum int32
		for _, v := range sums[:2*sharpRadius] {
			sum += v
		}
		to, in := out[y*w:][:w], row(y)
		for x := range to {
			sum += sums[x+2*sharpRadius]
			// 5243 is 2¹⁷ over 25.
			v := 3*int32(in[x]) - 2*(sum*5243>>17)
			to[x] = byte(min(max(v, 0), 255))
			sum -= sums[x]
		}
	}
	return scanner.Frame{Pix: out, Stride: w, Width: w, Height: h}
}

// view says where what is looked at lies in the picture.
type view struct {
	left, top float64
	factor    float64 // pixels of the picture in one of it
}

// of moves a point of what is looked at into the picture.
func (v view) of(p Point) Point { return Point{v.left + v.factor*p.X, v.top + v.factor*p.Y} }

// back is the view the other way round.
func (v view) back() view { return view{-v.left / v.factor, -v.top / v.factor, 1 / v.factor} }
