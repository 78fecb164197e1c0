package gate

// This file is what a guard may do, and when.

import (
	"fmt"
)

// act does what a guard asked for, or says why not.
func (m *machine) act(a GuardAct) error {
	if err := checkAct(a); err != nil {
		return err
	}
	if m.fire || m.faults[faultStopping] != "" {
		return fmt.Errorf("%w: lane is %s", ErrNotAllowed, m.state)
	}
	if a.Action == GuardPass {
		if m.state != Idle && !m.guardOnly() {
			return fmt.Errorf("%w: lane is %s", ErrNotAllowed, m.state)
		}
		m.counters.GuardActs++
		m.p = &passage{scanned: m.at.now, guard: a, byGuard: true}
		m.guardRecords(m.p)
		return nil
	}
	if m.state == Refused && m.p.decision.Reason == RedCode && m.shown.Reason == RedCode && a.Action == GuardAdmit {
		if !m.p.look.policy.RedOverride {
			return fmt.Errorf("%w: the code is red", ErrNotAllowed)
		}
	} else if m.state != Held {
		return ErrNothingHeld
	}
	if a.Count < m.first || a.Count > m.count {
		return ErrViewChanged
	}
	p := m.p
	m.counters.GuardActs++
	p.guard = a
	if a.Action == GuardRefuse {
		m.counters.Refused++
		m.enqueue(entry{m.record(ActRecord, p, Refuse, ByGuard), nil})
		m.enter(Refused, Decision{Verdict: Refuse, Reason: ByGuard}, m.at.now.Add(m.cfg.RefuseFor))
		return nil
	}
	p.byGuard = true
	if p.credential == nil || m.faults[faultOpener] != "" {
		m.guardRecords(p)
		return nil
	}
	// A minute may have passed since the code was looked up.
	p.looking = true
	m.opens = append(m.opens, openJob{kind: openNothing, p: p, now: m.at.wall, code: p.credential, permit: p.permit})
	m.enter(Recording, Decision{}, m.at.now.Add(m.cfg.OpenWithin))
	return nil
}

// guardOnly reports whether the lane is out of service for want of the disk or
// of what opens codes alone: a guard, whose act waits for neither, may still
// let people through one by one.
func (m *machine) guardOnly() bool {
	if m.state != OutOfService {
		return false
	}
	for f, code := range m.faults {
		if code != "" && fault(f) != faultJournal && fault(f) != faultOpener {
			return false
		}
	}
	return true
}

func checkAct(a GuardAct) error {
	if a.Action > GuardPass {
		return fmt.Errorf("%w: action %d", ErrNotAllowed, a.Action)
	}
	if len(a.Guard) < 1 || len(a.Guard) > 32 {
		return fmt.Errorf("%w: a guard's name is 1 to 32 bytes", ErrNotAllowed)
	}
	if a.Action != GuardRefuse && a.Reason == SentAway {
		return fmt.Errorf("%w: reason %s does not admit", ErrNotAllowed, a.Reason)
	}
	for _, r := range GuardReasons() {
		if a.Reason == r {
			return nil
		}
	}
	return fmt.Errorf("%w: unknown reason %.40q", ErrNotAllowed, string(a.Reason))
}

// guardLooked goes on with a guard's admission unless the code is red by now.
func (m *machine) guardLooked(p *passage) {
	r := p.overruled()
	if r == "" {
		m.guardRecords(p)
		return
	}
	p.looking, p.byGuard = false, false
	m.decide(p, Decision{Verdict: Refuse, Reason: r})
}

// guardLate takes a look that came after its time, while the guard's act is on
// its way to the disk: what is known to be red before anybody is released is
// not released.
func (m *machine) guardLate(p *passage, l look) {
	p.look = l
	r := p.overruled()
	if r == "" {
		return
	}
	m.giveUp(p, NotTurned, r)
	refused := *p
	refused.byGuard, refused.abandoned = false, false
	m.p = &refused
	m.decide(m.p, Decision{Verdict: Refuse, Reason: r})
}

// overruled is why a guard may not admit a passage, as the lists say by now; ""
// if the guard may.
func (p *passage) overruled() Reason {
	switch s := p.look.listing.Status; {
	case s == Void, p.credential != nil && revoked(p.look.revocations, p.credential):
		return VoidCode
	case s == Red && !p.look.policy.RedOverride:
		return RedCode
	}
	return ""
}

// guardRecords writes a guard's admission down before it opens, if the disk is
// quick enough; it opens in any case.
func (m *machine) guardRecords(p *passage) {
	p.looking = false
	p.decided = m.at.now
	m.enqueue(entry{m.record(ActRecord, p, Admit, ByGuard), p})
	if m.faults[faultJournal] != "" {
		m.release(p, Decision{Verdict: Admit, Reason: ByGuard})
		return
	}
	m.enter(Recording, Decision{}, m.at.now.Add(m.cfg.JournalWithin))
}
