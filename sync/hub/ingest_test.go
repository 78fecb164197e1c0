package hub

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"greengate/gate"
	"greengate/gate/passage"
)

// sign signs and marshals a batch.
func (g *testGate) sign(t testing.TB, b *passage.Batch) []byte {
	t.Helper()
	if err := b.Sign(g.key); err != nil {
		t.Fatal(err)
	}
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A gate that had to drop its oldest and could not read some others: the hub
// takes what is left, counts what is lost, says so, and verifies the rest.
func TestOwnedUpLosses(t *testing.T) {
	h, dir := newHub(t, quiet())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	g.pass(t, 100, gate.Valid)
	if status, n, _ := g.post(t, url, g.batch(t, 1, 10)); status != 200 || n != 10 {
		t.Fatalf("%d %d", status, n)
	}
	// Without owning up to it a jump is a gap, as ever.
	if status, n, word := g.post(t, url, g.batch(t, 31, 40)); status != 409 || word != "gap" || n != 11 {
		t.Errorf("a jump: %d %q, expected %d", status, word, n)
	}
	// A skip that leaves something out between is one too.
	b := g.unsigned(31, 40)
	b.Skip = &passage.Skip{First: 15, Last: 30, Why: passage.Dropped}
	if status, n, word := g.post(t, url, g.sign(t, b)); status != 409 || word != "gap" || n != 11 {
		t.Errorf("a skip with a gap before it: %d %q, expected %d", status, word, n)
	}
	b = g.unsigned(31, 40)
	b.Skip = &passage.Skip{First: 8, Last: 30, Why: passage.Dropped} // it does not know yet that 8 to 10 arrived
	if status, n, word := g.post(t, url, g.sign(t, b)); status != 200 || n != 40 {
		t.Fatalf("a skip: %d %d %q", status, n, word)
	}
	if got := h.fleet.raised("north", AlarmLost); !strings.Contains(got, "11-30") || !strings.Contains(got, "dropped") {
		t.Errorf("alarm %q", got)
	}
	// The answer was lost, and it comes again; then the next, with a tombstone.
	if status, n, _ := g.post(t, url, g.sign(t, b)); status != 200 || n != 40 {
		t.Errorf("the same again: %d %d", status, n)
	}
	b = g.unsigned(41, 60)
	b.Entries = append([]passage.Entry(nil), b.Entries...)
	b.Entries[4] = b.Entries[4].Bury()
	if status, n, _ := g.post(t, url, g.sign(t, b)); status != 200 || n != 60 {
		t.Fatalf("with a tombstone: %d %d", status, n)
	}
	// Behind damage the chain goes on from where the gate says.
	b = g.unsigned(81, 100)
	b.Skip = &passage.Skip{First: 61, Last: 80, Why: passage.Damaged}
	if status, n, _ := g.post(t, url, g.sign(t, b)); status != 200 || n != 100 {
		t.Fatalf("behind damage: %d %d", status, n)
	}
	v, err := h.Verify(t.Context(), GateRef{Gate: "north"})
	if err != nil || !v.OK() || v.Records != 60 || v.Lost != 40 || v.Tombstones != 1 || v.Last != 100 {
		t.Errorf("%+v, %v; want 60 records, 40 lost, a tombstone", v, err)
	}
	// The whole history again, from before the losses: nothing is doubled.
	for first := uint64(1); first <= 60; first += 10 {
		if first == 11 || first == 21 {
			continue
		}
		if status, n, word := g.post(t, url, g.batch(t, first, first+9)); status != 200 || n != 100 {
			t.Errorf("records from %d again: %d %d %q", first, status, n, word)
		}
	}
	if again, err := h.Verify(t.Context(), GateRef{Gate: "north"}); err != nil || again.Records != 60 || again.Duplicates != 0 {
		t.Errorf("%+v, %v", again, err)
	}
	// A card with another history for what was skipped is one thing that the hub cannot know; for what it has, it can.
	other := g.unsigned(5, 10)
	other.Entries = append([]passage.Entry(nil), other.Entries...)
	other.Prev[0] ^= 1
	head := other.Prev
	for i := range other.Entries {
		head = other.Entries[i].Next(head)
		other.Entries[i].Chain = head
	}
	if status, _, word := g.post(t, url, g.sign(t, other)); status != 409 || word != "fork" {
		t.Errorf("another history: %d %q", status, word)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, err = Open(t.Context(), dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	if v, err := h.Verify(t.Context(), GateRef{Gate: "north"}); err != nil || !v.OK() || v.Lost != 40 {
		t.Errorf("after a restart: %+v, %v", v, err)
	}
}

// anew gives a batch another head to go on from.
func anew(b *passage.Batch) *passage.Batch {
	b.Entries = append([]passage.Entry(nil), b.Entries...)
	b.Prev[0] ^= 1
	head := b.Prev
	for i := range b.Entries {
		head = b.Entries[i].Next(head)
		b.Entries[i].Chain = head
	}
	return b
}

// A skip of what the hub has is no way around the chain: who drops records
// knows their chain. Only damage loses it, and that is told.
func TestSkipDoesNotHideAFork(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	g.pass(t, 40, gate.Valid)
	if status, n, _ := g.post(t, url, g.batch(t, 1, 10)); status != 200 || n != 10 {
		t.Fatalf("%d %d", status, n)
	}
	b := anew(g.unsigned(11, 20))
	b.Skip = &passage.Skip{First: 6, Last: 10, Why: passage.Dropped}
	if status, _, word := g.post(t, url, g.sign(t, b)); status != 409 || word != "fork" {
		t.Errorf("dropped, from another head: %d %q", status, word)
	}
	b = g.unsigned(11, 20)
	b.Skip = &passage.Skip{First: 6, Last: 10, Why: passage.Dropped}
	if status, n, word := g.post(t, url, g.sign(t, b)); status != 200 || n != 20 {
		t.Errorf("dropped what arrived: %d %d %q", status, n, word)
	}
	b = anew(g.unsigned(21, 30))
	b.Skip = &passage.Skip{First: 16, Last: 20, Why: passage.Damaged}
	if status, n, word := g.post(t, url, g.sign(t, b)); status != 200 || n != 30 {
		t.Fatalf("damaged: %d %d %q", status, n, word)
	}
	if got := h.fleet.raised("north", AlarmLost); !strings.Contains(got, "behind record 20") {
		t.Errorf("alarm %q", got)
	}
	if v, err := h.Verify(t.Context(), GateRef{Gate: "north"}); err != nil || !v.OK() || v.Records != 30 || v.Lost != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// A batch that was long on its way arrives when the gate has dropped its records
// and said so: no second history. What was stored before it is compared still.
func TestLateBatchOfSkippedRecords(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	g.pass(t, 40, gate.Valid)
	if status, n, _ := g.post(t, url, g.batch(t, 1, 10)); status != 200 || n != 10 {
		t.Fatalf("%d %d", status, n)
	}
	b := g.unsigned(31, 40)
	b.Skip = &passage.Skip{First: 11, Last: 30, Why: passage.Dropped}
	if status, n, _ := g.post(t, url, g.sign(t, b)); status != 200 || n != 40 {
		t.Fatalf("%d %d", status, n)
	}
	for _, first := range []uint64{6, 11, 15} {
		if status, n, word := g.post(t, url, g.batch(t, first, 20)); status != 200 || n != 40 {
			t.Errorf("records %d to 20, late: %d %d %q", first, status, n, word)
		}
	}
	if got := h.fleet.raised("north", AlarmFork); got != "" {
		t.Errorf("alarm %q", got)
	}
	if status, _, word := g.post(t, url, g.sign(t, anew(g.unsigned(6, 20)))); status != 409 || word != "fork" {
		t.Errorf("late, of another history: %d %q", status, word)
	}
	if v, err := h.Verify(t.Context(), GateRef{Gate: "north"}); err != nil || !v.OK() || v.Records != 20 || v.Lost != 20 {
		t.Errorf("%+v, %v", v, err)
	}
}

// A history sent again costs the hub some reads of the stream, not all of it.
func TestSentAgainIsBisected(t *testing.T) {
	h, _ := newHub(t, quiet())
	g, other := addGate(t, h, "north"), addGate(t, h, "south")
	rec, err := h.gate(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	rec2, err := h.gate(t.Context(), "south")
	if err != nil {
		t.Fatal(err)
	}
	g.pass(t, 400, gate.Valid)
	other.pass(t, 200, gate.Valid)
	for i := uint64(1); i <= 200; i++ {
		if _, _, err := h.ingest(t.Context(), "north", rec, g.batch(t, 2*i-1, 2*i)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.ingest(t.Context(), "south", rec2, other.batch(t, i, i)); err != nil {
			t.Fatal(err)
		}
	}
	at, err := h.head(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 400; seq++ {
		s, err := h.holding(t.Context(), "north", at, seq)
		if err != nil || s == nil || seq < s.first || seq > s.batch.Last() {
			t.Fatalf("record %d: message %+v, %v", seq, s, err)
		}
	}
	if s, err := h.holding(t.Context(), "north", at, 401); err != nil || s == nil || s.batch.Last() != 400 {
		t.Errorf("record 401: %+v, %v; want the last message before it", s, err)
	}
}

func pack(t testing.TB, data []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(data, nil)
}

// What comes compressed is bounded before and after.
func TestCompressedBatches(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	g.pass(t, 20, gate.Valid)
	post := func(encoding string, body []byte) int {
		req, err := http.NewRequest(http.MethodPost, url+"/v1/passages", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Encoding", encoding)
		resp, err := g.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	packed := pack(t, g.batch(t, 1, 20))
	for name, c := range map[string]struct {
		encoding string
		body     []byte
		want     int
	}{
		"cut":              {"zstd", packed[:len(packed)/2], 422},
		"not zstd":         {"zstd", g.batch(t, 1, 20), 422},
		"bomb":             {"zstd", pack(t, make([]byte, 300<<20)), 422},
		"empty":            {"zstd", nil, 422},
		"another encoding": {"br", packed, 415},
	} {
		if got := post(c.encoding, c.body); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := post("zstd", packed); got != 200 {
		t.Errorf("a good one: %d", got)
	}
	verifyGate(t, h, "north", 20)
}

func FuzzUnpack(f *testing.F) {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.EncodeAll([]byte("greengate"), nil))
	f.Add(e.EncodeAll(make([]byte, passage.MaxBatchBytes+1), nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := unpackBatch(data)
		if err == nil && len(got) > passage.MaxBatchBytes {
			t.Errorf("%d bytes", len(got))
		}
		if err != nil && !errors.Is(err, passage.ErrMalformed) && !errors.Is(err, passage.ErrTooLarge) {
			t.Errorf("%v wraps neither", err)
		}
	})
}

// onDisk reports whether any file below dir holds these bytes.
func onDisk(t *testing.T, dir string, want []byte) bool {
	t.Helper()
	found := false
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || bytes.Contains(data, want)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// A month later the keys of a day are erased: their bytes are nowhere in the
// hub's files, what was sealed with them opens no more, and chain and signatures
// verify as before.
func TestKeysAreErasedByTheDay(t *testing.T) {
	h, dir := newHub(t, quiet())
	g := addGate(t, h, "north")
	rec, err := h.gate(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for day := range 3 { // a segment each
		var records []gate.Record
		for range 5 {
			records = append(records, gate.Record{Kind: gate.DecisionRecord, At: now.AddDate(0, 0, day-40), Clock: gate.ClockConfirmed,
				Reason: gate.Valid, Verdict: gate.Admit, Sealed: gate.Sealed{CodeKind: "static", Colour: gate.Green}})
		}
		g.write(t, records...)
	}
	for _, to := range []uint64{7, 15} {
		from := to - 6
		if to == 15 {
			from = 8
		}
		if _, _, err := h.ingest(t.Context(), "north", rec, g.batch(t, from, to)); err != nil {
			t.Fatal(err)
		}
	}
	for i, k := range g.keys {
		if !onDisk(t, dir, k.Sealed) {
			t.Fatalf("the key of day %d is not found, so this test finds nothing", i)
		}
	}
	opens := func() uint64 {
		c, err := h.UnsealCounts(t.Context(), GateRef{Gate: "north", By: "op"})
		if err != nil {
			t.Fatal(err)
		}
		return c.Kinds["static"]
	}
	if n := opens(); n != 15 {
		t.Fatalf("%d records open, want 15", n)
	}
	if n, err := h.EraseKeys(t.Context(), now.AddDate(0, 0, -38)); err != nil || n != 2 {
		t.Fatalf("%d keys erased, %v; want 2", n, err)
	}
	for i, k := range g.keys {
		if got := onDisk(t, dir, k.Sealed) || onDisk(t, dir, k.Encapsulated); got != (i == 2) {
			t.Errorf("the key of day %d is on the disk: %v", i, got)
		}
	}
	if n := opens(); n != 5 {
		t.Errorf("%d records open, want the 5 of the last day", n)
	}
	verifyGate(t, h, "north", 15)
	if n, err := h.EraseKeys(t.Context(), now.AddDate(0, 0, -38)); err != nil || n != 0 {
		t.Errorf("erased again: %d, %v", n, err)
	}
}

// Two years later the clear parts go, but for each gate's last batch; what is
// left verifies from where it was cut, a gate that sends old records again is
// not taken for a clone, and the next batch goes on.
func TestRetention(t *testing.T) {
	// The hub's other goroutines look at the clock too.
	began := time.Now()
	var passed atomic.Int64 // days
	o := quiet()
	o.Now = func() time.Time { return began.AddDate(0, 0, int(passed.Load())) }
	h, _ := newHub(t, o)
	ctx := t.Context()
	g, still := addGate(t, h, "north"), addGate(t, h, "south")
	rec, err := h.gate(ctx, "north")
	if err != nil {
		t.Fatal(err)
	}
	rec2, err := h.gate(ctx, "south")
	if err != nil {
		t.Fatal(err)
	}
	g.pass(t, 50, gate.Valid)
	still.pass(t, 10, gate.Valid)
	for first := uint64(1); first <= 41; first += 10 {
		if _, _, err := h.ingest(ctx, "north", rec, g.batch(t, first, first+9)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := h.ingest(ctx, "south", rec2, still.batch(t, 1, 10)); err != nil {
		t.Fatal(err)
	}
	// What was not taken is kept as long as what was.
	clone := *g
	clone.all, clone.keys, clone.seq, clone.chain = nil, nil, 0, passage.Genesis("north")
	clone.pass(t, 3, gate.Expired)
	if _, _, err := h.ingest(ctx, "north", rec, clone.batch(t, 1, 3)); !errors.Is(err, errFork) {
		t.Fatalf("a clone: %v, want errFork", err)
	}
	kept := func() int {
		t.Helper()
		breaks, err := h.Breaks(ctx, GateRef{})
		if err != nil {
			t.Fatal(err)
		}
		return len(breaks)
	}
	if s, err := h.Sweep(ctx); err != nil || s != (Swept{}) {
		t.Fatalf("swept at once: %+v, %v", s, err)
	}
	for _, r := range []Retention{{0, 10}, {10, 9}, {366, 400}, {30, 4000}} {
		if err := h.SetRetention(ctx, RetentionRequest{Retention: r, By: "op"}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", r, err)
		}
	}
	if err := h.SetRetention(ctx, RetentionRequest{Retention: Retention{SealedDays: 10, ClearDays: 400}, By: "op"}); err != nil {
		t.Fatal(err)
	}
	passed.Store(11)
	if s, err := h.Sweep(ctx); err != nil || s.Keys != 2 || s.Batches != 0 || s.Breaks != 0 || kept() != 1 {
		t.Errorf("after 11 days: %+v, %v; want the keys of 2 segments", s, err)
	}
	passed.Store(411)
	if s, err := h.Sweep(ctx); err != nil || s.Batches != 4 || s.Breaks != 1 || kept() != 0 {
		t.Errorf("after 411 days: %+v, %v; want 4 batches, and the clone's", s, err)
	}
	v, err := h.Verify(ctx, GateRef{Gate: "north"})
	if err != nil || !v.OK() || v.Records != 10 || v.Purged != 40 || v.Last != 50 {
		t.Errorf("%+v, %v; want 10 records behind 40 that were purged", v, err)
	}
	if v, err := h.Verify(ctx, GateRef{Gate: "south"}); err != nil || !v.OK() || v.Records != 10 {
		t.Errorf("a gate's only batch: %+v, %v", v, err)
	}
	if n, _, err := h.ingest(ctx, "north", rec, g.batch(t, 11, 20)); err != nil || n != 50 {
		t.Errorf("old records again: %d, %v", n, err)
	}
	g.pass(t, 5, gate.Valid)
	if n, _, err := h.ingest(ctx, "north", rec, g.batch(t, 51, 55)); err != nil || n != 55 {
		t.Errorf("new records: %d, %v", n, err)
	}
	if v, err := h.Verify(ctx, GateRef{Gate: "north"}); err != nil || !v.OK() || v.Records != 15 || v.Last != 55 {
		t.Errorf("%+v, %v", v, err)
	}
}

// What contradicts a gate's history is kept as evidence, once, and without keys.
func TestBreaksAreKept(t *testing.T) {
	h, dir := newHub(t, quiet())
	ctx := t.Context()
	g, other := addGate(t, h, "north"), addGate(t, h, "south")
	rec, err := h.gate(ctx, "north")
	if err != nil {
		t.Fatal(err)
	}
	g.pass(t, 10, gate.Valid)
	if _, _, err := h.ingest(ctx, "north", rec, g.batch(t, 1, 10)); err != nil {
		t.Fatal(err)
	}
	clone := *g
	clone.all, clone.keys, clone.seq, clone.chain = nil, nil, 0, passage.Genesis("north")
	clone.pass(t, 12, gate.Expired)
	for range 3 {
		if _, _, err := h.ingest(ctx, "north", rec, clone.batch(t, 1, 12)); !errors.Is(err, errFork) {
			t.Fatalf("a clone: %v, want a fork", err)
		}
	}
	forged := g.unsigned(1, 10)
	if err := forged.Sign(other.key); err != nil {
		t.Fatal(err)
	}
	data, err := forged.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.ingest(ctx, "north", rec, data); !errors.Is(err, errForeign) {
		t.Fatalf("signed by another: %v, want errForeign", err)
	}
	breaks, err := h.Breaks(ctx, GateRef{})
	if err != nil || len(breaks) != 2 || breaks[0].Why != breakFork || breaks[0].First != 1 || breaks[0].Last != 12 || breaks[1].Why != breakForeign || breaks[1].Gate != "north" {
		t.Errorf("kept: %+v, %v; want the fork once and the foreign one", breaks, err)
	}
	if of, err := h.Breaks(ctx, GateRef{Gate: "south"}); err != nil || len(of) != 0 {
		t.Errorf("of another gate: %+v, %v", of, err)
	}
	if onDisk(t, dir, clone.keys[0].Sealed) {
		t.Error("the key of what was not taken is on the disk")
	}
	verifyGate(t, h, "north", 10)
	// It is bounded: each gate has so many.
	for i := range uint64(maxBreaks + 3) {
		more := *g
		more.all, more.keys, more.seq, more.chain = nil, nil, 0, passage.Genesis("north")
		more.pass(t, int(i)+1, gate.Expired)
		if _, _, err := h.ingest(ctx, "north", rec, more.batch(t, 1, more.seq)); !errors.Is(err, errFork) {
			t.Fatal(err)
		}
	}
	if breaks, err := h.Breaks(ctx, GateRef{Gate: "north"}); err != nil || len(breaks) != maxBreaks {
		t.Errorf("%d kept, %v; want %d", len(breaks), err, maxBreaks)
	}
}

// TestStaleHead: two hubs take a gate's batches in turns, and each remembers
// where its own last one ended. What is old costs one refused compare-and-set, and no record.
func TestStaleHead(t *testing.T) {
	a, b, _ := twoHubs(t)
	ctx := t.Context()
	g := addGate(t, a, "north")
	rec, err := a.gate(ctx, "north")
	if err != nil {
		t.Fatal(err)
	}
	g.pass(t, 60, gate.Valid)
	type heads struct{ asked, lost uint64 }
	count := func(h *Hub) heads {
		asked, lost := h.IngestHeads()
		return heads{asked, lost}
	}
	var at uint64
	next := func(h *Hub, n uint64) {
		t.Helper()
		got, _, err := h.ingest(ctx, "north", rec, g.batch(t, at+1, at+n))
		if err != nil || got != at+n {
			t.Fatalf("records %d-%d: acknowledged %d, %v", at+1, at+n, got, err)
		}
		at = got
	}
	for range 5 {
		next(a, 2)
	}
	if got := count(a); got != (heads{1, 0}) {
		t.Errorf("five batches at one hub: %+v, want to have asked once", got)
	}
	// In turns. The head that a hub has does not fit the batch, so it asks.
	for range 5 {
		next(b, 1)
		next(a, 1)
	}
	if got := count(a); got.lost != 0 {
		t.Errorf("a batch behind another hub's: %+v, want none lost", got)
	}
	// One hub stores a batch of which the other has half: the other's head fits
	// the batch that comes to it late, and is old. One refused compare-and-set; it is there already.
	before := count(a)
	late := g.batch(t, at+1, at+2)
	next(b, 2)
	if n, _, err := a.ingest(ctx, "north", rec, late); err != nil || n != at {
		t.Errorf("a batch again, at the hub that did not store it: %d %v, want %d", n, err, at)
	}
	if got := count(a); got.lost != before.lost+1 || got.asked != before.asked+1 {
		t.Errorf("an old head cost %+v, was %+v: want one refusal and one question", got, before)
	}
	next(a, 3)
	late = g.batch(t, at+1, at+4) // the same begin, and more in it
	next(b, 2)
	at += 2
	if n, _, err := a.ingest(ctx, "north", rec, late); err != nil || n != at {
		t.Errorf("a batch of which half is there: %d %v, want %d", n, err, at)
	}
	// A gap and a fork are never judged by an old head.
	next(b, 5)
	var gap *gapError
	if _, _, err := a.ingest(ctx, "north", rec, g.batch(t, at+2, at+3)); !errors.As(err, &gap) || gap.expected != at+1 {
		t.Errorf("a gap behind what the other hub stored: %v, want %d expected", err, at+1)
	}
	next(a, g.seq-at)
	for _, h := range []*Hub{a, b} {
		v := verifyGate(t, h, "north", g.seq)
		if v.Duplicates != 0 || v.Gaps != 0 || v.Lost != 0 {
			t.Errorf("%+v", v)
		}
	}
}
