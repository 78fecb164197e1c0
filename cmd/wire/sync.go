package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"greengate/store"
	"greengate/store/journal"
	"greengate/sync/trust"
	"greengate/sync/upload"
)

// synchronise makes what brings lists in and carries passages out.
func (g *Gate) synchronise() error {
	config, err := g.worn.wear(g.id, g.clock)
	if err != nil {
		return err
	}
	client := upload.NewClient(config)
	fetcher, err := trust.NewHTTPS(g.id.ListsURL, &http.Client{Transport: client.Transport})
	if err != nil {
		return err
	}
	if g.trust, err = trust.New(trust.Config{
		Root: g.id.TUFRoot, Fetcher: fetcher, Store: trusted{g.db, g.clock.Floor}, Clock: g.clock,
		Regions: g.cfg.Lists.Hold, Foreign: g.cfg.Lists.Foreign, Every: time.Duration(g.cfg.Lists.PollEvery), Log: g.log,
	}); err != nil {
		return err
	}
	g.renewer = g.newRenewer(client)
	g.wake = make(chan struct{}, 1)
	g.uploader = &upload.Uploader{
		Journal: outgoing{g.journal}, Client: client, URL: g.id.HubURL, Gate: g.id.Gate, Signer: &g.worn,
		Wake: g.wake, HubTime: g.clock.Confirm, Condition: g.Condition, Instance: upload.NewInstance(), Wipe: g.ordered, Log: g.log,
	}
	return nil
}

// trusted is the store as the lists' client sees it. A signed time that is on
// disk raises the clock's floor too.
type trusted struct {
	*store.DB
	floor func(time.Time)
}

// Install implements trust.Store.
func (t trusted) Install(f func(trust.Tx) error) error {
	if err := t.DB.Install(func(tx *store.Tx) error { return f(tx) }); err != nil {
		return err
	}
	t.floor(t.DB.Floor())
	return nil
}

// outgoing is the journal as the upload sees it.
type outgoing struct{ *journal.Log }

// Acknowledged implements upload.Journal.
func (o outgoing) Acknowledged() uint64 { return o.State().Acknowledged }

// Last implements upload.Journal.
func (o outgoing) Last() uint64 { return o.State().Next - 1 }

// watchJournal wakes the upload when something was written.
func (g *Gate) watchJournal(ctx context.Context) error {
	for last := g.journal.State().Next - 1; ; {
		if err := g.journal.Wait(ctx, last); err != nil {
			return err
		}
		last = g.journal.State().Next - 1
		select {
		case g.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// tls returns the pages' TLS: a certificate for the gate, and a certificate
// wanted of each tablet, from the authority named.
func (c WebConfig) tls() (*tls.Config, error) {
	if c.Certificate == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("web.certificate: %w", err)
	}
	text, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("web.client_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("web.client_ca: no certificate in %s", c.ClientCA)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}, nil
}
