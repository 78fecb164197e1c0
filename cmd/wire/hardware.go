package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"greengate/gate"
	"greengate/gpio"
)

// roles are the names that gpio.active_low may list.
var roles = []string{"entry_relay", "exit_relay", "red", "amber", "green", "blue", "buzzer"}

// PanelConfig converts the [gpio] table.
func (c *GPIOConfig) PanelConfig() gpio.Config {
	out := func(role, pin string) gpio.OutputLine {
		return gpio.OutputLine{Pin: pin, ActiveLow: slices.Contains(c.ActiveLow, role)}
	}
	in := func(pin string) gpio.InputLine { return gpio.InputLine{Pin: pin} }
	return gpio.Config{
		Chip:       c.Chip,
		Mode:       gpio.Mode(c.Mode),
		PulseWidth: time.Duration(c.PulseWidth), MaxOn: time.Duration(c.MaxOn), Settle: time.Duration(c.Settle),
		EntryRelay: out("entry_relay", c.EntryRelay), ExitRelay: out("exit_relay", c.ExitRelay),
		Red: out("red", c.Red), Amber: out("amber", c.Amber), Green: out("green", c.Green), Blue: out("blue", c.Blue),
		Buzzer:  out("buzzer", c.Buzzer),
		Passage: in(c.PassageContact), ExitPassage: in(c.ExitContact), ExitButton: in(c.ExitButton),
		Fire: in(c.Fire), Tamper: in(c.Tamper),
	}
}

// SensorConfig converts the [thermometer] table.
func (c *ThermometerConfig) SensorConfig() gpio.ThermometerConfig {
	milli := func(celsius float64) gate.MilliCelsius { return gate.MilliCelsius(celsius * 1000) }
	return gpio.ThermometerConfig{Bus: c.Bus, Addr: uint16(c.Address), Offset: milli(c.Offset), Slope: milli(c.Slope),
		AmbientMin: milli(c.AmbientMin), AmbientMax: milli(c.AmbientMax)}
}

// checkHardware finds what gpio's own rules say of the tables.
func (c *Config) checkHardware(name string) Problems {
	var bad Problems
	if g := c.GPIO; g != nil && g.EntryRelay != "" {
		for _, r := range g.ActiveLow {
			if !slices.Contains(roles, r) {
				bad = append(bad, Problem{name + ": gpio.active_low", fmt.Sprintf("%q is no output", r), "one of " + strings.Join(roles, ", ")})
			}
		}
		bad = append(bad, each(name+": gpio", g.PanelConfig().Validate())...)
	}
	if t := c.Thermometer; t != nil {
		bad = append(bad, each(name+": thermometer", t.SensorConfig().Validate())...)
	}
	return bad
}

// each makes a problem of each joined error.
func each(where string, err error) Problems {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) && !errors.Is(err, errors.ErrUnsupported) {
		var all Problems
		for _, e := range joined.Unwrap() {
			what, hint, _ := strings.Cut(e.Error(), "; hint: ")
			all = append(all, Problem{where, what, hint})
		}
		return all
	}
	what, hint, _ := strings.Cut(err.Error(), "; hint: ")
	return Problems{{where, what, hint}}
}

// OpenHardware takes the pins and makes the lane safe: the first thing that a
// starting gate does. close is never nil.
func OpenHardware(c Config, log *slog.Logger) (hw Hardware, close func() error, err error) {
	var closers []func() error
	close = func() error {
		var errs []error
		for _, f := range slices.Backward(closers) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	if g := c.GPIO; g != nil {
		panel, err := gpio.Open(g.PanelConfig(), log)
		if err != nil {
			return Hardware{}, close, err
		}
		closers = append(closers, panel.Close)
		hw.Panel, hw.PassageContact, hw.ExitContact = panel, g.PassageContact != "", g.ExitContact != ""
	} else {
		log.Warn("no [gpio]: this gate shows verdicts and opens nothing")
	}
	if t := c.Thermometer; t != nil {
		sensor := &thermometer{open: func() (sensor, error) { return gpio.OpenThermometer(t.SensorConfig(), log) }}
		if err := sensor.try(); err != nil {
			log.Error("thermometer not there; people are held until it is", "error", err)
		}
		closers = append(closers, sensor.Close)
		hw.Thermometer = sensor
	}
	return hw, close, nil
}

// sensor is a thermometer that was opened.
type sensor interface {
	gate.Thermometer
	Close() error
}

// thermometer opens its sensor when it is asked and has none: a bus that is
// missing at the start holds people, and does not keep the gate from starting.
type thermometer struct {
	open func() (sensor, error)

	mu     sync.Mutex
	sensor sensor
	closed bool
}

// try opens the sensor unless it is open.
func (t *thermometer) try() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sensor != nil || t.closed {
		return nil
	}
	s, err := t.open()
	if err != nil {
		return fmt.Errorf("%w: %w", gate.ErrThermometer, err)
	}
	t.sensor = s
	return nil
}

// Measure implements gate.Thermometer.
func (t *thermometer) Measure(ctx context.Context) (gate.Reading, error) {
	if err := t.try(); err != nil {
		return gate.Reading{}, err
	}
	t.mu.Lock()
	s := t.sensor
	t.mu.Unlock()
	if s == nil {
		return gate.Reading{}, fmt.Errorf("%w: closed", gate.ErrThermometer)
	}
	return s.Measure(ctx)
}

// Close gives the bus back.
func (t *thermometer) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.sensor == nil {
		return nil
	}
	s := t.sensor
	t.sensor = nil
	return s.Close()
}
