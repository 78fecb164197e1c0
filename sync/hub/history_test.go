package hub

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"testing"

	"greengate/gate"
	"greengate/gate/passage"
)

// A device that gets a name which was used before is told where its history
// ends, and what it writes there is one history with what was.
func TestHistoryGoesOnWithAnotherDevice(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	ask := func(g *testGate) (status int, at *History) {
		t.Helper()
		resp, err := g.client.Get(url + "/v1/history")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			if err := json.NewDecoder(resp.Body).Decode(&at); err != nil {
				t.Fatal(err)
			}
		}
		return resp.StatusCode, at
	}
	old := addGate(t, h, "north")
	if status, at := ask(old); status != http.StatusOK || at != nil || old.bundle.History != nil {
		t.Fatalf("a new name: %d %+v, and %+v in its identity, want no history", status, at, old.bundle.History)
	}
	old.pass(t, 5, gate.Valid)
	if status, _, _ := old.post(t, url, old.batch(t, 1, 5)); status != http.StatusOK {
		t.Fatalf("before: %d", status)
	}
	// The key of a next segment came, and the power went before its records did.
	next := old.keys[len(old.keys)-1]
	next.Segment += 3
	if err := h.keepKeys(t.Context(), "north", &passage.Batch{Gate: "north", Keys: []passage.SegmentKey{next}}); err != nil {
		t.Fatal(err)
	}
	want := History{Last: 5, Head: old.chain[:], Segment: next.Segment}
	same := func(at *History) bool {
		return at != nil && at.Last == want.Last && bytes.Equal(at.Head, want.Head) && at.Segment == want.Segment
	}
	if status, at := ask(old); status != http.StatusOK || !same(at) {
		t.Errorf("with records: %d %+v, want %+v", status, at, want)
	}
	b, err := h.AddGate(t.Context(), GateRequest{Gate: "north", Replace: true, By: "op"})
	if err != nil || !same(b.History) {
		t.Fatalf("replaced: %+v, %v, want %+v", b.History, err, want)
	}
	if status, _ := ask(old); status != http.StatusForbidden {
		t.Errorf("the device before: %d, want 403", status)
	}
	fresh := gateOf(t, b)
	if status, at := ask(fresh); status != http.StatusOK || !same(at) {
		t.Errorf("the new device: %d %+v, want %+v", status, at, want)
	}
	hubKey, err := passage.ParseHubKey(b.HubKey)
	if err != nil {
		t.Fatal(err)
	}
	sealer, key, err := passage.NewSegmentSealer("north", want.Segment+1, hubKey, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e, err := sealer.Entry(want.Last+1, [32]byte(want.Head), gate.Record{Kind: gate.DecisionRecord, At: h.options.Now(), Clock: gate.ClockConfirmed, Verdict: gate.Admit, Reason: gate.Valid})
	if err != nil {
		t.Fatal(err)
	}
	batch := &passage.Batch{Gate: "north", Prev: [32]byte(want.Head), Keys: []passage.SegmentKey{key}, Entries: []passage.Entry{e}}
	if err := batch.Sign(fresh.key); err != nil {
		t.Fatal(err)
	}
	body, err := batch.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if status, n, word := fresh.post(t, url, body); status != http.StatusOK || n != 6 {
		t.Errorf("the new device's first passage: %d %d %q, want it acknowledged", status, n, word)
	}
	verifyGate(t, h, "north", 6)
	if alarms, err := h.Alarms(t.Context()); err != nil || len(alarms) > 0 {
		t.Errorf("alarms %+v, %v, want none", alarms, err)
	}
	bare := &http.Client{Transport: &http.Transport{TLSClientConfig: fresh.client.Transport.(*http.Transport).TLSClientConfig.Clone()}}
	bare.Transport.(*http.Transport).TLSClientConfig.Certificates = nil
	defer bare.CloseIdleConnections()
	if status, _ := ask(&testGate{client: bare}); status != http.StatusUnauthorized {
		t.Errorf("without a certificate: %d, want 401", status)
	}
}
