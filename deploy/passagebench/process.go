package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"greengate/sync/hub"
)

// process is a program that can be killed and started again.
type process struct {
	name string
	path string
	args []string
	log  *os.File // what it says, kept for when it fails
	cmd  *exec.Cmd
	done chan error
}

func (b *bench) process(name, path string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(b.dir, name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &process{name: name, path: path, args: args, log: log}, nil
}

func (p *process) start() error { return p.startAs(nil, "") }

// startAs starts it as another user, in a folder.
func (p *process) startAs(as *syscall.Credential, dir string) error {
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = p.log, p.log, dir
	// It ends with us, however we end.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: as}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(p.cmd, p.done)
	return nil
}

// kill ends it as a power switch does to a process: it gets no chance to tidy up.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// stop asks it to end, and insists after a while.
func (p *process) stop() error {
	if p.cmd == nil {
		return p.log.Close()
	}
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		err = nil
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			err = errors.Join(fmt.Errorf("%s did not end within 20 s", p.name), p.kill())
		}
	}
	return errors.Join(err, p.log.Close())
}

// said is the end of what it said.
func (p *process) said() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// load is what a process has used.
type load struct {
	cpu time.Duration
	rss int64 // bytes resident
}

// tick is the clock tick of /proc/PID/stat (sysconf(_SC_CLK_TCK), 100 on every Linux that Go runs on).
const tick = 10 * time.Millisecond

func (p *process) load() (load, error) {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return load{}, err
	}
	// Behind the program's name, which may hold anything, come the state and the numbers (proc(5)).
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(f) < 22 {
		return load{}, fmt.Errorf("/proc/%s/stat has %d fields", pid, len(f))
	}
	user, err := strconv.ParseInt(f[11], 10, 64)
	if err != nil {
		return load{}, err
	}
	system, err := strconv.ParseInt(f[12], 10, 64)
	if err != nil {
		return load{}, err
	}
	pages, err := strconv.ParseInt(f[21], 10, 64)
	if err != nil {
		return load{}, err
	}
	return load{cpu: time.Duration(user+system) * tick, rss: pages * int64(os.Getpagesize())}, nil
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// hubProcess is a hub with its folder.
type hubProcess struct {
	*process
	dir     string
	address string
	client  *hub.Client
}

// initHub makes a hub's folder. Gates find it at address.
func (b *bench) initHub(ctx context.Context, name, address string, args ...string) (string, error) {
	dir := filepath.Join(b.dir, name)
	all := append([]string{"init", "-dir", dir, "-name", "bench", "-url", "https://" + address, "-province", "33"}, args...)
	if out, err := exec.CommandContext(ctx, b.gatehub, all...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gatehub init: %w\n%s", err, out)
	}
	return dir, nil
}

// serveHub starts the hub in dir and waits until it answers.
func (b *bench) serveHub(ctx context.Context, name, dir, address string, args ...string) (*hubProcess, error) {
	p, err := b.process(name, b.gatehub, append([]string{"serve", "-dir", dir, "-listen", address, "-operator", ""}, args...)...)
	if err != nil {
		return nil, err
	}
	h := &hubProcess{process: p, dir: dir, address: address, client: hub.NewClient(dir)}
	if err := h.start(); err != nil {
		return nil, err
	}
	return h, h.ready(ctx)
}

func (h *hubProcess) ready(ctx context.Context) error {
	if err := until(ctx, 60*time.Second, h.name+" answers", func() (bool, error) {
		ask, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := h.client.Gates(ask); err != nil {
			return false, err
		}
		c, err := net.DialTimeout("tcp", h.address, time.Second)
		if err != nil {
			return false, err
		}
		return true, c.Close()
	}); err != nil {
		return fmt.Errorf("%w\n%s", err, h.said())
	}
	return nil
}

func (h *hubProcess) close() error {
	h.client.Close()
	return h.stop()
}
