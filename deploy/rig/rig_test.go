package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"greengate/cmd/wire"
	"greengate/gpio"
)

// TestGateToml: the gate takes the rig's configuration, and its pins are those
// that the rig looks at.
func TestGateToml(t *testing.T) {
	c, err := wire.ParseConfig("gate.toml", gateToml)
	if err != nil {
		t.Fatal(err)
	}
	p := c.GPIO.PanelConfig()
	for role, w := range map[gpio.Role]struct {
		pin  string
		line line
	}{
		gpio.EntryRelay: {p.EntryRelay.Pin, entryRelay}, gpio.ExitRelay: {p.ExitRelay.Pin, exitRelay},
		gpio.RedLight: {p.Red.Pin, redLight}, gpio.AmberLight: {p.Amber.Pin, amberLight}, gpio.GreenLight: {p.Green.Pin, greenLight},
		gpio.Passage: {p.Passage.Pin, passageContact}, gpio.ExitButton: {p.ExitButton.Pin, exitButton}, gpio.Fire: {p.Fire.Pin, fireInput},
	} {
		if want := fmt.Sprintf("GPIO%d", w.line); w.pin != want {
			t.Errorf("%s is at %s, and the rig looks at %s", role, w.pin, want)
		}
	}
}

// TestArchive: headers of 110 bytes, everything on four bytes, folders first and once.
func TestArchive(t *testing.T) {
	host := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(host, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &archive{}
	for _, name := range []string{"usr/bin/one", "usr/bin/two"} {
		if err := a.file(name, host, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.save(host); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(host)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for len(data) > 0 {
		if !bytes.HasPrefix(data, []byte("070701")) {
			t.Fatalf("no header after %q: %.20q", names, data)
		}
		// The eighth number is the content's size, the twelfth the name's with its 0.
		size, length := hex(t, data[54:62]), hex(t, data[94:102])
		names = append(names, string(data[110:110+length-1]))
		content := (110 + length + 3) &^ 3
		if size > 0 && string(data[content:content+size]) != "hello" {
			t.Errorf("%s holds %q", names, data[content:content+size])
		}
		data = data[(content+size+3)&^3:]
	}
	if got, want := strings.Join(names, " "), "usr usr/bin usr/bin/one usr/bin/two TRAILER!!!"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func hex(t *testing.T, digits []byte) int {
	t.Helper()
	n, err := strconv.ParseUint(string(digits), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestModulesMissing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte("kernel/drivers/i2c/i2c-dev.ko\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := moduleFiles(dir, []string{"i2c_dev"}); err != nil || len(got) > 0 {
		t.Errorf("what is built in: %q %v", got, err)
	}
	if _, err := moduleFiles(dir, []string{"uhid"}); !errors.Is(err, errModule) {
		t.Errorf("what is not there: %v", err)
	}
}
