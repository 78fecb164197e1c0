package hub

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"greengate/gate"
)

const childDir = "GREENGATE_TEST_HUB"

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
