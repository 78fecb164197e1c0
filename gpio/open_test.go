package gpio

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"periph.io/x/conn/v3/driver"
	"periph.io/x/conn/v3/driver/driverreg"
	pgpio "periph.io/x/conn/v3/gpio"

	"greengate/gate"
)

func header(label string) chip {
	c := chip{name: "gpiochip0", label: label, path: "/dev/gpiochip0"}
	for n := range 28 {
		c.lines = append(c.lines, [...]string{"ID_SDA", "ID_SCL", "GPIO2", "GPIO3", "GPIO4", "GPIO5", "GPIO6", "GPIO7", "GPIO8", "GPIO9",
			"GPIO10", "GPIO11", "GPIO12", "GPIO13", "TXD1", "RXD1", "GPIO16", "GPIO17", "GPIO18", "GPIO19", "GPIO20", "GPIO21",
			"GPIO22", "gpiochip0-GPIO23", "", "TWICE", "TWICE", "GPIO27"}[n])
	}
	return c
}

func TestChoose(t *testing.T) {
	expander := chip{name: "gpiochip2", label: "cp2112_gpio", path: "/dev/gpiochip2", lines: []string{"A", "B", "C"}}
	firmware := chip{name: "gpiochip1", label: "raspberrypi-exp-gpio", path: "/dev/gpiochip1", lines: []string{"GPIO17"}}
	chips := []chip{firmware, header("pinctrl-bcm2711"), expander}
	entry := func(pin string) Config { return Config{EntryRelay: OutputLine{Pin: pin}} }
	for _, row := range []struct {
		name  string
		cfg   Config
		chip  int
		entry int
		want  []string // parts of the error; none: found
	}{
		{"by name", entry("GPIO17"), 1, 17, nil},
		{"by number", entry("17"), 1, 17, nil},
		{"name that another driver took", entry("GPIO23"), 1, 23, nil},
		{"number behind another name", Config{Red: OutputLine{Pin: "GPIO14"}, EntryRelay: OutputLine{Pin: "9"}}, 1, 9, nil},
		{"unsafe behind another name", entry("TXD1"), 0, 0, []string{"entry relay", `"TXD1"`, "fire while the board starts"}},
		{"same line by two names", Config{EntryRelay: OutputLine{Pin: "GPIO17"}, Fire: InputLine{Pin: "TXD1"}, Tamper: InputLine{Pin: "14"}}, 0, 0,
			[]string{"tamper contact", "already used as fire input"}},
		{"no such line", entry("GPIO71"), 0, 0, []string{"entry relay", `"GPIO71"`, "no line GPIO71", "hint: "}},
		{"line without a name", entry("GPIO24"), 0, 0, []string{"no name of its own"}},
		{"ambiguous name", entry("TWICE"), 0, 0, []string{"two lines"}},
		{"number of an ambiguous name", entry("26"), 0, 0, []string{"no name of its own"}},
		{"chip by label", Config{Chip: "cp2112_gpio", EntryRelay: OutputLine{Pin: "B"}}, 2, 1, nil},
		{"chip by name, line by number", Config{Chip: "gpiochip2", EntryRelay: OutputLine{Pin: "2"}}, 2, 2, nil},
		{"chip by path", Config{Chip: "/dev/gpiochip2", EntryRelay: OutputLine{Pin: "A"}}, 2, 0, nil},
		{"GPIO names belong to the header", Config{Chip: "gpiochip2", EntryRelay: OutputLine{Pin: "GPIO2"}}, 0, 0, []string{"no line GPIO2"}},
		{"no such chip", Config{Chip: "gpiochip9"}, 0, 0, []string{`"gpiochip9"`, "cp2112_gpio", "pinctrl-bcm2711"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			which, lines, err := choose(chips, row.cfg)
			if len(row.want) == 0 {
				if err != nil || which != row.chip || lines[EntryRelay] != row.entry {
					t.Errorf("chip %d line %d error %v, want chip %d line %d", which, lines[EntryRelay], err, row.chip, row.entry)
				}
				return
			}
			if err == nil || !errors.Is(err, ErrNoLine) && !errors.Is(err, ErrConfig) {
				t.Fatalf("error %v, want ErrNoLine or ErrConfig", err)
			}
			for _, part := range row.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q, want %q in it", err, part)
				}
			}
		})
	}
}

type namedDriver struct {
	driver.Impl
	name string
}

func (d namedDriver) String() string { return d.name }

// host.Init reports no error when a driver failed; others may fail on this board.
func TestCheckDriver(t *testing.T) {
	denied := errors.New("permission denied")
	state := &driverreg.State{
		Loaded:  []driver.Impl{namedDriver{name: "ioctl-gpio"}},
		Skipped: []driverreg.DriverFailure{{D: namedDriver{name: "sysfs-spi"}, Err: errors.New("no bus")}},
		Failed: []driverreg.DriverFailure{{D: namedDriver{name: "bcm283x-gpio"}, Err: errors.New("can't register alias PWM0_OUT")},
			{D: namedDriver{name: "sysfs-i2c"}, Err: denied}},
	}
	if err := checkDriver(state, gpioDriver); err != nil {
		t.Errorf("loaded driver: %v", err)
	}
	if err := checkDriver(state, i2cDriver); !errors.Is(err, ErrDriver) || !errors.Is(err, denied) || !strings.Contains(err.Error(), "sysfs-i2c") {
		t.Errorf("failed driver: %v, want its name and cause", err)
	}
	if err := checkDriver(&driverreg.State{}, gpioDriver); !errors.Is(err, ErrDriver) || !strings.Contains(err.Error(), "ioctl-gpio") {
		t.Errorf("missing driver: %v, want its name", err)
	}
}

// A panic on the way from a contact to the lane locks first, and then goes on.
func TestPanicInEmit(t *testing.T) {
	var relay recorded
	p, err := New(Pins{EntryRelay: &relay, Fire: cut{}}, Config{Mode: LevelMode}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := p.Apply(gate.Outputs{Entry: true}); err != nil || !relay.level {
		t.Fatalf("Apply = %v, relay %v, want released", err, relay.level)
	}
	defer func() {
		if r := recover(); r != "lane" {
			t.Errorf("recovered %v, want the panic of emit", r)
		}
		if relay.level {
			t.Error("not locked")
		}
	}()
	p.watch(t.Context(), p.contacts[0], func(gate.Input) { panic("lane") })
}

type recorded struct{ level pgpio.Level }

func (r *recorded) Out(l pgpio.Level) error {
	r.level = l
	return nil
}

// cut is an input whose wire is cut.
type cut struct{}

func (cut) Read() (pgpio.Level, error)              { return pgpio.High, nil }
func (cut) WaitForEdge(time.Duration) (bool, error) { return false, nil }

func TestBias(t *testing.T) {
	for pull, want := range map[Pull]pgpio.Pull{"": pgpio.PullUp, PullUp: pgpio.PullUp, PullDown: pgpio.PullDown,
		ExternalUp: pgpio.PullNoChange, ExternalDown: pgpio.PullNoChange} {
		if got := pull.bias(); got != want {
			t.Errorf("bias of %q = %v, want %v", pull, got, want)
		}
	}
}

func TestOpenWithoutHardware(t *testing.T) {
	for _, glob := range []string{"/dev/gpiochip*", "/dev/i2c-*"} {
		if found, err := filepath.Glob(glob); err != nil || len(found) > 0 {
			t.Skipf("this machine has %q: opening them is not this test's business", found)
		}
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if p, err := Open(Config{EntryRelay: OutputLine{Pin: "GPIO24"}}, log); p != nil || !errors.Is(err, ErrDriver) || !strings.Contains(err.Error(), "ioctl-gpio") {
		t.Errorf("Open = %v, %v, want an ErrDriver that names ioctl-gpio", p, err)
	}
	if th, err := OpenThermometer(ThermometerConfig{Bus: "1"}, log); th != nil || err == nil || !strings.Contains(err.Error(), "i2c") {
		t.Errorf("OpenThermometer = %v, %v, want an error that names the bus", th, err)
	}
}
