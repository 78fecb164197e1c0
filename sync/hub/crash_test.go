package hub

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"greengate/gate"
)

// childDir is the hub's folder in a child, childMost the most bytes that a file there may have.
const childDir, childMost = "GREENGATE_TEST_HUB", "GREENGATE_TEST_HUB_FILE"

// TestMain serves a hub when the test has started itself again as a child.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serveChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveChild(dir string) error {
	ctx := context.Background()
	h, err := Open(ctx, dir, quiet())
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var acknowledged uint64
	for range 3 {
		child := exec.CommandContext(t.Context(), self, "-test.run=^$")
		child.Env = append(os.Environ(), childDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		url, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		url = strings.TrimSpace(url)
		for range 5 {
			g.pass(t, 7, gate.Valid)
			status, n, word := g.post(t, url, g.batch(t, acknowledged+1, g.seq))
			if status != 200 || n != g.seq {
				t.Fatalf("batch: %d %d %s", status, n, word)
			}
			acknowledged = n
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
	}
	h = openHub(t, dir, quiet())
	verifyGate(t, h, "north", acknowledged)
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^$")
	child.Env = append(os.Environ(), childDir+"="+dir, childMost+"=262144")
	said := new(strings.Builder)
	child.Stderr = said
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url = strings.TrimSpace(url)
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
