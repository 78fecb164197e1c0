package gate

import (
	"testing"
	"time"

	"greengate/pass"
)

// The age of a list counts from the last signed word that it is the current
// one, not from the day it was made, and its bounds are the policy's.
func TestFreshnessBounds(t *testing.T) {
	const hour = time.Hour
	now := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name            string
		stale, tooOld   Seconds // of the policy; 0 for the default's
		made, confirmed time.Duration
		want            Freshness
		admits, noticed bool
	}{
		{"just now", 0, 0, 0, 0, Fresh, true, false},
		{"a moment before 24 hours", 0, 0, 24 * hour, 24*hour - 1, Fresh, true, false},
		{"24 hours", 0, 0, 24 * hour, 24 * hour, Stale, true, true},
		{"a moment before 48 hours", 0, 0, 48 * hour, 48*hour - 1, Stale, true, true},
		{"48 hours", 0, 0, 48 * hour, 48 * hour, TooOld, false, false},
		{"made half a year ago, confirmed a minute ago", 0, 0, 4400 * hour, time.Minute, Fresh, true, false},
		{"a policy's two minutes, before", 120, 240, time.Hour, 2*time.Minute - 1, Fresh, true, false},
		{"a policy's two minutes", 120, 240, time.Hour, 2 * time.Minute, Stale, true, true},
		{"a policy's four minutes, before", 120, 240, time.Hour, 4*time.Minute - 1, Stale, true, true},
		{"a policy's four minutes", 120, 240, time.Hour, 4 * time.Minute, TooOld, false, false},
		{"a policy's week", 7 * 24 * 3600, 14 * 24 * 3600, 300 * hour, 7*24*hour - 1, Fresh, true, false},
		{"no stale time between", 3600, 3600, 2 * hour, hour, TooOld, false, false},
		{"confirmed by a clock a little ahead", 0, 0, 0, -30 * time.Second, Fresh, true, false},
		{"confirmed ten minutes ahead", 0, 0, 0, -10 * time.Minute, Fresh, true, false},
		{"confirmed further ahead", 0, 0, 0, -10*time.Minute - 1, TooOld, false, false},
		{"confirmed in 2099", 0, 0, 0, -79 * 8766 * hour, TooOld, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := DefaultPolicy()
			if c.stale != 0 {
				p.StaleAfter, p.TooOldAfter = c.stale, c.tooOld
			}
			l := Listing{Found: true, InBounds: true, Status: Green, Sequence: 7, Issued: now.Add(-c.made), Confirmed: now.Add(-c.confirmed)}
			if got := p.Freshness(l, now); got != c.want {
				t.Errorf("freshness %s, want %s", got, c.want)
			}
			d := p.Judge(Facts{Now: now, Clock: ClockNetwork, Listing: l, Credential: &pass.Credential{
				Kind: pass.KindStatic, Issued: l.Issued.Add(-hour), Expires: now.Add(hour)}})
			noticed := len(d.Notices) == 1 && d.Notices[0] == ListsStale
			if (d.Verdict == Admit) != c.admits || noticed != c.noticed {
				t.Errorf("%+v, want admitted %v with a notice %v", d, c.admits, c.noticed)
			}
			if !c.admits && (d.Verdict != Hold || d.Reason != ListsTooOld) {
				t.Errorf("%+v, want held as too old", d)
			}
		})
	}
	if got := DefaultPolicy().Freshness(Listing{}, now); got != ListMissing {
		t.Errorf("a list that is not held is %s", got)
	}
	if got := DefaultPolicy().Freshness(Listing{Found: true, Issued: now}, now); got != TooOld {
		t.Errorf("a list that was never confirmed is %s", got)
	}
}
