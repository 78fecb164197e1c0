package gpiosim

import (
	"errors"
	"fmt"
	"sync"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"greengate/gate"
)

// ErrNACK is what the bus returns when nobody acknowledges.
var ErrNACK = errors.New("gpiosim: no acknowledge")

// Fault is what the simulated thermometer does wrong.
type Fault uint8

const (
	// NoFault is the zero value.
	NoFault Fault = iota
	// NACK: the sensor does not acknowledge, as when it is unplugged.
	NACK
	// BadPEC: a bit of the packet error code is wrong.
	BadPEC
	// ErrorFlag: the sensor says that its own number is wrong.
	ErrorFlag
	// Hang: the transfer does not end until the fault does.
	Hang
)

// Addr is the sensor's address on the bus.
const Addr = 0x5a

// wrongAfterPowerOn is how many words of the object register are wrong after power-on.
const wrongAfterPowerOn = 2

// MLX90614 is a bus with a simulated thermometer at 0x5a. It answers the two
// words of RAM that hold temperatures, with their packet error code.
type MLX90614 struct {
	mu              sync.Mutex
	object, ambient gate.MilliCelsius
	fault           Fault
	left            int // transfers that the fault lasts, negative for ever
	wrong           int // words of the object register that are still wrong
	healed          chan struct{}
	transfers       int
}

var _ i2c.Bus = (*MLX90614)(nil)

// NewMLX90614 returns a sensor just powered on, in a room of 24 °C with nobody in front of it.
func NewMLX90614() *MLX90614 {
	m := &MLX90614{healed: make(chan struct{})}
	m.SetTemperature(24000, 24000)
	m.PowerOn()
	return m
}

// SetTemperature sets what the sensor sees and how warm it is itself. The
// sensor's steps are 0.02 °C wide and lie on odd hundredths, so 36.60 °C reads
// as 36.61 °C: it is rounded up.
func (m *MLX90614) SetTemperature(object, ambient gate.MilliCelsius) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.object, m.ambient = object, ambient
}

// SetFault starts a fault for a number of transfers, or for ever where it is
// negative. It ends the fault before.
func (m *MLX90614) SetFault(f Fault, transfers int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault, m.left = f, transfers
	close(m.healed)
	m.healed = make(chan struct{})
}

// PowerOn makes the next words of the object register wrong, as after power-on.
func (m *MLX90614) PowerOn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = wrongAfterPowerOn
}

// Transfers counts the transfers so far.
func (m *MLX90614) Transfers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.transfers
}

// String names the bus.
func (m *MLX90614) String() string { return "gpiosim" }

// SetSpeed is accepted: the sensor follows up to 100 kHz.
func (m *MLX90614) SetSpeed(f physic.Frequency) error {
	if f > 100*physic.KiloHertz {
		return fmt.Errorf("gpiosim: %v is too fast for SMBus", f)
	}
	return nil
}

// Tx answers a read of three bytes: low, high, PEC.
func (m *MLX90614) Tx(addr uint16, w, r []byte) error {
	m.mu.Lock()
	m.transfers++
	fault, healed := NoFault, m.healed
	if m.left != 0 {
		fault = m.fault
		if m.left > 0 {
			m.left--
		}
	}
	m.mu.Unlock()
	if fault == Hang {
		<-healed
		return ErrNACK
	}
	if addr != Addr || fault == NACK {
		return ErrNACK
	}
	if len(w) != 1 || len(r) != 3 {
		return fmt.Errorf("gpiosim: transfer of %d bytes out and %d in: %w", len(w), len(r), ErrNACK)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var value gate.MilliCelsius
	switch w[0] {
	case 0x06:
		value = m.ambient
	case 0x07:
		value = m.object
		if m.wrong > 0 {
			m.wrong--
			value += 5000
		}
	default:
		return ErrNACK
	}
	raw := uint16((value + 273150 + 10) / 20)
	if fault == ErrorFlag {
		raw |= 0x8000
	}
	r[0], r[1] = byte(raw), byte(raw>>8)
	r[2] = crc8([]byte{Addr << 1, w[0], Addr<<1 | 1, r[0], r[1]})
	if fault == BadPEC {
		r[2] ^= 0x10
	}
	return nil
}

// crc8 is written out here, by long division, so that a mistake in the driver's does not repeat.
func crc8(message []byte) byte {
	var rest uint16
	for _, b := range append(message, 0) {
		for bit := 7; bit >= 0; bit-- {
			rest = rest<<1 | uint16(b>>bit&1)
			if rest&0x100 != 0 {
				rest ^= 0x107
			}
		}
	}
	return byte(rest)
}
