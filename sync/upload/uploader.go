package upload

import (
	"bytes"
	"context"
	"crypto"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"greengate/gate"
	"greengate/gate/passage"
	"greengate/gate/wipe"
)

// The ways in which the hub refuses for good. Every other error of
// [Uploader.Once] is worth another try.
var (
	// ErrForbidden: the hub does not know this gate, or no longer.
	ErrForbidden = errors.New("hub refuses this gate")
	// ErrGap: the hub wants records that the journal no longer holds.
	ErrGap = errors.New("hub is missing records that are gone here")
	// ErrFork: the hub holds another history under this gate's name.
	ErrFork = errors.New("hub holds another history of this gate")
	// ErrRecord: the hub refuses one record.
	ErrRecord = errors.New("hub refuses a record")
)

// Times, each after the design's section 5.
const (
	// DefaultHeartbeat is how often an idle gate makes contact.
	DefaultHeartbeat = 60 * time.Second
	// DefaultTimeout bounds one exchange with the hub, from dialling to the
	// last byte of the answer: a half-open connection ends here.
	DefaultTimeout = 60 * time.Second
	// MinBackoff and MaxBackoff bound the pause after a failure.
	MinBackoff = time.Second
	MaxBackoff = 5 * time.Minute
	// MaxRetryAfter bounds what the hub may ask for.
	MaxRetryAfter = time.Hour
)

// maxRefusals is how often the hub must refuse one record, with the pauses of
// failures between, before it is set aside: a hub in trouble eats no records.
const maxRefusals = 3

// maxFlights is how many batches are on their way at once while a backlog goes
// out; the hub takes as many of one gate. A batch has some 75 KB: four fill a link
// of 10 Mbit/s at a round trip of 100 ms, which two fill by two thirds.
const maxFlights = 4

// maxAnswer is the most bytes of an answer that are read. A real one has about 100.
const maxAnswer = 4096

// wipeHeader carries an order to wipe, in base64.
const wipeHeader = "Greengate-Wipe"

// maxTimeTrip is the longest exchange that still tells the time: half of it is the error.
const maxTimeTrip = 10 * time.Second

// Journal is where passages wait; store/journal is one.
type Journal interface {
	// Read returns up to max records behind sequence after, in order and
	// without a gap, the keys of their segments, the head of the chain before
	// the first, and what is no more before it. No record is no error.
	Read(after uint64, max int) (passage.Run, error)
	// SetAside keeps a record that the hub refuses, and has Read give its
	// tombstone from then on. It is durable when it returns.
	SetAside(seq uint64, reason string) error
	// Acknowledge says that all records to seq are on the hub's disk. It is durable when it returns.
	Acknowledge(seq uint64) error
	// Acknowledged is the last sequence acknowledged, and Last the last one written.
	Acknowledged() uint64
	Last() uint64
}

// Uploader sends passages. Its fields are set before use and not changed after.
type Uploader struct {
	Journal Journal
	// Client makes the requests; see [NewClient].
	Client *http.Client
	// URL of the hub, as "https://hub.example:8443".
	URL string
	// Gate is this gate's id, and Signer its private key.
	Gate   string
	Signer crypto.Signer
	// Wake says that something was appended; nil to look at each heartbeat only.
	Wake <-chan struct{}
	// HubTime is told the hub's time at this moment, after an exchange over
	// TLS that took at most ten seconds; nil to not be told.
	HubTime func(time.Time)
	// Condition is how the gate is, told with each exchange; nil to not tell.
	Condition func() gate.Condition
	// Instance is a word of this run of the program, told with each exchange, by
	// which the hub sees two devices that have one identity; see [NewInstance].
	Instance string
	// Wipe is told an order to wipe that came with an answer, as it came: whoever
	// stands between may have made it. It does not block; nil to not be told.
	Wipe func(order []byte)
	// Heartbeat and Timeout; the defaults when zero.
	Heartbeat, Timeout time.Duration
	Log                *slog.Logger

	mu    sync.Mutex
	state State

	// The fields below belong to whoever runs Once.
	limit     int    // records of a batch; 0 means MaxBatchRecords
	rewind    uint64 // read behind rewindTo instead of the acknowledged sequence
	rewound   bool
	refused   uint64 // the record that the hub refused last, alone
	refusals  int    // and how often in a row
	plain     bool   // the hub does not take compressed batches
	packer    *zstd.Encoder
	contacted time.Time // last exchange of any outcome 200
}

// NewInstance returns a word that no other run of the program has: 26 letters
// and digits. It is kept in memory alone, for what lies on a card is copied with it.
func NewInstance() string { return crand.Text() }

// NewClient returns a client for the hub with deadlines on every step, for
// this side of mutual TLS. It speaks HTTP/1.1: with one exchange on a
// connection, a deadline that strikes also closes the connection that hung.
func NewClient(config *tls.Config) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:       config,
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   maxFlights + 1, // and one for lists
			Protocols:             protocols,
		},
		// A hub does not send its gates elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// State returns how the upload stands.
func (u *Uploader) State() State {
	u.mu.Lock()
	s := u.state
	u.mu.Unlock()
	s.Acknowledged, s.Last = u.Journal.Acknowledged(), u.Journal.Last()
	if s.Last > s.Acknowledged {
		s.Backlog = s.Last - s.Acknowledged
	}
	return s
}

// Run sends until ctx ends: all there is, then whatever Wake announces, with
// an empty contact each heartbeat. It returns ctx's error.
func (u *Uploader) Run(ctx context.Context) error {
	for {
		sent, err := u.Once(ctx)
		if err == nil && sent == passage.MaxBatchRecords && !u.rewound {
			err = u.stream(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var wait time.Duration
		var wake <-chan struct{}
		switch {
		case err != nil:
			wait = u.pause(err)
			u.Log.Warn("upload failed", "err", err, "wait", wait)
		case sent > 0:
			continue
		default:
			wait, wake = u.heartbeat(), u.Wake
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-wake:
			timer.Stop()
		case <-timer.C:
		}
		u.mu.Lock()
		u.state.NextTry = time.Time{}
		u.mu.Unlock()
	}
}

func (u *Uploader) heartbeat() time.Duration {
	if u.Heartbeat > 0 {
		return u.Heartbeat
	}
	return DefaultHeartbeat
}

// pause returns how long to wait after err, and writes it into the state.
func (u *Uploader) pause(err error) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := MaxBackoff
	if n := u.state.Failures; n < 10 {
		d = min(MinBackoff<<max(n-1, 0), MaxBackoff)
	}
	var told *retryAfterError
	switch {
	case u.state.Stop != Running:
		d = MaxBackoff
	case errors.As(err, &told) && told.wait > d:
		d = told.wait
	}
	// Between half and all of it, so that gates which failed together do not return together.
	d = d/2 + rand.N(d/2+1)
	if told != nil && d < told.wait {
		d = told.wait // no earlier than the hub asked
	}
	u.state.NextTry = time.Now().Add(d)
	return d
}

// Once makes one exchange: a batch where there is one to send, else a contact
// where one is due. It returns how many records the hub newly acknowledged;
// with 0 and no error there was nothing to send.
func (u *Uploader) Once(ctx context.Context) (sent int, err error) {
	defer func() { u.note(ctx, err) }()

	u.mu.Lock()
	forbidden := u.state.Stop == StopForbidden
	u.mu.Unlock()
	if forbidden {
		// A gate that is not welcome sends no passages; it asks, and waits.
		if err := u.contact(ctx); err != nil {
			return 0, err
		}
	}
	for {
		batch, err := u.read()
		// Also a gate that cannot read its passages tells that it lives, and
		// asks for the time.
		if batch == nil && time.Since(u.contacted) >= u.heartbeat() {
			err = errors.Join(err, u.contact(ctx))
		}
		if err != nil || batch == nil {
			return 0, err
		}
		sent, again, err := u.send(ctx, batch)
		if !again {
			return sent, err
		}
	}
}

// note writes the outcome of an exchange into the state.
func (u *Uploader) note(ctx context.Context, err error) {
	if ctx.Err() != nil && err != nil {
		return // stopped, not failed
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil {
		u.state.Failures, u.state.LastError = 0, ""
		return
	}
	u.state.Failures++
	u.state.LastError, u.state.LastErrorAt = err.Error(), time.Now()
	switch {
	case errors.Is(err, ErrForbidden):
		u.state.Stop = StopForbidden
	case errors.Is(err, ErrGap):
		u.state.Stop = StopGap
	case errors.Is(err, ErrFork):
		u.state.Stop = StopFork
	case errors.Is(err, ErrRecord):
		u.state.Stop = StopRecord
	}
}

// flight is a batch on its way.
type flight struct {
	first, last uint64
	done        chan struct{} // closed when what is below is set
	code        int
	answer      answer
	err         error
}

// stream sends a backlog behind a batch that went well: full batches, a few on
// their way at once, so that the link does not idle while the hub's answer
// travels. Whatever the order in which they arrive, the order at the hub is
// safe: one that overtakes is a gap there, and refused. The stream ends at
// whatever is not a plain success, and leaves that to Once, which begins behind
// what is acknowledged then.
func (u *Uploader) stream(ctx context.Context) (err error) {
	defer func() { u.note(ctx, err) }()
	var flights []*flight
	flying, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		for _, f := range flights {
			<-f.done
		}
	}()
	next, more := u.Journal.Acknowledged(), true
	for {
		for more && len(flights) < maxFlights {
			f := u.launch(flying, next)
			if f == nil {
				more = false
				break
			}
			flights, next = append(flights, f), f.last
		}
		if len(flights) == 0 {
			return nil
		}
		f := flights[0]
		<-f.done
		flights = flights[1:]
		if f.err != nil {
			return fmt.Errorf("batch %d-%d: %w", f.first, f.last, f.err)
		}
		if f.code != http.StatusOK || f.answer.Acknowledged < f.last {
			return nil
		}
		u.succeeded()
		if err := u.Journal.Acknowledge(f.last); err != nil {
			return fmt.Errorf("acknowledge %d: %w", f.last, err)
		}
	}
}

// launch sends the full batch behind a sequence, and does not wait; nil where
// there is none, or one that Once must look at.
func (u *Uploader) launch(ctx context.Context, after uint64) *flight {
	run, err := u.Journal.Read(after, passage.MaxBatchRecords)
	if err != nil || run.Skip != nil || len(run.Entries) < passage.MaxBatchRecords || run.Entries[0].Seq != after+1 {
		return nil
	}
	b, err := u.sign(run)
	if err != nil {
		return nil
	}
	body, err := b.Marshal()
	if err != nil {
		return nil
	}
	body, encoding, err := u.pack(body)
	if err != nil {
		return nil
	}
	f := &flight{first: b.First(), last: b.Last(), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.code, f.answer, f.err = u.exchange(ctx, http.MethodPost, "/v1/passages", body, encoding, after)
	}()
	return f
}

// sign makes a batch.
func (u *Uploader) sign(run passage.Run) (*passage.Batch, error) {
	b := &passage.Batch{Gate: u.Gate, Skip: run.Skip, Prev: run.Prev, Keys: run.Keys, Entries: run.Entries}
	return b, b.Sign(u.Signer)
}

// read returns the next batch, signed; nil where there is nothing to send.
func (u *Uploader) read() (*passage.Batch, error) {
	after := u.Journal.Acknowledged()
	if u.rewound && u.rewind < after {
		after = u.rewind
	}
	if u.limit <= 0 || u.limit > passage.MaxBatchRecords {
		u.limit = passage.MaxBatchRecords
	}
	run, err := u.Journal.Read(after, u.limit)
	if err != nil {
		if u.rewound {
			u.rewound = false // the next try asks the hub again
			return nil, fmt.Errorf("records behind %d: %w: %w", after, ErrGap, err)
		}
		return nil, fmt.Errorf("journal behind %d: %w", after, err)
	}
	if len(run.Entries) == 0 {
		return nil, nil
	}
	next := after + 1
	if run.Skip != nil {
		next = run.Skip.Last + 1
	}
	if first := run.Entries[0].Seq; first != next {
		return nil, fmt.Errorf("hub has all to %d, journal goes on at %d: %w", after, first, ErrGap)
	}
	b, err := u.sign(run)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// answer is what the hub says.
type answer struct {
	Acknowledged uint64    `json:"acknowledged"`
	Time         time.Time `json:"time"`
	Error        string    `json:"error"`
	Expected     uint64    `json:"expected"`
}

// send posts one batch. again says that another form of it is to be tried at once.
func (u *Uploader) send(ctx context.Context, b *passage.Batch) (sent int, again bool, err error) {
	body, err := b.Marshal()
	if errors.Is(err, passage.ErrTooLarge) && len(b.Entries) > 1 {
		u.limit = len(b.Entries) / 2
		return 0, true, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("batch %d-%d: %w", b.First(), b.Last(), err)
	}
	body, encoding, err := u.pack(body)
	if err != nil {
		return 0, false, fmt.Errorf("batch %d-%d: %w", b.First(), b.Last(), err)
	}
	code, a, err := u.exchange(ctx, http.MethodPost, "/v1/passages", body, encoding, u.Journal.Acknowledged())
	if err != nil {
		return 0, false, fmt.Errorf("batch %d-%d: %w", b.First(), b.Last(), err)
	}
	switch code {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		if len(b.Entries) > 1 {
			u.limit = len(b.Entries) / 2
			return 0, true, nil
		}
		return u.poison(b.Entries[0], code, a.Error)
	case http.StatusRequestTimeout:
		// The line is too slow for so much at once, and a record is never to blame.
		u.limit = max(len(b.Entries)/2, 1)
		return 0, false, fmt.Errorf("batch %d-%d: hub answers status %d %.100q", b.First(), b.Last(), code, a.Error)
	case http.StatusUnsupportedMediaType:
		if !u.plain {
			u.plain = true
			return 0, true, nil
		}
		return 0, false, fmt.Errorf("batch %d-%d: hub answers status %d %.100q", b.First(), b.Last(), code, a.Error)
	case http.StatusConflict:
		if a.Error == "gap" && a.Expected > 0 && a.Expected < b.First() && !u.rewound {
			u.rewind, u.rewound = a.Expected-1, true
			return 0, true, nil
		}
		if a.Error == "gap" {
			u.rewound = false // the next try begins where the journal does
			return 0, false, fmt.Errorf("batch %d-%d, hub expects %d: %w", b.First(), b.Last(), a.Expected, ErrGap)
		}
		return 0, false, fmt.Errorf("batch %d-%d: %w", b.First(), b.Last(), ErrFork)
	default:
		return 0, false, fmt.Errorf("batch %d-%d: hub answers status %d %.100q", b.First(), b.Last(), code, a.Error)
	}
	u.succeeded()
	// Only what was sent may be acknowledged, whatever the hub says.
	to := min(a.Acknowledged, b.Last())
	before := u.Journal.Acknowledged()
	if u.rewound {
		if to < b.First() {
			return 0, false, fmt.Errorf("batch %d-%d: hub acknowledges only %d", b.First(), b.Last(), to)
		}
		u.rewind = to
		if to >= before {
			u.rewound = false
		}
		u.limit = passage.MaxBatchRecords
		if to <= before {
			return int(to - b.First() + 1), false, nil
		}
	}
	if to <= before {
		return 0, false, fmt.Errorf("batch %d-%d: hub acknowledges only %d", b.First(), b.Last(), to)
	}
	if err := u.Journal.Acknowledge(to); err != nil {
		return 0, false, fmt.Errorf("acknowledge %d: %w", to, err)
	}
	u.limit = min(u.limit*2, passage.MaxBatchRecords)
	return int(to - before), false, nil
}

// poison is for a record that the hub refuses on its own. A few such answers
// later it is set aside, and its tombstone is sent in its place.
func (u *Uploader) poison(e passage.Entry, code int, text string) (sent int, again bool, err error) {
	seq := e.Seq
	err = fmt.Errorf("record %d: %w: status %d %.100q", seq, ErrRecord, code, text)
	u.mu.Lock()
	u.state.Record = seq
	u.mu.Unlock()
	if e.Tombstone {
		return 0, false, err // there is nothing less to send
	}
	if u.refused != seq {
		u.refused, u.refusals = seq, 0
	}
	if u.refusals++; u.refusals < maxRefusals {
		return 0, false, err
	}
	if aerr := u.Journal.SetAside(seq, fmt.Sprintf("status %d %.100q", code, text)); aerr != nil {
		return 0, false, fmt.Errorf("%w: %w", err, aerr)
	}
	u.refused, u.refusals = 0, 0
	u.mu.Lock()
	u.state.Aside++
	u.state.LastAside, u.state.LastAsideError = seq, err.Error()
	u.mu.Unlock()
	return 0, true, nil
}

// pack compresses a batch, where the hub takes that and it is worth it.
func (u *Uploader) pack(body []byte) (packed []byte, encoding string, err error) {
	if u.plain {
		return body, "", nil
	}
	if u.packer == nil {
		// A window of a batch and one goroutine: this runs on a small device.
		if u.packer, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(passage.MaxBatchBytes), zstd.WithLowerEncoderMem(true)); err != nil {
			return nil, "", fmt.Errorf("compress: %w", err)
		}
	}
	if packed = u.packer.EncodeAll(body, nil); len(packed) < len(body) {
		return packed, "zstd", nil
	}
	return body, "", nil
}

// contact tells the hub that the gate lives, and asks for the time.
func (u *Uploader) contact(ctx context.Context) error {
	code, a, err := u.exchange(ctx, http.MethodGet, "/v1/time", nil, "", u.Journal.Acknowledged())
	if err != nil {
		return fmt.Errorf("contact: %w", err)
	}
	if code != http.StatusOK {
		return fmt.Errorf("contact: hub answers status %d %.100q", code, a.Error)
	}
	u.succeeded()
	return nil
}

func (u *Uploader) succeeded() {
	u.contacted = time.Now()
	u.mu.Lock()
	u.state.LastSuccess, u.state.Stop, u.state.Record, u.state.Refusal = u.contacted, Running, 0, Refusal{}
	u.mu.Unlock()
}

// retryAfterError is a 429 or 503.
type retryAfterError struct {
	status int
	wait   time.Duration
}

func (e *retryAfterError) Error() string {
	return fmt.Sprintf("hub is busy (status %d), asks for %s", e.status, e.wait)
}

// exchange makes one request and reads its answer, all within the timeout. What
// is behind the sequence is told as the backlog. Several may run at once: of the
// uploader it changes what the state says of a refusal, and nothing else.
func (u *Uploader) exchange(ctx context.Context, method, path string, body []byte, encoding string, behind uint64) (int, answer, error) {
	timeout := u.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, answer{}, err
	}
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/vnd.greengate.passages+cbor")
	}
	backlog := uint64(0)
	if last := u.Journal.Last(); last > behind {
		backlog = last - behind
	}
	req.Header.Set("Greengate-Gate", u.Gate)
	req.Header.Set("Greengate-Backlog", strconv.FormatUint(backlog, 10))
	if u.Instance != "" {
		req.Header.Set("Greengate-Instance", u.Instance)
	}
	if u.Condition != nil {
		req.Header.Set("Greengate-Condition", u.Condition().String())
	}
	begun := time.Now()
	resp, err := u.Client.Do(req)
	if err != nil {
		return 0, answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	trip := time.Since(begun)
	if err != nil {
		return 0, answer{}, fmt.Errorf("answer with status %d: %w", resp.StatusCode, err)
	}
	u.passOrder(resp.Header.Get(wipeHeader))
	var a answer
	parsed := json.Unmarshal(data, &a)
	if parsed != nil {
		a = answer{} // a proxy's page, perhaps
	}
	if resp.StatusCode != http.StatusOK {
		u.mu.Lock()
		u.state.Refusal = newRefusal(resp.StatusCode, a)
		u.mu.Unlock()
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		// What was refused is the certificate that the connection was made with.
		// The next one asks for whatever is in force then, and none is held open.
		if err := resp.Body.Close(); err != nil {
			u.Log.Debug("refused connection not closed well", "err", err)
		}
		u.Client.CloseIdleConnections()
		return 0, answer{}, fmt.Errorf("%w (status %d)", ErrForbidden, resp.StatusCode)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return 0, answer{}, &retryAfterError{resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"))}
	}
	if len(data) > maxAnswer {
		return 0, answer{}, fmt.Errorf("answer with status %d has more than %d bytes", resp.StatusCode, maxAnswer)
	}
	if parsed != nil && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusConflict) {
		return 0, answer{}, fmt.Errorf("answer with status %d: %w", resp.StatusCode, parsed)
	}
	if resp.StatusCode == http.StatusOK && !a.Time.IsZero() && trip <= maxTimeTrip && u.HubTime != nil {
		u.HubTime(a.Time.Add(trip / 2))
	}
	return resp.StatusCode, a, nil
}

// passOrder hands on an order to wipe that came with an answer of any status.
func (u *Uploader) passOrder(text string) {
	if text == "" || len(text) > base64.StdEncoding.EncodedLen(wipe.MaxOrder) || u.Wipe == nil {
		return
	}
	order, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		u.Log.Warn("an order to wipe is not understood", "err", err)
		return
	}
	u.Wipe(order)
}

// retryAfter reads the header: seconds or a date (RFC 9110 section 10.2.3);
// zero where it says nothing.
func retryAfter(h string) time.Duration {
	var d time.Duration
	if s, err := strconv.ParseUint(h, 10, 31); err == nil {
		d = time.Duration(s) * time.Second
	} else if t, err := http.ParseTime(h); err == nil {
		d = time.Until(t)
	}
	return min(max(d, 0), MaxRetryAfter)
}
