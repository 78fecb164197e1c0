package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/cmd/control"
	"greengate/gate"
	"greengate/scanner/camera"
	"greengate/scanner/qr"
)

// A technician watches the camera of a gate at which somebody holds up a code:
// kind and length are told, and the code nowhere.
func TestWatchCamera(t *testing.T) {
	r := newRig(t)
	green := r.issue("green")
	r.publish()
	picture, err := qr.Picture(green, 6)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(r.dir, "frames.mjpeg")
	var frames bytes.Buffer
	for range 3 {
		if err := jpeg.Encode(&frames, picture, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.config += fmt.Sprintf("[[reader]]\nkind = \"camera\"\nname = \"eye\"\nsource = \"mjpeg\"\ndevice = %q\n", file)
	r.start()
	r.ready() // whoever holds up a code before that is not let in until it is taken away
	if err := os.WriteFile(file+".new", frames.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	client := control.NewClient(filepath.Join(r.dir, "gate", "control.sock"))
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	enough := errors.New("enough")
	var line control.CameraLine
	err = client.Camera(ctx, "", true, func(l control.CameraLine) error {
		line = l
		if l.Last == nil || l.Rate == 0 || l.Picture == nil || l.Place == nil {
			return nil
		}
		if err := client.Camera(ctx, "eye", false, nil); err == nil || !strings.Contains(err.Error(), "409") || !strings.Contains(err.Error(), "watched already") {
			t.Errorf("a second technician: %v", err)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Fatalf("%v; the last line: %+v", err, line)
	}
	if line.Reader != "eye" || line.Last.Kind != "static" || line.Last.Bytes != len(green) || line.Outcomes["read"]+line.Outcomes["still"] == 0 ||
		line.Width != picture.Rect.Dx() || line.Contrast < 200 || line.Sharpness < 50 {
		line.Picture = nil
		t.Errorf("line: %+v, code: %+v", line, line.Last)
	}
	small, err := jpeg.Decode(bytes.NewReader(line.Picture))
	if err != nil || small.Bounds().Dx() > pictureWidth || small.Bounds().Dx() < pictureWidth/3 {
		t.Errorf("picture: %v %v", err, small)
	}
	// It is the code that is framed, not its margin or the whole picture.
	if p := line.Place; p[0] < 0.02 || p[0] > 0.2 || p[2] < 0.7 || p[2] > 0.96 {
		t.Errorf("place %v", *p)
	}
	r.untilState(gate.Released) // the lane went on
	r.eventually("nobody watches", func() error {
		if !strings.Contains(r.log.String(), "camera is no longer watched") {
			return errors.New("it is still watched")
		}
		return nil
	})
	if log := r.log.String(); !strings.Contains(log, "camera is being watched") || strings.Contains(log, green[5:25]) {
		t.Errorf("the log does not say who watched, or holds the code:\n%s", log)
	}

	lines := 0
	err = client.Camera(ctx, "eye", false, func(l control.CameraLine) error {
		if l.Picture != nil {
			t.Error("a picture that nobody asked for")
		}
		lines++
		return enough
	})
	if !errors.Is(err, enough) || lines != 1 {
		t.Errorf("without pictures: %v", err)
	}
	for _, name := range []string{"serial", "nobody"} {
		if err := client.Camera(ctx, name, true, nil); err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "eye") {
			t.Errorf("watching %s: %v", name, err)
		}
	}

	// It ends by itself.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.gate.control.watchCamera(w, q, 600*time.Millisecond)
	}))
	defer server.Close()
	r.eventually("the camera is free", func() error {
		resp, err := http.Get(server.URL + "?pictures=1")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var all bytes.Buffer
		if _, err := all.ReadFrom(resp.Body); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		if n := strings.Count(all.String(), "\n"); n < 1 || n > 3 {
			t.Errorf("%d lines in 0.6 s", n)
		}
		return nil
	})
}

// A gate without a camera, and one with two, say so.
func TestCameraNamed(t *testing.T) {
	camera1, camera2 := reader{name: "in", camera: new(camera.Reader)}, reader{name: "out", camera: new(camera.Reader)}
	serial := reader{name: "serial"}
	for _, tt := range []struct {
		readers    []reader
		name, want string // reader, or words of the error
	}{
		{[]reader{serial}, "", "no camera"},
		{[]reader{serial}, "serial", "no camera"},
		{[]reader{serial, camera1}, "", "in"},
		{[]reader{serial, camera1}, "in", "in"},
		{[]reader{serial, camera1}, "serial", "which camera? this gate has in"},
		{[]reader{camera1, camera2}, "", "which camera? this gate has in, out"},
		{[]reader{camera1, camera2}, "out", "out"},
	} {
		found, err := (&Gate{readers: tt.readers}).cameraNamed(tt.name)
		if err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && found.name != tt.want {
			t.Errorf("%q of %d readers: %v, %v, want %q", tt.name, len(tt.readers), found, err, tt.want)
		}
	}
}

// TestRate counts what happened in the last second, however often it is asked.
func TestRate(t *testing.T) {
	start := time.Unix(0, 0)
	figures := func(n uint64) camera.Figures {
		f := camera.Figures{Frames: n, Looks: n / 2, LookTime: time.Duration(n/2) * 3 * time.Millisecond}
		f.Outcomes[camera.NoFinder], f.Outcomes[camera.Still] = n/2, n/2
		return f
	}
	r := newRate(figures(0), start)
	var l control.CameraLine
	for i := 1; i <= 12; i++ { // 10 pictures in each quarter of a second, then none
		r.add(figures(uint64(min(i, 8)*10)), start.Add(time.Duration(i)*250*time.Millisecond), &l)
		if i == 8 && (l.Rate != 40 || l.Looks != 20 || l.Millis != 3 || l.Outcomes["still"] != 20 || l.Outcomes["no-finder"] != 20 || len(l.Outcomes) != 2) {
			t.Errorf("in full swing: %+v", l)
		}
	}
	if l.Rate != 0 || l.Looks != 0 || len(l.Outcomes) != 0 {
		t.Errorf("a second after the last picture: %+v", l)
	}
	if len(r.at) > 6 {
		t.Errorf("%d figures are kept", len(r.at))
	}
}

// TestShare: a place is told as shares of the picture, and none outside it.
func TestShare(t *testing.T) {
	size := image.Pt(200, 100)
	if got := share(image.Rect(150, 50, 250, 75), size); got == nil || *got != [4]float64{.75, .5, .25, .25} {
		t.Errorf("%v", got)
	}
	for _, r := range []image.Rectangle{{}, image.Rect(300, 0, 400, 100)} {
		if got := share(r, size); got != nil {
			t.Errorf("%v: %v", r, *got)
		}
	}
}
