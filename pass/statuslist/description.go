package statuslist

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Bounds of a Description.
const (
	// MaxDeltas is the most deltas that lead to one generation.
	MaxDeltas = 16
	// MaxDescription is the most bytes of a Description as JSON.
	MaxDescription = 8 << 10
)

// Description is all that the authority signs about one generation: what it
// is, and the shorter ways to it. It is the custom part of the list's target in
// The Update Framework. The deltas stand here and not as targets of their own
// because a gate fetches this metadata with each change of any list, and a
// target takes four times the bytes.
type Description struct {
	Info
	// Deltas lead to this generation, the shortest way first: From descends.
	Deltas []Delta
}

// Delta describes a delta file, as [Widen] makes them: it leads to the
// described generation from each that is held from From on.
type Delta struct {
	// From is the first generation that it leads from, before the one described.
	From uint64
	// Issued is when generation From was made.
	Issued time.Time
	// Before is the SHA-256 of the raw bytes of generation From. The one after is
	// Info's.
	Before [32]byte
	// Size and SHA256 of the delta file.
	Size   int64
	SHA256 [32]byte
}

// deltaJSON is a Delta in its signed form.
type deltaJSON struct {
	From   uint64 `json:"from"`
	Issued string `json:"issued"`
	Before string `json:"before"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

var deltaNames = []string{"from", "issued", "before", "size", "sha256"}

// Marshal writes the Description as [ParseDescription] reads it: an Info's
// members and, where there are any, "deltas".
func (d Description) Marshal() ([]byte, error) {
	d.Issued, d.Expires = d.Issued.UTC(), d.Expires.UTC()
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInfo, err)
	}
	out := struct {
		infoJSON
		Deltas []deltaJSON `json:"deltas,omitempty"`
	}{infoJSON: d.Info.signed()}
	for _, t := range d.Deltas {
		out.Deltas = append(out.Deltas, deltaJSON{t.From, t.Issued.UTC().Format(second), hex.EncodeToString(t.Before[:]), t.Size, hex.EncodeToString(t.SHA256[:])})
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInfo, err)
	}
	return data, nil
}

// ParseDescription reads a Description as strictly as [ParseInfo] an Info.
// Every error is [ErrInfo].
func ParseDescription(data []byte) (Description, error) {
	var d Description
	err := parseDocument(data, MaxDescription, func(dec *json.Decoder) error {
		return d.Info.parse(dec, map[string]func(*json.Decoder) error{"deltas": d.parseDeltas})
	})
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return Description{}, fmt.Errorf("%w: %w", ErrInfo, err)
	}
	return d, nil
}

func (d *Description) parseDeltas(dec *json.Decoder) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.New("not a JSON array")
	}
	for dec.More() {
		if len(d.Deltas) == MaxDeltas {
			return fmt.Errorf("more than %d", MaxDeltas)
		}
		var t Delta
		err := parseMembers(dec, deltaNames, func(name string) error {
			value, err := dec.Token()
			if err != nil {
				return errors.New("not JSON")
			}
			return t.set(name, value)
		}, nil)
		if err != nil {
			return err
		}
		d.Deltas = append(d.Deltas, t)
	}
	if t, err := dec.Token(); err != nil || t != json.Delim(']') {
		return errors.New("not a JSON array")
	}
	if len(d.Deltas) == 0 {
		return errors.New("empty")
	}
	return nil
}

func (t *Delta) set(name string, value json.Token) (err error) {
	switch name {
	case "from":
		t.From, err = wholeNumber(value)
	case "issued":
		t.Issued, err = parseSecond(value)
	case "before":
		t.Before, err = digest(value)
	case "size":
		t.Size, err = size(value)
	case "sha256":
		t.SHA256, err = digest(value)
	}
	return err
}

// check reports what a Description must not say.
func (d *Description) check() error {
	if err := d.Info.check(); err != nil {
		return err
	}
	if len(d.Deltas) > MaxDeltas {
		return fmt.Errorf("%d deltas, allowed are %d", len(d.Deltas), MaxDeltas)
	}
	before := d.Sequence
	for _, t := range d.Deltas {
		switch {
		case t.From < 1 || t.From >= before:
			return errors.New("deltas do not descend from the sequence")
		case t.Issued.Year() < 1970 || t.Issued.After(d.Issued):
			return errors.New("a delta leads back in time")
		case t.Size < 1 || t.Size > maxDelta:
			return errors.New("size of a delta out of range")
		}
		before = t.From
	}
	return nil
}

// Best returns the smallest delta that leads from the held generation to the
// described one; ok is false where there is none.
func (d *Description) Best(held Info) (best Delta, ok bool) {
	if held.Bits != d.Bits || held.Size != d.Size || held.URI != d.URI {
		return best, false
	}
	for _, t := range d.Deltas {
		if t.From > held.Sequence || held.Sequence >= d.Sequence || t.From == held.Sequence && t.Before != held.SHA256 {
			continue
		}
		if !ok || t.Size < best.Size {
			best, ok = t, true
		}
	}
	return best, ok
}
