// Gatehub is the authority's end: it takes declarations, issues codes and
// permits, publishes signed lists, makes gates' identities, collects passages
// and shows them. `gatehub help` lists what it can do.
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

	"greengate/cmd/loglines"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		if !loglines.Told(err) {
			fmt.Fprintf(os.Stderr, "gatehub: %v\n", err)
		}
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, rest, err := find(args)
	if err != nil {
		usage(stderr)
		return err
	}
	if c == nil {
		usage(stdout)
		return nil
	}
	return c.execute(ctx, rest, stdout, stderr)
}
