package scanner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"greengate/gate"
)

// IdleGap is the silence that ends a code when nothing else does: 58 times the
// pause between two bytes at 9600 baud, and longer than a USB scanner pauses
// between two packets.
const IdleGap = 60 * time.Millisecond

// chunkSize is how many bytes are taken from a device at a time.
const chunkSize = 1024

// Stream is a reader whose device delivers bytes: what the serial and the
// keyboard reader have in common.
type Stream struct {
	// Link names the reader and its device.
	Link
	// Direction the reader faces.
	Direction gate.Direction
	// Gap is the silence that ends a code. Zero means IdleGap.
	Gap time.Duration
	// CodeID is the one-character identifier in front of each code, zero for
	// none. See [Framer].
	CodeID byte
	// SameWithin is how long a code must be out of sight to be scanned again.
	// Zero delivers every reading: right for a scanner that reads once for each
	// trigger.
	SameWithin time.Duration
	// Open opens the device. Read must wait for bytes without a timeout, and
	// Close must make it return.
	Open func() (io.ReadCloser, error)
}

// Run reads codes until ctx is done and then returns its error.
func (s *Stream) Run(ctx context.Context, emit func(gate.Scan)) error {
	if s.Open == nil {
		return fmt.Errorf("reader %s: nothing to open", s.Name)
	}
	framer := Framer{CodeID: s.CodeID}
	repeats := Repeats{Within: s.SameWithin}
	frame := func(raw []byte, at time.Time) {
		if repeats.Again(raw, at) {
			return
		}
		emit(gate.Scan{Raw: raw, At: at, Reader: s.Name, Direction: s.Direction})
	}
	return s.Link.Run(ctx, func(ctx context.Context, up func()) error {
		dev, err := s.Open()
		if err != nil {
			return err
		}
		up()
		framer.Reset()
		return s.session(ctx, dev, &framer, frame)
	})
}

// chunk is what one Read gave.
type chunk struct {
	bytes []byte
	at    time.Time
	err   error
}

// session reads one open device until it fails or ctx is done, and closes it.
func (s *Stream) session(ctx context.Context, dev io.ReadCloser, framer *Framer, frame func([]byte, time.Time)) (err error) {
	gap := s.Gap
	if gap <= 0 {
		gap = IdleGap
	}
	chunks := make(chan chunk)
	gone := make(chan struct{})  // the framing side has left
	ended := make(chan struct{}) // the reading side has left
	go func() {
		defer close(ended)
		read(dev, chunks, gone)
	}()
	defer func() {
		close(gone)
		if cerr := dev.Close(); cerr != nil && ctx.Err() == nil {
			err = errors.Join(err, cerr)
		}
		<-ended
	}()

	timer := time.NewTimer(gap)
	defer timer.Stop()
	take := func(c chunk) error {
		// The chunk may have waited for us: what counts is when it came.
		if last, ok := framer.Pending(); ok && c.at.Sub(last) >= gap {
			framer.Gap(frame)
		}
		framer.Feed(c.bytes, c.at, frame)
		if c.err != nil {
			// What had begun when the plug was pulled is a reading too: the
			// person sees a refusal.
			framer.Gap(frame)
			return c.err
		}
		timer.Reset(gap)
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-chunks:
			if err := take(c); err != nil {
				return err
			}
		case <-timer.C:
			// A chunk that came in the meantime goes first: its time decides.
			select {
			case c := <-chunks:
				if err := take(c); err != nil {
					return err
				}
			default:
				framer.Gap(frame)
			}
		}
	}
}

// errNoData ends a session whose device returns neither bytes nor an error.
var errNoData = errors.New("device returns no data and no error")

// read moves chunks from dev until it fails or nobody listens.
func read(dev io.Reader, chunks chan<- chunk, gone <-chan struct{}) {
	buf := make([]byte, chunkSize)
	empty := 0
	for {
		n, err := dev.Read(buf)
		if n == 0 && err == nil {
			// Once is allowed (io.Reader); for ever would be a busy loop.
			if empty++; empty < 100 {
				continue
			}
			err = errNoData
		}
		if n > 0 {
			empty = 0
		}
		c := chunk{bytes: append([]byte(nil), buf[:n]...), at: time.Now(), err: err}
		select {
		case chunks <- c:
		case <-gone:
			return
		}
		if err != nil {
			return
		}
	}
}
