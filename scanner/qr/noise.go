package qr

import "greengate/scanner"

const (
	// noisyGrain is the grain from which a picture is noisy: photographs of empty
	// rooms and of textiles have 3 at most, noise of 12 steps 6.
	noisyGrain = 4
	// grainRows and grainStep are how many rows are looked at for grain, and which
	// of their pixels.
	grainRows, grainStep = 32, 7
)

// grain is by how much three of four pixels differ at least from the mean of
// those beside them. Of a surface that is even, that is the camera's noise, and
// patterns are even between their edges.
func grain(f scanner.Frame) int {
	var seen [256]int
	n := 0
	for k := range grainRows {
		row := f.Pix[(2*k+1)*f.Height/(2*grainRows)*f.Stride:][:f.Width]
		for x := 1; x+1 < len(row); x += grainStep {
			seen[abs(int(row[x])-(int(row[x-1])+int(row[x+1]))/2)]++
			n++
		}
	}
	quarter, below := 0, seen[0]
	for below < n/4 {
		quarter++
		below += seen[quarter]
	}
	return quarter
}

// denoise looks at a noisy picture again in which the noise has been taken out:
// half as large, and smoothed. Finder patterns drown in noise, so that there may
// be no evidence of them; the noise is evidence enough.
func (r *Reader) denoise(f scanner.Frame, v view, nearest bool) bool {
	if grain(f) < noisyGrain {
		return false
	}
	for _, look := range [2]func() bool{
		func() bool {
			w := v
			w.factor *= 2
			return r.again(r.halve(f), w, nearest)
		},
		func() bool { return r.again(r.smooth(f), v, nearest) },
	} {
		if !r.budget.spend(f.Width*f.Height/2) || look() {
			return true
		}
	}
	return false
}

// smooth takes a weighted mean, 1:2:1 across and down.
func (r *Reader) smooth(f scanner.Frame) scanner.Frame {
	w, h := f.Width, f.Height
	if cap(r.sharp.pix) < w*h {
		r.sharp.pix = make([]byte, w*h)
	}
	out := r.sharp.pix[:w*h]
	for y := range h {
		a, b, c := f.Pix[max(y-1, 0)*f.Stride:][:w], f.Pix[y*f.Stride:][:w], f.Pix[min(y+1, h-1)*f.Stride:][:w]
		to := out[y*w:][:w]
		left := int(a[0]) + 2*int(b[0]) + int(c[0])
		here := left
		for x := range w {
			k := min(x+1, w-1)
			right := int(a[k]) + 2*int(b[k]) + int(c[k])
			to[x] = byte((left + 2*here + right + 8) >> 4)
			left, here = here, right
		}
	}
	return scanner.Frame{Pix: out, Stride: w, Width: w, Height: h}
}
