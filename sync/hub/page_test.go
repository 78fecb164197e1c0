package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"greengate/gate"
)

func TestOperatorPage(t *testing.T) {
	h, dir := newHub(t, quiet())
	gates, page := serve(t, h)
	issueOne(t, h, "green", "static", nil)
	if _, err := h.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := addGate(t, h, "north")
	g.says = "lists=stale age=90000 held=12 clock=network policy=7 map=3"
	g.pass(t, 3, gate.YellowCode)
	if status, _, _ := g.post(t, gates, g.batch(t, 1, 3)); status != 200 {
		t.Fatal(status)
	}
	followed(t, h)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	client := &http.Client{Jar: jar, Transport: tr}
	read := func(resp *http.Response, err error) (int, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Content-Security-Policy") == "" {
			t.Error("no Content-Security-Policy")
		}
		return resp.StatusCode, string(data)
	}
	if status, body := read(client.Get(page)); status != 200 || strings.Contains(body, "north") || !strings.Contains(body, "token") {
		t.Errorf("before the log-in: %d\n%s", status, body)
	}
	if status, body := read(client.PostForm(page+"/login", url.Values{"token": {"guess"}})); status != 403 || strings.Contains(body, "north") {
		t.Errorf("wrong token: %d", status)
	}
	token, err := OperatorToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	status, body := read(client.PostForm(page+"/login", url.Values{"token": {token}}))
	if status != 200 {
		t.Fatalf("log-in: %d", status)
	}
	for _, want := range []string{"north", "yellow", "jkm:3301/0", "online", "hold", "Test authority", "stale · 25 h", ">network<"} {
		if !strings.Contains(body, want) {
			t.Errorf("page does not show %q", want)
		}
	}
	if strings.Contains(body, "王") {
		t.Error("a name stands on the page")
	}
	// One gate's day, and both in Chinese for whoever asks for it.
	if status, body := read(client.Get(page + "/gates/north")); status != 200 || !strings.Contains(body, "<rect class=\"refuse\"") || !strings.Contains(body, "yellow") {
		t.Errorf("a gate's day: %d\n%s", status, body)
	}
	if status, body := read(client.Get(page + "/gates/north?day=2020-02-17")); status != 200 || strings.Contains(body, "<rect") {
		t.Errorf("another day: %d\n%s", status, body)
	}
	for _, path := range []string{"/gates/south", "/gates/north?day=today", "/gates/%3Cb%3E"} {
		if status, _ := read(client.Get(page + path)); status != 404 {
			t.Errorf("%s: %d, want 404", path, status)
		}
	}
	for query, shown := range map[string]bool{"?q=NOR": true, "?q=south": false, "?state=online": true, "?state=revoked": false, "?state=nonsense&sort=nonsense&page=nonsense": true, "?page=99&sort=backlog&down=1": true} {
		if status, body := read(client.Get(page + "/" + query)); status != 200 || strings.Contains(body, "row-north") != shown {
			t.Errorf("%s: %d, shown %v", query, status, !shown)
		}
	}
	if status, body := read(client.Get(page + "/?q=%3Cscript%3E")); status != 200 || strings.Contains(body, "<script>") {
		t.Errorf("what was asked for is not escaped: %d", status)
	}
	for back, want := range map[string]string{"/?q=nor": "/?q=nor", "//attacker.example": "/", "https://attacker.example": "/", "/\\attacker.example": "/"} {
		if status, body := read(client.PostForm(page+"/language", url.Values{"language": {"zh"}, "back": {back}})); status != 200 || !strings.Contains(body, "闸机") || !strings.Contains(body, `name="back" value="`+want+`"`) {
			t.Errorf("in Chinese, back to %s: %d", back, status)
		}
	}
	if status, _ := read(client.PostForm(page+"/language", url.Values{"language": {"en"}, "back": {"/"}})); status != 200 {
		t.Error(status)
	}
	req, err := http.NewRequest("GET", page, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "attacker.example"
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 403 {
		t.Errorf("by another name: %d, want 403", resp.StatusCode)
	}
	if req, err = http.NewRequest("POST", page+"/logout", nil); err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if status, _ := read(client.Do(req)); status != 403 {
		t.Errorf("from a page elsewhere: %d, want 403", status)
	}
	if _, body := read(client.Get(page)); !strings.Contains(body, "north") {
		t.Error("a page elsewhere logged the operator out")
	}
	if status, body := read(client.PostForm(page+"/logout", nil)); status != 200 || strings.Contains(body, "north") {
		t.Errorf("after the log-out: %d", status)
	}
	if status, body := read(client.Get(page)); status != 200 || strings.Contains(body, "north") {
		t.Errorf("after the log-out: %d", status)
	}
}

// What a gate says of itself is taken when it can be read; when it cannot, its
// passages are taken all the same, and what it said before stands.
func TestConditionOfAGate(t *testing.T) {
	o := quiet()
	asked := 0
	o.Metrics = func(*Hub) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ })
	}
	h, _ := newHub(t, o)
	gates, page := serve(t, h)
	g := addGate(t, h, "north")
	condition := func() *GateCondition {
		t.Helper()
		all, err := h.Gates(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Condition
	}
	post := func(n uint64) {
		t.Helper()
		g.pass(t, 1, gate.Valid)
		if status, _, _ := g.post(t, gates, g.batch(t, n, n)); status != 200 {
			t.Fatal(status)
		}
	}
	post(1)
	if c := condition(); c != nil {
		t.Errorf("it said nothing, and the hub knows %+v", c)
	}
	g.says = "lists=too-old age=190000 held=12 clock=floor policy=6 map=1"
	post(2)
	want := GateCondition{Lists: "too-old", AgeSeconds: 190000, Held: 12, Clock: "floor", Policy: 6, Map: 1}
	if c := condition(); c == nil || *c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
	g.says = "lists=<b>rotten</b> age=190000 held=12 clock=floor policy=6 map=1"
	post(3)
	if c := condition(); c == nil || *c != want {
		t.Errorf("after nonsense: got %+v, want %+v", c, want)
	}

	for host, status := range map[string]int{"": 200, "attacker.example": 403} {
		req, err := http.NewRequest("GET", page+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status {
			t.Errorf("figures as %q: %d, want %d", host, resp.StatusCode, status)
		}
	}
	if asked != 1 {
		t.Errorf("figures were asked for %d times, want once", asked)
	}
}

// A supervisor asks without logging in, and hears when the storage takes nothing more.
func TestHealth(t *testing.T) {
	h, _ := newHub(t, quiet())
	page := httptest.NewServer(h.operatorHandler())
	defer page.Close()
	ask := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get(page.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(data)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, text := ask(path); status != 200 || text != "ok\n" {
			t.Errorf("%s: %d %q", path, status, text)
		}
	}
	h.store.down.Store(true)
	if status, text := ask("/healthz"); status != 200 {
		t.Errorf("alive all the same: %d %q", status, text)
	}
	if status, text := ask("/readyz"); status != 503 || !strings.Contains(text, ErrStorage.Error()) {
		t.Errorf("not ready: %d %q", status, text)
	}
}

func TestOperatorPageOnlyOnLoopback(t *testing.T) {
	h, _ := newHub(t, quiet())
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := h.Serve(t.Context(), nil, l, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("on every address: %v, want ErrInvalid", err)
	}
}

// TestFailedPublishIsTriedAgain: what could not be published does not wait for
// the next change or the next heartbeat.
func TestFailedPublishIsTriedAgain(t *testing.T) {
	var failures counter
	h, dir := newHub(t, Options{PublishDelay: 10 * time.Millisecond, Heartbeat: time.Hour, Log: slog.New(slog.NewTextHandler(&failures, nil))})
	visible, away := filepath.Join(dir, "lists", "metadata"), filepath.Join(dir, "away")
	if err := os.Rename(visible, away); err != nil {
		t.Fatal(err)
	}
	issueOne(t, h, "green", "static", nil)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, nil, nil, nil) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	until := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("%s: not within 30 s", what)
			}
		}
	}
	// At the start, for the change, and again.
	until("three failures", func() bool { return failures.Load() >= 3 })
	if err := os.RemoveAll(visible); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, visible); err != nil {
		t.Fatal(err)
	}
	until("published", func() bool {
		h.last.mu.Lock()
		defer h.last.mu.Unlock()
		return h.last.err == "" && len(h.last.result.Lists) == 1
	})
}

// counter counts the failed publishes in a log.
type counter struct{ atomic.Int64 }

func (c *counter) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "publish failed") {
		c.Add(1)
	}
	return len(line), nil
}

// TestPublishesByItself: a change is published without being asked, and the
// timestamp is signed anew without one.
func TestPublishesByItself(t *testing.T) {
	o := Options{PublishDelay: 10 * time.Millisecond, Heartbeat: 30 * time.Millisecond}
	h, _ := newHub(t, o)
	_, i := issueOne(t, h, "green", "static", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	serving, stop := context.WithCancel(ctx)
	go func() { done <- h.Serve(serving, nil, nil, nil) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	until := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			select {
			case <-ctx.Done():
				t.Fatalf("never: %s", what)
			case <-tick.C:
			}
		}
	}
	pending := func() bool {
		lists, err := h.Lists(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(lists) != 1 || lists[0].Pending || lists[0].Sequence == 0
	}
	until("the code is published", func() bool { return !pending() })
	if _, err := h.Recolour(ctx, RecolourRequest{Status: &i.Status, Colour: "red", By: "x"}); err != nil {
		t.Fatal(err)
	}
	until("the recolour is published", func() bool { return !pending() })
	beat := func() int64 { h.last.mu.Lock(); defer h.last.mu.Unlock(); return h.last.result.Timestamp }
	first := beat()
	until("a heartbeat", func() bool { return beat() > first+1 })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Behind a load balancer all gates have its address: how many that may hold is
// told to the hub.
func TestPerAddress(t *testing.T) {
	for _, most := range []int{1, 3} {
		o := quiet()
		o.PerAddress = most
		h, _ := newHub(t, o)
		url, _ := serve(t, h)
		open := 0
		for range 3 {
			c, err := net.Dial("tcp", strings.TrimPrefix(url, "https://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if tls.Client(c, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context()) == nil {
				open++
			}
		}
		if open != most {
			t.Errorf("%d of 3 connections from one address are taken, want %d", open, most)
		}
	}
}

func TestLimitListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimitListener(inner, 10, 2)
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	first := <-accepted
	dial()
	second := <-accepted
	third := dial()
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection from one address stayed open")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	first.Close() // a second Close gives nothing back
	dial()
	fourth := <-accepted
	if err := errors.Join(second.Close(), fourth.Close()); err != nil {
		t.Fatal(err)
	}
}
