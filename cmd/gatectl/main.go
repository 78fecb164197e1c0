// Gatectl is the technician's tool on the device.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"greengate/cmd/control"
	"greengate/cmd/version"
	"greengate/gate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "gatectl: %v\n", err)
		stop()
		os.Exit(1)
	}
}

const usage = `gatectl: the technician's tool on the gate

usage: gatectl [-socket FILE] COMMAND

  status [-json]          how the gate is
  scan-test               show a code to a reader; the lane does not see it
  camera [-json] [READER] what a camera sees and reads, on a page of this device, for ten minutes
  journal tail [-n N] [-f] [-json]
                          the last records, clear part; -f follows
  lists show              the lists held
  lists check             read them from the file again and compare with what was signed
  lists import PATH|-     bring lists in from a stick's folder, a bundle, or a serial line
  enrol URL TOKEN         become the gate that ` + "`gatehub gate invite`" + ` named; -out names the identity file
  guard add NAME          a guard and a PIN, asked for; -file names the guards' file
  guard list              the guards' names
  version

`

func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatectl", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	socket := flags.String("socket", "/run/greengate/control.sock", "the gate's control `socket`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	args = flags.Args()
	client := control.NewClient(*socket)
	defer client.Close()
	word := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch {
	case word(0) == "status":
		return status(ctx, client, args[1:], stdout, stderr)
	case word(0) == "scan-test":
		return scanTest(ctx, client, stdout)
	case word(0) == "camera":
		return watchCamera(ctx, client, args[1:], stdout, stderr)
	case word(0) == "journal" && word(1) == "tail":
		return tail(ctx, client, args[2:], stdout, stderr)
	case word(0) == "lists" && word(1) == "show":
		return showLists(ctx, client, stdout)
	case word(0) == "lists" && word(1) == "check":
		return checkLists(ctx, client, stdout)
	case word(0) == "lists" && word(1) == "import":
		return importLists(ctx, client, args[2:], stdin, stdout, stderr)
	case word(0) == "enrol":
		return enrolGate(ctx, args[1:], stdout, stderr)
	case word(0) == "guard" && word(1) == "add":
		return addGuard(args[2:], stdin, stdout, stderr)
	case word(0) == "guard" && word(1) == "list":
		return listGuards(args[2:], stdout, stderr)
	case word(0) == "version":
		fmt.Fprintln(stdout, version.String())
		return nil
	case word(0) == "" || word(0) == "help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	return fmt.Errorf("no command %q\nhint: `gatectl help` lists them", strings.Join(args, " "))
}

func status(ctx context.Context, client *control.Client, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatectl status", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print everything as JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	row := func(name, format string, a ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, a...)) }
	row("gate", "%s %s", s.Gate, s.Zone)
	row("version", "%s, up %s", s.Version, s.Time.Sub(s.Started).Round(time.Second))
	row("lane", "%s", strings.TrimSpace(s.Lane+" "+s.Reason+" "+s.FaultCode))
	row("clock", "%s, %s", s.Time.Format(time.DateTime), s.Clock)
	if !s.Floor.IsZero() {
		row("floor", "%s%s", s.Floor.In(s.Time.Location()).Format(time.DateTime), leap(s))
	}
	for _, r := range s.Readers {
		row("reader", "%s: %s", r.Name, r.State)
	}
	if len(s.Lists) == 0 {
		row("lists", "none held")
	} else {
		row("lists", "%d held, the oldest confirmed %s ago: %s", len(s.Lists), s.Time.Sub(s.Oldest.Confirmed).Round(time.Second), s.Oldest.Freshness)
	}
	for _, l := range s.Lists {
		why := "configured"
		if l.Extra {
			why = "extra, asked for by a code"
		}
		row("list", "%s generation %d, confirmed %s ago: %s, %s", l.URI, l.Sequence, s.Time.Sub(l.Confirmed).Round(time.Second), l.Freshness, why)
	}
	row("policy", "version %d", s.Policy)
	row("map", "%s", riskMap(s.Map))
	row("download", "%s", when(s.Time, s.Trust.LastSuccess, s.Trust.LastError))
	row("upload", "%s, backlog %d %s", when(s.Time, s.Upload.LastSuccess, s.Upload.LastError), s.Upload.Backlog, s.Upload.Stop)
	if r := s.Upload.Refusal; r != nil {
		row("refused", "%s", refused(s))
		row("next step", "%s", nextStep(s.Gate, *r))
	}
	if s.Upload.Aside > 0 {
		row("set aside", "%s", s.Upload.AsideError)
	}
	row("journal", "%d records written, %d acknowledged, %d of %d MiB, room: %s", s.Journal.Next-1, s.Journal.Acknowledged, s.Journal.Bytes>>20, s.Journal.Cap>>20, s.Journal.Room)
	if j := s.Journal; j.Dropped+j.Damaged+j.Aside > 0 || j.Files > 0 {
		row("losses", "%d records dropped, %d damaged, %d refused by the hub, %d files set aside", j.Dropped, j.Damaged, j.Aside, j.Files)
	}
	row("passages", "%d admitted, %d refused, %d held", s.Counts.Admitted, s.Counts.Refused, s.Counts.Held)
	if len(s.Faults) > 0 {
		row("faults", "%s", strings.Join(s.Faults, ", "))
	}
	if s.Pages != "" {
		row("pages", "http://%s/ and http://%s/guard", s.Pages, s.Pages)
	}
	return w.Flush()
}

// leap says that a signed time waits to be believed.
func leap(s control.Status) string {
	if !s.Trust.Leap {
		return ""
	}
	return fmt.Sprintf("; signed %s waits for network time or the hub", s.Trust.Issued.In(s.Time.Location()).Format(time.DateTime))
}

// riskMap says which map is in force: "version 3 of 2020-02-17, 2 days old".
func riskMap(m control.MapStatus) string {
	switch {
	case m.Version == 0:
		return "none"
	case !m.AgeKnown:
		return fmt.Sprintf("version %d of %s", m.Version, m.Day)
	case m.Age == 0:
		return fmt.Sprintf("version %d of %s, today's", m.Version, m.Day)
	case m.Age == 1:
		return fmt.Sprintf("version %d of %s, yesterday's", m.Version, m.Day)
	}
	return fmt.Sprintf("version %d of %s, %d days old", m.Version, m.Day, m.Age)
}

func when(now, last time.Time, failure string) string {
	s := "never yet"
	if !last.IsZero() {
		s = now.Sub(last).Round(time.Second).String() + " ago"
	}
	if failure != "" {
		s += "; last error: " + failure
	}
	return s
}

func scanTest(ctx context.Context, client *control.Client, stdout io.Writer) error {
	fmt.Fprintln(stdout, "show a code to a reader within 30 s; the lane does not see it")
	s, err := client.ScanTest(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "reader %s (%s): %d bytes, opened in %d µs\n", s.Reader, s.Direction, s.Bytes, s.OpenMicros)
	if s.Error != "" {
		fmt.Fprintf(stdout, "does not open: %s\n", s.Error)
	} else {
		fmt.Fprintf(stdout, "opens: a %s code\n", s.Kind)
	}
	return nil
}

func tail(ctx context.Context, client *control.Client, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatectl journal tail", flag.ContinueOnError)
	flags.SetOutput(stderr)
	n := flags.Int("n", 20, "how many records")
	follow := flags.Bool("f", false, "go on with each new record")
	asJSON := flags.Bool("json", false, "one JSON object a line")
	if err := flags.Parse(args); err != nil {
		return err
	}
	err := client.Journal(ctx, *n, *follow, func(l control.JournalLine) error {
		if *asJSON {
			return json.NewEncoder(stdout).Encode(l)
		}
		what := strings.TrimSpace(fmt.Sprintf("%s %s", l.Verdict, l.Reason))
		if l.Kind == gate.OutcomeRecord {
			what = fmt.Sprintf("of %d: %s", l.Of, l.Outcome)
		}
		if l.Why != "" {
			what += fmt.Sprintf(" by a guard (%s)", l.Why)
		}
		_, err := fmt.Fprintf(stdout, "%8d  %s  %-8s %-5s  %s\n", l.Sequence, l.At.Local().Format("15:04:05.000"), l.Kind, l.Direction, what)
		return err
	})
	if ctx.Err() != nil {
		return nil // ended by the technician
	}
	return err
}

// guardsFile declares the flag that names the file.
func guardsFile(flags *flag.FlagSet) *string {
	return flags.String("file", "/var/lib/greengate/guards.json", "the guards' `file`")
}

// readGuards reads the entries; no file is no guard.
func readGuards(path string) ([]gate.GuardEntry, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := gate.ParseGuards(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var f struct {
		Guards []gate.GuardEntry `json:"guards"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f.Guards, nil
}

func listGuards(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatectl guard list", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := guardsFile(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	entries, err := readGuards(*file)
	for _, e := range entries {
		fmt.Fprintln(stdout, e.Name)
	}
	return err
}

// addGuard adds a guard or gives a known one another PIN. The PIN is asked for
// twice at a terminal and never an argument, which others could read.
func addGuard(args []string, stdin *os.File, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatectl guard add", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := guardsFile(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("guard add takes the guard's name\nhint: gatectl guard add -file FILE NAME")
	}
	pin, err := askPIN(stdin, stdout)
	if err != nil {
		return err
	}
	entry, err := gate.HashPIN(pin, rand.Reader)
	if err != nil {
		return err
	}
	entry.Name = flags.Arg(0)
	entries, err := readGuards(*file)
	if err != nil {
		return err
	}
	known := false
	for i := range entries {
		if entries[i].Name == entry.Name {
			entries[i], known = entry, true
		}
	}
	if !known {
		entries = append(entries, entry)
	}
	text, err := gate.MarshalGuards(entries)
	if err != nil {
		return err
	}
	if err := replace(*file, text); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s is in %s; restart gated to use it\n", entry.Name, *file)
	return nil
}

// askPIN asks at a terminal, without echo; from a pipe it takes one line.
func askPIN(stdin *os.File, stdout io.Writer) (string, error) {
	if !term.IsTerminal(int(stdin.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(stdin, 64)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(stdout, prompt)
		text, err := term.ReadPassword(int(stdin.Fd()))
		fmt.Fprintln(stdout)
		return string(text), err
	}
	first, err := ask("PIN, 4 to 12 digits: ")
	if err != nil {
		return "", err
	}
	second, err := ask("once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two PINs differ; nothing was changed")
	}
	return first, nil
}

// replace writes a file whole or not at all, readable by its owner alone.
func replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".guards-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
