package gate

import "time"

// Colour of a light.
type Colour uint8

const (
	// LightRed is the zero value.
	LightRed Colour = iota
	LightAmber
	LightGreen
	LightBlue
	LightDark
)

// Blink of a light.
type Blink uint8

const (
	// Steady is the zero value.
	Steady Blink = iota
	// SlowBlink is 1 Hz, half on.
	SlowBlink
	// FastBlink is 4 Hz, half on.
	FastBlink
)

// Light is what the traffic light shows. The zero Light is red, steady.
type Light struct {
	Colour Colour
	Blink  Blink
}

// String returns the words that timelines and the gate's terminal use, as "amber blink".
func (l Light) String() string {
	s := [...]string{"red", "amber", "green", "blue", "dark"}[min(l.Colour, LightDark)]
	switch l.Blink {
	case SlowBlink:
		s += " slow"
	case FastBlink:
		s += " fast"
	}
	return s
}

// Tone is what the buzzer says when a state is entered.
type Tone uint8

const (
	Silent Tone = iota
	OneHigh
	OneMid
	TwoMid
	LowLong
	LowDouble
	LowTriple
	Click
)

// String returns the words of the design's policy table.
func (t Tone) String() string {
	return [...]string{"none", "one high", "one mid", "two mid", "low long", "low double", "low triple", "click"}[min(t, Click)]
}

// Outputs is everything the lane drives; it follows from the lane's state
// alone. The zero Outputs is locked and red.
type Outputs struct {
	// Entry and Exit are released directions of the turnstile. Exit is never refused.
	Entry, Exit bool
	// Entries and Exits count the releases. One that begins while another
	// stands leaves Entry or Exit as it is and shows here alone; it wants a
	// pulse, or the full time, of its own.
	Entries, Exits uint64
	Light          Light
	Tone           Tone
	View           View
}

// State is a state of the lane.
type State uint8

const (
	// OutOfService is the zero value: nothing works until the lane has started, or a fault.
	OutOfService State = iota
	Idle
	// Reading: a scan is being opened and looked up.
	ReadingCode
	// AwaitPermit: the health code is fine, the permit is missing.
	AwaitPermit
	// Measure: the thermometer is being read.
	Measure
	MeasureAgain
	StepCloser
	// Recording: the final decision is on its way to the disk.
	Recording
	// Released: the turnstile is open, with a deadline.
	Released
	// Refused is shown for a while.
	Refused
	// Held waits for the guard, with a deadline.
	Held
	// FireOpen: the fire input has released everything.
	FireOpen
)

// String returns the word that pages, timelines and metrics use.
func (s State) String() string {
	return [...]string{"out-of-service", "idle", "reading", "await-permit", "measure", "again", "closer", "recording", "released", "refused", "held", "fire"}[min(s, FireOpen)]
}

// View is what a person in front of the gate and the guard may see of the lane.
type View struct {
	State    State
	Decision Decision
	// Direction of the passage in hand.
	Direction Direction
	// Name is the masked name, "" where none is known. Shown, never logged.
	Name string
	// Kind of code, as pass.Kind's words; "" before it opened.
	Kind string
	// Colour of the code; StatusUnknown before it was looked up.
	Colour Status
	// Reading is the last temperature, nil where none was taken.
	Reading *Reading
	// Light and Tone as driven.
	Light Light
	Tone  Tone
	// Sequence of the decision in the journal, 0 before it is on disk.
	Sequence uint64
	// Scanned is when the code arrived; Since is when this state began; Until is its deadline, zero where it has none.
	Scanned, Since, Until time.Time
	// Code of the fault, as "journal-timeout"; "" where there is none.
	FaultCode string
	// GuardMayAdmit: the state is Held, or a red code is refused and
	// Policy.RedOverride lets a guard admit it all the same.
	GuardMayAdmit bool
	// Count grows by one with each view, so that a face can tell two equal ones apart.
	Count uint64
}
