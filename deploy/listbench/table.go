package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// bound is what a figure should not exceed.
type bound struct {
	name string // of the figure, or of all whose names go on behind it
	most float64
	// strict: above it is a fault of the product, whatever the machine.
	strict bool
}

var bounds = []bound{
	{"lists.lookup.ratio", 2, false},
	{"lists.view.ratio", 0.05, false},
	{"lists.snapshot.ratio", 1.25, false},
	{"lists.rss.mib", 40, false},
	{"lists.file.ratio", 3, false},
	{"lists.file.year.ratio", 3, false},
	{"lists.propagate.s", 90, false},
	{"lists.poll.bytes", 1024, false},
	{"lists.max_during_swap.ms", 10, false},
	{"lists.swap.p99.ratio", 2, false},
	{"lists.faults.failed", 0, true},
	{"lists.hostile.accepted", 0, true},
}

// table reads figures as they were printed and writes those that have a bound
// beside it. It is an error when one above a strict bound is among them.
func table(in io.Reader, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tvalue\tbound\t")
	var broken []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 4 || f[0] != "bench:" {
			continue
		}
		i := slices.IndexFunc(bounds, func(b bound) bool { return f[1] == b.name || strings.HasPrefix(f[1], b.name+".") })
		if i < 0 {
			continue
		}
		value, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return fmt.Errorf("figure %s: %w", f[1], err)
		}
		verdict := "PASS"
		if value > bounds[i].most {
			verdict = "OVER"
			if bounds[i].strict {
				broken = append(broken, f[1])
			}
		}
		fmt.Fprintf(w, "%s\t%s %s\t≤ %v\t%s\n", f[1], f[2], f[3], bounds[i].most, verdict)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(broken) > 0 {
		return fmt.Errorf("must be 0: %s", strings.Join(broken, ", "))
	}
	return nil
}
