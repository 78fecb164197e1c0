package hub

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate"
)

const (
	// dayPassages is how many of a day's last passages its page shows.
	dayPassages = 60
	// dayLate is how long after a day its records may have come.
	dayLate = 8 * 24 * time.Hour
	// dayBatches bounds what one look at a day reads.
	dayBatches = 20000
	// dayWithin bounds how long it reads.
	dayWithin = 8 * time.Second
)

// gateDay is what one gate decided on one day.
type gateDay struct {
	hours [24]Counts
	total Counts
	last  []Passage // the newest first
	// cut: there was more than one look may read.
	cut bool
}

// dayStart is when a day begins in a place. Where clocks are put forward at
// midnight, it begins an hour later; where they are put back over it, with the
// first of the two hours.
func dayStart(day time.Time, where *time.Location) time.Time {
	y, m, d := day.Date()
	at := time.Date(y, m, d, 0, 0, 0, 0, where)
	if at.Day() != d {
		_, at = at.ZoneBounds()
	} else if before := at.Add(-time.Hour); before.Day() == d {
		at = before
	}
	return at
}

// readDays keeps the days that somebody looks at, so that a page which stays open
// reads again only when its gate brought something.
type readDays struct {
	mu   sync.Mutex
	kept map[string]keptDay
}

type keptDay struct {
	last uint64 // sequence of the gate when it was read
	day  gateDay
}

func (c *readDays) get(key string, last uint64, read func() (gateDay, error)) (gateDay, error) {
	c.mu.Lock()
	k, ok := c.kept[key]
	c.mu.Unlock()
	if ok && k.last == last {
		return k.day, nil
	}
	d, err := read()
	if err != nil {
		return d, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= maxStreams {
		c.kept = map[string]keptDay{}
	}
	c.kept[key] = keptDay{last, d}
	return d, nil
}

// day reads one gate's day from what is stored.
func (h *Hub) day(ctx context.Context, id string, from time.Time) (gateDay, error) {
	ctx, cancel := context.WithTimeout(ctx, dayWithin)
	defer cancel()
	var d gateDay
	c, err := h.store.passages.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{passagesPrefix + id},
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from, MaxResetAttempts: 1})
	if err != nil {
		return d, fmt.Errorf("passages of gate %s: %w", id, err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		return d, fmt.Errorf("passages of gate %s: %w", id, err)
	}
	if info.NumPending == 0 {
		return d, nil
	}
	messages, err := c.Messages(jetstream.PullMaxMessages(followAhead))
	if err != nil {
		return d, fmt.Errorf("passages of gate %s: %w", id, err)
	}
	defer messages.Stop()
	day := from.In(h.options.Location).Format(time.DateOnly)
	for n := range dayBatches {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if errors.Is(err, context.DeadlineExceeded) && n > 0 {
			break
		}
		if err != nil {
			return d, fmt.Errorf("passages of gate %s: %w", id, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return d, fmt.Errorf("passages of gate %s: %w", id, err)
		}
		s, err := parseStored(id, m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp)
		if err != nil {
			h.log.Error("stored passages cannot be read", "err", err)
		} else {
			for _, p := range s.records() {
				d.add(p, day, h.options.Location)
			}
		}
		if meta.NumPending == 0 || meta.Timestamp.After(from.Add(24*time.Hour+dayLate)) {
			return d, nil
		}
	}
	d.cut = true
	return d, nil
}

// add counts a passage, if it is of the day.
func (d *gateDay) add(p Passage, day string, where *time.Location) {
	at := p.At.In(where)
	if p.Tombstone || at.Format(time.DateOnly) != day {
		return
	}
	d.total.add(p)
	d.hours[at.Hour()].add(p)
	if p.Kind != gate.DecisionRecord && p.Kind != gate.ActRecord {
		return
	}
	if len(d.last) == dayPassages {
		d.last = d.last[:dayPassages-1]
	}
	d.last = append([]Passage{p}, d.last...)
}

type dayView struct {
	frame
	Gate, Site         string
	View               gateView
	Day, Before, After string
	Alarms             []alarmView
	MoreAlarms         int
	Bars               []bar
	Most               uint64
	Total              Counts
	Reasons            []reasonView
	Passages           []passageView
	Cut                bool
}

// bar is one hour of the chart.
type bar struct {
	Hour                int
	Middle              int
	Admit, Hold, Refuse uint64
	Parts               []rect
}

type rect struct {
	Class        string
	X, Y, Height int
}

// bars draws a day: 24 columns, each of admitted, held and refused.
func bars(hours [24]Counts) (out []bar, most uint64) {
	const foot, high = 165, 145
	for _, c := range hours {
		most = max(most, c.decided())
	}
	for i, c := range hours {
		b := bar{Hour: i, Middle: 12 + i*30 + 12, Admit: c.Admit, Hold: c.Hold, Refuse: c.Refuse}
		var below uint64
		for _, part := range []struct {
			class string
			n     uint64
		}{{"admit", c.Admit}, {"hold", c.Hold}, {"refuse", c.Refuse}} {
			if part.n == 0 {
				continue
			}
			bottom, top := foot-int(below*high/most), foot-int((below+part.n)*high/most)
			below += part.n
			// Nobody who was refused is too few to be seen.
			b.Parts = append(b.Parts, rect{Class: part.class, X: 12 + i*30, Y: min(top, bottom-1), Height: max(bottom-top, 1)})
		}
		out = append(out, b)
	}
	return out, most
}

// dayView gathers one gate's day.
func (h *Hub) dayView(r *http.Request) (dayView, error) {
	now, l := h.options.Now(), languageOf(r)
	id := r.PathValue("gate")
	rec, err := h.gate(r.Context(), id)
	if err != nil {
		return dayView{}, err
	}
	today := h.fleet.day(now)
	day := r.URL.Query().Get("day")
	if day == "" {
		day = today
	}
	from, err := time.ParseInLocation(time.DateOnly, day, h.options.Location)
	if err != nil {
		return dayView{}, invalid("day %.20q", day)
	}
	d, err := h.dayCache.get(id+" "+day, h.fleet.stored(id), func() (gateDay, error) { return h.day(r.Context(), id, from) })
	if err != nil {
		return dayView{}, err
	}
	s := GateStatus{Gate: id, Site: rec.Site, County: rec.County, Added: rec.Added, Revoked: rec.Revoked, Wipe: rec.wipeStatus()}
	h.fleet.fill(&s, now)
	v := dayView{frame: h.frame(l, r), Gate: id, Site: rec.Site, View: h.gateViewOf(l, s, now), Day: day, Cut: d.cut,
		Before: from.AddDate(0, 0, -1).Format(time.DateOnly), Alarms: h.alarmViews(l, s.Alarms), Total: d.total}
	v.Title = id + " · " + v.Title
	v.Events = "/gates/" + id + "/events?day=" + day
	if day < today {
		v.After = from.AddDate(0, 0, 1).Format(time.DateOnly)
	}
	v.Bars, v.Most = bars(d.hours)
	v.Reasons = reasonsOf(l, d.total.Reasons, s.Hour.Reasons)
	for _, p := range d.last {
		v.Passages = append(v.Passages, h.passageViewOf(l, p))
	}
	return v, nil
}

// dayParts are the parts of a gate's page that live.
func (h *Hub) dayParts(pages *template.Template, r *http.Request) (pageParts, error) {
	p := newParts()
	v, err := h.dayView(r)
	if err != nil {
		return p, err
	}
	return p, errors.Join(p.same(pages, v, "chart", "reasons", "more-alarms"), p.add(pages, "facts", "facts", v.View),
		addRows(p, pages, "alarms", "alarm", v.Alarms, v), addRows(p, pages, "passages", "passage", v.Passages, v))
}
