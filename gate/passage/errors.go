package passage

import "errors"

// The ways in which a record or a batch is refused. Every error of this
// package about bytes wraps one of them.
var (
	// ErrMalformed: not what this package writes, byte for byte.
	ErrMalformed = errors.New("malformed passage")
	// ErrTooLarge: more bytes or more records than allowed.
	ErrTooLarge = errors.New("passage too large")
	// ErrInvalid: a record to be written that has a field outside its range.
	ErrInvalid = errors.New("invalid record")
	// ErrSealed: the sealed part or the segment key does not open.
	ErrSealed = errors.New("sealed part does not open")
	// ErrChain: sequences are not contiguous, or the chain does not follow.
	ErrChain = errors.New("chain broken")
	// ErrSignature: the gate's signature does not verify.
	ErrSignature = errors.New("bad batch signature")
	// ErrNonce: a sequence was sealed twice with the same data key. It is refused
	// because AES-GCM gives both texts away when a nonce returns.
	ErrNonce = errors.New("sequence already sealed in this segment")
)
