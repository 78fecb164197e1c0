package gate

import (
	"time"

	"greengate/pass"
)

// Circumstances are the facts of a decision that nothing else in its record
// says. With them the hub can judge it again under another policy; without
// them it could only guess.
type Circumstances struct {
	// Zoned: the gate opens a zone, and asks for a permit where the policy does.
	Zoned bool
	// PermitScanned: a second code was shown.
	PermitScanned bool
	// Thermometer as it was judged.
	Thermometer ThermometerState
	// Risk of the holder's county on the map that the gate had.
	Risk RiskLevel
	// ListAge and PermitListAge are how long ago the authority said that the
	// code's and the permit's list is the current one, in whole seconds;
	// [Never] where it never did, or there is no list.
	ListAge, PermitListAge Seconds
	// Inside is how long ago this person turned inwards without leaving since; [Never] if not.
	Inside Seconds
	// Earlier are the readings before the last one, the oldest first.
	Earlier []EarlierReading
}

const (
	// Never is the age of what did not happen.
	Never Seconds = -1
	// MaxAge is the oldest that anything is recorded as, a hundred years: a
	// device's clock can be anywhere.
	MaxAge Seconds = 100 * 365 * 24 * 3600
)

// EarlierReading is what a reading before the last one has to say.
type EarlierReading struct {
	// Adjusted temperature; 0 where TooFar.
	Adjusted MilliCelsius
	TooFar   bool
}

// MaxEarlier bounds the earlier readings of one person: the policy's most
// high readings and most steps closer, together.
const MaxEarlier = 16

// circumstancesOf notes what was judged. Policies count in whole seconds, so an
// age loses nothing that they could tell apart by being cut to them.
func circumstancesOf(f Facts) *Circumstances {
	c := &Circumstances{
		Zoned: f.Zone != "", PermitScanned: f.PermitScanned, Thermometer: f.Thermometer, Risk: f.Risk,
		ListAge: ageOf(f.Listing.Confirmed, f.Now), PermitListAge: ageOf(f.PermitListing.Confirmed, f.Now),
		Inside: ageOf(f.LastSeen, f.Now),
	}
	if n := len(f.Readings); n > 1 {
		for _, r := range f.Readings[max(0, n-1-MaxEarlier) : n-1] {
			e := EarlierReading{TooFar: r.TooFar}
			if !r.TooFar {
				e.Adjusted = r.Adjusted
			}
			c.Earlier = append(c.Earlier, e)
		}
	}
	return c
}

// ageOf is how long ago t was. What lies ahead, since clocks step, is as young as can be.
func ageOf(t, now time.Time) Seconds {
	if t.IsZero() {
		return Never
	}
	return min(Seconds(max(now.Sub(t), 0)/time.Second), MaxAge)
}

// before is the moment that was so long before now, zero for never.
func (s Seconds) before(now time.Time) time.Time {
	if s < 0 {
		return time.Time{}
	}
	return now.Add(-s.Duration())
}

// openErrors are the errors of a code by the reason they lead to.
var openErrors = map[Reason]error{
	Unreadable: pass.ErrUnreadable, Malformed: pass.ErrMalformed, UnknownKey: pass.ErrUnknownKey, BadSignature: pass.ErrBadSignature,
	Expired: pass.ErrExpired, NotYetValid: pass.ErrNotYetValid, ProofMissing: pass.ErrProofMissing, ProofStale: pass.ErrProofStale,
}

// kindOf is the kind that a record names, KindUnknown where no code opened.
func kindOf(word string) pass.Kind {
	for k := pass.KindStatic; k <= pass.KindPermit; k++ {
		if k.String() == word {
			return k
		}
	}
	return pass.KindUnknown
}

// rebuilt stands for the codes of a record, whose own bytes and places nobody
// kept: any two that fit together do.
const (
	rebuiltURI  = "rebuilt"
	rebuiltZone = "rebuilt"
)

// Reconstruct makes facts of a decision's record with its sealed part: facts on
// which every policy decides as it would have decided on those that the gate
// had, as far as the record tells. They hold nothing that names a person.
// Whether they do lead to the recorded decision is for [Rejudge] to find out.
func Reconstruct(r Record) (Facts, bool) {
	c := r.Sealed.Circumstances
	if r.Kind != DecisionRecord || c == nil {
		return Facts{}, false
	}
	f := Facts{
		Now: r.At, Clock: r.Clock, Direction: r.Direction, Risk: c.Risk, LastSeen: c.Inside.before(r.At),
		Thermometer: c.Thermometer,
		// A health code in the permit's place counts as none.
		PermitScanned: c.PermitScanned && r.Reason != PermitNeeded,
	}
	if c.Zoned {
		f.Zone = rebuiltZone
	}
	// What kept a code from opening, or its proof from being taken, is the
	// reason of the record, unless the code before it was good enough for a permit.
	ref := pass.StatusRef{URI: rebuiltURI}
	if kind := kindOf(r.Sealed.CodeKind); kind != pass.KindUnknown {
		f.Credential = &pass.Credential{Kind: kind, Issued: r.At.Add(-time.Hour), Expires: r.At.Add(time.Hour), Status: ref, Region: r.Sealed.Region}
		if kind == pass.KindBound && r.Reason != ProofMissing {
			f.Credential.Proof = pass.Proof{At: r.At, ID: [32]byte{1}}
		}
	} else if r.Reason == ClockIsUnset {
		f.OpenErr = pass.ErrExpired // whatever it was, only a clock could have told
	} else if r.Reason == ListsMissing {
		f.OpenErr = pass.ErrNoKeys
	}
	switch {
	case r.Reason == Replayed:
		f.Replayed = true
	case !f.PermitScanned || r.Reason == Expired || f.Credential == nil:
		if err := openErrors[r.Reason]; err != nil {
			f.OpenErr = err
		}
	}
	if f.Credential != nil {
		f.Listing = rebuildListing(r, c.ListAge, f.Credential.Issued)
	}
	if f.PermitScanned && f.Credential != nil {
		rebuildPermit(&f, r, c)
	}
	for _, e := range c.Earlier {
		f.Readings = append(f.Readings, Reading{Adjusted: e.Adjusted, TooFar: e.TooFar})
	}
	if r.Sealed.Reading != nil {
		f.Readings = append(f.Readings, *r.Sealed.Reading)
	}
	return f, true
}

// rebuildListing is the health code's entry. A record has no colour where the
// code was newer than the list, and where the list had no such entry.
func rebuildListing(r Record, age Seconds, issued time.Time) Listing {
	if r.List == 0 {
		return Listing{}
	}
	l := Listing{Found: true, InBounds: r.Sealed.Colour != StatusUnknown, Status: r.Sealed.Colour, Sequence: r.List,
		Issued: issued, Confirmed: age.before(r.At)}
	if !l.InBounds && r.Reason == NewerThanList {
		l.Issued = issued.Add(-time.Second)
	}
	return l
}

// rebuildPermit makes a permit that fits but for what the reason says of it.
// The health code was good by then, so that a reason which its own entry does
// not give is the permit's.
func rebuildPermit(f *Facts, r Record, c *Circumstances) {
	f.Permit = &pass.Credential{
		Kind: pass.KindPermit, Issued: f.Credential.Issued, Expires: r.At.Add(time.Hour), Status: pass.StatusRef{URI: rebuiltURI, Index: 1},
		Permit: &pass.Permit{Enterprise: r.Sealed.Enterprise, Zones: []string{rebuiltZone}, Holder: f.Credential.Status},
	}
	f.PermitListing = Listing{Found: true, InBounds: true, Status: Green, Sequence: 1, Issued: f.Permit.Issued, Confirmed: c.PermitListAge.before(r.At)}
	colour := r.Sealed.Colour
	switch r.Reason {
	case Unreadable, Malformed, UnknownKey, BadSignature, NotYetValid, ProofMissing, ProofStale:
		f.PermitErr = openErrors[r.Reason]
	case PermitExpired:
		f.PermitErr = pass.ErrExpired
	case PermitWrongZone:
		f.Permit.Permit.Zones = nil
	case PermitNotHolders:
		f.Permit.Permit.Holder.Index++
	case ListsMissing:
		f.PermitListing = Listing{}
	case NewerThanList:
		f.PermitListing.Issued = f.Permit.Issued.Add(-time.Second)
	case OutOfBounds:
		f.PermitListing.InBounds, f.PermitListing.Status = false, StatusUnknown
	case VoidCode, RedCode, YellowCode:
		if colour == Green {
			f.PermitListing.Status = map[Reason]Status{VoidCode: Void, RedCode: Red, YellowCode: Yellow}[r.Reason]
		}
	}
}
