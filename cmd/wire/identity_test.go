package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
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

// A connection that is in use while the certificate is renewed ends with its
// answer: whatever is asked next shows the new one.
func TestRenewalWhileAConnectionIsInUse(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	shown := make(chan string, 8) // the certificate that each request came with
	asked, answer := make(chan struct{}), make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown <- string(r.TLS.PeerCertificates[0].Raw)
		if r.URL.Path == "/slow" {
			close(asked)
			<-answer
		}
	}))
	// A hub of one's own certificates, which closes no connection by itself.
	must(hub.Init(t.Context(), dir, hub.Config{Name: "test", URL: "https://127.0.0.1:8443", Provinces: []string{"33"}}, hub.Options{}))
	h, err := hub.Open(t.Context(), dir, hub.Options{PublishDelay: -1, Heartbeat: -1})
	must(err)
	defer func() { must(h.Close()) }()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca", "server.pem"), filepath.Join(dir, "ca", "server.key"))
	must(err)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	defer s.Close()
	identity := func() *enrol.Identity {
		b, err := h.AddGate(t.Context(), hub.GateRequest{Gate: "east-1", Replace: true, By: "test"})
		must(err)
		return &enrol.Identity{Gate: b.Gate, HubURL: b.HubURL, ListsURL: b.ListsURL, HubCA: b.HubCA, Certificate: b.Certificate, PrivateKey: b.PrivateKey, TUFRoot: b.TUFRoot, HubKey: b.HubKey}
	}
	first, second := identity(), identity()
	var w worn
	config, err := w.wear(first, gate.NewWallClock(time.Now, func() bool { return true }, slog.New(slog.DiscardHandler)))
	must(err)
	client := upload.NewClient(config)
	defer client.CloseIdleConnections()
	ask := func(path string) error {
		resp, err := client.Get(s.URL + path)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	done := make(chan error, 1)
	go func() { done <- ask("/slow") }()
	<-asked
	must(w.change(second, client))
	close(answer)
	must(<-done)
	must(ask("/"))
	old, now := <-shown, <-shown
	if leaf := string(w.pair.Load().Certificate[0]); now == old || now != leaf {
		t.Errorf("behind the renewal: the old certificate %v, the new one %v", now == old, now == leaf)
	}
}
