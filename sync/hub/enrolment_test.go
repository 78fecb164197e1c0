package hub

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
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
