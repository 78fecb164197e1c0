package gate

import (
	"time"

	"greengate/pass"
)

// Opener verifies a code; *pass.Reader is one.
type Opener interface {
	Open(raw []byte, now time.Time) (*pass.Credential, error)
}

// Actuator drives the lights, the turnstile and the buzzer.
type Actuator interface {
	// Apply makes the outputs so: when something locks, the turnstile before
	// the light; when it opens, the turnstile before the light too. It may
	// hang or fail; the lane calls it in a worker with a deadline. It may be
	// called again within one state, as when the way out locks: the tone
	// sounds once for each View.Since.
	Apply(Outputs) error
}

// Screen shows views. A face keeps the latest view and draws it in its own
// time; one whose Show hangs misses views, and holds up nobody.
type Screen interface {
	Show(View)
}

// Clock tells the time of day and how far to trust it. Now keeps its
// monotonic reading.
type Clock interface {
	Now() (time.Time, ClockQuality)
}

// Contact is an input of the lane.
type Contact uint8

const (
	// PassageContact closes when the turnstile turned inwards.
	PassageContact Contact = iota
	// ExitContact closes when it turned outwards.
	ExitContact
	// ExitButton asks for the way out.
	ExitButton
	// FireInput is active while the fire alarm stands; normally closed, so a cut wire is a fire.
	FireInput
	// Tamper is active while the housing is open.
	Tamper
)

// String returns the word that timelines and the log use.
func (c Contact) String() string {
	return [...]string{"passage", "exit-passage", "exit-button", "fire", "tamper"}[min(c, Tamper)]
}

// Input is a settled change of a contact.
type Input struct {
	Contact Contact
	Active  bool
	At      time.Time
}
