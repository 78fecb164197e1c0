package wire

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"greengate/gate"
	"greengate/pass/statuslist"
	"greengate/store"
	"greengate/sync/hub/publisher"
	"greengate/sync/trust"
)

// Two gates follow one list over TLS, one from each generation to the next, the
// other now and then, and both are started anew before each poll. After the
// first time everything comes as deltas, and both hold what was published.
func TestGatesFollowByDeltas(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	repo := filepath.Join(dir, "repo")
	p, err := publisher.Init(filepath.Join(dir, "keys"), repo, publisher.Options{
		Provinces: []string{"33"}, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	root, err := p.Root()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(publisher.Handler(repo))
	defer server.Close()
	log := slog.New(slog.DiscardHandler)

	const uri = "https://health.example/3301/0"
	r := rand.New(rand.NewPCG(3, 3))
	raw := make([]byte, 1<<16)
	for i := range raw {
		raw[i] = byte(r.Uint32() & r.Uint32() & r.Uint32())
	}
	recolour := func() {
		l, err := statuslist.FromRaw(bytes.Clone(raw), 2)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			if err := l.Set(r.Uint64N(l.Len()), uint8(r.IntN(4))); err != nil {
				t.Fatal(err)
			}
		}
		raw = l.Raw()
	}
	poll := func(name string) trust.Report {
		t.Helper()
		db, err := store.Open(filepath.Join(dir, name), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		fetcher, err := trust.NewHTTPS(server.URL, server.Client())
		if err != nil {
			t.Fatal(err)
		}
		clock := gate.NewWallClock(func() time.Time { return now }, func() bool { return true }, log)
		clock.Floor(db.Floor())
		c, err := trust.New(trust.Config{
			Root: root, Fetcher: fetcher, Store: trusted{db, clock.Floor}, Clock: clock, Regions: []string{"33"}, Log: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		report, err := c.Once(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(db.Bits(uri), raw) {
			t.Fatalf("%s holds another list than was published", name)
		}
		return report
	}
	for n := range 30 {
		now = now.Add(20 * time.Second)
		c := publisher.Contents{Issued: now, Lists: []publisher.List{{Info: statuslist.Info{URI: uri, Bits: 2}, Raw: raw}}}
		if _, err := p.Publish(ctx, c); err != nil {
			t.Fatal(err)
		}
		for name, every := range map[string]int{"near.db": 1, "far.db": 9} {
			if n%every != 0 {
				continue
			}
			report := poll(name)
			deltas, snapshots := 1, 0
			if n == 0 {
				deltas, snapshots = 0, 1
			}
			if report.Deltas != deltas || report.Snapshots != snapshots {
				t.Errorf("publish %d, %s: %d deltas and %d snapshots", n, name, report.Deltas, report.Snapshots)
			}
		}
		recolour()
	}
}
