package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate"
)

// childMove are the addresses of the cluster to which a child moves its hub.
const childMove = "GREENGATE_TEST_MOVE"

// moveChild moves a hub as far as the middle of its passages, and hangs there.
func moveChild(dir string) error {
	o := quiet()
	o.Cluster.URLs = strings.Split(os.Getenv(childMove), ",")
	steps := 0
	return Move(context.Background(), dir, o, func(s MoveStep) {
		if s.Stream == passagesStream {
			steps++
		}
		if steps == 3 { // the cluster has taken two pieces
			fmt.Printf("%d of %d\n", s.Bytes, s.Of)
			select {}
		}
	})
}

// killMove begins a move and kills it in the middle of the passages.
func killMove(t *testing.T, dir string, nodes []string) {
	t.Helper()
	child, line := startChild(t, dir, os.Stderr, childMove+"="+strings.Join(nodes, ","))
	kill(t, child)
	var bytes, of uint64
	if _, err := fmt.Sscanf(line, "%d of %d", &bytes, &of); err != nil || bytes >= of {
		t.Fatalf("it was killed at %q: %v; want the middle", line, err)
	}
}

// held is everything in a bucket: key, revision, value.
func held(t testing.TB, kv jetstream.KeyValue) map[string]string {
	t.Helper()
	list, err := kv.ListKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for key := range list.Keys() {
		e, err := kv.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		out[key] = fmt.Sprintf("%d %s %s", e.Revision(), e.Created(), e.Value())
	}
	return out
}

// onCluster does something on a cluster as the hub in dir, without opening a hub.
func onCluster(t testing.TB, dir string, o Options, do func(context.Context, jetstream.JetStream) error) {
	t.Helper()
	o = o.withDefaults()
	authority, err := openCA(paths{dir}.ca(), "", o.Now())
	if err != nil {
		t.Fatal(err)
	}
	s, err := o.Cluster.reach(t.Context(), authority, o.Now, o.Log, func(s *storage, system *nats.Conn, replicas int) error {
		m := mover{system: system, replicas: replicas}
		return m.ready(t.Context(), s)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := do(t.Context(), s.js); err != nil {
		t.Fatal(err)
	}
}

// TestMove: a gate sends passages to a hub on its own storage, and does not hear
// of the last. The hub moves to three nodes, is killed at that, works on as it was, and
// moves again. The gate goes on at the cluster, where every record is once and
// every key of the registry has its revision.
func TestMove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	if err := Init(t.Context(), dir, testConfig(), quiet()); err != nil {
		t.Fatal(err)
	}
	c := clusterOf(t, dir)
	o := c.on(quiet())
	if h, err := Open(t.Context(), dir, o); err == nil {
		h.Close()
		t.Fatal("served from a cluster that has nothing of it")
	} else {
		refuses(t, "serve -nats before the move", err, ErrInvalid, "gatehub move")
	}
	silent := func(MoveStep) {}

	var g *testGate
	var acknowledged, batches uint64
	// works opens the hub, does something there, and closes it again.
	works := func(o Options, do func(t *testing.T, h *Hub, url string)) {
		t.Helper()
		t.Run("serve", func(t *testing.T) {
			h := openHub(t, dir, o)
			url, _ := serve(t, h)
			do(t, h, url)
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	post := func(t *testing.T, url string, first uint64) {
		t.Helper()
		status, n, word := g.post(t, url, g.batch(t, first, g.seq))
		if status != 200 || n != g.seq {
			t.Fatalf("status %d, acknowledged %d of %d, %q", status, n, g.seq, word)
		}
	}
	works(quiet(), func(t *testing.T, h *Hub, url string) {
		g = addGate(t, h, "north")
		g.pass(t, 3000, gate.Valid)
		g.send(t, url, 0)
		acknowledged = g.seq
		for i := range 8 { // more than a bucket keeps: its sequences have gaps
			if err := h.SetPolicy(t.Context(), Document{json.RawMessage(fmt.Sprintf(`{"fever_at_millicelsius":%d}`, 37000+i)), "op"}); err != nil {
				t.Fatal(err)
			}
		}
		issueOne(t, h, "green", "static", nil)
		if _, err := h.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		// An erased key is a gap in the middle of a stream, or at its end.
		last, err := h.store.keys.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.store.keys.SecureDeleteMsg(t.Context(), last.State.LastSeq); err != nil {
			t.Fatal(err)
		}
		if err := Move(t.Context(), dir, o, silent); err == nil || !strings.Contains(err.Error(), "stop the hub") {
			t.Errorf("a hub that runs is moved: %v", err)
		}
	})

	// Somebody else is on the way to this cluster: nothing is touched.
	foreign := func(owner string) func(context.Context, jetstream.JetStream) error {
		return func(ctx context.Context, js jetstream.JetStream) error {
			_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: moveStream, Subjects: []string{moveSubject}, Metadata: map[string]string{moveOwner: owner}})
			return err
		}
	}
	onCluster(t, dir, o, foreign("another"))
	refuses(t, "a move to where another hub moves", Move(t.Context(), dir, o, silent), ErrForeignCluster, "of this hub's own")
	onCluster(t, dir, o, func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, moveStream) })

	killMove(t, dir, o.Cluster.URLs)
	works(quiet(), func(t *testing.T, h *Hub, url string) {
		verifyGate(t, h, "north", acknowledged)
		// The answer to these is lost: the gate sends them again, wherever the hub is then.
		g.pass(t, 5, gate.Valid)
		post(t, url, acknowledged+1)
	})
	before, err := os.ReadFile(paths{dir}.config())
	if err != nil {
		t.Fatal(err)
	}

	// A kept stream, one that grew since, and the half of one.
	kept, brought := map[string]bool{}, map[string]bool{}
	if err := Move(t.Context(), dir, o, func(s MoveStep) {
		if s.Done {
			kept[s.Stream], brought[s.Stream] = s.Kept, true
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !kept["KV_"+codesBucket] || kept[passagesStream] || len(brought) != 7 {
		t.Errorf("kept by the second run: %v", kept)
	}
	refuses(t, "a second move", Move(t.Context(), dir, o, silent), ErrConflict, "serve -nats")
	if h, err := Open(t.Context(), dir, quiet()); err == nil {
		h.Close()
		t.Error("it still serves from its own folder")
	} else {
		refuses(t, "serve without -nats after the move", err, ErrInvalid, "-nats")
	}

	// What the folder holds is what the cluster holds, revision by revision.
	s, err := openEmbedded(t.Context(), paths{dir}.jetstream(), quiet().withDefaults().Log)
	if err != nil {
		t.Fatal(err)
	}
	registry, codes := held(t, s.registry), held(t, s.codes)
	s.close()
	onCluster(t, dir, o, func(ctx context.Context, js jetstream.JetStream) error {
		for bucket, want := range map[string]map[string]string{registryBucket: registry, codesBucket: codes} {
			kv, err := js.KeyValue(ctx, bucket)
			if err != nil {
				return err
			}
			if got := held(t, kv); len(want) == 0 || !maps.Equal(got, want) {
				t.Errorf("bucket %s: %d keys, want the hub's own %d with their revisions", bucket, len(got), len(want))
			}
		}
		return nil
	})

	var log heardLog
	served := o
	served.Log = slog.New(slog.NewTextHandler(&log, nil))
	works(served, func(t *testing.T, h *Hub, url string) {
		post(t, url, acknowledged+1) // again, as nobody answered
		acknowledged = g.seq
		g.pass(t, 5, gate.RedCode)
		post(t, url, acknowledged+1)
		verifyGate(t, h, "north", g.seq)
		if err := h.SetPolicy(t.Context(), Document{json.RawMessage(`{"fever_at_millicelsius":38000}`), "op"}); err != nil {
			t.Errorf("policy after the move: %v", err)
		}
		if _, err := h.Publish(t.Context()); err != nil {
			t.Errorf("publish after the move: %v", err)
		}
		if _, err := h.store.js.Stream(t.Context(), moveStream); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("the mark of the move is there still: %v", err)
		}
		info, err := h.store.passages.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		batches = info.State.LastSeq
		if !log.has("retention does not reach it", paths{dir}.jetstream()) {
			t.Error("nobody is told of what lies in the folder still")
		}
		// Each record is on other nodes than the one that took the copy.
		for i, name := range c.names {
			if name == info.Cluster.Leader {
				c.stop(i)
			}
		}
		eventually(t, "without the node that led", func() error {
			v, err := h.Verify(t.Context(), GateRef{Gate: "north"})
			if err != nil {
				return err
			}
			if !v.OK() || v.Records != g.seq {
				return fmt.Errorf("%+v", v)
			}
			return nil
		})
		for i, n := range c.nodes {
			if n == nil {
				c.start(i)
			}
		}
	})

	// The folder comes back from a copy of before the move: what came since is not taken for a copy.
	if err := os.WriteFile(paths{dir}.config(), before, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, "a move onto passages that came since", Move(t.Context(), dir, o, silent), ErrForeignCluster, "no hub has written to")
	// Nor where the mark of a move were there still.
	onCluster(t, dir, o, func(ctx context.Context, js jetstream.JetStream) error {
		ca, err := openCA(paths{dir}.ca(), "", time.Now())
		if err != nil {
			return err
		}
		return foreign(ownerOf(ca))(ctx, js)
	})
	refuses(t, "a move onto passages that came since, with a mark", Move(t.Context(), dir, o, silent), ErrForeignCluster, "an older copy")
	onCluster(t, dir, o, func(ctx context.Context, js jetstream.JetStream) error {
		s, err := js.Stream(ctx, passagesStream)
		if err != nil {
			return err
		}
		if n := s.CachedInfo().State.LastSeq; n != batches || n == 0 {
			t.Errorf("%d batches are there, want %d", n, batches)
		}
		return nil
	})
}
