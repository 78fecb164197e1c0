package gpio

import (
	"log/slog"
	"sync"
	"time"

	pgpio "periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"

	"greengate/gate"
)

// beep is one sound of a tone: its pitch and length, and the pause after it.
type beep struct {
	pitch      physic.Frequency
	on, silent time.Duration
}

const (
	high = 2400 * physic.Hertz
	mid  = 1200 * physic.Hertz
	low  = 400 * physic.Hertz
)

const ms = time.Millisecond

// beeps is how a tone sounds. An active buzzer has one pitch, so length alone
// must tell the tones apart: high is short, mid longer, low longest.
func beeps(t gate.Tone) []beep {
	switch t {
	case gate.OneHigh:
		return []beep{{high, 120 * ms, 0}}
	case gate.OneMid:
		return []beep{{mid, 200 * ms, 0}}
	case gate.TwoMid:
		return []beep{{mid, 200 * ms, 150 * ms}, {mid, 200 * ms, 0}}
	case gate.LowLong:
		return []beep{{low, 900 * ms, 0}}
	case gate.LowDouble:
		return []beep{{low, 400 * ms, 200 * ms}, {low, 400 * ms, 0}}
	case gate.LowTriple:
		return []beep{{low, 400 * ms, 200 * ms}, {low, 400 * ms, 200 * ms}, {low, 400 * ms, 0}}
	case gate.Click:
		return []beep{{high, 20 * ms, 0}}
	}
	return nil
}

// toneOf is one entering of a state: the same tone in the same state sounds once.
type toneOf struct {
	tone  gate.Tone
	state gate.State
	since int64
}

// beeper is the buzzer.
type beeper struct {
	line
	log *slog.Logger

	mu      sync.Mutex
	last    toneOf
	shut    bool
	failing bool
	flat    bool // the pin has no PWM after all
	timer   *time.Timer
	turn    uint64
}

// play sounds the tone of a state that was entered. A new tone cuts the old one off.
func (b *beeper) play(o gate.Outputs) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shut {
		return ErrClosed
	}
	now := toneOf{tone: o.Tone, state: o.View.State}
	if !o.View.Since.IsZero() {
		now.since = o.View.Since.UnixNano()
	}
	if now == b.last {
		return nil
	}
	b.last = now
	if o.Tone == gate.Silent {
		return nil // let a short tone of the state before end
	}
	b.stop()
	return b.sound(beeps(o.Tone))
}

func (b *beeper) sound(rest []beep) error {
	if len(rest) == 0 {
		return nil
	}
	if err := b.start(rest[0].pitch); err != nil {
		return err
	}
	b.after(rest[0].on, func() error {
		err := b.drive(false)
		b.after(rest[0].silent, func() error { return b.sound(rest[1:]) })
		return err
	})
	return nil
}

// start makes a sound of that pitch, or of the buzzer's own.
func (b *beeper) start(pitch physic.Frequency) error {
	if t, ok := b.out.(Toner); ok && !b.flat {
		err := t.PWM(pgpio.DutyHalf, pitch)
		if err == nil {
			return nil
		}
		b.flat = true
		b.log.Info("buzzer has one pitch", "pin", b.pin, "error", err)
	}
	return b.drive(true)
}

func (b *beeper) after(d time.Duration, f func() error) {
	b.stop()
	turn := b.turn
	b.timer = time.AfterFunc(d, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.turn != turn {
			return
		}
		err := f()
		if err != nil && !b.failing {
			b.log.Error("buzzer fails", "error", err)
		}
		b.failing = err != nil
	})
}

func (b *beeper) stop() {
	b.turn++
	if b.timer != nil {
		b.timer.Stop()
	}
}

// silence ends every sound. With shut it is final.
func (b *beeper) silence(shut bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shut {
		return nil
	}
	b.stop()
	b.shut = shut
	return b.drive(false)
}
