package gate

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"greengate/pass"
)

// recorded is the record that a lane writes of these facts, as it travels:
// what the journal does not keep is not there.
func recorded(f Facts, d Decision) Record {
	m := newMachine(LaneConfig{Zone: f.Zone}, true, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	m.at = moment{now: f.Now, wall: f.Now, clock: f.Clock}
	p := &passage{
		direction: f.Direction, credential: f.Credential, openErr: f.OpenErr, who: Pseudonym{1}, known: f.Credential != nil,
		look:   look{policy: Policy{Version: 1}, listing: f.Listing, permitListing: f.PermitListing, risk: f.Risk},
		permit: f.Permit, permitScanned: f.PermitScanned, permitErr: f.PermitErr,
		readings: f.Readings, decision: d, judged: circumstancesOf(f),
	}
	return m.record(DecisionRecord, p, d.Verdict, d.Reason)
}

// otherPolicies differ from the default in one thing each, or in several.
func otherPolicies() map[string]Policy {
	set := map[string]func(*Policy){
		"the same":           func(*Policy) {},
		"fever from 37.0":    func(p *Policy) { p.FeverAt = 37000 },
		"fever from 38.5":    func(p *Policy) { p.FeverAt = 38500 },
		"one high reading":   func(p *Policy) { p.FeverReadings = 1 },
		"three high ones":    func(p *Policy) { p.FeverReadings = 3 },
		"one step closer":    func(p *Policy) { p.CloserTries = 1 },
		"a thermometer":      func(p *Policy) { p.ThermometerRequired = true },
		"permits":            permits,
		"no passback":        func(p *Policy) { p.PassbackWindow = 0 },
		"a day's passback":   func(p *Policy) { p.PassbackWindow = 24 * 3600 },
		"stale in a minute":  func(p *Policy) { p.StaleAfter = 60 },
		"too old in an hour": func(p *Policy) { p.StaleAfter, p.TooOldAfter = 60, 3600 },
		"old lists will do":  func(p *Policy) { p.StaleAfter, p.TooOldAfter = 20*24*3600, 40*24*3600 },
		"medium risk held":   func(p *Policy) { p.RiskHoldAt = RiskMedium },
		"map off":            func(p *Policy) { p.RiskHoldAt, p.RiskNoticeAt = RiskUnknown, RiskUnknown },
		"paper held":         func(p *Policy) { p.HoldPaper = true },
		"everything": func(p *Policy) {
			*p = Policy{FeverAt: 36000, FeverReadings: 1, CloserTries: 1, HoldPaper: true, PermitRequired: true, PermitWithin: 20, ThermometerRequired: true, TooOldAfter: 3600, StaleAfter: 60, RiskHoldAt: RiskLow, PassbackWindow: 24 * 3600}
		},
	}
	out := map[string]Policy{}
	for name, change := range set {
		p := DefaultPolicy()
		change(&p)
		out[name] = p
	}
	return out
}

// TestRejudge: what a record says is enough to judge it as the gate would have
// judged the person, by every policy, for each row of the policy's table.
func TestRejudge(t *testing.T) {
	reproduced, told := map[Reason]bool{}, 0
	for _, row := range judgeRows {
		p, f := DefaultPolicy(), green()
		if row.policy != nil {
			row.policy(&p)
		}
		if row.facts != nil {
			row.facts(&f)
		}
		d := p.judgeInSteps(f)
		switch {
		case row.name == "the zero policy admits nobody":
			continue // nobody can sign it
		case f.Direction == Exit:
			continue // no decision is recorded of the way out
		case d.Next != NextNone && d.Next != NextPermit:
			continue // not final, so not recorded
		case f.Risk > RiskHigh || f.Thermometer > ThermometerFailed:
			continue // no gate has such facts
		}
		t.Run(row.name, func(t *testing.T) {
			r := recorded(f, d)
			for name, other := range otherPolicies() {
				got := Rejudge(r, p, other, nil)
				if got.Tried == CannotTell {
					if !row.unknowable(f) {
						t.Fatalf("%s: cannot tell: %s", name, got.Why)
					}
					continue
				}
				told++
				reproduced[d.Reason] = true
				want := other.judgeInSteps(f)
				if d.Reason == Fault {
					want = d
				}
				if got.Would.Verdict != want.Verdict || got.Would.Reason != want.Reason || got.Would.Next != want.Next {
					t.Errorf("%s: would be %+v, want %+v", name, got.Would, want)
				}
				same := d.Verdict == want.Verdict && d.Reason == want.Reason
				if (got.Tried == Differs) == same {
					t.Errorf("%s: tried %d although from %s %s to %s %s", name, got.Tried, d.Verdict, d.Reason, want.Verdict, want.Reason)
				}
			}
		})
	}
	for _, r := range Reasons() {
		switch r {
		case ListsStale, Busy, Forced, ByGuard, ByFire, ByButton, ExitFree, Measuring, Again, Closer:
			continue // never in a decision's record
		}
		if !reproduced[r] {
			t.Errorf("no decision %s was reproduced", r)
		}
	}
	if told < 1000 {
		t.Errorf("only %d judgements compared", told)
	}
}

// unknowable are the rows on which the record does not say enough under every policy.
func (row judgeRow) unknowable(f Facts) bool {
	// A permit that was shown without being asked for: no lane takes one. And
	// what the hash lists of a foreign code said is not recorded.
	return f.PermitScanned && f.Zone == "" || len(f.Revocations) > 0
}

// TestRejudgeAtRandom compares with facts that nobody thought of: either the
// answer is the one that the facts themselves give, or none is given.
func TestRejudgeAtRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(n int) int { return rnd.IntN(n) }
	policies := otherPolicies()
	var names []string
	for name := range policies {
		names = append(names, name)
	}
	slices.Sort(names)
	codeErrors := []error{nil, nil, nil, nil, nil, pass.ErrExpired, pass.ErrProofStale, pass.ErrNotYetValid, pass.ErrProofMissing, pass.ErrBadSignature}
	told, blank := 0, map[Why]int{}
	for i := range 20_000 {
		f := green()
		f.Clock = ClockQuality(pick(4))
		f.Credential.Kind = pass.Kind(1 + pick(3))
		if f.Credential.Kind != pass.KindBound {
			f.Credential.Proof = pass.Proof{}
		}
		f.OpenErr = codeErrors[pick(len(codeErrors))]
		if f.OpenErr == pass.ErrBadSignature {
			f.Credential = nil
		}
		f.Listing.Status = []Status{Green, Green, Green, Yellow, Red, Void}[pick(6)]
		f.Listing.Confirmed = f.Now.Add(-time.Duration(pick(60*3600)) * time.Second)
		f.Risk = RiskLevel(pick(6))
		if pick(3) == 0 {
			f.LastSeen = f.Now.Add(-time.Duration(pick(30*3600)) * time.Second)
		}
		if pick(4) == 0 {
			f.Zone = ""
		}
		if pick(2) == 0 && f.Credential != nil {
			withPermit(&f)
			f.PermitErr = []error{nil, nil, nil, pass.ErrExpired, pass.ErrMalformed}[pick(5)]
			f.PermitListing.Status = []Status{Green, Green, Green, Void}[pick(4)]
			f.PermitListing.Confirmed = f.Now.Add(-time.Duration(pick(60*3600)) * time.Second)
		}
		f.Thermometer = ThermometerState(pick(3))
		if f.Thermometer != ThermometerNone {
			for range pick(5) {
				f.Readings = append(f.Readings, []Reading{reading(36500), reading(37100), reading(37300), reading(39000), far}[pick(5)])
			}
		}
		was := policies[names[pick(len(names))]]
		f, d, ok := asked(was, f)
		if !ok {
			continue
		}
		r := recorded(f, d)
		for _, name := range names {
			got := Rejudge(r, was, policies[name], nil)
			if got.Tried == CannotTell {
				blank[got.Why]++
				continue
			}
			told++
			if want := policies[name].judgeInSteps(f); got.Would.Verdict != want.Verdict || got.Would.Reason != want.Reason || got.Would.Next != want.Next {
				t.Fatalf("case %d, %s: would be %+v, want %+v\nfacts %+v\nrecord %+v", i, name, got.Would, want, f, r)
			}
		}
	}
	if told < 50_000 || blank[WhyNotReproduced] > 0 || blank[WhyRecord] > 0 {
		t.Errorf("told %d, could not tell %v", told, blank)
	}
}

// asked takes from the facts what a lane with this policy would not have come
// to know: it asks for a permit and measures only where the policy says so.
func asked(p Policy, f Facts) (Facts, Decision, bool) {
	all := f
	f.PermitScanned, f.Permit, f.PermitErr, f.PermitListing, f.Readings = false, nil, nil, Listing{}, nil
	d := p.Judge(f)
	if d.Next == NextPermit && all.PermitScanned {
		f.PermitScanned, f.Permit, f.PermitErr, f.PermitListing = true, all.Permit, all.PermitErr, all.PermitListing
		d = p.Judge(f)
	}
	for i := 0; d.Next != NextNone && d.Next != NextPermit && i < len(all.Readings); i++ {
		f.Readings = all.Readings[:i+1]
		d = p.Judge(f)
	}
	return f, d, d.Next == NextNone || d.Next == NextPermit
}

// TestRejudgeCannotTell: what a record does not say is not guessed.
func TestRejudgeCannotTell(t *testing.T) {
	was := DefaultPolicy()
	f := green()
	good := recorded(f, was.Judge(f))
	withZone := permitsPolicy()
	waited := green()
	waitedFor := recorded(waited, withZone.Judge(waited))
	longer := withZone
	longer.PermitWithin = 60
	riskMap := RiskMap{Counties: map[string]RiskLevel{"330106": RiskHigh}}
	for _, row := range []struct {
		name       string
		record     func(Record) Record
		of         Record
		was, would Policy
		other      *RiskMap
		want       Rejudgement
	}{
		{name: "as it is", of: good, was: was, would: was, want: Rejudgement{Tried: Same}},
		{name: "of an older gate", of: good, record: func(r Record) Record { r.Sealed.Circumstances = nil; return r }, was: was, would: was, want: Rejudgement{Why: WhyRecord}},
		{name: "an outcome", of: good, record: func(r Record) Record { r.Kind = OutcomeRecord; return r }, was: was, would: was, want: Rejudgement{Why: WhyRecord}},
		{name: "another reason than the facts have", of: good, record: func(r Record) Record { r.Reason = Fever; return r }, was: was, would: was, want: Rejudgement{Why: WhyNotReproduced}},
		{name: "a reason that nobody knows", of: good, record: func(r Record) Record { r.Reason = "moon"; return r }, was: was, would: was, want: Rejudgement{Why: WhyNotReproduced}},
		{name: "a red code without a code", of: good, record: func(r Record) Record { r.Reason, r.Verdict, r.Sealed.CodeKind = RedCode, Refuse, ""; return r }, was: was, would: was, want: Rejudgement{Why: WhyNotReproduced}},
		{name: "more time for the permit", of: waitedFor, was: withZone, would: longer, want: Rejudgement{Why: WhyPermitTime}},
		{name: "county turns red", of: good, was: was, would: was, other: &riskMap, want: Rejudgement{Tried: Differs, Would: Decision{Verdict: Hold, Reason: RiskHighRegion}}},
		{name: "no county", of: good, record: func(r Record) Record { r.Sealed.Region = ""; return r }, was: was, would: was, other: &riskMap, want: Rejudgement{Why: WhyRegion}},
		{name: "the gate's own fault", of: Record{Kind: DecisionRecord, Reason: Fault}, was: was, would: was, want: Rejudgement{Tried: Settled}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := row.of
			if row.record != nil {
				r = row.record(r)
			}
			got := Rejudge(r, row.was, row.would, row.other)
			if got.Tried != row.want.Tried || got.Why != row.want.Why {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
			if row.want.Tried == Differs && (got.Would.Verdict != row.want.Would.Verdict || got.Would.Reason != row.want.Would.Reason) {
				t.Errorf("would be %+v, want %+v", got.Would, row.want.Would)
			}
		})
	}
}

func permitsPolicy() Policy {
	p := DefaultPolicy()
	p.PermitRequired = true
	return p
}

// A clock that is anywhere makes no record that the journal would refuse.
func TestCircumstancesAreBounded(t *testing.T) {
	for _, now := range []time.Time{{}, time.Unix(0, 0), judgeNow, time.Unix(1<<40, 0)} {
		f := green()
		f.Now, f.LastSeen = now, judgeNow
		for range 40 {
			f.Readings = append(f.Readings, far)
		}
		c := circumstancesOf(f)
		for _, age := range []Seconds{c.ListAge, c.PermitListAge, c.Inside} {
			if age < Never || age > MaxAge {
				t.Errorf("at %s: age %d", now, age)
			}
		}
		if len(c.Earlier) != MaxEarlier {
			t.Errorf("%d earlier readings", len(c.Earlier))
		}
	}
}

func BenchmarkRejudge(b *testing.B) {
	was, f := DefaultPolicy(), green()
	r := recorded(f, was.Judge(f))
	would := was
	would.FeverAt = 37000
	b.ReportAllocs()
	for b.Loop() {
		if got := Rejudge(r, was, would, nil); got.Tried != Same {
			b.Fatal(fmt.Sprint(got))
		}
	}
}
