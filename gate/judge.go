package gate

import (
	"errors"
	"slices"
	"time"

	"greengate/pass"
)

// Judge makes a decision of the facts. It is pure: no clock, no disk, no
// memory of the last call. What it does not understand it refuses.
//
// The order of the checks is the order of the design's policy table: what the
// code is, what time it is, what the lists say, what the permit says, and the
// thermometer last.
func (p Policy) Judge(f Facts) Decision {
	if f.Direction == Exit {
		return Decision{Verdict: Admit, Reason: ExitFree}
	}
	if d, final := judgeCode(f); final {
		return d
	}
	var notices []Reason
	d, final := p.judgeLists(f, &notices)
	if !final {
		d, final = p.judgePerson(f)
	}
	if !final && p.PermitRequired && f.Zone != "" {
		d, final = p.judgePermit(f, &notices)
	}
	if !final {
		d, final = p.judgeTemperature(f)
	}
	if !final {
		d = Decision{Verdict: Admit, Reason: Valid}
		if p.RiskNoticeAt != RiskUnknown && f.Risk >= p.RiskNoticeAt {
			d.Reason = RiskMediumRegion
			notices = append(notices, RiskMediumRegion)
		}
	}
	d.Notices = notices
	return d
}

// judgeCode judges what Open made of the health code, and the clock.
func judgeCode(f Facts) (Decision, bool) {
	c := f.Credential
	// The keys come with the lists: this is the gate's lack, not the code's.
	if errors.Is(f.OpenErr, pass.ErrNoKeys) {
		return hold(ListsMissing)
	}
	// What the bytes are does not depend on the time of day.
	if r := structural(f.OpenErr); r != "" {
		return refuse(r)
	}
	if f.OpenErr == nil && c == nil {
		return refuse(Fault)
	}
	// A code stripped of its proof is a copy, whatever the time is.
	if errors.Is(f.OpenErr, pass.ErrProofMissing) {
		return refuse(ProofMissing)
	}
	if f.Clock == ClockUnset {
		return hold(ClockIsUnset)
	}
	switch {
	case errors.Is(f.OpenErr, pass.ErrExpired):
		return refuse(Expired)
	case errors.Is(f.OpenErr, pass.ErrNotYetValid):
		return refuse(NotYetValid)
	}
	// Here remain no error and ErrProofStale, and the credential of the
	// latter may be judged as if the proof were good until the clock is known
	// to be good enough to call it stale.
	if c == nil {
		return refuse(Fault)
	}
	switch c.Kind {
	case pass.KindStatic, pass.KindPaper, pass.KindBound:
	case pass.KindPermit:
		// A permit is not a health code: the health code comes first.
		return refuse(Malformed)
	default:
		return refuse(Fault)
	}
	// Time has passed since the code was opened where a permit was waited for.
	// Whether it has begun was Open's to say, which allows for unequal clocks.
	if !f.Now.Before(c.Expires) {
		return refuse(Expired)
	}
	if c.Kind == pass.KindBound {
		if c.Proof == (pass.Proof{}) {
			return refuse(ProofMissing)
		}
		// DESIGN section 4: dynamic codes need network time or the hub's.
		if f.Clock != ClockNetwork && f.Clock != ClockConfirmed {
			return hold(ClockIsUnset)
		}
	}
	if errors.Is(f.OpenErr, pass.ErrProofStale) {
		return refuse(ProofStale)
	}
	if f.Replayed {
		return refuse(Replayed)
	}
	return Decision{}, false
}

// structural returns the reason for an error that says that the bytes are no
// genuine code, and "" for no error or one that depends on the time of day or
// the proof. An error it does not know is a fault.
func structural(err error) Reason {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, pass.ErrUnreadable):
		return Unreadable
	case errors.Is(err, pass.ErrMalformed):
		return Malformed
	case errors.Is(err, pass.ErrUnknownKey):
		return UnknownKey
	case errors.Is(err, pass.ErrBadSignature):
		return BadSignature
	case errors.Is(err, pass.ErrExpired), errors.Is(err, pass.ErrNotYetValid),
		errors.Is(err, pass.ErrProofMissing), errors.Is(err, pass.ErrProofStale):
		return ""
	}
	return Fault
}

// judgeLists judges what the lists say of the health code. A foreign code has
// no status list, only lists of what was revoked.
func (p Policy) judgeLists(f Facts, notices *[]Reason) (Decision, bool) {
	c := f.Credential
	if len(c.Revocation) > 0 {
		if d, final := p.judgeRevocations(f, notices); final {
			return d, true
		}
		if c.Status == (pass.StatusRef{}) {
			return Decision{}, false
		}
	}
	return p.judgeListing(f.Listing, c.Issued, f.Now, notices)
}

// judgeRevocations judges a foreign code's identifiers. One that is listed
// voids the code, however old that list and whatever is missing beside it;
// that none is listed is worth something only where every list is held.
func (p Policy) judgeRevocations(f Facts, notices *[]Reason) (Decision, bool) {
	if revoked(f.Revocations, f.Credential) {
		return refuse(VoidCode)
	}
	if len(f.Revocations) != len(f.Credential.Revocation) {
		return refuse(Fault)
	}
	oldest := Fresh
	for _, r := range f.Revocations {
		switch p.Freshness(Listing{Found: r.Found, Confirmed: r.Confirmed}, f.Now) {
		case ListMissing:
			return hold(ListsMissing)
		case TooOld:
			oldest = TooOld
		case Stale:
			oldest = max(oldest, Stale)
		}
	}
	switch oldest {
	case TooOld:
		return hold(ListsTooOld)
	case Stale:
		addNotice(notices, ListsStale)
	}
	return Decision{}, false
}

// revoked says whether any of the identifiers is listed for a code of this age.
func revoked(said []Revocation, c *pass.Credential) bool {
	return slices.ContainsFunc(said, func(r Revocation) bool {
		return r.Found && r.Revoked && (r.Before.IsZero() || c.Issued.Before(r.Before))
	})
}

// judgeListing judges a code's entry in its list, of the code and the permit alike.
func (p Policy) judgeListing(l Listing, issued, now time.Time, notices *[]Reason) (Decision, bool) {
	age := p.Freshness(l, now)
	switch {
	case age == ListMissing:
		return hold(ListsMissing)
	case issued.After(l.Issued):
		return hold(NewerThanList)
	case age == TooOld:
		return hold(ListsTooOld)
	}
	if age == Stale {
		addNotice(notices, ListsStale)
	}
	if !l.InBounds {
		return refuse(OutOfBounds)
	}
	switch l.Status {
	case Green:
		return Decision{}, false
	case Yellow:
		return hold(YellowCode)
	case Red:
		return refuse(RedCode)
	case Void:
		return refuse(VoidCode)
	}
	return refuse(Fault)
}

// judgePerson judges what is known of a person whose code is green.
func (p Policy) judgePerson(f Facts) (Decision, bool) {
	switch {
	case p.HoldPaper && f.Credential.Kind == pass.KindPaper:
		return hold(PaperCode)
	case p.RiskHoldAt != RiskUnknown && f.Risk >= p.RiskHoldAt:
		return hold(RiskHighRegion)
	case p.PassbackWindow > 0 && !f.LastSeen.IsZero() && f.Now.Sub(f.LastSeen) < p.PassbackWindow.Duration():
		return hold(Passback)
	}
	return Decision{}, false
}

// judgePermit judges the entry permit that belongs to the health code.
func (p Policy) judgePermit(f Facts, notices *[]Reason) (Decision, bool) {
	if !f.PermitScanned {
		return Decision{Reason: PermitNeeded, Next: NextPermit}, true
	}
	// A health code in the permit's place is a person showing the same phone
	// again, not a forger: ask once more.
	if f.Permit != nil && f.Permit.Kind != pass.KindPermit {
		return Decision{Reason: PermitNeeded, Next: NextPermit}, true
	}
	if r := structural(f.PermitErr); r != "" {
		return refuse(r)
	}
	switch {
	case errors.Is(f.PermitErr, pass.ErrExpired):
		return refuse(PermitExpired)
	case errors.Is(f.PermitErr, pass.ErrNotYetValid):
		return refuse(NotYetValid)
	case errors.Is(f.PermitErr, pass.ErrProofMissing):
		return refuse(ProofMissing)
	case f.PermitErr != nil:
		return refuse(ProofStale)
	case f.Permit == nil || f.Permit.Permit == nil:
		return refuse(Fault)
	case !f.Now.Before(f.Permit.Expires):
		return refuse(PermitExpired)
	case !slices.Contains(f.Permit.Permit.Zones, f.Zone):
		return refuse(PermitWrongZone)
	case f.Permit.Permit.Holder != f.Credential.Status:
		return refuse(PermitNotHolders)
	}
	return p.judgeListing(f.PermitListing, f.Permit.Issued, f.Now, notices)
}

// judgeTemperature judges the readings.
func (p Policy) judgeTemperature(f Facts) (Decision, bool) {
	switch f.Thermometer {
	case ThermometerNone:
		if p.ThermometerRequired {
			return hold(ThermometerAbsent)
		}
		return Decision{}, false
	case ThermometerReady:
	default:
		return hold(ThermometerBroken)
	}
	if len(f.Readings) == 0 {
		return Decision{Reason: Measuring, Next: NextTemperature}, true
	}
	last := f.Readings[len(f.Readings)-1]
	if last.OutOfRange {
		return hold(OutOfRange)
	}
	// Readings of somebody too far away say nothing of fever either way, so
	// they neither count as high nor break a row of high ones. That bounds
	// how often one person is measured.
	far, high := 0, 0
	for _, r := range f.Readings {
		switch {
		case r.TooFar:
			far++
		case r.Adjusted >= p.FeverAt:
			high++
		default:
			high = 0
		}
	}
	switch {
	case last.TooFar && far <= p.CloserTries:
		return Decision{Reason: Closer, Next: NextCloser}, true
	case last.TooFar:
		return hold(ThermometerBroken)
	case high == 0:
		return Decision{}, false
	case high < p.FeverReadings:
		return Decision{Reason: Again, Next: NextAgain}, true
	}
	return hold(Fever)
}

// maxAhead is how far ahead of the gate's clock a confirmation may be: two
// honest clocks differ by less, and one that is further behind is unset.
const maxAhead = 10 * time.Minute

// Freshness grades the age of a list at now. The age counts from Confirmed;
// an age of exactly StaleAfter is stale, one of exactly TooOldAfter too old. So
// is a list that was confirmed in the future: whoever stole the timestamp's key
// must not make lists that never age.
func (p Policy) Freshness(l Listing, now time.Time) Freshness {
	if !l.Found {
		return ListMissing
	}
	if l.Confirmed.IsZero() {
		return TooOld
	}
	age := now.Sub(l.Confirmed)
	switch {
	case age >= p.TooOldAfter.Duration(), age < -maxAhead:
		return TooOld
	case age >= p.StaleAfter.Duration():
		return Stale
	}
	return Fresh
}

func refuse(r Reason) (Decision, bool) { return Decision{Verdict: Refuse, Reason: r}, true }
func hold(r Reason) (Decision, bool)   { return Decision{Verdict: Hold, Reason: r}, true }

// addNotice adds a notice once: code and permit may both have stale lists.
func addNotice(notices *[]Reason, r Reason) {
	for _, n := range *notices {
		if n == r {
			return
		}
	}
	*notices = append(*notices, r)
}
