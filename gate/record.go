package gate

import "time"

// RecordKind is the kind of a journal record.
type RecordKind string

const (
	// DecisionRecord is durable before the relay moves.
	DecisionRecord RecordKind = "decision"
	// OutcomeRecord follows: what came of a decision.
	OutcomeRecord RecordKind = "outcome"
	// ActRecord is what a guard, the exit button or the fire input did; it follows the act.
	ActRecord RecordKind = "act"
	// KeyRecord carries the day's pseudonym key, sealed to the hub.
	KeyRecord RecordKind = "key"
	// GapRecord counts records that were dropped when the journal was full.
	GapRecord RecordKind = "gap"
)

// Outcome is what came of a release.
type Outcome string

const (
	// OutcomeUnknown is the zero value: no contact says.
	OutcomeUnknown Outcome = ""
	Turned         Outcome = "turned"
	NotTurned      Outcome = "not-turned"
	TurnedTwice    Outcome = "turned-twice"
)

// Record is one entry of the journal. The sequence is the journal's to give.
type Record struct {
	// In clear.
	Kind      RecordKind
	At        time.Time
	Clock     ClockQuality
	Direction Direction
	Verdict   Verdict
	Reason    Reason
	Notices   []Reason
	// Policy and List are the versions decided by.
	Policy, List uint64
	// Of is the sequence of the decision that an outcome or act belongs to, 0 for none.
	Of      uint64
	Outcome Outcome
	// GuardReason is why a guard acted, from the list in guard.go.
	GuardReason GuardReason
	// Dropped counts the records that a GapRecord stands for.
	Dropped uint64

	// Sealed: readable at the hub alone.
	Sealed Sealed
}

// Sealed is the part of a record that only the hub can open.
type Sealed struct {
	// Pseudonym is a keyed hash of the code's status entry, 16 bytes; the key lasts a day.
	Pseudonym []byte
	// CodeKind is the kind of code, as "dynamic".
	CodeKind string
	Colour   Status
	Region   string
	// Reading is the last temperature, nil where none was taken.
	Reading *Reading
	// Enterprise of the permit, "" for none.
	Enterprise string
	// Guard is who acted, in an ActRecord of a guard only: the guard is a person too.
	Guard string
	// DayKey is the day's pseudonym key, in a KeyRecord only.
	DayKey []byte
	// Circumstances of a decision, nil in other records.
	Circumstances *Circumstances
}

// Journal keeps records on disk.
type Journal interface {
	// Append returns once the record is durable, with its sequence (from 1).
	// It may hang; the lane calls it in a worker with a deadline.
	Append(Record) (uint64, error)
}
