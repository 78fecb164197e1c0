package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxPolicy is the most bytes of a policy that ParsePolicy reads.
const MaxPolicy = 64 << 10

// ErrPolicy is wrapped by every error of [ParsePolicy] and [Policy.Check].
var ErrPolicy = errors.New("bad policy")

// ParsePolicy reads a signed policy: one JSON object. A field that is left out
// has its default; an unknown field, a value out of bounds or anything behind
// the object is an error that wraps [ErrPolicy].
func ParsePolicy(data []byte) (Policy, error) {
	p := DefaultPolicy()
	if err := strictJSON(data, MaxPolicy, &p); err != nil {
		return Policy{}, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if err := p.Check(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// Marshal writes the policy as ParsePolicy reads it. A policy out of bounds is
// an error: nobody is to sign one.
func (p Policy) Marshal() ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// Check says which value is out of bounds, if one is.
func (p Policy) Check() error {
	const day = 24 * 3600
	for _, v := range []struct {
		name           string
		value, min, at int64
	}{
		{"fever_at_millicelsius", int64(p.FeverAt), 35000, 42000},
		{"fever_readings", int64(p.FeverReadings), 1, 5},
		{"closer_tries", int64(p.CloserTries), 1, 10},
		{"permit_within_seconds", int64(p.PermitWithin), 1, 300},
		{"passback_window_seconds", int64(p.PassbackWindow), 0, 7 * day},
		{"stale_after_seconds", int64(p.StaleAfter), 60, 30 * day},
		{"too_old_after_seconds", int64(p.TooOldAfter), int64(p.StaleAfter), 60 * day},
		{"risk_hold_at", int64(p.RiskHoldAt), int64(RiskUnknown), int64(RiskHigh)},
		{"risk_notice_at", int64(p.RiskNoticeAt), int64(RiskUnknown), int64(RiskHigh)},
	} {
		if v.value < v.min || v.value > v.at {
			return fmt.Errorf("%w: %s is %d, allowed are %d to %d", ErrPolicy, v.name, v.value, v.min, v.at)
		}
	}
	return nil
}

// strictJSON decodes exactly one JSON value of at most limit bytes into v:
// unknown fields and trailing data are errors.
func strictJSON(data []byte, limit int, v any) error {
	if len(data) > limit {
		return fmt.Errorf("%d bytes, allowed are %d", len(data), limit)
	}
	// A bare null would leave v as it was.
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return errors.New("not a json object")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("data behind the end")
	}
	return nil
}
