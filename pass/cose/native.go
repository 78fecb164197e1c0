package cose

import (
	"bytes"
	"crypto"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// MaxNative is the most bytes of a native message; the largest QR code holds
// 2,860 in alphanumeric mode.
const MaxNative = 2048

// MaxKeyID is the most bytes of a native message's kid.
const MaxKeyID = 32

// Native is a message in the form of greengate's own codes.
type Native struct {
	// Algorithm from the protected header.
	Algorithm Algorithm
	// KeyID from the protected header, up to MaxKeyID bytes. It may be empty.
	KeyID []byte
	// Payload is what is signed, at least one byte.
	Payload []byte
	// Signature is SignatureSize bytes.
	Signature []byte

	protected []byte
}

// nativeHeader is the protected header, whole.
type nativeHeader struct {
	Algorithm Algorithm `cbor:"1,keyasint"`
	KeyID     []byte    `cbor:"4,keyasint"`
}

// nativeSign1 is the array of a native message.
type nativeSign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected cbor.RawMessage
	Payload     []byte
	Signature   []byte
}

// encMode writes the core deterministic encoding of RFC 8949 section 4.2.1.
var encMode = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

// ParseNative reads a native message; it does not verify it. What it accepts
// is exactly what [SignNative] makes: the message written again has the same
// bytes.
func ParseNative(data []byte) (Native, error) {
	if len(data) > MaxNative {
		return Native{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(data))
	}
	if len(data) == 0 || data[0] != 0xc0|tagSign1 {
		return Native{}, fmt.Errorf("%w: no tag 18", ErrMalformed)
	}
	var s nativeSign1
	if err := decMode.Unmarshal(data[1:], &s); err != nil {
		return Native{}, malformed(err)
	}
	if !bytes.Equal(s.Unprotected, []byte{0xa0}) {
		return Native{}, fmt.Errorf("%w: unprotected header is not empty", ErrMalformed)
	}
	if len(s.Payload) == 0 || len(s.Signature) != SignatureSize {
		return Native{}, fmt.Errorf("%w: payload of %d bytes, signature of %d", ErrMalformed, len(s.Payload), len(s.Signature))
	}
	var h nativeHeader
	if err := decMode.Unmarshal(s.Protected, &h); err != nil {
		return Native{}, fmt.Errorf("protected header: %w", malformed(err))
	}
	if len(h.KeyID) > MaxKeyID {
		return Native{}, fmt.Errorf("%w: kid of %d bytes", ErrMalformed, len(h.KeyID))
	}
	m := Native{Algorithm: h.Algorithm, KeyID: h.KeyID, Payload: s.Payload, Signature: s.Signature, protected: s.Protected}
	again, err := encodeHeader(m.Algorithm, m.KeyID)
	if err != nil {
		return Native{}, err
	}
	if !bytes.Equal(again, m.protected) || !bytes.Equal(m.encode(), data) {
		return Native{}, ErrNotCanonical
	}
	// One encoding for each message: of the two ES256 signatures that
	// verify, only the low one.
	if m.Algorithm == ES256 && !LowS(m.Signature) {
		return Native{}, fmt.Errorf("%w: high s", ErrNotCanonical)
	}
	return m, nil
}

// encodeHeader writes the protected header. A kid that is absent is written
// as an empty one, so that reading and comparing finds it.
func encodeHeader(alg Algorithm, kid []byte) ([]byte, error) {
	if kid == nil {
		kid = []byte{}
	}
	b, err := encMode.Marshal(nativeHeader{alg, kid})
	if err != nil {
		return nil, fmt.Errorf("protected header: %w", err)
	}
	return b, nil
}

// encode writes the message.
func (m *Native) encode() []byte {
	b := make([]byte, 0, 2+3+1+3+2+len(m.protected)+len(m.Payload)+len(m.Signature))
	b = append(b, 0xc0|tagSign1, 0x84)
	b = appendBytes(b, m.protected)
	b = append(b, 0xa0)
	b = appendBytes(b, m.Payload)
	return appendBytes(b, m.Signature)
}

// Verify checks the signature with the message's own algorithm, which must be
// one that the key can have.
func (m *Native) Verify(key crypto.PublicKey) error {
	return Verify(m.Algorithm, key, m.ToBeSigned(), m.Signature)
}

// ToBeSigned returns the bytes under the signature.
func (m *Native) ToBeSigned() []byte { return toBeSigned(m.protected, nil, m.Payload) }

// SignNative makes a native message.
func SignNative(alg Algorithm, key crypto.Signer, kid, payload []byte) ([]byte, error) {
	if len(kid) > MaxKeyID || len(payload) == 0 {
		return nil, fmt.Errorf("sign: kid of %d bytes, payload of %d: %w", len(kid), len(payload), ErrMalformed)
	}
	protected, err := encodeHeader(alg, kid)
	if err != nil {
		return nil, err
	}
	m := Native{Algorithm: alg, KeyID: kid, Payload: payload, protected: protected}
	if m.Signature, err = Sign(alg, key, m.ToBeSigned()); err != nil {
		return nil, err
	}
	data := m.encode()
	if len(data) > MaxNative {
		return nil, fmt.Errorf("sign: message of %d bytes: %w", len(data), ErrMalformed)
	}
	return data, nil
}
