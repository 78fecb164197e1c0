package trusttest

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// Transport asks a handler in the same process: the client's own fetcher
// without a network. It is an [http.RoundTripper].
type Transport struct {
	Handler http.Handler
	// Served counts the bytes of bodies that the client took.
	Served atomic.Int64
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	pr, pw := io.Pipe()
	w := &answer{header: http.Header{}, body: pw, begun: make(chan struct{}), served: &t.Served}
	stop := make(chan struct{})
	go func() {
		select {
		case <-r.Context().Done():
			pw.CloseWithError(r.Context().Err())
			pr.CloseWithError(r.Context().Err())
		case <-stop:
		}
	}()
	go func() {
		defer close(stop)
		defer func() {
			// A handler may break off, as on a real server.
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				panic(v)
			} else if v != nil {
				w.begin(http.StatusOK)
				pw.CloseWithError(io.ErrUnexpectedEOF)
			}
		}()
		t.Handler.ServeHTTP(w, r)
		w.begin(http.StatusOK)
		pw.Close()
	}()
	select {
	case <-w.begun:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	length := int64(-1)
	if n, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64); err == nil {
		length = n
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: pr, ContentLength: length, Request: r,
	}, nil
}

// answer is the handler's end of a round trip.
type answer struct {
	header, sent http.Header
	status       int
	body         *io.PipeWriter
	once         sync.Once
	begun        chan struct{}
	served       *atomic.Int64
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) begin(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *answer) WriteHeader(status int) { a.begin(status) }

func (a *answer) Write(p []byte) (int, error) {
	a.begin(http.StatusOK)
	n, err := a.body.Write(p)
	a.served.Add(int64(n))
	return n, err
}

// Flush implements [http.Flusher]: nothing is held back.
func (a *answer) Flush() {}
