package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/png"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/sync/enrol"
	"greengate/sync/hub"
)

// hubRun is a hub that was made and is served by the command's own words.
type hubRun struct {
	t   *testing.T
	dir string
}

func (h hubRun) try(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	words, rest := args, []string{}
	for i, a := range args { // the folder goes behind the command's words
		if strings.HasPrefix(a, "-") || i > 0 && find2(args[:i]) && !find2(args[:i+1]) {
			words, rest = args[:i], args[i:]
			break
		}
	}
	err = run(h.t.Context(), append(append(append([]string{}, words...), "-dir", h.dir), rest...), &out, &errs)
	return out.String(), errs.String(), err
}

// find2 reports whether the words name a command.
func find2(words []string) bool {
	for _, c := range commands {
		if c.words == strings.Join(words, " ") {
			return true
		}
	}
	return false
}

func (h hubRun) must(args ...string) string {
	h.t.Helper()
	out, errs, err := h.try(args...)
	if err != nil {
		h.t.Fatalf("gatehub %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return out
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// serveHub makes a hub and serves it until the test ends.
func serveHub(t *testing.T) hubRun {
	t.Helper()
	h := hubRun{t, filepath.Join(t.TempDir(), "hub")}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	if out := h.must("init", "-name", "Hangzhou", "-url", "https://"+address, "-province", "33"); !strings.Contains(out, "next:") {
		t.Errorf("init: %s", out)
	}
	if _, _, err := h.try("init", "-name", "Hangzhou", "-url", "https://"+address, "-province", "33"); err == nil {
		t.Error("a second init went through")
	}
	if _, _, err := h.try("lists"); err == nil {
		t.Error("a hub that does not run answered")
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- run(ctx, []string{"serve", "-dir", h.dir, "-listen", address, "-operator", "127.0.0.1:0"}, os.Stderr, os.Stderr)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	for tick, deadline := time.NewTicker(20*time.Millisecond), time.Now().Add(20*time.Second); ; <-tick.C {
		if _, _, err = h.try("lists"); err == nil {
			return h
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// The operator's day by the command line: declare, review, issue, permit,
// recolour, revoke, a gate, and what is refused on the way.
func TestOperatorsDay(t *testing.T) {
	h := serveHub(t)
	d := decode[hub.Declaration](t, h.must("declare", "-name", "王建明", "-region", "330106"))
	if _, _, err := h.try("issue", d.ID); err == nil {
		t.Error("a code was issued before the review")
	}
	h.must("review", "-colour", "green", d.ID)
	picture := filepath.Join(t.TempDir(), "code.png")
	issued := decode[hub.Issued](t, h.must("issue", "-kind", "paper", "-png", picture, d.ID))
	f, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() < 200 {
		t.Errorf("picture: %v", err)
	}
	ref := issued.Status.URI + "#" + decodeIndex(issued)
	h.must("enterprise", "add", "-name", "Works", "-region", "330106", "-zone", "A", "QJ-1")
	permit := decode[hub.Issued](t, h.must("permit", "issue", "QJ-1", ref))
	h.must("recolour", ref, "yellow")
	if all := decode[[]hub.Alarm](t, h.must("alarms", "-chinese")); len(all) != 0 {
		t.Errorf("alarms %+v", all)
	}
	if _, _, err := h.try("alarms", "clear", "north", "fork"); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("clearing what is not there: %v", err)
	}
	if _, _, err := h.try("recolour", ref, "purple"); err == nil {
		t.Error("purple is a colour")
	}
	h.must("permit", "revoke", permit.Status.URI+"#"+decodeIndex(permit))
	h.must("revoke", ref)
	if _, _, err := h.try("recolour", ref, "green"); err == nil {
		t.Error("a void code came back")
	}
	h.must("publish")
	lists := decode[[]hub.ListStatus](t, h.must("lists"))
	// An index that was given up, since a list of its moment stood without it, is void too.
	if len(lists) != 1 || lists[0].Void < 2 || lists[0].Green+lists[0].Yellow+lists[0].Red != 0 || lists[0].Pending {
		t.Errorf("lists: %+v", lists)
	}

	out := filepath.Join(t.TempDir(), "identity.json")
	h.must("gate", "add", "-out", out, "-site", "east", "east-1")
	if id, err := enrol.Load(out); err != nil || id.Gate != "east-1" {
		t.Errorf("identity: %v", err)
	}
	if gates := decode[[]hub.GateStatus](t, h.must("gate", "list")); len(gates) != 1 || gates[0].Site != "east" {
		t.Errorf("gates: %+v", gates)
	}
	if _, _, err := h.try("gate", "add", "-out", out, "west-1"); err == nil || !strings.Contains(err.Error(), "-out") {
		t.Errorf("a gate's key was written over another's: %v", err)
	}
	if id, err := enrol.Load(out); err != nil || id.Gate != "east-1" {
		t.Errorf("identity after that: %v", err)
	}
	if _, _, err := h.try("gate", "add", "-out", filepath.Join(t.TempDir(), "again.json"), "east-1"); err == nil || !strings.Contains(err.Error(), "-replace") {
		t.Errorf("a known gate: %v", err)
	}
	h.must("gate", "add", "-replace", "-out", out, "east-1")
	h.must("gate", "revoke", "east-1")

	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"version":1,"feverr":3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.try("policy", "set", policy); err == nil || !strings.Contains(err.Error(), "feverr") {
		t.Errorf("a policy with a typo: %v", err)
	}
	if _, _, err := h.try("policy", "try", policy); err == nil || !strings.Contains(err.Error(), "feverr") {
		t.Errorf("a policy with a typo, tried: %v", err)
	}

	// What is shown can be changed, tried and set.
	shown := h.must("policy", "show")
	if err := os.WriteFile(policy, []byte(strings.Replace(shown, "37300", "37000", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	tried, said, err := h.try("policy", "try", "-since", "1h", policy)
	if err != nil || !strings.Contains(tried, "fever_at_millicelsius: 37000, in force (version 0) 37300") || !strings.Contains(tried, "all gates: 0 judged") {
		t.Errorf("policy try: %s %s %v", tried, said, err)
	}
	if r := decode[hub.TrialReport](t, h.must("policy", "try", "-json", "-day", "2020-02-17", policy)); r.To.Sub(r.From) != 24*time.Hour || len(r.Differences) != 1 {
		t.Errorf("policy try -json: %+v", r)
	}
	if _, said, err := h.try("policy", "set", policy); err != nil || !strings.Contains(said, "policy try") {
		t.Errorf("policy set: %v, said %q", err, said)
	}
	if again := h.must("policy", "show"); !strings.Contains(again, "37000") || !strings.Contains(again, `"version": 1`) {
		t.Errorf("policy show: %s", again)
	}

	// The map of the day comes from a spreadsheet.
	counties := filepath.Join(t.TempDir(), "map.csv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(counties, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("county,level\n330106,low\n330107,purple\n")
	if _, _, err := h.try("map", "set", "-day", "2020-02-17", counties); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("a purple county: %v", err)
	}
	write("county,level\n330106,low\n330107,higher\n")
	if _, _, err := h.try("map", "set", counties); err == nil || !strings.Contains(err.Error(), "-day") {
		t.Errorf("a map of no day: %v", err)
	}
	h.must("map", "try", "-since", "1h", counties)
	h.must("policy", "try", "-map", counties, policy)
	h.must("map", "set", "-day", "2020-02-17", counties)
	if again := h.must("map", "show"); !strings.Contains(again, "higher") || !strings.Contains(again, "2020-02-17") {
		t.Errorf("map show: %s", again)
	}
	write(h.must("map", "show"))
	if _, _, err := h.try("map", "set", "-day", "2020-02-18", counties); err == nil || !strings.Contains(err.Error(), "its own day") {
		t.Errorf("a day beside that of the map: %v", err)
	}
}

// A file that does not end, or is no document, does not reach the hub.
func TestReadDocument(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("version: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/dev/zero": "longer than", "/dev/null": "not JSON", text: "not JSON", t.TempDir(): "directory"} {
		if _, err := readDocument(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func decodeIndex(i hub.Issued) string {
	text, err := json.Marshal(i.Status.Index)
	if err != nil {
		panic(err) // a number always encodes
	}
	return string(text)
}

// Words that are no command get a hint and no panic.
func TestUnknownCommands(t *testing.T) {
	for _, args := range [][]string{{"gate"}, {"gate", "remove", "x"}, {"frobnicate"}, {"issue"}, {"revoke", "no-index"}, {"recolour", "x#y", "red"}, {"gate", "add"}} {
		var out, errs bytes.Buffer
		if err := run(t.Context(), append(args, "-dir", t.TempDir()), &out, &errs); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"help"}, &out, &errs); err != nil || !strings.Contains(out.String(), "permit issue") {
		t.Errorf("help: %v %s", err, out.String())
	}
}
