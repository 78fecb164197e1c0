package gate

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// confirmWithin is how far the wall clock may be from the hub's time, and
	// how far two honest clocks may differ about a signed time.
	confirmWithin = 30 * time.Second
	// confirmFor is how long the hub's word lasts, in monotonic time.
	confirmFor = 24 * time.Hour
	// maxLeap is how far beyond the last signed time that a second clock bore
	// out is believed without confirmation, in one step or in many.
	maxLeap = 30 * 24 * time.Hour
)

// earliest is a time before every code of the scheme: a wall clock before it was never set.
var earliest = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// WallClock grades the device's own clock. It never sets it. It implements
// [Clock] and is safe for use from several goroutines.
//
// Its floor is the latest signed time believed. The only source of that is the
// issued time of the timestamp role; see [WallClock.Floor] for the time before
// the first one.
type WallClock struct {
	now          func() time.Time
	synchronised func() bool
	log          *slog.Logger
	began        time.Time // with its monotonic reading

	mu    sync.Mutex
	floor time.Time // no monotonic reading
	// borne is the latest signed time that a second clock bore out, the first
	// floor where none has, and borneAt the monotonic moment of that.
	borne   time.Time
	borneAt time.Duration
	// pending is a signed time that leaps too far to be believed yet, and told
	// the latest one that was logged.
	pending, told time.Time
	// hub is the hub's time at its last word, hubAt the monotonic moment of it.
	hub   time.Time
	hubAt time.Duration
	// differs: the wall clock did not agree then.
	differs bool
}

// NewWallClock returns a clock that reads now, which keeps its monotonic
// reading as time.Now does. Synchronised tells whether network time
// disciplines the device's clock; it is asked for each reading and must answer
// at once. A nil synchronised means never.
func NewWallClock(now func() time.Time, synchronised func() bool, log *slog.Logger) *WallClock {
	if synchronised == nil {
		synchronised = func() bool { return false }
	}
	return &WallClock{now: now, synchronised: synchronised, log: log, began: time.Now()}
}

// clocks is what all clocks say at one moment.
type clocks struct {
	wall         time.Time     // no monotonic reading
	ran          time.Duration // monotonic, since the clock was made
	synchronised bool
}

// read asks the device, which may take a moment: never with the lock held.
func (c *WallClock) read() (time.Time, clocks) {
	t := c.now()
	return t, clocks{t.Round(0), time.Since(c.began), c.synchronised()}
}

// Now returns the wall clock's time, with its monotonic reading, and how far to trust it.
func (c *WallClock) Now() (time.Time, ClockQuality) {
	t, at := c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	return t, c.grade(at)
}

// grade is called with the lock held.
func (c *WallClock) grade(at clocks) ClockQuality {
	switch {
	case c.floor.IsZero() && at.wall.Before(earliest), at.wall.Before(c.floor.Add(-confirmWithin)):
		return ClockUnset
	case c.confirmed(at):
		return ClockConfirmed
	case at.synchronised:
		return ClockNetwork
	case at.wall.Before(c.pending.Add(-confirmWithin)):
		// A signed time says that this clock is more than a month behind, and
		// nobody has said which of the two is wrong.
		return ClockUnset
	case !c.floor.IsZero() && at.wall.After(c.floor.Add(maxLeap)):
		return ClockUnset
	}
	return ClockFloor
}

// hubNow is the hub's time by its last word and the monotonic clock since;
// false where there was none within a day. Called with the lock held.
func (c *WallClock) hubNow(at clocks) (time.Time, bool) {
	elapsed := at.ran - c.hubAt
	if c.hub.IsZero() || elapsed >= confirmFor {
		return time.Time{}, false
	}
	return c.hub.Add(elapsed), true
}

// confirmed reports whether the wall clock agrees with the hub's word. Called
// with the lock held.
func (c *WallClock) confirmed(at clocks) bool {
	hub, ok := c.hubNow(at)
	return ok && apart(at.wall, hub) <= confirmWithin
}

// Floor raises the floor to a signed time. It only moves forward. A leap of
// more than 30 days waits until network time or the hub agrees that so much
// time has passed; the hub's word is enough where the wall clock is wrong.
// Steps that come to more than 30 days and the time that the gate has run
// since are such a leap too: a thief of the timestamp's key does not walk the
// floor into the future.
//
// The first signed time is believed as it is: it is the floor that was on the
// disk, which was believed before. Where there is none, the start of the gate's
// certificate stands in for it. The hub signed that too, though not in the
// timestamp role, and it came with the enrolment that everything else trusts.
func (c *WallClock) Floor(signed time.Time) {
	_, at := c.read()
	signed = signed.Round(0)
	if floor, news := c.raise(at, signed); news {
		c.log.Warn("signed time leaps too far to be believed yet", "signed", signed, "floor", floor)
	}
}

// raise does what Floor says; news is a leap that is not known yet. Nothing is
// logged with the lock held: the lane asks this clock, and a log may hang.
func (c *WallClock) raise(at clocks, signed time.Time) (floor time.Time, news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !signed.After(c.floor) {
		return c.floor, false
	}
	agreed := c.agrees(at, signed)
	if !c.floor.IsZero() && !agreed && signed.After(c.borne.Add(at.ran-c.borneAt+maxLeap)) {
		if _, heard := c.hubNow(at); !heard && signed.After(c.pending) {
			c.pending = signed // where the hub was heard, it has refuted this
		}
		news = signed.After(c.told)
		if news {
			c.told = signed
		}
		return c.floor, news
	}
	if agreed || c.floor.IsZero() {
		c.borne, c.borneAt = signed, at.ran
	}
	c.floor = signed
	if !c.pending.After(signed) {
		c.pending = time.Time{}
	}
	return c.floor, false
}

// agrees reports whether a clock other than the signer's says that signed is
// not in the future. Called with the lock held.
func (c *WallClock) agrees(at clocks, signed time.Time) bool {
	if hub, ok := c.hubNow(at); ok && !signed.After(hub.Add(confirmWithin)) {
		return true
	}
	return at.synchronised && !signed.After(at.wall.Add(confirmWithin))
}

// Confirm hears the hub's authenticated time. While the wall clock agrees
// within 30 seconds it is hub-confirmed, for 24 hours at most. A leap that
// waits is taken or refuted, whatever the wall clock says.
func (c *WallClock) Confirm(hub time.Time) {
	_, at := c.read()
	hub = hub.Round(0)
	if c.compare(at, hub) {
		c.log.Warn("clock differs from the hub's", "by", apart(at.wall, hub))
	}
}

// compare does what Confirm says; news is a difference that is not known yet.
func (c *WallClock) compare(at clocks, hub time.Time) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hub, c.hubAt = hub, at.ran
	if !c.pending.IsZero() {
		if !c.pending.After(hub.Add(confirmWithin)) {
			c.floor, c.borne, c.borneAt = c.pending, c.pending, at.ran
		}
		c.pending = time.Time{}
	}
	before := c.differs
	c.differs = !c.confirmed(at)
	return c.differs && !before
}

// FloorTime returns the floor, zero where there is none.
func (c *WallClock) FloorTime() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.floor
}

// apart is the distance of two wall-clock times.
func apart(a, b time.Time) time.Duration { return a.Sub(b).Abs() }
