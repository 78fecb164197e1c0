package camera

import (
	"image"

	"greengate/scanner"
)

// Eye looks for codes in pictures. It may learn from one picture for the next:
// it is shown those of one camera, in their order, from one goroutine.
type Eye interface {
	// See looks at f, which is a picture or, where a code was just before, a part
	// of one. It does not keep f.
	See(f scanner.Frame) Sight
}

// Mover is an Eye that holds what it sees against what it saw before, and so asks
// where in the picture a part lies.
type Mover interface {
	// At says where the top left corner of what it is shown next lies.
	At(image.Point)
}

// Sight is what an Eye saw in a picture.
type Sight struct {
	// Codes that were read, the nearest first.
	Codes []Code
	// Finder is where the corner of a code was that could not be read; empty
	// where there was none.
	Finder image.Rectangle
}

// Code is a code that was read.
type Code struct {
	// Raw is what is in it. It belongs to whom it is given to.
	Raw []byte
	// Place of the code in the picture; empty where the Eye does not say.
	Place image.Rectangle
}

// Place is where there was something: the first code's, or the finder's.
func (s Sight) Place() image.Rectangle {
	if len(s.Codes) > 0 {
		return s.Codes[0].Place
	}
	return s.Finder
}

// outcome is what the sight makes of its picture.
func (s Sight) outcome() Outcome {
	switch {
	case len(s.Codes) > 0:
		return Read
	case !s.Finder.Empty():
		return Unread
	default:
		return NoFinder
	}
}
