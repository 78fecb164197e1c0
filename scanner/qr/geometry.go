package qr

import "math"

// Point is a place in a frame in pixels from its top left corner: the middle of
// the first pixel is (0.5, 0.5).
type Point struct{ X, Y float64 }

func (p Point) plus(q Point) Point             { return Point{p.X + q.X, p.Y + q.Y} }
func (p Point) minus(q Point) Point            { return Point{p.X - q.X, p.Y - q.Y} }
func (p Point) times(k float64) Point          { return Point{p.X * k, p.Y * k} }
func (p Point) along(d Point, k float64) Point { return Point{p.X + k*d.X, p.Y + k*d.Y} }

// norm is the length of p as a vector.
func (p Point) norm() float64 { return math.Sqrt(p.X*p.X + p.Y*p.Y) }

// distance from p to q.
func (p Point) distance(q Point) float64 { return p.minus(q).norm() }

// cross is positive when q is clockwise of p, as seen in a picture.
func (p Point) cross(q Point) float64 { return p.X*q.Y - p.Y*q.X }

// homography maps the plane of a code, in modules, to a picture: rows of a 3×3
// matrix.
type homography [9]float64

// at maps the point (x, y) of the code.
func (h *homography) at(x, y float64) Point {
	w := 1 / (h[6]*x + h[7]*y + h[8])
	return Point{(h[0]*x + h[1]*y + h[2]) * w, (h[3]*x + h[4]*y + h[5]) * w}
}

// match says that the point (U, V) of a code is seen at a point of the picture,
// with a weight.
type match struct {
	u, v   float64
	at     Point
	weight float64
}

// tilt is the weight of the belief that a code is looked at from the front: it
// decides where the matches say nothing.
const tilt = 1e-7

// fitHomography finds the map that fits the matches best, by least squares in
// normalised coordinates (Hartley), repeated so that distances in the picture
// are what is made small.
func fitHomography(matches []match) (h homography, ok bool) {
	var centre, mean Point
	var sum float64
	for _, m := range matches {
		centre = centre.along(m.at, m.weight)
		mean = mean.along(Point{m.u, m.v}, m.weight)
		sum += m.weight
	}
	centre, mean = centre.times(1/sum), mean.times(1/sum)
	var spread, size float64
	for _, m := range matches {
		spread += m.weight * m.at.distance(centre)
		size += m.weight * mean.distance(Point{m.u, m.v})
	}
	spread, size = spread/sum, size/sum
	if spread == 0 || size == 0 {
		return h, false
	}
	var p [8]float64
	for pass := range 3 {
		var a [8][9]float64
		for _, m := range matches {
			x, y := (m.u-mean.X)/size, (m.v-mean.Y)/size
			u, v := (m.at.X-centre.X)/spread, (m.at.Y-centre.Y)/spread
			w := m.weight
			if pass > 0 {
				depth := max(p[6]*x+p[7]*y+1, 0.2)
				w /= depth * depth
			}
			// The two rows share their last two columns' form; only what is not
			// zero is added up.
			for i, ri := range [3]float64{x, y, 1} {
				for j, rj := range [3]float64{x, y, 1} {
					a[i][j] += w * ri * rj
				}
				a[i][6] -= w * ri * u * x
				a[i][7] -= w * ri * u * y
				a[i][8] += w * ri * u
				a[3+i][6] -= w * ri * v * x
				a[3+i][7] -= w * ri * v * y
				a[3+i][8] += w * ri * v
			}
			uv := w * (u*u + v*v)
			a[6][6] += uv * x * x
			a[6][7] += uv * x * y
			a[7][7] += uv * y * y
			a[6][8] -= uv * x
			a[7][8] -= uv * y
		}
		for i := range 3 {
			for j := range 3 {
				a[3+i][3+j] = a[i][j]
			}
		}
		for i := range 8 {
			for j := range i {
				a[i][j] = a[j][i]
			}
			a[i][i] += 1e-9
		}
		a[6][6] += tilt * sum
		a[7][7] += tilt * sum
		if !solve(&a, &p) {
			return h, false
		}
	}
	// Undo the normalisation on both sides.
	for r := range 3 {
		row := [3]float64{p[6], p[7], 1}
		if r < 2 {
			row = [3]float64{p[3*r], p[3*r+1], p[3*r+2]}
		}
		h[3*r], h[3*r+1] = row[0]/size, row[1]/size
		h[3*r+2] = row[2] - row[0]*mean.X/size - row[1]*mean.Y/size
	}
	for c := range 3 {
		h[c] = spread*h[c] + centre.X*h[6+c]
		h[3+c] = spread*h[3+c] + centre.Y*h[6+c]
	}
	return h, true
}

// solve finds p with a·p = a's last column, by elimination with the largest
// pivot.
func solve(a *[8][9]float64, p *[8]float64) bool {
	for i := range 8 {
		pivot := i
		for r := i + 1; r < 8; r++ {
			if math.Abs(a[r][i]) > math.Abs(a[pivot][i]) {
				pivot = r
			}
		}
		if math.Abs(a[pivot][i]) < 1e-12 {
			return false
		}
		a[i], a[pivot] = a[pivot], a[i]
		for r := i + 1; r < 8; r++ {
			k := a[r][i] / a[i][i]
			for c := i; c < 9; c++ {
				a[r][c] -= k * a[i][c]
			}
		}
	}
	for i := 7; i >= 0; i-- {
		v := a[i][8]
		for c := i + 1; c < 8; c++ {
			v -= a[i][c] * p[c]
		}
		p[i] = v / a[i][i]
	}
	return true
}
