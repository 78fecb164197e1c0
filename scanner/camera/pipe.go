package camera

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// writerEvery is how often a FIFO that nobody writes to is tried.
	writerEvery = 100 * time.Millisecond
	// commandGrace is how long a command may take to end after SIGTERM.
	commandGrace = 2 * time.Second
	// firstWithin is how long a command may take for its first picture: a camera
	// on a slow board takes some seconds to start.
	firstWithin = 15 * time.Second
	// maxStderr is how much of a command's complaints is kept for the log.
	maxStderr = 2048
)

// errNoFirst is a command that runs and shows nothing.
var errNoFirst = errors.New("no first picture for 15 s")

// Pipe is a Source of pictures that another program writes one behind the
// other: JPEGs, or raw YUV420 when Width is set. Exactly one of Path, Command
// and Open says where they come from. When the stream ends it is opened again.
//
// Raw pictures have no marks: a stream that loses a byte is wrong until it is
// opened again. Prefer JPEG where bytes can be lost.
type Pipe struct {
	// Path of a FIFO, or of a file that is read again and again.
	Path string
	// Command and its arguments, as rpicam-vid --codec yuv420 --width 1280
	// --height 720 -t 0 -n -o -; its standard output is read.
	Command []string
	// Open opens the stream. Close must end a Read.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Width and Height of raw YUV420 pictures in pixels. Zero means JPEG.
	Width, Height int
	// Stride of a raw picture's rows in bytes. Zero means Width rounded up to
	// 64, as rpicam-vid pads.
	Stride int
}

// Live is true.
func (p *Pipe) Live() bool { return true }

// String names where the pictures come from.
func (p *Pipe) String() string {
	switch {
	case p.Path != "":
		return p.Path
	case len(p.Command) > 0:
		return p.Command[0]
	default:
		return "pipe"
	}
}

// Run delivers pictures until ctx is done or the stream ends.
func (p *Pipe) Run(ctx context.Context, ready func(), frames func(Image)) (err error) {
	open := p.Open
	switch {
	case open != nil:
	case len(p.Command) > 0:
		open = p.start
	case p.Path != "":
		open = p.openPath
	default:
		return errors.New("camera pipe: neither a path nor a command is given")
	}
	read := p.jpegs
	if p.Width != 0 {
		if p.Width < 0 || p.Height <= 0 || p.Width > 4096 || p.Height > 4096 || p.stride() < p.Width || p.stride() > 8192 {
			return fmt.Errorf("camera pipe: picture of %d×%d with stride %d, want 1 to 4096", p.Width, p.Height, p.stride())
		}
		read = p.raw
	}
	stream, err := open(ctx)
	if err != nil {
		return fmt.Errorf("camera pipe: %w", err)
	}
	// Behind the first picture the Reader watches; a FIFO may wait for its writer
	// for ever.
	first := true
	begun, late := context.WithCancelCause(ctx)
	defer late(nil)
	if len(p.Command) > 0 {
		t := time.AfterFunc(firstWithin, func() { late(errNoFirst) })
		defer t.Stop()
		up := ready
		ready = func() { t.Stop(); up() }
	}
	// Closing is what ends a read; the error of a command is in its Close.
	stop := context.AfterFunc(begun, func() { _ = stream.Close() })
	defer func() {
		stop()
		if cerr := stream.Close(); cerr != nil && ctx.Err() == nil && !errors.Is(cerr, os.ErrClosed) {
			err = errors.Join(err, cerr)
		}
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case begun.Err() != nil:
			err = fmt.Errorf("camera pipe: %w", errNoFirst)
		}
	}()
	err = read(stream, func(m Image) {
		if first {
			first = false
			ready()
		}
		frames(m)
	})
	return fmt.Errorf("camera pipe: %w", err)
}

// jpegs delivers a Motion JPEG stream.
func (p *Pipe) jpegs(r io.Reader, frames func(Image)) error {
	s := newSplitter(r)
	for {
		data, err := s.next()
		if err != nil {
			return err
		}
		frames(Image{Format: Encoded, Data: data})
	}
}

// raw delivers a stream of YUV420 pictures: a plane of brightness, then two of
// colour with half the stride and half the rows.
func (p *Pipe) raw(r io.Reader, frames func(Image)) error {
	stride := p.stride()
	luma := stride * p.Height
	buf := make([]byte, luma+2*(stride/2)*((p.Height+1)/2))
	for {
		if _, err := io.ReadFull(r, buf); err != nil {
			return err
		}
		frames(Image{Format: Luma, Width: p.Width, Height: p.Height, Stride: stride, Data: buf[:luma]})
	}
}

// stride is Stride or what stands for it.
func (p *Pipe) stride() int {
	if p.Stride != 0 {
		return p.Stride
	}
	return (p.Width + 63) &^ 63
}

// openPath opens a FIFO or a file, and waits for the first writer.
func (p *Pipe) openPath(ctx context.Context) (io.ReadCloser, error) {
	// Without O_NONBLOCK opening a FIFO waits in the kernel for a writer, and
	// nothing but a writer ends it.
	file, err := os.OpenFile(p.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &fifo{File: file, ctx: ctx}, nil
}

// fifo reads a FIFO that may not have a writer yet.
type fifo struct {
	*os.File
	ctx   context.Context
	begun bool
}

// Read waits for the first byte; the end counts only behind one.
func (f *fifo) Read(b []byte) (int, error) {
	for {
		n, err := f.File.Read(b)
		f.begun = f.begun || n > 0
		if f.begun || !errors.Is(err, io.EOF) {
			return n, err
		}
		t := time.NewTimer(writerEvery)
		select {
		case <-f.ctx.Done():
			t.Stop()
			return 0, f.ctx.Err()
		case <-t.C:
		}
	}
}

// start runs Command.
func (p *Pipe) start(ctx context.Context) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &command{cmd: exec.CommandContext(ctx, p.Command[0], p.Command[1:]...), cancel: cancel}
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = commandGrace
	c.cmd.Stderr = &c.complaints
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	c.ReadCloser = out
	if err := c.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return c, nil
}

// command is a running program and its output.
type command struct {
	io.ReadCloser
	cmd        *exec.Cmd
	cancel     context.CancelFunc
	complaints tail
	once       sync.Once
	err        error
}

// Close ends the program, if it has not ended by itself, waits for it, and says
// how it went.
func (c *command) Close() error {
	c.once.Do(func() {
		c.cancel()
		_ = c.ReadCloser.Close() // closed already when the program was waited for
		err := c.cmd.Wait()
		if errors.Is(err, context.Canceled) {
			err = nil // it ended because we said so
		}
		switch said := c.complaints.last(); {
		case err != nil && said != "":
			c.err = fmt.Errorf("%s: %w: %s", c.cmd.Path, err, said)
		case err != nil:
			c.err = fmt.Errorf("%s: %w", c.cmd.Path, err)
		case said != "":
			c.err = fmt.Errorf("%s: %s", c.cmd.Path, said)
		}
	})
	return c.err
}

// tail keeps the end of what is written to it.
type tail struct{ buf []byte }

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - maxStderr; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// last is the last line that says something.
func (t *tail) last() string {
	text := bytes.TrimSpace(t.buf)
	return strings.TrimSpace(string(text[bytes.LastIndexByte(text, '\n')+1:]))
}
