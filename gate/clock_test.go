package gate

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// device is a computer's clock inside a bubble: the monotonic clock is the
// bubble's and runs on, and the time of day can be set.
type device struct {
	offset time.Duration
	synced bool
}

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

// What a gate's clock goes through, as it happened. Each line is a moment: how
// long after the line before, what happens, and what the clock then says.
func TestClockTimelines(t *testing.T) {
	const day = 24 * time.Hour
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) // the true time when each story begins
	type moment struct {
		after   time.Duration
		what    string
		do      func(c *WallClock, d *device, truth time.Time)
		quality ClockQuality
		// floor is how far the floor is from the true time at the beginning; the
		// zero time where there is none yet.
		floor time.Duration
	}
	const none = time.Duration(1)
	nothing := func(*WallClock, *device, time.Time) {}
	hub := func(c *WallClock, _ *device, truth time.Time) { c.Confirm(truth) }
	signed := func(c *WallClock, _ *device, truth time.Time) { c.Floor(truth) }
	signedAt := func(from time.Duration) func(*WallClock, *device, time.Time) {
		return func(c *WallClock, _ *device, _ time.Time) { c.Floor(noon.Add(from)) }
	}
	network := func(on bool) func(*WallClock, *device, time.Time) {
		return func(_ *WallClock, d *device, truth time.Time) {
			d.synced = on
			if on {
				d.set(truth)
			}
		}
	}
	set := func(by time.Duration) func(*WallClock, *device, time.Time) {
		return func(_ *WallClock, d *device, _ time.Time) { d.offset += by }
	}
	for _, story := range []struct {
		name    string
		wall    time.Time
		moments []moment
	}{
		{"booted in 1970, and network time comes", time.Unix(0, 0), []moment{
			{0, "no list was ever seen", nothing, ClockUnset, none},
			{0, "the floor that was on the disk", signedAt(-2 * time.Hour), ClockUnset, -2 * time.Hour},
			{20 * time.Second, "the hub tells the time", hub, ClockUnset, -2 * time.Hour},
			{10 * time.Second, "a signed time", signed, ClockUnset, 30 * time.Second},
			{30 * time.Second, "network time", network(true), ClockConfirmed, 30 * time.Second},
			{day, "the hub was silent for a day", nothing, ClockNetwork, 30 * time.Second},
		}},
		{"off for 31 days, without network time", noon, []moment{
			{0, "the floor that was on the disk", signedAt(-31 * day), ClockUnset, -31 * day},
			{5 * time.Second, "the leap waits", signed, ClockUnset, -31 * day},
			{60 * time.Second, "again", signed, ClockUnset, -31 * day},
			{5 * time.Second, "the hub agrees, and it is taken", hub, ClockConfirmed, 65 * time.Second},
			{60 * time.Second, "the next needs nobody", signed, ClockConfirmed, 130 * time.Second},
		}},
		{"off for 31 days, and the battery ran down", noon.Add(-31 * day), []moment{
			{0, "the floor that was on the disk", signedAt(-31 * day), ClockFloor, -31 * day},
			{5 * time.Second, "the leap waits, and says that one of two is wrong", signed, ClockUnset, -31 * day},
			{5 * time.Second, "the hub agrees with the leap, not with the clock", hub, ClockUnset, 5 * time.Second},
			{60 * time.Second, "set by hand", set(31 * day), ClockConfirmed, 5 * time.Second},
		}},
		{"off for 30 days exactly", noon, []moment{
			{0, "the floor that was on the disk", signedAt(-30 * day), ClockFloor, -30 * day},
			{0, "no leap", signed, ClockFloor, 0},
		}},
		{"a thief of the timestamp's key", noon, []moment{
			{0, "the floor that was on the disk", signedAt(0), ClockFloor, 0},
			{time.Minute, "one step of 20 days", signedAt(20 * day), ClockUnset, 20 * day},
			{time.Minute, "another one is too far", signedAt(40 * day), ClockUnset, 20 * day},
			{time.Minute, "so are small ones", signedAt(30*day + time.Hour), ClockUnset, 20 * day},
			{time.Minute, "the hub does not agree", hub, ClockUnset, 20 * day},
			{time.Minute, "and again not", signedAt(41 * day), ClockUnset, 20 * day},
			{31 * day, "the time has come", signed, ClockFloor, 31*day + 5*time.Minute},
		}},
		{"a leap that the hub refutes", noon, []moment{
			{0, "the floor that was on the disk", signedAt(0), ClockFloor, 0},
			{time.Minute, "signed in 2099", signedAt(70 * 365 * day), ClockUnset, 0},
			{time.Minute, "the hub says otherwise", hub, ClockConfirmed, 0},
			{time.Minute, "signed in 2099 once more", signedAt(71 * 365 * day), ClockConfirmed, 0},
			{time.Minute, "the clock is off", set(-time.Minute), ClockFloor, 0},
		}},
		{"network time is lost again", noon, []moment{
			{0, "the floor that was on the disk", signedAt(-time.Hour), ClockFloor, -time.Hour},
			{0, "network time", network(true), ClockNetwork, -time.Hour},
			{time.Hour, "lost", network(false), ClockFloor, -time.Hour},
			{time.Hour, "the hub is heard", hub, ClockConfirmed, -time.Hour},
			{day, "and not any more", nothing, ClockFloor, -time.Hour},
			{29 * day, "for a month", nothing, ClockUnset, -time.Hour},
			{0, "network time", network(true), ClockNetwork, -time.Hour},
		}},
		{"set back while running", noon, []moment{
			{0, "a signed time", signed, ClockFloor, 0},
			{time.Hour, "the hub", hub, ClockConfirmed, 0},
			{time.Hour, "set back by 20 seconds", set(-20 * time.Second), ClockConfirmed, 0},
			{0, "and by 20 more", set(-20 * time.Second), ClockFloor, 0},
			{0, "and behind the floor", set(-3 * time.Hour), ClockUnset, 0},
			{0, "whatever the network says", func(_ *WallClock, d *device, _ time.Time) { d.synced = true }, ClockUnset, 0},
			{0, "network time is lost", network(false), ClockUnset, 0},
			{0, "set right by hand", set(3*time.Hour + 40*time.Second), ClockConfirmed, 0},
		}},
		{"set forward while running", noon, []moment{
			{0, "a signed time", signed, ClockFloor, 0},
			{0, "the hub", hub, ClockConfirmed, 0},
			{time.Hour, "set forward by an hour", set(time.Hour), ClockFloor, 0},
			{0, "and by 30 days", set(30 * day), ClockUnset, 0},
		}},
		{"the hub disagrees", noon, []moment{
			{0, "a signed time", signed, ClockFloor, 0},
			{0, "the hub is an hour ahead", func(c *WallClock, _ *device, truth time.Time) { c.Confirm(truth.Add(time.Hour)) }, ClockFloor, 0},
			{time.Minute, "and again", func(c *WallClock, _ *device, truth time.Time) { c.Confirm(truth.Add(time.Hour)) }, ClockFloor, 0},
			{time.Minute, "by network time it is the hub that is wrong", network(true), ClockNetwork, 0},
			{time.Minute, "the hub was set right", hub, ClockConfirmed, 0},
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				d := &device{}
				d.set(story.wall)
				c := NewWallClock(func() time.Time { return time.Now().Add(d.offset) }, func() bool { return d.synced }, quiet)
				for _, m := range story.moments {
					time.Sleep(m.after) // the bubble's
					m.do(c, d, noon.Add(time.Since(start)))
					want := noon.Add(m.floor)
					if m.floor == none {
						want = time.Time{}
					}
					_, quality := c.Now()
					if floor := c.FloorTime(); quality != m.quality || !floor.Equal(want) {
						t.Errorf("%s %s: %s with floor %s, want %s with %s", time.Since(start), m.what, quality, floor, m.quality, want)
					}
				}
			})
		})
	}
}

// A difference that lasts is logged once, and so is a leap that waits.
func TestClockLogsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		d := &device{}
		d.set(noon)
		c := NewWallClock(func() time.Time { return time.Now().Add(d.offset) }, nil, slog.New(slog.NewTextHandler(&log, nil)))
		c.Floor(noon.AddDate(0, 0, -40))
		for range 3 {
			c.Floor(noon.AddDate(0, 0, 40))
			c.Confirm(noon.Add(time.Hour))
		}
		c.Confirm(noon)
		c.Confirm(noon.Add(time.Hour))
		if leaps, differs := strings.Count(log.String(), "leaps"), strings.Count(log.String(), "differs"); leaps != 1 || differs != 2 {
			t.Errorf("%d leaps and %d differences logged, want 1 and 2:\n%s", leaps, differs, log.String())
		}
	})
}
