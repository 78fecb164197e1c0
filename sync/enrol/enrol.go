package enrol

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/smallstep/pkcs7"
)

// The ways in which enrolling fails for good. Whatever else goes wrong is worth
// another try with the same token, within its time.
var (
	// ErrPinned: what answers is not the hub that the token names.
	ErrPinned = errors.New("not the hub of this token")
	// ErrSpent: the token was used, is too old, or never was.
	ErrSpent = errors.New("the hub does not take this token")
	// ErrRefused: the hub does not renew this certificate.
	ErrRefused = errors.New("the hub does not renew this certificate")
)

// Paths at the hub; RFC 7030 names the first three (sections 4.1, 4.2.1, 4.2.2).
const (
	pathCACerts  = "/.well-known/est/cacerts"
	pathEnrol    = "/.well-known/est/simpleenroll"
	pathReenrol  = "/.well-known/est/simplereenroll"
	pathHub      = "/v1/enrolment"
	pathHistory  = "/v1/history"
	maxHubAnswer = 1 << 20
	// exchangeTime bounds one exchange with the hub.
	exchangeTime = 30 * time.Second
)

// hubFacts is what a hub tells everybody of itself.
type hubFacts struct {
	TUFRoot  []byte `json:"tuf_root"`
	HubKey   []byte `json:"hub_hpke_public_key"`
	ListsURL string `json:"lists_url"`
}

// NewKey makes a device's key. It is made before the hub is asked and kept until
// the hub has answered: with the same key a lost answer can be asked for again.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Enrol buys an identity with a token. The hub is known by the token's
// fingerprint before the secret is shown to it. now is the device's time; where
// it is before the start of the hub's certificates, as with a clock that is not
// set, they are taken for new. Errors wrap [ErrPinned], [ErrSpent] or
// [ErrBadIdentity], or are the network's.
func Enrol(ctx context.Context, t Token, key *ecdsa.PrivateKey, now time.Time) (*Identity, error) {
	ca, facts, err := meet(ctx, t)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: pinned(ca, now)}, Timeout: exchangeTime}
	defer client.CloseIdleConnections()
	// Over a connection to the hub itself, what it says of its sealing key holds too.
	if facts, err = askFacts(ctx, client, t.URL); err != nil {
		return nil, fmt.Errorf("enrol at %s: %w", t.URL, err)
	}
	if Fingerprint(ca.Raw, facts.TUFRoot) != t.Fingerprint {
		return nil, fmt.Errorf("enrol at %s: %w: another root of trust", t.URL, ErrPinned)
	}
	request := func(r *http.Request) { r.SetBasicAuth("token", hex.EncodeToString(t.Secret[:])) }
	cert, err := askCertificate(ctx, client, t.URL+pathEnrol, key, request, ErrSpent)
	if err != nil {
		return nil, fmt.Errorf("enrol at %s: %w", t.URL, err)
	}
	id := &Identity{Gate: cert.Subject.CommonName, HubURL: t.URL, ListsURL: facts.ListsURL, TUFRoot: facts.TUFRoot, HubKey: facts.HubKey,
		HubCA: certificatePEM(ca.Raw), Certificate: certificatePEM(cert.Raw)}
	if id.PrivateKey, err = privatePEM(key); err != nil {
		return nil, err
	}
	if id.History, err = askHistory(ctx, ca, tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, t.URL, now); err != nil {
		return nil, fmt.Errorf("enrol at %s: %w\nhint: the same command with the same token goes on", t.URL, err)
	}
	if err := id.check(); err != nil {
		return nil, fmt.Errorf("enrol at %s: %w: %w", t.URL, ErrBadIdentity, err)
	}
	return id, nil
}

// askHistory asks the hub where the passages of this name ended: another device
// may have had it, or this one before it was wiped. It shows the new certificate,
// so that no device before writes to that history any more.
func askHistory(ctx context.Context, ca *x509.Certificate, own tls.Certificate, hub string, now time.Time) (*History, error) {
	config := pinned(ca, now)
	config.Certificates = []tls.Certificate{own}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config}, Timeout: exchangeTime}
	defer client.CloseIdleConnections()
	text, err := ask(ctx, client, http.MethodGet, hub+pathHistory, nil, nil, nil)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var h *History
	if err := d.Decode(&h); err != nil {
		return nil, fmt.Errorf("what the hub has of this gate: %w", err)
	}
	return h, nil
}

// meet asks the hub who it is, over a connection that proves nothing, and
// compares that with the token.
func meet(ctx context.Context, t Token) (*x509.Certificate, hubFacts, error) {
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment,
		// Nothing is believed here but what has the token's fingerprint, and nothing told.
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}}, Timeout: exchangeTime}
	defer client.CloseIdleConnections()
	text, err := ask(ctx, client, http.MethodGet, t.URL+pathCACerts, nil, nil, nil)
	if err != nil {
		return nil, hubFacts{}, fmt.Errorf("hub at %s: %w", t.URL, err)
	}
	certs, err := decodeCertificates(text)
	if err != nil || len(certs) != 1 {
		return nil, hubFacts{}, fmt.Errorf("hub at %s: %w: %d certificates, %w", t.URL, ErrPinned, len(certs), errors.Join(err))
	}
	facts, err := askFacts(ctx, client, t.URL)
	if err != nil {
		return nil, hubFacts{}, fmt.Errorf("hub at %s: %w", t.URL, err)
	}
	if Fingerprint(certs[0].Raw, facts.TUFRoot) != t.Fingerprint {
		return nil, hubFacts{}, fmt.Errorf("hub at %s: %w: another authority or root of trust\nhint: is the address right? else ask for a new token", t.URL, ErrPinned)
	}
	return certs[0], facts, nil
}

// pinned is TLS with a hub whose certificate chains to ca and to nothing else.
func pinned(ca *x509.Certificate, now time.Time) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // VerifyConnection checks all of it, at its own time
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("hub shows no certificate")
			}
			leaf, at := s.PeerCertificates[0], now
			for _, t := range []time.Time{ca.NotBefore, leaf.NotBefore} {
				if at.Before(t) {
					at = t
				}
			}
			_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			return err
		}}
}

func askFacts(ctx context.Context, client *http.Client, hub string) (f hubFacts, err error) {
	text, err := ask(ctx, client, http.MethodGet, hub+pathHub, nil, nil, nil)
	if err != nil {
		return f, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("what the hub says of itself: %w", err)
	}
	return f, nil
}

// askCertificate sends a certificate request for key and returns the certificate
// that comes back, which is for key.
func askCertificate(ctx context.Context, client *http.Client, url string, key crypto.Signer, change func(*http.Request), refused error) (*x509.Certificate, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	text, err := ask(ctx, client, http.MethodPost, url, []byte(base64.StdEncoding.EncodeToString(csr)), change, refused)
	if err != nil {
		return nil, err
	}
	certs, err := decodeCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("the hub's answer: %w", err)
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("the hub's answer: %d certificates, want 1", len(certs))
	}
	if public, ok := certs[0].PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(key.Public()) {
		return nil, errors.New("the hub's answer: a certificate for another key")
	}
	return certs[0], nil
}

// decodeCertificates reads what EST answers: base64 of a PKCS #7 that holds
// certificates and nothing else (RFC 7030 section 4.1.3).
func decodeCertificates(text []byte) ([]*x509.Certificate, error) {
	der, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(text), nil)))
	if err != nil {
		return nil, err
	}
	p, err := pkcs7.Parse(der)
	if err != nil {
		return nil, err
	}
	return p.Certificates, nil
}

// ask makes one exchange. 401, 403 and 404 wrap refused, where there is one.
func ask(ctx context.Context, client *http.Client, method, url string, body []byte, change func(*http.Request), refused error) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/pkcs10")
		req.Header.Set("Content-Transfer-Encoding", "base64")
	}
	if change != nil {
		change(req)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxHubAnswer+1))
	if err != nil {
		return nil, err
	}
	switch {
	case len(text) > maxHubAnswer:
		return nil, fmt.Errorf("the hub's answer has more than %d bytes", maxHubAnswer)
	case resp.StatusCode == http.StatusOK:
		return text, nil
	case refused != nil && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusNotFound):
		return nil, fmt.Errorf("%w (status %d %.100q)", refused, resp.StatusCode, text)
	}
	return nil, fmt.Errorf("the hub answers status %d %.100q", resp.StatusCode, text)
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func privatePEM(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
