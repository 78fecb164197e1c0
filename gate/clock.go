package gate

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// confirmWithin is how far the wall clock may be from the hub's time, and
	// how far before the floor two honest clocks may differ.
	confirmWithin = 30 * time.Second
	// confirmFor is how long the hub's word lasts, in monotonic time.
	confirmFor = 24 * time.Hour
	// maxLeap is how far beyond the floor is believed without confirmation.
	maxLeap = 30 * 24 * time.Hour
)

// earliest is a time before every code of the scheme: a wall clock before it was never set.
var earliest = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// WallClock grades the device's own clock. It never sets it. It implements
// [Clock] and is safe for use from several goroutines.
type WallClock struct {
	now          func() time.Time
	synchronised func() bool
	log          *slog.Logger

	mu      sync.Mutex
	floor   time.Time // latest signed time believed, no monotonic reading
	pending time.Time // a floor that leaps too far to be believed yet
	hub     time.Time // the hub's time when it last agreed, and
	hubAt   time.Time // the moment it did, with its monotonic reading
}

// NewWallClock returns a clock that reads now, which keeps its monotonic
// reading as time.Now does. Synchronised tells whether network time
// disciplines the device's clock; it is asked for each reading and must answer
// at once. A nil synchronised means never.
func NewWallClock(now func() time.Time, synchronised func() bool, log *slog.Logger) *WallClock {
	if synchronised == nil {
		synchronised = func() bool { return false }
	}
	return &WallClock{now: now, synchronised: synchronised, log: log}
}

// Now returns the wall clock's time, with its monotonic reading, and how far to trust it.
func (c *WallClock) Now() (time.Time, ClockQuality) {
	t := c.now()
	synchronised := c.synchronised()
	c.mu.Lock()
	defer c.mu.Unlock()
	return t, c.grade(t, synchronised)
}

// grade is called with the lock held.
func (c *WallClock) grade(t time.Time, synchronised bool) ClockQuality {
	wall := t.Round(0)
	if c.floor.IsZero() && wall.Before(earliest) || wall.Before(c.floor.Add(-confirmWithin)) {
		return ClockUnset
	}
	if c.confirmed(t) {
		return ClockConfirmed
	}
	if synchronised {
		return ClockNetwork
	}
	if !c.floor.IsZero() && wall.After(c.floor.Add(maxLeap)) {
		return ClockUnset
	}
	return ClockFloor
}

// confirmed reports whether the hub's word still stands: the wall clock has
// run along with the monotonic one since. Called with the lock held.
func (c *WallClock) confirmed(t time.Time) bool {
	if c.hubAt.IsZero() {
		return false
	}
	elapsed := t.Sub(c.hubAt) // monotonic
	if elapsed < 0 || elapsed >= confirmFor {
		return false
	}
	return apart(t, c.hub.Add(elapsed)) <= confirmWithin
}

// Floor raises the floor to a signed time. It only moves forward. A leap of
// more than 30 days waits until network time or the hub agrees that so much
// time has passed.
func (c *WallClock) Floor(signed time.Time) {
	t := c.now()
	synchronised := c.synchronised()
	signed = signed.Round(0)
	if floor, news := c.raise(t, signed, synchronised); news {
		c.log.Warn("signed time leaps too far to be believed yet", "signed", signed, "floor", floor)
	}
}

// raise does what Floor says; news is a leap that now waits. Nothing is logged
// with the lock held: the lane asks this clock, and a log may hang.
func (c *WallClock) raise(t, signed time.Time, synchronised bool) (floor time.Time, news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !signed.After(c.floor) {
		return c.floor, false
	}
	if !c.floor.IsZero() && signed.After(c.floor.Add(maxLeap)) && !c.agrees(t, signed, synchronised) {
		news = signed.After(c.pending)
		if news {
			c.pending = signed
		}
		return c.floor, news
	}
	c.floor = signed
	if !c.pending.After(signed) {
		c.pending = time.Time{}
	}
	return c.floor, false
}

// agrees reports whether a trusted clock says that signed is not in the
// future. Called with the lock held.
func (c *WallClock) agrees(t, signed time.Time, synchronised bool) bool {
	return (synchronised || c.confirmed(t)) && !signed.After(t.Round(0).Add(confirmWithin))
}

// Confirm compares with the hub's authenticated time. While they agree within
// 30 seconds the clock is hub-confirmed, for 24 hours at most.
func (c *WallClock) Confirm(hub time.Time) {
	t := c.now()
	hub = hub.Round(0)
	if c.compare(t, hub) {
		c.log.Warn("clock differs from the hub's", "by", apart(t, hub))
	}
}

// compare does what Confirm says; news is a difference that is not known yet.
func (c *WallClock) compare(t, hub time.Time) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if apart(t, hub) > confirmWithin {
		news = !c.hubAt.IsZero() || c.hub.IsZero()
		c.hub, c.hubAt = hub, time.Time{}
		return news
	}
	c.hub, c.hubAt = hub, t
	if !c.pending.IsZero() && c.agrees(t, c.pending, false) {
		c.floor, c.pending = c.pending, time.Time{}
	}
	return false
}

// FloorTime returns the floor, zero where there is none.
func (c *WallClock) FloorTime() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.floor
}

// apart is the distance of two wall-clock times, whatever the monotonic clock says.
func apart(a, b time.Time) time.Duration {
	d := a.Round(0).Sub(b.Round(0))
	return d.Abs()
}
