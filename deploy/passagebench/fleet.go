package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// fleetFigures is what so many gates cost a hub.
type fleetFigures struct {
	gates   int
	cpu     float64 // seconds a gate in an hour
	bytes   float64 // a gate in a minute, both ways, TLS included
	rss     float64 // bytes
	records uint64
}

// passagesAMinute is 20,000 in a day.
const passagesAMinute = 14

// fleet measures hubs with 500, 1,000 and 2,000 gates that ask for lists and
// send passages as gates do, over a connection each that stays open, and says
// what the slope means for 100,000. 10,000 connections are held as well, idle.
func (b *bench) fleet(ctx context.Context) error {
	sizes := choose(b.short, []int{50, 100}, []int{500, 1000, 2000})
	minute, minutes := choose(b.short, 5*time.Second, time.Minute), 2
	var all []fleetFigures
	for _, n := range sizes {
		f, err := b.fleetOf(ctx, n, minute, minutes)
		if err != nil {
			return fmt.Errorf("%d gates: %w", n, err)
		}
		b.figure(fmt.Sprintf("hub.gates.%d.cpu", n), f.cpu*1000, "ms/gate-hour")
		b.figure(fmt.Sprintf("hub.gates.%d.bytes", n), f.bytes, "B/gate-minute")
		b.figure(fmt.Sprintf("hub.gates.%d.rss", n), f.rss/(1<<20), "MiB")
		b.count(fmt.Sprintf("hub.gates.%d.records", n), f.records, "records")
		all = append(all, f)
	}
	// The slope between the smallest and the largest; what is constant is a hub's own.
	first, last := all[0], all[len(all)-1]
	more := float64(last.gates - first.gates)
	kib := (last.rss - first.rss) / more / 1024
	cpu := (last.cpu*float64(last.gates) - first.cpu*float64(first.gates)) / more
	b.figure("hub.gates.slope.memory", kib, "KiB/gate")
	b.figure("hub.gates.slope.cpu", cpu*1000, "ms/gate-hour")
	b.figure("hub.gates.100000.cores", cpu*100000/3600, "cores")
	b.figure("hub.gates.100000.memory", kib*100000/(1<<20), "GiB")
	b.figure("hub.gates.100000.link", last.bytes*100000*8/60/1e6, "Mbit/s")
	return b.idle(ctx, choose(b.short, 500, 10000))
}

func (b *bench) fleetOf(ctx context.Context, n int, minute time.Duration, minutes int) (f fleetFigures, err error) {
	address, err := freeAddress()
	if err != nil {
		return f, err
	}
	name := fmt.Sprintf("gates-%d", n)
	dir, err := b.initHub(ctx, name, address)
	if err != nil {
		return f, err
	}
	h, err := b.serveHub(ctx, name+"-hub", dir, address)
	if err != nil {
		return f, err
	}
	defer func() {
		if cerr := h.close(); err == nil {
			err = cerr
		}
	}()
	gates, err := enlist(ctx, h, "g", n)
	if err != nil {
		return f, err
	}
	b.say("gates: %d are known, connecting", n)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for _, g := range gates {
		group.Go(func() error { return g.poll(gctx) })
	}
	if err := group.Wait(); err != nil {
		return f, err
	}
	before, err := h.load()
	if err != nil {
		return f, err
	}
	for _, g := range gates {
		g.sent.Store(0)
		g.fetched.Store(0)
	}
	b.say("gates: %d are connected, measuring for %s", n, time.Duration(minutes)*minute)
	start := time.Now()
	group, gctx = errgroup.WithContext(ctx)
	for _, g := range gates {
		group.Go(func() error {
			// Spread over the minute, as the jitter of real gates does.
			next := time.NewTimer(rand.N(minute))
			defer next.Stop()
			for range minutes {
				select {
				case <-gctx.Done():
					return gctx.Err()
				case <-next.C:
				}
				next.Reset(minute)
				if err := g.poll(gctx); err != nil {
					return err
				}
				batch, err := g.batch(passagesAMinute)
				if err != nil {
					return err
				}
				body, err := batch.Marshal()
				if err != nil {
					return err
				}
				if err := g.post(gctx, body, batch.Last()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return f, fmt.Errorf("%w\n%s", err, h.said())
	}
	took := time.Since(start)
	after, err := h.load()
	if err != nil {
		return f, err
	}
	f = fleetFigures{gates: n, rss: float64(after.rss)}
	var bytes int64
	for _, g := range gates {
		bytes += g.sent.Load() + g.fetched.Load()
		f.records += g.seq
		g.client.CloseIdleConnections()
	}
	rounds := float64(n * minutes)
	f.cpu = (after.cpu - before.cpu).Seconds() / rounds * 60
	f.bytes = float64(bytes) / rounds
	b.say("gates: %d took %.0f s", n, took.Seconds())
	return f, nil
}

// idle holds connections that say nothing, and counts those that are open.
func (b *bench) idle(ctx context.Context, n int) (err error) {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	dir, err := b.initHub(ctx, "idle", address)
	if err != nil {
		return err
	}
	h, err := b.serveHub(ctx, "idle-hub", dir, address)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := h.close(); err == nil {
			err = cerr
		}
	}()
	known, err := enlist(ctx, h, "idle", 1)
	if err != nil {
		return err
	}
	before, err := h.load()
	if err != nil {
		return err
	}
	// One certificate is enough here: each gate of the list is a connection.
	gates := make([]*simulated, n)
	for i := range gates {
		if gates[i], err = newSimulated(known[0].bundle, i); err != nil {
			return err
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for _, g := range gates {
		group.Go(func() error { return g.poll(gctx) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	after, err := h.load()
	if err != nil {
		return err
	}
	// All must still be open: each is used once more, and none may dial anew.
	redialled := 0
	for _, g := range gates {
		sent := g.sent.Load()
		if err := g.poll(ctx); err != nil {
			return err
		}
		// A handshake takes more than a kilobyte, a poll some 200 bytes.
		if g.sent.Load()-sent > 900 {
			redialled++
		}
	}
	for _, g := range gates {
		g.client.CloseIdleConnections()
	}
	b.count("hub.idle.connections", uint64(n-redialled), "connections")
	b.figure("hub.idle.memory", float64(after.rss-before.rss)/float64(n)/1024, "KiB/connection")
	return nil
}
