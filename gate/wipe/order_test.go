package wipe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"greengate/pass/cose"
)

// now is the moment of these tests.
var now = time.Unix(1582000000, 0)

// certified returns a certificate of its own making and its key.
func certified(t testing.TB, serial int64) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "c"}, NotBefore: now, NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// Only this gate, with this certificate, from its own authority, within a day.
func TestWhoObeys(t *testing.T) {
	authority, key := certified(t, 1)
	mine, mineKey := certified(t, 2)
	other, _ := certified(t, 3)
	order := Order{Gate: "east-1", Certificate: sha256.Sum256(mine.Raw), Issued: now}
	data, err := order.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Open(data, "east-1", mine, authority, now.Add(Life)); err != nil || got != order {
		t.Fatalf("opened %+v, %v; want %+v", got, err, order)
	}
	// A gate that does not know the time obeys too.
	if _, err := Open(data, "east-1", mine, authority, time.Time{}); err != nil {
		t.Errorf("without a clock: %v", err)
	}

	forged, err := order.Sign(mineKey)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := encoding.Marshal(encoded{Gate: "east-1", Certificate: order.Certificate[:], Issued: now.Unix()})
	if err != nil {
		t.Fatal(err)
	}
	otherType, err := cose.Envelope{Algorithm: cose.ES256, Private: key}.Sign("application/vnd.greengate.other+cbor", payload)
	if err != nil {
		t.Fatal(err)
	}
	long, err := cose.Envelope{Algorithm: cose.ES256, Private: key}.Sign(mediaType, append(bytes.Clone(payload), 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		data      []byte
		gate      string
		cert      *x509.Certificate
		authority *x509.Certificate
		now       time.Time
		want      error
	}{
		{"another gate's", data, "east-2", mine, authority, now, ErrOrder},
		{"another certificate's", data, "east-1", other, authority, now, ErrOrder},
		{"another authority", data, "east-1", mine, other, now, ErrOrder},
		{"signed by the gate itself", forged, "east-1", mine, authority, now, ErrOrder},
		{"another message of the authority", otherType, "east-1", mine, authority, now, ErrOrder},
		{"with more behind it", long, "east-1", mine, authority, now, ErrOrder},
		{"from a drawer", data, "east-1", mine, authority, now.Add(Life + time.Second), ErrOld},
		{"cut off", data[:len(data)-1], "east-1", mine, authority, now, ErrOrder},
		{"none", nil, "east-1", mine, authority, now, ErrOrder},
		{"too long", bytes.Repeat([]byte{0xd2}, MaxOrder+1), "east-1", mine, authority, now, ErrOrder},
	} {
		if _, err := Open(c.data, c.gate, c.cert, c.authority, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := Open(bad, "east-1", mine, authority, now); err == nil {
			t.Errorf("byte %d changed: obeyed", i)
		}
	}
}

func FuzzOpen(f *testing.F) {
	authority, key := certified(f, 1)
	mine, _ := certified(f, 2)
	data, err := Order{Gate: "east-1", Certificate: sha256.Sum256(mine.Raw), Issued: now}.Sign(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:60])
	f.Fuzz(func(t *testing.T, in []byte) {
		// An ECDSA signature has a twin: what is opened must say what was signed.
		o, err := Open(in, "east-1", mine, authority, now)
		if err == nil && (o.Gate != "east-1" || o.Certificate != sha256.Sum256(mine.Raw) || !o.Issued.Equal(now)) {
			t.Errorf("opened %+v out of %x", o, in)
		}
		if err != nil && !errors.Is(err, ErrOrder) {
			t.Errorf("%v does not wrap ErrOrder", err)
		}
	})
}
