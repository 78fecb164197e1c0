package main

import (
	"os"
	"slices"
	"testing"
	"time"
)

// TestShippedUnit: what the rig obeys of the unit is there, and is understood.
func TestShippedUnit(t *testing.T) {
	u, err := readUnit("../../gated.service")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/usr/bin/gated", "-config", "/etc/greengate/gate.toml"}; !slices.Equal(u.main, want) {
		t.Errorf("ExecStart %q, want %q", u.main, want)
	}
	if want := []string{"/usr/bin/gated", "-safe", "-config", "/etc/greengate/gate.toml"}; !slices.Equal(u.post, want) {
		t.Errorf("ExecStopPost %q, want %q", u.post, want)
	}
	if len(u.pre) == 0 || u.watchdog != 10*time.Second || u.restart != time.Second || u.timeout != 10*time.Second {
		t.Errorf("got %+v", u)
	}
}

func TestUnitsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no command":      "[Service]\nWatchdogSec=10\n",
		"other section":   "[Install]\nExecStart=/bin/true\n",
		"quotes":          "[Service]\nExecStart=/bin/sh -c 'true'\n",
		"a prefix":        "[Service]\nExecStart=-/bin/true\n",
		"not in seconds":  "[Service]\nExecStart=/bin/true\nWatchdogSec=10min\n",
		"of the variable": "[Service]\nExecStart=/bin/true $X\n",
	} {
		if u, err := parseUnit(text); err == nil {
			t.Errorf("%s: taken as %+v", name, u)
		}
	}
	if _, err := readUnit("/nowhere"); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

func TestTail(t *testing.T) {
	var l tail
	for range tailBytes {
		l.say("%d", 12345)
	}
	if got := l.String(); len(got) != tailBytes || got[len(got)-6:] != "12345\n" {
		t.Errorf("kept %d bytes that end in %q", len(got), got[len(got)-6:])
	}
}
