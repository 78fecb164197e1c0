package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"greengate/gate"
)

// Hours of a day.
const Hours = 24

// MaxCount bounds what one hour of one gate may count: a person a second is
// 3,600, and what is far above that is damage.
const MaxCount = 1 << 20

// ErrDay is wrapped by every error of [ParseDay] and [ParseDate].
var ErrDay = errors.New("bad day")

// Hour is what one gate counted in one hour of its day.
type Hour struct {
	// Passed are people who went through, either way, whoever released them.
	Passed uint32 `json:"p,omitempty"`
	// Judged are the entries that were decided for health's sake: admitted, or
	// stopped for one of the reasons below.
	Judged uint32 `json:"j,omitempty"`
	// Serious were stopped for red, fever or a region of high risk.
	Serious uint32 `json:"s,omitempty"`
	// Mild were stopped for yellow or a region of medium risk.
	Mild uint32 `json:"m,omitempty"`
}

// Add counts one record of its clear part alone.
func (h *Hour) Add(r gate.Record) {
	switch r.Kind {
	case gate.OutcomeRecord:
		if r.Verdict != gate.Admit || r.Reason == gate.ByFire {
			return
		}
		switch r.Outcome {
		case gate.Turned, gate.OutcomeUnknown:
			// Where no contact says, a release is taken for a passage.
			bump(&h.Passed, 1)
		case gate.TurnedTwice:
			bump(&h.Passed, 2)
		}
	case gate.DecisionRecord:
		// A full hour counts none of its parts any further: they are never more
		// than the whole, or the day could not be read again.
		if r.Direction != gate.Entry || h.Judged >= MaxCount {
			return
		}
		switch weigh(r) {
		case admitted:
			bump(&h.Judged, 1)
		case mild:
			bump(&h.Judged, 1)
			bump(&h.Mild, 1)
		case serious:
			bump(&h.Judged, 1)
			bump(&h.Serious, 1)
		}
	}
}

func bump(n *uint32, by uint32) { *n = min(*n+by, MaxCount) }

type weight uint8

const (
	nothing weight = iota
	admitted
	mild
	serious
)

// weigh says what a decision at an entry tells of health. A code that cannot be
// read, is expired or unknown, and a gate that is broken, tell nothing.
func weigh(r gate.Record) weight {
	if r.Verdict == gate.Admit {
		return admitted
	}
	switch r.Reason {
	case gate.RedCode, gate.Fever, gate.RiskHighRegion:
		return serious
	case gate.YellowCode, gate.RiskMediumRegion:
		return mild
	}
	return nothing
}

// Day is one gate's hours. A day is there when the gate wrote at least one
// record on it: a gate that was off has none, which is not a day of zeros.
type Day [Hours]Hour

// ParseDay reads what json.Marshal writes of a Day, strictly: 24 hours, none
// of which counts more than is possible.
func ParseDay(data []byte) (Day, error) {
	var hours []Hour
	if err := json.Unmarshal(data, &hours); err != nil {
		return Day{}, fmt.Errorf("%w: %w", ErrDay, err)
	}
	if len(hours) != Hours {
		return Day{}, fmt.Errorf("%w: %d hours", ErrDay, len(hours))
	}
	d := Day(hours)
	return d, d.Check()
}

// Check says what is wrong with a day, if anything is.
func (d Day) Check() error {
	for i, h := range d {
		if h.Passed > MaxCount || h.Judged > MaxCount || h.Serious > MaxCount || h.Mild > MaxCount || h.Serious+h.Mild > h.Judged {
			return fmt.Errorf("%w: hour %d: %+v", ErrDay, i, h)
		}
	}
	return nil
}

// sum adds the first hours of a day. MaxCount keeps it within 32 bits.
func (d *Day) sum(hours int) (c count) {
	for _, h := range d[:hours] {
		c.passed += h.Passed
		c.judged += h.Judged
		c.serious += h.Serious
		c.mild += h.Mild
	}
	return c
}

// total is a sum over hours and gates.
type total struct{ passed, judged, serious, mild uint64 }

func (t *total) add(o total) {
	t.passed += o.passed
	t.judged += o.judged
	t.serious += o.serious
	t.mild += o.mild
}

func (t *total) remove(o total) {
	t.passed -= o.passed
	t.judged -= o.judged
	t.serious -= o.serious
	t.mild -= o.mild
}

// Date is a day of the calendar, counted from 1970-01-01.
type Date int32

// DateOf is the day of a moment where it is seen from.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// ParseDate reads a day as "2020-02-17".
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("%w: %.20q is not of the form 2020-02-17", ErrDay, s)
	}
	if t.Year() < 1970 {
		return 0, fmt.Errorf("%w: %s is before 1970", ErrDay, s)
	}
	return DateOf(t), nil
}

// String writes the day as ParseDate reads it.
func (d Date) String() string { return d.time().Format(time.DateOnly) }

// Weekday of the day.
func (d Date) Weekday() time.Weekday { return d.time().Weekday() }

func (d Date) time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }
