package hub

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The device that was replaced has its token still: asking again gives it
// neither its gate back nor an end to a revocation.
func TestSpentTokenDoesNotUndoAReplacement(t *testing.T) {
	h, _ := newHub(t, quiet())
	invite := func() []byte {
		t.Helper()
		i, err := h.InviteGate(t.Context(), InviteRequest{Gate: "north", Replace: true, By: "anna"})
		if err != nil {
			t.Fatal(err)
		}
		return i.Secret
	}
	key := func() *ecdsa.PublicKey {
		t.Helper()
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &k.PublicKey
	}
	first, old := invite(), key()
	was, err := h.enrol(t.Context(), first, old)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.enrol(t.Context(), first, old); err != nil || !bytes.Equal(again, was) {
		t.Fatalf("the answer was lost, and it asks again: %v", err)
	}
	if _, err := h.enrol(t.Context(), first, key()); !errors.Is(err, errSpent) {
		t.Errorf("another key: %v, want errSpent", err)
	}
	is, err := h.enrol(t.Context(), invite(), key())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.enrol(t.Context(), first, old); !errors.Is(err, errSpent) {
		t.Errorf("the old device: %v, want errSpent", err)
	}
	rec, err := h.gate(t.Context(), "north")
	if err != nil || !bytes.Equal(rec.Certificate, is) || len(rec.Former) != 1 {
		t.Errorf("the new device's certificate is in force: %v, with %d before it, %v", bytes.Equal(rec.Certificate, is), len(rec.Former), err)
	}
}

// Where a device finds the lists is the hub's to say, and not whoever wrote the
// Host header.
func TestListsURL(t *testing.T) {
	hubs := map[string]*Hub{}
	for _, c := range []struct{ configured, host, want string }{
		{"", "127.0.0.1:8443", "https://127.0.0.1:8443/lists"},
		{"", "localhost:9443", "https://localhost:9443/lists"}, // another of its names, as from behind a router
		{"", "LOCALHOST", "https://LOCALHOST/lists"},
		{"", "attacker.example", "https://127.0.0.1:8443/lists"},
		{"", "attacker.example:8443", "https://127.0.0.1:8443/lists"},
		{"", "10.9.8.7:8443", "https://127.0.0.1:8443/lists"},
		{"", "localhost:8443/evil", "https://127.0.0.1:8443/lists"},
		{"", "attacker.example@localhost", "https://127.0.0.1:8443/lists"},
		{"", "localhost?x=y", "https://127.0.0.1:8443/lists"},
		{"https://lists.example:444", "127.0.0.1:8443", "https://lists.example:444/lists"},
		{"https://lists.example:444", "localhost", "https://lists.example:444/lists"},
		{"https://lists.example:444", "attacker.example", "https://lists.example:444/lists"},
	} {
		h := hubs[c.configured]
		if h == nil {
			config, dir := testConfig(), t.TempDir()
			config.ListsURL = c.configured
			if err := Init(t.Context(), dir, config, quiet()); err != nil {
				t.Fatal(err)
			}
			h = openHub(t, dir, quiet())
			hubs[c.configured] = h
		}
		r := httptest.NewRequest(http.MethodGet, "https://127.0.0.1:8443/v1/enrolment", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		h.gateServer().Handler.ServeHTTP(w, r)
		var got enrolmentAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %v", w.Code, err)
		}
		if got.ListsURL != c.want {
			t.Errorf("configured %q, asked at %q: %q, want %q", c.configured, c.host, got.ListsURL, c.want)
		}
		if c.configured != "" {
			b, err := h.AddGate(t.Context(), GateRequest{Gate: "north", Replace: true, By: "op"})
			if err != nil {
				t.Fatal(err)
			}
			if b.ListsURL != c.want {
				t.Errorf("a gate's bundle: %q, want %q", b.ListsURL, c.want)
			}
			if err := h.cert.Load().Leaf.VerifyHostname("lists.example"); err != nil {
				t.Errorf("the hub's certificate: %v", err)
			}
		}
	}
	for _, bad := range []string{"http://lists.example", "https://lists.example/lists", "lists.example", "https://"} {
		config := testConfig()
		config.ListsURL = bad
		if err := Init(t.Context(), t.TempDir(), config, quiet()); err == nil {
			t.Errorf("%q is taken for an address of lists", bad)
		}
	}
}
