package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"io"
	"math/big"
	"testing"
)

var (
	edKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	ecKey = func() *ecdsa.PrivateKey {
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{2}, 32))
		if err != nil {
			panic(err) // a constant
		}
		return k
	}()
)

func p384() *ecdsa.PrivateKey {
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), bytes.Repeat([]byte{2}, 48))
	if err != nil {
		panic(err) // a constant
	}
	return k
}

// twin returns the signature's other s.
func twin(sig []byte) []byte {
	s := new(big.Int).SetBytes(sig[32:])
	out := bytes.Clone(sig)
	s.Sub(elliptic.P256().Params().N, s).FillBytes(out[32:])
	return out
}

func native(t testing.TB, alg Algorithm, key crypto.Signer) []byte {
	t.Helper()
	data, err := SignNative(alg, key, []byte("kid1"), []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestNative(t *testing.T) {
	for _, c := range []struct {
		alg Algorithm
		key crypto.Signer
	}{{EdDSA, edKey}, {Ed25519, edKey}, {ES256, ecKey}} {
		for range 20 { // ES256 signatures differ each time
			data := native(t, c.alg, c.key)
			m, err := ParseNative(data)
			if err != nil {
				t.Fatalf("alg %d: %v", c.alg, err)
			}
			if m.Algorithm != c.alg || string(m.KeyID) != "kid1" || string(m.Payload) != "payload" {
				t.Errorf("alg %d: got %+v", c.alg, m)
			}
			if err := m.Verify(c.key.Public()); err != nil {
				t.Errorf("alg %d: %v", c.alg, err)
			}
			m.Payload[0] ^= 1
			if err := m.Verify(c.key.Public()); !errors.Is(err, ErrSignature) {
				t.Errorf("alg %d, payload changed: %v, want ErrSignature", c.alg, err)
			}
			// The general form reads it too.
			g, err := Parse(data)
			if err != nil || g.Verify(c.alg, c.key.Public(), nil) != nil || string(g.KeyID) != "kid1" || !g.AlgorithmProtected {
				t.Errorf("alg %d in general: %+v, %v", c.alg, g, err)
			}
		}
	}
	data, err := SignNative(EdDSA, edKey, nil, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := ParseNative(data); err != nil || len(m.KeyID) != 0 {
		t.Errorf("empty kid: %+v, %v", m, err)
	}
}

func TestNativeRefuses(t *testing.T) {
	good := native(t, EdDSA, edKey)
	// d2 84 48 a2 01 27 04 44 "kid1" a0 47 "payload" 58 40 ...
	if len(good) != 3+9+1+8+2+64 {
		t.Fatalf("message is %x", good)
	}
	sig := good[len(good)-64:]
	build := func(head string) []byte { return append([]byte(head), sig...) }
	ec := native(t, ES256, ecKey)
	high := append(bytes.Clone(ec[:len(ec)-64]), twin(ec[len(ec)-64:])...)
	for _, c := range []struct {
		name string
		data []byte
		err  error
	}{
		{"nothing", nil, ErrMalformed},
		{"tag alone", []byte{0xd2}, ErrMalformed},
		{"half", good[:len(good)/2], ErrMalformed},
		{"huge", make([]byte, MaxNative+1), ErrMalformed},
		{"trailing byte", append(bytes.Clone(good), 0), ErrTrailing},
		{"no tag", good[1:], ErrMalformed},
		{"two tags", append([]byte{0xd2}, good...), ErrMalformed},
		{"tag 61 around", append([]byte{0xd8, 61}, good...), ErrMalformed},
		{"long tag", append([]byte{0xd8, 18}, good[1:]...), ErrMalformed},
		{"long array", build("\xd2\x98\x04\x49\xa2\x01\x27\x04\x44kid1\xa0\x47payload\x58\x40"), ErrNotCanonical},
		{"indefinite array", append(build("\xd2\x9f\x49\xa2\x01\x27\x04\x44kid1\xa0\x47payload\x58\x40"), 0xff), ErrMalformed},
		{"five elements", append(build("\xd2\x85\x49\xa2\x01\x27\x04\x44kid1\xa0\x47payload\x58\x40"), 0), ErrMalformed},
		{"long payload head", build("\xd2\x84\x49\xa2\x01\x27\x04\x44kid1\xa0\x58\x07payload\x58\x40"), ErrNotCanonical},
		{"long signature head", build("\xd2\x84\x49\xa2\x01\x27\x04\x44kid1\xa0\x47payload\x59\x00\x40"), ErrNotCanonical},
		{"kid unprotected", build("\xd2\x84\x43\xa1\x01\x27\xa1\x04\x44kid1\x47payload\x58\x40"), ErrMalformed},
		{"long empty map", build("\xd2\x84\x49\xa2\x01\x27\x04\x44kid1\xb8\x00\x47payload\x58\x40"), ErrMalformed},
		{"headers the other way round", build("\xd2\x84\x49\xa2\x04\x44kid1\x01\x27\xa0\x47payload\x58\x40"), ErrNotCanonical},
		{"long alg", build("\xd2\x84\x4a\xa2\x01\x38\x07\x04\x44kid1\xa0\x47payload\x58\x40"), ErrNotCanonical},
		{"alg twice", build("\xd2\x84\x4b\xa3\x01\x27\x01\x27\x04\x44kid1\xa0\x47payload\x58\x40"), ErrMalformed},
		{"alg as text", build("\xd2\x84\x4a\xa2\x01\x61x\x04\x44kid1\xa0\x47payload\x58\x40"), ErrMalformed},
		{"no alg", build("\xd2\x84\x47\xa1\x04\x44kid1\xa0\x47payload\x58\x40"), ErrNotCanonical},
		{"no kid", build("\xd2\x84\x43\xa1\x01\x27\xa0\x47payload\x58\x40"), ErrNotCanonical},
		{"kid null", build("\xd2\x84\x45\xa2\x01\x27\x04\xf6\xa0\x47payload\x58\x40"), ErrNotCanonical},
		{"third header", build("\xd2\x84\x4b\xa3\x01\x27\x04\x44kid1\x03\x00\xa0\x47payload\x58\x40"), ErrMalformed},
		{"trailing in header", build("\xd2\x84\x4a\xa2\x01\x27\x04\x44kid1\x00\xa0\x47payload\x58\x40"), ErrTrailing},
		{"no header", build("\xd2\x84\x40\xa0\x47payload\x58\x40"), ErrMalformed},
		{"payload null", build("\xd2\x84\x49\xa2\x01\x27\x04\x44kid1\xa0\xf6\x58\x40"), ErrMalformed},
		{"payload empty", build("\xd2\x84\x49\xa2\x01\x27\x04\x44kid1\xa0\x40\x58\x40"), ErrMalformed},
		{"signature short", append([]byte("\xd2\x84\x49\xa2\x01\x27\x04\x44kid1\xa0\x47payload\x58\x3f"), sig[1:]...), ErrMalformed},
		{"kid too long", build("\xd2\x84\x58\x27\xa2\x01\x27\x04\x58\x21" + string(make([]byte, 33)) + "\xa0\x47payload\x58\x40"), ErrMalformed},
		{"high s", high, ErrNotCanonical},
	} {
		if _, err := ParseNative(c.data); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
	// The twin is a signature as the standard has it, and no native one.
	g, err := Parse(high)
	if err != nil || g.Verify(ES256, ecKey.Public(), nil) != nil {
		t.Errorf("high s in general: %v", err)
	}
	// The table's first part is the good message, so it tests what it says.
	if same := build("\xd2\x84\x49\xa2\x01\x27\x04\x44kid1\xa0\x47payload\x58\x40"); !bytes.Equal(same, good) {
		t.Errorf("the table's message is %x, want %x", same, good)
	}
}

func TestGeneral(t *testing.T) {
	good := native(t, EdDSA, edKey)
	tail := string(good[len(good)-64:])
	for _, c := range []struct {
		name, data string
		err        error
	}{
		{"untagged", string(good[1:]), nil},
		{"tag 61", "\xd8\x3d" + string(good), nil},
		{"tag 61 alone", "\xd8\x3d" + string(good[1:]), nil},
		{"tag 61 twice", "\xd8\x3d\xd8\x3d" + string(good), ErrMalformed},
		{"tag 18 around 61", "\xd2\xd8\x3d" + string(good[1:]), ErrMalformed},
		{"tag 18 twice", "\xd2" + string(good), ErrMalformed},
		{"tag 98", "\xd8\x62" + string(good[1:]), ErrMalformed},
		{"trailing", string(good) + "\x00", ErrTrailing},
		{"trailing untagged", string(good[1:]) + "\x00", ErrTrailing},
		{"label in both", "\xd2\x84\x43\xa1\x01\x27\xa1\x01\x27\x41p\x58\x40" + tail, ErrMalformed},
		{"critical", "\xd2\x84\x46\xa2\x01\x27\x02\x81\x04\xa0\x41p\x58\x40" + tail, ErrMalformed},
		{"critical unprotected", "\xd2\x84\x43\xa1\x01\x27\xa1\x02\x81\x04\x41p\x58\x40" + tail, ErrMalformed},
		{"detached", "\xd2\x84\x43\xa1\x01\x27\xa0\xf6\x58\x40" + tail, ErrMalformed},
		{"protected a map, not bytes", "\xd2\x84\xa1\x01\x27\xa0\x41p\x58\x40" + tail, ErrMalformed},
		{"protected null", "\xd2\x84\x41\xf6\xa0\x41p\x58\x40" + tail, ErrMalformed},
		{"kid no bytes", "\xd2\x84\x43\xa1\x01\x27\xa1\x04\x01\x41p\x58\x40" + tail, ErrMalformed},
		{"deep", "\xd2\x84\x43\xa1\x01\x27\xa1\x05\x81\x81\x81\x81\x81\x81\x81\x81\x00\x41p\x58\x40" + tail, ErrMalformed},
	} {
		m, err := Parse([]byte(c.data))
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if err == nil && m.Verify(EdDSA, edKey.Public(), nil) != nil {
			t.Errorf("%s: does not verify", c.name)
		}
	}
}

func TestAlgorithmFitsKey(t *testing.T) {
	msg := []byte("m")
	for _, c := range []struct {
		alg Algorithm
		key crypto.Signer
		err error
	}{
		{EdDSA, edKey, nil},
		{Ed25519, edKey, nil},
		{ES256, ecKey, nil},
		{ES256, edKey, ErrAlgorithm},
		{EdDSA, ecKey, ErrAlgorithm},
		{Ed25519, ecKey, ErrAlgorithm},
		{ES256, p384(), ErrAlgorithm},
		{-35, p384(), ErrAlgorithm},
		{0, edKey, ErrAlgorithm},
		{-37, edKey, ErrAlgorithm},
	} {
		sig, err := Sign(c.alg, c.key, msg)
		if !errors.Is(err, c.err) {
			t.Errorf("sign %d with %T: %v, want %v", c.alg, c.key, err, c.err)
		}
		if err != nil {
			sig = make([]byte, SignatureSize)
		}
		if err := Verify(c.alg, c.key.Public(), msg, sig); !errors.Is(err, c.err) {
			t.Errorf("verify %d with %T: %v, want %v", c.alg, c.key, err, c.err)
		}
	}
	for _, key := range []crypto.PublicKey{nil, ed25519.PublicKey(nil), ed25519.PublicKey("short"), (*ecdsa.PublicKey)(nil), "key"} {
		for _, alg := range []Algorithm{EdDSA, ES256} {
			if err := Verify(alg, key, msg, make([]byte, 64)); !errors.Is(err, ErrAlgorithm) {
				t.Errorf("verify %d with %T: %v, want ErrAlgorithm", alg, key, err)
			}
		}
	}
	for _, sig := range [][]byte{nil, make([]byte, 63), make([]byte, 64), make([]byte, 65)} {
		if Verify(EdDSA, edKey.Public(), msg, sig) == nil || Verify(ES256, ecKey.Public(), msg, sig) == nil {
			t.Errorf("signature of %d zeros verifies", len(sig))
		}
	}
	if _, err := Sign(EdDSA, nil, msg); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("sign without a key: %v", err)
	}
}

// badDevice is a signing device that answers with something else.
type badDevice struct {
	pub    crypto.PublicKey
	answer []byte
	err    error
}

func (d badDevice) Public() crypto.PublicKey { return d.pub }

func (d badDevice) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return d.answer, d.err }

func TestSigningDevice(t *testing.T) {
	broken := errors.New("device unplugged")
	for _, pub := range []crypto.PublicKey{edKey.Public(), ecKey.Public()} {
		alg := EdDSA
		if _, ok := pub.(*ecdsa.PublicKey); ok {
			alg = ES256
		}
		if _, err := Sign(alg, badDevice{pub: pub, err: broken}, nil); !errors.Is(err, broken) {
			t.Errorf("alg %d: %v, want the device's error", alg, err)
		}
	}
	for _, der := range []string{"", "junk", "\x30\x06\x02\x01\x00\x02\x01\x01", "\x30\x06\x02\x01\x01\x02\x01\xff", "\x30\x06\x02\x01\x01\x02\x01\x01\x00"} {
		if _, err := Sign(ES256, badDevice{pub: ecKey.Public(), answer: []byte(der)}, nil); !errors.Is(err, ErrSignature) {
			t.Errorf("answer %x: %v, want ErrSignature", der, err)
		}
	}
}

func TestEnvelope(t *testing.T) {
	e := Envelope{Algorithm: ES256, KeyID: []byte("k"), Public: ecKey.Public(), Private: ecKey}
	data, err := e.Sign("a/b", []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Open("a/b", data); err != nil || string(got) != "payload" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := e.Open("a/c", data); !errors.Is(err, ErrMalformed) {
		t.Errorf("another type: %v, want ErrMalformed", err)
	}
	other := Envelope{Algorithm: EdDSA, Public: edKey.Public()}
	if _, err := other.Open("a/b", data); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("another key: %v, want ErrAlgorithm", err)
	}
	data[len(data)-1] ^= 1
	if _, err := e.Open("a/b", data); !errors.Is(err, ErrSignature) {
		t.Errorf("changed: %v, want ErrSignature", err)
	}
	if _, err := (Envelope{Algorithm: ES256}).Sign("a/b", nil); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("no key: %v", err)
	}
	// An algorithm that anybody may change is refused.
	sig, err := Sign(EdDSA, edKey, toBeSigned([]byte("\xa1\x10\x63a/b"), nil, []byte("p")))
	if err != nil {
		t.Fatal(err)
	}
	loose := append([]byte("\xd2\x84\x46\xa1\x10\x63a/b\xa1\x01\x27\x41p\x58\x40"), sig...)
	if _, err := other.Open("a/b", loose); !errors.Is(err, ErrMalformed) {
		t.Errorf("alg unprotected: %v, want ErrMalformed", err)
	}
}

// FuzzParseNative: what parses is the one encoding, and the general form
// reads the same from it.
func FuzzParseNative(f *testing.F) {
	f.Add(native(f, EdDSA, edKey))
	f.Add(native(f, ES256, ecKey))
	f.Add([]byte{0xd2, 0x84})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseNative(data)
		if err != nil {
			return
		}
		if again := m.encode(); !bytes.Equal(again, data) {
			t.Errorf("%x encodes again as %x", data, again)
		}
		g, err := Parse(data)
		if err != nil || g.Algorithm != m.Algorithm || !bytes.Equal(g.KeyID, m.KeyID) || !bytes.Equal(g.Payload, m.Payload) {
			t.Errorf("%x in general: %+v, %v", data, g, err)
		}
	})
}

// FuzzParse: no bytes make Parse or Verify panic, and nothing verifies that
// was not signed.
func FuzzParse(f *testing.F) {
	f.Add(native(f, EdDSA, edKey))
	f.Add([]byte("\xd8\x3d\xd2\x84\x41\xa0\xa1\x01\x26\x40\x40"))
	f.Add([]byte("\x84\x40\xa0\x40\x40"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		if m.Verify(m.Algorithm, ecKey.Public(), nil) == nil {
			t.Errorf("%x verifies with a key that signed nothing here", data)
		}
	})
}
