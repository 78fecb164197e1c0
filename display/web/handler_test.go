package web

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"greengate/display"
	"greengate/gate"
)

var _ gate.Screen = (*Server)(nil)

// desk is a server without a socket.
type desk struct {
	t      *testing.T
	server *Server
	lane   *lane
	log    *lines
	now    time.Time
	http.Handler
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, lane: new(lane), log: new(lines), now: time.Now()}
	var err error
	d.server, err = New(Config{Lane: d.lane, Guards: new(guards), Health: goodHealth, Now: func() time.Time { return d.now }, Log: slog.New(slog.NewTextHandler(d.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	d.Handler = d.server.Handler()
	return d
}

// ask makes a request as our own page does, changed by each of change.
func (d *desk) ask(method, path, body string, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == "POST" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "http://127.0.0.1:8080")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result()
}

// login returns a change that carries a fresh session.
func (d *desk) login() func(*http.Request) {
	d.t.Helper()
	response := d.ask("POST", "/guard/login", `{"pin":"1234"}`)
	if response.StatusCode != 200 || len(response.Cookies()) != 1 {
		d.t.Fatalf("log-in: %s, %d cookies", response.Status, len(response.Cookies()))
	}
	cookie := response.Cookies()[0]
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value}) }
}

func message(t *testing.T, r *http.Response) (string, int) {
	t.Helper()
	var a struct {
		Message string `json:"message"`
		Wait    int    `json:"wait_seconds"`
	}
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a.Message, a.Wait
}

func TestHeaders(t *testing.T) {
	d := newDesk(t)
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/guard": "text/html; charset=utf-8", "/assets/kiosk.js": "text/javascript; charset=utf-8",
		"/assets/base.css": "text/css; charset=utf-8", "/assets/icon.svg": "image/svg+xml", "/nothing": "text/plain; charset=utf-8",
	} {
		r := d.ask("GET", path, "")
		for header, want := range map[string]string{
			"Content-Type": kind, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := r.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", path, header, got, want)
			}
		}
		csp := r.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "http") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}

// The policy forbids inline scripts and other places; the pages must not want them.
func TestPagesNeedNothingFromElsewhere(t *testing.T) {
	d := newDesk(t)
	inline := regexp.MustCompile(`(?i)<script[^>]*>[^<]|\son[a-z]+=|\sstyle=|javascript:`)
	elsewhere := regexp.MustCompile(`(?i)(?:src|href|url|import|from)\s*[=("' ]+\s*(?:https?:)?//`)
	for name, p := range d.server.pages {
		if found := inline.Find(p.body); strings.HasSuffix(name, ".html") && found != nil {
			t.Errorf("%s has %q inline", name, found)
		}
		if found := elsewhere.Find(p.body); found != nil {
			t.Errorf("%s reaches elsewhere: %q", name, found)
		}
		if bytes.Contains(p.body, []byte("ZgotmplZ")) {
			t.Errorf("%s: the template engine refused a value", name)
		}
	}
	if d.server.build == "" {
		t.Error("no build")
	}
}

func TestEveryShapeIsDrawnAndEveryLabelUsed(t *testing.T) {
	d := newDesk(t)
	kiosk := string(d.server.pages["kiosk.html"].body)
	for _, shape := range display.Shapes() {
		if !strings.Contains(kiosk, fmt.Sprintf(`id="shape-%s"`, shape)) {
			t.Errorf("shape %s is not drawn", shape)
		}
	}
	guard := string(d.server.pages["guard.html"].body)
	for _, r := range gate.GuardReasons() {
		for _, w := range d.server.words {
			if !strings.Contains(guard, fmt.Sprintf(`value="%s"`, r)) || !strings.Contains(guard, w.GuardReasons[r]) {
				t.Errorf("guard's reason %s is not on the page in %s", r, w.Tag)
			}
		}
	}
}

func TestMethods(t *testing.T) {
	d := newDesk(t)
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/", 405}, {"POST", "/events", 405}, {"PUT", "/guard/act", 405}, {"GET", "/guard/act", 405}, {"GET", "/guard/login", 405},
		{"DELETE", "/guard/session", 405}, {"GET", "/assets/", 404}, {"GET", "/assets/kiosk.html", 404}, {"GET", "/assets/../server.go", 404},
		{"GET", "/guard/", 404}, {"HEAD", "/", 200},
	} {
		r := httptest.NewRequest(test.method, "http://127.0.0.1"+test.path, nil)
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if got := w.Code; got != test.want && !(test.want == 404 && got == 307) {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, got, test.want)
		}
	}
}

func TestHosts(t *testing.T) {
	d := newDesk(t)
	d.server.cfg.Hosts = []string{"Gate-3.local"}
	for host, want := range map[string]int{
		"127.0.0.1:8080": 200, "localhost": 200, "LOCALHOST:80": 200, "[::1]:8080": 200, "127.8.8.8": 200, "gate-3.local:8443": 200, "GATE-3.LOCAL": 200,
		"evil.example": 421, "127.0.0.1.evil.example": 421, "": 421, "192.168.1.7:8080": 421, "localhost.evil.example:8080": 421, "0.0.0.0": 421,
	} {
		got := d.ask("GET", "/", "", func(r *http.Request) { r.Host = host }).StatusCode
		if got != want {
			t.Errorf("host %q: %d, want %d", host, got, want)
		}
	}
}

func TestOtherSitesAreTurnedAway(t *testing.T) {
	d := newDesk(t)
	session := d.login()
	admit := `{"action":"pass","reason":"no-phone","count":0}`
	for name, test := range map[string]struct {
		method, path string
		change       func(*http.Request)
		want         int
	}{
		"our own page":         {"POST", "/guard/act", func(*http.Request) {}, 200},
		"another site posts":   {"POST", "/guard/act", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"another port posts":   {"POST", "/guard/act", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403},
		"an old browser posts": {"POST", "/guard/act", func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "http://evil.example") }, 403},
		"a form posts":         {"POST", "/guard/act", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415},
		"another site streams": {"GET", "/events", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"another site loads":   {"GET", "/assets/kiosk.js", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"a link from elsewhere": {"GET", "/guard", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
		}, 200},
	} {
		body := ""
		if test.method == "POST" {
			body = admit
		}
		if got := d.ask(test.method, test.path, body, session, test.change).StatusCode; got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
	if got := len(d.lane.acts()); got != 1 {
		t.Errorf("the lane took %d acts, want the one of our own page", got)
	}
}

func TestLogIn(t *testing.T) {
	d := newDesk(t)
	for _, test := range []struct {
		body, want string
		status     int
		wait       int
	}{
		{`{"pin":"9999"}`, "pin-wrong", 401, 0},
		{`{"pin":""}`, "pin-wrong", 401, 0},
		{`{"pin":"` + strings.Repeat("1", pinMax+1) + `"}`, "pin-wrong", 401, 0},
		{`{"pin":"0000"}`, "pin-locked", 429, 60},
		{`{"pin":1234}`, "failed", 400, 0},
		{`{"pin":"1234","admin":true}`, "failed", 400, 0},
		{`{"pin":"1234"}{}`, "failed", 400, 0},
		{`{"pin":"1234`, "failed", 400, 0},
		{``, "failed", 400, 0},
		{`{"pin":"` + strings.Repeat("1", bodyMax) + `"}`, "failed", 413, 0},
	} {
		r := d.ask("POST", "/guard/login", test.body)
		got, wait := message(t, r)
		if r.StatusCode != test.status || got != test.want || wait != test.wait || len(r.Cookies()) != 0 {
			t.Errorf("%.40s: %d %q wait %d, want %d %q wait %d and no cookie", test.body, r.StatusCode, got, wait, test.status, test.want, test.wait)
		}
	}
	r := d.ask("POST", "/guard/login", `{"pin":"1234"}`)
	c := r.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/guard" || len(c.Value) != 43 || c.Secure {
		t.Errorf("cookie %+v", c)
	}
	r = d.ask("POST", "/guard/login", `{"pin":"1234"}`, func(r *http.Request) { r.TLS = new(tls.ConnectionState) })
	if c := r.Cookies()[0]; !c.Secure {
		t.Errorf("cookie over TLS: %+v", c)
	}
	for _, secret := range []string{"9999", "0000", "1234", "guard-7"} {
		if strings.Contains(d.log.String(), secret) {
			t.Errorf("the log contains %q:\n%s", secret, d.log)
		}
	}
	if !strings.Contains(d.log.String(), "locked out") {
		t.Errorf("the log does not tell of the lock-out:\n%s", d.log)
	}
}

func TestRealGuardsLockOut(t *testing.T) {
	entry, err := gate.HashPIN("1234", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	entry.Name = "guard-7"
	file, err := gate.MarshalGuards([]gate.GuardEntry{entry})
	if err != nil {
		t.Fatal(err)
	}
	real, err := gate.ParseGuards(file)
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	d.server.cfg.Guards = real
	for i := range 5 {
		if got, _ := message(t, d.ask("POST", "/guard/login", `{"pin":"9999"}`)); got != "pin-wrong" {
			t.Fatalf("wrong pin %d: %q", i+1, got)
		}
	}
	d.now = d.now.Add(20 * time.Second)
	if got, wait := message(t, d.ask("POST", "/guard/login", `{"pin":"1234"}`)); got != "pin-locked" || wait != 40 {
		t.Errorf("the right pin while locked out: %q, wait %d s, want pin-locked and 40", got, wait)
	}
	d.now = d.now.Add(40 * time.Second)
	d.login()
}

func TestSessionsEnd(t *testing.T) {
	d := newDesk(t)
	status := func(session func(*http.Request)) int { return d.ask("GET", "/guard/session", "", session).StatusCode }

	session := d.login()
	d.now = d.now.Add(sessionIdle - time.Second)
	if got := status(session); got != 200 {
		t.Errorf("just before idling out: %d", got)
	}
	// Looking is no use: it does not put the end off, but a touch does.
	if got := d.ask("POST", "/guard/alive", "{}", session).StatusCode; got != 200 {
		t.Errorf("alive: %d", got)
	}
	d.now = d.now.Add(sessionIdle - time.Second)
	if got := status(session); got != 200 {
		t.Errorf("after a touch: %d", got)
	}
	d.now = d.now.Add(time.Second)
	if got := status(session); got != 401 {
		t.Errorf("idle for %v: %d, want 401", sessionIdle, got)
	}

	session = d.login()
	for began := d.now; d.now.Sub(began) < sessionLife-time.Minute; d.now = d.now.Add(time.Minute) {
		if got := d.ask("POST", "/guard/alive", "{}", session).StatusCode; got != 200 {
			t.Fatalf("after %v: %d", d.now.Sub(began), got)
		}
	}
	d.now = d.now.Add(time.Minute)
	if got := status(session); got != 401 {
		t.Errorf("after a shift of %v: %d, want 401", sessionLife, got)
	}

	session = d.login()
	r := d.ask("POST", "/guard/logout", "{}", session)
	if c := r.Cookies(); r.StatusCode != 200 || len(c) != 1 || c[0].MaxAge >= 0 {
		t.Errorf("log-out: %s %v", r.Status, c)
	}
	if got := status(session); got != 401 {
		t.Errorf("after logging out: %d, want 401", got)
	}
	// A log-in ends the session that was there before.
	first := d.login()
	d.ask("POST", "/guard/login", `{"pin":"1234"}`, first)
	if got := status(first); got != 401 {
		t.Errorf("the token before a second log-in: %d, want 401", got)
	}

	for _, path := range []string{"/guard/act", "/guard/alive"} {
		if got := d.ask("POST", path, `{"action":"pass","reason":"no-phone","count":0}`).StatusCode; got != 401 {
			t.Errorf("%s without a session: %d", path, got)
		}
	}
	if got := d.ask("GET", "/guard/events", "").StatusCode; got != 401 {
		t.Errorf("events without a session: %d", got)
	}
	if len(d.lane.acts()) != 0 {
		t.Error("the lane took an act without a session")
	}
}

func TestSessionsAreBounded(t *testing.T) {
	d := newDesk(t)
	first := d.login()
	for range sessionMax {
		d.now = d.now.Add(time.Second)
		d.login()
	}
	if got := len(d.server.sessions.by); got != sessionMax {
		t.Errorf("%d sessions, at most %d", got, sessionMax)
	}
	if got := d.ask("GET", "/guard/session", "", first).StatusCode; got != 401 {
		t.Errorf("the longest idle did not make room: %d", got)
	}
}

func TestActs(t *testing.T) {
	d := newDesk(t)
	session := d.login()
	for _, test := range []struct {
		body    string
		lane    error
		status  int
		message string
		taken   int
	}{
		{`{"action":"admit","reason":"identity-checked","count":5}`, nil, 200, "done", 1},
		{`{"action":"refuse","reason":"sent-away","count":5}`, nil, 200, "done", 1},
		{`{"action":"pass","reason":"emergency","count":0}`, nil, 200, "done", 1},
		{`{"action":"admit","reason":"identity-checked","count":5}`, fmt.Errorf("x: %w", gate.ErrViewChanged), 409, "too-late", 0},
		{`{"action":"admit","reason":"identity-checked","count":5}`, gate.ErrNothingHeld, 409, "too-late", 0},
		{`{"action":"pass","reason":"emergency","count":0}`, gate.ErrNotAllowed, 409, "not-allowed", 0},
		{`{"action":"pass","reason":"emergency","count":0}`, errors.New("lane is not running"), 503, "failed", 0},
		{`{"action":"admit","reason":"sent-away","count":5}`, nil, 400, "failed", 0},
		{`{"action":"pass","reason":"sent-away","count":0}`, nil, 400, "failed", 0},
		{`{"action":"admit","reason":"identity-checked","count":0}`, nil, 400, "failed", 0},
		{`{"action":"pass","reason":"no-phone","count":5}`, nil, 400, "failed", 0},
		{`{"action":"admit","reason":"because","count":5}`, nil, 400, "failed", 0},
		{`{"action":"open","reason":"no-phone","count":5}`, nil, 400, "failed", 0},
		{`{"action":"admit","reason":"no-phone","count":-1}`, nil, 400, "failed", 0},
		{`{"action":"admit","reason":"no-phone","count":5,"guard":"other"}`, nil, 400, "failed", 0},
		{`{"action":"admit","reason":"no-phone","count":5} []`, nil, 400, "failed", 0},
		{`[]`, nil, 400, "failed", 0},
		{`{"action":"` + strings.Repeat("x", bodyMax) + `"}`, nil, 413, "failed", 0},
	} {
		before := len(d.lane.acts())
		d.lane.err = test.lane
		r := d.ask("POST", "/guard/act", test.body, session)
		got, _ := message(t, r)
		if r.StatusCode != test.status || got != test.message {
			t.Errorf("%.70s with %v: %d %q, want %d %q", test.body, test.lane, r.StatusCode, got, test.status, test.message)
		}
		if taken := len(d.lane.acts()) - before; taken != test.taken {
			t.Errorf("%.70s: the lane took %d acts, want %d", test.body, taken, test.taken)
		}
	}
	want := []gate.GuardAct{
		{Action: gate.GuardAdmit, Reason: gate.IdentityChecked, Guard: "guard-7", Count: 5},
		{Action: gate.GuardRefuse, Reason: gate.SentAway, Guard: "guard-7", Count: 5},
		{Action: gate.GuardPass, Reason: gate.Emergency, Guard: "guard-7"},
	}
	if got := d.lane.acts(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the lane got %v, want %v", got, want)
	}
	if strings.Contains(d.log.String(), "guard-7") {
		t.Errorf("the log names the guard:\n%s", d.log)
	}
}

func TestNoGuardsNoPage(t *testing.T) {
	s, err := New(Config{Health: goodHealth, Now: time.Now, Log: slog.New(slog.DiscardHandler), Languages: []string{"en"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/guard", "/guard/session", "/guard/login"} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
		if w.Code != 404 {
			t.Errorf("%s without guards: %d, want 404", path, w.Code)
		}
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	whole := Config{Health: goodHealth, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	for name, spoil := range map[string]func(*Config){
		"no Health":     func(c *Config) { c.Health = nil },
		"no clock":      func(c *Config) { c.Now = nil },
		"no log":        func(c *Config) { c.Log = nil },
		`language "xx"`: func(c *Config) { c.Languages = []string{"zh", "xx"} },
		"4 languages":   func(c *Config) { c.Languages = []string{"zh", "en", "zh", "en"} },
	} {
		c := whole
		spoil(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New = %v, want it to say %q", err, name)
		}
	}
}

func TestListen(t *testing.T) {
	for _, addr := range []string{":8080", "0.0.0.0:0", "[::]:0", "192.0.2.1:80", "gate.example:80"} {
		for name, config := range map[string]*tls.Config{
			"plain": nil, "TLS without pairing": {}, "TLS that does not verify": {ClientAuth: tls.RequireAnyClientCert, ClientCAs: x509.NewCertPool()},
		} {
			l, err := Listen(addr, config)
			if err == nil {
				t.Errorf("%s on %s listens", name, addr)
				l.Close()
				continue
			}
			hint := (*ListenError)(nil)
			if !errors.Is(err, ErrNotLoopback) || !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "127.0.0.1:8080") {
				t.Errorf("%s on %s: %v, want ErrNotLoopback with a hint", name, addr, err)
			}
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := Listen(addr, nil)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	paired := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	l, err := Listen("0.0.0.0:0", paired)
	if err != nil {
		t.Fatalf("with TLS and pairing: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Listen("no-port", nil); err == nil || errors.Is(err, ErrNotLoopback) {
		t.Errorf("an address without a port: %v", err)
	}
}

func FuzzParseAct(f *testing.F) {
	f.Add([]byte(`{"action":"admit","reason":"identity-checked","count":5}`))
	f.Add([]byte(`{"action":"pass","reason":"no-phone","count":0}`))
	f.Add([]byte(`{"action":"refuse","reason":"sent-away","count":18446744073709551615}`))
	f.Add([]byte(`{"action":"refuse","reason":"sent-away","count":1e3}{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parseAct(bytes.NewReader(body))
		if err != nil {
			if a != (gate.GuardAct{}) {
				t.Fatalf("%v comes with %+v", err, a)
			}
			return
		}
		if a.Guard != "" || a.Action > gate.GuardPass || (a.Count == 0) != (a.Action == gate.GuardPass) || a.Reason == gate.SentAway && a.Action != gate.GuardRefuse {
			t.Fatalf("%q became %+v", body, a)
		}
		name := map[gate.GuardAction]string{gate.GuardAdmit: "admit", gate.GuardRefuse: "refuse", gate.GuardPass: "pass"}[a.Action]
		again, err := json.Marshal(act{name, a.Reason, a.Count})
		if err != nil {
			t.Fatal(err)
		}
		b, err := parseAct(bytes.NewReader(again))
		if err != nil || a != b {
			t.Fatalf("%q became %+v, and %q %+v, %v", body, a, again, b, err)
		}
	})
}
