package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// meter counts the bytes of a gate's connections, both ways, as TLS puts them
// on the wire.
type meter struct {
	bytes atomic.Int64
	dials atomic.Int64

	mu    sync.Mutex
	polls []int64
}

// count makes the transport dial connections that are counted.
func (m *meter) count(t *http.Transport) {
	dial := t.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		m.dials.Add(1)
		return &countedConn{c, &m.bytes}, nil
	}
}

type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.bytes.Add(int64(n))
	return n, err
}

// pollMeter notes what each poll took that brought nothing: the timestamp was
// asked for on a kept connection, and the answer was that it is the same. Such
// an answer has no body, so it is whole when its head is. It stands before the
// gate's transport.
type pollMeter struct {
	*meter
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (p pollMeter) RoundTrip(r *http.Request) (*http.Response, error) {
	m := p.meter
	bytes, dials := m.bytes.Load(), m.dials.Load()
	res, err := p.next.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusNotModified && m.dials.Load() == dials && strings.HasSuffix(r.URL.Path, "/metadata/timestamp.json") {
		m.mu.Lock()
		m.polls = append(m.polls, m.bytes.Load()-bytes)
		m.mu.Unlock()
	}
	return res, err
}
