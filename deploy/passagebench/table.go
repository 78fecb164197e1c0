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
	name string
	most float64
	// strict: above it is a fault of the product, whatever the machine.
	strict bool
}

var bounds = []bound{
	{"journal.append.ratio.p50", 1.3, false},
	{"journal.append.ratio.p99", 1.3, false},
	{"journal.written.bytes", 4500, false},
	{"journal.flushes", 1.001, false},
	{"hub.kill.lost", 0, true},
	{"hub.kill.doubled", 0, true},
	{"powercut.journal.lost", 0, true},
	{"powercut.journal.doubled", 0, true},
	{"powercut.hub.lost", 0, true},
	{"powercut.hub.doubled", 0, true},
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
		i := slices.IndexFunc(bounds, func(b bound) bool { return f[1] == b.name })
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
		fmt.Fprintf(w, "%s\t%s\t%g\t%s\n", f[1], f[2], bounds[i].most, verdict)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(broken) > 0 {
		return fmt.Errorf("a fault, not a slow machine: %s", strings.Join(broken, ", "))
	}
	return nil
}
