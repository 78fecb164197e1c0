package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate"
)

// polls runs the client for a while and returns when it asked for the timestamp.
func polls(t *testing.T, d *device, long time.Duration, meanwhile func()) []time.Duration {
	t.Helper()
	begin := time.Now()
	var at []time.Duration
	inner := d.server.hostile
	d.server.hostile = func(path string) ([]byte, error) {
		if path == timestampFile {
			at = append(at, time.Since(begin))
		}
		if inner != nil {
			return inner(path)
		}
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	if meanwhile != nil {
		meanwhile()
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	return at
}

// bubble gives the device the time of the bubble.
func bubble(d *device) {
	offset := time.Until(d.a.now)
	d.config.Clock = gate.NewWallClock(func() time.Time { return time.Now().Add(offset) },
		func() bool { return true }, slog.New(slog.DiscardHandler))
}

func TestRunPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, nation(t), "33")
		bubble(d)
		at := polls(t, d, time.Hour, nil)
		if len(at) < 54 || len(at) > 67 {
			t.Errorf("%d polls in an hour, want about 60", len(at))
		}
		different := map[time.Duration]bool{}
		for i := 1; i < len(at); i++ {
			gap := at[i] - at[i-1]
			different[gap] = true
			if gap < 54*time.Second || gap > 66*time.Second {
				t.Errorf("poll %d after %s, want 54 to 66 s", i, gap)
			}
		}
		if len(different) < 10 {
			t.Errorf("only %d different gaps: gates would ask in step", len(different))
		}
		if s := d.Status(); s.LastError != nil || s.LastOK.IsZero() || !s.Report.Unchanged {
			t.Errorf("status %+v", s)
		}
	})
}

func TestRunBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, nation(t), "33")
		bubble(d)
		var down atomic.Bool
		down.Store(true)
		d.server.hostile = func(path string) ([]byte, error) {
			if down.Load() {
				return nil, fmt.Errorf("file %s: %w", path, ErrUnavailable)
			}
			return nil, nil
		}
		at := polls(t, d, 4*time.Hour, func() {
			<-time.After(3 * time.Hour)
			if s := d.Status(); !errors.Is(s.LastError, ErrUnavailable) || !s.LastOK.IsZero() {
				t.Errorf("status while the server is down: %+v", s)
			}
			down.Store(false)
		})
		var slowed, quick int
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; at[i] < 3*time.Hour && gap > 11*time.Minute {
				t.Errorf("poll %d after %s, want at most 11 min", i, gap)
			} else if gap > 8*time.Minute {
				slowed++
			} else if at[i] > 3*time.Hour+12*time.Minute {
				quick++
			}
		}
		if slowed < 10 || quick < 40 {
			t.Errorf("%d slow polls while it was down, %d quick ones after; polled at %v", slowed, quick, at)
		}
		if s := d.Status(); s.LastError != nil || s.LastOK.IsZero() {
			t.Errorf("status after it came back: %+v", s)
		}
	})
}

// A list that fails by itself does not slow the recolouring of the others.
func TestRunOneListFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, nation(t), "33")
		bubble(d)
		d.server.hostile = func(path string) ([]byte, error) {
			if strings.HasPrefix(path, "targets/status/3302/") {
				return nil, fmt.Errorf("file %s: %w", path, ErrUnavailable)
			}
			return nil, nil
		}
		at := polls(t, d, 10*time.Minute, nil)
		if len(at) < 9 {
			t.Errorf("%d polls in ten minutes, want about ten", len(at))
		}
		if s := d.Status(); !errors.Is(s.LastError, ErrUnavailable) || len(s.Report.Failures) != 1 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestRunIsKicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, nation(t), "3301")
		bubble(d)
		at := polls(t, d, 30*time.Second, func() {
			<-time.After(10 * time.Second)
			if err := d.Want(canton); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if _, ok := d.store.lists[canton]; !ok {
				t.Error("the wanted list is not there at once")
			}
			for range 100 {
				d.Kick()
			}
		})
		// At the start, when it is wanted, and once more for a hundred kicks.
		if len(at) != 3 || at[1] != 10*time.Second || at[2] != 12*time.Second {
			t.Errorf("polled at %v, want 0, 10 and 12 s", at)
		}
	})
}

// A genuine code of a list that nobody publishes, or of a hub that does not
// answer, asks at once, and after that no more than the polls do, however many
// people come with such codes.
func TestAbsentListIsNotAskedForByEachScan(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := newDevice(t, nation(t), "33")
			bubble(d)
			d.server.hostile = func(path string) ([]byte, error) {
				if !answers {
					return nil, fmt.Errorf("file %s: %w", path, ErrUnavailable)
				}
				return nil, nil
			}
			at := polls(t, d, 10*time.Minute, func() {
				for range 190 {
					<-time.After(3 * time.Second)
					if err := d.Want("https://h.example/4401/77"); err != nil {
						t.Error(err)
					}
				}
			})
			if len(at) < 2 || at[1] != 3*time.Second {
				t.Errorf("answers %v: polled at %v, want a run at once at 3 s", answers, at)
			}
			if len(at) > 13 {
				t.Errorf("answers %v: %d runs in ten minutes, want about one a minute: %v", answers, len(at), at)
			}
		})
	}
}

// A list that there is no room for is not fetched with every poll: that would
// be a city's list each minute over a telephone's line.
func TestListWithoutRoomIsFetchedEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, nation(t), "33")
		bubble(d)
		d.store.refuse = ningbo
		var fetched []time.Duration
		begin := time.Now()
		d.server.hostile = func(path string) ([]byte, error) {
			if strings.HasPrefix(path, "targets/status/3302/") {
				fetched = append(fetched, time.Since(begin))
			}
			if time.Since(begin) > 90*time.Minute {
				d.store.refuse = ""
			}
			return nil, nil
		}
		at := polls(t, d, 2*time.Hour, func() {
			<-time.After(89 * time.Minute)
			if f := d.Status().Report.Failures; len(f) != 1 || f[0].What != ningbo || !errors.Is(f[0].Err, ErrStore) {
				t.Errorf("failures %+v, want %s all the time", f, ningbo)
			}
			<-time.After(13 * time.Minute)
			synctest.Wait()
			if _, ok := d.store.lists[ningbo]; !ok {
				t.Error("there is room for 12 minutes and the list is not there")
			}
		})
		if len(at) < 100 {
			t.Errorf("%d polls in two hours, want about 120", len(at))
		}
		if len(fetched) > 15 || len(fetched) < 8 {
			t.Errorf("fetched %d times, want about a dozen: %v", len(fetched), fetched)
		}
		d.mustBeCurrent()
	})
}
