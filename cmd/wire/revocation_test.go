package wire

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/store"
	"greengate/sync/hub/publisher"
	"greengate/sync/trust"
)

// What is revoked of a foreign issuer's key, from the publisher's folder over
// TLS into the store's file, with the real one of each; the file is opened anew
// between the steps.
func TestRevocationsFromHubToGate(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2022, 3, 1, 8, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	repo := filepath.Join(dir, "repo")
	p, err := publisher.Init(filepath.Join(dir, "keys"), repo, publisher.Options{Now: func() time.Time { return now }})
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
	kid := []byte{0x0c, 0x4b, 0x15, 0x51, 0x2b, 0xe9, 0x14, 0x01}
	hash := func(n uint64) hashlist.Hash {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
		return hashlist.Hash(sum[:16])
	}
	publish := func(n uint64) {
		t.Helper()
		now = now.Add(20 * time.Second)
		var entries []hashlist.Entry
		for i := range n {
			entries = append(entries, hashlist.Entry{Hash: hash(i)})
		}
		if _, err := p.Publish(ctx, publisher.Contents{Issued: now, Revocations: []publisher.HashList{
			{Scheme: hashlist.EU, KeyID: hex.EncodeToString(kid), Entries: hashlist.Normal(entries)},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	// poll opens the file, polls once and asks for a code by its number.
	poll := func(number uint64) (gate.Revocation, trust.Report) {
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
			Root: root, Fetcher: fetcher, Store: trusted{db, clock.Floor}, Clock: clock, Foreign: []string{"eu"}, Log: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		report, err := c.Once(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return db.Revoked(pass.RevocationID{Scheme: "eu", KeyID: kid, Hash: hash(number)}), report
	}

	if r, _ := poll(7); r.Found {
		t.Errorf("nothing was published: %+v", r)
	}
	publish(100_000)
	if r, report := poll(99_999); !r.Revoked || r.Sequence != 1 || !r.Confirmed.Equal(now) || report.Fetched < 1_600_000 {
		t.Errorf("%+v, %d bytes fetched", r, report.Fetched)
	}
	if r, _ := poll(100_000); !r.Found || r.Revoked {
		t.Errorf("not revoked yet: %+v", r)
	}
	publish(100_001)
	if r, report := poll(100_000); !r.Revoked || r.Sequence != 2 || report.Fetched > 10_000 {
		t.Errorf("revoked now: %+v, %d bytes fetched, want a delta", r, report.Fetched)
	}
	if _, err := p.Rotate(ctx, "revocation"); err != nil {
		t.Fatal(err)
	}
	publish(100_002)
	if r, _ := poll(100_001); !r.Revoked || r.Sequence != 3 {
		t.Errorf("after the key was rotated: %+v", r)
	}
}
