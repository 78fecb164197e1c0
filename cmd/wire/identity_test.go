package wire

import (
	"context"
	"crypto/ecdsa"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"greengate/gate"
	"greengate/sync/enrol"
	"greengate/sync/hub"
	"greengate/sync/upload"
)

// TestRenewedWithoutRestart is a year of one gate's certificate, at a real hub.
func TestRenewedWithoutRestart(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	log := slog.New(slog.DiscardHandler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	dir := t.TempDir()
	must(hub.Init(t.Context(), dir, hub.Config{Name: "test", URL: "https://" + l.Addr().String(), Provinces: []string{"33"}}, hub.Options{Now: now}))
	h, err := hub.Open(t.Context(), dir, hub.Options{Now: now, PublishDelay: -1, Heartbeat: -1})
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, l, nil, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	b, err := h.AddGate(t.Context(), hub.GateRequest{Gate: "east-1", By: "test"})
	must(err)
	path := filepath.Join(dir, "identity.json")
	first := enrol.Identity{Gate: b.Gate, HubURL: b.HubURL, ListsURL: b.ListsURL, HubCA: b.HubCA, Certificate: b.Certificate, PrivateKey: b.PrivateKey, TUFRoot: b.TUFRoot, HubKey: b.HubKey}
	must(first.Save(path))

	g := &Gate{cfg: Config{Identity: path}, log: log, clock: gate.NewWallClock(now, func() bool { return true }, log)}
	config, err := g.worn.wear(&first, g.clock)
	must(err)
	client := upload.NewClient(config)
	defer client.CloseIdleConnections()
	renewer := g.newRenewer(client)
	asks := func(client *http.Client) int {
		t.Helper()
		resp, err := client.Get(b.HubURL + "/v1/time")
		must(err)
		must(resp.Body.Close())
		return resp.StatusCode
	}
	key := g.worn.Public()

	// In the first two thirds nothing is asked for.
	ahead.Store(int64(240 * 24 * time.Hour))
	if renewed, err := renewer.Once(t.Context()); renewed || err != nil {
		t.Fatalf("after 240 days: %v %v", renewed, err)
	}
	if status := asks(client); status != 200 {
		t.Fatalf("contact: %d", status)
	}
	// In the last one a new key comes into force, on the disk and on the wire, once.
	ahead.Store(int64(250 * 24 * time.Hour))
	if renewed, err := renewer.Once(t.Context()); !renewed || err != nil {
		t.Fatalf("after 250 days: %v %v", renewed, err)
	}
	second, err := enrol.Load(path)
	must(err)
	if second.Certificate == first.Certificate || second.PrivateKey == first.PrivateKey {
		t.Error("the file holds what it held")
	}
	signer, err := second.Signer()
	must(err)
	mine := g.worn.Public().(*ecdsa.PublicKey)
	if mine.Equal(key) || !mine.Equal(signer.Public()) {
		t.Error("the gate does not sign with the key of its file")
	}
	if status := asks(client); status != 200 {
		t.Fatalf("contact with the new certificate: %d", status)
	}
	if renewed, err := renewer.Once(t.Context()); renewed || err != nil {
		t.Errorf("again: %v %v", renewed, err)
	}
	// The hub has seen the new one: the old is nobody's after the handover.
	ahead.Add(int64(time.Hour))
	old, err := first.TLSConfig(g.clock)
	must(err)
	if status := asks(upload.NewClient(old)); status != 403 {
		t.Errorf("the old certificate: %d, want 403", status)
	}
}
