package qr

import "time"

// Work is counted in units of about a nanosecond on a desktop computer.
const (
	// tripleWork is a fit of a grid to three finders.
	tripleWork = 30_000
	// sampleWork is a module: to sample, to equalise, to decode twice.
	sampleWork = 60
	// askEvery is how much work is done between two looks at the clock.
	askEvery = 100_000
	// basicWork is what any picture is worth, and pixelWork what each pixel adds.
	basicWork = 4_000_000
	pixelWork = 3
	// checkWork is a place that a row took for a finder, looked at closely.
	checkWork = 300
)

// budget is the work that a picture is worth. It is counted, so that the same
// picture is read or not on any machine; a limit of time comes on top.
type budget struct {
	left  int
	now   func() time.Time
	until time.Time
	limit bool
	since int // work since the clock was looked at
}

// start begins a picture of so many pixels.
func (b *budget) start(limit time.Duration, now func() time.Time, pixels int) {
	*b = budget{left: basicWork + pixelWork*pixels, now: now, limit: limit > 0}
	if b.now == nil {
		b.now = time.Now
	}
	if b.limit {
		b.until = b.now().Add(limit)
	}
}

// spend takes work off, and reports whether it may be done.
func (b *budget) spend(work int) bool {
	if b.left < work {
		b.left = 0
		return false
	}
	b.left -= work
	if !b.limit {
		return true
	}
	if b.since += work; b.since >= askEvery {
		b.since = 0
		if b.now().After(b.until) {
			b.left = 0
			return false
		}
	}
	return true
}

// grant is spend for work that is little and surely worth it: only time can
// forbid it.
func (b *budget) grant(work int) bool {
	b.left += work
	return b.spend(work)
}
