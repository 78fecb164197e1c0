package gate

import (
	"fmt"
	"time"

	"greengate/pass"
)

// Status is the colour of a code today.
type Status uint8

const (
	// StatusUnknown is the zero value: nothing may be concluded.
	StatusUnknown Status = iota
	// Green walks on.
	Green
	// Yellow is stopped and looked at.
	Yellow
	// Red is refused.
	Red
	// Void is revoked or never issued.
	Void
)

// String returns the word that journal, pages and tests use.
func (s Status) String() string {
	switch s {
	case Green:
		return "green"
	case Yellow:
		return "yellow"
	case Red:
		return "red"
	case Void:
		return "void"
	}
	return "unknown"
}

// StatusOf returns the colour of a 2-bit value of a status list
// (draft-ietf-oauth-status-list section 7.1: 0 valid, 1 invalid, 2 suspended,
// 3 application specific).
func StatusOf(value uint8) Status {
	switch value {
	case 0:
		return Green
	case 1:
		return Void
	case 2:
		return Yellow
	case 3:
		return Red
	}
	return StatusUnknown
}

// Listing is what the lists say of one code.
type Listing struct {
	// Found is whether the list is held; without it nothing below is set.
	Found bool
	// InBounds is whether the list has an entry with that index.
	InBounds bool
	// Status is the colour; StatusUnknown unless Found and InBounds.
	Status Status
	// Sequence of the list's generation.
	Sequence uint64
	// Issued is when this generation was made: a code issued later is newer than the list.
	Issued time.Time
	// Confirmed is the latest signed time at which the authority said that
	// this generation is the current one (the timestamp role's issued). The
	// age of a list counts from here.
	Confirmed time.Time
}

// Revocation is what a hash list says of one identifier of a foreign code.
type Revocation struct {
	// Found is whether the list is held; without it nothing below is set.
	Found bool
	// Revoked is whether the identifier is in the list. Before is the time
	// before which a code must have been issued to be meant; zero means all.
	Revoked bool
	Before  time.Time
	// Sequence of the list's generation.
	Sequence uint64
	// Issued is when this generation was made. A code issued later is none the
	// less answered for: such a list names only what was revoked.
	Issued time.Time
	// Confirmed is as in Listing.
	Confirmed time.Time
}

// Freshness grades the age of a list.
type Freshness uint8

const (
	// ListMissing is the zero value: the list is not held.
	ListMissing Freshness = iota
	// Fresh is younger than Policy.StaleAfter.
	Fresh
	// Stale still answers, with a notice to the guard.
	Stale
	// TooOld holds people.
	TooOld
)

// String returns the word that pages and metrics use.
func (f Freshness) String() string {
	switch f {
	case Fresh:
		return "fresh"
	case Stale:
		return "stale"
	case TooOld:
		return "too-old"
	}
	return "missing"
}

// RiskLevel is a county's colour on the five-colour map.
type RiskLevel uint8

const (
	// RiskUnknown is the zero value: the map does not name the county. It decides nothing.
	RiskUnknown RiskLevel = iota
	// RiskLow is green on the map.
	RiskLow
	// RiskLower is blue.
	RiskLower
	// RiskMedium is yellow.
	RiskMedium
	// RiskHigher is orange.
	RiskHigher
	// RiskHigh is red.
	RiskHigh
)

// String returns the word that maps and pages use.
func (r RiskLevel) String() string {
	switch r {
	case RiskLow:
		return "low"
	case RiskLower:
		return "lower"
	case RiskMedium:
		return "medium"
	case RiskHigher:
		return "higher"
	case RiskHigh:
		return "high"
	}
	return "unknown"
}

// riskOff is how RiskUnknown is written, as no level but the absence of one:
// a policy that acts from "off" on never acts.
const riskOff = "off"

// MarshalText writes the level as policies and maps have it: its word, or
// "off" for RiskUnknown. A level that has no word is an error.
func (r RiskLevel) MarshalText() ([]byte, error) {
	if r == RiskUnknown {
		return []byte(riskOff), nil
	}
	if r > RiskHigh {
		return nil, fmt.Errorf("risk level %d has no word", uint8(r))
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads exactly what MarshalText writes.
func (r *RiskLevel) UnmarshalText(text []byte) error {
	word := string(text)
	if word == riskOff {
		*r = RiskUnknown
		return nil
	}
	for level := RiskLow; level <= RiskHigh; level++ {
		if word == level.String() {
			*r = level
			return nil
		}
	}
	return fmt.Errorf("risk level %.20q is none of low, lower, medium, higher, high and, in a policy, off", word)
}

// ClockQuality says how far the time of day may be trusted.
type ClockQuality uint8

const (
	// ClockUnset is the zero value: the device may be in 1970.
	ClockUnset ClockQuality = iota
	// ClockFloor is not before the last signed time seen, and no more is known.
	ClockFloor
	// ClockNetwork is disciplined by network time.
	ClockNetwork
	// ClockConfirmed agrees with the hub's authenticated time.
	ClockConfirmed
)

// String returns the word that journal and pages use.
func (q ClockQuality) String() string {
	switch q {
	case ClockFloor:
		return "floor"
	case ClockNetwork:
		return "network"
	case ClockConfirmed:
		return "hub-confirmed"
	}
	return "unset"
}

// Authority is what the lane asks about a code that opened, in a worker with a
// deadline. Answers come within microseconds, and but for Revoked from memory;
// it must be safe for concurrent use.
type Authority interface {
	// Policy in force.
	Policy() Policy
	// Lookup finds a code's entry in its status list.
	Lookup(pass.StatusRef) Listing
	// Revoked finds an identifier in the hash list of its scheme and key.
	Revoked(pass.RevocationID) Revocation
	// Risk returns the map's colour for a county, six digits of GB/T 2260.
	Risk(region string) RiskLevel
}
