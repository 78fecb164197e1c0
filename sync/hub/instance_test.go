package hub

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// speaks makes a contact as a run of the gate's program.
func (g *testGate) speaks(t testing.TB, url, run string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/time", nil)
	if err != nil {
		t.Fatal(err)
	}
	if run != "" {
		req.Header.Set(instanceHeader, strings.Repeat(run, 26))
	}
	resp, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("contact: status %d", resp.StatusCode)
	}
}

// isCopied says whether a hub has the alarm of a copied gate.
func isCopied(t testing.TB, h *Hub, id string) bool {
	t.Helper()
	alarms, err := h.Alarms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(alarms, func(a Alarm) bool { return a.Gate == id && a.Kind == AlarmFork && a.Detail == cloned.en })
}

// Somebody copies a gate's card and runs the copy: the hub sees it at the third
// contact, before either has written a passage. A gate that is started again and
// again, and one that does not say, are no copies.
func TestCopiedCard(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	north, south, west := addGate(t, h, "north"), addGate(t, h, "south"), addGate(t, h, "west")
	for _, run := range strings.Split("AAABBCDEFGHIJKLMMMN", "") { // starts, and contacts between them
		north.speaks(t, url, run)
	}
	for _, run := range []string{"A", "", "A", "a", "A"} { // none, and one that is no word
		west.speaks(t, url, run)
	}
	south.speaks(t, url, "A")
	south.speaks(t, url, "B")
	if isCopied(t, h, "south") {
		t.Error("a gate that started once more is taken for two")
	}
	south.speaks(t, url, "A")
	if !isCopied(t, h, "south") {
		t.Error("two devices that speak in turns are not seen")
	}
	for _, id := range []string{"north", "west"} {
		if isCopied(t, h, id) {
			t.Errorf("%s is taken for two devices", id)
		}
	}
	// Cleared while both still run: it comes back.
	if err := h.ClearAlarm(t.Context(), AlarmRef{Gate: "south", Kind: AlarmFork, By: "test"}); err != nil {
		t.Fatal(err)
	}
	south.speaks(t, url, "A")
	if isCopied(t, h, "south") {
		t.Error("one of them alone raises it")
	}
	south.speaks(t, url, "B")
	if !isCopied(t, h, "south") {
		t.Error("cleared, and not seen again")
	}
}

// The gate speaks to one hub, its copy to the other.
func TestCopiedCardAtTwoHubs(t *testing.T) {
	a, b, _ := twoHubs(t)
	atA, _ := serve(t, a)
	atB, _ := serve(t, b)
	north := addGate(t, a, "north")
	north.speaks(t, atA, "A")
	north.speaks(t, atB, "B")
	// What the second heard is on its way to the first.
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		a.fleet.mu.Lock()
		known := len(a.fleet.get("north").instances)
		a.fleet.mu.Unlock()
		if known == 2 {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("one hub does not hear what the other does")
		}
	}
	north.speaks(t, atA, "A")
	if !isCopied(t, a, "north") {
		t.Error("not seen")
	}
}
