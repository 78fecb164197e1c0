package scanner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate"
)

// bench is a Stream on pipes, with its timeline: what came out and when.
type bench struct {
	Stream
	log     strings.Builder
	start   time.Time
	mu      sync.Mutex
	lines   []string
	devices []io.ReadCloser // opened in this order; nil is one that is missing
}

// newBench makes one inside a bubble.
func newBench() *bench {
	b := &bench{start: time.Now()}
	b.Name, b.Device, b.Direction = "serial", "/dev/ttyS9", gate.Exit
	b.Log = slog.New(slog.NewTextHandler(&b.log, nil))
	b.Stream.Open = func() (io.ReadCloser, error) {
		if len(b.devices) == 0 || b.devices[0] == nil {
			b.devices = b.devices[min(1, len(b.devices)):]
			return nil, errors.New("no such device")
		}
		dev := b.devices[0]
		b.devices = b.devices[1:]
		return dev, nil
	}
	return b
}

// run starts the stream; stop ends it and waits.
func (b *bench) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- b.Run(ctx, func(s gate.Scan) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.lines = append(b.lines, fmt.Sprintf("%v %s %s", s.At.Sub(b.start), s.Direction, s.Raw))
		})
	}()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want %v", err, context.Canceled)
		}
	}
}

// want compares the timeline.
func (b *bench) want(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(b.lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestStreamGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		r, w := io.Pipe()
		b.devices = []io.ReadCloser{r}
		stop := b.run(t)
		say := func(after time.Duration, text string) {
			time.Sleep(after) // the bubble's clock
			if _, err := io.WriteString(w, text); err != nil {
				t.Error(err)
			}
		}
		say(time.Second, "JKM1:A")
		say(59*time.Millisecond, "B")  // a pause, no gap
		say(60*time.Millisecond, "CD") // a gap
		say(0, "E\r")
		say(0, "F")
		time.Sleep(59 * time.Millisecond)
		synctest.Wait()
		b.mu.Lock()
		if len(b.lines) != 2 {
			t.Errorf("59 ms after the last byte: %d scans, want 2", len(b.lines))
		}
		b.mu.Unlock()
		time.Sleep(time.Second)
		stop()
		b.want(t, "1.059s exit JKM1:AB", "1.119s exit CDE", "1.119s exit F")
	})
}

func TestStreamSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.SameWithin = time.Second
		r, w := io.Pipe()
		b.devices = []io.ReadCloser{r}
		stop := b.run(t)
		for range 4 {
			fmt.Fprint(w, "A\r")
			time.Sleep(900 * time.Millisecond)
		}
		fmt.Fprint(w, "B\r")
		time.Sleep(time.Second)
		fmt.Fprint(w, "A\r")
		synctest.Wait()
		stop()
		b.want(t, "0s exit A", "3.6s exit B", "4.6s exit A")
	})
}

func TestStreamComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.Hint = func() string { return "look behind the cupboard" }
		r1, w1 := io.Pipe()
		r2, w2 := io.Pipe()
		b.devices = []io.ReadCloser{nil, nil, nil, r1, nil, nil, r2}
		if got := b.State(); got != "not started" {
			t.Errorf("State() = %q before Run", got)
		}
		stop := b.run(t)
		time.Sleep(time.Millisecond)
		if got := b.State(); !strings.HasPrefix(got, "absent since 2000-01-01T00:00:00Z: no such device") {
			t.Errorf("State() = %q while the device is missing", got)
		}
		fmt.Fprint(w1, "A\r") // waits for the device
		synctest.Wait()
		if up, _ := b.Connected(); !up {
			t.Errorf("not connected: %s", b.State())
		}
		fmt.Fprint(w1, "HALF")
		w1.CloseWithError(errors.New("port has been closed"))
		fmt.Fprint(w2, "B\r")
		synctest.Wait()
		stop()
		var got []string
		for _, l := range b.lines {
			got = append(got, l[strings.LastIndex(l, " ")+1:])
		}
		if fmt.Sprint(got) != "[A HALF B]" {
			t.Errorf("got %v, want A, HALF, B", got)
		}
		log := b.log.String()
		for text, want := range map[string]int{"reader absent": 2, "reader lost": 1, "reader connected": 2, "look behind the cupboard": 2} {
			if n := strings.Count(log, text); n != want {
				t.Errorf("%q %d times in the log, want %d:\n%s", text, n, want, log)
			}
		}
	})
}

// mute is a device that breaks the rules of io.Reader.
type mute struct{}

func (mute) Read([]byte) (int, error) { return 0, nil }
func (mute) Close() error             { return nil }

func TestStreamMuteDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.devices = []io.ReadCloser{mute{}}
		stop := b.run(t)
		synctest.Wait()
		if up, _ := b.Connected(); up || !strings.Contains(b.State(), "no data and no error") {
			t.Errorf("State() = %q, want a device without data given up", b.State())
		}
		stop()
	})
}

func TestStreamNothingToOpen(t *testing.T) {
	var s Stream
	if err := s.Run(t.Context(), nil); err == nil {
		t.Error("Run without Open: no error")
	}
}
