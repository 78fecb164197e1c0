package gate

import "time"

// Direction is the way through the lane.
type Direction uint8

const (
	// Entry is the zero value: the direction that is guarded.
	Entry Direction = iota
	// Exit always admits.
	Exit
)

// String returns "entry" or "exit".
func (d Direction) String() string {
	if d == Exit {
		return "exit"
	}
	return "entry"
}

// Scan is what a reader read.
type Scan struct {
	// Raw is the code as the reader sent it, framing and identifiers removed.
	// It goes to pass.Reader and nowhere else: never to a log.
	Raw []byte
	// At is when its last byte arrived, with its monotonic reading.
	At time.Time
	// Reader names the reader, as "serial".
	Reader string
	// Direction the reader faces.
	Direction Direction
}
