package gpio_test

import (
	"context"
	"errors"
	"fmt"
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

// events collects what Run reports.
type events struct {
	began time.Time
	mu    sync.Mutex
	lines []string
}

// run starts Run for the rest of the test.
func run(t *testing.T, p *gpio.Panel) *events {
	t.Helper()
	e := &events{began: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := p.Run(ctx, e.add); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		ended.Wait()
	})
	synctest.Wait()
	return e
}

func (e *events) add(in gate.Input) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, fmt.Sprintf("%s %v", in.Contact, in.Active))
}

// expect compares, whatever the order of different contacts, and starts afresh.
func (e *events) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	slices.SortStableFunc(e.lines, byContact)
	slices.SortStableFunc(want, byContact)
	if !slices.Equal(e.lines, want) {
		t.Errorf("events %q, want %q", e.lines, want)
	}
	e.lines = nil
}

func byContact(a, b string) int {
	a, _, _ = strings.Cut(a, " ")
	b, _, _ = strings.Cut(b, " ")
	return strings.Compare(a, b)
}

const settled = 200 * time.Millisecond

var atStart = []string{"fire false", "tamper false"}

func TestContacts(t *testing.T) {
	for _, row := range []struct {
		role gate.Contact
		act  func(*gpiosim.Lane, bool)
	}{
		{gate.PassageContact, func(l *gpiosim.Lane, on bool) { l.Passage.Set(on) }},
		{gate.ExitContact, func(l *gpiosim.Lane, on bool) { l.ExitPassage.Set(on) }},
		{gate.ExitButton, func(l *gpiosim.Lane, on bool) { l.ExitButton.Set(on) }},
		{gate.FireInput, func(l *gpiosim.Lane, on bool) { l.SetFire(on) }},
		{gate.Tamper, func(l *gpiosim.Lane, on bool) { l.SetTamper(on) }},
	} {
		t.Run(row.role.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lane := gpiosim.New(gpio.PulseMode)
				e := run(t, panel(t, lane))
				e.expect(t, atStart...)
				row.act(lane, true)
				time.Sleep(settled)
				e.expect(t, row.role.String()+" true")
				row.act(lane, false)
				time.Sleep(settled)
				e.expect(t, row.role.String()+" false")
				time.Sleep(time.Minute)
				e.expect(t)
			})
		})
	}
}

// Whatever the pull, a contact that rests closed is active when it opens.
func TestWiring(t *testing.T) {
	for _, row := range []struct {
		pull        gpio.Pull
		restsClosed bool
		active      pgpio.Level
	}{
		{"", false, pgpio.Low}, {gpio.PullUp, false, pgpio.Low}, {gpio.ExternalUp, false, pgpio.Low}, {gpio.PullUp, true, pgpio.High},
		{gpio.PullDown, false, pgpio.High}, {gpio.ExternalDown, false, pgpio.High}, {gpio.PullDown, true, pgpio.Low},
	} {
		synctest.Test(t, func(t *testing.T) {
			pin := &gpiotest.Pin{N: "GPIO5", L: !row.active, EdgesChan: make(chan pgpio.Level, 1)}
			p, err := gpio.New(gpio.Pins{Passage: &counted{pin: pin}}, gpio.Config{Passage: gpio.InputLine{Pull: row.pull, RestsClosed: row.restsClosed}}, quiet())
			if err != nil {
				t.Fatal(err)
			}
			e := run(t, p)
			pin.EdgesChan <- row.active
			time.Sleep(settled)
			e.expect(t, "passage true")
			pin.EdgesChan <- !row.active
			time.Sleep(settled)
			e.expect(t, "passage false")
		})
	}
}

// counted is a periph pin whose waits are checked: drivers disagree on what 0
// and -1 mean, and a long wait would not see its context end.
type counted struct {
	pin interface {
		Read() pgpio.Level
		WaitForEdge(time.Duration) bool
	}
	waits int
	bad   []time.Duration
}

func (c *counted) Read() (pgpio.Level, error) { return c.pin.Read(), nil }

func (c *counted) WaitForEdge(d time.Duration) (bool, error) {
	c.waits++
	if d <= 0 || d > 100*time.Millisecond {
		c.bad = append(c.bad, d)
	}
	return c.pin.WaitForEdge(d), nil
}

func TestWaitsAreShortAndPositive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pin := &gpiotest.Pin{N: "GPIO19", EdgesChan: make(chan pgpio.Level, 64)}
		line := &counted{pin: pin}
		p, err := gpio.New(gpio.Pins{Fire: line}, gpio.Config{}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		e := run(t, p)
		for i := range 200 {
			pin.EdgesChan <- pgpio.Level(i%2 == 0)
			time.Sleep(time.Duration(i) * time.Millisecond)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if len(line.bad) > 0 || line.waits < 200 {
			t.Errorf("%d waits, these not short and positive: %v", line.waits, line.bad)
		}
		if len(e.lines) == 0 {
			t.Error("nothing was reported")
		}
	})
}

// A driver that does not wait must not make the loop spin.
func TestDriverThatDoesNotWait(t *testing.T) {
	for _, fault := range []error{nil, errors.New("bad file descriptor")} {
		synctest.Test(t, func(t *testing.T) {
			line := &impatient{err: fault}
			p, err := gpio.New(gpio.Pins{ExitButton: line}, gpio.Config{}, quiet())
			if err != nil {
				t.Fatal(err)
			}
			run(t, p)
			time.Sleep(time.Second)
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if line.waits > 25 {
				t.Errorf("fault %v: %d waits in a second, want about 20", fault, line.waits)
			}
		})
	}
}

type impatient struct {
	waits int
	err   error
}

func (i *impatient) Read() (pgpio.Level, error) { return pgpio.High, nil }

func (i *impatient) WaitForEdge(time.Duration) (bool, error) {
	i.waits++
	return false, i.err
}

func TestBouncingContactIsOnePassage(t *testing.T) {
	for _, bounces := range []int{0, 1, 5, 12} {
		synctest.Test(t, func(t *testing.T) {
			lane := gpiosim.New(gpio.PulseMode)
			lane.Bounces = bounces
			p := panel(t, lane)
			e := run(t, p)
			e.expect(t, atStart...)
			apply(t, p, entry)
			if err := lane.Walk(t.Context(), gate.Entry); err != nil {
				t.Fatal(err)
			}
			time.Sleep(settled)
			e.expect(t, "passage true", "passage false")
			if err := lane.PressExit(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(settled)
			e.expect(t, "exit-button true", "exit-button false")
		})
	}
}

// A glitch shorter than the settling time is nothing, on any contact.
func TestGlitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		e := run(t, panel(t, lane))
		e.expect(t, atStart...)
		for range 50 {
			lane.Passage.Set(true)
			lane.SetFire(true)
			lane.SetTamper(true)
			time.Sleep(3 * time.Millisecond)
			lane.Passage.Set(false)
			lane.SetFire(false)
			lane.SetTamper(false)
			time.Sleep(settled)
		}
		e.expect(t)
	})
}

func TestFire(t *testing.T) {
	for _, row := range []struct {
		name  string
		start func(*gpiosim.Lane, context.Context)
		end   func(*gpiosim.Lane)
	}{
		{"cut wire", func(l *gpiosim.Lane, _ context.Context) { l.Fire.Set(false) }, func(l *gpiosim.Lane) { l.Fire.Set(true) }},
		{"line cannot be read", func(l *gpiosim.Lane, _ context.Context) { l.Fire.SetFault(errors.New("no such device")) },
			func(l *gpiosim.Lane) { l.Fire.SetFault(nil) }},
		{"edge lost", func(l *gpiosim.Lane, _ context.Context) { l.Fire.SetMute(true); l.Fire.Set(false) }, func(l *gpiosim.Lane) { l.Fire.Set(true) }},
		{"wire that never rests", func(l *gpiosim.Lane, ctx context.Context) {
			go func() {
				closed := false
				for ctx.Err() == nil {
					l.Fire.Set(closed)
					closed = !closed
					time.Sleep(2 * time.Millisecond)
				}
				l.Fire.Set(true)
			}()
		}, func(*gpiosim.Lane) {}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lane := gpiosim.New(gpio.PulseMode)
				e := run(t, panel(t, lane))
				e.expect(t, atStart...)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.Sleep(time.Minute)
				row.start(lane, ctx)
				time.Sleep(40 * time.Millisecond)
				e.expect(t, "fire true")
				time.Sleep(time.Minute)
				e.expect(t)
				cancel()
				row.end(lane)
				time.Sleep(settled)
				e.expect(t, "fire false")
			})
		})
	}
}

func TestFireAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		lane.SetFire(true)
		lane.Tamper.SetFault(errors.New("no such device"))
		run(t, panel(t, lane)).expect(t, "fire true", "tamper true")
	})
}

// A passage contact that cannot be read counts nobody.
func TestUnreadablePassageIsNoPassage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		e := run(t, panel(t, lane, func(c *gpio.Config) { c.Passage.RestsClosed = true }))
		e.expect(t, atStart...)
		lane.Passage.SetFault(errors.New("no such device"))
		time.Sleep(time.Second)
		lane.Passage.SetFault(nil)
		time.Sleep(time.Second)
		e.expect(t)
	})
}

// A slow receiver of one contact does not hold up a fire.
func TestFireIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gpiosim.New(gpio.PulseMode)
		p := panel(t, lane)
		let, fires := make(chan struct{}), make(chan time.Time, 4)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.Run(ctx, func(in gate.Input) {
				switch {
				case in.Contact == gate.PassageContact:
					<-let
				case in.Contact == gate.FireInput && in.Active:
					fires <- time.Now()
				}
			})
		}()
		lane.Passage.Set(true)
		time.Sleep(settled)
		alarm := time.Now()
		lane.SetFire(true)
		if took := (<-fires).Sub(alarm); took > 50*time.Millisecond {
			t.Errorf("fire was reported after %v, want within 50ms", took)
		}
		close(let)
		cancel()
		<-ended
	})
}
