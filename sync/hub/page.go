package hub

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"greengate/gate"
)

//go:embed page/*.html page/style.css
var pageFiles embed.FS

const (
	sessionCookie = "gatehub"
	// sessionLife is how long a browser stays logged in.
	sessionLife = 12 * time.Hour
	maxSessions = 256
)

// sessions are the browsers that are logged in, by the SHA-256 of their cookie.
type sessions struct {
	mu   sync.Mutex
	ends map[[32]byte]time.Time
}

func (s *sessions) add(now time.Time) (string, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	cookie := base64.RawURLEncoding.EncodeToString(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, end := range s.ends {
		if now.After(end) {
			delete(s.ends, k)
		}
	}
	if len(s.ends) >= maxSessions {
		clear(s.ends)
	}
	s.ends[sha256.Sum256([]byte(cookie))] = now.Add(sessionLife)
	return cookie, nil
}

func (s *sessions) valid(cookie string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.ends[sha256.Sum256([]byte(cookie))]
	return ok && now.Before(end)
}

func (s *sessions) remove(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ends, sha256.Sum256([]byte(cookie)))
}

// operatorServer serves the operator's page.
func (h *Hub) operatorServer() *http.Server {
	return &http.Server{
		Handler:           h.operatorHandler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

func (h *Hub) operatorHandler() http.Handler {
	pages := template.Must(template.New("").Funcs(template.FuncMap{"count": groupDigits}).ParseFS(pageFiles, "page/*.html"))
	s := &sessions{ends: map[[32]byte]time.Time{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		http.ServeFileFS(w, r, pageFiles, "page/style.css")
	})
	render := func(w http.ResponseWriter, status int, name string, v any) {
		var b strings.Builder
		if err := pages.ExecuteTemplate(&b, name, v); err != nil {
			h.log.Error("page failed", "page", name, "err", err)
			http.Error(w, "the page failed", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		// A browser that is gone needs no page.
		_, _ = w.Write([]byte(b.String()))
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie(sessionCookie)
		if err != nil || !s.valid(c.Value, h.options.Now()) {
			render(w, http.StatusOK, "login.html", loginView{Name: h.config.Name})
			return
		}
		v, err := h.view(r)
		if err != nil {
			h.log.Error("page failed", "err", err)
			http.Error(w, "the page failed", http.StatusInternalServerError)
			return
		}
		render(w, http.StatusOK, "hub.html", v)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		sum := sha256.Sum256([]byte(strings.TrimSpace(r.PostFormValue("token"))))
		if subtle.ConstantTimeCompare(sum[:], h.token[:]) != 1 {
			h.log.Warn("operator's token refused")
			render(w, http.StatusForbidden, "login.html", loginView{Name: h.config.Name, Wrong: true})
			return
		}
		cookie, err := s.add(h.options.Now())
		if err != nil {
			http.Error(w, "no session", http.StatusInternalServerError)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: cookie, Path: "/", HttpOnly: true,
			SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife / time.Second)})
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(sessionCookie); err == nil {
			s.remove(c.Value)
		}
		http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	// Whether the program lives, and whether it can take what gates bring; for a
	// supervisor on this machine, without logging in.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { health(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { health(w, h.Ready()) })
	if h.options.Metrics != nil {
		mux.Handle("GET /metrics", h.options.Metrics(h))
	}
	own := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page elsewhere may point a name of its own at 127.0.0.1; it does not get in.
		if err := checkLoopback(r.Host); err != nil {
			http.Error(w, "only for this machine", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		own.ServeHTTP(w, r)
	})
}

// health answers a supervisor.
func health(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := "ok\n"
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = err.Error() + "\n"
	}
	// A supervisor that is gone needs no answer.
	_, _ = w.Write([]byte(text))
}

func checkLoopback(hostport string) error {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("not a loopback host")
}

type loginView struct {
	Name  string
	Wrong bool
}

type hubView struct {
	Name              string
	Now               string
	Published, Failed string
	Waiting           string
	Revocations       string
	Due               []dueView
	Timestamp         int64
	Gates             []gateView
	Lists             []listView
	Reasons           []reasonView
	Passages          []passageView
	Total             Counts
	Codes             uint64
}

type dueView struct{ Role, Ends string }

type gateView struct {
	GateStatus
	State, Class, Contact string
	// Lists and Clock are what the gate said of them, each with its class.
	Lists, ListsClass, Clock, ClockClass string
}

// said fills in what the gate said of its lists and its clock.
func (g *gateView) said() {
	c := g.Condition
	if c == nil {
		g.Lists, g.ListsClass, g.Clock, g.ClockClass = "–", "off", "–", "off"
		return
	}
	g.Lists, g.ListsClass = c.Lists, "bad"
	switch c.Lists {
	case gate.Fresh.String():
		g.ListsClass = "good"
	case gate.Stale.String():
		g.ListsClass = "warn"
	}
	if c.Lists != gate.ListMissing.String() {
		g.Lists += " · " + span(time.Duration(c.AgeSeconds)*time.Second)
	}
	g.Clock, g.ClockClass = c.Clock, "bad"
	switch c.Clock {
	case gate.ClockConfirmed.String(), gate.ClockNetwork.String():
		g.ClockClass = "good"
	case gate.ClockFloor.String():
		g.ClockClass = "warn"
	}
}

type listView struct {
	ListStatus
	Published string
	State     string
	Class     string
}

type reasonView struct {
	Reason gate.Reason
	Count  uint64
	// Width of its bar, a step of 5 percent of the largest.
	Width int
}

type passageView struct {
	Passage
	Clock12, Class, What string
}

// view gathers what the page shows. Everything on it is of the clear part.
func (h *Hub) view(r *http.Request) (hubView, error) {
	now := h.options.Now()
	local := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.In(h.options.Location).Format("2006-01-02 15:04:05")
	}
	v := hubView{Name: h.config.Name, Now: local(now)}
	gates, err := h.Gates(r.Context())
	if err != nil {
		return v, err
	}
	reasons := map[gate.Reason]uint64{}
	for _, g := range gates {
		gv := gateView{GateStatus: g, State: "online", Class: "good", Contact: ago(now, g.LastContact)}
		switch {
		case g.Revoked:
			gv.State, gv.Class = "revoked", "off"
		case g.Alarm != "":
			gv.State, gv.Class = "alarm", "bad"
		case g.LastContact.IsZero():
			gv.State, gv.Class = "never seen", "off"
		case now.Sub(g.LastContact) > silentAfter:
			gv.State, gv.Class = "silent", "warn"
		}
		gv.said()
		v.Gates = append(v.Gates, gv)
		v.Total.Admit += g.Today.Admit
		v.Total.Hold += g.Today.Hold
		v.Total.Refuse += g.Today.Refuse
		v.Total.Acts += g.Today.Acts
		v.Total.Tombstones += g.Today.Tombstones
		for reason, n := range g.Today.Reasons {
			reasons[reason] += n
		}
	}
	var most uint64 = 1
	for reason, n := range reasons {
		v.Reasons = append(v.Reasons, reasonView{Reason: reason, Count: n})
		most = max(most, n)
	}
	for i := range v.Reasons {
		v.Reasons[i].Width = int((v.Reasons[i].Count*20+most-1)/most) * 5
	}
	slices.SortFunc(v.Reasons, func(a, b reasonView) int {
		return either(int(min(b.Count, 1<<30))-int(min(a.Count, 1<<30)), strings.Compare(string(a.Reason), string(b.Reason)))
	})
	lists, err := h.Lists(r.Context())
	if err != nil {
		return v, err
	}
	for _, l := range lists {
		lv := listView{ListStatus: l, Published: local(l.Issued), State: "published", Class: "good"}
		if l.Pending {
			lv.State, lv.Class = "waits", "warn"
		}
		v.Lists = append(v.Lists, lv)
		v.Codes += l.Codes
	}
	for _, p := range h.fleet.latest() {
		pv := passageView{Passage: p, Clock12: p.At.In(h.options.Location).Format("15:04:05"), Class: p.Verdict, What: string(p.Reason)}
		switch {
		case p.Tombstone:
			pv.Clock12, pv.Class, pv.What = "–", "off", "unreadable record"
		case p.Kind == gate.ActRecord && p.GuardReason != "":
			pv.What = string(p.Reason) + " · " + string(p.GuardReason)
		}
		v.Passages = append(v.Passages, pv)
	}
	h.last.mu.Lock()
	v.Published, v.Failed, v.Timestamp = local(h.last.at), h.last.err, h.last.result.Timestamp
	v.Waiting, v.Revocations = h.last.result.Waiting, h.last.result.RevocationsFailed
	for _, d := range h.last.result.Due {
		v.Due = append(v.Due, dueView{d.Role, d.Ends.In(h.options.Location).Format(time.DateOnly)})
	}
	h.last.mu.Unlock()
	return v, nil
}

// ago says how long ago something was, for people.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if d := now.Sub(t); d >= 2*time.Second {
		return span(d) + " ago"
	}
	return "now"
}

// span writes a length of time in the largest unit that fills it twice.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// groupDigits writes a number with a thin space between thousands.
func groupDigits(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
