package main

import (
	"archive/tar"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"greengate/cmd/control"
)

const importUsage = `usage: gatectl lists import PATH|-

Brings signed lists in from a USB stick or over a serial line, by the same
checks that the hub's lists go through. PATH is a folder that
` + "`gatehub lists export -out FOLDER`" + ` wrote, or the hub's own folder of
lists, or a bundle (a tar) from ` + "`gatehub lists export -out FILE`" + `; - reads a
bundle from standard input.

over a serial line, with a terminal program that can send a file by ZMODEM
(package lrzsz on the gate):

  rz                                  and send lists.tar
  gatectl lists import lists.tar

and with one that can only paste (at the hub: base64 lists.tar > lists.txt):

  base64 -d | gatectl lists import -  and paste lists.txt, then Ctrl-D

`

// maxFiles is how many files of a folder are sent; the gate takes no more.
const maxFiles = 20000

func showLists(ctx context.Context, client *control.Client, stdout io.Writer) error {
	held, err := client.Lists(ctx)
	if err != nil {
		return err
	}
	if len(held.Lists) == 0 {
		fmt.Fprintln(stdout, "none held")
		return nil
	}
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "LIST\tGENERATION\tISSUED\tCONFIRMED\tFRESHNESS\tSIZE")
	for _, l := range held.Lists {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s ago\t%s\t%d KiB\n", l.URI, l.Sequence, l.Issued.Local().Format(time.DateTime),
			held.Time.Sub(l.Confirmed).Round(time.Second), l.Freshness, (l.Bytes+1023)>>10)
	}
	return w.Flush()
}

func checkLists(ctx context.Context, client *control.Client, stdout io.Writer) error {
	c, err := client.CheckLists(ctx)
	if err != nil {
		return err
	}
	for _, p := range c.Problems {
		fmt.Fprintln(stdout, p)
	}
	if len(c.Problems) > 0 {
		return fmt.Errorf("%d of %d lists in the file are not what was signed; those in memory are\nhint: restart gated, it fetches them anew; a card that does this again is at its end", len(c.Problems), c.Checked)
	}
	fmt.Fprintf(stdout, "%d lists in the file are what was signed\n", c.Checked)
	return nil
}

func importLists(ctx context.Context, client *control.Client, args []string, stdin *os.File, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatectl lists import", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, importUsage) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("lists import takes a folder, a bundle, or - for standard input\nhint: `gatectl lists import -h` says how")
	}
	bundle, err := openBundle(flags.Arg(0), stdin)
	if err != nil {
		return err
	}
	report, err := client.Import(ctx, bundle, func(doing string) error {
		_, err := fmt.Fprintln(stdout, doing)
		return err
	})
	// Closed before the errors are looked at: what could not be read stopped
	// the gate's reading too, and is the better word for it.
	if cerr := bundle.Close(); cerr != nil {
		return fmt.Errorf("%s: %w", flags.Arg(0), cerr)
	}
	if err != nil {
		return err
	}
	return printImport(report, stdout)
}

func printImport(r control.ImportReport, stdout io.Writer) error {
	for _, what := range r.Installed {
		fmt.Fprintf(stdout, "installed  %s\n", what)
	}
	for _, what := range r.Dropped {
		fmt.Fprintf(stdout, "dropped    %s, which the authority does not publish any more\n", what)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(stdout, "failed     %s: %s\n", f.What, f.Error)
	}
	if r.Leap {
		fmt.Fprintln(stdout, "note       it is more than 30 days ahead of what this gate knew, and no clock agrees: set the clock")
	}
	switch {
	case r.Refused != "":
		return errors.New(r.Refused)
	case len(r.Failures) > 0:
		return fmt.Errorf("%d could not be brought in; the rest was", len(r.Failures))
	case len(r.Installed) == 0 && len(r.Dropped) == 0:
		fmt.Fprintf(stdout, "nothing new: the gate holds all of timestamp %d, issued %s\n", r.Timestamp, r.Issued.Local().Format(time.DateTime))
	default:
		fmt.Fprintf(stdout, "up to timestamp %d, issued %s\n", r.Timestamp, r.Issued.Local().Format(time.DateTime))
	}
	return nil
}

// openBundle opens what is to be sent: a folder as a tar that is made on the
// way, a tar, or standard input.
func openBundle(name string, stdin *os.File) (io.ReadCloser, error) {
	if name == "-" {
		if term.IsTerminal(int(stdin.Fd())) {
			return nil, errors.New("a bundle is no text to type\nhint: `base64 -d | gatectl lists import -` takes one that is pasted")
		}
		return io.NopCloser(stdin), nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is neither a folder nor a file", name)
		}
		return os.Open(name)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	files, err := repositoryFiles(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	r, w := io.Pipe()
	f := &folderBundle{PipeReader: r, done: make(chan error, 1)}
	go func() {
		err := writeTar(w, root, files)
		w.CloseWithError(err)
		f.done <- errors.Join(err, root.Close())
	}()
	return f, nil
}

// folderBundle is a folder on its way as a tar.
type folderBundle struct {
	*io.PipeReader
	done chan error
}

// Close waits for the writer and returns what it could not read.
func (f *folderBundle) Close() error {
	if err := f.PipeReader.Close(); err != nil {
		return err
	}
	if err := <-f.done; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}

// repositoryFiles lists what a repository is made of, the timestamp last: half
// a bundle is none.
func repositoryFiles(root *os.Root) ([]string, error) {
	const timestamp = "metadata/timestamp.json"
	if _, err := root.Stat(timestamp); err != nil {
		return nil, fmt.Errorf("%s holds no lists: %w\nhint: name the folder that metadata and targets lie in", root.Name(), err)
	}
	var files []string
	for _, top := range []string{"metadata", "targets"} {
		err := fs.WalkDir(root.FS(), top, func(name string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case strings.HasPrefix(path.Base(name), "."): // what other systems and a cut publish leave
				if e.IsDir() {
					return fs.SkipDir
				}
				return nil
			case !e.Type().IsRegular() || name == timestamp:
				return nil
			case len(files) == maxFiles:
				return fmt.Errorf("%s has more than %d files\nhint: `gatehub lists export` writes only what is current", root.Name(), maxFiles)
			}
			files = append(files, name)
			return nil
		})
		if err != nil && !(top == "targets" && errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
	}
	slices.Sort(files)
	return append(files, timestamp), nil
}

func writeTar(w io.Writer, root *os.Root, files []string) error {
	t := tar.NewWriter(w)
	for _, name := range files {
		if err := writeFile(t, root, name); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeFile(t *tar.Writer, root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o644}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
