package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"greengate/gate"
)

const (
	// bodyMax bounds every request body, in bytes.
	bodyMax = 4 << 10
	// pinMax bounds a PIN, in bytes.
	pinMax = 64
	// cookieName is the session's cookie.
	cookieName = "greengate_guard"
)

// login is the body of POST /guard/login.
type login struct {
	PIN string `json:"pin"`
}

// act is the body of POST /guard/act.
type act struct {
	// Action is "admit", "refuse" or "pass".
	Action string `json:"action"`
	// Reason is one of gate.GuardReasons.
	Reason gate.GuardReason `json:"reason"`
	// Count of the view acted upon, 0 for "pass".
	Count uint64 `json:"count"`
}

// parse reads one JSON value of known fields and nothing after it.
func parse(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the request")
	}
	return nil
}

// parseAct reads and checks what a guard wants done.
func parseAct(body io.Reader) (gate.GuardAct, error) {
	var a act
	if err := parse(body, &a); err != nil {
		return gate.GuardAct{}, err
	}
	out := gate.GuardAct{Reason: a.Reason, Count: a.Count}
	switch a.Action {
	case "admit":
		out.Action = gate.GuardAdmit
	case "refuse":
		out.Action = gate.GuardRefuse
	case "pass":
		out.Action = gate.GuardPass
	default:
		return gate.GuardAct{}, fmt.Errorf("unknown action %.20q", a.Action)
	}
	if !slices.Contains(gate.GuardReasons(), a.Reason) {
		return gate.GuardAct{}, fmt.Errorf("unknown reason %.20q", a.Reason)
	}
	if a.Reason == gate.SentAway && out.Action != gate.GuardRefuse {
		return gate.GuardAct{}, errors.New("who was sent away was not admitted")
	}
	if (a.Count == 0) != (out.Action == gate.GuardPass) {
		return gate.GuardAct{}, errors.New("the count belongs to a view that is resolved, and to no other act")
	}
	return out, nil
}

// read reads a request's JSON body, or answers why not.
func read(w http.ResponseWriter, r *http.Request, take func(io.Reader) error) bool {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		answer(w, http.StatusUnsupportedMediaType, "failed", 0)
		return false
	}
	if err := take(r.Body); err != nil {
		status := http.StatusBadRequest
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		answer(w, status, "failed", 0)
		return false
	}
	return true
}

// answer tells the page which of its messages to show, and how many seconds to wait.
func answer(w http.ResponseWriter, status int, message string, wait time.Duration) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client has gone if this fails, and nothing is left to do for it.
	_ = json.NewEncoder(w).Encode(struct {
		Message string `json:"message,omitempty"`
		Wait    int64  `json:"wait_seconds,omitempty"`
	}{message, int64((wait + time.Second - 1) / time.Second)})
}

// session returns the guard of a request's session, or answers that there is none.
func (s *Server) session(w http.ResponseWriter, r *http.Request, use bool) (guard, token string, ok bool) {
	cookie, err := r.Cookie(cookieName)
	if err == nil {
		guard, ok = s.sessions.guard(cookie.Value, s.cfg.Now(), use)
	}
	if !ok {
		answer(w, http.StatusUnauthorized, "logged-out", 0)
		return "", "", false
	}
	return guard, cookie.Value, true
}

func (s *Server) cookie(w http.ResponseWriter, r *http.Request, token string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/guard", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
}

func (s *Server) handleLogin(w http.ResponseWriter, r *http.Request) {
	var l login
	if !read(w, r, func(body io.Reader) error { return parse(body, &l) }) {
		return
	}
	if len(l.PIN) == 0 || len(l.PIN) > pinMax {
		answer(w, http.StatusUnauthorized, "pin-wrong", 0)
		return
	}
	if !s.pin.TryLock() {
		answer(w, http.StatusTooManyRequests, "busy", 0)
		return
	}
	defer s.pin.Unlock()
	now := s.cfg.Now()
	guard, err := s.cfg.Guards.Authenticate(l.PIN, now)
	if err != nil {
		if errors.Is(err, gate.ErrLockedOut) {
			s.cfg.Log.Warn("guard log-in locked out", "error", err)
			var wait time.Duration
			if g, ok := s.cfg.Guards.(interface{ LockedUntil() time.Time }); ok {
				wait = max(g.LockedUntil().Sub(now), 0)
			}
			answer(w, http.StatusTooManyRequests, "pin-locked", wait)
			return
		}
		s.cfg.Log.Warn("guard log-in refused", "error", err)
		answer(w, http.StatusUnauthorized, "pin-wrong", 0)
		return
	}
	// A session that was there before ends: a token never outlives its guard's next log-in here.
	if old, err := r.Cookie(cookieName); err == nil {
		s.sessions.end(old.Value)
	}
	s.cookie(w, r, s.sessions.open(guard, now), int(sessionLife/time.Second))
	answer(w, http.StatusOK, "", 0)
}

func (s *Server) handleLogout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		s.sessions.end(cookie.Value)
	}
	s.cookie(w, r, "", -1)
	s.mu.Lock()
	s.wakeAll() // the session's streams end now
	s.mu.Unlock()
	answer(w, http.StatusOK, "", 0)
}

func (s *Server) handleSession(w http.ResponseWriter, r *http.Request) {
	guard, _, ok := s.session(w, r, false)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"guard": guard}) // as in answer
}

// handleAlive says that somebody is at the page.
func (s *Server) handleAlive(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := s.session(w, r, true); ok {
		answer(w, http.StatusOK, "", 0)
	}
}

func (s *Server) handleGuardEvents(w http.ResponseWriter, r *http.Request) {
	_, token, ok := s.session(w, r, false)
	if !ok {
		return
	}
	s.stream(w, r, true, func() bool {
		_, ok := s.sessions.guard(token, s.cfg.Now(), false)
		return ok
	})
}

func (s *Server) handleAct(w http.ResponseWriter, r *http.Request) {
	guard, _, ok := s.session(w, r, true)
	if !ok {
		return
	}
	var a gate.GuardAct
	if !read(w, r, func(body io.Reader) (err error) { a, err = parseAct(body); return err }) {
		return
	}
	a.Guard = guard
	ctx, cancel := context.WithTimeout(r.Context(), actWithin)
	defer cancel()
	err := s.cfg.Lane.Guard(ctx, a)
	switch {
	case err == nil:
		answer(w, http.StatusOK, "done", 0)
		return
	case errors.Is(err, gate.ErrNothingHeld), errors.Is(err, gate.ErrViewChanged):
		answer(w, http.StatusConflict, "too-late", 0)
	case errors.Is(err, gate.ErrNotAllowed):
		answer(w, http.StatusConflict, "not-allowed", 0)
	default:
		answer(w, http.StatusServiceUnavailable, "failed", 0)
	}
	s.cfg.Log.Warn("guard's act not taken", "action", a.Action, "reason", a.Reason, "error", err)
}
