package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/store"
	"greengate/sync/hub"
	"greengate/sync/trust"
)

// From the operator's file to the gate's answer: lists are set over the socket
// of a running hub, which is stopped between the steps, and a gate that is
// started anew before each poll fetches them from the hub itself.
func TestRevocationsFromOperatorToGate(t *testing.T) {
	ctx := context.Background()
	const (
		berlin  = "DEsVUSvpFAE="
		ontario = "3Kfdg-XwP-7gXyywtUfUADwBumDOPKMQx-iELL11W9s"
	)
	start := time.Now()
	var offset time.Duration
	now := func() time.Time { return start.Add(offset) }
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	options := hub.Options{Now: now, PublishDelay: -1, Heartbeat: -1}
	hubDir := filepath.Join(dir, "hub")
	if err := hub.Init(ctx, hubDir, hub.Config{Name: "test", URL: "https://" + address, Provinces: []string{"33"}}, options); err != nil {
		t.Fatal(err)
	}
	// run serves the hub while do does something with it.
	run := func(do func(*hub.Client)) {
		t.Helper()
		h, err := hub.Open(ctx, hubDir, options)
		if err != nil {
			t.Fatal(err)
		}
		if l == nil {
			if l, err = net.Listen("tcp", address); err != nil {
				t.Fatal(err)
			}
		}
		admin, err := h.ListenAdmin()
		if err != nil {
			t.Fatal(err)
		}
		serve, stop := context.WithCancel(ctx)
		served := make(chan error, 1)
		gates := l
		go func() { served <- h.Serve(serve, gates, nil, admin) }()
		c := hub.NewClient(hubDir)
		defer func() {
			c.Close()
			stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
			l = nil
		}()
		do(c)
	}
	set := func(c *hub.Client, scheme, kid, text string) error {
		_, err := c.SetRevocation(ctx, hub.RevocationRequest{Scheme: scheme, KID: kid, By: "op"}, strings.NewReader(text))
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	publish := func(c *hub.Client) {
		t.Helper()
		offset += 20 * time.Second
		if p, err := c.Publish(ctx); err != nil || p.RevocationsFailed != "" {
			t.Fatal(p, err)
		}
	}
	hashes := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "%x\n", hashlist.EUUCI(fmt.Sprint("URN:UVCI:", i)))
		}
		return b.String()
	}

	var bundle hub.Bundle
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	log := slog.New(slog.DiscardHandler)
	// poll opens the gate's file, polls once and asks.
	poll := func(ask func(*store.DB)) trust.Report {
		t.Helper()
		transport.CloseIdleConnections() // of a hub that is no more
		db, err := store.Open(filepath.Join(dir, "gate.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		fetcher, err := trust.NewHTTPS(bundle.ListsURL, &http.Client{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		clock := gate.NewWallClock(now, func() bool { return true }, log)
		clock.Floor(db.Floor())
		c, err := trust.New(trust.Config{
			Root: bundle.TUFRoot, Fetcher: fetcher, Store: trusted{db, clock.Floor}, Clock: clock, Foreign: []string{"eu", "shc"}, Log: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		report, err := c.Once(ctx)
		if err != nil {
			t.Fatal(err)
		}
		ask(db)
		return report
	}
	id := func(scheme hashlist.Scheme, kid string, h hashlist.Hash) pass.RevocationID {
		key, err := scheme.ParseKID(kid)
		must(err)
		raw, err := hex.DecodeString(key)
		must(err)
		return pass.RevocationID{Scheme: string(scheme), KeyID: raw, Hash: h}
	}
	eu := func(n int) pass.RevocationID {
		return id(hashlist.EU, berlin, hashlist.EUUCI(fmt.Sprint("URN:UVCI:", n)))
	}
	shc := func(rid string) pass.RevocationID {
		h, err := hashlist.SHCRevocationID(rid)
		must(err)
		return id(hashlist.SHC, ontario, h)
	}

	// Three hashes and a card list; the hub is restarted before it publishes them.
	run(func(c *hub.Client) {
		var err error
		bundle, err = c.AddGate(ctx, hub.GateRequest{Gate: "east-1", By: "op"})
		must(err)
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(bundle.HubCA)) {
			t.Fatal("no certificate in the bundle")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
		publish(c)
		must(set(c, "eu", berlin, hashes(0, 3)))
		must(set(c, "shc", ontario, `{"kid":"`+ontario+`","method":"rid","ctr":1,"rids":["lost","stolen.1600000000"]}`))
		poll(func(db *store.DB) {
			if r := db.Revoked(eu(0)); r.Found {
				t.Errorf("not published yet: %+v", r)
			}
		})
	})
	run(func(c *hub.Client) {
		publish(c)
		poll(func(db *store.DB) {
			for n := range 4 {
				if r := db.Revoked(eu(n)); !r.Found || r.Revoked != (n < 3) {
					t.Errorf("eu %d: %+v", n, r)
				}
			}
			if r := db.Revoked(shc("lost")); !r.Revoked || !r.Before.IsZero() {
				t.Errorf("lost: %+v", r)
			}
			if r := db.Revoked(shc("stolen")); !r.Revoked || !r.Before.Equal(time.Unix(1600000000, 0)) {
				t.Errorf("stolen: %+v", r)
			}
			if r := db.Revoked(shc("kept")); !r.Found || r.Revoked {
				t.Errorf("kept: %+v", r)
			}
		})

		// A list that shrinks comes as a delta.
		must(set(c, "eu", berlin, hashes(0, 5000)))
		publish(c)
		whole := poll(func(db *store.DB) {
			if r := db.Revoked(eu(4999)); !r.Revoked {
				t.Errorf("eu 4999: %+v", r)
			}
		})
		// A file with a bad line changes nothing.
		if err := set(c, "eu", berlin, hashes(0, 4990)+"x\n"); err == nil || !strings.Contains(err.Error(), "line 4991") {
			t.Errorf("a bad line: %v", err)
		}
		must(set(c, "eu", berlin, hashes(0, 4990)))
		publish(c)
		delta := poll(func(db *store.DB) {
			if in, out := db.Revoked(eu(4989)), db.Revoked(eu(4990)); !in.Revoked || !out.Found || out.Revoked {
				t.Errorf("eu 4989 %+v, 4990 %+v", in, out)
			}
		})
		if whole.Fetched < 80_000 || delta.Fetched > 10_000 {
			t.Errorf("%d bytes fetched for the list, %d for the smaller one", whole.Fetched, delta.Fetched)
		}

		// Dropped, and set again before the gate heard of it.
		drop := func() {
			t.Helper()
			_, err := c.DropRevocation(ctx, hub.RevocationRequest{Scheme: "eu", KID: berlin, By: "op"})
			must(err)
			publish(c)
		}
		drop()
		must(set(c, "eu", berlin, hashes(7, 8)))
		publish(c)
		poll(func(db *store.DB) {
			if r, s := db.Revoked(eu(7)), db.Revoked(eu(8)); !r.Revoked || !s.Found || s.Revoked {
				t.Errorf("after it came back: eu 7 %+v, 8 %+v", r, s)
			}
		})
		drop()
		poll(func(db *store.DB) {
			if r := db.Revoked(eu(7)); r.Found {
				t.Errorf("dropped: %+v", r)
			}
			if r := db.Revoked(shc("lost")); !r.Revoked {
				t.Errorf("the other one: %+v", r)
			}
		})
	})
}
