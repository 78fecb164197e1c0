package wire

import (
	"context"
	"errors"
	"testing"

	"greengate/gate"
)

// found is a sensor that reads the same each time.
type found struct{ closed bool }

func (f *found) Measure(context.Context) (gate.Reading, error) {
	return gate.Reading{Adjusted: 36400}, nil
}
func (f *found) Close() error { f.closed = true; return nil }

// A bus that is missing at the start is a broken thermometer until it comes.
func TestThermometerThatComesLate(t *testing.T) {
	there, f := false, &found{}
	th := &thermometer{open: func() (sensor, error) {
		if !there {
			return nil, errors.New("no bus 1")
		}
		return f, nil
	}}
	if _, err := th.Measure(t.Context()); !errors.Is(err, gate.ErrThermometer) {
		t.Errorf("without a bus: %v, want %v", err, gate.ErrThermometer)
	}
	there = true
	if r, err := th.Measure(t.Context()); err != nil || r.Adjusted != 36400 {
		t.Errorf("with a bus: %v %v", r, err)
	}
	if err := th.Close(); err != nil || !f.closed {
		t.Errorf("close: %v, sensor closed %v", err, f.closed)
	}
	if _, err := th.Measure(t.Context()); !errors.Is(err, gate.ErrThermometer) {
		t.Errorf("after close: %v, want %v", err, gate.ErrThermometer)
	}
}
