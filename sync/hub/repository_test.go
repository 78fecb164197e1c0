package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"greengate/gate"
	"greengate/sync/hub/publisher"
)

// twoHubs opens two hubs side by side on a cluster; the first one leads. Their
// leases are moved by hand, each by a clock of its own.
func twoHubs(t *testing.T) (a, b *Hub, later func(*Hub, time.Duration)) {
	t.Helper()
	c := newCluster(t, quiet())
	second := filepath.Join(t.TempDir(), "second")
	if err := Join(t.Context(), c.hub, second); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(second, "keys", "tuf", "offline")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("offline keys of the second hub: %v", err)
	}
	o := c.on(quiet())
	o.leaseByHand = true
	a = openHub(t, c.hub, o)
	b = openHub(t, second, o)
	offsets := map[*Hub]*atomic.Int64{a: {}, b: {}}
	for h, offset := range offsets {
		h.shared.mu.Lock()
		h.shared.now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		h.shared.mu.Unlock()
	}
	return a, b, func(h *Hub, d time.Duration) { offsets[h].Add(int64(d)) }
}

// tick looks at the lease.
func tick(t *testing.T, h *Hub) {
	t.Helper()
	if err := h.shared.tick(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// takeOver lets so much time pass for a hub that it takes the lease.
func takeOver(t *testing.T, h *Hub, later func(*Hub, time.Duration)) {
	t.Helper()
	tick(t, h) // it sees the lease as it is
	later(h, leaseTime)
	tick(t, h)
	if _, _, here := h.Leader(); !here {
		t.Fatal("the lease was not taken over")
	}
}

// seenTimestamp is what a gate gets of a hub.
func seenTimestamp(h *Hub) (version int64, digest [32]byte, err error) {
	w := httptest.NewRecorder()
	h.gateServer().Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/lists/metadata/timestamp.json", nil))
	if w.Code != http.StatusOK {
		return 0, digest, fmt.Errorf("status %d", w.Code)
	}
	var ts struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	err = json.Unmarshal(w.Body.Bytes(), &ts)
	return ts.Signed.Version, sha256.Sum256(w.Body.Bytes()), err
}

// sameState says whether two folders hold the same repository.
func sameState(t *testing.T, a, b string) bool {
	t.Helper()
	var states [2][]byte
	for i, dir := range []string{a, b} {
		m, err := publisher.ReadManifest(dir)
		if err != nil {
			t.Fatal(err)
		}
		if states[i], err = m.Marshal(); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.Equal(states[0], states[1])
}

// TestTwoHubs: two hubs beside each other.
func TestTwoHubs(t *testing.T) {
	a, b, later := twoHubs(t)
	ctx := t.Context()

	// A gate that asks both in turn sees versions rise, and each with one content.
	var gates sync.WaitGroup
	stop := make(chan struct{})
	for i := range 2 {
		gates.Go(func() {
			contents := map[int64][32]byte{}
			var last int64
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				v, sum, err := seenTimestamp([]*Hub{a, b}[n%2])
				if err != nil {
					t.Errorf("timestamp: %v", err)
					return
				}
				if v < last {
					t.Errorf("a gate saw version %d after %d", v, last)
				}
				if was, ok := contents[v]; ok && was != sum {
					t.Errorf("version %d has two contents", v)
				}
				last, contents[v] = v, sum
			}
		})
	}

	// A stalls between its signature and the moment in which it counts; B takes over.
	issueOne(t, a, "green", "static", nil)
	first, err := a.Publish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(ctx); !errors.Is(err, ErrNotLeader) {
		t.Errorf("publish at the hub that does not lead: %v", err)
	}
	epoch, err := a.shared.leads()
	if err != nil {
		t.Fatal(err)
	}
	head, rev, err := a.shared.mine(ctx, epoch)
	if err != nil {
		t.Fatal(err)
	}
	stalled, err := a.publisher.Publish(ctx, publisher.Contents{Issued: time.Now()})
	if err != nil || stalled.Timestamp != first.Timestamp+1 {
		t.Fatalf("signed %d, %v", stalled.Timestamp, err)
	}
	takeOver(t, b, later)
	second, err := b.Publish(ctx)
	if err != nil || second.Timestamp != stalled.Timestamp {
		t.Fatalf("the new leader published %d, %v; want %d", second.Timestamp, err, stalled.Timestamp)
	}
	if err := a.shared.push(ctx, epoch, head, rev); !errors.Is(err, ErrNotLeader) {
		t.Errorf("what a stalled leader signed became visible: %v", err)
	}
	if _, err := a.Publish(ctx); !errors.Is(err, ErrNotLeader) {
		t.Errorf("publish of the old leader: %v", err)
	}
	if err := a.shared.fresh(ctx); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{a.paths.lists(), a.paths.served(), b.paths.served()} {
		if !sameState(t, dir, b.paths.lists()) {
			t.Errorf("%s is not what was published", dir)
		}
	}
	// Nor does anybody sign there with the offline keys.
	if _, err := a.publisher.Renew(ctx); !errors.Is(err, publisher.ErrFollower) {
		t.Errorf("renew at the hub that does not lead: %v", err)
	}

	// Both believe in turn that the other one is gone, and publish as they can.
	var mu sync.Mutex
	published := map[int64]string{}
	var race sync.WaitGroup
	for _, h := range []*Hub{a, b} {
		race.Go(func() {
			for range 8 {
				later(h, leaseTime)
				if err := h.shared.tick(ctx); err != nil && !isAway(err) && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrConflict) {
					t.Errorf("tick: %v", err)
				}
				out, err := h.Publish(ctx)
				if errors.Is(err, ErrNotLeader) {
					continue
				}
				if err != nil {
					t.Errorf("publish: %v", err)
					continue
				}
				mu.Lock()
				if who := published[out.Timestamp]; who != "" {
					t.Errorf("version %d was published by %s and by %s", out.Timestamp, who, h.shared.me.Name)
				}
				published[out.Timestamp] = h.shared.me.Name
				mu.Unlock()
			}
		})
	}
	race.Wait()
	if len(published) == 0 {
		t.Error("nobody published")
	}
	close(stop)
	gates.Wait()

	t.Run("claims", func(t *testing.T) {
		takeOver(t, a, later)
		d, _ := issueOne(t, b, "green", "static", nil)
		later(a, -time.Hour) // it keeps the lease for the time of this
		claimsAgainstLists(t, []*Hub{a, b}, a, d.ID)
	})
	t.Run("spending", func(t *testing.T) {
		if _, err := create(ctx, a.store.registry, "token.test", tokenForTest{}); err != nil {
			t.Fatal(err)
		}
		var spent atomic.Int32
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				h := []*Hub{a, b}[i%2]
				_, _, err := update(ctx, h.store.registry, "token.test", func(v *tokenForTest) error {
					if v.Spent {
						return ErrConflict
					}
					v.Spent = true
					return nil
				})
				if err == nil {
					spent.Add(1)
				} else if !errors.Is(err, ErrConflict) {
					t.Errorf("spend: %v", err)
				}
			})
		}
		wg.Wait()
		if n := spent.Load(); n != 1 {
			t.Errorf("one token was spent %d times", n)
		}
	})
	t.Run("ingest", func(t *testing.T) {
		g := addGate(t, a, "north")
		rec, err := b.gate(ctx, "north")
		if err != nil {
			t.Fatal(err)
		}
		g.pass(t, 60, gate.Valid)
		var wg sync.WaitGroup
		for _, h := range []*Hub{a, b} {
			for _, step := range []uint64{3, 10} {
				wg.Go(func() {
					for acknowledged := uint64(0); acknowledged < g.seq; {
						n, _, err := h.ingest(ctx, "north", rec, g.batch(t, acknowledged+1, min(acknowledged+step, g.seq)))
						var gap *gapError
						if errors.As(err, &gap) {
							n = gap.expected - 1
						} else if errors.Is(err, ErrConflict) {
							continue // the other hub was faster each time; the gate comes again
						} else if err != nil {
							t.Errorf("ingest: %v", err)
							return
						}
						acknowledged = n
					}
				})
			}
		}
		wg.Wait()
		verifyGate(t, b, "north", g.seq)
		verifyGate(t, a, "north", g.seq)
	})
	t.Run("away", func(t *testing.T) {
		// A hub that cannot look sends its gates away rather than show them old lists.
		b.store.conn.Close()
		if _, _, err := seenTimestamp(b); err == nil || err.Error() != "status 503" {
			t.Errorf("lists of a hub that is cut off: %v", err)
		}
		if err := b.Ready(); err == nil {
			t.Error("it is ready")
		}
		if _, _, err := seenTimestamp(a); err != nil {
			t.Errorf("lists of the other: %v", err)
		}
	})
}

type tokenForTest struct {
	Spent bool `json:"spent"`
}
