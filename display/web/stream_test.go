package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"greengate/display"
	"greengate/gate"
)

// pipe is a ResponseWriter that hangs while it is held, as a client does that
// does not read.
type pipe struct {
	header http.Header
	mu     sync.Mutex
	text   bytes.Buffer
	hold   chan struct{} // nil lets everything through
	status int
}

func newPipe() *pipe                { return &pipe{header: http.Header{}} }
func (p *pipe) Header() http.Header { return p.header }
func (p *pipe) WriteHeader(s int)   { p.status = s }
func (p *pipe) Flush()              {}

func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

func (p *pipe) Write(b []byte) (int, error) {
	if p.hold != nil {
		<-p.hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

// event is one server-sent event.
type event struct{ name, data string }

func (p *pipe) events() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []event
	for block := range strings.SplitSeq(p.text.String(), "\n\n") {
		if name, data, ok := strings.Cut(strings.TrimPrefix(block, "event: "), "\ndata: "); ok {
			out = append(out, event{name, data})
		}
	}
	return out
}

// faces returns the views among the events.
func (p *pipe) faces(t *testing.T) []face {
	t.Helper()
	var out []face
	for _, e := range p.events() {
		if e.name != "view" {
			continue
		}
		var f face
		if err := json.Unmarshal([]byte(e.data), &f); err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// follow opens a stream in the bubble; the returned func closes it and waits.
func (d *desk) follow(path string, p *pipe, change ...func(*http.Request)) func() {
	ctx, cancel := context.WithCancel(context.Background())
	r := httptest.NewRequest("GET", "http://127.0.0.1:8080"+path, nil).WithContext(ctx)
	for _, c := range change {
		c(r)
	}
	done := make(chan struct{})
	go func() { defer close(done); d.ServeHTTP(p, r) }()
	return func() { cancel(); <-done }
}

func TestStreamDeliversViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.now = time.Now()
		p := newPipe()
		stop := d.follow("/events", p)
		synctest.Wait()
		d.server.Show(gate.View{State: gate.Refused, Decision: gate.Decision{Reason: gate.RedCode}, Name: "王*明", Count: 7,
			Since: d.now, Until: d.now.Add(5 * time.Second), Light: gate.Light{Blink: gate.FastBlink}, Tone: gate.LowTriple, Kind: "dynamic", Colour: gate.Red,
			Reading: &gate.Reading{Object: 35900, Adjusted: 36449}})
		synctest.Wait()
		stop()
		if got := p.header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("content type %q", got)
		}
		if e := p.events(); e[0].name != "hello" || !strings.Contains(e[0].data, d.server.build) {
			t.Errorf("the first event is %v, want hello with the build", e[0])
		}
		faces := p.faces(t)
		if len(faces) != 2 || faces[0].State != "out-of-service" || faces[0].Ground != display.GroundOut {
			t.Fatalf("views %+v, want out of service and the shown one", faces)
		}
		f := faces[1]
		if f.Count != 7 || f.State != "refused" || f.Shape != display.StopShape || f.Ground != display.GroundRed || f.Blink != "fast" ||
			f.Name != "王*明" || f.Temperature != "36.4" || f.Left != 5000 || f.Total != 5000 || len(f.Notes) != 5 || f.Guard != nil {
			t.Errorf("view %+v", f)
		}
		if fmt.Sprint(f.Headline) != "[红码 Red code]" || len(f.Next) != 2 {
			t.Errorf("words %v %v", f.Headline, f.Next)
		}
		if len(d.server.clients) != 0 {
			t.Errorf("%d clients are left", len(d.server.clients))
		}
	})
}

func TestStreamBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		p := newPipe()
		stop := d.follow("/events", p)
		time.Sleep(10*beat + beat/2) // the bubble's time
		synctest.Wait()
		stop()
		if got := len(p.faces(t)); got != 11 {
			t.Errorf("%d views in %v without news, want 11: pages take silence for a cut", got, 10*beat)
		}
	})
}

func TestStuckClientGetsTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		stuck, quick := newPipe(), newPipe()
		stuck.hold = make(chan struct{})
		stopStuck, stopQuick := d.follow("/events", stuck), d.follow("/events", quick)
		synctest.Wait()
		for i := range 1000 {
			d.server.Show(gate.View{State: gate.Idle, Count: uint64(i + 1)}) // returns though a client hangs
			synctest.Wait()
		}
		close(stuck.hold)
		synctest.Wait()
		stopStuck()
		stopQuick()
		got := stuck.faces(t)
		if len(got) > 2 || got[len(got)-1].Count != 1000 {
			t.Errorf("the stuck client got %d views, the last with count %d; want at most 2 and 1000", len(got), got[len(got)-1].Count)
		}
		if got := quick.faces(t); len(got) != 1001 {
			t.Errorf("the quick client got %d views, want 1001", len(got))
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		session := d.login()
		var stops []func()
		for range kioskClients {
			stops = append(stops, d.follow("/events", newPipe()))
		}
		synctest.Wait()
		more := newPipe()
		d.follow("/events", more)()
		if more.status != 503 || more.header.Get("Retry-After") == "" {
			t.Errorf("client %d got %d, want 503", kioskClients+1, more.status)
		}
		// The guard's place is not theirs to take.
		guard := newPipe()
		stops = append(stops, d.follow("/guard/events", guard, session))
		synctest.Wait()
		if len(guard.faces(t)) != 1 {
			t.Error("no room for the guard")
		}
		stops[0]()
		again := newPipe()
		stops[0] = d.follow("/events", again)
		synctest.Wait()
		if len(again.faces(t)) != 1 {
			t.Error("a place that came free was not given again")
		}
		for _, stop := range stops {
			stop()
		}
	})
}

func TestGuardStreamEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.server.cfg.Now = time.Now // the bubble's time
		session := d.login()
		p := newPipe()
		stop := d.follow("/guard/events", p, session)
		time.Sleep(sessionIdle + beat)
		synctest.Wait()
		events := p.events()
		if last := events[len(events)-1]; last.name != "end" {
			t.Errorf("after %v without a touch the last event is %v, want end", sessionIdle, last.name)
		}
		d.server.Show(gate.View{Name: "王*明", Count: 99})
		synctest.Wait()
		if got := len(p.events()); got != len(events) {
			t.Error("something came after the end")
		}
		stop()

		session = d.login()
		p = newPipe()
		stop = d.follow("/guard/events", p, session)
		synctest.Wait()
		d.ask("POST", "/guard/logout", "{}", session)
		synctest.Wait()
		if events := p.events(); events[len(events)-1].name != "end" {
			t.Error("logging out did not end the stream")
		}
		stop()
	})
}

func TestGuardSeesMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.server.refresh()
		session := d.login()
		now := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
		for i := range 25 {
			v := gate.View{State: gate.Held, GuardMayAdmit: true, Decision: gate.Decision{Verdict: gate.Hold, Reason: gate.Fever, Notices: []gate.Reason{gate.ListsStale}},
				Name: "王*明", Kind: "paper", Colour: gate.Green, Count: uint64(3*i + 1), Since: now.Add(time.Duration(i) * time.Minute), Sequence: uint64(i + 1)}
			d.server.Show(v)
			v.Count++ // the same hold once more, as when somebody else's code came in
			d.server.Show(v)
			d.server.Show(gate.View{State: gate.Idle, Count: uint64(3*i + 3)})
		}
		d.server.Show(gate.View{State: gate.Refused, Decision: gate.Decision{Reason: gate.RedCode}, GuardMayAdmit: true, Count: 80, Since: now.Add(time.Hour), Direction: gate.Exit})
		kiosk, guard := newPipe(), newPipe()
		stops := []func(){d.follow("/events", kiosk), d.follow("/guard/events", guard, session)}
		synctest.Wait()
		for _, stop := range stops {
			stop()
		}
		f := guard.faces(t)[0]
		if f.Guard == nil || !f.Guard.MayAdmit || f.Guard.MayRefuse {
			t.Errorf("a red code under an override: %+v, want admit without refuse", f.Guard)
		}
		find := func(p *pipe) (string, strip) {
			for _, e := range p.events() {
				if e.name == "health" {
					var s strip
					if err := json.Unmarshal([]byte(e.data), &s); err != nil {
						t.Fatal(err)
					}
					return e.data, s
				}
			}
			t.Fatal("no health")
			return "", strip{}
		}
		raw, s := find(guard)
		if len(s.Recent) != recentMax {
			t.Fatalf("%d passages, want the last %d", len(s.Recent), recentMax)
		}
		if got := fmt.Sprint(s.Recent[0]); got != "{09:00:00 refuse [出 out] [拒绝 refused] [红码 Red code] []}" {
			t.Errorf("newest %s", got)
		}
		if got := fmt.Sprint(s.Recent[1]); got != "{08:24:00 hold [进 in] [待处理 held] [体温偏高 Temperature high] [纸质码 paper code]}" {
			t.Errorf("before %s", got)
		}
		if strings.Contains(raw, "王") {
			t.Errorf("the look back names somebody: %s", raw)
		}
		if raw, s := find(kiosk); len(s.Recent) != 0 || len(s.Faults) != 0 || len(s.Items) != 3 || strings.Contains(raw, "fault") {
			t.Errorf("the kiosk sees %s", raw)
		}
	})
}

func TestStrip(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	for _, test := range []struct {
		name  string
		guard bool
		spoil func(*display.Health)
		want  string
	}{
		{"good, kiosk", false, func(*display.Health) {}, "lists good 4 分钟|4 min, clock good 08:41|08:41, backlog good 3|3"},
		{"nothing known", false, func(h *display.Health) { *h = display.Health{} }, "lists bad 没有名单|no list, clock bad 未校准|not set, backlog good 0|0"},
		{"stale", false, func(h *display.Health) {
			h.Lists = gate.Stale
			h.ListIssued = now.Add(-25 * time.Hour)
			h.Clock = gate.ClockFloor
		},
			"lists warn 25 小时 · 较旧|25 h · old, clock warn 08:41 · 未确认|unconfirmed, backlog good 3|3"},
		{"offline, guard", true, func(h *display.Health) {
			h.Hub = display.HubHealth{LastContact: now.Add(-time.Hour)}
			h.JournalPercent = 90
			h.Readers = h.Readers[:1]
			h.Readers[0].State = "absent"
		}, "lists good 4 分钟 · 最新|4 min · fresh, clock good 08:41 · 中心对时|confirmed, backlog warn 3|3, map good 2020-02-17 · 今天|today, hub warn 离线 · 60 分钟|away · 60 min, journal bad 90 %|90 %, reader-serial warn serial · absent|serial · absent"},
		{"an old map, guard", true, func(h *display.Health) { h.MapDay, h.Readers = "2020-02-15", nil },
			"lists good 4 分钟 · 最新|4 min · fresh, clock good 08:41 · 中心对时|confirmed, backlog good 3|3, map warn 2020-02-15 · 2 天|2 days, hub good 已连接|connected, journal good 12 %|12 %"},
	} {
		h := goodHealth()
		h.ListIssued = now.Add(-4 * time.Minute)
		test.spoil(&h)
		var got []string
		for _, i := range d.server.strip(h, now, test.guard).Items {
			got = append(got, i.ID+" "+i.Level+" "+strings.Join(i.Value, "|"))
		}
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

// The guard sees which lists are held, those that need a look first, and no
// more than fit; the kiosk sees none.
func TestHeldLists(t *testing.T) {
	d := newDesk(t)
	if s := d.server.strip(badHealth(), time.Now(), false); len(s.Held) != 0 || s.HeldCount != 0 {
		t.Errorf("the kiosk sees lists: %+v", s.Held)
	}
	s := d.server.strip(badHealth(), time.Now(), true)
	if len(s.Held) != heldMax || s.HeldCount != 40 {
		t.Fatalf("%d lists of %d, want %d of 40", len(s.Held), s.HeldCount, heldMax)
	}
	for i, want := range []string{
		"3301/3 bad 版次 37 · 3 天 · 过旧 · 临时|generation 37 · 3 days · too old · asked for",
		"3301/30 warn 版次 10 · 25 小时 · 较旧|generation 10 · 25 h · old",
		"3301/0 good 版次 40 · 4 分钟 · 最新|generation 40 · 4 min · fresh",
	} {
		l := s.Held[i]
		if got := l.Name + " " + l.Level + " " + strings.Join(l.Facts, "|"); got != want {
			t.Errorf("line %d:\ngot  %s\nwant %s", i, got, want)
		}
	}
}

func TestReadingThatSaysNothingIsNotShown(t *testing.T) {
	d := newDesk(t)
	for _, r := range []*gate.Reading{nil, {Adjusted: 36400, TooFar: true}, {Adjusted: 36400, OutOfRange: true}} {
		if got := d.server.face(gate.View{Reading: r}, d.now).Temperature; got != "" {
			t.Errorf("%+v is shown as %s", r, got)
		}
	}
}

func TestServe(t *testing.T) {
	b := start(t, goodHealth)
	b.server.Show(gate.View{State: gate.Idle, Count: 1})
	response, err := http.Get(b.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	next := func(event string) string {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == "event: "+event && lines.Scan() {
				return strings.TrimPrefix(lines.Text(), "data: ")
			}
		}
		t.Fatalf("the stream ended before %s: %v", event, lines.Err())
		return ""
	}
	if got := next("view"); !strings.Contains(got, `"state":"idle"`) {
		t.Errorf("first view %s", got)
	}
	// Health is asked for by Serve, so it is there soon; the beat brings it.
	for !strings.Contains(next("health"), "东门 1 号") {
	}
	b.server.Show(gate.View{State: gate.FireOpen, Count: 2})
	for !strings.Contains(next("view"), `"state":"fire"`) {
	}
	// Stopping ends open streams, and Serve returns.
	b.stop()
	for lines.Scan() {
	}

	l, err := Listen("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.server.Serve(t.Context(), l); err == nil {
		t.Error("Serve on a closed listener returns nil")
	}
}

func TestStreamOutlivesTheServersTimeouts(t *testing.T) {
	d := newDesk(t)
	server := httptest.NewUnstartedServer(d)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	server.Start()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	views := 0
	for lines := bufio.NewScanner(response.Body); lines.Scan() && views < 2; {
		if lines.Text() == "event: view" {
			views++
		}
	}
	if views < 2 { // the second comes with the beat, long after both time-outs
		t.Errorf("the stream ended after %d views", views)
	}
}

func TestHungHealthDoesNotStopViews(t *testing.T) {
	hang := make(chan struct{})
	s, err := New(Config{Health: func() display.Health { <-hang; return display.Health{} }, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	s.Show(gate.View{State: gate.Idle})
	response, err := http.Get("http://" + l.Addr().String() + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	found := false
	for lines := bufio.NewScanner(response.Body); !found && lines.Scan(); {
		found = strings.Contains(lines.Text(), `"state":"idle"`)
	}
	if !found {
		t.Error("no view while Health hangs")
	}
	cancel()
	if err := <-served; err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v, want it to end and say that health did not answer", err)
	}
	close(hang)
}
