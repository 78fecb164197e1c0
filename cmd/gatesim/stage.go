package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"greengate/cmd/control"
	"greengate/gate"
	"greengate/gpio/gpiosim"
)

// command moves something at the simulated lane.
type command struct {
	// Do: "temperature", "walk", "exit-button", "fire".
	Do string `json:"do"`
	// Object and Ambient in thousandths of a degree, for "temperature".
	Object  gate.MilliCelsius `json:"object,omitempty"`
	Ambient gate.MilliCelsius `json:"ambient,omitempty"`
	// On for "fire".
	On bool `json:"on,omitempty"`
}

// event is what can be seen at the lane.
type event struct {
	// View is set at each change of the lane, Times after each decision, Error when a command failed.
	View  *gate.View          `json:"view,omitempty"`
	Times *gate.DecisionEvent `json:"times,omitempty"`
	Error string              `json:"error,omitempty"`
	Done  string              `json:"done,omitempty"`
}

// stage is the simulated lane's socket: commands in, events out, one JSON
// object a line. One director at a time.
type stage struct {
	lane     *gpiosim.Lane
	log      *slog.Logger
	listener net.Listener
	events   chan event

	mu   sync.Mutex
	last gate.View
}

func openStage(path string, lane *gpiosim.Lane, log *slog.Logger) (*stage, error) {
	if path == "" {
		return nil, errors.New("name it with -sim")
	}
	l, err := control.Listen(path)
	if err != nil {
		return nil, err
	}
	return &stage{lane: lane, log: log, listener: l, events: make(chan event, 1024)}, nil
}

func (s *stage) close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *stage) screens() []gate.Screen { return []gate.Screen{s} }

// Show implements gate.Screen.
func (s *stage) Show(v gate.View) {
	s.mu.Lock()
	s.last = v
	s.mu.Unlock()
	s.tell(event{View: &v})
}

func (s *stage) decided(d gate.DecisionEvent) { s.tell(event{Times: &d}) }

// tell hands an event to the director; without one it is forgotten.
func (s *stage) tell(e event) {
	select {
	case s.events <- e:
	default:
	}
}

func (s *stage) serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { s.listener.Close() })()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if err := s.direct(ctx, conn); err != nil && ctx.Err() == nil {
			s.log.Info("director left", "error", err)
		}
	}
}

// direct serves one director until it leaves.
func (s *stage) direct(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for drained := false; !drained; {
		select {
		case <-s.events:
		default:
			drained = true
		}
	}
	s.mu.Lock()
	s.tell(event{View: &s.last})
	s.mu.Unlock()
	go func() {
		enc := json.NewEncoder(conn)
		for {
			select {
			case e := <-s.events:
				if enc.Encode(e) != nil {
					cancel()
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		if err := s.do(ctx, c); err != nil {
			s.tell(event{Error: fmt.Sprintf("%s: %v", c.Do, err)})
		} else {
			s.tell(event{Done: c.Do})
		}
	}
	return errors.New("connection ended")
}

func (s *stage) do(ctx context.Context, c command) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	switch c.Do {
	case "temperature":
		s.lane.Thermometer.SetTemperature(c.Object, c.Ambient)
		return nil
	case "walk":
		return s.walk(ctx)
	case "exit-button":
		if err := s.lane.PressExit(ctx); err != nil {
			return err
		}
		return s.lane.Walk(ctx, gate.Exit)
	case "fire":
		s.lane.SetFire(c.On)
		return nil
	}
	return fmt.Errorf("unknown command %q", c.Do)
}

// walk is a person who pushes until the arm gives way, for a second at most: a
// controller takes its time between two pulses.
func (s *stage) walk(ctx context.Context) error {
	for range 50 {
		if s.lane.Open(gate.Entry) {
			break
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return s.lane.Walk(ctx, gate.Entry)
}
