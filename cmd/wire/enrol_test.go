package wire

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/gate"
	"greengate/sync/enrol"
	"greengate/sync/hub"
)

// invite makes a token as `gatehub gate invite` does.
func (r *rig) invite(req hub.InviteRequest) enrol.Token {
	r.t.Helper()
	req.By = "test"
	i, err := r.hub.InviteGate(r.t.Context(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	k := enrol.Token{URL: i.HubURL, Fingerprint: enrol.Fingerprint(i.HubCA, i.TUFRoot)}
	copy(k.Secret[:], i.Secret)
	return k
}

// A device buys its identity with a token: once, for one key, within its time,
// and only from the hub that the token names.
func TestEnrolment(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	k := r.invite(hub.InviteRequest{Gate: "west-1", Site: "West gate", County: "330106"})
	typed, err := enrol.ParseToken(k.URL + " " + strings.ToLower(k.Code()))
	if err != nil || typed != k {
		t.Fatalf("typed %+v, %v", typed, err)
	}
	key, err := enrol.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := enrol.NewKey()
	if err != nil {
		t.Fatal(err)
	}

	// The hub of another token: nothing is told to it, and the token stays good.
	wrong := k
	wrong.Fingerprint[3] ^= 1
	if _, err := enrol.Enrol(ctx, wrong, key, time.Now()); !errors.Is(err, enrol.ErrPinned) {
		t.Errorf("another hub: %v, want ErrPinned", err)
	}
	// A secret that was never given out.
	guessed := k
	guessed.Secret[0] ^= 1
	if _, err := enrol.Enrol(ctx, guessed, key, time.Now()); !errors.Is(err, enrol.ErrSpent) {
		t.Errorf("a guess: %v, want ErrSpent", err)
	}
	// A device that booted in 1970.
	id, err := enrol.Enrol(ctx, k, key, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if id.Gate != "west-1" || id.HubURL != "https://"+r.address {
		t.Errorf("enrolled as %q at %q", id.Gate, id.HubURL)
	}
	// The answer was lost: the same key has the same certificate again.
	again, err := enrol.Enrol(ctx, k, key, time.Now())
	if err != nil || again.Certificate != id.Certificate {
		t.Errorf("asked again with the same key: %v, the same certificate: %v", err, err == nil && again.Certificate == id.Certificate)
	}
	if _, err := enrol.Enrol(ctx, k, other, time.Now()); !errors.Is(err, enrol.ErrSpent) {
		t.Errorf("a second device: %v, want ErrSpent", err)
	}
	// It is a gate now, on its disk and at the hub.
	path := filepath.Join(t.TempDir(), "identity.json")
	if err := id.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := enrol.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if status := r.contact(loaded); status != http.StatusOK {
		t.Errorf("contact with the new identity: %d", status)
	}
	gates, err := r.hub.Gates(ctx)
	if err != nil || len(gates) != 2 || gates[1].Gate != "west-1" || gates[1].Site != "West gate" || gates[1].County != "330106" || gates[1].LastContact.IsZero() {
		t.Errorf("at the hub: %+v, %v", gates, err)
	}

	// A gate that is there needs an invitation that says so; the old identity ends then.
	if _, err := r.hub.InviteGate(ctx, hub.InviteRequest{Gate: "west-1", By: "test"}); !errors.Is(err, hub.ErrConflict) {
		t.Errorf("invited again: %v, want ErrConflict", err)
	}
	k2 := r.invite(hub.InviteRequest{Gate: "west-1", Replace: true})
	if status := r.contact(loaded); status != http.StatusOK {
		t.Errorf("before the token is used: %d", status)
	}
	id2, err := enrol.Enrol(ctx, k2, other, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if status := r.contact(loaded); status != http.StatusForbidden {
		t.Errorf("the old identity: %d, want 403", status)
	}
	if status := r.contact(id2); status != http.StatusOK {
		t.Errorf("the new identity: %d", status)
	}

	// Two invitations for one new gate: the first device has it.
	a, b := r.invite(hub.InviteRequest{Gate: "south-1"}), r.invite(hub.InviteRequest{Gate: "south-1"})
	if _, err := enrol.Enrol(ctx, a, key, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := enrol.Enrol(ctx, b, other, time.Now()); !errors.Is(err, enrol.ErrSpent) {
		t.Errorf("the second: %v, want ErrSpent", err)
	}
}

// contact asks the hub for the time with an identity, on a connection of its own.
func (r *rig) contact(id *enrol.Identity) int {
	r.t.Helper()
	config, err := id.TLSConfig(wallClock{})
	if err != nil {
		r.t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer c.CloseIdleConnections()
	resp, err := c.Get(id.HubURL + "/v1/time")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode
}

// Wrong tokens from one address are not answered for long, and right ones are
// again a while later.
func TestWrongTokensAreBounded(t *testing.T) {
	r := newRig(t)
	k := r.invite(hub.InviteRequest{Gate: "west-1"})
	key, err := enrol.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer c.CloseIdleConnections()
	try := func(secret string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.URL+"/.well-known/est/simpleenroll", strings.NewReader("AAAA"))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("token", secret)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	if got := try(hex.EncodeToString(k.Secret[:])); got != http.StatusBadRequest {
		t.Errorf("a request that is none: %d, want 400", got)
	}
	got := 0
	for n := 1; n <= 12; n++ {
		got = try("00")
		if want := http.StatusUnauthorized; n <= 10 && got != want {
			t.Fatalf("wrong token %d: %d, want %d", n, got, want)
		}
	}
	if got != http.StatusTooManyRequests {
		t.Errorf("behind ten wrong tokens: %d, want 429", got)
	}
	if _, err := enrol.Enrol(t.Context(), k, key, time.Now()); err == nil || errors.Is(err, enrol.ErrSpent) {
		t.Errorf("the right one at once: %v, want another try later", err)
	}
}

// A token that is too old buys nothing.
func TestTokenEnds(t *testing.T) {
	r := newRig(t)
	k := r.invite(hub.InviteRequest{Gate: "west-1", ValidSeconds: 1})
	key, err := enrol.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1100*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if _, err := enrol.Enrol(t.Context(), k, key, time.Now()); !errors.Is(err, enrol.ErrSpent) {
		t.Errorf("%v, want ErrSpent", err)
	}
}

// wallClock is this machine's.
type wallClock struct{}

func (wallClock) Now() (time.Time, gate.ClockQuality) { return time.Now(), gate.ClockNetwork }

func (wallClock) FloorTime() time.Time { return time.Time{} }
