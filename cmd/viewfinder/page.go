package viewfinder

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"

	"greengate/cmd/control"
)

//go:embed assets
var assets embed.FS

const (
	// pages is how many pages may be open at a time.
	pages = 4
	// writeWithin is how long one event may take to be taken off our hands.
	writeWithin = 5 * time.Second
	// lastWord is how long open pages get to hear that it is over.
	lastWord = time.Second
)

// ErrNotLoopback is an address that others reach.
var ErrNotLoopback = errors.New("not a loopback address")

// Page shows the lines that a gate tells of its camera. Use New.
type Page struct {
	secret  string
	handler http.Handler

	mu      sync.Mutex
	line    control.CameraLine // without its picture
	picture []byte
	count   uint64 // lines shown
	pages   map[chan struct{}]struct{}
	over    bool
}

// New makes a page.
func New() (*Page, error) {
	p := &Page{secret: rand.Text(), pages: map[chan struct{}]struct{}{}}
	mux := http.NewServeMux()
	at := "GET /" + p.secret + "/"
	entries, err := fs.ReadDir(assets, "assets")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		body, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, err
		}
		name := e.Name()
		if name == "index.html" {
			name = "{$}"
		}
		mux.HandleFunc(at+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(e.Name())))
			_, _ = w.Write(body) // the browser has gone if this fails
		})
	}
	mux.HandleFunc(at+"events", p.events)
	mux.HandleFunc(at+"picture", p.serveLast)
	p.handler = shield(http.NewCrossOriginProtection().Handler(mux))
	return p, nil
}

// Path is where on its server the page is.
func (p *Page) Path() string { return "/" + p.secret + "/" }

// Show takes what is to be shown now.
func (p *Page) Show(l control.CameraLine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.Picture != nil {
		p.picture = l.Picture
	}
	l.Picture = nil
	p.line = l
	p.count++
	p.wake()
}

// end tells the open pages that nothing more comes, and forgets the picture.
func (p *Page) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over, p.picture = true, nil
	p.wake()
}

// wake wakes the open pages. The caller holds the lock.
func (p *Page) wake() {
	for c := range p.pages {
		select {
		case c <- struct{}{}:
		default: // it is awake, and sends the latest
		}
	}
}

// Listen opens addr, as "127.0.0.1:0", for Serve. One that others than this
// device reach is refused with ErrNotLoopback.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("%w: %s\nhint: pictures of people do not go over a network; from another computer use ssh -L", ErrNotLoopback, addr), l.Close())
	}
	return l, nil
}

// Serve serves the page on l until ctx ends, and closes it.
func (p *Page) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: p.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	p.end()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	err := s.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	<-served
	return err
}

// shown is what a page is told.
type shown struct {
	control.CameraLine
	// Count of the line, and of its picture.
	Count uint64 `json:"count"`
}

// events sends each line by server-sent events until the browser goes or it is
// over.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	woken := make(chan struct{}, 1)
	if !p.join(woken) {
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer p.leave(woken)
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		http.Error(w, "stream not possible", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(event string, data any) bool {
		text, err := json.Marshal(data)
		if err != nil || rc.SetWriteDeadline(time.Now().Add(writeWithin)) != nil {
			return false
		}
		// A browser that went is no error: they go without a word.
		_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text)
		return err == nil && rc.Flush() == nil
	}
	for {
		p.mu.Lock()
		s, over := shown{p.line, p.count}, p.over
		p.mu.Unlock()
		if over {
			send("over", struct{}{})
			return
		}
		if s.Count > 0 && !send("line", s) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-woken:
		}
	}
}

func (p *Page) join(c chan struct{}) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pages) >= pages {
		return false
	}
	p.pages[c] = struct{}{}
	return true
}

func (p *Page) leave(c chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pages, c)
}

// serveLast serves the last picture.
func (p *Page) serveLast(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	picture := p.picture
	p.mu.Unlock()
	if picture == nil {
		http.Error(w, "no picture yet", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	_, _ = w.Write(picture) // the browser has gone if this fails
}

// policy lets the page load what this server serves, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// shield sets the headers that every answer carries, and turns away requests
// under another name or from another site.
func shield(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !ourHost(r.Host) {
			http.Error(w, "this page is not served under that name", http.StatusMisdirectedRequest)
			return
		}
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "same-origin", "none":
		default:
			http.Error(w, "request from another site", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 0)
		next.ServeHTTP(w, r)
	})
}

// ourHost tells whether a Host header names this device.
func ourHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}
