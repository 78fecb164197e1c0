package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rig/console"
)

// office takes the rig's orders from the console.
type office struct {
	line       *os.File
	supervisor *supervisor
	sensor     io.Writer
	client     http.Client
}

func openOffice(s *supervisor, sensor io.Writer) (*office, error) {
	f, err := os.OpenFile(tty, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	// Bytes as they are: no echo, no signals, no translation of line ends.
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &office{line: f, supervisor: s, sensor: sensor, client: http.Client{Timeout: 20 * time.Second}}, nil
}

// serve answers one order after the other.
func (o *office) serve() error {
	if err := o.answer(console.Answer{Text: "up"}); err != nil {
		return err
	}
	lines := bufio.NewScanner(o.line)
	for lines.Scan() {
		var order console.Order
		var a console.Answer
		err := json.Unmarshal(lines.Bytes(), &order)
		if err == nil {
			a.Text, err = o.obey(order)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := o.answer(a); err != nil {
			return err
		}
	}
	return errors.Join(errors.New("the console ended"), lines.Err())
}

func (o *office) answer(a console.Answer) error {
	a.Uptime = uptime().Milliseconds()
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	// A new line first: the kernel may stand in the middle of one.
	_, err = fmt.Fprintf(o.line, "\n%s%s\n", console.Mark, text)
	return err
}

func (o *office) obey(order console.Order) (string, error) {
	switch order.Do {
	case "kill":
		return "", o.supervisor.signal(syscall.Signal(order.Number))
	case "start":
		return "", o.supervisor.start()
	case "stop":
		return "", o.supervisor.stop()
	case "get":
		return o.get(order.Text)
	case "sensor":
		_, err := fmt.Fprintln(o.sensor, order.Text)
		return "", err
	case "usb":
		return "", authorize(order.Number)
	case "log":
		return o.supervisor.log.String(), nil
	}
	return "", fmt.Errorf("no order %q", order.Do)
}

// get fetches a page of the gate; a page that says no is an answer too.
func (o *office) get(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8090"+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := o.client.Do(req)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return string(text), errors.Join(err, resp.Body.Close())
}

// ftdi is the vendor of the scanner's USB bridge.
const ftdi = "0403"

// authorize takes the scanner off the bus, or lets it on again: to its driver
// that is being pulled out and put back.
func authorize(on int) error {
	vendors, err := filepath.Glob("/sys/bus/usb/devices/*/idVendor")
	if err != nil {
		return err
	}
	for _, v := range vendors {
		text, err := os.ReadFile(v)
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(text)) == ftdi {
			return os.WriteFile(filepath.Join(filepath.Dir(v), "authorized"), fmt.Appendf(nil, "%d", on), 0)
		}
	}
	return errors.New("no USB scanner on the bus")
}
