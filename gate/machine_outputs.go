package gate

// This file makes the outputs of the state: nothing else decides what is driven
// and shown.

// outputs follow from the state.
func (m *machine) outputs() Outputs {
	exit := len(m.exits) > 0
	v := View{
		State: m.state, Decision: m.shown, Since: m.since, Until: m.until,
		FaultCode: m.faultCode(), Count: m.count,
	}
	o := Outputs{Entry: m.state == Released || m.state == FireOpen, Exit: exit || m.state == FireOpen,
		Entries: m.counters.Admitted, Exits: m.counters.Exits}
	switch m.state {
	case Idle:
		v.Light = m.cfg.Idle
		if exit {
			x := m.exits[len(m.exits)-1]
			v.State, v.Direction = Released, Exit
			v.Decision = Decision{Verdict: Admit, Reason: x.reason}
			v.Scanned, v.Until = x.scanned, x.until
			v.Since = x.until.Add(-m.cfg.ReleaseFor)
			v.Light, v.Tone = v.Decision.Presentation()
		}
	case ReadingCode, Recording:
		v.Light = m.light
	default:
		v.Light, v.Tone = m.shown.Presentation()
	}
	if p := m.p; p != nil {
		v.Scanned, v.Sequence, v.Direction = p.scanned, p.seq, p.direction
		v.Colour = p.colour()
		if c := p.credential; c != nil {
			v.Name, v.Kind = c.Name, c.Kind.String()
		}
		if n := len(p.readings); n > 0 {
			last := p.readings[n-1]
			v.Reading = &last
		}
		v.GuardMayAdmit = m.state == Held ||
			m.state == Refused && m.shown.Reason == RedCode && p.look.policy.RedOverride
	}
	if v.FaultCode == "" && m.shown.Reason == Fault {
		v.FaultCode = "internal"
	}
	if m.busy {
		v.Decision.Notices = append(v.Decision.Notices[:len(v.Decision.Notices):len(v.Decision.Notices)], Busy)
	}
	o.Light, o.Tone = v.Light, v.Tone
	o.View = v
	return o
}

// taken says that the lane took the outputs, and whether a state was entered
// since it last did.
func (m *machine) taken() (entered bool) {
	entered = m.entered
	m.changed, m.entered = false, false
	return entered
}
