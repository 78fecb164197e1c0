package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"greengate/cmd/control"
	"greengate/cmd/viewfinder"
)

// cameraGate answers as a gate whose camera is watched, until the client goes
// or so many lines were sent, and returns its socket.
func cameraGate(t *testing.T, lines int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("reader") == "none" {
			http.Error(w, "which camera? this gate has eye", http.StatusNotFound)
			return
		}
		for range lines {
			line := control.CameraLine{Reader: "eye", Rate: 30, Outcomes: map[string]uint64{"no-finder": 4}}
			if r.FormValue("pictures") == "1" {
				line.Picture = []byte("a picture")
			}
			if json.NewEncoder(w).Encode(line) != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
		if lines > 1 {
			<-r.Context().Done()
		}
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	return socket
}

func TestCameraJSON(t *testing.T) {
	socket := cameraGate(t, 3)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-socket", socket, "camera", "-json", "-n", "2", "eye"}, os.Stdin, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&out)
	for range 2 {
		var l control.CameraLine
		if err := dec.Decode(&l); err != nil || l.Reader != "eye" || l.Rate != 30 || l.Outcomes["no-finder"] != 4 || l.Picture != nil {
			t.Errorf("%v: %+v", err, l)
		}
	}
	if err := dec.Decode(new(control.CameraLine)); err != io.EOF {
		t.Errorf("behind the second line: %v", err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"camera", "-json", "none"}, "this gate has eye"},
		{[]string{"camera", "none"}, "this gate has eye"},
		{[]string{"camera", "one", "two"}, "one reader's name at most"},
		{[]string{"camera", "-listen", "nowhere"}, "missing port"},
	} {
		if err := run(t.Context(), append([]string{"-socket", socket}, tt.args...), os.Stdin, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q in it", tt.args, err, tt.want)
		}
	}
	if err := run(t.Context(), []string{"-socket", socket, "camera", "-listen", "0.0.0.0:0"}, os.Stdin, io.Discard, io.Discard); !errors.Is(err, viewfinder.ErrNotLoopback) {
		t.Errorf("to the world: %v", err)
	}
}

// TestCameraPage: the page is up while the gate tells, and says where it is.
func TestCameraPage(t *testing.T) {
	socket := cameraGate(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"-socket", socket, "camera"}, os.Stdin, out, io.Discard)
		out.Close()
	}()
	text := make([]byte, 4096)
	n, err := said.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+/[A-Z2-7]{26}/`).FindString(string(text[:n]))
	if address == "" {
		t.Fatalf("said %q", text[:n])
	}
	for path, want := range map[string]string{"": "<title>greengate · camera</title>", "picture": "a picture"} {
		resp, err := http.Get(address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s, %v: %.200s", path, resp.Status, err, body)
		}
		resp.Body.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ended by the technician: %v", err)
	}
	if _, err := http.Get(address); err == nil {
		t.Error("the page is still there")
	}

	// The gate ends it: that is no error.
	if err := run(t.Context(), []string{"-socket", cameraGate(t, 1), "camera"}, os.Stdin, io.Discard, io.Discard); err != nil {
		t.Errorf("ended by the gate: %v", err)
	}
}
