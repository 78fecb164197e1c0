package passage

import (
	"fmt"
	"time"

	"greengate/gate"
)

// Limits of one record. A decision takes about 70 bytes in clear and 144 sealed.
const (
	// MaxClear is the most bytes of a clear part: 16 notices of 32 bytes and everything else at its longest is below 800.
	MaxClear = 1024
	// MaxSealed is the most bytes of a sealed part, padding and authentication tag included.
	MaxSealed = 1024
	// MaxNotices a record may carry.
	MaxNotices = 16
	// MaxWord is the most bytes of a kind, reason, outcome or guard's name.
	MaxWord = 32
	// minAt and maxAt are the first moment of the year 0 and the last of 9999, in
	// milliseconds: no calendar, JSON or table says any other.
	minAt, maxAt = -62_167_219_200_000, 253_402_300_799_999
)

// clear is the clear part on the wire. The integers must never change.
type clear struct {
	Seq       uint64   `cbor:"1,keyasint"`
	Kind      string   `cbor:"2,keyasint"`
	At        int64    `cbor:"3,keyasint"` // Unix milliseconds
	Clock     uint8    `cbor:"4,keyasint,omitempty"`
	Direction uint8    `cbor:"5,keyasint,omitempty"`
	Verdict   uint8    `cbor:"6,keyasint,omitempty"`
	Reason    string   `cbor:"7,keyasint,omitempty"`
	Notices   []string `cbor:"8,keyasint,omitempty"`
	Policy    uint64   `cbor:"9,keyasint,omitempty"`
	List      uint64   `cbor:"10,keyasint,omitempty"`
	Of        uint64   `cbor:"11,keyasint,omitempty"`
	Outcome   string   `cbor:"12,keyasint,omitempty"`
	// Guard lay here in records of before. It is sealed now.
	Guard       string `cbor:"13,keyasint,omitempty"`
	GuardReason string `cbor:"14,keyasint,omitempty"`
	Dropped     uint64 `cbor:"15,keyasint,omitempty"`
}

// check says what is outside its range. Reasons need only be words, not known
// ones: a hub may be older than the gate that writes to it.
func (c *clear) check() error {
	if c.Seq == 0 {
		return fmt.Errorf("sequence 0")
	}
	switch gate.RecordKind(c.Kind) {
	case gate.DecisionRecord, gate.OutcomeRecord, gate.ActRecord, gate.KeyRecord, gate.GapRecord:
	default:
		return fmt.Errorf("kind %.40q", c.Kind)
	}
	if c.At < minAt || c.At > maxAt {
		return fmt.Errorf("time %d ms", c.At)
	}
	if gate.ClockQuality(c.Clock) > gate.ClockConfirmed {
		return fmt.Errorf("clock quality %d", c.Clock)
	}
	if gate.Direction(c.Direction) > gate.Exit {
		return fmt.Errorf("direction %d", c.Direction)
	}
	if gate.Verdict(c.Verdict) > gate.Admit {
		return fmt.Errorf("verdict %d", c.Verdict)
	}
	if c.Reason != "" && !isWord(c.Reason) {
		return fmt.Errorf("reason %.40q", c.Reason)
	}
	if len(c.Notices) > MaxNotices {
		return fmt.Errorf("%d notices", len(c.Notices))
	}
	for _, n := range c.Notices {
		if !isWord(n) {
			return fmt.Errorf("notice %.40q", n)
		}
	}
	switch gate.Outcome(c.Outcome) {
	case gate.OutcomeUnknown, gate.Turned, gate.NotTurned, gate.TurnedTwice:
	default:
		return fmt.Errorf("outcome %.40q", c.Outcome)
	}
	if len(c.Guard) > MaxWord {
		return fmt.Errorf("guard of %d bytes", len(c.Guard))
	}
	if c.GuardReason != "" && !isWord(c.GuardReason) {
		return fmt.Errorf("guard's reason %.40q", c.GuardReason)
	}
	return nil
}

// isWord reports whether s is a fixed word: 1 to 32 of a-z, 0-9 and "-".
func isWord(s string) bool {
	if len(s) == 0 || len(s) > MaxWord {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// EncodeClear writes the clear part of a record. The error wraps [ErrInvalid]
// when a field is outside its range.
func EncodeClear(seq uint64, r gate.Record) ([]byte, error) {
	c := clear{
		Seq: seq, Kind: string(r.Kind), At: r.At.UnixMilli(), Clock: uint8(r.Clock), Direction: uint8(r.Direction),
		Verdict: uint8(r.Verdict), Reason: string(r.Reason), Policy: r.Policy, List: r.List, Of: r.Of,
		Outcome: string(r.Outcome), GuardReason: string(r.GuardReason), Dropped: r.Dropped,
	}
	for _, n := range r.Notices {
		c.Notices = append(c.Notices, string(n))
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	data, err := encoding.Marshal(&c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(data) > MaxClear {
		return nil, fmt.Errorf("%w: clear part of %d bytes", ErrTooLarge, len(data))
	}
	return data, nil
}

// DecodeClear reads a clear part: the sequence and the record without its
// sealed part, but for a guard's name that a record of before has in clear. At is
// in UTC, to the millisecond. Errors wrap [ErrMalformed] or [ErrTooLarge].
func DecodeClear(data []byte) (uint64, gate.Record, error) {
	if len(data) > MaxClear {
		return 0, gate.Record{}, fmt.Errorf("%w: clear part of %d bytes", ErrTooLarge, len(data))
	}
	var c clear
	if err := decodeCanonical(data, &c); err != nil {
		return 0, gate.Record{}, fmt.Errorf("clear part: %w", err)
	}
	if err := c.check(); err != nil {
		return 0, gate.Record{}, fmt.Errorf("clear part: %w: %w", ErrMalformed, err)
	}
	r := gate.Record{
		Kind: gate.RecordKind(c.Kind), At: time.UnixMilli(c.At).UTC(), Clock: gate.ClockQuality(c.Clock),
		Direction: gate.Direction(c.Direction), Verdict: gate.Verdict(c.Verdict), Reason: gate.Reason(c.Reason),
		Policy: c.Policy, List: c.List, Of: c.Of, Outcome: gate.Outcome(c.Outcome),
		GuardReason: gate.GuardReason(c.GuardReason), Dropped: c.Dropped, Sealed: gate.Sealed{Guard: c.Guard},
	}
	for _, n := range c.Notices {
		r.Notices = append(r.Notices, gate.Reason(n))
	}
	return c.Seq, r, nil
}
