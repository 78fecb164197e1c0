package hub

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"greengate/gate"
)

// newKey makes a device's key.
func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// renew asks for a certificate for key over the gate's connection; nil when it is refused.
func (g *testGate) renew(t testing.TB, url string, key *ecdsa.PrivateKey) (status int, cert *x509.Certificate) {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.client.Post(url+"/.well-known/est/simplereenroll", "application/pkcs10", bytes.NewReader([]byte(base64.StdEncoding.EncodeToString(csr))))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	der, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := pkcs7.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Certificates) != 1 || !key.PublicKey.Equal(p.Certificates[0].PublicKey) || p.Certificates[0].Subject.CommonName != g.id {
		t.Fatalf("answered %d certificates, the first for %v", len(p.Certificates), p.Certificates[0].Subject)
	}
	return resp.StatusCode, p.Certificates[0]
}

// with is the same gate behind another certificate.
func (g *testGate) with(t testing.TB, cert *x509.Certificate, key *ecdsa.PrivateKey) *testGate {
	t.Helper()
	b := g.bundle
	private, err := marshalKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b.Certificate, b.PrivateKey = string(certPEM(cert.Raw)), string(private)
	n := gateOf(t, b)
	n.tls().Time = g.tls().Time
	n.seq, n.chain, n.all, n.keys = g.seq, g.chain, g.all, g.keys
	return n
}

// tls is the gate's side of TLS, before its first connection.
func (g *testGate) tls() *tls.Config { return g.client.Transport.(*http.Transport).TLSClientConfig }

// asks is the status of a contact.
func (g *testGate) asks(t testing.TB, url string) int {
	t.Helper()
	resp, err := g.client.Get(url + "/v1/time")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// TestRenewal is the life of a gate's certificates.
func TestRenewal(t *testing.T) {
	var c clock
	o := quiet()
	o.Now = c.now
	h, _ := newHub(t, o)
	url, _ := serve(t, h)
	old := addGate(t, h, "north")
	old.pass(t, 2, gate.Valid)
	if status, _, _ := old.post(t, url, old.batch(t, 1, 1)); status != 200 {
		t.Fatalf("first batch: %d", status)
	}

	// A key of its own is wanted, and a renewal is not for strangers.
	if status, _ := old.renew(t, url, old.key.(*ecdsa.PrivateKey)); status != 400 {
		t.Errorf("renewed for the same key: %d, want 400", status)
	}
	stranger := &testGate{id: "north", client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: old.tls().RootCAs}}}}
	if status, _ := stranger.renew(t, url, newKey(t)); status != 401 {
		t.Errorf("renewed without a certificate: %d, want 401", status)
	}

	// The answer is lost: the same key gets the same certificate, another takes its place.
	lost, key := newKey(t), newKey(t)
	_, first := old.renew(t, url, lost)
	if _, again := old.renew(t, url, lost); !first.Equal(again) {
		t.Error("the same key got another certificate")
	}
	_, second := old.renew(t, url, key)
	if status := old.asks(t, url); status != 200 {
		t.Errorf("the old certificate before the new one was used: %d", status)
	}
	if status := old.with(t, first, lost).asks(t, url); status != 403 {
		t.Errorf("a certificate whose place was taken: %d, want 403", status)
	}

	// The next one signs a batch that still goes over the old connection, then is used.
	next := old.with(t, second, key)
	if status, _, word := old.post(t, url, next.batch(t, 1, 2)); status != 200 {
		t.Errorf("a batch of the next key over the old connection: %d %s", status, word)
	}
	if status := next.asks(t, url); status != 200 {
		t.Fatalf("the new certificate: %d", status)
	}
	if status := old.asks(t, url); status != 200 {
		t.Errorf("the old certificate at the handover: %d", status)
	}
	if status, _ := old.renew(t, url, newKey(t)); status != 403 {
		t.Errorf("the old certificate was renewed once more: %d, want 403", status)
	}
	if v, err := h.Verify(t.Context(), GateRef{Gate: "north"}); err != nil || !v.OK() || v.Records != 2 {
		t.Errorf("verify: %+v %v", v, err)
	}
	if h.fleet.raised("north", AlarmFork) != "" {
		t.Error("an alarm at the handover")
	}

	// Ten minutes later it is a second device's.
	c.advance(handover)
	if status := old.asks(t, url); status != 403 {
		t.Errorf("the old certificate after the handover: %d, want 403", status)
	}
	if h.fleet.raised("north", AlarmFork) == "" {
		t.Error("a superseded certificate was used, and nobody is told")
	}

	// A replacement ends the next one too.
	waiting := newKey(t)
	_, unused := next.renew(t, url, waiting)
	b, err := h.AddGate(t.Context(), GateRequest{Gate: "north", Replace: true, By: "op"})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := next.asks(t, url), next.with(t, unused, waiting).asks(t, url); a != 403 || b != 403 {
		t.Errorf("after a replacement: %d and %d, want 403", a, b)
	}
	last := gateOf(t, b)
	last.tls().Time = c.now

	// Past its end it buys a successor, for 90 days, and nothing else.
	c.advance(gateLife + afterEnd - time.Hour)
	if err := h.renew(); err != nil {
		t.Fatal(err)
	}
	if status := last.asks(t, url); status != 403 {
		t.Errorf("an ended certificate: %d, want 403", status)
	}
	if status, _, _ := last.post(t, url, last.batchOf(t)); status != 403 {
		t.Errorf("a batch with an ended certificate: %d, want 403", status)
	}
	key = newKey(t)
	status, cert := last.renew(t, url, key)
	if status != 200 {
		t.Fatalf("renewal 89 days past the end: %d", status)
	}
	c.advance(2 * time.Hour)
	if status, _ := last.renew(t, url, newKey(t)); status != 403 {
		t.Errorf("renewal past 90 days: %d, want 403", status)
	}
	if status := last.with(t, cert, key).asks(t, url); status != 200 {
		t.Errorf("the successor of an ended certificate: %d", status)
	}

	// Who is revoked is not renewed.
	if err := h.RevokeGate(t.Context(), GateRef{"north", "op"}); err != nil {
		t.Fatal(err)
	}
	if status, _ := last.with(t, cert, key).renew(t, url, newKey(t)); status != 403 {
		t.Errorf("a revoked gate was renewed: %d, want 403", status)
	}
}

// batchOf is one new record, signed.
func (g *testGate) batchOf(t testing.TB) []byte {
	t.Helper()
	g.pass(t, 1, gate.Valid)
	return g.batch(t, g.seq, g.seq)
}
