package hub

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"greengate/gate"
)

const (
	// rowsPerPage bounds what one page of gates sends, at first and with each change.
	rowsPerPage = 50
	// alarmsShown bounds the table on top.
	alarmsShown = 10
	// maxStreams is how many pages may be open and live.
	maxStreams = 32
	// liveEvery is the least time between two events of the fleet's page, dayEvery
	// of a gate's, which reads what is stored; quietEvery brings what changes by
	// time alone.
	liveEvery  = time.Second
	dayEvery   = 5 * time.Second
	quietEvery = 15 * time.Second
	// restOf is how many times as long as it took to draw a page's parts they are
	// not drawn again: a page of 100,000 gates is slower, and no heavier, than one of 100.
	restOf = 9
	// eventWithin is how long a browser may take to receive one event.
	eventWithin = 10 * time.Second
)

// errLoggedOut: the browser of a stream is no longer logged in.
var errLoggedOut = errors.New("logged out")

// pageParts is what of a page lives, and of an event what of it changed.
type pageParts struct {
	// Set are elements by their id, with their contents.
	Set map[string]string `json:"set,omitempty"`
	// Rows are table bodies by their id, with the ids of their rows in order; what
	// is in a row stands in Set.
	Rows map[string][]string `json:"rows,omitempty"`
}

func newParts() pageParts { return pageParts{map[string]string{}, map[string][]string{}} }

// stream sends the parts of a page that changed, as server-sent events. Nothing
// is sent that the page has.
func (h *Hub) stream(w http.ResponseWriter, r *http.Request, stopping <-chan struct{}, every time.Duration, parts func() (pageParts, error)) {
	c := http.NewResponseController(w)
	// The request's own deadlines are for pages that end.
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		http.Error(w, "no stream", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	var sent pageParts
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var seen uint64
	var at time.Time
	var pause time.Duration
	for {
		if version := h.fleet.version(); at.IsZero() || version != seen && time.Since(at) >= max(every, pause) || time.Since(at) >= quietEvery {
			seen, at = version, time.Now()
			now, err := parts()
			pause = restOf * time.Since(at)
			if err != nil {
				if !errors.Is(err, errLoggedOut) {
					h.log.Error("page failed", "err", err)
				}
				return
			}
			text := ": alive\n\n"
			if news := changed(sent, now); len(news.Set)+len(news.Rows) > 0 {
				var data strings.Builder
				e := json.NewEncoder(&data)
				e.SetEscapeHTML(false) // no browser reads it as a page
				if err := e.Encode(news); err != nil {
					h.log.Error("page failed", "err", err)
					return
				}
				text = "data: " + data.String() + "\n"
			}
			if err := c.SetWriteDeadline(time.Now().Add(eventWithin)); err != nil {
				return
			}
			// A browser that is gone needs no more.
			if _, err := w.Write([]byte(text)); err != nil {
				return
			}
			if err := c.Flush(); err != nil {
				return
			}
			sent = now
		}
		select {
		case <-tick.C:
		case <-stopping:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// changed are the parts that are other than they were.
func changed(was, is pageParts) pageParts {
	out := newParts()
	for id, text := range is.Set {
		if old, ok := was.Set[id]; !ok || old != text {
			out.Set[id] = text
		}
	}
	for id, rows := range is.Rows {
		if old, ok := was.Rows[id]; !ok || !slices.Equal(old, rows) {
			out.Rows[id] = rows
		}
	}
	return out
}

// frame is what is around each page.
type frame struct {
	Name, Title, Here, Events string
	Published                 string
	Timestamp                 int64
	Nav                       []navLink
}

type hubView struct {
	frame
	Failed, Waiting, Revocations string
	Due                          []dueView
	Alarms                       []alarmView
	MoreAlarms                   int
	Gates                        []gateView
	Query                        gateQuery
	// What may be filtered by.
	States, Counties, Faults, Kinds []option
	// Sums say how many gates there are in each state.
	Sums    []sum
	Columns []column
	// First to Last of Matching rows are shown; Before and After lead to the others.
	First, Last, Matching int
	Before, After         string
	Lists                 []listView
	Reasons               []reasonView
	Passages              []passageView
	Total                 Counts
	Codes                 uint64
}

type dueView struct{ Role, Ends string }

type option struct {
	Value, Word string
	Chosen      bool
}

// sum is how many gates there are in a state, and where they are listed.
type sum struct {
	Word, Class, Link string
	Count             uint64
}

type column struct{ Text, Link, Sorted string }

type alarmView struct {
	Alarm
	Name, From string
}

type gateView struct {
	GateStatus
	State, Class, Contact string
	Region                string // the county's name
	// Lists and Clock are what the gate said of them, each with its class.
	Lists, ListsClass, Clock, ClockClass string
	Version, Journal, Faults, Why        string
	Policy, Map, Certificate             string
	Names                                []string
}

type listView struct {
	ListStatus
	Published string
	State     string
	Class     string
}

type reasonView struct {
	Word        string
	Count, Hour uint64
	// Width of its bar, a step of 5 percent of the largest.
	Width int
}

type passageView struct {
	Passage
	Clock12, Class, What, Way, Judged, Quality string
}

// stateOf is a gate's state, with its class.
func stateOf(s GateStatus, now time.Time) (state, class string) {
	switch {
	case s.Wipe != nil && !s.Wipe.Former && !s.Wipe.Done.IsZero():
		return stateWiped, "off"
	case s.Wipe != nil && !s.Wipe.Former:
		return stateToWipe, "warn"
	case s.Revoked:
		return stateRevoked, "off"
	case s.LastContact.IsZero():
		return stateNever, "off"
	case now.Sub(s.LastContact) > silentAfter:
		return stateSilent, "warn"
	}
	return stateOnline, "good"
}

// gateViewOf is one gate as a row shows it.
func (h *Hub) gateViewOf(l language, s GateStatus, now time.Time) gateView {
	g := gateView{GateStatus: s, Contact: l.ago(now, s.LastContact), Region: l.county(s.County)}
	state, class := stateOf(s, now)
	g.State, g.Class = l.text(state), class
	for _, a := range s.Alarms {
		if a.Kind != AlarmSilent {
			g.Class = "bad"
			g.Names = append(g.Names, l.of(alarmWords[a.Kind].name))
		}
	}
	g.Certificate = h.local(l, s.CertificateEnds)
	g.Lists, g.ListsClass, g.Clock, g.ClockClass = "–", "off", "–", "off"
	g.Version, g.Journal, g.Faults, g.Policy, g.Map = "–", "–", "–", "–", "–"
	if c := s.Condition; c != nil {
		g.said(l, *c)
	}
	type count struct {
		r gate.Reason
		n uint64
	}
	var why []count
	for r, n := range s.Hour.Reasons {
		if r != gate.Valid && r != gate.ExitFree {
			why = append(why, count{r, n})
		}
	}
	slices.SortFunc(why, func(a, b count) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.r, b.r)) })
	var words []string
	for _, c := range why[:min(len(why), 3)] {
		words = append(words, fmt.Sprintf("%s %d", l.word(c.r), c.n))
	}
	g.Why = strings.Join(words, ", ")
	return g
}

// said fills in what the gate said.
func (g *gateView) said(l language, c GateCondition) {
	g.ListsClass, g.ClockClass = "bad", "bad"
	switch c.Lists {
	case gate.Fresh.String():
		g.ListsClass = "good"
	case gate.Stale.String():
		g.ListsClass = "warn"
	}
	g.Lists = l.word(c.Lists)
	if c.Lists != gate.ListMissing.String() {
		g.Lists += " · " + l.span(time.Duration(c.AgeSeconds)*time.Second)
	}
	switch c.Clock {
	case gate.ClockConfirmed.String(), gate.ClockNetwork.String():
		g.ClockClass = "good"
	case gate.ClockFloor.String():
		g.ClockClass = "warn"
	}
	g.Clock = l.word(c.Clock)
	g.Policy, g.Map = fmt.Sprint(c.Policy), fmt.Sprint(c.Map)
	if c.Version != "" {
		g.Version, g.Journal, g.Faults = c.Version, fmt.Sprintf("%d %%", c.Journal), l.faults(c.Faults)
	}
}

// local is a moment as the operator's clock shows it.
func (h *Hub) local(l language, t time.Time) string {
	if t.IsZero() {
		return l.text("never")
	}
	return t.In(h.options.Location).Format("2006-01-02 15:04:05")
}

func (h *Hub) frame(l language, r *http.Request) frame {
	h.last.mu.Lock()
	defer h.last.mu.Unlock()
	return frame{Name: h.config.Name, Title: h.config.Name + " · gatehub", Here: r.URL.RequestURI(), Nav: navigation,
		Published: h.local(l, h.last.at), Timestamp: h.last.result.Timestamp}
}

// view gathers what the page shows. Everything on it is of the clear part.
func (h *Hub) view(r *http.Request) (hubView, error) {
	now, l := h.options.Now(), languageOf(r)
	q := parseQuery(r.URL.Query())
	v := hubView{frame: h.frame(l, r), Query: q}
	v.Events = "/events" + q.values()
	gates, total, hour := h.fleet.all(now)
	var alarms []Alarm
	var chosen []*gateKey
	states, regions, faults := map[string]uint64{}, map[string]bool{}, map[string]bool{}
	for _, s := range gates {
		alarms = append(alarms, s.Alarms...)
		k := &gateKey{GateStatus: s}
		k.state, _ = stateOf(s, now)
		states[k.state]++
		if len(s.Alarms) > 0 {
			states[stateAlarm]++
		}
		if s.County != "" {
			regions[s.County] = true
		}
		for _, f := range faultsOf(k.condition()) {
			faults[f] = true
		}
		if q.matches(k) {
			chosen = append(chosen, k)
		}
	}
	v.Total = total
	v.alarms(l, h, alarms)
	v.filters(l, q, states, regions, faults)
	for _, k := range v.cut(q, chosen) {
		// Only what is shown has its reasons with it.
		h.fleet.fill(&k.GateStatus, now)
		v.Gates = append(v.Gates, h.gateViewOf(l, k.GateStatus, now))
	}
	v.Reasons = reasonsOf(l, total.Reasons, hour)
	lists, err := h.Lists(r.Context())
	if err != nil {
		return v, err
	}
	for _, s := range lists {
		lv := listView{ListStatus: s, Published: h.local(l, s.Issued), State: l.text("is-published"), Class: "good"}
		if s.Pending {
			lv.State, lv.Class = l.text("waits"), "warn"
		}
		v.Lists = append(v.Lists, lv)
		v.Codes += s.Codes
	}
	for _, p := range h.fleet.latest() {
		v.Passages = append(v.Passages, h.passageViewOf(l, p))
	}
	h.last.mu.Lock()
	defer h.last.mu.Unlock()
	v.Failed, v.Waiting, v.Revocations = h.last.err, h.last.result.Waiting, h.last.result.RevocationsFailed
	for _, d := range h.last.result.Due {
		v.Due = append(v.Due, dueView{d.Role, d.Ends.In(h.options.Location).Format(time.DateOnly)})
	}
	return v, nil
}

// alarms are the gravest ones, and how many more there are.
func (v *hubView) alarms(l language, h *Hub, all []Alarm) {
	sortAlarms(all)
	v.MoreAlarms = max(len(all)-alarmsShown, 0)
	v.Alarms = h.alarmViews(l, all[:len(all)-v.MoreAlarms])
}

func (h *Hub) alarmViews(l language, all []Alarm) []alarmView {
	var out []alarmView
	for _, a := range all {
		if l == chinese {
			a = a.Chinese()
		}
		out = append(out, alarmView{Alarm: a, Name: l.of(alarmWords[a.Kind].name), From: h.local(l, a.Since)})
	}
	return out
}

// filters are what the form above the table offers, of what there is.
func (v *hubView) filters(l language, q gateQuery, states map[string]uint64, regions, faults map[string]bool) {
	v.Columns = q.columns()
	for _, s := range gateStates {
		v.States = append(v.States, option{Value: s, Word: l.text(s), Chosen: s == q.State})
	}
	for _, s := range []struct{ state, class string }{{stateSilent, "warn"}, {stateAlarm, "bad"}, {stateNever, "off"}, {stateOnline, "good"}, {stateToWipe, "warn"}, {stateWiped, "off"}, {stateRevoked, "off"}} {
		v.Sums = append(v.Sums, sum{l.text(s.state), s.class, "/" + gateQuery{State: s.state, Sort: firstSort}.values(), states[s.state]})
	}
	regions[q.County], faults[q.Fault] = true, true // what is asked for is offered, also where no gate has it
	delete(regions, "")
	delete(faults, "")
	for _, code := range slices.Sorted(maps.Keys(regions)) {
		word := code
		if name := l.county(code); name != code {
			word += " " + name
		}
		v.Counties = append(v.Counties, option{code, word, code == q.County})
	}
	for _, f := range slices.Sorted(maps.Keys(faults)) {
		v.Faults = append(v.Faults, option{f, l.word(f), f == q.Fault})
	}
	for _, k := range AlarmKinds() {
		v.Kinds = append(v.Kinds, option{string(k), l.of(alarmWords[k].name), string(k) == q.Alarm})
	}
}

// cut sorts what is chosen and cuts one page out of it.
func (v *hubView) cut(q gateQuery, keys []*gateKey) []*gateKey {
	q.sort(keys)
	v.Matching = len(keys)
	first := min((q.page-1)*rowsPerPage, max(len(keys)-1, 0)/rowsPerPage*rowsPerPage)
	last := min(first+rowsPerPage, len(keys))
	v.First, v.Last = min(first+1, last), last
	turn := q
	if turn.page = first / rowsPerPage; turn.page > 0 {
		v.Before = "/" + turn.values()
	}
	if turn.page = first/rowsPerPage + 2; last < len(keys) {
		v.After = "/" + turn.values()
	}
	return keys[first:last]
}

func reasonsOf(l language, today, hour map[gate.Reason]uint64) []reasonView {
	var out []reasonView
	var most uint64 = 1
	for reason, n := range today {
		out = append(out, reasonView{Word: l.word(reason), Count: n, Hour: hour[reason]})
		most = max(most, n)
	}
	for i := range out {
		out[i].Width = int((out[i].Count*20+most-1)/most) * 5
	}
	slices.SortFunc(out, func(a, b reasonView) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Word, b.Word))
	})
	return out
}

func (h *Hub) passageViewOf(l language, p Passage) passageView {
	pv := passageView{Passage: p, Clock12: p.At.In(h.options.Location).Format("15:04:05"), Class: p.Verdict, What: l.word(p.Reason),
		Way: l.word(p.Direction), Judged: l.word(p.Verdict), Quality: l.word(p.Clock)}
	switch {
	case p.Tombstone:
		pv.Clock12, pv.Class, pv.What, pv.Judged = "–", "off", l.text("unreadable-record"), l.text("tombstone")
	case p.Kind == gate.ActRecord && p.GuardReason != "":
		pv.What += " · " + string(p.GuardReason)
	}
	return pv
}

// add renders a template as the contents of an element.
func (p pageParts) add(pages *template.Template, id, name string, v any) error {
	var b strings.Builder
	if err := pages.ExecuteTemplate(&b, name, v); err != nil {
		return err
	}
	p.Set[id] = b.String()
	return nil
}

// same renders templates into the elements of their names.
func (p pageParts) same(pages *template.Template, v any, names ...string) error {
	for _, name := range names {
		if err := p.add(pages, name, name, v); err != nil {
			return err
		}
	}
	return nil
}

// rowOf is a table's row that has an id of its own.
type rowOf interface{ RowID() string }

// RowID of a gate's row; no two rows of one page may have the same.
func (g gateView) RowID() string { return "row-" + g.Gate }

// RowID of an alarm's row.
func (a alarmView) RowID() string { return "alarm-" + string(a.Kind) + "-" + a.Gate }

// RowID of a passage's row.
func (p passageView) RowID() string { return fmt.Sprintf("p-%s-%d", p.Gate, p.Sequence) }

// addRows renders a table's body row by row; where there are none, one row says so.
func addRows[R rowOf](p pageParts, pages *template.Template, id, name string, rows []R, v any) error {
	order := []string{}
	for _, r := range rows {
		order = append(order, r.RowID())
		if err := p.add(pages, r.RowID(), name, r); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		none := id + "-none"
		order = append(order, none)
		if err := p.add(pages, none, none, v); err != nil {
			return err
		}
	}
	p.Rows[id] = order
	return nil
}

// fleetParts are the parts of the fleet's page that live.
func (h *Hub) fleetParts(pages *template.Template, r *http.Request) (pageParts, error) {
	p := newParts()
	v, err := h.view(r)
	if err != nil {
		return p, err
	}
	return p, errors.Join(p.same(pages, v, "notices", "numbers", "sums", "pager", "reasons", "lists", "more-alarms"),
		addRows(p, pages, "alarms", "alarm", v.Alarms, v), addRows(p, pages, "gates", "row", v.Gates, v), addRows(p, pages, "passages", "passage", v.Passages, v))
}
