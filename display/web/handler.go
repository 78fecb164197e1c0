package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"html/template"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"

	"greengate/gate"
)

//go:embed assets
var assets embed.FS

// messages are the labels that the guard's page shows when something happened.
var messages = []string{"pin-wrong", "pin-locked", "logged-out", "busy", "done", "too-late", "failed", "held-no-admit", "not-allowed", "offline", "offline-guard"}

// page is something served as it is.
type page struct {
	kind string
	body []byte
}

// text is a word in one language.
type text struct{ Lang, Text string }

// render makes the pages in the configured languages, once.
func (s *Server) render() error {
	s.pages = make(map[string]page)
	label := func(name string) []text {
		var out []text
		for _, w := range s.words {
			out = append(out, text{w.Tag, w.Label(name)})
		}
		return out
	}
	t, err := template.New("").Funcs(template.FuncMap{"label": label}).ParseFS(assets, "assets/*.html")
	if err != nil {
		return err
	}
	type reason struct {
		Word  gate.GuardReason
		Texts []text
	}
	var reasons []reason
	for _, word := range gate.GuardReasons() {
		r := reason{Word: word}
		for _, w := range s.words {
			r.Texts = append(r.Texts, text{w.Tag, w.GuardReasons[word]})
		}
		reasons = append(reasons, r)
	}
	sum := sha256.New()
	err = fs.WalkDir(assets, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := assets.ReadFile(name)
		if err != nil {
			return err
		}
		sum.Write(body)
		if path.Ext(name) == ".html" {
			return nil
		}
		s.pages[strings.TrimPrefix(name, "assets/")] = page{mime.TypeByExtension(path.Ext(name)), body}
		return nil
	})
	if err != nil {
		return err
	}
	if err := json.NewEncoder(sum).Encode(s.words); err != nil {
		return err
	}
	s.build = hex.EncodeToString(sum.Sum(nil)[:8])
	for _, name := range []string{"kiosk.html", "guard.html"} {
		var body bytes.Buffer
		err := t.ExecuteTemplate(&body, name, struct {
			Lang, Build string
			Languages   []string
			Reasons     []reason
			Messages    []string
		}{s.words[0].Tag, s.build, s.cfg.Languages, reasons, messages})
		if err != nil {
			return err
		}
		s.pages[name] = page{"text/html; charset=utf-8", body.Bytes()}
	}
	return nil
}

// policy lets the pages load and reach what this server serves, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the pages. What they show of the device's health is as old as
// the last time Serve asked for it.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.serve("kiosk.html"))
	for name := range s.pages {
		if path.Ext(name) != ".html" {
			mux.HandleFunc("GET /assets/"+name, s.serve(name))
		}
	}
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		s.stream(w, r, false, func() bool { return true })
	})
	for name, own := range map[string]http.Handler{"/metrics": s.cfg.Metrics, "/healthz": s.cfg.Alive, "/readyz": s.cfg.Ready} {
		if own != nil {
			mux.Handle("GET "+name, own)
		}
	}
	if s.cfg.Lane != nil && s.cfg.Guards != nil {
		mux.HandleFunc("GET /guard", s.serve("guard.html"))
		mux.HandleFunc("GET /guard/session", s.handleSession)
		mux.HandleFunc("GET /guard/events", s.handleGuardEvents)
		mux.HandleFunc("POST /guard/login", s.handleLogin)
		mux.HandleFunc("POST /guard/logout", s.handleLogout)
		mux.HandleFunc("POST /guard/alive", s.handleAlive)
		mux.HandleFunc("POST /guard/act", s.handleAct)
	}
	return s.shield(http.NewCrossOriginProtection().Handler(mux))
}

// serve serves a rendered page or an asset.
func (s *Server) serve(name string) http.HandlerFunc {
	p := s.pages[name]
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", p.kind)
		// The client has gone if this fails, and nothing is left to do for it.
		_, _ = w.Write(p.body)
	}
}

// shield sets the headers that every answer carries, and turns away requests
// that do not come from our own pages.
func (s *Server) shield(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), usb=(), serial=()")
		h.Set("Cache-Control", "no-store")
		if !s.ourHost(r.Host) {
			http.Error(w, "this page is not served under that name", http.StatusMisdirectedRequest)
			return
		}
		// A page elsewhere could not read our streams, but it could use up their
		// places. Following a link to us is fine.
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "same-origin", "none":
		default:
			if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" {
				http.Error(w, "request from another site", http.StatusForbidden)
				return
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
		next.ServeHTTP(w, r)
	})
}

// ourHost tells whether a Host header names this server.
func (s *Server) ourHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return loopback(strings.ToLower(host)) ||
		slices.ContainsFunc(s.cfg.Hosts, func(ours string) bool { return strings.EqualFold(ours, host) })
}
