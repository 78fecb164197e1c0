package wire

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
	"greengate/store"
	"greengate/store/journal"
	"greengate/sync/enrol"
	"greengate/sync/hub"
	"greengate/sync/trust"
	"greengate/sync/upload"
)

// faultsDoc is the table in words; TestFaults holds it to the rows.
const faultsDoc = "../../docs/faults.md"

const faultsHead = `# Faults on the way to the hub, and what happened

Each line is played by TestFaults (cmd/wire): a real journal and uploader, a real
hub on JetStream, real TLS, and a server, a proxy or a disk that misbehaves. While
the upload fails the signed lists come, which each line asserts. Then the fault
ends, and the hub's stored history is replayed: chain, signatures, and each
sequence once. ` + "`make faults`" + ` plays them (as root: two lines fill a small file system)
and writes this page. How long the gate waits between two tries is shown by
TestBackoff and TestRetryAfter (sync/upload).

| fault | what the gate did | written | lost | doubled |
|---|---|---|---|---|
`

// faultRow is one line of the table.
type faultRow struct {
	fault, did string
	// play makes the fault happen, asserts what the gate does, and ends it.
	play func(*faultScene)
}

// TestFaults plays the table of faults. Its lines wait for one another's
// timeouts no more than a day of faults would: all are played at once.
func TestFaults(t *testing.T) {
	site := newFaultSite(t, t.TempDir())
	rows := faultRows()
	lines := make([]string, len(rows))
	var playing sync.WaitGroup
	for i, row := range rows {
		playing.Go(func() {
			t.Run(strings.ReplaceAll(row.fault, " ", "_"), func(t *testing.T) {
				// Where a row cannot be played on this machine its line stays as it is.
				written := "40"
				if strings.Contains(row.fault, "gate's disk") {
					written = "until full"
				}
				lines[i] = fmt.Sprintf("| %s | %s | %s | 0 | 0 |\n", row.fault, row.did, written)
				s := newFaultScene(t, site, fmt.Sprintf("gate-%d", i+1))
				row.play(s)
				v := s.found()
				lost, doubled := s.written-min(s.written, v.Records), v.Duplicates
				t.Logf("%s: written %d, found %d, lost %d, doubled %d", row.fault, s.written, v.Records, lost, doubled)
				if !v.OK() || v.Records != s.written || v.Lost != 0 || v.Gaps != 0 || doubled != 0 {
					t.Errorf("written %d, at the hub %+v", s.written, v)
				}
				if u := s.up.State(); u.Backlog != 0 || u.Stop != upload.Running || u.Failures != 0 || u.LastError != "" {
					t.Errorf("at the end the upload is %+v", u)
				}
				if !s.listed {
					t.Error("nobody looked whether lists came meanwhile")
				}
				if written != "until full" {
					written = fmt.Sprint(s.written)
				}
				lines[i] = fmt.Sprintf("| %s | %s | %s | %d | %d |\n", row.fault, row.did, written, lost, doubled)
			})
		})
	}
	playing.Wait()
	page := faultsHead + strings.Join(lines, "")
	t.Logf("\n%s", page)
	if path := os.Getenv("GREENGATE_FAULTS"); path != "" {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	doc, err := os.ReadFile(faultsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !t.Failed() && string(doc) != page {
		t.Errorf("%s is not what happened; `make faults` writes it anew", faultsDoc)
	}
}

// faultScene is a gate on its way to a hub, with trouble between.
type faultScene struct {
	testing.TB
	site    *faultSite
	id      *enrol.Identity
	dir     string
	log     *journal.Log
	close   func() // the journal
	clock   *gate.WallClock
	client  *http.Client
	trust   *trust.Client
	db      *store.DB
	up      *upload.Uploader
	written uint64
	listed  bool
	// at is where the hub is looked into afterwards, the site's unless a row has its own.
	at func(hub.GateRef) (hub.Verification, error)
}

func newFaultScene(t testing.TB, site *faultSite, name string) *faultScene {
	t.Helper()
	s := &faultScene{TB: t, dir: t.TempDir()}
	s.at = func(r hub.GateRef) (hub.Verification, error) { return site.hub.Verify(t.Context(), r) }
	s.equip(site, name, s.dir)
	return s
}

// equip enrols the scene's gate at a hub and gives it all that it has.
func (s *faultScene) equip(site *faultSite, name, dir string) {
	s.Helper()
	s.site, s.id, s.up = site, site.gate(s.TB, name), nil
	s.clock = gate.NewWallClock(time.Now, func() bool { return true }, slog.New(slog.DiscardHandler))
	config, err := s.id.TLSConfig(s.clock)
	s.must(err)
	client := upload.NewClient(config)
	db, err := store.Open(filepath.Join(dir, "lists.db"), store.Options{})
	s.must(err)
	s.Cleanup(func() {
		client.CloseIdleConnections()
		s.must(db.Close())
	})
	s.client, s.db = client, db
	s.listsFrom(s.id.HubURL)
	s.open(filepath.Join(dir, "journal"), journal.Options{})
}

func (s *faultScene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// open opens the journal and an uploader on it, as a start of the gate does.
func (s *faultScene) open(dir string, o journal.Options) {
	s.Helper()
	s.must(os.MkdirAll(dir, 0o700))
	key, err := passage.ParseHubKey(s.id.HubKey)
	s.must(err)
	o.Gate, o.Hub, o.Rand = s.id.Gate, key, rand.Reader
	log, err := journal.Open(dir, o)
	s.must(err)
	s.log, s.close = log, sync.OnceFunc(func() { s.must(log.Close()) })
	s.Cleanup(s.close)
	signer, err := s.id.Signer()
	s.must(err)
	at := s.id.HubURL
	if s.up != nil {
		at = s.up.URL
	}
	s.up = &upload.Uploader{Journal: outgoing{s.log}, Client: s.client, URL: at, Gate: s.id.Gate, Signer: signer,
		HubTime: s.clock.Confirm, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)}
}

// listsFrom says which server lists come from: through the same client as passages go.
func (s *faultScene) listsFrom(server string) {
	s.Helper()
	fetcher, err := trust.NewHTTPS(server+"/lists", &http.Client{Transport: s.client.Transport})
	s.must(err)
	s.trust, err = trust.New(trust.Config{Root: s.id.TUFRoot, Fetcher: fetcher, Store: trusted{s.db, s.clock.Floor}, Clock: s.clock,
		Regions: []string{"33"}, Log: slog.New(slog.DiscardHandler)})
	s.must(err)
}

// write appends records to the journal.
func (s *faultScene) write(n int) {
	s.Helper()
	for range n {
		s.must(s.append())
	}
}

func (s *faultScene) append() error {
	_, err := s.log.Append(gate.Record{Kind: gate.DecisionRecord, Reason: gate.Valid, Verdict: gate.Admit, At: time.Now(), Clock: gate.ClockConfirmed})
	if err == nil {
		s.written++
	}
	return err
}

// fails makes one exchange, which must not succeed nor acknowledge anything, and
// leaves the upload stopped for this reason, or for none.
func (s *faultScene) fails(stop upload.Stop, what string) error {
	s.Helper()
	before := s.up.State()
	_, err := s.up.Once(s.Context())
	if err == nil {
		s.Fatalf("%s: the upload succeeded", what)
	}
	after := s.up.State()
	if after.Stop != stop || after.Failures != before.Failures+1 || after.LastError == "" || after.Acknowledged != before.Acknowledged {
		s.Errorf("%s: %v, state %+v", what, err, after)
	}
	return err
}

// lists asserts that lists come, now: all anew.
func (s *faultScene) lists() {
	s.Helper()
	report, err := s.trust.Once(s.Context())
	if err != nil || len(s.db.Lists()) == 0 {
		s.Errorf("lists meanwhile: %+v, %v", report, err)
	}
	s.listed = true
}

// drain sends all there is, without a failure.
func (s *faultScene) drain() {
	s.Helper()
	for {
		sent, err := s.up.Once(s.Context())
		if err != nil {
			s.Fatalf("after the fault: %v", err)
		}
		if sent == 0 {
			return
		}
	}
}

// found replays what the hub has.
func (s *faultScene) found() hub.Verification {
	s.Helper()
	v, err := s.at(hub.GateRef{Gate: s.id.Gate, By: "test"})
	s.must(err)
	return v
}

// until runs the uploader as the gate does, until its state is as wanted.
func (s *faultScene) until(what string, is func(upload.State) bool) upload.State {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- s.up.Run(ctx) }()
	defer cancel() // also where it is waited for in vain
	s.eventually(what, func() bool { return is(s.up.State()) })
	state := s.up.State()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		s.Errorf("Run: %v", err)
	}
	return state
}

// eventually polls what no event tells of.
func (s *faultScene) eventually(what string, is func() bool) {
	s.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Minute)
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			s.Fatalf("%s: it never was so", what)
		}
	}
}

// answered is a row in which a server answers passages so, and nothing else.
func answered(status int, header http.Header, body string, check func(*faultScene, error)) func(*faultScene) {
	return func(s *faultScene) {
		m := s.middle()
		m.play(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			for k, v := range header {
				w.Header()[k] = v
			}
			w.WriteHeader(status)
			// The gate may have gone: it is not the subject here.
			_, _ = io.WriteString(w, body)
			return true
		})
		s.write(20)
		stop := upload.Running
		if status == http.StatusForbidden {
			stop = upload.StopForbidden
		}
		err := s.fails(stop, "first try")
		check(s, err)
		s.lists()
		s.write(20)
		s.fails(stop, "second try")
		if v := s.found(); v.Records != 0 {
			s.Errorf("the hub has %d records", v.Records)
		}
		m.play(nil)
		s.drain()
	}
}

// told is a row in which a busy server says when to come back.
func told(status int, retry func() string, least, most time.Duration) func(*faultScene) {
	return func(s *faultScene) {
		m := s.middle()
		m.play(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.Header().Set("Retry-After", retry())
			w.WriteHeader(status)
			return true
		})
		s.write(40)
		begun := time.Now()
		state := s.until("a pause", func(u upload.State) bool { return !u.NextTry.IsZero() })
		if n := m.played.Load(); n != 1 {
			s.Errorf("asked %d times before the pause, want once", n)
		}
		if wait := state.NextTry.Sub(begun); wait < least || wait > most+time.Since(begun) {
			s.Errorf("comes back after %s, want %s to %s", wait, least, most)
		}
		s.lists()
		m.play(nil)
		s.drain()
	}
}

// mentions asserts words of an error.
func mentions(words string) func(*faultScene, error) {
	return func(s *faultScene, err error) {
		s.Helper()
		if !strings.Contains(err.Error(), words) {
			s.Errorf("%q, want a word of %q", err, words)
		}
	}
}

func faultRows() []faultRow {
	const busy = "waited as told; sent it again"
	return []faultRow{
		{"answer lost after the hub stored the batch", "sent the batch again; the hub knew it", func(s *faultScene) {
			m := s.middle()
			m.play(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
				m.pass(s.TB, r, body)
				panic(http.ErrAbortHandler)
			})
			s.write(40)
			s.fails(upload.Running, "lost answer")
			if v := s.found(); v.Records != 40 {
				s.Errorf("the hub has %d records, want all 40", v.Records)
			}
			s.lists()
			m.play(nil)
			s.drain()
		}},
		{"429 with Retry-After in seconds", busy, told(429, func() string { return "120" }, 2*time.Minute, 2*time.Minute)},
		{"503 with Retry-After as a date", busy, told(503, func() string { return time.Now().UTC().Add(10 * time.Minute).Format(http.TimeFormat) }, 9*time.Minute, 10*time.Minute)},
		{"429 that asks for three years", "waited an hour at most; sent it again", told(429, func() string { return "99999999" }, time.Hour, time.Hour)},
		{"500", "kept the batch and sent it again", answered(500, nil, "oops", mentions("500"))},
		{"a proxy's page with status 200", "took it for no answer; nothing acknowledged", answered(200, http.Header{"Content-Type": {"text/html"}}, "<html>log in here", mentions("answer with status 200"))},
		{"a proxy's page with status 502", "kept the batch and sent it again", answered(502, http.Header{"Content-Type": {"text/html"}}, "<html>bad gateway", mentions("502"))},
		{"a redirect to another server", "did not follow; nothing acknowledged", answered(302, http.Header{"Location": {"https://192.0.2.1/"}}, "", mentions("302"))},
		{"403", "stopped, said so (`forbidden`), kept everything; went on once it was welcome", answered(403, nil, "", func(s *faultScene, err error) {
			if !errors.Is(err, upload.ErrForbidden) {
				s.Errorf("%v, want ErrForbidden", err)
			}
		})},
		{"400 for one record, again and again", "halved the batch to find it, tried three times, set it aside; its tombstone and all others went out, also after a restart", poisoned},
		{"413 for what is longer than 4 kB", "halved the batch until it fitted; nothing set aside", func(s *faultScene) {
			m := s.middle()
			m.play(func(w http.ResponseWriter, _ *http.Request, body []byte) bool {
				if len(body) > 4000 {
					w.WriteHeader(http.StatusRequestEntityTooLarge)
					return true
				}
				return false
			})
			s.write(40)
			s.lists()
			s.drain()
			if m.played.Load() < 2 || s.up.State().Aside != 0 {
				s.Errorf("%d batches, state %+v", m.played.Load(), s.up.State())
			}
		}},
		{"415 for compressed batches", "sent them plain from then on", func(s *faultScene) {
			m := s.middle()
			m.play(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Header.Get("Content-Encoding") == "" {
					return false
				}
				w.WriteHeader(http.StatusUnsupportedMediaType)
				return true
			})
			s.write(40)
			s.lists()
			s.drain()
			if m.played.Load() != 2 {
				s.Errorf("%d requests, want one refused and one plain", m.played.Load())
			}
		}},
		{"answer cut in the middle", "sent the batch again; the hub knew it", func(s *faultScene) {
			m := s.middle()
			m.play(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
				_, answer := m.pass(s.TB, r, body)
				w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
				// The connection ends here, on purpose, whatever became of this.
				_, _ = w.Write(answer[:len(answer)/2])
				panic(http.ErrAbortHandler)
			})
			s.write(40)
			s.fails(upload.Running, "half an answer")
			s.lists()
			m.play(nil)
			s.drain()
		}},
		{"answer without end", "read 4 kB of it and gave it up", answered(200, nil, strings.Repeat(" ", 64<<10), mentions("more than"))},
		{"server that sends a byte a second", "gave it up when its time was over; sent it again", func(s *faultScene) {
			m := s.middle()
			m.play(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				beat := time.NewTicker(time.Second)
				defer beat.Stop()
				for {
					if _, err := io.WriteString(w, " "); err != nil {
						return true
					}
					if err := http.NewResponseController(w).Flush(); err != nil {
						return true
					}
					select {
					case <-r.Context().Done():
						return true
					case <-beat.C:
					}
				}
			})
			s.write(40)
			s.overtime(func() bool { return m.played.Load() > 0 })
			s.lists()
			m.play(nil)
			s.drain()
		}},
		{"request cut in the middle", "sent the batch again, whole", func(s *faultScene) {
			r := s.relay()
			r.after(midBody, cutBoth)
			s.write(40)
			s.fails(upload.Running, "cut request")
			if r.played.Load() == 0 {
				s.Error("nothing was cut")
			}
			if v := s.found(); v.Records != 0 {
				s.Errorf("the hub has %d records of half a batch", v.Records)
			}
			s.lists()
			r.after(0, nil)
			s.drain()
		}},
		{"half-open connection: the other side vanished without a word", "gave the connection up when its time was over; sent it again on another", func(s *faultScene) {
			r := s.relay()
			r.after(midBody, vanish)
			s.write(40)
			s.overtime(func() bool {
				s.eventually("the relay is done with it", func() bool { return r.busy.Load() == 0 })
				return r.played.Load() > 0
			})
			s.lists()
			r.after(0, nil)
			// The hub knows no better than that two uploads of this gate are under way,
			// until it sees the end of those that were given up.
			s.eventually("the hub has a turn for this gate", func() bool {
				_, err := s.up.Once(s.Context())
				if err != nil && !strings.Contains(err.Error(), "busy") {
					s.Error(err)
				}
				return err == nil
			})
			s.drain()
		}},
		{"no hub at its address", "kept the batch and sent it again", func(s *faultScene) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			s.must(err)
			s.up.URL = "https://" + l.Addr().String()
			s.must(l.Close())
			s.write(20)
			s.fails(upload.Running, "nobody there")
			s.lists()
			s.write(20)
			s.fails(upload.Running, "still nobody")
			s.up.URL = s.id.HubURL
			s.drain()
		}},
		{"certificate of another authority", "said nothing to it", func(s *faultScene) {
			other := newFaultAuthority(s.TB)
			s.stranger(other.certificate(s.TB, time.Now().Add(time.Hour), "127.0.0.1"), func(err error) bool {
				var unknown x509.UnknownAuthorityError
				return errors.As(err, &unknown)
			})
		}},
		{"expired certificate of the right authority", "said nothing to it", func(s *faultScene) {
			s.stranger(s.site.authority.certificate(s.TB, time.Now().Add(-time.Hour), "127.0.0.1"), func(err error) bool {
				var invalid x509.CertificateInvalidError
				return errors.As(err, &invalid) && invalid.Reason == x509.Expired
			})
		}},
		{"right authority, another server's name", "said nothing to it", func(s *faultScene) {
			s.stranger(s.site.authority.certificate(s.TB, time.Now().Add(time.Hour), "192.0.2.1"), func(err error) bool {
				var name x509.HostnameError
				return errors.As(err, &name)
			})
		}},
		{"hub's clock twenty years ahead, then behind", "moved neither its clock nor its floor; took the hub's word for no confirmation; sent all", wrongTime},
		{"proxy that sends each request twice", "nothing: the hub knew the second", func(s *faultScene) {
			m := s.middle()
			m.play(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
				for range 2 {
					if status, answer := m.pass(s.TB, r, body); status != http.StatusOK {
						s.Errorf("replayed: %d %s", status, answer)
					}
				}
				return false // and a third time
			})
			s.write(20)
			s.lists()
			s.drain()
			s.write(20)
			s.drain()
		}},
		{"proxy that acknowledges a batch itself and delivers it behind the next", "went back to what the hub lacked and sent it anew", reordered},
		{"proxy with CONNECT that wants a password", "said so while it had none; then went through", throughConnect},
		{"60 strangers that hold connections and send a byte a second", "nothing: the hub cut them off, and took passages meanwhile", slowStrangers},
		{"lists server that sends a byte a second", "nothing: passages do not wait for lists", slowLists},
		{"gate's disk full", "wrote no more, so that the lane lets nobody in; sent what was written; wrote on in the room that this made", gateDiskFull},
		{"hub's disk full", "kept the batch; the hub ended, was started with room again, and got it", hubDiskFull},
		{"hub killed between storing and answering", "sent the batch again; the hub knew it", hubKilled},
	}
}

// overtime makes exchanges that end by the gate's own deadline, until the fault
// was played: a busy machine may need more of them.
func (s *faultScene) overtime(played func() bool) {
	s.Helper()
	s.up.Timeout = 2 * time.Second
	for range 20 {
		err := s.fails(upload.Running, "no end")
		if played() && errors.Is(err, context.DeadlineExceeded) {
			s.up.Timeout = time.Minute
			return
		}
		// Not this fault yet: the time was over before it, or a connection was taken
		// up that an attempt before had lost.
		s.Logf("attempt: %v", err)
	}
	s.Fatal("the fault was never played to its end")
}

// poisoned: the hub does not take the seventh record as it is.
func poisoned(s *faultScene) {
	const bad = 7
	m := s.middle()
	var alone atomic.Int64
	var cut atomic.Bool
	m.play(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		b := openBatch(s.TB, r, body)
		switch {
		case cut.Load():
			w.WriteHeader(http.StatusInternalServerError)
			return true
		case b.First() > bad || b.Last() < bad || b.Entries[bad-b.First()].Tombstone:
			return false
		}
		if len(b.Entries) == 1 && alone.Add(1) == 3 {
			cut.Store(true) // the power goes before the tombstone is out
		}
		w.WriteHeader(http.StatusBadRequest)
		if _, err := io.WriteString(w, `{"error":"unparsable"}`); err != nil {
			s.Error(err)
		}
		return true
	})
	s.write(40)
	for try := range 2 {
		var err error
		for err == nil {
			_, err = s.up.Once(s.Context())
		}
		if u := s.up.State(); !errors.Is(err, upload.ErrRecord) || u.Stop != upload.StopRecord || u.Record != bad || u.Acknowledged != bad-1 || u.Aside != 0 {
			s.Errorf("try %d: %v, state %+v", try, err, u)
		}
		s.lists()
	}
	if _, err := s.up.Once(s.Context()); err == nil {
		s.Error("the third try succeeded")
	}
	if u := s.up.State(); u.Aside != 1 || u.LastAside != bad || !strings.Contains(u.LastAsideError, "unparsable") {
		s.Errorf("set aside: %+v", u)
	}
	dir := filepath.Join(s.dir, "journal")
	s.close()
	s.open(dir, journal.Options{})
	if n := s.log.State().Losses.Aside; n != 1 {
		s.Errorf("%d records aside after the restart, want 1", n)
	}
	cut.Store(false)
	s.drain()
	if v := s.found(); v.Tombstones != 1 || alone.Load() != 3 {
		s.Errorf("%d tombstones after %d refusals, want 1 after 3", v.Tombstones, alone.Load())
	}
}

// stranger is a row with a server that is not the gate's hub.
func (s *faultScene) stranger(cert certificate, is func(error) bool) {
	s.Helper()
	m := newMiddle(s.TB, s.site, s.id, cert)
	s.up.URL = m.URL
	s.write(20)
	if err := s.fails(upload.Running, "stranger"); !is(err) {
		s.Errorf("refused for another reason: %v", err)
	}
	if m.asked.Load() != 0 {
		s.Errorf("%d requests reached it", m.asked.Load())
	}
	s.lists()
	s.write(20)
	s.up.URL = s.id.HubURL
	s.drain()
}

// wrongTime: what the hub says of the time is far off.
func wrongTime(s *faultScene) {
	m := s.middle()
	s.lists() // the floor is the signed time of the lists
	floor := s.clock.FloorTime()
	if floor.IsZero() {
		s.Fatal("no floor")
	}
	for _, years := range []int{20, -20} {
		m.play(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			status, answer := m.pass(s.TB, r, body)
			wrong := time.Now().UTC().AddDate(years, 0, 0)
			w.Header().Set("Date", wrong.Format(http.TimeFormat))
			w.WriteHeader(status)
			if _, err := w.Write(changeTime(s.TB, answer, wrong)); err != nil {
				s.Error(err)
			}
			return true
		})
		s.write(20)
		s.drain()
		now, quality := s.clock.Now()
		if time.Since(now).Abs() > time.Minute || quality != gate.ClockNetwork || !s.clock.FloorTime().Equal(floor) {
			s.Errorf("%d years: it is %s (%s) behind the floor of %s, which was %s", years, now, quality, s.clock.FloorTime(), floor)
		}
		s.lists()
	}
	m.play(nil)
	s.must(s.contact())
	if _, quality := s.clock.Now(); quality != gate.ClockConfirmed {
		s.Errorf("with an honest hub the clock is %s", quality)
	}
}

// contact makes the uploader tell that the gate lives.
func (s *faultScene) contact() error {
	s.up.Heartbeat = time.Nanosecond
	_, err := s.up.Once(s.Context())
	s.up.Heartbeat = 0
	return err
}

// reordered: the proxy keeps the first batch, and the hub sees the second first.
func reordered(s *faultScene) {
	m := s.middle()
	var kept []byte
	var how *http.Request
	m.play(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		kept, how = bytes.Clone(body), r
		if _, err := fmt.Fprintf(w, `{"acknowledged":20,"time":%q}`, time.Now().UTC().Format(time.RFC3339)); err != nil {
			s.Error(err)
		}
		return true
	})
	s.write(20)
	if sent, err := s.up.Once(s.Context()); sent != 20 || err != nil {
		s.Fatalf("sent %d, %v", sent, err)
	}
	if v := s.found(); v.Records != 0 {
		s.Errorf("the hub has %d records", v.Records)
	}
	m.play(nil)
	s.write(20)
	s.lists()
	s.drain()
	if n := m.played.Load(); n != 3 {
		s.Errorf("%d requests, want the kept one, one behind a gap, and all from the start", n)
	}
	if status, answer := m.pass(s.TB, how, kept); status != http.StatusOK || !strings.Contains(string(answer), `"acknowledged":40`) {
		s.Errorf("the kept batch, too late: %d %s", status, answer)
	}
}

// throughConnect: the only way out is a proxy that wants a name and a password.
func throughConnect(s *faultScene) {
	proxy := authProxy(s.TB, "gate", "secret")
	// What http.ProxyFromEnvironment makes of HTTPS_PROXY, but not once a process.
	var through atomic.Pointer[url.URL]
	s.client.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) { return through.Load(), nil }
	s.lists() // from elsewhere
	s.client.CloseIdleConnections()
	through.Store(&url.URL{Scheme: "http", Host: proxy.address})
	s.write(40)
	mentions("Proxy Authentication Required")(s, s.fails(upload.Running, "no password"))
	through.Store(&url.URL{Scheme: "http", Host: proxy.address, User: url.UserPassword("gate", "wrong")})
	mentions("Proxy Authentication Required")(s, s.fails(upload.Running, "wrong password"))
	through.Store(&url.URL{Scheme: "http", Host: proxy.address, User: url.UserPassword("gate", "secret")})
	s.drain()
	if proxy.led.Load() == 0 {
		s.Error("nothing went through the proxy")
	}
}

// slowStrangers holds connections to the hub, half of them with TLS.
func slowStrangers(s *faultScene) {
	ended := make(chan error, 60)
	for i := range cap(ended) {
		c := s.site.dial(s.TB, "127.0.0.2", i%2 == 0)
		go func() { ended <- drip(c) }()
	}
	s.write(20)
	s.lists()
	s.drain()
	deadline := time.After(90 * time.Second)
	for range cap(ended) {
		select {
		case err := <-ended:
			if err != nil {
				s.Error(err)
			}
		case <-deadline:
			s.Fatal("the hub holds on to a stranger that sends a byte a second")
		}
	}
	s.write(20)
	s.drain()
}

// slowLists: a lists server takes its time; passages go out meanwhile.
func slowLists(s *faultScene) {
	m := s.middle()
	s.listsFrom(m.URL)
	asked := make(chan struct{})
	var once sync.Once
	m.lists = func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		beat := time.NewTicker(time.Second)
		defer beat.Stop()
		for {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-beat.C:
			}
		}
	}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.trust.Once(ctx)
		done <- err
	}()
	<-asked
	s.write(40)
	s.drain()
	select {
	case err := <-done:
		s.Errorf("the lists' run ended before: %v", err)
	default:
	}
	cancel()
	if err := <-done; err == nil {
		s.Error("lists came of a server that sends none")
	}
	s.listsFrom(s.id.HubURL)
	s.lists()
}

// gateDiskFull: the journal's disk has no room.
func gateDiskFull(s *faultScene) {
	dir := s.small("journal-disk", "512k")
	s.open(filepath.Join(dir, "journal"), journal.Options{SegmentBytes: 64 << 10})
	m := s.middle()
	m.play(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	s.fails500()
	var err error
	for err == nil {
		if err = s.append(); s.written > 10000 {
			s.Fatal("the disk does not fill")
		}
	}
	if !errors.Is(err, journal.ErrFull) || s.log.Room() != journal.RoomNone {
		s.Errorf("full disk: %v, room %s", err, s.log.Room())
	}
	s.fails(upload.Running, "hub away")
	s.lists()
	m.play(nil)
	s.drain()
	s.write(20)
	s.drain()
}

// fails500 makes the first record fail, so that the disk fills while the hub is away.
func (s *faultScene) fails500() {
	s.Helper()
	s.write(1)
	s.fails(upload.Running, "hub away")
}

// small mounts a small file system.
func (s *faultScene) small(name, size string) string {
	s.Helper()
	dir := filepath.Join(s.dir, name)
	s.must(os.Mkdir(dir, 0o700))
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		s.Skipf("no small file system to fill, mounting one: %v", err)
	}
	s.Cleanup(func() { s.must(syscall.Unmount(dir, 0)) })
	return dir
}
