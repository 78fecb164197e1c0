package statuslist

import (
	"errors"
	"fmt"
	"math"
)

// The names that draft-ietf-oauth-status-list section 7.1 gives to values.
const (
	// Valid is 0x00, VALID.
	Valid uint8 = 0
	// Invalid is 0x01, INVALID.
	Invalid uint8 = 1
	// Suspended is 0x02, SUSPENDED.
	Suspended uint8 = 2
	// ApplicationSpecific is 0x03, APPLICATION_SPECIFIC.
	ApplicationSpecific uint8 = 3
)

// MaxSize is the most raw bytes of a list.
const MaxSize = 64 << 20

var (
	// ErrOutOfBounds: the index is not in the list.
	ErrOutOfBounds = errors.New("status index out of bounds")
	// ErrBits: not 1, 2, 4 or 8 bits an entry, or a value that needs more.
	ErrBits = errors.New("status of a wrong number of bits")
	// ErrSize: an empty list, or one above the bound.
	ErrSize = errors.New("status list of a wrong size")
)

// List is a packed array of statuses. The zero List is empty.
//
// A List may be read by many goroutines while none sets it.
type List struct {
	bits int
	raw  []byte
}

// New returns a list of n entries of bits (1, 2, 4 or 8) each, all set to
// fill. n is rounded up to whole bytes; the entries so added are fill too.
func New(n uint64, bits int, fill uint8) (*List, error) {
	if !validBits(bits) || uint(fill) >= 1<<bits {
		return nil, fmt.Errorf("fill %d in %d bits: %w", fill, bits, ErrBits)
	}
	if n > MaxSize*8 {
		return nil, fmt.Errorf("%d entries: %w", n, ErrSize)
	}
	size := (n*uint64(bits) + 7) / 8
	if size < 1 || size > MaxSize {
		return nil, fmt.Errorf("%d entries: %w", n, ErrSize)
	}
	var b byte
	for i := 0; i < 8; i += bits {
		b |= fill << i
	}
	raw := make([]byte, size)
	for i := range raw {
		raw[i] = b
	}
	return &List{bits, raw}, nil
}

// FromRaw returns the list whose packed bytes are raw; the list keeps raw.
func FromRaw(raw []byte, bits int) (*List, error) {
	if !validBits(bits) {
		return nil, fmt.Errorf("%d bits: %w", bits, ErrBits)
	}
	if len(raw) < 1 || len(raw) > MaxSize {
		return nil, fmt.Errorf("%d bytes: %w", len(raw), ErrSize)
	}
	return &List{bits, raw}, nil
}

// validBits reports whether the draft has entries of so many bits.
func validBits(bits int) bool { return bits == 1 || bits == 2 || bits == 4 || bits == 8 }

// Bits of each entry: 1, 2, 4 or 8; 0 in the zero List.
func (l *List) Bits() int { return l.bits }

// Raw returns the packed bytes, which the list shares. Entries begin at the
// least significant bits of each byte (draft section 4.1).
func (l *List) Raw() []byte { return l.raw }

// Len returns the number of entries.
func (l *List) Len() uint64 {
	if l.bits == 0 {
		return 0
	}
	return uint64(len(l.raw)) * uint64(8/l.bits)
}

// Get returns entry i. On error the value is Invalid, and never one that
// could be taken for an answer.
func (l *List) Get(i uint64) (uint8, error) {
	if i >= l.Len() {
		return Invalid, ErrOutOfBounds
	}
	per := uint64(8 / l.bits)
	return l.raw[i/per] >> (i % per * uint64(l.bits)) & (math.MaxUint8 >> (8 - l.bits)), nil
}

// Set sets entry i to v.
func (l *List) Set(i uint64, v uint8) error {
	if i >= l.Len() {
		return fmt.Errorf("entry %d of %d: %w", i, l.Len(), ErrOutOfBounds)
	}
	mask := uint8(math.MaxUint8) >> (8 - l.bits)
	if v > mask {
		return fmt.Errorf("value %d in %d bits: %w", v, l.bits, ErrBits)
	}
	per := uint64(8 / l.bits)
	shift := i % per * uint64(l.bits)
	b := &l.raw[i/per]
	*b = *b&^(mask<<shift) | v<<shift
	return nil
}
