package wire

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"greengate/gate"
	"greengate/scanner"
	"greengate/scanner/camera"
	"greengate/scanner/keyboard"
	"greengate/scanner/serial"
)

// sameWithin is how long a code must be out of sight of a reader that reads
// without pause to count as shown again.
const sameWithin = 2 * time.Second

// reader is one reader of codes with what the status shows of it.
type reader struct {
	name      string
	direction gate.Direction
	source    scanner.Source
	link      interface {
		Connected() (bool, time.Time)
		State() string
	}
	camera *camera.Reader // nil of another kind
	// attend tells the reader whether the lane would take a code now; nil of one
	// that reads as it pleases.
	attend func(on bool)
}

// takes reports whether a lane in this state takes a code of a reader that
// faces this way. The way out is never closed.
func takes(s gate.State, d gate.Direction) bool {
	return d == gate.Exit || s == gate.Idle || s == gate.AwaitPermit
}

// word is the reader's state in one word.
func (r *reader) word() string {
	if up, _ := r.link.Connected(); up {
		return "ready"
	}
	return "absent"
}

// settings says in words what the reader's driver gave, where it tells.
func (r *reader) settings() string {
	if s, ok := r.camera.Source.(interface{ Settings() string }); ok {
		return s.Settings()
	}
	return ""
}

// openReaders makes the readers; their devices are opened when they run, and
// again whenever they come back.
func openReaders(configs []ReaderConfig, log *slog.Logger) ([]reader, error) {
	var all []reader
	for _, c := range configs {
		direction := gate.Entry
		if c.Direction == "exit" {
			direction = gate.Exit
		}
		switch c.Kind {
		case "serial":
			r := &serial.Reader{Port: c.Device, Baud: c.Baud, Family: serial.Family(c.Family), Name: c.Name, Direction: direction, Log: log}
			one := reader{name: c.Name, direction: direction, source: r, link: r}
			if r.Family == serial.GM65 {
				one.attend = r.Attend
			}
			all = append(all, one)
		case "keyboard":
			r := &keyboard.Reader{Device: c.Device, Name: c.Name, Direction: direction, Log: log}
			all = append(all, reader{name: c.Name, direction: direction, source: r, link: r})
		case "camera":
			source, err := cameraSource(c)
			if err != nil {
				return nil, fmt.Errorf("reader %s: %w", c.Name, err)
			}
			r := &camera.Reader{Source: source, Eye: new(camera.QR), Name: c.Name, Direction: direction, SameWithin: sameWithin, Log: log}
			all = append(all, reader{name: c.Name, direction: direction, source: r, link: r, camera: r})
		default:
			return nil, fmt.Errorf("reader %s: kind %q is not known", c.Name, c.Kind)
		}
	}
	return all, nil
}

func cameraSource(c ReaderConfig) (camera.Source, error) {
	switch c.Source {
	case "v4l2":
		return &camera.V4L2{Path: c.Device, Width: c.Width, Height: c.Height, Exposure: time.Duration(c.Exposure), Gain: c.Gain}, nil
	case "mjpeg":
		return &camera.Pipe{Path: c.Device}, nil
	case "yuv420":
		return &camera.Pipe{Path: c.Device, Width: c.Width, Height: c.Height}, nil
	case "folder":
		if err := os.MkdirAll(c.Device, 0o700); err != nil {
			return nil, fmt.Errorf("folder of pictures: %w", err)
		}
		return &camera.Folder{Path: c.Device, Consume: true}, nil
	}
	return nil, fmt.Errorf("camera source %q is not known", c.Source)
}
