package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"greengate/cmd/control"
	"greengate/gate"
	"greengate/scanner/qr"
	"greengate/sync/enrol"
	"greengate/sync/hub"
)

const (
	gateName = "east-1"
	zone     = "330106-A"
	province = "33"
	region   = "330106"
)

// demo is a hub, a gate between a pseudo-terminal and a folder of pictures,
// and the wire between the two.
type demo struct {
	out      io.Writer
	dir, bin string
	pages    string // address of the gate's pages
	operator string // address of the hub's page
	pin      string
	scanner  *os.File // the scanner's end of the pseudo-terminal
	tty      *os.File // kept open so that the terminal outlives a restart of the gate
	pictures string
	network  *network
	hub      *hub.Client
	hubProc  *process
	gateProc *process
	lane     *director
	guard    *http.Client
	control  *control.Client
	colours  bool // the output is a terminal
	shown    int  // pictures so far
	failures int
	people   int
	slowest  time.Duration
}

// runDemo is `gatesim demo`.
func runDemo(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("gatesim demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	once := flags.Bool("once", false, "end by itself, with exit status 0 only if all was as expected")
	keep := flags.Bool("keep", false, "keep the folder of the demonstration")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q\nhint: gatesim demo -h lists the flags", flags.Arg(0))
	}
	dir, err := os.MkdirTemp("", "greengate-demo-")
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &demo{out: stdout, dir: dir, bin: filepath.Dir(exe), pictures: filepath.Join(dir, "camera")}
	if f, ok := stdout.(*os.File); ok {
		d.colours = term.IsTerminal(int(f.Fd()))
	}
	defer func() {
		interrupted := ctx.Err() != nil
		err = errors.Join(err, d.close())
		if interrupted && *once {
			err = errors.New("interrupted")
		} else if interrupted {
			err = nil // Ctrl-C is how the demonstration ends
		}
		if err != nil && !interrupted || *keep {
			fmt.Fprintf(stdout, "\nlogs and data are kept in %s\n", dir)
		} else {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := d.raise(serving); err != nil {
		return err
	}
	if err := d.play(ctx); err != nil {
		return err
	}
	if *once {
		return nil
	}
	return d.stay(ctx)
}

// say prints one line of the story.
func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// process is a child that is ended with the demonstration.
type process struct {
	cmd  *exec.Cmd
	done chan error
}

func (d *demo) start(name, log string, args ...string) (*process, error) {
	path := filepath.Join(d.bin, name)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w\nhint: `make build` makes all four programs beside each other", err)
	}
	f, err := os.OpenFile(filepath.Join(d.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = f, f
	// A director that is killed takes its children along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

// stop ends a process the polite way, and waits.
func (p *process) stop(sig os.Signal) error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-p.done:
		if sig == syscall.SIGKILL {
			return nil
		}
		return err
	case <-time.After(15 * time.Second):
		return errors.Join(fmt.Errorf("%s does not end", p.cmd.Path), p.cmd.Process.Kill())
	}
}

// raise starts everything.
func (d *demo) raise(ctx context.Context) error {
	started := time.Now()
	hubAddr, err := freeAddress()
	if err != nil {
		return err
	}
	if d.operator, err = freeAddress(); err != nil {
		return err
	}
	if d.network, err = newNetwork(hubAddr); err != nil {
		return err
	}
	go d.network.serve(ctx)

	hubDir := filepath.Join(d.dir, "hub")
	init, err := d.start("gatehub", "hub.log", "init", "-dir", hubDir, "-name", "杭州 Hangzhou", "-url", "https://"+d.network.address(), "-province", province)
	if err != nil {
		return err
	}
	if err := <-init.done; err != nil {
		return fmt.Errorf("gatehub init: %w\n%s", err, d.log("hub.log"))
	}
	if d.hubProc, err = d.start("gatehub", "hub.log", "serve", "-dir", hubDir, "-listen", hubAddr, "-operator", d.operator, "-publish", "8s"); err != nil {
		return err
	}
	d.hub = hub.NewClient(hubDir)
	if err := d.eventually(ctx, 20*time.Second, "hub", func() error { _, err := d.hub.Gates(ctx); return err }); err != nil {
		return fmt.Errorf("%w\n%s", err, d.log("hub.log"))
	}
	policy := gate.DefaultPolicy()
	policy.Version, policy.PermitRequired, policy.PermitWithin = 1, true, 4
	text, err := policy.Marshal()
	if err != nil {
		return err
	}
	if err := d.hub.SetPolicy(ctx, hub.Document{JSON: text, By: "demo"}); err != nil {
		return err
	}
	riskMap, err := gate.RiskMap{Version: 1, Day: time.Now().Format(time.DateOnly), Counties: map[string]gate.RiskLevel{
		"330106": gate.RiskLow, "330105": gate.RiskLower, "330624": gate.RiskMedium, "330382": gate.RiskHigh}}.Marshal()
	if err != nil {
		return err
	}
	if err := d.hub.SetMap(ctx, hub.Document{JSON: riskMap, By: "demo"}); err != nil {
		return err
	}
	if _, err := d.hub.AddEnterprise(ctx, hub.EnterpriseRequest{Number: "QJ-1001", Name: "Qianjiang Machine Works", Region: region, Zones: []string{zone, "330106-B"}, By: "demo"}); err != nil {
		return err
	}
	bundle, err := d.hub.AddGate(ctx, hub.GateRequest{Gate: gateName, Site: "East gate", By: "demo"})
	if err != nil {
		return err
	}
	if _, err := d.hub.Publish(ctx); err != nil {
		return err
	}
	if err := d.configure(bundle); err != nil {
		return err
	}
	if err := d.startGate(ctx); err != nil {
		return err
	}
	d.say("hub and gate are up after %.1f s, state in %s", time.Since(started).Seconds(), d.dir)
	return nil
}

// configure writes what a technician would: identity, guard, gate.toml.
func (d *demo) configure(b hub.Bundle) error {
	state := filepath.Join(d.dir, "gate")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	id := enrol.Identity{Gate: b.Gate, HubURL: b.HubURL, ListsURL: b.ListsURL, HubCA: b.HubCA, Certificate: b.Certificate, PrivateKey: b.PrivateKey, TUFRoot: b.TUFRoot, HubKey: b.HubKey}
	if err := id.Save(filepath.Join(state, "identity.json")); err != nil {
		return err
	}
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return err
	}
	d.pin = fmt.Sprintf("%06d", n)
	entry, err := gate.HashPIN(d.pin, rand.Reader)
	if err != nil {
		return err
	}
	entry.Name = "guard-1"
	guards, err := gate.MarshalGuards([]gate.GuardEntry{entry})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(state, "guards.json"), guards, 0o600); err != nil {
		return err
	}
	if d.scanner, d.tty, err = pty.Open(); err != nil {
		return fmt.Errorf("pseudo-terminal: %w", err)
	}
	if d.pages, err = freeAddress(); err != nil {
		return err
	}
	text := fmt.Sprintf(`# written by the demonstration
state = %q
zone = %q
[web]
listen = %q
[lane]
release_for = "3s"
refuse_for = "700ms"
hold_for = "20s"
[lists]
hold = [%q]
poll_every = "1s"
[[reader]]
kind = "serial"
device = %q
baud = 9600
[[reader]]
kind = "camera"
source = "folder"
device = %q
[gpio]
mode = "pulse"
entry_relay = "GPIO17"
exit_relay = "GPIO27"
`, state, zone, d.pages, province, d.tty.Name(), d.pictures)
	return os.WriteFile(filepath.Join(d.dir, "gate.toml"), []byte(text), 0o600)
}

// startGate starts the simulated gate and waits until it is idle with lists.
func (d *demo) startGate(ctx context.Context) error {
	socket := filepath.Join(d.dir, "sim.sock")
	var err error
	if d.gateProc, err = d.start("gatesim", "gate.log", "gate", "-config", filepath.Join(d.dir, "gate.toml"), "-sim", socket); err != nil {
		return err
	}
	if d.lane, err = direct(ctx, socket); err != nil {
		return fmt.Errorf("%w\n%s", err, d.log("gate.log"))
	}
	if d.control == nil {
		d.control = control.NewClient(filepath.Join(d.dir, "gate", "control.sock"))
	}
	if err := d.lane.state(ctx, 20*time.Second, gate.Idle); err != nil {
		return fmt.Errorf("%w\n%s", err, d.log("gate.log"))
	}
	ready := func() error {
		s, err := d.control.Status(ctx)
		if err != nil {
			return err
		}
		if s.Policy == 0 || s.Clock != gate.ClockConfirmed.String() && s.Clock != gate.ClockNetwork.String() {
			return fmt.Errorf("policy %d, clock %s, download: %s, upload: %s", s.Policy, s.Clock, s.Trust.LastError, s.Upload.LastError)
		}
		for _, r := range s.Readers {
			if len(r.State) < 9 || r.State[:9] != "connected" {
				return fmt.Errorf("reader %s is %s", r.Name, r.State)
			}
		}
		return nil
	}
	if err := d.eventually(ctx, 30*time.Second, "gate with lists and time", ready); err != nil {
		return fmt.Errorf("%w\n%s", err, d.log("gate.log"))
	}
	return d.logIn(ctx)
}

// logIn is the guard at the page.
func (d *demo) logIn(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	d.guard = &http.Client{Jar: jar, Timeout: 10 * time.Second}
	return d.post(ctx, "/guard/login", map[string]any{"pin": d.pin})
}

func (d *demo) post(ctx context.Context, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.pages+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.guard.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return errors.Join(fmt.Errorf("%s: %s %s", path, resp.Status, answer), err)
	}
	return nil
}

// eventually tries again until it works.
func (d *demo) eventually(ctx context.Context, within time.Duration, what string, try func() error) error {
	limit, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if pause(limit, 50*time.Millisecond) != nil {
			return errors.Join(fmt.Errorf("%s: not within %s: %w", what, within, err), ctx.Err())
		}
	}
}

// log returns the end of a child's log.
func (d *demo) log(name string) string {
	text, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// picture names the file of the latest picture.
func (d *demo) picture() string { return filepath.Join(d.pictures, fmt.Sprintf("%06d.png", d.shown)) }

// looked reports whether the camera has looked at the latest picture, which it then removes.
func (d *demo) looked() bool {
	_, err := os.Stat(d.picture())
	return errors.Is(err, os.ErrNotExist)
}

// scan shows a code: the scanner types it, or the camera sees a picture of it,
// turned by so many quarters.
func (d *demo) scan(reader, code string, turns int) error {
	if reader == "serial" {
		_, err := d.scanner.WriteString(code + "\r\n")
		return err
	}
	frame, err := snapshot(code, turns)
	if err != nil {
		return err
	}
	d.shown++
	name := d.picture()
	var buf bytes.Buffer
	if err := png.Encode(&buf, frame); err != nil {
		return err
	}
	if err := os.WriteFile(name+".part", buf.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}

// snapshot is what a camera sees of a code held before a wall.
func snapshot(code string, turns int) (*image.Gray, error) {
	symbol, err := qr.Picture(code, 5)
	if err != nil {
		return nil, err
	}
	for range turns % 4 {
		symbol = turned(symbol)
	}
	frame := image.NewGray(image.Rect(0, 0, 1280, 720))
	for i := range frame.Pix {
		frame.Pix[i] = byte(96 + i*7919%31) // a grey wall with some noise
	}
	at := image.Pt(640-symbol.Rect.Dx()/2, 360-symbol.Rect.Dy()/2)
	draw.Draw(frame, symbol.Rect.Add(at), symbol, image.Point{}, draw.Src)
	return frame, nil
}

// turned is a square picture a quarter turn on.
func turned(m *image.Gray) *image.Gray {
	out, side := image.NewGray(m.Rect), m.Rect.Dx()
	for y := range side {
		for x := range side {
			out.Pix[y*out.Stride+x] = m.Pix[x*m.Stride+side-1-y]
		}
	}
	return out
}

func (d *demo) close() error {
	var errs []error
	if d.lane != nil {
		d.lane.close()
	}
	if d.control != nil {
		d.control.Close()
	}
	if d.gateProc != nil {
		if err := d.gateProc.stop(syscall.SIGTERM); err != nil {
			errs = append(errs, fmt.Errorf("gate: %w\n%s", err, d.log("gate.log")))
		}
	}
	if d.hub != nil {
		d.hub.Close()
	}
	if d.hubProc != nil {
		if err := d.hubProc.stop(syscall.SIGTERM); err != nil {
			errs = append(errs, fmt.Errorf("hub: %w\n%s", err, d.log("hub.log")))
		}
	}
	for _, f := range []*os.File{d.scanner, d.tty} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// freeAddress finds a loopback port that nobody uses now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
