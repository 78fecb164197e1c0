package qr

import (
	"math/rand/v2"
	"testing"

	"greengate/scanner"
)

// A code that is held still in front of the camera gives the same picture
// again and again, so none may be a picture that is never read: the library
// alone fails on a few of a hundred perfect ones.
func TestSteadyPicturesAreRead(t *testing.T) {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
	rng := rand.New(rand.NewPCG(20, 20))
	var d Reader
	missed := 0
	const codes = 300
	for i := range codes {
		text := []byte("JKM1:")
		for range []int{214, 434}[i%2] {
			text = append(text, alphabet[rng.IntN(len(alphabet))])
		}
		img, err := Picture(string(text), 4+i%3)
		if err != nil {
			t.Fatal(err)
		}
		f := scanner.Frame{Pix: img.Pix, Stride: img.Stride, Width: img.Rect.Dx(), Height: img.Rect.Dy()}
		if got, err := d.Decode(f); err != nil || string(got) != string(text) {
			missed++
			t.Logf("%d characters, modules of %d pixels: %v", len(text), 4+i%3, err)
		}
	}
	if missed > 0 {
		t.Errorf("%d of %d perfect pictures are never read", missed, codes)
	}
}
