package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greengate/display"
	"greengate/gate"
)

var _ gate.Screen = (*Screen)(nil)

func words(t *testing.T, tag string) *display.Words {
	t.Helper()
	w, err := display.Load(tag)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestLine(t *testing.T) {
	admitted := gate.View{State: gate.Released, Decision: gate.Decision{Verdict: gate.Admit, Reason: gate.Valid}, Name: "王*明", Kind: "dynamic",
		Colour: gate.Green, Reading: &gate.Reading{Adjusted: 36400}, Light: gate.Light{Colour: gate.LightGreen}, Sequence: 7}
	hostile := gate.View{State: gate.Refused, Decision: gate.Decision{Reason: gate.RedCode}, Name: "\x1b[2J*\n\u202e", Light: gate.Light{Blink: gate.FastBlink}}
	for _, test := range []struct {
		tag  string
		view gate.View
		want string
	}{
		{"en", gate.View{FaultCode: "relay"}, "■ out-of-service red         Out of service: Please ask the guard · Fault relay"},
		{"en", admitted, "✓ released       green       Walk through: The gate is open · 王*明 · live code · green · Temperature 36.4 °C · № 7"},
		{"zh", admitted, "✓ released       green       请通行: 闸机已开，请通过 · 王*明 · 动态码 · 绿码 · 体温 36.4 °C · № 7"},
		{"en", hostile, "✕ refused        red fast    Red code: Stand aside and wait for the guard · ?[2J*??"},
		{"en", gate.View{State: gate.Measure, Reading: &gate.Reading{Adjusted: 20000, TooFar: true}}, "° measure        red         Measuring: Stand at the mark and face the sensor"},
	} {
		if got := New(io.Discard, words(t, test.tag)).Line(test.view); got != test.want {
			t.Errorf("%s: got  %q\nwant %q", test.tag, got, test.want)
		}
	}
}

func TestStrip(t *testing.T) {
	now := time.Date(2020, 2, 17, 8, 41, 7, 0, time.UTC)
	h := display.Health{MapDay: "2020-02-15", ListIssued: now.Add(-4 * time.Minute), Lists: gate.Fresh, ClockTime: now, Clock: gate.ClockConfirmed, Backlog: 3, Hub: display.HubHealth{Connected: true}, Faults: []string{"relay"}}
	if got, want := Strip(words(t, "en"), h), "Lists: 4 min, fresh · Clock: 08:41:07, confirmed · Map: 2020-02-15, 2 days · To upload: 3 · Hub: connected · Fault relay"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := Strip(words(t, "zh"), display.Health{}), "名单: 没有名单 · 时钟: 未校准 · 风险地图: 无 · 待上传: 0 · 中心: 离线"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// slow lets a write through for each receive from gate.
type slow struct {
	gate chan struct{}
	bytes.Buffer
}

func (s *slow) Write(p []byte) (int, error) {
	<-s.gate
	return s.Buffer.Write(p)
}

func TestSlowTerminalLosesTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{gate: make(chan struct{})}
		s := New(w, words(t, "en"))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		for i := range 200 {
			s.Show(gate.View{State: gate.Idle, Sequence: uint64(i + 1)})
			synctest.Wait() // the writer hangs; Show does not
		}
		cancel()
		close(w.gate)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(w.String()), "\n")
		if got, want := len(lines), 1+1+waiting; got != want {
			t.Fatalf("%d lines, want %d: one that hung, how many went, and the latest", got, want)
		}
		if want := fmt.Sprintf("… %d …", 200-1-waiting); lines[1] != want {
			t.Errorf("second line %q, want %q", lines[1], want)
		}
		if !strings.HasSuffix(lines[len(lines)-1], "№ 200") {
			t.Errorf("last line %q, want the latest view", lines[len(lines)-1])
		}
	})
}

func TestOneLineForEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := New(&out, words(t, "en"))
		for i := range 5 {
			s.Show(gate.View{State: gate.Idle, Count: uint64(i)})
		}
		s.Show(gate.View{State: gate.ReadingCode})
		s.Show(gate.View{State: gate.Idle})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "\n"); got != 3 {
			t.Errorf("%d lines, want 3:\n%s", got, &out)
		}
	})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestBrokenTerminalEndsRun(t *testing.T) {
	s := New(broken{}, words(t, "en"))
	s.Show(gate.View{})
	if err := s.Run(t.Context()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Run = %v, want io.ErrClosedPipe", err)
	}
}

// The device's strip is a line when a grade in it changes, and no line while
// only ages do.
func TestDeviceLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := New(&out, words(t, "en"))
		confirmed := time.Now()
		s.Health = func() display.Health {
			h := display.Health{ListIssued: confirmed, Lists: gate.Fresh, ClockTime: time.Now(), Clock: gate.ClockConfirmed,
				MapDay: time.Now().Format(time.DateOnly), Hub: display.HubHealth{Connected: true}}
			switch age := time.Since(confirmed); {
			case age >= 48*time.Hour:
				h.Lists = gate.TooOld
			case age >= 24*time.Hour:
				h.Lists, h.Clock = gate.Stale, gate.ClockFloor
			}
			h.MapDay = confirmed.Format(time.DateOnly)
			return h
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(72 * time.Hour) // the bubble's
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		day := confirmed.Format(time.DateOnly)
		want := "00:00:00.000  · Lists: 0 s, fresh · Clock: 00:00:00, confirmed · Map: " + day + ", today · To upload: 0 · Hub: connected\n" +
			"00:00:00.000  ! Lists: 24 h, old · Clock: 00:00:00, unconfirmed · Map: " + day + ", yesterday · To upload: 0 · Hub: connected\n" +
			"00:00:00.000  ! Lists: 2 days, too old · Clock: 00:00:00, confirmed · Map: " + day + ", 2 days · To upload: 0 · Hub: connected\n"
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", &out, want)
		}
	})
}
