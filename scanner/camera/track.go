package camera

import (
	"image"

	"greengate/scanner"
)

const (
	// margin is how much of a region's longer side is added on each side of it: a
	// hand moves a code by less between two pictures.
	margin = 0.5
	// leastSide of a part that is looked at by itself, in pixels.
	leastSide = 160
	// mostPart in percent of the picture: a larger part saves nothing.
	mostPart = 50
	// wholeEvery is how often the whole picture is looked at while a code is read
	// in its part: the second code, a permit beside the first, comes into sight.
	wholeEvery = 4
)

// track knows where the last code or finder was, so that the eye looks there
// first.
type track struct {
	region image.Rectangle // empty: nowhere in particular
	parts  int             // looks at a part since the last look at a whole picture
}

// see has eye look at f: where something was before, and at the whole picture
// where there is nothing now, or it was long not looked at. A finder that is
// still not read takes turns: part, whole.
func (t *track) see(eye Eye, f scanner.Frame) Sight {
	if part, ok := t.part(f); ok {
		t.parts++
		sight := show(eye, cut(f, part), part.Min)
		moved := sight.moved(part.Min)
		if o := moved.outcome(); o != NoFinder {
			t.found(moved)
			if o == Unread {
				t.parts = wholeEvery
			}
			return moved
		}
	}
	t.parts = 0
	sight := show(eye, f, image.Point{})
	t.found(sight)
	return sight
}

// show has eye look at what lies at p in the picture.
func show(eye Eye, f scanner.Frame, p image.Point) Sight {
	if m, ok := eye.(Mover); ok {
		m.At(p)
	}
	return eye.See(f)
}

// part is what to look at instead of the whole of f, if anything.
func (t *track) part(f scanner.Frame) (image.Rectangle, bool) {
	if t.region.Empty() || t.parts >= wholeEvery {
		return image.Rectangle{}, false
	}
	side := max(t.region.Dx(), t.region.Dy())
	grow := max(int(margin*float64(side)), (leastSide-side)/2)
	all := image.Rect(0, 0, f.Width, f.Height)
	part := t.region.Inset(-grow).Intersect(all)
	if part.Empty() || 100*part.Dx()*part.Dy() > mostPart*f.Width*f.Height {
		return image.Rectangle{}, false
	}
	return part, true
}

// found remembers where something was. A place outside the picture is nowhere.
func (t *track) found(s Sight) {
	t.region = s.Place()
}

// moved is the sight in the coordinates of the picture whose part at p was seen.
func (s Sight) moved(p image.Point) Sight {
	for i := range s.Codes {
		if c := &s.Codes[i]; !c.Place.Empty() {
			c.Place = c.Place.Add(p)
		}
	}
	if !s.Finder.Empty() {
		s.Finder = s.Finder.Add(p)
	}
	return s
}

// cut is a part of f, in the same memory.
func cut(f scanner.Frame, r image.Rectangle) scanner.Frame {
	return scanner.Frame{Pix: f.Pix[r.Min.Y*f.Stride+r.Min.X:], Stride: f.Stride, Width: r.Dx(), Height: r.Dy()}
}
