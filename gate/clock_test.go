package gate

import (
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// device is a computer's clock inside a bubble: the monotonic clock runs on,
// and the time of day can be set.
type device struct {
	offset time.Duration
	synced bool
}

// now keeps the monotonic reading although the time of day is another: both
// sides of a comparison that matter carry the same offset or none.
func (d *device) set(wall time.Time) { d.offset = wall.Sub(time.Now().Round(0)) }

func TestWallClock(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, story := range []struct {
		name string
		play func(c *WallClock, d *device)
		want ClockQuality
	}{
		{"booted in 1970", func(c *WallClock, d *device) { d.set(time.Unix(0, 0)) }, ClockUnset},
		{"no floor yet", func(c *WallClock, d *device) {}, ClockFloor},
		{"at the floor", func(c *WallClock, d *device) { c.Floor(noon) }, ClockFloor},
		{"a little before the floor", func(c *WallClock, d *device) { c.Floor(noon.Add(30 * time.Second)) }, ClockFloor},
		{"before the floor", func(c *WallClock, d *device) { c.Floor(noon.Add(31 * time.Second)) }, ClockUnset},
		{"before the floor, whatever the network says", func(c *WallClock, d *device) { d.synced = true; c.Floor(noon.Add(time.Hour)) }, ClockUnset},
		{"network", func(c *WallClock, d *device) { d.synced = true; c.Floor(noon) }, ClockNetwork},
		{"thirty days beyond the floor", func(c *WallClock, d *device) { c.Floor(noon.Add(-maxLeap)) }, ClockFloor},
		{"more than thirty days beyond the floor", func(c *WallClock, d *device) { c.Floor(noon.Add(-maxLeap - 1)) }, ClockUnset},
		{"more than thirty days, by network time", func(c *WallClock, d *device) { c.Floor(noon.Add(-2 * maxLeap)); d.synced = true }, ClockNetwork},
		{"more than thirty days, by the hub", func(c *WallClock, d *device) { c.Floor(noon.Add(-2 * maxLeap)); c.Confirm(noon) }, ClockConfirmed},
		{"the hub agrees", func(c *WallClock, d *device) { c.Confirm(noon.Add(30 * time.Second)) }, ClockConfirmed},
		{"the hub differs", func(c *WallClock, d *device) { c.Confirm(noon.Add(31 * time.Second)) }, ClockFloor},
		{"the hub agreed, and now differs", func(c *WallClock, d *device) { c.Confirm(noon); c.Confirm(noon.Add(time.Hour)) }, ClockFloor},
		{"the hub's word lasts", func(c *WallClock, d *device) { c.Confirm(noon); <-time.After(24*time.Hour - 1) }, ClockConfirmed},
		{"the hub's word ends", func(c *WallClock, d *device) { c.Confirm(noon); <-time.After(24 * time.Hour) }, ClockFloor},
	} {
		t.Run(story.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &device{}
				d.set(noon)
				c := NewWallClock(func() time.Time { return time.Now().Add(d.offset) }, func() bool { return d.synced }, quiet)
				story.play(c, d)
				if _, q := c.Now(); q != story.want {
					t.Errorf("got %s, want %s", q, story.want)
				}
			})
		})
	}
}

// A clock that is set by hand after the hub confirmed it is confirmed no more.
// The readings here carry no monotonic part, as after a step of the wall clock.
func TestWallClockStepped(t *testing.T) {
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := NewWallClock(func() time.Time { return wall }, nil, quiet)
	c.Confirm(wall)
	wall = wall.Add(-time.Minute)
	if _, q := c.Now(); q != ClockFloor {
		t.Errorf("stepped back: %s", q)
	}
}

func TestWallClockFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &device{}
		noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		d.set(noon)
		c := NewWallClock(func() time.Time { return time.Now().Add(d.offset) }, func() bool { return d.synced }, quiet)
		steps := []struct {
			what string
			do   func()
			want time.Time
		}{
			{"the first is believed", func() { c.Floor(noon.Add(-90 * 24 * time.Hour)) }, noon.Add(-90 * 24 * time.Hour)},
			{"never back", func() { c.Floor(noon.Add(-91 * 24 * time.Hour)) }, noon.Add(-90 * 24 * time.Hour)},
			{"forward", func() { c.Floor(noon.Add(-60 * 24 * time.Hour)) }, noon.Add(-60 * 24 * time.Hour)},
			{"a leap waits", func() { c.Floor(noon.Add(-time.Hour)) }, noon.Add(-60 * 24 * time.Hour)},
			{"the hub confirms it", func() { c.Confirm(noon) }, noon.Add(-time.Hour)},
			{"a leap into the future is not confirmed", func() { c.Floor(noon.Add(40 * 24 * time.Hour)) }, noon.Add(-time.Hour)},
			{"nor by network time", func() { d.synced = true; c.Floor(noon.Add(50 * 24 * time.Hour)) }, noon.Add(-time.Hour)},
			{"time passes", func() { <-time.After(60 * 24 * time.Hour); c.Floor(noon.Add(50 * 24 * time.Hour)) }, noon.Add(50 * 24 * time.Hour)},
		}
		for _, s := range steps {
			s.do()
			if got := c.FloorTime(); !got.Equal(s.want) {
				t.Errorf("%s: floor %s, want %s", s.what, got, s.want)
			}
		}
	})
}

func TestWallClockKeepsMonotonic(t *testing.T) {
	c := NewWallClock(time.Now, nil, quiet)
	now, _ := c.Now()
	if now == now.Round(0) {
		t.Error("Now has no monotonic reading")
	}
}
