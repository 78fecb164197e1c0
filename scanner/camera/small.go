package camera

import (
	"image"

	"greengate/scanner"
)

// Small is f made smaller by a whole factor, so that it is at most width pixels
// wide: each pixel the mean of a square. It is a copy.
func Small(f scanner.Frame, width int) *image.Gray {
	k := max((f.Width+width-1)/max(width, 1), 1)
	out := image.NewGray(image.Rect(0, 0, f.Width/k, f.Height/k))
	for y := range out.Rect.Dy() {
		line := out.Pix[y*out.Stride:][:out.Rect.Dx()]
		for x := range line {
			sum := 0
			for dy := range k {
				for _, p := range f.Pix[(y*k+dy)*f.Stride+x*k:][:k] {
					sum += int(p)
				}
			}
			line[x] = byte(sum / (k * k))
		}
	}
	return out
}
