package cose

import (
	"crypto"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Envelope signs and opens typed messages (RFC 9596) with one key, such as
// status list tokens.
type Envelope struct {
	// Algorithm of the key.
	Algorithm Algorithm
	// KeyID written into what is signed; may be nil. Opening does not ask for it.
	KeyID []byte
	// Public verifies; Open needs it.
	Public crypto.PublicKey
	// Private signs; Sign needs it.
	Private crypto.Signer
}

// envelopeHeader is the protected header that Sign writes.
type envelopeHeader struct {
	Algorithm Algorithm `cbor:"1,keyasint"`
	KeyID     []byte    `cbor:"4,keyasint,omitempty"`
	Type      string    `cbor:"16,keyasint"`
}

// Sign returns the tagged message of this type around payload.
func (e Envelope) Sign(typ string, payload []byte) ([]byte, error) {
	protected, err := encMode.Marshal(envelopeHeader{e.Algorithm, e.KeyID, typ})
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", typ, err)
	}
	signature, err := Sign(e.Algorithm, e.Private, toBeSigned(protected, nil, payload))
	if err != nil {
		return nil, err
	}
	data, err := encMode.Marshal(cbor.Tag{Number: tagSign1, Content: sign1{
		Protected: protected, Unprotected: map[any]cbor.RawMessage{}, Payload: payload, Signature: signature,
	}})
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", typ, err)
	}
	return data, nil
}

// Open verifies a message and returns its payload. Type and algorithm must
// stand under the signature.
func (e Envelope) Open(typ string, data []byte) ([]byte, error) {
	m, err := Parse(data)
	if err != nil {
		return nil, err
	}
	if m.Type != typ {
		return nil, fmt.Errorf("%w: its protected type is not %s", ErrMalformed, typ)
	}
	if !m.AlgorithmProtected {
		return nil, fmt.Errorf("%w: algorithm outside the signature", ErrMalformed)
	}
	if err := m.Verify(e.Algorithm, e.Public, nil); err != nil {
		return nil, err
	}
	return m.Payload, nil
}
