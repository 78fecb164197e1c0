package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
)

// table prints, for each category and reader, the share of the pictures read
// and the median and 95th percentile of the CPU time; where there is no code,
// how many were read nevertheless.
func (b *bench) table() {
	var readers []string
	for _, name := range []string{ours, stock, zxing1, zxing3, zbar} {
		if slices.ContainsFunc(b.results, func(r result) bool { return r.reader == name }) {
			readers = append(readers, name)
		}
	}
	if len(readers) == 0 {
		return
	}
	w := tabwriter.NewWriter(b.progress, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "pictures\tn\t")
	for _, name := range readers {
		fmt.Fprintf(w, "%s\t", name)
	}
	fmt.Fprintln(w)
	row := func(name string, want func(result) bool, code bool) {
		n := b.of(readers[0], want).n
		if n == 0 {
			return
		}
		fmt.Fprintf(w, "%s\t%d\t", name, n)
		for _, reader := range readers {
			t := b.of(reader, want)
			read := fmt.Sprintf("%5.1f %%", 100*t.rate())
			if !code {
				read = fmt.Sprintf("%d false", t.false)
			}
			fmt.Fprintf(w, "%s %.2f/%.1f\t", read, percentile(t.cpu, 0.5), percentile(t.cpu, 0.95))
		}
		fmt.Fprintln(w)
	}
	for _, g := range []group{synthetic, photos, drawn, none} {
		of := 0
		for _, c := range b.categories() {
			if c.group == g {
				of++
				row(c.set.name, ofSet(c.set, g), g != none)
			}
		}
		if of > 1 {
			row("all of "+string(g), in(g), g != none)
		}
	}
	row("a camera's size, with", large(synthetic, photos), true)
	row("a camera's size, without", large(none), false)
	fmt.Fprintln(w, "read; median / 95th percentile of CPU ms. zxing-cpp-3 is WebAssembly: its times say little.")
	for _, kind := range clipKinds {
		head := false
		for _, reader := range readers {
			all := b.clipsOf(reader, kind)
			if len(all) == 0 {
				continue
			}
			if !head {
				fmt.Fprintf(w, "clips: %s\t%d\t", kind, len(all))
				head = true
			}
			first, read := sumUp(all)
			fmt.Fprintf(w, "%5.1f %%, first %.1f\t", 100*read, first)
		}
		if head {
			fmt.Fprintln(w)
		}
	}
	w.Flush()
}
