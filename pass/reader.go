package pass

import (
	"fmt"
	"time"
)

// Reader opens codes of the formats it was made with.
type Reader struct {
	formats []Format
}

// NewReader returns a Reader that asks the formats in this order.
func NewReader(formats ...Format) *Reader {
	return &Reader{formats: formats}
}

// Open verifies what a scanner read.
//
// With a nil error the code is genuine and within its period at now. With
// ErrExpired, ErrNotYetValid, ErrProofMissing or ErrProofStale it returns the
// credential beside the error: the issuer's signature verified, and who it is
// may be written down, but it opens nothing. With every other error the
// credential is nil.
//
// Open keeps no state and reads no clock.
func (r *Reader) Open(raw []byte, now time.Time) (*Credential, error) {
	if len(raw) > MaxRaw {
		return nil, fmt.Errorf("code of %d bytes: %w", len(raw), ErrTooLong)
	}
	for _, f := range r.formats {
		if f.Claims(raw) {
			return f.Open(raw, now)
		}
	}
	return nil, fmt.Errorf("code of %d bytes: %w", len(raw), ErrUnreadable)
}
