package qr

import "greengate/scanner"

// unit is one brightness step in a module's value: enough for what lies between
// two pixels.
const unit = 16

// modules are the values of a code's modules as they were sampled, brightness
// times unit, with one module of what is around the code on each side. A code
// printed light on dark is turned around: dark is always small.
type modules struct {
	side int
	v    []int16
}

// pitch is the length of a row with its margins.
func (m *modules) pitch() int { return m.side + 2 }

// fit makes room for a code of that side.
func (m *modules) fit(side int) {
	m.side = side
	if n := (side + 2) * (side + 2); cap(m.v) < n {
		m.v = make([]int16, n)
	} else {
		m.v = m.v[:n]
	}
}

// grey is the brightness times unit at a point given in 1/256 pixels, between
// the four pixels around it. Outside, the picture goes on as its edge is.
func grey(f *scanner.Frame, x, y int) int {
	x, y = x-128, y-128
	xi, yi := x>>8, y>>8
	if uint(xi) >= uint(f.Width-1) || uint(yi) >= uint(f.Height-1) {
		x = min(max(x, 0), (f.Width-1)<<8-1)
		y = min(max(y, 0), (f.Height-1)<<8-1)
		xi, yi = x>>8, y>>8
	}
	x, y = x&0xff, y&0xff
	i := yi*f.Stride + xi
	a := f.Pix[i : i+2 : i+2]
	b := f.Pix[i+f.Stride : i+f.Stride+2 : i+f.Stride+2]
	top := int(a[0])<<8 + x*(int(a[1])-int(a[0]))
	bottom := int(b[0])<<8 + x*(int(b[1])-int(b[0]))
	return (top<<8 + y*(bottom-top)) >> 12
}

// greyAt is grey at a Point.
func greyAt(f *scanner.Frame, p Point) int { return grey(f, int(p.X*256), int(p.Y*256)) }

// fineModule is the size in pixels from which a module can be looked at in more
// than one place.
const fineModule = 2.5

// sampleModules takes the value of each module where g says that it is, at one
// place, or at five that lie off pixels apart.
func sampleModules(f *scanner.Frame, g *grid, off float64, out *modules) {
	out.fit(g.side)
	d, pitch := g.side, out.pitch()
	h := &g.h
	var columns [maxNodes]Point
	for y := -1; y <= d; y++ {
		v := float64(y) + 0.5
		row := out.v[(y+1)*pitch:][:pitch]
		g.mesh.row(v, &columns)
		// Along a row the map is a quotient of two lines.
		nx, ny, nw := h[0]*-0.5+h[1]*v+h[2], h[3]*-0.5+h[4]*v+h[5], h[6]*-0.5+h[7]*v+h[8]
		cell := 0
		for x := range row {
			w := 256 / nw
			px, py := nx*w, ny*w
			if g.mesh.n > 0 {
				u := float64(x) - 0.5
				for cell+2 < g.mesh.n && u >= g.mesh.at[cell+1] {
					cell++
				}
				k := (u - g.mesh.at[cell]) * g.mesh.per[cell]
				a, b := columns[cell], columns[cell+1]
				px += 256 * (a.X + k*(b.X-a.X))
				py += 256 * (a.Y + k*(b.Y-a.Y))
			}
			nx, ny, nw = nx+h[0], ny+h[3], nw+h[6]
			ix, iy := int(px), int(py)
			value := grey(f, ix, iy)
			if off := int(off * 256); off > 0 {
				value = (2*value + grey(f, ix-off, iy) + grey(f, ix+off, iy) + grey(f, ix, iy-off) + grey(f, ix, iy+off)) / 6
			}
			if g.light {
				value = 255*unit - value
			}
			row[x] = int16(value)
		}
	}
}
