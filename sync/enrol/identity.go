package enrol

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"greengate/gate"
)

// The ways in which an identity file is refused. Their hint is part of the
// error's text, because a technician reads it at a terminal.
var (
	// ErrNoIdentity: there is no file.
	ErrNoIdentity = errors.New("this gate has no identity")
	// ErrExposed: the file can be read or written by others than its owner.
	ErrExposed = errors.New("identity file is open to others")
	// ErrBadIdentity: the file is not a complete identity.
	ErrBadIdentity = errors.New("not a usable identity")
)

const makeHint = "\nhint: make one with `gatehub gate add NAME`"

// MaxFile is the most bytes an identity file may have. A real one has about 6 KB,
// most of it the root of trust.
const MaxFile = 1 << 20

// Identity is who a gate is and whom it trusts: one JSON file.
type Identity struct {
	// Gate is the gate's id, the common name of its certificate:
	// 1 to 64 of a-z, 0-9 and "-".
	Gate string `json:"gate"`
	// HubURL is where passages go, as "https://hub.example:8443".
	HubURL string `json:"hub_url"`
	// ListsURL is where signed lists come from, as "https://hub.example:8443/lists".
	ListsURL string `json:"lists_url"`
	// HubCA is the PEM certificate of the one authority that a hub's
	// certificate must chain to.
	HubCA string `json:"hub_ca_pem"`
	// Certificate is the gate's own PEM certificate, and PrivateKey its
	// PKCS #8 key in PEM (ECDSA P-256).
	Certificate string `json:"certificate_pem"`
	PrivateKey  string `json:"private_key_pem"`
	// TUFRoot is the initial root.json, byte for byte: the root of trust for lists.
	TUFRoot []byte `json:"tuf_root"`
	// HubKey is the hub's HPKE public key (X25519, 32 bytes), to which the
	// sealed part of passages goes.
	HubKey []byte `json:"hub_hpke_public_key"`
	// History is where the passages of a gate of this name ended when this
	// identity was made; nil for a name that had none. A journal that is empty goes on behind it.
	History *History `json:"history,omitempty"`
}

// History is the end of what the hub has of a gate.
type History struct {
	// Last is the last sequence, 0 for none, and Head the 32 bytes of the chain's head with it.
	Last uint64 `json:"last"`
	Head []byte `json:"head"`
	// Segment is the highest number of a segment of the journal.
	Segment uint64 `json:"segment"`
}

// Load reads an identity file. It is strict: an unknown field, a missing one,
// a key that is not the certificate's, or a certificate that the hub's
// authority did not sign is an error. The certificate's period is not judged
// here, since the clock may not be set yet.
func Load(path string) (*Identity, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("identity %s: %w%s", path, ErrNoIdentity, makeHint)
	}
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("identity %s: %w: not a regular file%s", path, ErrBadIdentity, makeHint)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("identity %s: %w (mode %04o): it holds the gate's private key\nhint: chmod 600 %s",
			path, ErrExposed, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", path, err)
	}
	id, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w%s", path, err, makeHint)
	}
	return id, nil
}

// Parse reads an identity from its JSON. See [Load].
func Parse(data []byte) (*Identity, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrBadIdentity, MaxFile)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var id Identity
	if err := dec.Decode(&id); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadIdentity, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more follows its end", ErrBadIdentity)
	}
	if err := id.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadIdentity, err)
	}
	return &id, nil
}

// Save writes the identity so that the file is there whole or not at all, and
// only its owner may read it.
func (i *Identity) Save(path string) error {
	if err := i.check(); err != nil {
		return fmt.Errorf("identity %s: %w: %w", path, ErrBadIdentity, err)
	}
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return fmt.Errorf("identity %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".identity-*") // CreateTemp gives mode 0600
	if err != nil {
		return fmt.Errorf("identity %s: %w", path, err)
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("identity %s: %w", path, err), ignoreMissing(os.Remove(f.Name())))
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("identity %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("identity %s: flush its folder: %w", path, err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// parsed is what the PEM blocks hold.
type parsed struct {
	ca, leaf *x509.Certificate
	key      crypto.Signer
}

func (i *Identity) check() error {
	if !ValidGate(i.Gate) {
		return fmt.Errorf("gate %q: want 1 to 64 of a-z, 0-9 and \"-\"", i.Gate)
	}
	for _, u := range []struct{ name, value string }{{"hub_url", i.HubURL}, {"lists_url", i.ListsURL}} {
		p, err := url.Parse(u.value)
		if err != nil {
			return fmt.Errorf("%s: %w", u.name, err)
		}
		if p.Scheme != "https" || p.Host == "" || p.User != nil || p.RawQuery != "" || p.Fragment != "" {
			return fmt.Errorf("%s %q: want https://HOST[:PORT][/PATH]", u.name, u.value)
		}
	}
	if len(i.HubKey) != 32 {
		return fmt.Errorf("hub_hpke_public_key: %d bytes, want 32", len(i.HubKey))
	}
	if i.History != nil && len(i.History.Head) != 32 {
		return fmt.Errorf("history: a head of %d bytes, want 32", len(i.History.Head))
	}
	if !json.Valid(i.TUFRoot) {
		return errors.New("tuf_root: not JSON")
	}
	_, err := i.parse()
	return err
}

// ValidGate reports whether id may name a gate: 1 to 64 of a-z, 0-9 and "-".
// A dot, a star or an upper-case letter would not survive as a subject at the hub.
func ValidGate(id string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func (i *Identity) parse() (parsed, error) {
	var p parsed
	der, err := onePEM(i.HubCA, "CERTIFICATE")
	if err != nil {
		return p, fmt.Errorf("hub_ca_pem: %w", err)
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		return p, fmt.Errorf("hub_ca_pem: %w", err)
	}
	if !p.ca.IsCA {
		return p, errors.New("hub_ca_pem: not the certificate of an authority")
	}
	if der, err = onePEM(i.Certificate, "CERTIFICATE"); err != nil {
		return p, fmt.Errorf("certificate_pem: %w", err)
	}
	if p.leaf, err = x509.ParseCertificate(der); err != nil {
		return p, fmt.Errorf("certificate_pem: %w", err)
	}
	if p.leaf.Subject.CommonName != i.Gate {
		return p, fmt.Errorf("certificate_pem: issued to %q, not to gate %q", p.leaf.Subject.CommonName, i.Gate)
	}
	if err := p.leaf.CheckSignatureFrom(p.ca); err != nil {
		return p, fmt.Errorf("certificate_pem: not from the authority in hub_ca_pem: %w", err)
	}
	if der, err = onePEM(i.PrivateKey, "PRIVATE KEY"); err != nil {
		return p, fmt.Errorf("private_key_pem: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return p, errors.New("private_key_pem: not a PKCS #8 key") // the cause could quote key material
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return p, fmt.Errorf("private_key_pem: %T, want an ECDSA key", key)
	}
	if !ec.PublicKey.Equal(p.leaf.PublicKey) {
		return p, errors.New("private_key_pem: not the key of certificate_pem")
	}
	p.key = ec
	return p, nil
}

// onePEM returns the bytes of the only block, which must be of this type.
func onePEM(text, kind string) ([]byte, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	if block.Type != kind {
		return nil, fmt.Errorf("PEM block %q, want %q", block.Type, kind)
	}
	if len(bytes.TrimSpace(rest)) != 0 {
		return nil, errors.New("more than one PEM block")
	}
	return block.Bytes, nil
}

// Signer returns the gate's private key, which signs its batches of passages.
func (i *Identity) Signer() (crypto.Signer, error) {
	p, err := i.parse()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadIdentity, err)
	}
	return p.key, nil
}

// Leaf is the gate's own certificate.
func (i *Identity) Leaf() (*x509.Certificate, error) {
	p, err := i.parse()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadIdentity, err)
	}
	return p.leaf, nil
}

// Since is the start of the gate's certificate: a time that the hub signed,
// and so the earliest that it can be now. It stands in for the clock's floor
// where no signed list has been seen yet, and is no source of it after that.
func (i *Identity) Since() (time.Time, error) {
	p, err := i.parse()
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", ErrBadIdentity, err)
	}
	return p.leaf.NotBefore, nil
}

// Clock tells the time of day and how far to trust it; *gate.WallClock is one.
type Clock interface {
	Now() (time.Time, gate.ClockQuality)
	// FloorTime is the latest signed time believed, zero for none.
	FloorTime() time.Time
}

// TLSConfig returns the client's side of mutual TLS 1.3 with the hub: the
// gate's certificate is shown, and the hub's must chain to the pinned
// authority and name the host that was dialled: the hosts of HubURL and
// ListsURL, when those are IP addresses.
//
// A gate without a clock chip may boot in 1970, one with a bad chip in 2099.
// While the clock is at its floor, the time for the check is the latest of now
// and the starts of the gate's own certificate, the authority's and the hub's:
// that a certificate is not valid *yet* cannot be judged by such a clock, that
// it expired can. While it is unset, the floor's time is taken for now: a gate
// that refused its hub by such a clock would never be told the time, and one
// that forgot the floor would take a certificate that had expired before it.
func (i *Identity) TLSConfig(clock Clock) (*tls.Config, error) {
	p, err := i.parse()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadIdentity, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(p.ca)
	// TLS does not carry an IP address as a server's name, so a connection to
	// one does not say which. It must then be one that the identity names.
	var addresses []string
	for _, s := range []string{i.HubURL, i.ListsURL} {
		u, err := url.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadIdentity, err)
		}
		if net.ParseIP(u.Hostname()) != nil && !slices.Contains(addresses, u.Hostname()) {
			addresses = append(addresses, u.Hostname())
		}
	}
	earliest := p.leaf.NotBefore
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{p.leaf.Raw}, PrivateKey: p.key, Leaf: p.leaf}},
		Time: func() time.Time {
			t, _ := clock.Now()
			return t
		},
		// The standard check has one time for all certificates, read before
		// they are known. VerifyConnection below makes the whole check
		// instead, chain, name and period, and runs on resumed sessions too.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("hub shows no certificate")
			}
			leaf := s.PeerCertificates[0]
			at, quality := clock.Now()
			if quality < gate.ClockNetwork {
				if quality == gate.ClockUnset {
					at = clock.FloorTime()
				}
				for _, t := range []time.Time{earliest, p.ca.NotBefore, leaf.NotBefore} {
					if at.Before(t) {
						at = t
					}
				}
			}
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			if err := checkHost(leaf, s.ServerName, addresses); err != nil {
				return fmt.Errorf("hub's certificate: %w", err)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{
				Roots:         roots,
				Intermediates: between,
				CurrentTime:   at,
				KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			}); err != nil {
				return fmt.Errorf("hub's certificate at %s (clock %s): %w", at.UTC().Format(time.RFC3339), quality, err)
			}
			return nil
		},
	}, nil
}

// checkHost reports whether the certificate is for the host that was dialled:
// a name, or one of these addresses where TLS gave no name.
func checkHost(leaf *x509.Certificate, name string, addresses []string) error {
	if name != "" {
		return leaf.VerifyHostname(name)
	}
	err := errors.New("dialled an address that the identity does not name")
	for _, a := range addresses {
		if err = leaf.VerifyHostname(a); err == nil {
			return nil
		}
	}
	return err
}
