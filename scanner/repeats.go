package scanner

import (
	"crypto/sha256"
	"time"
)

// remembered is how many different codes may be in front of one reader at once
// and still be told apart: a camera sees the next person's code behind the
// first.
const remembered = 4

// Repeats makes one scan of a code that a reader sees again and again while it
// is held up.
//
// A code counts as new when it has not been seen for Within: each sighting
// starts the time anew, so a code is scanned again only after it was taken
// away. Only digests are kept, never a code.
//
// The zero value never sees a repeat. A Repeats is for one goroutine.
type Repeats struct {
	// Within is how long a code must be out of sight to count as new.
	Within time.Duration

	seen [remembered]sighting
}

// sighting is one code and when it was last seen.
type sighting struct {
	sum [sha256.Size]byte
	at  time.Time
}

// Again reports whether raw, seen at the time at, is still the same showing of
// that code, and remembers it.
func (r *Repeats) Again(raw []byte, at time.Time) bool {
	if r.Within <= 0 {
		return false
	}
	sum := sha256.Sum256(raw)
	oldest := 0
	for i, s := range r.seen {
		if s.sum == sum && !s.at.IsZero() {
			r.seen[i].at = at
			return at.Sub(s.at) < r.Within
		}
		if s.at.Before(r.seen[oldest].at) {
			oldest = i
		}
	}
	r.seen[oldest] = sighting{sum, at}
	return false
}
