package wire

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"greengate/gate"
	"greengate/gpio"
	"greengate/gpio/gpiosim"
	"greengate/sync/enrol"
	"greengate/sync/hub"
)

// rig is a real hub and a real gate in one process: real JetStream, TLS, bbolt,
// journal and pseudo-terminal; only the pins lie in memory.
type rig struct {
	t       *testing.T
	dir     string
	hub     *hub.Hub
	lane    *gpiosim.Lane
	panel   *gpio.Panel
	scanner *os.File // the scanner's end of the pseudo-terminal
	tty     *os.File
	config  string // gate.toml
	gate    *Gate
	views   chan gate.View
	stop    func() error
	stopHub func() // takes the hub off the network
	address string // of the hub
	now     func() time.Time
	beat    func() // of the lane's loop, nil for none
	log     *lockedBuffer
}

// lockedBuffer keeps the log for a look at its words.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// views as a screen.
type viewScreen chan gate.View

func (v viewScreen) Show(view gate.View) {
	select {
	case v <- view:
	default:
	}
}

// newRig makes a hub with a signed policy, and a gate that does not run yet.
func newRig(t *testing.T) *rig {
	t.Helper()
	ctx := t.Context()
	r := &rig{t: t, dir: t.TempDir(), now: time.Now, log: &lockedBuffer{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	gates, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	hubDir, state := filepath.Join(r.dir, "hub"), filepath.Join(r.dir, "gate")
	must(hub.Init(ctx, hubDir, hub.Config{Name: "test", URL: "https://" + gates.Addr().String(), Provinces: []string{"33"}}, hub.Options{}))
	r.hub, err = hub.Open(ctx, hubDir, hub.Options{PublishDelay: -1})
	must(err)
	r.address = gates.Addr().String()
	r.serveHub(gates)
	t.Cleanup(func() {
		r.stopHub()
		if err := r.hub.Close(); err != nil {
			t.Errorf("hub: %v", err)
		}
	})
	b, err := r.hub.AddGate(ctx, hub.GateRequest{Gate: "east-1", By: "test"})
	must(err)
	must(os.MkdirAll(state, 0o700))
	id := enrol.Identity{Gate: b.Gate, HubURL: b.HubURL, ListsURL: b.ListsURL, HubCA: b.HubCA, Certificate: b.Certificate, PrivateKey: b.PrivateKey, TUFRoot: b.TUFRoot, HubKey: b.HubKey}
	must(id.Save(filepath.Join(state, "identity.json")))
	r.scanner, r.tty, err = pty.Open()
	must(err)
	t.Cleanup(func() { r.scanner.Close(); r.tty.Close() })
	r.config = fmt.Sprintf("state = %q\n[web]\nlisten = \"127.0.0.1:0\"\n[lane]\nrefuse_for = \"500ms\"\n[lists]\nhold = [\"33\"]\npoll_every = \"1s\"\n[[reader]]\nkind = \"serial\"\ndevice = %q\n[gpio]\nentry_relay = \"GPIO17\"\n",
		state, r.tty.Name())
	return r
}

// serveHub puts the hub on the network.
func (r *rig) serveHub(l net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.hub.Serve(ctx, l, nil, nil) }()
	r.stopHub = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			r.t.Errorf("hub: %v", err)
		}
	})
}

// issue makes a static code of a colour, visible to gates after the next publish.
func (r *rig) issue(colour string) string {
	r.t.Helper()
	ctx := r.t.Context()
	d, err := r.hub.Declare(ctx, hub.DeclareRequest{Name: "王建明", Region: "330106"})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.hub.Review(ctx, hub.ReviewRequest{Declaration: d.ID, Colour: colour, Reviewer: "test"}); err != nil {
		r.t.Fatal(err)
	}
	i, err := r.hub.Issue(ctx, hub.IssueRequest{Declaration: d.ID, Kind: "static", By: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	return i.Code
}

func (r *rig) publish() {
	r.t.Helper()
	if _, err := r.hub.Publish(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// start runs the gate until the test's end, or until stop.
func (r *rig) start() {
	r.t.Helper()
	cfg, err := ParseConfig("gate.toml", []byte(r.config))
	if err != nil {
		r.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	r.lane = gpiosim.New(gpio.PulseMode)
	if r.panel, err = gpio.New(r.lane.Pins(), r.lane.Config(), log); err != nil {
		r.t.Fatal(err)
	}
	sensor, err := gpio.NewThermometer(r.lane.Bus(), gpio.ThermometerConfig{}, log)
	if err != nil {
		r.t.Fatal(err)
	}
	r.lane.Thermometer.SetTemperature(36500, 23000)
	r.views = make(chan gate.View, 1024)
	r.gate, err = Open(cfg, Hardware{Panel: r.panel, Thermometer: sensor, PassageContact: true},
		Options{Log: log, Now: r.now, Beat: r.beat, Synchronised: func() bool { return true }, Screens: []gate.Screen{viewScreen(r.views)}, Version: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.gate.Run(ctx, func() {}) }()
	var once sync.Once
	r.stop = func() (err error) {
		once.Do(func() {
			cancel()
			err = <-done
			for _, f := range []func() error{r.gate.Close, r.panel.Close} {
				if e := f(); err == nil {
					err = e
				}
			}
		})
		return err
	}
	r.t.Cleanup(func() {
		if err := r.stop(); err != nil {
			r.t.Errorf("gate: %v", err)
		}
		if r.t.Failed() {
			r.t.Logf("the gate's log:\n%s", r.log)
		}
	})
}

// until waits for a view.
func (r *rig) until(what string, want func(gate.View) bool) gate.View {
	r.t.Helper()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	var last gate.View
	for {
		select {
		case last = <-r.views:
			if want(last) {
				return last
			}
		case <-timeout.C:
			r.t.Fatalf("%s did not happen; the lane is %s %s %s", what, last.State, last.Decision.Reason, last.FaultCode)
		}
	}
}

func (r *rig) untilState(s gate.State) gate.View {
	r.t.Helper()
	return r.until(s.String(), func(v gate.View) bool { return v.State == s })
}

// eventually polls what no event tells of.
func (r *rig) eventually(what string, is func() error) {
	r.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := is()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %v", what, err)
		}
		<-tick.C
	}
}

// ready waits until the gate has the newest lists and its reader.
func (r *rig) ready() {
	r.t.Helper()
	lists, err := r.hub.Lists(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.eventually("the gate is ready", func() error {
		s := r.gate.Status()
		if len(s.Lists) != len(lists) {
			return fmt.Errorf("%d of %d lists; %s", len(s.Lists), len(lists), s.Trust.LastError)
		}
		for i := range lists {
			if s.Lists[i].Sequence < lists[i].Sequence {
				return fmt.Errorf("list %s is old", lists[i].URI)
			}
		}
		if !strings.HasPrefix(s.Readers[0].State, "connected") {
			return fmt.Errorf("reader: %s", s.Readers[0].State)
		}
		if s.Lane != "idle" {
			return fmt.Errorf("lane: %s %s", s.Lane, s.FaultCode)
		}
		return nil
	})
}

// scan types a code as the scanner does.
func (r *rig) scan(code string) {
	r.t.Helper()
	if _, err := r.scanner.WriteString(code + "\r"); err != nil {
		r.t.Fatal(err)
	}
}

// atHub waits until the hub has all that the gate wrote, and replays it.
func (r *rig) atHub() hub.Verification {
	r.t.Helper()
	r.eventually("the hub has everything", func() error {
		if s := r.gate.Status(); s.Upload.Backlog > 0 || s.Counts.Waiting > 0 {
			return fmt.Errorf("%d records left; %s", s.Upload.Backlog, s.Upload.LastError)
		}
		return nil
	})
	v, err := r.hub.Verify(r.t.Context(), hub.GateRef{Gate: "east-1", By: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}
