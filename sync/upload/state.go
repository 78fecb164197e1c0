package upload

import "time"

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
	// Aside counts the records set aside since the start; LastAside is the last
	// of them, and LastAsideError what the hub said of it.
	Aside, LastAside uint64
	LastAsideError   string
}
