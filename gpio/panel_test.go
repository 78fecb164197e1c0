package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pgpio "periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"greengate/gate"
	"greengate/gpio"
	"greengate/gpio/gpiosim"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// timeline records what the lane's outputs do, with times since the bubble began.
type timeline struct {
	began time.Time
	mu    sync.Mutex
	lines []string
	roles []gpio.Role
}

func watch(lane *gpiosim.Lane, roles ...gpio.Role) *timeline {
	t := &timeline{began: time.Now(), roles: roles}
	lane.OnChange(func(c gpiosim.Change) {
		if len(t.roles) > 0 && !slices.Contains(t.roles, c.Role) {
			return
		}
		word := "off"
		if c.On {
			word = "on"
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.lines = append(t.lines, fmt.Sprintf("%v %s %s", c.At.Sub(t.began), c.Role, word))
	})
	return t
}

// expect compares and starts afresh.
func (tl *timeline) expect(t *testing.T, want ...string) {
	t.Helper()
	tl.mu.Lock()
	defer tl.mu.Unlock()
	if !slices.Equal(tl.lines, want) {
		t.Errorf("timeline:\n got %s\nwant %s", strings.Join(tl.lines, "\n     "), strings.Join(want, "\n     "))
	}
	tl.lines = nil
}

// count tells how many changes there were.
func (tl *timeline) count() int {
	tl.mu.Lock()
	defer tl.mu.Unlock()
	return len(tl.lines)
}

// panel on a simulated lane; it is closed when the test ends.
func panel(t *testing.T, lane *gpiosim.Lane, change ...func(*gpio.Config)) *gpio.Panel {
	t.Helper()
	cfg := lane.Config()
	for _, c := range change {
		c(&cfg)
	}
	p, err := gpio.New(lane.Pins(), cfg, quiet())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil && !errors.Is(err, gpio.ErrStuck) {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func apply(t *testing.T, p *gpio.Panel, o gate.Outputs) {
	t.Helper()
	if err := p.Apply(o); err != nil {
		t.Fatalf("Apply(%+v): %v", o, err)
	}
}

var (
	locked  = gate.Outputs{}
	entry   = gate.Outputs{Entry: true, Light: gate.Light{Colour: gate.LightGreen}}
	byFire  = gate.Outputs{Entry: true, Exit: true, Light: gate.Light{Colour: gate.LightGreen}, View: gate.View{State: gate.FireOpen}}
	relays  = []gpio.Role{gpio.EntryRelay, gpio.ExitRelay}
	longAgo = 24 * time.Hour
)

// driven is an Output that writes down what it was told.
type driven struct {
	role gpio.Role
	log  *[]string
	err  error
}

func (d *driven) Out(l pgpio.Level) error {
	*d.log = append(*d.log, fmt.Sprintf("%s %v", d.role, l))
	return d.err
}

func TestFirstDrivenIsLocked(t *testing.T) {
	for _, activeLow := range []bool{false, true} {
		var log []string
		pins := gpio.Pins{EntryRelay: &driven{gpio.EntryRelay, &log, nil}, ExitRelay: &driven{gpio.ExitRelay, &log, nil},
			Red: &driven{gpio.RedLight, &log, nil}, Green: &driven{gpio.GreenLight, &log, nil}, Buzzer: &driven{gpio.Buzzer, &log, nil}}
		cfg := gpio.Config{EntryRelay: gpio.OutputLine{ActiveLow: activeLow}, ExitRelay: gpio.OutputLine{ActiveLow: activeLow}}
		p, err := gpio.New(pins, cfg, quiet())
		if err != nil {
			t.Fatal(err)
		}
		off := pgpio.Level(activeLow)
		want := []string{fmt.Sprintf("entry relay %v", off), fmt.Sprintf("exit relay %v", off), "green light Low", "red light High", "buzzer Low"}
		if !slices.Equal(log, want) {
			t.Errorf("active-low %v: New drove %q, want %q", activeLow, log, want)
		}
		log = nil
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(log, want) {
			t.Errorf("active-low %v: Close drove %q, want %q", activeLow, log, want)
		}
	}
}

func TestNewFailsWhenTheRelayDoesNotLock(t *testing.T) {
	lane := gpiosim.New(gpio.PulseMode)
	broken := errors.New("no such device")
	lane.EntryRelay.SetFault(broken)
	_, err := gpio.New(lane.Pins(), lane.Config(), quiet())
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "entry relay GPIO24") {
		t.Errorf("New = %v, want the relay's name, pin and cause", err)
	}
	if !lane.Red.On() {
		t.Error("the light is not red")
	}
}

// The turnstile moves before the light, and what locks moves before what opens.
func TestApplyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.LevelMode)
		p := panel(t, lane)
		tl := watch(lane)
		apply(t, p, entry)
		tl.expect(t, "0s entry relay on", "0s red light off", "0s green light on")
		apply(t, p, gate.Outputs{Exit: true, Light: gate.Light{Colour: gate.LightBlue}})
		tl.expect(t, "0s entry relay off", "0s exit relay on", "0s green light off", "0s blue light on")
		apply(t, p, locked)
		tl.expect(t, "0s exit relay off", "0s blue light off", "0s red light on")
		apply(t, p, locked)
		tl.expect(t)
	})
}

func TestLights(t *testing.T) {
	all := func(lane *gpiosim.Lane, pins *gpio.Pins) {}
	two := func(lane *gpiosim.Lane, pins *gpio.Pins) { pins.Amber, pins.Blue = nil, nil }
	for _, row := range []struct {
		name  string
		have  func(*gpiosim.Lane, *gpio.Pins)
		light gate.Light
		want  []string
	}{
		{"red is the start", all, gate.Light{}, nil},
		{"green", all, gate.Light{Colour: gate.LightGreen}, []string{"0s red light off", "0s green light on"}},
		{"blue", all, gate.Light{Colour: gate.LightBlue}, []string{"0s red light off", "0s blue light on"}},
		{"amber", all, gate.Light{Colour: gate.LightAmber}, []string{"0s red light off", "0s amber light on"}},
		{"dark", all, gate.Light{Colour: gate.LightDark}, []string{"0s red light off"}},
		{"amber slow", all, gate.Light{Colour: gate.LightAmber, Blink: gate.SlowBlink},
			[]string{"0s red light off", "0s amber light on", "500ms amber light off", "1s amber light on"}},
		{"red fast", all, gate.Light{Blink: gate.FastBlink},
			[]string{"125ms red light off", "250ms red light on", "375ms red light off", "500ms red light on", "625ms red light off",
				"750ms red light on", "875ms red light off", "1s red light on", "1.125s red light off"}},
		{"two lamps, amber", two, gate.Light{Colour: gate.LightAmber}, nil},
		{"two lamps, blue", two, gate.Light{Colour: gate.LightBlue}, nil},
		{"two lamps, green", two, gate.Light{Colour: gate.LightGreen}, []string{"0s red light off", "0s green light on"}},
		{"one lamp, green", func(_ *gpiosim.Lane, pins *gpio.Pins) { pins.Amber, pins.Blue, pins.Green = nil, nil, nil },
			gate.Light{Colour: gate.LightGreen}, []string{"0s red light off"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lane := gpiosim.New(gpio.PulseMode)
				pins := lane.Pins()
				row.have(lane, &pins)
				p, err := gpio.New(pins, lane.Config(), quiet())
				if err != nil {
					t.Fatal(err)
				}
				tl := watch(lane)
				apply(t, p, gate.Outputs{Light: row.light})
				time.Sleep(600 * time.Millisecond)
				apply(t, p, gate.Outputs{Light: row.light}) // must not disturb the rhythm
				time.Sleep(600 * time.Millisecond)
				tl.expect(t, row.want...)
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if !lane.Red.On() || lane.Amber.On() || lane.Green.On() || lane.Blue.On() {
					t.Error("after Close the light is not red, steady")
				}
			})
		})
	}
}

func TestTones(t *testing.T) {
	for _, row := range []struct {
		tone gate.Tone
		want []string
	}{
		{gate.Silent, nil},
		{gate.OneHigh, []string{"0s buzzer on", "120ms buzzer off"}},
		{gate.OneMid, []string{"0s buzzer on", "200ms buzzer off"}},
		{gate.TwoMid, []string{"0s buzzer on", "200ms buzzer off", "350ms buzzer on", "550ms buzzer off"}},
		{gate.LowLong, []string{"0s buzzer on", "900ms buzzer off"}},
		{gate.LowDouble, []string{"0s buzzer on", "400ms buzzer off", "600ms buzzer on", "1s buzzer off"}},
		{gate.LowTriple, []string{"0s buzzer on", "400ms buzzer off", "600ms buzzer on", "1s buzzer off", "1.2s buzzer on", "1.6s buzzer off"}},
		{gate.Click, []string{"0s buzzer on", "20ms buzzer off"}},
	} {
		t.Run(row.tone.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lane := gpiosim.New(gpio.PulseMode)
				p := panel(t, lane)
				tl := watch(lane, gpio.Buzzer)
				o := gate.Outputs{Tone: row.tone, View: gate.View{State: gate.Refused, Since: time.Now()}}
				apply(t, p, o)
				apply(t, p, o) // once for each state that is entered
				time.Sleep(5 * time.Second)
				tl.expect(t, row.want...)
				o.View.Since = time.Now()
				apply(t, p, o)
				time.Sleep(5 * time.Second)
				if again := tl.count(); again != len(row.want) {
					t.Errorf("entered again: %d changes, want %d", again, len(row.want))
				}
			})
		})
	}
}

// A buzzer that has pitches gets them.
func TestPitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pin := &gpiotest.Pin{N: "GPIO18", Num: 18}
		p, err := gpio.New(gpio.Pins{Buzzer: pin}, gpio.Config{Buzzer: gpio.OutputLine{Pin: "GPIO18"}}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}()
		var heard []string
		for _, tone := range []gate.Tone{gate.OneHigh, gate.OneMid, gate.LowLong} {
			apply(t, p, gate.Outputs{Tone: tone})
			pin.Lock()
			heard = append(heard, pin.F.String())
			pin.Unlock()
			time.Sleep(2 * time.Second)
		}
		if want := []string{"2.400kHz", "1.200kHz", "400Hz"}; !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
	})
}

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		p := panel(t, lane)
		tl := watch(lane, relays...)

		// A release that is held gives one pulse.
		apply(t, p, entry)
		time.Sleep(time.Minute)
		tl.expect(t, "0s entry relay on", "200ms entry relay off")

		// Locking early does not shorten the pulse: the controller would not see it.
		apply(t, p, locked)
		apply(t, p, entry)
		time.Sleep(10 * time.Millisecond)
		apply(t, p, locked)
		time.Sleep(time.Second)
		tl.expect(t, "1m0s entry relay on", "1m0.2s entry relay off")

		// A second release within the first pulse gets its own, after a gap.
		tl.began = time.Now()
		apply(t, p, entry)
		apply(t, p, locked)
		apply(t, p, entry)
		time.Sleep(5 * time.Second)
		tl.expect(t, "0s entry relay on", "200ms entry relay off", "400ms entry relay on", "600ms entry relay off")

		// One that was taken back meanwhile does not.
		tl.began = time.Now()
		apply(t, p, locked)
		apply(t, p, entry)
		apply(t, p, locked)
		apply(t, p, entry)
		apply(t, p, locked)
		time.Sleep(5 * time.Second)
		tl.expect(t, "0s entry relay on", "200ms entry relay off")

		// Safe cuts even a pulse.
		tl.began = time.Now()
		apply(t, p, gate.Outputs{Exit: true})
		time.Sleep(50 * time.Millisecond)
		if err := p.Safe(); err != nil {
			t.Fatal(err)
		}
		tl.expect(t, "0s exit relay on", "50ms exit relay off")
	})
}

func TestPulseIsLongEnough(t *testing.T) {
	for _, width := range []time.Duration{100 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			lane := gpiosim.New(gpio.PulseMode)
			p := panel(t, lane, func(c *gpio.Config) { c.PulseWidth = width })
			tl := watch(lane, relays...)
			apply(t, p, entry)
			time.Sleep(5 * time.Second)
			tl.expect(t, "0s entry relay on", fmt.Sprintf("%v entry relay off", width))
		})
	}
}

// One more release while another stands is not lost: the way out is never refused.
func TestReleaseWithinARelease(t *testing.T) {
	exit := func(n uint64) gate.Outputs { return gate.Outputs{Exit: true, Exits: n} }
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		p := panel(t, lane)
		tl := watch(lane, relays...)
		apply(t, p, exit(1))
		time.Sleep(2 * time.Second)
		apply(t, p, exit(1))
		apply(t, p, exit(2))
		time.Sleep(100 * time.Millisecond)
		apply(t, p, exit(3))
		time.Sleep(time.Minute)
		apply(t, p, gate.Outputs{Exits: 3})
		tl.expect(t, "0s exit relay on", "200ms exit relay off", "2s exit relay on", "2.2s exit relay off", "2.4s exit relay on", "2.6s exit relay off")
	})
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.LevelMode)
		p := panel(t, lane)
		tl := watch(lane, relays...)
		for n := range uint64(5) {
			apply(t, p, exit(n))
			time.Sleep(4 * time.Second)
		}
		time.Sleep(time.Minute)
		apply(t, p, exit(5))
		time.Sleep(time.Second)
		apply(t, p, gate.Outputs{Exits: 5})
		tl.expect(t, "0s exit relay on", "26s exit relay off", "1m20s exit relay on", "1m21s exit relay off")
	})
}

// The lane hangs after a release: the relay locks by itself.
func TestMaxOnWhenTheLaneHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.LevelMode)
		p := panel(t, lane)
		tl := watch(lane, relays...)
		apply(t, p, entry)
		time.Sleep(time.Hour)
		tl.expect(t, "0s entry relay on", "10s entry relay off")

		// The lane that wakes up and repeats itself does not open again; a new release does.
		apply(t, p, entry)
		time.Sleep(time.Second)
		tl.expect(t)
		apply(t, p, locked)
		tl.began = time.Now()
		apply(t, p, entry)
		time.Sleep(3 * time.Second)
		apply(t, p, locked)
		time.Sleep(time.Hour)
		tl.expect(t, "0s entry relay on", "3s entry relay off")
	})
}

func TestFireInLevelModeHasNoMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.LevelMode)
		p := panel(t, lane)
		tl := watch(lane, relays...)
		apply(t, p, entry)
		time.Sleep(time.Second)
		apply(t, p, byFire)
		time.Sleep(longAgo)
		apply(t, p, byFire)
		apply(t, p, locked)
		tl.expect(t, "0s entry relay on", "1s exit relay on", "24h0m1s entry relay off", "24h0m1s exit relay off")

		tl.began = time.Now()
		time.Sleep(time.Second)
		apply(t, p, entry) // and the maximum holds again
		time.Sleep(time.Minute)
		tl.expect(t, "1s entry relay on", "11s entry relay off")
	})
}

func TestFireInPulseModeRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		p := panel(t, lane)
		tl := watch(lane, gpio.ExitRelay)
		apply(t, p, byFire)
		time.Sleep(2500 * time.Millisecond)
		apply(t, p, byFire)
		time.Sleep(600 * time.Millisecond)
		apply(t, p, locked)
		time.Sleep(time.Minute)
		tl.expect(t, "0s exit relay on", "200ms exit relay off", "1s exit relay on", "1.2s exit relay off",
			"2s exit relay on", "2.2s exit relay off", "3s exit relay on", "3.1s exit relay off")
	})
}

// A relay that does not obey locks the other one, and the light is red.
func TestRelayFailure(t *testing.T) {
	broken := errors.New("input/output error")
	both := gate.Outputs{Entry: true, Exit: true, Light: gate.Light{Colour: gate.LightGreen}}
	for _, mode := range []gpio.Mode{gpio.PulseMode, gpio.LevelMode} {
		synctest.Test(t, func(t *testing.T) {
			lane := gpiosim.New(mode)
			p := panel(t, lane)
			lane.ExitRelay.SetFault(broken)
			err := p.Apply(both)
			if !errors.Is(err, broken) || !strings.Contains(err.Error(), "exit relay GPIO25") {
				t.Errorf("%s: Apply = %v, want role, pin and cause", mode, err)
			}
			if lane.EntryRelay.On() || lane.Green.On() || !lane.Red.On() {
				t.Errorf("%s: entry %v green %v red %v, want locked and red", mode, lane.EntryRelay.On(), lane.Green.On(), lane.Red.On())
			}
			lane.ExitRelay.SetFault(nil)
			time.Sleep(time.Second)
			apply(t, p, both)
			if !lane.EntryRelay.On() || !lane.ExitRelay.On() {
				t.Errorf("%s: healed relays do not release", mode)
			}
		})
	}
}

func TestFireGoesOnWithTheOtherRelay(t *testing.T) {
	for _, mode := range []gpio.Mode{gpio.PulseMode, gpio.LevelMode} {
		synctest.Test(t, func(t *testing.T) {
			lane := gpiosim.New(mode)
			p := panel(t, lane)
			lane.EntryRelay.SetFault(errors.New("input/output error"))
			for range 2 { // the second does not hide what still fails
				if err := p.Apply(byFire); err == nil {
					t.Errorf("%s: Apply of a broken relay = nil", mode)
				}
			}
			if !lane.ExitRelay.On() || !lane.Green.On() {
				t.Errorf("%s: the other relay or the light does not follow", mode)
			}
			lane.EntryRelay.SetFault(nil)
			tl := watch(lane, gpio.EntryRelay)
			time.Sleep(1100 * time.Millisecond)
			if tl.count() == 0 {
				t.Errorf("%s: the healed relay does not join in", mode)
			}
		})
	}
}

// A relay that does not switch off is tried until it does.
func TestOffIsRepeated(t *testing.T) {
	for _, mode := range []gpio.Mode{gpio.PulseMode, gpio.LevelMode} {
		synctest.Test(t, func(t *testing.T) {
			lane := gpiosim.New(mode)
			p := panel(t, lane)
			apply(t, p, entry)
			lane.EntryRelay.SetFault(errors.New("input/output error"))
			time.Sleep(30 * time.Second)
			if !lane.EntryRelay.On() {
				t.Fatal("a faulty relay obeyed")
			}
			lane.EntryRelay.SetFault(nil)
			time.Sleep(100 * time.Millisecond)
			if lane.EntryRelay.On() {
				t.Errorf("%s: still on", mode)
			}
		})
	}
}

func TestPanicInTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.LevelMode)
		p := panel(t, lane)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			defer p.Close()
			apply(t, p, entry)
			if !lane.EntryRelay.On() {
				t.Error("not released")
			}
			panic("lane")
		}()
		if lane.EntryRelay.On() || !lane.Red.On() {
			t.Error("not safe after a panic")
		}
	})
}

func TestCloseIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		p := panel(t, lane)
		apply(t, p, gate.Outputs{Entry: true, Tone: gate.LowTriple, Light: gate.Light{Colour: gate.LightGreen, Blink: gate.FastBlink}})
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := p.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		all.Wait()
		tl := watch(lane)
		if err := p.Apply(entry); !errors.Is(err, gpio.ErrClosed) {
			t.Errorf("Apply after Close = %v, want ErrClosed", err)
		}
		if err := p.Run(t.Context(), func(gate.Input) {}); !errors.Is(err, gpio.ErrClosed) {
			t.Errorf("Run after Close = %v, want ErrClosed", err)
		}
		time.Sleep(time.Minute)
		tl.expect(t)
		if lane.EntryRelay.On() || lane.Buzzer.On() || lane.Green.On() || !lane.Red.On() {
			t.Error("not safe")
		}
	})
}

func TestCloseWaitsForRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := panel(t, gpiosim.New(gpio.PulseMode))
		ended := make(chan error, 1)
		go func() { ended <- p.Run(t.Context(), func(gate.Input) {}) }()
		synctest.Wait()
		if err := p.Run(t.Context(), func(gate.Input) {}); !errors.Is(err, gpio.ErrRunning) {
			t.Errorf("second Run = %v, want ErrRunning", err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		default:
			t.Error("Run goes on after Close")
		}
	})
}

// An emit that hangs cannot keep the lane from being made safe.
func TestCloseIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.LevelMode)
		p := panel(t, lane)
		let := make(chan struct{})
		go p.Run(context.Background(), func(gate.Input) { <-let })
		apply(t, p, entry)
		synctest.Wait()
		began := time.Now()
		if err := p.Close(); !errors.Is(err, gpio.ErrStuck) {
			t.Errorf("Close = %v, want ErrStuck", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v, want 1s", took)
		}
		if lane.EntryRelay.On() {
			t.Error("not locked")
		}
		close(let)
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Errorf("Close after the hang = %v", err)
		}
	})
}
