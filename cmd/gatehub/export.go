package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"greengate/sync/hub"
	"greengate/sync/hub/publisher"
)

// exportLists writes the current lists for gates that no network reaches. It
// reads the hub's folder, and a copy of its lists does as well.
func exportLists(f *flag.FlagSet) action {
	out := f.String("out", "", "a `folder` (one that is there, or ends in /), a file for a bundle, or - for standard output")
	from := f.String("from", "", "the `folder` of lists, where it is not the hub's own")
	var regions list
	f.Var(&regions, "region", "only status lists of this `region`, 2 to 6 digits of GB/T 2260; repeat for more")
	return func(_ context.Context, c call) error {
		if *out == "" {
			return errors.New("lists export needs -out\nhint: -out /media/stick/ or -out lists.tar")
		}
		if *from == "" {
			*from = hub.ListsFolder(c.dir)
		}
		done, err := export(*from, regions, *out, c.stdout)
		if errors.Is(err, publisher.ErrNoRepository) {
			return fmt.Errorf("%w\nhint: -dir names the hub's folder, -from a folder of lists", err)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(c.stderr, "%d lists, %d files, %d KiB; signed %s, gates take it until %s\nat the gate: gatectl lists import %s\n", done.Lists, done.Files, (done.Bytes+1023)>>10,
			done.Issued.UTC().Format(time.RFC3339), done.Expires.UTC().Format(time.RFC3339), *out)
		if !done.Expires.After(time.Now()) {
			return errors.New("these lists have expired, and no gate takes them\nhint: let the hub run; it signs anew")
		}
		return nil
	}
}

func export(from string, regions []string, out string, stdout io.Writer) (publisher.Exported, error) {
	if out == "-" {
		return publisher.ExportTar(from, regions, stdout)
	}
	info, err := os.Stat(out)
	if strings.HasSuffix(out, "/") || err == nil && info.IsDir() {
		return publisher.ExportDir(from, regions, out)
	}
	// A bundle appears whole or not at all.
	f, err := os.CreateTemp(filepath.Dir(out), ".export-*")
	if err != nil {
		return publisher.Exported{}, err
	}
	done, err := publisher.ExportTar(from, regions, f)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), out)
	}
	if err != nil {
		return done, errors.Join(err, os.Remove(f.Name()))
	}
	return done, nil
}
