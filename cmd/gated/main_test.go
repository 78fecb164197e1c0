package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"greengate/cmd/loglines"
	"greengate/sync/enrol"
	"greengate/sync/hub"
)

// -check reads everything, opens nothing, and says what is wrong.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "gate.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := fmt.Sprintf("state = %q\n[[reader]]\nkind = \"serial\"\ndevice = \"/dev/ttyNONE0\"\n", filepath.Join(dir, "state"))
	for _, c := range []struct{ text, want string }{
		{good, ""},
		{good + "baut = 9600\n", `unknown key "reader.baut"`},
		{good + "[gpio]\nentry_relay = \"GPIO2\"\n", "GPIO2"},
		{good + "[gpio]\nentry_relay = \"GPIO17\"\nred = \"GPIO17\"\n", "GPIO17"},
		{good + "[gpio]\nred = \"GPIO17\"\n", "gpio.entry_relay"},
	} {
		write(c.text)
		var out, errs bytes.Buffer
		err := run(t.Context(), []string{"-check", "-config", file}, &out, &errs)
		if c.want == "" {
			if err != nil || !strings.Contains(out.String(), "nothing wrong") {
				t.Errorf("good file: %v %s", err, out.String())
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to name %s", err, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "state")); err == nil {
		t.Error("-check made the state folder")
	}
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"-config", filepath.Join(dir, "none.toml")}, &out, &errs); err == nil || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("no file: %v", err)
	}
}

// -safe touches the pins and nothing else: not the state, not the readers.
func TestSafe(t *testing.T) {
	dir := t.TempDir()
	file, state := filepath.Join(dir, "gate.toml"), filepath.Join(dir, "state")
	for _, c := range []struct{ pins, want string }{
		{"", ""},
		{"[gpio]\nchip = \"no such chip\"\nentry_relay = \"GPIO17\"\n", "gpio"},
	} {
		text := fmt.Sprintf("state = %q\n[[reader]]\nkind = \"serial\"\ndevice = \"/dev/ttyNONE0\"\n[thermometer]\nbus = \"99\"\n%s", state, c.pins)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		err := run(t.Context(), []string{"-safe", "-config", file}, &out, &errs)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("pins %q: %v, want %q", c.pins, err, c.want)
		}
		if strings.Contains(errs.String(), "thermometer") {
			t.Errorf("the thermometer was looked for: %s", &errs)
		}
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("-safe made the state folder")
	}
}

// Gated under a service manager: without an identity it ends with a hint; with
// one it says READY, feeds the watchdog, and stops when it is told.
func TestLifeUnderServiceManager(t *testing.T) {
	dir, err := os.MkdirTemp("", "gated") // short: socket paths have 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	state := filepath.Join(dir, "s")
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	file := filepath.Join(dir, "gate.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "state = %q\n[web]\nlisten = \"127.0.0.1:0\"\n[[reader]]\nkind = \"serial\"\ndevice = %q\n", state, tty.Name()), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"-config", file}, &out, &errs); err == nil || !strings.Contains(err.Error(), "gatehub gate add") || loglines.Told(err) {
		t.Errorf("without an identity: %v", err)
	}
	errs.Reset()
	if err := run(t.Context(), []string{"-config", file, "-log", "json"}, &out, &errs); err == nil || !loglines.Told(err) {
		t.Errorf("without an identity, as JSON: %v", err)
	}
	if all := objects(t, errs.String()); len(all) == 0 || all[len(all)-1]["msg"] != "ended" || !strings.Contains(all[len(all)-1]["error"].(string), "gatehub gate add") {
		t.Errorf("the log does not tell of the end: %v", all)
	}
	errs.Reset()

	hubDir := filepath.Join(dir, "hub")
	if err := hub.Init(t.Context(), hubDir, hub.Config{Name: "t", URL: "https://127.0.0.1:1", Provinces: []string{"33"}}, hub.Options{}); err != nil {
		t.Fatal(err)
	}
	h, err := hub.Open(t.Context(), hubDir, hub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.AddGate(t.Context(), hub.GateRequest{Gate: "east-1", By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	id := enrol.Identity{Gate: b.Gate, HubURL: b.HubURL, ListsURL: b.ListsURL, HubCA: b.HubCA, Certificate: b.Certificate, PrivateKey: b.PrivateKey, TUFRoot: b.TUFRoot, HubKey: b.HubKey}
	if err := id.Save(filepath.Join(state, "identity.json")); err != nil {
		t.Fatal(err)
	}

	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "n"))
	t.Setenv("WATCHDOG_USEC", "400000")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-config", file, "-show", "-log", "json"}, &out, &errs) }()
	heard := func(want string) {
		t.Helper()
		if err := notify.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for buf := make([]byte, 256); ; {
			n, err := notify.Read(buf)
			if err != nil {
				t.Fatalf("no %s: %v\n%s", want, err, errs.String())
			}
			if string(buf[:n]) == want {
				return
			}
		}
	}
	heard("READY=1")
	heard("WATCHDOG=1")
	heard("WATCHDOG=1")
	stop()
	heard("STOPPING=1")
	if err := <-ended; err != nil {
		t.Errorf("the end: %v", err)
	}
	if !strings.Contains(out.String(), "\n") {
		t.Error("-show showed nothing")
	}
	if all := objects(t, errs.String()); !slices.ContainsFunc(all, func(o map[string]any) bool { return o["msg"] == "gate runs" && o["pages"] != "" }) {
		t.Errorf("the log does not say that the gate runs: %v", all)
	}
}

// objects reads a log of JSON; each line must be one object.
func objects(t *testing.T, log string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(log) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Errorf("no object: %q: %v", line, err)
			continue
		}
		if o["time"] == nil || o["level"] == nil || o["msg"] == nil {
			t.Errorf("lacks time, level or msg: %q", line)
		}
		all = append(all, o)
	}
	return all
}
