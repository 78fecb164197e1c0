package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Bounds of a risk map. China has about 2,850 counties.
const (
	// MaxRiskMap is the most bytes of a map that ParseRiskMap reads.
	MaxRiskMap = 1 << 20
	// MaxCounties is the most counties on a map.
	MaxCounties = 4000
)

// ErrRiskMap is wrapped by every error of [ParseRiskMap] and [RiskMap.Check].
var ErrRiskMap = errors.New("bad risk map")

// RiskMap is the five-colour map of one day: every county's risk.
type RiskMap struct {
	// Version counts published maps, from 1.
	Version uint64 `json:"version"`
	// Day the map is for, as "2020-02-17".
	Day string `json:"day"`
	// Counties by their code of GB/T 2260, six digits, each with the word of
	// its level, as {"330106": "low"}. A county that is not named is
	// RiskUnknown, and none is named so.
	Counties map[string]RiskLevel `json:"counties"`
}

// ParseRiskMap reads a signed map: one JSON object, checked as
// [RiskMap.Check] does. Errors wrap [ErrRiskMap].
func ParseRiskMap(data []byte) (RiskMap, error) {
	var m RiskMap
	if err := strictJSON(data, MaxRiskMap, &m); err != nil {
		return RiskMap{}, fmt.Errorf("%w: %w", ErrRiskMap, err)
	}
	if err := m.Check(); err != nil {
		return RiskMap{}, err
	}
	return m, nil
}

// Marshal writes the map as ParseRiskMap reads it.
func (m RiskMap) Marshal() ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// Risk returns the colour of a county.
func (m RiskMap) Risk(region string) RiskLevel { return m.Counties[region] }

// Check says what is wrong with the map, if anything is.
func (m RiskMap) Check() error {
	if _, err := time.Parse(time.DateOnly, m.Day); err != nil {
		return fmt.Errorf("%w: day %.20q is not of the form 2020-02-17", ErrRiskMap, m.Day)
	}
	if len(m.Counties) > MaxCounties {
		return fmt.Errorf("%w: %d counties, allowed are %d", ErrRiskMap, len(m.Counties), MaxCounties)
	}
	for county, level := range m.Counties {
		if !isCounty(county) {
			return fmt.Errorf("%w: county %.20q is not six digits", ErrRiskMap, county)
		}
		if level < RiskLow || level > RiskHigh {
			return fmt.Errorf("%w: county %s: level %s, allowed are %s to %s", ErrRiskMap, county, level, RiskLow, RiskHigh)
		}
	}
	return nil
}

// isCounty reports whether s is six decimal digits.
func isCounty(s string) bool {
	if len(s) != 6 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
