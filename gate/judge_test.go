package gate

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"greengate/pass"
)

var judgeNow = time.Date(2020, 2, 17, 12, 0, 0, 0, time.UTC)

// green is the facts of a person who walks on: a dynamic code, proven, green,
// at a gate without a thermometer.
func green() Facts {
	return Facts{
		Now: judgeNow, Clock: ClockNetwork,
		Credential: &pass.Credential{
			Format: "JKM1", Kind: pass.KindBound,
			Issued: judgeNow.Add(-48 * time.Hour), Expires: judgeNow.Add(time.Hour),
			Status: pass.StatusRef{URI: "https://hub.example/lists/3301/1", Index: 5},
			Region: "330106", HolderKey: make([]byte, 32),
			Proof: pass.Proof{At: judgeNow, ID: [32]byte{1}},
		},
		Listing: Listing{Found: true, InBounds: true, Status: Green, Sequence: 1,
			Issued: judgeNow.Add(-24 * time.Hour), Confirmed: judgeNow.Add(-time.Minute)},
		Risk: RiskLow,
		Zone: "east",
	}
}

func withPermit(f *Facts) {
	f.PermitScanned = true
	f.Permit = &pass.Credential{
		Format: "JKM1", Kind: pass.KindPermit,
		Issued: judgeNow.Add(-48 * time.Hour), Expires: judgeNow.Add(time.Hour),
		Status: pass.StatusRef{URI: "https://hub.example/permits/1", Index: 9},
		Permit: &pass.Permit{Enterprise: "91330100", Zones: []string{"west", "east"}, Holder: f.Credential.Status},
	}
	f.PermitListing = f.Listing
}

// foreign is a code that is in no status list, with two identifiers that are
// in no list of what was revoked; and then what change makes of it.
func foreign(change func(*Facts)) func(*Facts) {
	return func(f *Facts) {
		f.Credential.Kind, f.Credential.HolderKey, f.Credential.Proof = pass.KindStatic, nil, pass.Proof{}
		f.Credential.Status, f.Listing = pass.StatusRef{}, Listing{}
		f.Credential.Revocation = []pass.RevocationID{{Scheme: "eu", Hash: [16]byte{1}}, {Scheme: "eu", Hash: [16]byte{2}}}
		f.Revocations = make([]Revocation, 2)
		for i := range f.Revocations {
			f.Revocations[i] = Revocation{Found: true, Sequence: 1, Issued: f.Now.Add(-24 * time.Hour), Confirmed: f.Now.Add(-time.Minute)}
		}
		if change != nil {
			change(f)
		}
	}
}

// both is a code that is in a status list too.
func both(change func(*Facts)) func(*Facts) {
	return func(f *Facts) {
		status, listing := f.Credential.Status, f.Listing
		foreign(nil)(f)
		f.Credential.Status, f.Listing = status, listing
		if change != nil {
			change(f)
		}
	}
}

func wrapped(err error) error { return fmt.Errorf("code of 9 bytes: %w", err) }

func reading(m MilliCelsius) Reading { return Reading{Object: m, Adjusted: m, Ambient: 22000} }

type judgeRow struct {
	name    string
	policy  func(*Policy)
	facts   func(*Facts)
	verdict Verdict
	reason  Reason
	next    Next
	notices []Reason
}

var judgeRows = []judgeRow{
	{name: "walks on", verdict: Admit, reason: Valid},
	{name: "static", facts: func(f *Facts) { f.Credential.Kind, f.Credential.Proof = pass.KindStatic, pass.Proof{} }, verdict: Admit, reason: Valid},
	{name: "paper, allowed", facts: func(f *Facts) { f.Credential.Kind = pass.KindPaper }, verdict: Admit, reason: Valid},
	{name: "paper, held", policy: func(p *Policy) { p.HoldPaper = true }, facts: func(f *Facts) { f.Credential.Kind = pass.KindPaper }, verdict: Hold, reason: PaperCode},
	{name: "exit", facts: func(f *Facts) { *f = Facts{Direction: Exit} }, verdict: Admit, reason: ExitFree},
	{name: "exit of a red code", facts: func(f *Facts) { f.Direction = Exit; f.Listing.Status = Red }, verdict: Admit, reason: ExitFree},

	{name: "unreadable", facts: func(f *Facts) { f.Credential, f.OpenErr = nil, wrapped(pass.ErrUnreadable) }, reason: Unreadable},
	{name: "malformed", facts: func(f *Facts) { f.Credential, f.OpenErr = nil, wrapped(pass.ErrMalformed) }, reason: Malformed},
	{name: "trailing bytes", facts: func(f *Facts) { f.Credential, f.OpenErr = nil, wrapped(pass.ErrTrailing) }, reason: Malformed},
	{name: "no keys", facts: func(f *Facts) { f.Credential, f.OpenErr = nil, wrapped(pass.ErrNoKeys) }, verdict: Hold, reason: ListsMissing},
	{name: "unknown key", facts: func(f *Facts) { f.Credential, f.OpenErr = nil, wrapped(pass.ErrUnknownKey) }, reason: UnknownKey},
	{name: "bad signature", facts: func(f *Facts) { f.Credential, f.OpenErr = nil, wrapped(pass.ErrBadSignature) }, reason: BadSignature},
	{name: "wrong algorithm", facts: func(f *Facts) { f.Credential, f.OpenErr = nil, wrapped(pass.ErrAlgorithm) }, reason: BadSignature},
	{name: "bad signature, clock unset", facts: func(f *Facts) { f.Clock, f.Credential, f.OpenErr = ClockUnset, nil, pass.ErrBadSignature }, reason: BadSignature},
	{name: "an error nobody knows", facts: func(f *Facts) { f.OpenErr = errors.New("disk on fire") }, reason: Fault},
	{name: "neither code nor error", facts: func(f *Facts) { f.Credential = nil }, reason: Fault},
	{name: "stale proof without a code", facts: func(f *Facts) { f.Credential, f.OpenErr = nil, pass.ErrProofStale }, reason: Fault},
	{name: "code of no kind", facts: func(f *Facts) { f.Credential.Kind = pass.KindUnknown }, reason: Fault},
	{name: "a permit first", facts: func(f *Facts) { f.Credential.Kind = pass.KindPermit }, reason: Malformed},

	{name: "clock unset", facts: func(f *Facts) { f.Clock = ClockUnset }, verdict: Hold, reason: ClockIsUnset},
	{name: "expired, but the clock is unset", facts: func(f *Facts) { f.Clock, f.OpenErr = ClockUnset, pass.ErrExpired }, verdict: Hold, reason: ClockIsUnset},
	{name: "not yet valid, but the clock is unset", facts: func(f *Facts) { f.Clock, f.OpenErr = ClockUnset, pass.ErrNotYetValid }, verdict: Hold, reason: ClockIsUnset},
	{name: "expired", facts: func(f *Facts) { f.OpenErr = wrapped(pass.ErrExpired) }, reason: Expired},
	{name: "expires this instant", facts: func(f *Facts) { f.Credential.Expires = f.Now }, reason: Expired},
	{name: "expires in a nanosecond", facts: func(f *Facts) { f.Credential.Expires = f.Now.Add(1) }, verdict: Admit, reason: Valid},
	{name: "not yet valid", facts: func(f *Facts) { f.OpenErr = wrapped(pass.ErrNotYetValid) }, reason: NotYetValid},
	{name: "issued by a clock a little ahead of ours, as Open allows", facts: func(f *Facts) {
		f.Credential.Issued = f.Now.Add(time.Second)
		f.Listing.Issued = f.Now.Add(time.Hour)
	}, verdict: Admit, reason: Valid},
	{name: "issued this instant", facts: func(f *Facts) { f.Credential.Issued, f.Listing.Issued = f.Now, f.Now }, verdict: Admit, reason: Valid},

	{name: "proof missing", facts: func(f *Facts) { f.OpenErr, f.Credential.Proof = wrapped(pass.ErrProofMissing), pass.Proof{} }, reason: ProofMissing},
	{name: "proof missing, clock unset", facts: func(f *Facts) { f.Clock, f.OpenErr = ClockUnset, pass.ErrProofMissing }, reason: ProofMissing},
	{name: "proof missing, and nobody said so", facts: func(f *Facts) { f.Credential.Proof = pass.Proof{} }, reason: ProofMissing},
	{name: "proof stale", facts: func(f *Facts) { f.OpenErr = wrapped(pass.ErrProofStale) }, reason: ProofStale},
	{name: "proof stale at the floor", facts: func(f *Facts) { f.Clock, f.OpenErr = ClockFloor, pass.ErrProofStale }, verdict: Hold, reason: ClockIsUnset},
	{name: "dynamic at the floor", facts: func(f *Facts) { f.Clock = ClockFloor }, verdict: Hold, reason: ClockIsUnset},
	{name: "dynamic, hub's time", facts: func(f *Facts) { f.Clock = ClockConfirmed }, verdict: Admit, reason: Valid},
	{name: "static at the floor", facts: func(f *Facts) { f.Clock, f.Credential.Kind = ClockFloor, pass.KindStatic }, verdict: Admit, reason: Valid},
	{name: "replayed", facts: func(f *Facts) { f.Replayed = true }, reason: Replayed},

	{name: "list missing", facts: func(f *Facts) { f.Listing = Listing{} }, verdict: Hold, reason: ListsMissing},
	{name: "newer than the list by a nanosecond", facts: func(f *Facts) { f.Credential.Issued = f.Listing.Issued.Add(1); f.Listing.Status = Void }, verdict: Hold, reason: NewerThanList},
	{name: "as old as the list", facts: func(f *Facts) { f.Credential.Issued = f.Listing.Issued }, verdict: Admit, reason: Valid},
	{name: "lists nearly stale", facts: func(f *Facts) { f.Listing.Confirmed = f.Now.Add(-24*time.Hour + 1) }, verdict: Admit, reason: Valid},
	{name: "lists stale", facts: func(f *Facts) { f.Listing.Confirmed = f.Now.Add(-24 * time.Hour) }, verdict: Admit, reason: Valid, notices: []Reason{ListsStale}},
	{name: "red, lists stale", facts: func(f *Facts) { f.Listing.Confirmed = f.Now.Add(-25 * time.Hour); f.Listing.Status = Red }, reason: RedCode, notices: []Reason{ListsStale}},
	{name: "lists nearly too old", facts: func(f *Facts) { f.Listing.Confirmed = f.Now.Add(-48*time.Hour + 1) }, verdict: Admit, reason: Valid, notices: []Reason{ListsStale}},
	{name: "lists too old", facts: func(f *Facts) { f.Listing.Confirmed = f.Now.Add(-48 * time.Hour) }, verdict: Hold, reason: ListsTooOld},
	{name: "lists never confirmed", facts: func(f *Facts) { f.Listing.Confirmed = time.Time{} }, verdict: Hold, reason: ListsTooOld},
	{name: "out of bounds", facts: func(f *Facts) { f.Listing.InBounds, f.Listing.Status = false, StatusUnknown }, reason: OutOfBounds},
	{name: "void", facts: func(f *Facts) { f.Listing.Status = Void }, reason: VoidCode},
	{name: "red", facts: func(f *Facts) { f.Listing.Status = Red }, reason: RedCode},
	{name: "red, although a guard may override", policy: func(p *Policy) { p.RedOverride = true }, facts: func(f *Facts) { f.Listing.Status = Red }, reason: RedCode},
	{name: "yellow", facts: func(f *Facts) { f.Listing.Status = Yellow }, verdict: Hold, reason: YellowCode},
	{name: "colour unknown", facts: func(f *Facts) { f.Listing.Status = StatusUnknown }, reason: Fault},
	{name: "colour out of range", facts: func(f *Facts) { f.Listing.Status = 77 }, reason: Fault},

	{name: "foreign", facts: foreign(nil), verdict: Admit, reason: Valid},
	{name: "foreign, newer than its lists, which name only what was revoked", facts: foreign(func(f *Facts) { f.Credential.Issued = f.Now.Add(-time.Second) }), verdict: Admit, reason: Valid},
	{name: "foreign, revoked", facts: foreign(func(f *Facts) { f.Revocations[1].Revoked = true }), reason: VoidCode},
	{name: "foreign, revoked for what was issued before a later time", facts: foreign(func(f *Facts) {
		f.Revocations[1].Revoked, f.Revocations[1].Before = true, f.Credential.Issued.Add(1)
	}), reason: VoidCode},
	{name: "foreign, revoked for what was issued before this very time", facts: foreign(func(f *Facts) {
		f.Revocations[1].Revoked, f.Revocations[1].Before = true, f.Credential.Issued
	}), verdict: Admit, reason: Valid},
	{name: "foreign, one of its lists missing", facts: foreign(func(f *Facts) { f.Revocations[0] = Revocation{} }), verdict: Hold, reason: ListsMissing},
	{name: "foreign, revoked, another of its lists missing", facts: foreign(func(f *Facts) { f.Revocations[0], f.Revocations[1].Revoked = Revocation{}, true }), reason: VoidCode},
	{name: "foreign, revoked in a list that is not held", facts: foreign(func(f *Facts) { f.Revocations[0] = Revocation{Revoked: true} }), verdict: Hold, reason: ListsMissing},
	{name: "foreign, lists stale", facts: foreign(func(f *Facts) { f.Revocations[0].Confirmed = f.Now.Add(-24 * time.Hour) }), verdict: Admit, reason: Valid, notices: []Reason{ListsStale}},
	{name: "foreign, one list too old, one stale", facts: foreign(func(f *Facts) {
		f.Revocations[0].Confirmed, f.Revocations[1].Confirmed = f.Now.Add(-48*time.Hour), f.Now.Add(-24*time.Hour)
	}), verdict: Hold, reason: ListsTooOld},
	{name: "foreign, revoked, lists too old", facts: foreign(func(f *Facts) {
		f.Revocations[0].Confirmed, f.Revocations[0].Revoked = f.Now.Add(-48*time.Hour), true
	}), reason: VoidCode},
	{name: "foreign, never asked about", facts: foreign(func(f *Facts) { f.Revocations = nil }), reason: Fault},
	{name: "foreign, and nothing to revoke it by", facts: foreign(func(f *Facts) { f.Credential.Revocation, f.Revocations = nil, nil }), verdict: Hold, reason: ListsMissing},
	{name: "in a status list and in hash lists, green", facts: both(nil), verdict: Admit, reason: Valid},
	{name: "in a status list and in hash lists, red", facts: both(func(f *Facts) { f.Listing.Status = Red }), reason: RedCode},
	{name: "in a status list and in hash lists, revoked", facts: both(func(f *Facts) { f.Revocations[0].Revoked = true }), reason: VoidCode},

	{name: "high-risk region", facts: func(f *Facts) { f.Risk = RiskHigher }, verdict: Hold, reason: RiskHighRegion},
	{name: "medium-risk region", facts: func(f *Facts) { f.Risk = RiskMedium }, verdict: Admit, reason: RiskMediumRegion, notices: []Reason{RiskMediumRegion}},
	{name: "region not on the map", facts: func(f *Facts) { f.Risk = RiskUnknown }, verdict: Admit, reason: Valid},
	{name: "risk out of range", facts: func(f *Facts) { f.Risk = 99 }, verdict: Hold, reason: RiskHighRegion},
	{name: "map switched off", policy: func(p *Policy) { p.RiskHoldAt, p.RiskNoticeAt = 0, 0 }, facts: func(f *Facts) { f.Risk = RiskHigh }, verdict: Admit, reason: Valid},
	{name: "passback", facts: func(f *Facts) { f.LastSeen = f.Now.Add(-4*time.Hour + 1) }, verdict: Hold, reason: Passback},
	{name: "passback, window over", facts: func(f *Facts) { f.LastSeen = f.Now.Add(-4 * time.Hour) }, verdict: Admit, reason: Valid},
	{name: "passback off", policy: func(p *Policy) { p.PassbackWindow = 0 }, facts: func(f *Facts) { f.LastSeen = f.Now }, verdict: Admit, reason: Valid},

	{name: "permit needed", policy: permits, reason: PermitNeeded, next: NextPermit},
	{name: "permit fine", policy: permits, facts: withPermit, verdict: Admit, reason: Valid},
	{name: "health code in the permit's place", policy: permits, facts: func(f *Facts) { withPermit(f); f.Permit.Kind = pass.KindStatic }, reason: PermitNeeded, next: NextPermit},
	{name: "yellow comes before the permit", policy: permits, facts: func(f *Facts) { f.Listing.Status = Yellow }, verdict: Hold, reason: YellowCode},
	{name: "permit unreadable", policy: permits, facts: func(f *Facts) { f.PermitScanned, f.PermitErr = true, pass.ErrUnreadable }, reason: Unreadable},
	{name: "permit forged", policy: permits, facts: func(f *Facts) { f.PermitScanned, f.PermitErr = true, pass.ErrBadSignature }, reason: BadSignature},
	{name: "permit fails in a new way", policy: permits, facts: func(f *Facts) { withPermit(f); f.PermitErr = errors.New("odd") }, reason: Fault},
	{name: "permit without a permit", policy: permits, facts: func(f *Facts) { withPermit(f); f.Permit.Permit = nil }, reason: Fault},
	{name: "neither permit nor error", policy: permits, facts: func(f *Facts) { f.PermitScanned = true }, reason: Fault},
	{name: "permit expired", policy: permits, facts: func(f *Facts) { withPermit(f); f.PermitErr = pass.ErrExpired }, reason: PermitExpired},
	{name: "permit expires this instant", policy: permits, facts: func(f *Facts) { withPermit(f); f.Permit.Expires = f.Now }, reason: PermitExpired},
	{name: "permit not yet valid", policy: permits, facts: func(f *Facts) { withPermit(f); f.PermitErr = pass.ErrNotYetValid }, reason: NotYetValid},
	{name: "permit for another zone", policy: permits, facts: func(f *Facts) { withPermit(f); f.Zone = "north" }, reason: PermitWrongZone},
	{name: "no permit is asked for at a gate without a zone", policy: permits, facts: func(f *Facts) { f.Zone = "" }, verdict: Admit, reason: Valid},
	{name: "nor is one looked at", policy: permits, facts: func(f *Facts) { withPermit(f); f.Zone = ""; f.PermitErr = pass.ErrBadSignature }, verdict: Admit, reason: Valid},
	{name: "no permit without a zone, but a red code", policy: permits, facts: func(f *Facts) { f.Zone = ""; f.Listing.Status = Red }, reason: RedCode},
	{name: "no permit without a zone, but a temperature", policy: permits, facts: func(f *Facts) { readings()(f); f.Zone = "" }, reason: Measuring, next: NextTemperature},
	{name: "permit with an empty zone", policy: permits, facts: func(f *Facts) { withPermit(f); f.Permit.Permit.Zones = []string{""} }, reason: PermitWrongZone},
	{name: "somebody else's permit", policy: permits, facts: func(f *Facts) { withPermit(f); f.Permit.Permit.Holder.Index++ }, reason: PermitNotHolders},
	{name: "permit revoked", policy: permits, facts: func(f *Facts) { withPermit(f); f.PermitListing.Status = Void }, reason: VoidCode},
	{name: "permit red", policy: permits, facts: func(f *Facts) { withPermit(f); f.PermitListing.Status = Red }, reason: RedCode},
	{name: "permit's list missing", policy: permits, facts: func(f *Facts) { withPermit(f); f.PermitListing = Listing{} }, verdict: Hold, reason: ListsMissing},
	{name: "permit's list too old", policy: permits, facts: func(f *Facts) { withPermit(f); f.PermitListing.Confirmed = f.Now.Add(-48 * time.Hour) }, verdict: Hold, reason: ListsTooOld},
	{name: "both lists stale", policy: permits, facts: func(f *Facts) {
		f.Listing.Confirmed = f.Now.Add(-30 * time.Hour)
		withPermit(f)
	}, verdict: Admit, reason: Valid, notices: []Reason{ListsStale}},

	{name: "no thermometer, but required", policy: func(p *Policy) { p.ThermometerRequired = true }, verdict: Hold, reason: ThermometerAbsent},
	{name: "thermometer failed", facts: func(f *Facts) { f.Thermometer = ThermometerFailed }, verdict: Hold, reason: ThermometerBroken},
	{name: "thermometer in no state", facts: func(f *Facts) { f.Thermometer = 9; f.Readings = []Reading{reading(36400)} }, verdict: Hold, reason: ThermometerBroken},
	{name: "measure", facts: readings(), reason: Measuring, next: NextTemperature},
	{name: "not feverish", facts: readings(reading(37299)), verdict: Admit, reason: Valid},
	{name: "high once", facts: readings(reading(37300)), reason: Again, next: NextAgain},
	{name: "high once, then not", facts: readings(reading(39000), reading(36500)), verdict: Admit, reason: Valid},
	{name: "fever", facts: readings(reading(37300), reading(37300)), verdict: Hold, reason: Fever},
	{name: "one high reading is enough by policy", policy: func(p *Policy) { p.FeverReadings = 1 }, facts: readings(reading(37300)), verdict: Hold, reason: Fever},
	{name: "ambient out of range", facts: readings(Reading{Adjusted: 36400, OutOfRange: true}), verdict: Hold, reason: OutOfRange},
	{name: "too far", facts: readings(far), reason: Closer, next: NextCloser},
	{name: "too far three times", facts: readings(far, far, far), reason: Closer, next: NextCloser},
	{name: "too far four times", facts: readings(far, far, far, far), verdict: Hold, reason: ThermometerBroken},
	{name: "too far, then at the mark", facts: readings(far, far, far, reading(36500)), verdict: Admit, reason: Valid},
	{name: "too far between two high readings", facts: readings(reading(38000), far, reading(38000)), verdict: Hold, reason: Fever},
	{name: "the zero policy admits nobody", policy: func(p *Policy) { *p = Policy{} }, verdict: Hold, reason: ListsTooOld},
	{name: "no facts at all", facts: func(f *Facts) { *f = Facts{} }, reason: Fault},
}

var far = Reading{Object: 27000, Adjusted: 27000, TooFar: true}

func permits(p *Policy) { p.PermitRequired = true }

func readings(r ...Reading) func(*Facts) {
	return func(f *Facts) { f.Thermometer, f.Readings = ThermometerReady, r }
}

func TestJudge(t *testing.T) {
	decided := map[Reason]bool{}
	for _, row := range judgeRows {
		t.Run(row.name, func(t *testing.T) {
			p, f := DefaultPolicy(), green()
			if row.policy != nil {
				row.policy(&p)
			}
			if row.facts != nil {
				row.facts(&f)
			}
			want := Decision{row.verdict, row.reason, row.next, row.notices}
			got := p.Judge(f)
			if got.Verdict != want.Verdict || got.Reason != want.Reason || got.Next != want.Next || !slices.Equal(got.Notices, want.Notices) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if again := p.Judge(f); again.Reason != got.Reason {
				t.Errorf("second time got %+v", again)
			}
		})
		decided[row.reason] = true
	}
	// These are never Judge's: notices, and what people do past it.
	for _, r := range []Reason{ListsStale, Busy, Forced, ByGuard, ByFire, ByButton} {
		if decided[r] {
			t.Errorf("%s has a row, but is no decision of Judge", r)
		}
		decided[r] = true
	}
	for _, r := range Reasons() {
		if !decided[r] {
			t.Errorf("%s has no row", r)
		}
	}
}

func TestPresentation(t *testing.T) {
	// DESIGN section 2, the default policy.
	want := map[Reason]string{
		Valid: "green, one high", RiskMediumRegion: "green, one high",
		Unreadable: "red slow, low long", Malformed: "red slow, low long", UnknownKey: "red slow, low long",
		BadSignature: "red slow, low long", VoidCode: "red slow, low long", OutOfBounds: "red slow, low long",
		Expired: "red slow, low long", NotYetValid: "red slow, low long",
		ProofMissing: "red fast, low double", ProofStale: "red fast, low double", Replayed: "red fast, low double",
		RedCode: "red fast, low triple", YellowCode: "amber slow, two mid",
		PermitNeeded: "amber, one mid", PermitWrongZone: "red slow, low long", PermitExpired: "red slow, low long",
		PermitNotHolders: "red slow, low long", Measuring: "amber, click", Again: "amber, click", Closer: "amber, click",
		Fever: "amber slow, two mid", ThermometerAbsent: "amber slow, two mid", ThermometerBroken: "amber slow, two mid",
		OutOfRange: "amber slow, two mid", RiskHighRegion: "amber slow, two mid", Passback: "amber slow, two mid",
		ListsMissing: "amber slow, two mid", NewerThanList: "amber slow, two mid", ListsTooOld: "amber slow, two mid",
		ClockIsUnset: "amber slow, two mid", PaperCode: "amber slow, two mid", Fault: "red slow, none",
		ExitFree: "green, one high", ByGuard: "green, one high", ByFire: "green, one high", ByButton: "green, one high",
		ListsStale: "red slow, none", Busy: "red slow, none", Forced: "red slow, none", // notices: never shown so
	}
	for _, r := range Reasons() {
		l, tone := r.Presentation()
		if got := l.String() + ", " + tone.String(); got != want[r] {
			t.Errorf("%s: got %s, want %s", r, got, want[r])
		}
	}
	// A verdict that is not the table's never borrows the table's light.
	for _, row := range []struct {
		d    Decision
		want string
	}{
		{Decision{Verdict: Refuse, Reason: PermitNeeded}, "red slow, low long"},
		{Decision{Verdict: Refuse, Reason: PermitNeeded, Next: NextPermit}, "amber, one mid"},
		{Decision{Verdict: Refuse, Reason: ByGuard}, "red slow, low long"},
		{Decision{Verdict: Hold, Reason: RedCode}, "amber slow, two mid"},
		{Decision{Verdict: Admit, Reason: YellowCode}, "green, one high"},
		{Decision{}, "red slow, none"},
	} {
		l, tone := row.d.Presentation()
		if got := l.String() + ", " + tone.String(); got != row.want {
			t.Errorf("%+v: got %s, want %s", row.d, got, row.want)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	p, f := DefaultPolicy(), green()
	b.ReportAllocs()
	for b.Loop() {
		if d := p.Judge(f); d.Verdict != Admit {
			b.Fatal(d)
		}
	}
}
