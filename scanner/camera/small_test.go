package camera

import (
	"bytes"
	"image"
	"testing"

	"greengate/scanner"
)

func TestSmall(t *testing.T) {
	f := scanner.Frame{Width: 5, Height: 4, Stride: 6, Pix: []byte{
		0, 10, 100, 100, 7, 99,
		20, 30, 100, 104, 7, 99,
		1, 1, 255, 255, 7, 99,
		1, 1, 255, 255, 7, // the last row is cut
	}}
	for _, tt := range []struct {
		width int
		size  image.Point
		want  []byte
	}{
		{2, image.Pt(1, 1), []byte{(0 + 10 + 100 + 20 + 30 + 100 + 1 + 1 + 255) / 9}},
		{3, image.Pt(2, 2), []byte{15, 101, 1, 255}},
		{5, image.Pt(5, 4), []byte{0, 10, 100, 100, 7, 20, 30, 100, 104, 7, 1, 1, 255, 255, 7, 1, 1, 255, 255, 7}},
		{100, image.Pt(5, 4), []byte{0, 10, 100, 100, 7, 20, 30, 100, 104, 7, 1, 1, 255, 255, 7, 1, 1, 255, 255, 7}},
	} {
		if got := Small(f, tt.width); got.Rect.Size() != tt.size || !bytes.Equal(got.Pix, tt.want) {
			t.Errorf("at most %d wide: %v %v, want %v %v", tt.width, got.Rect.Size(), got.Pix, tt.size, tt.want)
		}
	}
}
