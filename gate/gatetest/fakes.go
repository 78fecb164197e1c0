package gatetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"greengate/gate"
	"greengate/pass"
)

// Clock is the bubble's clock, moved to the scheme's time and graded as the
// test says.
type Clock struct {
	mu      sync.Mutex
	offset  time.Duration
	leapt   bool
	quality gate.ClockQuality
}

// NewClock returns a clock that says start now, and is disciplined by network time.
func NewClock(start time.Time) *Clock {
	return &Clock{offset: time.Until(start), quality: gate.ClockNetwork}
}

// Now returns the time, with its monotonic reading unless it leapt.
func (c *Clock) Now() (time.Time, gate.ClockQuality) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().Add(c.offset)
	if c.leapt {
		now = now.Round(0)
	}
	return now, c.quality
}

// Leap moves the time of day, as when network time answers. What Now returns
// from then on has no monotonic reading, so whoever counts a deadline by it
// leaps too.
func (c *Clock) Leap(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	c.leapt = true
}

// Grade sets how far the clock may be trusted.
func (c *Clock) Grade(q gate.ClockQuality) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quality = q
}

// Opener opens codes from a table: the raw bytes are names.
type Opener struct {
	mu    sync.Mutex
	table map[string]opening
	// OnOpen is called before each answer; it may wait.
	OnOpen func(raw string)
}

type opening struct {
	credential *pass.Credential
	err        error
}

// Put says what opening raw gives.
func (o *Opener) Put(raw string, c *pass.Credential, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.table == nil {
		o.table = make(map[string]opening)
	}
	o.table[raw] = opening{c, err}
}

// Open answers from the table; what is not in it is unreadable.
func (o *Opener) Open(raw []byte, now time.Time) (*pass.Credential, error) {
	if o.OnOpen != nil {
		o.OnOpen(string(raw))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	a, ok := o.table[string(raw)]
	if !ok {
		return nil, fmt.Errorf("code of %d bytes: %w", len(raw), pass.ErrUnreadable)
	}
	return a.credential, a.err
}

// Authority holds colours in a map.
type Authority struct {
	mu       sync.Mutex
	policy   gate.Policy
	listings map[pass.StatusRef]gate.Listing
	hashes   map[[16]byte]gate.Revocation
	risks    map[string]gate.RiskLevel
}

// SetPolicy puts a policy in force.
func (a *Authority) SetPolicy(p gate.Policy) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.policy = p
}

// Policy returns the policy in force.
func (a *Authority) Policy() gate.Policy {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.policy
}

// List sets what the lists say of a code.
func (a *Authority) List(ref pass.StatusRef, l gate.Listing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listings == nil {
		a.listings = make(map[pass.StatusRef]gate.Listing)
	}
	a.listings[ref] = l
}

// Recolour changes the colour of a code.
func (a *Authority) Recolour(ref pass.StatusRef, s gate.Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.listings[ref]
	l.Status = s
	a.listings[ref] = l
}

// Lookup returns a code's entry.
func (a *Authority) Lookup(ref pass.StatusRef) gate.Listing {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.listings[ref]
}

// Revoke sets what the hash lists say of an identifier of a foreign code.
func (a *Authority) Revoke(hash [16]byte, r gate.Revocation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hashes == nil {
		a.hashes = make(map[[16]byte]gate.Revocation)
	}
	a.hashes[hash] = r
}

// Revoked returns what Revoke set; without it the list is not held.
func (a *Authority) Revoked(id pass.RevocationID) gate.Revocation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hashes[id.Hash]
}

// SetRisk colours a county.
func (a *Authority) SetRisk(region string, r gate.RiskLevel) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.risks == nil {
		a.risks = make(map[string]gate.RiskLevel)
	}
	a.risks[region] = r
}

// Risk returns a county's colour.
func (a *Authority) Risk(region string) gate.RiskLevel {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.risks[region]
}

// Journal keeps records in memory.
type Journal struct {
	mu       sync.Mutex
	records  []gate.Record
	timeline *Timeline
	// OnAppend is called before a record is kept; it may wait, and an error
	// means that the record was not written.
	OnAppend func(gate.Record) error
}

// Append keeps a record.
func (j *Journal) Append(r gate.Record) (uint64, error) {
	j.mu.Lock()
	hook := j.OnAppend
	j.mu.Unlock()
	if hook != nil {
		if err := hook(r); err != nil {
			j.note("journal", "error", false)
			return 0, err
		}
	}
	j.mu.Lock()
	j.records = append(j.records, r)
	seq := uint64(len(j.records))
	j.mu.Unlock()
	j.describe(r)
	return seq, nil
}

// Hook sets OnAppend while the lane runs.
func (j *Journal) Hook(f func(gate.Record) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.OnAppend = f
}

// Records returns what was written; the sequence of a record is its place, from 1.
func (j *Journal) Records() []gate.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]gate.Record(nil), j.records...)
}

func (j *Journal) note(what, detail string, after bool) {
	if j.timeline != nil {
		j.timeline.add(what, detail, after)
	}
}

func (j *Journal) describe(r gate.Record) {
	switch r.Kind {
	case gate.DecisionRecord:
		// A refusal by fault is shown at once, and written when it can be.
		j.note("journal", string(r.Reason), r.Reason == gate.Fault)
	case gate.OutcomeRecord:
		o := string(r.Outcome)
		if o == "" {
			o = "unknown"
		}
		j.note("outcome", o, true)
	case gate.ActRecord:
		words := []string{string(r.Reason)}
		if r.Sealed.Guard != "" {
			words = append(words, r.Verdict.String(), r.Sealed.Guard, string(r.GuardReason))
		}
		j.note("act", strings.Join(words, " "), r.Sealed.Guard == "" || r.Verdict != gate.Admit)
	case gate.KeyRecord:
		j.note("journal", "key", false)
	case gate.GapRecord:
		j.note("journal", fmt.Sprintf("gap %d", r.Dropped), true)
	}
}

// Actuator writes down what moves, in the order of a real one: the turnstile,
// the way out, the light, the buzzer.
type Actuator struct {
	mu       sync.Mutex
	last     gate.Outputs
	since    time.Time
	timeline *Timeline
	// Tones writes tones down too.
	Tones bool
	// OnApply is called before anything moves; it may wait or fail.
	OnApply func(gate.Outputs) error
}

// Hook sets OnApply while the lane runs.
func (a *Actuator) Hook(f func(gate.Outputs) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.OnApply = f
}

// Apply moves things.
func (a *Actuator) Apply(o gate.Outputs) error {
	a.mu.Lock()
	hook := a.OnApply
	a.mu.Unlock()
	if hook != nil {
		if err := hook(o); err != nil {
			a.note("actuator", "error")
			return err
		}
	}
	a.mu.Lock()
	last, since := a.last, a.since
	a.last, a.since = o, o.View.Since
	a.mu.Unlock()
	if last.Entry != o.Entry {
		a.note("turnstile", released(o.Entry))
	}
	if last.Exit != o.Exit {
		a.note("exit", released(o.Exit))
	}
	if last.Light != o.Light {
		a.note("light", o.Light.String())
	}
	if a.Tones && o.Tone != gate.Silent && !since.Equal(o.View.Since) {
		a.note("tone", o.Tone.String())
	}
	return nil
}

// Outputs returns what stands.
func (a *Actuator) Outputs() gate.Outputs {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

func (a *Actuator) note(what, detail string) {
	if a.timeline != nil {
		a.timeline.Add(what, detail)
	}
}

func released(b bool) string {
	if b {
		return "released"
	}
	return "locked"
}

// Thermometer measures from a script.
type Thermometer struct {
	mu     sync.Mutex
	script []Measurement
	// Takes is how long one measurement takes.
	Takes time.Duration
}

// Measurement is one answer of a thermometer.
type Measurement struct {
	Reading gate.Reading
	Err     error
	// Hang waits for this long, whatever the context says.
	Hang time.Duration
}

// Script sets the answers to come; when they run out it reads 36.4.
func (t *Thermometer) Script(m ...Measurement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.script = m
}

// Degrees is a plain measurement, in thousandths of a degree.
func Degrees(m gate.MilliCelsius) Measurement {
	return Measurement{Reading: gate.Reading{Object: m, Adjusted: m, Ambient: 22000}}
}

// Measure plays the next answer.
func (t *Thermometer) Measure(ctx context.Context) (gate.Reading, error) {
	t.mu.Lock()
	m := Degrees(36400)
	if len(t.script) > 0 {
		m, t.script = t.script[0], t.script[1:]
	}
	takes := t.Takes
	t.mu.Unlock()
	if m.Hang > 0 {
		<-time.After(m.Hang)
		return m.Reading, m.Err
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return gate.Reading{}, ctx.Err()
	}
	return m.Reading, m.Err
}

// Screen keeps the latest view.
type Screen struct {
	mu    sync.Mutex
	views []gate.View
	// OnShow is called before a view is kept; it may wait, which no screen should.
	OnShow func(gate.View)
}

// Show keeps a view.
func (s *Screen) Show(v gate.View) {
	if s.OnShow != nil {
		s.OnShow(v)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views = append(s.views, v)
}

// View returns the latest view.
func (s *Screen) View() gate.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.views) == 0 {
		return gate.View{}
	}
	return s.views[len(s.views)-1]
}

// Views returns all of them.
func (s *Screen) Views() []gate.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]gate.View(nil), s.views...)
}
