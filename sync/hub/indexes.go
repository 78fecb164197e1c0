package hub

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"greengate/sync/hub/index"
)

// chartDays is how far back an index goes beside its day.
const chartDays = 28

// IndexRequest asks for the index of a county, of a place, or of everything.
type IndexRequest struct {
	// County is six digits of GB/T 2260, Site a place as gates name it; at most one of them.
	County string `json:"county,omitempty"`
	Site   string `json:"site,omitempty"`
	// Day as "2020-02-17"; today, up to the last whole hour, when empty.
	Day string `json:"day,omitempty"`
	// Chart asks for the days before it as well.
	Chart bool `json:"chart,omitempty"`
}

// IndexDay is the index of one day.
type IndexDay struct {
	Day string `json:"day"`
	index.Index
}

// IndexReport answers an IndexRequest.
type IndexReport struct {
	County string `json:"county,omitempty"`
	// Chinese and English are the county's names, "" for one that is not in the hub's table.
	Chinese string `json:"county_zh,omitempty"`
	English string `json:"county_en,omitempty"`
	Site    string `json:"site,omitempty"`
	IndexDay
	// Chart is the 28 whole days before it, the oldest first.
	Chart []IndexDay `json:"chart,omitempty"`
}

// countyCode is a county as gates have it.
var countyCode = regexp.MustCompile(`^[0-9]{6}$`)

// window is the day that an index is of, and how many of its hours count.
func (h *Hub) window(day string) (index.Date, int, error) {
	now := h.options.Now().In(h.options.Location)
	today := index.DateOf(now)
	if day == "" {
		return today, now.Hour(), nil
	}
	date, err := index.ParseDate(day)
	switch {
	case err != nil:
		return 0, 0, invalid("day %.20q: want one as 2020-02-17", day)
	case date > today:
		return 0, 0, invalid("day %s is not yet", day)
	case date == today:
		return today, now.Hour(), nil
	}
	return date, index.Hours, nil
}

// Index computes the index of a county or place; see docs/index.md.
func (h *Hub) Index(ctx context.Context, r IndexRequest) (IndexReport, error) {
	if r.County != "" && !countyCode.MatchString(r.County) {
		return IndexReport{}, invalid("county %.20q: want six digits of GB/T 2260", r.County)
	}
	if r.County != "" && r.Site != "" {
		return IndexReport{}, invalid("a county or a site, not both")
	}
	date, hours, err := h.window(r.Day)
	if err != nil {
		return IndexReport{}, err
	}
	gates, err := h.Gates(ctx)
	if err != nil {
		return IndexReport{}, err
	}
	gates = slices.DeleteFunc(gates, func(g GateStatus) bool {
		return g.Revoked || r.County != "" && g.County != r.County || r.Site != "" && g.Site != r.Site
	})
	out := IndexReport{County: r.County, Chinese: counties[r.County].zh, English: counties[r.County].en, Site: r.Site}
	span := 0
	if r.Chart {
		span = chartDays
	}
	series, err := h.series(ctx, gates, date, span)
	if err != nil {
		return IndexReport{}, err
	}
	out.IndexDay = indexDay(series, date, hours)
	for d := date - index.Date(span); d < date; d++ {
		out.Chart = append(out.Chart, indexDay(series, d, index.Hours))
	}
	return out, nil
}

func indexDay(series []index.Series, date index.Date, hours int) IndexDay {
	return IndexDay{date.String(), index.Compute(series, date, hours)}
}

// series reads what an index of these gates on a day needs, and on so many days before it.
func (h *Hub) series(ctx context.Context, gates []GateStatus, date index.Date, span int) ([]index.Series, error) {
	out := make([]index.Series, len(gates))
	for i := range out {
		out[i] = index.Series{}
	}
	for d := date - index.Date(span) - 7*index.Weeks; d <= date; d++ {
		if span < 7 && (date-d)%7 > index.Date(span) {
			continue // neither the day nor its baseline
		}
		counted, err := h.days.day(ctx, d)
		if err != nil {
			return nil, err
		}
		for i, g := range gates {
			if c := counted[g.Gate]; c != nil {
				out[i][d] = c
			}
		}
	}
	return out, nil
}

// Indexes computes the index of each county that has gates, and of each
// province, which is its first two digits, from one reading of the counts.
func (h *Hub) Indexes(ctx context.Context, day string) (map[string]IndexDay, error) {
	date, hours, err := h.window(day)
	if err != nil {
		return nil, err
	}
	gates, err := h.Gates(ctx)
	if err != nil {
		return nil, err
	}
	gates = slices.DeleteFunc(gates, func(g GateStatus) bool { return g.Revoked || g.County == "" })
	series, err := h.series(ctx, gates, date, 0)
	if err != nil {
		return nil, err
	}
	of := map[string][]index.Series{}
	for i, g := range gates {
		of[g.County] = append(of[g.County], series[i])
		of[g.County[:2]] = append(of[g.County[:2]], series[i])
	}
	out := map[string]IndexDay{}
	for region, s := range of {
		out[region] = indexDay(s, date, hours)
	}
	return out, nil
}

// Index asks for an index; see [Hub.Index].
func (c *Client) Index(ctx context.Context, r IndexRequest) (IndexReport, error) {
	return call[IndexRequest, IndexReport](ctx, c, "index", r)
}

// countiesIn are the six-digit regions of a map of indexes, in order, of one province or of all.
func countiesIn(indexes map[string]IndexDay, province string) []string {
	var out []string
	for region := range indexes {
		if len(region) == 6 && strings.HasPrefix(region, province) {
			out = append(out, region)
		}
	}
	slices.Sort(out)
	return out
}
