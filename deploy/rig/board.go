package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"rig/console"
)

//go:embed gate.toml
var gateToml []byte

// parts is what a board is made of, as files of the host.
type parts struct {
	kernel, dtb string
	modules     string // folder that the kernel's package was unpacked to
	guest       string // the first process, for arm64
	gated       string // the gate's program, for arm64
	unit        string // gated.service as it is shipped
}

// initramfs puts together what the machine has before its card.
func (p parts) initramfs(path, toml string) error {
	a := &archive{}
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "modules", "var/lib/greengate"} {
		a.dir(d)
	}
	files, err := moduleFiles(p.modules, wanted)
	if err != nil {
		return err
	}
	errs := []error{a.file("init", p.guest, 0o755), a.file("usr/bin/gated", p.gated, 0o755),
		a.file("etc/systemd/system/gated.service", p.unit, 0o644), a.file("etc/greengate/gate.toml", toml, 0o644)}
	for i, f := range files {
		errs = append(errs, a.file(fmt.Sprintf("modules/%03d-%s", i, filepath.Base(f)), f, 0o644))
	}
	return errors.Join(append(errs, a.save(path))...)
}

// board is the emulated Raspberry Pi 3B, with the far ends of its cables.
type board struct {
	*lines
	uart, usb net.Conn // the scanners' ends
	console   net.Conn
	answers   chan console.Answer
	began     time.Time // when the power came

	cmd   *exec.Cmd
	dead  chan struct{}
	said  bytes.Buffer // by QEMU; complete when dead
	mu    sync.Mutex
	noise strings.Builder // what stood on the console beside the answers
}

// power switches a board on, with files of its own below dir.
func power(ctx context.Context, p parts, dir, card string) (_ *board, err error) {
	initrd, toml := filepath.Join(dir, "initramfs"), filepath.Join(dir, "gate.toml")
	if err := os.WriteFile(toml, gateToml, 0o600); err != nil {
		return nil, err
	}
	if err := p.initramfs(initrd, toml); err != nil {
		return nil, err
	}
	socket := func(name string) string { return filepath.Join(dir, name) }
	chardev := func(name string) string {
		return fmt.Sprintf("socket,id=%s,path=%s,server=on,wait=off", name, socket(name))
	}
	b := &board{began: time.Now(), dead: make(chan struct{}), answers: make(chan console.Answer, 16)}
	// One host thread for the four cores: with one for each they take the
	// host's two from each other, and a boot takes several times as long.
	b.cmd = exec.CommandContext(ctx, "qemu-system-aarch64", "-M", "raspi3b", "-accel", "tcg,thread=single",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", p.kernel, "-dtb", p.dtb, "-initrd", initrd,
		"-append", fmt.Sprintf("console=ttyS1,115200 rdinit=/init panic=-1 quiet loglevel=0 rig.clock=%d", b.began.UnixMilli()),
		"-qtest", "unix:"+socket("qtest")+",server=on,wait=off", "-qtest-log", "none",
		"-chardev", chardev("uart"), "-serial", "chardev:uart",
		"-chardev", chardev("console"), "-serial", "chardev:console",
		"-drive", "file="+card+",if=sd,format=raw",
		"-device", "usb-hub,bus=usb-bus.0,port=1",
		"-netdev", "user,id=net", "-device", "usb-net,netdev=net,bus=usb-bus.0,port=1.1",
		"-chardev", chardev("usb"), "-device", "usb-serial,chardev=usb,bus=usb-bus.0,port=1.2")
	b.cmd.Stdout, b.cmd.Stderr = &b.said, &b.said
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		// How it ended is in its ProcessState, and why in what it said.
		_ = b.cmd.Wait()
		close(b.dead)
	}()
	defer func() {
		if err != nil {
			b.cut()
			err = fmt.Errorf("%w: %s", err, b.said.Bytes())
		}
	}()
	var qtest net.Conn
	for _, s := range []struct {
		name string
		conn *net.Conn
	}{{"qtest", &qtest}, {"uart", &b.uart}, {"console", &b.console}, {"usb", &b.usb}} {
		if *s.conn, err = b.dial(socket(s.name)); err != nil {
			return nil, err
		}
	}
	b.lines = newLines(qtest)
	// Nobody turns the arm or presses the button; the fire loop is closed.
	for _, w := range []struct {
		at   line
		high bool
	}{{passageContact, true}, {exitButton, true}, {fireInput, false}} {
		if err := b.wire(w.at, w.high); err != nil {
			return nil, err
		}
	}
	go b.listen()
	return b, nil
}

func (b *board) dial(path string) (net.Conn, error) {
	for {
		c, err := net.Dial("unix", path)
		if err == nil {
			return c, nil
		}
		select {
		case <-b.dead:
			return nil, fmt.Errorf("%w: QEMU ended", err)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(b.began) > time.Minute {
			return nil, err
		}
	}
}

// listen sorts what comes on the console, until it ends.
func (b *board) listen() {
	defer close(b.answers)
	in := bufio.NewReader(b.console)
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			return
		}
		var a console.Answer
		if marked, ok := strings.CutPrefix(text, console.Mark); ok && json.Unmarshal([]byte(marked), &a) == nil {
			b.answers <- a
			continue
		}
		b.mu.Lock()
		b.noise.WriteString(text)
		b.mu.Unlock()
	}
}

var errSilent = errors.New("the machine does not answer")

// answer waits for the machine's next word.
func (b *board) answer(within time.Duration) (console.Answer, error) {
	select {
	case a, ok := <-b.answers:
		if !ok {
			<-b.dead
			return a, fmt.Errorf("%w: QEMU ended: %s%s", errSilent, b.noiseText(), b.said.Bytes())
		}
		if a.Error != "" {
			return a, fmt.Errorf("the machine says: %s", a.Error)
		}
		return a, nil
	case <-time.After(within):
		return console.Answer{}, fmt.Errorf("%w within %v: %s", errSilent, within, b.noiseText())
	}
}

func (b *board) noiseText() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.noise.String()
}

// order has something done in the machine.
func (b *board) order(o console.Order) (console.Answer, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return console.Answer{}, err
	}
	if _, err := b.console.Write(append(text, '\n')); err != nil {
		return console.Answer{}, err
	}
	a, err := b.answer(time.Minute)
	if err != nil {
		return a, fmt.Errorf("%s %s: %w", o.Do, o.Text, err)
	}
	return a, nil
}

// cut takes the power away.
func (b *board) cut() {
	if err := b.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		fmt.Fprintln(os.Stderr, "rig: QEMU does not end:", err)
	}
	<-b.dead
	for _, c := range []net.Conn{b.uart, b.usb, b.console} {
		if c != nil {
			c.Close()
		}
	}
}
