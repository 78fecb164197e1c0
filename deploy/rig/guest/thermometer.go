package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Events of /dev/uhid (linux/uhid.h), and where their fields lie.
const (
	uhidOutput         = 6
	uhidGetReport      = 9
	uhidGetReportReply = 10
	uhidCreate2        = 11
	uhidInput2         = 12
	uhidSetReport      = 13
	uhidSetReportReply = 14

	uhidData       = 4096
	uhidEventBytes = 4 + 276 + uhidData // the longest, create
	busUSB         = 3
	vendor         = 0x10c4 // Silicon Labs
	product        = 0xea90 // CP2112
)

// thermometer is an MLX90614 on a CP2112 bridge, played to the kernel through
// /dev/uhid: its own driver then gives a real I²C bus.
type thermometer struct {
	mu     sync.Mutex
	bridge bridge
	chip   melexis
	cable  *os.File // nil while it is pulled out
}

// playThermometer plays it and obeys a line each: "plug" and "unplug" the
// bridge, "temp 36.6", "ambient 24", and "ok", "nack", "badpec", "hang" for how
// the bus behaves from now on.
func playThermometer(orders io.Reader) error {
	// The driver waits 50 ms for an answer.
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -20); err != nil {
		return err
	}
	t := &thermometer{chip: melexis{object: 36.5, ambient: 23}}
	t.bridge.chip = &t.chip
	if err := t.plug(); err != nil {
		return err
	}
	lines := bufio.NewScanner(orders)
	for lines.Scan() {
		if err := t.obey(lines.Text()); err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
	}
	return errors.Join(errors.New("no more orders"), lines.Err())
}

func (t *thermometer) obey(line string) error {
	word, number, _ := strings.Cut(line, " ")
	switch word {
	case "plug":
		return t.plug()
	case "unplug":
		return t.unplug()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch word {
	case "ok", "nack", "badpec", "hang":
		t.chip.absent, t.chip.badPEC, t.bridge.hung = word == "nack", word == "badpec", word == "hang"
		return nil
	case "temp", "ambient":
		v, err := strconv.ParseFloat(number, 64)
		if word == "temp" {
			t.chip.object = v
		} else {
			t.chip.ambient = v
		}
		return err
	}
	return errors.New("no such order")
}

// plug makes the bridge appear on the machine.
func (t *thermometer) plug() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cable != nil {
		return errors.New("it is plugged in")
	}
	f, err := os.OpenFile("/dev/uhid", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	d := descriptor()
	e := make([]byte, uhidEventBytes)
	binary.LittleEndian.PutUint32(e, uhidCreate2)
	copy(e[4:], "CP2112 of the rig")
	about := e[4+128+64+64:]
	binary.LittleEndian.PutUint16(about, uint16(len(d)))
	binary.LittleEndian.PutUint16(about[2:], busUSB)
	binary.LittleEndian.PutUint32(about[4:], vendor)
	binary.LittleEndian.PutUint32(about[8:], product)
	copy(about[20:], d)
	if _, err := f.Write(e); err != nil {
		return errors.Join(err, f.Close())
	}
	t.cable = f
	go t.serve(f)
	return nil
}

// unplug takes it away: the kernel removes a device whose file is closed.
func (t *thermometer) unplug() error {
	t.mu.Lock()
	f := t.cable
	t.cable = nil
	t.mu.Unlock()
	if f == nil {
		return errors.New("it is not plugged in")
	}
	return f.Close()
}

// serve answers the kernel until the cable is pulled out.
func (t *thermometer) serve(f *os.File) {
	e := make([]byte, uhidEventBytes)
	for {
		n, err := f.Read(e)
		if err != nil {
			return
		}
		clear(e[n:])
		t.mu.Lock()
		answer := t.event(e)
		t.mu.Unlock()
		if answer == nil {
			continue
		}
		if _, err := f.Write(answer); err != nil {
			return
		}
	}
}

// event answers one event; nil where it wants no answer.
func (t *thermometer) event(e []byte) []byte {
	le := binary.LittleEndian
	body := e[4:]
	switch le.Uint32(e) {
	case uhidGetReport:
		report, err := t.bridge.feature(body[4])
		a := make([]byte, 4+8, 4+8+len(report))
		le.PutUint32(a, uhidGetReportReply)
		copy(a[4:8], body[:4]) // which question
		if err != nil {
			le.PutUint16(a[8:], uint16(unix.EIO))
		}
		le.PutUint16(a[10:], uint16(len(report)))
		return append(a, report...)
	case uhidSetReport:
		t.bridge.set(body[8:min(8+int(le.Uint16(body[6:])), len(body))])
		a := make([]byte, 4+6)
		le.PutUint32(a, uhidSetReportReply)
		copy(a[4:8], body[:4])
		return a
	case uhidOutput:
		report := t.bridge.output(body[:min(int(le.Uint16(body[uhidData:])), uhidData)])
		if report == nil {
			return nil
		}
		a := make([]byte, 4+2, 4+2+len(report))
		le.PutUint32(a, uhidInput2)
		le.PutUint16(a[4:], uint16(len(report)))
		return append(a, report...)
	}
	return nil
}
