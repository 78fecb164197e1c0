package gate

import (
	"bytes"
	"errors"
	"math/rand"
	"strings"
	"testing"
	"time"
)

// twoGuards returns li with 1234 and wang with 567890.
func twoGuards(t testing.TB) (*Guards, []byte) {
	t.Helper()
	random := rand.New(rand.NewSource(1))
	var entries []GuardEntry
	for _, g := range []struct{ name, pin string }{{"li", "1234"}, {"wang", "567890"}} {
		e, err := HashPIN(g.pin, random)
		if err != nil {
			t.Fatal(err)
		}
		e.Name = g.name
		entries = append(entries, e)
	}
	data, err := MarshalGuards(entries)
	if err != nil {
		t.Fatal(err)
	}
	g, err := ParseGuards(data)
	if err != nil {
		t.Fatal(err)
	}
	return g, data
}

func TestAuthenticate(t *testing.T) {
	g, data := twoGuards(t)
	if bytes.Contains(data, []byte("1234")) {
		t.Error("the file shows a pin")
	}
	now := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		pin  string
		name string
		err  error
	}{
		{"1234", "li", nil}, {"567890", "wang", nil}, {"0000", "", ErrWrongPIN},
		{"", "", ErrPIN}, {"123", "", ErrPIN}, {"1234567890123", "", ErrPIN}, {"12a4", "", ErrPIN},
	} {
		name, err := g.Authenticate(row.pin, now)
		if name != row.name || !errors.Is(err, row.err) {
			t.Errorf("Authenticate(%q) = %q, %v", row.pin, name, err)
		}
	}
	// Five wrong ones in a row lock out, longer each time.
	if _, err := g.Authenticate("1234", now); err != nil {
		t.Fatal(err)
	}
	lockOut := func(want time.Duration) {
		t.Helper()
		for range wrongPINs {
			if _, err := g.Authenticate("9999", now); !errors.Is(err, ErrWrongPIN) {
				t.Fatalf("wrong pin: %v", err)
			}
		}
		if _, err := g.Authenticate("1234", now.Add(want-1)); !errors.Is(err, ErrLockedOut) {
			t.Errorf("just before %s: %v", want, err)
		}
		now = now.Add(want)
	}
	lockOut(time.Minute)
	lockOut(2 * time.Minute)
	g.lock = 32 * time.Minute // three lock-outs later
	lockOut(32 * time.Minute)
	lockOut(time.Hour)
	lockOut(time.Hour)
	if name, err := g.Authenticate("1234", now); name != "li" || err != nil {
		t.Errorf("after the lock-out: %q, %v", name, err)
	}
}

func TestParseGuards(t *testing.T) {
	_, good := twoGuards(t)
	text := string(good)
	for _, bad := range []string{
		``, `null`, `{"guards":[{"name":"li","pin":"1234"}]}`, text + "x",
		strings.Replace(text, `"wang"`, `"li"`, 1),
		strings.Replace(text, `"wang"`, `""`, 1),
		strings.Replace(text, `"wang"`, `"`+strings.Repeat("w", 33)+`"`, 1),
		strings.Replace(text, `100000`, `99999`, 1),
		strings.Replace(text, `100000`, `2000001`, 1),
		`{"guards":[{"name":"li","salt":"AA==","hash":"AA==","iterations":100000}]}`,
		`{"guards":[` + strings.Repeat(`{},`, 32) + `{}]}`,
	} {
		if g, err := ParseGuards([]byte(bad)); !errors.Is(err, ErrGuards) || g != nil {
			t.Errorf("ParseGuards(%.60q) = %v, %v", bad, g, err)
		}
	}
	g, err := ParseGuards([]byte(`{"guards":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Authenticate("1234", time.Now()); !errors.Is(err, ErrWrongPIN) {
		t.Errorf("nobody is a guard, but: %v", err)
	}
	if _, err := HashPIN("12", rand.New(rand.NewSource(1))); !errors.Is(err, ErrPIN) {
		t.Errorf("short pin: %v", err)
	}
	if _, err := HashPIN("1234", strings.NewReader("short")); err == nil {
		t.Error("a pin without salt was hashed")
	}
}

func FuzzParseGuards(f *testing.F) {
	_, good := twoGuards(f)
	f.Add(good)
	f.Add([]byte(`{"guards":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := ParseGuards(data)
		if err != nil {
			if !errors.Is(err, ErrGuards) {
				t.Fatalf("error %v is not ErrGuards", err)
			}
			return
		}
		if _, err := MarshalGuards(g.entries); err != nil {
			t.Fatalf("parsed, but does not marshal: %v", err)
		}
	})
}
