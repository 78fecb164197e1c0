package camera

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greengate/scanner"
)

// TestClipFolder reads every picture of a folder, and again from the start.
func TestClipFolder(t *testing.T) {
	dir := t.TempDir()
	for name, code := range map[string]string{"1.png": "JKM1:ONE", "2.png": "JKM1:TWO"} {
		if err := os.WriteFile(filepath.Join(dir, name), asPNG(t, draw(t, code)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "index.tsv"), []byte("no picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	scans := start(t, &Reader{Source: &Clip{Path: dir}, Eye: new(QR)})
	want(t, scans, "JKM1:ONE", "JKM1:TWO", "JKM1:ONE")
}

// TestClipRate plays raw pictures, with padding and colour behind each, at a
// camera's rate to an eye that is slower.
func TestClipRate(t *testing.T) {
	const w, h, stride = 4, 2, 6
	var raw []byte
	for n := range byte(30) {
		raw = append(raw, bytes.Repeat([]byte{n}, stride*h)...)
		raw = append(raw, bytes.Repeat([]byte{0x80}, stride*h/2)...)
	}
	name := filepath.Join(t.TempDir(), "clip.yuv")
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var seen []byte
		r := &Reader{Source: &Clip{Path: name, Width: w, Height: h, Stride: stride, Chroma: true, Rate: 10}, Eye: eyeFunc(func(f scanner.Frame) Sight {
			if newest := byte(time.Since(began)/(100*time.Millisecond)) - 1; f.Pix[0] != newest || f.Pix[len(f.Pix)-1] == 0x80 {
				t.Errorf("picture %d when %d was the newest", f.Pix[0], newest)
			}
			seen = append(seen, f.Pix[0])
			time.Sleep(230 * time.Millisecond)
			return Sight{}
		})}
		play(t, r, 1800*time.Millisecond)
		if want := []byte{0, 2, 4, 6, 9, 11, 13, 16}; !slices.Equal(seen, want) {
			t.Errorf("saw %v, want %v", seen, want)
		}
	})
}

func TestClipErrors(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, make([]byte, 99), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		clip Clip
		want string
	}{
		{"no such folder", Clip{Path: "/nonexistent"}, "no such file"},
		{"no such file", Clip{Path: "/nonexistent", Width: 8, Height: 8}, "no such file"},
		{"cut", Clip{Path: short, Width: 10, Height: 10}, "unexpected EOF"},
		{"sizes", Clip{Path: short, Width: 10}, "10×0"},
		{"stride", Clip{Path: short, Width: 10, Height: 10, Stride: 9}, "stride 9"},
		{"the end", Clip{Path: short, Width: 11, Height: 9}, "end of the clip"},
	} {
		if err := tt.clip.Run(t.Context(), func() {}, func(Image) {}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, rate := range []float64{0, 1} {
		if err := (&Clip{Path: short, Width: 1, Height: 1, Rate: rate}).Run(ctx, func() {}, func(Image) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at rate %v: %v", rate, err)
		}
	}
}
