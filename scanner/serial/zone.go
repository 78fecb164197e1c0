package serial

import "fmt"

// Addresses of zones (GM65 manual, ch. 8.5).
const (
	zoneMode    = 0x0000
	zoneTrigger = 0x0002
	zoneSetup   = 0x0003
	zoneTime    = 0x0006
	zoneOutput  = 0x000D
	zoneBaud    = 0x002A
	zoneSuffix  = 0x0060
)

// zone is what the gate wants of one byte of a GM65's settings; the other bits
// are the owner's: light, sounds, kinds of code.
type zone struct {
	address    uint16
	mask, want byte
	what       string
}

// readTime is how long the module looks for a code after a trigger, in tenths
// of a second. It ends by itself then and says nothing.
const readTime = 50

// zones are the gate's settings. The first is written first: from then on a
// visitor's setup barcode does nothing. usb is a module that is itself the
// serial port.
func zones(usb bool) []zone {
	output := zone{zoneOutput, 0x03, 0x00, "codes to the UART"}
	if usb {
		output.want, output.what = 0x03, "codes to the virtual serial port"
	}
	return []zone{
		{zoneSetup, 0x02, 0x02, "setup barcodes locked"},
		{zoneMode, 0x03, 0x01, "reads when told to"},
		{zoneTime, 0xff, readTime, "reads for 5 s"},
		output,
		{zoneSuffix, 0xe0, 0x00, "codes as they are, CR behind"},
	}
}

// settings are the zones that were read: 0x0000 to 0x000D, and 0x0060.
type settings struct {
	first  [maxZones]byte
	suffix byte
}

// of returns one byte of them.
func (s *settings) of(address uint16) byte {
	if address == zoneSuffix {
		return s.suffix
	}
	return s.first[address]
}

// differs reports the first zone that is not as the gate wants it.
func (s *settings) differs(wanted []zone) error {
	for _, z := range wanted {
		if v := s.of(z.address); v&z.mask != z.want {
			return fmt.Errorf("%w: zone 0x%04X is 0x%02X, wanted: %s", errChanged, z.address, v, z.what)
		}
	}
	return nil
}

// speeds are the values of zone 0x002A: the first byte on the wire is the low
// one. 14400 has none in the sources we have; it is tried all the same.
var speeds = []struct {
	baud int
	code uint16
}{
	{9600, 0x0139}, {115200, 0x001a}, {57600, 0x0034}, {38400, 0x004e}, {19200, 0x009c}, {14400, 0},
}

// speedCode is the value of zone 0x002A for a speed, 0 for one that has none.
func speedCode(baud int) uint16 {
	for _, s := range speeds {
		if s.baud == baud {
			return s.code
		}
	}
	return 0
}

// isSpeed reports whether the value stands for any speed.
func isSpeed(code uint16) bool {
	for _, s := range speeds {
		if s.code != 0 && s.code == code {
			return true
		}
	}
	return false
}

// GM65Baud reports whether a GM65 can be set to this speed.
func GM65Baud(baud int) bool { return speedCode(baud) != 0 }
