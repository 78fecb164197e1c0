package camera

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
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
		if a.setCtrl() != 0xc008561c || a.queryCtrl() != 0xc0445624 || a.intervals() != 0xc034564b {
			t.Errorf("%s: S_CTRL %#x, QUERYCTRL %#x, ENUM_FRAMEINTERVALS %#x", tt.name, a.setCtrl(), a.queryCtrl(), a.intervals())
		}
		stamped := a.buffer(0)
		a.putTaken(stamped, 90*time.Minute+1500*time.Microsecond)
		if got := a.taken(stamped); got != 90*time.Minute+1500*time.Microsecond {
			t.Errorf("%s: the time reads back as %v", tt.name, got)
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
	err   error // stays, as a device's does, unless it is EAGAIN
	after time.Duration
	taken time.Duration // by the clock of the machine; 0: the driver does not say
}

// fakeDriver plays a camera. It checks that buffers go round as they must.
type fakeDriver struct {
	t        *testing.T
	abi      abi
	caps     uint32
	offers   []uint32
	has      map[uint32]*fakeControl
	rates    map[uint32]uint32 // pictures a second at most, by format
	stepwise bool              // tells them as a range
	set      uint32            // pixel format that G_FMT answers; 0 where the driver has no G_FMT
	gives    pixFormat         // what S_FMT answers, zero fields as asked
	length   int
	steps    []step
	asked    pixFormat
	bufs     [][]byte
	queued   map[uint32]bool
	on       bool
	closed   bool
}

// fakeControl is one of its controls, and what it was set to.
type fakeControl struct {
	control
	flags uint32
	err   error
	sets  []int32
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
		if len(d.steps) == 0 || d.steps[0].after > 0 {
			return unix.EAGAIN
		}
		s := d.steps[0]
		if s.err != nil && !errors.Is(s.err, unix.EAGAIN) {
			return s.err
		}
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
		if s.taken > 0 {
			s.flags |= bufTimeMonotonic
			d.abi.putTaken(arg, s.taken)
		}
		put32(arg, 12, s.flags)
	case a.intervals():
		i, rate := u32(arg, 0), d.rates[u32(arg, 4)]
		if size := (pixFormat{width: u32(arg, 8), height: u32(arg, 12)}); d.rates != nil && size != (pixFormat{width: 1280, height: 720}) {
			d.t.Errorf("asks for the rate of %d×%d", size.width, size.height)
		}
		switch {
		case rate == 0:
			return unix.ENOTTY
		case d.stepwise && i == 0: // 1/rate to 1 s
			put32(arg, 16, 3)
			put32(arg, 20, 1)
			put32(arg, 24, rate)
			put32(arg, 28, 1)
			put32(arg, 32, 1)
		case !d.stepwise && i < 2: // half the rate, then the rate
			put32(arg, 16, intervalDiscrete)
			put32(arg, 20, 2)
			put32(arg, 24, rate*(i+1))
		default:
			return unix.EINVAL
		}
	case a.queryCtrl():
		c := d.has[u32(arg, 0)]
		if c == nil {
			return unix.EINVAL
		}
		put32(arg, 40, uint32(c.min))
		put32(arg, 44, uint32(c.max))
		put32(arg, 52, uint32(c.preset))
		put32(arg, 56, c.flags)
	case a.setCtrl():
		c, value := d.has[u32(arg, 0)], int32(u32(arg, 4))
		switch {
		case c == nil:
			return unix.EINVAL
		case c.err != nil:
			return c.err
		case value < c.min || value > c.max:
			return unix.ERANGE
		}
		c.sets = append(c.sets, value)
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

func (d *fakeDriver) wait(ctx context.Context) error {
	if len(d.steps) > 0 && d.steps[0].after > 0 {
		time.Sleep(d.steps[0].after)
		d.steps[0].after = 0
	}
	if len(d.steps) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (d *fakeDriver) close() error { d.closed = true; return nil }

// putTaken is what a driver does for taken.
func (a abi) putTaken(b []byte, at time.Duration) {
	if a.time64 {
		binary.NativeEndian.PutUint64(b[24:], uint64(at/time.Second))
		binary.NativeEndian.PutUint64(b[32:], uint64(at%time.Second/time.Microsecond))
		return
	}
	put32(b, 20, uint32(at/time.Second))
	put32(b, 24, uint32(at%time.Second/time.Microsecond))
}

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
	if got, want := v.Settings(), fmt.Sprintf("%d×%d GREY, exposure cannot be set", w, h); got != want {
		t.Errorf("settings %q, want %q", got, want)
	}
	if d.on || !d.closed || len(d.queued) != 2 {
		t.Errorf("left streaming %v, closed %v, %d of 2 buffers queued", d.on, d.closed, len(d.queued))
	}
}

// TestV4L2Format: what the device is set to counts only where it can be read
// without decoding, and no format that gives few pictures a second where another
// gives more.
func TestV4L2Format(t *testing.T) {
	const slow, quick = 10, 30
	for _, tt := range []struct {
		name  string
		set   uint32
		rates map[uint32]uint32
		want  uint32
	}{
		{"says nothing", 0, nil, pixGREY},
		{"set to the best", pixGREY, nil, pixGREY},
		{"set to YUYV", pixYUYV, nil, pixYUYV},
		{"set to MJPEG", pixMJPEG, nil, pixGREY},
		{"set to RGB", 0x31424752, nil, pixGREY},
		{"set to what it does not offer", pixNV12, nil, pixGREY},
		{"all quick", 0, map[uint32]uint32{pixGREY: quick, pixYUYV: quick, pixMJPEG: quick}, pixGREY},
		{"the best is slow", 0, map[uint32]uint32{pixGREY: slow, pixYUYV: quick, pixMJPEG: quick}, pixYUYV},
		{"only JPEG is quick", 0, map[uint32]uint32{pixGREY: slow, pixYUYV: slow, pixMJPEG: quick}, pixMJPEG},
		{"set to a slow one", pixYUYV, map[uint32]uint32{pixGREY: slow, pixYUYV: slow, pixMJPEG: quick}, pixMJPEG},
		{"all slow: the least so", 0, map[uint32]uint32{pixGREY: 5, pixYUYV: slow, pixMJPEG: 7}, pixYUYV},
		{"all alike slow: the best", 0, map[uint32]uint32{pixGREY: 5, pixYUYV: 5, pixMJPEG: 5}, pixGREY},
		{"of one it does not tell", 0, map[uint32]uint32{pixGREY: slow, pixMJPEG: quick}, pixYUYV},
	} {
		for _, stepwise := range []bool{false, true} {
			d := newFake(t)
			d.set, d.rates, d.stepwise = tt.set, tt.rates, stepwise
			if _, _, err := new(V4L2).negotiate(d, d.abi); err != nil || d.asked.pixel != tt.want {
				t.Errorf("%s: asked for %#x, %v, want %#x", tt.name, d.asked.pixel, err, tt.want)
			}
		}
	}
}

// TestV4L2NewestBuffer has a driver that filled its buffers while nobody
// looked: what was is given back unseen, and the newest is stamped with the
// time at which it was taken.
func TestV4L2NewestBuffer(t *testing.T) {
	d := newFake(t)
	d.gives = pixFormat{64, 1, pixGREY, 0}
	picture := func(b byte) []byte { return bytes.Repeat([]byte{b}, 64) }
	d.steps = []step{
		{pix: picture(1), taken: 100 * time.Second},
		{pix: picture(2), taken: 100*time.Second + 33*time.Millisecond, index: 1},
		{pix: picture(3), taken: 100 * time.Second, after: 1},           // older than a second: not believed
		{pix: picture(4), after: 1},                                     // no time
		{pix: picture(5), taken: 200 * time.Second, index: 1, after: 1}, // after now
		{pix: picture(6), index: 1, flags: bufFlagError, after: 1},      // broken, behind it a good one
		{pix: picture(7), taken: 102 * time.Second},
		{err: unix.ENODEV, after: 1},
	}
	synctest.Test(t, func(t *testing.T) {
		v := &V4L2{Path: "/dev/video9", open: func(string) (driver, error) { return d, nil },
			clock: func() (time.Duration, error) { return 102 * time.Second, nil }}
		var seen []byte
		var ages []time.Duration
		err := v.Run(t.Context(), func() { v.clock = func() (time.Duration, error) { return 100*time.Second + 50*time.Millisecond, nil } }, func(m Image) {
			seen = append(seen, m.Data[0])
			if m.At.IsZero() {
				ages = append(ages, -1)
			} else {
				ages = append(ages, time.Since(m.At))
			}
			v.clock = func() (time.Duration, error) { return 102 * time.Second, nil }
		})
		if !errors.Is(err, unix.ENODEV) {
			t.Error(err)
		}
		if want := []byte{2, 3, 4, 5, 7}; !bytes.Equal(seen, want) {
			t.Errorf("saw %v, want %v", seen, want)
		}
		if want := []time.Duration{17 * time.Millisecond, -1, -1, -1, 0}; !slices.Equal(ages, want) {
			t.Errorf("ages %v, want %v", ages, want)
		}
		if len(d.queued) != 2 {
			t.Errorf("%d of 2 buffers queued", len(d.queued))
		}
	})
}

// TestV4L2Controls: what a driver has is set, what it has not is no reason to
// do without the camera.
func TestV4L2Controls(t *testing.T) {
	everything := func() map[uint32]*fakeControl {
		return map[uint32]*fakeControl{
			ctrlExposureAuto:     {control: control{0, 3, 3}},
			ctrlExposure:         {control: control{1, 5000, 157}},
			ctrlExposurePriority: {control: control{0, 1, 1}},
			ctrlGain:             {control: control{0, 100, 0}},
			ctrlAutoGain:         {control: control{0, 1, 1}},
		}
	}
	without := func(id uint32) map[uint32]*fakeControl {
		m := everything()
		delete(m, id)
		return m
	}
	with := func(id uint32, change func(*fakeControl)) map[uint32]*fakeControl {
		m := everything()
		change(m[id])
		return m
	}
	for _, tt := range []struct {
		name     string
		has      map[uint32]*fakeControl
		exposure time.Duration
		gain     int
		sets     map[uint32]int32
		said     string
	}{
		{"automatic", everything(), 0, 0, map[uint32]int32{ctrlExposureAuto: 3, ctrlExposurePriority: 0},
			"exposure automatic, within the rate of pictures"},
		{"by hand", everything(), 4 * time.Millisecond, 40,
			map[uint32]int32{ctrlExposureAuto: 1, ctrlExposure: 40, ctrlExposurePriority: 0, ctrlAutoGain: 0, ctrlGain: 40},
			"exposure 40 of 1 to 5000, within the rate of pictures, gain 40 of 0 to 100"},
		{"out of range", everything(), time.Hour, 1 << 30,
			map[uint32]int32{ctrlExposureAuto: 1, ctrlExposure: 5000, ctrlExposurePriority: 0, ctrlAutoGain: 0, ctrlGain: 100},
			"exposure 5000 of 1 to 5000, within the rate of pictures, gain 100 of 0 to 100"},
		{"nothing to set", nil, time.Millisecond, 1, map[uint32]int32{}, "exposure cannot be set, gain cannot be set"},
		{"no automatic gain", without(ctrlAutoGain), 0, 7, map[uint32]int32{ctrlExposureAuto: 3, ctrlExposurePriority: 0, ctrlGain: 7},
			"exposure automatic, within the rate of pictures, gain 7 of 0 to 100"},
		{"no priority", without(ctrlExposurePriority), 0, 0, map[uint32]int32{ctrlExposureAuto: 3}, "exposure automatic"},
		{"read-only gain", with(ctrlGain, func(c *fakeControl) { c.flags = 4 }), 0, 7,
			map[uint32]int32{ctrlExposureAuto: 3, ctrlExposurePriority: 0, ctrlAutoGain: 0},
			"exposure automatic, within the rate of pictures, gain cannot be set"},
		{"a driver that refuses", with(ctrlExposureAuto, func(c *fakeControl) { c.err = unix.EBUSY }), 0, 0, map[uint32]int32{},
			"exposure left alone: device or resource busy"},
	} {
		d := newFake(t)
		d.has = tt.has
		c := controls{dev: d}
		if err := errors.Join(c.exposure(tt.exposure), c.gain(tt.gain)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		sets := map[uint32]int32{}
		for id, c := range tt.has {
			if len(c.sets) > 0 {
				sets[id] = c.sets[len(c.sets)-1]
			}
		}
		if !maps.Equal(sets, tt.sets) {
			t.Errorf("%s: set %v, want %v", tt.name, sets, tt.sets)
		}
		if got := c.String(); got != tt.said {
			t.Errorf("%s: said %q, want %q", tt.name, got, tt.said)
		}
	}
	gone := with(ctrlExposureAuto, func(c *fakeControl) { c.err = unix.ENODEV })
	d := newFake(t)
	d.has = gone
	if err := (&V4L2{Path: "/dev/video9", open: func(string) (driver, error) { return d, nil }}).Run(t.Context(), func() {}, nil); !errors.Is(err, unix.ENODEV) || !d.closed {
		t.Errorf("unplugged while it is set up: %v, closed %v", err, d.closed)
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
		r := &Reader{Source: v, Eye: new(QR), SameWithin: -1}
		ctx, cancel := context.WithCancel(t.Context())
		scans := make(chan gate.Scan, 10)
		done := make(chan error)
		go func() { done <- r.Run(ctx, func(s gate.Scan) { scans <- s }) }()
		time.Sleep(4 * time.Second) // a silent camera is opened again after 5 s
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
	if _, err := unix.Write(p[1], []byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := v.wait(t.Context()); err != nil {
		t.Errorf("a byte there: %v", err)
	}
	var one [1]byte
	if _, err := unix.Read(p[0], one[:]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if err := v.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := unix.Close(p[1]); err != nil {
		t.Fatal(err)
	}
	w := &video{fd: p[0], wakeFd: wake}
	if _, err := unix.Read(wake, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if err := w.wait(t.Context()); !errors.Is(err, unix.ENODEV) {
		t.Errorf("unplugged: %v", err)
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
