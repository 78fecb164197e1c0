package wire

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"greengate/sync/enrol"
)

// worn is the certificate and the key that the gate shows and signs with now. A
// renewal changes them while everything runs.
type worn struct {
	pair atomic.Pointer[tls.Certificate]
}

// wear begins with an identity, and returns the gate's side of TLS with it.
func (w *worn) wear(id *enrol.Identity, clock enrol.Clock) (*tls.Config, error) {
	config, err := id.TLSConfig(clock)
	if err != nil {
		return nil, err
	}
	w.pair.Store(&config.Certificates[0])
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return w.pair.Load(), nil }
	return config, nil
}

// change puts on what a renewal brought. Connections made with the certificate
// before end when they are idle; the hub ends the others.
func (w *worn) change(id *enrol.Identity, client *http.Client) error {
	signer, err := id.Signer()
	if err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(id.Certificate))
	if block == nil {
		return fmt.Errorf("renewed identity: %w: no certificate", enrol.ErrBadIdentity)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("renewed identity: %w: %w", enrol.ErrBadIdentity, err)
	}
	w.pair.Store(&tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: signer, Leaf: leaf})
	client.CloseIdleConnections()
	return nil
}

func (w *worn) signer() crypto.Signer { return w.pair.Load().PrivateKey.(crypto.Signer) }

// Public implements crypto.Signer.
func (w *worn) Public() crypto.PublicKey { return w.signer().Public() }

// Sign implements crypto.Signer.
func (w *worn) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return w.signer().Sign(rand, digest, opts)
}

// newRenewer makes what renews the gate's certificate over this client.
func (g *Gate) newRenewer(client *http.Client) *enrol.Renewer {
	return &enrol.Renewer{Path: g.cfg.Identity, Client: client, Clock: g.clock, Log: g.log, Renewed: func(id *enrol.Identity) {
		if err := g.worn.change(id, client); err != nil {
			g.log.Error("the renewed certificate is not used before the next start", "err", err)
		}
	}}
}
