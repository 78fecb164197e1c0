package gpio

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	pgpio "periph.io/x/conn/v3/gpio"
)

// Mode is how a relay tells the turnstile to open.
type Mode string

const (
	// PulseMode gives one pulse for each release, for a controller that opens
	// for some seconds or one passage. The default.
	PulseMode Mode = "pulse"
	// LevelMode holds the relay for as long as the lane releases.
	LevelMode Mode = "level"
)

// Pull is how a contact is wired and which resistor holds its line while the contact is open.
type Pull string

const (
	// PullUp is the default: the contact connects to ground, the chip pulls up.
	PullUp Pull = "up"
	// PullDown: the contact connects to 3.3 V, the chip pulls down.
	PullDown Pull = "down"
	// ExternalUp and ExternalDown: the same with a resistor on the board.
	ExternalUp   Pull = "external-up"
	ExternalDown Pull = "external-down"
)

// OutputLine is one driven line.
type OutputLine struct {
	// Pin is a BCM name, as "GPIO17", or the line's number on its chip; "" where the lane has none.
	Pin string
	// ActiveLow: the low level is on. A relay so wired fires for a moment
	// whenever the program starts, because lines are requested low.
	ActiveLow bool
}

// InputLine is one contact.
type InputLine struct {
	// Pin as in OutputLine.
	Pin string
	// Pull is how it is wired; PullUp where empty.
	Pull Pull
	// RestsClosed: the contact opens when something happens. The fire input
	// and the tamper contact always rest closed, whatever stands here.
	RestsClosed bool
}

// Config says which line plays which role, and how.
type Config struct {
	// Chip is the label, name or path of the gpio chip, as "pinctrl-bcm2711"
	// or "gpiochip0". Where empty, the chips whose label begins with
	// "pinctrl-" are tried in order: on a Raspberry Pi that is the header.
	Chip string

	Red, Amber, Green, Blue OutputLine
	EntryRelay, ExitRelay   OutputLine
	Buzzer                  OutputLine

	Passage, ExitPassage, ExitButton, Fire, Tamper InputLine

	// Mode of both relays; PulseMode where empty.
	Mode Mode
	// PulseWidth is the length of a pulse, 100 ms to 2 s; 200 ms where 0.
	// Turnstile controllers want at least 100 ms (PERCo manuals).
	PulseWidth time.Duration
	// MaxOn is how long a relay in level mode may be on for one release,
	// 1 s to 1 min; 10 s where 0. It does not bound a release by fire.
	MaxOn time.Duration
	// Settle is how long a contact must be still before a change counts,
	// because mechanical contacts bounce: 1 ms to 500 ms; 30 ms where 0.
	Settle time.Duration
	// FireSettle is the same for the fire input, 1 ms to 15 ms; 10 ms where
	// 0. A circuit that is not still for twice as long counts as broken.
	FireSettle time.Duration
	// AllowUnsafePins permits relays on lines that may fire while the board
	// starts, and active-low relays.
	AllowUnsafePins bool
}

// Default and extreme values.
const (
	defaultPulse      = 200 * time.Millisecond
	minPulse          = 100 * time.Millisecond
	maxPulse          = 2 * time.Second
	defaultMaxOn      = 10 * time.Second
	defaultSettle     = 30 * time.Millisecond
	defaultFireSettle = 10 * time.Millisecond
	// maxBCM is the last line of a BCM283x or BCM2711; the header has 0 to 27.
	maxBCM = 53
)

// withDefaults fills in what was left empty.
func (c Config) withDefaults() Config {
	if c.Mode == "" {
		c.Mode = PulseMode
	}
	if c.PulseWidth == 0 {
		c.PulseWidth = defaultPulse
	}
	if c.MaxOn == 0 {
		c.MaxOn = defaultMaxOn
	}
	if c.Settle == 0 {
		c.Settle = defaultSettle
	}
	if c.FireSettle == 0 {
		c.FireSettle = defaultFireSettle
	}
	for _, in := range []*InputLine{&c.Passage, &c.ExitPassage, &c.ExitButton, &c.Fire, &c.Tamper} {
		if in.Pull == "" {
			in.Pull = PullUp
		}
	}
	c.Fire.RestsClosed = true
	c.Tamper.RestsClosed = true
	return c
}

type outputRole struct {
	role Role
	line OutputLine
}

type inputRole struct {
	role Role
	line InputLine
}

// outputs lists the driven roles, relays first: in this order they are requested and made safe.
func (c Config) outputs() []outputRole {
	return []outputRole{{EntryRelay, c.EntryRelay}, {ExitRelay, c.ExitRelay}, {RedLight, c.Red}, {AmberLight, c.Amber},
		{GreenLight, c.Green}, {BlueLight, c.Blue}, {Buzzer, c.Buzzer}}
}

func (c Config) inputs() []inputRole {
	return []inputRole{{Fire, c.Fire}, {Passage, c.Passage}, {ExitPassage, c.ExitPassage}, {ExitButton, c.ExitButton}, {Tamper, c.Tamper}}
}

// lineError is one thing wrong with one role.
type lineError struct {
	role          Role
	pin           string
	problem, hint string
	cause         error
}

// Error names the role, the pin, what is wrong and what to do about it.
func (e *lineError) Error() string {
	return fmt.Sprintf("%s pin %q: %s; hint: %s", e.role, e.pin, e.problem, e.hint)
}

func (e *lineError) Unwrap() error { return e.cause }

// Validate returns everything that is wrong with the configuration, joined, or
// nil. It opens nothing. Each error is an ErrConfig.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(role Role, pin, problem, hint string) {
		errs = append(errs, &lineError{role, pin, problem, hint, ErrConfig})
	}
	duration := func(name string, d, low, high time.Duration) {
		if d < low || d > high {
			errs = append(errs, fmt.Errorf("%w: %s %v: not within %v to %v", ErrConfig, name, d, low, high))
		}
	}
	if c.Mode != PulseMode && c.Mode != LevelMode {
		errs = append(errs, fmt.Errorf("%w: relay mode %q: neither \"pulse\" nor \"level\"", ErrConfig, c.Mode))
	}
	duration("pulse width", c.PulseWidth, minPulse, maxPulse)
	duration("maximum on-time", c.MaxOn, time.Second, time.Minute)
	duration("settling time", c.Settle, time.Millisecond, 500*time.Millisecond)
	duration("settling time of the fire input", c.FireSettle, time.Millisecond, 15*time.Millisecond)

	taken := map[string]Role{}
	once := func(role Role, pin string) {
		key := pin
		n, isNumber := pinNumber(pin)
		if isNumber {
			key = strconv.Itoa(n)
		}
		switch {
		case strings.TrimSpace(pin) != pin || len(pin) > 31:
			bad(role, pin, "not a pin name", "pins are BCM names, as GPIO17, or line numbers")
		case strings.HasPrefix(pin, "GPIO") && !isNumber:
			bad(role, pin, "not a pin name", "pins are BCM names, as GPIO17, without leading zeros")
		case isNumber && n > maxBCM && c.Chip == "":
			bad(role, pin, "no such line on this kind of board", "pins are BCM names, not positions on the header; the header has GPIO0 to GPIO27")
		}
		if other, ok := taken[key]; ok {
			bad(role, pin, "already used as "+string(other), "each role needs a pin of its own")
			return
		}
		taken[key] = role
	}
	for _, o := range c.outputs() {
		if o.line.Pin == "" {
			continue
		}
		once(o.role, o.line.Pin)
		if o.role != EntryRelay && o.role != ExitRelay || c.AllowUnsafePins {
			continue
		}
		if n, ok := pinNumber(o.line.Pin); ok && unsafeForRelay(n) {
			bad(o.role, o.line.Pin, "may fire while the board starts", unsafeHint)
		}
		if o.line.ActiveLow {
			bad(o.role, o.line.Pin, "active-low, so it fires whenever the program starts", "wire the relay active-high with a pull-down, or allow unsafe pins")
		}
	}
	for _, in := range c.inputs() {
		if in.line.Pin == "" {
			continue
		}
		once(in.role, in.line.Pin)
		switch in.line.Pull {
		case PullUp, PullDown, ExternalUp, ExternalDown:
		default:
			bad(in.role, in.line.Pin, fmt.Sprintf("pull %q is unknown", string(in.line.Pull)), "one of up, down, external-up, external-down")
		}
	}
	return errors.Join(errs...)
}

const unsafeHint = "put a relay on GPIO9 to GPIO13 or GPIO16 to GPIO27, or allow unsafe pins"

// unsafeForRelay tells whether a BCM line pulls up at power-on (0 to 8) or
// carries the console of the boot loader (14, 15).
func unsafeForRelay(n int) bool { return n >= 0 && n <= 8 || n == 14 || n == 15 }

// pinNumber returns the number in "17" or "GPIO17".
func pinNumber(pin string) (int, bool) {
	digits := strings.TrimPrefix(pin, "GPIO")
	if digits == "" || len(digits) > 3 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	for _, d := range []byte(digits) {
		if d < '0' || d > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// bias is what the chip is asked for.
func (p Pull) bias() pgpio.Pull {
	switch p {
	case PullUp, "":
		return pgpio.PullUp
	case PullDown:
		return pgpio.PullDown
	}
	return pgpio.PullNoChange
}

// closed is the level of a closed contact.
func (p Pull) closed() pgpio.Level {
	return pgpio.Level(p == PullDown || p == ExternalDown)
}
