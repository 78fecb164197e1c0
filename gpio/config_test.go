package gpio_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"greengate/gpio"
	"greengate/gpio/gpiosim"
)

func TestValidate(t *testing.T) {
	if err := (gpio.Config{}).Validate(); err != nil {
		t.Errorf("a gate without any part: %v", err)
	}
	for _, row := range []struct {
		name   string
		change func(*gpio.Config)
		want   []string // parts of the error; none: valid
	}{
		{"as simulated", func(*gpio.Config) {}, nil},
		{"by number", func(c *gpio.Config) { c.Red.Pin = "12" }, nil},
		{"relay on a pin that pulls up at start", func(c *gpio.Config) { c.EntryRelay.Pin = "GPIO4" }, []string{"entry relay", `"GPIO4"`, "fire while the board starts", "hint: "}},
		{"relay on 0", func(c *gpio.Config) { c.EntryRelay.Pin = "0" }, []string{"entry relay", "fire while the board starts"}},
		{"relay on 8", func(c *gpio.Config) { c.ExitRelay.Pin = "8" }, []string{"exit relay", "fire while the board starts"}},
		{"relay on the console", func(c *gpio.Config) { c.ExitRelay.Pin = "GPIO14" }, []string{"exit relay", "fire while the board starts"}},
		{"relay on the console, 15", func(c *gpio.Config) { c.ExitRelay.Pin = "15" }, []string{"fire while the board starts"}},
		{"relay on 9", func(c *gpio.Config) { c.ExitRelay.Pin = "9" }, nil},
		{"light on 4", func(c *gpio.Config) { c.Red.Pin = "GPIO4" }, nil},
		{"unsafe and meant so", func(c *gpio.Config) {
			c.EntryRelay = gpio.OutputLine{Pin: "GPIO4", ActiveLow: true}
			c.AllowUnsafePins = true
		}, nil},
		{"active-low relay", func(c *gpio.Config) { c.EntryRelay.ActiveLow = true }, []string{"entry relay", "active-low", "hint: "}},
		{"active-low light", func(c *gpio.Config) { c.Green.ActiveLow = true }, nil},
		{"same pin twice", func(c *gpio.Config) { c.Buzzer.Pin = "GPIO17" }, []string{"already used", "red light", "buzzer"}},
		{"same pin by number", func(c *gpio.Config) { c.Fire.Pin = "17" }, []string{"fire input", "already used as red light"}},
		{"no such pin", func(c *gpio.Config) { c.Fire.Pin = "GPIO71" }, []string{"fire input", `"GPIO71"`, "BCM"}},
		{"name with a typo", func(c *gpio.Config) { c.Fire.Pin = "GPIO 7" }, []string{"fire input", "not a pin name"}},
		{"name with a letter", func(c *gpio.Config) { c.Fire.Pin = "GPIO1O" }, []string{"fire input", "not a pin name"}},
		{"leading zero", func(c *gpio.Config) { c.Fire.Pin = "GPIO07" }, []string{"fire input", "not a pin name"}},
		{"blank around", func(c *gpio.Config) { c.Tamper.Pin = " X" }, []string{"tamper contact", "not a pin name"}},
		{"another chip's line", func(c *gpio.Config) { c.Chip = "cp2112_gpio"; c.Fire.Pin = "100" }, nil},
		{"pull", func(c *gpio.Config) { c.Passage.Pull = "sideways" }, []string{"passage contact", `pull "sideways"`}},
		{"mode", func(c *gpio.Config) { c.Mode = "toggle" }, []string{`relay mode "toggle"`}},
		{"short pulse", func(c *gpio.Config) { c.PulseWidth = 99 * time.Millisecond }, []string{"pulse width 99ms"}},
		{"long pulse", func(c *gpio.Config) { c.PulseWidth = 3 * time.Second }, []string{"pulse width 3s"}},
		{"maximum on-time", func(c *gpio.Config) { c.MaxOn = time.Hour }, []string{"maximum on-time 1h0m0s"}},
		{"negative settling", func(c *gpio.Config) { c.Settle = -1 }, []string{"settling time -1ns"}},
		{"fire too slow", func(c *gpio.Config) { c.FireSettle = 50 * time.Millisecond }, []string{"settling time of the fire input 50ms"}},
		{"two at once", func(c *gpio.Config) { c.Mode = "x"; c.EntryRelay.Pin = "1" }, []string{"relay mode", "entry relay"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := gpiosim.New(gpio.PulseMode).Config()
			row.change(&cfg)
			err := cfg.Validate()
			if len(row.want) == 0 {
				if err != nil {
					t.Errorf("Validate = %v, want nil", err)
				}
				return
			}
			if !errors.Is(err, gpio.ErrConfig) {
				t.Fatalf("Validate = %v, want an ErrConfig", err)
			}
			for _, part := range row.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Validate = %q, want %q in it", err, part)
				}
			}
			if _, err := gpio.New(gpio.Pins{}, cfg, quiet()); !errors.Is(err, gpio.ErrConfig) {
				t.Errorf("New = %v, want an ErrConfig", err)
			}
			if _, err := gpio.Open(cfg, quiet()); !errors.Is(err, gpio.ErrConfig) {
				t.Errorf("Open = %v, want an ErrConfig", err)
			}
		})
	}
}
