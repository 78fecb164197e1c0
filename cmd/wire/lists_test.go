package wire

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/statuslist"
	"greengate/store"
	"greengate/sync/hub/publisher"
	"greengate/sync/trust"
)

// A recolour from the publisher's folder over TLS into the store's file, with
// the real one of each; the file is opened anew between the steps, as after a
// power cut.
func TestListsFromHubToGate(t *testing.T) {
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
	fetcher, err := trust.NewHTTPS(server.URL, server.Client())
	if err != nil {
		t.Fatal(err)
	}

	const uri = "https://health.example/3301/0"
	publish := func(c publisher.Contents, colour byte) publisher.Version {
		t.Helper()
		now = now.Add(20 * time.Second)
		c.Issued = now
		c.Lists = []publisher.List{{
			Info: statuslist.Info{URI: uri, Bits: 2}, Raw: bytes.Repeat([]byte{colour * 0x55}, 1<<18),
		}}
		v, err := p.Publish(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	// poll opens the file, polls once and asks for a code's colour.
	poll := func() (gate.Listing, gate.Policy, trust.Report) {
		t.Helper()
		db, err := store.Open(filepath.Join(dir, "gate.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		log := slog.New(slog.DiscardHandler)
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
		if !db.Floor().Equal(now) {
			t.Errorf("floor %s, want %s", db.Floor(), now)
		}
		return db.Lookup(pass.StatusRef{URI: uri, Index: 1<<20 - 1}), db.Policy(), report
	}

	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	policy := gate.DefaultPolicy()
	policy.Version = 7
	publish(publisher.Contents{
		Keys: []pass.Key{{ID: []byte("k1"), Algorithm: pass.EdDSA, Public: public, Use: pass.UseCode, Region: "33",
			NotBefore: now, NotAfter: now.AddDate(1, 0, 0)}},
		Policy: policy,
		Map:    gate.RiskMap{Version: 1, Day: "2020-02-17", Counties: map[string]gate.RiskLevel{"330106": gate.RiskLow}},
	}, 0)
	l, have, _ := poll()
	if l.Status != gate.Green || l.Sequence != 1 || have != policy || !l.Confirmed.Equal(now) {
		t.Errorf("first poll: %+v with policy %d", l, have.Version)
	}
	publish(publisher.Contents{}, 3)
	if l, _, report := poll(); l.Status != gate.Red || l.Sequence != 2 || len(report.Installed) != 1 {
		t.Errorf("recolour: %+v, installed %v", l, report.Installed)
	}
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "keys", "policy", "status-33"} {
		if _, err := p.Rotate(ctx, role); err != nil {
			t.Fatalf("rotate %s: %v", role, err)
		}
	}
	publish(publisher.Contents{}, 2)
	if l, _, _ := poll(); l.Status != gate.Yellow || l.Sequence != 3 {
		t.Errorf("after every key was rotated: %+v", l)
	}
	now = now.Add(time.Hour)
	if _, err := p.Heartbeat(ctx); err != nil {
		t.Fatal(err)
	}
	if l, _, report := poll(); !l.Confirmed.Equal(now) || len(report.Installed) != 0 || report.Fetched > 16<<10 {
		t.Errorf("heartbeat: %+v, report %+v", l, report)
	}
}
