package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"greengate/display"
	"greengate/gate"
)

// lane takes acts, unless told to fail.
type lane struct {
	mu    sync.Mutex
	taken []gate.GuardAct
	err   error
}

func (l *lane) Guard(_ context.Context, a gate.GuardAct) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.taken = append(l.taken, a)
	return nil
}

func (l *lane) acts() []gate.GuardAct {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]gate.GuardAct(nil), l.taken...)
}

// guards knows one PIN, 1234; 0000 finds it locked out for a minute.
type guards struct{ until time.Time }

func (g *guards) Authenticate(pin string, now time.Time) (string, error) {
	switch pin {
	case "1234":
		return "guard-7", nil
	case "0000":
		g.until = now.Add(time.Minute)
		return "", fmt.Errorf("%w: try later", gate.ErrLockedOut)
	}
	return "", gate.ErrWrongPIN
}

func (g *guards) LockedUntil() time.Time { return g.until }

// lines collects the log.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// bench is a server on a real socket, that can go and come back.
type bench struct {
	t      *testing.T
	server *Server
	lane   *lane
	log    *lines
	addr   string
	url    string
	cancel context.CancelFunc
	done   chan error
}

func start(t *testing.T, health func() display.Health) *bench {
	t.Helper()
	b := &bench{t: t, lane: new(lane), log: new(lines), addr: "127.0.0.1:0"}
	var err error
	b.server, err = New(Config{Lane: b.lane, Guards: new(guards), Health: health, Now: time.Now, Log: slog.New(slog.NewTextHandler(b.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	b.again()
	t.Cleanup(func() {
		if b.cancel != nil {
			b.stop()
		}
	})
	return b
}

// again starts serving, under the same address as before.
func (b *bench) again() {
	b.t.Helper()
	l, err := Listen(b.addr, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = l.Addr().String()
	b.url = "http://" + b.addr
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.done = cancel, make(chan error, 1)
	go func() { b.done <- b.server.Serve(ctx, l) }()
}

// stop ends serving as cmd does.
func (b *bench) stop() {
	b.t.Helper()
	b.cancel()
	b.cancel = nil
	if err := <-b.done; err != nil && !errors.Is(err, net.ErrClosed) {
		b.t.Errorf("Serve: %v", err)
	}
}
