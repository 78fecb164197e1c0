package gpiosim

import (
	"sync"
	"time"

	pgpio "periph.io/x/conn/v3/gpio"

	"greengate/gpio"
)

// Output is a simulated line that is driven, active-high.
type Output struct {
	role Role

	mu      sync.Mutex
	on      bool
	fault   error
	changed func(Change)
}

// Role is gpio's.
type Role = gpio.Role

// Change is one change of an output.
type Change struct {
	Role Role
	On   bool
	At   time.Time
}

var _ gpio.Output = (*Output)(nil)

// Out drives the line, unless it has a fault.
func (o *Output) Out(l pgpio.Level) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fault != nil {
		return o.fault
	}
	if on := bool(l); on != o.on {
		o.on = on
		o.changed(Change{o.role, on, time.Now()})
	}
	return nil
}

// On tells whether the line is on.
func (o *Output) On() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.on
}

// SetFault makes Out fail with err and leaves the line as it is; nil heals it.
func (o *Output) SetFault(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault = err
}

// edgeQueue is how many edges a line keeps while nobody waits, as the kernel does.
const edgeQueue = 16

// Input is a simulated contact between a pin and ground, with a pull-up: the
// closed contact reads low.
type Input struct {
	mu     sync.Mutex
	closed bool
	fault  error
	// mute: edges get lost.
	mute  bool
	edges chan struct{}
}

var _ gpio.Input = (*Input)(nil)

func newInput(closed bool) *Input {
	return &Input{closed: closed, edges: make(chan struct{}, edgeQueue)}
}

// Read returns low while the contact is closed.
func (i *Input) Read() (pgpio.Level, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return pgpio.Level(!i.closed), i.fault
}

// WaitForEdge waits for an edge. It panics when the timeout is not positive,
// because drivers disagree on what that means.
func (i *Input) WaitForEdge(timeout time.Duration) (bool, error) {
	if timeout <= 0 {
		panic("gpiosim: WaitForEdge with a timeout that is not positive")
	}
	i.mu.Lock()
	fault := i.fault
	i.mu.Unlock()
	if fault != nil {
		return false, fault
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-i.edges:
		return true, nil
	case <-t.C:
		return false, nil
	}
}

// Set closes or opens the contact.
func (i *Input) Set(closed bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if closed == i.closed {
		return
	}
	i.closed = closed
	if i.mute {
		return
	}
	select {
	case i.edges <- struct{}{}:
	default: // the kernel drops what does not fit, too
	}
}

// SetMute loses edges from now on: only the level tells.
func (i *Input) SetMute(mute bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mute = mute
}

// SetFault makes reading and waiting fail with err, as with a chip that was unplugged; nil heals it.
func (i *Input) SetFault(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = err
}
