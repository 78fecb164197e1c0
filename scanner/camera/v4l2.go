package camera

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// buffers is how many pictures the driver may fill ahead: the least that
	// keeps a camera running while one is copied.
	buffers = 4
	// maxFormats is how many formats a driver is asked for.
	maxFormats = 64
	// leastRate in pictures a second: a format that gives fewer is not taken while
	// another gives more. Many USB cameras send 1280×720 unpacked 5 or 10 times a
	// second, and as JPEG 30 times; a code is shown for one or two seconds.
	leastRate = 15
	// maxBuffer is the largest buffer that is mapped.
	maxBuffer = 64 << 20
)

// V4L2 is a Source of pictures from a camera of the kernel's video subsystem:
// USB cameras, and the Pi's own behind the old stack. The driver's buffers are
// mapped (memory-mapped streaming, one plane). A device that is set to a format
// with its brightness in the open keeps it; another is asked for a format that
// has brightness as it is before one that must be unpacked: GREY, NV12, NV21,
// YU12, YUYV, MJPEG. A format in which it gives few pictures a second comes last.
type V4L2 struct {
	// Path of the device, as /dev/video0 or a name under /dev/v4l/by-id.
	Path string
	// Width and Height asked for in pixels; the driver may give others. Zero
	// means 1280×720.
	Width, Height int
	// Exposure of a picture; the camera may not offer it, and the nearest is
	// taken then. Zero leaves it to the camera, within its rate of pictures.
	Exposure time.Duration
	// Gain of the sensor in the driver's own numbers. Zero leaves it to the camera.
	Gain int

	// open is the kernel unless a test says otherwise, and clock CLOCK_MONOTONIC.
	open  func(path string) (driver, error)
	clock func() (time.Duration, error)

	mu       sync.Mutex
	settings string
}

// driver is a video device.
type driver interface {
	// ioctl passes arg, a structure of videodev2.h, both ways.
	ioctl(request uint, arg []byte) error
	// mmap maps length bytes at offset until close.
	mmap(offset int64, length int) ([]byte, error)
	// wait waits until a picture is there, or returns ctx's error.
	wait(ctx context.Context) error
	close() error
}

// Live is true.
func (v *V4L2) Live() bool { return true }

// String is the path.
func (v *V4L2) String() string { return v.Path }

// Settings says in words what the driver gave when it was last opened, as
// "1280×720 YUYV, exposure automatic".
func (v *V4L2) Settings() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.settings
}

// Run delivers pictures until ctx is done or the camera fails or is unplugged.
func (v *V4L2) Run(ctx context.Context, ready func(), frames func(Image)) (err error) {
	open := v.open
	if open == nil {
		open = openVideo
	}
	dev, err := open(v.Path)
	if err != nil {
		return fmt.Errorf("camera %s: %w", v.Path, err)
	}
	defer func() {
		if cerr := dev.close(); cerr != nil && err == nil {
			err = fmt.Errorf("camera %s: %w", v.Path, cerr)
		}
	}()
	if err := v.stream(ctx, dev, ready, frames); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("camera %s: %w", v.Path, err)
	}
	return nil
}

// stream sets an open device up and delivers its pictures.
func (v *V4L2) stream(ctx context.Context, dev driver, ready func(), frames func(Image)) error {
	a := abis()[0]
	if err := capable(dev, a); err != nil {
		return err
	}
	layout, name, err := v.negotiate(dev, a)
	if err != nil {
		return err
	}
	set := controls{dev: dev}
	set.say("%d×%d %s", layout.Width, layout.Height, name)
	if err := errors.Join(set.exposure(v.Exposure), set.gain(v.Gain)); err != nil {
		return err
	}
	v.mu.Lock()
	v.settings = set.String()
	v.mu.Unlock()
	a, mapped, err := mapBuffers(dev, abis())
	if err != nil {
		return err
	}
	for i := range mapped {
		if err := dev.ioctl(a.qBuf(), a.buffer(uint32(i))); err != nil {
			return fmt.Errorf("queue buffer %d: %w", i, err)
		}
	}
	kind := make([]byte, sizeInt)
	put32(kind, 0, bufTypeCapture)
	if err := dev.ioctl(a.streamOn(), kind); err != nil {
		return fmt.Errorf("start streaming: %w", err)
	}
	// A device that is gone cannot be told to stop; closing it does the same.
	defer func() { _ = dev.ioctl(a.streamOff(), kind) }()
	ready()

	q := queue{dev: dev, abi: a, mapped: mapped}
	for {
		if err := dev.wait(ctx); err != nil {
			return err
		}
		index, b, err := q.newest()
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		m := layout
		m.Data = mapped[index][:u32(b, 8)]
		m.At = v.taken(a, b)
		frames(m)
		if err := q.giveBack(index); err != nil {
			return err
		}
	}
}

// queue is the driver's, of the buffers that it has filled.
type queue struct {
	dev    driver
	abi    abi
	mapped [][]byte
}

// newest takes all buffers that are full, gives all back but the last good one,
// and returns that: after a pause of ours the others show what was. Without one
// the buffer is nil.
func (q queue) newest() (index uint32, newest []byte, err error) {
	for range q.mapped {
		b := q.abi.buffer(0)
		if err := q.dev.ioctl(q.abi.dqBuf(), b); err != nil {
			if newest != nil || errors.Is(err, unix.EAGAIN) {
				break // an error that matters comes again
			}
			return 0, nil, fmt.Errorf("take picture: %w", err)
		}
		i, used, flags := u32(b, 0), u32(b, 8), u32(b, 12)
		if int64(i) >= int64(len(q.mapped)) {
			return 0, nil, fmt.Errorf("driver names buffer %d of %d", i, len(q.mapped))
		}
		// A buffer with the error flag holds rubbish (a USB packet was lost).
		if flags&bufFlagError != 0 || used == 0 || int64(used) > int64(len(q.mapped[i])) {
			if err := q.giveBack(i); err != nil {
				return 0, nil, err
			}
			continue
		}
		if newest != nil {
			if err := q.giveBack(index); err != nil {
				return 0, nil, err
			}
		}
		index, newest = i, b
	}
	return index, newest, nil
}

// giveBack lets the driver fill a buffer again.
func (q queue) giveBack(index uint32) error {
	if err := q.dev.ioctl(q.abi.qBuf(), q.abi.buffer(index)); err != nil {
		return fmt.Errorf("give buffer %d back: %w", index, err)
	}
	return nil
}

// oldest is the age of a picture above which its time is not believed: no driver
// holds one for longer.
const oldest = time.Second

// taken is when the picture in a buffer was taken, by the gate's clock, or zero
// where the driver does not say it in a way that can be compared.
func (v *V4L2) taken(a abi, b []byte) time.Time {
	if u32(b, 12)&bufTimestamp != bufTimeMonotonic {
		return time.Time{}
	}
	clock := v.clock
	if clock == nil {
		clock = monotonic
	}
	now, err := clock()
	if err != nil {
		return time.Time{}
	}
	age := now - a.taken(b)
	if age < 0 || age > oldest {
		return time.Time{}
	}
	return time.Now().Add(-age)
}

// monotonic reads the clock that drivers mark pictures with.
func monotonic() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(t.Nano()), nil
}

// capable reports whether the device captures pictures into mapped buffers.
func capable(dev driver, a abi) error {
	b := make([]byte, sizeCapability)
	if err := dev.ioctl(a.queryCap(), b); err != nil {
		return fmt.Errorf("not a video device: %w", err)
	}
	caps := u32(b, 84)
	if caps&capDeviceCaps != 0 {
		caps = u32(b, 88) // of this node, not of the whole device
	}
	if caps&capVideoCapture == 0 || caps&capStreaming == 0 {
		return fmt.Errorf("device does not capture pictures: capabilities %#x", caps)
	}
	return nil
}

// readable is a pixel format that can be read.
type readable struct {
	name   string
	pixel  uint32
	format Format
	wide   uint32 // bytes of brightness and what is between, a pixel
}

// wanted are the formats that can be read, best first.
var wanted = []readable{
	{"GREY", pixGREY, Luma, 1}, {"NV12", pixNV12, Luma, 1}, {"NV21", pixNV21, Luma, 1}, {"YU12", pixYU12, Luma, 1},
	{"YUYV", pixYUYV, YUYV, 2}, {"MJPEG", pixMJPEG, Encoded, 0}, {"JPEG", pixJPEG, Encoded, 0},
}

// order is wanted, behind what the device is set to unless that is encoded:
// somebody may have set it, and a driver may have its picture in that format
// alone (vivid, whose loop from an output gives noise in any other).
func order(dev driver, a abi) []readable {
	b := a.format(pixFormat{})
	if err := dev.ioctl(a.getFmt(), b); err != nil {
		return wanted // it does not say; it may still take a format
	}
	set := a.pix(b).pixel
	i := slices.IndexFunc(wanted, func(r readable) bool { return r.pixel == set && r.format != Encoded })
	if i < 0 {
		return wanted
	}
	return slices.Concat(wanted[i:i+1], wanted)
}

// negotiate chooses the best format that the driver offers, and returns the
// layout that it really gives, and the format's name.
func (v *V4L2) negotiate(dev driver, a abi) (layout Image, name string, err error) {
	offered := map[uint32]bool{}
	for i := range uint32(maxFormats) {
		b := make([]byte, sizeFmtDesc)
		put32(b, 0, i)
		put32(b, 4, bufTypeCapture)
		if err := dev.ioctl(a.enumFmt(), b); err != nil {
			if errors.Is(err, unix.EINVAL) {
				break // that was the last
			}
			return Image{}, "", fmt.Errorf("list formats: %w", err)
		}
		offered[u32(b, 44)] = true
	}
	ask := pixFormat{width: 1280, height: 720}
	if v.Width > 0 && v.Height > 0 {
		ask.width, ask.height = uint32(v.Width), uint32(v.Height)
	}
	var slow readable // the fastest of those that are too slow
	var slowRate float64
	for _, w := range order(dev, a) {
		if !offered[w.pixel] {
			continue
		}
		got, ok, err := setFormat(dev, a, ask, w)
		if err != nil {
			return Image{}, "", err
		}
		if !ok {
			continue // the driver knew better; ask for the next
		}
		rate, known := fastest(dev, a, got)
		if !known || rate >= leastRate {
			return w.layout(got), w.name, nil
		}
		if rate > slowRate {
			slow, slowRate = w, rate
		}
	}
	if slowRate > 0 {
		if got, ok, err := setFormat(dev, a, ask, slow); err != nil {
			return Image{}, "", err
		} else if ok {
			return slow.layout(got), slow.name, nil
		}
	}
	return Image{}, "", fmt.Errorf("none of the %d formats on offer can be read (GREY, NV12, NV21, YU12, YUYV, MJPEG)", len(offered))
}

// setFormat asks for a format, and returns what the driver really gives; false is
// another format.
func setFormat(dev driver, a abi, ask pixFormat, w readable) (got pixFormat, ok bool, err error) {
	ask.pixel = w.pixel
	b := a.format(ask)
	if err := dev.ioctl(a.setFmt(), b); err != nil {
		return got, false, fmt.Errorf("set format: %w", err)
	}
	got = a.pix(b)
	if got.pixel != w.pixel {
		return got, false, nil
	}
	if got.width < 1 || got.height < 1 || got.width > 1<<14 || got.height > 1<<14 || got.stride > 1<<17 {
		return got, false, fmt.Errorf("driver gives %d×%d, stride %d", got.width, got.height, got.stride)
	}
	return got, true, nil
}

// layout is how a driver's pictures lie in memory.
func (w readable) layout(got pixFormat) Image {
	// bytesperline counts padding; some drivers leave it at zero.
	stride := max(got.stride, w.wide*got.width)
	return Image{Format: w.format, Width: int(got.width), Height: int(got.height), Stride: int(stride)}
}

// fastest is the most pictures a second of a format and size, where the driver
// tells.
func fastest(dev driver, a abi, p pixFormat) (rate float64, known bool) {
	for i := range uint32(maxFormats) {
		b := make([]byte, sizeInterval)
		put32(b, 0, i)
		put32(b, 4, p.pixel)
		put32(b, 8, p.width)
		put32(b, 12, p.height)
		if dev.ioctl(a.intervals(), b) != nil {
			break // that was the last, or it does not tell
		}
		// One interval, or a range that begins with the shortest.
		if num, den := u32(b, 20), u32(b, 24); num > 0 {
			rate, known = max(rate, float64(den)/float64(num)), true
		}
		if u32(b, 16) != intervalDiscrete {
			break
		}
	}
	return rate, known
}

// mapBuffers asks the driver for buffers and maps them. It finds out which of
// these kinds of v4l2_buffer the kernel speaks.
func mapBuffers(dev driver, kinds []abi) (abi, [][]byte, error) {
	a := kinds[0]
	r := make([]byte, sizeReqBufs)
	put32(r, 0, buffers)
	put32(r, 4, bufTypeCapture)
	put32(r, 8, memoryMmap)
	if err := dev.ioctl(a.reqBufs(), r); err != nil {
		return a, nil, fmt.Errorf("request buffers: %w", err)
	}
	n := u32(r, 0)
	if n < 1 || n > 32 {
		return a, nil, fmt.Errorf("driver gives %d buffers, want %d", n, buffers)
	}
	var mapped [][]byte
	for i := range n {
		b := a.buffer(i)
		err := dev.ioctl(a.queryBuf(), b)
		if i == 0 && errors.Is(err, unix.ENOTTY) && len(kinds) > 1 {
			a = kinds[1]
			b = a.buffer(i)
			err = dev.ioctl(a.queryBuf(), b)
		}
		if err != nil {
			return a, nil, fmt.Errorf("ask for buffer %d: %w", i, err)
		}
		length := u32(b, a.offLength())
		if length < 1 || length > maxBuffer {
			return a, nil, fmt.Errorf("buffer %d of %d bytes", i, length)
		}
		m, err := dev.mmap(int64(u32(b, a.offM())), int(length))
		if err != nil {
			return a, nil, fmt.Errorf("map buffer %d: %w", i, err)
		}
		mapped = append(mapped, m)
	}
	return a, mapped, nil
}

// video is a device of the kernel.
type video struct {
	fd     int
	maps   [][]byte
	wakeFd int // readable once the context is done
}

// openVideo opens a device of the kernel.
func openVideo(path string) (driver, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &video{fd: fd, wakeFd: wake}, nil
}

func (v *video) ioctl(request uint, arg []byte) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(v.fd), uintptr(request), uintptr(unsafe.Pointer(&arg[0])))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return errno
		}
		return nil
	}
}

func (v *video) mmap(offset int64, length int) ([]byte, error) {
	m, err := unix.Mmap(v.fd, offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	v.maps = append(v.maps, m)
	return m, nil
}

func (v *video) wait(ctx context.Context) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		// Any write makes it readable; the counter cannot be full.
		_, _ = unix.Write(v.wakeFd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	defer func() {
		if !stop() {
			<-woken // it must not write to a number that is somebody else's by then
		}
	}()
	for {
		fds := []unix.PollFd{{Fd: int32(v.fd), Events: unix.POLLIN}, {Fd: int32(v.wakeFd), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("poll", err)
		case fds[0].Revents&unix.POLLIN != 0:
			return nil
		default: // POLLERR, POLLHUP: unplugged
			return unix.ENODEV
		}
	}
}

// close unmaps and closes.
func (v *video) close() error {
	var errs []error
	for _, m := range v.maps {
		errs = append(errs, unix.Munmap(m))
	}
	errs = append(errs, unix.Close(v.fd), unix.Close(v.wakeFd))
	return errors.Join(errs...)
}
