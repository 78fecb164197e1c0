package gate

// Presentation returns the light and the tone of a reason, as the design's
// policy table has them. A reason outside the table looks like a fault.
func (r Reason) Presentation() (Light, Tone) {
	switch r {
	case Valid, RiskMediumRegion, ExitFree, ByGuard, ByFire, ByButton:
		return Light{Colour: LightGreen}, OneHigh
	case Unreadable, Malformed, UnknownKey, BadSignature, VoidCode, OutOfBounds,
		Expired, NotYetValid, PermitWrongZone, PermitExpired, PermitNotHolders:
		return Light{Colour: LightRed, Blink: SlowBlink}, LowLong
	case ProofMissing, ProofStale, Replayed:
		return Light{Colour: LightRed, Blink: FastBlink}, LowDouble
	case RedCode:
		return Light{Colour: LightRed, Blink: FastBlink}, LowTriple
	case YellowCode, Fever, ThermometerAbsent, ThermometerBroken, OutOfRange, RiskHighRegion,
		Passback, ListsMissing, NewerThanList, ListsTooOld, ClockIsUnset, PaperCode:
		return Light{Colour: LightAmber, Blink: SlowBlink}, TwoMid
	case PermitNeeded:
		return Light{Colour: LightAmber}, OneMid
	case Measuring, Again, Closer:
		return Light{Colour: LightAmber}, Click
	}
	return Light{Colour: LightRed, Blink: SlowBlink}, Silent
}

// Presentation returns the light and the tone of a decision. It differs from
// its reason's only where the verdict is not the one of the table: a permit
// that did not come in time and a guard's refusal are refusals like any other.
func (d Decision) Presentation() (Light, Tone) {
	light, tone := d.Reason.Presentation()
	switch {
	case d.Next != NextNone:
	case d.Verdict == Refuse && light.Colour != LightRed:
		return Light{Colour: LightRed, Blink: SlowBlink}, LowLong
	case d.Verdict == Hold && light.Colour != LightAmber:
		return Light{Colour: LightAmber, Blink: SlowBlink}, TwoMid
	case d.Verdict == Admit && light.Colour != LightGreen:
		return Light{Colour: LightGreen}, OneHigh
	}
	return light, tone
}
