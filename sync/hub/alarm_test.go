package hub

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"greengate/gate"
)

// alarmsOf writes which alarms there are, each with its moment.
func alarmsOf(f *fleet, id string, now time.Time) string {
	s := GateStatus{Gate: id}
	f.fill(&s, now)
	var out []string
	for _, a := range s.Alarms {
		out = append(out, fmt.Sprintf("%s@%s", a.Kind, a.Since.UTC().Format("15:04")))
	}
	return strings.Join(out, " ")
}

// A gate's day, and the alarms that it gives.
func TestAlarms(t *testing.T) {
	at := func(clock string) time.Time {
		t.Helper()
		when, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		return when.AddDate(2026, 10, 24)
	}
	f := newFleet(time.UTC, at("00:00"))
	f.know("north", &known{added: at("00:00"), ends: at("00:00").Add(certificateAlarm + 22*time.Hour)})
	say := func(lists gate.Freshness, clock gate.ClockQuality, journal uint8) func(time.Time) {
		return func(now time.Time) {
			f.contact("north", now, 0, &gate.Condition{Lists: lists, Clock: clock, Journal: journal, Version: "v1"})
		}
	}
	var seq uint64
	pass := func(reason gate.Reason, verdict gate.Verdict, n int) func(time.Time) {
		return func(now time.Time) {
			var ps []Passage
			for range n {
				seq++
				ps = append(ps, Passage{Gate: "north", Sequence: seq, Received: now, At: now, Kind: gate.DecisionRecord, Verdict: verdict.String(), Reason: reason, Tombstone: reason == ""})
			}
			f.add("north", ps, now)
		}
	}
	fine := say(gate.Fresh, gate.ClockNetwork, 10)
	for _, step := range []struct {
		clock, what string
		do          func(time.Time)
		want        string
	}{
		{"00:10", "it was never heard of", func(time.Time) {}, ""},
		{"01:00", "all is well", fine, ""},
		{"01:03", "at the edge of silence", func(time.Time) {}, ""},
		{"01:04", "behind it", func(time.Time) {}, "silent@01:00"},
		{"01:05", "it is back", fine, ""},
		{"01:06", "lists are stale", say(gate.Stale, gate.ClockNetwork, 10), "stale-lists@01:06"},
		{"01:07", "and worse, and the clock too", say(gate.TooOld, gate.ClockUnset, 89), "stale-lists@01:06 clock-unset@01:07"},
		{"01:08", "and the journal", say(gate.TooOld, gate.ClockFloor, 90), "journal-filling@01:08 stale-lists@01:06"},
		{"01:09", "all is well", fine, ""},
		// Usual is nothing known: one in twenty.
		{"02:00", "19 refusals", func(now time.Time) { fine(now); pass(gate.RedCode, gate.Refuse, 19)(now) }, ""},
		{"02:01", "the 20th", pass(gate.RedCode, gate.Refuse, 1), "many-refusals@02:01"},
		{"02:02", "and 120 are let in: 20 of 140 are less than three times one in twenty", pass(gate.Valid, gate.Admit, 120), ""},
		// 30 of 150 in the hours before: usual is 20 of 140, so 3 of 7 it is.
		{"03:00", "20 of 50", func(now time.Time) {
			fine(now)
			pass(gate.Valid, gate.Admit, 30)(now)
			pass(gate.Expired, gate.Refuse, 20)(now)
		}, ""},
		{"03:02", "25 of 55", pass(gate.Expired, gate.Refuse, 5), "many-refusals@03:02"},
		{"04:00", "another hour", fine, ""},
		{"05:00", "a record that cannot be read", func(now time.Time) { fine(now); pass("", 0, 1)(now) }, "tombstones@05:00"},
		{"05:01", "two histories", func(now time.Time) { f.alarm("north", AlarmFork, alarmRecord{What: "two", At: now}) }, "fork@05:01 tombstones@05:00"},
		{"05:02", "cleared", func(time.Time) { f.clear("north", AlarmFork) }, "tombstones@05:00"},
		{"22:01", "a month before its end", fine, "tombstones@05:00 certificate-ends@22:00"},
		{"22:02", "revoked", func(now time.Time) { f.know("north", &known{revoked: true}) }, ""},
	} {
		now := at(step.clock)
		step.do(now)
		if got := alarmsOf(f, "north", now); got != step.want {
			t.Errorf("%s %s: got %q, want %q", step.clock, step.what, got, step.want)
		}
	}
	// What comes late counts in the hour in which it was.
	late := newFleet(time.UTC, at("00:00"))
	late.add("south", []Passage{{Sequence: 1, At: at("03:00"), Received: at("09:00"), Kind: gate.DecisionRecord, Verdict: "refuse", Reason: gate.RedCode},
		{Sequence: 2, At: at("12:00"), Received: at("09:00"), Kind: gate.DecisionRecord, Verdict: "refuse", Reason: gate.RedCode}}, at("09:00"))
	g := late.gate("south")
	if n := g.hours.at(at("03:30")).Refuse; n != 1 {
		t.Errorf("%d refusals at three", n)
	}
	if n := g.hours.at(at("12:00")).Refuse; n != 0 {
		t.Errorf("%d refusals in an hour that has not come", n)
	}
	// A hub that was just started does not call silent whom it had no time to hear.
	fresh := newFleet(time.UTC, at("09:00"))
	fresh.contact("north", at("03:00"), 0, nil)
	if got := alarmsOf(fresh, "north", at("09:02")); got != "" {
		t.Errorf("after the start: %s", got)
	}
	if got := alarmsOf(fresh, "north", at("09:04")); got != "silent@03:00" {
		t.Errorf("later: %s", got)
	}
}

// An alarm of a gate's history stays until somebody clears it, with his name in the trail.
func TestAlarmStays(t *testing.T) {
	h, dir := newHub(t, quiet())
	g, other := addGate(t, h, "north"), addGate(t, h, "south")
	g.pass(t, 3, gate.Valid)
	b := g.unsigned(1, 3)
	if err := b.Sign(other.key); err != nil {
		t.Fatal(err)
	}
	body, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("refused", func(t *testing.T) {
		url, _ := serve(t, h)
		for range 3 {
			if status, _, _ := g.post(t, url, body); status != 403 {
				t.Fatalf("status %d", status)
			}
		}
	})
	if _, rev, err := load[alarmRecord](t.Context(), h.store.registry, "alarm.north.bad-signature"); err != nil || rev == 0 {
		t.Fatal(err)
	}
	kinds := func(h *Hub) []AlarmKind {
		t.Helper()
		all, err := h.Alarms(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out []AlarmKind
		for _, a := range all {
			if a.Gate != "north" || a.What == "" || a.Next == "" || a.Since.IsZero() {
				t.Errorf("%+v", a)
			}
			out = append(out, a.Kind)
		}
		return out
	}
	if got := kinds(h); !slices.Equal(got, []AlarmKind{AlarmSignature}) {
		t.Errorf("alarms %v", got)
	}
	for _, r := range []AlarmRef{{"north", AlarmSilent, "op"}, {"north", AlarmFork, "op"}, {"No", AlarmFork, "op"}, {"north", AlarmSignature, ""}} {
		if err := h.ClearAlarm(t.Context(), r); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotFound) {
			t.Errorf("clear %+v: %v", r, err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openHub(t, dir, quiet())
	if got := kinds(h); !slices.Equal(got, []AlarmKind{AlarmSignature}) {
		t.Errorf("after a restart: %v", got)
	}
	if err := h.ClearAlarm(t.Context(), AlarmRef{"north", AlarmSignature, "op"}); err != nil {
		t.Fatal(err)
	}
	if got := kinds(h); len(got) != 0 {
		t.Errorf("after clearing: %v", got)
	}
}

func TestAlarmWords(t *testing.T) {
	for _, k := range AlarmKinds() {
		w := alarmWords[k]
		for _, text := range []wording{w.name, w.what, w.next} {
			if text.en == "" || text.zh == "" {
				t.Errorf("%s has no words", k)
			}
		}
	}
	if len(alarmWords) != len(AlarmKinds()) {
		t.Errorf("%d kinds have words, %d are listed", len(alarmWords), len(AlarmKinds()))
	}
	for _, r := range gate.Reasons() {
		if fieldWords[string(r)] == "" {
			t.Errorf("reason %s has no Chinese word", r)
		}
	}
	for key, w := range pageWords {
		if w.en == "" || w.zh == "" {
			t.Errorf("%s is empty", key)
		}
	}
}
