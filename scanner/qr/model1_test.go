package qr

import (
	"bytes"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"testing"

	"greengate/scanner"
)

// drawFirst draws a code of Model 1 that says text, four pixels a module, in
// which so many codewords of each block are wrong.
func drawFirst(t *testing.T, version, level, mask int, text string, wrong int) scanner.Frame {
	t.Helper()
	l := newFirstLayout(version)
	b := &l.levels[level]
	bits := fmt.Sprintf("0000 0100 %08b", len(text))
	if version > 9 {
		bits = fmt.Sprintf("0000 0100 %016b", len(text))
	}
	for _, c := range []byte(text) {
		bits += fmt.Sprintf("%08b", c)
	}
	data := pack(bits + "0000")
	if len(data) > b.count[0]*b.data[0] {
		t.Fatalf("%d bytes are too many for version %d", len(text), version)
	}
	for pad := byte(0xec); len(data) < b.count[0]*b.data[0]; pad ^= 0xec ^ 0x11 {
		data = append(data, pad)
	}
	n := b.data[0] + b.check
	words := make([]byte, 0, b.count[0]*n)
	var checks []byte
	for k := range b.count[0] {
		// The check codewords are what a reader would put in for missing ones.
		block := append(bytes.Clone(data[k*b.data[0]:][:b.data[0]]), make([]byte, b.check)...)
		var missing []int
		for i := range b.check {
			missing = append(missing, b.data[0]+i)
		}
		var s [maxCheck]uint8
		if !syndromes(block, b.check, &s) {
			if _, ok := correct(block, b.check, &s, missing); !ok {
				t.Fatal("no check codewords")
			}
		}
		for i := range wrong {
			block[(7*i+k)%n] ^= byte(0x51 + i)
		}
		words, checks = append(words, block[:b.data[0]]...), append(checks, block[b.data[0]:]...)
	}
	words = append(words, checks...)
	d := l.side
	pitch := d + 2
	dark := make([]bool, pitch*pitch)
	for _, k := range l.known {
		dark[k.at] = k.dark
	}
	for i := range 8 * len(words) {
		dark[l.order[i]] = words[i/8]>>(7-i%8)&1 != l.masks[i]>>mask&1
	}
	for _, copy := range formatPlaces(d) {
		for i, p := range copy {
			dark[(p[1]+1)*pitch+p[0]+1] = (formatCodes[level<<3|mask]^firstTurns)>>(14-i)&1 == 1
		}
	}
	// The first half of the first codeword is no data: there is an extension
	// pattern.
	for _, at := range l.order[:firstLead] {
		dark[at] = true
	}
	const module, margin = 4, 4
	side := (d + 2*margin) * module
	f := scanner.Frame{Pix: bytes.Repeat([]byte{0xff}, side*side), Stride: side, Width: side, Height: side}
	for y := range d * module {
		for x := range d * module {
			if dark[(y/module+1)*pitch+x/module+1] {
				f.Pix[(y+margin*module)*side+x+margin*module] = 0
			}
		}
	}
	return f
}

func TestFirstModel(t *testing.T) {
	var r Reader
	for _, tt := range []struct {
		name                        string
		version, level, mask, wrong int
		change                      func(scanner.Frame) scanner.Frame
	}{
		{name: "smallest", version: 1, level: 1, mask: 0},
		{name: "one block", version: 5, level: 0, mask: 3, wrong: 20},
		{name: "two blocks", version: 5, level: 2, mask: 7, wrong: 15},
		{name: "three blocks, two codewords in none", version: 7, level: 2, mask: 1, wrong: 10},
		{name: "longest check", version: 9, level: 2, mask: 5, wrong: 30},
		{name: "longest block", version: 12, level: 1, mask: 2, wrong: 10},
		{name: "largest", version: 14, level: 3, mask: 6, wrong: 20},
		{name: "turned", version: 4, level: 0, mask: 4, wrong: 3, change: func(f scanner.Frame) scanner.Frame { return turn(f, 10) }},
		{name: "blurred", version: 4, level: 3, mask: 4, change: blur},
		{name: "mirrored", version: 6, level: 1, mask: 6, change: mirror},
		{name: "inverted", version: 3, level: 2, mask: 6, change: invert},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const text = "A0001-22-MODEL 1"
			f := drawFirst(t, tt.version, tt.level, tt.mask, text, tt.wrong)
			if tt.change != nil {
				f = tt.change(f)
			}
			got, err := r.Read(f)
			if err != nil || string(got[0].Payload) != text || got[0].Version != tt.version {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// TestFirstLayout compares the layouts with how many codewords there are.
func TestFirstLayout(t *testing.T) {
	for version := 1; version <= maxFirstVersion; version++ {
		l := newFirstLayout(version)
		for level, b := range l.levels {
			if spare := len(l.order)/8 - b.count[0]*(b.data[0]+b.check); spare < 0 || spare > 4 {
				t.Errorf("version %d, level %d: %d codewords in no block", version, level, spare)
			}
			if b.check > maxCheck || b.data[0]+b.check > maxBlock {
				t.Errorf("version %d, level %d: %+v", version, level, b)
			}
		}
		onceUsed(t, version, l)
	}
}

// TestFirstModelPictures reads two codes that others have drawn.
func TestFirstModelPictures(t *testing.T) {
	dir := shared(t, "qr/corpus/zxcpp-qr2")
	for name, want := range map[string]string{
		"qr-model-1.png": "QR Code Model 1 ",
		"n940.png":       "N023X-3431800-V034PG03X-3436010-A1125032918310706",
	} {
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		img, _, err := image.Decode(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		var f scanner.Frame
		f.SetImage(img)
		if got, err := new(Reader).Decode(f); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
