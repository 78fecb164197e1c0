package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"greengate/cmd/metrics"
	"greengate/sync/hub"
)

// indexes keeps the counties' indexes between two looks.
type indexes struct {
	of  func(ctx context.Context, day string) (map[string]hub.IndexDay, error)
	now func() time.Time
	// most is how many counties are told of.
	most int
	log  *slog.Logger

	mu    sync.Mutex
	last  map[string]hub.IndexDay
	tried time.Time
	fails bool
}

// look returns today's indexes, computed anew where they are old. The other
// figures do not wait for one that cannot be computed: it is left out, told of,
// and tried again later.
func (x *indexes) look(ctx context.Context) (map[string]hub.IndexDay, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now := x.now(); x.tried.IsZero() || now.Sub(x.tried) >= indexEvery {
		all, err := x.of(ctx, "")
		if err != nil {
			x.log.Warn("index not computed for the figures", "err", err)
		}
		x.last, x.fails, x.tried = all, err != nil, now
	}
	return x.last, x.fails
}

// figures writes the index of each county that has gates, as docs/index.md
// defines it: what is not told there is not told here.
func (x *indexes) figures(ctx context.Context, s metrics.Sheet) {
	all, fails := x.look(ctx)
	s.Gauge("greengate_hub_index_failing", "1 while the counties' index cannot be computed.", metrics.Bool(fails))
	counties := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(region string) bool { return len(region) != 6 })
	told := counties[:min(len(counties), x.most)]
	s.Gauge("greengate_hub_index_counties_left_out", "Counties beyond the most that are told of here.", float64(len(counties)-len(told)))
	const levels = "0 too little data, 1 low, 2 lower, 3 medium, 4 higher, 5 high."
	for _, region := range told {
		i, county := all[region], metrics.Label{Name: "county", Value: region}
		s.Gauge("greengate_hub_index_gates", "Gates of the county.", float64(i.Gates), county)
		s.Gauge("greengate_hub_index_gates_heard", "Gates of the county with a record today.", float64(i.Heard), county)
		s.Gauge("greengate_hub_index_flow_level", "Level of the flow index of today's whole hours, from as free as usual to nearly shut: "+levels, float64(i.Flow.Level), county)
		s.Gauge("greengate_hub_index_control_level", "Level of the control index of today's whole hours, from hardly anybody stopped: "+levels, float64(i.Control.Level), county)
		if i.Flow.Level != 0 && !i.Flow.Few {
			s.Gauge("greengate_hub_index_flow_ratio", "Passages of today's whole hours, as a part of the usual.", i.Flow.Percent/100, county)
		}
		if i.Control.Level != 0 && !i.Control.Few {
			s.Gauge("greengate_hub_index_control_ratio", "Weighted part of today's decided entries that was stopped for health's sake.", i.Control.PerMille/1000, county)
		}
	}
}
