package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"greengate/cmd/control"
	"greengate/cmd/viewfinder"
)

// watchCamera shows what a camera sees, on a page of this device or as lines of
// JSON, for as long as the gate allows or until ctx ends.
func watchCamera(ctx context.Context, client *control.Client, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatectl camera", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "one JSON object a second, without pictures, instead of a page")
	n := flags.Int("n", 0, "with -json, end after so many `lines`")
	addr := flags.String("listen", "127.0.0.1:0", "the page's `address`, on this device; port 0 is any free one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 1 {
		return errors.New("camera takes one reader's name at most\nhint: gatectl status lists the readers")
	}
	reader := flags.Arg(0)
	if *asJSON {
		return cameraLines(ctx, client, reader, *n, stdout)
	}

	l, err := viewfinder.Listen(*addr)
	if err != nil {
		return err
	}
	page, err := viewfinder.New()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- page.Serve(serving, l) }()
	said := false
	err = client.Camera(ctx, reader, true, func(line control.CameraLine) error {
		page.Show(line)
		if said {
			return nil
		}
		said = true
		_, err := fmt.Fprintf(stdout, "open http://%s%s\nfrom another computer: ssh -L %s:%s GATE, then the same\nit ends after %s, or with Ctrl-C; the lane goes on, and nothing is stored\n",
			l.Addr(), page.Path(), l.Addr(), l.Addr(), control.CameraFor)
		return err
	})
	stop()
	if ctx.Err() != nil {
		err = nil // ended by the technician
	}
	return errors.Join(err, <-served)
}

// errEnough ends a stream of lines.
var errEnough = errors.New("enough lines")

// cameraLines prints one line of JSON a second.
func cameraLines(ctx context.Context, client *control.Client, reader string, n int, stdout io.Writer) error {
	out := json.NewEncoder(stdout)
	err := client.Camera(ctx, reader, false, func(line control.CameraLine) error {
		if err := out.Encode(line); err != nil {
			return err
		}
		if n--; n == 0 {
			return errEnough
		}
		return nil
	})
	if ctx.Err() != nil || errors.Is(err, errEnough) {
		return nil
	}
	return err
}
