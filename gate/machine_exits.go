package gate

// This file is the way out: released at once, recorded afterwards, any number
// of people at a time.

// scanExit releases the way out, and only then asks who it is.
func (m *machine) scanExit(s Scan, code uint64) {
	if m.fire {
		return
	}
	for _, x := range m.exits {
		if x.code == code {
			return
		}
	}
	x := &passage{direction: Exit, scanned: s.At, code: code, reason: ExitFree}
	m.releaseExit(x)
	if m.faults[faultOpener] != "" || m.faults[faultStopping] != "" || len(m.opens) >= maxExits {
		m.recordExit(x)
		return
	}
	m.opens = append(m.opens, openJob{kind: openExit, p: x, raw: s.Raw, now: m.at.wall})
}

func (m *machine) releaseExit(x *passage) {
	if len(m.exits) >= maxExits {
		m.endExit(m.exits[0], NotTurned)
	}
	m.counters.Exits++
	x.until = m.at.now.Add(m.cfg.ReleaseFor)
	m.exits = append(m.exits, x)
	if m.state == Idle {
		m.entered = true
	}
	m.touch()
}

// recordExit writes down that the way out was released, afterwards.
func (m *machine) recordExit(x *passage) {
	if x.recorded {
		return
	}
	x.recorded = true
	m.enqueue(entry{m.record(ActRecord, x, Admit, x.reason), x})
	m.settleExit(x)
}

// recordWaitingExits stops waiting for who they are.
func (m *machine) recordWaitingExits() {
	if m.opening && m.open.kind == openExit {
		m.recordExit(m.open.p)
	}
	for _, job := range m.opens {
		if job.kind == openExit {
			m.recordExit(job.p)
		}
	}
	m.opens = nil
}

func (m *machine) turnedOut() {
	if m.fire || len(m.exits) == 0 {
		return
	}
	x := m.exits[0]
	x.turns++
	if x.known {
		m.present.leave(x.who)
	}
	m.endExit(x, Turned)
}

// endExit locks the way out, unless another release of it stands.
func (m *machine) endExit(x *passage, o Outcome) {
	for i, y := range m.exits {
		if x == y {
			m.exits = append(m.exits[:i], m.exits[i+1:]...)
			break
		}
	}
	x.ended, x.outcome = true, o
	m.settleExit(x)
	m.touch()
}

func (m *machine) endExits() {
	for len(m.exits) > 0 {
		m.endExit(m.exits[0], OutcomeUnknown)
	}
}

// settleExit writes the outcome of an exit behind its act, where a contact tells.
func (m *machine) settleExit(x *passage) {
	if m.cfg.ExitContact && x.recorded && x.ended {
		m.outcome(x, x.outcome, x.reason)
	}
}
