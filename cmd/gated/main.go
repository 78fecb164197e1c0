// Gated is the gate daemon: one process, one lane.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"greengate/cmd/loglines"
	"greengate/cmd/version"
	"greengate/cmd/wire"
	"greengate/display"
	"greengate/display/terminal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		if !loglines.Told(err) {
			fmt.Fprintf(os.Stderr, "gated: %v\n", err)
		}
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("gated", flag.ContinueOnError)
	flags.SetOutput(stderr)
	config := flags.String("config", "/etc/greengate/gate.toml", "configuration `file`")
	check := flags.Bool("check", false, "read the configuration, open nothing, say what is wrong, and end")
	safe := flags.Bool("safe", false, "make the lane safe and end: what a unit runs behind a gate that died")
	show := flags.Bool("show", false, "print a line for each change of the lane")
	var format loglines.Format
	flags.Var(&format, "log", "`format` of the log's lines on standard error: text or json")
	printVersion := flags.Bool("version", false, "print the version and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q\nhint: gated -h lists the flags", flags.Arg(0))
	}
	if *printVersion {
		fmt.Fprintln(stdout, version.String())
		return nil
	}
	cfg, err := wire.ReadConfig(*config)
	if err != nil {
		return err
	}
	if *check {
		fmt.Fprintf(stdout, "%s: nothing wrong\n", *config)
		return nil
	}
	if *safe {
		return makeSafe(cfg, format.Open(stderr))
	}
	// Memory is bounded on a small board: the lists take what they take, and
	// the collector is told early.
	debug.SetGCPercent(50)
	log := format.Open(stderr)
	defer func() { err = format.End(log, err) }()
	notify, err := wire.NewNotifier(os.Getenv)
	if err != nil {
		return err
	}
	if notify.Every > 0 && notify.Every < 2*time.Second {
		log.Warn("the watchdog is faster than the lane's beat of about a second", "hint", "WatchdogSec=10 in the unit")
	}

	hardware, closeHardware, err := wire.OpenHardware(cfg, log)
	// Whatever happens below, a panic included, leaves the lane locked.
	defer func() { err = errors.Join(err, closeHardware()) }()
	if err != nil {
		return err
	}
	var lines *terminal.Screen
	if *show {
		words, err := display.Load(cfg.Web.Languages[0])
		if err != nil {
			return fmt.Errorf("web.languages: %w", err)
		}
		lines = terminal.New(stdout, words)
	}
	gate, err := wire.Open(cfg, hardware, wire.Options{Log: log, Now: time.Now, Synchronised: wire.Synchronised,
		Beat: heart(notify, log), Terminal: lines, Version: version.String()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gate.Close()) }()
	err = gate.Run(ctx, func() {
		log.Info("gate runs", "version", version.String(), "pages", gate.Address())
		if err := notify.Notify("READY=1"); err != nil {
			log.Warn("systemd not told", "error", err)
		}
	})
	if notifyErr := notify.Notify("STOPPING=1"); notifyErr != nil {
		log.Warn("systemd not told", "error", notifyErr)
	}
	return err
}

// makeSafe takes the pins, drives them safe, and gives them back. A gate that
// was killed could not do that itself, and not every kernel does it for it: some
// leave a line as it was.
func makeSafe(cfg wire.Config, log *slog.Logger) error {
	cfg.Thermometer = nil // its bus may hang
	_, closeHardware, err := wire.OpenHardware(cfg, log)
	return errors.Join(err, closeHardware())
}

// heart feeds systemd's watchdog from the lane's loop, at most as often as it wants.
func heart(notify *wire.Notifier, log *slog.Logger) func() {
	if notify.Every == 0 {
		return nil
	}
	var last atomic.Int64
	start := time.Now()
	return func() {
		now := time.Since(start).Nanoseconds()
		if then := last.Load(); then != 0 && time.Duration(now-then) < notify.Every/2 {
			return
		}
		last.Store(now)
		if err := notify.Notify("WATCHDOG=1"); err != nil {
			log.Warn("watchdog not fed", "error", err)
		}
	}
}
