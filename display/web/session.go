package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"
)

const (
	// sessionIdle ends a session that no guard touched.
	sessionIdle = 10 * time.Minute
	// sessionLife ends every session: a long shift.
	sessionLife = 12 * time.Hour
	// sessionMax bounds the sessions at one time; the longest idle makes room.
	sessionMax = 16
)

// sessions are the guards that are logged in. They live in memory: a restart
// logs everybody out.
type sessions struct {
	mu sync.Mutex
	// by the SHA-256 of the token, so that comparing takes no hint from time
	// and a dump of memory holds no cookie for long.
	by map[[sha256.Size]byte]*session
}

type session struct {
	guard       string
	began, used time.Time
}

func (s *session) alive(now time.Time) bool {
	return now.Sub(s.used) < sessionIdle && now.Sub(s.began) < sessionLife
}

// open starts a session and returns its token: 32 random bytes, 43 characters.
func (s *sessions) open(guard string, now time.Time) string {
	var raw [32]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	token := base64.RawURLEncoding.EncodeToString(raw[:])

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[[sha256.Size]byte]*session)
	}
	for key, old := range s.by {
		if !old.alive(now) {
			delete(s.by, key)
		}
	}
	if len(s.by) >= sessionMax {
		var longest [sha256.Size]byte
		var used time.Time
		for key, old := range s.by {
			if used.IsZero() || old.used.Before(used) {
				longest, used = key, old.used
			}
		}
		delete(s.by, longest)
	}
	s.by[sha256.Sum256([]byte(token))] = &session{guard, now, now}
	return token
}

// guard returns who holds the token. Only a use by a person counts as use: the
// live stream of a tablet that lies on a desk does not keep its session.
func (s *sessions) guard(token string, now time.Time, use bool) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sha256.Sum256([]byte(token))
	found, ok := s.by[key]
	if !ok {
		return "", false
	}
	if !found.alive(now) {
		delete(s.by, key)
		return "", false
	}
	if use {
		found.used = now
	}
	return found.guard, true
}

// end closes a session.
func (s *sessions) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, sha256.Sum256([]byte(token)))
}
