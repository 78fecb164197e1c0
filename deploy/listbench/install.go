package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// install measures snapshots, deltas, memory and the publisher's time.
func (b *bench) install(ctx context.Context, s size) error {
	return b.temp(func(dir string) error {
		c := newColours(s, 1)
		a, err := newAuthority(dir)
		if err != nil {
			return err
		}
		if _, err := a.publish(ctx, c, time.Second); err != nil {
			return err
		}
		raw := filepath.Join(dir, "raw")
		if err := os.WriteFile(raw, c.joined(), 0o600); err != nil {
			return err
		}
		set := setup{Path: filepath.Join(dir, "lists.db"), Repository: a.dir, Root: a.root, Raw: raw}
		if err := b.slow(ctx, s, a, c, set); err != nil {
			return err
		}
		set.Path += ".fast"
		return b.fast(ctx, s, a, c, set)
	})
}

// share of the codes that change.
type share struct {
	name string
	of   float64
}

var shares = []share{{"0.1pc", 0.001}, {"1pc", 0.01}}

// slow measures on a disk as slow as a card.
func (b *bench) slow(ctx context.Context, s size, a *authority, c *colours, set setup) (err error) {
	if s == city { // once
		b.note("snapshot.throttle", b.throttle.how, "-")
		if b.throttle.why != nil {
			fmt.Fprintf(b.progress, "listbench: the disk is not slowed down: %v\n", b.throttle.why)
		}
	}
	gate, err := startChild(ctx, "gate", set, b.throttle)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gate.close()) }()
	times := max(1, int(cardSpeed/s.bytes())) // a second's worth
	var ratios, things, floors []float64
	for range b.rounds(5, 3) {
		thing, err := gate.tell(order{Do: "fresh", Now: a.now, Times: times})
		if err != nil {
			return err
		}
		if thing.Installed < s.lists() {
			return fmt.Errorf("%d of %d lists installed", thing.Installed, s.lists())
		}
		floor, err := gate.tell(order{Do: "floor", Now: a.now, Times: times})
		if err != nil {
			return err
		}
		ratios, things, floors = append(ratios, thing.Seconds/floor.Seconds), append(things, thing.Seconds/float64(times)), append(floors, floor.Seconds/float64(times))
	}
	b.say("snapshot.ratio."+s.name, median(ratios), "ratio")
	b.say("snapshot.seconds."+s.name, median(things), "s")
	b.say("snapshot.floor.seconds."+s.name, median(floors), "s")
	b.say("snapshot.floor.mbps."+s.name, float64(s.bytes())/median(floors)/1e6, "MB/s")
	for _, sh := range shares {
		var seconds, cpus, wrote, fetched, publish []float64
		for range b.rounds(5, 2) {
			c.change(sh.of)
			took, err := a.publish(ctx, c, 24*time.Hour)
			if err != nil {
				return err
			}
			poll, err := gate.tell(order{Do: "poll", Now: a.now})
			if err != nil {
				return err
			}
			if poll.Installed < s.lists() {
				return fmt.Errorf("%d of %d lists installed", poll.Installed, s.lists())
			}
			seconds, cpus = append(seconds, poll.Seconds), append(cpus, poll.CPU)
			wrote, fetched = append(wrote, float64(poll.Written)/float64(s.bytes())), append(fetched, float64(poll.Fetched)/1000)
			publish = append(publish, took.Seconds())
		}
		b.say("delta.seconds."+sh.name+"."+s.name, median(seconds), "s")
		b.say("delta.cpu.seconds."+sh.name+"."+s.name, median(cpus), "s")
		b.say("delta.written_ratio."+sh.name+"."+s.name, median(wrote), "ratio")
		b.say("delta.fetched.kb."+sh.name+"."+s.name, median(fetched), "kB")
		if sh.of == 0.01 {
			b.say("publish.seconds."+s.name, median(publish), "s")
		}
	}
	return nil
}

// fast measures memory and time on the disk as it is.
func (b *bench) fast(ctx context.Context, s size, a *authority, c *colours, set setup) (err error) {
	const mib = 1 << 20
	var anon, peak int64
	var seconds, cpus []float64
	round := func(do string) (err error) {
		gate, err := startChild(ctx, "gate", set, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, gate.close()) }()
		first, err := gate.tell(order{Do: do, Now: a.now})
		if err != nil {
			return err
		}
		anon, peak = max(anon, first.Anon), max(peak, first.Peak)
		if do == "fresh" {
			seconds, cpus = append(seconds, first.Seconds), append(cpus, first.CPU)
		}
		return nil
	}
	for range b.rounds(3, 2) {
		if err := round("fresh"); err != nil {
			return err
		}
	}
	b.say("snapshot.fast.seconds."+s.name, median(seconds), "s")
	b.say("snapshot.cpu.seconds."+s.name, median(cpus), "s")
	// A gate that holds all takes others: deltas, then snapshots.
	c.change(0.01)
	for _, next := range []*colours{c, newColours(s, 2)} {
		if _, err := a.publish(ctx, next, 24*time.Hour); err != nil {
			return err
		}
		if err := round("poll"); err != nil {
			return err
		}
	}
	b.say("rss.mib."+s.name, float64(anon-s.bytes())/mib, "MiB")
	b.say("rss.hwm.mib."+s.name, float64(peak-s.bytes())/mib, "MiB")
	return nil
}

// file measures how the store's file grows: 1 % of the codes changes each day.
func (b *bench) file(ctx context.Context) error {
	type row struct {
		size
		days int
	}
	rows := []row{{city, 365}, {province, 100}}
	if b.short {
		rows = []row{{city, 100}}
	}
	for _, r := range rows {
		if err := b.temp(func(dir string) error { return b.grow(ctx, dir, r.size, r.days) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) grow(ctx context.Context, dir string, s size, days int) error {
	c := newColours(s, 1)
	path := filepath.Join(dir, "lists.db")
	a, err := fill(ctx, dir, path, c)
	if err != nil {
		return err
	}
	g, end, err := a.gate(path)
	if err != nil {
		return err
	}
	var largest, own int64 // own is what the gate itself wrote
	for day := range days {
		c.change(0.01)
		if _, err := a.publish(ctx, c, 24*time.Hour); err != nil {
			return errors.Join(err, end())
		}
		w0, err := written()
		if err != nil {
			return errors.Join(err, end())
		}
		report, err := g.poll(ctx)
		if err == nil && len(report.Installed) < s.lists() {
			err = fmt.Errorf("day %d: %d of %d lists installed", day, len(report.Installed), s.lists())
		}
		if err != nil {
			return errors.Join(err, end())
		}
		w1, err := written()
		if err != nil {
			return errors.Join(err, end())
		}
		own += w1 - w0
		info, err := os.Stat(path)
		if err != nil {
			return errors.Join(err, end())
		}
		largest = max(largest, info.Size())
		if day+1 == 100 {
			b.say("file.ratio."+s.name, float64(largest)/float64(s.bytes()), "ratio")
		}
		if day+1 == 365 {
			b.say("file.year.ratio."+s.name, float64(largest)/float64(s.bytes()), "ratio")
		}
	}
	b.say("file.written_ratio."+s.name, float64(own)/float64(days)/float64(s.bytes()), "ratio")
	return end()
}
