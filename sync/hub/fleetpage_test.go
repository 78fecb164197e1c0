package hub

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"greengate/gate"
)

// fill makes gates known to a hub as if they had enrolled and told it how they
// are, without a certificate for each: every 50th is silent, every 40th has a
// fault, every 25th stale lists.
func fill(h *Hub, n int) {
	now := h.options.Now()
	codes := slices.Sorted(maps.Keys(counties))
	for i := range n {
		id := fmt.Sprintf("gate-%05d", i)
		h.fleet.know(id, &known{site: fmt.Sprintf("Line %d, station %d, entrance %c", i%9+1, i/9%40+1, 'A'+i%4), county: codes[i%len(codes)], added: now, ends: now.AddDate(1, 0, 0)})
		say(h, i, now)
		h.fleet.add(id, []Passage{{Gate: id, Sequence: 1, At: now, Received: now, Kind: gate.DecisionRecord, Verdict: "admit", Reason: gate.Valid, Clock: "network", Direction: "entry"}}, now)
	}
}

// say is what one of these gates tells at a moment.
func say(h *Hub, i int, now time.Time) {
	c := gate.Condition{Lists: gate.Fresh, Age: time.Minute, Held: 12, Clock: gate.ClockNetwork, Policy: 7, Map: 3, Version: "v1.4.0", Journal: uint8(i % 80)}
	if i%25 == 0 {
		c.Lists, c.Age = gate.Stale, 30*time.Hour
	}
	if i%40 == 0 {
		c.Faults = "thermometer-broken"
	}
	if i%50 == 0 {
		now = now.Add(-10 * time.Minute)
	}
	h.fleet.contact(fmt.Sprintf("gate-%05d", i), now, uint64(i%7), &c)
}

// TestFleetPageOf2000: the page of 2,000 gates shows the silent ones first and
// 50 in all, is filtered and turned by keys alone, and an update is of what changed.
func TestFleetPageOf2000(t *testing.T) {
	const n = 2000
	c := &clock{}
	o := quiet()
	o.Now = c.now
	h, dir := newHub(t, o)
	c.advance(time.Hour)
	fill(h, n)
	_, page := serve(t, h)
	b := openTab(t, 1280, 900)
	b.login(page, dir)
	b.do("open it again", chromedp.Navigate(page))
	b.until("live", `updates.length > 0`)
	b.shot("hub-2000.png")

	paint := ask[float64](b, `performance.getEntriesByName("first-contentful-paint")[0].startTime`)
	bytes := ask[int](b, `performance.getEntriesByType("navigation")[0].decodedBodySize`)
	elements := ask[int](b, `document.querySelectorAll("*").length`)
	if rows := ask[int](b, `document.querySelectorAll("#gates tr").length`); rows != rowsPerPage {
		t.Errorf("%d rows", rows)
	}
	if elements > 3000 {
		t.Errorf("%d elements", elements)
	}
	if first := ask[string](b, `document.querySelector("#gates tr").textContent`); !strings.Contains(first, "silent") {
		t.Errorf("the first row is %q", first)
	}
	if pager := ask[string](b, `document.getElementById("pager").textContent`); !strings.Contains(pager, "1–50 of 2000") {
		t.Errorf("pager %q", pager)
	}
	// One gate of this page and one of another tell how they are: one row is sent.
	before := ask[int](b, `updates.length`)
	now := c.now()
	said := gate.Condition{Lists: gate.Fresh, Age: time.Minute, Clock: gate.ClockNetwork, Version: "v1.5.0"}
	h.fleet.contact("gate-00100", now.Add(-11*time.Minute), 99, &said)
	h.fleet.contact("gate-00101", now, 99, &said)
	b.until("the row is new", `document.getElementById("row-gate-00100").textContent.includes("v1.5.0")`)
	if sent := ask[[]string](b, fmt.Sprintf(`updates.slice(%d).flatMap(u => Object.keys(JSON.parse(u.text).set)).filter(id => id.startsWith("row-"))`, before)); !slices.Equal(sent, []string{"row-gate-00100"}) {
		t.Errorf("sent %v", sent)
	}
	row := ask[float64](b, `updates.at(-1).bytes`)
	rowTime := ask[float64](b, `updates.at(-1).ms`)
	if row > 10_000 {
		t.Errorf("one row's update is %.0f bytes", row)
	}
	// All 2,000 tell at once, and 40 people pass.
	before = ask[int](b, `updates.length`)
	for i := range n {
		say(h, i, c.now())
	}
	for i := range recentPassages {
		id := fmt.Sprintf("gate-%05d", 50*i)
		h.fleet.add(id, []Passage{{Gate: id, Sequence: 2, At: now, Received: now, Kind: gate.DecisionRecord, Verdict: "refuse", Reason: gate.RedCode, Clock: "network", Direction: "entry"}}, now)
	}
	b.until("all told", fmt.Sprintf(`updates.length > %d && document.getElementById("passages").textContent.includes("red")`, before))
	busy := ask[float64](b, fmt.Sprintf(`Math.max(...updates.slice(%d).map(u => u.bytes))`, before))
	busyTime := ask[float64](b, fmt.Sprintf(`Math.max(...updates.slice(%d).map(u => u.ms))`, before))

	// By keys alone: down, to the next page and back, to the filter, and into a gate's day.
	focused := func(what, id string) {
		t.Helper()
		b.until(what, fmt.Sprintf(`document.readyState === "complete" && document.activeElement.id === %q`, id))
	}
	first := func() {
		t.Helper()
		if !ask[bool](b, `(() => { const a = document.querySelector("#gates a"); a.focus(); return document.activeElement === a })()`) {
			t.Error("the first gate does not take the focus")
		}
	}
	first()
	b.do("down", chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowUp))
	focused("down", "g-gate-00050")
	b.do("turn", chromedp.KeyEvent(kb.PageDown))
	focused("the next page", "g-gate-00525")
	b.do("turn back", chromedp.KeyEvent(kb.PageUp))
	focused("the page before", "g-gate-00000")
	b.do("filter", chromedp.KeyEvent("/"))
	focused("the filter", "q")
	// A key that comes over the debugger is typed although the page took it.
	b.do("type", chromedp.KeyEvent(kb.Backspace), chromedp.KeyEvent("xihu d"), chromedp.KeyEvent(kb.Enter))
	b.until("filtered", `document.getElementById("clear") !== null && updates.length > 0`)
	if got := ask[string](b, `[...new Set([...document.querySelectorAll("#gates tr td:nth-child(2)")].map(e => e.textContent))].join()`); got != "Xihu District" {
		t.Errorf("counties %q", got)
	}
	first()
	b.do("into a day", chromedp.KeyEvent(kb.Enter))
	b.until("a day", `location.pathname.startsWith("/gates/gate-")`)
	for query, want := range map[string]int{"?fault=thermometer-broken": n / 40, "?alarm=stale-lists": n / 25, "?state=silent": n / 50, "?q=西湖": 23, "?q=xihu": 23, "?county=110101": 0} {
		b.do(query, chromedp.Navigate(page+"/"+query))
		if got := ask[string](b, `document.getElementById("pager").textContent`); !strings.Contains(got, fmt.Sprintf("of %d", want)) {
			t.Errorf("%s: %q, want %d", query, got, want)
		}
	}
	b.allowed()
	t.Logf("bench: fleet.page.bytes %d B", bytes)
	t.Logf("bench: fleet.page.first_paint %.0f ms", paint)
	t.Logf("bench: fleet.page.elements %d elements", elements)
	t.Logf("bench: fleet.update.row.bytes %.0f B", row)
	t.Logf("bench: fleet.update.row.time %.1f ms", rowTime)
	t.Logf("bench: fleet.update.busy.bytes %.0f B", busy)
	t.Logf("bench: fleet.update.busy.time %.1f ms", busyTime)
}

// BenchmarkFleetView is what one page costs the hub, a second, of so many gates.
func BenchmarkFleetView(b *testing.B) {
	for _, n := range []int{2000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h, _ := newHub(b, quiet())
			fill(h, n)
			pages, r := pagesIn(english), httptest.NewRequest("GET", "/events", nil)
			for b.Loop() {
				if _, err := h.fleetParts(pages, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
