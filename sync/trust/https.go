package trust

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// answerWithin is how long a server may take for any file, all attempts
	// together, and
	slowest = 8 << 10 // bytes a second it must at least deliver beyond that.

	answerWithin = 30 * time.Second
	// longest is the most that one file may take.
	longest = 15 * time.Minute
	// silence is how long nothing may come before an attempt is given up: a
	// half-open connection would else take all the time there is.
	silence = 15 * time.Second

	// tries is how often in a row an attempt may bring nothing worth having.
	tries = 4
	// worth is how many new bytes make an attempt worth having. Without it a
	// server that cuts after each byte would be asked a million times.
	worth = 16 << 10
	// firstPause and longestPause bound the random pause before an attempt;
	// the bound doubles each time.
	firstPause   = 500 * time.Millisecond
	longestPause = 8 * time.Second
	// longestAsked is the longest wait that a server may ask for inside a run.
	longestAsked = 20 * time.Second

	// weary is after how many files in a row, given up, each gets one short
	// attempt: a server that fell over in the middle of a run must not hold a
	// thousand lists up by all their pauses.
	weary       = 3
	wearSilence = 5 * time.Second

	// gzipSlack is how many bytes more than the file may travel: what gzip
	// adds to what it cannot make smaller, and its header.
	gzipSlack = 1 << 10
)

// errSilent: nothing came for too long.
var errSilent = errors.New("the server fell silent")

// HTTPS fetches from a web server: one that knows nothing of us, such as an
// object store or a folder behind any server of files.
//
// It never follows a redirect to another host, and remembers the timestamp with
// its ETag, so that an unchanged one costs no body. What may have passed a moment
// later (no answer, a cut, 429, 502, 503, 504) is tried again within one Fetch;
// what was cut is gone on with from the byte it was cut at, in this Fetch or in a
// later one. Nothing received is trusted for that: the caller checks what it
// gets, and what completed a file is forgotten with it, so that a wrong beginning
// costs one Fetch and not the next.
type HTTPS struct {
	base   *url.URL
	client *http.Client
	// pause bounds the first random pause; tests with real sockets need none.
	pause time.Duration

	mu       sync.Mutex
	etag     string
	body     []byte
	partials partials
	givenUp  int // files in a row
}

// NewHTTPS returns a fetcher for the repository at base, an https URL. The
// client brings the TLS configuration and the proxy.
func NewHTTPS(base string, client *http.Client) (*HTTPS, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("repository URL %q: %w", base, err)
	}
	if u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("repository URL %q: want https://HOST/PATH", base)
	}
	own := *client
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > 3 || req.URL.Scheme != u.Scheme || req.URL.Host != u.Host {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &HTTPS{base: u, client: &own, pause: firstPause}, nil
}

// address of a file. JoinPath would clean the path; each part is escaped as it stands.
func (h *HTTPS) address(path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.TrimSuffix(h.base.String(), "/") + "/" + strings.Join(parts, "/")
}

// Fetch implements [Fetcher].
func (h *HTTPS) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	if !fs.ValidPath(path) {
		return nil, fmt.Errorf("file %.64q: %w: no path", path, ErrNotFound)
	}
	within := min(answerWithin+time.Duration(limit/slowest)*time.Second, longest)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	t := &transfer{client: h.client, address: h.address(path), path: path, limit: limit, pause: h.pause, patience: silence}
	h.mu.Lock()
	if path == timestampFile {
		t.known, t.body = h.etag, h.body
		h.givenUp = 0 // a new run
	} else {
		t.partial = h.partials.take(path, limit, time.Now())
	}
	left, had := tries, len(t.data)
	if h.givenUp >= weary {
		left, t.patience = 1, wearSilence
	}
	h.mu.Unlock()

	err := t.complete(ctx, left)

	h.mu.Lock()
	defer h.mu.Unlock()
	var p passing
	switch {
	case errors.As(err, &p):
		if err = p.error; len(t.data) <= had {
			h.givenUp++
		}
	case err == nil, errors.Is(err, ErrNotFound):
		h.givenUp = 0
	}
	switch {
	case err != nil:
		if path != timestampFile && errors.Is(err, ErrUnavailable) {
			h.partials.keep(path, t.partial, time.Now())
		}
		return nil, fmt.Errorf("file %s: %w", path, err)
	case path == timestampFile:
		h.etag, h.body = t.etag, t.data
	}
	return t.data, nil
}

// passing is a failure that may have passed a moment later; the server wants to
// be left alone for after.
type passing struct {
	error
	after time.Duration
}

// Unwrap returns what failed.
func (p passing) Unwrap() error { return p.error }

// passes makes the failure one that may pass.
func passes(format string, a ...any) error {
	return passing{error: fmt.Errorf("%w: "+format, append([]any{ErrUnavailable}, a...)...)}
}

// transfer is one file on its way.
type transfer struct {
	partial
	client   *http.Client
	address  string
	path     string
	limit    int64
	pause    time.Duration
	patience time.Duration
	// whole: this server's parts are not to be had, or not to be believed.
	whole bool
	// plain: nor is what it compressed.
	plain bool
	// known is the ETag of the timestamp that is remembered, and body its bytes.
	known string
	body  []byte
}

// complete tries until the file is there, at most so many times for nothing.
func (t *transfer) complete(ctx context.Context, left int) error {
	for failed := 0; ; {
		before := len(t.data)
		err := t.attempt(ctx)
		var p passing
		if !errors.As(err, &p) {
			return err
		}
		// What came of a timestamp is forgotten below, so it is never worth anything.
		if t.path != timestampFile && len(t.data)-before >= worth {
			failed = 0
		} else if failed++; failed >= left {
			return err
		}
		if t.path == timestampFile {
			// It may be another by now, so there is nothing to go on with.
			t.forget()
		}
		// Full jitter: gates that lost one server do not come back in step.
		pause := max(rand.N(min(t.pause<<failed, longestPause)+1), p.after)
		if p.after > longestAsked {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

// attempt asks for what is missing. Without an error the file is complete.
func (t *transfer) attempt(ctx context.Context) error {
	if t.whole {
		t.forget()
	}
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(t.patience, func() { cancel(errSilent) })
	defer watch.Stop()
	req, err := http.NewRequestWithContext(waiting, http.MethodGet, t.address, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	// Lists are compressed already. Of those the bytes that are counted are
	// the bytes that travel, and parts are parts of the file.
	encoding := "identity"
	switch {
	case len(t.data) > 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", len(t.data)))
		if t.etag != "" {
			req.Header.Set("If-Range", t.etag)
		}
	case strings.HasPrefix(t.path, "metadata/") && !t.plain:
		encoding = "gzip"
	}
	req.Header.Set("Accept-Encoding", encoding)
	if t.known != "" {
		req.Header.Set("If-None-Match", t.known)
	}
	res, err := t.client.Do(req)
	if err != nil {
		return t.broken(ctx, waiting, err)
	}
	defer res.Body.Close()
	err = t.receive(res, func() { watch.Reset(t.patience) })
	var network cut
	if errors.As(err, &network) {
		return t.broken(ctx, waiting, network.error)
	}
	return err
}

// broken is the error for a connection that broke, or never was one.
func (t *transfer) broken(ctx, waiting context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(ctx.Err(), err))
	case errors.Is(context.Cause(waiting), errSilent):
		return passes("%w for %s", errSilent, t.patience)
	case refusedTLS(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return passes("%w", err)
}

// refusedTLS says whether the handshake failed by what one side is, which no
// second try changes.
func refusedTLS(err error) bool {
	var (
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		header    tls.RecordHeaderError
		op        *net.OpError
	)
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) ||
		errors.As(err, &header) || errors.As(err, &op) && op.Op == "remote error"
}

// receive takes the answer in.
func (t *transfer) receive(res *http.Response, feed func()) error {
	body := &fed{res.Body, feed}
	have := int64(len(t.data))
	status := res.StatusCode
	if status != http.StatusOK && status != http.StatusPartialContent {
		// A short answer read to its end leaves the connection in use.
		if _, err := io.CopyN(io.Discard, body, 4<<10); err != nil && err != io.EOF {
			t.client.CloseIdleConnections()
		}
	}
	switch {
	case status == http.StatusOK:
		return t.start(res, body)
	case status == http.StatusPartialContent && have > 0:
		return t.goOn(res, body)
	case status == http.StatusNotModified && t.known != "":
		t.data, t.etag = t.body, t.known
		return nil
	case status == http.StatusRequestedRangeNotSatisfiable && have > 0:
		// All was there, and only the end was not heard of.
		if total, ok := strings.CutPrefix(res.Header.Get("Content-Range"), "bytes */"); ok && total == strconv.FormatInt(have, 10) {
			return nil
		}
		return t.disbelieve("no part of the file begins at %d", have)
	case status == http.StatusNotFound, status == http.StatusGone, status == http.StatusForbidden:
		// Object stores answer 403 for a file that is not there.
		return fmt.Errorf("%w: status %d", ErrNotFound, status)
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway,
		status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return passing{fmt.Errorf("%w: status %d", ErrUnavailable, status), retryAfter(res.Header.Get("Retry-After"))}
	}
	return fmt.Errorf("%w: status %d", ErrUnavailable, status)
}

// start takes a whole file.
func (t *transfer) start(res *http.Response, body io.Reader) error {
	t.forget()
	switch encoding := res.Header.Get("Content-Encoding"); {
	case encoding == "" || strings.EqualFold(encoding, "identity"):
	case strings.EqualFold(encoding, "gzip") && res.Request.Header.Get("Accept-Encoding") == "gzip":
		return t.inflate(res, body)
	default:
		return fmt.Errorf("%w: encoded as %.32q, which was not asked for", ErrUnavailable, encoding)
	}
	if res.ContentLength > t.limit {
		return fmt.Errorf("%w: %d bytes, allowed are %d", ErrTooLarge, res.ContentLength, t.limit)
	}
	t.total = res.ContentLength
	t.setETag(res)
	return t.append(body, t.limit)
}

// goOn takes the rest of a file.
func (t *transfer) goOn(res *http.Response, body io.Reader) error {
	first, last, total, ok := contentRange(res.Header.Get("Content-Range"))
	have := int64(len(t.data))
	encoding := res.Header.Get("Content-Encoding")
	switch {
	case !ok, first != have, encoding != "" && !strings.EqualFold(encoding, "identity"),
		res.ContentLength >= 0 && res.ContentLength != last-first+1:
		return t.disbelieve("asked from byte %d, got %.64q", have, res.Header.Get("Content-Range"))
	case t.total >= 0 && total != t.total, t.etag != "" && res.Header.Get("ETag") != "" && res.Header.Get("ETag") != t.etag:
		return t.disbelieve("the file became another one")
	case total > t.limit:
		return fmt.Errorf("%w: %d bytes, allowed are %d", ErrTooLarge, total, t.limit)
	}
	t.total = total
	if err := t.append(body, last+1); errors.Is(err, ErrTooLarge) {
		return t.disbelieve("more bytes than the part has")
	} else if err != nil {
		return err
	}
	switch now := int64(len(t.data)); {
	case now < last+1:
		return cut{io.ErrUnexpectedEOF}
	case now < total:
		return passes("%d of %d bytes", now, total)
	}
	return nil
}

// inflate takes a whole file that travels compressed. What was inflated before
// a cut is the beginning of the file, and the rest is asked for uncompressed.
func (t *transfer) inflate(res *http.Response, body io.Reader) error {
	t.plain = true
	travelled := &capped{r: body, left: t.limit + t.limit>>10 + gzipSlack}
	in := bufio.NewReader(travelled)
	z, err := gzip.NewReader(in)
	if err == nil {
		z.Multistream(false)
		if err = t.append(z, t.limit); err == nil {
			// One member and nothing behind it: one encoding of each file.
			if _, err = in.ReadByte(); err == nil {
				err = errors.New("bytes behind the end")
			} else if err == io.EOF {
				t.setETag(res)
				return nil
			}
		}
	}
	var network cut
	switch {
	case errors.Is(err, ErrTooLarge):
		return err
	case travelled.err != nil:
		// gzip reports the reader's error, or one of its own about it.
		return cut{travelled.err}
	case errors.As(err, &network):
		err = network.error
	}
	t.forget()
	return passes("gzip: %w", err)
}

// disbelieve starts over, without parts: the server's do not fit together.
func (t *transfer) disbelieve(format string, a ...any) error {
	t.forget()
	t.whole = true
	return passes(format, a...)
}

// setETag remembers what names this state of the file. Only a strong ETag names
// bytes; a weak one serves to ask whether the timestamp changed.
func (t *transfer) setETag(res *http.Response) {
	t.etag = res.Header.Get("ETag")
	if len(t.etag) > 256 || t.path != timestampFile && !strings.HasPrefix(t.etag, `"`) {
		t.etag = ""
	}
}

// cut is an error of the body's, not of what is in it.
type cut struct{ error }

// Unwrap returns the error of the connection.
func (c cut) Unwrap() error { return c.error }

// append reads to the end and appends, up to limit bytes of the file.
func (t *transfer) append(r io.Reader, limit int64) error {
	room := int64(4 << 10)
	if t.total > int64(len(t.data)) {
		room = min(t.total, limit) - int64(len(t.data)) + 1 // for the end to be seen
	}
	for {
		if int64(cap(t.data)-len(t.data)) == 0 {
			grown := make([]byte, len(t.data), int64(len(t.data))+room)
			copy(grown, t.data)
			t.data = grown
			room = int64(cap(t.data)) // double from here on
		}
		n, err := r.Read(t.data[len(t.data):cap(t.data)])
		t.data = t.data[:len(t.data)+n]
		switch {
		case int64(len(t.data)) > limit:
			return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
		case err == io.EOF:
			return nil
		case errors.Is(err, ErrTooLarge):
			return err
		case err != nil:
			return cut{err}
		}
	}
}

// fed tells each time that something came.
type fed struct {
	r    io.Reader
	feed func()
}

func (f *fed) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if n > 0 {
		f.feed()
	}
	return n, err
}

// capped bounds what travels, and keeps the error of the connection apart from
// those of what it carries.
type capped struct {
	r    io.Reader
	left int64
	err  error
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("%w: compressed", ErrTooLarge)
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// contentRange reads "bytes FIRST-LAST/TOTAL", where all three are told.
func contentRange(s string) (first, last, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	a, rest, ok1 := strings.Cut(s, "-")
	b, c, ok2 := strings.Cut(rest, "/")
	first, err1 := number(a)
	last, err2 := number(b)
	total, err3 := number(c)
	ok = ok && ok1 && ok2 && err1 == nil && err2 == nil && err3 == nil && first <= last && last < total
	return first, last, total, ok
}

// number reads digits and nothing else.
func number(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err
}

// retryAfter reads the header, in seconds or as a date; 0 for none.
func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
