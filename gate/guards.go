package gate

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// MaxGuardsFile is the most bytes of a guards file.
	MaxGuardsFile = 64 << 10
	// maxGuards bounds how long one attempt takes: each guard costs one key derivation.
	maxGuards = 32
	// pinIterations is what HashPIN uses, and the least that ParseGuards accepts.
	pinIterations = 100_000
	// maxPINIterations bounds what a guards file may make the device compute.
	maxPINIterations = 2_000_000
	// wrongPINs in a row lock the guards out, at first for firstLockOut, doubling to lastLockOut.
	wrongPINs    = 5
	firstLockOut = time.Minute
	lastLockOut  = time.Hour
)

var (
	// ErrGuards is wrapped by every error of [ParseGuards].
	ErrGuards = errors.New("bad guards file")
	// ErrPIN: not 4 to 12 digits.
	ErrPIN = errors.New("a pin is 4 to 12 digits")
	// ErrWrongPIN: no guard has this PIN.
	ErrWrongPIN = errors.New("wrong pin")
	// ErrLockedOut: too many wrong PINs; nobody is authenticated for a while.
	ErrLockedOut = errors.New("locked out after wrong pins")
)

// GuardEntry is one guard of a guards file.
type GuardEntry struct {
	// Name is the guard's identity in the journal, 1 to 32 bytes.
	Name string `json:"name"`
	// Salt is 16 to 64 bytes; Hash is the PBKDF2-SHA256 of the PIN, 32 bytes.
	Salt []byte `json:"salt"`
	Hash []byte `json:"hash"`
	// Iterations of PBKDF2, 100,000 to 2,000,000.
	Iterations int `json:"iterations"`
}

type guardsFile struct {
	Guards []GuardEntry `json:"guards"`
}

// Guards authenticates guards by PIN. It is safe for use from several
// goroutines; attempts are made one after the other.
type Guards struct {
	mu      sync.Mutex
	entries []GuardEntry
	wrong   int           // in a row
	lock    time.Duration // length of the next lock-out
	until   time.Time     // end of the present one
}

// ParseGuards reads a guards file. There is no default guard: an empty list
// authenticates nobody. Errors wrap [ErrGuards].
func ParseGuards(data []byte) (*Guards, error) {
	var f guardsFile
	if err := strictJSON(data, MaxGuardsFile, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGuards, err)
	}
	if len(f.Guards) > maxGuards {
		return nil, fmt.Errorf("%w: %d guards, allowed are %d", ErrGuards, len(f.Guards), maxGuards)
	}
	seen := make(map[string]bool, len(f.Guards))
	for i, g := range f.Guards {
		switch {
		case len(g.Name) < 1 || len(g.Name) > 32:
			return nil, fmt.Errorf("%w: guard %d: a name is 1 to 32 bytes", ErrGuards, i)
		case seen[g.Name]:
			return nil, fmt.Errorf("%w: guard %d: name stands twice", ErrGuards, i)
		case len(g.Salt) < 16 || len(g.Salt) > 64:
			return nil, fmt.Errorf("%w: guard %d: salt of %d bytes, allowed are 16 to 64", ErrGuards, i, len(g.Salt))
		case len(g.Hash) != sha256.Size:
			return nil, fmt.Errorf("%w: guard %d: hash of %d bytes, not %d", ErrGuards, i, len(g.Hash), sha256.Size)
		case g.Iterations < pinIterations || g.Iterations > maxPINIterations:
			return nil, fmt.Errorf("%w: guard %d: %d iterations, allowed are %d to %d", ErrGuards, i, g.Iterations, pinIterations, maxPINIterations)
		}
		seen[g.Name] = true
	}
	return &Guards{entries: f.Guards, lock: firstLockOut}, nil
}

// MarshalGuards writes a guards file as ParseGuards reads it.
func MarshalGuards(entries []GuardEntry) ([]byte, error) {
	data, err := json.MarshalIndent(guardsFile{Guards: entries}, "", "  ")
	if err != nil {
		return nil, err
	}
	if _, err := ParseGuards(data); err != nil {
		return nil, err
	}
	return data, nil
}

// HashPIN returns an entry for a PIN with a fresh salt; the caller sets its name.
func HashPIN(pin string, rand io.Reader) (GuardEntry, error) {
	if !isPIN(pin) {
		return GuardEntry{}, ErrPIN
	}
	g := GuardEntry{Salt: make([]byte, 16), Iterations: pinIterations}
	if _, err := io.ReadFull(rand, g.Salt); err != nil {
		return GuardEntry{}, fmt.Errorf("salt for a pin: %w", err)
	}
	hash, err := pbkdf2.Key(sha256.New, pin, g.Salt, g.Iterations, sha256.Size)
	if err != nil {
		return GuardEntry{}, fmt.Errorf("hash of a pin: %w", err)
	}
	g.Hash = hash
	return g, nil
}

// Len returns how many guards there are.
func (g *Guards) Len() int { return len(g.entries) }

// Authenticate returns whose PIN it is. It tries every guard, so that the time
// it takes says nothing of whose it was. Five wrong PINs in a row lock
// everybody out for a minute, the next five for two, up to an hour. Errors
// wrap ErrPIN, ErrWrongPIN or ErrLockedOut.
func (g *Guards) Authenticate(pin string, now time.Time) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.until) {
		return "", fmt.Errorf("%w: try again in %s", ErrLockedOut, g.until.Sub(now).Round(time.Second))
	}
	if !isPIN(pin) {
		return "", ErrPIN
	}
	name := ""
	for _, e := range g.entries {
		hash, err := pbkdf2.Key(sha256.New, pin, e.Salt, e.Iterations, sha256.Size)
		if err != nil {
			return "", fmt.Errorf("hash of a pin: %w", err)
		}
		if subtle.ConstantTimeCompare(hash, e.Hash) == 1 && name == "" {
			name = e.Name
		}
	}
	if name == "" {
		g.wrong++
		if g.wrong >= wrongPINs {
			g.wrong = 0
			g.until = now.Add(g.lock)
			g.lock = min(2*g.lock, lastLockOut)
		}
		return "", ErrWrongPIN
	}
	g.wrong, g.lock = 0, firstLockOut
	return name, nil
}

// LockedUntil returns when the present or last lock-out ends, the zero time if
// there was none, so that a face can say how long to wait.
func (g *Guards) LockedUntil() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until
}

// isPIN reports whether s is 4 to 12 decimal digits.
func isPIN(s string) bool {
	if len(s) < 4 || len(s) > 12 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
