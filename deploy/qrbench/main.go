package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "qrbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("qrbench", flag.ContinueOnError)
	short := flags.Bool("short", false, "few pictures, for CI")
	shared := flags.String("shared", "../shared/qr", "`folder` of the pictures (corpus) and of what makes some (gen)")
	folders := flags.String("sets", "", "`folders` of sets, by commas, in place of all others")
	seed := flags.Uint64("seed", 1, "of the pictures that are made")
	per := flags.Int("per", 3, "how many pictures are made for each category, size and payload")
	readers := flags.String("readers", "", "names by commas, of "+strings.Join(names, ", ")+"; all by default")
	only := flags.String("only", "", "sets whose names hold this `word`")
	every := flags.Int("every", 0, "emulated readers are asked about one picture of so many; 3 by default, 12 with -short")
	empty := flags.Int("empty", -1, "made pictures without a code; 10,000 by default, 200 with -short")
	goTool := flags.String("go", "go", "the go `program`")
	out := flags.String("out", "out/qr", "`folder` for made pictures, results.tsv and only-ours.png")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{out: os.Stdout, progress: os.Stderr, short: *short, shared: *shared, seed: *seed, per: *per, empty: *empty, only: *only}
	if *folders != "" {
		b.folders = strings.Split(*folders, ",")
	}
	b.readers = names
	if *readers != "" {
		b.readers = strings.Split(*readers, ",")
	}
	if b.empty < 0 {
		b.empty = choose(*short, 200, 10_000)
	}
	if *every < 1 {
		*every = choose(*short, 12, 3)
	}
	if b.outDir, err = filepath.Abs(*out); err != nil {
		return err
	}
	if err := os.MkdirAll(b.outDir, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "greengate-qr-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b.workshop = &workshop{dir: dir, repo: ".", goTool: *goTool, reps: choose(*short, 1, 3), every: *every}
	return b.run(ctx)
}

// bench is one run.
type bench struct {
	out, progress io.Writer
	short         bool
	shared        string
	folders       []string
	only          string
	seed          uint64
	per, empty    int
	readers       []string
	outDir        string
	workshop      *workshop

	results []result
	shown   []figure
}

// result is what one reader made of one picture.
type result struct {
	set     *set
	picture *picture
	group   group
	reader  string
	pixels  int
	answer
	right bool
	insns float64 // 0 where they are not counted
}

func (b *bench) run(ctx context.Context) error {
	sets, err := b.sets(ctx)
	if err != nil {
		return err
	}
	peers, err := b.peers(ctx)
	if err != nil {
		return err
	}
	if err := b.read(ctx, peers, sets, false); err != nil {
		return err
	}
	if err := b.read(ctx, peers, sets, true); err != nil {
		return err
	}
	if err := b.writeResults(); err != nil {
		return err
	}
	made, err := b.readEmpty(ctx)
	if err != nil {
		return err
	}
	b.table()
	b.figures(made)
	if err := b.sheet(); err != nil {
		return err
	}
	return b.judge()
}

// sets returns the sets to read: those asked for, or the corpus and freshly made
// ones.
func (b *bench) sets(ctx context.Context) ([]set, error) {
	folders := b.folders
	if folders == nil {
		var err error
		if folders, err = b.allFolders(ctx); err != nil {
			return nil, err
		}
	}
	var sets []set
	for _, f := range folders {
		some, err := openSets(f)
		if err != nil {
			return nil, err
		}
		sets = append(sets, some...)
	}
	sets = slices.DeleteFunc(sets, func(s set) bool { return !strings.Contains(s.name, b.only) })
	if b.short && b.folders == nil {
		for i := range sets {
			sets[i].thin(4)
		}
	}
	return sets, nil
}

// allFolders are the corpus, what is made by its generators, and what is drawn
// here.
func (b *bench) allFolders(ctx context.Context) (folders []string, err error) {
	own, err := b.whole(fmt.Sprintf("drawn-%d", b.seed), func(dir string) error {
		return drawSets(dir, hard, b.seed, choose(b.short, 3, 24))
	})
	if err != nil {
		return nil, err
	}
	folders = append(folders, own)
	if _, err := os.Stat(b.shared); err != nil {
		b.say("skipped: photographs and made pictures (no %s beside this folder)", b.shared)
		return folders, nil
	}
	folders = append(folders, filepath.Join(b.shared, "corpus"))
	made, err := b.generate(ctx)
	if errors.Is(err, errLacks) {
		b.say("skipped: made pictures: %v", err)
		return folders, nil
	}
	return append(folders, made), err
}

// whole is a folder of pictures under that name, made when it is not there.
func (b *bench) whole(name string, make func(dir string) error) (string, error) {
	if b.short {
		name += "-short"
	}
	dir := filepath.Join(b.outDir, name)
	mark := filepath.Join(dir, "whole")
	if _, err := os.Stat(mark); err == nil {
		return dir, nil
	}
	if err := make(dir); err != nil {
		return "", err
	}
	return dir, os.WriteFile(mark, nil, 0o644)
}

// generate makes pictures and clips of the seed, once.
func (b *bench) generate(ctx context.Context) (string, error) {
	if b.short {
		return "", fmt.Errorf("%w: in full only, they take minutes", errLacks)
	}
	for _, need := range []string{"python3-numpy", "python3-opencv"} {
		module := strings.NewReplacer("python3-", "", "opencv", "cv2").Replace(need)
		if err := exec.CommandContext(ctx, "/usr/bin/python3", "-c", "import "+module).Run(); err != nil {
			return "", fmt.Errorf("%w: no %s (apt install %s)", errLacks, need, need)
		}
	}
	if _, err := tool("qrencode", "qrencode"); err != nil {
		return "", err
	}
	return b.whole(fmt.Sprintf("made-%d-%d", b.seed, b.per), func(dir string) error {
		seed := strconv.FormatUint(b.seed, 10)
		for _, args := range [][]string{
			{"gensynth.py", seed, "made", strconv.Itoa(b.per)},
			{"genseq.py", seed, "clip"},
		} {
			b.say("making pictures: %s", strings.Join(args, " "))
			gen := exec.CommandContext(ctx, "/usr/bin/python3", append([]string{filepath.Join(b.shared, "gen", args[0])}, args[1:]...)...)
			gen.Env = append(os.Environ(), "QR_OUT="+dir)
			gen.Stderr = b.progress
			if err := gen.Run(); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
		}
		return nil
	})
}

// peers builds the readers.
func (b *bench) peers(ctx context.Context) ([]*peer, error) {
	var peers []*peer
	for _, name := range b.readers {
		p, err := b.workshop.build(ctx, name)
		if errors.Is(err, errLacks) {
			b.say("skipped: %s: %v", name, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		peers = append(peers, p)
	}
	return peers, nil
}

// read has all readers read all sets, of clips or of single pictures, taking
// turns picture by picture.
func (b *bench) read(ctx context.Context, peers []*peer, sets []set, ofClips bool) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running []*peer
	defer func() {
		if err == nil {
			return
		}
		stop()
		for _, p := range running {
			_ = p.close() // it was killed, and says so
		}
	}()
	for _, p := range peers {
		more := p.single
		if ofClips {
			if p.counts != "" {
				continue // clips are about when, not about how fast
			}
			more = p.clip
		}
		if err := p.start(ctx, more...); err != nil {
			return err
		}
		running = append(running, p)
	}
	asked := map[*peer][]int{} // where the answers are in b.results
	n := 0
	for i := range sets {
		s := &sets[i]
		if (s.group == clips) != ofClips {
			continue
		}
		start := time.Now()
		folder := filepath.Join(b.workshop.dir, s.name)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		for j := range s.pictures {
			p := &s.pictures[j]
			f, err := grey(filepath.Join(s.dir, p.file))
			if err != nil {
				return err
			}
			base := filepath.Base(p.file)
			path := filepath.Join(folder, strings.TrimSuffix(base, filepath.Ext(base))+".pgm")
			if err := writePGM(path, f); err != nil {
				return err
			}
			// Who comes first finds the picture out of the cache: they take turns.
			for k := range running {
				r := running[(n+k)%len(running)]
				if n%r.every != 0 {
					continue
				}
				a, err := r.ask(ctx, path)
				if err != nil {
					return err
				}
				asked[r] = append(asked[r], len(b.results))
				b.results = append(b.results, result{set: s, picture: p, group: s.groupOf(*p), reader: r.name, pixels: f.Width * f.Height, answer: a, right: p.right(a.texts)})
			}
			n++
			if err := os.Remove(path); err != nil {
				return err
			}
		}
		b.say("%s: %d pictures, %.0f s", s.name, len(s.pictures), time.Since(start).Seconds())
	}
	for _, p := range running {
		if err := p.close(); err != nil {
			return err
		}
		if p.counts == "" {
			continue
		}
		insns, err := readCounts(p.counts)
		if err != nil {
			return err
		}
		if len(insns) != len(asked[p]) {
			return fmt.Errorf("%s: %d counts of %d pictures", p.name, len(insns), len(asked[p]))
		}
		for i, at := range asked[p] {
			b.results[at].insns = insns[i]
		}
	}
	return nil
}

// readCounts reads what the plugin wrote: a number a line.
func readCounts(path string) ([]float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []float64
	for f := range strings.FieldsSeq(string(text)) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, float64(n))
	}
	return out, nil
}

// readEmpty reads made pictures without a code, in the reader's own process.
func (b *bench) readEmpty(ctx context.Context) ([]answer, error) {
	if b.empty == 0 || !slices.Contains(b.readers, ours) {
		return nil, nil
	}
	start := time.Now()
	p, err := b.workshop.build(ctx, ours)
	if err != nil {
		return nil, err
	}
	text, err := exec.CommandContext(ctx, p.args[0], "-empty", strconv.Itoa(b.empty), "-seed", strconv.FormatUint(b.seed, 10), "-allocs", "-reps", "2").Output()
	if err != nil {
		return nil, err
	}
	var made []answer
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		name := strings.Split(line, "\t")
		if len(name) < 2 {
			return nil, fmt.Errorf("%w: %.100q", errAnswer, line)
		}
		a, err := parseAnswer(line, name[1])
		if err != nil {
			return nil, err
		}
		if a.count > 0 {
			b.say("false: %s of seed %d: %q", name[1], b.seed, a.texts)
		}
		made = append(made, a)
	}
	b.say("%d made pictures without a code, %.0f s", len(made), time.Since(start).Seconds())
	return made, nil
}

// writeResults writes all answers for whoever wants to know which pictures.
func (b *bench) writeResults() error {
	var text strings.Builder
	text.WriteString("set\tpicture\treader\tread\tcodes\tcpu_ms\tinstructions\tobjects\n")
	for _, r := range b.results {
		fmt.Fprintf(&text, "%s\t%s\t%s\t%t\t%d\t%.4f\t%.0f\t%d\n", r.set.name, r.picture.file, r.reader, r.right, r.count, r.cpu, r.insns, r.alloc)
	}
	return os.WriteFile(filepath.Join(b.outDir, "results.tsv"), []byte(text.String()), 0o644)
}

// say tells what goes on, beside the figures.
func (b *bench) say(format string, a ...any) {
	fmt.Fprintf(b.progress, "bench-qr: "+format+"\n", a...)
}

// choose is the short value of a short run, else the full one.
func choose[T any](short bool, s, full T) T {
	if short {
		return s
	}
	return full
}
