package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "listbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	switch {
	case len(args) == 3 && args[0] == "child":
		return runChild(ctx, args[1], args[2])
	case len(args) == 1 && args[0] == "table":
		return table(os.Stdin, os.Stderr)
	}
	flags := flag.NewFlagSet("listbench", flag.ContinueOnError)
	short := flags.Bool("short", false, "smaller sizes and fewer rounds, for CI")
	fleet := flags.String("fleet", "", "full, short or skip; as -short says by default")
	only := flags.String("only", "", "part to measure, as lookup; all by default")
	parent := flags.String("dir", os.TempDir(), "folder on the disk to measure")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{out: os.Stdout, progress: os.Stderr, short: *short, fleet: *fleet}
	if b.fleet == "" {
		b.fleet = "full"
		if b.short {
			b.fleet = "short"
		}
	}
	if b.dir, err = os.MkdirTemp(*parent, "greengate-lists-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	debug.SetGCPercent(50) // as gated does
	b.throttle = newThrottle(b.dir)
	defer func() { err = errors.Join(err, b.throttle.close()) }()

	var failed []string
	for _, p := range b.parts() {
		if *only != "" && *only != p.name || *only == "" && slices.Contains([]string{"fleet", "file", "day"}, p.name) {
			continue // the last are in long
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		fmt.Fprintf(b.progress, "listbench: %s\n", p.name)
		if err := p.measure(ctx); err != nil {
			failed = append(failed, p.name)
			fmt.Fprintf(b.progress, "listbench: %s: %v\n", p.name, err)
			continue
		}
		fmt.Fprintf(b.progress, "listbench: %s took %.0f s\n", p.name, time.Since(start).Seconds())
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
	fleet         string
	throttle      *throttle
}

// part is what is measured together.
type part struct {
	name    string
	measure func(context.Context) error
}

// parts returns them in order: what is about nanoseconds comes while the
// machine is still cool, what takes long comes last.
func (b *bench) parts() []part {
	sizes := []size{city, province, large}
	if b.short {
		sizes = []size{city, province}
	}
	var all []part
	for _, s := range sizes {
		all = append(all, part{"lookup", func(context.Context) error { return b.lookup(s) }})
	}
	all = append(all,
		part{"view", b.view},
		part{"start", func(context.Context) error { return b.start(province) }},
		part{"swap", func(ctx context.Context) error { return b.swap(ctx, sizes[len(sizes)-1]) }},
	)
	for _, s := range sizes {
		all = append(all, part{"install", func(ctx context.Context) error { return b.install(ctx, s) }})
	}
	return append(all,
		part{"sqlite", b.sqlite},
		part{"long", b.long},
		part{"fleet", b.propagate},
		part{"file", b.file},
		part{"day", b.day})
}

// long measures what takes long and of which no time but a recolour's is
// asked: the fleet waits most of the time, so it waits in a process of its own
// beside the rest.
func (b *bench) long(ctx context.Context) (err error) {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	fleet := exec.CommandContext(ctx, exe, "-only", "fleet", "-fleet", b.fleet, "-dir", b.dir)
	fleet.Stdout, fleet.Stderr = b.out, b.progress
	if err := fleet.Start(); err != nil {
		return err
	}
	err = b.file(ctx)
	if err == nil {
		err = b.day(ctx)
	}
	return errors.Join(err, fleet.Wait())
}

// rounds is how often something is done: n times, and less often in short.
func (b *bench) rounds(n, short int) int {
	if b.short {
		return short
	}
	return n
}

// say prints a figure.
func (b *bench) say(name string, value float64, unit string) {
	digits := 0
	switch {
	case value < 0.1:
		digits = 4
	case value < 10:
		digits = 3
	case value < 1000:
		digits = 1
	}
	b.note(name, strconv.FormatFloat(value, 'f', digits, 64), unit)
}

// note prints a figure that is a word.
func (b *bench) note(name, value, unit string) {
	fmt.Fprintf(b.out, "bench: lists.%s %s %s\n", name, value, unit)
}

func median[T cmp.Ordered](v []T) T {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// percentile returns the value that p of them do not exceed.
func percentile[T cmp.Ordered](v []T, p float64) T {
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)-1, int(p*float64(len(v))))]
}
