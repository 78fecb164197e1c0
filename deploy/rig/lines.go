package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Registers of the BCM2835's GPIO as a Pi 3 maps them ("BCM2835 ARM
// Peripherals", chapter 6).
const (
	gpioBase  = 0x3f200000
	gpioFsel  = gpioBase + 0x00 // three bits a line, ten lines a word: 1 is an output
	gpioSet   = gpioBase + 0x1c
	gpioClear = gpioBase + 0x28
	gpioLevel = gpioBase + 0x34
)

// line is one of the header's, by its BCM number.
type line int

// The lane's wiring, as gate.toml beside this file has it.
const (
	passageContact line = 12
	exitButton     line = 16
	entryRelay     line = 17
	buzzer         line = 18
	fireInput      line = 20
	redLight       line = 22
	amberLight     line = 23
	greenLight     line = 24
	exitRelay      line = 27
)

// lines reads and drives the chip's lines from outside the machine, by QEMU's
// qtest protocol: what is really there, whatever a program in the machine thinks.
type lines struct {
	mu   sync.Mutex
	conn net.Conn
	in   *bufio.Reader
}

func newLines(c net.Conn) *lines { return &lines{conn: c, in: bufio.NewReader(c)} }

// qtestWithin bounds an answer: the machine is emulated, not the monitor.
const qtestWithin = 20 * time.Second

func (l *lines) ask(format string, args ...any) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetDeadline(time.Now().Add(qtestWithin)); err != nil {
		return "", err
	}
	question := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(l.conn, question); err != nil {
		return "", fmt.Errorf("qtest %s: %w", question, err)
	}
	for {
		text, err := l.in.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("qtest %s: %w", question, err)
		}
		text = strings.TrimSpace(text)
		if strings.HasPrefix(text, "IRQ ") {
			continue
		}
		value, ok := strings.CutPrefix(text, "OK")
		if !ok {
			return "", fmt.Errorf("qtest %s: %s", question, text)
		}
		return strings.TrimSpace(value), nil
	}
}

func (l *lines) read(register uint32) (uint32, error) {
	text, err := l.ask("readl %#x", register)
	if err != nil {
		return 0, err
	}
	var v uint32
	if _, err := fmt.Sscanf(text, "0x%x", &v); err != nil {
		return 0, fmt.Errorf("qtest answers %q: %w", text, err)
	}
	return v, nil
}

// energised tells whether a line is driven, and high: then a relay is on. What
// is not driven is held low by the resistor beside the relay.
func (l *lines) energised(n line) (bool, error) {
	levels, err := l.read(gpioLevel)
	if err != nil || levels>>n&1 == 0 {
		return false, err
	}
	return l.driven(n)
}

// driven tells whether a line is an output.
func (l *lines) driven(n line) (bool, error) {
	word, err := l.read(gpioFsel + uint32(n)/10*4)
	return word>>(n%10*3)&7 == 1, err
}

// wire makes an input's level, as a contact and the pull-up do.
func (l *lines) wire(n line, high bool) error {
	register := uint32(gpioClear)
	if high {
		register = gpioSet
	}
	_, err := l.ask("writel %#x %#x", register, uint32(1)<<n)
	return err
}
