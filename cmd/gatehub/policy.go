package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"greengate/gate"
	"greengate/sync/hub"
)

// showPolicy is `gatehub policy show`. What it prints can be changed and set.
func showPolicy(f *flag.FlagSet) action {
	version := f.Uint64("version", 0, "an earlier version")
	return func(ctx context.Context, c call) error {
		d, err := c.hub.Policy(ctx, hub.DocumentRequest{Version: *version})
		if err != nil {
			return err
		}
		if d.By == "" {
			fmt.Fprintln(c.stderr, "none was set yet: this is the gates' built-in default")
		} else {
			fmt.Fprintf(c.stderr, "set by %s\n", d.By)
		}
		return c.print(d.JSON)
	}
}

// showMap is `gatehub map show`.
func showMap(*flag.FlagSet) action {
	return func(ctx context.Context, c call) error {
		d, err := c.hub.Map(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.stderr, "set by %s\n", d.By)
		return c.print(d.JSON)
	}
}

// setPolicy is `gatehub policy set`.
func setPolicy(*flag.FlagSet) action {
	return func(ctx context.Context, c call) error {
		text, err := readDocument(c.args[0])
		if err != nil {
			return err
		}
		if err := c.hub.SetPolicy(ctx, hub.Document{JSON: text, By: whoami()}); err != nil {
			return err
		}
		fmt.Fprintf(c.stderr, "it reaches the gates once role policy has signed it: `gatehub publish -offline FOLDER`\nhint: `gatehub policy try FILE` says before the next one what it would have changed yesterday\n")
		return nil
	}
}

// setMap is `gatehub map set`.
func setMap(f *flag.FlagSet) action {
	day := f.String("day", "", "the `day` of a county,level file, as 2020-02-17; a JSON map says its own")
	return func(ctx context.Context, c call) error {
		text, err := readMap(c.args[0], *day, false)
		if err != nil {
			return err
		}
		return c.hub.SetMap(ctx, hub.Document{JSON: text, By: whoami()})
	}
}

// readMap reads a map as JSON, or as a spreadsheet's lines of county,level,
// which have no day of their own; today is as good as any where anyDay.
func readMap(path, day string, anyDay bool) ([]byte, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		if day != "" {
			return nil, errors.New("-day is for county,level files: this map says its own day")
		}
		if !json.Valid(text) {
			return nil, fmt.Errorf("%s is not JSON", path)
		}
		return text, nil
	}
	if day == "" && anyDay {
		day = time.Now().Format(time.DateOnly)
	}
	if day == "" {
		return nil, fmt.Errorf("%s does not say its day\nhint: -day %s", path, time.Now().Format(time.DateOnly))
	}
	m, err := gate.ParseRiskMapCSV(text, day)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m.Marshal()
}

// try is `gatehub policy try`, and `gatehub map try`, whose argument is the map.
func try(mapOnly bool) func(*flag.FlagSet) action {
	return func(f *flag.FlagSet) action {
		day := f.String("day", "", "the `day` to judge again, as 2020-02-17; yesterday at the hub where nothing is said")
		since := f.Duration("since", 0, "judge the time since so long ago instead")
		id := f.String("gate", "", "only this `gate`")
		asJSON := f.Bool("json", false, "print the report as JSON")
		var mapFile *string
		if !mapOnly {
			mapFile = f.String("map", "", "also try this `file` as map, JSON or county,level")
		}
		return func(ctx context.Context, c call) error {
			r := hub.TrialRequest{Day: *day, SinceSeconds: int64(*since / time.Second), Gate: *id, By: whoami()}
			if *since != 0 && r.SinceSeconds < 1 {
				return fmt.Errorf("-since %s: want a second or more", *since)
			}
			path := c.args[0]
			if !mapOnly {
				var err error
				if r.Policy, err = readDocument(path); err != nil {
					return err
				}
				path = *mapFile
			}
			if path != "" {
				// The day of a tried map decides nothing.
				text, err := readMap(path, "", true)
				if err != nil {
					return err
				}
				r.Map = text
			}
			report, err := c.hub.TryPolicy(ctx, r, func(p hub.TrialProgress) {
				fmt.Fprintf(c.stderr, "read %d of %d batches, judged %d decisions\n", p.Batches, p.Of, p.Decisions)
			})
			if ctx.Err() != nil {
				return errors.New("stopped; nothing was changed")
			}
			if err != nil {
				return err
			}
			if *asJSON {
				return c.print(report)
			}
			return printReport(c.stdout, report)
		}
	}
}

// printReport writes what would have changed, in all and gate by gate.
func printReport(w io.Writer, r hub.TrialReport) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "decisions from %s to %s\n", r.From.Format("2006-01-02 15:04"), r.To.Format("2006-01-02 15:04 -0700"))
	for _, d := range r.Differences {
		fmt.Fprintf(&b, "  %s: %s, in force (version %d) %s\n", d.Name, d.Tried, r.InForce, d.Now)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	err := printCounts(&b, "all gates", r.Total)
	for _, g := range r.Gates {
		err = errors.Join(err, printCounts(&b, "gate "+g.Gate, g))
	}
	if err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

func printCounts(b *bytes.Buffer, title string, c hub.TrialCounts) error {
	fmt.Fprintf(b, "\n%s: %d judged, %d as they were, %d decided by no policy, %d otherwise, %d cannot tell\n",
		title, c.Decisions, c.Same, c.Settled, c.Changed, c.CannotTellCount())
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, x := range c.Changes {
		to := x.ToVerdict + " " + string(x.ToReason)
		if x.ToVerdict == "" {
			to = "go on, " + string(x.ToReason)
		}
		fmt.Fprintf(t, "  %s %s → %s\t%d\n", x.Verdict, x.Reason, strings.TrimSpace(to), x.Count)
	}
	for _, w := range slices.Sorted(maps.Keys(c.CannotTell)) {
		fmt.Fprintf(t, "  cannot tell: %s\t%d\n", w, c.CannotTell[w])
	}
	return t.Flush()
}
