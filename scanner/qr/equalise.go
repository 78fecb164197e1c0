package qr

import "math"

// taps are the module itself, its eight neighbours, and a constant.
const taps = 10

// equalise undoes what defocus and movement have mixed: each module is taken
// anew as a weighted sum of itself and its eight neighbours, with the weights
// that turn the modules that are known into what they should be (a Wiener
// filter, by least squares with a ridge).
func equalise(in, out *modules, known []knownModule) bool {
	out.fit(in.side)
	pitch := in.pitch()
	offsets := [taps - 1]int{-pitch - 1, -pitch, -pitch + 1, -1, 0, 1, pitch - 1, pitch, pitch + 1}
	const constant = 128 * unit
	var a [taps][taps + 1]float64
	for _, k := range known {
		var r [taps]float64
		for i, o := range offsets {
			r[i] = float64(in.v[int(k.at)+o])
		}
		r[taps-1] = constant
		want := 255.0 * unit
		if k.dark {
			want = 0
		}
		for i, v := range r {
			for j := i; j < taps; j++ {
				a[i][j] += v * r[j]
			}
			a[i][taps] += v * want
		}
	}
	trace := 0.0
	for i := range taps - 1 {
		trace += a[i][i]
	}
	for i := range taps {
		for j := range i {
			a[i][j] = a[j][i]
		}
		a[i][i] += 2e-4 * trace / (taps - 1)
	}
	// Gauss and Jordan.
	for i := range taps {
		pivot := i
		for r := i + 1; r < taps; r++ {
			if math.Abs(a[r][i]) > math.Abs(a[pivot][i]) {
				pivot = r
			}
		}
		if math.Abs(a[pivot][i]) < 1e-9 {
			return false
		}
		a[i], a[pivot] = a[pivot], a[i]
		for r := range taps {
			if r == i {
				continue
			}
			k := a[r][i] / a[i][i]
			for c := i; c <= taps; c++ {
				a[r][c] -= k * a[i][c]
			}
		}
	}
	// The weights as whole numbers; what they make is kept within what a value
	// can be.
	const scale = 1 << 12
	var w [taps]int
	for i := range w {
		w[i] = int(min(max(a[i][taps]/a[i][i], -100), 100) * scale)
	}
	base := w[taps-1] * constant
	copy(out.v, in.v)
	for y := 1; y <= in.side; y++ {
		above, row, below := in.v[(y-1)*pitch:][:pitch], in.v[y*pitch:][:pitch], in.v[(y+1)*pitch:][:pitch]
		to := out.v[y*pitch:][:pitch]
		for x := 1; x < pitch-1; x++ {
			v := base +
				w[0]*int(above[x-1]) + w[1]*int(above[x]) + w[2]*int(above[x+1]) +
				w[3]*int(row[x-1]) + w[4]*int(row[x]) + w[5]*int(row[x+1]) +
				w[6]*int(below[x-1]) + w[7]*int(below[x]) + w[8]*int(below[x+1])
			to[x] = int16(min(max(v/scale, -maxSoft), maxSoft))
		}
	}
	return true
}
