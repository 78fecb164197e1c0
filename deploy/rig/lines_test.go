package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

// qtest is a chip that answers as QEMU does.
func qtest(t *testing.T, registers map[string]uint32) (*lines, *[]string) {
	here, there := net.Pipe()
	var wrote []string
	done := make(chan struct{})
	t.Cleanup(func() { here.Close(); <-done })
	go func() {
		defer close(done)
		for in := bufio.NewScanner(there); in.Scan(); {
			words := strings.Fields(in.Text())
			answer := "FAIL Unknown command"
			switch words[0] {
			case "readl":
				answer = fmt.Sprintf("IRQ raise 3\nOK 0x%016x", registers[words[1]])
			case "writel":
				wrote = append(wrote, in.Text())
				answer = "OK"
			}
			if _, err := fmt.Fprintln(there, answer); err != nil {
				return
			}
		}
	}()
	return newLines(here), &wrote
}

func TestLines(t *testing.T) {
	// GPIO17 is an output and high, 22 an output and low, 27 high but no output.
	l, wrote := qtest(t, map[string]uint32{"0x3f200004": 1 << 21, "0x3f200008": 1 << 6, "0x3f200034": 1<<17 | 1<<27})
	for n, want := range map[line]bool{entryRelay: true, redLight: false, exitRelay: false} {
		if got, err := l.energised(n); err != nil || got != want {
			t.Errorf("GPIO%d: %v %v, want %v", n, got, err, want)
		}
	}
	if driven, err := l.driven(redLight); err != nil || !driven {
		t.Errorf("GPIO%d is driven: %v %v", redLight, driven, err)
	}
	if err := l.wire(fireInput, true); err != nil {
		t.Error(err)
	}
	if err := l.wire(fireInput, false); err != nil {
		t.Error(err)
	}
	if got, want := strings.Join(*wrote, ", "), "writel 0x3f20001c 0x100000, writel 0x3f200028 0x100000"; got != want {
		t.Errorf("wrote %s, want %s", got, want)
	}
	if _, err := l.ask("melt"); err == nil || !strings.Contains(err.Error(), "FAIL") {
		t.Errorf("a refusal: %v", err)
	}
}
