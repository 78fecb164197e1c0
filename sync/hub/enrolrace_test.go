package hub

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/smallstep/pkcs7"
)

// askCertificate asks a hub for a certificate as a device does.
func askCertificate(client *http.Client, hub string, secret []byte, key *ecdsa.PrivateKey) (cert *x509.Certificate, status int, said string, err error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, 0, "", err
	}
	req, err := http.NewRequest(http.MethodPost, hub+"/.well-known/est/simpleenroll", strings.NewReader(base64.StdEncoding.EncodeToString(csr)))
	if err != nil {
		return nil, 0, "", err
	}
	req.SetBasicAuth("gate", hex.EncodeToString(secret))
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode, string(body), err
	}
	der, err := base64.StdEncoding.DecodeString(string(body))
	if err != nil {
		return nil, 0, "", err
	}
	p, err := pkcs7.Parse(der)
	if err != nil {
		return nil, 0, "", err
	}
	if len(p.Certificates) != 1 {
		return nil, 0, "", fmt.Errorf("%d certificates", len(p.Certificates))
	}
	return p.Certificates[0], resp.StatusCode, "", nil
}

// TestOneTokenOneCertificate: fifty devices come with one token at once, through
// two hubs on a cluster. One gets a certificate; each of the others is told why
// not, and none of them is made to wait for it; the registry names the one.
func TestOneTokenOneCertificate(t *testing.T) {
	c := newCluster(t, quiet())
	second := filepath.Join(t.TempDir(), "second")
	if err := Join(t.Context(), c.hub, second); err != nil {
		t.Fatal(err)
	}
	hubs := []*Hub{openHub(t, c.hub, c.on(quiet())), openHub(t, second, c.on(quiet()))}
	roots := x509.NewCertPool()
	roots.AddCert(hubs[0].ca.cert)
	var urls []string
	for _, h := range hubs {
		url, _ := serve(t, h)
		urls = append(urls, url)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, MaxIdleConnsPerHost: 50}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}

	const tries = 50
	tokens := 20
	if testing.Short() {
		tokens = 3
	}
	keys := make([]*ecdsa.PrivateKey, tries)
	for i := range keys {
		keys[i] = newKey(t)
	}
	won := map[int]int{} // races by the hub that answered the winner
	for token := range tokens {
		id := fmt.Sprintf("gate-%d", token)
		invited, err := hubs[token%2].InviteGate(t.Context(), InviteRequest{Gate: id, By: "anna"})
		if err != nil {
			t.Fatal(err)
		}
		certs := make([]*x509.Certificate, tries)
		said := make([]string, tries)
		start := make(chan struct{})
		var devices sync.WaitGroup
		for i := range tries {
			devices.Go(func() {
				<-start
				cert, status, text, err := askCertificate(client, urls[i%2], invited.Secret, keys[i])
				certs[i], said[i] = cert, fmt.Sprintf("%d %s", status, text)
				if err != nil {
					t.Errorf("%s, device %d: %v", id, i, err)
				}
			})
		}
		close(start)
		devices.Wait()
		winner := -1
		for i, cert := range certs {
			switch {
			case cert != nil && winner >= 0:
				t.Fatalf("%s: devices %d and %d have a certificate each", id, winner, i)
			case cert != nil:
				winner = i
			case said[i] != `403 {"error":"token spent by another device: ask for a new one"}`:
				t.Errorf("%s, device %d: %s", id, i, said[i])
			}
		}
		if winner < 0 {
			t.Fatalf("%s: no device has a certificate", id)
		}
		won[winner%2]++
		if cert := certs[winner]; cert.Subject.CommonName != id || !keys[winner].PublicKey.Equal(cert.PublicKey) {
			t.Errorf("%s: the certificate is of %q, or for another key", id, cert.Subject.CommonName)
		}
		// Both hubs read the same record, and it names the winner.
		sum := sha256.Sum256(certs[winner].RawSubjectPublicKeyInfo)
		for _, h := range hubs {
			spent, _, err := load[tokenRecord](t.Context(), h.store.registry, tokenKey(digest(invited.Secret)))
			if err != nil || !bytes.Equal(spent.Key, sum[:]) || !bytes.Equal(spent.Certificate, certs[winner].Raw) {
				t.Errorf("%s: the token's record names another key: %v", id, err)
			}
			rec, err := h.gate(t.Context(), id)
			if err != nil || !bytes.Equal(rec.Certificate, certs[winner].Raw) || len(rec.Former) != 0 || rec.Next != nil {
				t.Errorf("%s: the gate's record has another certificate, or more: %v", id, err)
			}
		}
		// The winner's answer was lost: it asks again, at the other hub.
		again, status, text, err := askCertificate(client, urls[(winner+1)%2], invited.Secret, keys[winner])
		if err != nil || again == nil || !bytes.Equal(again.Raw, certs[winner].Raw) {
			t.Errorf("%s: the same device again: %d %s %v", id, status, text, err)
		}
	}
	if gates, err := hubs[0].Gates(t.Context()); err != nil || len(gates) != tokens {
		t.Errorf("%d gates of %d tokens, %v", len(gates), tokens, err)
	}
	t.Logf("%d tokens, %d tries each; %d and %d were won at the two hubs", tokens, tries, won[0], won[1])
	// Guesses are still made to wait.
	var statuses []int
	for range maxWrong + 1 {
		_, status, _, err := askCertificate(client, urls[0], make([]byte, secretBytes), keys[0])
		if err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, status)
	}
	if !slices.Equal(statuses[maxWrong-1:], []int{http.StatusForbidden, http.StatusTooManyRequests}) {
		t.Errorf("guesses were answered %v", statuses)
	}
}
