package camera

import "greengate/scanner"

// A glance looks at the same number of points in a picture of any size, so
// that it costs the same for each: 24 rows of 40 cells, and 4 rows of 4 points
// in each cell. Cells of 32×30 pixels at 1280×720 are smaller than any code
// that can be read.
const (
	cellColumns, cellRows     = 40, 24
	pointColumns, pointRows   = 4, 4
	cells                     = cellColumns * cellRows
	cellPoints                = pointColumns * pointRows
	points                    = cells * cellPoints
	glanceWidth, glanceHeight = cellColumns * pointColumns, cellRows * pointRows
	// outliers is how many points at each end of the brightness are left out of
	// account: dead pixels and sparks of noise. A code of 2 % of the picture has
	// 300 points. Of the steepest edges fewer are, since a small code in front of a
	// smooth wall has few, and a picture is rather looked at in vain.
	outliers, edgeOutliers = 20, 4
	// far is how many pixels to each side of a point an edge is measured, to be
	// compared with the same edge over one.
	far = 8
)

// glance is what a cheap look at a picture shows: enough to tell that it is
// the one before again, or that no code can be in it.
type glance struct {
	// seen is false of a picture that is too small for a glance: it is looked
	// at whatever it holds.
	seen bool
	// sums of each cell's points.
	sums [cells]uint16
	Light
}

// Light is what a glance says of a picture's brightness, for whoever aims the
// camera and sets its lens.
type Light struct {
	// Mean brightness, 0 to 255.
	Mean int
	// Contrast is the difference between the brightest and the darkest, up to 255.
	Contrast int
	// Sharpness in percent is how much of the height of the steepest edges lies
	// within two pixels of sixteen: near 100 in focus, 20 when an edge is smeared
	// over a dozen pixels, and 13 where there are slopes and no edges.
	Sharpness int
}

// at glances at f.
func (g *glance) at(f scanner.Frame) {
	*g = glance{}
	if f.Width < 2*glanceWidth+2*far || f.Height < glanceHeight {
		return
	}
	g.seen = true
	var bright, near, wide [256]int
	total := 0
	stepX, stepY := (f.Width-2*far)/glanceWidth, f.Height/glanceHeight
	top := (f.Height - stepY*(glanceHeight-1)) / 2
	for row := range glanceHeight {
		line := f.Pix[(top+row*stepY)*f.Stride:][:f.Width]
		sums := g.sums[row/pointRows*cellColumns:][:cellColumns]
		// Each row begins elsewhere: a drawn code has all its edges in some columns.
		x := far + row%stepX
		for cell := range sums {
			sum := 0
			for range pointColumns {
				p := line[x]
				sum += int(p)
				bright[p]++
				near[apart(line[x-1], line[x+1])]++
				wide[apart(line[x-far], line[x+far])]++
				x += stepX
			}
			sums[cell] += uint16(sum)
			total += sum
		}
	}
	g.Mean = total / points
	g.Contrast = max(fromAbove(&bright, outliers)-fromBelow(&bright, outliers), 0)
	if step := fromAbove(&wide, outliers); step > 0 {
		g.Sharpness = min(100*fromAbove(&near, edgeOutliers)/step, 100)
	}
}

// apart is the distance between two brightnesses.
func apart(a, b byte) byte { return max(a, b) - min(a, b) }

// fromAbove is the largest value of a histogram but for so many that are left out.
func fromAbove(h *[256]int, left int) int {
	for v := 255; v > 0; v-- {
		if left -= h[v]; left < 0 {
			return v
		}
	}
	return 0
}

// fromBelow is the smallest value of a histogram but for so many that are left out.
func fromBelow(h *[256]int, left int) int {
	for v := range 255 {
		if left -= h[v]; left < 0 {
			return v
		}
	}
	return 255
}

// Differences between two glances at one scene come from noise. It is as large
// everywhere, while what moves is somewhere: so the typical cell says how much
// noise there is, and the farthest whether anything else happened.
const (
	// aboveNoise is how many times the median difference the farthest may be: the
	// largest of 960 normal differences is 3.3 σ, and the median is 0.67 σ.
	aboveNoise = 8
	// leastMove and mostNoise bound that, in levels.
	leastMove, mostNoise = 3, 16
)

// same reports whether b shows what g shows, within noise.
func (g *glance) same(b *glance) bool {
	if !g.seen || !b.seen {
		return false
	}
	// Every difference up to mostNoise, counted: the median needs no sorting.
	var count [mostNoise*cellPoints + 1]int
	farthest := 0
	for i := range g.sums {
		d := int(g.sums[i]) - int(b.sums[i])
		d = max(d, -d)
		if d >= len(count) {
			return false
		}
		count[d]++
		farthest = max(farthest, d)
	}
	if farthest <= leastMove*cellPoints {
		return true
	}
	median := 0
	for below := count[0]; below <= cells/2; below += count[median] {
		median++
	}
	return farthest <= aboveNoise*median
}
