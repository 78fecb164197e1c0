package hub

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate"
	"greengate/gate/passage"
)

// recentPassages is how many passages the operator's page shows.
const recentPassages = 40

// maxReasons bounds the reasons counted of one gate in one day. There are 40;
// a gate could make up more.
const maxReasons = 64

// fleet is what the hub knows of its gates: the registry, what gates say, and
// what their stored passages say, kept current as each comes in.
type fleet struct {
	location *time.Location
	started  time.Time
	mu       sync.Mutex
	gates    map[string]*gateState
	recent   []Passage // the newest last
	// changes counts what may be seen on a page, registry what of it the registry changed.
	changes, registry uint64
}

// gateState is one gate.
type gateState struct {
	// known is what the registry says; nothing where registered is not set.
	known      known
	registered bool
	contact    time.Time
	backlog    uint64
	// said is how the gate last said it is, nil for not since the hub started;
	// since is from when on it says what is an alarm.
	said  *gate.Condition
	since map[AlarmKind]time.Time
	last  uint64
	// instances are the runs of the gate's program that spoke, the newest last.
	instances []string
	// history are the alarms that stay.
	history map[AlarmKind]alarmRecord
	// unreadables came within a day of each other, from unreadableSince to unreadable.
	unreadable, unreadableSince time.Time
	unreadables                 uint64
	// refusals is when many were noted in its hour.
	refusals time.Time
	day      string
	today    Counts
	hours    hours
	// ingest is held while a batch of this gate is stored, and guards head: where
	// its history ended when this hub last stored a batch, nil where it does not know.
	ingest sync.Mutex
	head   *head
}

// known is what pages need of a gate's record.
type known struct {
	site, county string
	added        time.Time
	revoked      bool
	wipe         *WipeStatus
	ends         time.Time // of its certificate
}

func knownOf(g gateRecord) (known, error) {
	cert, err := x509.ParseCertificate(g.Certificate)
	if err != nil {
		return known{}, fmt.Errorf("certificate in the registry: %w", err)
	}
	return known{site: g.Site, county: g.County, added: g.Added, revoked: g.Revoked, wipe: g.wipeStatus(), ends: cert.NotAfter}, nil
}

// decoded is an entry's value.
func decoded[T any](e jetstream.KeyValueEntry) (T, error) {
	var v T
	if err := json.Unmarshal(e.Value(), &v); err != nil {
		return v, fmt.Errorf("registry %s: %w", e.Key(), err)
	}
	return v, nil
}

// hours are the counts of a day by the hour, as long as each is within a day.
type hours [24]hourCounts

type hourCounts struct {
	hour int64 // since 1970
	Counts
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// add counts a passage in its hour, unless that is long ago or has not come yet.
func (h *hours) add(p Passage, now time.Time) {
	hour := hourOf(p.At)
	if current := hourOf(now); hour > current || hour <= current-int64(len(h)) {
		return
	}
	at := &h[hour%int64(len(h))]
	if at.hour != hour {
		*at = hourCounts{hour: hour}
	}
	at.add(p)
}

// at returns the counts of one hour.
func (h *hours) at(t time.Time) Counts {
	hour := hourOf(t)
	if at := h[hour%int64(len(h))]; at.hour == hour {
		return at.Counts
	}
	return Counts{}
}

// before sums up the 23 hours before that of t.
func (h *hours) before(t time.Time) (sum Counts) {
	for back := 1; back < len(h); back++ {
		c := h.at(t.Add(-time.Duration(back) * time.Hour))
		sum.Admit, sum.Hold, sum.Refuse = sum.Admit+c.Admit, sum.Hold+c.Hold, sum.Refuse+c.Refuse
	}
	return sum
}

func newFleet(location *time.Location, now time.Time) *fleet {
	return &fleet{location: location, started: now, gates: map[string]*gateState{}}
}

// version counts what may be seen on a page.
func (f *fleet) version() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// know notes a gate's record; nil for none.
func (f *fleet) know(id string, k *known) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
	f.registry++
	g := f.get(id)
	g.known, g.registered = known{}, k != nil
	if k != nil {
		g.known = *k
	}
}

// gate returns the state of one gate.
func (f *fleet) gate(id string) *gateState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.get(id)
}

// site is where a gate stands, "" where nobody said.
func (f *fleet) site(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.gates[id]; g != nil {
		return g.known.site
	}
	return ""
}

func (f *fleet) get(id string) *gateState {
	g := f.gates[id]
	if g == nil {
		g = &gateState{}
		f.gates[id] = g
	}
	return g
}

func (f *fleet) day(t time.Time) string { return t.In(f.location).Format(time.DateOnly) }

// contact notes that a gate was heard of, what it still has, and how it says it
// is; nil where it said nothing that can be read: what it said before stands.
func (f *fleet) contact(id string, at time.Time, backlog uint64, said *gate.Condition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.get(id)
	f.changes++
	g.contact, g.backlog = at, backlog
	if said != nil {
		c := *said
		g.said = &c
		g.lasting(c, at)
	}
}

// alarm notes that a gate's history is in doubt.
func (f *fleet) alarm(id string, kind AlarmKind, r alarmRecord) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
	g := f.get(id)
	if g.history == nil {
		g.history = map[AlarmKind]alarmRecord{}
	}
	g.history[kind] = r
}

// clear ends what alarm noted.
func (f *fleet) clear(id string, kind AlarmKind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
	delete(f.get(id).history, kind)
}

// raised returns what an alarm that stays says, "" where there is none.
func (f *fleet) raised(id string, kind AlarmKind) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.get(id).history[kind].What
}

// add counts stored records, in their order.
func (f *fleet) add(id string, records []Passage, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.get(id)
	today := f.day(now)
	if g.day != today {
		g.day, g.today = today, Counts{}
	}
	f.changes++
	many := manyRefusals(g.hours.at(now), g.hours.before(now))
	for _, p := range records {
		g.last = max(g.last, p.Sequence)
		if p.Tombstone {
			g.unread(p.Received)
		} else {
			g.hours.add(p, now)
		}
		if f.day(p.Received) == today && p.Tombstone {
			g.today.Tombstones++
		}
		if !p.Tombstone && f.day(p.At) == today {
			g.today.add(p)
		}
		if p.Tombstone || p.Kind == gate.DecisionRecord || p.Kind == gate.ActRecord {
			f.recent = append(f.recent, p)
		}
	}
	if !many && manyRefusals(g.hours.at(now), g.hours.before(now)) {
		g.refusals = now
	}
	if extra := len(f.recent) - recentPassages; extra > 0 {
		f.recent = slices.Delete(f.recent, 0, extra)
	}
}

// unread counts a record that cannot be read.
func (g *gateState) unread(at time.Time) {
	if g.unreadable.IsZero() || at.Sub(g.unreadable) >= 24*time.Hour {
		g.unreadableSince, g.unreadables = at, 0
	}
	g.unreadable = at
	g.unreadables++
}

// decided is how many decisions there were.
func (c Counts) decided() uint64 { return c.Admit + c.Hold + c.Refuse }

// copied has reasons of its own.
func (c Counts) copied() Counts {
	c.Reasons = maps.Clone(c.Reasons)
	return c
}

func (c *Counts) add(p Passage) {
	switch p.Kind {
	case gate.ActRecord:
		c.Acts++
		return
	case gate.DecisionRecord:
	default:
		return
	}
	switch p.Verdict {
	case gate.Admit.String():
		c.Admit++
	case gate.Hold.String():
		c.Hold++
	default:
		c.Refuse++
	}
	if c.Reasons == nil {
		c.Reasons = map[gate.Reason]uint64{}
	}
	if _, ok := c.Reasons[p.Reason]; ok || len(c.Reasons) < maxReasons {
		c.Reasons[p.Reason]++
	}
}

// fill writes what is known into a status.
func (f *fleet) fill(s *GateStatus, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.gates[s.Gate]; g != nil {
		f.status(g, s, now)
	}
}

// status writes one gate's state into a status. The fleet is locked.
func (f *fleet) status(g *gateState, s *GateStatus, now time.Time) {
	f.glance(g, s, now, f.day(now))
	s.Today, s.Hour, s.HourBefore = s.Today.copied(), s.Hour.copied(), s.HourBefore.copied()
}

// glance is status, but that the reasons are still the fleet's own.
func (f *fleet) glance(g *gateState, s *GateStatus, now time.Time, day string) {
	s.LastContact, s.Backlog, s.LastSequence = g.contact, g.backlog, g.last
	s.CertificateEnds = g.known.ends
	s.Alarms = g.alarms(s.Gate, f.started, now)
	for _, a := range s.Alarms {
		if slices.Contains(kept, a.Kind) {
			s.Alarm = a.Detail
			break
		}
	}
	if c := g.said; c != nil {
		s.Condition = &GateCondition{Lists: c.Lists.String(), AgeSeconds: int64(c.Age / time.Second), Held: c.Held,
			Clock: c.Clock.String(), Policy: c.Policy, Map: c.Map, Version: c.Version, Faults: c.Faults, Journal: c.Journal}
	}
	if g.day == day {
		s.Today = g.today
	}
	s.Hour, s.HourBefore = g.hours.at(now), g.hours.at(now.Add(-time.Hour))
}

// all lists the gates of the registry as they are in memory, in no order and
// without their reasons, which it sums up: of today with all counts, and of this hour.
func (f *fleet) all(now time.Time) (gates []GateStatus, today Counts, hour map[gate.Reason]uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gates = make([]GateStatus, 0, len(f.gates))
	day := f.day(now)
	today.Reasons, hour = map[gate.Reason]uint64{}, map[gate.Reason]uint64{}
	for id, g := range f.gates {
		if !g.registered {
			continue
		}
		s := GateStatus{Gate: id, Site: g.known.site, County: g.known.county, Added: g.known.added, Revoked: g.known.revoked, Wipe: g.known.wipe}
		f.glance(g, &s, now, day)
		today.Admit, today.Hold, today.Refuse, today.Acts = today.Admit+s.Today.Admit, today.Hold+s.Today.Hold, today.Refuse+s.Today.Refuse, today.Acts+s.Today.Acts
		for r, n := range s.Today.Reasons {
			today.Reasons[r] += n
		}
		for r, n := range s.Hour.Reasons {
			hour[r] += n
		}
		s.Today.Reasons, s.Hour.Reasons, s.HourBefore.Reasons = nil, nil, nil
		gates = append(gates, s)
	}
	return gates, today, hour
}

// places are where the gates of the registry stand, with its version; none
// where it is still the one that is known.
func (f *fleet) places(known uint64) (map[string]place, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.registry == known {
		return nil, known
	}
	out := make(map[string]place, len(f.gates))
	for id, g := range f.gates {
		if g.registered {
			out[id] = place{g.known.county, g.known.site, !g.known.revoked}
		}
	}
	return out, f.registry
}

// stored returns the last sequence of a gate that was read.
func (f *fleet) stored(id string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.get(id).last
}

// latest returns the newest passages, the newest first.
func (f *fleet) latest() []Passage {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Clone(f.recent)
	slices.Reverse(out)
	return out
}

// loadFleet reads each gate's last message for where it stands; what was
// received since yesterday comes to it by follow.
func (h *Hub) loadFleet(ctx context.Context) error {
	info, err := h.store.passages.Info(ctx, jetstream.WithSubjectFilter(passagesPrefix+"*"))
	if err != nil {
		return fmt.Errorf("passages: %w", err)
	}
	for subject := range info.State.Subjects {
		id := strings.TrimPrefix(subject, passagesPrefix)
		at, err := h.head(ctx, id)
		if err != nil {
			return err
		}
		g := h.fleet.gate(id)
		g.last, g.contact = at.last, at.received
	}
	h.follow.listen(func(s stored) { h.fleet.add(s.batch.Gate, s.records(), h.options.Now()) })
	return nil
}

// passageOf is the clear part of one entry. An entry that cannot be read, or
// that gives itself another sequence than it has, is a tombstone.
func passageOf(gateID string, e passage.Entry, received time.Time) Passage {
	p := Passage{Gate: gateID, Sequence: e.Seq, Received: received}
	if e.Tombstone {
		p.Tombstone, p.Digest = true, e.ClearDigest[:]
		return p
	}
	p.Digest = digest(e.Clear)
	seq, r, err := passage.DecodeClear(e.Clear)
	if err != nil || seq != e.Seq {
		p.Tombstone = true
		return p
	}
	p.Kind, p.At, p.Clock, p.Direction = r.Kind, r.At, r.Clock.String(), r.Direction.String()
	p.Verdict, p.Reason, p.Notices = r.Verdict.String(), r.Reason, r.Notices
	p.Policy, p.List, p.Of, p.Outcome = r.Policy, r.List, r.Of, r.Outcome
	p.GuardReason, p.Dropped = r.GuardReason, r.Dropped
	return p
}
