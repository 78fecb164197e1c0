package hub

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"greengate/gate"
)

const (
	// rowsPerPage bounds what one page of gates sends, at first and with each change.
	rowsPerPage = 50
	// alarmsShown bounds the table on top.
	alarmsShown = 20
	// maxStreams is how many pages may be open and live.
	maxStreams = 32
	// liveEvery is the least time between two events of the fleet's page, dayEvery
	// of a gate's, which reads what is stored; quietEvery brings what changes by
	// time alone.
	liveEvery  = time.Second
	dayEvery   = 5 * time.Second
	quietEvery = 15 * time.Second
	// eventWithin is how long a browser may take to receive one event.
	eventWithin = 10 * time.Second
)

// errLoggedOut: the browser of a stream is no longer logged in.
var errLoggedOut = errors.New("logged out")

// stream sends the parts of a page that changed, as server-sent events: one JSON
// object of element ids and their new contents. Nothing is sent that the page has.
func (h *Hub) stream(w http.ResponseWriter, r *http.Request, stopping <-chan struct{}, every time.Duration, parts func() (map[string]string, error)) {
	c := http.NewResponseController(w)
	// The request's own deadlines are for pages that end.
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		http.Error(w, "no stream", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	sent := map[string]string{}
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var seen uint64
	var at time.Time
	for {
		if version := h.fleet.version(); at.IsZero() || version != seen && time.Since(at) >= every || time.Since(at) >= quietEvery {
			seen, at = version, time.Now()
			now, err := parts()
			if err != nil {
				if !errors.Is(err, errLoggedOut) {
					h.log.Error("page failed", "err", err)
				}
				return
			}
			text := ": alive\n\n"
			if news := changed(sent, now); len(news) > 0 {
				data, err := json.Marshal(news)
				if err != nil {
					h.log.Error("page failed", "err", err)
					return
				}
				text = "data: " + string(data) + "\n\n"
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

// changed are the parts that are other than they were. Where the table's rows
// are others, all go in one part; else each row that changed.
func changed(was, is map[string]string) map[string]string {
	out := map[string]string{}
	same := was["rows"] == is["rows"]
	for id, text := range is {
		switch {
		case id == "rows", id == "gates" && same, strings.HasPrefix(id, "row-") && !same:
		case was[id] != text:
			out[id] = text
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
	States                       []option
	Columns                      []column
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

type column struct{ Text, Link, Sorted string }

type alarmView struct {
	Alarm
	Name, From string
}

type gateView struct {
	GateStatus
	Query                 *gateQuery
	State, Class, Contact string
	state                 string
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

// gateQuery is which gates a page shows.
type gateQuery struct {
	Text, State, Sort string
	Down              bool
	page              int
}

// gateStates are what may be filtered by, in the order shown.
var gateStates = []string{"all", "with-alarm", "online", "silent", "never-seen", "revoked", "to-wipe", "wiped"}

// gateColumns are the table's, with what each is sorted by; nil for not.
var gateColumns = []struct {
	text string
	by   func(a, b *gateView) int
}{
	{"gate", func(a, b *gateView) int { return strings.Compare(a.Gate, b.Gate) }},
	{"state", func(a, b *gateView) int {
		return cmp.Or(len(b.Alarms)-len(a.Alarms), strings.Compare(a.state, b.state))
	}},
	{"seen", func(a, b *gateView) int { return b.LastContact.Compare(a.LastContact) }},
	{"version", func(a, b *gateView) int { return strings.Compare(a.Version, b.Version) }},
	{"lists", func(a, b *gateView) int { return cmp.Compare(age(b), age(a)) }},
	{"clock", func(a, b *gateView) int { return strings.Compare(a.Clock, b.Clock) }},
	{"backlog", func(a, b *gateView) int { return cmp.Compare(b.Backlog, a.Backlog) }},
	{"journal", func(a, b *gateView) int { return cmp.Compare(full(b), full(a)) }},
	{"faults", func(a, b *gateView) int { return strings.Compare(b.Faults, a.Faults) }},
	{"hour", func(a, b *gateView) int { return cmp.Compare(b.Hour.decided(), a.Hour.decided()) }},
	{"why", nil},
}

func age(g *gateView) int64 {
	if g.Condition == nil {
		return -1
	}
	return g.Condition.AgeSeconds
}

func full(g *gateView) int {
	if g.Condition == nil {
		return -1
	}
	return int(g.Condition.Journal)
}

// parseQuery reads what a page asks for; what it does not know is as if not asked.
func parseQuery(v url.Values) gateQuery {
	q := gateQuery{Text: strings.TrimSpace(v.Get("q")), State: v.Get("state"), Sort: v.Get("sort"), Down: v.Get("down") == "1"}
	if !validText(q.Text, 0, 64) {
		q.Text = ""
	}
	if !slices.Contains(gateStates, q.State) {
		q.State = "all"
	}
	q.page, _ = strconv.Atoi(v.Get("page")) // page 1 for nonsense
	q.page = min(max(q.page, 1), 1<<20)
	for _, c := range gateColumns {
		if c.by != nil && c.text == q.Sort {
			return q
		}
	}
	q.Sort = "gate"
	return q
}

// Filtered reports whether not all gates are asked for.
func (q gateQuery) Filtered() bool { return q.Text != "" || q.State != "all" }

// values is the query as an address has it.
func (q gateQuery) values() string {
	v := url.Values{}
	if q.Text != "" {
		v.Set("q", q.Text)
	}
	if q.State != "all" {
		v.Set("state", q.State)
	}
	if q.Sort != "gate" {
		v.Set("sort", q.Sort)
	}
	if q.Down {
		v.Set("down", "1")
	}
	if q.page > 1 {
		v.Set("page", strconv.Itoa(q.page))
	}
	return "?" + v.Encode()
}

func (q gateQuery) matches(g *gateView) bool {
	if q.Text != "" && !strings.Contains(g.Gate, strings.ToLower(q.Text)) && !strings.Contains(strings.ToLower(g.Site), strings.ToLower(q.Text)) {
		return false
	}
	switch q.State {
	case "all":
		return true
	case "with-alarm":
		return len(g.Alarms) > 0
	}
	return g.state == q.State
}

// gateViewOf is one gate as a row shows it.
func (h *Hub) gateViewOf(l language, s GateStatus, now time.Time) gateView {
	g := gateView{GateStatus: s, state: "online", Class: "good", Contact: l.ago(now, s.LastContact)}
	switch {
	case s.Wipe != nil && !s.Wipe.Former && !s.Wipe.Done.IsZero():
		g.state, g.Class = "wiped", "off"
	case s.Wipe != nil && !s.Wipe.Former:
		g.state, g.Class = "to-wipe", "warn"
	case s.Revoked:
		g.state, g.Class = "revoked", "off"
	case s.LastContact.IsZero():
		g.state, g.Class = "never-seen", "off"
	case now.Sub(s.LastContact) > silentAfter:
		g.state, g.Class = "silent", "warn"
	}
	g.State = l.text(g.state)
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
	today, hour := map[gate.Reason]uint64{}, map[gate.Reason]uint64{}
	var alarms []Alarm
	var rows []*gateView
	for _, s := range h.fleet.all(now) {
		alarms = append(alarms, s.Alarms...)
		v.Total.Admit += s.Today.Admit
		v.Total.Hold += s.Today.Hold
		v.Total.Refuse += s.Today.Refuse
		v.Total.Acts += s.Today.Acts
		for reason, n := range s.Today.Reasons {
			today[reason] += n
		}
		for reason, n := range s.Hour.Reasons {
			hour[reason] += n
		}
		g := h.gateViewOf(l, s, now)
		if q.matches(&g) {
			g.Query = &v.Query
			rows = append(rows, &g)
		}
	}
	v.alarms(l, h, alarms)
	v.table(l, q, rows)
	v.Reasons = reasonsOf(l, today, hour)
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

// table sorts the rows and cuts one page out of them.
func (v *hubView) table(l language, q gateQuery, rows []*gateView) {
	for _, c := range gateColumns {
		col := column{Text: c.text}
		if c.by != nil {
			next := q
			next.Sort, next.Down, next.page = c.text, false, 1
			if c.text == q.Sort {
				next.Down = !q.Down
				col.Sorted = "ascending"
				if q.Down {
					col.Sorted = "descending"
				}
				slices.SortFunc(rows, func(a, b *gateView) int {
					n := c.by(a, b)
					if q.Down {
						n = -n
					}
					return cmp.Or(n, strings.Compare(a.Gate, b.Gate))
				})
			}
			col.Link = "/" + next.values()
		}
		v.Columns = append(v.Columns, col)
	}
	for _, s := range gateStates {
		v.States = append(v.States, option{Value: s, Word: l.text(s), Chosen: s == q.State})
	}
	v.Matching = len(rows)
	first := min((q.page-1)*rowsPerPage, max(len(rows)-1, 0)/rowsPerPage*rowsPerPage)
	last := min(first+rowsPerPage, len(rows))
	for _, g := range rows[first:last] {
		v.Gates = append(v.Gates, *g)
	}
	v.First, v.Last = min(first+1, last), last
	turn := q
	if turn.page = first / rowsPerPage; turn.page > 0 {
		v.Before = "/" + turn.values()
	}
	if turn.page = first/rowsPerPage + 2; last < len(rows) {
		v.After = "/" + turn.values()
	}
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

// partsOf renders named templates.
func partsOf(pages *template.Template, v any, names ...string) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range names {
		var b strings.Builder
		if err := pages.ExecuteTemplate(&b, name, v); err != nil {
			return nil, err
		}
		out[name] = b.String()
	}
	return out, nil
}

// fleetParts are the parts of the fleet's page that live.
func (h *Hub) fleetParts(pages *template.Template, r *http.Request) (map[string]string, error) {
	v, err := h.view(r)
	if err != nil {
		return nil, err
	}
	out, err := partsOf(pages, v, "notices", "alarms", "numbers", "gates", "pager", "reasons", "lists", "passages")
	if err != nil {
		return nil, err
	}
	var order []string
	for _, g := range v.Gates {
		row, err := partsOf(pages, g, "row")
		if err != nil {
			return nil, err
		}
		out["row-"+g.Gate] = row["row"]
		order = append(order, g.Gate)
	}
	out["rows"] = strings.Join(order, " ")
	return out, nil
}
