package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"greengate/sync/hub"
	"greengate/sync/hub/table"
)

// exportPassages is `gatehub export`.
func exportPassages(f *flag.FlagSet) action {
	var r hub.ExportRequest
	format := f.String("format", "csv", "csv or parquet")
	out := f.String("out", "", "the `file`; it appears when it is whole")
	f.StringVar(&r.Gate, "gate", "", "only of this `gate`")
	f.StringVar(&r.From, "from", "", "only from this `day` on, as 2020-02-17")
	f.StringVar(&r.To, "to", "", "only up to this `day`, which is included")
	return func(ctx context.Context, c call) (err error) {
		if *out == "" {
			return errors.New("export needs -out\nhint: -out passages.csv")
		}
		file, err := os.CreateTemp(filepath.Dir(*out), ".export-*")
		if err != nil {
			return err
		}
		r.By = whoami()
		n, err := writeTable(ctx, c.hub, r, *format, file)
		if err == nil {
			err = file.Sync()
		}
		if err = errors.Join(err, file.Close()); err == nil {
			err = os.Rename(file.Name(), *out)
		}
		if err != nil {
			return errors.Join(err, os.Remove(file.Name()))
		}
		fmt.Fprintf(c.stderr, "%d records in %s\n", n, *out)
		return nil
	}
}

// writeTable writes while it reads: nothing is collected.
func writeTable(ctx context.Context, from *hub.Client, r hub.ExportRequest, format string, to io.Writer) (n uint64, err error) {
	buffered := bufio.NewWriterSize(to, 1<<18)
	w, err := table.New(format, buffered)
	if err != nil {
		return 0, err
	}
	for p, err := range from.Export(ctx, r) {
		if err != nil {
			return n, err
		}
		if err := w.Write(rowOf(p)); err != nil {
			return n, err
		}
		n++
	}
	if err := w.Close(); err != nil {
		return n, err
	}
	return n, buffered.Flush()
}

func rowOf(p hub.Passage) table.Row {
	r := table.Row{Gate: p.Gate, Sequence: p.Sequence, Received: p.Received, Tombstone: p.Tombstone, Digest: hex.EncodeToString(p.Digest)}
	if p.Tombstone {
		return r
	}
	var notices []string
	for _, n := range p.Notices {
		notices = append(notices, string(n))
	}
	r.Kind, r.At, r.Clock, r.Direction = string(p.Kind), &p.At, p.Clock, p.Direction
	r.Verdict, r.Reason, r.Notices = p.Verdict, string(p.Reason), strings.Join(notices, " ")
	r.Policy, r.List, r.Of, r.Outcome = p.Policy, p.List, p.Of, string(p.Outcome)
	r.GuardReason, r.Dropped = string(p.GuardReason), p.Dropped
	return r
}

// tail is `gatehub tail`.
func tail(f *flag.FlagSet) action {
	var r hub.TailRequest
	f.StringVar(&r.Gate, "gate", "", "only of this `gate`")
	f.StringVar((*string)(&r.Reason), "reason", "", "only with this `reason`, as fever")
	return func(ctx context.Context, c call) error {
		enc := json.NewEncoder(c.stdout)
		return c.hub.Tail(ctx, r, func() { fmt.Fprintln(c.stderr, "following; Ctrl-C ends it") },
			func(p hub.Passage) error { return enc.Encode(p) },
			func(batches uint64) error {
				_, err := fmt.Fprintf(c.stderr, "too slow: %d batches were left out here; they are stored\n", batches)
				return err
			})
	}
}
