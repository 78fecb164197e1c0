package gpio

import (
	"time"

	pgpio "periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
)

// Role is what a line does at the lane. Its words stand in errors and logs.
type Role string

// The roles.
const (
	RedLight    Role = "red light"
	AmberLight  Role = "amber light"
	GreenLight  Role = "green light"
	BlueLight   Role = "blue light"
	EntryRelay  Role = "entry relay"
	ExitRelay   Role = "exit relay"
	Buzzer      Role = "buzzer"
	Passage     Role = "passage contact"
	ExitPassage Role = "exit-passage contact"
	ExitButton  Role = "exit button"
	Fire        Role = "fire input"
	Tamper      Role = "tamper contact"
)

// Output is a line that is driven. It is never read back.
type Output interface {
	Out(pgpio.Level) error
}

// Toner is an [Output] that can also make a square wave, for a passive buzzer.
// A buzzer without it is taken to be an active one, with one pitch.
type Toner interface {
	PWM(pgpio.Duty, physic.Frequency) error
}

// Input is a line that is read.
type Input interface {
	// Read returns the level now, or why it cannot be told.
	Read() (pgpio.Level, error)
	// WaitForEdge waits for an edge or for the timeout, which is always
	// positive. It returns whether there was an edge. A line that cannot wait
	// may return early; the caller paces itself.
	WaitForEdge(timeout time.Duration) (bool, error)
}

// Pins are the lines of one lane. A nil line is a role that this lane lacks.
type Pins struct {
	Red, Amber, Green, Blue Output
	EntryRelay, ExitRelay   Output
	Buzzer                  Output

	Passage, ExitPassage, ExitButton, Fire, Tamper Input
}
