package display

import (
	"time"

	"greengate/gate"
)

// Note is one part of a tone. A frequency of 0 is a pause.
type Note struct {
	// Hertz of the note.
	Hertz int
	// Length of the note.
	Length time.Duration
}

const (
	high = 1760
	mid  = 880
	// low is not lower, for the small loudspeakers of panels fall off below 300 Hz.
	low = 330
)

// Notes returns the pattern of a tone, for faces with a loudspeaker; empty for
// gate.Silent. No pattern is longer than a second and a half, so that it ends
// before the next person is read.
func Notes(t gate.Tone) []Note {
	pause := Note{0, 80 * time.Millisecond}
	switch t {
	case gate.OneHigh:
		return []Note{{high, 180 * time.Millisecond}}
	case gate.OneMid:
		return []Note{{mid, 180 * time.Millisecond}}
	case gate.TwoMid:
		return []Note{{mid, 180 * time.Millisecond}, pause, {mid, 180 * time.Millisecond}}
	case gate.LowLong:
		return []Note{{low, 900 * time.Millisecond}}
	case gate.LowDouble:
		return []Note{{low, 300 * time.Millisecond}, pause, {low, 300 * time.Millisecond}}
	case gate.LowTriple:
		return []Note{{low, 300 * time.Millisecond}, pause, {low, 300 * time.Millisecond}, pause, {low, 300 * time.Millisecond}}
	case gate.Click:
		return []Note{{high, 15 * time.Millisecond}}
	}
	return nil
}
