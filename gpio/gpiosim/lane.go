package gpiosim

import (
	"context"
	"errors"
	"sync"
	"time"

	"periph.io/x/conn/v3/i2c"

	"greengate/gate"
	"greengate/gpio"
)

// ErrLocked is returned by Walk when the turnstile is locked in that direction.
var ErrLocked = errors.New("turnstile is locked")

// OpenFor is how long the simulated controller opens after a pulse, unless one passage comes first.
const OpenFor = 5 * time.Second

// Times of a simulated person and of simulated metal.
const (
	turning = 300 * time.Millisecond // the passage contact is closed while the arm turns
	pressed = 200 * time.Millisecond // a finger on the exit button
	bounce  = 2 * time.Millisecond
)

// Lane is a lane in memory.
type Lane struct {
	// The lines, for observation and faults. Fire and Tamper rest closed.
	Red, Amber, Green, Blue                        *Output
	EntryRelay, ExitRelay, Buzzer                  *Output
	Passage, ExitPassage, ExitButton, Fire, Tamper *Input
	// Thermometer is the sensor on the bus.
	Thermometer *MLX90614

	mode gpio.Mode
	// Bounces is how often a contact bounces when it moves. Set it before the lane is used; New sets 3.
	Bounces int

	mu       sync.Mutex
	observer func(Change)
	// until is when the controller locks again after a pulse, by direction.
	until [2]time.Time
}

// New returns a lane whose turnstile understands that mode: pulses, or a held level.
func New(mode gpio.Mode) *Lane {
	l := &Lane{mode: mode, Bounces: 3, Thermometer: NewMLX90614()}
	for role, o := range map[Role]**Output{gpio.RedLight: &l.Red, gpio.AmberLight: &l.Amber, gpio.GreenLight: &l.Green,
		gpio.BlueLight: &l.Blue, gpio.EntryRelay: &l.EntryRelay, gpio.ExitRelay: &l.ExitRelay, gpio.Buzzer: &l.Buzzer} {
		*o = &Output{role: role, changed: l.changed}
	}
	l.Passage, l.ExitPassage, l.ExitButton = newInput(false), newInput(false), newInput(false)
	l.Fire, l.Tamper = newInput(true), newInput(true)
	return l
}

// Pins are the lane's lines as package gpio takes them.
func (l *Lane) Pins() gpio.Pins {
	return gpio.Pins{
		Red: l.Red, Amber: l.Amber, Green: l.Green, Blue: l.Blue, EntryRelay: l.EntryRelay, ExitRelay: l.ExitRelay, Buzzer: l.Buzzer,
		Passage: l.Passage, ExitPassage: l.ExitPassage, ExitButton: l.ExitButton, Fire: l.Fire, Tamper: l.Tamper,
	}
}

// Config names the lane's lines as they would be wired on a Raspberry Pi, in the lane's mode.
func (l *Lane) Config() gpio.Config {
	out := func(pin string) gpio.OutputLine { return gpio.OutputLine{Pin: pin} }
	in := func(pin string) gpio.InputLine { return gpio.InputLine{Pin: pin} }
	return gpio.Config{
		Red: out("GPIO17"), Amber: out("GPIO27"), Green: out("GPIO22"), Blue: out("GPIO23"),
		EntryRelay: out("GPIO24"), ExitRelay: out("GPIO25"), Buzzer: out("GPIO18"),
		Passage: in("GPIO5"), ExitPassage: in("GPIO6"), ExitButton: in("GPIO13"), Fire: in("GPIO19"), Tamper: in("GPIO26"),
		Mode: l.mode,
	}
}

// Bus is the I²C bus with the thermometer on it.
func (l *Lane) Bus() i2c.Bus { return l.Thermometer }

// OnChange calls f with every change of an output, in order, one at a time;
// it replaces the f before. f must not block, and must not call the lane.
func (l *Lane) OnChange(f func(Change)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.observer = f
}

func (l *Lane) changed(c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.On && l.mode != gpio.LevelMode {
		switch c.Role {
		case gpio.EntryRelay:
			l.until[gate.Entry] = c.At.Add(OpenFor)
		case gpio.ExitRelay:
			l.until[gate.Exit] = c.At.Add(OpenFor)
		}
	}
	if l.observer != nil {
		l.observer(c)
	}
}

// Open tells whether the turnstile would turn in that direction now.
func (l *Lane) Open(d gate.Direction) bool {
	if l.mode == gpio.LevelMode {
		if d == gate.Exit {
			return l.ExitRelay.On()
		}
		return l.EntryRelay.On()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.until[d&1])
}

// Walk is a person going through. The passage contact closes while the arm
// turns, and in pulse mode the controller then locks again. It takes 300 ms
// and returns ErrLocked at once when the turnstile is locked.
func (l *Lane) Walk(ctx context.Context, d gate.Direction) error {
	if !l.Open(d) {
		return ErrLocked
	}
	l.mu.Lock()
	l.until[d&1] = time.Time{}
	l.mu.Unlock()
	contact := l.Passage
	if d == gate.Exit {
		contact = l.ExitPassage
	}
	return l.press(ctx, contact, turning)
}

// PressExit is a finger on the exit button. It takes 200 ms.
func (l *Lane) PressExit(ctx context.Context) error {
	return l.press(ctx, l.ExitButton, pressed)
}

// SetFire opens the fire circuit, as an alarm or a cut wire does, or closes it again.
func (l *Lane) SetFire(alarm bool) { l.Fire.Set(!alarm) }

// SetTamper opens the housing, or closes it.
func (l *Lane) SetTamper(open bool) { l.Tamper.Set(!open) }

// press closes a contact for a time, bouncing both ways. When ctx ends early it still opens it.
func (l *Lane) press(ctx context.Context, c *Input, d time.Duration) error {
	defer c.Set(false)
	err := l.move(ctx, c, true)
	if err == nil {
		err = wait(ctx, d)
	}
	if err == nil {
		err = l.move(ctx, c, false)
	}
	return err
}

// move brings a contact to rest in a new position, after some bounces.
func (l *Lane) move(ctx context.Context, c *Input, closed bool) error {
	for range l.Bounces {
		c.Set(closed)
		if err := wait(ctx, bounce); err != nil {
			return err
		}
		c.Set(!closed)
		if err := wait(ctx, bounce); err != nil {
			return err
		}
	}
	c.Set(closed)
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
