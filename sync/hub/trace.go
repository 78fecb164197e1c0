package hub

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
	"greengate/pass"
)

// This file is the one place where passages at several gates, or of several
// days, are found to be of one code. A gate knows a code by a pseudonym whose key
// lasts a day and is its own; the hub has those keys sealed, and with one it can
// ask whether a code passed, but not turn a pseudonym back into a code.

const (
	// traceDays is how many days a trace looks at where nothing else is asked, today among them.
	traceDays = 14
	// maxTraced is the most passages that one answer lists: 27 a day for a year.
	maxTraced = 10000
	// maxTraceDays is above the longest retention of sealed parts, in days.
	maxTraceDays = 6 * 64
	// keyBefore is how long before a passage its key may have been received: the
	// longest day has 25 hours, and a gate's clock may be ahead.
	keyBefore = 25*time.Hour + trialAhead
	// maxReason is the longest reason, in bytes.
	maxReason = 200
)

// TraceRequest asks where one code passed.
type TraceRequest struct {
	// Status is the entry of a health code that this hub issued.
	Status Ref `json:"status"`
	// From and To are days as 2020-02-17 in the operator's time, both included;
	// the last 14 where they are empty. No day whose keys are past their retention.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Gate is one gate; all of them when empty.
	Gate string `json:"gate,omitempty"`
	// Reason is why it is asked, as the number of a case, 1 to 200 bytes of text. It
	// stands in the audit trail for good, so no name belongs there.
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// TracedPassage is a record of a gate that is of the code: a decision, the act of
// a guard, or a way out.
type TracedPassage struct {
	Gate     string `json:"gate"`
	Site     string `json:"site,omitempty"`
	Sequence uint64 `json:"sequence"`
	// At is the gate's time, or when it was received where Clock is unset.
	At          time.Time        `json:"at"`
	Clock       string           `json:"clock"`
	Kind        gate.RecordKind  `json:"kind"`
	Direction   string           `json:"direction"`
	Verdict     string           `json:"verdict"`
	Reason      gate.Reason      `json:"reason"`
	GuardReason gate.GuardReason `json:"guard_reason,omitempty"`
	// Of is the sequence of the decision that an act of a guard is about.
	Of uint64 `json:"of,omitempty"`
	// Outcome says whether somebody turned the turnstile then; empty where the gate does not say.
	Outcome gate.Outcome `json:"outcome,omitempty"`
}

// Why nothing can be told of a record, beside whySealed.
const (
	whyDestroyed gate.Why = "keys-destroyed"
	whyDayKey    gate.Why = "day-key-not-known"
	whyLost      gate.Why = "lost-at-the-gate"
)

// whys are all of them; a gate's counts are in this order.
var whys = [...]gate.Why{whyDestroyed, whyDayKey, whySealed, whyLost}

// Untold says that records of a gate may be of the code, and nobody can tell.
type Untold struct {
	Gate string `json:"gate"`
	// Why is keys-destroyed (past its retention, or given up by the gate),
	// day-key-not-known (the record opens, what its pseudonym was made with does not),
	// sealed-part-does-not-open, or lost-at-the-gate.
	Why gate.Why `json:"why"`
	// Days on which there are such records, and how many there are in all; of those
	// lost at the gate the days between which they were.
	Days    []Days `json:"days"`
	Records uint64 `json:"records"`
}

// Days are days that follow each other, as 2020-02-17, both included.
type Days struct {
	From string `json:"from"`
	To   string `json:"to"`
}

func (d Days) String() string {
	if d.From == d.To {
		return d.From
	}
	return d.From + " to " + d.To
}

// TraceReport is where a code passed.
type TraceReport struct {
	Status Ref `json:"status"`
	// From and To are the window: what happened in [From, To).
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Passages by their time; More counts those that found no room.
	Passages []TracedPassage `json:"passages,omitempty"`
	More     uint64          `json:"more,omitempty"`
	// Untold is what this answer leaves open, by gate.
	Untold []Untold `json:"untold,omitempty"`
	// Others are the other codes of the same declaration, as a paper copy: what
	// passed with them is not here.
	Others []Ref `json:"others,omitempty"`
	// Records that were opened and compared.
	Records uint64 `json:"records"`
}

// TraceProgress says how far a trace is.
type TraceProgress struct {
	// Batches read, of so many.
	Batches uint64 `json:"batches"`
	Of      uint64 `json:"of"`
	Records uint64 `json:"records"`
}

// trace is a request that was checked.
type trace struct {
	hub      *Hub
	ref      pass.StatusRef
	from, to time.Time
	days     []time.Time // when each begins
	names    []string    // of the days
	open     *unsealers
	gates    map[string]*tracedGate
	// waiting are the passages whose outcome has not come yet.
	waiting map[recordRef]int
	report  TraceReport
	most    int
}

type recordRef struct {
	gate string
	seq  uint64
}

// tracedGate is what a trace keeps of a gate: there may be 100,000.
type tracedGate struct {
	who   gate.Pseudonym
	known bool // who is the code under the key in force
	// last sequence read, 0 for none, and its day: -1 for before the window.
	last   uint64
	day    int
	untold *[len(whys)]untold // nil for nothing
}

// untold counts records of one gate, and has a bit for each day.
type untold struct {
	days    [maxTraceDays / 64]uint64
	records uint64
}

// Trace finds out where a code passed. It reads what is stored as a stream,
// whatever its size, and ends with ctx. The call is written to the audit trail
// before anything is opened; then progress is told for the first time. What it
// finds stands in the answer alone.
func (h *Hub) Trace(ctx context.Context, r TraceRequest, progress func(TraceProgress)) (TraceReport, error) {
	t, err := h.newTrace(ctx, r)
	if err != nil {
		return TraceReport{}, err
	}
	object := fmt.Sprintf("%s at %s, %s", r.Status, cmp.Or(r.Gate, "all gates"), Days{t.names[0], t.names[len(t.names)-1]})
	if err := h.auditWhy(ctx, r.By, "trace", object, r.Reason); err != nil {
		return TraceReport{}, err
	}
	progress(TraceProgress{})
	if err := t.run(ctx, r.Gate, progress); err != nil {
		return TraceReport{}, fmt.Errorf("trace: %w", err)
	}
	return t.finish(), nil
}

// newTrace checks the request.
func (h *Hub) newTrace(ctx context.Context, r TraceRequest) (*trace, error) {
	if err := checkBy(r.By); err != nil {
		return nil, err
	}
	if !validText(r.Reason, 1, maxReason) || strings.TrimSpace(r.Reason) == "" {
		return nil, invalid("reason: want why it is asked, 1 to %d bytes of text, as a case's number", maxReason)
	}
	t := &trace{hub: h, ref: r.Status.StatusRef(), open: newUnsealers(h), gates: map[string]*tracedGate{}, waiting: map[recordRef]int{}, most: maxTraced}
	s, err := h.lists.slot(r.Status)
	if err != nil {
		return nil, err
	}
	code, _, err := load[codeRecord](ctx, h.store.codes, s.key())
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%s: %w: never issued", r.Status, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if code.Holder != nil {
		return nil, invalid("%s is a permit: a passage is written down under the health code, here %s", r.Status, *code.Holder)
	}
	if r.Gate != "" {
		if _, err := h.gate(ctx, r.Gate); err != nil {
			return nil, err
		}
	}
	kept, err := h.Retention(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.window(r, h.options.Now().In(h.options.Location), kept.SealedDays); err != nil {
		return nil, err
	}
	t.report = TraceReport{Status: r.Status, From: t.from, To: t.to}
	if code.Declaration != "" {
		d, err := h.Declaration(ctx, IDRequest{code.Declaration})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		for _, other := range d.Codes {
			if other != r.Status {
				t.report.Others = append(t.report.Others, other)
			}
		}
	}
	return t, nil
}

// window sets the days. The first that may be asked for is the first whose keys
// the sweep leaves alone.
func (t *trace) window(r TraceRequest, now time.Time, sealedDays int) error {
	// Days are counted in UTC, which has no day without a midnight.
	day := func(text string, otherwise time.Time) (time.Time, error) {
		if text == "" {
			return otherwise, nil
		}
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return at, invalid("day %.20q is not of the form 2020-02-17", text)
		}
		return at, nil
	}
	y, m, d := now.Date()
	today := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	first := today.AddDate(0, 0, -sealedDays)
	last, err := day(r.To, today)
	if err != nil {
		return err
	}
	back := last.AddDate(0, 0, 1-traceDays)
	if back.Before(first) {
		back = first
	}
	from, err := day(r.From, back)
	switch {
	case err != nil:
		return err
	case last.After(today):
		return invalid("day %s has not begun", last.Format(time.DateOnly))
	case from.Before(first) || last.Before(first):
		return invalid("sealed parts are kept for %d days: want days from %s on", sealedDays, first.Format(time.DateOnly))
	case last.Before(from):
		return invalid("from %s to %s: it ends before it begins", from.Format(time.DateOnly), last.Format(time.DateOnly))
	}
	end := from
	for ; !end.After(last) && len(t.days) < maxTraceDays; end = end.AddDate(0, 0, 1) {
		t.days, t.names = append(t.days, dayStart(end, now.Location())), append(t.names, end.Format(time.DateOnly))
	}
	t.from, t.to = t.days[0], dayStart(end, now.Location())
	return nil
}

// run reads from where the keys of the first day may have come.
func (t *trace) run(ctx context.Context, id string, progress func(TraceProgress)) error {
	return t.hub.received(ctx, t.from.Add(-keyBefore), id, func(s stored) error { return t.batch(ctx, s) }, func(read, of uint64) {
		progress(TraceProgress{Batches: read, Of: of, Records: t.report.Records})
	})
}

// finish puts the report in order.
func (t *trace) finish() TraceReport {
	slices.SortFunc(t.report.Passages, func(a, b TracedPassage) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Gate, b.Gate), cmp.Compare(a.Sequence, b.Sequence))
	})
	for _, id := range slices.Sorted(maps.Keys(t.gates)) {
		g := t.gates[id]
		if g.untold == nil {
			continue
		}
		for i, u := range g.untold {
			if u.records > 0 {
				t.report.Untold = append(t.report.Untold, Untold{Gate: id, Why: whys[i], Days: t.ranges(u.days), Records: u.records})
			}
		}
	}
	return t.report
}

// ranges names the days whose bits are set.
func (t *trace) ranges(bits [maxTraceDays / 64]uint64) (out []Days) {
	before := false
	for i, name := range t.names {
		set := bits[i/64]&(1<<(i%64)) != 0
		switch {
		case set && before:
			out[len(out)-1].To = name
		case set:
			out = append(out, Days{name, name})
		}
		before = set
	}
	return out
}

// day is which day of the window a time is in: -1 for before it, and the number
// of days for behind it.
func (t *trace) day(at time.Time) int {
	if !at.Before(t.to) {
		return len(t.days)
	}
	i, exact := slices.BinarySearchFunc(t.days, at, time.Time.Compare)
	if exact {
		return i
	}
	return i - 1
}

// cannot counts records of a gate that nothing can be told of, on the days of the
// window that are among those from a to b.
func (t *trace) cannot(g *tracedGate, why gate.Why, a, b int, n uint64) {
	a, b = max(min(a, b), 0), min(max(a, b), len(t.days)-1)
	if a > b {
		return
	}
	if g.untold == nil {
		g.untold = new([len(whys)]untold)
	}
	u := &g.untold[slices.Index(whys[:], why)]
	u.records += n
	for i := a; i <= b; i++ {
		u.days[i/64] |= 1 << (i % 64)
	}
}

// batch looks at the records of one stored batch. A record's pseudonym was made
// with the key of the last KeyRecord before it: a gate takes a new key only while
// nobody is on the way through.
func (t *trace) batch(ctx context.Context, s stored) error {
	id := s.batch.Gate
	g := t.gates[id]
	if g == nil {
		g = &tracedGate{day: -1}
		t.gates[id] = g
	}
	for _, e := range s.batch.Entries {
		if e.Seq < s.first || e.Seq <= g.last {
			continue
		}
		seq, r, err := passage.DecodeClear(e.Clear)
		buried := e.Tombstone || err != nil || seq != e.Seq
		if buried || r.Clock == gate.ClockUnset {
			r.At = s.received
		}
		day := t.day(r.At)
		var lost uint64
		switch {
		case g.last != 0:
			lost = e.Seq - g.last - 1
		case s.batch.Skip != nil:
			lost = s.batch.Skip.Count()
		}
		if lost > 0 {
			g.known = false // a key may be among them
			t.cannot(g, whyLost, g.day, day, lost)
		}
		g.last, g.day = e.Seq, day
		if buried {
			g.known = false // and may be this
			t.cannot(g, whySealed, day, day, 1)
			continue
		}
		if err := t.record(ctx, g, s.batch, e, r, day); err != nil {
			return err
		}
	}
	return nil
}

// record looks at one record.
func (t *trace) record(ctx context.Context, g *tracedGate, b *passage.Batch, e passage.Entry, r gate.Record, day int) error {
	switch r.Kind {
	case gate.KeyRecord:
		sealed, err := t.open.unseal(ctx, b, e)
		if err != nil && !isUntold(err) {
			return err
		}
		if g.known = err == nil && len(sealed.DayKey) == 32; g.known {
			g.who = gate.PseudonymOf([32]byte(sealed.DayKey), t.ref)
		}
	case gate.OutcomeRecord:
		ref := recordRef{b.Gate, r.Of}
		if i, ok := t.waiting[ref]; ok {
			t.report.Passages[i].Outcome = r.Outcome
			delete(t.waiting, ref)
		}
	case gate.GapRecord:
		// The lane had no room for them; a key's record is not made without. What
		// the journal gave up shows in the sequences.
		if r.Of == 0 {
			t.cannot(g, whyLost, day, day, r.Dropped)
		}
	case gate.DecisionRecord, gate.ActRecord:
		if day < 0 || day == len(t.days) || r.Reason == gate.ByButton || r.Reason == gate.ByFire || r.Reason == gate.Forced {
			return nil // of another day, or of no code
		}
		sealed, err := t.open.unseal(ctx, b, e)
		switch {
		case errors.Is(err, ErrNotFound):
			t.cannot(g, whyDestroyed, day, day, 1)
			return nil
		case isUntold(err):
			t.cannot(g, whySealed, day, day, 1)
			return nil
		case err != nil:
			return err
		}
		t.report.Records++
		switch {
		case len(sealed.Pseudonym) == 0: // no code opened
		case !g.known:
			t.cannot(g, whyDayKey, day, day, 1)
		case bytes.Equal(sealed.Pseudonym, g.who[:]):
			t.found(b.Gate, e.Seq, r)
		}
	}
	return nil
}

// found lists a passage.
func (t *trace) found(id string, seq uint64, r gate.Record) {
	if len(t.report.Passages) >= t.most {
		t.report.More++
		return
	}
	t.waiting[recordRef{id, seq}] = len(t.report.Passages)
	t.report.Passages = append(t.report.Passages, TracedPassage{
		Gate: id, Site: t.hub.fleet.site(id), Sequence: seq, At: r.At.In(t.from.Location()), Clock: r.Clock.String(), Kind: r.Kind,
		Direction: r.Direction.String(), Verdict: r.Verdict.String(), Reason: r.Reason, GuardReason: r.GuardReason, Of: r.Of,
	})
}
