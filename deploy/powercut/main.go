package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
)

// outcome is what was found after a cut.
type outcome struct{ records, lost, doubled uint64 }

// part of the product that is tested.
type part interface {
	name() string
	diskBytes() int64
	env() []string
	// fill puts on the disk what is there before the machine starts.
	fill(ctx context.Context, dir string) error
	// check opens what a cut has left. An error is something that must not be.
	check(ctx context.Context, dir string, promised promises) (outcome, error)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if os.Getpid() == 1 {
		guest(ctx)
		return
	}
	if err := host(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}

func host(ctx context.Context, args []string, out, stderr io.Writer) (err error) {
	f := flag.NewFlagSet("powercut", flag.ContinueOnError)
	f.SetOutput(stderr)
	kernel := f.String("kernel", "", "folder that Debian's kernel was unpacked to")
	journals := f.Int("journal", 240, "cuts of the journal")
	hubs := f.Int("hub", 60, "cuts of the hub's node")
	seed := f.Uint64("seed", 1, "of the cuts")
	if err := f.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "powercut")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := bench{machine: machine{dir: dir, kernel: *kernel}, seed: *seed, out: out, stderr: stderr}
	j, err := newJournalPart()
	if err != nil {
		return err
	}
	for _, p := range []struct {
		part
		rounds int
	}{{j, *journals}, {&hubPart{}, *hubs}} {
		if p.rounds == 0 {
			continue
		}
		if err := b.try(ctx, p.part, p.rounds); err != nil {
			return fmt.Errorf("%s: %w", p.name(), err)
		}
	}
	return nil
}

type bench struct {
	machine     machine
	seed        uint64
	out, stderr io.Writer
}

// try runs one part and cuts its power again and again; then a disk that lies
// about flushes must be found out.
func (b *bench) try(ctx context.Context, p part, rounds int) error {
	disk, log, base := filepath.Join(b.machine.dir, "disk"), filepath.Join(b.machine.dir, "log"), []byte(nil)
	if err := b.machine.format(ctx, disk, p.diskBytes(), func(dir string) error { return p.fill(ctx, dir) }); err != nil {
		return err
	}
	base, err := os.ReadFile(disk)
	if err != nil {
		return err
	}
	start := p.diskBytes() - markRoom
	env := append(p.env(), "powercut_part="+p.name(), fmt.Sprintf("powercut_marks=%d", start))
	// A busy host may be too slow for the machine's timeouts. Its next start has
	// the disk as it was, so nothing that it did counts.
	for try := 1; ; try++ {
		err := b.machine.boot(ctx, disk, log, env...)
		if err == nil {
			break
		}
		if try == starts || ctx.Err() != nil {
			return err
		}
		fmt.Fprintf(b.stderr, "powercut: %s: start %d of %d: %v\n", p.name(), try, starts, err)
		if err := os.WriteFile(disk, base, 0o600); err != nil {
			return err
		}
	}
	f, err := os.Open(log)
	if err != nil {
		return err
	}
	entries, err := readLog(f, p.diskBytes())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	all, flushes := promises{}, 0
	for _, e := range entries {
		if e.flush {
			flushes++
		}
		if err := all.read(e, start); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.stderr, "powercut: %s: %d writes and flushes (%d), promised %d records\n", p.name(), len(entries), flushes, all[appended])
	if all[appended] == 0 || flushes == 0 {
		return errors.New("the machine did nothing that could be lost")
	}

	honest, err := b.cuts(ctx, p, &platter{log: entries, image: slices.Clone(base)}, start, rounds)
	if err != nil {
		return err
	}
	liar, err := b.cuts(ctx, p, &platter{log: entries, image: slices.Clone(base), ignored: liesFor}, start, max(12, rounds/8))
	if err != nil {
		return err
	}
	for _, l := range []struct {
		name  string
		value uint64
		unit  string
	}{
		{"rounds", honest.rounds, "cuts"}, {"records", honest.records, "records"}, {"lost", honest.lost, "records"}, {"doubled", honest.doubled, "records"},
		{"failed", honest.failed, "cuts"}, {"liar.rounds", liar.rounds, "cuts"}, {"liar.caught", liar.failed, "cuts"}, {"liar.lost", liar.lost, "records"},
	} {
		fmt.Fprintf(b.out, "bench: powercut.%s.%s %d %s\n", p.name(), l.name, l.value, l.unit)
	}
	switch {
	case honest.failed > 0:
		return fmt.Errorf("%d of %d cuts: %d lost, %d doubled", honest.failed, honest.rounds, honest.lost, honest.doubled)
	case liar.lost == 0:
		return errors.New("a disk that lies about flushes was not found out: this tells nothing")
	}
	return nil
}

// starts of the machine at most.
const starts = 3

// liesFor is how many writes a lying disk keeps in its cache.
const liesFor = 48

// tally counts cuts.
type tally struct {
	outcome
	rounds, failed uint64 // failed: something lost, doubled, or not as it must be
}

// cuts makes up the disk after each of many cuts, and looks at it.
func (b *bench) cuts(ctx context.Context, p part, disk *platter, start int64, rounds int) (t tally, err error) {
	rng := rand.New(rand.NewPCG(b.seed, uint64(disk.ignored)))
	at := make([]int, rounds)
	for i := range at {
		at[i] = 1 + rng.IntN(len(disk.log))
	}
	slices.Sort(at)
	promised, seen := promises{}, 0
	path := filepath.Join(b.machine.dir, "cut")
	for _, n := range at {
		for ; seen < n; seen++ {
			if err := promised.read(disk.log[seen], start); err != nil {
				return t, err
			}
		}
		if err := os.WriteFile(path, disk.cut(n, rng), 0o600); err != nil {
			return t, err
		}
		t.rounds++
		var found outcome
		looked := false
		err := b.machine.mounted(ctx, path, func(dir string) (err error) {
			looked = true
			found, err = p.check(ctx, dir, promised)
			return err
		})
		if ctx.Err() != nil {
			return t, ctx.Err()
		}
		if !looked {
			found.lost = promised[appended]
		}
		t.records, t.lost, t.doubled = t.records+found.records, t.lost+found.lost, t.doubled+found.doubled
		if err != nil || found.lost > 0 || found.doubled > 0 {
			t.failed++
			if disk.ignored == 0 {
				fmt.Fprintf(b.stderr, "powercut: %s: cut at %d of %d, promised %v: %d lost, %d doubled: %v\n", p.name(), n, len(disk.log), promised, found.lost, found.doubled, err)
			}
		}
	}
	return t, nil
}
