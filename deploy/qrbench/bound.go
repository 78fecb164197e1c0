package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// bound is what a figure should keep to.
type bound struct {
	name  string
	least bool // the figure should not be below it, else not above
	value float64
	// strict: beyond it is a fault of the product, however busy the machine was.
	strict bool
}

var bounds = []bound{
	{"rate.synthetic.ratio", true, 1.08, false},
	{"rate.photos.ratio", true, 1.05, false},
	{"rate.worst.category.ratio", true, 0.95, false},
	{"cpu.hit.ratio", false, 0.35, false},
	{"cpu.miss.ratio", false, 0.22, false},
	{"cpu.p95.ratio", false, 1, false},
	{"allocs.miss", false, 0, false},
	{"false", false, 0, true},
	{"clip.glare.first", false, 0.6, false},
	{"clip.lowlight.read", true, 0.8, false},
	{"same.arm64.differ", false, 0, true},
	{"same.armv6.differ", false, 0, true},
	{"same.amd64.differ", false, 0, true},
}

// figure is one that was printed.
type figure struct {
	name, unit string
	value      float64
}

// judge writes the figures that have a bound beside it. It is an error when one
// is beyond a strict bound.
func (b *bench) judge() error {
	w := tabwriter.NewWriter(b.progress, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tvalue\tbound\t")
	var broken []string
	for _, bound := range bounds {
		for _, f := range b.shown {
			if f.name != bound.name {
				continue
			}
			sign, verdict := "≤", "PASS"
			beyond := f.value > bound.value
			if bound.least {
				sign, beyond = "≥", f.value < bound.value
			}
			if beyond {
				verdict = "BEYOND"
				if bound.strict {
					broken = append(broken, f.name)
				}
			}
			fmt.Fprintf(w, "qr.%s\t%s %s\t%s %v\t%s\n", f.name, digits(f.value), f.unit, sign, bound.value, verdict)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(broken) > 0 {
		return fmt.Errorf("must be 0: %s", strings.Join(broken, ", "))
	}
	return nil
}
