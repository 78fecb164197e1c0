package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"greengate/display"
	"greengate/gate"
)

// join opens a stream, or returns nil when there is no room.
func (s *Server) join(guard bool) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := kioskClients
	if guard {
		room = guardClients
	}
	for c := range s.clients {
		if c.guard == guard {
			room--
		}
	}
	if room <= 0 {
		return nil
	}
	c := &client{guard: guard, wake: make(chan struct{}, 1)}
	s.clients[c] = struct{}{}
	return c
}

func (s *Server) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

// snapshot returns what there is to show now.
func (s *Server) snapshot() (gate.View, display.Health, []passage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view, s.health, append([]passage(nil), s.recent.list...)
}

// stream sends views and health by server-sent events (WHATWG HTML section 9.2)
// until the client goes, or alive says that it may not see more.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, guard bool, alive func() bool) {
	c := s.join(guard)
	if c == nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer s.leave(c)

	// The server's time-outs are for requests that end; this one does not.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		s.cfg.Log.Error("stream without deadlines", "error", err)
		http.Error(w, "stream not possible", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(event string, data any) bool {
		text, err := json.Marshal(data)
		if err != nil {
			s.cfg.Log.Error("event not written", "event", event, "error", err)
			return false
		}
		if control.SetWriteDeadline(time.Now().Add(writeWithin)) != nil {
			return false
		}
		// A client that went is no error: browsers go without a word.
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text); err != nil {
			return false
		}
		return control.Flush() == nil
	}

	if !send("hello", map[string]string{"build": s.build}) {
		return
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		if !alive() {
			send("end", struct{}{})
			return
		}
		view, health, past := s.snapshot()
		now := s.cfg.Now()
		f, st := s.face(view, now), s.strip(health, now, guard)
		if guard {
			f.Guard = s.guardFace(view)
			st.Recent = s.recently(past, health.ClockTime.Location())
		}
		if !send("view", f) || !send("health", st) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-c.wake:
		case <-tick.C:
		}
	}
}
