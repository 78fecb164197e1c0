package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Client is gatectl's end of the control socket.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client for the gate behind this socket.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) do(ctx context.Context, method, path string) (io.ReadCloser, error) {
	return c.send(ctx, method, path, nil)
}

func (c *Client) send(ctx context.Context, method, path string, request io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://gate"+path, request)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w\nhint: does gated run here? -socket names another one; root or the gate's own user may ask", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", resp.Status, err)
		}
		return nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp.Body, nil
}

func fetch[T any](ctx context.Context, c *Client, method, path string) (T, error) {
	var v T
	body, err := c.do(ctx, method, path)
	if err != nil {
		return v, err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, 1<<20)).Decode(&v); err != nil {
		return v, fmt.Errorf("answer of %s: %w", c.socket, err)
	}
	return v, nil
}

// Status asks how the gate is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return fetch[Status](ctx, c, http.MethodGet, "/status")
}

// ScanTest waits for the next scan.
func (c *Client) ScanTest(ctx context.Context) (ScanTest, error) {
	return fetch[ScanTest](ctx, c, http.MethodPost, "/scan-test")
}

// Journal calls line for the last n records, and with follow for each new one
// until ctx ends or line fails.
func (c *Client) Journal(ctx context.Context, n int, follow bool, line func(JournalLine) error) error {
	path := fmt.Sprintf("/journal?n=%d", n)
	if follow {
		path += "&follow=1"
	}
	body, err := c.do(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var l JournalLine
		if err := dec.Decode(&l); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := line(l); err != nil {
			return err
		}
	}
}
