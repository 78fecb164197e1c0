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
	// Held are the lists held, in the order of their URIs.
	Held []ListHealth
	// MapDay is the day of the map in force, as "2020-02-17", "" for no map.
	MapDay string
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

// ListHealth is one list that is held.
type ListHealth struct {
	URI string
	// Generation counts what the authority published of it.
	Generation uint64
	// Confirmed is when the authority last called it current, and Freshness grades that.
	Confirmed time.Time
	Freshness gate.Freshness
	// Extra: no region of the configuration, a code asked for it.
	Extra bool
}

// MapAge returns how many days ago the map's day was, by the gate's own day; a
// map of tomorrow has the age 0. It is false where there is no map, or no clock
// to say.
func (h Health) MapAge() (days int, ok bool) {
	day, err := time.Parse(time.DateOnly, h.MapDay)
	if err != nil || h.Clock == gate.ClockUnset || h.ClockTime.IsZero() {
		return 0, false
	}
	y, m, d := h.ClockTime.Date()
	return max(int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Sub(day)/(24*time.Hour)), 0), true
}

// MapStaleDays is the age in days from which a map, which is published daily,
// is shown as old. It holds nobody.
const MapStaleDays = 2

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
