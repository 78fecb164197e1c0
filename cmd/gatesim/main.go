// Gatesim is a whole gate on a laptop: the packages of gated, with a lane in
// memory in the place of its pins. `gatesim demo` also runs a hub and a queue
// of people.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // a window that is closed; nohup is heeded
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "gatesim: %v\n", err)
		stop()
		os.Exit(1)
	}
}

const usage = `gatesim: a gate on a laptop

usage:
  gatesim demo [-once]              a hub, a gate and a queue of people
  gatesim gate -config FILE -sim SOCKET
                                    one gate with a lane in memory, moved over the socket
  gatesim figures                   memory and start of gated with a city's lists
`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stdout, usage)
		return nil
	}
	switch args[0] {
	case "gate":
		return runGate(ctx, args[1:], stderr)
	case "demo":
		return runDemo(ctx, args[1:], stdout, stderr)
	case "figures":
		return runFigures(ctx, stdout)
	}
	fmt.Fprint(stderr, usage)
	return fmt.Errorf("no command %q", args[0])
}
