package camera

import (
	"image"
	"math"
	"testing"

	"greengate/scanner"
	"greengate/scanner/qr"
)

// TestQR: a code is read and placed; one that lost its middle is found and not
// read; a wall is neither.
func TestQR(t *testing.T) {
	code := draw(t, "JKM1:PLACE")
	picture := image.NewGray(image.Rect(0, 0, 640, 480))
	for i := range picture.Pix {
		picture.Pix[i] = 200
	}
	f := scanner.Frame{Pix: picture.Pix, Stride: picture.Stride, Width: 640, Height: 480}
	eye := new(QR)
	if s := eye.See(f); s.outcome() != NoFinder {
		t.Errorf("a wall: %v", s)
	}
	at := code.Rect.Add(image.Pt(300, 200))
	for y := range code.Rect.Dy() {
		copy(picture.Pix[picture.PixOffset(at.Min.X, at.Min.Y+y):], code.Pix[y*code.Stride:][:code.Rect.Dx()])
	}
	s := eye.See(f)
	if s.outcome() != Read || string(s.Codes[0].Raw) != "JKM1:PLACE" {
		t.Fatalf("a code: %v", s)
	}
	inner := at.Inset(16) // the margin of four modules is none of it
	if d := s.Codes[0].Place; !d.In(inner.Inset(-4)) || !inner.Inset(4).In(d) {
		t.Errorf("a code at %v is said to be at %v", inner, d)
	}
	for y := inner.Min.Y + 40; y < inner.Max.Y; y++ {
		for x := inner.Min.X + 40; x < inner.Max.X; x++ {
			picture.Pix[picture.PixOffset(x, y)] = 200
		}
	}
	s = eye.See(f)
	if s.outcome() != Unread || !s.Finder.In(inner) || s.Finder.Dx() < inner.Dx()/2 {
		t.Errorf("a torn code at %v: %v", inner, s)
	}
}

func TestAround(t *testing.T) {
	if got, want := around([]qr.Point{{X: 1.5, Y: 7}, {X: -2, Y: 3.2}}), image.Rect(-2, 3, 2, 7); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	for _, p := range []qr.Point{{X: math.NaN()}, {X: math.Inf(1)}, {Y: -1e9}} {
		if got := around([]qr.Point{p, {X: 1, Y: 1}}); !got.Empty() {
			t.Errorf("around %v: %v", p, got)
		}
	}
}
