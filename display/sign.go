package display

import "greengate/gate"

// Shape is the picture of a state. No two states that ask for different
// behaviour share one, so that colour is never needed to tell them apart.
type Shape string

// The shapes. The web page draws each; the terminal prints its mark.
const (
	// OutShape is the zero state's: a spanner in a square.
	OutShape Shape = "out"
	// CodeShape is a code between viewfinder corners: show yours.
	CodeShape Shape = "code"
	// WaitShape is an hourglass.
	WaitShape Shape = "wait"
	// PermitShape is a badge: show the permit.
	PermitShape Shape = "permit"
	// MeasureShape is a thermometer.
	MeasureShape Shape = "measure"
	// AgainShape is a thermometer within a turning arrow.
	AgainShape Shape = "again"
	// CloserShape is a person before a mark.
	CloserShape Shape = "closer"
	// GoShape is a tick in a circle.
	GoShape Shape = "go"
	// StopShape is a cross in an octagon.
	StopShape Shape = "stop"
	// AttentionShape is an exclamation mark in a triangle.
	AttentionShape Shape = "attention"
	// LeaveShape is an arrow out of a door: the way out is open, and not the way in.
	LeaveShape Shape = "leave"
	// FireShape is a flame.
	FireShape Shape = "fire"
)

// Shapes lists every shape once.
func Shapes() []Shape {
	return []Shape{OutShape, CodeShape, WaitShape, PermitShape, MeasureShape, AgainShape, CloserShape, GoShape, StopShape, AttentionShape, LeaveShape, FireShape}
}

// Mark returns one character for terminals.
func (s Shape) Mark() string {
	switch s {
	case CodeShape:
		return "▣"
	case WaitShape:
		return "…"
	case PermitShape:
		return "▤"
	case MeasureShape, AgainShape, CloserShape:
		return "°"
	case GoShape:
		return "✓"
	case StopShape:
		return "✕"
	case AttentionShape:
		return "!"
	case LeaveShape:
		return "→"
	case FireShape:
		return "▲"
	}
	return "■"
}

// Ground is the colour that fills the screen. It follows the state and not the
// lamp: a lane that idles with a red lamp still asks for a code in calm blue.
type Ground string

// The grounds.
const (
	GroundOut   Ground = "out"
	GroundBlue  Ground = "blue"
	GroundAmber Ground = "amber"
	GroundGreen Ground = "green"
	GroundRed   Ground = "red"
	GroundFire  Ground = "fire"
)

// Sign is the picture that goes with a view.
type Sign struct {
	Shape  Shape
	Ground Ground
}

// SignOf returns the picture of a view; what is not a state is out of service.
func SignOf(v gate.View) Sign {
	switch v.State {
	case gate.Idle:
		return Sign{CodeShape, GroundBlue}
	case gate.ReadingCode, gate.Recording:
		return Sign{WaitShape, GroundBlue}
	case gate.AwaitPermit:
		return Sign{PermitShape, GroundAmber}
	case gate.Measure:
		return Sign{MeasureShape, GroundAmber}
	case gate.MeasureAgain:
		return Sign{AgainShape, GroundAmber}
	case gate.StepCloser:
		return Sign{CloserShape, GroundAmber}
	case gate.Released:
		if v.Direction == gate.Exit {
			return Sign{LeaveShape, GroundGreen}
		}
		return Sign{GoShape, GroundGreen}
	case gate.Refused:
		return Sign{StopShape, GroundRed}
	case gate.Held:
		return Sign{AttentionShape, GroundAmber}
	case gate.FireOpen:
		return Sign{FireShape, GroundFire}
	}
	return Sign{OutShape, GroundOut}
}
