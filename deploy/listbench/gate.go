package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"greengate/gate"
	"greengate/store"
	"greengate/sync/trust"
)

// listGate is the part of a gate that the lists go through, put together as
// package wire does it.
type listGate struct {
	path   string
	db     *store.DB
	client *trust.Client
}

// trusted is the store as the lists' client sees it.
type trusted struct {
	*store.DB
	floor     func(time.Time)
	installed func()
}

// Install implements trust.Store.
func (t trusted) Install(f func(trust.Tx) error) error {
	if err := t.DB.Install(func(tx *store.Tx) error { return f(tx) }); err != nil {
		return err
	}
	if t.installed != nil {
		t.installed()
	}
	t.floor(t.DB.Floor())
	return nil
}

// openListGate opens a gate whose store is the file at path. installed, where
// it is not nil, is called when a transaction is on the disk and answers.
func openListGate(path string, root []byte, from trust.Fetcher, now func() time.Time, installed func()) (*listGate, error) {
	db, err := store.Open(path, store.Options{})
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	clock := gate.NewWallClock(now, func() bool { return true }, log)
	clock.Floor(db.Floor())
	client, err := trust.New(trust.Config{Root: root, Fetcher: from, Store: trusted{db, clock.Floor, installed}, Clock: clock, Regions: []string{"33"}, Log: log})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &listGate{path, db, client}, nil
}

func (g *listGate) close() error { return g.db.Close() }

// gate opens a gate with the authority's clock.
func (a *authority) gate(path string) (*listGate, func() error, error) {
	return a.gateAt(path, func() time.Time { return a.now })
}

// gateAt opens a gate that reads the authority's folder, as from a stick.
func (a *authority) gateAt(path string, now func() time.Time) (*listGate, func() error, error) {
	dir, err := trust.OpenDir(a.dir)
	if err != nil {
		return nil, nil, err
	}
	g, err := openListGate(path, a.root, dir, now, nil)
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	return g, func() error { return errors.Join(g.close(), dir.Close()) }, nil
}

// poll runs the client once.
func (g *listGate) poll(ctx context.Context) (trust.Report, error) { return g.client.Once(ctx) }

// removeStore removes a store's file with all that lies beside it.
func removeStore(path string) error {
	files, err := filepath.Glob(path + "*")
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasPrefix(filepath.Base(f), filepath.Base(path)) {
			err = errors.Join(err, os.Remove(f))
		}
	}
	return err
}
