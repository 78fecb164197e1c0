package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"greengate/gate"
	"greengate/pass"
)

// order is what a child process is told, one JSON line each.
type order struct {
	// Do is "poll", "fresh" (the same with a store that is empty), "floor" or
	// one of the peer's.
	Do string
	// Times is how often "fresh" and "floor" are done in a row; 1 by default.
	// A control group lets the first 100 ms of what it slows down pass at once.
	Times int `json:",omitempty"`
	// Now is the time of the gate's clock.
	Now time.Time
	// Changes are for the peer.
	Changes []change `json:",omitempty"`
}

// answer is what it says of it.
type answer struct {
	Err string `json:",omitempty"`
	// Seconds that passed, and that the processors worked.
	Seconds, CPU float64
	// Written to the disk, fetched from the authority, and the store's file.
	Written, Fetched, File int64
	// Installed is how many lists came in.
	Installed int
	// Anon is the most memory of the process's own at a time; Peak counts what
	// is mapped from files too, which the kernel takes back when it wants.
	Anon, Peak int64
	// Nanoseconds of one lookup, of a peer.
	Nanoseconds float64
}

// setup is what a child is started with.
type setup struct {
	Path       string // of the store's file, or the peer's database
	Repository string
	Root       []byte
	Raw        string // a file with all lists' bytes
	Codes      int
}

// child is a process that obeys.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startChild starts this program anew as kind, slowed down by t where that is
// not nil.
func startChild(ctx context.Context, kind string, s setup, t *throttle) (_ *child, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "child", kind, string(arg))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd, in, bufio.NewReader(out)}
	if t != nil {
		if err := t.put(cmd.Process.Pid); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// tell gives an order and waits for the answer. What others have written and
// not flushed is flushed first, so that it is not waited for in between.
func (c *child) tell(o order) (a answer, err error) {
	syscall.Sync()
	if err := json.NewEncoder(c.in).Encode(o); err != nil {
		return a, err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("child, told to %s: %w", o.Do, err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, err
	}
	if a.Err != "" {
		return a, fmt.Errorf("child, told to %s: %s", o.Do, a.Err)
	}
	return a, nil
}

// close ends the process.
func (c *child) close() error {
	return errors.Join(c.in.Close(), c.cmd.Wait())
}

// runChild obeys until its input ends.
func runChild(ctx context.Context, kind, arg string) error {
	var s setup
	if err := json.Unmarshal([]byte(arg), &s); err != nil {
		return err
	}
	var obey func(context.Context, order) (answer, error)
	var end func() error
	switch kind {
	case "gate":
		debug.SetGCPercent(50) // as gated does
		g := &gateChild{setup: s}
		obey, end = g.obey, g.close
	case "rows", "blobs":
		p := &peer{setup: s, rows: kind == "rows"}
		obey, end = p.obey, p.close
	default:
		return fmt.Errorf("no child of kind %q", kind)
	}
	in := json.NewDecoder(os.Stdin)
	for {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return end()
		} else if err != nil {
			return errors.Join(err, end())
		}
		a, err := measure(func() (answer, error) { return obey(ctx, o) })
		if err != nil {
			a.Err = err.Error()
		}
		if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
			return errors.Join(err, end())
		}
	}
}

// measure calls f and adds what the process took for it.
func measure(f func() (answer, error)) (a answer, err error) {
	debug.FreeOSMemory()
	// 5 sets the peak back to what is resident now (proc(5)).
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return a, err
	}
	w0, err := written()
	if err != nil {
		return a, err
	}
	watch, err := watchMemory()
	if err != nil {
		return a, err
	}
	c0, t0 := processors(), time.Now()
	a, err = f()
	if a.Seconds == 0 {
		a.Seconds, a.CPU = time.Since(t0).Seconds(), (processors() - c0).Seconds()
	}
	anon, merr := watch()
	if err := errors.Join(err, merr); err != nil {
		return a, err
	}
	a.Anon = anon
	w1, err := written()
	if err != nil {
		return a, err
	}
	a.Written = w1 - w0
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return a, err
	}
	kib, err := procField(status, "VmHWM:")
	a.Peak = kib << 10
	return a, err
}

// processors is the time that they have worked for this process.
func processors() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// watchMemory looks every 4 ms at what memory the process has of its own. What
// it returns ends the watch and says the most.
func watchMemory() (end func() (int64, error), err error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return nil, err
	}
	var most int64
	buf := make([]byte, 8192)
	look := func() error {
		n, err := f.ReadAt(buf, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		kib, err := procField(buf[:n], "RssAnon:")
		most = max(most, kib<<10)
		return err
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(4 * time.Millisecond)
		defer tick.Stop()
		for err == nil {
			select {
			case <-stop:
				return
			case <-tick.C:
				err = look()
			}
		}
	})
	return func() (int64, error) {
		close(stop)
		wg.Wait()
		return most, errors.Join(err, look(), f.Close())
	}, nil
}

// gateChild is a gate that reads the repository's folder.
type gateChild struct {
	setup
	now  time.Time
	gate *listGate
	end  func() error
}

func (g *gateChild) open() (err error) {
	a := &authority{dir: g.Repository, root: g.Root}
	g.gate, g.end, err = a.gateAt(g.Path, func() time.Time { return g.now })
	return err
}

func (g *gateChild) close() error {
	if g.gate == nil {
		return nil
	}
	g.gate = nil
	return g.end()
}

func (g *gateChild) obey(ctx context.Context, o order) (a answer, err error) {
	g.now = o.Now
	switch o.Do {
	case "lookup":
		a.Nanoseconds = g.lookup()
		return a, nil
	case "poll":
		err := g.poll(ctx, &a)
		return a, err
	case "fresh":
		for range max(o.Times, 1) {
			if err := errors.Join(g.close(), removeStore(g.Path)); err != nil {
				return a, err
			}
			if err := g.poll(ctx, &a); err != nil {
				return a, err
			}
		}
		return a, nil
	case "floor":
		data, err := os.ReadFile(g.Raw)
		if err != nil {
			return a, err
		}
		path := g.Path + ".floor"
		for range max(o.Times, 1) {
			err := a.time(func() error { return writeFile(path, data) })
			if err := errors.Join(err, os.Remove(path)); err != nil {
				return a, err
			}
		}
		return a, nil
	}
	return a, fmt.Errorf("a gate does not know %q", o.Do)
}

// poll has the gate ask once. The time to open its store does not count.
func (g *gateChild) poll(ctx context.Context, a *answer) error {
	if g.gate == nil {
		if err := g.open(); err != nil {
			return err
		}
	}
	err := a.time(func() error {
		report, err := g.gate.poll(ctx)
		a.Fetched, a.Installed = report.Fetched, len(report.Installed)
		return err
	})
	if err != nil {
		return err
	}
	info, err := os.Stat(g.Path)
	if err != nil {
		return err
	}
	a.File = info.Size()
	return nil
}

// time adds what f takes.
func (a *answer) time(f func() error) error {
	start, cpu := time.Now(), processors()
	err := f()
	a.Seconds += time.Since(start).Seconds()
	a.CPU += (processors() - cpu).Seconds()
	return err
}

// lookup is the nanoseconds of one, of random codes.
func (g *gateChild) lookup() float64 {
	rng := rand.New(rand.NewPCG(5, 6))
	refs := make([]pass.StatusRef, 1<<16)
	for i := range refs {
		code := rng.IntN(g.Codes)
		refs[i] = pass.StatusRef{URI: uri(code / perList), Index: uint64(code % perList)}
	}
	start, last := time.Now(), gate.Green
	for i := range refs {
		last = g.gate.db.Lookup(refs[(i+int(last>>7))%len(refs)]).Status
	}
	return float64(time.Since(start).Nanoseconds()) / float64(len(refs))
}
