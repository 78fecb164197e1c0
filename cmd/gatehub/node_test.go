package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/sync/hub"
)

// background runs a command until the test, or what is returned, ends it.
func background(t *testing.T, args ...string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var said bytes.Buffer
	go func() { ended <- run(ctx, args, &said, &said) }()
	stopped := false
	end = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("gatehub %s: %v\n%s", strings.Join(args, " "), err, said.String())
		}
	}
	t.Cleanup(end)
	return end
}

// until tries a command until it works.
func (h hubRun) until(args ...string) string {
	h.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(90 * time.Second); ; <-tick.C {
		out, _, err := h.try(args...)
		if err == nil {
			return out
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("gatehub %s: %v", strings.Join(args, " "), err)
		}
	}
}

// addresses returns addresses on loopback that nobody listens on.
func addresses(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out
}

// startNodes makes a hub's three nodes in a folder and runs them, at the first
// three addresses for hubs and the next three for each other.
func startNodes(t *testing.T, h hubRun, dir string, at []string) (nats string) {
	t.Helper()
	var nodes []string
	for i, name := range []string{"n1", "n2", "n3"} {
		folder := filepath.Join(dir, name)
		h.must("node", "add", "-host", "127.0.0.1", "-out", folder, name)
		args := []string{"node", "-dir", folder, "-name", name, "-listen", at[i], "-cluster", at[3+i]}
		for j := range 3 {
			if j != i {
				args = append(args, "-route", at[3+j])
			}
		}
		background(t, args...)
		nodes = append(nodes, "nats://"+at[i])
	}
	return strings.Join(nodes, ",")
}

// By the command line a hub grows from its own storage to three nodes, and then
// to two hubs: what one was told the other knows, one publishes, and when it ends
// the other one does.
func TestTwoHubsByCommand(t *testing.T) {
	dir := t.TempDir()
	a, b := hubRun{t, filepath.Join(dir, "a")}, hubRun{t, filepath.Join(dir, "b")}
	at := addresses(t, 8)
	c := hubRun{t, filepath.Join(dir, "c")}
	c.must("init", "-cluster", "-name", "Hangzhou", "-url", "https://"+at[6], "-province", "33")
	a.must("init", "-name", "Hangzhou", "-url", "https://"+at[6], "-province", "33")
	end := background(t, "serve", "-dir", a.dir, "-listen", at[6], "-operator", "")
	a.until("lists")
	before := decode[hub.Declaration](t, a.must("declare", "-name", "王建明", "-region", "330106"))
	if _, _, err := a.try("move", "-nats", "nats://"+at[0]); err == nil || !strings.Contains(err.Error(), "stop the hub") {
		t.Errorf("a hub that serves is moved: %v", err)
	}
	end()
	nodes := startNodes(t, a, dir, at)
	if _, _, err := a.try("move", "-nats", nodes, "-replicas", "1"); err == nil || !strings.Contains(err.Error(), "3 or 5") {
		t.Errorf("moved to one node: %v", err)
	}
	out, progress, err := a.try("move", "-nats", nodes)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "gatehub serve -dir "+a.dir+" -nats "+nodes) || !strings.Contains(progress, "on all nodes, compared") {
		t.Errorf("move says %q, and on the way %q", out, progress)
	}
	for _, h := range []hubRun{a, c} {
		if _, _, err := h.try("serve", "-listen", at[6]); err == nil || !strings.Contains(err.Error(), "-nats") {
			t.Errorf("serve without its cluster: %v", err)
		}
	}
	endA := background(t, "serve", "-dir", a.dir, "-listen", at[6], "-operator", "", "-nats", nodes)
	a.until("lists")
	a.must("review", "-colour", "green", before.ID)
	b.must("join", "-from", a.dir)
	background(t, "serve", "-dir", b.dir, "-listen", at[7], "-operator", "", "-nats", nodes)
	b.until("lists")

	d := decode[hub.Declaration](t, a.must("declare", "-name", "王建明", "-region", "330106"))
	b.must("review", "-colour", "green", d.ID)
	b.must("issue", d.ID)
	a.must("publish")
	if _, _, err := b.try("publish"); err == nil || !strings.Contains(err.Error(), a.dir) {
		t.Errorf("publish at the hub that does not lead: %v", err)
	}
	if _, _, err := b.try("keys", "renew", "-offline", filepath.Join(a.dir, "keys", "tuf", "offline")); err == nil {
		t.Error("offline keys signed at the hub that does not lead")
	}
	endA()
	b.until("publish")
	stick := filepath.Join(dir, "stick")
	if err := os.Mkdir(stick, 0o700); err != nil {
		t.Fatal(err)
	}
	b.must("lists", "export", "-out", stick)
	if _, err := os.Stat(filepath.Join(stick, "targets", "status", "3301")); err != nil {
		t.Errorf("the stick: %v", err)
	}
}
