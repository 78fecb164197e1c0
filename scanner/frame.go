package scanner

import (
	"errors"
	"fmt"
	"image"
	"image/color"
)

// ErrFrame is a picture whose sizes do not fit together.
var ErrFrame = errors.New("frame sizes do not fit")

// maxSide is the largest width or height in pixels of a frame, so that products
// of sizes stay within 32 bits.
const maxSide = 1 << 14

// Frame is a picture as brightness alone: one byte a pixel, 0 black to 255
// white, rows from the top.
type Frame struct {
	// Pix holds Height rows of Stride bytes; the last may end after Width.
	Pix []byte
	// Stride is the distance in bytes between two rows, at least Width.
	Stride int
	// Width and Height in pixels.
	Width, Height int
}

// Check reports, wrapping ErrFrame, whether the sizes fit each other and Pix.
func (f Frame) Check() error {
	if f.Width < 1 || f.Height < 1 || f.Width > maxSide || f.Height > maxSide || f.Stride < f.Width || f.Stride > 8*maxSide ||
		len(f.Pix) < f.Stride*(f.Height-1)+f.Width {
		return fmt.Errorf("%w: %d×%d, stride %d, %d bytes", ErrFrame, f.Width, f.Height, f.Stride, len(f.Pix))
	}
	return nil
}

// SetImage makes f the brightness of img. It shares img's memory where img has
// a plane of brightness (grey, and JPEG's YCbCr), and uses f's own otherwise.
func (f *Frame) SetImage(img image.Image) {
	b := img.Bounds()
	f.Width, f.Height = b.Dx(), b.Dy()
	switch m := img.(type) {
	case *image.Gray:
		f.Pix, f.Stride = m.Pix[m.PixOffset(b.Min.X, b.Min.Y):], m.Stride
		return
	case *image.YCbCr:
		f.Pix, f.Stride = m.Y[m.YOffset(b.Min.X, b.Min.Y):], m.YStride
		return
	}
	f.Stride = f.Width
	f.Pix = make([]byte, f.Width*f.Height)
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := img.At(x, y)
			g := color.GrayModel.Convert(c).(color.Gray).Y
			if _, _, _, a := c.RGBA(); a < 0xffff {
				// What shows through is white paper.
				g = uint8(min(255, int(g)+255-int(a>>8)))
			}
			f.Pix[i] = g
			i++
		}
	}
}
