package gate

import (
	"time"

	"greengate/pass"
)

// ThermometerState says whether there is a thermometer to ask.
type ThermometerState uint8

const (
	// ThermometerNone is the zero value: none is configured.
	ThermometerNone ThermometerState = iota
	// ThermometerReady answers.
	ThermometerReady
	// ThermometerFailed was asked and did not answer.
	ThermometerFailed
)

// Facts is everything a decision rests on.
type Facts struct {
	// Now is the moment of the decision.
	Now time.Time
	// Clock grades Now.
	Clock ClockQuality
	// Direction of the reader.
	Direction Direction
	// Credential and OpenErr are what pass.Reader.Open returned for the health code.
	Credential *pass.Credential
	OpenErr    error
	// Replayed: this proof already let somebody through.
	Replayed bool
	// Listing is the code's entry in its status list.
	Listing Listing
	// Revocations are what the hash lists say of a foreign code, one for each
	// of Credential.Revocation.
	Revocations []Revocation
	// Risk of the holder's county on the map.
	Risk RiskLevel
	// LastSeen is when this person last turned the turnstile inwards without
	// leaving since; zero if never within the gate's memory.
	LastSeen time.Time
	// PermitScanned is whether a second code was shown; Permit, PermitErr and
	// PermitListing are what came of it.
	PermitScanned bool
	Permit        *pass.Credential
	PermitErr     error
	PermitListing Listing
	// Zone is the zone this gate opens, "" where it has none and so never
	// asks for a permit.
	Zone string
	// Thermometer, and the readings taken so far for this person, oldest first.
	Thermometer ThermometerState
	Readings    []Reading
}
