package pass

import "time"

// Format opens the codes of one scheme.
type Format interface {
	// Claims reports whether raw looks like a code of this format, from its
	// first bytes alone.
	Claims(raw []byte) bool
	// Open verifies raw. See [Reader.Open] for the contract.
	Open(raw []byte, now time.Time) (*Credential, error)
}

// MaxRaw is the most bytes of a scan that a Reader looks at: the capacity of
// the largest QR code in byte mode is 2,953 (ISO/IEC 18004, table 7), in
// alphanumeric mode 4,296.
const MaxRaw = 4296
