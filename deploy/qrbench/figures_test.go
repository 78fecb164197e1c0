package main

import (
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPercentile(t *testing.T) {
	v := []float64{5, 1, 4, 2, 3}
	for p, want := range map[float64]float64{0: 1, 0.5: 3, 0.95: 5, 1: 5} {
		if got := percentile(v, p); got != want {
			t.Errorf("%v: %v, want %v", p, got, want)
		}
	}
	if got := percentile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

func TestDigits(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 10160: "10160", 0.123456: "0.1235", 12.34567: "12.35"} {
		if got := digits(value); got != want {
			t.Errorf("%v: %s, want %s", value, got, want)
		}
	}
}

// answered puts an answer into the run.
func (b *bench) answered(s *set, p *picture, reader string, cpu, insns float64, alloc int, read string) {
	a := answer{cpu: cpu, alloc: alloc}
	if read != "" {
		a.count, a.texts = 1, [][]byte{[]byte(read)}
	}
	b.results = append(b.results, result{set: s, picture: p, group: s.groupOf(*p), reader: reader, pixels: cameras, answer: a, right: p.right(a.texts), insns: insns})
}

// The run: ten pictures of one category, five of a second that is too small to
// stand for itself, two without a code, and two clips of three.
func TestFigures(t *testing.T) {
	var out bytes.Buffer
	b := &bench{out: &out, progress: io.Discard}
	code := &picture{file: "a.png", texts: []string{"A"}}
	many, few := &set{name: "many", group: synthetic}, &set{name: "few", group: photos}
	for i := range 10 {
		mine, best := "A", "A"
		if i >= 8 {
			mine = ""
		}
		if i == 9 {
			best = "B" // wrong
		}
		b.answered(many, code, ours, 1, 0, 5, mine)
		b.answered(many, code, zxing1, 4, 0, -1, "")
		b.answered(many, code, zxing3, 9, 0, -1, best)
		b.answered(many, code, oursAMD64, 0, 2e6, -1, mine)
		b.answered(many, code, zxing1Slow, 0, 8e6, -1, "")
	}
	for range 5 {
		b.answered(few, code, ours, 3, 0, 5, "B")
		b.answered(few, code, zxing1, 4, 0, -1, "A")
		b.answered(few, code, zxing3, 4, 0, -1, "A")
	}
	wall := &picture{file: "wall.png"}
	b.answered(few, wall, ours, 0.5, 0, 2, "")
	b.answered(few, wall, ours, 0.7, 0, 3, "ghost")
	b.answered(few, wall, zxing1, 1, 0, -1, "")
	b.answered(few, wall, zxing1, 1.4, 0, -1, "")
	glare := &set{name: "clip-glare", group: clips}
	for i, file := range []string{"s00_f00.png", "s00_f01.png", "s00_f02.png", "s01_f00.png", "s01_f01.png", "s01_f02.png"} {
		p := &picture{file: file, texts: []string{"A"}}
		b.answered(glare, p, ours, 1, 0, 0, strings.Repeat("A", i%2)) // s00 at its second, s01 at its first
		b.answered(glare, p, zxing3, 1, 0, 0, "")                     // never
	}
	// A stamp of a picture counts where the small ones do.
	b.answered(few, code, ours, 8, 0, 5, "A")
	b.answered(few, code, zxing1, 2, 0, -1, "A")
	for i := range 2 {
		b.results[len(b.results)-1-i].pixels = cameras - 1
	}
	b.figures([]answer{{cpu: 1, alloc: 0}, {cpu: 2, alloc: 7, count: 1}})
	for _, want := range []string{
		"rate.synthetic 0.8 share", "rate.category.many.ratio 0.8889 ratio", "rate.synthetic.ratio 0.8889 ratio", "rate.photos.ratio 0.1667 ratio", "rate.worst.category.ratio 0.8889 ratio",
		"cpu.hit 1 ms", "cpu.hit.ratio 0.25 ratio", "cpu.miss.ratio 0.5 ratio", "cpu.hit.small.ratio 4 ratio", "cpu.p95.hit.ratio 0.75 ratio",
		"false 2 pictures", "false.of 4 pictures", "allocs.miss 7 objects", "cpu.empty.max 2 ms", "wrong 5 pictures",
		"clip.glare.frames 1.5 pictures", "clip.glare.read 0.5 share", "clip.glare.first 0.375 ratio",
		"insns.hit.amd64 2 million", "insns.hit.ratio 0.25 ratio",
	} {
		if !strings.Contains(out.String(), "bench: qr."+want+"\n") {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestJudge(t *testing.T) {
	var out bytes.Buffer
	b := &bench{out: io.Discard, progress: &out}
	b.figure("cpu.hit.ratio", 0.4, "ratio")
	b.figure("cpu.p95.ratio", 1, "ratio")
	b.figure("rate.photos.ratio", 1.04, "ratio")
	b.figure("rate.synthetic.ratio", 1.08, "ratio")
	b.figure("cpu.empty", 5, "ms") // has none
	if err := b.judge(); err != nil {
		t.Error(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+f[len(f)-1])
	}
	want := "figure bound, qr.rate.synthetic.ratio PASS, qr.rate.photos.ratio BEYOND, qr.cpu.hit.ratio BEYOND, qr.cpu.p95.ratio PASS"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s", strings.Join(got, ", "))
	}
	b.figure("false", 1, "pictures")
	if err := b.judge(); err == nil || !strings.Contains(err.Error(), "false") {
		t.Errorf("a false reading: %v", err)
	}
}

// The sheet has the pictures that ours alone read, each category in its turn.
func TestSheet(t *testing.T) {
	dir := t.TempDir()
	folder(t, dir, "a.png", "")
	var out bytes.Buffer
	b := &bench{out: &out, progress: io.Discard, outDir: t.TempDir()}
	s := &set{name: "tilt", dir: dir, group: photos}
	both, alone, neither := &picture{file: "a.png", texts: []string{"A"}}, &picture{file: "a.png", texts: []string{"A"}}, &picture{file: "a.png", texts: []string{"A"}}
	for _, tt := range []struct {
		p          *picture
		mine, best string
	}{{both, "A", "A"}, {neither, "", ""}} {
		b.answered(s, tt.p, ours, 1, 0, 0, tt.mine)
		b.answered(s, tt.p, zxing3, 1, 0, 0, tt.best)
	}
	if err := b.sheet(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(b.outDir, "only-ours.png")); err == nil {
		t.Error("a sheet of nothing")
	}
	b.answered(s, alone, ours, 1, 0, 0, "A")
	b.answered(s, alone, zxing3, 1, 0, 0, "B")
	if err := b.sheet(); err != nil {
		t.Fatal(err)
	}
	f, err := grey(filepath.Join(b.outDir, "only-ours.png"))
	if err != nil || f.Width != across*(cellWidth+gap)+gap {
		t.Errorf("the sheet is %d×%d: %v", f.Width, f.Height, err)
	}
	// The picture is black, the ground white: its cell is there and the next is not.
	if at := f.Pix[(gap+cellHeight/2)*f.Stride:]; at[gap+cellWidth/2] > 20 || at[2*gap+cellWidth+cellWidth/2] != 255 {
		t.Error("the picture is not in its cell")
	}
	if want := "bench: qr.only.ours 0 pictures\nbench: qr.only.ours 1 pictures\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
