package hub

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
)

// collect reads an export to its end.
func collect(t *testing.T, c *Client, r ExportRequest) []string {
	t.Helper()
	out := []string{}
	for p, err := range c.Export(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %d", p.Gate, p.Sequence))
	}
	return out
}

// All that is stored comes out once and in order, by gate and by day, and who
// asked is written down.
func TestExport(t *testing.T) {
	h, dir := newHub(t, quiet())
	url, _ := serve(t, h)
	north, south := addGate(t, h, "north"), addGate(t, h, "south")
	north.pass(t, 600, gate.Valid)
	south.pass(t, 3, gate.RedCode)
	for _, b := range [][2]uint64{{1, 400}, {301, 600}} { // some come twice
		if status, _, word := north.post(t, url, north.batch(t, b[0], b[1])); status != 200 {
			t.Fatal(status, word)
		}
	}
	if status, _, word := south.post(t, url, south.batch(t, 1, 3)); status != 200 {
		t.Fatal(status, word)
	}
	c := NewClient(dir)
	defer c.Close()
	all := collect(t, c, ExportRequest{By: "op"})
	if len(all) != 603 {
		t.Fatalf("%d records, want 603", len(all))
	}
	for i, got := range all {
		want := fmt.Sprintf("north %d", i+1)
		if i >= 600 {
			want = fmt.Sprintf("south %d", i-599)
		}
		if got != want {
			t.Fatalf("record %d is %s, want %s", i, got, want)
		}
	}
	today, tomorrow := h.fleet.day(time.Now()), h.fleet.day(time.Now().Add(24*time.Hour))
	for _, step := range []struct {
		r    ExportRequest
		want int
	}{
		{ExportRequest{Gate: "south", By: "op"}, 3},
		{ExportRequest{From: today, To: today, By: "op"}, 603},
		{ExportRequest{From: tomorrow, By: "op"}, 0},
		{ExportRequest{To: "2020-02-17", By: "op"}, 0},
	} {
		if got := collect(t, c, step.r); len(got) != step.want {
			t.Errorf("%+v: %d records, want %d", step.r, len(got), step.want)
		}
	}
	for _, step := range []struct {
		r    ExportRequest
		want error
	}{
		{ExportRequest{Gate: "nowhere", By: "op"}, ErrNotFound},
		{ExportRequest{From: "yesterday", By: "op"}, ErrInvalid},
		{ExportRequest{}, ErrInvalid},
	} {
		for p, err := range c.Export(t.Context(), step.r) {
			if !errors.Is(err, step.want) {
				t.Errorf("%+v: %+v, %v; want %v", step.r, p, err, step.want)
			}
		}
	}
	info, err := h.store.js.Stream(t.Context(), auditStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := info.GetLastMsgForSubject(t.Context(), auditSubject)
	if err != nil {
		t.Fatal(err)
	}
	var line AuditLine
	if err := decodeStrict(m.Data, &line); err != nil || line.Op != "export" || line.By != "op" {
		t.Errorf("audit %+v, %v", line, err)
	}
}

// A tail shows what comes while it is there, by gate and reason, and ends when
// its reader goes; a tail that nobody reads holds up nothing.
func TestTail(t *testing.T) {
	h, dir := newHub(t, quiet())
	url, _ := serve(t, h)
	north, south := addGate(t, h, "north"), addGate(t, h, "south")
	north.pass(t, 5, gate.Valid)
	north.pass(t, 5, gate.RedCode)
	south.pass(t, 3, gate.RedCode)
	c := NewClient(dir)
	defer c.Close()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, got, ended := make(chan struct{}), make(chan Passage, 100), make(chan error, 1)
	go func() {
		ended <- c.Tail(ctx, TailRequest{Gate: "north", Reason: gate.RedCode}, func() { close(ready) },
			func(p Passage) error { got <- p; return nil },
			func(n uint64) error { return fmt.Errorf("%d batches left out", n) })
	}()
	// Another stops reading at once.
	stuck, release := make(chan struct{}), make(chan struct{})
	stuckEnded := make(chan error, 1)
	go func() {
		stuckEnded <- c.Tail(ctx, TailRequest{}, func() { close(stuck); <-release }, func(Passage) error { return nil }, func(uint64) error { return nil })
	}()
	<-ready
	<-stuck
	for _, step := range []struct {
		g           *testGate
		first, last uint64
	}{{north, 1, 7}, {south, 1, 3}, {north, 8, 10}} {
		if status, _, word := step.g.post(t, url, step.g.batch(t, step.first, step.last)); status != 200 {
			t.Fatal(status, word)
		}
	}
	for seq := uint64(6); seq <= 10; seq++ {
		if p := <-got; p.Gate != "north" || p.Sequence != seq || p.Reason != gate.RedCode {
			t.Errorf("%+v, want record %d of north", p, seq)
		}
	}
	if _, err := h.gate(t.Context(), "nowhere"); !errors.Is(c.Tail(t.Context(), TailRequest{Gate: "nowhere"}, nil, nil, nil), ErrNotFound) {
		t.Errorf("a tail of a gate that is not there: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(release)
	if err := <-stuckEnded; err != nil {
		t.Error(err)
	}
	if len(got) != 0 {
		t.Errorf("%d records too many", len(got))
	}
}

// A hub that stops ends its tails, and does not wait for them.
func TestTailEndsWithTheHub(t *testing.T) {
	h, dir := newHub(t, quiet())
	ended, ready := make(chan error, 1), make(chan struct{})
	c := NewClient(dir)
	defer c.Close()
	t.Run("served", func(t *testing.T) {
		serve(t, h)
		go func() {
			ended <- c.Tail(context.Background(), TailRequest{}, func() { close(ready) }, func(Passage) error { return nil }, func(uint64) error { return nil })
		}()
		<-ready
	})
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A gate that is broken, or in strange hands, signs a record of a year that no
// calendar has. It is one that cannot be read: nobody's export ends there.
func TestExportGoesOnBehindAnImpossibleTime(t *testing.T) {
	h, dir := newHub(t, quiet())
	url, _ := serve(t, h)
	north, south := addGate(t, h, "north"), addGate(t, h, "south")
	north.pass(t, 1, gate.Valid)
	for _, at := range []int64{math.MaxInt64, math.MinInt64, 253402300800000} {
		seq := north.seq + 1
		clear, err := passage.EncodeClear(seq, gate.Record{Kind: gate.DecisionRecord, At: time.Now(), Clock: gate.ClockNetwork})
		if err != nil {
			t.Fatal(err)
		}
		// The time is an integer of eight bytes under the key 3.
		place := bytes.Index(clear, []byte{3, 0x1b})
		if at < 0 {
			clear[place+1], at = 0x3b, -1-at
		}
		binary.BigEndian.PutUint64(clear[place+2:], uint64(at))
		e := passage.Entry{Seq: seq, Segment: 1, Clear: clear, Sealed: []byte{1}}
		e.Chain = passage.Next(north.chain, e.Clear, e.Sealed)
		north.all, north.chain, north.seq = append(north.all, e), e.Chain, seq
	}
	north.pass(t, 1, gate.Valid)
	south.pass(t, 2, gate.Valid)
	for _, g := range []*testGate{north, south} {
		if status, _, word := g.post(t, url, g.batch(t, 1, g.seq)); status != 200 {
			t.Fatal(status, word)
		}
	}
	c := NewClient(dir)
	defer c.Close()
	want := []string{"north 1", "north 2", "north 3", "north 4", "north 5", "south 1", "south 2"}
	if all := collect(t, c, ExportRequest{By: "op"}); !slices.Equal(all, want) {
		t.Errorf("exported %q, want %q", all, want)
	}
	if page, err := c.Passages(t.Context(), PassagesRequest{Gate: "north"}); err != nil || len(page) != 5 {
		t.Errorf("%d passages of the gate, %v, want 5", len(page), err)
	}
	if v := verifyGate(t, h, "north", 5); v.Tombstones != 3 {
		t.Errorf("%+v, want three that cannot be read", v)
	}
}
