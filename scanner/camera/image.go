package camera

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // decoded here, from cameras and folders
	_ "image/png"  // decoded here, from folders
	"slices"
	"time"

	"greengate/scanner"
)

// ErrImage is a picture that cannot be turned into brightness: cut, of another
// format than it says, or too large.
var ErrImage = errors.New("bad picture")

// maxPixels is the largest picture that is unpacked: a 12 megapixel camera's.
const maxPixels = 4096 * 3072

// Format says how an Image's bytes are laid out.
type Format uint8

const (
	// Encoded is JPEG or PNG. Sizes are in the data.
	Encoded Format = iota
	// Luma begins with a plane of brightness, one byte a pixel: GREY, and also
	// NV12 and YUV420, whose colour planes follow and are not looked at.
	Luma
	// YUYV is packed 4:2:2, brightness in every second byte.
	YUYV
)

// Image is a picture as a source delivers it.
type Image struct {
	Format Format
	// Width and Height in pixels. Not used when Encoded.
	Width, Height int
	// Stride is the distance between two rows in bytes. Not used when Encoded.
	Stride int
	// Data is the picture.
	Data []byte
	// At is when the camera took it; zero means now.
	At time.Time
}

// Luma makes f the brightness of the picture. It shares the picture's memory
// where it can, and uses f's, as far as that goes, where YUYV is unpacked.
func (m Image) Luma(f *scanner.Frame) error {
	switch m.Format {
	case Luma:
		f.Pix, f.Stride, f.Width, f.Height = m.Data, m.Stride, m.Width, m.Height
		if err := f.Check(); err != nil {
			return fmt.Errorf("%w: %w", ErrImage, err)
		}
		return nil
	case YUYV:
		return m.unpack(f)
	case Encoded:
		return m.decode(f)
	default:
		return fmt.Errorf("%w: format %d", ErrImage, m.Format)
	}
}

// unpack takes every second byte of a YUYV picture.
func (m Image) unpack(f *scanner.Frame) error {
	// A row of YUYV is a row of brightness twice as wide: the same check holds.
	wide := scanner.Frame{Pix: m.Data, Stride: m.Stride, Width: 2 * m.Width, Height: m.Height}
	if err := wide.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrImage, err)
	}
	pix := slices.Grow(f.Pix[:0], m.Width*m.Height)[:m.Width*m.Height]
	for y := range m.Height {
		row := m.Data[y*m.Stride:][:2*m.Width]
		out := pix[y*m.Width:][:m.Width]
		for x := range out {
			out[x] = row[2*x]
		}
	}
	*f = scanner.Frame{Pix: pix, Stride: m.Width, Width: m.Width, Height: m.Height}
	return nil
}

// decode unpacks JPEG or PNG, after a look at its size.
func (m Image) decode(f *scanner.Frame) error {
	data := withTables(m.Data)
	c, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrImage, err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxPixels/c.Height {
		return fmt.Errorf("%w: %d×%d pixels, want at most %d together", ErrImage, c.Width, c.Height, maxPixels)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrImage, err)
	}
	f.SetImage(img)
	if err := f.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrImage, err)
	}
	return nil
}
