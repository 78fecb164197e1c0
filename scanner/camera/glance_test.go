package camera

import (
	"testing"

	"greengate/scanner"
)

// TestGlanceSizes glances at pictures of every size around those at which
// something changes, in no more memory than they have.
func TestGlanceSizes(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {334, 96}, {335, 96}, {336, 95}, {336, 96}, {337, 97}, {340, 110}, {495, 96}, {496, 191}, {497, 192}, {640, 480}, {641, 481},
		{655, 96}, {656, 96}, {1279, 719}, {1280, 720}, {4096, 97}, {336, 4096}} {
		w, h := size[0], size[1]
		for _, stride := range []int{w, w + 3} {
			f := scanner.Frame{Pix: make([]byte, stride*(h-1)+w), Stride: stride, Width: w, Height: h}
			for i := range f.Pix {
				f.Pix[i] = byte(i)
			}
			var g, again glance
			g.at(f)
			again.at(f)
			if want := w >= 2*glanceWidth+2*far && h >= glanceHeight; g.seen != want {
				t.Errorf("%d×%d: seen %v, want %v", w, h, g.seen, want)
			}
			if g.same(&again) != g.seen {
				t.Errorf("%d×%d: the same picture is another", w, h)
			}
			if g.seen && (g.Mean < 100 || g.Mean > 155 || g.Contrast < 240) {
				t.Errorf("%d×%d: %+v", w, h, g.Light)
			}
		}
	}
}

// TestSharpness: the same edge, smeared over more and more pixels.
func TestSharpness(t *testing.T) {
	last := 101
	for _, width := range []int{1, 3, 6, 12, 24} {
		f := scanner.Frame{Pix: make([]byte, 640*480), Stride: 640, Width: 640, Height: 480}
		for i := range f.Pix {
			x := i % 640 % 160
			if x > 80 {
				x = 160 - x
			}
			f.Pix[i] = byte(min(max(20+200*(x-40)/width, 20), 220))
		}
		var g glance
		g.at(f)
		if g.Sharpness >= last && last < 100 || g.Sharpness < 12 {
			t.Errorf("an edge over %d pixels has a sharpness of %d %%, %d %% before", width, g.Sharpness, last)
		}
		if _, hopeless := g.hopeless(); hopeless != (width == 24) {
			t.Errorf("an edge over %d pixels, sharpness %d %%: hopeless %v", width, g.Sharpness, hopeless)
		}
		last = g.Sharpness
	}
}

// FuzzLuma: whatever a camera or a folder delivers becomes a frame that fits its
// memory, or an error.
func FuzzLuma(f *testing.F) {
	f.Add(uint8(0), 0, 0, 0, asPNG(f, draw(f, "A")))
	f.Add(uint8(0), 0, 0, 0, asJPEG(f, draw(f, "A")))
	f.Add(uint8(1), 4, 2, 5, make([]byte, 9))
	f.Add(uint8(2), 4, 2, 8, make([]byte, 16))
	f.Fuzz(func(t *testing.T, format uint8, w, h, stride int, data []byte) {
		var s shot
		s.hold(Image{Format: Format(format), Width: w, Height: h, Stride: stride, Data: data})
		s.develop()
		if err := s.frame.Check(); s.err == nil && err != nil {
			t.Fatal(err)
		}
		if s.err == nil {
			Small(s.frame, 100)
		}
	})
}
