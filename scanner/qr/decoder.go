package qr

import (
	"errors"
	"fmt"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/makiuchi-d/gozxing/qrcode/detector"

	"greengate/scanner"
)

// ErrNoCode is a picture without a QR code that can be read. Most pictures of
// a camera are.
var ErrNoCode = errors.New("no readable QR code")

const (
	// maxPixels is the size above which a picture is made smaller first, by
	// whole factors: time grows with the pixels.
	maxPixels = 1920 * 1080
	// minSide is the smallest code, version 1, in modules.
	minSide = 21
	// maxCandidates is how many finder patterns a picture may seem to hold. The
	// library then looks at every three of them: 200 are a million triples and
	// some milliseconds; a sheet printed full of them would take it hours.
	maxCandidates = 200
)

// errCrowded leaves the library from its callback.
var errCrowded = errors.New("too many finder patterns")

// Decoder reads QR codes from pictures. The zero value is ready. It is for one
// goroutine: it keeps its working memory.
type Decoder struct {
	small, turned []byte
}

// Decode returns the payload of a QR code in f, or an error that wraps
// ErrNoCode, or scanner.ErrFrame when f's sizes do not fit.
func (d *Decoder) Decode(f scanner.Frame) (payload []byte, err error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	// The library indexes by what it believes to see; a stranger holds up what
	// it sees.
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == any(errCrowded):
			payload, err = nil, fmt.Errorf("%w: %w", ErrNoCode, errCrowded)
		default:
			payload, err = nil, fmt.Errorf("%w: decoder panicked: %v", ErrNoCode, p)
		}
	}()
	f = d.shrink(f)
	if f.Width < minSide || f.Height < minSide {
		return nil, fmt.Errorf("%w: picture of %d×%d", ErrNoCode, f.Width, f.Height)
	}
	// The library wants whole rows; the last of a frame may be cut.
	if len(f.Pix) < f.Stride*f.Height {
		f.Pix = append(f.Pix[:len(f.Pix):len(f.Pix)], make([]byte, f.Stride*f.Height-len(f.Pix))...)
	}
	payload, found, err := read(f)
	if err != nil && found {
		// The library finds a code and fails to read it in a few of a hundred
		// perfect pictures, by where its grid falls; a quarter turn moves the
		// grid. A picture without a code is not looked at twice.
		if again, _, err2 := read(d.turn(f)); err2 == nil {
			return again, nil
		}
	}
	return payload, err
}

// read looks for a code once. Found says that there was one, readable or not.
func read(f scanner.Frame) (payload []byte, found bool, err error) {
	source, err := gozxing.NewPlanarYUVLuminanceSource(f.Pix, f.Stride, f.Height, 0, 0, f.Width, f.Height, false)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", scanner.ErrFrame, err)
	}
	bitmap, err := gozxing.NewBinaryBitmap(gozxing.NewHybridBinarizer(source))
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrNoCode, err)
	}
	candidates := 0
	var count gozxing.ResultPointCallback = func(p gozxing.ResultPoint) {
		if _, ok := p.(*detector.FinderPattern); !ok {
			return
		}
		if candidates++; candidates > maxCandidates {
			panic(errCrowded)
		}
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{
		gozxing.DecodeHintType_TRY_HARDER:                 true,
		gozxing.DecodeHintType_NEED_RESULT_POINT_CALLBACK: count,
	})
	if err != nil {
		// Three corners of a code, readable or not.
		return nil, candidates >= 3, fmt.Errorf("%w: %w", ErrNoCode, err)
	}
	level, _ := result.GetResultMetadata()[gozxing.ResultMetadataType_ERROR_CORRECTION_LEVEL].(string)
	version, err := versionOf(len(result.GetRawBytes()), level)
	if err != nil {
		return nil, true, fmt.Errorf("%w: %w", ErrNoCode, err)
	}
	payload, err = parseSegments(result.GetRawBytes(), version)
	if err != nil {
		return nil, true, fmt.Errorf("%w: %w", ErrNoCode, err)
	}
	if len(payload) == 0 {
		return nil, true, fmt.Errorf("%w: empty", ErrNoCode)
	}
	return payload, true, nil
}

// turn returns the frame a quarter turned, clockwise.
func (d *Decoder) turn(f scanner.Frame) scanner.Frame {
	n := f.Width * f.Height
	if cap(d.turned) < n {
		d.turned = make([]byte, n)
	}
	out := d.turned[:n]
	for y := range f.Height {
		row := f.Pix[y*f.Stride:][:f.Width]
		for x, p := range row {
			out[x*f.Height+f.Height-1-y] = p
		}
	}
	return scanner.Frame{Pix: out, Stride: f.Height, Width: f.Height, Height: f.Width}
}

// shrink makes a frame of more than maxPixels smaller by the least whole
// factor, each pixel the mean of a square.
func (d *Decoder) shrink(f scanner.Frame) scanner.Frame {
	k := 1
	for (f.Width/k)*(f.Height/k) > maxPixels {
		k++
	}
	if k == 1 {
		return f
	}
	w, h := f.Width/k, f.Height/k
	if cap(d.small) < w*h {
		d.small = make([]byte, w*h)
	}
	out := d.small[:w*h]
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
	return scanner.Frame{Pix: out, Stride: w, Width: w, Height: h}
}
