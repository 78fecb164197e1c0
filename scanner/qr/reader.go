package qr

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"greengate/scanner"
)

// ErrNoCode is a picture without a QR code that can be read. Most pictures of
// a camera are.
var ErrNoCode = errors.New("no readable QR code")

const (
	// maxPixels is the size above which a picture is made smaller first, by
	// whole factors: time grows with the pixels.
	maxPixels = 1 << 24
	// maxCodes is how many codes of a picture are read.
	maxCodes = 8
	// maxTries is how many combinations of finders are looked at that turn out
	// to be no code, and maxGlances how many before all rows were searched.
	maxTries   = 12
	maxGlances = 2
)

// Code is a QR code that was read.
type Code struct {
	// Payload is what the code says.
	Payload []byte
	// Corners are its outer corners as it is seen: top left, top right, bottom
	// right and bottom left of the code as it is printed. Those of a mirrored
	// code run the other way round.
	Corners [4]Point
	// Size is its mean side in pixels: the nearest code has the largest.
	Size float64
	// Version from 1 to 40: how many modules it has.
	Version int
	// Inverted is a code printed light on dark.
	Inverted bool
	// Mirrored is a code seen in a mirror or from behind.
	Mirrored bool
}

// Reader reads QR codes from pictures. The zero value is ready. It is for one
// goroutine: it keeps its working memory.
type Reader struct {
	// Budget is the longest time that a picture may take. Zero is no limit: the
	// work itself has one, that of a few looks at the whole picture.
	Budget time.Duration
	// Now is the clock that Budget is held against. Nil is time.Now.
	Now func() time.Time
	// Origin is where the top left corner of the next picture lies, if it is a
	// part of a larger one: what follows each other is held against each other.
	Origin Point

	budget  budget
	frame   scanner.Frame // what is being looked at
	small   []byte
	half    []byte
	sharp   sharpener
	levels  thresholdMap
	search  finderSearch
	fit     gridFit
	triples []triple
	grid    grid
	tracker tracker
	used    [maxFinders]int8 // what codes that were read say of the finders
	raw     modules
	equal   modules
	soft    softModules
	symbols symbolReader
	codes   []Code
	unread  [2]Point // Evidence's
	fusion  fusion
}

// Forget drops what the pictures so far have told about the next. The memory is
// kept.
func (r *Reader) Forget() { r.fusion.forget() }

// Decode returns the payload of the nearest QR code in f, or an error that
// wraps ErrNoCode, or scanner.ErrFrame when f's sizes do not fit.
func (r *Reader) Decode(f scanner.Frame) ([]byte, error) {
	codes, err := r.look(f, true)
	if err != nil {
		return nil, err
	}
	return codes[0].Payload, nil
}

// Read returns the QR codes in f, the nearest first, or an error that wraps
// ErrNoCode, or scanner.ErrFrame when f's sizes do not fit. The slice is good
// until the next call; the payloads are the caller's.
func (r *Reader) Read(f scanner.Frame) ([]Code, error) { return r.look(f, false) }

// errMiss is ErrNoCode for a picture in which nothing more is to be said: made
// once, so that an empty picture costs no memory.
var errMiss = fmt.Errorf("%w: nothing found", ErrNoCode)

// look reads the nearest code, or all.
func (r *Reader) look(f scanner.Frame, nearest bool) (codes []Code, err error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	// What is looked at here is what a stranger holds up.
	defer func() {
		if p := recover(); p != nil {
			codes, err = nil, fmt.Errorf("%w: reader panicked: %v", ErrNoCode, p)
		}
	}()
	r.codes, r.unread = r.codes[:0], [2]Point{}
	r.budget.start(r.Budget, r.Now, f.Width*f.Height)
	f, factor := r.shrink(f)
	if f.Width < minSide || f.Height < minSide {
		return nil, errMiss
	}
	v := view{factor: float64(factor)}
	r.fusion.begin()
	r.pass(f, v, nearest)
	whole := view{r.Origin.X, r.Origin.Y, v.factor}
	if len(r.codes) == 0 && !(r.fusion.any() && r.fuse(f, whole)) {
		r.retry(f, v, nearest)
	}
	if len(r.codes) == 0 && !r.fuse(f, whole) {
		if r.fusion.known > 0 && r.unread[0] == r.unread[1] {
			r.unread = r.fusion.unreadOn(r.Origin)
		}
		return nil, errMiss
	}
	r.unread = [2]Point{}
	slices.SortStableFunc(r.codes, func(a, b Code) int { return cmp.Compare(b.Size, a.Size) })
	return r.codes, nil
}

// pass looks once for codes in f, which v places in the picture.
func (r *Reader) pass(f scanner.Frame, v view, nearest bool) {
	r.frame = f
	r.fusion.view = view{v.left + r.Origin.X, v.top + r.Origin.Y, v.factor}
	r.levels.build(f)
	s := &r.search
	s.start(f, &r.levels)
	r.fit = gridFit{f: &r.frame, levels: &r.levels}
	r.tracker.f, r.tracker.levels = &r.frame, &r.levels
	if nearest && len(r.codes) == 0 {
		// The nearest code is large: mostly every other row will do. A code that
		// is read so may be smaller than one beside it whose modules are below
		// two thirds of the distance of these rows.
		r.rows(s.step/2, 2*s.step)
		if r.flat(v, nearest, maxGlances); len(r.codes) > 0 {
			return
		}
		r.rows(s.step/2+s.step, 2*s.step)
	} else {
		r.rows(s.step/2, s.step)
	}
	if r.flat(v, nearest, maxTries); len(s.found) < 2 {
		return
	}
	if len(r.codes) == 0 {
		r.each(v, nearest, maxCurves, (*Reader).readBent)
	}
	if len(r.codes) == 0 {
		r.fit.missing(s.found, &r.budget, func(three [3]finder) bool {
			code, ok := r.read(three)
			if !ok {
				code, ok = r.readBent(three)
			}
			if ok {
				r.keep(code.in(v), nearest)
			}
			return ok
		})
	}
}

// rows looks for finders along every by-th row.
func (r *Reader) rows(from, by int) {
	s := &r.search
	for y := from; y < s.f.Height && r.budget.spend(s.f.Width+checkWork*s.checks) && len(s.found) < maxFinders; y += by {
		s.row(y)
	}
}

// flat reads the codes that lie flat of what the search has found, until so many
// were none.
func (r *Reader) flat(v view, nearest bool, tries int) {
	s := &r.search
	s.found = thin(&r.frame, s.found)
	r.triples = triples(s.found, r.triples)
	clear(r.used[:])
	r.each(v, nearest, tries, (*Reader).read)
}

// each reads the codes of the triples, until so many of them were none.
func (r *Reader) each(v view, nearest bool, tries int, read func(*Reader, [3]finder) (Code, bool)) {
	found := r.search.found
	for _, t := range r.triples {
		if in := r.used[t.top]; in == ofCode || r.used[t.right] != in || r.used[t.bottom] != in || in > 0 && !r.nested(t) {
			continue
		}
		if nearest && len(r.codes) > 0 && t.length*v.factor < r.codes[0].Size {
			continue
		}
		if tries == 0 || !r.budget.spend(tripleWork) {
			return
		}
		code, ok := read(r, [3]finder{found[t.top], found[t.right], found[t.bottom]})
		if !ok {
			tries--
			continue
		}
		for i, p := range found {
			if surrounds(&code.Corners, p.at) {
				r.used[i] = withinIt + int8(len(r.codes))
			}
		}
		r.used[t.top], r.used[t.right], r.used[t.bottom] = ofCode, ofCode, ofCode
		if r.keep(code.in(v), nearest); len(r.codes) == maxCodes {
			return
		}
	}
}

// What codes that were read say of a finder: it is a corner of one, or lies
// within the first, second and so on.
const (
	ofCode   = -1
	withinIt = 1
)

// nested reports whether three finders within a code may be those of another,
// which some print into it: not the chance patterns of its data.
func (r *Reader) nested(t triple) bool {
	for _, i := range [3]int{t.top, t.right, t.bottom} {
		if p := &r.search.found[i]; p.seen < 2 || !sure(&r.frame, p) {
			return false
		}
	}
	return true
}

// in is a code of what was looked at, as it is in the picture.
func (c Code) in(v view) Code {
	for i, p := range c.Corners {
		c.Corners[i] = v.of(p)
	}
	c.Size *= v.factor
	return c
}

// keep adds a code, or puts it in the place of one that is further away.
func (r *Reader) keep(c Code, nearest bool) {
	if nearest && len(r.codes) > 0 {
		if c.Size > r.codes[0].Size {
			r.codes[0] = c
		}
		return
	}
	r.codes = append(r.codes, c)
}

// surrounds reports whether p is within the corners of a code, seen from either
// side.
func surrounds(corners *[4]Point, p Point) bool {
	left, right := false, false
	for i, a := range corners {
		side := corners[(i+1)%4].minus(a).cross(p.minus(a))
		left, right = left || side < 0, right || side > 0
	}
	return left != right
}

// read reads the code with those three corners, if there is one and it lies
// flat.
func (r *Reader) read(found [3]finder) (Code, bool) {
	g := &r.grid
	if !r.fit.fit(&found, g) {
		return Code{}, false
	}
	timing := g.timing
	if code, ok := r.readGrid(g, true, false); ok {
		return code, true
	}
	if timing < 0.6 || g.side > 45 || !r.fit.fit(&found, g) {
		return Code{}, false
	}
	// What looked like an alignment pattern may have bent the grid.
	return r.readGrid(g, false, false)
}

// readBent reads the code with those three corners, if there is one that is
// bent.
func (r *Reader) readBent(found [3]finder) (Code, bool) {
	g := &r.grid
	fits := r.fit.fit(&found, g)
	if g.likely() && r.budget.spend(curveWork) && r.fit.curve(g) {
		if code, ok := r.readGrid(g, false, true); ok {
			return code, true
		}
	}
	if !fits || !r.fit.fit(&found, g) || g.timing < 0.4 {
		return Code{}, false
	}
	if code, ok := r.readGrid(g, true, false); ok || r.symbols.fit < goodFormat {
		return code, ok
	}
	return r.readGrid(g, true, true)
}

// readGrid reads the code that lies on a grid: bent to its alignment patterns,
// and followed to its modules.
func (r *Reader) readGrid(g *grid, bent, followed bool) (Code, bool) {
	l, err := r.symbols.layouts.of(g.version())
	if err != nil || !g.whole(&r.frame) {
		return Code{}, false
	}
	if bent {
		bend(&r.frame, g, l.centres)
	}
	payload, mirrored, ok := r.sample(&r.frame, g, l)
	if !ok && followed {
		payload, mirrored, ok = r.follow(&r.frame, g, l)
	}
	if !ok {
		return Code{}, false
	}
	return codeOn(g, payload, mirrored), true
}

// follow bends a grid to the modules, step by step, and reads what is there.
func (r *Reader) follow(f *scanner.Frame, g *grid, l *layout) (payload []byte, mirrored, ok bool) {
	nodes := (g.side/trackCell + 1) * (g.side/trackCell + 1)
	for range 3 {
		if !r.budget.spend(nodes * trackWork) {
			return nil, false, false
		}
		r.tracker.track(g)
		if payload, mirrored, ok = r.sample(f, g, l); ok {
			return payload, mirrored, true
		}
	}
	return nil, false, false
}

// codeOn is a code that was read off a grid.
func codeOn(g *grid, payload []byte, mirrored bool) Code {
	c := Code{Payload: payload, Corners: g.outline(), Version: g.version(), Inverted: g.light, Mirrored: mirrored}
	for i, p := range c.Corners {
		c.Size += p.distance(c.Corners[(i+1)%4]) / 4
	}
	if mirrored {
		c.Corners[1], c.Corners[3] = c.Corners[3], c.Corners[1]
	}
	return c
}

// sample reads the code off a grid: from the middles of the modules, from five
// places of each, which takes out noise, and with those equalised.
func (r *Reader) sample(f *scanner.Frame, g *grid, l *layout) (payload []byte, mirrored, ok bool) {
	if !r.budget.spend(g.side * g.side * sampleWork) {
		return nil, false, false
	}
	size := g.moduleSize()
	for _, off := range [2]float64{0, 0.22 * size} {
		if off > 0 && size < fineModule {
			break
		}
		sampleModules(f, g, off, &r.raw)
		r.soft.judge(&r.raw)
		payload, mirrored, err := r.symbols.decode(&r.soft, off > 0)
		if err == nil {
			if !mirrored {
				r.fusion.read(g, l, &r.soft, off == 0)
			}
			return payload, mirrored, true
		}
		if r.symbols.fit < leastFormat {
			break // no noise does that
		}
	}
	r.fusion.offer(g, l, &r.soft)
	if !equalise(&r.raw, &r.equal, l.known) {
		return nil, false, false
	}
	r.soft.judge(&r.equal)
	payload, mirrored, err := r.symbols.decode(&r.soft, true)
	if err == nil && !mirrored {
		r.fusion.read(g, l, &r.soft, false)
	}
	return payload, mirrored, err == nil
}

// shrink makes a frame of more than maxPixels smaller by the least whole
// factor, each pixel the mean of a square.
func (r *Reader) shrink(f scanner.Frame) (scanner.Frame, int) {
	k := 1
	for (f.Width/k)*(f.Height/k) > maxPixels {
		k++
	}
	if k == 1 {
		return f, 1
	}
	w, h := f.Width/k, f.Height/k
	if cap(r.small) < w*h {
		r.small = make([]byte, w*h)
	}
	out := r.small[:w*h]
	for y := range h {
		for x := range w {
			sum := 0
			for dy := range k {
				row := f.Pix[(y*k+dy)*f.Stride+x*k:][:k]
				for _, p := range row {
					sum += int(p)
				}
			}
			out[y*w+x] = byte(sum / (k * k))
		}
	}
	return scanner.Frame{Pix: out, Stride: w, Width: w, Height: h}, k
}
