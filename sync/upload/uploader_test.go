package upload

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"greengate/gate"
	"greengate/gate/passage"
)

// memory is a journal in memory.
type memory struct {
	t     testing.TB
	id    string
	mu    sync.Mutex
	all   []passage.Entry
	skip  *passage.SkipReason // why the oldest are gone, nil where Read is to fail
	aside []uint64
	// asideErr is what SetAside returns.
	asideErr error
	keys     []passage.SegmentKey
	oldest   uint64 // records up to here are gone
	acked    uint64
	acks     []uint64
	wake     chan struct{}
}

func newMemory(t testing.TB, n int) *memory {
	t.Helper()
	m := &memory{t: t, id: "north", wake: make(chan struct{}, 1)}
	m.append(n)
	return m
}

func (m *memory) append(n int) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	hub, err := passage.NewHubKey()
	if err != nil {
		m.t.Fatal(err)
	}
	segment := uint64(len(m.keys) + 1)
	s, k, err := passage.NewSegmentSealer(m.id, segment, hub.PublicKey(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	m.keys = append(m.keys, k)
	for range n {
		chain := passage.Genesis(m.id)
		if len(m.all) > 0 {
			chain = m.all[len(m.all)-1].Chain
		}
		e, err := s.Entry(uint64(len(m.all)+1), chain, gate.Record{Kind: gate.DecisionRecord, Reason: gate.Valid, Verdict: gate.Admit, At: time.Unix(1581926399, 0)})
		if err != nil {
			m.t.Fatal(err)
		}
		m.all = append(m.all, e)
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *memory) Read(after uint64, n int) (run passage.Run, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	run.Prev = passage.Genesis(m.id)
	if after < m.oldest {
		if m.skip == nil {
			return run, fmt.Errorf("records behind %d are gone", after)
		}
		run.Skip = &passage.Skip{First: after + 1, Last: m.oldest, Why: *m.skip}
		after = m.oldest
	}
	if after >= uint64(len(m.all)) {
		return run, nil
	}
	if after > 0 {
		run.Prev = m.all[after-1].Chain
	}
	run.Entries = slices.Clone(m.all[after:min(after+uint64(n), uint64(len(m.all)))])
	for i, e := range run.Entries {
		if slices.Contains(m.aside, e.Seq) {
			run.Entries[i] = e.Bury()
		}
	}
	for _, k := range m.keys {
		if k.Segment >= run.Entries[0].Segment && k.Segment <= run.Entries[len(run.Entries)-1].Segment {
			run.Keys = append(run.Keys, k)
		}
	}
	return run, nil
}

func (m *memory) SetAside(seq uint64, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if reason == "" {
		m.t.Errorf("record %d set aside without a reason", seq)
	}
	m.aside = append(m.aside, seq)
	return m.asideErr
}

func (m *memory) Acknowledge(seq uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq <= m.acked || seq > uint64(len(m.all)) {
		m.t.Errorf("acknowledged %d behind %d of %d", seq, m.acked, len(m.all))
	}
	m.acked = seq
	m.acks = append(m.acks, seq)
	return nil
}

func (m *memory) Acknowledged() uint64 { m.mu.Lock(); defer m.mu.Unlock(); return m.acked }
func (m *memory) Last() uint64         { m.mu.Lock(); defer m.mu.Unlock(); return uint64(len(m.all)) }

// hub is a small hub: it keeps what it is sent, each record once.
type hub struct {
	t        testing.TB
	key      crypto.PublicKey
	mu       sync.Mutex
	chain    [32]byte
	stored   uint64
	requests int // all
	batches  int
	contacts int
	packed   int // batches that came compressed
	skipped  uint64
	graves   []uint64
	backlogs []string
	said     []string // the gate's condition
	// arrive sees a batch before anything else does, beside others.
	arrive func(n int)
	passed atomic.Int64 // batches that arrived
	// fault may answer in the hub's place, before or instead of storing.
	fault func(n int, w http.ResponseWriter, r *http.Request) bool
	// after stores, and then may spoil the answer.
	after func(n int, w http.ResponseWriter) bool
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n := h.passed.Add(1); h.arrive != nil {
		h.arrive(int(n))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests++
	h.backlogs = append(h.backlogs, r.Header.Get("Greengate-Backlog"))
	h.said = append(h.said, r.Header.Values("Greengate-Condition")...)
	if h.fault != nil && h.fault(h.requests, w, r) {
		return
	}
	say := func(status int, v map[string]any) {
		v["time"] = time.Now().UTC()
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			h.t.Logf("answer: %v", err)
		}
	}
	if r.URL.Path == "/v1/time" {
		h.contacts++
		say(200, map[string]any{})
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		say(400, map[string]any{"error": "cut off"})
		return
	}
	if body, err = unpack(r, body); err != nil {
		h.t.Errorf("batch: %v", err)
	}
	b, err := passage.ParseBatch(body)
	if err != nil {
		h.t.Errorf("batch: %v", err)
		say(422, map[string]any{"error": "malformed"})
		return
	}
	if err := b.Verify(h.key); err != nil {
		h.t.Errorf("batch: %v", err)
	}
	h.batches++
	if r.Header.Get("Content-Encoding") == "zstd" {
		h.packed++
	}
	switch {
	case b.Skip != nil && b.Skip.First <= h.stored+1:
		h.skipped += b.Skip.Last - h.stored
	case b.First() > h.stored+1:
		say(409, map[string]any{"error": "gap", "expected": h.stored + 1})
		return
	case b.First() == h.stored+1 && b.Prev != h.chain:
		say(409, map[string]any{"error": "fork"})
		return
	}
	for _, e := range b.Entries {
		if e.Tombstone && e.Seq > h.stored {
			h.graves = append(h.graves, e.Seq)
		}
	}
	if b.Last() > h.stored {
		h.stored, h.chain = b.Last(), b.Head()
	}
	if h.after != nil && h.after(h.requests, w) {
		return
	}
	say(200, map[string]any{"acknowledged": h.stored})
}

// unpack undoes the compression that the request names.
func unpack(r *http.Request, body []byte) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "zstd" {
		return body, nil
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(body, nil)
}

// link is a gate and a hub with real TLS between them.
type link struct {
	*Uploader
	hub     *hub
	server  *httptest.Server
	journal *memory
	times   []time.Time
}

func newLink(t *testing.T, records int) *link {
	t.Helper()
	l := newSilentLink(t, records)
	l.server.StartTLS()
	l.trust()
	return l
}

// trust has the gate know the hub's certificate, once the hub serves.
func (l *link) trust() {
	roots := x509.NewCertPool()
	roots.AddCert(l.server.Certificate())
	l.Client, l.URL = NewClient(&tls.Config{RootCAs: roots}), l.server.URL
	l.hub.t.Cleanup(l.Client.CloseIdleConnections)
}

// newSilentLink is a link whose hub does not serve yet.
func newSilentLink(t *testing.T, records int) *link {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t: t, key: public, chain: passage.Genesis("north")}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	m := newMemory(t, records)
	l := &link{hub: h, server: s, journal: m}
	l.Uploader = &Uploader{Journal: m, Gate: "north", Signer: private, Wake: m.wake,
		Timeout: 10 * time.Second, Log: slog.New(slog.DiscardHandler), HubTime: func(t time.Time) { l.times = append(l.times, t) }}
	return l
}

// drain calls Once until nothing is left, and allows so many failures.
func (l *link) drain(t *testing.T, failures int) {
	t.Helper()
	for failed := 0; ; {
		sent, err := l.Once(t.Context())
		if err != nil {
			if failed++; failed > failures {
				t.Fatalf("failure %d: %v", failed, err)
			}
			continue
		}
		if sent == 0 {
			if failed != failures {
				t.Errorf("%d failures, want %d", failed, failures)
			}
			break
		}
	}
	if l.hub.stored != l.journal.Last() || l.journal.Acknowledged() != l.journal.Last() {
		t.Errorf("hub has %d, acknowledged %d, of %d", l.hub.stored, l.journal.Acknowledged(), l.journal.Last())
	}
	if s := l.State(); s.Backlog != 0 || s.Stop != Running || s.LastError != "" || s.Failures != 0 {
		t.Errorf("state %+v", s)
	}
}

func TestBatches(t *testing.T) {
	l := newLink(t, 1201)
	l.drain(t, 0)
	if want := []uint64{500, 1000, 1201}; !slices.Equal(l.journal.acks, want) {
		t.Errorf("acknowledged %v, want %v", l.journal.acks, want)
	}
	if l.hub.backlogs[0] != "1201" || l.hub.backlogs[1] != "701" {
		t.Errorf("backlogs told %v", l.hub.backlogs)
	}
	if len(l.times) == 0 || time.Since(l.times[0]).Abs() > time.Minute {
		t.Errorf("hub's time %v", l.times)
	}
}

// flow sends as Run does, without its pauses, and returns how many exchanges failed.
func (l *link) flow(t *testing.T) (failed int) {
	t.Helper()
	for range 1000 {
		sent, err := l.Once(t.Context())
		if err == nil && sent == passage.MaxBatchRecords {
			err = l.stream(t.Context())
		}
		if err != nil {
			failed++
		} else if sent == 0 {
			return failed
		}
	}
	t.Fatalf("no end: %+v", l.State())
	return failed
}

// A backlog goes out with some batches on their way at once, and each record is
// acknowledged in order.
func TestStream(t *testing.T) {
	l := newLink(t, 3003)
	l.Timeout = time.Minute
	third := make(chan struct{})
	l.hub.arrive = func(n int) {
		switch n {
		case 2:
			<-third // it comes while this one has no answer
		case 3:
			close(third)
		}
	}
	if failed := l.flow(t); failed != 0 {
		t.Errorf("%d failures: %+v", failed, l.State())
	}
	l.drain(t, 0)
	if !slices.IsSorted(l.journal.acks) || l.journal.acks[0] != 500 {
		t.Errorf("acknowledged %v", l.journal.acks)
	}
	if l.hub.backlogs[0] != "3003" || !slices.Contains(l.hub.backlogs, "2503") || !slices.Contains(l.hub.backlogs, "2003") {
		t.Errorf("backlogs told %v, want what waits behind each batch before it", l.hub.backlogs)
	}
}

// A batch that overtakes the one before it is a gap at the hub, and is sent
// again in its turn. That stops nothing.
func TestStreamOvertaken(t *testing.T) {
	l := newLink(t, 3003)
	l.Timeout = time.Minute
	answered := make(chan struct{})
	l.hub.arrive = func(n int) {
		if n == 2 {
			<-answered
		}
	}
	gaps := 0
	l.hub.fault = func(_ int, _ http.ResponseWriter, _ *http.Request) bool {
		if l.hub.passed.Load() == 3 && gaps == 0 {
			gaps++
			time.AfterFunc(0, func() {
				l.hub.mu.Lock() // once the third has its answer
				defer l.hub.mu.Unlock()
				close(answered)
			})
		}
		return false
	}
	if failed := l.flow(t); failed != 0 {
		t.Errorf("%d failures: %+v", failed, l.State())
	}
	l.drain(t, 0)
	if gaps != 1 {
		t.Error("nothing was overtaken")
	}
}

// Whatever befalls the batches on their way, each record arrives once.
func TestStreamThroughFaults(t *testing.T) {
	l := newLink(t, 6_001)
	l.hub.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n % 7 {
		case 2:
			w.WriteHeader(500)
			return true
		case 4:
			w.WriteHeader(413)
			return true
		case 5:
			w.WriteHeader(429)
			return true
		}
		return false
	}
	l.hub.after = func(n int, w http.ResponseWriter) bool { return n%7 == 6 && cut2(w) }
	failed := l.flow(t)
	if failed == 0 {
		t.Error("nothing failed")
	}
	l.hub.fault, l.hub.after = nil, nil
	l.drain(t, 0)
	if s := l.State(); s.Aside != 0 {
		t.Errorf("%d records set aside by a hub that was in trouble", s.Aside)
	}
}

func TestFaults(t *testing.T) {
	cut := func(w http.ResponseWriter) bool {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		c.Close()
		return true
	}
	status := func(code int, body string) func(int, http.ResponseWriter, *http.Request) bool {
		return func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n != 1 {
				return false
			}
			w.WriteHeader(code)
			fmt.Fprint(w, body)
			return true
		}
	}
	for _, c := range []struct {
		name     string
		failures int
		fault    func(int, http.ResponseWriter, *http.Request) bool
		after    func(int, http.ResponseWriter) bool
	}{
		{"answer lost after it was stored", 1, nil, func(n int, w http.ResponseWriter) bool { return n == 2 && cut(w) }},
		{"answer cut in the middle", 1, nil, func(n int, w http.ResponseWriter) bool {
			if n != 2 {
				return false
			}
			w.Header().Set("Content-Length", "60")
			fmt.Fprint(w, `{"acknowledged":50`)
			return cut2(w)
		}},
		{"connection cut in the body", 1, func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n != 1 {
				return false
			}
			if _, err := io.ReadFull(r.Body, make([]byte, 100)); err != nil {
				panic(http.ErrAbortHandler)
			}
			return cut(w)
		}, nil},
		{"500", 1, status(500, "oops"), nil},
		{"502 with a page", 1, status(502, "<html>bad gateway"), nil},
		{"429", 1, status(429, ""), nil},
		{"503", 1, status(503, ""), nil},
		{"a captive portal", 1, status(200, "<html>log in here"), nil},
		{"a redirect", 1, status(302, ""), nil},
		{"nothing acknowledged", 1, status(200, `{"acknowledged":0}`), nil},
		{"endless answer", 1, func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 1 {
				fmt.Fprint(w, strings.Repeat(" ", maxAnswer*4))
			}
			return n == 1
		}, nil},
		{"more acknowledged than was sent", 0, nil, func(n int, w http.ResponseWriter) bool {
			if n == 1 {
				fmt.Fprint(w, `{"acknowledged":1000000}`)
			}
			return n == 1
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLink(t, 1100)
			l.hub.fault, l.hub.after = c.fault, c.after
			l.drain(t, c.failures)
		})
	}
}

// cut2 ends the connection of an answer that has begun.
func cut2(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }

func TestHalfOpenConnection(t *testing.T) {
	l := newLink(t, 3)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	l.Timeout = 50 * time.Millisecond
	// Not only the first request: on a slow machine the deadline may strike
	// before one has reached the hub at all.
	hung := true
	l.hub.fault = func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		if !hung {
			return false
		}
		l.hub.mu.Unlock() // the others go on
		select {
		case <-release:
		case <-r.Context().Done():
		}
		l.hub.mu.Lock()
		return true
	}
	if _, err := l.Once(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("hung hub: %v, want a deadline", err)
	}
	l.hub.mu.Lock()
	hung = false
	l.hub.mu.Unlock()
	l.Timeout = time.Minute
	l.drain(t, 0)
}

func TestForbiddenStopsAndLosesNothing(t *testing.T) {
	l := newLink(t, 5)
	forbidden := true
	l.hub.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if forbidden {
			w.WriteHeader(403)
		}
		return forbidden
	}
	for range 3 {
		if _, err := l.Once(t.Context()); !errors.Is(err, ErrForbidden) {
			t.Fatalf("got %v, want ErrForbidden", err)
		}
	}
	if s := l.State(); s.Stop != StopForbidden || s.Backlog != 5 || s.LastError == "" || s.Failures != 3 {
		t.Errorf("state %+v", s)
	}
	if l.hub.batches != 0 {
		t.Errorf("%d batches taken in", l.hub.batches)
	}
	forbidden = false
	l.drain(t, 0)
}

// What the hub said when it did not take something stands in the state, in
// words that a terminal may show, until it takes the next.
func TestRefusal(t *testing.T) {
	for _, c := range []struct {
		status   int
		body     string
		word     string
		expected uint64
	}{
		{401, `{"error":"certificate needed"}`, "certificate needed", 0},
		{403, `{"error":"not this gate's batch"}`, "not this gate's batch", 0},
		{403, "<html>blocked by the proxy</html>", "", 0},
		{409, `{"error":"gap","expected":900}`, "gap", 900},
		{409, `{"error":"fork"}`, "fork", 0},
		{422, `{"error":"malformed"}`, "malformed", 0},
		{429, `{"error":"too many"}`, "too many", 0},
		{503, `{"error":"storage away"}`, "storage away", 0},
		{500, "{\"error\":\"\\u001b[2J\\u738b\"}", "?[2J?", 0},
		{502, `{"error":"` + strings.Repeat("x", 1000) + `"}`, strings.Repeat("x", maxWord), 0},
	} {
		l := newLink(t, 1)
		refuse := true
		l.hub.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if refuse {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}
			return refuse
		}
		if _, err := l.Once(t.Context()); err == nil {
			t.Fatalf("%d: no error", c.status)
		}
		got := l.State().Refusal
		if got.Status != c.status || got.Word != c.word || got.Expected != c.expected || time.Since(got.At) > time.Hour {
			t.Errorf("%d %s: %+v", c.status, c.body, got)
		}
		refuse = false
		l.drain(t, 0)
		if got := l.State().Refusal; got != (Refusal{}) {
			t.Errorf("%d: after it was taken: %+v", c.status, got)
		}
	}
}

// A connection whose certificate was refused is closed, although the hub would
// keep it open, and the next exchange makes another, with whatever certificate
// is in force then.
func TestRefusedConnectionIsClosed(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		l := newSilentLink(t, 1)
		var from []string
		l.hub.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
			from = append(from, r.RemoteAddr)
			if n == 2 {
				w.WriteHeader(status)
				fmt.Fprint(w, `{"error":"forbidden"}`)
			}
			return n == 2
		}
		closed := make(chan string, 8)
		l.server.Config.ConnState = func(c net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				closed <- c.RemoteAddr().String()
			}
		}
		l.server.StartTLS()
		l.trust()
		if sent, err := l.Once(t.Context()); err != nil || sent != 1 {
			t.Fatalf("%d: the first batch: %d %v", status, sent, err)
		}
		l.journal.append(1)
		if _, err := l.Once(t.Context()); !errors.Is(err, ErrForbidden) {
			t.Fatalf("%d: %v, want ErrForbidden", status, err)
		}
		// Nothing more is asked, and yet it ends, long before an idle one would.
		select {
		case gone := <-closed:
			if gone != from[1] || from[1] != from[0] {
				t.Errorf("%d: %s was closed, refused was %v", status, gone, from)
			}
		case <-time.After(60 * time.Second):
			t.Fatalf("%d: the refused connection is held open", status)
		}
		l.drain(t, 0)
		if from[2] == from[1] {
			t.Errorf("%d: the refused connection was used again: %v", status, from)
		}
	}
}

// TestSlowLine: a hub for which a batch comes too slowly gets half of it the next
// time, down to a single record, and no record is ever set aside for it.
func TestSlowLine(t *testing.T) {
	l := newLink(t, 40)
	slow := true
	l.hub.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if !slow || r.URL.Path != "/v1/passages" {
			return false
		}
		w.WriteHeader(http.StatusRequestTimeout)
		fmt.Fprint(w, `{"error":"body cut off or too slow"}`)
		return true
	}
	for _, most := range []int{40, 20, 10, 5, 2, 1, 1, 1, 1, 1} {
		if _, err := l.Once(t.Context()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("batch 1-%d: ", most)) {
			t.Fatalf("%v, want a batch of %d", err, most)
		}
	}
	if s := l.State(); s.Aside != 0 || s.Stop != "" || s.Backlog != 40 {
		t.Errorf("state %+v: want nothing set aside, and no stop", s)
	}
	slow = false
	for l.State().Backlog > 0 {
		if _, err := l.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if l.hub.stored != 40 || len(l.hub.graves) != 0 {
		t.Errorf("the hub has %d of 40 records and %d tombstones", l.hub.stored, len(l.hub.graves))
	}
}

// TestRefusedRecord: the batch is halved until the record stands alone, and what
// is before it goes out. A hub that was only in trouble gets the record itself;
// from one that refuses it again and again it is set aside, and its tombstone
// and what is behind it go out.
func TestRefusedRecord(t *testing.T) {
	for _, code := range []int{400, 413, 422} {
		for _, forGood := range []bool{false, true} {
			l := newLink(t, 600)
			poison := true
			l.hub.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v1/passages" {
					return false
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				if body, err = unpack(r, body); err != nil {
					t.Error(err)
				}
				b, err := passage.ParseBatch(body)
				if err != nil {
					t.Error(err)
					return false
				}
				if poison && b.First() <= 321 && b.Last() >= 321 && !b.Entries[321-b.First()].Tombstone {
					w.WriteHeader(code)
					fmt.Fprint(w, `{"error":"unparsable"}`)
					return true
				}
				return false
			}
			for try := 1; try < maxRefusals; try++ {
				var err error
				for err == nil {
					_, err = l.Once(t.Context())
				}
				if !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), "321") {
					t.Fatalf("%d: %v, want ErrRecord for 321", code, err)
				}
				if s := l.State(); s.Stop != StopRecord || s.Record != 321 || s.Acknowledged != 320 || s.Backlog != 280 || s.Aside != 0 {
					t.Errorf("%d: state %+v", code, s)
				}
			}
			poison = forGood
			l.drain(t, 0)
			s := l.State()
			if !forGood && (s.Aside != 0 || len(l.hub.graves) != 0) {
				t.Errorf("%d: a hub that was in trouble for a while gets tombstones %v, state %+v", code, l.hub.graves, s)
			}
			if forGood && (s.Aside != 1 || s.LastAside != 321 || !strings.Contains(s.LastAsideError, "unparsable") || !slices.Equal(l.hub.graves, []uint64{321})) {
				t.Errorf("%d: tombstones %v, state %+v; want 321", code, l.hub.graves, s)
			}
		}
	}
}

// A journal that cannot set the record aside says so, and nothing is skipped.
func TestRefusedRecordThatCannotBeSetAside(t *testing.T) {
	l := newLink(t, 3)
	l.journal.asideErr = errors.New("disk full")
	l.hub.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(422); return true }
	var err error
	for range maxRefusals {
		_, err = l.Once(t.Context())
	}
	if !errors.Is(err, l.journal.asideErr) || !errors.Is(err, ErrRecord) {
		t.Errorf("%v, want what the journal said", err)
	}
	if s := l.State(); s.Acknowledged != 0 || s.Aside != 0 || s.Backlog != 3 {
		t.Errorf("state %+v", s)
	}
}

// Records that the journal dropped are told as such, and the rest goes on.
func TestSkip(t *testing.T) {
	l := newLink(t, 900)
	why := passage.Dropped
	l.journal.oldest, l.journal.skip = 350, &why
	l.hub.chain = l.journal.all[349].Chain // what it cannot check
	l.drain(t, 0)
	if l.hub.skipped != 350 {
		t.Errorf("the hub was told of %d records that are no more, want 350", l.hub.skipped)
	}
}

// Batches are compressed, unless the hub does not know that.
func TestCompression(t *testing.T) {
	l := newLink(t, 700)
	l.drain(t, 0)
	if l.hub.packed != l.hub.batches {
		t.Errorf("%d of %d batches compressed", l.hub.packed, l.hub.batches)
	}
	l = newLink(t, 700)
	l.hub.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Content-Encoding") == "" {
			return false
		}
		w.WriteHeader(http.StatusUnsupportedMediaType)
		return true
	}
	l.drain(t, 0)
	if l.hub.packed != 0 || l.hub.requests != 1+l.hub.batches+l.hub.contacts {
		t.Errorf("%d compressed, %d requests for %d batches", l.hub.packed, l.hub.requests, l.hub.batches)
	}
}

func TestHubLostItsEnd(t *testing.T) {
	l := newLink(t, 900)
	l.drain(t, 0)
	l.journal.append(10)
	// The hub was restored from a copy of yesterday.
	l.hub.stored, l.hub.chain = 300, l.journal.all[299].Chain
	l.drain(t, 0)

	// Where the journal no longer has it, that is said and nothing is skipped.
	l.journal.append(10)
	l.journal.oldest = 700
	l.hub.stored, l.hub.chain = 300, l.journal.all[299].Chain
	if _, err := l.Once(t.Context()); !errors.Is(err, ErrGap) {
		t.Errorf("got %v, want ErrGap", err)
	}
	if s := l.State(); s.Stop != StopGap || s.Backlog != 10 {
		t.Errorf("state %+v", s)
	}

	// The hub is asked each time, so that it sees the gate, and once it was
	// restored from a better copy the passages go on.
	before := l.hub.batches
	if _, err := l.Once(t.Context()); !errors.Is(err, ErrGap) || l.hub.batches == before {
		t.Errorf("got %v after %d batches, want ErrGap after one more than %d", err, l.hub.batches, before)
	}
	l.hub.stored, l.hub.chain = 910, l.journal.all[909].Chain
	l.drain(t, 0)
}

// TestUnreadableJournal: a gate that cannot read its passages still tells the
// hub that it lives, and is told the time.
func TestUnreadableJournal(t *testing.T) {
	l := newLink(t, 5)
	l.journal.oldest = 3
	if _, err := l.Once(t.Context()); err == nil {
		t.Error("no error although the journal cannot be read")
	}
	if l.hub.contacts != 1 || l.hub.batches != 0 || len(l.times) != 1 {
		t.Errorf("%d contacts, %d batches, told the time %d times; want 1, 0 and 1", l.hub.contacts, l.hub.batches, len(l.times))
	}
	if s := l.State(); s.Failures != 1 || s.LastError == "" || s.LastSuccess.IsZero() {
		t.Errorf("state %+v", s)
	}
}

func TestFork(t *testing.T) {
	l := newLink(t, 5)
	l.hub.chain = [32]byte{1}
	if _, err := l.Once(t.Context()); !errors.Is(err, ErrFork) {
		t.Errorf("got %v, want ErrFork", err)
	}
	if s := l.State(); s.Stop != StopFork || s.Backlog != 5 {
		t.Errorf("state %+v", s)
	}
}

func TestForeignHubIsNotSpokenTo(t *testing.T) {
	l := newLink(t, 5)
	l.Client = NewClient(&tls.Config{RootCAs: x509.NewCertPool()})
	var unknown x509.UnknownAuthorityError
	if _, err := l.Once(t.Context()); !errors.As(err, &unknown) {
		t.Errorf("got %v, want an unknown authority", err)
	}
	if l.hub.requests != 0 {
		t.Error("a request reached it")
	}
}

// roundTrip is a hub without a network, for tests in a bubble of time.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func reply(status int, header http.Header, body string) (*http.Response, error) {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// run starts an uploader in the bubble.
func run(t *testing.T, m *memory, f roundTrip) *Uploader {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u := &Uploader{Journal: m, Client: &http.Client{Transport: f}, URL: "https://hub", Gate: "north", Signer: private, Wake: m.wake,
		Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	return u
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, last := time.Now(), time.Now()
		var pauses []time.Duration
		var down atomic.Bool
		down.Store(true)
		m := newMemory(t, 3)
		u := run(t, m, func(r *http.Request) (*http.Response, error) {
			if down.Load() {
				pauses = append(pauses, time.Since(last))
				last = time.Now()
				return nil, &net.OpError{Op: "dial", Err: errors.New("network is unreachable")}
			}
			return reply(200, nil, `{"acknowledged":3,"time":"2020-02-17T00:00:00Z"}`)
		})
		for time.Since(start) < time.Hour {
			time.Sleep(time.Minute) // in the bubble
		}
		synctest.Wait()
		for i, p := range pauses[1:] {
			most := MaxBackoff
			if i < 9 {
				most = min(MinBackoff<<i, MaxBackoff)
			}
			if p < most/2 || p > most {
				t.Errorf("pause %d is %s, want %s to %s", i+1, p, most/2, most)
			}
		}
		if s := u.State(); s.Failures != len(pauses) || s.NextTry.Before(time.Now()) || s.Backlog != 3 {
			t.Errorf("state %+v after %d failures", s, len(pauses))
		}
		down.Store(false)
		time.Sleep(MaxBackoff)
		synctest.Wait()
		if s := u.State(); s.Backlog != 0 || s.Failures != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		header      string
		least, most time.Duration
	}{
		{"120", 120 * time.Second, 120 * time.Second},
		{"0", MinBackoff / 2, MinBackoff},
		{"-5", MinBackoff / 2, MinBackoff},
		{"soon", MinBackoff / 2, MinBackoff},
		{"99999999", MaxRetryAfter, MaxRetryAfter},
		{"date", 29 * time.Second, 31 * time.Second},
	} {
		for _, status := range []int{429, 503} {
			t.Run(c.header+" "+strconv.Itoa(status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					var second time.Duration
					n := 0
					m := newMemory(t, 1)
					run(t, m, func(r *http.Request) (*http.Response, error) {
						if n++; n == 1 {
							h := c.header
							if h == "date" {
								h = time.Now().UTC().Add(30 * time.Second).Format(http.TimeFormat)
							}
							return reply(status, http.Header{"Retry-After": {h}}, "")
						}
						if n == 2 {
							second = time.Since(start)
						}
						return reply(200, nil, `{"acknowledged":1}`)
					})
					time.Sleep(2 * time.Hour) // in the bubble
					synctest.Wait()
					if second < c.least || second > c.most {
						t.Errorf("came back after %s, want %s to %s", second, c.least, c.most)
					}
				})
			})
		}
	}
}

// With each exchange, a batch or a bare contact, the gate says how it is at
// that moment; one that is not asked says nothing.
func TestConditionIsTold(t *testing.T) {
	l := newLink(t, 501)
	l.drain(t, 0)
	if len(l.hub.said) != 0 {
		t.Errorf("nobody asked, and yet it said %q", l.hub.said)
	}
	l.journal.append(1)
	c := gate.Condition{Lists: gate.Fresh, Age: time.Minute, Held: 12, Clock: gate.ClockNetwork, Policy: 7, Map: 3}
	l.Condition = func() gate.Condition { return c }
	if _, err := l.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Lists, c.Age, c.Clock = gate.Stale, 25*time.Hour, gate.ClockFloor
	l.contacted = time.Time{}
	if _, err := l.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"lists=fresh age=60 held=12 clock=network policy=7 map=3", "lists=stale age=90000 held=12 clock=floor policy=7 map=3"}
	if !slices.Equal(l.hub.said, want) {
		t.Errorf("said %q, want %q", l.hub.said, want)
	}
}

func TestHeartbeatAndWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var said []string
		m := newMemory(t, 0)
		run(t, m, func(r *http.Request) (*http.Response, error) {
			said = append(said, fmt.Sprintf("%s %s", time.Since(start), r.URL.Path))
			return reply(200, nil, fmt.Sprintf(`{"acknowledged":%d}`, m.Last()))
		})
		time.Sleep(90 * time.Second) // in the bubble
		m.append(1)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		want := []string{"0s /v1/time", "1m0s /v1/time", "1m30s /v1/passages", "2m30s /v1/time"}
		if !slices.Equal(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
	})
}

func TestForbiddenGateAsksEveryFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passages, contacts int
		m := newMemory(t, 4)
		run(t, m, func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/v1/passages" {
				passages++
			} else {
				contacts++
			}
			return reply(401, nil, "")
		})
		time.Sleep(time.Hour) // in the bubble
		synctest.Wait()
		if passages != 1 || contacts < 11 || contacts > 24 {
			t.Errorf("in an hour: %d batches and %d contacts, want 1 and 11 to 24", passages, contacts)
		}
		if m.Acknowledged() != 0 {
			t.Error("something was acknowledged")
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, `{"acknowledged":2,"time":"2020-02-17T00:00:00Z"}`, "")
	f.Add(409, `{"error":"gap","expected":18446744073709551615}`, "")
	f.Add(409, `{"error":"gap","expected":1}`, "")
	f.Add(503, ``, "Wed, 21 Oct 2099 07:28:00 GMT")
	f.Add(200, `{"acknowledged":-1}`, "")
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, body, retry string) {
		m := newMemory(t, 3)
		m.acked = 1
		u := &Uploader{Journal: m, URL: "https://hub", Gate: "north", Signer: private, Log: slog.New(slog.DiscardHandler),
			Client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return reply(status, http.Header{"Retry-After": {retry}}, body)
			}), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		for range 3 {
			sent, err := u.Once(t.Context())
			if err != nil {
				if d := u.pause(err); d < 0 || d > MaxRetryAfter {
					t.Errorf("pause %s", d)
				}
			}
			if sent < 0 || sent > 2 || status != 200 && (sent != 0 || m.Acknowledged() != 1) {
				t.Errorf("status %d: sent %d, acknowledged %d", status, sent, m.Acknowledged())
			}
		}
	})
}
