package terminal

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"greengate/display"
	"greengate/gate"
)

// waiting is how many views wait for a slow terminal; a serial line of 115200
// baud draws as many in half a second. When more come, the oldest go.
const waiting = 64

// healthEvery is how often the device's health is asked for.
const healthEvery = time.Second

// Screen draws views on a writer. It is a gate.Screen.
type Screen struct {
	w     io.Writer
	words *display.Words
	// Health, where it is set before Run, is asked once a second: the device's
	// strip is drawn when something in it that is a grade and not an age has changed.
	Health func() display.Health

	mu      sync.Mutex
	queue   []gate.View
	dropped uint64
	wake    chan struct{}
}

// New makes a screen that draws on w in a language.
func New(w io.Writer, words *display.Words) *Screen {
	return &Screen{w: w, words: words, wake: make(chan struct{}, 1)}
}

// Show takes a view to draw. It never blocks.
func (s *Screen) Show(v gate.View) {
	s.mu.Lock()
	if len(s.queue) == waiting {
		s.queue = append(s.queue[:0], s.queue[1:]...)
		s.dropped++
	}
	s.queue = append(s.queue, v)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run draws until ctx ends, and what still waits then. A writer that fails
// ends it too: there is nobody left to show anything to.
func (s *Screen) Run(ctx context.Context) error {
	last := ""
	var tick <-chan time.Time
	if s.Health != nil {
		ticker := time.NewTicker(healthEvery)
		defer ticker.Stop()
		tick = ticker.C
	}
	for device := ""; ; {
		done := ctx.Err() != nil
		if s.Health != nil && !done {
			h := s.Health()
			if now := grades(h); now != device {
				device = now
				if _, err := fmt.Fprintln(s.w, h.ClockTime.Format("15:04:05.000")+"  "+mark(h)+" "+Strip(s.words, h)); err != nil {
					return fmt.Errorf("terminal: %w", err)
				}
			}
		}
		for {
			v, dropped, ok := s.next()
			if dropped > 0 {
				if _, err := fmt.Fprintf(s.w, "… %d …\n", dropped); err != nil {
					return fmt.Errorf("terminal: %w", err)
				}
			}
			if !ok {
				break
			}
			// The same state may be shown again, with another count; a line is a change.
			line := s.Line(v)
			if line == last {
				continue
			}
			last = line
			if _, err := fmt.Fprintln(s.w, v.Since.Format("15:04:05.000")+"  "+line); err != nil {
				return fmt.Errorf("terminal: %w", err)
			}
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-tick:
		}
	}
}

func (s *Screen) next() (v gate.View, dropped uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped, s.dropped = s.dropped, 0
	if len(s.queue) == 0 {
		return gate.View{}, dropped, false
	}
	v = s.queue[0]
	s.queue = append(s.queue[:0], s.queue[1:]...)
	return v, dropped, true
}

// Line returns a view as one line, without the time: mark, state, light,
// headline, next step, and what is known of the passage.
func (s *Screen) Line(v gate.View) string {
	word := s.words.Say(v)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-14s %-11s %s: %s", display.SignOf(v).Shape.Mark(), v.State, v.Light, word.Headline, word.Next)
	add := func(format string, args ...any) { b.WriteString(" · " + fmt.Sprintf(format, args...)) }
	if v.Name != "" {
		add("%s", printable(v.Name))
	}
	if v.Kind != "" {
		add("%s", lookup(s.words.Kinds, v.Kind))
	}
	if v.Colour != gate.StatusUnknown {
		add("%s", lookup(s.words.Colours, v.Colour.String()))
	}
	if r := v.Reading; r != nil && !r.OutOfRange && !r.TooFar {
		add("%s %s °C", s.words.Label("temperature"), r.Adjusted)
	}
	if v.Sequence != 0 {
		add("№ %d", v.Sequence)
	}
	if v.FaultCode != "" {
		add("%s %s", s.words.Label("fault"), printable(v.FaultCode))
	}
	return b.String()
}

// grades returns what of the device's state is worth a line when it changes.
func grades(h display.Health) string {
	days, ok := h.MapAge()
	return fmt.Sprint(h.Lists, h.Clock, h.MapDay, ok && days < display.MapStaleDays, h.Hub.Connected, h.JournalFull, h.Faults)
}

// mark tells a strip that wants a look from one that does not.
func mark(h display.Health) string {
	if h.Alarm() {
		return "!"
	}
	return "·"
}

// Strip returns the state of the device as one line, for the guard.
func Strip(words *display.Words, h display.Health) string {
	lists := lookup(words.Freshness, h.Lists.String())
	if !h.ListIssued.IsZero() && !h.ClockTime.IsZero() {
		lists = words.Age(h.ClockTime.Sub(h.ListIssued)) + ", " + lists
	}
	clock := lookup(words.Clocks, h.Clock.String())
	if h.Clock != gate.ClockUnset && !h.ClockTime.IsZero() {
		clock = h.ClockTime.Format("15:04:05") + ", " + clock
	}
	hub := words.Label("hub-away")
	if h.Hub.Connected {
		hub = words.Label("hub-connected")
	}
	line := fmt.Sprintf("%s: %s · %s: %s · %s: %s · %s: %d · %s: %s", words.Label("lists"), lists, words.Label("clock"), clock,
		words.Label("map"), words.Map(h), words.Label("backlog"), h.Backlog, words.Label("hub"), hub)
	for _, f := range h.Faults {
		line += " · " + words.Label("fault") + " " + printable(f)
	}
	return line
}

// printable keeps a name from driving the terminal: it comes out of a code.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return '?'
	}, s)
}

func lookup(table map[string]string, key string) string {
	if s, ok := table[key]; ok {
		return s
	}
	return printable(key)
}
