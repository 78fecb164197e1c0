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
	"text/tabwriter"
	"time"

	"rig/console"
)

// codes are issued before the first scan, more than all scenarios show.
const codes = 90

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	f := flag.NewFlagSet("rig", flag.ContinueOnError)
	f.SetOutput(stderr)
	var p parts
	f.StringVar(&p.kernel, "kernel", "", "the kernel, for arm64")
	f.StringVar(&p.dtb, "dtb", "", "device tree of a Raspberry Pi 3B, as QEMU emulates it")
	f.StringVar(&p.modules, "modules", "", "folder with the kernel's modules")
	f.StringVar(&p.guest, "guest", "", "the machine's first process, for arm64")
	f.StringVar(&p.gated, "gated", "", "the gate's program, for arm64")
	f.StringVar(&p.unit, "unit", "", "the unit it is shipped with")
	brief := f.Bool("short", false, "only some scenarios")
	verbose := f.Bool("v", false, "print each scenario's timeline, and the gate's log at the end")
	only := f.String("only", "", "only scenarios whose name has this in it, behind the first one")
	if err := f.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rig") // short: a socket's path is limited
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := newSite(ctx, dir, codes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	card := filepath.Join(dir, "card")
	if err := s.card(ctx, card); err != nil {
		return err
	}
	b := &bench{ctx: ctx, parts: p, dir: dir, card: card, site: s, stderr: stderr, verbose: *verbose}
	defer b.close()
	for i, sc := range scenarios() {
		if *brief && !sc.short || i > 0 && !strings.Contains(sc.name, *only) {
			continue
		}
		b.try(sc)
	}
	return b.table(stdout)
}

// bench plays scenarios and keeps their rows.
type bench struct {
	ctx       context.Context
	parts     parts
	dir, card string
	site      *site
	board     *board
	stderr    io.Writer
	verbose   bool
	rows      []row
}

type row struct {
	name    string
	err     error
	figures []string
	took    time.Duration
}

// try plays a scenario. After one that failed the board may be in any state, so
// the next ones find a new one.
func (b *bench) try(sc scenario) {
	p := &play{ctx: b.ctx, board: b.board, site: b.site, began: time.Now()}
	p.start = func() (err error) {
		b.close()
		p.board, err = power(b.ctx, b.parts, b.dir, b.card)
		b.board = p.board
		return err
	}
	err := b.ctx.Err()
	if err == nil && p.board == nil && len(b.rows) > 0 {
		if err = p.start(); err == nil {
			err = firstPerson(p)
			p.figures = nil
		}
	}
	if err == nil {
		err = sc.play(p)
	}
	if err != nil || b.verbose {
		fmt.Fprintf(b.stderr, "# %s\n%s", sc.name, p.timeline.String())
	}
	if err != nil {
		fmt.Fprintf(b.stderr, "failed: %v\n", err)
		b.tell()
		b.close()
	}
	if p.again > 0 {
		p.figures = append(p.figures, fmt.Sprintf("%d kept out, the host was late", p.again))
	}
	b.rows = append(b.rows, row{sc.name, err, p.figures, time.Since(p.began)})
}

// tell prints the gate's log, where the machine still answers.
func (b *bench) tell() {
	if b.board == nil || b.ctx.Err() != nil {
		return
	}
	a, err := b.board.order(console.Order{Do: "log"})
	if err != nil {
		fmt.Fprintln(b.stderr, "no log:", err)
		return
	}
	fmt.Fprintln(b.stderr, a.Text)
	if a, err = b.board.order(console.Order{Do: "get", Text: "/metrics"}); err != nil {
		fmt.Fprintln(b.stderr, "no metrics:", err)
		return
	}
	for line := range strings.Lines(a.Text) {
		if strings.HasPrefix(line, "greengate_decision") || strings.HasPrefix(line, "greengate_fault") {
			fmt.Fprint(b.stderr, line)
		}
	}
}

func (b *bench) close() {
	if b.board != nil {
		b.board.cut()
		b.board = nil
	}
}

// table prints a row for each scenario, and fails where one did.
func (b *bench) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "scenario\t\tplayed in\ttimes seen from outside")
	failed := 0
	for _, r := range b.rows {
		word := "pass"
		if r.err != nil {
			word = "FAIL"
			failed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.name, word, short(r.took), strings.Join(r.figures, "; "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d scenarios failed", failed, len(b.rows))
	}
	return nil
}
