package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"greengate/cmd/control"
)

// gateFor answers as a gate does, and keeps the names of what was sent.
func gateFor(t *testing.T, report control.ImportReport) (socket string, names *[]string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	l, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	names = new([]string)
	at := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	write := func(w io.Writer, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /lists/import", func(w http.ResponseWriter, r *http.Request) {
		*names = nil
		for t := tar.NewReader(r.Body); ; {
			h, err := t.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			*names = append(*names, h.Name)
		}
		write(w, control.ImportLine{Doing: "received some"})
		write(w, control.ImportLine{End: &report})
	})
	mux.HandleFunc("GET /lists", func(w http.ResponseWriter, r *http.Request) {
		write(w, control.Lists{Time: at.Add(time.Minute), Lists: []control.HeldList{{URI: "jkm:3301/0", Sequence: 7, Issued: at, Confirmed: at, Freshness: "fresh", Bytes: 1 << 18}}})
	})
	mux.HandleFunc("POST /lists/check", func(w http.ResponseWriter, r *http.Request) {
		write(w, control.ListsCheck{Checked: 2, Problems: []string{"list jkm:3301/0: digest does not match"}})
	})
	s := &http.Server{Handler: mux}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return socket, names
}

// A folder goes out as a bundle, its timestamp last and what is not of a
// repository left out; so does a bundle from a file and from standard input.
func TestListsImport(t *testing.T) {
	stick := t.TempDir()
	for _, name := range []string{"metadata/timestamp.json", "metadata/1.root.json", "metadata/.lock", "metadata/._1.root.json", "targets/status/3301/abc.0.tsl", "targets/.Trash/x", "holiday.jpg"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(stick, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(stick, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(stick, "metadata", "9.root.json")); err != nil {
		t.Fatal(err)
	}
	want := []string{"metadata/1.root.json", "targets/status/3301/abc.0.tsl", "metadata/timestamp.json"}
	socket, names := gateFor(t, control.ImportReport{Timestamp: 9, Issued: time.Now(), Installed: []string{"keys", "jkm:3301/0"}})
	out, err := ctl(t, "", "-socket", socket, "lists", "import", stick)
	if err != nil || !slices.Equal(*names, want) || !strings.Contains(out, "received some\ninstalled  keys\ninstalled  jkm:3301/0\nup to timestamp 9") {
		t.Errorf("folder: %v, sent %v\n%s", err, *names, out)
	}

	root, err := os.OpenRoot(stick)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	file := filepath.Join(t.TempDir(), "lists.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writeTar(f, root, want), f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := ctl(t, "", "-socket", socket, "lists", "import", file); err != nil || !slices.Equal(*names, want) {
		t.Errorf("file: %v, sent %v\n%s", err, *names, out)
	}
	bundle, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := ctl(t, string(bundle), "-socket", socket, "lists", "import", "-"); err != nil || !slices.Equal(*names, want) {
		t.Errorf("standard input: %v, sent %v\n%s", err, *names, out)
	}
	for _, bad := range [][]string{{"lists", "import"}, {"lists", "import", t.TempDir()}, {"lists", "import", "a", "b"}} {
		if _, err := ctl(t, "", append([]string{"-socket", socket}, bad...)...); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// What failed ends in an error, and each failure is named.
func TestListsFailures(t *testing.T) {
	for _, row := range []struct {
		report     control.ImportReport
		out, fails string
	}{
		{control.ImportReport{Timestamp: 9}, "nothing new: the gate holds all of timestamp 9", ""},
		{control.ImportReport{Installed: []string{"keys"}, Failures: []control.ImportFailure{{What: "jkm:3301/0", Error: "no such file"}}},
			"installed  keys\nfailed     jkm:3301/0: no such file\n", "1 could not"},
		{control.ImportReport{Refused: "lists not updated: expired\nhint: a new one"}, "", "expired\nhint: a new one"},
		{control.ImportReport{Leap: true}, "set the clock", ""},
	} {
		var out strings.Builder
		err := printImport(row.report, &out)
		if !strings.Contains(out.String(), row.out) || (err == nil) != (row.fails == "") || err != nil && !strings.Contains(err.Error(), row.fails) {
			t.Errorf("%+v: %v\n%s", row.report, err, out.String())
		}
	}
	socket, _ := gateFor(t, control.ImportReport{})
	if out, err := ctl(t, "", "-socket", socket, "lists", "show"); err != nil || !strings.Contains(out, "jkm:3301/0") || !strings.Contains(out, "1m0s ago") || !strings.Contains(out, "256 KiB") {
		t.Errorf("show: %v\n%s", err, out)
	}
	if out, err := ctl(t, "", "-socket", socket, "lists", "check"); err == nil || !strings.Contains(err.Error(), "hint: ") || !strings.Contains(out, "digest does not match") {
		t.Errorf("check: %v\n%s", err, out)
	}
}
