package camera

import (
	"sync"
	"time"
)

// Outcome is what became of one picture of a camera.
type Outcome uint8

const (
	// Read: a code was read.
	Read Outcome = iota
	// Unread: the corner of a code was found, and no code read.
	Unread
	// NoFinder: nothing that looks like a code was found.
	NoFinder

	// The others were not looked at.

	// Still: nothing has changed since a picture that was looked at.
	Still
	// TooDark, TooBright and Featureless pictures have no contrast.
	TooDark
	TooBright
	Featureless
	// Blurred: there is contrast, and no edge anywhere.
	Blurred
	// Broken: the picture could not be unpacked.
	Broken
	// Overtaken: a newer one came before its turn.
	Overtaken

	outcomes = iota
)

// words are what outcomes are called, in figures and for technicians.
var words = [outcomes]string{"read", "unread", "no-finder", "still", "too-dark", "too-bright", "featureless", "blurred", "broken", "overtaken"}

// String is one word.
func (o Outcome) String() string {
	if int(o) < len(words) {
		return words[o]
	}
	return "unknown"
}

// Looked reports whether the eye was shown such a picture.
func (o Outcome) Looked() bool { return o <= NoFinder }

// Outcomes lists all of them.
func Outcomes() []Outcome {
	all := make([]Outcome, outcomes)
	for i := range all {
		all[i] = Outcome(i)
	}
	return all
}

// Figures say how a camera has done since the start. None is about a person.
type Figures struct {
	// Frames that came from the camera. Those that have an outcome are counted
	// under it too; a few are on their way.
	Frames   uint64
	Outcomes [outcomes]uint64
	// Looks of the eye at pictures, and the time that they took together.
	Looks    uint64
	LookTime time.Duration
	// Wedges is how often the camera was open and delivered nothing, and was
	// opened anew for it.
	Wedges uint64
}

// Of is the number of pictures with that outcome.
func (f Figures) Of(o Outcome) uint64 { return f.Outcomes[o] }

// tally counts.
type tally struct {
	mu sync.Mutex
	f  Figures
}

func (t *tally) change(f func(*Figures)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.f)
}

// came counts a picture that arrived.
func (t *tally) came() { t.change(func(f *Figures) { f.Frames++ }) }

// ended counts what became of a picture.
func (t *tally) ended(o Outcome, took time.Duration) {
	t.change(func(f *Figures) {
		f.Outcomes[o]++
		if o.Looked() {
			f.Looks++
			f.LookTime += took
		}
	})
}

// wedged counts a camera that fell silent.
func (t *tally) wedged() { t.change(func(f *Figures) { f.Wedges++ }) }

// figures returns what was counted.
func (t *tally) figures() Figures {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.f
}
