package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	notifySocket = "/run/notify"
	runtimeDir   = "/run/greengate"
)

// supervisor runs the gate as its unit says, in systemd's place: it is told
// that the gate is ready and lives, ends it where it is silent for too long,
// runs what comes after each end, and starts it again.
type supervisor struct {
	unit unit
	log  *tail

	mu      sync.Mutex
	process *os.Process // nil while there is none
	wanted  bool
	changed chan struct{} // closed, and made anew, when wanted changes
}

func newSupervisor(u unit) *supervisor {
	return &supervisor{unit: u, log: &tail{}, wanted: true, changed: make(chan struct{})}
}

// errNoProcess: the gate does not run at the moment.
var errNoProcess = errors.New("the gate does not run")

func (s *supervisor) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return errNoProcess
	}
	return s.process.Signal(sig)
}

func (s *supervisor) start() error { return s.want(true) }

// stop ends the gate the polite way. It does not wait.
func (s *supervisor) stop() error {
	if err := s.want(false); err != nil {
		return err
	}
	return s.signal(syscall.SIGTERM)
}

func (s *supervisor) want(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted == on {
		return fmt.Errorf("that is so already: wanted %v", on)
	}
	s.wanted = on
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// run runs the gate for as long as the machine lives.
func (s *supervisor) run() {
	for {
		s.mu.Lock()
		wanted, changed := s.wanted, s.changed
		s.mu.Unlock()
		if !wanted {
			<-changed
			continue
		}
		s.log.say("unit: %v", s.once())
		if err := s.step(s.unit.post); err != nil {
			s.log.say("unit: ExecStopPost: %v", err)
		}
		time.Sleep(s.unit.restart)
	}
}

// step runs a command of the unit to its end.
func (s *supervisor) step(line []string) error {
	if len(line) == 0 {
		return nil
	}
	began := uptime()
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	err := cmd.Run()
	s.log.say("unit: %s took %v", strings.Join(line, " "), (uptime() - began).Round(time.Millisecond))
	return err
}

// once runs the gate until it ends, and says how it did.
func (s *supervisor) once() error {
	if err := os.MkdirAll(runtimeDir, 0o750); err != nil {
		return err
	}
	if err := s.step(s.unit.pre); err != nil {
		return fmt.Errorf("ExecStartPre: %w", err)
	}
	if err := os.Remove(notifySocket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	said, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notifySocket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer said.Close()
	cmd := exec.Command(s.unit.main[0], s.unit.main[1:]...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notifySocket, fmt.Sprintf("WATCHDOG_USEC=%d", s.unit.watchdog.Microseconds()))
	cmd.Stdout, cmd.Stderr = s.log, s.log
	s.log.say("unit: starting at %v", uptime().Round(time.Millisecond))
	if err := cmd.Start(); err != nil {
		return err
	}
	s.hold(cmd.Process)
	ended := make(chan struct{})
	go s.watch(said, cmd.Process, ended)
	err = cmd.Wait()
	close(ended)
	s.hold(nil)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	return fmt.Errorf("the gate ended at %v: %v", uptime().Round(time.Millisecond), cmd.ProcessState)
}

func (s *supervisor) hold(p *os.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
}

// watch reads what the gate says, and ends it when it has been ready and then
// silent for too long: SIGABRT, and SIGCONT behind it as systemd sends, and
// SIGKILL where that does not help.
func (s *supervisor) watch(said *net.UnixConn, p *os.Process, ended chan struct{}) {
	ready := false
	for buf := make([]byte, 4096); ; {
		var by time.Time
		if ready && s.unit.watchdog > 0 {
			by = time.Now().Add(s.unit.watchdog)
		}
		// The socket is closed when the process has ended: then nobody is watched.
		if err := said.SetReadDeadline(by); err != nil {
			return
		}
		n, err := said.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.log.say("unit: watchdog at %v", uptime().Round(time.Millisecond))
			s.end(p, ended)
			return
		case err != nil:
			return
		}
		if bytes.Contains(buf[:n], []byte("READY=1")) {
			ready = true
			s.log.say("unit: ready at %v", uptime().Round(time.Millisecond))
		}
	}
}

func (s *supervisor) end(p *os.Process, ended chan struct{}) {
	for _, sig := range []syscall.Signal{syscall.SIGABRT, syscall.SIGCONT} {
		if err := p.Signal(sig); err != nil {
			s.log.say("unit: %v: %v", sig, err)
		}
	}
	select {
	case <-ended:
	case <-time.After(s.unit.timeout):
		s.log.say("unit: killed")
		if err := p.Kill(); err != nil {
			s.log.say("unit: kill: %v", err)
		}
	}
}

// tail keeps the last of what was written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

var _ io.Writer = (*tail)(nil)

const tailBytes = 24 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = t.text[over:]
	}
	return len(p), nil
}

func (t *tail) say(format string, args ...any) {
	// A tail takes everything.
	_, _ = fmt.Fprintf(t, format+"\n", args...)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
