package passage

import (
	"fmt"

	"greengate/gate"
)

// sealed is the sealed part before encryption. The integers must never change.
type sealed struct {
	Pseudonym  []byte   `cbor:"1,keyasint,omitempty"`
	CodeKind   string   `cbor:"2,keyasint,omitempty"`
	Colour     uint8    `cbor:"3,keyasint,omitempty"`
	Region     string   `cbor:"4,keyasint,omitempty"`
	Reading    *reading `cbor:"5,keyasint,omitempty"`
	Enterprise string   `cbor:"6,keyasint,omitempty"`
	DayKey     []byte   `cbor:"7,keyasint,omitempty"`
}

// reading is a temperature in thousandths of a degree Celsius.
type reading struct {
	_          struct{} `cbor:",toarray"`
	Object     int32
	Ambient    int32
	Adjusted   int32
	OutOfRange bool
	TooFar     bool
}

// padTo is the multiple of bytes that a sealed part is filled up to, so that
// its length does not say whether somebody was measured or what kind of code
// it was.
const padTo = 64

func (s *sealed) check() error {
	for _, f := range []struct {
		name string
		size int
		most int
	}{
		{"pseudonym", len(s.Pseudonym), 32}, {"code kind", len(s.CodeKind), MaxWord}, {"region", len(s.Region), MaxWord},
		{"enterprise", len(s.Enterprise), 128}, {"day key", len(s.DayKey), 64},
	} {
		if f.size > f.most {
			return fmt.Errorf("%s of %d bytes", f.name, f.size)
		}
	}
	if gate.Status(s.Colour) > gate.Void {
		return fmt.Errorf("colour %d", s.Colour)
	}
	return nil
}

// encodeSealed writes the sealed part in plain text: CBOR, the byte 0x80, and
// zeros up to a multiple of 64 (the padding of ISO/IEC 7816-4).
func encodeSealed(g gate.Sealed) ([]byte, error) {
	s := sealed{Pseudonym: g.Pseudonym, CodeKind: g.CodeKind, Colour: uint8(g.Colour), Region: g.Region,
		Enterprise: g.Enterprise, DayKey: g.DayKey}
	if r := g.Reading; r != nil {
		s.Reading = &reading{Object: int32(r.Object), Ambient: int32(r.Ambient), Adjusted: int32(r.Adjusted),
			OutOfRange: r.OutOfRange, TooFar: r.TooFar}
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	data, err := encoding.Marshal(&s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	data = append(data, 0x80)
	for len(data)%padTo != 0 {
		data = append(data, 0)
	}
	return data, nil
}

func decodeSealed(data []byte) (gate.Sealed, error) {
	if len(data) == 0 || len(data)%padTo != 0 {
		return gate.Sealed{}, fmt.Errorf("sealed part: %w: %d bytes", ErrMalformed, len(data))
	}
	end := len(data) - 1
	for end > 0 && data[end] == 0 {
		end--
	}
	if data[end] != 0x80 || len(data)-end > padTo {
		return gate.Sealed{}, fmt.Errorf("sealed part: %w: padding", ErrMalformed)
	}
	var s sealed
	if err := decodeCanonical(data[:end], &s); err != nil {
		return gate.Sealed{}, fmt.Errorf("sealed part: %w", err)
	}
	if err := s.check(); err != nil {
		return gate.Sealed{}, fmt.Errorf("sealed part: %w: %w", ErrMalformed, err)
	}
	g := gate.Sealed{Pseudonym: s.Pseudonym, CodeKind: s.CodeKind, Colour: gate.Status(s.Colour), Region: s.Region,
		Enterprise: s.Enterprise, DayKey: s.DayKey}
	if r := s.Reading; r != nil {
		g.Reading = &gate.Reading{Object: gate.MilliCelsius(r.Object), Ambient: gate.MilliCelsius(r.Ambient),
			Adjusted: gate.MilliCelsius(r.Adjusted), OutOfRange: r.OutOfRange, TooFar: r.TooFar}
	}
	return g, nil
}
