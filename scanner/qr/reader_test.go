package qr

import (
	"bytes"
	"errors"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"greengate/scanner"
)

// native is a text of a dynamic native code's length and alphabet: 286 bytes
// make 429 characters of base45.
func native(seed uint64) string {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := []byte("JKM1:")
	for range 429 {
		b = append(b, alphanumeric[rnd.IntN(len(alphanumeric))])
	}
	return string(b)
}

// frameOf draws text.
func frameOf(t *testing.T, text string, module int) scanner.Frame {
	t.Helper()
	img, err := Picture(text, module)
	if err != nil {
		t.Fatal(err)
	}
	var f scanner.Frame
	f.SetImage(img)
	return f
}

// turn puts f on a grey ground, turned by so many degrees.
func turn(f scanner.Frame, degrees float64) scanner.Frame {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	side := int(1.5 * float64(max(f.Width, f.Height)))
	out := scanner.Frame{Pix: bytes.Repeat([]byte{0xc0}, side*side), Stride: side, Width: side, Height: side}
	for y := range side {
		for x := range side {
			dx, dy := float64(x)-float64(side)/2, float64(y)-float64(side)/2
			sx, sy := int(cos*dx+sin*dy+float64(f.Width)/2), int(cos*dy-sin*dx+float64(f.Height)/2)
			if sx >= 0 && sx < f.Width && sy >= 0 && sy < f.Height {
				out.Pix[y*side+x] = f.Pix[sy*f.Stride+sx]
			}
		}
	}
	return out
}

// blur takes the mean of each 3×3 square.
func blur(f scanner.Frame) scanner.Frame {
	out := f
	out.Pix = bytes.Clone(f.Pix)
	for y := 1; y < f.Height-1; y++ {
		for x := 1; x < f.Width-1; x++ {
			sum := 0
			for dy := -1; dy <= 1; dy++ {
				for dx := -1; dx <= 1; dx++ {
					sum += int(f.Pix[(y+dy)*f.Stride+x+dx])
				}
			}
			out.Pix[y*f.Stride+x] = byte(sum / 9)
		}
	}
	return out
}

// noise lowers the contrast and adds noise of that amplitude.
func noise(f scanner.Frame, amplitude int) scanner.Frame {
	rnd := rand.New(rand.NewPCG(7, 7))
	out := f
	out.Pix = bytes.Clone(f.Pix)
	for i, p := range f.Pix {
		out.Pix[i] = byte(60 + int(p)/2 + rnd.IntN(2*amplitude+1) - amplitude)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	same := func(f scanner.Frame) scanner.Frame { return f }
	for _, tt := range []struct {
		name   string
		module int
		change func(scanner.Frame) scanner.Frame
	}{
		{"2 pixels a module", 2, same},
		{"3", 3, same},
		{"5", 5, same},
		{"8", 8, same},
		{"25, made smaller", 25, same},
		{"turned by 90°", 4, func(f scanner.Frame) scanner.Frame { return turn(f, 90) }},
		{"turned by 180°", 4, func(f scanner.Frame) scanner.Frame { return turn(f, 180) }},
		{"turned by 10°", 6, func(f scanner.Frame) scanner.Frame { return turn(f, 10) }},
		{"turned by 37°", 6, func(f scanner.Frame) scanner.Frame { return turn(f, 37) }},
		{"blurred", 5, blur},
		{"noisy", 5, func(f scanner.Frame) scanner.Frame { return noise(f, 30) }},
		{"turned, blurred, noisy", 8, func(f scanner.Frame) scanner.Frame { return noise(blur(turn(f, 5)), 20) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := native(uint64(tt.module))
			got, err := new(Reader).Decode(tt.change(frameOf(t, text, tt.module)))
			if err != nil || string(got) != text {
				t.Errorf("got %.60q, %v\nwant %.60q", got, err, text)
			}
		})
	}
}

func TestStrideAndCutLastRow(t *testing.T) {
	f := frameOf(t, "JKM1:STRIDE", 4)
	wide := scanner.Frame{Stride: f.Width + 64, Width: f.Width, Height: f.Height}
	wide.Pix = make([]byte, wide.Stride*(f.Height-1)+f.Width)
	for y := range f.Height {
		copy(wide.Pix[y*wide.Stride:], f.Pix[y*f.Stride:][:f.Width])
	}
	got, err := new(Reader).Decode(wide)
	if err != nil || string(got) != "JKM1:STRIDE" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestBytesAsTheyAre draws binary data, for which the library's own text would
// have U+FFFD.
func TestBytesAsTheyAre(t *testing.T) {
	want := []byte("a\x00\xff\xfe\x80\xc3(\xa0\xa1 binary \x81")
	latin := make([]rune, len(want))
	for i, b := range want {
		latin[i] = rune(b)
	}
	m, err := qrcode.NewQRCodeWriter().Encode(string(latin), gozxing.BarcodeFormat_QR_CODE, 200, 200,
		map[gozxing.EncodeHintType]any{gozxing.EncodeHintType_CHARACTER_SET: "ISO-8859-1"})
	if err != nil {
		t.Fatal(err)
	}
	var f scanner.Frame
	f.SetImage(m)
	got, err := new(Reader).Decode(f)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}

func TestNoCode(t *testing.T) {
	grey := func(w, h int) scanner.Frame {
		return scanner.Frame{Pix: bytes.Repeat([]byte{0x80}, w*h), Stride: w, Width: w, Height: h}
	}
	noisy := grey(640, 480)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range noisy.Pix {
		noisy.Pix[i] = byte(rnd.Uint32())
	}
	half := frameOf(t, native(3), 4)
	half.Height /= 2
	var d Reader
	for name, f := range map[string]scanner.Frame{
		"grey": grey(640, 480), "tiny": grey(3, 3), "one pixel": grey(1, 1), "a line": grey(1000, 1),
		"noise": noisy, "half a code": half, "huge": grey(5000, 4000),
	} {
		if got, err := d.Decode(f); !errors.Is(err, ErrNoCode) {
			t.Errorf("%s: got %q, %v, want %v", name, got, err, ErrNoCode)
		}
	}
	for name, f := range map[string]scanner.Frame{
		"zero": {}, "short": {Pix: make([]byte, 99), Stride: 10, Width: 10, Height: 11}, "negative": {Pix: make([]byte, 9), Stride: 3, Width: -3, Height: 3},
		"stride": {Pix: make([]byte, 900), Stride: 10, Width: 30, Height: 3}, "overflow": {Pix: make([]byte, 9), Stride: 1 << 30, Width: 4, Height: 4},
	} {
		if got, err := d.Decode(f); !errors.Is(err, scanner.ErrFrame) {
			t.Errorf("%s: got %q, %v, want %v", name, got, err, scanner.ErrFrame)
		}
	}
}

// TestCrowded holds up a sheet full of finder patterns: every three of them
// could be a code.
func TestCrowded(t *testing.T) {
	const side, w, h = 24, 1920, 1080
	f := scanner.Frame{Pix: bytes.Repeat([]byte{0xff}, w*h), Stride: w, Width: w, Height: h}
	for y := range h {
		for x := range w {
			ring := max(abs(x%side-11), abs(y%side-11)) / (2 + x/side%2)
			if ring <= 1 || ring == 3 {
				f.Pix[y*w+x] = 0
			}
		}
	}
	var r Reader
	if got, err := r.Decode(f); !errors.Is(err, ErrNoCode) {
		t.Errorf("got %q, %v, want %v", got, err, ErrNoCode)
	}
	if n := len(r.search.found); n != maxFinders {
		t.Errorf("%d finders remembered, want %d", n, maxFinders)
	}
}

// TestBudget reads against a clock that moves on by 1 ms each time it is looked
// at.
func TestBudget(t *testing.T) {
	f := frameOf(t, native(1), 25)
	var now time.Time
	looks := 0
	r := Reader{Budget: time.Millisecond, Now: func() time.Time {
		looks++
		now = now.Add(time.Millisecond)
		return now
	}}
	if got, err := r.Decode(f); !errors.Is(err, ErrNoCode) {
		t.Errorf("with no time left: got %.20q, %v, want %v", got, err, ErrNoCode)
	}
	// The start, a look within the budget, and the one that ends it.
	if looks != 3 {
		t.Errorf("%d looks at the clock, want 3", looks)
	}
	r.Budget = time.Minute
	if got, err := r.Decode(f); err != nil || string(got) != native(1) {
		t.Errorf("with time: got %.20q, %v", got, err)
	}
}

// TestEmptyFrameAllocatesNothing looks at pictures without a code again and
// again.
func TestEmptyFrameAllocatesNothing(t *testing.T) {
	const w, h = 640, 480
	rnd := rand.New(rand.NewPCG(3, 4))
	noise := scanner.Frame{Pix: make([]byte, w*h), Stride: w, Width: w, Height: h}
	for i := range noise.Pix {
		noise.Pix[i] = byte(rnd.Uint32())
	}
	half := frameOf(t, native(3), 4)
	half.Height /= 2
	// A code whose data is painted over: found, and never read.
	blank := frameOf(t, native(3), 4)
	for y := 60; y < 250; y++ {
		for x := 70; x < 250; x++ {
			blank.Pix[y*blank.Stride+x] = byte(rnd.Uint32())
		}
	}
	var r Reader
	for name, f := range map[string]scanner.Frame{"noise": noise, "half a code": half, "painted over": blank} {
		miss := func() {
			if got, err := r.Decode(f); !errors.Is(err, ErrNoCode) {
				t.Errorf("%s: got %.20q, %v, want %v", name, got, err, ErrNoCode)
			}
		}
		miss()
		if n := testing.AllocsPerRun(5, miss); n != 0 {
			t.Errorf("%s: %v allocations a picture, want none", name, n)
		}
	}
}

// mirror turns f left to right.
func mirror(f scanner.Frame) scanner.Frame {
	out := scanner.Frame{Pix: make([]byte, f.Width*f.Height), Stride: f.Width, Width: f.Width, Height: f.Height}
	for y := range f.Height {
		for x := range f.Width {
			out.Pix[y*f.Width+f.Width-1-x] = f.Pix[y*f.Stride+x]
		}
	}
	return out
}

// invert makes dark light.
func invert(f scanner.Frame) scanner.Frame {
	out := f
	out.Pix = bytes.Clone(f.Pix)
	for i, p := range out.Pix {
		out.Pix[i] = 255 - p
	}
	return out
}

// TestCode reads what else is known of a code.
func TestCode(t *testing.T) {
	upright := frameOf(t, native(1), 4) // version 13: 69 modules in a margin of 4
	const edge, far = 16, 16 + 4*69
	corners := [4]Point{{edge, edge}, {far, edge}, {far, far}, {edge, far}}
	flipped := corners
	for i, p := range corners {
		flipped[i].X = far + edge - p.X
	}
	for _, tt := range []struct {
		name string
		f    scanner.Frame
		want Code
	}{
		{"upright", upright, Code{Corners: corners}},
		{"inverted", invert(upright), Code{Corners: corners, Inverted: true}},
		{"mirrored", mirror(upright), Code{Corners: flipped, Mirrored: true}},
		{"mirrored and inverted", mirror(invert(upright)), Code{Corners: flipped, Mirrored: true, Inverted: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			codes, err := new(Reader).Read(tt.f)
			if err != nil || len(codes) != 1 {
				t.Fatalf("got %d codes, %v", len(codes), err)
			}
			c := codes[0]
			if string(c.Payload) != native(1) || c.Version != 13 || c.Inverted != tt.want.Inverted || c.Mirrored != tt.want.Mirrored {
				t.Errorf("got %+v", c)
			}
			for i, p := range c.Corners {
				if p.distance(tt.want.Corners[i]) > 2 {
					t.Errorf("corner %d at %.1f, want %v", i, p, tt.want.Corners[i])
				}
			}
			if math.Abs(c.Size-4*69) > 4 {
				t.Errorf("size %.1f, want %d", c.Size, 4*69)
			}
		})
	}
}

// TestNearestFirst holds up two codes at once.
func TestNearestFirst(t *testing.T) {
	far, near := frameOf(t, "JKM1:FAR", 4), frameOf(t, "JKM1:NEAR", 7)
	const w, h = 640, 300
	f := scanner.Frame{Pix: bytes.Repeat([]byte{0xf0}, w*h), Stride: w, Width: w, Height: h}
	for y := range far.Height {
		copy(f.Pix[(y+40)*w+20:], far.Pix[y*far.Stride:][:far.Width])
	}
	for y := range near.Height {
		copy(f.Pix[(y+40)*w+350:], near.Pix[y*near.Stride:][:near.Width])
	}
	var r Reader
	codes, err := r.Read(f)
	if err != nil || len(codes) != 2 || string(codes[0].Payload) != "JKM1:NEAR" || string(codes[1].Payload) != "JKM1:FAR" {
		t.Errorf("got %+v, %v", codes, err)
	}
	if got, err := r.Decode(f); err != nil || string(got) != "JKM1:NEAR" {
		t.Errorf("nearest: got %q, %v", got, err)
	}
}

// TestGlance holds a code so small that the rows of the first look cross its
// finder patterns only sometimes, and one beside it that is larger.
func TestGlance(t *testing.T) {
	small, large := frameOf(t, native(5), 2), frameOf(t, "JKM1:LARGE", 6)
	const w, h = 960, 720
	var r Reader
	for y := 300; y < 308; y++ {
		f := scanner.Frame{Pix: bytes.Repeat([]byte{0xff}, w*h), Stride: w, Width: w, Height: h}
		for i := range small.Height {
			copy(f.Pix[(y+i)*w+40:], small.Pix[i*small.Stride:][:small.Width])
		}
		if got, err := r.Decode(f); err != nil || string(got) != native(5) {
			t.Errorf("at row %d: got %.40q, %v", y, got, err)
		}
		for i := range large.Height {
			copy(f.Pix[(y+i)*w+500:], large.Pix[i*large.Stride:][:large.Width])
		}
		got, err := r.Read(f)
		if err != nil || len(got) != 2 {
			t.Fatalf("at row %d: got %+v, %v", y, got, err)
		}
		if first, err := r.Decode(f); err != nil || !bytes.Equal(first, got[0].Payload) {
			t.Errorf("at row %d: %.40q is the nearest, %.40q was read, %v", y, got[0].Payload, first, err)
		}
	}
}

// TestNested prints a code into the middle of another.
func TestNested(t *testing.T) {
	f := frameOf(t, native(4), 8)
	inner := frameOf(t, "JKM1:INNER", 3)
	left, top := (f.Width-inner.Width)/2, (f.Height-inner.Height)/2
	for y := range inner.Height {
		copy(f.Pix[(top+y)*f.Stride+left:], inner.Pix[y*inner.Stride:][:inner.Width])
	}
	var r Reader
	got, err := r.Read(f)
	if err != nil || len(got) != 2 || string(got[0].Payload) != native(4) || string(got[1].Payload) != "JKM1:INNER" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := r.Decode(f); err != nil || string(got) != native(4) {
		t.Errorf("the nearest is %.40q, %v", got, err)
	}
}

func TestPictureLimits(t *testing.T) {
	for _, tt := range []struct {
		text   string
		module int
	}{{"", 4}, {"A", 0}, {"A", -1}, {"A", maxModule + 1}, {strings.Repeat("A", 5000), 1}} {
		if _, err := Picture(tt.text, tt.module); err == nil {
			t.Errorf("Picture of %d bytes, module %d: no error", len(tt.text), tt.module)
		}
	}
	img, err := Picture(native(1), 1)
	if err != nil {
		t.Fatal(err)
	}
	// Version 13, as DESIGN measures it: 69 modules and a margin of 8.
	if got := img.Bounds(); got != image.Rect(0, 0, 69+8, 69+8) {
		t.Errorf("a dynamic code is %v pixels at one a module, want 77×77", got)
	}
}

func TestSegments(t *testing.T) {
	for _, tt := range []struct {
		name string
		bits string
		want string
		bad  bool
	}{
		// ISO/IEC 18004:2015, 7.4.3: the numeric example, and 7.4.4: "AC-42".
		{name: "numeric", bits: "0001 0000001000 0000001100 0101011001 1000011 0000", want: "01234567"},
		{name: "two digits over", bits: "0001 0000000101 0001111011 0000111 0000", want: "12307"},
		{name: "100 as two digits", bits: "0001 0000000010 1100100 0000", bad: true},
		{name: "alphanumeric", bits: "0010 000000101 00111001110 11100111001 000010 0000", want: "AC-42"},
		{name: "bytes", bits: "0100 00000010 11111111 00000000 0000", want: "\xff\x00"},
		{name: "kanji 点茗", bits: "1000 00000010 0110110011111 1101010101010 0000", want: "\x93\x5f\xe4\xaa"},
		{name: "ECI 26 in front", bits: "0111 00011010 0100 00000001 01000001 0000", want: "A"},
		{name: "mixed", bits: "0010 000000001 001010 0100 00000001 01100001 0001 0000000001 0111", want: "Aa7"},
		{name: "FNC1", bits: "0101 0010 000000011 11011010100 001010 0000", want: "%A"},
		{name: "no end", bits: "0100 00000001 01000001", want: "A"},
		{name: "cut", bits: "0100 00000010 01000001", bad: true},
		{name: "cut in the count", bits: "0100 0000", bad: true},
		{name: "unknown mode", bits: "0110 0000", bad: true},
		{name: "1000 as three digits", bits: "0001 0000000011 1111101000 0000", bad: true},
		{name: "pair 2025", bits: "0010 000000010 11111101001 0000", bad: true},
	} {
		raw := pack(tt.bits)
		got, err := parseSegments(raw, 0, 1)
		if tt.bad != (err != nil) || string(got) != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

// pack makes bytes of "0101 1", the last filled up with zeros.
func pack(s string) []byte {
	s = strings.ReplaceAll(s, " ", "")
	out := make([]byte, (len(s)+7)/8)
	for i, c := range s {
		if c == '1' {
			out[i/8] |= 0x80 >> (i % 8)
		}
	}
	return out
}

func FuzzSegments(f *testing.F) {
	f.Add(pack("0010 000000101 00111001110 11100111001 000010 0000"), uint8(1))
	f.Add(pack("0111 00011010 0100 00000001 01000001 0000"), uint8(40))
	f.Fuzz(func(t *testing.T, data []byte, version uint8) {
		if len(data) > 2956 { // version 40-L
			return
		}
		out, err := parseSegments(data, 0, 1+int(version)%40)
		if err == nil && len(out) > 3*len(data) { // ten bits make three digits
			t.Errorf("%d bytes out of %d", len(out), len(data))
		}
	})
}

func FuzzDecode(f *testing.F) {
	img, err := Picture("JKM1:A", 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(img.Pix, uint16(img.Stride))
	f.Add(bytes.Repeat([]byte{0, 0xff}, 800), uint16(40))
	f.Fuzz(func(t *testing.T, pix []byte, width uint16) {
		if width == 0 || len(pix) > 1<<16 {
			return
		}
		w := int(width)
		out, err := new(Reader).Decode(scanner.Frame{Pix: pix, Stride: w, Width: w, Height: len(pix) / w})
		if err == nil && len(out) == 0 {
			t.Error("no error and no payload")
		}
		if err != nil && strings.Contains(err.Error(), "panicked") {
			t.Error(err)
		}
	})
}

// shared finds the folder beside the module, or skips.
func shared(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the package")
		}
		dir = up
	}
	found := filepath.Join(dir, "..", "shared", path)
	if _, err := os.Stat(found); err != nil {
		t.Skipf("the pictures of ../shared/%s are not on this machine", path)
	}
	return found
}

// unescape undoes what the index does to texts of several lines.
var unescape = strings.NewReplacer(`\\`, `\`, `\r`, "\r", `\n`, "\n")

// TestCorpus reads the first set of zxing's photographs. The floor is what the
// plain library reads of it, so that a change that reads less is seen.
func TestCorpus(t *testing.T) {
	dir := shared(t, "qr/corpus/zxing-qr1")
	index, err := os.ReadFile(filepath.Join(dir, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	const floor = 0.85
	var d Reader
	read, all := 0, 0
	for line := range strings.Lines(string(index)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) < 2 {
			continue
		}
		all++
		file, err := os.Open(filepath.Join(dir, fields[0]))
		if err != nil {
			t.Fatal(err)
		}
		img, _, err := image.Decode(file)
		file.Close()
		if err != nil {
			t.Fatalf("%s: %v", fields[0], err)
		}
		var f scanner.Frame
		f.SetImage(img)
		got, err := d.Decode(f)
		switch {
		case err != nil:
			t.Logf("%s: %v", fields[0], err)
		default:
			ok := false
			for _, want := range fields[1:] {
				ok = ok || want == "?" || string(got) == unescape.Replace(want)
			}
			if !ok {
				t.Errorf("%s: got %q, want %q", fields[0], got, fields[1:])
				continue
			}
			read++
		}
	}
	t.Logf("%d of %d read", read, all)
	if all == 0 || float64(read) < floor*float64(all) {
		t.Errorf("%d of %d read, want %.0f %%", read, all, 100*floor)
	}
}
