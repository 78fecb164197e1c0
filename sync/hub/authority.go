package hub

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Lives of certificates.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 365 * 24 * time.Hour
	gateLife   = 365 * 24 * time.Hour
	// serverRenew is how long before its end the hub's certificate is made anew,
	// and renewEvery how often a running hub looks.
	serverRenew = 60 * 24 * time.Hour
	renewEvery  = time.Hour
	// backdate allows for a gate's clock that is a little slow.
	backdate = 5 * time.Minute
)

// ca is the hub's own authority.
type ca struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// writePrivate makes a file of mode 0600 appear whole or not at all.
func writePrivate(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
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
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes renames in the folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readPrivate reads a file that nobody but its owner may read.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to others (mode %04o)\nhint: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	if info.Size() > 1<<20 {
		return nil, fmt.Errorf("%s has %d bytes", path, info.Size())
	}
	return os.ReadFile(path)
}

func marshalKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// readKey reads a PKCS #8 key file.
func readKey(path string) (crypto.Signer, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s: no private key in it", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: not a PKCS #8 key", path)
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("%s: key of type %T", path, key)
}

func readCert(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: no certificate in it", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func serial() (*big.Int, error) {
	// 127 random bits, positive (RFC 5280 section 4.1.2.2 allows up to 20 bytes).
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// openCA reads the authority in dir, or makes it.
func openCA(dir, name string, now time.Time) (*ca, error) {
	certPath, keyPath := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	cert, err := readCert(certPath)
	if errors.Is(err, fs.ErrNotExist) {
		return makeCA(certPath, keyPath, name, now)
	}
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	key, err := readKey(keyPath)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	if !samePublic(key.Public(), cert.PublicKey) {
		return nil, fmt.Errorf("authority: %s is not the key of %s", keyPath, certPath)
	}
	return &ca{cert, key}, nil
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func makeCA(certPath, keyPath, name string, now time.Time) (*ca, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	n, err := serial()
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: n, Subject: pkix.Name{CommonName: name + " gate authority"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, &x509.Certificate{SerialNumber: n, Subject: pkix.Name{CommonName: name + " gate authority"}}, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	data, err := marshalKey(key)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	// The key first: a certificate without its key could not be made good.
	if err := writePrivate(keyPath, data); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	if err := writePrivate(certPath, certPEM(der)); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return &ca{cert, key}, nil
}

// issue makes a key and a certificate for it.
func (c *ca) issue(t *x509.Certificate) (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	if t.SerialNumber, err = serial(); err != nil {
		return nil, nil, err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.BasicConstraintsValid = true
	if t.NotAfter.After(c.cert.NotAfter) {
		t.NotAfter = c.cert.NotAfter
	}
	der, err = x509.CreateCertificate(rand.Reader, t, c.cert, key.Public(), c.key)
	return der, key, err
}

// gateCertificate makes the certificate of one gate.
func (c *ca) gateCertificate(id string, now time.Time) (der []byte, key *ecdsa.PrivateKey, err error) {
	der, key, err = c.issue(gateTemplate(id, now))
	if err != nil {
		return nil, nil, fmt.Errorf("certificate of gate %s: %w", id, err)
	}
	return der, key, nil
}

// gateTemplate is what is the same in the certificates of all gates.
func gateTemplate(id string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: id},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(gateLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

// nearEnd reports whether the hub's certificate is to be made anew.
func nearEnd(c *x509.Certificate, now time.Time) bool { return c.NotAfter.Sub(now) <= serverRenew }

// serverCertificate returns the hub's certificate for these hosts, made anew
// when it is missing, near its end, or for other hosts.
func (c *ca) serverCertificate(dir string, hosts []string, now time.Time) (tls.Certificate, error) {
	certPath, keyPath := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	cert, err := readCert(certPath)
	if err == nil {
		key, kerr := readKey(keyPath)
		if kerr == nil && samePublic(key.Public(), cert.PublicKey) && !nearEnd(cert, now) &&
			!slices.ContainsFunc(hosts, func(h string) bool { return cert.VerifyHostname(h) != nil }) {
			return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
		}
		// Any other state of the two files, a crash between them among it, ends in a new pair.
	} else if !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "greengate hub"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(serverLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, key, err := c.issue(t)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	data, err := marshalKey(key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	if err := errors.Join(writePrivate(keyPath, data), writePrivate(certPath, certPEM(der))); err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// openEd25519 reads an Ed25519 key file, or makes it.
func openEd25519(path string) (ed25519.PrivateKey, error) {
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		data, err := marshalKey(private)
		if err != nil {
			return nil, err
		}
		return private, writePrivate(path, data)
	}
	if err != nil {
		return nil, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: key of type %T, want Ed25519", path, key)
	}
	return private, nil
}

// keyID is the kid of a key: the first 8 bytes of the SHA-256 of its public half.
func keyID(public ed25519.PublicKey) []byte {
	sum := sha256.Sum256(public)
	return sum[:8]
}
