package serial

import (
	"fmt"
	"io"

	"go.bug.st/serial"
)

// Line is an open serial port.
type Line interface {
	io.ReadWriteCloser
	// SetBaud changes the speed, with the port open.
	SetBaud(baud int) error
	// Flush drops what waits to be sent, and so ends a Write that hangs: it has
	// no timeout of its own.
	Flush() error
}

// port is a real port, or the slave of a pseudo-terminal.
type port struct{ serial.Port }

// SetBaud implements Line.
func (p port) SetBaud(baud int) error { return p.SetMode(&serial.Mode{BaudRate: baud}) }

// Flush implements Line.
func (p port) Flush() error { return p.ResetOutputBuffer() }

// openPort opens a port.
func openPort(name string, baud int) (Line, error) {
	release, err := shareable(name)
	if err != nil {
		return nil, fmt.Errorf("serial port %s: %w", name, err)
	}
	defer release()
	p, err := serial.Open(name, &serial.Mode{BaudRate: baud})
	if err != nil {
		return nil, fmt.Errorf("serial port %s: %w", name, err)
	}
	return port{p}, nil
}
