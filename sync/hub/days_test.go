package hub

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"greengate/gate"
	"greengate/sync/hub/index"
)

// walks are so many people who were admitted and walked through at a moment,
// and so many who were stopped for red.
func walks(at time.Time, passed, red int) []gate.Record {
	var out []gate.Record
	for range passed {
		out = append(out, gate.Record{Kind: gate.DecisionRecord, At: at, Clock: gate.ClockConfirmed, Verdict: gate.Admit, Reason: gate.Valid},
			gate.Record{Kind: gate.OutcomeRecord, At: at, Clock: gate.ClockConfirmed, Verdict: gate.Admit, Reason: gate.Valid, Outcome: gate.Turned})
	}
	for range red {
		out = append(out, gate.Record{Kind: gate.DecisionRecord, At: at, Clock: gate.ClockConfirmed, Reason: gate.RedCode})
	}
	return out
}

// send posts everything behind a sequence, in batches.
func (g *testGate) send(t testing.TB, url string, after uint64) {
	t.Helper()
	for first := after + 1; first <= g.seq; first += 400 {
		if status, _, word := g.post(t, url, g.batch(t, first, min(first+399, g.seq))); status != 200 {
			t.Fatalf("record %d: %d %s", first, status, word)
		}
	}
}

// counted waits until everything that is stored is counted and written.
func counted(t testing.TB, h *Hub, d *days) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	info, err := h.store.passages.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.wait(ctx, info.State.LastSeq); err != nil {
		t.Fatal(err)
	}
	bucket, err := h.store.js.Stream(ctx, "KV_"+daysBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.tallies.wait(ctx, bucket.CachedInfo().State.LastSeq); err != nil {
		t.Fatal(err)
	}
}

// often counts without making the test wait.
func often() Options {
	o := quiet()
	o.countEvery = 10 * time.Millisecond
	return o
}

// TestDaysCountOnce: each record counts once, on the day it happened: after a
// hub that was killed between the counts and the checkpoint, beside another
// that counts the same, and when it comes late.
func TestDaysCountOnce(t *testing.T) {
	h, _ := newHub(t, often())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	now := time.Now()
	today, week := index.DateOf(now.In(h.options.Location)), now.Add(-7*24*time.Hour)
	g.write(t, walks(now, 6, 2)...)
	g.send(t, url, 0)
	counted(t, h, h.days)

	check := func(what string, kv *days, date index.Date, admit, refuse uint64, want index.Hour) {
		t.Helper()
		got, _, err := load[dayRecord](t.Context(), kv.kv, date.String()+".north")
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var sum index.Hour
		for _, hour := range got.Hours {
			sum.Passed, sum.Judged, sum.Serious = sum.Passed+hour.Passed, sum.Judged+hour.Judged, sum.Serious+hour.Serious
		}
		if sum != want || got.Counts.Admit != admit || got.Counts.Refuse != refuse {
			t.Errorf("%s: %+v %+v, want %+v", what, sum, got.Counts, want)
		}
	}
	check("counted", h.days, today, 6, 2, index.Hour{Passed: 6, Judged: 8, Serious: 2})

	// A week's backlog comes late, and counts for its day.
	at := g.seq
	g.write(t, walks(week, 5, 1)...)
	unset := walks(time.Unix(0, 0), 1, 0)
	ahead := walks(now.Add(72*time.Hour), 1, 0)
	unset[0].Clock = gate.ClockUnset
	g.write(t, append(unset, ahead...)...)
	g.send(t, url, at)
	counted(t, h, h.days)
	check("late", h.days, today-7, 5, 1, index.Hour{Passed: 5, Judged: 6, Serious: 1})
	check("today with it", h.days, today, 6, 2, index.Hour{Passed: 6, Judged: 8, Serious: 2})
	if _, _, err := load[dayRecord](t.Context(), h.store.days, (today+3).String()+".north"); err == nil {
		t.Error("a day that is not yet was counted")
	}

	// Another hub counts the same from the beginning at the same time.
	if err := h.store.days.Purge(t.Context(), daysCheckpoint); err != nil {
		t.Fatal(err)
	}
	other := newDays(h, h.store.days)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); other.run(ctx) }()
	at = g.seq
	g.write(t, walks(now, 3, 0)...)
	g.send(t, url, at)
	counted(t, h, other)
	counted(t, h, h.days)
	stop()
	<-done
	check("two hubs", h.days, today, 9, 2, index.Hour{Passed: 9, Judged: 11, Serious: 2})

	// One that was killed when the counts were written and the checkpoint was not.
	if err := h.store.days.Purge(t.Context(), daysCheckpoint); err != nil {
		t.Fatal(err)
	}
	again := newDays(h, h.store.days)
	ctx, stop = context.WithCancel(t.Context())
	done = make(chan struct{})
	go func() { defer close(done); again.run(ctx) }()
	counted(t, h, again)
	stop()
	<-done
	check("counted again", again, today, 9, 2, index.Hour{Passed: 9, Judged: 11, Serious: 2})
	check("and the late ones", again, today-7, 5, 1, index.Hour{Passed: 5, Judged: 6, Serious: 1})
	if at, _, err := load[uint64](t.Context(), h.store.days, daysCheckpoint); err != nil || at == 0 {
		t.Errorf("checkpoint %d, %v", at, err)
	}
}

// TestIndexPage: five Mondays of two counties, as numbers, over the socket's
// operation and on the page, which tells no count below five.
// With GREENGATE_SCREENSHOTS=DIR pictures are kept there.
func TestIndexPage(t *testing.T) {
	o := often()
	h, dir := newHub(t, o)
	gates, page := serve(t, h)
	now := time.Now()
	last := now.Add(-24 * time.Hour)
	for id, county := range map[string]string{"a": "330106", "b": "330108", "c": "420102", "d": "330102"} {
		b, err := h.AddGate(t.Context(), GateRequest{Gate: id, Site: "station " + id, County: county, By: "op"})
		if err != nil {
			t.Fatal(err)
		}
		g := gateOf(t, b)
		for days := range 29 {
			at := last.Add(-time.Duration(days) * 24 * time.Hour)
			passed, red := 60+days%7, 0
			switch {
			case id != "a" && days%7 != 0:
				continue
			case id == "b" && days == 0:
				passed = 20
			case id == "c" && days%7 == 0:
				passed, red = 190, 30
			case id == "a" && days%7 == 0:
				passed, red = 220, 4
			case id == "d" && days > 2:
				continue
			}
			g.write(t, walks(at, passed, red)...)
		}
		g.send(t, gates, 0)
	}
	counted(t, h, h.days)
	day := index.DateOf(last.In(h.options.Location)).String()
	for _, c := range []struct {
		county        string
		flow, control gate.RiskLevel
		few           bool
	}{
		{"330106", gate.RiskLow, gate.RiskLow, true},
		{"330108", gate.RiskMedium, gate.RiskUnknown, false},
		{"420102", gate.RiskLow, gate.RiskHigher, false},
		{"330102", gate.RiskUnknown, gate.RiskUnknown, false},
		{"110101", gate.RiskUnknown, gate.RiskUnknown, false},
	} {
		r, err := h.Index(t.Context(), IndexRequest{County: c.county, Day: day, Chart: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Flow.Level != c.flow || r.Control.Level != c.control || r.Control.Few != c.few || len(r.Chart) != chartDays {
			t.Errorf("%s: %+v", c.county, r.Index)
		}
	}
	for _, r := range []IndexRequest{{County: "33010"}, {County: "330106", Site: "x"}, {Day: "2020-02-30"}, {Day: "9999-01-01"}} {
		if _, err := h.Index(t.Context(), r); err == nil {
			t.Errorf("%+v was answered", r)
		}
	}

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	get := func(path string) (int, string) {
		t.Helper()
		r, err := browser.Get(page + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	if _, body := get("/index"); strings.Contains(body, "330106") {
		t.Error("the index is told without a token")
	}
	token, err := OperatorToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := browser.PostForm(page+"/login", url.Values{"token": {token}}); err != nil {
		t.Fatal(err)
	} else if err := r.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if status, body := get("/index?province=33&day=" + day); status != 200 || strings.Count(body, `class="tile `) != 34+3+6 || !strings.Contains(body, "330106 西湖区 Xihu District: 低 low, &lt; 5; 1/1") {
		t.Errorf("%d: %s", status, body)
	}
	if status, _ := get("/index?county=%3Cscript%3E"); status != 400 {
		t.Errorf("a county that is none: %d", status)
	}

	shots := os.Getenv("GREENGATE_SCREENSHOTS")
	chromium, err := exec.LookPath("chromium")
	if shots == "" || err != nil {
		return
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(1200, 1000), chromedp.UserDataDir(t.TempDir()))...)
	defer stop()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	ctx, timeout := context.WithTimeout(ctx, time.Minute)
	defer timeout()
	do := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		for _, step := range steps {
			if _, err := chromedp.Run(ctx, step); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	do("log in", chromedp.Navigate(page), chromedp.WaitVisible("#token"), chromedp.SendKeys("#token", token), chromedp.Click("form button"), chromedp.WaitVisible("section.numbers"))
	for name, path := range map[string]string{"index.png": "/index?province=33&show=flow&day=" + day, "index-county.png": "/index?county=420102&day=" + day} {
		do("open the index", chromedp.Navigate(page+path), chromedp.WaitVisible("svg.map"))
		data, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(shots+"/"+name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
