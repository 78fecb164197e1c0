package wire

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"greengate/cmd/control"
	"greengate/gate"
	"greengate/pass"
	"greengate/sync/hub"
	"greengate/sync/hub/publisher"
)

// bundle exports the hub's lists.
func (r *rig) bundle(regions ...string) []byte {
	r.t.Helper()
	var b bytes.Buffer
	if _, err := publisher.ExportTar(filepath.Join(r.dir, "hub", "lists"), regions, &b); err != nil {
		r.t.Fatal(err)
	}
	return b.Bytes()
}

// The hub is out of reach: a stick carries a recolour to the gate. Sticks that
// are old, cut, tampered with or of somebody else change nothing, and say so.
func TestListsByStick(t *testing.T) {
	r := newRig(t)
	r.issue("green")
	r.publish()
	r.start()
	r.ready()
	old := r.bundle()
	lists, err := r.hub.Lists(t.Context())
	if err != nil || len(lists) != 1 {
		t.Fatal(lists, err)
	}
	uri := lists[0].URI
	codes, err := r.hub.Declarations(t.Context(), hub.DeclarationsRequest{Max: 1})
	if err != nil || len(codes) != 1 || len(codes[0].Codes) != 1 {
		t.Fatal(codes, err)
	}
	ref := pass.StatusRef{URI: codes[0].Codes[0].URI, Index: codes[0].Codes[0].Index}
	r.stopHub()
	if _, err := r.hub.Recolour(t.Context(), hub.RecolourRequest{Status: &codes[0].Codes[0], Colour: "red", By: "test"}); err != nil {
		t.Fatal(err)
	}
	r.publish()

	client := control.NewClient(filepath.Join(r.dir, "gate", "control.sock"))
	defer client.Close()
	load := func(bundle []byte) (control.ImportReport, []string, error) {
		t.Helper()
		var lines []string
		report, err := client.Import(t.Context(), bytes.NewReader(bundle), func(s string) error { lines = append(lines, s); return nil })
		if left, gerr := filepath.Glob(filepath.Join(r.dir, "gate", importPrefix+"*")); gerr != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, gerr)
		}
		return report, lines, err
	}
	good := r.bundle()
	tampered := bytes.Replace(bytes.Clone(good), []byte(`"version":`), []byte(`"wersion":`), -1)
	stranger := publisherOf(t)
	for _, row := range []struct {
		name, words string
		bundle      []byte
		sent        bool // it was unpacked, and refused as lists
	}{
		{"half", "ends in the middle", good[:len(good)/2], false},
		{"nothing", "nothing came", nil, false},
		{"no tar", "not a tar", bytes.Repeat([]byte("no"), 1<<20), false},
		{"tampered with", "hint: ", tampered, true},
		{"of another authority", "another authority", stranger, true},
	} {
		report, _, err := load(row.bundle)
		switch {
		case row.sent && (err != nil || !strings.Contains(report.Refused, row.words) || len(report.Installed) > 0):
			t.Errorf("%s: %+v, %v", row.name, report, err)
		case !row.sent && (err == nil || !strings.Contains(err.Error(), row.words)):
			t.Errorf("%s: %v", row.name, err)
		}
		if l := r.gate.db.Lookup(ref); l.Status != gate.Green {
			t.Fatalf("%s: the code is %v", row.name, l.Status)
		}
	}

	report, lines, err := load(good)
	if err != nil || report.Refused != "" || !slices.Equal(report.Installed, []string{uri}) || len(report.Failures) > 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	if len(lines) < 2 || !strings.HasPrefix(lines[0], "received ") || !strings.HasPrefix(lines[1], "checking ") {
		t.Errorf("lines: %q", lines)
	}
	if l := r.gate.db.Lookup(ref); l.Status != gate.Red {
		t.Errorf("the code is %v", l.Status)
	}
	if report, _, err := load(old); err != nil || !strings.Contains(report.Refused, "newer lists than this already") {
		t.Errorf("old: %+v, %v", report, err)
	}
	if report, _, err := load(good); err != nil || report.Refused != "" || len(report.Installed) > 0 {
		t.Errorf("once more: %+v, %v", report, err)
	}

	held, err := client.Lists(t.Context())
	if err != nil || len(held.Lists) != 1 || held.Lists[0].URI != uri || held.Lists[0].Bytes == 0 || held.Lists[0].Freshness != gate.Fresh.String() {
		t.Errorf("held: %+v, %v", held, err)
	}
	if c, err := client.CheckLists(t.Context()); err != nil || c.Checked != 1 || len(c.Problems) != 0 {
		t.Errorf("check: %+v, %v", c, err)
	}
}

// publisherOf is a bundle of an authority that the gate does not know.
func publisherOf(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	if _, err := publisher.Init(filepath.Join(dir, "keys"), filepath.Join(dir, "lists"), publisher.Options{Provinces: []string{"33"}}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := publisher.ExportTar(filepath.Join(dir, "lists"), nil, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// One bundle at a time, and an import whose sender goes leaves nothing behind.
func TestImportOneAtATime(t *testing.T) {
	r := newRig(t)
	left := filepath.Join(r.dir, "gate", importPrefix+"of-a-crash")
	if err := os.MkdirAll(filepath.Join(left, "metadata"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.start()
	if _, err := os.Stat(left); err == nil {
		t.Error("the start leaves what a crash left")
	}
	client := control.NewClient(filepath.Join(r.dir, "gate", "control.sock"))
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	slow, w := io.Pipe()
	first := make(chan error, 1)
	go func() {
		_, err := client.Import(ctx, slow, func(string) error { return nil })
		first <- err
	}()
	if _, err := w.Write(pack(t, "metadata/1.root.json", "root")[:700]); err != nil {
		t.Fatal(err)
	}
	r.eventually("the first is taken in", func() error {
		if open, err := filepath.Glob(filepath.Join(r.dir, "gate", importPrefix+"*")); err != nil || len(open) != 1 {
			return fmt.Errorf("%v %v", open, err)
		}
		return nil
	})
	if _, err := client.Import(t.Context(), bytes.NewReader(nil), func(string) error { return nil }); err == nil || !strings.Contains(err.Error(), http.StatusText(http.StatusConflict)) {
		t.Errorf("the second: %v", err)
	}
	cancel()
	if err := <-first; err == nil {
		t.Error("a cut import went through")
	}
	w.Close()
	r.eventually("nothing is left", func() error {
		left, err := filepath.Glob(filepath.Join(r.dir, "gate", importPrefix+"*"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v", left)
		}
		return err
	})
}
