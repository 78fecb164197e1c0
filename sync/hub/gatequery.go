package hub

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// gateQuery is which gates a page shows, in which order.
type gateQuery struct {
	// Text is part of a gate's name, of its site or of its county's name.
	Text, State, County, Fault, Alarm, Sort string
	Down                                    bool
	page                                    int
}

// The states of a gate, in the order in which a table of them begins.
const (
	stateSilent  = "silent"
	stateNever   = "never-seen"
	stateOnline  = "online"
	stateRevoked = "revoked"
	stateToWipe  = "to-wipe"
	stateWiped   = "wiped"
	// stateAlarm and stateAll are filters, and no gate's state.
	stateAlarm = "with-alarm"
	stateAll   = "all"
)

// gateStates are what may be filtered by, in the order shown.
var gateStates = []string{stateAll, stateAlarm, stateOnline, stateSilent, stateNever, stateRevoked, stateToWipe, stateWiped}

// gateKey is what a gate is chosen and sorted by; its row is drawn only where
// the page shows it.
type gateKey struct {
	GateStatus
	state string
}

// gravity is where a gate stands in a table sorted by state: who is silent on
// top, then who has another alarm.
func (k *gateKey) gravity() int {
	switch {
	case k.state == stateSilent:
		return 0
	case len(k.Alarms) > 0:
		return 1
	case k.state == stateNever:
		return 2
	case k.state == stateOnline:
		return 3
	}
	return 4
}

// condition is what the gate said, with nothing of it where it said nothing.
func (k *gateKey) condition() GateCondition {
	if k.Condition == nil {
		return GateCondition{AgeSeconds: -1}
	}
	return *k.Condition
}

// firstSort is how a table is sorted where nobody asked.
const firstSort = "state"

// gateColumns are the table's, with what each is sorted by; nil for not.
var gateColumns = []struct {
	text string
	by   func(a, b *gateKey) int
}{
	{"gate", func(a, b *gateKey) int { return strings.Compare(a.Gate, b.Gate) }},
	{"county", func(a, b *gateKey) int { return strings.Compare(a.County, b.County) }},
	{"state", func(a, b *gateKey) int {
		return cmp.Or(cmp.Compare(a.gravity(), b.gravity()), cmp.Compare(len(b.Alarms), len(a.Alarms)))
	}},
	{"seen", func(a, b *gateKey) int { return b.LastContact.Compare(a.LastContact) }},
	{"version", func(a, b *gateKey) int { return strings.Compare(a.condition().Version, b.condition().Version) }},
	{"lists", func(a, b *gateKey) int { return cmp.Compare(b.condition().AgeSeconds, a.condition().AgeSeconds) }},
	{"clock", func(a, b *gateKey) int { return strings.Compare(a.condition().Clock, b.condition().Clock) }},
	{"backlog", func(a, b *gateKey) int { return cmp.Compare(b.Backlog, a.Backlog) }},
	{"journal", func(a, b *gateKey) int { return cmp.Compare(b.condition().Journal, a.condition().Journal) }},
	{"faults", func(a, b *gateKey) int { return strings.Compare(b.condition().Faults, a.condition().Faults) }},
	{"hour", func(a, b *gateKey) int { return cmp.Compare(b.Hour.decided(), a.Hour.decided()) }},
	{"why", nil},
}

// parseQuery reads what a page asks for; what it does not know is as if not asked.
func parseQuery(v url.Values) gateQuery {
	q := gateQuery{Text: strings.TrimSpace(v.Get("q")), State: v.Get("state"), County: v.Get("county"), Fault: v.Get("fault"),
		Alarm: v.Get("alarm"), Sort: v.Get("sort"), Down: v.Get("down") == "1"}
	if !validText(q.Text, 0, 64) {
		q.Text = ""
	}
	if !slices.Contains(gateStates, q.State) {
		q.State = stateAll
	}
	if !countyCode.MatchString(q.County) {
		q.County = ""
	}
	if !validText(q.Fault, 0, 64) {
		q.Fault = ""
	}
	if !slices.Contains(AlarmKinds(), AlarmKind(q.Alarm)) {
		q.Alarm = ""
	}
	q.page, _ = strconv.Atoi(v.Get("page")) // page 1 for nonsense
	q.page = min(max(q.page, 1), 1<<20)
	for _, c := range gateColumns {
		if c.by != nil && c.text == q.Sort {
			return q
		}
	}
	q.Sort = firstSort
	return q
}

// Filtered reports whether not all gates are asked for.
func (q gateQuery) Filtered() bool {
	return q.Text != "" || q.State != stateAll || q.County != "" || q.Fault != "" || q.Alarm != ""
}

// Sorted reports whether another order is asked for than the first one.
func (q gateQuery) Sorted() bool { return q.Sort != firstSort }

// values is the query as an address has it.
func (q gateQuery) values() string {
	v := url.Values{}
	for name, value := range map[string]string{"q": q.Text, "county": q.County, "fault": q.Fault, "alarm": q.Alarm} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.State != stateAll {
		v.Set("state", q.State)
	}
	if q.Sorted() {
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

func (q gateQuery) matches(k *gateKey) bool {
	switch {
	case q.County != "" && k.County != q.County,
		q.Fault != "" && !slices.Contains(faultsOf(k.condition()), q.Fault),
		q.Alarm != "" && !slices.ContainsFunc(k.Alarms, func(a Alarm) bool { return string(a.Kind) == q.Alarm }),
		q.State == stateAlarm && len(k.Alarms) == 0,
		q.State != stateAll && q.State != stateAlarm && q.State != k.state:
		return false
	case q.Text == "":
		return true
	}
	c := counties[k.County]
	text := strings.ToLower(q.Text)
	for _, name := range []string{k.Gate, k.Site, k.County, c.zh, c.en} {
		if strings.Contains(strings.ToLower(name), text) {
			return true
		}
	}
	return false
}

// faultsOf are a gate's fault words.
func faultsOf(c GateCondition) []string {
	if c.Faults == "" {
		return nil
	}
	return strings.Split(c.Faults, ",")
}

// sort puts the gates in order; of equal ones the name decides.
func (q gateQuery) sort(keys []*gateKey) {
	for _, c := range gateColumns {
		if c.text != q.Sort {
			continue
		}
		slices.SortFunc(keys, func(a, b *gateKey) int {
			n := c.by(a, b)
			if q.Down {
				n = -n
			}
			return cmp.Or(n, strings.Compare(a.Gate, b.Gate))
		})
	}
}

// columns are the table's head, with what each leads to.
func (q gateQuery) columns() []column {
	var out []column
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
			}
			col.Link = "/" + next.values()
		}
		out = append(out, col)
	}
	return out
}
