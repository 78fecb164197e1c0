package gpiosim_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate"
	"greengate/gpio"
	"greengate/gpio/gpiosim"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func panel(t *testing.T, lane *gpiosim.Lane) *gpio.Panel {
	t.Helper()
	p, err := gpio.New(lane.Pins(), lane.Config(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestWalk(t *testing.T) {
	for _, mode := range []gpio.Mode{gpio.PulseMode, gpio.LevelMode} {
		synctest.Test(t, func(t *testing.T) {
			lane := gpiosim.New(mode)
			p := panel(t, lane)
			walk := func(d gate.Direction, want error) {
				t.Helper()
				if err := lane.Walk(t.Context(), d); !errors.Is(err, want) {
					t.Errorf("%s: Walk(%v) = %v, want %v", mode, d, err, want)
				}
			}
			set := func(o gate.Outputs) {
				t.Helper()
				if err := p.Apply(o); err != nil {
					t.Fatal(err)
				}
			}
			walk(gate.Entry, gpiosim.ErrLocked)
			set(gate.Outputs{Entry: true})
			walk(gate.Exit, gpiosim.ErrLocked)
			time.Sleep(4 * time.Second)
			walk(gate.Entry, nil)
			set(gate.Outputs{})
			walk(gate.Entry, gpiosim.ErrLocked)
			set(gate.Outputs{Exit: true})
			walk(gate.Exit, nil)
			set(gate.Outputs{})
			walk(gate.Exit, gpiosim.ErrLocked)
		})
	}
}

// In pulse mode the controller opens for one passage or five seconds, however long the lane waits.
func TestController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		p := panel(t, lane)
		if err := p.Apply(gate.Outputs{Entry: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(gpiosim.OpenFor - time.Millisecond)
		if !lane.Open(gate.Entry) {
			t.Error("locked before its time")
		}
		time.Sleep(time.Millisecond)
		if lane.Open(gate.Entry) {
			t.Error("open after its time")
		}
	})
}

func TestContactsOpenWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := lane.PressExit(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("PressExit = %v, want the context's error", err)
		}
		if level, err := lane.ExitButton.Read(); err != nil || !bool(level) {
			t.Errorf("button reads %v, %v, want open", level, err)
		}
	})
}

// The driver of package gpio measures what the simulated sensor sees.
func TestThermometer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		th, err := gpio.NewThermometer(lane.Bus(), gpio.ThermometerConfig{}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		measure := func(want gate.Reading, wantErr error) {
			t.Helper()
			got, err := th.Measure(t.Context())
			if got != want || !errors.Is(err, wantErr) {
				t.Errorf("Measure = %#v, %v, want %#v, %v", got, err, want, wantErr)
			}
		}
		person := gate.Reading{Object: 36610, Ambient: 24010, Adjusted: 36610}
		measure(gate.Reading{Object: 24010, Ambient: 24010, Adjusted: 24010, TooFar: true}, nil) // the first, after power-on
		lane.Thermometer.SetTemperature(36610, 24010)
		measure(person, nil)
		lane.Thermometer.SetTemperature(38210, 24010)
		measure(gate.Reading{Object: 38210, Ambient: 24010, Adjusted: 38210}, nil)
		lane.Thermometer.SetTemperature(36610, 24010)

		for _, row := range []struct {
			fault gpiosim.Fault
			want  error
		}{{gpiosim.NACK, gpio.ErrBus}, {gpiosim.BadPEC, gpio.ErrPEC}, {gpiosim.ErrorFlag, gpio.ErrFlag}} {
			lane.Thermometer.SetFault(row.fault, 3)
			measure(person, nil) // three retries heal it
			lane.Thermometer.SetFault(row.fault, -1)
			measure(gate.Reading{}, row.want)
			lane.Thermometer.SetFault(gpiosim.NoFault, 0)
			lane.Thermometer.PowerOn() // plugged in again: wrong words are discarded
			measure(person, nil)
		}
	})
}

// A bus that hangs costs a deadline for each person, and one transfer in all.
func TestBusThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		lane.Thermometer.SetTemperature(36610, 24010)
		th, err := gpio.NewThermometer(lane.Bus(), gpio.ThermometerConfig{}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		lane.Thermometer.SetFault(gpiosim.Hang, -1)
		for range 5 {
			began := time.Now()
			if _, err := th.Measure(t.Context()); !errors.Is(err, gpio.ErrDeadline) || !errors.Is(err, gate.ErrThermometer) {
				t.Errorf("Measure = %v, want ErrDeadline", err)
			}
			if took := time.Since(began); took != time.Second {
				t.Errorf("took %v, want 1s", took)
			}
		}
		if n := lane.Thermometer.Transfers(); n != 1 {
			t.Errorf("%d transfers, want 1", n)
		}
		lane.Thermometer.SetFault(gpiosim.NoFault, 0)
		synctest.Wait()
		got, err := th.Measure(t.Context())
		if want := (gate.Reading{Object: 36610, Ambient: 24010, Adjusted: 36610}); got != want || err != nil {
			t.Errorf("Measure = %#v, %v, want %#v", got, err, want)
		}
	})
}

// A whole passage, as somebody outside sees it.
func TestPassage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		p := panel(t, lane)
		var mu sync.Mutex
		var seen []string
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, s)
		}
		lane.OnChange(func(c gpiosim.Change) {
			if c.On {
				note(string(c.Role))
			}
		})
		var ended sync.WaitGroup
		ended.Go(func() {
			if err := p.Run(t.Context(), func(in gate.Input) {
				if in.Active {
					note(in.Contact.String())
				}
			}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if err := p.Apply(gate.Outputs{Entry: true, Light: gate.Light{Colour: gate.LightGreen}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := lane.Walk(t.Context(), gate.Entry); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := p.Apply(gate.Outputs{}); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		ended.Wait()
		if want := []string{"entry relay", "green light", "passage", "red light"}; !slices.Equal(seen, want) {
			t.Errorf("seen %q, want %q", seen, want)
		}
	})
}
