package camera

import "time"

const (
	// againNothing is how long a scene in which nothing was found may stand still
	// before it is looked at again: chance finds in the next noise what it
	// missed in this, and a code may have come so quietly that a glance did not
	// see it.
	againNothing = 250 * time.Millisecond
	// againRead is the same of a scene whose code was read. It is far below
	// SameWithin, so that a code held still for a minute stays one scan, and a
	// telephone's next code in its place is not waited for.
	againRead = 200 * time.Millisecond
)

// mostUnread is how many pictures of one still scene are looked at in a row for
// a code that was found and not read: each adds to what is known of it. What is
// not read by then is the pattern of a curtain.
const mostUnread = 30

// still spares the eye a scene that it has just seen.
type still struct {
	last    glance
	at      time.Time
	outcome Outcome
	unread  int // pictures of this scene in a row in which a code was not read
}

// spares reports whether a picture need not be looked at.
func (s *still) spares(g *glance, at time.Time) bool {
	var again time.Duration
	switch {
	case s.outcome == Read:
		again = againRead
	case s.outcome == NoFinder, s.unread >= mostUnread:
		again = againNothing
	}
	// A clock of the camera's that jumps back spares nothing.
	since := at.Sub(s.at)
	return since >= 0 && since < again && s.last.same(g)
}

// looked remembers a picture that was looked at.
func (s *still) looked(g *glance, at time.Time, o Outcome) {
	if o != Unread || !s.last.same(g) {
		s.unread = 0
	}
	if o == Unread {
		s.unread++
	}
	s.last, s.at, s.outcome = *g, at, o
}
