package control

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A socket takes the place of one that nobody answers on, and of nothing else.
func TestListen(t *testing.T) {
	dir, err := os.MkdirTemp("", "ctl") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v %v", info, err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "answers there") {
		t.Errorf("a second gate: %v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first one lost its socket: %v", err)
	} else {
		c.Close()
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as a crash leaves it
	first.Close()
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	again.Close()

	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a file": file, "no folder": filepath.Join(dir, "none", "s"), "too long": filepath.Join(dir, strings.Repeat("x", 110))} {
		if l, err := Listen(path); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: %v", name, err)
			if l != nil {
				l.Close()
			}
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a file was removed: %v", err)
	}
}
