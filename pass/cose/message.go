package cose

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// The ways in which bytes are not a COSE_Sign1 message.
var (
	// ErrMalformed: not COSE_Sign1.
	ErrMalformed = errors.New("cose: malformed")
	// ErrTrailing: bytes behind the end of the message. It is ErrMalformed.
	ErrTrailing = fmt.Errorf("%w: trailing bytes", ErrMalformed)
	// ErrNotCanonical: another encoding of the same message is the one. It is ErrMalformed.
	ErrNotCanonical = fmt.Errorf("%w: not the canonical encoding", ErrMalformed)
)

// MaxMessage is the most bytes of a message. Status list tokens are the
// largest: 64 MiB and their envelope.
const MaxMessage = 65 << 20

// CBOR tags around a message.
const (
	tagSign1 = 18 // RFC 9052 section 2
	tagCWT   = 61 // RFC 8392 section 6
)

// COSE header labels, RFC 9052 section 3.1; type is RFC 9596.
const (
	labelAlgorithm = int64(1)
	labelCritical  = int64(2)
	labelKeyID     = int64(4)
	labelType      = int64(16)
)

// decMode reads strangers' CBOR: no key twice, nothing of indefinite length,
// no tags (those around a message are taken off before), little depth.
var decMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   8,
		MaxArrayElements:  64,
		MaxMapPairs:       32,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		panic(err) // the options above are constants
	}
	return m
}()

// sign1 is the array of RFC 9052 section 4.2.
type sign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[any]cbor.RawMessage
	Payload     []byte
	Signature   []byte
}

// Message is a COSE_Sign1 message in general: with or without tag 18, or with
// tags 61 and 18; headers in either place.
type Message struct {
	// Algorithm from the protected header, or from the unprotected one when
	// it stands only there. 0 when there is none.
	Algorithm Algorithm
	// AlgorithmProtected says that it stands under the signature.
	AlgorithmProtected bool
	// KeyID is the kid from either header; nil when there is none.
	KeyID []byte
	// Type is the protected typ (RFC 9596) where it is text; "" otherwise.
	Type string
	// Payload is what is signed.
	Payload []byte
	// Signature as it came.
	Signature []byte

	protected []byte // as signed
}

// Parse reads a message. It does not verify it.
func Parse(data []byte) (*Message, error) {
	if len(data) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(data))
	}
	var s sign1
	if err := decMode.Unmarshal(untag(data), &s); err != nil {
		return nil, malformed(err)
	}
	if s.Protected == nil || s.Unprotected == nil || s.Payload == nil || s.Signature == nil {
		return nil, fmt.Errorf("%w: a part is missing or detached", ErrMalformed)
	}
	var protected map[any]cbor.RawMessage
	m := &Message{Payload: s.Payload, Signature: s.Signature}
	if len(s.Protected) > 0 {
		if err := decMode.Unmarshal(s.Protected, &protected); err != nil {
			return nil, fmt.Errorf("protected header: %w", malformed(err))
		}
		if protected == nil {
			return nil, fmt.Errorf("%w: protected header is null", ErrMalformed)
		}
		if len(protected) > 0 {
			// RFC 9052 section 4.4: an empty map is signed as no bytes.
			m.protected = s.Protected
		}
	}
	for label := range protected {
		if _, twice := s.Unprotected[label]; twice {
			return nil, fmt.Errorf("%w: a label in both headers", ErrMalformed)
		}
	}
	if _, ok := header(protected, labelCritical); ok {
		return nil, fmt.Errorf("%w: critical headers are not understood", ErrMalformed)
	}
	if _, ok := header(s.Unprotected, labelCritical); ok {
		return nil, fmt.Errorf("%w: critical headers outside the signature", ErrMalformed)
	}
	if err := m.header(protected, true); err != nil {
		return nil, err
	}
	if err := m.header(s.Unprotected, false); err != nil {
		return nil, err
	}
	return m, nil
}

// header takes what we know from one of the two headers.
func (m *Message) header(h map[any]cbor.RawMessage, protected bool) error {
	if raw, ok := header(h, labelAlgorithm); ok {
		// A name instead of a number is no algorithm of ours.
		if err := decMode.Unmarshal(raw, &m.Algorithm); err != nil {
			return fmt.Errorf("%w: header alg is no number", ErrMalformed)
		}
		m.AlgorithmProtected = protected
	}
	if raw, ok := header(h, labelKeyID); ok {
		if err := decMode.Unmarshal(raw, &m.KeyID); err != nil {
			return fmt.Errorf("%w: header kid is no byte string", ErrMalformed)
		}
	}
	if raw, ok := header(h, labelType); ok && protected {
		// RFC 9596: typ is text or a number; nobody asks here for a number.
		if len(raw) > 0 && raw[0]>>5 == 3 {
			if err := decMode.Unmarshal(raw, &m.Type); err != nil {
				return fmt.Errorf("%w: header typ", ErrMalformed)
			}
		}
	}
	return nil
}

// header finds a label, which the decoder gives as uint64 when not negative.
func header(h map[any]cbor.RawMessage, label int64) (cbor.RawMessage, bool) {
	raw, ok := h[uint64(label)]
	return raw, ok
}

// untag takes off tags 61 and 18, where they are, in their shortest form.
// Any other tag is left to the decoder, which refuses all.
func untag(data []byte) []byte {
	data = bytes.TrimPrefix(data, []byte{0xd8, tagCWT})
	return bytes.TrimPrefix(data, []byte{0xc0 | tagSign1})
}

// malformed turns the decoder's error into ours. The decoder's text may quote
// what it read, so only its sort is kept.
func malformed(err error) error {
	var extra *cbor.ExtraneousDataError
	if errors.As(err, &extra) {
		return ErrTrailing
	}
	return fmt.Errorf("%w: %s", ErrMalformed, sort(err))
}

// sort names a decoder's error without its values.
func sort(err error) string {
	var (
		dup     *cbor.DupMapKeyError
		unknown *cbor.UnknownFieldError
		typ     *cbor.UnmarshalTypeError
		indef   *cbor.IndefiniteLengthError
		tags    *cbor.TagsMdError
	)
	switch {
	case errors.As(err, &dup):
		return "a key twice in a map"
	case errors.As(err, &unknown):
		return "an unknown key in a map"
	case errors.As(err, &typ):
		return "a value of the wrong type"
	case errors.As(err, &indef):
		return "indefinite length"
	case errors.As(err, &tags):
		return "a tag where none may be"
	}
	return "bad CBOR"
}

// Verify checks the signature with this algorithm and key; external is the
// externally supplied data of RFC 9052 section 4.3, nil where there is none.
// The algorithm in the message must be the same one.
func (m *Message) Verify(alg Algorithm, key crypto.PublicKey, external []byte) error {
	if m.Algorithm != alg {
		return fmt.Errorf("%w: message says %d, key %d", ErrAlgorithm, m.Algorithm, alg)
	}
	return Verify(alg, key, toBeSigned(m.protected, external, m.Payload), m.Signature)
}

// toBeSigned is the Sig_structure of RFC 9052 section 4.4.
func toBeSigned(protected, external, payload []byte) []byte {
	const context = "\x84\x6aSignature1"
	b := make([]byte, 0, len(context)+3*9+len(protected)+len(external)+len(payload))
	b = append(b, context...)
	b = appendBytes(b, protected)
	b = appendBytes(b, external)
	return appendBytes(b, payload)
}

// appendBytes appends a byte string in its shortest form.
func appendBytes(dst, s []byte) []byte {
	switch n := uint64(len(s)); {
	case n < 24:
		dst = append(dst, 0x40|byte(n))
	case n <= 0xff:
		dst = append(dst, 0x58, byte(n))
	case n <= 0xffff:
		dst = append(dst, 0x59, byte(n>>8), byte(n))
	default: // MaxMessage is below 2^32
		dst = append(dst, 0x5a, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, s...)
}
