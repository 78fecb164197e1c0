package serial

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"greengate/gate"
	"greengate/scanner"
)

// Family is how a scanner is talked to.
type Family string

const (
	// Plain scanners are listened to.
	Plain Family = ""
	// GM65 modules are found at any of their speeds, set up, and told when to
	// read. See the package.
	GM65 Family = "gm65"
)

// DefaultBaud is the speed of a GM65 on its UART from the factory (GM65
// manual, ch. 2). USB-CDC scanners ignore the speed; 115200 is customary.
const DefaultBaud = 9600

// Reader reads codes from a serial port. Set the fields before Run and leave
// them alone afterwards.
type Reader struct {
	// Port is the device, best by a name that stays: /dev/serial/by-id/… or one
	// that a udev rule gives. A link is followed anew at each attempt.
	Port string
	// Baud is the speed in bits a second, 8 data bits, no parity, one stop bit.
	// Zero means DefaultBaud. A GM65 at another speed is brought to this one.
	Baud int
	// Family of the scanner.
	Family Family
	// IdleGap is the silence that ends a code when the scanner sends nothing
	// behind it. Zero means scanner.IdleGap, 60 ms.
	IdleGap time.Duration
	// CodeID is the one-character identifier that the scanner puts in front of
	// each code ('Q' on a GM65 with "Code ID" on). Zero means none.
	CodeID byte
	// SameWithin is how long a code must be out of sight to be scanned again,
	// for a scanner that reads without pause. Zero delivers every reading.
	SameWithin time.Duration
	// Name of the reader in scans and in the log. Empty means "serial".
	Name string
	// Direction the reader faces.
	Direction gate.Direction
	// Log gets a line when the port comes and goes. Nil is silent.
	Log *slog.Logger
	// Open opens the port. Nil means the real one.
	Open func(port string, baud int) (Line, error)

	once   sync.Once
	stream scanner.Stream
	gm65   gm65
}

// Run reads codes until ctx is done and then returns its error. A port that is
// missing or unplugged is logged once and tried again.
func (r *Reader) Run(ctx context.Context, emit func(gate.Scan)) error {
	if r.Port == "" {
		return fmt.Errorf("reader %s: no port given", r.name())
	}
	s := r.init()
	if r.Family == GM65 {
		s.Open = func() (io.ReadCloser, error) { return r.gm65.connect(ctx) }
	}
	return s.Run(ctx, emit)
}

// Attend says whether the lane would take a code now. A GM65 reads only then; it
// is dark while somebody else's arm turns. Others read as they please. Until it
// is called the lane takes all.
func (r *Reader) Attend(on bool) {
	r.init()
	r.gm65.attend(on)
}

// State says whether the port is open and since when, for the status page.
func (r *Reader) State() string { return r.init().State() }

// Connected reports whether the port is open, and since when it is or is not.
func (r *Reader) Connected() (bool, time.Time) { return r.init().Connected() }

// init carries the fields over, once.
func (r *Reader) init() *scanner.Stream {
	r.once.Do(func() {
		open, baud := r.Open, r.Baud
		if open == nil {
			open = openPort
		}
		if baud == 0 {
			baud = DefaultBaud
		}
		s := &r.stream
		s.Name, s.Device, s.Log = r.name(), r.Port, r.Log
		s.Hint = func() string { return hint("/dev") }
		if r.Family == GM65 {
			s.Hint = func() string {
				return hint("/dev") + `; a scanner of another family, or without a wire to its RX, reads without family = "gm65"`
			}
		}
		s.Direction, s.Gap, s.CodeID, s.SameWithin = r.Direction, r.IdleGap, r.CodeID, r.SameWithin
		s.Open = func() (io.ReadCloser, error) { return open(r.Port, baud) }
		g := &r.gm65
		g.port, g.baud, g.open, g.roused = r.Port, baud, open, make(chan struct{}, 1)
		if g.gap = r.IdleGap; g.gap <= 0 {
			g.gap = scanner.IdleGap
		}
		if g.log = r.Log; g.log == nil {
			g.log = slog.New(slog.DiscardHandler)
		}
		g.log = g.log.With("reader", r.name(), "device", r.Port)
	})
	return &r.stream
}

// name is Name or what stands for it.
func (r *Reader) name() string {
	if r.Name == "" {
		return "serial"
	}
	return r.Name
}

// hint names the ports that there are, by their names alone.
func hint(dev string) string {
	var found []string
	for _, pattern := range []string{"serial/by-id/*", "ttyACM*", "ttyUSB*", "ttyAMA*"} {
		// The patterns are constant, so Glob cannot fail.
		names, _ := filepath.Glob(filepath.Join(dev, pattern))
		found = append(found, names...)
	}
	if len(found) == 0 {
		return "no USB or UART serial port on this machine; is the scanner plugged in?"
	}
	return "ports here: " + strings.Join(found, " ")
}
