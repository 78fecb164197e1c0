package display

import (
	"time"

	"greengate/gate"
)

// View is what the faces show: the lane, and the device around it.
type View struct {
	gate.View
	Health Health
}

// Health is the state of the device, for the status strip and the guard. It
// holds nothing about persons.
type Health struct {
	// GateName and Zone say where this is, "" where not configured.
	GateName, Zone string
	// ListIssued is the latest signed time at which the authority confirmed the
	// lists held; the age of the lists counts from here. Zero: none is held.
	ListIssued time.Time
	// Lists grades that age.
	Lists gate.Freshness
	// ClockTime is the gate's time of day, in the zone to show it in, and Clock grades it.
	ClockTime time.Time
	Clock     gate.ClockQuality
	// Backlog counts the records that the hub does not have yet.
	Backlog uint64
	// JournalPercent is how much of the journal's room is taken, 0 to 100.
	JournalPercent int
	// JournalFull: the journal is at its cap.
	JournalFull bool
	Hub         HubHealth
	Readers     []ReaderHealth
	// Faults are the codes of what is wrong now, as "journal-timeout". Empty when all is well.
	Faults []string
}

// HubHealth is the connection to the hub.
type HubHealth struct {
	// Connected: the last attempt reached the hub.
	Connected bool
	// LastContact is when it was last reached, zero if never since the start.
	LastContact time.Time
}

// ReaderHealth is one reader of codes.
type ReaderHealth struct {
	// Name as configured, as "serial".
	Name string
	// State in one word for the guard, as "ready" or "absent".
	State string
}

// JournalAlarmPercent is the share of the journal's room from which the guard is warned.
const JournalAlarmPercent = 90

// Alarm tells whether the guard should look at the status strip: lists, clock,
// journal, or a fault. A hub that is out of reach is no alarm by itself, for
// the gate works without one.
func (h Health) Alarm() bool {
	return h.Lists != gate.Fresh || h.Clock < gate.ClockNetwork || h.JournalFull ||
		h.JournalPercent >= JournalAlarmPercent || len(h.Faults) > 0
}
