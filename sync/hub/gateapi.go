package hub

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
)

// Limits of the gates' side. A gate keeps one connection and has one request
// open; behind one address there may be a whole campus.
const (
	maxConnections = 20000
	maxPerAddress  = 512
	// busyRetry is what a gate is told that comes when all are taken.
	busyRetry = 5 * time.Second
)

// timeAnswer is what a gate gets with every good answer.
type timeAnswer struct {
	Acknowledged *uint64   `json:"acknowledged,omitempty"`
	Time         time.Time `json:"time"`
}

// errorAnswer is what it gets otherwise.
type errorAnswer struct {
	Error    string `json:"error"`
	Expected uint64 `json:"expected,omitempty"`
}

// tlsConfig is the gates' side: TLS 1.3; a client certificate is asked for and
// must be from the hub's authority when one is shown. Lists are public, so a
// browser or a cache without one may have them. One that has ended comes through
// too: what it may still ask for is the handlers' to say.
func (h *Hub) tlsConfig() *tls.Config {
	clients := x509.NewCertPool()
	clients.AddCert(h.ca.cert)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Asked for each connection: it is renewed while the hub runs.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return h.cert.Load(), nil },
		ClientAuth:     tls.RequestClientCert,
		ClientCAs:      clients, // named to the client; verified below, on resumed sessions too
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			return checkGateCertificate(s.PeerCertificates[0], clients, h.options.Now())
		},
		Time:       h.options.Now,
		NextProtos: []string{"http/1.1"},
	}
}

func (h *Hub) gateServer() *http.Server {
	mux := http.NewServeMux()
	turns := &turns{from: map[string][]*turn{}}
	mux.Handle("GET /lists/", http.StripPrefix("/lists", h.listsHandler()))
	mux.HandleFunc("GET /v1/time", h.handleTime)
	h.enrolmentRoutes(mux)
	mux.HandleFunc("POST /.well-known/est/simplereenroll", h.handleReenrol)
	mux.HandleFunc("GET /v1/history", h.handleHistory)
	mux.HandleFunc("POST /v1/wiped", h.handleWiped)
	mux.HandleFunc("POST /v1/passages", func(w http.ResponseWriter, r *http.Request) {
		cert := shown(r)
		if cert == nil {
			answer(w, http.StatusUnauthorized, errorAnswer{Error: "certificate needed"})
			return
		}
		control := http.NewResponseController(w)
		turn := turns.take(cert.Subject.CommonName, func() error { return control.SetReadDeadline(time.Now()) })
		if turn == nil {
			w.Header().Set("Retry-After", strconv.Itoa(int(busyRetry/time.Second)))
			answer(w, http.StatusServiceUnavailable, errorAnswer{Error: "busy"})
			return
		}
		defer turn.giveBack()
		h.handlePassages(w, r, cert, turn.body)
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		// A status list over a slow mobile link: 4 MB at 16 kB/s.
		WriteTimeout:   5 * time.Minute,
		IdleTimeout:    3 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that is gone needs no answer.
	_, _ = w.Write(data)
}

// checkGateCertificate checks that a gate's certificate chains to the hub's authority. One
// that has ended is judged by its last moment.
func checkGateCertificate(cert *x509.Certificate, authority *x509.CertPool, now time.Time) error {
	if now.After(cert.NotAfter) {
		now = cert.NotAfter
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: authority, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return fmt.Errorf("gate's certificate: %w", err)
	}
	return nil
}

// shown returns the certificate that a request came with, which tlsConfig found
// to chain to the hub's authority; nil without one.
func shown(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// caller returns the gate behind a request with this certificate, and notes its
// contact. The answer is written when there is none.
func (h *Hub) caller(w http.ResponseWriter, r *http.Request, cert *x509.Certificate) (string, gateRecord, bool) {
	id, rec, err := h.authenticate(r.Context(), cert)
	if err == nil || errors.Is(err, errRevoked) {
		// Also who is refused is told: a revoked gate is the one to be wiped.
		if err := h.tellWipe(w, id, rec, cert); err != nil {
			h.log.Error("order to wipe not told", "gate", id, "err", err)
		}
	}
	if errors.Is(err, errRevoked) {
		// It may have a better certificate by now: another connection shows it.
		w.Header().Set("Connection", "close")
		h.log.Warn("gate refused", "gate", id)
		answer(w, http.StatusForbidden, errorAnswer{Error: "forbidden"})
		return "", gateRecord{}, false
	}
	if isAway(err) {
		h.log.Warn("gate not looked up", "err", err)
		answerAway(w)
		return "", gateRecord{}, false
	}
	if err != nil {
		h.log.Error("gate not looked up", "err", err)
		answer(w, http.StatusInternalServerError, errorAnswer{Error: "hub failed"})
		return "", gateRecord{}, false
	}
	backlog, err := strconv.ParseUint(r.Header.Get("Greengate-Backlog"), 10, 64)
	if err != nil {
		backlog = 0 // it does not say
	}
	var said *gate.Condition
	if text := r.Header.Get("Greengate-Condition"); text != "" {
		c, err := gate.ParseCondition(text)
		if err != nil {
			// Another version of the gate, perhaps; what matters is its passages.
			h.log.Warn("gate's condition not understood", "gate", id, "err", err)
		} else {
			said = &c
		}
	}
	h.heard(id, backlog, said, h.instance(r, id))
	if !bytes.Equal(rec.Certificate, cert.Raw) {
		w.Header().Set("Connection", "close") // the next one shows the new certificate
	}
	return id, rec, true
}

// handleTime tells the time; a gate that shows its certificate is noted, and
// one whose certificate is not in force is told so.
func (h *Hub) handleTime(w http.ResponseWriter, r *http.Request) {
	if cert := shown(r); cert != nil {
		if _, _, ok := h.caller(w, r, cert); !ok {
			return
		}
	}
	answer(w, http.StatusOK, timeAnswer{Time: h.options.Now().UTC()})
}

// handlePassages takes a batch, as read brings it.
func (h *Hub) handlePassages(w http.ResponseWriter, r *http.Request, cert *x509.Certificate, read func(http.ResponseWriter, *http.Request) ([]byte, error)) {
	id, rec, ok := h.caller(w, r, cert)
	if !ok {
		return
	}
	body, err := read(w, r)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		answer(w, http.StatusRequestEntityTooLarge, errorAnswer{Error: "too large"})
		return
	}
	if err != nil {
		// The way it came is no fault of what is in it: a gate that is told 400 three
		// times sets the record aside.
		h.log.Debug("batch not read", "gate", id, "err", err)
		w.Header().Set("Connection", "close")
		answer(w, http.StatusRequestTimeout, errorAnswer{Error: "body cut off or too slow"})
		return
	}
	switch r.Header.Get("Content-Encoding") {
	case "":
	case "zstd":
		if body, err = unpackBatch(body); err != nil {
			h.log.Warn("batch does not unpack", "gate", id, "err", err)
			answer(w, http.StatusUnprocessableEntity, errorAnswer{Error: "malformed"})
			return
		}
	default:
		answer(w, http.StatusUnsupportedMediaType, errorAnswer{Error: "zstd or nothing"})
		return
	}
	acknowledged, b, err := h.ingest(r.Context(), id, rec, body)
	h.ingested.add(outcomeOf(err))
	var gap *gapError
	switch {
	case err == nil:
		if n, perr := strconv.ParseUint(r.Header.Get("Greengate-Backlog"), 10, 64); perr == nil {
			// What it had before this batch, less what the batch brought.
			h.heard(id, n-min(n, uint64(len(b.Entries))), nil, "")
		}
		answer(w, http.StatusOK, timeAnswer{Acknowledged: &acknowledged, Time: h.options.Now().UTC()})
	case errors.As(err, &gap):
		h.log.Warn("gap in a gate's records", "gate", id, "expected", gap.expected)
		answer(w, http.StatusConflict, errorAnswer{Error: "gap", Expected: gap.expected})
	case errors.Is(err, errFork):
		answer(w, http.StatusConflict, errorAnswer{Error: "fork"})
	case errors.Is(err, errForeign):
		h.log.Warn("batch refused", "gate", id, "err", err)
		answer(w, http.StatusForbidden, errorAnswer{Error: "not this gate's batch"})
	case errors.Is(err, passage.ErrTooLarge):
		answer(w, http.StatusRequestEntityTooLarge, errorAnswer{Error: "too large"})
	case errors.Is(err, passage.ErrMalformed), errors.Is(err, passage.ErrChain):
		h.log.Warn("batch refused", "gate", id, "err", err)
		answer(w, http.StatusUnprocessableEntity, errorAnswer{Error: "malformed"})
	case isAway(err), errors.Is(err, ErrConflict):
		// It may be stored all the same: then its next try is told so.
		h.log.Warn("batch not acknowledged", "gate", id, "err", err)
		answerAway(w)
	default:
		h.log.Error("batch not stored", "gate", id, "err", err)
		answer(w, http.StatusInternalServerError, errorAnswer{Error: "hub failed"})
	}
}

// Outcomes of a batch, as they are counted.
var outcomes = []string{"stored", "gap", "fork", "foreign", "too-large", "malformed", "away", "failed"}

// outcomeOf names what came of a batch.
func outcomeOf(err error) string {
	var gap *gapError
	switch {
	case err == nil:
		return "stored"
	case errors.As(err, &gap):
		return "gap"
	case errors.Is(err, errFork):
		return "fork"
	case errors.Is(err, errForeign):
		return "foreign"
	case errors.Is(err, passage.ErrTooLarge):
		return "too-large"
	case errors.Is(err, passage.ErrMalformed), errors.Is(err, passage.ErrChain):
		return "malformed"
	case isAway(err):
		return "away"
	}
	return "failed"
}

// ingestCounts are the batches since the start by their outcome.
type ingestCounts struct {
	mu sync.Mutex
	n  map[string]uint64
	// asked is how often the storage was asked where a gate's history ends, and
	// lost how many compare-and-sets another hub won.
	asked, lost atomic.Uint64
}

func (c *ingestCounts) add(outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]uint64{}
	}
	c.n[outcome]++
}

// Ingested counts the batches that gates brought to this hub since it was
// opened, by what came of them; every outcome is in it.
func (h *Hub) Ingested() map[string]uint64 {
	h.ingested.mu.Lock()
	defer h.ingested.mu.Unlock()
	out := map[string]uint64{}
	for _, o := range outcomes {
		out[o] = h.ingested.n[o]
	}
	return out
}

// IngestHeads says how often this hub asked the storage where a gate's history
// ends since it was opened, and how often another hub had stored before it. Much of either
// means that gates change their hub with each batch.
func (h *Hub) IngestHeads() (asked, lost uint64) {
	return h.ingested.asked.Load(), h.ingested.lost.Load()
}

// answerAway says to come again: the storage has no leader, or is not reached.
func answerAway(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(int(busyRetry/time.Second)))
	answer(w, http.StatusServiceUnavailable, errorAnswer{Error: "storage away"})
}

// limitListener bounds the connections, in all and from one address.
type limitListener struct {
	net.Listener
	most, each int
	mu         sync.Mutex
	total      int
	from       map[string]int
}

func newLimitListener(l net.Listener, most, each int) *limitListener {
	return &limitListener{Listener: l, most: most, each: each, from: map[string]int{}}
}

// Accept returns the next connection within the limits; others are closed.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := c.RemoteAddr().String()
		if host, _, err := net.SplitHostPort(from); err == nil {
			from = host
		}
		l.mu.Lock()
		ok := l.total < l.most && l.from[from] < l.each
		if ok {
			l.total++
			l.from[from]++
		}
		l.mu.Unlock()
		if ok {
			return &limitedConn{Conn: c, release: func() { l.release(from) }}, nil
		}
		// How a stranger's connection ends is no reason to accept no more.
		_ = c.Close()
	}
}

func (l *limitListener) release(from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.from[from]--; l.from[from] <= 0 {
		delete(l.from, from)
	}
}

// limitedConn gives its place back once.
type limitedConn struct {
	net.Conn
	once    sync.Once
	release func()
}

// Close closes the connection and frees its place.
func (c *limitedConn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}
