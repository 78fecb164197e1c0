package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"greengate/sync/hub/publisher"
)

// authority is a repository with a clock of its own.
type authority struct {
	dir  string // the repository, as a web server or a stick carries it
	now  time.Time
	root []byte
	p    *publisher.Publisher
}

// dayOne is when the authority begins; the gates' clocks go with it.
var dayOne = time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)

func newAuthority(dir string) (*authority, error) {
	a := &authority{dir: filepath.Join(dir, "repository"), now: dayOne}
	var err error
	a.p, err = publisher.Init(filepath.Join(dir, "keys"), a.dir, publisher.Options{Provinces: []string{"33"}, Now: func() time.Time { return a.now }})
	if err != nil {
		return nil, err
	}
	a.root, err = a.p.Root()
	return a, err
}

// publish makes the colours visible, some time after the publish before.
func (a *authority) publish(ctx context.Context, c *colours, later time.Duration) (took time.Duration, err error) {
	a.now = a.now.Add(later)
	start := time.Now()
	_, err = a.p.Publish(ctx, publisher.Contents{Issued: a.now, Lists: c.published()})
	if err != nil {
		return 0, fmt.Errorf("publish %s codes: %w", c.name, err)
	}
	return time.Since(start), nil
}
