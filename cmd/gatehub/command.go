package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"greengate/sync/hub"
)

// command is one thing that gatehub does.
type command struct {
	// words that name it, as "gate add".
	words string
	// args that it takes behind the words, as "NAME", and a sentence on it.
	args, help string
	// offline commands work on the folder itself; all others speak to a running hub.
	offline bool
	// prepare declares the flags and returns what to do.
	prepare func(*flag.FlagSet) action
}

// action does the command with the arguments that are not flags.
type action func(ctx context.Context, c call) error

// call is what an action gets.
type call struct {
	// dir is the hub's data folder.
	dir            string
	hub            *hub.Client // nil for offline commands
	args           []string
	stdout, stderr io.Writer
}

// print writes an answer as JSON, one object, for people and scripts alike.
func (c call) print(v any) error {
	enc := json.NewEncoder(c.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// find looks for the command that the arguments begin with; nil for help.
func find(args []string) (*command, []string, error) {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		return nil, nil, nil
	}
	for i := range commands {
		words := strings.Fields(commands[i].words)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return &commands[i], args[len(words):], nil
		}
	}
	return nil, nil, fmt.Errorf("no command %q\nhint: `gatehub help` lists them", strings.Join(args, " "))
}

// usage lists the commands.
func usage(w io.Writer) {
	fmt.Fprint(w, "gatehub: the authority's end of greengate\n\nusage: gatehub COMMAND [-dir FOLDER] [flags] [arguments]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-42s %s\n", strings.TrimSpace(c.words+" "+c.args), c.help)
	}
	fmt.Fprint(w, "\n`gatehub COMMAND -h` shows its flags. The folder is /var/lib/gatehub where -dir does not say otherwise.\n")
}

func (c *command) execute(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatehub "+c.words, flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "/var/lib/gatehub", "the hub's data `folder`")
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: gatehub %s [flags] %s\n%s\n\n", c.words, c.args, c.help)
		flags.PrintDefaults()
	}
	act := c.prepare(flags)
	// Flags may come after arguments too, as people write them.
	var given []string
	for rest := args; ; {
		if err := flags.Parse(rest); err != nil {
			return err
		}
		if flags.NArg() == 0 {
			break
		}
		given, rest = append(given, flags.Arg(0)), flags.Args()[1:]
	}
	want := len(strings.Fields(c.args))
	if len(given) != want {
		flags.Usage()
		return fmt.Errorf("%s: %d arguments, want %d: %s", c.words, len(given), want, c.args)
	}
	in := call{dir: *dir, args: given, stdout: stdout, stderr: stderr}
	if !c.offline {
		in.hub = hub.NewClient(*dir)
		defer in.hub.Close()
	}
	return act(ctx, in)
}
