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
	"net/url"
	"strings"
	"sync"
	"time"
)

//go:embed page/*.html page/style.css page/live.js
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
	handler, stop := h.operatorPages()
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	// A stream of events never ends by itself.
	s.RegisterOnShutdown(stop)
	return s
}

// navigation are the pages beside the fleet's, each with its key in pageWords.
var navigation = []navLink{{"/index", "index"}}

type navLink struct{ Path, Text string }

// pagesIn are the templates in one language.
func pagesIn(l language) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{"count": groupDigits, "t": l.text, "w": l.word}).ParseFS(pageFiles, "page/*.html"))
}

func (h *Hub) operatorHandler() http.Handler { handler, _ := h.operatorPages(); return handler }

// operatorPages returns the pages, and what ends the streams of events.
func (h *Hub) operatorPages() (_ http.Handler, stop func()) {
	pages := map[language]*template.Template{english: pagesIn(english), chinese: pagesIn(chinese)}
	s := &sessions{ends: map[[32]byte]time.Time{}}
	stopping := make(chan struct{})
	var once sync.Once
	mux := http.NewServeMux()
	for name, kind := range map[string]string{"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			http.ServeFileFS(w, r, pageFiles, "page/"+name)
		})
	}
	render := func(w http.ResponseWriter, r *http.Request, status int, name string, v any) {
		var b strings.Builder
		if err := pages[languageOf(r)].ExecuteTemplate(&b, name, v); err != nil {
			h.log.Error("page failed", "page", name, "err", err)
			http.Error(w, "the page failed", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		// A browser that is gone needs no page.
		_, _ = w.Write([]byte(b.String()))
	}
	in := func(r *http.Request) bool {
		c, err := r.Cookie(sessionCookie)
		return err == nil && s.valid(c.Value, h.options.Now())
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if !in(r) {
			render(w, r, http.StatusOK, "login.html", loginView{Name: h.config.Name})
			return
		}
		v, err := h.view(r)
		if err != nil {
			h.log.Error("page failed", "err", err)
			http.Error(w, "the page failed", http.StatusInternalServerError)
			return
		}
		render(w, r, http.StatusOK, "hub.html", v)
	})
	mux.HandleFunc("GET /gates/{gate}", func(w http.ResponseWriter, r *http.Request) {
		if !in(r) {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		v, err := h.dayView(r)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalid):
			http.NotFound(w, r)
		case err != nil:
			h.log.Error("page failed", "err", err)
			http.Error(w, "the page failed", http.StatusInternalServerError)
		default:
			render(w, r, http.StatusOK, "gate.html", v)
		}
	})
	streams := make(chan struct{}, maxStreams)
	live := func(every time.Duration, parts func(*template.Template, *http.Request) (pageParts, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !in(r) {
				http.Error(w, "log in first", http.StatusForbidden)
				return
			}
			select {
			case streams <- struct{}{}:
				defer func() { <-streams }()
			default:
				http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
				return
			}
			h.stream(w, r, stopping, every, func() (pageParts, error) {
				if !in(r) {
					return pageParts{}, errLoggedOut
				}
				return parts(pages[languageOf(r)], r)
			})
		}
	}
	mux.HandleFunc("GET /events", live(liveEvery, h.fleetParts))
	mux.HandleFunc("GET /gates/{gate}/events", live(dayEvery, h.dayParts))
	mux.HandleFunc("POST /language", func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		if l := language(r.PostFormValue("language")); l == english || l == chinese {
			http.SetCookie(w, &http.Cookie{Name: languageCookie, Value: string(l), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: 365 * 24 * 3600})
		}
		back := r.PostFormValue("back")
		if u, err := url.Parse(back); err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.Contains(back, "\\") {
			back = "/"
		}
		http.Redirect(w, r, back, http.StatusSeeOther)
	})
	index := h.serveIndex(render)
	mux.HandleFunc("GET /index.css", serveIndexStyle)
	mux.HandleFunc("GET /index", func(w http.ResponseWriter, r *http.Request) {
		if !in(r) {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		index(w, r)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		sum := sha256.Sum256([]byte(strings.TrimSpace(r.PostFormValue("token"))))
		if subtle.ConstantTimeCompare(sum[:], h.token[:]) != 1 {
			h.log.Warn("operator's token refused")
			render(w, r, http.StatusForbidden, "login.html", loginView{Name: h.config.Name, Wrong: true})
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
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		own.ServeHTTP(w, r)
	}), func() { once.Do(func() { close(stopping) }) }
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
