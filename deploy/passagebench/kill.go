package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"greengate/sync/enrol"
	"greengate/sync/hub"
)

// kill counts what is lost and what is doubled when parts are killed in
// mid-stream: one of three nodes, the one that leads the passages, one of two hubs, the gate.
func (b *bench) kill(ctx context.Context) (err error) {
	s, err := b.newSite(ctx, "kill", 3, 2)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := s.close(); err == nil {
			err = cerr
		}
	}()
	r, err := b.newRecorder(ctx, s.hubs[0].client)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := r.close(); err == nil {
			err = cerr
		}
	}()
	kinds := []string{"node", "leader", "hub", "gate"}
	killed := map[string]uint64{}
	for round := range b.rounds {
		// The stream flows again before the next blow, or there would be nothing to strike at.
		if err := r.flows(ctx, 50); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		pause(ctx, rand.N(300*time.Millisecond))
		what := kinds[round%len(kinds)]
		victim := what
		switch what {
		case "gate":
			err = r.killed()
		case "hub":
			victim, err = s.strikeHub()
		default:
			victim, err = s.strikeNode(ctx, what == "leader")
		}
		if err != nil {
			return fmt.Errorf("round %d, %s: %w", round+1, what, err)
		}
		killed[what]++
		b.say("kill: round %d of %d: %s; %d decided, %d acknowledged", round+1, b.rounds, victim, r.count(), r.acknowledged())
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := r.flows(ctx, 50); err != nil {
		return err
	}
	if err := r.finish(ctx); err != nil {
		return err
	}
	found, doubled, lost, err := r.compare(ctx, s.hubs[0].client)
	if err != nil {
		return err
	}
	b.count("hub.kill.rounds", uint64(b.rounds), "rounds")
	for _, what := range kinds {
		b.count("hub.kill."+what, killed[what], "kills")
	}
	b.count("hub.kill.decided", uint64(r.count()), "records")
	b.count("hub.kill.found", found, "records")
	b.count("hub.kill.lost", lost, "records")
	b.count("hub.kill.doubled", doubled, "records")
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// recorder is the gate's process and what it has said.
type recorder struct {
	b    *bench
	gate string
	dir  string
	log  *os.File

	mu      sync.Mutex
	cmd     *exec.Cmd
	in      io.WriteCloser
	ended   chan error
	decided map[uint64]uint64 // by number: the sequence
	acked   uint64
	number  uint64
	stop    chan struct{}
	feeding sync.WaitGroup
}

func (b *bench) newRecorder(ctx context.Context, c *hub.Client) (*recorder, error) {
	r := &recorder{b: b, gate: "struck", dir: filepath.Join(b.dir, "struck"), decided: map[uint64]uint64{}, stop: make(chan struct{})}
	if err := os.MkdirAll(filepath.Join(r.dir, "journal"), 0o700); err != nil {
		return nil, err
	}
	bundle, err := c.AddGate(ctx, hub.GateRequest{Gate: r.gate, Site: "bench", By: "bench"})
	if err != nil {
		return nil, err
	}
	id := enrol.Identity{Gate: bundle.Gate, HubURL: bundle.HubURL, ListsURL: bundle.ListsURL, HubCA: bundle.HubCA,
		Certificate: bundle.Certificate, PrivateKey: bundle.PrivateKey, TUFRoot: bundle.TUFRoot, HubKey: bundle.HubKey}
	if err := id.Save(filepath.Join(r.dir, "identity.json")); err != nil {
		return nil, err
	}
	if r.log, err = os.Create(filepath.Join(b.dir, "struck.log")); err != nil {
		return nil, err
	}
	if err := r.start(); err != nil {
		return nil, err
	}
	r.feeding.Go(r.feed)
	return r, nil
}

func (r *recorder) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "gate", r.dir)
	cmd.Stderr = r.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		// What it said before it was killed is read to the end.
		err := r.listen(out)
		ended <- errors.Join(err, cmd.Wait())
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd, r.in, r.ended = cmd, in, ended
	return nil
}

// listen takes down what the gate says. A line that was cut says nothing.
func (r *recorder) listen(out io.Reader) error {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		var seq, number uint64
		r.mu.Lock()
		switch {
		case strings.HasPrefix(line, "decided "):
			if _, err = fmt.Sscanf(line, "decided %d %d\n", &seq, &number); err == nil {
				r.decided[number] = seq
			}
		default:
			if _, err = fmt.Sscanf(line, "acknowledged %d\n", &seq); err == nil {
				r.acked = max(r.acked, seq)
			}
		}
		r.mu.Unlock()
		if err != nil {
			return fmt.Errorf("the gate says %q: %w", line, err)
		}
	}
}

// feed asks for 200 decisions a second, each with a number of its own.
func (r *recorder) feed() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
		r.mu.Lock()
		r.number++
		in, number := r.in, r.number
		r.mu.Unlock()
		// A gate that is down is not asked; the next number goes to the next one.
		_, _ = fmt.Fprintln(in, number)
	}
}

func (r *recorder) count() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.decided) }

func (r *recorder) acknowledged() uint64 { r.mu.Lock(); defer r.mu.Unlock(); return r.acked }

// flows waits until so many more records are acknowledged.
func (r *recorder) flows(ctx context.Context, more uint64) error {
	from := r.acknowledged()
	err := until(ctx, 2*time.Minute, fmt.Sprintf("the hub acknowledges more than %d", from), func() (bool, error) {
		r.mu.Lock()
		ended := r.ended
		r.mu.Unlock()
		select {
		case err := <-ended:
			ended <- err
			return false, fmt.Errorf("the gate ended by itself: %w", err)
		default:
			return r.acknowledged() >= from+more, nil
		}
	})
	if err != nil {
		text, rerr := os.ReadFile(r.log.Name())
		return errors.Join(err, rerr, errors.New(string(text[max(0, len(text)-1500):])))
	}
	return nil
}

// killed kills the gate and starts it again on the same folder.
func (r *recorder) killed() error {
	r.mu.Lock()
	cmd, ended := r.cmd, r.ended
	r.mu.Unlock()
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	<-ended
	return r.start()
}

// finish stops asking, and lets the gate send what it has.
func (r *recorder) finish(ctx context.Context) error {
	close(r.stop)
	r.feeding.Wait()
	r.mu.Lock()
	in, ended := r.in, r.ended
	r.mu.Unlock()
	if err := in.Close(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-ended:
		r.mu.Lock()
		r.cmd = nil
		r.mu.Unlock()
		return err
	}
}

func (r *recorder) close() error {
	r.mu.Lock()
	cmd, ended := r.cmd, r.ended
	r.mu.Unlock()
	if cmd != nil {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		<-ended
	}
	return r.log.Close()
}

// compare reads everything that the hub holds of the gate and compares it with
// what was decided, record by record.
func (r *recorder) compare(ctx context.Context, c *hub.Client) (found, doubled, lost uint64, err error) {
	v, err := c.Verify(ctx, hub.GateRef{Gate: r.gate, By: "bench"})
	if err != nil {
		return 0, 0, 0, err
	}
	if !v.Chain || !v.Signatures {
		return 0, 0, 0, fmt.Errorf("chain %v, signatures %v", v.Chain, v.Signatures)
	}
	seen := map[uint64]uint64{}
	for after := uint64(0); ; {
		page, err := c.Passages(ctx, hub.PassagesRequest{Gate: r.gate, After: after, Max: 1000})
		if err != nil {
			return 0, 0, 0, err
		}
		if len(page) == 0 {
			break
		}
		for _, p := range page {
			if p.Sequence <= after {
				doubled++
			}
			after = max(after, p.Sequence)
			if _, again := seen[p.Policy]; again {
				doubled++
			}
			seen[p.Policy] = p.Sequence
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for number, seq := range r.decided {
		if at, ok := seen[number]; ok && at == seq {
			found++
		} else {
			lost++
		}
	}
	return found, doubled + v.Duplicates, lost, nil
}

// balancer is what stands before the hubs: each connection goes to one that answers.
type balancer struct {
	l    net.Listener
	to   []string
	done sync.WaitGroup
}

func newBalancer(l net.Listener, to []string) *balancer {
	b := &balancer{l: l, to: to}
	b.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.done.Go(func() { b.carry(c) })
		}
	})
	return b
}

func (b *balancer) carry(c net.Conn) {
	defer c.Close()
	for _, i := range rand.Perm(len(b.to)) {
		up, err := net.DialTimeout("tcp", b.to[i], time.Second)
		if err != nil {
			continue // that hub is down
		}
		defer up.Close()
		ended := make(chan struct{}, 2)
		for _, pair := range [][2]net.Conn{{c, up}, {up, c}} {
			go func() {
				// How a connection ends is the business of its ends.
				_, _ = io.Copy(pair[0], pair[1])
				ended <- struct{}{}
			}()
		}
		<-ended
		return
	}
}
