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
	// Circumstances of a decision.
	Circumstances *circumstances `cbor:"8,keyasint,omitempty"`
	Guard         string         `cbor:"9,keyasint,omitempty"`
}

// circumstances are those of gate.Circumstances; ages are in seconds, -1 for never.
type circumstances struct {
	_             struct{} `cbor:",toarray"`
	Zoned         bool
	PermitScanned bool
	Thermometer   uint8
	Risk          uint8
	ListAge       int64
	PermitListAge int64
	Inside        int64
	// Earlier are the adjusted temperatures, null for a reading from too far away.
	Earlier []*int32
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
// it was: everything that a decision has at once takes 112 bytes at most, four
// earlier readings among them.
const padTo = 128

// paddedTo is what records of the version before were filled up to. They are
// opened as long as their keys are kept.
const paddedTo = 64

func (s *sealed) check() error {
	for _, f := range []struct {
		name string
		size int
		most int
	}{
		{"pseudonym", len(s.Pseudonym), 32}, {"code kind", len(s.CodeKind), MaxWord}, {"region", len(s.Region), MaxWord},
		{"enterprise", len(s.Enterprise), 128}, {"day key", len(s.DayKey), 64}, {"guard", len(s.Guard), MaxWord},
	} {
		if f.size > f.most {
			return fmt.Errorf("%s of %d bytes", f.name, f.size)
		}
	}
	if gate.Status(s.Colour) > gate.Void {
		return fmt.Errorf("colour %d", s.Colour)
	}
	if c := s.Circumstances; c != nil {
		return c.check()
	}
	return nil
}

func (c *circumstances) check() error {
	switch {
	case gate.ThermometerState(c.Thermometer) > gate.ThermometerFailed:
		return fmt.Errorf("thermometer state %d", c.Thermometer)
	case gate.RiskLevel(c.Risk) > gate.RiskHigh:
		return fmt.Errorf("risk level %d", c.Risk)
	case min(c.ListAge, c.PermitListAge, c.Inside) < int64(gate.Never) || max(c.ListAge, c.PermitListAge, c.Inside) > int64(gate.MaxAge):
		return fmt.Errorf("ages %d, %d and %d s", c.ListAge, c.PermitListAge, c.Inside)
	case len(c.Earlier) > gate.MaxEarlier:
		return fmt.Errorf("%d earlier readings", len(c.Earlier))
	}
	return nil
}

// encodeCircumstances and decode convert.
func encodeCircumstances(g *gate.Circumstances) *circumstances {
	if g == nil {
		return nil
	}
	c := &circumstances{Zoned: g.Zoned, PermitScanned: g.PermitScanned, Thermometer: uint8(g.Thermometer), Risk: uint8(g.Risk),
		ListAge: int64(g.ListAge), PermitListAge: int64(g.PermitListAge), Inside: int64(g.Inside)}
	for _, e := range g.Earlier {
		if e.TooFar {
			c.Earlier = append(c.Earlier, nil)
			continue
		}
		adjusted := int32(e.Adjusted)
		c.Earlier = append(c.Earlier, &adjusted)
	}
	return c
}

func (c *circumstances) decode() *gate.Circumstances {
	if c == nil {
		return nil
	}
	g := &gate.Circumstances{Zoned: c.Zoned, PermitScanned: c.PermitScanned, Thermometer: gate.ThermometerState(c.Thermometer),
		Risk: gate.RiskLevel(c.Risk), ListAge: gate.Seconds(c.ListAge), PermitListAge: gate.Seconds(c.PermitListAge), Inside: gate.Seconds(c.Inside)}
	for _, e := range c.Earlier {
		if e == nil {
			g.Earlier = append(g.Earlier, gate.EarlierReading{TooFar: true})
			continue
		}
		g.Earlier = append(g.Earlier, gate.EarlierReading{Adjusted: gate.MilliCelsius(*e)})
	}
	return g
}

// encodeSealed writes the sealed part in plain text: CBOR, the byte 0x80, and
// zeros up to a multiple of 128 (the padding of ISO/IEC 7816-4).
func encodeSealed(g gate.Sealed) ([]byte, error) {
	s := sealed{Pseudonym: g.Pseudonym, CodeKind: g.CodeKind, Colour: uint8(g.Colour), Region: g.Region,
		Enterprise: g.Enterprise, DayKey: g.DayKey, Circumstances: encodeCircumstances(g.Circumstances), Guard: g.Guard}
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
	if len(data) == 0 || len(data)%paddedTo != 0 {
		return gate.Sealed{}, fmt.Errorf("sealed part: %w: %d bytes", ErrMalformed, len(data))
	}
	end := len(data) - 1
	for end > 0 && data[end] == 0 {
		end--
	}
	filled := len(data) - end
	if data[end] != 0x80 || filled > padTo || filled > paddedTo && len(data)%padTo != 0 {
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
		Enterprise: s.Enterprise, DayKey: s.DayKey, Circumstances: s.Circumstances.decode(), Guard: s.Guard}
	if r := s.Reading; r != nil {
		g.Reading = &gate.Reading{Object: gate.MilliCelsius(r.Object), Ambient: gate.MilliCelsius(r.Ambient),
			Adjusted: gate.MilliCelsius(r.Adjusted), OutOfRange: r.OutOfRange, TooFar: r.TooFar}
	}
	return g, nil
}
