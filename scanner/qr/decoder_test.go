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
			got, err := new(Decoder).Decode(tt.change(frameOf(t, text, tt.module)))
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
	got, err := new(Decoder).Decode(wide)
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
	got, err := new(Decoder).Decode(f)
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
	var d Decoder
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

// TestCrowded holds up a sheet full of finder patterns, which would keep the
// library busy for hours.
func TestCrowded(t *testing.T) {
	const side, w, h = 24, 1920, 1080
	f := scanner.Frame{Pix: bytes.Repeat([]byte{0xff}, w*h), Stride: w, Width: w, Height: h}
	for y := range h {
		for x := range w {
			// Rings around the middle of each square, in modules of 2 and 3 pixels
			// by turns, so that the library does not believe it has its three.
			ring := max(abs(x%side-11), abs(y%side-11)) / (2 + x/side%2)
			if ring <= 1 || ring == 3 {
				f.Pix[y*w+x] = 0
			}
		}
	}
	start := time.Now()
	_, err := new(Decoder).Decode(f)
	if !errors.Is(err, ErrNoCode) || !errors.Is(err, errCrowded) {
		t.Errorf("got %v, want %v", err, errCrowded)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

func abs(n int) int { return max(n, -n) }

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
		got, err := parseSegments(raw, 1)
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
		out, err := parseSegments(data, 1+int(version)%40)
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
		out, err := new(Decoder).Decode(scanner.Frame{Pix: pix, Stride: w, Width: w, Height: len(pix) / w})
		if err == nil && len(out) == 0 {
			t.Error("no error and no payload")
		}
		if err != nil && strings.Contains(err.Error(), "panicked") {
			t.Log(err) // known to happen; what counts is that it is an error
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
	var d Decoder
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
