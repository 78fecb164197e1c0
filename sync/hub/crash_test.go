package hub

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"greengate/gate"
	"greengate/sync/hub/index"
)

// childDir is the hub's folder in a child, childMost the most bytes that a file
// there may have, childCount how often it writes what it counted.
const childDir, childMost, childCount = "GREENGATE_TEST_HUB", "GREENGATE_TEST_HUB_FILE", "GREENGATE_TEST_HUB_COUNT"

// TestMain serves a hub when the test has started itself again as a child.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child := serveChild
		if os.Getenv(childMove) != "" {
			child = moveChild
		}
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveChild(dir string) error {
	ctx := context.Background()
	o := quiet()
	if every, err := time.ParseDuration(os.Getenv(childCount)); err == nil {
		// In China's time: the days of two processes are the same.
		o.countEvery, o.Location = every, nil
	}
	h, err := Open(ctx, dir, o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if most, err := strconv.ParseUint(os.Getenv(childMost), 10, 64); err == nil {
		// As on a full disk: no file grows beyond this.
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			return err
		}
	}
	fmt.Println("https://" + l.Addr().String())
	return h.Serve(ctx, l, nil, nil)
}

// TestKilledHubKeepsWhatItAcknowledged kills the hub's process right behind an
// acknowledgement, three times, and goes on with what is there.
func TestKilledHubKeepsWhatItAcknowledged(t *testing.T) {
	h, dir := newHub(t, quiet())
	if c := h.store.server.JetStreamConfig(); !c.SyncAlways {
		t.Error("the server does not flush each message to disk")
	}
	g := addGate(t, h, "north")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	var acknowledged uint64
	for range 3 {
		child, url := startHub(t, dir)
		for range 5 {
			g.pass(t, 7, gate.Valid)
			status, n, word := g.post(t, url, g.batch(t, acknowledged+1, g.seq))
			if status != 200 || n != g.seq {
				t.Fatalf("batch: %d %d %s", status, n, word)
			}
			acknowledged = n
		}
		kill(t, child)
	}
	h = openHub(t, dir, quiet())
	verifyGate(t, h, "north", acknowledged)
}

// startHub serves a hub's folder in a process of its own.
func startHub(t *testing.T, dir string, env ...string) (child *exec.Cmd, url string) {
	t.Helper()
	return startChild(t, dir, os.Stderr, env...)
}

// startChild starts this program again on a hub's folder, and returns the first
// line that it prints.
func startChild(t *testing.T, dir string, stderr io.Writer, env ...string) (child *exec.Cmd, line string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child = exec.CommandContext(t.Context(), self, "-test.run=^$")
	child.Env = append(append(os.Environ(), childDir+"="+dir), env...)
	child.Stderr = stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return child, strings.TrimSpace(line)
}

// kill ends a child with SIGKILL, wherever it is.
func kill(t *testing.T, child *exec.Cmd) {
	t.Helper()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
}

// TestKilledWhileCounting kills the hub's process eight times while it writes
// its counts each millisecond, behind the first, the second, the third batch …
// After that the days of each gate are what somebody counts who reads all
// stored passages from the beginning, and nothing is missing that was acknowledged.
func TestKilledWhileCounting(t *testing.T) {
	h, dir := newHub(t, quiet())
	gates := []*testGate{addGate(t, h, "north"), addGate(t, h, "south")}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	acknowledged := map[string]uint64{}
	for round := range 8 {
		child, url := startHub(t, dir, childCount+"=1ms")
		for batch := range round + 1 {
			for i, g := range gates {
				// Today's, and what comes late for each of the days before.
				g.write(t, walks(now.Add(-time.Duration(24*batch)*time.Hour-time.Duration(i)*time.Hour), 4+batch, 1+i)...)
				status, n, word := g.post(t, url, g.batch(t, acknowledged[g.id]+1, g.seq))
				if status != 200 || n != g.seq {
					t.Fatalf("batch: %d %d %s", status, n, word)
				}
				acknowledged[g.id] = n
			}
		}
		kill(t, child)
	}
	o := quiet()
	o.Location, o.countEvery = nil, time.Hour
	h = openHub(t, dir, o)
	// What the killed ones wrote; this one has written nothing yet.
	at, _, err := load[uint64](t.Context(), h.store.days, daysCheckpoint)
	if err != nil || at == 0 {
		t.Errorf("checkpoint %d, %v: nobody was killed while it counted", at, err)
	}
	info, err := h.store.passages.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("counted to message %d of %d when the last one was killed", at, info.State.LastSeq)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	o.countEvery = 10 * time.Millisecond
	h = openHub(t, dir, o)
	counted(t, h, h.days)
	for _, g := range gates {
		verifyGate(t, h, g.id, acknowledged[g.id])
		type total struct{ admit, refuse, passed, judged, serious uint64 }
		want := map[string]map[int]total{}
		for p, err := range h.All(t.Context(), g.id, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if p.Kind != gate.DecisionRecord && p.Kind != gate.OutcomeRecord {
				continue
			}
			at := p.At.In(h.options.Location)
			day := at.Format(time.DateOnly)
			if want[day] == nil {
				want[day] = map[int]total{}
			}
			n := want[day][at.Hour()]
			switch {
			case p.Kind == gate.OutcomeRecord:
				n.passed++
			case p.Verdict == "admit":
				n.admit, n.judged = n.admit+1, n.judged+1
			default:
				n.refuse, n.judged, n.serious = n.refuse+1, n.judged+1, n.serious+1
			}
			want[day][at.Hour()] = n
		}
		if len(want) < 8 {
			t.Errorf("gate %s has %d days", g.id, len(want))
		}
		for day, hours := range want {
			got, _, err := load[dayRecord](t.Context(), h.store.days, day+"."+g.id)
			if err != nil {
				t.Fatalf("%s %s: %v", day, g.id, err)
			}
			var all total
			for hour, c := range got.Hours {
				n := hours[hour]
				all.admit, all.refuse = all.admit+n.admit, all.refuse+n.refuse
				if c != (index.Hour{Passed: uint32(n.passed), Judged: uint32(n.judged), Serious: uint32(n.serious)}) {
					t.Errorf("%s %s at %d: %+v, want %+v", day, g.id, hour, c, n)
				}
			}
			if got.Counts.Admit != all.admit || got.Counts.Refuse != all.refuse {
				t.Errorf("%s %s: %+v, want %+v", day, g.id, got.Counts, all)
			}
		}
	}
}

// TestFullDisk: JetStream takes nothing any more after a write that failed, so
// the hub ends, for the service manager to start it again. Nothing that it
// acknowledged is lost, and once there is room each record is there once.
func TestFullDisk(t *testing.T) {
	h, dir := newHub(t, quiet())
	g := addGate(t, h, "north")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	said := new(strings.Builder)
	child, url := startChild(t, dir, said, childMost+"=262144")
	var acknowledged uint64
	for {
		g.pass(t, 100, gate.Valid)
		status, n, _ := g.post(t, url, g.batch(t, acknowledged+1, g.seq))
		if status != 200 {
			break
		}
		if acknowledged = n; n > 10000 {
			t.Fatal("the disk does not fill")
		}
	}
	if err := child.Wait(); err == nil || !strings.Contains(said.String(), ErrStorage.Error()) {
		t.Errorf("the child ended with %v and said %q", err, said)
	}
	h = openHub(t, dir, quiet())
	verifyGate(t, h, "north", acknowledged)
	// Until such a hub has ended it acknowledges nothing, not even what it shows.
	h.store.down.Store(true)
	rec, err := h.gate(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := h.ingest(t.Context(), "north", rec, g.batch(t, acknowledged-99, acknowledged)); !errors.Is(err, ErrStorage) {
		t.Errorf("a failed storage acknowledged %d, %v", n, err)
	}
	h.store.down.Store(false)
	again, _ := serve(t, h)
	if status, n, word := g.post(t, again, g.batch(t, acknowledged+1, g.seq)); status != 200 || n != g.seq {
		t.Errorf("with room again: %d %d %q", status, n, word)
	}
	verifyGate(t, h, "north", g.seq)
}
