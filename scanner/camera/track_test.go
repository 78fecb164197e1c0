package camera

import (
	"fmt"
	"image"
	"slices"
	"testing"

	"greengate/scanner"
)

// TestTrack is a story of one eye: what it is shown, picture by picture.
func TestTrack(t *testing.T) {
	const w, h = 1280, 720
	all := image.Rect(0, 0, w, h)
	f := scanner.Frame{Pix: make([]byte, w*h), Stride: w, Width: w, Height: h}
	code := func(r image.Rectangle) Sight { return Sight{Codes: []Code{{Raw: []byte("a"), Place: r}}} }
	finder := func(r image.Rectangle) Sight { return Sight{Finder: r} }
	at := image.Rect(600, 300, 760, 460)      // 160 pixels wide
	part := image.Rect(520, 220, 840, 540)    // with 80 around
	moved := at.Add(image.Pt(40, 20))         // by less than what is around
	part2 := part.Add(image.Pt(40, 20))       //
	edge := image.Rect(0, 0, 20, 20)          // small, and at the edge
	edgePart := image.Rect(0, 0, 90, 90)      // grown to 160 and cut
	large := image.Rect(100, 50, 1000, 700)   // saves nothing
	nowhere := image.Rect(5000, 0, 5100, 100) // as an eye gone wrong may say

	for _, story := range []struct {
		name string
		eye  func(look int, shown image.Rectangle) Sight // in the coordinates of what is shown
		want []image.Rectangle                           // what the eye was shown
	}{
		{"nothing", func(int, image.Rectangle) Sight { return Sight{} }, []image.Rectangle{all, all, all}},
		{"a code that stays", func(n int, shown image.Rectangle) Sight { return code(at.Sub(shown.Min)) },
			[]image.Rectangle{all, part, part, part, part, all, part}},
		{"a code that moves", func(n int, shown image.Rectangle) Sight {
			if n == 0 {
				return code(at)
			}
			return code(moved.Sub(shown.Min))
		}, []image.Rectangle{all, part, part2, part2}},
		{"a code that goes: the whole is looked at in the same picture", func(n int, shown image.Rectangle) Sight {
			if n == 0 {
				return code(at)
			}
			return Sight{}
		}, []image.Rectangle{all, part, all, all}},
		{"a finder that is not read takes turns", func(n int, shown image.Rectangle) Sight { return finder(at.Sub(shown.Min)) },
			[]image.Rectangle{all, part, all, part, all}},
		{"at the edge", func(n int, shown image.Rectangle) Sight { return code(edge.Sub(shown.Min)) },
			[]image.Rectangle{all, edgePart, edgePart}},
		{"large", func(n int, shown image.Rectangle) Sight { return code(large) }, []image.Rectangle{all, all}},
		{"an eye that does not say where", func(n int, shown image.Rectangle) Sight { return code(image.Rectangle{}) }, []image.Rectangle{all, all}},
		{"outside", func(n int, shown image.Rectangle) Sight { return code(nowhere) }, []image.Rectangle{all, all}},
	} {
		var tr track
		var shown []image.Rectangle
		eye := eyeFunc(func(g scanner.Frame) Sight {
			if err := g.Check(); err != nil {
				t.Errorf("%s: %v", story.name, err)
			}
			offset := len(f.Pix) - len(g.Pix)
			r := image.Rect(0, 0, g.Width, g.Height).Add(image.Pt(offset%w, offset/w))
			shown = append(shown, r)
			return story.eye(len(shown)-1, r)
		})
		for len(shown) < len(story.want) {
			tr.see(eye, f)
		}
		if !slices.Equal(shown[:len(story.want)], story.want) {
			t.Errorf("%s: shown %v, want %v", story.name, shown, story.want)
		}
	}
}

// TestTrackAddsUp: what is seen in a part is told in the whole's coordinates.
func TestTrackAddsUp(t *testing.T) {
	f := scanner.Frame{Pix: make([]byte, 1280*720), Stride: 1280, Width: 1280, Height: 720}
	tr := track{region: image.Rect(600, 300, 700, 400)}
	got := tr.see(eyeFunc(func(g scanner.Frame) Sight {
		return Sight{Codes: []Code{{Place: image.Rect(50, 60, 150, 160)}, {}}, Finder: image.Rect(1, 2, 3, 4)}
	}), f)
	want := Sight{Codes: []Code{{Place: image.Rect(600, 310, 700, 410)}, {}}, Finder: image.Rect(551, 252, 553, 254)}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("saw %v, want %v", got, want)
	}
}

// mover is an eye that writes down where what it is shown lies.
type mover struct {
	eyeFunc
	at []image.Point
}

func (m *mover) At(p image.Point) { m.at = append(m.at, p) }

// TestTrackSaysWhere: an eye that asks is told where a part lies, and the whole.
func TestTrackSaysWhere(t *testing.T) {
	f := scanner.Frame{Pix: make([]byte, 1280*720), Stride: 1280, Width: 1280, Height: 720}
	tr := track{region: image.Rect(600, 300, 760, 460)}
	m := &mover{eyeFunc: func(scanner.Frame) Sight { return Sight{} }}
	tr.see(m, f)
	if want := []image.Point{{520, 220}, {}}; !slices.Equal(m.at, want) {
		t.Errorf("shown what lies at %v, want %v", m.at, want)
	}
}
