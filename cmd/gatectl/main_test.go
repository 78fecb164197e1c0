package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/gate"
)

// ctl runs gatectl with a PIN on a pipe.
func ctl(t *testing.T, pin string, args ...string) (string, error) {
	t.Helper()
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := w.WriteString(pin); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var out, errs bytes.Buffer
	err = run(t.Context(), args, in, &out, &errs)
	return out.String(), err
}

// A guard is added, gets another PIN, and the file stays private and whole.
func TestGuardAdd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "guards.json")
	for _, step := range []struct {
		name, pin string
		want      error
	}{
		{"alice", "2468\n", nil},
		{"bob", "13579\r\n", nil},
		{"carol", "12\n", gate.ErrPIN},
		{"carol", "abcd\n", gate.ErrPIN},
		{"carol", "", gate.ErrPIN},
		{strings.Repeat("x", 40), "2468\n", gate.ErrGuards},
		{"alice", "8642\n", nil},
	} {
		if _, err := ctl(t, step.pin, "guard", "add", "-file", file, step.name); !errors.Is(err, step.want) {
			t.Errorf("add %s: %v, want %v", step.name, err, step.want)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("file: %v %v", info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	guards, err := gate.ParseGuards(text)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := guards.Authenticate("2468", now); !errors.Is(err, gate.ErrWrongPIN) {
		t.Errorf("alice's old PIN: %v", err)
	}
	if name, err := guards.Authenticate("8642", now); err != nil || name != "alice" {
		t.Errorf("alice's new PIN: %s %v", name, err)
	}
	out, err := ctl(t, "", "guard", "list", "-file", file)
	if err != nil || out != "alice\nbob\n" {
		t.Errorf("list: %q %v", out, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".guards-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Without a gate, and with wrong words, there is a hint.
func TestHints(t *testing.T) {
	for _, args := range [][]string{
		{"-socket", filepath.Join(t.TempDir(), "none.sock"), "status"},
		{"-socket", filepath.Join(t.TempDir(), "none.sock"), "journal", "tail"},
		{"frobnicate"}, {"guard", "add"},
	} {
		if _, err := ctl(t, "", args...); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if out, err := ctl(t, "", "help"); err != nil || !strings.Contains(out, "scan-test") {
		t.Errorf("help: %q %v", out, err)
	}
}
