package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Lists are exported from the folder of a hub that does not run: to a stick, to
// a file, and to standard output, which are one and the same.
func TestListsExport(t *testing.T) {
	h := hubRun{t, filepath.Join(t.TempDir(), "hub")}
	h.must("init", "-name", "Hangzhou", "-url", "https://127.0.0.1:1", "-province", "33", "-province", "44")
	dir := t.TempDir()
	file, stick := filepath.Join(dir, "lists.tar"), filepath.Join(dir, "stick")
	if _, errs, err := h.try("lists", "export", "-out", file); err != nil || !strings.Contains(errs, "gatectl lists import "+file) {
		t.Errorf("file: %v\n%s", err, errs)
	}
	bundle, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out := h.must("lists", "export", "-out", "-"); !bytes.Equal([]byte(out), bundle) {
		t.Error("standard output and file differ")
	}
	h.must("lists", "export", "-out", stick+"/", "-region", "33")
	if _, err := os.Stat(filepath.Join(stick, "metadata", "timestamp.json")); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]int{"*.status-33.json": 1, "*.status-44.json": 0, "*.root.json": 1} {
		if found, err := filepath.Glob(filepath.Join(stick, "metadata", name)); err != nil || len(found) != want {
			t.Errorf("%s: %v %v, want %d", name, found, err, want)
		}
	}
	h.must("lists", "export", "-out", filepath.Join(dir, "again.tar"), "-from", filepath.Join(h.dir, "lists"), "-region", "33")
	for _, bad := range [][]string{{"lists", "export"}, {"lists", "export", "-from", dir, "-out", file}, {"lists", "export", "-out", filepath.Join(h.dir, "lists")}, {"lists", "export", "-out", file, "-region", "x"}} {
		if _, _, err := h.try(bad...); err == nil {
			t.Errorf("%v went through", bad)
		}
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, bundle) {
		t.Errorf("a failed export touched the file: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".export-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
