package wire

import (
	"slices"
	"testing"
	"time"
)

// side times a thing and its floor in turns, and reports the median of the
// ratios and both medians: what is said about the thing on a noisy machine is
// said relative to its floor.
func side(b *testing.B, unit time.Duration, unitName string, rounds, calls int, thing, floor func()) {
	b.Helper()
	once := func(f func()) time.Duration {
		start := time.Now()
		for range calls {
			f()
		}
		return time.Since(start)
	}
	thing()
	floor()
	var ratios, things, floors []float64
	for range rounds {
		t, f := once(thing), once(floor)
		ratios = append(ratios, float64(t)/float64(f))
		things = append(things, float64(t)/float64(calls))
		floors = append(floors, float64(f)/float64(calls))
	}
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(things)/float64(unit), unitName)
	b.ReportMetric(median(floors)/float64(unit), "floor."+unitName)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
