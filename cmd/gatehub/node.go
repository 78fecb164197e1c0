package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"greengate/sync/hub"
)

// addNode is `gatehub node add`.
func addNode(f *flag.FlagSet) action {
	var hosts list
	f.Var(&hosts, "host", "a `name` or address that hubs and other nodes reach it by; repeat for more")
	out := f.String("out", "", "the `folder` to make; NAME where empty. It holds the node's private key")
	return func(_ context.Context, in call) error {
		name := in.args[0]
		if *out == "" {
			*out = name
		}
		if err := hub.AddNode(in.dir, name, hosts, *out); err != nil {
			return err
		}
		fmt.Fprintf(in.stdout, "the node's folder is %s\nnext: carry it to the node's machine, mode 0700, and delete it here; there `gatehub node -dir FOLDER -name %s -listen HOST:4222 -cluster HOST:6222 -route OTHER:6222`\n", *out, name)
		return nil
	}
}

// node is `gatehub node`.
func node(f *flag.FlagSet) action {
	var o hub.NodeOptions
	name := f.String("name", "", "the node's `name`, another for each")
	format := logFormat(f)
	f.StringVar(&o.Listen, "listen", ":4222", "`address` for hubs, TLS by certificates of the hub's authority")
	f.StringVar(&o.Cluster, "cluster", ":6222", "`address` for the other nodes, in the same way")
	f.Var((*list)(&o.Routes), "route", "another node's `address`, HOST:PORT of its -cluster; repeat for each")
	return func(ctx context.Context, in call) (err error) {
		o.Log = format.Open(in.stderr)
		defer func() { err = format.End(o.Log, err) }()
		n, err := hub.OpenNode(in.dir, *name, o)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, n.Close()) }()
		o.Log.Info("node serves", "name", *name, "hubs", o.Listen, "nodes", o.Cluster)
		return n.Run(ctx)
	}
}

// move is `gatehub move`.
func move(f *flag.FlagSet) action {
	var o hub.Options
	clusterFlags(f, &o.Cluster)
	return func(ctx context.Context, in call) error {
		o.Log = slog.New(slog.NewTextHandler(in.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		var told time.Time
		err := hub.Move(ctx, in.dir, o, func(s hub.MoveStep) {
			const mb = 1e6
			switch of := float64(s.Of) / mb; {
			case s.Kept:
				fmt.Fprintf(in.stderr, "%-12s %.1f MB, %d messages: there already, compared\n", s.Stream, of, s.Messages)
			case s.Done:
				fmt.Fprintf(in.stderr, "%-12s %.1f MB, %d messages: on all nodes, compared\n", s.Stream, of, s.Messages)
			case time.Since(told) >= time.Second:
				told = time.Now()
				fmt.Fprintf(in.stderr, "%-12s %.1f of %.1f MB\n", s.Stream, float64(s.Bytes)/mb, of)
			}
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(in.stdout, "the hub in %s keeps registry and passages on the cluster from now on\nnext: `gatehub serve -dir %s -nats %s`; once that serves, remove %s/jetstream: retention does not reach it any more\n",
			in.dir, in.dir, strings.Join(o.Cluster.URLs, ","), in.dir)
		return nil
	}
}

// join is `gatehub join`.
func join(f *flag.FlagSet) action {
	from := f.String("from", "", "the `folder` of a hub that is there, or a copy of it")
	return func(ctx context.Context, in call) error {
		if *from == "" {
			return errors.New("join needs -from\nhint: the folder of a hub that `init -cluster` made")
		}
		if err := hub.Join(ctx, *from, in.dir); err != nil {
			return err
		}
		fmt.Fprintf(in.stdout, "a hub is in %s, beside that in %s; it holds the same keys, so guard it as well\nnext: carry it to its machine, mode 0700; there `gatehub serve -dir FOLDER -nats ...`\n", in.dir, *from)
		return nil
	}
}
