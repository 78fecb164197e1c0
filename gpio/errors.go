package gpio

import (
	"errors"
	"fmt"

	"greengate/gate"
)

var (
	// ErrClosed is returned by a panel that was closed; it drives nothing any more.
	ErrClosed = errors.New("gpio panel is closed")
	// ErrRunning is returned by a second Run while the first one watches.
	ErrRunning = errors.New("gpio contacts are watched already")
	// ErrStuck is returned by Close when Run did not end within a second; the outputs are locked.
	ErrStuck = errors.New("gpio contacts did not stop being watched")
	// ErrConfig is wrapped by everything that Validate finds.
	ErrConfig = errors.New("gpio configuration")
	// ErrDriver is wrapped when a driver of the host that is needed did not load.
	ErrDriver = errors.New("gpio host driver did not load")
	// ErrNoLine is wrapped when the board has no such chip or line.
	ErrNoLine = errors.New("no such gpio line")
)

// Errors of the thermometer. Each is a gate.ErrThermometer.
var (
	// ErrBus: the sensor did not acknowledge, or the bus failed.
	ErrBus = fmt.Errorf("%w: i2c bus", gate.ErrThermometer)
	// ErrPEC: the packet error code does not match what was read.
	ErrPEC = fmt.Errorf("%w: wrong packet error code", gate.ErrThermometer)
	// ErrFlag: the sensor set its error flag, the top bit.
	ErrFlag = fmt.Errorf("%w: error flag of the sensor", gate.ErrThermometer)
	// ErrImplausible: a temperature that cannot occur in front of a gate.
	ErrImplausible = fmt.Errorf("%w: implausible temperature", gate.ErrThermometer)
	// ErrDeadline: no complete measurement within the deadline.
	ErrDeadline = fmt.Errorf("%w: deadline", gate.ErrThermometer)
)
