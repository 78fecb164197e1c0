package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"greengate/display"
	"greengate/gate"
)

// Lane carries out what a guard decided; *gate.Lane is one.
type Lane interface {
	// Guard returns nil when the act was taken, or an error that wraps
	// gate.ErrNothingHeld, gate.ErrViewChanged or gate.ErrNotAllowed where the
	// guard can do better. It must return when ctx ends.
	Guard(ctx context.Context, act gate.GuardAct) error
}

// Guards knows the guards' PINs; gate.Guards is one.
type Guards interface {
	// Authenticate returns the guard's identity. It counts wrong tries, and
	// locks out with an error that wraps gate.ErrLockedOut. A Guards that also
	// has `LockedUntil() time.Time` is asked how long that lasts.
	Authenticate(pin string, now time.Time) (name string, err error)
}

// Config is what a Server needs.
type Config struct {
	// Lane and Guards make the guard's page; with either nil there is none.
	Lane   Lane
	Guards Guards
	// Health is asked once a second from one goroutine while Serve runs. It
	// answers from memory; should it hang, views go on and the strip stands still.
	Health func() display.Health
	// Now is the gate's clock, with its monotonic reading.
	Now func() time.Time
	// Metrics serves /metrics; nil for none. It may show nothing about persons:
	// whoever reaches the kiosk's page reaches it.
	Metrics http.Handler
	// Alive serves /healthz and Ready /readyz; nil for none. What holds for
	// Metrics holds for both.
	Alive, Ready http.Handler
	// Languages in the order shown, the first one largest; one to three. Empty means zh and en.
	Languages []string
	// Hosts are host names that the pages are also served under, beside the
	// loopback ones, as "gate-3.local", without a port.
	Hosts []string
	Log   *slog.Logger
}

// Server is the web face of one lane. It is a gate.Screen.
type Server struct {
	cfg      Config
	words    []*display.Words
	pages    map[string]page
	build    string
	sessions sessions
	// pin lets one try at a time reach Guards, so that tries in parallel cannot outrun its lock-out.
	pin sync.Mutex

	mu      sync.Mutex
	view    gate.View
	health  display.Health
	recent  recent
	clients map[*client]struct{}
}

// client is one open stream.
type client struct {
	guard bool
	// wake has room for one: what happens while it is full is in the latest view anyway.
	wake chan struct{}
}

const (
	// kioskClients and guardClients bound the streams at one time; kiosks
	// cannot take the guards' places.
	kioskClients, guardClients = 12, 4
	// beat is how often a stream speaks at least. A page that heard nothing for
	// three beats shows that it is out of service (assets/live.js).
	beat = 2 * time.Second
	// writeWithin is how long one event may take to be taken off our hands.
	writeWithin = 5 * time.Second
	// actWithin is how long the lane may take to answer a guard.
	actWithin = 5 * time.Second
	// writeTimeout leaves a small board the time to try a PIN against 32 guards.
	writeTimeout = 30 * time.Second
	// healthEvery is how often Config.Health is asked.
	healthEvery = time.Second
	// shutdownWithin is how long open requests get when Serve ends.
	shutdownWithin = 2 * time.Second
)

// New makes a server; it shows "out of service" until the first Show.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Health == nil:
		return nil, errors.New("gate page: no Health to show")
	case cfg.Now == nil:
		return nil, errors.New("gate page: no clock")
	case cfg.Log == nil:
		return nil, errors.New("gate page: no log")
	}
	if len(cfg.Languages) == 0 {
		cfg.Languages = []string{"zh", "en"}
	}
	if len(cfg.Languages) > 3 {
		return nil, fmt.Errorf("gate page: %d languages, at most 3 fit", len(cfg.Languages))
	}
	s := &Server{cfg: cfg, clients: make(map[*client]struct{})}
	for _, tag := range cfg.Languages {
		w, err := display.Load(tag)
		if err != nil {
			return nil, fmt.Errorf("gate page: %w", err)
		}
		s.words = append(s.words, w)
	}
	if err := s.render(); err != nil {
		return nil, fmt.Errorf("gate page: %w", err)
	}
	return s, nil
}

// Show takes the latest view. It never blocks: each stream is woken, and sends
// whatever is the latest when its turn comes.
func (s *Server) Show(v gate.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = v
	s.recent.see(v)
	s.wakeAll()
}

// wakeAll wakes the streams. The caller holds the lock.
func (s *Server) wakeAll() {
	for c := range s.clients {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// refresh asks for the device's health once.
func (s *Server) refresh() {
	h := s.cfg.Health()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health = h
}

// Serve serves l until ctx ends, and closes it. It returns nil when ctx ended it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           s.Handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx }, // its end ends the streams
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	healthy := make(chan struct{})
	go func() {
		defer close(healthy)
		tick := time.NewTicker(healthEvery)
		defer tick.Stop()
		for {
			s.refresh()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	var err error
	select {
	case err = <-served: // the listener failed
		cancel()
	case <-ctx.Done():
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownWithin)
		defer stop()
		if server.Shutdown(last) != nil {
			err = server.Close()
		}
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	late := time.NewTimer(shutdownWithin)
	defer late.Stop()
	select {
	case <-healthy:
	case <-late.C:
		err = errors.Join(err, errors.New("health did not answer"))
	}
	if err != nil {
		return fmt.Errorf("gate page on %v: %w", l.Addr(), err)
	}
	return nil
}
