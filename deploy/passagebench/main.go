package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "passagebench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	switch {
	case len(args) == 2 && args[0] == "gate":
		return runRecorder(ctx, args[1], os.Stdin, os.Stdout)
	case len(args) == 1 && args[0] == "table":
		return table(os.Stdin, os.Stderr)
	}
	flags := flag.NewFlagSet("passagebench", flag.ContinueOnError)
	short := flags.Bool("short", false, "fewer gates, records and rounds, for CI")
	only := flags.String("only", "", "part to measure: ingest, kill or gates; all by default")
	program := flags.String("gatehub", "bin/gatehub", "the hub's `program`")
	rounds := flags.Int("rounds", 0, "how often something is killed; 50 by default, 4 with -short")
	parent := flags.String("dir", os.TempDir(), "folder on the disk to measure")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{out: os.Stdout, progress: os.Stderr, short: *short, rounds: *rounds}
	if b.gatehub, err = filepath.Abs(*program); err != nil {
		return err
	}
	if _, err := os.Stat(b.gatehub); err != nil {
		return fmt.Errorf("the hub's program: %w\nhint: `make build` makes it", err)
	}
	if b.rounds == 0 {
		b.rounds = choose(b.short, 4, 50)
	}
	if b.dir, err = os.MkdirTemp(*parent, "greengate-passages-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	var failed []string
	for _, p := range []struct {
		name    string
		measure func(context.Context) error
	}{{"ingest", b.ingest}, {"kill", b.kill}, {"gates", b.fleet}} {
		if *only != "" && *only != p.name {
			continue
		}
		start := time.Now()
		b.say("%s", p.name)
		if err := p.measure(ctx); err != nil {
			failed = append(failed, p.name)
			b.say("%s: %v", p.name, err)
			continue
		}
		b.say("%s took %.0f s", p.name, time.Since(start).Seconds())
	}
	if len(failed) > 0 {
		return fmt.Errorf("not measured: %s", strings.Join(failed, ", "))
	}
	return nil
}

// bench is one run.
type bench struct {
	dir           string
	out, progress io.Writer
	short         bool
	rounds        int
	gatehub       string
}

// figure prints one figure.
func (b *bench) figure(name string, value float64, unit string) {
	fmt.Fprintf(b.out, "bench: %s %.4g %s\n", name, value, unit)
}

// count prints one that is a whole number.
func (b *bench) count(name string, value uint64, unit string) {
	fmt.Fprintf(b.out, "bench: %s %d %s\n", name, value, unit)
}

func (b *bench) say(format string, a ...any) {
	fmt.Fprintf(b.progress, "passagebench: "+format+"\n", a...)
}

// choose is the short value of a short run, else the full one.
func choose[T any](short bool, s, full T) T {
	if short {
		return s
	}
	return full
}

// until asks again until ok, an error, or the end of patience.
func until(ctx context.Context, patience time.Duration, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		done, err := ok()
		if done {
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: not within %s", what, patience), last)
		case <-tick.C:
		}
	}
}
