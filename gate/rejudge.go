package gate

// Tried is what is known of a recorded decision under another policy.
type Tried uint8

const (
	// CannotTell is the zero value: nothing is concluded.
	CannotTell Tried = iota
	// Settled: no policy decides it, since the code itself, the clock or a fault of the gate did.
	Settled
	// Same: it falls as it fell.
	Same
	// Differs: it falls otherwise.
	Differs
)

// Why nothing can be told of a decision.
type Why string

const (
	// WhyRecord: the record does not have the facts; a gate of an older version wrote it.
	WhyRecord Why = "record-without-facts"
	// WhyNotReproduced: under the policy of the time the facts of the record do not lead to what it says.
	// So it is with foreign codes: what their hash lists said is not recorded.
	WhyNotReproduced Why = "not-reproduced"
	// WhyPermit: the permit that was shown did not come to be judged.
	WhyPermit Why = "permit-not-judged"
	// WhyPermitTime: the time for the permit differs, and how long it took is not recorded.
	WhyPermitTime Why = "permit-time"
	// WhyRegion: the map differs, and no county is recorded.
	WhyRegion Why = "no-region"
)

// Rejudgement is what [Rejudge] finds.
type Rejudgement struct {
	Tried Tried
	// Why, where CannotTell.
	Why Why
	// Would is the decision under the other policy. It is not final where the
	// gate would have asked for something that it did not ask for then: Next
	// says for what.
	Would Decision
}

// Rejudge judges a recorded decision again: under the policy that was in
// force, which must give what the record says, and then under another, with
// another map where one is given. Each decision is taken for itself: that
// somebody who would have been let in would have been inside the next time is
// not followed up.
func Rejudge(r Record, was, would Policy, other *RiskMap) Rejudgement {
	cannot := func(w Why) Rejudgement { return Rejudgement{Why: w} }
	if r.Kind == DecisionRecord && r.Reason == Fault {
		return Rejudgement{Tried: Settled, Would: Decision{Verdict: r.Verdict, Reason: r.Reason}}
	}
	f, ok := Reconstruct(r)
	if !ok {
		return cannot(WhyRecord)
	}
	then := was.judgeInSteps(f)
	if then.Verdict != r.Verdict || then.Reason != r.Reason {
		return cannot(WhyNotReproduced)
	}
	if d, final := judgeCode(f); final || f.Direction == Exit {
		return Rejudgement{Tried: Settled, Would: d}
	}
	if f.PermitScanned && !was.asksForPermit(f) {
		return cannot(WhyPermit)
	}
	if was.PermitWithin != would.PermitWithin && (f.PermitScanned || r.Reason == PermitNeeded) && would.asksForPermit(f) {
		return cannot(WhyPermitTime)
	}
	if other != nil {
		if f.Credential.Region == "" {
			return cannot(WhyRegion)
		}
		f.Risk = other.Risk(f.Credential.Region)
	}
	d := would.judgeInSteps(f)
	if d.Verdict == r.Verdict && d.Reason == r.Reason && (d.Next == NextNone) == (then.Next == NextNone) {
		return Rejudgement{Tried: Same, Would: d}
	}
	return Rejudgement{Tried: Differs, Would: d}
}

// asksForPermit reports whether the policy, on these facts, comes to the permit.
func (p Policy) asksForPermit(f Facts) bool {
	f.PermitScanned, f.Permit, f.PermitErr = false, nil, nil
	return p.Judge(f).Next == NextPermit
}

// judgeInSteps judges as the lane does: first without permit and readings, and
// with each of them only where it is asked for. A policy that asks for less
// decides sooner, and one that asks for more gets no further.
func (p Policy) judgeInSteps(f Facts) Decision {
	step := f
	step.PermitScanned, step.Permit, step.PermitErr, step.Readings = false, nil, nil, nil
	if f.Thermometer == ThermometerFailed {
		step.Thermometer = ThermometerReady
	}
	d := p.Judge(step)
	if d.Next == NextPermit && f.PermitScanned {
		step.PermitScanned, step.Permit, step.PermitErr = true, f.Permit, f.PermitErr
		d = p.Judge(step)
	}
	measures := func() bool { return d.Next != NextNone && d.Next != NextPermit }
	for i := 0; measures() && i < len(f.Readings); i++ {
		step.Readings = f.Readings[:i+1]
		d = p.Judge(step)
	}
	if measures() && f.Thermometer == ThermometerFailed {
		step.Thermometer = ThermometerFailed
		d = p.Judge(step)
	}
	return d
}
