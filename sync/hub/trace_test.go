package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate"
	"greengate/gate/passage"
)

// keyOf is the record of a day's key, here of one byte.
func keyOf(at time.Time, b byte) gate.Record {
	return gate.Record{Kind: gate.KeyRecord, At: at, Clock: gate.ClockNetwork, Sealed: gate.Sealed{DayKey: bytes.Repeat([]byte{b}, 32)}}
}

// passedBy is walkedOn with the pseudonym of a code under that key.
func passedBy(who Ref, at time.Time, b byte) gate.Record {
	r := walkedOn(at, 36500)
	p := gate.PseudonymOf([32]byte(bytes.Repeat([]byte{b}, 32)), who.StatusRef())
	r.Sealed.Pseudonym = p[:]
	return r
}

func turned(at time.Time, of uint64) gate.Record {
	return gate.Record{Kind: gate.OutcomeRecord, At: at, Clock: gate.ClockNetwork, Of: of, Outcome: gate.Turned}
}

// auditTrail reads all lines of an operation.
func auditTrail(t testing.TB, h *Hub, op string) (lines []AuditLine) {
	t.Helper()
	for l, err := range h.Audit(t.Context(), AuditRequest{Op: op}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines
}

// told is what of a passage the tests compare.
func told(p TracedPassage) string {
	return fmt.Sprintf("%s %s %s %s %s %s", p.At.Format("2006-01-02 15:04"), p.Gate, p.Direction, p.Verdict, p.Reason, p.Outcome)
}

// TestTrace: a person goes through two gates on two days, a third gate's key of
// an earlier day is destroyed, a fourth lost records.
func TestTrace(t *testing.T) {
	var mu sync.Mutex
	var logged bytes.Buffer
	o := quiet()
	o.Log = slog.New(slog.NewTextHandler(lockedWriter{&mu, &logged}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	// Midnight is half a day away, wherever the test runs.
	o.Location = time.FixedZone("noon", (12-time.Now().UTC().Hour())*3600)
	h, dir := newHub(t, o)
	url, _ := serve(t, h)
	ctx := t.Context()
	_, issued := issueOne(t, h, "green", "static", nil)
	ann := issued.Status
	_, issued = issueOne(t, h, "green", "static", nil)
	bob := issued.Status
	d, issued := issueOne(t, h, "green", "static", nil)
	cyn := issued.Status
	paper, err := h.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "paper", By: "op"})
	if err != nil {
		t.Fatal(err)
	}

	// Noon of so many days ago, at the hub.
	y, m, today := time.Now().In(h.options.Location).Date()
	noon := func(ago int) time.Time { return time.Date(y, m, today-ago, 12, 0, 0, 0, h.options.Location) }
	name := func(ago int) string { return noon(ago).Format(time.DateOnly) }
	east, west, north, south := addGate(t, h, "east-1"), addGate(t, h, "west-1"), addGate(t, h, "north-1"), addGate(t, h, "south-1")
	// One day's records are one segment, as in a gate's journal.
	east.write(t, keyOf(noon(3), 1), passedBy(ann, noon(3), 1), turned(noon(3), 2), passedBy(bob, noon(3).Add(time.Minute), 1), turned(noon(3), 4))
	east.write(t, keyOf(noon(2), 2), passedBy(bob, noon(2), 2), turned(noon(2), 7),
		passedBy(ann, noon(2), 1)) // yesterday's pseudonym is nobody's today
	held := with(passedBy(ann, noon(2).Add(time.Hour), 3), func(r *gate.Record) { r.Verdict, r.Reason = gate.Hold, gate.YellowCode })
	let := held
	let.Kind, let.At, let.Verdict, let.Reason, let.GuardReason, let.Of, let.Sealed.Circumstances = gate.ActRecord, held.At.Add(time.Minute), gate.Admit, gate.ByGuard, gate.CallConfirmed, 3, nil
	let.Sealed.Guard = "guard-7"
	left := passedBy(ann, noon(2).Add(2*time.Hour), 3)
	left.Kind, left.Direction, left.Reason, left.Sealed.Circumstances = gate.ActRecord, gate.Exit, gate.ExitFree, nil
	west.write(t, keyOf(noon(2), 3), passedBy(bob, noon(2), 3), held, let, turned(let.At, 4), left,
		gate.Record{Kind: gate.ActRecord, At: noon(2), Clock: gate.ClockNetwork, Verdict: gate.Admit, Reason: gate.ByButton})
	// Its clock was not set: what counts is when it came here.
	key, early := keyOf(time.Unix(99, 0), 9), passedBy(ann, time.Unix(100, 0), 9)
	key.Clock, early.Clock = gate.ClockUnset, gate.ClockUnset
	west.write(t, key, early)
	north.write(t, keyOf(noon(9), 4), passedBy(ann, noon(9), 4), passedBy(bob, noon(9), 4))
	north.write(t, keyOf(noon(8), 5), passedBy(ann, noon(8), 5))
	north.write(t, keyOf(noon(1), 6))
	north.write(t, passedBy(bob, noon(1), 6))
	for _, g := range []*testGate{east, west, north} {
		if status, _, word := g.post(t, url, g.batch(t, 1, g.seq)); status != http.StatusOK {
			t.Fatalf("%s: %d %s", g.id, status, word)
		}
	}
	south.write(t, keyOf(noon(6), 7), passedBy(bob, noon(6), 7))
	south.write(t, keyOf(noon(4), 8), passedBy(ann, noon(4), 8), passedBy(bob, noon(4), 8), keyOf(noon(3), 9), passedBy(bob, noon(3), 9))
	if status, _, word := south.post(t, url, south.batch(t, 1, 2)); status != http.StatusOK {
		t.Fatalf("south-1: %d %s", status, word)
	}
	b := south.unsigned(4, south.seq)
	b.Skip = &passage.Skip{First: 3, Last: 3, Why: passage.Dropped}
	if status, _, word := south.post(t, url, south.sign(t, b)); status != http.StatusOK {
		t.Fatalf("south-1 behind a skip: %d %s", status, word)
	}
	// Retention was a week for a while.
	if n, err := h.EraseKeys(ctx, noon(7)); err != nil || n != 2 {
		t.Fatalf("%d keys erased, %v; want two of north-1", n, err)
	}

	c := NewClient(dir)
	defer c.Close()
	const why = "case 17 of the Gongshu district"
	ask := TraceRequest{Status: ann, Reason: why, By: "doctor"}
	calls := 0
	got, err := c.Trace(ctx, ask, func(p TraceProgress) {
		if calls++; calls > 1 {
			return
		}
		// Before anything is opened the trail has it.
		lines := auditTrail(t, h, "trace")
		if p != (TraceProgress{}) || len(lines) != 1 {
			t.Fatalf("at first %+v, and in the trail %+v", p, lines)
		}
		if l := lines[0]; l.By != "doctor" || l.Reason != why || l.Object != ann.String()+" at all gates, "+name(13)+" to "+name(0) {
			t.Errorf("audit line %+v", l)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 2 {
		t.Errorf("progress was told %d times", calls)
	}
	want := []string{
		name(3) + " 12:00 east-1 entry admit valid turned",
		name(2) + " 13:00 west-1 entry hold yellow ",
		name(2) + " 13:01 west-1 entry admit guard turned",
		name(2) + " 14:00 west-1 exit admit exit ",
		name(0) + " west-1 unset",
	}
	var have []string
	for _, p := range got.Passages {
		if p.Clock == gate.ClockUnset.String() {
			have = append(have, p.At.Format(time.DateOnly)+" "+p.Gate+" unset")
			continue
		}
		have = append(have, told(p))
	}
	if !slices.Equal(have, want) {
		t.Errorf("passages\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	if p := got.Passages[2]; p.Site != "North gate" || p.Of != 3 || p.GuardReason != gate.CallConfirmed || p.Kind != gate.ActRecord {
		t.Errorf("the guard's act %+v", p)
	}
	untold := []Untold{
		{"north-1", whyDestroyed, []Days{{name(9), name(8)}}, 3},
		{"south-1", whyDayKey, []Days{{name(4), name(4)}}, 2},
		{"south-1", whyLost, []Days{{name(6), name(4)}}, 1},
	}
	if !reflect.DeepEqual(got.Untold, untold) {
		t.Errorf("untold %+v, want %+v", got.Untold, untold)
	}
	// East 4, west 4 and 1, north 1, south 1, 2 and 1.
	if got.Records != 14 || got.More != 0 || len(got.Others) != 0 || !got.From.Equal(noon(13).Add(-12*time.Hour)) || !got.To.Equal(noon(-1).Add(-12*time.Hour)) {
		t.Errorf("report %+v", got)
	}

	// Somebody who passed nowhere, but has a paper copy too.
	got, err = c.Trace(ctx, TraceRequest{Status: cyn, Reason: why, By: "doctor"}, func(TraceProgress) {})
	if err != nil || len(got.Passages) != 0 || !reflect.DeepEqual(got.Untold, untold) || !slices.Equal(got.Others, []Ref{paper.Status}) {
		t.Errorf("somebody else: %+v, %v", got, err)
	}
	// One gate, one day, and no room for more than one passage.
	ask.Gate, ask.From, ask.To = "west-1", name(2), name(2)
	got, err = h.Trace(ctx, ask, func(TraceProgress) {})
	if err != nil || len(got.Passages) != 3 || len(got.Untold) != 0 || got.To.Sub(got.From) != 24*time.Hour {
		t.Errorf("one gate and day: %+v, %v", got, err)
	}
	small, err := h.newTrace(ctx, ask)
	if err != nil {
		t.Fatal(err)
	}
	small.most = 1
	if err := small.run(ctx, ask.Gate, func(TraceProgress) {}); err != nil {
		t.Fatal(err)
	}
	if r := small.finish(); len(r.Passages) != 1 || r.More != 2 {
		t.Errorf("with room for one: %+v", r)
	}

	// What is wrong is said, and nothing of it is in the trail.
	before := len(auditTrail(t, h, "trace"))
	if _, err := h.AddEnterprise(ctx, EnterpriseRequest{Number: "QJ-1", Name: "Works", Region: "330106", Zones: []string{"A"}, By: "op"}); err != nil {
		t.Fatal(err)
	}
	permit, err := h.IssuePermit(ctx, PermitRequest{Enterprise: "QJ-1", Holder: ann, By: "op"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		change func(*TraceRequest)
		want   error
	}{
		{func(r *TraceRequest) { r.Reason = "" }, ErrInvalid}, {func(r *TraceRequest) { r.Reason = " " }, ErrInvalid},
		{func(r *TraceRequest) { r.Reason = strings.Repeat("x", 201) }, ErrInvalid}, {func(r *TraceRequest) { r.By = "" }, ErrInvalid},
		{func(r *TraceRequest) { r.Status = permit.Status }, ErrInvalid}, {func(r *TraceRequest) { r.Status.Index ^= 1 }, ErrNotFound},
		{func(r *TraceRequest) { r.Status.URI = "https://example.org/1/1" }, ErrNotFound}, {func(r *TraceRequest) { r.Gate = "nowhere" }, ErrNotFound},
		{func(r *TraceRequest) { r.From = name(31) }, ErrInvalid}, {func(r *TraceRequest) { r.From, r.To = "", name(31) }, ErrInvalid},
		{func(r *TraceRequest) { r.To = noon(-2).Format(time.DateOnly) }, ErrInvalid}, {func(r *TraceRequest) { r.From = name(1) }, ErrInvalid}, {func(r *TraceRequest) { r.From = "monday" }, ErrInvalid},
	} {
		wrong := ask
		r.change(&wrong)
		if _, err := c.Trace(ctx, wrong, func(TraceProgress) {}); !errors.Is(err, r.want) {
			t.Errorf("%+v: %v, want %v", wrong, err, r.want)
		}
	}
	if n := len(auditTrail(t, h, "trace")); n != before {
		t.Errorf("%d lines in the trail, %d before", n, before)
	}
	ended, cancel := context.WithCancel(ctx)
	if _, err := h.Trace(ended, ask, func(TraceProgress) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("a trace that was ended: %v", err)
	}

	// The day of the trail, over the socket too.
	n := 0
	for l, err := range c.Audit(ctx, AuditRequest{Since: name(0), Op: "trace"}) {
		if n++; err != nil || l.Op != "trace" {
			t.Fatalf("%+v, %v", l, err)
		}
	}
	if n != before+1 {
		t.Errorf("%d lines since today, want %d", n, before+1)
	}
	for _, err := range c.Audit(ctx, AuditRequest{Since: noon(-1).Format(time.DateOnly)}) {
		t.Errorf("tomorrow: %v", err)
	}
	for _, err := range c.Audit(ctx, AuditRequest{Since: "monday"}) {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("since monday: %v", err)
		}
	}

	// A trail that takes nothing stops it before it begins.
	if err := h.store.js.DeleteStream(ctx, auditStream); err != nil {
		t.Fatal(err)
	}
	got, err = h.Trace(ctx, ask, func(TraceProgress) { t.Error("it began") })
	if err == nil || !reflect.DeepEqual(got, TraceReport{}) {
		t.Errorf("without a trail: %+v, %v", got, err)
	}
	if _, err := c.Trace(ctx, ask, func(TraceProgress) { t.Error("it began") }); err == nil {
		t.Error("without a trail, over the socket: no error")
	}
	mu.Lock()
	defer mu.Unlock()
	for _, secret := range []string{why, issued.Code, "guard-7", string(bytes.Repeat([]byte{3}, 32))} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestTraceEndsWithTheStorage: what the storage does not answer is no passage
// that nothing can be told of.
func TestTraceEndsWithTheStorage(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	_, issued := issueOne(t, h, "green", "static", nil)
	g := addGate(t, h, "east-1")
	g.write(t, keyOf(time.Now(), 1), passedBy(issued.Status, time.Now(), 1))
	if status, _, word := g.post(t, url, g.batch(t, 1, 2)); status != http.StatusOK {
		t.Fatal(word)
	}
	ask := TraceRequest{Status: issued.Status, Reason: "case 17", By: "doctor"}
	if r, err := h.Trace(t.Context(), ask, func(TraceProgress) {}); err != nil || len(r.Passages) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := h.store.js.DeleteStream(t.Context(), keysStream); err != nil {
		t.Fatal(err)
	}
	if r, err := h.Trace(t.Context(), ask, func(TraceProgress) {}); err == nil {
		t.Errorf("without the keys' stream: %+v", r)
	}
}

// BenchmarkTrace says what a record takes, as it lies in batches of 500.
func BenchmarkTrace(b *testing.B) {
	h, _ := newHub(b, quiet())
	url, _ := serve(b, h)
	_, issued := issueOne(b, h, "green", "static", nil)
	g := addGate(b, h, "east-1")
	g.write(b, keyOf(time.Now(), 1))
	other := issued.Status
	other.Index++
	records := slices.Repeat([]gate.Record{passedBy(other, time.Now(), 1)}, 500)
	const batches = 40
	for i := range uint64(batches) {
		g.write(b, records...)
		if status, _, word := g.post(b, url, g.batch(b, i*500+1, i*500+500)); status != http.StatusOK {
			b.Fatal(word)
		}
	}
	ask := TraceRequest{Status: issued.Status, Reason: "b", By: "b"}
	for b.Loop() {
		r, err := h.Trace(b.Context(), ask, func(TraceProgress) {})
		if err != nil || r.Records != batches*500-1 || len(r.Untold)+len(r.Passages) != 0 {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batches*500), "ns/record")
}

// TestReadingEndsWhileRetentionPurges: what is taken away while all is read is
// not waited for, and what comes meanwhile is not read.
func TestReadingEndsWhileRetentionPurges(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	east, west := addGate(t, h, "east-1"), addGate(t, h, "west-1")
	send := func(g *testGate, n int) {
		for range n {
			g.pass(t, 1, gate.Valid)
			if status, _, word := g.post(t, url, g.batch(t, g.seq, g.seq)); status != http.StatusOK {
				t.Fatal(word)
			}
		}
	}
	const batches = 60
	send(west, 1)
	send(east, batches)
	for _, id := range []string{"", "east-1"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		read, last := 0, uint64(0)
		err := h.received(ctx, time.Now().Add(-time.Hour), id, func(s stored) error {
			if read++; read == 1 {
				// All but the last ones, as the sweep does, though not of both gates.
				if err := h.store.passages.Purge(ctx, jetstream.WithPurgeSubject(passagesPrefix+"east-1"), jetstream.WithPurgeKeep(1)); err != nil {
					return err
				}
				send(west, 1)
			}
			if s.batch.Gate == "east-1" {
				last = s.batch.Last()
			}
			return nil
		}, func(uint64, uint64) {})
		if err != nil || last != east.seq {
			t.Errorf("gate %q: %d read, the last is %d of %d: %v", id, read, last, east.seq, err)
		}
		send(east, batches)
	}
}
