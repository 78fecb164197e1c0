package gate

import "time"

// Policy holds what a signed policy may set. The zero Policy is not usable;
// [DefaultPolicy] is in force until a signed one arrives.
type Policy struct {
	// Version counts signed policies; 0 is the built-in default.
	Version uint64 `json:"version"`
	// FeverAt is the adjusted temperature from which a reading is high.
	FeverAt MilliCelsius `json:"fever_at_millicelsius"`
	// FeverReadings is how many high readings in a row are a fever, 1 to 5.
	FeverReadings int `json:"fever_readings"`
	// CloserTries is how often a person may be asked to step closer before it is the thermometer's fault, 1 to 10.
	CloserTries int `json:"closer_tries"`
	// ThermometerRequired holds people at a gate without a thermometer.
	ThermometerRequired bool `json:"thermometer_required"`
	// PermitRequired asks for an entry permit after the health code, at the
	// gates that have a zone. A policy is for a whole province: the gates of
	// its enterprises have a zone by their configuration, and those of its
	// communities have none and ask for no permit.
	PermitRequired bool `json:"permit_required"`
	// PermitWithin is how long the permit may take, in seconds.
	PermitWithin Seconds `json:"permit_within_seconds"`
	// PassbackWindow is how long a person who entered counts as inside, in seconds; 0 turns anti-passback off.
	PassbackWindow Seconds `json:"passback_window_seconds"`
	// StaleAfter and TooOldAfter grade the age of lists, in seconds.
	StaleAfter  Seconds `json:"stale_after_seconds"`
	TooOldAfter Seconds `json:"too_old_after_seconds"`
	// RiskHoldAt and RiskNoticeAt are the map's levels from which a person is
	// held, or admitted with a notice; RiskUnknown, written "off", is never.
	RiskHoldAt   RiskLevel `json:"risk_hold_at"`
	RiskNoticeAt RiskLevel `json:"risk_notice_at"`
	// HoldPaper sends paper codes to the guard.
	HoldPaper bool `json:"hold_paper"`
	// RedOverride lets a guard admit a red code. Off by default.
	RedOverride bool `json:"red_override"`
}

// Seconds is a duration as a signed policy writes it.
type Seconds int64

// Duration converts.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// DefaultPolicy returns the policy of the design's table.
func DefaultPolicy() Policy {
	return Policy{
		FeverAt:        37300,
		FeverReadings:  2,
		CloserTries:    3,
		PermitWithin:   20,
		PassbackWindow: 4 * 3600,
		StaleAfter:     24 * 3600,
		TooOldAfter:    48 * 3600,
		RiskHoldAt:     RiskHigher,
		RiskNoticeAt:   RiskMedium,
	}
}
