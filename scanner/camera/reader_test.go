package camera

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate"
	"greengate/scanner"
	"greengate/scanner/qr"
)

var (
	_ scanner.Source = (*Reader)(nil)
	_ Source         = (*Folder)(nil)
	_ Source         = (*Pipe)(nil)
	_ Source         = (*Clip)(nil)
	_ Eye            = (*QR)(nil)
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// draw draws text as a code.
func draw(t testing.TB, text string) *image.Gray {
	t.Helper()
	img, err := qr.Picture(text, 4)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func asPNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// asYUV is a raw picture as rpicam-vid writes it.
func asYUV(img *image.Gray, stride int) []byte {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	out := bytes.Repeat([]byte{0x80}, stride*h+2*(stride/2)*((h+1)/2))
	for y := range h {
		copy(out[y*stride:], img.Pix[y*img.Stride:][:w])
	}
	return out
}

// start runs r until the test ends and returns its scans.
func start(t *testing.T, r *Reader) <-chan gate.Scan {
	t.Helper()
	scans := make(chan gate.Scan, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, func(s gate.Scan) { scans <- s }) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run = %v, want %v", err, context.Canceled)
			}
		case <-time.After(patience):
			t.Error("Run did not end with its context")
		}
	})
	return scans
}

func want(t *testing.T, scans <-chan gate.Scan, codes ...string) {
	t.Helper()
	for _, c := range codes {
		select {
		case s := <-scans:
			if string(s.Raw) != c {
				t.Fatalf("scan %q, want %q", s.Raw, c)
			}
		case <-time.After(patience):
			t.Fatalf("no scan came, want %q", c)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, data []byte) {
		t.Helper()
		tmp := filepath.Join(dir, "."+name)
		if err := os.WriteFile(tmp, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	put("2.jpg", asJPEG(t, draw(t, "JKM1:TWO")))
	put("1.png", asPNG(t, draw(t, "JKM1:ONE")))
	put("notes.txt", []byte("no picture"))
	if err := os.Mkdir(filepath.Join(dir, "0.png"), 0o700); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := &Reader{Source: &Folder{Path: dir}, Eye: new(QR), Direction: gate.Exit,
		Log: slog.New(slog.NewTextHandler(&log, nil))}
	scans := start(t, r)
	want(t, scans, "JKM1:ONE", "JKM1:TWO")
	put("3.png", []byte("\x89PNG\r\n\x1a\nnothing behind"))
	put("4.png", asPNG(t, draw(t, "JKM1:FOUR")))
	put("5.JPEG", asJPEG(t, draw(t, "JKM1:FOUR"))) // the same code again counts: each picture does
	want(t, scans, "JKM1:FOUR", "JKM1:FOUR")
	if up, _ := r.Connected(); !up {
		t.Errorf("State() = %q", r.State())
	}
}

// TestFolderPolling has the bubble's clock: a picture is looked at once, one
// that grew is looked at again, one that is consumed is gone.
func TestFolderPolling(t *testing.T) {
	for _, consume := range []bool{false, true} {
		t.Run(fmt.Sprint("consume ", consume), func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, "a.png")
			whole := asPNG(t, draw(t, "JKM1:A"))
			if err := os.WriteFile(name, whole[:40], 0o600); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var sizes []int
				done := make(chan error)
				go func() {
					done <- (&Folder{Path: dir, Consume: consume}).Run(ctx, func() {}, func(m Image) { sizes = append(sizes, len(m.Data)) })
				}()
				time.Sleep(time.Second)
				synctest.Wait()
				if err := os.WriteFile(name, whole, 0o600); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v", err)
				}
				if fmt.Sprint(sizes) != fmt.Sprint([]int{40, len(whole)}) {
					t.Errorf("pictures of %v bytes, want 40 and %d", sizes, len(whole))
				}
				if _, err := os.Stat(name); os.IsNotExist(err) != consume {
					t.Errorf("consume %v, then stat: %v", consume, err)
				}
			})
		})
	}
}

func TestFolderMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	r := &Reader{Source: &Folder{Path: dir}, Eye: new(QR)}
	scans := start(t, r)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.png"), asPNG(t, draw(t, "JKM1:A")), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, scans, "JKM1:A")
}

func TestPipeMJPEG(t *testing.T) {
	pr, pw := io.Pipe()
	r := &Reader{Eye: new(QR), Source: &Pipe{Open: func(context.Context) (io.ReadCloser, error) { return pr, nil }}}
	scans := start(t, r)
	one := asJPEG(t, draw(t, "JKM1:ONE"))
	pw.Write([]byte("garbage in front"))
	pw.Write(one)
	want(t, scans, "JKM1:ONE")
	pw.Write(one[:len(one)/2]) // cut
	pw.Write(asJPEG(t, draw(t, "JKM1:TWO")))
	want(t, scans, "JKM1:TWO")
}

func TestPipeRaw(t *testing.T) {
	img := draw(t, "JKM1:RAW") // 116 pixels wide: padded to 128
	pr, pw := io.Pipe()
	r := &Reader{Eye: new(QR), Source: &Pipe{Width: img.Rect.Dx(), Height: img.Rect.Dy(),
		Open: func(context.Context) (io.ReadCloser, error) { return pr, nil }}}
	scans := start(t, r)
	blank := image.NewGray(img.Rect)
	pw.Write(asYUV(blank, 128))
	pw.Write(asYUV(img, 128))
	want(t, scans, "JKM1:RAW")
}

func TestPipeFIFOOpensAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "frames")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r := &Reader{Eye: new(QR), Source: &Pipe{Path: name}}
	scans := start(t, r)
	for _, code := range []string{"JKM1:ONE", "JKM1:TWO"} {
		picture := asJPEG(t, draw(t, code))
		var w *os.File
		for {
			var err error
			if w, err = os.OpenFile(name, os.O_WRONLY, 0); err != nil { // waits for a reader
				t.Fatal(err)
			}
			if _, err = w.Write(picture); err == nil {
				break
			}
			// It was the reader that is about to see the end of the picture
			// before: a camera's program starts anew then, and so does this.
			if w.Close(); !errors.Is(err, syscall.EPIPE) {
				t.Fatal(err)
			}
		}
		want(t, scans, code)
		w.Close()
	}
}

func TestPipeCommand(t *testing.T) {
	name := filepath.Join(t.TempDir(), "one.jpg")
	if err := os.WriteFile(name, asJPEG(t, draw(t, "JKM1:CMD")), 0o600); err != nil {
		t.Fatal(err)
	}
	// The second shell command keeps it running: it must be ended.
	r := &Reader{Eye: new(QR), Source: &Pipe{Command: []string{"sh", "-c", `cat "$0"; exec sleep 1000`, name}}}
	want(t, start(t, r), "JKM1:CMD")
}

func TestPipeErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		pipe Pipe
		want string
	}{
		{"nothing given", Pipe{}, "neither a path nor a command"},
		{"no such file", Pipe{Path: filepath.Join(t.TempDir(), "none")}, "no such file"},
		{"no such command", Pipe{Command: []string{"/nonexistent/rpicam-vid"}}, "no such file"},
		{"command fails", Pipe{Command: []string{"sh", "-c", "echo no cameras available >&2; exit 255"}}, "exit status 255: no cameras available"},
		{"sizes", Pipe{Path: "/dev/zero", Width: 640}, "640×0"},
		{"stride", Pipe{Path: "/dev/zero", Width: 640, Height: 480, Stride: 600}, "stride 600"},
		{"large", Pipe{Path: "/dev/zero", Width: 1 << 30, Height: 1 << 30}, "want 1 to 4096"},
	} {
		err := tt.pipe.Run(t.Context(), func() {}, func(Image) {})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
		}
	}
}

func TestReaderIncomplete(t *testing.T) {
	if err := (&Reader{}).Run(t.Context(), nil); err == nil {
		t.Error("Run without source and decoder: no error")
	}
}

func TestImageLuma(t *testing.T) {
	var f scanner.Frame
	yuyv := []byte{1, 128, 2, 128, 0, 0, 3, 128, 4, 128} // 2×2, stride 6, last row cut
	if err := (Image{Format: YUYV, Width: 2, Height: 2, Stride: 6, Data: yuyv}).Luma(&f); err != nil || !bytes.Equal(f.Pix, []byte{1, 2, 3, 4}) {
		t.Errorf("YUYV: %v, %v", f, err)
	}
	colour := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	colour.Set(0, 0, color.NRGBA{0, 0, 0, 255})
	colour.Set(1, 0, color.NRGBA{0, 0, 0, 0}) // nothing there: paper
	if err := (Image{Data: asPNG(t, colour)}).Luma(&f); err != nil || f.Pix[0] != 0 || f.Pix[1] != 255 {
		t.Errorf("transparent PNG: %v, %v, want 0 and 255", f.Pix, err)
	}
	bomb := asPNG(t, image.NewGray(image.Rect(0, 0, 1, 1)))
	copy(bomb[16:], []byte{0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff}) // says 65535×65535
	for name, m := range map[string]Image{
		"empty":        {},
		"text":         {Data: []byte("hello")},
		"cut JPEG":     {Data: asJPEG(t, draw(t, "A"))[:300]},
		"bomb":         {Data: bomb},
		"short luma":   {Format: Luma, Width: 10, Height: 10, Stride: 10, Data: make([]byte, 99)},
		"short YUYV":   {Format: YUYV, Width: 10, Height: 10, Stride: 20, Data: make([]byte, 199)},
		"narrow YUYV":  {Format: YUYV, Width: 10, Height: 10, Stride: 19, Data: make([]byte, 1000)},
		"negative":     {Format: Luma, Width: -1, Height: -1, Stride: -1, Data: make([]byte, 99)},
		"unknown":      {Format: 77, Data: make([]byte, 99)},
		"huge numbers": {Format: YUYV, Width: 1 << 30, Height: 1 << 30, Stride: 1 << 30, Data: make([]byte, 99)},
	} {
		if err := m.Luma(&f); !errors.Is(err, ErrImage) {
			t.Errorf("%s: got %v, want %v", name, err, ErrImage)
		}
	}
}

// TestJPEGWithoutTables takes the Huffman tables out, as USB cameras do.
func TestJPEGWithoutTables(t *testing.T) {
	whole := asJPEG(t, draw(t, "JKM1:AVI1"))
	bare := append([]byte(nil), whole[:2]...)
	for i := 2; ; {
		n := 2 + int(whole[i+2])<<8 + int(whole[i+3])
		if whole[i+1] == markSOS {
			bare = append(bare, whole[i:]...)
			break
		}
		if whole[i+1] != markDHT {
			bare = append(bare, whole[i:i+n]...)
		}
		i += n
	}
	if len(bare) >= len(whole) {
		t.Fatal("nothing was taken out")
	}
	var f scanner.Frame
	if err := (Image{Data: bare}).Luma(&f); err != nil {
		t.Fatal(err)
	}
	if got, err := new(qr.Reader).Decode(f); err != nil || string(got) != "JKM1:AVI1" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSplitter(t *testing.T) {
	a, b := asJPEG(t, draw(t, "A")), asJPEG(t, draw(t, "B"))
	thumb := append([]byte{0xFF, 0xD8, 0xFF, 0xE1, 0, 8, 0xFF, 0xD8, 0xFF, 0xD9, 1, 2}, a[2:]...)
	endless := append(append([]byte(nil), a[:len(a)-2]...), make([]byte, maxJPEG)...)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		name string
		in   []byte
		want [][]byte
	}{
		{"two", join(a, b), [][]byte{a, b}},
		{"garbage around", join([]byte("xx\xff\xd8yy"), a, []byte("\xff\xff\x00zz\xff"), b, []byte("q")), [][]byte{a, b}},
		{"a picture inside a segment", join(thumb, b), [][]byte{thumb, b}},
		{"cut in its data", join(a[:len(a)-9], b), [][]byte{b}},
		{"cut at the end", join(a, b[:len(b)-1]), [][]byte{a}},
		{"too long", join(endless, b), [][]byte{b}},
		{"nothing", nil, nil},
		{"zeros", make([]byte, 1<<16), nil},
	} {
		s := newSplitter(bytes.NewReader(tt.in))
		var got [][]byte
		for {
			p, err := s.next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s: %v", tt.name, err)
				}
				break
			}
			got = append(got, bytes.Clone(p))
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %d pictures, want %d", tt.name, len(got), len(tt.want))
			continue
		}
		for i := range got {
			if !bytes.Equal(got[i], tt.want[i]) {
				t.Errorf("%s: picture %d differs (%d bytes, want %d)", tt.name, i, len(got[i]), len(tt.want[i]))
			}
		}
	}
}

func FuzzSplitter(f *testing.F) {
	a := asJPEG(f, draw(f, "A"))
	f.Add(append(append([]byte("xx"), a...), a...))
	f.Add([]byte{0xFF, 0xD8, 0xFF, 0xE0, 0, 2, 0xFF, 0xDA, 0, 2, 1, 0xFF, 0, 0xFF, 0xD0, 0xFF, 0xD9})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newSplitter(bytes.NewReader(in))
		total := 0
		for {
			p, err := s.next()
			if err != nil {
				return
			}
			total += len(p)
			if len(p) > maxJPEG+4 || total > len(in) {
				t.Fatalf("%d bytes of pictures out of %d", total, len(in))
			}
			if !bytes.HasPrefix(p, []byte{0xFF, markSOI}) || !bytes.HasSuffix(p, []byte{0xFF, markEOI}) {
				t.Fatalf("picture %x…%x", p[:2], p[len(p)-2:])
			}
			withTables(p) // must not panic on any segment lengths
		}
	})
}
