package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"greengate/cmd/metrics"
	"greengate/cmd/metrics/metricstest"
	"greengate/gate"
	"greengate/sync/hub"
	"greengate/sync/hub/index"
)

// What a monitor sees of the index, from hour to hour.
func TestIndexFigures(t *testing.T) {
	now := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	day := func(gates, heard int, f index.Flow, c index.Control) hub.IndexDay {
		return hub.IndexDay{Day: "2020-02-17", Index: index.Index{Gates: gates, Heard: heard, Flow: f, Control: c}}
	}
	answer := map[string]hub.IndexDay{
		"33":     day(9, 9, index.Flow{Level: gate.RiskHigh, Percent: 3}, index.Control{}),
		"330106": day(4, 3, index.Flow{Level: gate.RiskMedium, Percent: 60.9}, index.Control{Level: gate.RiskLower, PerMille: 15}),
		"330206": day(2, 2, index.Flow{Level: gate.RiskHigh, Few: true}, index.Control{Level: gate.RiskLow, Few: true}),
		"330302": day(1, 0, index.Flow{}, index.Control{}),
	}
	asked := 0
	var broken error
	x := &indexes{now: func() time.Time { return now }, most: 5, log: slog.New(slog.DiscardHandler), of: func(_ context.Context, day string) (map[string]hub.IndexDay, error) {
		if asked++; day != "" {
			t.Errorf("asked for %q", day)
		}
		if broken != nil {
			return nil, broken
		}
		return answer, nil
	}}
	look := func() map[string]float64 {
		t.Helper()
		return metricstest.Figures(t, metrics.Handler(slog.New(slog.DiscardHandler), func(s metrics.Sheet) error { x.figures(t.Context(), s); return nil }))
	}
	got := look()
	want := map[string]float64{
		`greengate_hub_index_failing`:                        0,
		`greengate_hub_index_counties_left_out`:              0,
		`greengate_hub_index_gates{county="330106"}`:         4,
		`greengate_hub_index_gates_heard{county="330106"}`:   3,
		`greengate_hub_index_flow_level{county="330106"}`:    3,
		`greengate_hub_index_flow_ratio{county="330106"}`:    0.609,
		`greengate_hub_index_control_level{county="330106"}`: 2,
		`greengate_hub_index_control_ratio{county="330106"}`: 0.015,
		`greengate_hub_index_gates{county="330206"}`:         2,
		`greengate_hub_index_gates_heard{county="330206"}`:   2,
		`greengate_hub_index_flow_level{county="330206"}`:    5,
		`greengate_hub_index_control_level{county="330206"}`: 1,
		`greengate_hub_index_gates{county="330302"}`:         1,
		`greengate_hub_index_gates_heard{county="330302"}`:   0,
		`greengate_hub_index_flow_level{county="330302"}`:    0,
		`greengate_hub_index_control_level{county="330302"}`: 0,
	}
	for name, value := range want {
		if have, ok := got[name]; !ok || have < value-1e-9 || have > value+1e-9 {
			t.Errorf("%s is %v (there: %v), want %v", name, have, ok, value)
		}
	}
	// Small counts, what is not known, and provinces have no figure at all.
	if len(got) != len(want) {
		t.Errorf("%d figures, want %d: %v", len(got), len(want), got)
	}

	// It is computed once in five minutes, however many look.
	if asked != 1 {
		t.Errorf("computed %d times for one look in two formats", asked)
	}
	now = now.Add(indexEvery - 1)
	look()
	if asked != 1 {
		t.Errorf("computed %d times", asked)
	}
	now, broken = now.Add(1), errors.New("storage away")
	if got = look(); got[`greengate_hub_index_failing`] != 1 || len(got) != 2 || asked != 2 {
		t.Errorf("a failure, asked %d times: %v", asked, got)
	}
	now, broken = now.Add(indexEvery), nil
	if got = look(); len(got) != len(want) {
		t.Errorf("after it: %v", got)
	}

	// However many counties are mistyped, the series are bounded.
	for n := range 20 {
		answer[fmt.Sprint(100000+n)] = answer["330106"]
	}
	now = now.Add(indexEvery)
	got = look()
	counties := 0
	for name := range got {
		if strings.HasPrefix(name, "greengate_hub_index_gates{") {
			counties++
		}
	}
	if counties != 5 || got[`greengate_hub_index_counties_left_out`] != 18 {
		t.Errorf("%d counties, left out %v", counties, got[`greengate_hub_index_counties_left_out`])
	}
}
