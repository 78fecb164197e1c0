package statuslist

import "errors"

// The names that draft-ietf-oauth-status-list section 7 gives to values.
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

// ErrOutOfBounds: the index is not in the list.
var ErrOutOfBounds = errors.New("status index out of bounds")

// List is a packed array of statuses.
type List struct {
	bits int
	raw  []byte
}

// New returns a list of n entries of bits (1, 2, 4 or 8) each, all set to fill.
func New(n uint64, bits int, fill uint8) (*List, error) { return nil, errors.ErrUnsupported }

// FromRaw returns the list whose packed bytes are raw; the list keeps raw.
func FromRaw(raw []byte, bits int) (*List, error) { return nil, errors.ErrUnsupported }

// Bits of each entry: 1, 2, 4 or 8.
func (l *List) Bits() int { return l.bits }

// Raw returns the packed bytes, which the list shares.
func (l *List) Raw() []byte { return l.raw }

// Len returns the number of entries.
func (l *List) Len() uint64 {
	if l.bits == 0 {
		return 0
	}
	return uint64(len(l.raw)) * uint64(8/l.bits)
}

// Get returns entry i, or ErrOutOfBounds.
func (l *List) Get(i uint64) (uint8, error) { return 0, ErrOutOfBounds }

// Set sets entry i to v.
func (l *List) Set(i uint64, v uint8) error { return ErrOutOfBounds }

// ParseInfo reads an Info as Marshal writes it.
func ParseInfo(data []byte) (Info, error) { return Info{}, errors.ErrUnsupported }

// Marshal writes the Info as JSON, the custom part of a TUF target.
func (i Info) Marshal() ([]byte, error) { return nil, errors.ErrUnsupported }
