package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// tally is what one reader made of some pictures.
type tally struct {
	n, right, false, wrong int
	cpu, insns             []float64
	maxAlloc               int
}

func (t *tally) add(r result) {
	t.n++
	switch {
	case r.right && r.group != none:
		t.right++
	case r.count > 0 && r.group == none:
		t.false++
	case r.count > 0:
		t.wrong++
	}
	t.cpu = append(t.cpu, r.cpu)
	if r.insns > 0 {
		t.insns = append(t.insns, r.insns)
	}
	t.maxAlloc = max(t.maxAlloc, r.alloc)
}

func (t *tally) rate() float64 { return float64(t.right) / float64(t.n) }

// of sums up what a reader made of the results that are wanted.
func (b *bench) of(reader string, want func(result) bool) *tally {
	t := &tally{}
	for _, r := range b.results {
		if r.reader == reader && want(r) {
			t.add(r)
		}
	}
	return t
}

func in(g ...group) func(result) bool {
	return func(r result) bool { return slices.Contains(g, r.group) }
}

// cameras is the size of a picture that a camera at a gate gives at least. Most
// that were found are much smaller: what a reader costs there is the code's
// decoding, not its search, and the median of both together would be that of
// neither.
const cameras = 640 * 480

func large(g ...group) func(result) bool {
	return func(r result) bool { return r.pixels >= cameras && slices.Contains(g, r.group) }
}

func small(g ...group) func(result) bool {
	return func(r result) bool { return r.pixels < cameras && slices.Contains(g, r.group) }
}

func ofSet(s *set, g group) func(result) bool {
	return func(r result) bool { return r.set == s && r.group == g }
}

// category is a part of the pictures that stands for itself in the table.
type category struct {
	set   *set
	group group
}

// categories are those read, in the order they were.
func (b *bench) categories() []category {
	var all []category
	for _, r := range b.results {
		if c := (category{r.set, r.group}); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// fewest is how many pictures make a category of which a ratio says something.
const fewest = 10

// figures prints what the run has shown; made are the answers about made
// pictures without a code.
func (b *bench) figures(made []answer) {
	for _, g := range []group{synthetic, photos, drawn} {
		own, best := b.of(ours, in(g)), b.of(zxing3, in(g))
		if own.n == 0 {
			continue
		}
		b.figure("rate."+string(g), own.rate(), "share")
		b.ratio("rate."+string(g), own.rate(), best.rate())
	}
	worst, where := math.Inf(1), ""
	for _, c := range b.categories() {
		own, best := b.of(ours, ofSet(c.set, c.group)), b.of(zxing3, ofSet(c.set, c.group))
		if c.group == none || c.group == clips || own.n < fewest || best.right == 0 {
			continue
		}
		ratio := own.rate() / best.rate()
		b.figure("rate.category."+c.set.name+".ratio", ratio, "ratio")
		if ratio < worst {
			worst, where = ratio, c.set.name
		}
	}
	if where != "" {
		b.figure("rate.worst.category.ratio", worst, "ratio")
		b.say("the worst category is %s", where)
	}

	// Times are those of Debian's zxing-cpp: WebAssembly's say little.
	with, without, all := large(synthetic, photos), large(none), large(synthetic, photos, none)
	for _, f := range []struct {
		name string
		want func(result) bool
		p    float64
	}{
		{"cpu.hit", with, 0.5}, {"cpu.hit.synthetic", large(synthetic), 0.5}, {"cpu.hit.photos", large(photos), 0.5},
		{"cpu.hit.drawn", large(drawn), 0.5}, {"cpu.hit.small", small(synthetic, photos), 0.5}, {"cpu.miss", without, 0.5}, {"cpu.miss.small", small(none), 0.5},
		{"cpu.p95", all, 0.95}, {"cpu.p95.hit", with, 0.95}, {"cpu.p95.miss", without, 0.95}, {"cpu.p95.small", small(synthetic, photos, none), 0.95},
	} {
		own, peer := b.of(ours, f.want), b.of(zxing1, f.want)
		if own.n == 0 {
			continue
		}
		b.figure(f.name, percentile(own.cpu, f.p), "ms")
		b.ratio(f.name, percentile(own.cpu, f.p), percentile(peer.cpu, f.p))
	}
	if own, peer := b.of(ours, with), b.of(stock, with); own.n > 0 {
		b.ratio("cpu.hit.gozxing", percentile(own.cpu, 0.5), percentile(peer.cpu, 0.5))
	}
	if own, peer := b.of(ours, without), b.of(stock, without); own.n > 0 {
		b.ratio("cpu.miss.gozxing", percentile(own.cpu, 0.5), percentile(peer.cpu, 0.5))
	}

	b.withoutACode(made)
	b.overTime()
	b.emulated()
}

// withoutACode is about pictures in which there is none.
func (b *bench) withoutACode(made []answer) {
	own := b.of(ours, in(none))
	var cpu []float64
	for _, a := range made {
		cpu = append(cpu, a.cpu)
		own.n++
		own.maxAlloc = max(own.maxAlloc, a.alloc)
		if a.count > 0 {
			own.false++
		}
	}
	if own.n == 0 {
		return
	}
	b.figure("false", float64(own.false), "pictures")
	b.figure("false.of", float64(own.n), "pictures")
	b.figure("allocs.miss", float64(own.maxAlloc), "objects")
	if len(cpu) > 0 {
		b.figure("cpu.empty", percentile(cpu, 0.5), "ms")
		b.figure("cpu.empty.p95", percentile(cpu, 0.95), "ms")
		b.figure("cpu.empty.max", slices.Max(cpu), "ms")
	}
	if with := b.of(ours, in(synthetic, photos)); with.n > 0 {
		b.figure("wrong", float64(with.wrong), "pictures")
	}
}

// run of a clip.
type clip struct {
	name     string
	n, right int
	first    int // the picture first read, from 1; one more than all when none was
}

// clipsOf are the clips of the sets whose names end on kind, as a reader read them.
func (b *bench) clipsOf(reader, kind string) []clip {
	var all []clip
	for _, r := range b.results {
		if r.reader != reader || r.group != clips || !strings.HasSuffix(r.set.name, kind) {
			continue
		}
		name, _, _ := strings.Cut(r.picture.file, "_")
		name = r.set.name + "/" + name
		if len(all) == 0 || all[len(all)-1].name != name {
			all = append(all, clip{name: name, first: 0})
		}
		c := &all[len(all)-1]
		c.n++
		if r.right {
			c.right++
			if c.first == 0 {
				c.first = c.n
			}
		}
	}
	for i := range all {
		if all[i].first == 0 {
			all[i].first = all[i].n + 1
		}
	}
	return all
}

// sumUp gives the mean place of the first picture read, and the share of all
// that were.
func sumUp(all []clip) (first, read float64) {
	n := 0
	for _, c := range all {
		first += float64(c.first) / float64(len(all))
		read += float64(c.right)
		n += c.n
	}
	return first, read / float64(n)
}

var clipKinds = []string{"glare", "lowlight", "approach"}

func (b *bench) overTime() {
	for _, kind := range clipKinds {
		own, best := b.clipsOf(ours, kind), b.clipsOf(zxing3, kind)
		if len(own) == 0 {
			continue
		}
		first, read := sumUp(own)
		b.figure("clip."+kind+".frames", first, "pictures")
		b.figure("clip."+kind+".read", read, "share")
		if len(best) > 0 {
			bestFirst, _ := sumUp(best)
			b.figure("clip."+kind+".first", first/bestFirst, "ratio")
		}
	}
}

// emulated is about other processors, and about instructions, which are the
// same however busy the machine is.
func (b *bench) emulated() {
	type place struct {
		set *set
		p   *picture
	}
	native := map[place]result{}
	for _, r := range b.results {
		if r.reader == ours {
			native[place{r.set, r.picture}] = r
		}
	}
	for _, reader := range []string{oursARM64, oursARMv6, oursAMD64} {
		n, differ := 0, 0
		for _, r := range b.results {
			if r.reader != reader {
				continue
			}
			own, ok := native[place{r.set, r.picture}]
			if !ok {
				continue
			}
			n++
			if own.count != r.count || !slices.EqualFunc(own.texts, r.texts, slices.Equal[[]byte]) {
				differ++
				b.say("%s reads %s/%s in another way: %d codes, here %d", reader, r.set.name, r.picture.file, r.count, own.count)
			}
		}
		arch := strings.TrimPrefix(reader, ours+"/")
		if n > 0 {
			b.figure("same."+arch+".of", float64(n), "pictures")
			b.figure("same."+arch+".differ", float64(differ), "pictures")
		}
		if hit := b.of(reader, large(synthetic, photos)).insns; len(hit) > 0 {
			b.figure("insns.hit."+arch, percentile(hit, 0.5)/1e6, "million")
		}
		if miss := b.of(reader, large(none)).insns; len(miss) > 0 {
			b.figure("insns.miss."+arch, percentile(miss, 0.5)/1e6, "million")
		}
	}
	for _, f := range []struct {
		name string
		want func(result) bool
	}{
		{"insns.hit", large(synthetic, photos)}, {"insns.hit.synthetic", large(synthetic)}, {"insns.hit.photos", large(photos)}, {"insns.hit.small", small(synthetic, photos)}, {"insns.miss", large(none)},
	} {
		own, peer := b.of(oursAMD64, f.want), b.of(zxing1Slow, f.want)
		if len(own.insns) > 0 && len(peer.insns) > 0 {
			b.figure(f.name+".ratio", percentile(own.insns, 0.5)/percentile(peer.insns, 0.5), "ratio")
			b.figure(f.name+".p95.ratio", percentile(own.insns, 0.95)/percentile(peer.insns, 0.95), "ratio")
		}
	}
}

// figure prints one.
func (b *bench) figure(name string, value float64, unit string) {
	b.shown = append(b.shown, figure{name, unit, value})
	fmt.Fprintf(b.out, "bench: qr.%s %s %s\n", name, digits(value), unit)
}

// digits are four, or all that a count has.
func digits(value float64) string {
	if value == math.Trunc(value) && math.Abs(value) < 1e9 {
		return strconv.Itoa(int(value))
	}
	return strconv.FormatFloat(value, 'g', 4, 64)
}

// ratio prints ours as a part of a peer's, where the peer was there.
func (b *bench) ratio(name string, own, peer float64) {
	if peer > 0 && !math.IsNaN(peer) {
		b.figure(name+".ratio", own/peer, "ratio")
	}
}

// percentile returns the value that p of them do not exceed; NaN of none.
func percentile(v []float64, p float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.SortedFunc(slices.Values(v), cmp.Compare)
	return v[min(len(v)-1, int(p*float64(len(v))))]
}
