package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"greengate/cmd/loglines"
	"greengate/sync/hub"
)

// initialise is `gatehub init`.
func initialise(f *flag.FlagSet) action {
	var c hub.Config
	f.StringVar(&c.Name, "name", "", "the authority's `name`")
	f.StringVar(&c.URL, "url", "", "where gates find the hub, as https://hub.example:8443")
	f.StringVar(&c.ListsURL, "lists-url", "", "where gates find the signed lists, as https://lists.example:8443; the hub's own `url` where empty")
	f.Var((*list)(&c.Hosts), "host", "a further `name` or address in the hub's certificate; repeat for more")
	f.BoolVar(&c.Cluster, "cluster", false, "keep registry and passages on a JetStream cluster: serve wants -nats then, now and for ever")
	f.Var((*list)(&c.Provinces), "province", "a province it issues for, two `digits` of GB/T 2260; repeat for more")
	return func(ctx context.Context, in call) error {
		log := slog.New(slog.NewTextHandler(in.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if err := hub.Init(ctx, in.dir, c, hub.Options{Log: log}); err != nil {
			return err
		}
		if c.Cluster {
			fmt.Fprintf(in.stdout, "a hub is in %s\nnext: `gatehub node add NAME -dir %s` for each node, `gatehub node` there, `gatehub serve -dir %s -nats ...`; then take %s/keys/tuf/offline off this machine\n",
				in.dir, in.dir, in.dir, in.dir)
			return nil
		}
		fmt.Fprintf(in.stdout, "a hub is in %s\nnext: `gatehub serve -dir %s`; then take %s/keys/tuf/offline off this machine\n", in.dir, in.dir, in.dir)
		return nil
	}
}

// serve is `gatehub serve`.
func serve(f *flag.FlagSet) action {
	listen := f.String("listen", ":8443", "`address` for gates and lists, TLS")
	operator := f.String("operator", "127.0.0.1:8480", "loopback `address` of the operator's page, empty for none")
	out := f.String("out", "", "keep the signed lists in this `folder` too, as plain files for another web server")
	every := f.Duration("publish", 0, "how long a change waits for others before it is published; the hub's default where 0")
	each := f.Int("per-address", 512, "`connections` of gates that one address may hold: more behind a load balancer that does not pass addresses on; a hub takes 20,000 in all")
	format := logFormat(f)
	var c hub.Cluster
	clusterFlags(f, &c)
	return func(ctx context.Context, in call) (err error) {
		log := format.Open(in.stderr)
		defer func() { err = format.End(log, err) }()
		if *each < 1 {
			return fmt.Errorf("-per-address %d: want at least 1", *each)
		}
		o := options(log, *every)
		o.PerAddress = *each
		o.Mirror = *out
		o.Cluster = c
		h, err := hub.Open(ctx, in.dir, o)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, h.Close()) }()
		gates, err := net.Listen("tcp", *listen)
		if err != nil {
			return fmt.Errorf("address for gates: %w", err)
		}
		defer gates.Close()
		var page net.Listener
		if *operator != "" {
			if page, err = net.Listen("tcp", *operator); err != nil {
				return fmt.Errorf("operator's page: %w", err)
			}
			defer page.Close()
		}
		admin, err := h.ListenAdmin()
		if err != nil {
			return err
		}
		defer admin.Close()
		log.Info("hub serves", "gates", gates.Addr().String(), "operator", *operator)
		return h.Serve(ctx, gates, page, admin)
	}
}

// clusterFlags declares where registry and passages lie, or go.
func clusterFlags(f *flag.FlagSet, c *hub.Cluster) {
	f.Func("nats", "the `addresses` of the cluster's nodes, nats://HOST:PORT,..., for a hub that init made with -cluster or that moves or moved to one", func(s string) error {
		c.URLs = nil
		if s != "" {
			c.URLs = strings.Split(s, ",")
		}
		return nil
	})
	f.IntVar(&c.Replicas, "replicas", 3, "on how many nodes of the cluster everything lies: 1, 3 or 5")
	f.StringVar(&c.Credentials, "nats-creds", "", "credentials `file`, for a cluster that is not of `gatehub node`")
	f.StringVar(&c.SystemCredentials, "nats-system-creds", "", "credentials `file` of its system account, where its nodes say whether they flush each write")
	f.StringVar(&c.CA, "nats-ca", "", "`file` with the authority of its certificates; the system's ones where empty")
}

func options(log *slog.Logger, publish time.Duration) hub.Options {
	o := hub.Options{Log: log, Metrics: figures(log)}
	if publish > 0 {
		o.PublishDelay = publish
	}
	return o
}

// logFormat declares the flag of what runs for long.
func logFormat(f *flag.FlagSet) *loglines.Format {
	format := new(loglines.Format)
	f.Var(format, "log", "`format` of the log's lines on standard error: text or json")
	return format
}
