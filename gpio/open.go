package gpio

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"periph.io/x/conn/v3/driver/driverreg"
	pgpio "periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2creg"
	"periph.io/x/host/v3"
	"periph.io/x/host/v3/gpioioctl"
)

// Names of the host drivers that are needed.
const (
	gpioDriver = "ioctl-gpio"
	i2cDriver  = "sysfs-i2c"
)

// initHost loads the host's drivers, once in the life of the process, and
// checks the one that is needed. host.Init returns no error when a driver
// failed, and some fail on every board that is not theirs.
func initHost(need string, log *slog.Logger) error {
	state, err := host.Init()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDriver, err)
	}
	for _, f := range state.Failed {
		log.Debug("host driver failed", "driver", f.D.String(), "error", f.Err)
	}
	return checkDriver(state, need)
}

func checkDriver(state *driverreg.State, need string) error {
	for _, d := range state.Loaded {
		if d.String() == need {
			return nil
		}
	}
	hint := "is /dev/gpiochip0 there, and may this user open it?"
	if need == i2cDriver {
		hint = "is i2c switched on (dtparam=i2c_arm=on), and may this user open /dev/i2c-1?"
	}
	for _, f := range slices.Concat(state.Failed, state.Skipped) {
		if f.D.String() == need {
			return fmt.Errorf("%w: %s: %w; hint: %s", ErrDriver, need, f.Err, hint)
		}
	}
	return fmt.Errorf("%w: %s: unknown on this host; hint: %s", ErrDriver, need, hint)
}

// chip is what is needed of a gpio chip to find lines on it.
type chip struct {
	name, label, path string
	// lines by number; names may be empty or occur twice.
	lines []string
}

// header tells whether the chip carries a Raspberry Pi's header, so that line n is GPIOn.
func (c *chip) header() bool { return strings.HasPrefix(c.label, "pinctrl-") }

// find returns the number of the line that a configuration names.
func (c *chip) find(pin string) (int, error) {
	found := -1
	for n, name := range c.lines {
		// The driver puts the chip's name in front of a name that another driver has taken.
		if name != "" && strings.TrimPrefix(name, c.name+"-") == pin {
			if found >= 0 {
				return 0, fmt.Errorf("%w: two lines of %s are called %s", ErrNoLine, c.name, pin)
			}
			found = n
		}
	}
	if n, ok := pinNumber(pin); found < 0 && ok && n < len(c.lines) && (c.header() || !strings.HasPrefix(pin, "GPIO")) {
		found = n
	}
	if found < 0 {
		return 0, fmt.Errorf("%w: %s [%s] has no line %s", ErrNoLine, c.name, c.label, pin)
	}
	// Line sets are requested by name, so the name must lead back to this line.
	if name := c.lines[found]; name == "" || slices.Index(c.lines, name) != found {
		return 0, fmt.Errorf("%w: line %d of %s has no name of its own", ErrNoLine, found, c.name)
	}
	return found, nil
}

// choose returns the chip that the configuration means, and the number of each
// role's line on it. It finds what Validate cannot know: names that stand for
// the same line, and unsafe lines behind other names.
func choose(chips []chip, cfg Config) (int, map[Role]int, error) {
	var errs []error
	var names []string
	for i := range chips {
		c := &chips[i]
		names = append(names, fmt.Sprintf("%s [%s]", c.name, c.label))
		if cfg.Chip != c.name && cfg.Chip != c.label && cfg.Chip != c.path && (cfg.Chip != "" || !c.header()) {
			continue
		}
		lines, err := c.resolve(cfg)
		if err == nil {
			return i, lines, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return 0, nil, fmt.Errorf("%w: no gpio chip %q; hint: this board has %s", ErrNoLine, cfg.Chip, strings.Join(names, ", "))
	}
	return 0, nil, errors.Join(errs...)
}

func (c *chip) resolve(cfg Config) (map[Role]int, error) {
	lines := map[Role]int{}
	taken := map[int]Role{}
	var errs []error
	add := func(role Role, pin string) {
		if pin == "" {
			return
		}
		n, err := c.find(pin)
		if err != nil {
			errs = append(errs, &lineError{role, pin, err.Error(), "pins are BCM names, as GPIO17, see gpio/doc.go", err})
			return
		}
		if other, ok := taken[n]; ok {
			errs = append(errs, &lineError{role, pin, "already used as " + string(other), "each role needs a pin of its own", ErrConfig})
		}
		if (role == EntryRelay || role == ExitRelay) && c.header() && unsafeForRelay(n) && !cfg.AllowUnsafePins {
			errs = append(errs, &lineError{role, pin, "may fire while the board starts", unsafeHint, ErrConfig})
		}
		taken[n], lines[role] = role, n
	}
	for _, o := range cfg.outputs() {
		add(o.role, o.line.Pin)
	}
	for _, in := range cfg.inputs() {
		add(in.role, in.line.Pin)
	}
	return lines, errors.Join(errs...)
}

// Open finds the lines on this board, takes them and makes the lane safe. It
// fails when a line is missing or held by another program; lines that were
// taken by then are given back.
func Open(cfg Config, log *slog.Logger) (*Panel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := initHost(gpioDriver, log); err != nil {
		return nil, err
	}
	chips := make([]chip, len(gpioioctl.Chips))
	for i, c := range gpioioctl.Chips {
		chips[i] = chip{name: c.Name(), label: c.Label(), path: c.Path()}
		for _, l := range c.Lines() {
			chips[i].lines = append(chips[i].lines, l.Name())
		}
	}
	which, numbers, err := choose(chips, cfg)
	if err != nil {
		return nil, err
	}
	var taken []io.Closer
	giveBack := func(cause error) error {
		errs := []error{cause}
		for _, l := range taken {
			errs = append(errs, l.Close())
		}
		return errors.Join(errs...)
	}
	request := func(role Role, pin string, dir gpioioctl.LineDir, edge pgpio.Edge, pull pgpio.Pull) (*gpioioctl.LineSet, error) {
		set, err := gpioioctl.Chips[which].LineSet(dir, edge, pull, chips[which].lines[numbers[role]])
		if err != nil {
			return nil, &lineError{role, pin, err.Error(), "does another program hold it? gpioinfo tells", err}
		}
		taken = append(taken, set)
		return set, nil
	}
	outs := map[Role]Output{}
	for _, o := range cfg.outputs() {
		if o.line.Pin == "" {
			continue
		}
		set, err := request(o.role, o.line.Pin, gpioioctl.LineOutput, pgpio.NoEdge, pgpio.PullNoChange)
		if err != nil {
			return nil, giveBack(err)
		}
		out := setOutput{set}
		// A line set starts low. Off comes before the next line is asked for.
		if err := out.Out(pgpio.Level(o.line.ActiveLow)); err != nil {
			return nil, giveBack(&lineError{o.role, o.line.Pin, err.Error(), "is the chip still there?", err})
		}
		outs[o.role] = out
	}
	ins := map[Role]Input{}
	for _, in := range cfg.inputs() {
		if in.line.Pin == "" {
			continue
		}
		set, err := request(in.role, in.line.Pin, gpioioctl.LineInput, pgpio.BothEdges, in.line.Pull.bias())
		if err != nil {
			return nil, giveBack(err)
		}
		ins[in.role] = setInput{set}
	}
	p, err := New(Pins{
		Red: outs[RedLight], Amber: outs[AmberLight], Green: outs[GreenLight], Blue: outs[BlueLight],
		EntryRelay: outs[EntryRelay], ExitRelay: outs[ExitRelay], Buzzer: outs[Buzzer],
		Passage: ins[Passage], ExitPassage: ins[ExitPassage], ExitButton: ins[ExitButton], Fire: ins[Fire], Tamper: ins[Tamper],
	}, cfg, log)
	if err != nil {
		return nil, giveBack(err)
	}
	p.lines = taken
	return p, nil
}

// OpenThermometer finds the bus and makes a thermometer on it. It does not ask
// the sensor anything: one that is broken shows when it measures. A bus that
// failed is closed, and opened again for the next measurement.
func OpenThermometer(cfg ThermometerConfig, log *slog.Logger) (*Thermometer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := initHost(i2cDriver, log); err != nil {
		return nil, err
	}
	return openThermometer(func() (i2c.BusCloser, error) {
		bus, err := i2creg.Open(cfg.Bus)
		if err != nil {
			return nil, fmt.Errorf("i2c bus %q: %w; hint: on a Raspberry Pi it is \"1\", switched on by dtparam=i2c_arm=on", cfg.Bus, err)
		}
		return bus, nil
	}, cfg, log)
}

// openThermometer makes a thermometer that opens its bus itself.
func openThermometer(open func() (i2c.BusCloser, error), cfg ThermometerConfig, log *slog.Logger) (*Thermometer, error) {
	bus, err := open()
	if err != nil {
		return nil, err
	}
	t, err := NewThermometer(bus, cfg, log)
	if err != nil {
		return nil, errors.Join(err, bus.Close())
	}
	t.open, t.own = open, bus
	return t, nil
}

// setOutput is a line set of one output.
type setOutput struct{ set *gpioioctl.LineSet }

func (o setOutput) Out(l pgpio.Level) error {
	var bits pgpio.GPIOValue
	if l {
		bits = 1
	}
	return o.set.Out(bits, 1)
}

// setInput is a line set of one input.
type setInput struct{ set *gpioioctl.LineSet }

func (i setInput) Read() (pgpio.Level, error) {
	bits, err := i.set.Read(1)
	return pgpio.Level(bits&1 != 0), err
}

func (i setInput) WaitForEdge(timeout time.Duration) (bool, error) {
	_, _, err := i.set.WaitForEdge(timeout)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}
