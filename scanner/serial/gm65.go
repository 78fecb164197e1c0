package serial

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Times of a GM65. Commands were answered in 24 to 152 ms on one bench.
const (
	// answerWithin is how long an answer may take; a command is sent answerTries
	// times before the module counts as gone.
	answerWithin = 500 * time.Millisecond
	answerTries  = 3
	// findWithin is the same while the speed is looked for, with findTries at
	// each: what the module heard at the wrong speed it forgets in 400 ms.
	findWithin = 250 * time.Millisecond
	findTries  = 2
	// quiet is the silence before a command is sent again, so that an answer
	// that comes late is not taken for the answer to something else.
	quiet = 100 * time.Millisecond
	// writeWithin is how long sending nine bytes may take.
	writeWithin = time.Second
	// lookEvery is the pause between two looks at the zones: how long a module
	// that was reset to the factory's settings stays unseen.
	lookEvery = 5 * time.Second
	// pause is the time from the last byte of a code to the next trigger. The
	// lane says in it that it is busy, and a code that is still held up does not
	// make the module chirp ten times a second.
	pause = 300 * time.Millisecond
	// slack is how much longer than its read time a module is waited for.
	slack = 100 * time.Millisecond
	// saveEvery is the least time between two writes to the flash, which wears:
	// a module that forgets what it is told would be worn out in days.
	saveEvery = time.Hour
)

var (
	errSilent  = errors.New("the GM65 does not answer")
	errChanged = errors.New("the GM65's settings changed")
	errStuck   = errors.New("the port does not take what is sent")
)

// gm65 is what is known of one module from one connection to the next, and how
// to connect to it.
type gm65 struct {
	port string
	baud int
	gap  time.Duration
	log  *slog.Logger
	open func(port string, baud int) (Line, error)

	mu     sync.Mutex
	away   bool // the lane takes no code now
	roused chan struct{}

	sending atomic.Bool // a Write has not returned

	// Only the session that runs touches these.
	unsaved  bool      // zones were written since the flash was
	saved    time.Time // when the flash was written last
	stubborn int       // how often it did not change its speed when told to
}

// attend says whether a code would be taken now.
func (g *gm65) attend(on bool) {
	g.mu.Lock()
	changed := g.away == on
	g.away = !on
	g.mu.Unlock()
	if changed {
		select {
		case g.roused <- struct{}{}:
		default:
		}
	}
}

func (g *gm65) attending() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.away
}

// usb reports whether the port is the module's own: a CDC device and not a
// UART or an adapter. Its speed means nothing.
func (g *gm65) usb() bool {
	real, err := filepath.EvalSymlinks(g.port)
	return err == nil && strings.HasPrefix(filepath.Base(real), "ttyACM")
}

// connect opens the port, finds the module's speed and makes its zones the
// gate's. The session it returns delivers the bytes of codes; it fails as soon
// as the module is gone, silent, or changed, and the caller connects anew.
func (g *gm65) connect(ctx context.Context) (io.ReadCloser, error) {
	if g.sending.Load() {
		// One that hangs in the kernel for ever is enough.
		return nil, fmt.Errorf("serial port %s: %w", g.port, errStuck)
	}
	line, err := g.open(g.port, g.baud)
	if err != nil {
		return nil, err
	}
	s := &session{gm65: g, line: line, usb: g.usb(), arrived: make(chan arrival), codes: make(chan []byte), ended: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.work.Go(s.receive)
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("serial port %s: %w", g.port, err), s.release())
	}
	s.tending.Go(func() {
		s.err = s.tend()
		close(s.ended)
	})
	return s, nil
}

// arrival is what one Read of the line gave.
type arrival struct {
	bytes []byte
	err   error
}

// session is an open line with a module at its end. One goroutine at a time
// talks to the module: connect's, then tend's.
type session struct {
	*gm65
	line    Line
	usb     bool
	ctx     context.Context
	cancel  context.CancelFunc
	arrived chan arrival
	work    sync.WaitGroup // receive
	tending sync.WaitGroup

	split   splitter
	serving bool      // codes are passed on
	noisy   bool      // that is in the log
	last    time.Time // when the last byte came
	coded   time.Time // when the last byte of a code came
	expect  int       // length of the answer that is waited for
	answer  []byte

	codes chan []byte
	rest  []byte
	ended chan struct{}
	err   error // why; set before ended is closed
}

// receive moves what arrives from the line until it fails or is closed.
func (s *session) receive() {
	buf := make([]byte, 1024)
	empty := 0
	for {
		n, err := s.line.Read(buf)
		if n > 0 {
			empty = 0
		} else if err == nil {
			if empty++; empty < 100 {
				continue
			}
			err = io.ErrNoProgress
		}
		select {
		case s.arrived <- arrival{slices.Clone(buf[:n]), err}:
		case <-s.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// Read delivers bytes of codes.
func (s *session) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		select {
		case s.rest = <-s.codes:
		case <-s.ended:
			return 0, s.err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Close ends the session and gives the port back.
func (s *session) Close() error {
	s.cancel()
	s.tending.Wait()
	return s.release()
}

// release gives the line back when nobody talks on it any more: the library
// would write to whatever has the port's number next.
func (s *session) release() error {
	s.cancel()
	err := s.line.Close()
	s.work.Wait()
	return err
}

// send puts a command on the line.
func (s *session) send(c command) error {
	done := make(chan error, 1)
	s.sending.Store(true)
	go func() {
		_, err := s.line.Write(c.frame())
		s.sending.Store(false)
		done <- err
	}()
	limit := time.NewTimer(writeWithin)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-s.ctx.Done():
	case <-limit.C:
	}
	flushed := s.line.Flush()
	// What was flushed lets the Write return, so that the line is free to be
	// closed. A driver whose Write hangs all the same has it until it is unplugged.
	limit.Reset(writeWithin)
	select {
	case <-done:
	case <-limit.C:
	}
	return cmp.Or(s.ctx.Err(), errors.Join(errStuck, flushed))
}

// pump takes what arrives until done says so, the time is over or the line
// fails. Then the caller looks which it was.
func (s *session) pump(until time.Time, done func() bool) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !done() {
		wait := time.Until(until)
		if s.split.waits() {
			wait = min(wait, s.gap-time.Since(s.last))
		}
		timer.Reset(max(wait, 0))
		select {
		case a := <-s.arrived:
			if len(a.bytes) > 0 {
				s.last = time.Now()
				s.pass(s.split.feed(nil, a.bytes, s.take))
			}
			if a.err != nil {
				s.pass(s.split.quiet(nil))
				return a.err
			}
		case <-s.roused:
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-timer.C:
			if s.split.waits() && time.Since(s.last) >= s.gap {
				s.pass(s.split.quiet(nil))
			}
			if !time.Now().Before(until) {
				return nil
			}
		}
	}
	return nil
}

// never is for a pump that only time ends.
func never() bool { return false }

// take keeps a reply that is waited for.
func (s *session) take(data []byte) {
	if s.expect > 0 && len(data) == s.expect {
		s.answer, s.expect = slices.Clone(data), 0
	}
}

// pass hands on bytes of codes. Before the module was found they may be
// anything.
func (s *session) pass(code []byte) {
	if s.split.damaged > 0 && s.serving && !s.noisy {
		s.noisy = true
		s.log.Warn("replies of the GM65 are damaged on the way", "hint", "look at the cable, and try a lower baud")
	}
	if len(code) == 0 || !s.serving {
		return
	}
	s.coded = time.Now()
	select {
	case s.codes <- code:
	case <-s.ctx.Done():
	}
}

// ask sends a command and waits for the answer, several times if need be.
func (s *session) ask(c command, within time.Duration, tries int) ([]byte, error) {
	for try := range tries {
		if try > 0 {
			if err := s.pump(time.Now().Add(quiet), never); err != nil {
				return nil, err
			}
		}
		s.answer, s.expect = nil, c.answer
		if err := s.send(c); err != nil {
			return nil, err
		}
		err := s.pump(time.Now().Add(within), func() bool { return s.answer != nil })
		s.expect = 0
		if err != nil {
			return nil, err
		}
		if s.answer != nil {
			return s.answer, nil
		}
	}
	return nil, errSilent
}

// prepare finds the module and sets it up.
func (s *session) prepare() error {
	at, err := s.find()
	if err != nil {
		return err
	}
	wanted := zones(s.usb)
	have, err := s.look()
	if err != nil {
		return err
	}
	var changed []string
	for _, z := range wanted {
		v := have.of(z.address)
		if v&z.mask == z.want {
			continue
		}
		// Noted first: written without an answer is written all the same.
		s.unsaved = true
		if _, err := s.ask(write(z.address, v&^z.mask|z.want), answerWithin, answerTries); err != nil {
			return err
		}
		changed = append(changed, z.what)
	}
	if at != s.baud && !s.usb && s.stubborn < 2 {
		if err := s.changeSpeed(); err != nil {
			return err
		}
		changed = append(changed, fmt.Sprintf("%d baud instead of %d", s.baud, at))
	}
	if len(changed) > 0 {
		if have, err = s.look(); err != nil {
			return err
		}
		if err := have.differs(wanted); err != nil {
			return err
		}
		s.log.Info("GM65 set up", "settings", strings.Join(changed, "; "))
	}
	if err := s.keep(); err != nil {
		return err
	}
	s.serving = true
	return nil
}

// find goes through the speeds until the module answers, and returns its own.
func (s *session) find() (int, error) {
	bauds := []int{s.baud}
	for _, v := range speeds {
		if v.baud != s.baud && !s.usb {
			bauds = append(bauds, v.baud)
		}
	}
	for _, baud := range bauds {
		if err := s.line.SetBaud(baud); err != nil {
			s.log.Debug("speed not to be had", "baud", baud, "err", err)
			continue
		}
		answer, err := s.ask(read(zoneBaud, 2), findWithin, findTries)
		if errors.Is(err, errSilent) {
			continue
		}
		if err != nil {
			return 0, err
		}
		// One that names another speed was on its way when ours changed.
		if code := binary.LittleEndian.Uint16(answer); s.usb || code == speedCode(baud) || !isSpeed(code) {
			return baud, nil
		}
	}
	return 0, fmt.Errorf("%w at any speed", errSilent)
}

// changeSpeed makes the module speak at the speed that is wanted. One that does
// not, twice, is left as it is from then on: slow is better than not at all.
func (s *session) changeSpeed() error {
	code := speedCode(s.baud)
	s.unsaved = true
	// Whether the answer comes at the old speed or the new one is not said
	// anywhere, so it is not waited for.
	if err := s.send(write(zoneBaud, byte(code), byte(code>>8))); err != nil {
		return err
	}
	if err := s.pump(time.Now().Add(findWithin), never); err != nil {
		return err
	}
	if err := s.line.SetBaud(s.baud); err != nil {
		return err
	}
	answer, err := s.ask(read(zoneBaud, 2), answerWithin, answerTries)
	if err == nil && binary.LittleEndian.Uint16(answer) != code {
		err = errSilent
	}
	if errors.Is(err, errSilent) {
		s.stubborn++
		return fmt.Errorf("%w at %d baud, which it was told to speak", err, s.baud)
	}
	return err
}

// look reads the zones.
func (s *session) look() (have settings, err error) {
	first, err := s.ask(read(0, maxZones), answerWithin, answerTries)
	if err != nil {
		return have, err
	}
	suffix, err := s.ask(read(zoneSuffix, 1), answerWithin, answerTries)
	if err != nil {
		return have, err
	}
	have.first, have.suffix = [maxZones]byte(first), suffix[0]
	return have, nil
}

// keep saves the zones in the module's flash, if any were written, and not
// twice within saveEvery.
func (s *session) keep() error {
	if !s.unsaved || !s.saved.IsZero() && time.Since(s.saved) < saveEvery {
		return nil
	}
	s.saved = time.Now()
	if _, err := s.ask(save(), answerWithin, answerTries); err != nil {
		return fmt.Errorf("settings not saved: %w", err)
	}
	s.unsaved = false
	return nil
}

// tend triggers the module while the lane takes codes, and looks at its zones
// now and then, until something is wrong.
func (s *session) tend() error {
	looked := time.Now()
	for {
		if time.Since(looked) >= lookEvery {
			if err := s.check(); err != nil {
				return err
			}
			looked = time.Now()
		}
		if !s.attending() {
			if err := s.pump(looked.Add(lookEvery), s.attending); err != nil {
				return err
			}
			continue
		}
		if err := s.readOnce(); err != nil {
			return err
		}
	}
}

// check finds out whether the zones are still the gate's. What looks changed is
// read again: a code that holds a reply must not make the gate write the flash.
func (s *session) check() error {
	have, err := s.look()
	if err != nil {
		return err
	}
	if have.differs(zones(s.usb)) != nil {
		if have, err = s.look(); err != nil {
			return err
		}
	}
	if err := have.differs(zones(s.usb)); err != nil {
		return err
	}
	return s.keep()
}

// readOnce triggers the module and waits until it has read a code, has given
// up, or is not needed any more.
func (s *session) readOnce() error {
	s.coded = time.Time{}
	if _, err := s.ask(write(zoneTrigger, 0x01), answerWithin, answerTries); err != nil {
		return err
	}
	end := time.Now().Add(readTime*100*time.Millisecond + slack)
	if err := s.pump(end, func() bool { return !s.coded.IsZero() || !s.attending() }); err != nil {
		return err
	}
	if s.coded.IsZero() {
		if s.attending() {
			return nil // nobody there
		}
		// It would stop by itself at the end of its read time.
		_, err := s.ask(write(zoneTrigger, 0x00), answerWithin, answerTries)
		return err
	}
	// Endless noise must not keep the gate from looking at the zones.
	for end := time.Now().Add(lookEvery); time.Now().Before(end); {
		next := s.coded.Add(pause)
		if !time.Now().Before(next) {
			break
		}
		if err := s.pump(next, never); err != nil {
			return err
		}
	}
	return nil
}
