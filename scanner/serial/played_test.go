package serial

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// ack is the reply to a write (GM65 manual, 8.3).
const ack = "\x02\x00\x00\x01\x00\x33\x31"

// played is a GM65 module as the manual has it: it knows its zones, its flash,
// its speed and the factory's settings, and hears nothing at another speed.
type played struct {
	mu sync.Mutex
	// out puts bytes on the wire, and host is the speed at the wire's other end.
	out  func([]byte)
	host func() int
	// lag is how long it takes to answer; nil answers at once.
	lag func()
	// deaf does not answer; mulish takes no other speed.
	deaf, mulish bool

	zones, flash [256]byte
	heard        []byte
	reading      bool
	held         string // the code that somebody holds up

	saves, triggers int
	wrote           []uint16
}

// newPlayed makes one as it comes from the factory: setup barcodes on, codes to
// the keyboard, read at a button (the zones of a dump of a GM861, whose manual
// is the GM65's in this).
func newPlayed() *played {
	m := new(played)
	m.factory()
	m.flash = m.zones
	return m
}

// factory puts the settings back, as a barcode or a command does.
func (m *played) factory() {
	m.zones = [256]byte{0x00: 0xd4, 0x02: 0x20, 0x05: 0x0a, 0x06: 0x32, 0x0a: 0x87, 0x0b: 0x3c, 0x0c: 0x01, 0x0d: 0xa1, 0x2a: 0x39, 0x2b: 0x01, 0x60: 0x01}
	m.reading = false
}

// reset is somebody with the maker's tool at the reader.
func (m *played) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.factory()
}

// powerCycle forgets what was not saved.
func (m *played) powerCycle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.zones, m.reading, m.heard = m.flash, false, nil
}

// speed sets the module's speed, in its flash too.
func (m *played) speed(baud int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	binary.LittleEndian.PutUint16(m.zones[0x2a:], speedCode(baud))
	binary.LittleEndian.PutUint16(m.flash[0x2a:], speedCode(baud))
}

func (m *played) baud() int {
	for _, s := range speeds {
		if s.code == binary.LittleEndian.Uint16(m.zones[0x2a:]) {
			return s.baud
		}
	}
	return 0
}

// say puts bytes on the wire. At the other end they are something else when it
// has another speed: none of them is an end of a code.
func (m *played) say(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.send([]byte(text))
}

func (m *played) send(b []byte) {
	if m.host() != m.baud() {
		b = slices.Clone(b)
		for i := range b {
			b[i] |= 0x80
		}
	}
	m.out(b)
}

// show holds a code up to the module until it is read. A setup barcode resets a
// module that is not locked.
func (m *played) show(code string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = code
	m.look()
}

// factoryBarcode is printed in the manual.
const factoryBarcode = "setup: restore factory"

func (m *played) look() {
	mode := m.zones[0x00] & 3
	if m.held == "" || mode == 0 || mode == 1 && !m.reading {
		return
	}
	code := m.held
	m.held, m.reading = "", false
	if code == factoryBarcode {
		if m.zones[0x03]&2 == 0 {
			m.factory()
		}
		return
	}
	if m.zones[0x0d]&3 == 0 {
		m.send([]byte(code + "\r"))
	}
}

// hear takes what the gate sent. What is wrong in any way gets no answer.
func (m *played) hear(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.host() != m.baud() {
		m.heard = nil // and 400 ms after 7E 00 it would be forgotten
		return
	}
	m.heard = append(m.heard, b...)
	for {
		at := bytes.Index(m.heard, []byte{0x7e, 0x00})
		if at < 0 || len(m.heard)-at < 4 {
			return
		}
		c := m.heard[at:]
		n := 6 + int(c[3]) + 2
		if len(c) < n {
			return
		}
		m.heard = slices.Clone(c[n:])
		if sum := binary.BigEndian.Uint16(c[n-2:]); sum == crc(c[2:n-2]) || sum == 0xabcd {
			if m.lag != nil {
				m.mu.Unlock()
				m.lag()
				m.mu.Lock()
			}
			m.obey(c[2], int(binary.BigEndian.Uint16(c[4:])), c[6:n-2])
		}
	}
}

func (m *played) obey(kind byte, address int, data []byte) {
	if m.deaf || address+max(len(data), 1) > len(m.zones) {
		return
	}
	reply := []byte{0}
	switch kind {
	case 7:
		reply = m.zones[address : address+int(data[0])]
	case 8:
		m.wrote = append(m.wrote, uint16(address))
		if address == 0x2a && m.mulish {
			break
		}
		if address == 0xd9 && data[0] == 0x55 {
			m.factory()
			return
		}
		copy(m.zones[address:], data)
		if address == 0x02 {
			m.reading = data[0]&1 != 0
			m.triggers += int(data[0] & 1)
		}
	case 9:
		m.flash = m.zones
		m.saves++
	default:
		return
	}
	b := append([]byte{2, 0, 0, byte(len(reply))}, reply...)
	m.send(binary.BigEndian.AppendUint16(b, crc(b[2:])))
	m.look()
}

// state copies what tests look at.
func (m *played) state() (zones, flash [256]byte, saves, triggers int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.zones, m.flash, m.saves, m.triggers
}

// plugIn puts the module at the end of a pseudo-terminal whose other end is
// port, until the test ends or unplug is called.
func (m *played) plugIn(t *testing.T) (port string, unplug func()) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	m.mu.Lock()
	m.out = func(b []byte) {
		// An error is a plug that was pulled.
		_, _ = master.Write(b)
	}
	m.host = func() int { return hostSpeed(master) }
	m.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 256)
		for {
			n, err := master.Read(buf)
			if n > 0 {
				m.hear(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	var once sync.Once
	unplug = func() {
		once.Do(func() {
			// The slave was held so that the master reads on between two sessions.
			slave.Close()
			master.Close()
			<-done
		})
	}
	t.Cleanup(unplug)
	return slave.Name(), unplug
}

// hostSpeed is the speed that the reader has set on its end: the kernel shows
// the slave's settings at the master.
func hostSpeed(master *os.File) int {
	conn, err := master.SyscallConn()
	if err != nil {
		return 0
	}
	baud := 0
	_ = conn.Control(func(fd uintptr) {
		if set, err := unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			baud = map[uint32]int{unix.B9600: 9600, unix.B19200: 19200, unix.B38400: 38400, unix.B57600: 57600, unix.B115200: 115200}[uint32(set.Cflag)&unix.CBAUD]
		}
	})
	return baud
}

// wire is a Line to a module without a descriptor, for bubbles.
type wire struct {
	module *played
	in     *io.PipeReader
	gone   chan struct{} // closed with the line
	once   sync.Once
	hangs  bool // Write does, until the line is closed

	mu   sync.Mutex
	baud int
}

// plug opens a Line to m. The module speaks into the one that was opened last.
func (m *played) plug(baud int) *wire {
	in, out := io.Pipe()
	w := &wire{module: m, in: in, gone: make(chan struct{}), baud: baud}
	queue := make(chan []byte, 1<<10)
	go func() {
		for {
			select {
			case b := <-queue:
				if _, err := out.Write(b); err != nil {
					return
				}
			case <-w.gone:
				return
			}
		}
	}()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out = func(b []byte) {
		select {
		case queue <- slices.Clone(b):
		case <-w.gone:
		}
	}
	m.host = func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.baud
	}
	return w
}

func (w *wire) Read(p []byte) (int, error) { return w.in.Read(p) }

func (w *wire) Write(p []byte) (int, error) {
	if w.hangs {
		<-w.gone
		return 0, unix.EIO
	}
	go w.module.hear(slices.Clone(p))
	return len(p), nil
}

func (w *wire) SetBaud(baud int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.baud = baud
	return nil
}

func (w *wire) Flush() error { return nil }

// Close is a plug that is pulled too.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.gone) })
	return w.in.CloseWithError(unix.ENODEV)
}

var _ Line = (*wire)(nil)
