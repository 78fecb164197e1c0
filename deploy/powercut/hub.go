package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"greengate/gate/passage"
	"greengate/sync/hub"
)

const (
	// hubBatches of so many records are sent, or as many as fit into hubWork.
	hubBatches, perBatch = 300, 3
	hubWork              = 60 * time.Second
	hubAddress           = "127.0.0.1:8443"
)

// hubOptions are a hub's that publishes nothing: only passages are looked at.
func hubOptions() hub.Options { return hub.Options{PublishDelay: -1, Heartbeat: -1} }

// sender is a gate's side of the connection.
type sender struct{ client *http.Client }

func newSender(b hub.Bundle) (sender, error) {
	pair, err := tls.X509KeyPair([]byte(b.Certificate), []byte(b.PrivateKey))
	if err != nil {
		return sender{}, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(b.HubCA)) {
		return sender{}, errors.New("no authority in the bundle")
	}
	return sender{&http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}}}}, nil
}

// send sends a batch and returns what the hub acknowledges.
func (s sender) send(ctx context.Context, address string, batch []byte) (uint64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+"/v1/passages", bytes.NewReader(batch))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/vnd.greengate.passages+cbor")
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	var a struct {
		Acknowledged *uint64 `json:"acknowledged"`
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return 0, err
	}
	if a.Acknowledged == nil {
		return 0, fmt.Errorf("no acknowledgement in %s", text)
	}
	return *a.Acknowledged, nil
}

// served serves a hub's gates while work runs.
func served(ctx context.Context, h *hub.Hub, address string, work func(address string) error) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(serving, l, nil, nil) }()
	err = work(l.Addr().String())
	stop()
	return errors.Join(err, <-ended)
}

// shipment is what the gate in the machine sends: made beforehand, so that the
// host knows each byte.
type shipment struct {
	Bundle  hub.Bundle
	Batches [][]byte
}

// workHub is a hub's day, in the machine.
func workHub(ctx context.Context, m *marker) error {
	data, err := os.ReadFile("/data/shipment.json")
	if err != nil {
		return err
	}
	var s shipment
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	gate, err := newSender(s.Bundle)
	if err != nil {
		return err
	}
	h, err := hub.Open(ctx, "/data/hub", hubOptions())
	if err != nil {
		return err
	}
	return served(ctx, h, hubAddress, func(address string) error {
		end := time.Now().Add(hubWork)
		for _, b := range s.Batches[:min(hubBatches, len(s.Batches))] {
			last, err := gate.send(ctx, address, b)
			if err != nil {
				return err
			}
			if err := m.mark(appended, last); err != nil {
				return err
			}
			if time.Now().After(end) {
				break
			}
		}
		gate.client.CloseIdleConnections()
		return nil
	}) // and the hub stays open: the power goes
}

// hubPart is one hub's node, seen from the host.
type hubPart struct {
	shipment
	gate    sender
	digests [][]byte // of the clear part of record i+1
}

func (p *hubPart) name() string     { return "hub" }
func (p *hubPart) diskBytes() int64 { return 96 << 20 }
func (p *hubPart) env() []string    { return nil }

// fill makes the hub, a gate of it, and all that this gate will send.
func (p *hubPart) fill(ctx context.Context, dir string) (err error) {
	folder := filepath.Join(dir, "hub")
	if err := hub.Init(ctx, folder, hub.Config{Name: "Cut", URL: "https://" + hubAddress, Provinces: []string{"33"}}, hubOptions()); err != nil {
		return err
	}
	h, err := hub.Open(ctx, folder, hubOptions())
	if err != nil {
		return err
	}
	p.Bundle, err = h.AddGate(ctx, hub.GateRequest{Gate: gateName, Site: "bench", By: "bench"})
	if err := errors.Join(err, h.Close()); err != nil {
		return err
	}
	if p.gate, err = newSender(p.Bundle); err != nil {
		return err
	}
	if err := p.load(); err != nil {
		return err
	}
	data, err := json.Marshal(p.shipment)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "shipment.json"), data, 0o600)
}

// load makes the batches, chained and signed.
func (p *hubPart) load() error {
	hubKey, err := passage.ParseHubKey(p.Bundle.HubKey)
	if err != nil {
		return err
	}
	sealer, key, err := passage.NewSegmentSealer(gateName, 1, hubKey, rand.Reader)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair([]byte(p.Bundle.Certificate), []byte(p.Bundle.PrivateKey))
	if err != nil {
		return err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return fmt.Errorf("the gate's key is a %T", pair.PrivateKey)
	}
	chain, seq := passage.Genesis(gateName), uint64(0)
	// One more than is sent in the machine, so that there is always a next one.
	for range hubBatches + 1 {
		b := &passage.Batch{Gate: gateName, Prev: chain, Keys: []passage.SegmentKey{key}}
		for range perBatch {
			seq++
			r := record(seq)
			r.At = time.Now()
			e, err := sealer.Entry(seq, chain, r)
			if err != nil {
				return err
			}
			chain = e.Chain
			b.Entries = append(b.Entries, e)
			digest := sha256.Sum256(e.Clear)
			p.digests = append(p.digests, digest[:])
		}
		if err := b.Sign(signer); err != nil {
			return err
		}
		data, err := b.Marshal()
		if err != nil {
			return err
		}
		p.Batches = append(p.Batches, data)
	}
	return nil
}

// check opens what a cut has left.
func (p *hubPart) check(ctx context.Context, dir string, promised promises) (found outcome, err error) {
	h, err := hub.Open(ctx, filepath.Join(dir, "hub"), hubOptions())
	if err != nil {
		found.lost = promised[appended]
		return found, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	have, err := p.look(ctx, h, &found)
	if err != nil {
		return found, err
	}
	if have < promised[appended] {
		found.lost += promised[appended] - have
	}
	if have > promised[appended]+perBatch {
		found.doubled += have - promised[appended] - perBatch
	}
	if have%perBatch != 0 {
		return found, fmt.Errorf("%d records: a part of a batch", have)
	}
	// The gate sends what it may have sent before, and the next.
	next := have / perBatch
	err = served(ctx, h, "127.0.0.1:0", func(address string) error {
		defer p.gate.client.CloseIdleConnections()
		for i := next - min(next, 1); i <= next; i++ {
			last, err := p.gate.send(ctx, address, p.Batches[i])
			if err != nil {
				return fmt.Errorf("batch %d behind %d records: %w", i, have, err)
			}
			if want := max(have, (i+1)*perBatch); last != want {
				return fmt.Errorf("batch %d: acknowledged %d, want %d", i, last, want)
			}
		}
		return nil
	})
	if err != nil {
		return found, err
	}
	var again outcome
	last, err := p.look(ctx, h, &again)
	if err == nil && last != have+perBatch {
		err = fmt.Errorf("%d records, and %d after the next batch", have, last)
	}
	found.lost, found.doubled = found.lost+again.lost, found.doubled+again.doubled
	return found, err
}

// look reads all that the hub has, and returns the last sequence.
func (p *hubPart) look(ctx context.Context, h *hub.Hub, found *outcome) (uint64, error) {
	v, err := h.Verify(ctx, hub.GateRef{Gate: gateName, By: "bench"})
	if err != nil {
		return 0, err
	}
	found.lost += v.Gaps + v.Lost
	found.doubled += v.Duplicates
	if v.Records > 0 && (!v.Chain || !v.Signatures) {
		return v.Last, fmt.Errorf("chain %v, signatures %v", v.Chain, v.Signatures)
	}
	last := uint64(0)
	for {
		page, err := h.Passages(ctx, hub.PassagesRequest{Gate: gateName, After: last, Max: 1000})
		if err != nil {
			return last, err
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			if r.Sequence <= last {
				found.doubled++
				continue
			}
			if r.Sequence > uint64(len(p.digests)) || !bytes.Equal(r.Digest, p.digests[r.Sequence-1]) {
				return last, fmt.Errorf("record %d: other bytes than were sent", r.Sequence)
			}
			last = r.Sequence
			found.records++
		}
	}
	if last != v.Last {
		return last, fmt.Errorf("read up to %d of %d", last, v.Last)
	}
	return last, nil
}
