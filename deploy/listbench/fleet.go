package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/sync/enrol"
	"greengate/sync/hub"
	"greengate/sync/trust"
	"greengate/sync/upload"
)

// propagate measures how long a recolour takes from the hub's answer to each
// of the gates. The hub is a real one, with its registry and its own delays;
// each gate has its identity, its connection over mutual TLS, its store, and
// polls when it wants to. Time is real.
func (b *bench) propagate(ctx context.Context) error {
	gates, recolours, every := 200, 4, 45*time.Second
	switch b.fleet {
	case "skip":
		return nil
	case "short":
		gates, recolours, every = 20, 1, 0
	case "full":
	default:
		return fmt.Errorf("fleet is %q: want full, short or skip", b.fleet)
	}
	return b.temp(func(dir string) (err error) {
		f := &fleet{dir: dir}
		ctx, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer func() {
			stop()
			running.Wait()
			err = errors.Join(err, f.close())
		}()
		if err := f.openHub(ctx, recolours, &running); err != nil {
			return err
		}
		// Gates start when they are switched on, not together. Those that were
		// switched on long ago have their lists.
		spread := time.Minute
		if b.fleet == "short" {
			spread = 20 * time.Second
		}
		for n := range gates {
			if err := f.add(ctx, n); err != nil {
				return err
			}
		}
		began := time.Now()
		for n, g := range f.gates {
			running.Go(func() {
				if sleep(ctx, time.Until(began.Add(spread*time.Duration(n)/time.Duration(gates)))) == nil {
					g.ended = g.client.Run(ctx)
				}
			})
		}
		if err := sleep(ctx, spread+time.Second); err != nil {
			return err
		}
		for k := range recolours {
			if k > 0 {
				if err := sleep(ctx, every); err != nil {
					return err
				}
			}
			if err := f.recolour(ctx, k); err != nil {
				return err
			}
			fmt.Fprintf(b.progress, "listbench: recolour %d of %d\n", k+1, recolours)
		}
		// Twice what is allowed: who has not heard by then is a gate that was not reached.
		deadline := time.Now().Add(3 * time.Minute)
		for f.missing() > 0 && time.Now().Before(deadline) {
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
		}
		if n := f.missing(); n > 0 {
			return fmt.Errorf("%d of %d effects did not come", n, gates*recolours)
		}
		took, polls := f.results()
		for len(polls) < gates/4 { // the next polls bring nothing
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
			took, polls = f.results()
		}
		b.note("propagate.gates", strconv.Itoa(gates), "gates")
		b.say("propagate.s", percentile(took, 0.99), "s")
		b.say("propagate.median.s", median(took), "s")
		b.say("propagate.max.s", percentile(took, 1), "s")
		b.say("poll.bytes", float64(median(polls)), "B")
		b.say("poll.max.bytes", float64(percentile(polls, 1)), "B")
		return nil
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// fleet is a hub and its gates.
type fleet struct {
	dir   string
	hub   *hub.Hub
	gates []*fleetGate
	codes []pass.StatusRef
	refs  []hub.Ref

	mu sync.Mutex
	at []time.Time // when each code was turned red, zero for not yet
}

// fleetGate is one gate.
type fleetGate struct {
	*listGate
	transport *http.Transport
	meter     meter
	ended     error
	effects   []time.Time // when its lookup first said red; under the fleet's mu
}

// openHub starts a hub that has issued so many green codes.
func (f *fleet) openHub(ctx context.Context, codes int, running *sync.WaitGroup) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	dir := filepath.Join(f.dir, "hub")
	config := hub.Config{Name: "figures", URL: "https://" + listener.Addr().String(), Provinces: []string{"33"}}
	if err := hub.Init(ctx, dir, config, hub.Options{}); err != nil {
		return errors.Join(err, listener.Close())
	}
	if f.hub, err = hub.Open(ctx, dir, hub.Options{}); err != nil {
		return errors.Join(err, listener.Close())
	}
	for n := range codes {
		d, err := f.hub.Declare(ctx, hub.DeclareRequest{Name: fmt.Sprintf("Person %d", n), Region: "330106", Category: "resident"})
		if err != nil {
			return err
		}
		if _, err := f.hub.Review(ctx, hub.ReviewRequest{Declaration: d.ID, Colour: gate.Green.String(), Reviewer: "figures"}); err != nil {
			return err
		}
		code, err := f.hub.Issue(ctx, hub.IssueRequest{Declaration: d.ID, Kind: pass.KindStatic.String(), By: "figures"})
		if err != nil {
			return err
		}
		f.refs, f.codes = append(f.refs, code.Status), append(f.codes, code.Status.StatusRef())
	}
	f.at = make([]time.Time, codes)
	if _, err := f.hub.Publish(ctx); err != nil {
		return err
	}
	running.Go(func() {
		if err := f.hub.Serve(ctx, listener, nil, nil); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "listbench: hub:", err)
		}
	})
	return nil
}

// add enrols a gate and opens its store.
func (f *fleet) add(ctx context.Context, n int) error {
	bundle, err := f.hub.AddGate(ctx, hub.GateRequest{Gate: fmt.Sprintf("gate-%d", n), By: "figures"})
	if err != nil {
		return err
	}
	id := enrol.Identity{Gate: bundle.Gate, HubURL: bundle.HubURL, ListsURL: bundle.ListsURL, HubCA: bundle.HubCA,
		Certificate: bundle.Certificate, PrivateKey: bundle.PrivateKey, TUFRoot: bundle.TUFRoot, HubKey: bundle.HubKey}
	config, err := id.TLSConfig(gate.NewWallClock(time.Now, func() bool { return true }, slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	g := &fleetGate{effects: make([]time.Time, len(f.codes))}
	g.transport = upload.NewClient(config).Transport.(*http.Transport)
	g.meter.count(g.transport)
	fetcher, err := trust.NewHTTPS(id.ListsURL, &http.Client{Transport: pollMeter{&g.meter, g.transport}})
	if err != nil {
		return err
	}
	g.listGate, err = openListGate(filepath.Join(f.dir, fmt.Sprintf("gate-%d.db", n)), id.TUFRoot, fetcher, time.Now, func() { f.installed(g) })
	if err != nil {
		return err
	}
	f.gates = append(f.gates, g)
	return nil
}

// recolour turns a code red. The time counts from before the hub is told.
func (f *fleet) recolour(ctx context.Context, k int) error {
	f.mu.Lock()
	f.at[k] = time.Now()
	f.mu.Unlock()
	_, err := f.hub.Recolour(ctx, hub.RecolourRequest{Status: &f.refs[k], Colour: gate.Red.String(), By: "figures"})
	return err
}

// installed looks at what the gate answers now.
func (f *fleet) installed(g *fleetGate) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, code := range f.codes {
		if !f.at[k].IsZero() && g.effects[k].IsZero() && g.db.Lookup(code).Status == gate.Red {
			g.effects[k] = now
		}
	}
}

// missing is how many effects are still to come.
func (f *fleet) missing() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.gates {
		for _, at := range g.effects {
			if at.IsZero() {
				n++
			}
		}
	}
	return n
}

// results are the seconds of all effects, and the bytes of all polls that
// brought nothing.
func (f *fleet) results() (took []float64, polls []int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.gates {
		for k, at := range g.effects {
			took = append(took, at.Sub(f.at[k]).Seconds())
		}
		g.meter.mu.Lock()
		polls = append(polls, g.meter.polls...)
		g.meter.mu.Unlock()
	}
	return took, polls
}

func (f *fleet) close() (err error) {
	for _, g := range f.gates {
		g.transport.CloseIdleConnections()
		err = errors.Join(err, g.ended, g.close())
	}
	if f.hub != nil {
		err = errors.Join(err, f.hub.Close())
	}
	return err
}
