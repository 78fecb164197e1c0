package gate

import (
	"context"
	"errors"
	"fmt"
)

// MilliCelsius is a temperature in thousandths of a degree Celsius.
type MilliCelsius int32

// String returns degrees with one decimal, as "36.4".
func (m MilliCelsius) String() string {
	sign := ""
	if m < 0 {
		sign, m = "-", -m
	}
	tenths := (int64(m) + 50) / 100
	return fmt.Sprintf("%s%d.%d", sign, tenths/10, tenths%10)
}

// Reading is one measurement of a forehead.
type Reading struct {
	// Object is the raw temperature of what the thermometer looked at.
	Object MilliCelsius
	// Ambient is the thermometer's own temperature.
	Ambient MilliCelsius
	// Adjusted is Object after the configured linear adjustment, which moves it by at most 1 °C. Judged.
	Adjusted MilliCelsius
	// OutOfRange: ambient lies outside the validated range, so the reading says nothing.
	OutOfRange bool
	// TooFar: too cold for skin; the person does not stand at the mark.
	TooFar bool
}

// ErrThermometer is wrapped by every failure of a thermometer.
var ErrThermometer = errors.New("thermometer does not answer")

// Thermometer measures when asked. It may hang: the lane asks in a worker and
// gives it a deadline.
type Thermometer interface {
	Measure(ctx context.Context) (Reading, error)
}
