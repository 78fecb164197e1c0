package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
	"greengate/sync/hub"
)

// simulated is a gate as the hub sees one: its certificate, its records, its connection.
type simulated struct {
	id      string
	url     string
	bundle  hub.Bundle
	signer  crypto.Signer
	client  *http.Client
	sealer  *passage.Sealer
	key     passage.SegmentKey
	seq     uint64
	chain   [32]byte
	etag    string
	sent    atomic.Int64 // bytes on the wire, TLS included
	fetched atomic.Int64
}

// enlist makes n gates known to the hub.
func enlist(ctx context.Context, h *hubProcess, prefix string, n int) ([]*simulated, error) {
	gates := make([]*simulated, n)
	for i := range gates {
		b, err := h.client.AddGate(ctx, hub.GateRequest{Gate: fmt.Sprintf("%s-%d", prefix, i+1), Site: "bench", By: "bench"})
		if err != nil {
			return nil, err
		}
		if gates[i], err = newSimulated(b, i); err != nil {
			return nil, err
		}
	}
	return gates, nil
}

func newSimulated(b hub.Bundle, i int) (*simulated, error) {
	g := &simulated{id: b.Gate, url: b.HubURL, bundle: b, chain: passage.Genesis(b.Gate)}
	pair, err := tls.X509KeyPair([]byte(b.Certificate), []byte(b.PrivateKey))
	if err != nil {
		return nil, err
	}
	g.signer = pair.PrivateKey.(crypto.Signer)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(b.HubCA)) {
		return nil, errors.New("no authority in the bundle")
	}
	hubKey, err := passage.ParseHubKey(b.HubKey)
	if err != nil {
		return nil, err
	}
	if g.sealer, g.key, err = passage.NewSegmentSealer(g.id, 1, hubKey, rand.Reader); err != nil {
		return nil, err
	}
	// The hub bounds the connections of one address: these gates live at many.
	dialer := &net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/400))}}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	g.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &counted{Conn: c, gate: g}, nil
		},
		TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13},
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 5 * time.Minute, Protocols: protocols,
	}}
	return g, nil
}

// selfMade is a gate that no hub knows, for the peer.
func selfMade(id string, hubKey hpke.PublicKey) (g *simulated, err error) {
	g = &simulated{id: id, chain: passage.Genesis(id)}
	if g.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	g.sealer, g.key, err = passage.NewSegmentSealer(id, 1, hubKey, rand.Reader)
	return g, err
}

// counted counts what goes over a connection.
type counted struct {
	net.Conn
	gate *simulated
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.fetched.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.gate.sent.Add(int64(n))
	return n, err
}

// batch makes the next n records, signed.
func (g *simulated) batch(n int) (*passage.Batch, error) {
	b := &passage.Batch{Gate: g.id, Prev: g.chain, Keys: []passage.SegmentKey{g.key}}
	for range n {
		e, err := g.sealer.Entry(g.seq+1, g.chain, decision(g.seq+1))
		if err != nil {
			return nil, err
		}
		g.seq, g.chain = e.Seq, e.Chain
		b.Entries = append(b.Entries, e)
	}
	return b, b.Sign(g.signer)
}

// decision is a passage as a gate writes it; number is written where the
// policy's version stands, so that it is known again.
func decision(number uint64) gate.Record {
	return gate.Record{
		Kind: gate.DecisionRecord, At: time.Now(), Clock: gate.ClockConfirmed, Verdict: gate.Admit, Reason: gate.Valid, Policy: number, List: 31,
		Sealed: gate.Sealed{Pseudonym: make([]byte, 16), CodeKind: "dynamic", Colour: gate.Green, Region: "330106",
			Reading:       &gate.Reading{Object: 36200, Ambient: 21500, Adjusted: 36400},
			Circumstances: &gate.Circumstances{ListAge: 40, PermitListAge: gate.Never, Inside: gate.Never}},
	}
}

// post sends a batch; nil when the hub has all of it.
func (g *simulated) post(ctx context.Context, body []byte, last uint64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/v1/passages", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/vnd.greengate.passages+cbor")
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return err
	}
	var a struct{ Acknowledged uint64 }
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d %s", g.id, resp.StatusCode, text)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return err
	}
	if a.Acknowledged != last {
		return fmt.Errorf("%s: acknowledged %d of %d", g.id, a.Acknowledged, last)
	}
	return nil
}

// poll asks for the lists' timestamp, as a gate does each minute.
func (g *simulated) poll(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/lists/metadata/timestamp.json", nil)
	if err != nil {
		return err
	}
	if g.etag != "" {
		req.Header.Set("If-None-Match", g.etag)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotModified {
		return fmt.Errorf("%s: lists: status %d", g.id, resp.StatusCode)
	}
	g.etag = resp.Header.Get("ETag")
	return nil
}
