package qr

import (
	"math"

	"greengate/scanner"
)

// Fusion reads a code off several pictures of which none can be read by itself:
// a reflection wanders over it, or noise turns other modules around each time.
// What each picture says of a module, and how surely, is added up, and the sum
// is decoded (soft combining, as of repeated packets in radio).
const (
	// maxStacks is how many codes are known of at a time that were found and not
	// read: a permit beside a health code, or the next telephone.
	maxStacks = 2
	// maxIdle is how many pictures in a row may show nothing of a code before it
	// is forgotten: about half a second.
	maxIdle = 15
	// leastKnown is how well, of 1, the modules that every code has must be seen
	// for a grid to count as lying on a code.
	leastKnown = 0.65
	// leastAlike is the correlation from which two pictures may show the same
	// code. Two codes have none, but for what they say alike.
	leastAlike = 0.3
	// sureModule is what a module is worth that is surely dark, in one picture.
	sureModule = 256
	// fade is how slowly old pictures lose their weight: one part in so many each
	// picture.
	fade = 16
	// fineContrast is the contrast of modules with their surroundings, in steps of
	// brightness, from which they have all their weight.
	fineContrast = 20
	// glaring is the brightness from which a module may be any.
	glaring = 250
)

// sighting is a code as one picture shows it.
type sighting struct {
	grid  grid
	known float64 // how well the modules that are known were seen
	v     []int16 // as of softModules, in parts of sureModule
}

// stack is what several pictures say of a code.
type stack struct {
	grid grid // where it was seen last, in pixels of the camera
	sum  []int16
	n    int // pictures; 0 is an empty stack
	idle int // pictures since the last
}

// fusion holds what earlier pictures have shown and not told.
type fusion struct {
	stacks [maxStacks]stack
	// best is the grid of this picture on which most was seen and nothing read,
	// in pixels of the camera.
	best  grid
	known float64 // of best; 0 is none
	view  view    // of what is being looked at in the camera's picture
	again bool    // it is not the first look
	seen  sighting
	marks []mark
}

// forget drops what was seen, and keeps its memory.
func (s *fusion) forget() {
	for i := range s.stacks {
		s.stacks[i].n = 0
	}
}

// begin begins a picture.
func (s *fusion) begin() {
	s.known, s.again = 0, false
	for i := range s.stacks {
		if st := &s.stacks[i]; st.n > 0 {
			if st.idle++; st.idle > maxIdle {
				st.n = 0
			}
		}
	}
}

// any reports whether there is a stack.
func (s *fusion) any() bool {
	for i := range s.stacks {
		if s.stacks[i].n > 0 {
			return true
		}
	}
	return false
}

// offer takes note of a grid on which a code lies that could not be read.
func (s *fusion) offer(g *grid, l *layout, soft *softModules) {
	if known := seenOf(soft.v, l.known); known >= leastKnown && known > s.known {
		s.known, s.best = known, *g
		s.best.move(s.view)
	}
}

// read takes note of a code that was read: the next picture of it may be
// harder. One that was easy to read and has no stack yet is not worth one.
func (s *fusion) read(g *grid, l *layout, soft *softModules, easy bool) {
	if easy && !s.again && !s.any() {
		return
	}
	v := &s.seen
	v.grid = *g
	v.grid.move(s.view)
	v.fit(len(soft.v))
	scale := soft.scale()
	for i, m := range soft.v {
		v.v[i] = bounded(sureModule * int(m) / scale)
	}
	s.stackOf(v, l).add(v)
}

// seenOf is how well the modules that are known were seen, up to 1.
func seenOf(v []int16, known []knownModule) float64 {
	sum, all := 0, 0
	for _, k := range known {
		m := int(v[k.at])
		all += abs(m)
		if k.dark {
			sum += m
		} else {
			sum -= m
		}
	}
	return float64(sum) / float64(max(all, 1))
}

// bounded keeps a module from being worth more than one and a half sure ones.
func bounded(v int) int16 { return int16(min(max(v, -sureModule*3/2), sureModule*3/2)) }

// fuse adds what this picture shows to what earlier ones did, and reads the sum.
// F is what is looked at, and v places it in the camera's picture.
func (r *Reader) fuse(f scanner.Frame, v view) bool {
	s := &r.fusion
	if s.known > 0 {
		g := s.best
		g.move(v.back())
		if r.register(&f, &g, nil, nearReach) && r.observe(&f, &g, v) {
			l := r.symbols.layouts[g.version()]
			if st := s.stackOf(&s.seen, l); st.n == 0 || st.idle > 0 {
				if st.add(&s.seen); r.unstack(st) {
					return true
				}
			}
		}
	}
	for i := range s.stacks {
		st := &s.stacks[i]
		if st.n == 0 || st.idle == 0 {
			continue // nothing, or it has this picture already
		}
		g := st.grid
		g.move(v.back())
		if !r.register(&f, &g, st.sum, farReach) || !r.observe(&f, &g, v) {
			continue
		}
		if correlation(s.seen.v, st.sum, r.symbols.layouts[g.version()].order) < leastAlike {
			continue
		}
		if st.add(&s.seen); r.unstack(st) {
			return true
		}
	}
	return false
}

// observe takes into seen what lies on g, and reports whether that is a code.
func (r *Reader) observe(f *scanner.Frame, g *grid, v view) bool {
	l, err := r.symbols.layouts.of(g.version())
	if err != nil || !g.whole(f) || !r.budget.grant(g.side*g.side*sampleWork) {
		return false
	}
	sampleModules(f, g, 0.22*g.moduleSize(), &r.raw)
	r.soft.judge(&r.raw)
	s := &r.fusion.seen
	s.known = seenOf(r.soft.v, l.known)
	if s.known < leastKnown {
		return false
	}
	if equalise(&r.raw, &r.equal, l.known) {
		r.soft.judge(&r.equal)
	}
	s.grid = *g
	s.weigh(&r.soft, &r.raw)
	s.grid.move(v)
	return true
}

// fit makes room for so many modules.
func (s *sighting) fit(n int) {
	if cap(s.v) < n {
		s.v = make([]int16, n)
	}
	s.v = s.v[:n]
}

// weigh takes soft modules in parts of what those around differ by, and lowers
// the weight of what glares or has no contrast. What is around is looked at for
// squares of modules at once.
func (s *sighting) weigh(soft *softModules, raw *modules) {
	s.fit(len(soft.v))
	const square = 4
	d, pitch := soft.side, soft.pitch()
	for y0 := 1; y0 <= d; y0 += square {
		for x0 := 1; x0 <= d; x0 += square {
			spread, bright, n := 0, 0, 0
			for y := max(1, y0-around+2); y <= min(d, y0+around+1); y += 2 {
				for x := max(1, x0-around+2); x <= min(d, x0+around+1); x += 2 {
					spread += abs(int(soft.v[y*pitch+x]))
					bright += int(raw.v[y*pitch+x])
					n++
				}
			}
			spread, bright = spread/n, s.brightness(bright/n)
			weight := min(spread, fineContrast*unit)
			for y := y0; y < min(y0+square, d+1); y++ {
				for x := x0; x < min(x0+square, d+1); x++ {
					at := y*pitch + x
					v := int(bounded(sureModule*int(soft.v[at])/(spread+4*unit))) * weight / (fineContrast * unit)
					if bright > 200*unit && s.brightness(int(raw.v[at])) >= glaring*unit {
						v /= 10
					}
					s.v[at] = int16(v)
				}
			}
		}
	}
}

// brightness of a module as it is in the picture.
func (s *sighting) brightness(v int) int {
	if s.grid.light {
		return 255*unit - v
	}
	return v
}

// correlation of two pictures' data.
func correlation(a, b []int16, order []uint16) float64 {
	var ab, aa, bb int64
	for _, at := range order {
		x, y := int64(a[at]), int64(b[at])
		ab += x * y
		aa += x * x
		bb += y * y
	}
	return float64(ab) / math.Sqrt(max(float64(aa)*float64(bb), 1))
}

// stackOf is the stack of the code that was seen, or an empty one.
func (s *fusion) stackOf(seen *sighting, l *layout) *stack {
	best, most := -1, leastAlike
	worst := 0
	for i := range s.stacks {
		st := &s.stacks[i]
		if w := &s.stacks[worst]; st.n == 0 || w.n > 0 && (st.idle > w.idle || st.idle == w.idle && st.n < w.n) {
			worst = i
		}
		if st.n == 0 || st.grid.side != seen.grid.side || st.grid.light != seen.grid.light {
			continue
		}
		if c := correlation(seen.v, st.sum, l.order); c >= most {
			best, most = i, c
		}
	}
	if best >= 0 {
		return &s.stacks[best]
	}
	s.stacks[worst].n = 0
	return &s.stacks[worst]
}

// add adds a picture.
func (st *stack) add(seen *sighting) {
	st.grid, st.idle = seen.grid, 0
	if st.n == 0 {
		if cap(st.sum) < len(seen.v) {
			st.sum = make([]int16, len(seen.v))
		}
		st.sum = st.sum[:len(seen.v)]
		clear(st.sum)
	}
	st.n++
	for i, v := range seen.v {
		st.sum[i] += v - st.sum[i]/fade
	}
}

// unstack reads what was added up, if this picture bears it out: the blocks of
// a code are repaired each by itself, and of two codes that were taken for one,
// one could give this block and one that.
func (r *Reader) unstack(st *stack) bool {
	if st.n < 2 {
		return false
	}
	r.soft.fit(st.grid.side)
	copy(r.soft.v, st.sum)
	payload, mirrored, err := r.symbols.decode(&r.soft, true)
	if err != nil {
		return false
	}
	seen := r.fusion.seen.v
	copy(r.soft.v, seen)
	if mirrored {
		r.soft.transpose()
	}
	if !r.symbols.bears(r.soft.v) {
		st.n = 0
		st.add(&r.fusion.seen)
		return false
	}
	g := st.grid
	g.move(view{left: -r.Origin.X, top: -r.Origin.Y, factor: 1})
	r.codes = append(r.codes, codeOn(&g, payload, mirrored))
	return true
}

const (
	// leastBorne is how well a picture must show a code that was read with it.
	leastBorne = 0.75
	// evenly is by how many standard deviations the blocks of a code may differ in
	// how well they are seen: they lie between each other, so that light and
	// shadow fall on all alike.
	evenly = 5
)

// bears reports whether v shows the code that was decoded last, each of its
// blocks as well as the others.
func (r *symbolReader) bears(v []int16) bool {
	l := r.laid
	interleave(r.last, func(code, block int) { r.words[code] = r.blocks[block] })
	// Which block a codeword is of.
	r.order = r.order[:0]
	blocks, _ := eachBlock(r.last, func(i, start, _ int) {
		for len(r.order) < start {
			r.order = append(r.order, i-1)
		}
	})
	for len(r.order) < len(r.words) {
		r.order = append(r.order, blocks-1)
	}
	var of [maxBlocks]struct{ sum, all, squares int }
	interleave(r.last, func(code, block int) {
		b := &of[r.order[block]]
		word, masks := r.words[code], l.masks[8*code:8*code+8]
		for k, at := range l.order[8*code : 8*code+8] {
			m := int(v[at])
			b.all += abs(m)
			b.squares += m * m
			if word>>(7-k)&1^masks[k]>>r.mask&1 == 0 {
				m = -m
			}
			b.sum += m
		}
	})
	sum, all := 0, 0
	least, most, variance := 1.0, -1.0, 0.0
	for _, b := range of[:blocks] {
		n := float64(max(b.all, 1))
		c := float64(b.sum) / n
		least, most = min(least, c), max(most, c)
		variance += (1 - c*c) * float64(b.squares) / (n * n) / float64(blocks)
		sum, all = sum+b.sum, all+b.all
	}
	return float64(sum) >= leastBorne*float64(all) && all > 0 && most-least <= evenly*math.Sqrt(variance)
}
