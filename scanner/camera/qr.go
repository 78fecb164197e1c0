package camera

import (
	"image"
	"math"

	"greengate/scanner"
	"greengate/scanner/qr"
)

// QR is an Eye for QR codes. The zero value is ready.
type QR struct{ reader qr.Reader }

// At implements Mover.
func (q *QR) At(p image.Point) { q.reader.Origin = qr.Point{X: float64(p.X), Y: float64(p.Y)} }

// See implements Eye.
func (q *QR) See(f scanner.Frame) Sight {
	// An error is a picture without a code, as most are.
	codes, err := q.reader.Read(f)
	if err != nil {
		from, to, ok := q.reader.Evidence()
		if !ok {
			return Sight{}
		}
		return Sight{Finder: around([]qr.Point{from, to})}
	}
	var s Sight
	for _, c := range codes {
		s.Codes = append(s.Codes, Code{Raw: c.Payload, Place: around(c.Corners[:])})
	}
	return s
}

// around is the rectangle around points; empty where they are none of a picture.
func around(points []qr.Point) image.Rectangle {
	left, top, right, bottom := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, p := range points {
		left, right = min(left, p.X), max(right, p.X)
		top, bottom = min(top, p.Y), max(bottom, p.Y)
	}
	const most = 1 << 15
	if !(left > -most && top > -most && right < most && bottom < most) { // also of what is no number
		return image.Rectangle{}
	}
	return image.Rect(int(math.Floor(left)), int(math.Floor(top)), int(math.Ceil(right)), int(math.Ceil(bottom)))
}
