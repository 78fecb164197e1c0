package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseAnswer(t *testing.T) {
	a, err := parseAnswer("ours\t/a.pgm\t1.5000\t2.0000\t2\tQQ==,Qg==\t17", "/a.pgm")
	if err != nil || a.cpu != 1.5 || a.count != 2 || len(a.texts) != 2 || string(a.texts[1]) != "B" || a.alloc != 17 {
		t.Errorf("got %+v, %v", a, err)
	}
	a, err = parseAnswer("zbar\t/a.pgm\t1.5\t2\t0\t", "/a.pgm")
	if err != nil || a.count != 0 || a.texts != nil || a.alloc != -1 {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, bad := range []string{
		"", "zbar\t/b.pgm\t1\t1\t0\t", "zbar\t/a.pgm\tfast\t1\t0\t", "zbar\t/a.pgm\t1\t1\tnone\t", "zbar\t/a.pgm\t1\t1\t1\t!",
		"zbar\t/a.pgm\t1\t1\t0\t\tmany", "zbar\t/a.pgm\t1\t1\t0\t\t1\t1",
	} {
		if a, err := parseAnswer(bad, "/a.pgm"); !errors.Is(err, errAnswer) {
			t.Errorf("%q: got %+v, %v, want %v", bad, a, err, errAnswer)
		}
	}
}

func TestAPeerAnswers(t *testing.T) {
	p := &peer{name: "echo", args: []string{"sh", "-c", `while read -r f; do printf 'echo\t%s\t%s\t0\t1\tQQ==\n' "$f" "$1"; done`, "-"}}
	if err := p.start(t.Context(), "2.5"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/a.pgm", "/b.pgm"} {
		if a, err := p.ask(t.Context(), path); err != nil || a.cpu != 2.5 || a.count != 1 {
			t.Errorf("got %+v, %v", a, err)
		}
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

// What a peer complains of when it ends is in the error.
func TestAPeerEnds(t *testing.T) {
	p := &peer{name: "brief", args: []string{"sh", "-c", "read -r f; echo no picture >&2; exit 3"}}
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := p.ask(t.Context(), "/a.pgm")
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "no picture") {
		t.Errorf("got %v, want %v", err, errEnded)
	}
	if err := p.close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

func TestReadCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counts")
	for text, want := range map[string][]float64{"": nil, "12\n18446744073709551615\n": {12, 18446744073709551615}} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readCounts(path); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	if err := os.WriteFile(path, []byte("12\n-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readCounts(path); err == nil {
		t.Errorf("a count below 0: %v", got)
	}
}
