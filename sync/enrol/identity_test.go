package enrol

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"greengate/gate"
)

// made is when the test authority began.
var made = time.Now().Add(-time.Hour).Truncate(time.Second)

type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: made, NotAfter: made.Add(87600 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key, 1}
}

func (a *authority) issue(name string, usage x509.ExtKeyUsage, from, to time.Time, host string) (certificate, private string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	c := &x509.Certificate{SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, KeyUsage: x509.KeyUsageDigitalSignature}
	if host != "" {
		c.IPAddresses = []net.IP{net.ParseIP(host)}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), keyPEM(a.t, key)
}

func keyPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (a *authority) identity() *Identity {
	cert, key := a.issue("north", x509.ExtKeyUsageClientAuth, made, made.Add(8760*time.Hour), "")
	return &Identity{Gate: "north", HubURL: "https://hub.example:8443", ListsURL: "https://hub.example:8443/lists",
		HubCA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})), Certificate: cert, PrivateKey: key,
		TUFRoot: []byte(`{"signed":{}}`), HubKey: bytes.Repeat([]byte{7}, 32)}
}

func TestSaveAndLoad(t *testing.T) {
	id := newAuthority(t).identity()
	path := filepath.Join(t.TempDir(), "identity.json")
	for range 2 { // the second time over the first
		if err := id.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, id) {
		t.Errorf("loaded %+v\nsaved %+v", got, id)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o, want 0600", info.Mode().Perm())
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files beside it, %v", len(entries)-1, err)
	}
	signer, err := got.Signer()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := signer.Public().(*ecdsa.PublicKey); !ok {
		t.Errorf("signer's key is %T", signer.Public())
	}
	if since, err := got.Since(); err != nil || !since.Equal(made) {
		t.Errorf("since %s %v, want %s", since, err, made)
	}
}

func TestLoadRefuses(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	_, err := Load(filepath.Join(dir, "none"))
	if !errors.Is(err, ErrNoIdentity) || !strings.Contains(err.Error(), "gatehub gate add NAME") {
		t.Errorf("no file: %v, want ErrNoIdentity and how to make one", err)
	}
	path := filepath.Join(dir, "identity.json")
	if err := a.identity().Save(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o610} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v, want ErrExposed and what to do", mode, err)
		}
	}
	if _, err := Load(dir); err == nil {
		t.Error("a folder was loaded")
	}
	otherCert, otherKey := newAuthority(t).issue("north", x509.ExtKeyUsageClientAuth, made, made.Add(time.Hour), "")
	wrongName, wrongKey := a.issue("south", x509.ExtKeyUsageClientAuth, made, made.Add(time.Hour), "")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Identity){
		"gate":             func(i *Identity) { i.Gate = "North Gate" },
		"no gate":          func(i *Identity) { i.Gate = "" },
		"http":             func(i *Identity) { i.HubURL = "http://hub.example" },
		"password in URL":  func(i *Identity) { i.HubURL = "https://a:b@hub.example" },
		"no lists":         func(i *Identity) { i.ListsURL = "" },
		"no authority":     func(i *Identity) { i.HubCA = "" },
		"authority a gate": func(i *Identity) { i.HubCA = i.Certificate },
		"two authorities":  func(i *Identity) { i.HubCA += i.HubCA },
		"other authority":  func(i *Identity) { i.Certificate, i.PrivateKey = otherCert, otherKey },
		"other gate":       func(i *Identity) { i.Certificate, i.PrivateKey = wrongName, wrongKey },
		"other key":        func(i *Identity) { i.PrivateKey = wrongKey },
		"Ed25519":          func(i *Identity) { i.PrivateKey = keyPEM(t, ed) },
		"key is no key":    func(i *Identity) { i.PrivateKey = i.Certificate },
		"no root":          func(i *Identity) { i.TUFRoot = nil },
		"root cut off":     func(i *Identity) { i.TUFRoot = i.TUFRoot[:5] },
		"short HPKE key":   func(i *Identity) { i.HubKey = i.HubKey[:31] },
	} {
		id := a.identity()
		change(id)
		data, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(data); !errors.Is(err, ErrBadIdentity) {
			t.Errorf("%s: %v, want ErrBadIdentity", name, err)
		}
		if err := id.Save(filepath.Join(dir, "bad")); !errors.Is(err, ErrBadIdentity) {
			t.Errorf("save of %s: %v, want ErrBadIdentity", name, err)
		}
	}
	good, err := json.Marshal(a.identity())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "not JSON": []byte("gate: north"), "unknown field": append([]byte(`{"colour":"green",`), good[1:]...),
		"two values": append(bytes.Clone(good), good...), "huge": bytes.Repeat([]byte(" "), MaxFile+1),
	} {
		if _, err := Parse(data); !errors.Is(err, ErrBadIdentity) {
			t.Errorf("%s: %v, want ErrBadIdentity", name, err)
		}
	}
}

// TestClockOfTLS: a gate in 1970 or 2099 reaches its hub; an expired or foreign hub is refused.
func TestClockOfTLS(t *testing.T) {
	a := newAuthority(t)
	id := a.identity()
	year := 8760 * time.Hour
	for _, c := range []struct {
		name     string
		from, to time.Time // of the hub's certificate
		host     string
		foreign  bool
		usage    x509.ExtKeyUsage
		now      time.Time
		quality  gate.ClockQuality
		floor    time.Time
		ok       bool
	}{
		{"good clock", made, made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, made.Add(time.Hour), gate.ClockConfirmed, time.Time{}, true},
		{"1970", made, made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, time.Unix(60, 0), gate.ClockUnset, time.Time{}, true},
		{"2099, never set", made, made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, time.Unix(4070908800, 0), gate.ClockUnset, time.Time{}, true},
		{"1970, the hub's certificate ended before the floor", made, made.Add(time.Hour), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, time.Unix(60, 0), gate.ClockUnset, made.Add(2 * time.Hour), false},
		{"1970, the hub's certificate is good at the floor", made, made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, time.Unix(60, 0), gate.ClockUnset, made.Add(2 * time.Hour), true},
		{"1970, the hub's certificate is younger than the floor", made.Add(year / 2), made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, time.Unix(60, 0), gate.ClockUnset, made.Add(2 * time.Hour), true},
		{"2099 by a good clock", made, made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, time.Unix(4070908800, 0), gate.ClockNetwork, time.Time{}, false},
		{"expired in 2099, never set", made.Add(-year), made.Add(-time.Hour), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, time.Unix(4070908800, 0), gate.ClockUnset, time.Time{}, false},
		{"1970 by a good clock", made, made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, time.Unix(60, 0), gate.ClockNetwork, time.Time{}, false},
		{"hub renewed after the floor", made.Add(year / 2), made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, made.Add(time.Hour), gate.ClockFloor, time.Time{}, true},
		{"hub of tomorrow, good clock", made.Add(year / 2), made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, made.Add(time.Hour), gate.ClockNetwork, time.Time{}, false},
		{"expired at the floor", made.Add(-year), made.Add(-time.Hour), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, time.Unix(60, 0), gate.ClockUnset, time.Time{}, false},
		{"expired", made, made.Add(time.Hour), "127.0.0.1", false, x509.ExtKeyUsageServerAuth, made.Add(2 * time.Hour), gate.ClockFloor, time.Time{}, false},
		{"other host", made, made.Add(year), "192.0.2.1", false, x509.ExtKeyUsageServerAuth, made.Add(time.Hour), gate.ClockConfirmed, time.Time{}, false},
		{"other host in 1970", made, made.Add(year), "192.0.2.1", false, x509.ExtKeyUsageServerAuth, time.Unix(60, 0), gate.ClockUnset, time.Time{}, false},
		{"other authority in 1970", made, made.Add(year), "127.0.0.1", true, x509.ExtKeyUsageServerAuth, time.Unix(60, 0), gate.ClockUnset, time.Time{}, false},
		{"a gate's certificate", made, made.Add(year), "127.0.0.1", false, x509.ExtKeyUsageClientAuth, made.Add(time.Hour), gate.ClockConfirmed, time.Time{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			issuer := a
			if c.foreign {
				issuer = newAuthority(t)
			}
			cert, key := issuer.issue("hub", c.usage, c.from, c.to, c.host)
			pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
			if err != nil {
				t.Fatal(err)
			}
			clients := x509.NewCertPool()
			clients.AddCert(a.cert)
			var seen string
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				seen = r.TLS.PeerCertificates[0].Subject.CommonName
			}))
			s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the test
			s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
			s.StartTLS()
			defer s.Close()
			id.HubURL, id.ListsURL = s.URL, s.URL
			config, err := id.TLSConfig(clock{c.now, c.quality, c.floor})
			if err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			resp, err := client.Get(s.URL)
			if err == nil {
				if cerr := resp.Body.Close(); cerr != nil {
					t.Error(cerr)
				}
			}
			if (err == nil) != c.ok {
				t.Fatalf("error %v, want success %v", err, c.ok)
			}
			if c.ok && seen != "north" {
				t.Errorf("the hub saw %q, want north", seen)
			}
		})
	}
}

// TestHostIsChecked: by name, and by address when TLS carries no name.
func TestHostIsChecked(t *testing.T) {
	leaf := &x509.Certificate{DNSNames: []string{"hub.example"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.1")}}
	for _, c := range []struct {
		name      string
		addresses []string
		ok        bool
	}{
		{"hub.example", nil, true}, {"other.example", nil, false}, {"other.example", []string{"192.0.2.1"}, false},
		{"", []string{"192.0.2.1"}, true}, {"", []string{"192.0.2.2", "192.0.2.1"}, true}, {"", []string{"192.0.2.2"}, false}, {"", nil, false},
	} {
		if err := checkHost(leaf, c.name, c.addresses); (err == nil) != c.ok {
			t.Errorf("name %q, addresses %v: %v, want success %v", c.name, c.addresses, err, c.ok)
		}
	}
}

// clock is what a gate's clock says at one moment.
type clock struct {
	now     time.Time
	quality gate.ClockQuality
	floor   time.Time
}

func (c clock) Now() (time.Time, gate.ClockQuality) { return c.now, c.quality }
func (c clock) FloorTime() time.Time                { return c.floor }

func TestOnlyTLS13(t *testing.T) {
	config, err := newAuthority(t).identity().TLSConfig(clock{time.Now(), gate.ClockNetwork, time.Time{}})
	if err != nil {
		t.Fatal(err)
	}
	if config.MinVersion != tls.VersionTLS13 {
		t.Errorf("least version %x, want TLS 1.3", config.MinVersion)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"gate":"north","hub_url":"https://h"}`))
	f.Add([]byte(`{"hub_ca_pem":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrBadIdentity) {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		if _, err := id.Signer(); err != nil {
			t.Errorf("parsed, but %v", err)
		}
	})
}
