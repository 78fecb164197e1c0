package upload

import (
	"strings"
	"time"
)

// Stop says why no passages are being sent although the hub can be reached.
type Stop string

const (
	// Running is the zero value: nothing is stopped.
	Running Stop = ""
	// StopForbidden: the hub refuses this gate (401 or 403).
	StopForbidden Stop = "forbidden"
	// StopGap: the hub wants records that the journal no longer holds.
	StopGap Stop = "gap"
	// StopFork: the hub holds another history under this gate's name: a
	// cloned card, or a journal that began again.
	StopFork Stop = "fork"
	// StopRecord: the hub refuses one record; see State.Record. A few such
	// answers later it is set aside, and the others go on.
	StopRecord Stop = "record"
)

// State is how the upload stands, for status pages.
type State struct {
	// Acknowledged is the last sequence that the hub has on disk, and Last the
	// last one in the journal; Backlog is the number between them.
	Acknowledged, Last, Backlog uint64
	// LastSuccess is when the hub last answered as it should; zero if never since start.
	LastSuccess time.Time
	// LastError is what went wrong last, "" once something succeeded; LastErrorAt is when.
	LastError   string
	LastErrorAt time.Time
	// Failures in a row.
	Failures int
	// NextTry is when Run tries again after a failure; zero while it does not wait.
	NextTry time.Time
	// Stop says why passages are not being sent.
	Stop Stop
	// Record is the sequence that the hub refuses, 0 for none.
	Record uint64
	// Refusal is what the hub said when it last did not take what it was sent; the
	// zero value once it did.
	Refusal Refusal
	// Aside counts the records set aside since the start; LastAside is the last
	// of them, and LastAsideError what the hub said of it.
	Aside, LastAside uint64
	LastAsideError   string
}

// Refusal is an answer other than yes.
type Refusal struct {
	// Status of HTTP, 0 for no refusal.
	Status int
	// Word is the hub's own for the reason, in printable ASCII; "" where it gave
	// none, as when a proxy answered in its place.
	Word string
	// Expected is the sequence that the hub waits for, where it said so.
	Expected uint64
	// At is when.
	At time.Time
}

// maxWord is the longest word of a refusal that is kept; the hub's have 30 bytes.
const maxWord = 60

// newRefusal takes what a hub, or whoever answered for it, said.
func newRefusal(status int, a answer) Refusal {
	word := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, a.Error[:min(len(a.Error), maxWord)])
	return Refusal{Status: status, Word: word, Expected: a.Expected, At: time.Now()}
}
