package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"greengate/cmd/control"
	"greengate/display"
	"greengate/gate"
	"greengate/pass"
	"greengate/pass/healthcode"
	"greengate/sync/trust"
	"greengate/sync/upload"
)

// controlServer answers gatectl over a unix socket that only root and the gate's own
// user can open.
type controlServer struct {
	g        *Gate
	listener net.Listener
	reader   *pass.Reader

	importing sync.Mutex // one bundle at a time

	mu   sync.Mutex
	test chan gate.Scan // takes the next scan while a scan test runs
}

func openControl(path string, g *Gate) (*controlServer, error) {
	if err := sweepImports(g.cfg.State); err != nil {
		return nil, err
	}
	l, err := control.Listen(path)
	if err != nil {
		return nil, fmt.Errorf("control socket (`control` in gate.toml): %w", err)
	}
	return &controlServer{g: g, listener: l, reader: pass.NewReader(healthcode.New(g.db, healthcode.Options{}))}, nil
}

func (c *controlServer) close() error {
	if err := c.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (c *controlServer) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { c.answer(w, c.g.Status()) })
	mux.HandleFunc("GET /journal", c.tail)
	mux.HandleFunc("POST /scan-test", c.scanTest)
	mux.HandleFunc("POST /camera", c.camera)
	mux.HandleFunc("GET /lists", func(w http.ResponseWriter, r *http.Request) { c.answer(w, c.g.heldLists()) })
	mux.HandleFunc("POST /lists/check", func(w http.ResponseWriter, r *http.Request) { c.answer(w, c.g.checkLists()) })
	mux.HandleFunc("POST /lists/import", c.importLists)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog:    slog.NewLogLogger(c.g.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(c.listener); err != nil && ctx.Err() == nil {
		return err
	}
	return ctx.Err()
}

func (c *controlServer) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		c.g.log.Debug("control answer not taken", "error", err)
	}
}

// tap hands scans to the lane, or to a scan test while one waits.
func (c *controlServer) tap(lane func(gate.Scan)) func(gate.Scan) {
	return func(s gate.Scan) {
		c.mu.Lock()
		test := c.test
		c.test = nil
		c.mu.Unlock()
		if test != nil {
			test <- s // has room for one
			return
		}
		lane(s)
	}
}

// scanTest waits up to 30 s for the next scan, keeps it from the lane, and
// says what it was without showing it.
func (c *controlServer) scanTest(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	if c.test != nil {
		c.mu.Unlock()
		http.Error(w, "another scan test is waiting", http.StatusConflict)
		return
	}
	test := make(chan gate.Scan, 1)
	c.test = test
	c.mu.Unlock()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	select {
	case s := <-test:
		now, _ := c.g.clock.Now()
		begin := time.Now()
		cred, err := c.reader.Open(s.Raw, now)
		out := control.ScanTest{Reader: s.Reader, Direction: s.Direction.String(), Bytes: len(s.Raw), OpenMicros: time.Since(begin).Microseconds()}
		if cred != nil {
			out.Kind = cred.Kind.String()
		}
		if err != nil {
			out.Error = err.Error()
		}
		c.answer(w, out)
	case <-timeout.C:
		c.cancel(test)
		http.Error(w, "no scan within 30 s", http.StatusGatewayTimeout)
	case <-r.Context().Done():
		c.cancel(test)
	}
}

// cancel gives the scans back to the lane.
func (c *controlServer) cancel(test chan gate.Scan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.test == test {
		c.test = nil
	}
}

// tail writes the last records as lines of JSON, and with follow=1 each new
// one until the client goes.
func (c *controlServer) tail(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil || n < 0 || n > 1000 {
		http.Error(w, "n is 0 to 1000", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	next := c.g.journal.State().Next
	if n > 0 {
		first, records, err := c.g.journal.Tail(n)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		for i, rec := range records {
			if enc.Encode(line(first+uint64(i), rec)) != nil {
				return
			}
		}
		next = first + uint64(len(records))
	}
	for flusher, ok := w.(http.Flusher); r.FormValue("follow") == "1" && ok; {
		flusher.Flush()
		if c.g.journal.Wait(r.Context(), next-1) != nil {
			return
		}
		first, records, err := c.g.journal.Tail(100)
		if err != nil {
			c.g.log.Warn("journal not read", "error", err)
			return
		}
		for i, rec := range records {
			if seq := first + uint64(i); seq >= next {
				if enc.Encode(line(seq, rec)) != nil {
					return
				}
				next = seq + 1
			}
		}
	}
}

func line(seq uint64, r gate.Record) control.JournalLine {
	l := control.JournalLine{Sequence: seq, Kind: r.Kind, At: r.At, Clock: r.Clock.String(), Direction: r.Direction.String(),
		Reason: r.Reason, Of: r.Of, Outcome: r.Outcome, Why: r.GuardReason}
	if r.Kind == gate.DecisionRecord || r.Kind == gate.ActRecord {
		l.Verdict = r.Verdict.String()
	}
	return l
}

// Status says how the gate is.
func (g *Gate) Status() control.Status {
	now, quality := g.clock.Now()
	view := g.lane.Outputs().View
	at, up, tr := g.journal.State(), g.uploader.State(), g.trust.Status()
	policy := g.db.Policy()
	s := control.Status{
		Gate: g.id.Gate, Version: g.opt.Version, Zone: g.cfg.Zone, Started: g.started,
		Lane: view.State.String(), Reason: string(view.Decision.Reason), FaultCode: view.FaultCode,
		Time: now, Clock: quality.String(), Floor: g.clock.FloorTime(), Policy: policy.Version,
		Map: control.MapStatus{Version: g.db.MapVersion(), Day: g.db.MapDay()}, Pages: g.Address(),
		Journal: g.journalStatus(at),
		Upload:  uploadStatus(up),
		Trust:   control.TrustStatus{LastSuccess: tr.LastOK, Timestamp: tr.Report.Timestamp, Issued: tr.Report.Issued, Leap: tr.Report.Leap},
		Faults:  g.currentFaults(), Counts: g.lane.Counters(),
	}
	if tr.LastError != nil {
		s.Trust.LastError, s.Trust.ErrorKind = tr.LastError.Error(), trust.Kind(tr.LastError)
	}
	held := g.held(now)
	confirmed, grade := oldest(held, g.heldHashes(now))
	s.Oldest = control.OldestStatus{Confirmed: confirmed, Freshness: grade.String()}
	s.Map.Age, s.Map.AgeKnown = display.Health{MapDay: s.Map.Day, Clock: quality, ClockTime: now}.MapAge()
	for _, l := range held {
		issued := g.db.Lookup(pass.StatusRef{URI: l.URI}).Issued
		s.Lists = append(s.Lists, control.ListStatus{URI: l.URI, Sequence: l.Generation, Issued: issued, Confirmed: l.Confirmed, Freshness: l.Freshness.String(), Extra: l.Extra})
	}
	for i := range g.readers {
		s.Readers = append(s.Readers, control.ReaderStatus{Name: g.readers[i].name, State: g.readers[i].link.State()})
	}
	return s
}

// uploadStatus says how the upload stands.
func uploadStatus(up upload.State) control.UploadStatus {
	s := control.UploadStatus{Backlog: up.Backlog, LastSuccess: up.LastSuccess, LastError: up.LastError, Stop: string(up.Stop),
		NextTry: up.NextTry, Aside: up.LastAside, AsideError: up.LastAsideError}
	if r := up.Refusal; r.Status != 0 {
		s.Refusal = &control.RefusalStatus{Status: r.Status, Word: r.Word, Expected: r.Expected, Record: up.Record, At: r.At}
	}
	return s
}
