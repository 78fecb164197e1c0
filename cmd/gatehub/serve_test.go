package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"greengate/cmd/loglines"
	"greengate/sync/hub"
)

// A hub with -log json writes one object a line, from its start to its end.
func TestLogAsJSON(t *testing.T) {
	h := hubRun{t, filepath.Join(t.TempDir(), "hub")}
	h.must("init", "-name", "Hangzhou", "-url", "https://127.0.0.1:8443", "-province", "33")
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"serve", "-dir", h.dir, "-listen", "127.0.0.1:0", "-operator", "127.0.0.1:0", "-log", "json"}, io.Discard, to)
		served <- errors.Join(err, to.Close())
	}()
	seen := map[any]bool{}
	for lines := bufio.NewScanner(from); lines.Scan(); {
		o := object(t, lines.Text())
		if seen[o["msg"]] = true; o["msg"] == "audit" {
			cancel()
		}
		if o["msg"] == "hub serves" {
			if o["gates"] == nil || o["operator"] == nil {
				t.Errorf("lacks its addresses: %v", o)
			}
			h.must("declare", "-name", "王建明", "-region", "330106")
		}
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if !seen["hub serves"] || !seen["audit"] {
		t.Errorf("the log has %v", seen)
	}

	var log bytes.Buffer
	err = run(t.Context(), []string{"serve", "-dir", filepath.Join(h.dir, "none"), "-log", "json"}, io.Discard, &log)
	if !errors.Is(err, hub.ErrNoHub) || !loglines.Told(err) {
		t.Errorf("no hub: %v, told: %v", err, loglines.Told(err))
	}
	if o := object(t, log.String()); o["msg"] != "ended" || !strings.Contains(o["error"].(string), "gatehub init") {
		t.Errorf("the last line: %v", o)
	}
	if err := run(t.Context(), []string{"serve", "-dir", h.dir, "-log", "xml"}, io.Discard, &log); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("xml: %v", err)
	}
}

// object reads one line of a log.
func object(t *testing.T, line string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(line), &o); err != nil {
		t.Fatalf("no object: %q: %v", line, err)
	}
	if o["time"] == nil || o["level"] == nil || o["msg"] == nil {
		t.Errorf("lacks time, level or msg: %q", line)
	}
	return o
}
