package keyboard

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"greengate/gate"
	"greengate/scanner"
)

// IdleGap is the silence that ends a code when the scanner presses no Enter:
// scanners type a key every 1 to 20 ms, some slower, and the kernel's timing is
// coarse beside a serial line's.
const IdleGap = 150 * time.Millisecond

// eviocgrab takes a device for one program (linux/input.h: _IOW('E', 0x90, int)).
const eviocgrab = 0x40044590

// Reader reads codes from an input device. Set the fields before Run and leave
// them alone afterwards.
type Reader struct {
	// Device is the input device, best by a name that stays:
	// /dev/input/by-id/…-event-kbd. A link is followed anew at each attempt.
	Device string
	// IdleGap is the silence that ends a code when no Enter or Tab does. Zero
	// means the constant of that name, 150 ms.
	IdleGap time.Duration
	// CodeID is the one-character identifier that the scanner puts in front of
	// each code. Zero means none.
	CodeID byte
	// SameWithin is how long a code must be out of sight to be scanned again,
	// for a scanner that reads without pause. Zero delivers every reading.
	SameWithin time.Duration
	// Name of the reader in scans and in the log. Empty means "keyboard".
	Name string
	// Direction the reader faces.
	Direction gate.Direction
	// Log gets a line when the device comes and goes. Nil is silent.
	Log *slog.Logger
	// Open opens the device and delivers its input events. Nil means the real
	// one, taken for this program alone.
	Open func(device string) (io.ReadCloser, error)

	once   sync.Once
	stream scanner.Stream
}

// Run reads codes until ctx is done and then returns its error. A device that
// is missing or unplugged is logged once and tried again.
func (r *Reader) Run(ctx context.Context, emit func(gate.Scan)) error {
	if r.Device == "" {
		return fmt.Errorf("reader %s: no device given", r.name())
	}
	return r.init().Run(ctx, emit)
}

// State says whether the device is open and since when, for the status page.
func (r *Reader) State() string { return r.init().State() }

// Connected reports whether the device is open, and since when it is or is not.
func (r *Reader) Connected() (bool, time.Time) { return r.init().Connected() }

// init carries the fields over, once.
func (r *Reader) init() *scanner.Stream {
	r.once.Do(func() {
		open := r.Open
		if open == nil {
			open = openDevice
		}
		s := &r.stream
		s.Name, s.Device, s.Log = r.name(), r.Device, r.Log
		s.Hint = func() string { return hint("/dev/input") }
		s.Direction, s.CodeID, s.SameWithin = r.Direction, r.CodeID, r.SameWithin
		if s.Gap = r.IdleGap; s.Gap == 0 {
			s.Gap = IdleGap
		}
		s.Open = func() (io.ReadCloser, error) {
			dev, err := open(r.Device)
			if err != nil {
				return nil, err
			}
			return &typist{ReadCloser: dev, keys: keys{size: eventSize}}, nil
		}
	})
	return &r.stream
}

// name is Name or what stands for it.
func (r *Reader) name() string {
	if r.Name == "" {
		return "keyboard"
	}
	return r.Name
}

// openDevice opens an input device and takes it for this program alone. It is
// opened without blocking, so that closing it ends a read.
func openDevice(device string) (io.ReadCloser, error) {
	f, err := os.OpenFile(device, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("input device: %w", err)
	}
	conn, err := f.SyscallConn()
	if err == nil {
		var grab error
		err = conn.Control(func(fd uintptr) { grab = unix.IoctlSetInt(int(fd), eviocgrab, 1) })
		if err == nil {
			err = grab
		}
	}
	if err != nil {
		_ = f.Close() // the first error says it
		return nil, fmt.Errorf("input device %s: take it alone: %w", device, err)
	}
	return f, nil
}

// hint names the keyboards that there are.
func hint(dir string) string {
	// The pattern is constant, so Glob cannot fail.
	names, _ := filepath.Glob(filepath.Join(dir, "by-id", "*-event-kbd"))
	if len(names) == 0 {
		return "no keyboard or keyboard scanner on this machine; is the scanner plugged in?"
	}
	return "keyboards here: " + strings.Join(names, " ")
}
