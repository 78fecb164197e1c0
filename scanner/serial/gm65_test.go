package serial

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate"
)

// lane is a Reader with a played GM65 in a bubble, and its timeline.
type lane struct {
	*Reader
	module *played
	log    strings.Builder
	begin  time.Time
	hangs  bool // what is sent hangs

	mu    sync.Mutex
	lines []string
	plugs int
	last  *wire
}

// inBubble runs play with a module that answers as slowly as a real one, and
// ends the reader after it.
func inBubble(t *testing.T, m *played, baud int, play func(t *testing.T, l *lane)) {
	synctest.Test(t, func(t *testing.T) {
		l := &lane{module: m, begin: time.Now()}
		m.lag = func() { time.Sleep(100 * time.Millisecond) } // the bubble's clock
		l.Reader = &Reader{Port: "/dev/ttyS9", Baud: baud, Family: GM65, Log: slog.New(slog.NewTextHandler(&l.log, nil))}
		l.Open = func(_ string, baud int) (Line, error) {
			w := m.plug(baud)
			l.mu.Lock()
			defer l.mu.Unlock()
			w.hangs = l.hangs
			l.plugs++
			l.last = w
			return w, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() {
			done <- l.Run(ctx, func(s gate.Scan) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.lines = append(l.lines, string(s.Raw))
			})
		}()
		play(t, l)
		ended := time.Now()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		if d := time.Since(ended); d > 2*time.Second {
			t.Errorf("took %v to end", d)
		}
		time.Sleep(time.Second) // the module has heard everything
	})
}

// scans returns what was read since the last call.
func (l *lane) scans() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := strings.Join(l.lines, " ")
	l.lines = nil
	return s
}

// until waits for what must become true, and returns how long it took.
func (l *lane) until(t *testing.T, what string, is func() bool) time.Duration {
	t.Helper()
	from := time.Now()
	for !is() {
		if time.Since(from) > time.Minute {
			log := l.log.String()
			t.Fatalf("not in a minute: %s; %s; end of the log:\n%s", what, l.State(), log[max(0, len(log)-2000):])
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	return time.Since(from)
}

func (l *lane) up() bool {
	up, _ := l.Connected()
	return up
}

// wanted fails unless the zones are the gate's, in the flash too.
func wanted(t *testing.T, m *played) {
	t.Helper()
	zones, flash, _, _ := m.state()
	for _, b := range []struct {
		name  string
		zones [256]byte
	}{{"now", zones}, {"saved", flash}} {
		z := b.zones
		// 0xD4 from the factory is a reader at a button; light and sound stay.
		if z[0x00] != 0xd5 || z[0x03] != 0x02 || z[0x06] != 50 || z[0x0d] != 0xa0 || z[0x60] != 0x01 || z[0x05] != 0x0a {
			t.Errorf("%s: zones 0x00 %#02x, 0x03 %#02x, 0x06 %d, 0x0D %#02x, 0x60 %#02x, 0x05 %#02x", b.name, z[0x00], z[0x03], z[0x06], z[0x0d], z[0x60], z[0x05])
		}
	}
}

func TestGM65SetUp(t *testing.T) {
	m := newPlayed()
	inBubble(t, m, 115200, func(t *testing.T, l *lane) {
		// The speed, two looks, four zones and the flash are ten answers of 100 ms.
		if d := l.until(t, "connected", l.up); d > 3*time.Second {
			t.Errorf("set up in %v", d)
		}
		wanted(t, m)
		_, _, saves, _ := m.state()
		if saves != 1 || m.baud() != 115200 {
			t.Errorf("saved %d times, %d baud", saves, m.baud())
		}
		if m.wrote[0] != zoneSetup {
			t.Errorf("wrote zone %#04x first, want the lock of the setup barcodes", m.wrote[0])
		}
		m.show("JKM1:A")
		l.until(t, "read", func() bool { return len(l.scans()) > 0 })

		// The power fails: nothing differs, and nothing is written.
		wrote := len(m.wrote)
		m.powerCycle()
		l.last.Close()
		l.until(t, "connected again", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.plugs == 2 && l.up() })
		for _, z := range m.wrote[wrote:] {
			if z != zoneTrigger {
				t.Errorf("wrote zone %#04x of a module that was as it should be", z)
			}
		}
		if _, _, saves, _ := m.state(); saves != 1 {
			t.Errorf("saved %d times", saves)
		}
	})
}

// TestGM65AnySpeed finds the module at each of its speeds and brings it to
// each, whether or not it reads without being told to at the time.
func TestGM65AnySpeed(t *testing.T) {
	for _, from := range speeds {
		for _, to := range speeds {
			if from.code == 0 || to.code == 0 {
				continue
			}
			t.Run(fmt.Sprintf("%d to %d", from.baud, to.baud), func(t *testing.T) {
				m := newPlayed()
				m.speed(from.baud)
				m.zones[0x00], m.zones[0x0d] = 0xd6, 0xa0 // without pause, to the UART
				inBubble(t, m, to.baud, func(t *testing.T, l *lane) {
					for !l.up() {
						time.Sleep(50 * time.Millisecond)
						m.show("JKM1:A")
					}
					if d := time.Since(l.begin); d > 10*time.Second {
						t.Errorf("found after %v", d)
					}
					wanted(t, m)
					l.until(t, "still", func() bool { time.Sleep(time.Second); return l.scans() == "" })
					m.show("JKM1:B")
					l.until(t, "read", func() bool { return l.scans() == "JKM1:B" })
					if _, _, saves, _ := m.state(); m.baud() != to.baud || saves != 1 {
						t.Errorf("%d baud, saved %d times", m.baud(), saves)
					}
				})
			})
		}
	}
}

func TestGM65FactoryReset(t *testing.T) {
	for _, baud := range []int{115200, 9600} { // seen by the speed, and by the zones
		t.Run(fmt.Sprint(baud), func(t *testing.T) {
			m := newPlayed()
			inBubble(t, m, baud, func(t *testing.T, l *lane) {
				l.until(t, "connected", l.up)
				m.show("JKM1:A")
				if d := l.until(t, "read", func() bool { return l.scans() == "JKM1:A" }); d > time.Second {
					t.Errorf("read after %v", d)
				}
				time.Sleep(90 * time.Minute)
				m.show(factoryBarcode) // locked
				time.Sleep(time.Minute)
				wanted(t, m)

				m.reset() // the maker's tool
				if d := l.until(t, "healed", func() bool { _, _, saves, _ := m.state(); return saves == 2 && l.up() }); d > 15*time.Second {
					t.Errorf("healed after %v", d)
				} else {
					t.Logf("healed after %v", d)
				}
				wanted(t, m)
				m.show("JKM1:B")
				l.until(t, "read", func() bool { return l.scans() == "JKM1:B" })
			})
		})
	}
}

// TestGM65Forgetful has a module whose zones do not stay as they are told to
// be: it works on, and its flash is not worn out.
func TestGM65Forgetful(t *testing.T) {
	m := newPlayed()
	inBubble(t, m, 115200, func(t *testing.T, l *lane) {
		for range 6 * 6 { // six hours
			time.Sleep(10 * time.Minute)
			m.reset()
		}
		l.until(t, "connected", l.up)
		time.Sleep(time.Minute)
		l.scans() // answers in which a reset changed the speed: noise, read by no lane as a code
		m.show("JKM1:A")
		l.until(t, "read", func() bool { return l.scans() == "JKM1:A" })
		if _, _, saves, _ := m.state(); saves < 6 || saves > 7 {
			t.Errorf("saved %d times in six hours of 36 resets, want once an hour", saves)
		}
	})
}

func TestGM65Attend(t *testing.T) {
	m := newPlayed()
	inBubble(t, m, 115200, func(t *testing.T, l *lane) {
		l.until(t, "connected", l.up)
		m.show("JKM1:A")
		l.until(t, "read", func() bool { return l.scans() == "JKM1:A" })
		l.Attend(false) // the arm turns
		time.Sleep(time.Second)
		_, _, _, before := m.state()
		m.show("JKM1:B")
		time.Sleep(time.Minute)
		if _, _, _, after := m.state(); after != before || l.scans() != "" {
			t.Errorf("%d reads begun while nobody was wanted", after-before)
		}
		l.Attend(true)
		if d := l.until(t, "read", func() bool { return l.scans() == "JKM1:B" }); d > 500*time.Millisecond {
			t.Errorf("read %v after the lane was free", d)
		}

		// A read that is under way ends.
		time.Sleep(time.Second)
		m.mu.Lock()
		reading := m.reading
		m.mu.Unlock()
		l.Attend(false)
		time.Sleep(500 * time.Millisecond)
		m.show("JKM1:C")
		time.Sleep(10 * time.Second)
		if got := l.scans(); !reading || got != "" {
			t.Errorf("reading %v, then %q while nobody was wanted", reading, got)
		}

		// Reset while the lane is busy: healed before it is free.
		m.reset()
		time.Sleep(20 * time.Second)
		wanted := zones(false)
		now, _, _, _ := m.state()
		for _, z := range wanted {
			if now[z.address]&z.mask != z.want {
				t.Errorf("not healed while the lane was busy: %s", z.what)
			}
		}
	})
}

// TestGM65Held has a code that is held up without end: it is read some times a
// second and not ten, and the zones are looked at all the same.
func TestGM65Held(t *testing.T) {
	m := newPlayed()
	inBubble(t, m, 115200, func(t *testing.T, l *lane) {
		l.until(t, "connected", l.up)
		for range 600 {
			m.show("JKM1:A")
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(l.scans(), "JKM1:A"); n < 60 || n > 180 {
			t.Errorf("read %d times in a minute", n)
		}
		m.reset()
		for range 200 {
			m.show("JKM1:A")
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		if now, _, _, _ := m.state(); now[zoneSetup]&2 == 0 {
			t.Error("not healed while a code was held up")
		}
	})
}

// TestGM65Noise has a line that is never still.
func TestGM65Noise(t *testing.T) {
	m := newPlayed()
	inBubble(t, m, 115200, func(t *testing.T, l *lane) {
		l.until(t, "connected", l.up)
		for i := range 3000 {
			m.say(string([]byte{byte(0xf0 + i%13), 0x7f}))
			if i == 1000 {
				m.reset()
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		if now, _, _, _ := m.state(); now[zoneSetup]&2 == 0 || !l.up() {
			t.Errorf("not healed with noise on the line: %s", l.State())
		}
		l.scans()
		m.show("JKM1:A")
		l.until(t, "read", func() bool { return l.scans() == "JKM1:A" })
	})
}

func TestGM65Mulish(t *testing.T) {
	m := newPlayed()
	m.mulish = true
	inBubble(t, m, 115200, func(t *testing.T, l *lane) {
		l.until(t, "connected", l.up)
		time.Sleep(time.Minute)
		m.show("JKM1:A")
		l.until(t, "read at its own speed", func() bool { return l.scans() == "JKM1:A" })
		if _, _, saves, _ := m.state(); m.baud() != 9600 || saves != 1 {
			t.Errorf("%d baud, saved %d times", m.baud(), saves)
		}
	})
}

func TestGM65Silent(t *testing.T) {
	m := newPlayed()
	m.deaf = true
	inBubble(t, m, 115200, func(t *testing.T, l *lane) {
		l.until(t, "absent", func() bool { return strings.Contains(l.State(), "does not answer at any speed") })
		if n := strings.Count(l.log.String(), "reader absent"); n != 1 || !strings.Contains(l.log.String(), "without family") {
			t.Errorf("log:\n%s", l.log.String())
		}
		m.say("JKM1:A\r") // from a module that cannot be set up nothing is taken
		if got := l.scans(); got != "" {
			t.Errorf("read %q", got)
		}
		m.mu.Lock()
		m.deaf = false
		m.mu.Unlock()
		l.until(t, "connected", l.up)
		m.mu.Lock()
		m.deaf = true
		m.mu.Unlock()
		if d := l.until(t, "lost", func() bool { return !l.up() }); d > 10*time.Second {
			t.Errorf("silence seen after %v", d)
		}
	})
}

// TestGM65WriteHangs has a port that takes nothing: the library's Write has no
// timeout.
func TestGM65WriteHangs(t *testing.T) {
	m := newPlayed()
	inBubble(t, m, 115200, func(t *testing.T, l *lane) {
		l.until(t, "connected", l.up)
		l.mu.Lock()
		l.hangs = true
		l.mu.Unlock()
		l.last.Close()
		l.until(t, "seen", func() bool { return strings.Contains(l.State(), "does not take what is sent") })
		l.mu.Lock()
		l.hangs = false
		l.mu.Unlock()
		l.until(t, "connected", l.up)
		m.show("JKM1:A")
		l.until(t, "read", func() bool { return l.scans() == "JKM1:A" })
	})
}

// TestGM65Lies has a code that holds a module's reply: a setting that is not
// so. It is looked at again, and nothing is written.
func TestGM65Lies(t *testing.T) {
	m := newPlayed()
	inBubble(t, m, 115200, func(t *testing.T, l *lane) {
		l.until(t, "connected", l.up)
		lie := make([]byte, 0, maxReply)
		lie = append(lie, 2, 0, 0, maxZones)
		lie = append(lie, make([]byte, maxZones)...)
		sum := crc(lie[2:])
		lie = append(lie, byte(sum>>8), byte(sum))
		for range 60 {
			m.show("A" + string(lie) + ack + "B")
			time.Sleep(time.Second)
		}
		if _, _, saves, _ := m.state(); saves != 1 || !l.up() || strings.Contains(l.log.String(), "reader lost") {
			t.Errorf("saved %d times; log:\n%s", saves, l.log.String())
		}
		if got := l.scans(); strings.ReplaceAll(strings.ReplaceAll(got, "AB", ""), " ", "") != "" {
			t.Errorf("read %q", got)
		}
	})
}

// TestGM65OverPty has a module at a real descriptor, whose speed is the
// kernel's: found, set up, locked, unplugged and replugged.
func TestGM65OverPty(t *testing.T) {
	for _, baud := range []int{9600, 38400, 115200} { // all of them in TestGM65AnySpeed
		t.Run(fmt.Sprint(baud), func(t *testing.T) {
			t.Parallel()
			m := newPlayed()
			m.speed(baud)
			port, unplug := m.plugIn(t)
			name := filepath.Join(t.TempDir(), "scanner")
			if err := os.Symlink(port, name); err != nil {
				t.Fatal(err)
			}
			g := start(t, &Reader{Port: name, Baud: 115200, Family: GM65})
			g.log.await(t, "reader connected", 1)
			wanted(t, m)
			m.show(code)
			g.want(code)
			m.show(factoryBarcode) // locked
			m.show(code + "1")
			g.want(code + "1")

			unplug()
			g.log.await(t, "reader lost", 1)
			m.powerCycle()
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			port, _ = m.plugIn(t)
			if err := os.Symlink(port, name); err != nil {
				t.Fatal(err)
			}
			g.log.await(t, "reader connected", 2)
			m.show(code + "2")
			g.want(code + "2")
			if _, _, saves, _ := m.state(); saves != 1 {
				t.Errorf("saved %d times, want once", saves)
			}
		})
	}
}

func TestZonesOfUSB(t *testing.T) {
	for usb, want := range map[bool]byte{false: 0x00, true: 0x03} {
		for _, z := range zones(usb) {
			if z.address == zoneOutput && z.want != want {
				t.Errorf("usb %v: output %#02x, want %#02x", usb, z.want, want)
			}
		}
	}
	dir := t.TempDir()
	for name, want := range map[string]bool{"ttyACM0": true, "ttyUSB0": false, "ttyAMA0": false} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(dir, "link-"+name)
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if g := (&gm65{port: link}); g.usb() != want {
			t.Errorf("%s: usb %v, want %v", name, g.usb(), want)
		}
	}
}
