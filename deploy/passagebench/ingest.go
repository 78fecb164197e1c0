package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"greengate/gate/passage"
)

// prepared are the batches of one gate, made before the clock runs.
type prepared struct {
	gate    *simulated
	batches []*passage.Batch
	bodies  [][]byte
}

func prepare(gates []*simulated, batches int) ([]prepared, error) {
	out := make([]prepared, len(gates))
	for i, g := range gates {
		out[i].gate = g
		for range batches {
			b, err := g.batch(passage.MaxBatchRecords)
			if err != nil {
				return nil, err
			}
			body, err := b.Marshal()
			if err != nil {
				return nil, err
			}
			out[i].batches, out[i].bodies = append(out[i].batches, b), append(out[i].bodies, body)
		}
	}
	return out, nil
}

// ingest measures how many records a second reach the disk: the hub with its
// embedded server, on three nodes on this machine, and PostgreSQL with the same
// records.
func (b *bench) ingest(ctx context.Context) error {
	gates, batches := choose(b.short, 8, 32), choose(b.short, 8, 60)
	embedded, err := b.ingestSite(ctx, 0, gates, batches)
	if err != nil {
		return err
	}
	b.figure("hub.ingest.records_per_s.embedded", embedded, "records/s")
	clustered, err := b.ingestSite(ctx, 3, gates, batches)
	if err != nil {
		return err
	}
	b.figure("hub.ingest.records_per_s.cluster3", clustered, "records/s")
	peer, err := newPostgres(ctx, b)
	if err != nil {
		return err
	}
	if peer == nil {
		b.say("ingest: no PostgreSQL on this machine (apt install postgresql): no peer")
		return nil
	}
	defer func() {
		if err := peer.close(); err != nil {
			b.say("PostgreSQL: %v", err)
		}
	}()
	records, err := peer.ingest(ctx, gates, batches, false)
	if err != nil {
		return err
	}
	b.figure("hub.ingest.records_per_s.postgres_rows", records, "records/s")
	whole, err := peer.ingest(ctx, gates, batches, true)
	if err != nil {
		return err
	}
	b.figure("hub.ingest.records_per_s.postgres_batches", whole, "records/s")
	b.figure("hub.ingest.ratio.postgres_rows", embedded/records, "ratio")
	b.figure("hub.ingest.ratio.postgres_batches", embedded/whole, "ratio")
	return nil
}

// ingestSite measures a hub on so many nodes, 0 for its own embedded server.
func (b *bench) ingestSite(ctx context.Context, nodes, gates, batches int) (float64, error) {
	s, err := b.newSite(ctx, fmt.Sprintf("ingest%d", nodes), nodes, 1)
	if err != nil {
		return 0, err
	}
	rate, err := b.ingestInto(ctx, s.hubs[0], gates, batches)
	if cerr := s.close(); err == nil {
		err = cerr
	}
	return rate, err
}

// ingestInto sends the batches of all gates side by side, each gate's in their order.
func (b *bench) ingestInto(ctx context.Context, h *hubProcess, gates, batches int) (float64, error) {
	fleet, err := enlist(ctx, h, "ingest", gates)
	if err != nil {
		return 0, err
	}
	all, err := prepare(fleet, batches)
	if err != nil {
		return 0, err
	}
	for _, p := range all {
		if err := p.gate.poll(ctx); err != nil { // the handshake is not what is measured
			return 0, err
		}
	}
	var records atomic.Int64
	start := time.Now()
	group, gctx := errgroup.WithContext(ctx)
	for _, p := range all {
		group.Go(func() error {
			for i, body := range p.bodies {
				if err := p.gate.post(gctx, body, p.batches[i].Last()); err != nil {
					return err
				}
				records.Add(int64(len(p.batches[i].Entries)))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, h.said())
	}
	rate := float64(records.Load()) / time.Since(start).Seconds()
	for _, p := range all {
		p.gate.client.CloseIdleConnections()
	}
	return rate, nil
}
