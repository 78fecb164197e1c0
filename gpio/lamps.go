package gpio

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"greengate/gate"
)

// lamps is the traffic light. It blinks by itself.
type lamps struct {
	// lines by gate.Colour: red, amber, green, blue; nil where there is none.
	lines [gate.LightDark]*line
	log   *slog.Logger

	mu      sync.Mutex
	known   bool // shown is what the lamps do
	shown   gate.Light
	lit     bool
	shut    bool
	failing bool
	timer   *time.Timer
	turn    uint64
}

// halfPeriod of a blink: 1 Hz slow, 4 Hz fast.
func halfPeriod(b gate.Blink) time.Duration {
	if b == gate.FastBlink {
		return 125 * time.Millisecond
	}
	return 500 * time.Millisecond
}

// lamp returns the lamp that shows a colour. Amber and blue fall back to red:
// a gate with two lamps says "stop" for everything that is not "go".
func (l *lamps) lamp(c gate.Colour) *line {
	if c >= gate.LightDark {
		return nil
	}
	if l.lines[c] == nil && c != gate.LightGreen {
		c = gate.LightRed
	}
	return l.lines[c]
}

// show makes the light so. A light that is shown already keeps its rhythm.
func (l *lamps) show(light gate.Light) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return ErrClosed
	}
	return l.change(light)
}

func (l *lamps) change(light gate.Light) error {
	if l.known && l.shown == light {
		return nil
	}
	l.stop()
	l.shown, l.lit = light, true
	lamp := l.lamp(light.Colour)
	var errs []error
	for _, other := range l.lines {
		if other != nil && other != lamp {
			errs = append(errs, other.drive(false))
		}
	}
	if lamp != nil {
		errs = append(errs, lamp.drive(true))
		if light.Blink != gate.Steady {
			l.blink(lamp)
		}
	}
	err := errors.Join(errs...)
	l.known = err == nil
	return err
}

func (l *lamps) blink(lamp *line) {
	turn := l.turn
	l.timer = time.AfterFunc(halfPeriod(l.shown.Blink), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.turn != turn {
			return
		}
		l.lit = !l.lit
		err := lamp.drive(l.lit)
		if err != nil && !l.failing {
			l.log.Error("light does not blink", "error", err)
		}
		l.failing = err != nil
		l.blink(lamp)
	})
}

func (l *lamps) stop() {
	l.turn++
	if l.timer != nil {
		l.timer.Stop()
	}
}

// red shows red, steady, and drives it even if it is shown already. With shut it is final.
func (l *lamps) red(shut bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return nil
	}
	l.shut = shut
	l.known = false
	return l.change(gate.Light{Colour: gate.LightRed})
}
