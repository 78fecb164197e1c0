package wire

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greengate/display"
	"greengate/gate"
	"greengate/store/journal"
	"greengate/sync/hub"
)

// What a supervisor reads of each thing that is missing.
func TestReadiness(t *testing.T) {
	now := time.Date(2020, 2, 19, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		what  string
		spoil func(*readiness)
		want  []string
	}{
		{"all is well", func(*readiness) {}, nil},
		{"lists are stale, which still answer", func(r *readiness) { r.lists = gate.Stale }, nil},
		{"the journal is nearly full", func(r *readiness) { r.room = journal.RoomLow }, nil},
		{"a full journal that drops its oldest", func(r *readiness) { r.room, r.drops = journal.RoomNone, true }, nil},
		{"a full journal", func(r *readiness) { r.room, r.fault = journal.RoomNone, "journal-error" }, []string{"journal: full"}},
		{"a dead card", func(r *readiness) { r.fault = "journal-timeout" }, []string{"journal: does not write: journal-timeout"}},
		{"a relay that does not answer", func(r *readiness) { r.fault = "actuator-timeout" }, []string{"lane: out of service: actuator-timeout"}},
		{"a loop that hangs", func(r *readiness) { r.pulse = []string{"lane: its loop has stood still for 11s"} }, []string{"lane: its loop has stood still for 11s"}},
		{"a certificate of last year", func(r *readiness) { r.ends = now.Add(-time.Hour) }, []string{"configuration: the gate's certificate ended 2020-02-19"}},
		{"the same, and a clock that cannot know", func(r *readiness) { r.ends, r.clock = now.Add(-time.Hour), gate.ClockUnset }, []string{"clock: not set"}},
		{"a revoked gate", func(r *readiness) { r.refused = true }, []string{"configuration: the hub refuses this gate"}},
		{"a new gate", func(r *readiness) { r.keys, r.lists = 0, gate.ListMissing }, []string{"lists: no issuer's key yet"}},
		{"no list", func(r *readiness) { r.lists = gate.ListMissing }, []string{"lists: none held"}},
		{"two days without a hub", func(r *readiness) { r.lists, r.clock = gate.TooOld, gate.ClockFloor },
			[]string{"lists: the oldest is too old, and holds people", "clock: neither network time nor the hub bears it out, and dynamic codes are held"}},
		{"the camera is gone", func(r *readiness) { r.readers[1].State = "absent" }, []string{"reader camera: absent"}},
	} {
		r := readiness{now: now, clock: gate.ClockConfirmed, ends: now.AddDate(1, 0, 0), keys: 3, lists: gate.Fresh, room: journal.RoomEnough,
			readers: []display.ReaderHealth{{Name: "serial", State: "ready"}, {Name: "camera", State: "ready"}}}
		c.spoil(&r)
		if got := r.lacks(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// A loop that stands still is told of as soon as the watchdog would.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pulse
		ask := func() (int, string) {
			w := httptest.NewRecorder()
			probe(p.lacks).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
			return w.Code, w.Body.String()
		}
		for _, c := range []struct {
			what   string
			wait   time.Duration
			beat   bool
			status int
			text   string
		}{
			{"before the first turn", 0, false, 503, "lane: its loop has not begun\n"},
			{"the first", time.Second, true, 200, "ok\n"},
			{"one that is late", aliveWithin, false, 200, "ok\n"},
			{"one that does not come", time.Second, false, 503, "lane: its loop has stood still for 11s\n"},
			{"it comes after all", time.Hour, true, 200, "ok\n"},
		} {
			time.Sleep(c.wait)
			if c.beat {
				p.beat()
			}
			if status, text := ask(); status != c.status || text != c.text {
				t.Errorf("%s: %d %q, want %d %q", c.what, status, text, c.status, c.text)
			}
		}
	})
}

// A supervisor asks a real gate, from its start to a loop that hangs.
func TestHealthOverTheNetwork(t *testing.T) {
	r := newRig(t)
	ask := func(path string) (int, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.gate.Address()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	until := func(what, path string, status int, lines ...string) {
		t.Helper()
		r.eventually(what, func() error {
			got, text := ask(path)
			for _, line := range lines {
				if !strings.Contains("\n"+text, "\n"+line+"\n") {
					return fmt.Errorf("%s lacks %q: %d %q", path, line, got, text)
				}
			}
			if got != status {
				return fmt.Errorf("%s: %d %q", path, got, text)
			}
			return nil
		})
	}
	hang := make(chan chan struct{}, 1)
	r.beat = func() {
		select {
		case free := <-hang:
			<-free
		default:
		}
	}
	r.start()
	until("the loop turns", "/healthz", http.StatusOK, "ok")
	until("a gate without lists", "/readyz", http.StatusServiceUnavailable, "lists: no issuer's key yet")
	green := r.issue("green")
	r.publish()
	r.ready()
	until("ready", "/readyz", http.StatusOK, "ok")

	// The loop hangs: the pages, which answer beside it, say so.
	free := make(chan struct{})
	hang <- free
	r.eventually("the loop hangs", func() error {
		if len(hang) > 0 {
			return fmt.Errorf("it turns")
		}
		return nil
	})
	long := time.Now().Add(-2 * aliveWithin)
	r.gate.pulse.last.Store(&long)
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, text := ask(path); status != http.StatusServiceUnavailable || !strings.HasPrefix(text, "lane: its loop has stood still for ") {
			t.Errorf("%s of a loop that hangs: %d %q", path, status, text)
		}
	}
	close(free)
	until("the loop turns again", "/healthz", http.StatusOK, "ok")

	// The hub refuses what it decides, and both say so.
	if err := r.hub.RevokeGate(t.Context(), hub.GateRef{Gate: "east-1", By: "test"}); err != nil {
		t.Fatal(err)
	}
	r.scan(green)
	until("the refusal is known", "/readyz", http.StatusServiceUnavailable, "configuration: the hub refuses this gate")
	if u := r.gate.Status().Upload; u.Refusal == nil || u.Refusal.Status != http.StatusForbidden || u.Refusal.Word != "forbidden" || u.Stop != "forbidden" || u.Backlog == 0 {
		t.Errorf("the status says of it: %+v, %+v", u, u.Refusal)
	}

	// The scanner is pulled out.
	if err := r.scanner.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.tty.Close(); err != nil {
		t.Fatal(err)
	}
	until("the scanner is missed", "/readyz", http.StatusServiceUnavailable, "reader serial: absent")
	if _, text := ask("/readyz"); strings.Contains(text, green) || strings.Contains(text, "王") || strings.Contains(text, r.dir) {
		t.Errorf("it holds what is nobody's business: %q", text)
	}
	if status, text := ask("/healthz"); status != http.StatusOK {
		t.Errorf("alive all the same: %d %q", status, text)
	}
}
