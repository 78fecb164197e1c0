package pass

import (
	"errors"
	"fmt"
)

// The ways in which a code fails to open. Every error of [Reader.Open] wraps
// one of them; a caller asks with errors.Is.
var (
	// ErrUnreadable: no format knows these bytes.
	ErrUnreadable = errors.New("not a code of a known format")
	// ErrMalformed: a known format, but not what the format allows.
	ErrMalformed = errors.New("malformed code")
	// ErrUnknownKey: no key with this kid may sign this kind of code.
	ErrUnknownKey = errors.New("unknown key")
	// ErrNoKeys: no keys are held, so nobody can say whose code it is.
	ErrNoKeys = errors.New("no keys")
	// ErrBadSignature: the signature does not verify.
	ErrBadSignature = errors.New("bad signature")
	// ErrExpired: now is at or after exp.
	ErrExpired = errors.New("expired")
	// ErrNotYetValid: now is before iat or nbf.
	ErrNotYetValid = errors.New("not yet valid")
	// ErrProofMissing: the code is bound to a holder's key and came without the holder's proof.
	ErrProofMissing = errors.New("holder's proof missing")
	// ErrProofStale: the holder's proof is further from the gate's clock than allowed.
	ErrProofStale = errors.New("holder's proof stale")
)

// Finer ways to fail, each of which also is one of those above.
var (
	// ErrTooLong: more bytes than any code of the format has. It is ErrMalformed.
	ErrTooLong = fmt.Errorf("%w: too long", ErrMalformed)
	// ErrTrailing: bytes behind the end of the signed message. It is ErrMalformed.
	ErrTrailing = fmt.Errorf("%w: trailing bytes", ErrMalformed)
	// ErrNotCanonical: it would not encode back to the same bytes. It is ErrMalformed.
	ErrNotCanonical = fmt.Errorf("%w: not the canonical encoding", ErrMalformed)
	// ErrAlgorithm: the algorithm in the code is not the key's. It is ErrBadSignature.
	ErrAlgorithm = fmt.Errorf("%w: algorithm is not the key's", ErrBadSignature)
)
