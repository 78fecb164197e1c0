package hub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
)

// This file is the dry run of a policy: every decision of a day is judged
// again, and what would have fallen otherwise is counted. The gates cannot do
// it, who cannot read what they sealed.

const (
	// trialAhead is how far a gate's clock may be ahead of the hub's: a record of
	// the day may have been received that long before the day began.
	trialAhead = time.Hour
)

// TrialRequest asks what a policy, or a map, would have changed.
type TrialRequest struct {
	// Policy to try, the JSON of a gate.Policy; empty for the one that was in
	// force at each decision.
	Policy json.RawMessage `json:"policy,omitempty"`
	// Map to try, the JSON of a gate.RiskMap; empty for the one that the gates had.
	Map json.RawMessage `json:"map,omitempty"`
	// Day at the hub, as "2020-02-17"; yesterday when empty. SinceSeconds, in its
	// place, is the time up to now.
	Day          string `json:"day,omitempty"`
	SinceSeconds int64  `json:"since_seconds,omitempty"`
	// Gate is one gate; all of them when empty.
	Gate string `json:"gate,omitempty"`
	By   string `json:"by"`
}

// TrialChange counts the decisions that would have fallen otherwise in one way.
type TrialChange struct {
	Verdict string      `json:"verdict"`
	Reason  gate.Reason `json:"reason"`
	// ToVerdict and ToReason are what they would have become. ToVerdict is empty
	// where that would have been no end: the gate would have asked for what
	// ToReason says, and nobody knows how that would have ended.
	ToVerdict string      `json:"to_verdict,omitempty"`
	ToReason  gate.Reason `json:"to_reason"`
	Count     uint64      `json:"count"`
}

// TrialCounts are the decisions of one gate, or of all.
type TrialCounts struct {
	Gate string `json:"gate,omitempty"`
	// Decisions judged: the four counts that follow are their sum.
	Decisions uint64 `json:"decisions"`
	// Same fall as they fell; Settled are decided by no policy (what the code
	// itself is, the clock, a fault); Changed fall otherwise.
	Same    uint64 `json:"same"`
	Settled uint64 `json:"settled"`
	Changed uint64 `json:"changed"`
	// CannotTell counts the others by why.
	CannotTell map[gate.Why]uint64 `json:"cannot_tell,omitempty"`
	Changes    []TrialChange       `json:"changes,omitempty"`
}

// Why a decision cannot be judged at the hub, beside what gate.Rejudge says.
const (
	whySealed gate.Why = "sealed-part-does-not-open"
	whyPolicy gate.Why = "policy-not-known"
)

// TrialReport is what a trial found.
type TrialReport struct {
	// From and To are the window: decisions whose own time is in [From, To).
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// InForce is the version in force at the hub now, and Differences are the
	// values of the tried policy that are not those.
	InForce     uint64            `json:"policy_in_force"`
	Differences []TrialDifference `json:"differences,omitempty"`
	// Notes are what the operator should know before setting it.
	Notes []string    `json:"notes,omitempty"`
	Total TrialCounts `json:"total"`
	// Gates are those of which something would have changed or cannot be told, by name.
	Gates []TrialCounts `json:"gates,omitempty"`
}

// TrialDifference is one value of a policy that differs.
type TrialDifference struct {
	Name  string          `json:"name"`
	Now   json.RawMessage `json:"now"`
	Tried json.RawMessage `json:"tried"`
}

// TrialProgress says how far a trial is.
type TrialProgress struct {
	// Batches read, of so many.
	Batches   uint64 `json:"batches"`
	Of        uint64 `json:"of"`
	Decisions uint64 `json:"decisions"`
}

// CannotTellCount is how many decisions nothing can be told of.
func (c *TrialCounts) CannotTellCount() uint64 {
	var n uint64
	for _, k := range c.CannotTell {
		n += k
	}
	return n
}

func (c *TrialCounts) cannot(w gate.Why) {
	c.Decisions++
	if c.CannotTell == nil {
		c.CannotTell = map[gate.Why]uint64{}
	}
	c.CannotTell[w]++
}

func (c *TrialCounts) add(r gate.Record, j gate.Rejudgement) {
	switch j.Tried {
	case gate.Settled:
		c.Settled++
	case gate.Same:
		c.Same++
	case gate.Differs:
		c.Changed++
		change := TrialChange{Verdict: r.Verdict.String(), Reason: r.Reason, ToReason: j.Would.Reason}
		if j.Would.Next == gate.NextNone {
			change.ToVerdict = j.Would.Verdict.String()
		}
		c.change(change, 1)
	default:
		c.cannot(j.Why)
		return
	}
	c.Decisions++
}

// change counts. Only decisions that were reproduced change, so that a gate
// cannot make up reasons here; the ways number a few dozen.
func (c *TrialCounts) change(t TrialChange, n uint64) {
	for i := range c.Changes {
		t.Count = c.Changes[i].Count
		if c.Changes[i] == t {
			c.Changes[i].Count += n
			return
		}
	}
	t.Count = n
	c.Changes = append(c.Changes, t)
}

// merge adds a gate's counts to the total.
func (c *TrialCounts) merge(o *TrialCounts) {
	c.Decisions += o.Decisions
	c.Same += o.Same
	c.Settled += o.Settled
	c.Changed += o.Changed
	for w, n := range o.CannotTell {
		if c.CannotTell == nil {
			c.CannotTell = map[gate.Why]uint64{}
		}
		c.CannotTell[w] += n
	}
	for _, t := range o.Changes {
		c.change(t, t.Count)
	}
}

// sort puts the greatest change first.
func (c *TrialCounts) sort() {
	slices.SortFunc(c.Changes, func(a, b TrialChange) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Verdict+string(a.Reason), b.Verdict+string(b.Reason)),
			strings.Compare(a.ToVerdict+string(a.ToReason), b.ToVerdict+string(b.ToReason)))
	})
}

// trial is a request that was checked.
type trial struct {
	hub      *Hub
	from, to time.Time
	would    *gate.Policy  // nil for what was in force
	other    *gate.RiskMap // nil for what the gates had
	policies map[uint64]*gate.Policy
	open     *unsealers
	gates    map[string]*TrialCounts
	judged   uint64
}

// TryPolicy judges the decisions of a window again. It reads them as a stream,
// whatever their number, tells progress now and then, and ends with ctx. The
// call is written to the audit trail before anything is opened; nothing that
// it answers or logs is of one person.
func (h *Hub) TryPolicy(ctx context.Context, r TrialRequest, progress func(TrialProgress)) (TrialReport, error) {
	if err := checkBy(r.By); err != nil {
		return TrialReport{}, err
	}
	t, report, err := h.newTrial(ctx, r)
	if err != nil {
		return TrialReport{}, err
	}
	object := cmp.Or(r.Gate, "all gates") + ", " + t.from.Format(time.RFC3339) + " to " + t.to.Format(time.RFC3339)
	if err := h.audit(ctx, r.By, "policy-try", object); err != nil {
		return TrialReport{}, err
	}
	if err := t.run(ctx, r.Gate, progress); err != nil {
		return TrialReport{}, fmt.Errorf("trial of a policy: %w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(t.gates)) {
		c := t.gates[id]
		report.Total.merge(c)
		if c.Changed > 0 || len(c.CannotTell) > 0 {
			c.sort()
			report.Gates = append(report.Gates, *c)
		}
	}
	report.Total.sort()
	return report, nil
}

// newTrial checks the request and compares its policy with the one in force.
func (h *Hub) newTrial(ctx context.Context, r TrialRequest) (*trial, TrialReport, error) {
	fail := func(err error) (*trial, TrialReport, error) { return nil, TrialReport{}, err }
	t := &trial{hub: h, policies: map[uint64]*gate.Policy{}, open: newUnsealers(h), gates: map[string]*TrialCounts{}}
	var err error
	if t.from, t.to, err = r.window(h.options.Now(), h.options.Location); err != nil {
		return fail(err)
	}
	report := TrialReport{From: t.from, To: t.to}
	if r.Gate != "" {
		if _, err := h.gate(ctx, r.Gate); err != nil {
			return fail(err)
		}
	}
	if len(r.Policy) == 0 && len(r.Map) == 0 {
		return fail(invalid("neither a policy nor a map to try"))
	}
	now, err := h.policyInForce(ctx)
	if err != nil {
		return fail(err)
	}
	report.InForce = now.Version
	if len(r.Policy) > 0 {
		p, err := gate.ParsePolicy(r.Policy)
		if err != nil {
			return fail(invalid("%w", err))
		}
		t.would = &p
		if report.Differences, err = differences(now, p); err != nil {
			return fail(err)
		}
		if p.Version != 0 && p.Version <= now.Version {
			report.Notes = append(report.Notes, fmt.Sprintf("version %d cannot be set: %d is in force; write %d, or 0 for the next one", p.Version, now.Version, now.Version+1))
		}
		if p.RedOverride != now.RedOverride {
			report.Notes = append(report.Notes, "red_override differs: it changes what a guard may do, and no decision")
		}
	}
	if len(r.Map) > 0 {
		m, err := gate.ParseRiskMap(r.Map)
		if err != nil {
			return fail(invalid("%w", err))
		}
		t.other = &m
	}
	return t, report, nil
}

// window is [from, to).
func (r TrialRequest) window(now time.Time, location *time.Location) (from, to time.Time, err error) {
	now = now.In(location)
	switch {
	case r.Day != "" && r.SinceSeconds != 0:
		return from, to, invalid("a day or a time since, not both")
	case r.SinceSeconds != 0:
		const most = 366 * 24 * 3600
		if r.SinceSeconds < 1 || r.SinceSeconds > most {
			return from, to, invalid("since %d s: want up to a year", r.SinceSeconds)
		}
		return now.Add(-time.Duration(r.SinceSeconds) * time.Second), now, nil
	}
	y, m, d := now.Date()
	day := time.Date(y, m, d-1, 0, 0, 0, 0, time.UTC)
	if r.Day != "" {
		if day, err = time.Parse(time.DateOnly, r.Day); err != nil {
			return from, to, invalid("day %.20q is not of the form 2020-02-17", r.Day)
		}
	}
	if from = dayStart(day, location); from.After(now) {
		return from, to, invalid("day %s has not begun", day.Format(time.DateOnly))
	}
	return from, dayStart(day.AddDate(0, 0, 1), location), nil
}

// differences are the values that are not the same, but for the version.
func differences(now, tried gate.Policy) ([]TrialDifference, error) {
	fields := func(p gate.Policy) (map[string]json.RawMessage, error) {
		data, err := p.Marshal()
		if err != nil {
			return nil, err
		}
		var m map[string]json.RawMessage
		return m, json.Unmarshal(data, &m)
	}
	a, err := fields(now)
	if err != nil {
		return nil, err
	}
	b, err := fields(tried)
	if err != nil {
		return nil, err
	}
	var out []TrialDifference
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if name != "version" && !bytes.Equal(a[name], b[name]) {
			out = append(out, TrialDifference{name, a[name], b[name]})
		}
	}
	return out, nil
}

// run reads what was received since the window began, up to what is there now.
func (t *trial) run(ctx context.Context, id string, progress func(TrialProgress)) error {
	return t.hub.received(ctx, t.from.Add(-trialAhead), id, func(s stored) error { return t.batch(ctx, s) }, func(read, of uint64) {
		progress(TrialProgress{Batches: read, Of: of, Decisions: t.judged})
	})
}

// batch judges the decisions of the window in one stored batch.
func (t *trial) batch(ctx context.Context, s stored) error {
	id := s.batch.Gate
	for _, e := range s.batch.Entries {
		if e.Seq < s.first {
			continue
		}
		seq, r, err := passage.DecodeClear(e.Clear)
		if err != nil || seq != e.Seq {
			continue // a tombstone says neither when it was nor what
		}
		if r.Kind != gate.DecisionRecord || r.At.Before(t.from) || !r.At.Before(t.to) {
			continue
		}
		c := t.gates[id]
		if c == nil {
			c = &TrialCounts{Gate: id}
			t.gates[id] = c
		}
		t.judged++
		if r.Sealed, err = t.open.unseal(ctx, s.batch, e); isUntold(err) {
			c.cannot(whySealed)
			continue
		}
		if err != nil {
			return err
		}
		was, err := t.policy(ctx, r.Policy)
		if err != nil {
			return err
		}
		if was == nil {
			c.cannot(whyPolicy)
			continue
		}
		would := was
		if t.would != nil {
			would = t.would
		}
		c.add(r, gate.Rejudge(r, *was, *would, t.other))
	}
	return nil
}

// maxPolicies bounds the versions that a gate may name.
const maxPolicies = 4096

// policy returns a version of the policy, nil where nobody knows it any more.
func (t *trial) policy(ctx context.Context, version uint64) (*gate.Policy, error) {
	if p, ok := t.policies[version]; ok {
		return p, nil
	}
	if len(t.policies) >= maxPolicies {
		return nil, nil
	}
	p, err := t.hub.policyVersion(ctx, version)
	if errors.Is(err, ErrNotFound) {
		t.policies[version] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t.policies[version] = &p
	return &p, nil
}
