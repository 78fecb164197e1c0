package camera

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"greengate/gate"
	"greengate/scanner"
	"greengate/scanner/qr"
)

var _ Source = (*V4L2)(nil)

// TestABI holds the layouts against the numbers that C compilers and the
// kernel's own compatibility layer have (include/uapi/linux/videodev2.h,
// drivers/media/v4l2-core/v4l2-compat-ioctl32.c).
func TestABI(t *testing.T) {
	for _, tt := range []struct {
		name                                     string
		abi                                      abi
		gFmt, sFmt, queryBuf, qBuf, dqBuf        uint
		format, buffer, memory, m, length, union int
	}{
		{"amd64, arm64", abi{8, true}, 0xc0d05604, 0xc0d05605, 0xc0585609, 0xc058560f, 0xc0585611, 208, 88, 60, 64, 72, 8},
		{"arm, 64-bit time", abi{4, true}, 0xc0cc5604, 0xc0cc5605, 0xc0505609, 0xc050560f, 0xc0505611, 204, 80, 60, 64, 68, 4},
		{"arm, 32-bit time", abi{4, false}, 0xc0cc5604, 0xc0cc5605, 0xc0445609, 0xc044560f, 0xc0445611, 204, 68, 48, 52, 56, 4},
	} {
		a := tt.abi
		if a.getFmt() != tt.gFmt || a.setFmt() != tt.sFmt || a.queryBuf() != tt.queryBuf || a.qBuf() != tt.qBuf || a.dqBuf() != tt.dqBuf {
			t.Errorf("%s: G_FMT %#x S_FMT %#x QUERYBUF %#x QBUF %#x DQBUF %#x, want %#x %#x %#x %#x %#x", tt.name,
				a.getFmt(), a.setFmt(), a.queryBuf(), a.qBuf(), a.dqBuf(), tt.gFmt, tt.sFmt, tt.queryBuf, tt.qBuf, tt.dqBuf)
		}
		if a.sizeFormat() != tt.format || a.sizeBuffer() != tt.buffer || a.offMemory() != tt.memory || a.offM() != tt.m || a.offLength() != tt.length {
			t.Errorf("%s: v4l2_format %d, v4l2_buffer %d with memory at %d, m at %d, length at %d, want %d %d %d %d %d", tt.name,
				a.sizeFormat(), a.sizeBuffer(), a.offMemory(), a.offM(), a.offLength(), tt.format, tt.buffer, tt.memory, tt.m, tt.length)
		}
		want := pixFormat{640, 480, pixGREY, 704}
		b := a.format(want)
		if got := a.pix(b); got != want || u32(b, tt.union) != 640 {
			t.Errorf("%s: format reads back as %v, want %v with the width at %d", tt.name, got, want, tt.union)
		}
		if a.queryCap() != 0x80685600 || a.enumFmt() != 0xc0405602 || a.reqBufs() != 0xc0145608 || a.streamOn() != 0x40045612 || a.streamOff() != 0x40045613 {
			t.Errorf("%s: an ioctl of one size for all has the wrong number", tt.name)
		}
	}
	if k := abis(); len(k) == 0 || (k[0].long == 8) != (^uintptr(0)>>63 == 1) {
		t.Errorf("abis() = %v on this machine", k)
	}
}

// step is what fakeDriver does when a picture is waited for.
type step struct {
	pix   []byte
	flags uint32
	used  int // 0: all of pix
	index uint32
	err   error
	stall bool
}

// fakeDriver plays a camera. It checks that buffers go round as they must.
type fakeDriver struct {
	t      *testing.T
	abi    abi
	caps   uint32
	offers []uint32
	set    uint32    // pixel format that G_FMT answers; 0 where the driver has no G_FMT
	gives  pixFormat // what S_FMT answers, zero fields as asked
	length int
	steps  []step
	asked  pixFormat
	bufs   [][]byte
	queued map[uint32]bool
	on     bool
	closed bool
}

func (d *fakeDriver) ioctl(request uint, arg []byte) error {
	if size := int(request >> 16 & 0x3fff); size != len(arg) {
		d.t.Errorf("ioctl %#x with %d bytes, want %d", request, len(arg), size)
	}
	a := d.abi
	switch request {
	case a.queryCap():
		put32(arg, 84, d.caps|capDeviceCaps)
		put32(arg, 88, d.caps)
	case a.enumFmt():
		i := u32(arg, 0)
		if int(i) >= len(d.offers) {
			return unix.EINVAL
		}
		put32(arg, 44, d.offers[i])
	case a.getFmt():
		if d.set == 0 {
			return unix.ENOTTY
		}
		copy(arg, a.format(pixFormat{640, 480, d.set, 0}))
	case a.setFmt():
		d.asked = a.pix(arg)
		got := d.asked
		if d.gives.pixel != 0 {
			got = d.gives
		}
		copy(arg, a.format(got))
	case a.reqBufs():
		put32(arg, 0, 2)
		d.bufs, d.queued = make([][]byte, 2), map[uint32]bool{}
	case a.queryBuf():
		put32(arg, a.offM(), u32(arg, 0)*4096)
		put32(arg, a.offLength(), uint32(d.length))
	case a.qBuf():
		i := u32(arg, 0)
		if d.queued[i] {
			d.t.Errorf("buffer %d queued twice", i)
		}
		d.queued[i] = true
	case a.dqBuf():
		s := d.steps[0]
		d.steps = d.steps[1:]
		if s.err != nil {
			return s.err
		}
		if s.index < 2 {
			delete(d.queued, s.index)
			copy(d.bufs[s.index], s.pix)
		}
		used := s.used
		if used == 0 {
			used = len(s.pix)
		}
		put32(arg, 0, s.index)
		put32(arg, 8, uint32(used))
		put32(arg, 12, s.flags)
	case a.streamOn():
		d.on = true
	case a.streamOff():
		d.on = false
	default:
		return unix.ENOTTY
	}
	return nil
}

func (d *fakeDriver) mmap(offset int64, length int) ([]byte, error) {
	d.bufs[offset/4096] = make([]byte, length)
	return d.bufs[offset/4096], nil
}

func (d *fakeDriver) wait(ctx context.Context, quiet time.Duration) (bool, error) {
	if len(d.steps) == 0 {
		<-ctx.Done()
		return false, ctx.Err()
	}
	if d.steps[0].stall {
		return false, nil
	}
	return true, nil
}

func (d *fakeDriver) close() error { d.closed = true; return nil }

// newFake is a camera that offers everything and speaks this machine's way.
func newFake(t *testing.T) *fakeDriver {
	return &fakeDriver{t: t, abi: abis()[0], caps: capVideoCapture | capStreaming, length: 1 << 16,
		offers: []uint32{pixMJPEG, 0x31424752, pixYUYV, pixGREY}}
}

func TestV4L2Streams(t *testing.T) {
	img := draw(t, "JKM1:V4L2")
	w, h := img.Rect.Dx(), img.Rect.Dy()
	stride := w + 28 // bytesperline with padding
	d := newFake(t)
	d.gives = pixFormat{uint32(w), uint32(h), pixGREY, uint32(stride)}
	padded := make([]byte, stride*h)
	for y := range h {
		copy(padded[y*stride:], img.Pix[y*img.Stride:][:w])
	}
	rubbish := bytes.Repeat([]byte{7}, len(padded))
	d.steps = []step{
		{pix: rubbish, flags: bufFlagError},
		{err: unix.EAGAIN},
		{pix: rubbish, used: 1 << 20, index: 1}, // more than the buffer holds
		{pix: padded, index: 1},
		{err: unix.ENODEV},
	}
	var codes, seen int
	v := &V4L2{Path: "/dev/video9", Width: 640, Height: 480, open: func(string) (driver, error) { return d, nil }}
	err := v.Run(t.Context(), func() {}, func(m Image) {
		seen++
		var f scanner.Frame
		if err := m.Luma(&f); err != nil {
			t.Error(err)
		}
		if got, err := new(qr.Reader).Decode(f); err == nil && string(got) == "JKM1:V4L2" {
			codes++
		}
	})
	if !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "/dev/video9") {
		t.Errorf("Run = %v, want the unplugged device named", err)
	}
	if seen != 1 || codes != 1 {
		t.Errorf("%d pictures and %d codes, want 1 and 1", seen, codes)
	}
	if d.asked != (pixFormat{640, 480, pixGREY, 0}) {
		t.Errorf("asked for %v, want GREY of 640×480", d.asked)
	}
	if d.on || !d.closed || len(d.queued) != 2 {
		t.Errorf("left streaming %v, closed %v, %d of 2 buffers queued", d.on, d.closed, len(d.queued))
	}
}

// TestV4L2Format: what the device is set to counts only where it can be read
// without decoding.
func TestV4L2Format(t *testing.T) {
	for _, tt := range []struct {
		name      string
		set, want uint32
	}{
		{"says nothing", 0, pixGREY},
		{"set to the best", pixGREY, pixGREY},
		{"set to YUYV", pixYUYV, pixYUYV},
		{"set to MJPEG", pixMJPEG, pixGREY},
		{"set to RGB", 0x31424752, pixGREY},
		{"set to what it does not offer", pixNV12, pixGREY},
	} {
		d := newFake(t)
		d.set = tt.set
		if _, err := new(V4L2).negotiate(d, d.abi); err != nil || d.asked.pixel != tt.want {
			t.Errorf("%s: asked for %#x, %v, want %#x", tt.name, d.asked.pixel, err, tt.want)
		}
	}
}

// TestV4L2OldTime has a 32-bit kernel that knows only 32-bit times.
func TestV4L2OldTime(t *testing.T) {
	d := newFake(t)
	d.abi = abi{4, false}
	a, mapped, err := mapBuffers(d, []abi{{4, true}, {4, false}})
	if err != nil || a != d.abi || len(mapped) != 2 {
		t.Errorf("mapBuffers = %v, %d buffers, %v, want %v, 2", a, len(mapped), err, d.abi)
	}
}

func TestV4L2Refuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*fakeDriver)
		want   string
	}{
		{"an output", func(d *fakeDriver) { d.caps = 2 | capStreaming }, "does not capture"},
		{"no streaming", func(d *fakeDriver) { d.caps = capVideoCapture }, "does not capture"},
		{"no format", func(d *fakeDriver) { d.offers = []uint32{0x31424752} }, "none of the 1 formats"},
		{"a driver that gives another", func(d *fakeDriver) { d.gives = pixFormat{640, 480, 0x31424752, 0} }, "none of the 4 formats"},
		{"no size", func(d *fakeDriver) { d.gives = pixFormat{0, 0, pixGREY, 0} }, "0×0"},
		{"huge", func(d *fakeDriver) { d.gives = pixFormat{1 << 31, 1, pixGREY, 0} }, "driver gives"},
		{"empty buffers", func(d *fakeDriver) { d.length = 0 }, "buffer 0 of 0 bytes"},
		{"a buffer that is not there", func(d *fakeDriver) { d.steps = []step{{index: 9, pix: []byte{1}}} }, "buffer 9 of 2"},
		{"silence", func(d *fakeDriver) { d.steps = []step{{stall: true}} }, "no picture for 5 s"},
	} {
		d := newFake(t)
		tt.change(d)
		v := &V4L2{Path: "/dev/video9", open: func(string) (driver, error) { return d, nil }}
		err := v.Run(t.Context(), func() {}, func(Image) { t.Errorf("%s: a picture", tt.name) })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
		}
		if !d.closed {
			t.Errorf("%s: left open", tt.name)
		}
	}
}

// TestV4L2ComesBack unplugs a camera under a Reader and plugs it in again.
func TestV4L2ComesBack(t *testing.T) {
	img := draw(t, "JKM1:BACK")
	pix := asYUV(img, img.Rect.Dx())
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		v := &V4L2{Path: "/dev/video9", open: func(string) (driver, error) {
			if opened++; opened == 2 {
				return nil, unix.ENOENT
			}
			d := newFake(t)
			d.gives = pixFormat{uint32(img.Rect.Dx()), uint32(img.Rect.Dy()), pixGREY, 0}
			if opened == 1 {
				d.steps = []step{{pix: pix}, {err: unix.ENODEV}}
			} else {
				d.steps = []step{{pix: pix}}
			}
			return d, nil
		}}
		r := &Reader{Source: v, Decoder: new(qr.Reader), SameWithin: -1}
		ctx, cancel := context.WithCancel(t.Context())
		scans := make(chan gate.Scan, 10)
		done := make(chan error)
		go func() { done <- r.Run(ctx, func(s gate.Scan) { scans <- s }) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(scans) != 2 || opened != 3 {
			t.Errorf("%d scans from %d attempts, want 2 from 3; %s", len(scans), opened, r.State())
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestV4L2NotAVideoDevice(t *testing.T) {
	for path, want := range map[string]string{"/dev/null": "not a video device", t.TempDir() + "/video0": "no such file"} {
		err := (&V4L2{Path: path}).Run(t.Context(), func() {}, func(Image) {})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", path, err, want)
		}
	}
}

// TestVideoWait waits on a pipe in a camera's place.
func TestVideoWait(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	v := &video{fd: p[0], wakeFd: wake}
	if there, err := v.wait(t.Context(), time.Millisecond); there || err != nil {
		t.Errorf("nothing there: %v, %v", there, err)
	}
	if _, err := unix.Write(p[1], []byte{1}); err != nil {
		t.Fatal(err)
	}
	if there, err := v.wait(t.Context(), patience); !there || err != nil {
		t.Errorf("a byte there: %v, %v", there, err)
	}
	var one [1]byte
	if _, err := unix.Read(p[0], one[:]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if there, err := v.wait(ctx, patience); there || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, %v", there, err)
	}
	if err := unix.Close(p[1]); err != nil {
		t.Fatal(err)
	}
	w := &video{fd: p[0], wakeFd: wake}
	if _, err := unix.Read(wake, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if there, err := w.wait(t.Context(), patience); there || !errors.Is(err, unix.ENODEV) {
		t.Errorf("unplugged: %v, %v", there, err)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// TestRealCamera takes one picture where there is a camera.
func TestRealCamera(t *testing.T) {
	const path = "/dev/video0"
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no camera at %s on this machine", path)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var size int
	err := (&V4L2{Path: path}).Run(ctx, func() {}, func(m Image) {
		var f scanner.Frame
		if err := m.Luma(&f); err == nil {
			size = f.Width * f.Height
			cancel()
		}
	})
	if size == 0 {
		t.Errorf("no picture from %s: %v", path, err)
	}
}
