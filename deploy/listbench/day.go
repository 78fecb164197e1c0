package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"time"

	"greengate/sync/hub/publisher"
	"greengate/sync/trust"
)

// day measures what one gate fetches in a day in which 1 % of the codes change:
// when the authority publishes once, and when the changes come evenly and the
// hub publishes by itself. Of the latter a part is run and the rest is like it;
// the clocks are the authority's, so an hour takes less.
func (b *bench) day(ctx context.Context) error {
	rows := []struct {
		size
		window time.Duration
	}{{city, 30 * time.Minute}, {province, 10 * time.Minute}, {large, 2 * time.Minute}}
	if b.short {
		rows = rows[:1]
		rows[0].window = 5 * time.Minute
	}
	for _, r := range rows {
		if err := b.temp(func(dir string) error { return b.fetchDay(ctx, dir, r.size, r.window) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) fetchDay(ctx context.Context, dir string, s size, window time.Duration) (err error) {
	c := newColours(s, 1)
	a, err := newAuthority(dir)
	if err != nil {
		return err
	}
	if _, err := a.publish(ctx, c, time.Second); err != nil {
		return err
	}
	server := httptest.NewTLSServer(publisher.Handler(a.dir))
	defer server.Close()
	var m meter
	transport := server.Client().Transport.(*http.Transport).Clone()
	m.count(transport)
	defer transport.CloseIdleConnections()
	fetcher, err := trust.NewHTTPS(server.URL, &http.Client{Transport: transport})
	if err != nil {
		return err
	}
	g, err := openListGate(filepath.Join(dir, "lists.db"), a.root, fetcher, func() time.Time { return a.now }, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	poll := func(least int) (kb float64, err error) {
		before := m.bytes.Load()
		report, err := g.poll(ctx)
		if err == nil && len(report.Installed) < least {
			err = fmt.Errorf("%d of %d lists installed", len(report.Installed), s.lists())
		}
		return float64(m.bytes.Load()-before) / 1000, err
	}
	first, err := poll(s.lists())
	if err != nil {
		return err
	}
	c.change(0.01)
	if _, err := a.publish(ctx, c, 24*time.Hour); err != nil {
		return err
	}
	once, err := poll(s.lists())
	if err != nil {
		return err
	}
	b.say("first.kb."+s.name, first, "kB")
	b.say("day.kb."+s.name, once, "kB")

	const publishEvery, pollEvery = 10 * time.Second, time.Minute
	var even float64
	for at := publishEvery; at <= window; at += publishEvery {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.change(0.01 * publishEvery.Seconds() / (24 * time.Hour).Seconds())
		if _, err := a.publish(ctx, c, publishEvery); err != nil {
			return err
		}
		if at%pollEvery == 0 {
			kb, err := poll(1)
			if err != nil {
				return err
			}
			even += kb
		}
	}
	b.say("day.even.kb."+s.name, even*float64(24*time.Hour)/float64(window), "kB")
	return nil
}
