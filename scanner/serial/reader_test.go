package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"greengate/gate"
	"greengate/scanner"
)

// patience is how long a test waits for what must come. Nothing takes that
// long on a machine that is not broken.
const patience = time.Minute

// plug is one end of a pseudo-terminal whose other end is a serial port.
type plug struct {
	*os.File
	port string
}

// newPlug opens a pseudo-terminal and closes the port's end: only the reader
// under test holds it.
func newPlug(t *testing.T) *plug {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	port := slave.Name()
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	return &plug{master, port}
}

// lines is a log that tests wait on.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until the log holds text n times.
func (l *lines) await(t *testing.T, text string, n int) {
	t.Helper()
	deadline := time.After(patience)
	for strings.Count(l.String(), text) < n {
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("%q not %d times in the log:\n%s", text, n, l)
		}
	}
}

// rig is a Reader at work.
type rig struct {
	*Reader
	t     *testing.T
	log   *lines
	scans chan gate.Scan
	done  chan error
	stop  context.CancelFunc
}

// start runs r until the test ends.
func start(t *testing.T, r *Reader) *rig {
	g := &rig{Reader: r, t: t, log: &lines{more: make(chan struct{}, 1)}, scans: make(chan gate.Scan, 1<<16), done: make(chan error, 1)}
	r.Log = slog.New(slog.NewTextHandler(g.log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	go func() { g.done <- r.Run(ctx, func(s gate.Scan) { g.scans <- s }) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-g.done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run = %v, want %v", err, context.Canceled)
			}
		case <-time.After(patience):
			t.Error("Run did not end with its context")
		}
	})
	return g
}

// next waits for a scan.
func (g *rig) next() gate.Scan {
	g.t.Helper()
	select {
	case s := <-g.scans:
		return s
	case <-time.After(patience):
		g.t.Fatalf("no scan came; log:\n%s", g.log)
		return gate.Scan{}
	}
}

// want waits for these codes in this order.
func (g *rig) want(codes ...string) {
	g.t.Helper()
	for _, c := range codes {
		if s := g.next(); string(s.Raw) != c {
			g.t.Fatalf("scan %.200q, want %.200q", s.Raw, c)
		}
	}
}

func send(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// code is a native code's length and alphabet, spaces included.
var code = "JKM1:" + strings.Repeat("6BF+70790T9WJWG.FKY*4GO0.O1CV2 $%/-:", 12) + " "

func TestReaderOverPty(t *testing.T) {
	p := newPlug(t)
	g := start(t, &Reader{Port: p.port, Direction: gate.Exit})
	g.log.await(t, "reader connected", 1)
	if !strings.HasPrefix(g.State(), "connected since ") {
		t.Errorf("State() = %q", g.State())
	}

	before := time.Now()
	send(t, p, code+"\r")
	s := g.next()
	if string(s.Raw) != code || s.Reader != "serial" || s.Direction != gate.Exit {
		t.Errorf("scan %+v, want %q from serial, exit", s, code)
	}
	if d := s.At.Sub(before); d < 0 || d > patience {
		t.Errorf("scan is %v old when it comes", d)
	}

	send(t, p, code+"\r\n")
	g.want(code)
	send(t, p, code) // nothing behind: ends by silence
	g.want(code)
	send(t, p, "]Q1"+code+"\r")
	g.want(code)
	send(t, p, "]Q2\\000026"+code+"\t")
	g.want(code)
	send(t, p, "\x02"+code+"\x03")
	g.want(code)
	send(t, p, code+"\r"+"SECOND\r")
	g.want(code, "SECOND")
	send(t, p, code[:40]) // half a code, then silence
	g.want(code[:40])
	send(t, p, code+"\n")
	g.want(code)
}

func TestReaderGarbage(t *testing.T) {
	p := newPlug(t)
	g := start(t, &Reader{Port: p.port, Baud: 115200})
	g.log.await(t, "reader connected", 1)

	garbage := make([]byte, 1<<20)
	rnd := rand.NewChaCha8([32]byte{1})
	rnd.Read(garbage)
	garbage = append(garbage, bytes.Repeat([]byte{0xff}, 1<<17)...) // a stuck line, no end in sight
	go func() {
		p.Write(garbage)
		io.WriteString(p, "\r"+code+"\r")
	}()
	n := 0
	for {
		s := g.next()
		if string(s.Raw) == code {
			break
		}
		if n++; len(s.Raw) > scanner.MaxFrame {
			t.Fatalf("scan of %d bytes, want at most %d", len(s.Raw), scanner.MaxFrame)
		}
	}
	if n == 0 {
		t.Error("a megabyte of garbage passed in silence")
	}
}

func TestReaderUnplugReplug(t *testing.T) {
	first := newPlug(t)
	name := filepath.Join(t.TempDir(), "scanner")
	if err := os.Symlink(first.port, name); err != nil {
		t.Fatal(err)
	}
	g := start(t, &Reader{Port: name, Name: "entry"})
	g.log.await(t, "reader connected", 1)
	send(t, first, "ONE\r")
	g.want("ONE")

	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	g.log.await(t, "reader lost", 1)
	g.log.await(t, "reader absent", 1)
	if !strings.HasPrefix(g.State(), "absent since ") {
		t.Errorf("State() = %q without a port", g.State())
	}

	second := newPlug(t)
	if err := os.Symlink(second.port, name); err != nil {
		t.Fatal(err)
	}
	g.log.await(t, "reader connected", 2)
	send(t, second, "TWO\r")
	if s := g.next(); string(s.Raw) != "TWO" || s.Reader != "entry" {
		t.Errorf("scan %+v, want TWO from entry", s)
	}
	if strings.Contains(g.log.String(), "ONE") || strings.Contains(g.log.String(), "TWO") {
		t.Errorf("a code is in the log:\n%s", g.log)
	}
}

func TestReaderMissingPort(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ttyACM7")
	g := start(t, &Reader{Port: name})
	g.log.await(t, "reader absent", 1)
	if log := g.log.String(); !strings.Contains(log, name) || !strings.Contains(log, "hint=") {
		t.Errorf("log names neither the port nor a next step:\n%s", log)
	}
	p := newPlug(t)
	if err := os.Symlink(p.port, name); err != nil {
		t.Fatal(err)
	}
	g.log.await(t, "reader connected", 1)
	if n := strings.Count(g.log.String(), "reader absent"); n != 1 {
		t.Errorf("told %d times that the port is missing, want once:\n%s", n, g.log)
	}
}

func TestReaderNotASerialPort(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("JKM1:A\r"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := start(t, &Reader{Port: name})
	g.log.await(t, "reader absent", 1)
	g.stop()
}

func TestReaderNoPort(t *testing.T) {
	if err := new(Reader).Run(t.Context(), nil); err == nil {
		t.Error("Run without a port: no error")
	}
}

// TestPseudoTerminalStaysFree proves that a gate that is killed in front of a
// simulated scanner can come back: its port is not left exclusive.
func TestPseudoTerminalStaysFree(t *testing.T) {
	p := newPlug(t)
	g := start(t, &Reader{Port: p.port})
	g.log.await(t, "reader connected", 1)
	fd, err := unix.Open(p.port, unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const tiocgexcl = 0x80045440 // asm-generic/ioctls.h; the same on x86 and ARM
	exclusive, err := unix.IoctlGetInt(fd, tiocgexcl)
	if errors.Is(err, unix.ENOSYS) {
		t.Skip("this machine cannot tell: no TIOCGEXCL, as under qemu-user")
	}
	if err != nil {
		t.Fatal(err)
	}
	if exclusive != 0 {
		t.Error("the pseudo-terminal is left exclusive")
	}
}

func TestHint(t *testing.T) {
	dev := t.TempDir()
	if got := hint(dev); !strings.Contains(got, "no USB or UART") {
		t.Errorf("hint() = %q without any port", got)
	}
	acm := filepath.Join(dev, "ttyACM0")
	if err := os.WriteFile(acm, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := hint(dev); got != fmt.Sprintf("ports here: %s", acm) {
		t.Errorf("hint() = %q, want the port %s", got, acm)
	}
}

var _ scanner.Source = (*Reader)(nil)
