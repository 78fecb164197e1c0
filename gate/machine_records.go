package gate

// This file is what the lane hands to its workers, records above all, and what
// comes back.

import (
	"time"
)

// record makes a record of a passage, or of none.
func (m *machine) record(kind RecordKind, p *passage, v Verdict, r Reason) Record {
	rec := Record{Kind: kind, At: m.at.wall, Clock: m.at.clock, Verdict: v, Reason: r}
	if p == nil {
		return rec
	}
	rec.Direction = p.direction
	rec.Policy, rec.List = p.look.policy.Version, p.look.listing.Sequence
	if kind == DecisionRecord {
		rec.Notices, rec.Sealed.Circumstances = p.decision.Notices, p.judged
	}
	if kind == ActRecord && p.guard.Guard != "" {
		rec.Sealed.Guard, rec.GuardReason, rec.Of = p.guard.Guard, p.guard.Reason, p.seq
	}
	if p.known {
		rec.Sealed.Pseudonym = append([]byte(nil), p.who[:]...)
	}
	if c := p.credential; c != nil {
		rec.Sealed.CodeKind, rec.Sealed.Region = c.Kind.String(), c.Region
	}
	rec.Sealed.Colour = p.colour()
	if n := len(p.readings); n > 0 {
		last := p.readings[n-1]
		rec.Sealed.Reading = &last
	}
	if p.permit != nil && p.permit.Permit != nil {
		rec.Sealed.Enterprise = p.permit.Permit.Enterprise
	}
	return rec
}

// enqueue hands a record to the journal. One that finds no room is counted.
func (m *machine) enqueue(e entry) {
	if len(m.queue) >= maxQueue {
		m.gap++
		m.counters.Lost++
		return
	}
	m.queue = append(m.queue, e)
}

// Requests: the lane takes these after each step.

// takeOpen returns what the opener is to do next.
func (m *machine) takeOpen() (openJob, bool) {
	for !m.opening && len(m.opens) > 0 {
		job := m.opens[0]
		copy(m.opens, m.opens[1:])
		m.opens[len(m.opens)-1] = openJob{}
		m.opens = m.opens[:len(m.opens)-1]
		if job.kind != openExit && job.p != m.p {
			continue
		}
		m.opening, m.open = true, job
		m.openDue = m.at.now.Add(m.cfg.OpenWithin)
		return job, true
	}
	return openJob{}, false
}

// takeMeasure returns whose temperature to take now.
func (m *machine) takeMeasure() (*passage, bool) {
	if m.measureFor == nil || m.measuring || m.at.now.Before(m.measureAt) {
		return nil, false
	}
	p := m.measureFor
	m.measureFor = nil
	m.measuring, m.measured = true, p
	m.measureDue = m.at.now.Add(m.cfg.MeasureWithin)
	return p, true
}

// takeRecord returns the record to write next.
func (m *machine) takeRecord() (Record, bool) {
	if m.appending || len(m.queue) == 0 || m.at.now.Before(m.retryAt) {
		return Record{}, false
	}
	m.appending = true
	within := m.cfg.JournalWithin
	if m.faults[faultStarting] != "" {
		// The journal prepares its first segment meanwhile, which takes a
		// card seconds; nobody is kept waiting by it.
		within *= startFactor
	}
	m.appendDue = m.at.now.Add(within)
	e := &m.queue[0]
	if e.record.Kind == OutcomeRecord && e.p != nil {
		e.record.Of = e.p.of
	}
	return e.record, true
}

// takeReapply reports whether outputs that failed are to be tried again.
func (m *machine) takeReapply() bool {
	return !m.applying && m.passed(m.reapply)
}

// applies notes that the actuator was given something to do.
func (m *machine) applies() {
	m.reapply = time.Time{}
	if !m.applying {
		m.applying = true
		m.applyDue = m.at.now.Add(m.cfg.ActuateWithin)
	}
}

// applied takes the actuator's answer; more says that it was given something
// newer meanwhile.
func (m *machine) applied(err error, more bool) {
	m.applying = more
	if more {
		m.applyDue = m.at.now.Add(m.cfg.ActuateWithin)
	}
	if err == nil {
		if !more {
			m.clear(faultActuator)
		}
		return
	}
	m.log.Error("outputs not applied", "err", err)
	after := actuatorRetry
	if m.fire {
		after = actuatorRetryFire
	}
	if !more {
		m.reapply = m.at.now.Add(after)
	}
	m.fail(faultActuator, "actuator-error")
}
