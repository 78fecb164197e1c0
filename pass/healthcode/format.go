package healthcode

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"greengate/pass"
	"greengate/pass/base45"
	"greengate/pass/cose"
)

// Name is what credentials of this format have in Format.
const Name = "JKM1"

// Prefix begins every code of this format.
const Prefix = Name + ":"

// MaxText is the most characters of a code, [Prefix] included.
const MaxText = len(Prefix) + cose.MaxNative/2*3

// DefaultAudience is the audience (CWT aud) of a holder's proof.
const DefaultAudience = "greengate"

// DefaultProofWindow is how far a holder's proof may be from the gate's
// clock, either way.
const DefaultProofWindow = 90 * time.Second

// Leap is how far in the future iat may lie before a code is not yet valid:
// two good clocks may differ by so much.
const Leap = 90 * time.Second

// Options of a Format; the zero Options are the defaults.
type Options struct {
	// Audience that a holder's proof must name; DefaultAudience when empty.
	Audience string
	// ProofWindow is how far a proof may be from now, either way;
	// DefaultProofWindow when zero or less.
	ProofWindow time.Duration
}

// Format opens native codes. It implements [pass.Format], keeps no state and
// is safe for use from several goroutines when its keys are.
type Format struct {
	keys     pass.Keys
	audience string
	window   time.Duration
}

// New returns a Format that verifies with these keys.
func New(keys pass.Keys, o Options) *Format {
	f := &Format{keys: keys, audience: o.Audience, window: o.ProofWindow}
	if f.audience == "" {
		f.audience = DefaultAudience
	}
	if f.window <= 0 {
		f.window = DefaultProofWindow
	}
	return f
}

// Claims reports whether raw begins with [Prefix].
func (f *Format) Claims(raw []byte) bool {
	return len(raw) >= len(Prefix) && string(raw[:len(Prefix)]) == Prefix
}

// message is a code taken apart and checked as far as it can be without keys
// and clock.
type message struct {
	code    cose.Native
	payload payload
	kind    pass.Kind
	// outer is the holder's proof around the code; nil where there is none.
	outer *cose.Native
	proof proofPayload
}

// parse takes a code apart.
func parse(raw []byte) (*message, error) {
	if len(raw) > MaxText {
		return nil, fmt.Errorf("code of %d bytes: %w", len(raw), pass.ErrTooLong)
	}
	if len(raw) < len(Prefix) || string(raw[:len(Prefix)]) != Prefix {
		return nil, fmt.Errorf("code of %d bytes: %w", len(raw), pass.ErrUnreadable)
	}
	data, err := base45.AppendDecode(nil, raw[len(Prefix):])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", pass.ErrMalformed, err)
	}
	m := new(message)
	if m.code, err = cose.ParseNative(data); err != nil {
		return nil, envelope(err)
	}
	// Only a proof has a kid of no bytes.
	if len(m.code.KeyID) == 0 {
		outer := m.code
		m.outer = &outer
		if err := decode(outer.Payload, &m.proof); err != nil {
			return nil, fmt.Errorf("proof: %w", err)
		}
		if m.proof.Issued < 1 || m.proof.Issued > latest || len(m.proof.Audience) > maxAudience {
			return nil, wrong("proof")
		}
		if m.code, err = cose.ParseNative(m.proof.Code); err != nil {
			return nil, fmt.Errorf("code inside the proof: %w", envelope(err))
		}
		if len(m.code.KeyID) == 0 {
			return nil, wrong("proof inside a proof")
		}
	}
	if err := decode(m.code.Payload, &m.payload); err != nil {
		return nil, err
	}
	if m.kind, err = m.payload.check(); err != nil {
		return nil, err
	}
	if m.outer != nil && m.kind != pass.KindBound {
		return nil, wrong("proof around a code without a holder's key")
	}
	return m, nil
}

// envelope turns an error of package cose into pass's.
func envelope(err error) error {
	switch {
	case errors.Is(err, cose.ErrTrailing):
		return pass.ErrTrailing
	case errors.Is(err, cose.ErrNotCanonical):
		return pass.ErrNotCanonical
	}
	return fmt.Errorf("%w: %w", pass.ErrMalformed, err)
}

// Open verifies raw. See [pass.Reader.Open] for the contract.
//
// What is cheap is checked first, then the signatures, then the times, so a
// stranger's bytes cost a signature only where a key could have made them.
// Where more than one thing is wrong with a genuine code, the first of
// expired, not yet valid, proof missing and proof stale is the error. A proof
// for another audience is no proof: it is ErrProofMissing.
func (f *Format) Open(raw []byte, now time.Time) (*pass.Credential, error) {
	m, err := parse(raw)
	if err != nil {
		return nil, err
	}
	key, err := f.verify(m)
	if err != nil {
		return nil, err
	}
	c := m.payload.credential(m.kind, m.code.KeyID, key)
	proof := pass.ErrProofMissing
	if m.outer != nil {
		if m.outer.Algorithm != cose.EdDSA && m.outer.Algorithm != cose.Ed25519 {
			return nil, fmt.Errorf("proof: %w", pass.ErrAlgorithm)
		}
		if err := m.outer.Verify(ed25519.PublicKey(c.HolderKey)); err != nil {
			return nil, fmt.Errorf("proof: %w", pass.ErrBadSignature)
		}
		if m.proof.Audience == f.audience {
			c.Proof.At = time.Unix(m.proof.Issued, 0).UTC()
			c.Proof.ID = sha256.Sum256(m.outer.Payload)
			proof = nil
			if d := now.Sub(c.Proof.At); d > f.window || d < -f.window {
				proof = pass.ErrProofStale
			}
		}
	}
	switch {
	case !now.Before(c.Expires):
		return c, fmt.Errorf("code that ended at %s: %w", c.Expires.Format(time.RFC3339), pass.ErrExpired)
	case now.Add(Leap).Before(c.Issued):
		return c, fmt.Errorf("code issued at %s: %w", c.Issued.Format(time.RFC3339), pass.ErrNotYetValid)
	case m.kind == pass.KindBound && proof != nil:
		return c, proof
	}
	return c, nil
}

// verify finds the key that signed the code. Two keys may share a kid, so it
// tries each that may sign this. When none did, the error is that of the key
// that came furthest.
func (f *Format) verify(m *message) (*pass.Key, error) {
	result := pass.ErrUnknownKey
	keys := f.keys.Keys(m.code.KeyID)
	for i := range keys {
		key := &keys[i]
		if !m.payload.fits(m.kind, key) || !bytes.Equal(key.ID, m.code.KeyID) {
			continue
		}
		if !accepts(key.Algorithm, m.code.Algorithm) {
			if result == pass.ErrUnknownKey {
				result = pass.ErrAlgorithm
			}
			continue
		}
		if m.code.Verify(key.Public) == nil {
			return key, nil
		}
		result = pass.ErrBadSignature
	}
	return nil, fmt.Errorf("key %x: %w", m.code.KeyID, result)
}

// accepts reports whether a key bound to want may have made a signature that
// says got.
func accepts(want pass.Algorithm, got cose.Algorithm) bool {
	switch want {
	case pass.EdDSA:
		return got == cose.EdDSA || got == cose.Ed25519
	case pass.Ed25519:
		return got == cose.Ed25519
	case pass.ES256:
		return got == cose.ES256
	}
	return false
}
