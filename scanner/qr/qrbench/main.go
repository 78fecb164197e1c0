package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"greengate/scanner"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "qrbench:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out, problems io.Writer) (err error) {
	flags := flag.NewFlagSet("qrbench", flag.ContinueOnError)
	flags.SetOutput(problems)
	list := flags.String("list", "", "`file` of paths of PGM pictures, one a line; - is standard input")
	which := flags.String("reader", "ours", "ours or stock")
	clip := flags.Bool("clip", false, "the pictures are of clips: keep what is known from one to the next")
	reps := flags.Int("reps", 1, "how often each picture is read; the time is the median")
	empty := flags.Int("empty", 0, "read so many made pictures without a code")
	seed := flags.Uint64("seed", 1, "of the made pictures")
	allocs := flags.Bool("allocs", false, "a seventh field: objects allocated")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || (*list == "") == (*empty == 0) || *reps < 1 || *empty < 0 || *clip && *reps > 1 {
		return errors.New("either -list FILE or -empty N, and -reps at least 1 and not with -clip")
	}
	// One thread is what is measured; the collector works on it too.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b := &bench{name: *which, clip: *clip, reps: *reps, allocs: *allocs, out: bufio.NewWriter(out)}
	if b.reader, err = newReader(*which); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.out.Flush()) }()
	if *empty > 0 {
		e := newEmpty(*seed)
		for i := range *empty {
			name, f := e.next(i)
			if err := b.measure(name, f); err != nil {
				return err
			}
		}
		return nil
	}
	if *list != "-" {
		f, err := os.Open(*list)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	return b.files(in)
}

// bench times one reader.
type bench struct {
	name     string
	reader   reader
	clip     bool
	reps     int
	allocs   bool
	out      *bufio.Writer
	pgm      pgm
	warm     bool
	lastClip string
	cpu      []time.Duration
	wall     []time.Duration
}

// files reads the pictures whose paths come from in.
func (b *bench) files(in io.Reader) error {
	paths := bufio.NewScanner(in)
	for paths.Scan() {
		path := paths.Text()
		if path == "" {
			continue
		}
		f, err := b.open(path)
		if err != nil {
			return err
		}
		if err := b.measure(path, f); err != nil {
			return err
		}
		// Whoever sent the path may wait for the answer before the next.
		if err := b.out.Flush(); err != nil {
			return err
		}
	}
	return paths.Err()
}

func (b *bench) open(path string) (scanner.Frame, error) {
	file, err := os.Open(path)
	if err != nil {
		return scanner.Frame{}, err
	}
	defer file.Close()
	f, err := b.pgm.read(file)
	if err != nil {
		return scanner.Frame{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// measure reads one picture, as often as was asked, and prints the line.
func (b *bench) measure(name string, f scanner.Frame) error {
	if !b.warm {
		// What the first picture costs beside its reading is the program's start.
		if _, err := b.reader.read(f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.reader.forget()
		b.warm = true
	}
	if clip := clipOf(name); !b.clip || clip != b.lastClip {
		b.reader.forget()
		b.lastClip = clip
	}
	b.cpu, b.wall = b.cpu[:0], b.wall[:0]
	var codes [][]byte
	var before, after runtime.MemStats
	for i := range b.reps {
		if i > 0 {
			b.reader.forget()
		}
		if b.allocs {
			runtime.ReadMemStats(&before)
		}
		wall, cpu := time.Now(), cpuTime()
		read, err := b.reader.read(f)
		b.cpu, b.wall = append(b.cpu, cpuTime()-cpu), append(b.wall, time.Since(wall))
		if b.allocs {
			runtime.ReadMemStats(&after)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		codes = read
	}
	texts := make([]string, len(codes))
	for i, c := range codes {
		texts[i] = base64.StdEncoding.EncodeToString(c)
	}
	fmt.Fprintf(b.out, "%s\t%s\t%.4f\t%.4f\t%d\t%s", b.name, name, ms(b.cpu), ms(b.wall), len(codes), strings.Join(texts, ","))
	if b.allocs {
		fmt.Fprintf(b.out, "\t%d", after.Mallocs-before.Mallocs)
	}
	return b.out.WriteByte('\n')
}

// clipOf is the clip that a picture is of: s03_f17.pgm is of s03.
func clipOf(path string) string {
	base := filepath.Base(path)
	if i := strings.LastIndexByte(base, '_'); i >= 0 {
		base = base[:i]
	}
	return filepath.Join(filepath.Dir(path), base)
}

// ms is the median in milliseconds.
func ms(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds()) / 1e6
}

// cpuTime is what this process has used of all processors.
func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // Linux has had it since 2.6.12
	}
	return time.Duration(t.Nano())
}
