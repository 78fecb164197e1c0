package hub

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
)

// write appends records to the gate's journal, in one segment.
func (g *testGate) write(t testing.TB, records ...gate.Record) {
	t.Helper()
	pub, err := passage.ParseHubKey(g.hub)
	if err != nil {
		t.Fatal(err)
	}
	s, k, err := passage.NewSegmentSealer(g.id, uint64(len(g.keys)+1), pub, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g.keys = append(g.keys, k)
	for _, r := range records {
		g.seq++
		e, err := s.Entry(g.seq, g.chain, r)
		if err != nil {
			t.Fatal(err)
		}
		g.chain = e.Chain
		g.all = append(g.all, e)
	}
}

// walkedOn is the record of somebody who was measured once and let in.
func walkedOn(at time.Time, adjusted gate.MilliCelsius) gate.Record {
	return gate.Record{
		Kind: gate.DecisionRecord, At: at, Clock: gate.ClockNetwork, Verdict: gate.Admit, Reason: gate.Valid, List: 7,
		Sealed: gate.Sealed{
			Pseudonym: []byte("pseudonym-of-one"), CodeKind: "static", Colour: gate.Green, Region: "330106",
			Reading:       &gate.Reading{Object: adjusted, Ambient: 22000, Adjusted: adjusted},
			Circumstances: &gate.Circumstances{Thermometer: gate.ThermometerReady, Risk: gate.RiskLow, ListAge: 60, PermitListAge: gate.Never, Inside: gate.Never},
		},
	}
}

func with(r gate.Record, change func(*gate.Record)) gate.Record {
	c := *r.Sealed.Circumstances
	r.Sealed.Circumstances = &c
	change(&r)
	return r
}

// TestTryPolicy: a day of two gates is judged again, and only what the policy
// decides changes.
func TestTryPolicy(t *testing.T) {
	var mu sync.Mutex
	var logged bytes.Buffer
	o := quiet()
	o.Log = slog.New(slog.NewTextHandler(lockedWriter{&mu, &logged}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h, dir := newHub(t, o)
	url, _ := serve(t, h)
	ctx := t.Context()
	east, west := addGate(t, h, "east-1"), addGate(t, h, "west-1")
	at := time.Now().Add(-time.Hour)
	yellow := with(walkedOn(at, 0), func(r *gate.Record) {
		r.Verdict, r.Reason, r.Sealed.Colour, r.Sealed.Reading = gate.Hold, gate.YellowCode, gate.Yellow, nil
	})
	records := []gate.Record{
		{Kind: gate.KeyRecord, At: at, Sealed: gate.Sealed{DayKey: make([]byte, 32)}},
		walkedOn(at, 36500), walkedOn(at, 36900), walkedOn(at, 37100), walkedOn(at, 37200),
		yellow,
		{Kind: gate.OutcomeRecord, At: at, Of: 2, Outcome: gate.Turned},
		with(walkedOn(at, 0), func(r *gate.Record) { // a forged code
			r.Verdict, r.Reason, r.List, r.Sealed = gate.Refuse, gate.BadSignature, 0, gate.Sealed{Circumstances: &gate.Circumstances{ListAge: gate.Never, PermitListAge: gate.Never, Inside: gate.Never}}
		}),
		with(walkedOn(at, 36500), func(r *gate.Record) { r.Sealed.Circumstances = nil }),
		with(walkedOn(at, 36500), func(r *gate.Record) { r.Policy = 99 }),
		with(walkedOn(at, 36500), func(r *gate.Record) { r.At = at.Add(-30 * time.Hour) }), // another day
	}
	east.write(t, records...)
	west.write(t, with(walkedOn(at, 36500), func(r *gate.Record) { r.Policy = 1 }), walkedOn(at, 36500))
	for _, g := range []*testGate{east, west} {
		if status, _, word := g.post(t, url, g.batch(t, 1, g.seq)); status != http.StatusOK {
			t.Fatalf("%s: %d %s", g.id, status, word)
		}
	}
	if err := h.SetPolicy(ctx, Document{json.RawMessage(`{"fever_at_millicelsius":37500}`), "op"}); err != nil {
		t.Fatal(err)
	}

	c := NewClient(dir)
	defer c.Close()
	ask := TrialRequest{Policy: json.RawMessage(`{"fever_at_millicelsius":37000,"fever_readings":1,"version":1}`), SinceSeconds: 7200, By: "doctor"}
	told := 0
	got, err := c.TryPolicy(ctx, ask, func(TrialProgress) { told++ })
	if err != nil {
		t.Fatal(err)
	}
	// east: 4 let in, a yellow and a forged code, one of an older gate, one of a policy that nobody knows.
	want := TrialCounts{Decisions: 10, Same: 5, Settled: 1, Changed: 2, CannotTell: map[gate.Why]uint64{gate.WhyRecord: 1, whyPolicy: 1},
		Changes: []TrialChange{{"admit", gate.Valid, "hold", gate.Fever, 2}}}
	if !reflect.DeepEqual(got.Total, want) {
		t.Errorf("total %+v, want %+v", got.Total, want)
	}
	if len(got.Gates) != 1 || got.Gates[0].Gate != "east-1" || got.Gates[0].Changed != 2 {
		t.Errorf("gates %+v, want east-1 alone", got.Gates)
	}
	if got.InForce != 1 || len(got.Differences) != 2 || got.Differences[0].Name != "fever_at_millicelsius" || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "cannot be set") {
		t.Errorf("in force %d, differences %s, notes %q", got.InForce, got.Differences, got.Notes)
	}
	if told == 0 {
		t.Error("no progress was told")
	}
	here, err := h.TryPolicy(ctx, ask, func(TrialProgress) {})
	if err != nil || !reflect.DeepEqual(here.Total, got.Total) {
		t.Errorf("at the hub itself: %+v, %v", here.Total, err)
	}

	// One gate, and a map under which its county turns red.
	got, err = c.TryPolicy(ctx, TrialRequest{Map: json.RawMessage(`{"day":"2020-02-18","counties":{"330106":"high"}}`), SinceSeconds: 7200, Gate: "west-1", By: "doctor"}, func(TrialProgress) {})
	if err != nil {
		t.Fatal(err)
	}
	if got.Total.Decisions != 2 || got.Total.Changed != 2 || got.Total.Changes[0].ToReason != gate.RiskHighRegion {
		t.Errorf("a county that turns red: %+v", got.Total)
	}

	// Yesterday was quiet, and what is wrong is said.
	got, err = c.TryPolicy(ctx, TrialRequest{Policy: ask.Policy, By: "doctor", Gate: "west-1"}, func(TrialProgress) {})
	if err != nil || got.Total.Decisions != 0 || got.To.Sub(got.From) != 24*time.Hour {
		t.Errorf("yesterday: %+v, %v", got, err)
	}
	for _, r := range []TrialRequest{
		{By: "doctor"}, {Policy: ask.Policy}, {Policy: json.RawMessage(`{"feverr":1}`), By: "d"}, {Policy: ask.Policy, Day: "yesterday", By: "d"},
		{Policy: ask.Policy, Day: "2120-02-17", By: "d"}, {Policy: ask.Policy, Day: "2020-02-17", SinceSeconds: 1, By: "d"},
		{Policy: ask.Policy, SinceSeconds: -1, By: "d"}, {Map: json.RawMessage(`{}`), By: "d"},
	} {
		if _, err := c.TryPolicy(ctx, r, func(TrialProgress) {}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", r, err)
		}
	}
	if _, err := c.TryPolicy(ctx, TrialRequest{Policy: ask.Policy, Gate: "nowhere", By: "d"}, func(TrialProgress) {}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a gate that is not there: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := h.TryPolicy(ended, ask, func(TrialProgress) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("a trial that was ended: %v", err)
	}

	// It is in the audit trail, and nobody's temperature or pseudonym is anywhere.
	if n := auditCount(t, h, "policy-try"); n < 4 {
		t.Errorf("%d trials in the audit trail", n)
	}
	mu.Lock()
	defer mu.Unlock()
	answer := fmt.Sprintf("%+v", here)
	for _, secret := range []string{"pseudonym-of-one", "330106", "36900", "371"} {
		if strings.Contains(logged.String()+answer, secret) {
			t.Errorf("%q was given out", secret)
		}
	}
}

func auditCount(t testing.TB, h *Hub, op string) (n int) {
	t.Helper()
	s, err := h.store.js.Stream(t.Context(), auditStream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		var l AuditLine
		if err := json.Unmarshal(m.Data, &l); err != nil {
			t.Fatal(err)
		}
		if l.Op == op {
			n++
		}
	}
	return n
}

// TestPolicyVersionsAreKept: a decision names a version for longer than the
// registry keeps what was set before.
func TestPolicyVersionsAreKept(t *testing.T) {
	h, dir := newHub(t, quiet())
	ctx := t.Context()
	if d, err := h.Policy(ctx, DocumentRequest{}); err != nil || d.By != "" || !strings.Contains(string(d.JSON), `"version":0`) {
		t.Errorf("before any was set: %s %v", d.JSON, err)
	}
	if _, err := h.Map(ctx); !errors.Is(err, ErrNotFound) {
		t.Errorf("map before any was set: %v", err)
	}
	for i := range 8 {
		if err := h.SetPolicy(ctx, Document{json.RawMessage(fmt.Sprintf(`{"fever_at_millicelsius":%d}`, 37000+i)), "op"}); err != nil {
			t.Fatal(err)
		}
	}
	// A crash between the two writes leaves the last one among the revisions only.
	if err := h.store.registry.Purge(ctx, policyKey(8)); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openHub(t, dir, quiet())
	for version := range uint64(8) {
		p, err := h.policyVersion(ctx, version+1)
		if err != nil || p.Version != version+1 || p.FeverAt != gate.MilliCelsius(37000+version) {
			t.Errorf("version %d: %+v, %v", version+1, p, err)
		}
	}
	if p, err := h.policyVersion(ctx, 0); err != nil || p != gate.DefaultPolicy() {
		t.Errorf("version 0: %+v, %v", p, err)
	}
	if _, err := h.policyVersion(ctx, 9); !errors.Is(err, ErrNotFound) {
		t.Errorf("version 9: %v", err)
	}
	if err := h.SetMap(ctx, Document{json.RawMessage(`{"day":"2020-02-17","counties":{"330106":"low"}}`), "op"}); err != nil {
		t.Fatal(err)
	}
	if d, err := h.Map(ctx); err != nil || d.By != "op" || !strings.Contains(string(d.JSON), "2020-02-17") {
		t.Errorf("map: %s %v", d.JSON, err)
	}
}

// BenchmarkTryPolicy says what a province's day takes: a decision, as it lies
// in batches of 500.
func BenchmarkTryPolicy(b *testing.B) {
	h, _ := newHub(b, quiet())
	url, _ := serve(b, h)
	g := addGate(b, h, "east-1")
	records := make([]gate.Record, 500)
	for i := range records {
		records[i] = walkedOn(time.Now().Add(-time.Hour), 36500)
	}
	const batches = 40
	for i := range uint64(batches) {
		g.write(b, records...)
		if status, _, word := g.post(b, url, g.batch(b, i*500+1, i*500+500)); status != http.StatusOK {
			b.Fatal(word)
		}
	}
	ask := TrialRequest{Policy: json.RawMessage(`{"fever_at_millicelsius":37000}`), SinceSeconds: 7200, By: "b"}
	for b.Loop() {
		r, err := h.TryPolicy(b.Context(), ask, func(TrialProgress) {})
		if err != nil || r.Total.Same != batches*500 {
			b.Fatal(r.Total, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batches*500), "ns/decision")
}
