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

// period is the day that an index is of, and how many of its hours count.
func (h *Hub) period(day string) (index.Date, int, error) {
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
	date, hours, err := h.period(r.Day)
	if err != nil {
		return IndexReport{}, err
	}
	out := IndexReport{County: r.County, Chinese: counties[r.County].zh, English: counties[r.County].en, Site: r.Site}
	windows := []period{{date, hours}}
	if r.Chart {
		for d := date - chartDays; d < date; d++ {
			windows = append(windows, period{d, index.Hours})
		}
	}
	err = h.tallies.want(ctx, windows, func(all []*tally) {
		for i, t := range all {
			sum := h.tallies.of(t, r.County, r.Site)
			day := IndexDay{windows[i].date.String(), sum.Index(windows[i].date, windows[i].hours)}
			if i == 0 {
				out.IndexDay = day
			} else {
				out.Chart = append(out.Chart, day)
			}
		}
	})
	return out, err
}

// Indexes computes the index of each county that has gates, and of each
// province, which is its first two digits.
func (h *Hub) Indexes(ctx context.Context, day string) (map[string]IndexDay, error) {
	date, hours, err := h.period(day)
	if err != nil {
		return nil, err
	}
	out := map[string]IndexDay{}
	err = h.tallies.want(ctx, []period{{date, hours}}, func(all []*tally) {
		for region, sum := range all[0].sums {
			if i := sum.Index(date, hours); region != "" && i.Gates > 0 {
				out[region] = IndexDay{date.String(), i}
			}
		}
	})
	return out, err
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
