package hub

import (
	"context"
	"fmt"
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

// fleet is what the hub knows of its gates beyond the registry: made from the
// stored passages at start, and kept current as they come in.
type fleet struct {
	location *time.Location
	mu       sync.Mutex
	gates    map[string]*gateState
	recent   []Passage // the newest last
}

// gateState is one gate.
type gateState struct {
	contact time.Time
	backlog uint64
	// said is how the gate last said it is, nil for not since the hub started.
	said  *gate.Condition
	last  uint64
	alarm string
	day   string
	today Counts
	// ingest is held while a batch of this gate is stored.
	ingest sync.Mutex
}

func newFleet(location *time.Location) *fleet {
	return &fleet{location: location, gates: map[string]*gateState{}}
}

// gate returns the state of one gate.
func (f *fleet) gate(id string) *gateState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.get(id)
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
	g.contact, g.backlog = at, backlog
	if said != nil {
		c := *said
		g.said = &c
	}
}

// alarm notes that a gate's history is in doubt.
func (f *fleet) alarm(id, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.get(id).alarm = what
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
	for _, p := range records {
		g.last = max(g.last, p.Sequence)
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
	if extra := len(f.recent) - recentPassages; extra > 0 {
		f.recent = slices.Delete(f.recent, 0, extra)
	}
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
	g := f.gates[s.Gate]
	if g == nil {
		return
	}
	s.LastContact, s.Backlog, s.LastSequence, s.Alarm = g.contact, g.backlog, g.last, g.alarm
	if c := g.said; c != nil {
		s.Condition = &GateCondition{Lists: c.Lists.String(), AgeSeconds: int64(c.Age / time.Second), Held: c.Held,
			Clock: c.Clock.String(), Policy: c.Policy, Map: c.Map, Version: c.Version, Faults: c.Faults, Journal: c.Journal}
	}
	if g.day == f.day(now) {
		s.Today = g.today
		s.Today.Reasons = make(map[gate.Reason]uint64, len(g.today.Reasons))
		for r, n := range g.today.Reasons {
			s.Today.Reasons[r] = n
		}
	}
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
	if err := list(ctx, h.store.registry, "alarm.", func(id string, a alarmRecord) error {
		h.fleet.alarm(id, a.What)
		return nil
	}); err != nil {
		return err
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
	p.Guard, p.GuardReason, p.Dropped = r.Guard, r.GuardReason, r.Dropped
	return p
}
