package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// unit is what the rig's machine obeys of a service file: how the gate is
// started, watched and cleaned up after. Users and the sandbox are systemd's own.
type unit struct {
	pre, main, post  []string // words of a command line
	watchdog         time.Duration
	restart, timeout time.Duration
}

func readUnit(path string) (unit, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return unit{}, err
	}
	return parseUnit(string(text))
}

// parseUnit reads the keys of [Service] that are obeyed here; a command that
// needs more than splitting at spaces is an error.
func parseUnit(text string) (unit, error) {
	u := unit{timeout: 90 * time.Second, restart: 100 * time.Millisecond} // systemd's own
	section := ""
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "[Service]" || strings.HasPrefix(line, "#") {
			continue
		}
		var err error
		switch key {
		case "ExecStartPre":
			u.pre, err = words(value)
		case "ExecStart":
			u.main, err = words(value)
		case "ExecStopPost":
			u.post, err = words(value)
		case "WatchdogSec":
			u.watchdog, err = seconds(value)
		case "RestartSec":
			u.restart, err = seconds(value)
		case "TimeoutStopSec":
			u.timeout, err = seconds(value)
		}
		if err != nil {
			return unit{}, fmt.Errorf("%s=%s: %w", key, value, err)
		}
	}
	if len(u.main) == 0 {
		return unit{}, errors.New("a unit without ExecStart")
	}
	return u, nil
}

func words(line string) ([]string, error) {
	if strings.ContainsAny(line, `"'\$%`) || strings.ContainsAny(line[:min(1, len(line))], "-+!@:") {
		return nil, errors.New("only plain words are known here")
	}
	return strings.Fields(line), nil
}

func seconds(text string) (time.Duration, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, err
	}
	return time.Duration(n) * time.Second, nil
}
