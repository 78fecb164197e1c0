package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"greengate/gate"
	"greengate/sync/hub"
	"greengate/sync/hub/table"
)

// An export appears when it is whole; one that fails leaves what was there.
func TestExportIsWholeOrNotThere(t *testing.T) {
	h := serveHub(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "passages")
	h.must("export", "-out", file)
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "gate,sequence,received,") || !strings.HasSuffix(string(text), "\r\n") {
		t.Errorf("%q, %v", text, err)
	}
	for _, bad := range [][]string{{"export"}, {"export", "-out", file, "-gate", "nowhere"}, {"export", "-out", file, "-format", "xls"}, {"export", "-out", file, "-from", "monday"}} {
		if _, _, err := h.try(bad...); err == nil {
			t.Errorf("%v went through", bad)
		}
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, text) {
		t.Errorf("a failed export touched the file: %v", err)
	}
	h.must("export", "-out", file, "-format", "parquet")
	if now, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(now, []byte("PAR1")) || !bytes.HasSuffix(now, []byte("PAR1")) {
		t.Errorf("parquet: %d bytes, %v", len(now), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".export-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// No field of a record is forgotten on the way to its row.
func TestRowHasAllOfARecord(t *testing.T) {
	at := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	p := hub.Passage{Gate: "north", Sequence: 1, Received: at, Digest: []byte{1}, Kind: gate.DecisionRecord, At: at, Clock: "c", Direction: "in", Verdict: "hold",
		Reason: gate.Fever, Notices: []gate.Reason{"a", "b"}, Policy: 1, List: 2, Of: 3, Outcome: gate.Turned, GuardReason: "r", Dropped: 4}
	r := rowOf(p)
	for i, v := 0, reflect.ValueOf(r); i < v.NumField(); i++ {
		if name := v.Type().Field(i).Name; name != "Tombstone" && v.Field(i).IsZero() {
			t.Errorf("%s is empty", name)
		}
	}
	if r.Notices != "a b" || r.Digest != "01" {
		t.Errorf("%+v", r)
	}
	if r := rowOf(hub.Passage{Gate: "north", Sequence: 2, Received: at, Tombstone: true}); r != (table.Row{Gate: "north", Sequence: 2, Received: at, Tombstone: true}) {
		t.Errorf("tombstone %+v", r)
	}
}
