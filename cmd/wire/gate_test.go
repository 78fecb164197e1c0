package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"greengate/cmd/control"
	"greengate/display"
	"greengate/gate"
	"greengate/pass"
	"greengate/pass/healthcode"
	"greengate/store"
	"greengate/store/journal"
	"greengate/sync/hub"
)

// The main line: a code over the serial port, a verdict, lights and turnstile,
// the journal, the hub.
func TestOneGateEndToEnd(t *testing.T) {
	r := newRig(t)
	green, red := r.issue("green"), r.issue("red")
	r.publish()
	r.start()
	r.ready()

	r.scan(green)
	if v := r.untilState(gate.Released); v.Decision.Reason != gate.Valid || v.Colour != gate.Green || v.Sequence == 0 {
		t.Errorf("green: %+v", v)
	}
	r.eventually("the turnstile opens", func() error {
		if !r.lane.Open(gate.Entry) || !r.lane.Green.On() || r.lane.Red.On() {
			return errors.New("locked, or not green")
		}
		return nil
	})
	if err := r.lane.Walk(t.Context(), gate.Entry); err != nil {
		t.Fatal(err)
	}
	r.untilState(gate.Idle)

	r.scan(red)
	if v := r.untilState(gate.Refused); v.Decision.Reason != gate.RedCode {
		t.Errorf("red: %+v", v)
	}
	if r.lane.Open(gate.Entry) {
		t.Error("the turnstile opens for red")
	}
	r.untilState(gate.Idle)
	r.eventually("the idle light is red, as configured", func() error {
		if !r.lane.Red.On() || r.lane.Blue.On() {
			return fmt.Errorf("red %v, blue %v", r.lane.Red.On(), r.lane.Blue.On())
		}
		return nil
	})

	v := r.atHub()
	if !v.OK() || v.Decisions != 2 {
		t.Errorf("at the hub: %+v", v)
	}
	// What the gate recorded is enough to judge both again at the hub.
	tried, err := r.hub.TryPolicy(t.Context(), hub.TrialRequest{Map: json.RawMessage(`{"day":"2020-02-17","counties":{"330106":"high"}}`), SinceSeconds: 3600, By: "test"}, func(hub.TrialProgress) {})
	if err != nil || tried.Total.Decisions != 2 || tried.Total.Same != 1 || tried.Total.Changed != 1 || tried.Total.Changes[0].ToReason != gate.RiskHighRegion {
		t.Errorf("judged again with a red map: %+v %v", tried.Total, err)
	}
	// And the keys of its days tell the hub where a code passed.
	for code, want := range map[string]hub.TracedPassage{green: {Reason: gate.Valid, Outcome: gate.Turned}, red: {Reason: gate.RedCode}} {
		c, err := pass.NewReader(healthcode.New(r.gate.db, healthcode.Options{})).Open([]byte(code), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r.eventually("the hub traces "+string(want.Reason), func() error {
			traced, err := r.hub.Trace(t.Context(), hub.TraceRequest{Status: hub.Ref{URI: c.Status.URI, Index: c.Status.Index}, Reason: "test", By: "test"}, func(hub.TraceProgress) {})
			if err != nil || len(traced.Passages) != 1 || traced.Passages[0].Reason != want.Reason || traced.Passages[0].Outcome != want.Outcome || traced.Records != 2 || len(traced.Untold) != 0 {
				return fmt.Errorf("%+v, %v", traced, err)
			}
			return nil
		})
	}
	if text := r.log.String(); strings.Contains(text, "JKM1") || strings.Contains(text, "王") {
		t.Errorf("the log holds a code or a name:\n%s", text)
	}
}

// What strangers show is refused with its reason, and the next person passes.
func TestGarbageAtTheReader(t *testing.T) {
	r := newRig(t)
	green := r.issue("green")
	r.publish()
	r.start()
	r.ready()
	for _, c := range []struct {
		name, code string
		want       gate.Reason
	}{
		{"an advertisement", "https://example.com", gate.Unreadable},
		{"binary", "\x01\x02\xff\xfe\x80", gate.Unreadable},
		{"half a code", green[:len(green)/2], gate.Malformed},
		{"a code and something behind it", green + "A", gate.Malformed},
		{"a huge one", "JKM1:" + strings.Repeat("A", 20_000), gate.Malformed},
		{"lower case", strings.ToLower(green), gate.Unreadable},
	} {
		r.scan(c.code)
		if v := r.untilState(gate.Refused); v.Decision.Reason != c.want {
			t.Errorf("%s: %s, want %s", c.name, v.Decision.Reason, c.want)
		}
		r.untilState(gate.Idle)
	}
	r.scan(green)
	r.untilState(gate.Released)
}

// SIGTERM in the middle of a release locks the turnstile and leaves red.
func TestStopWhileReleased(t *testing.T) {
	r := newRig(t)
	green := r.issue("green")
	r.publish()
	r.start()
	r.ready()
	r.scan(green)
	r.untilState(gate.Released)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if r.lane.EntryRelay.On() || r.lane.ExitRelay.On() || r.lane.Green.On() || !r.lane.Red.On() {
		t.Errorf("after the end: entry %v, exit %v, green %v, red %v", r.lane.EntryRelay.On(), r.lane.ExitRelay.On(), r.lane.Green.On(), r.lane.Red.On())
	}
}

// A journal without room refuses everybody with a fault, loses nothing, and
// the gate heals by itself when the hub has taken what was there.
func TestFullJournal(t *testing.T) {
	r := newRig(t)
	r.config += "[journal]\ncap_mib = 4\n"
	green, another := r.issue("green"), r.issue("green")
	r.publish()
	r.start()
	r.ready()
	r.stopHub()
	filler := gate.Record{Kind: gate.ActRecord, At: time.Now(), Verdict: gate.Admit, Reason: gate.ByButton, Direction: gate.Exit}
	var err error
	for err == nil {
		_, err = r.gate.journal.Append(filler)
	}
	if !errors.Is(err, journal.ErrFull) {
		t.Fatal(err)
	}
	written := r.gate.journal.State().Next - 1

	r.scan(green)
	if v := r.until("a fault", func(v gate.View) bool { return v.FaultCode != "" }); v.Decision.Verdict == gate.Admit {
		t.Errorf("a full journal: %+v", v)
	}
	if r.lane.Open(gate.Entry) || r.lane.EntryRelay.On() {
		t.Error("the turnstile opens without a journal")
	}
	if h := r.gate.Health(); !h.JournalFull || !h.Alarm() {
		t.Errorf("the guard does not see it: %+v", h)
	}

	l, err := net.Listen("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	r.serveHub(l)
	r.eventually("the gate is in service again", func() error {
		if s := r.gate.Status(); s.Lane != "idle" || s.Upload.Backlog > 0 {
			return fmt.Errorf("lane %s %s, backlog %d; %s", s.Lane, s.FaultCode, s.Upload.Backlog, s.Upload.LastError)
		}
		return nil
	})
	r.scan(another)
	r.untilState(gate.Released)
	if v := r.atHub(); !v.OK() || v.Records <= written {
		t.Errorf("at the hub: %+v, written were %d", v, written)
	}
}

// A gate that starts on a full disk works on in the room that its journal had
// prepared, and what it writes there reaches the hub.
func TestFullDiskAtStart(t *testing.T) {
	r := newRig(t)
	state := filepath.Join(r.dir, "gate")
	identity, err := os.ReadFile(filepath.Join(state, "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", state, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("no small file system to fill, mounting one: %v", err)
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("gate: %v", err)
		}
		if err := syscall.Unmount(state, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(state, "identity.json"), identity, 0o600); err != nil {
		t.Fatal(err)
	}
	green := r.issue("green")
	r.publish()
	r.start()
	r.ready()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(state, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = filler.Write(block)
	}
	filler.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}

	r.start()
	r.ready()
	r.scan(green)
	r.untilState(gate.Released)
	if v := r.atHub(); !v.OK() {
		t.Errorf("at the hub: %+v", v)
	}
}

// A port that is not there is said once, with what there is, and the gate
// goes on without it.
func TestReaderThatIsNotThere(t *testing.T) {
	r := newRig(t)
	r.config += "[[reader]]\nkind = \"serial\"\nname = \"second\"\ndevice = \"/dev/ttyNONE0\"\n"
	green := r.issue("green")
	r.publish()
	r.start()
	r.ready()
	r.eventually("the absent reader is known", func() error {
		if s := r.gate.Status().Readers[1]; s.Name != "second" || !strings.HasPrefix(s.State, "absent") {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if !strings.Contains(r.log.String(), "/dev/ttyNONE0") {
		t.Error("the log does not name the port")
	}
	r.scan(green)
	r.untilState(gate.Released)
}

// Without lists people are held, not admitted; the lists come and they pass.
func TestDamagedStore(t *testing.T) {
	r := newRig(t)
	green := r.issue("green")
	r.publish()
	state := filepath.Join(r.dir, "gate")
	if err := os.WriteFile(filepath.Join(state, "lists.db"), []byte(strings.Repeat("not a database ", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.ready()
	r.scan(green)
	r.untilState(gate.Released)
	aside, err := filepath.Glob(filepath.Join(state, "lists.db.damaged-*"))
	if err != nil || len(aside) != 1 {
		t.Errorf("set aside: %v %v", aside, err)
	}
}

// A second gate on the same folder says so and ends.
func TestTwoGatesOnOneFolder(t *testing.T) {
	r := newRig(t)
	r.publish()
	r.start()
	cfg, err := ParseConfig("gate.toml", []byte(r.config))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(cfg, Hardware{}, r.gate.opt)
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("got %v, want %v with a hint", err, store.ErrLocked)
	}
}

// What gatectl asks for, over the real socket.
func TestControl(t *testing.T) {
	r := newRig(t)
	green := r.issue("green")
	r.publish()
	r.start()
	r.ready()
	client := control.NewClient(filepath.Join(r.dir, "gate", "control.sock"))
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	s, err := client.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.Gate != "east-1" || s.Lane != "idle" || len(s.Lists) == 0 || s.Lists[0].Freshness != "fresh" {
		t.Errorf("status: %+v", s)
	}

	tested := make(chan error, 1)
	go func() {
		st, err := client.ScanTest(ctx)
		if err == nil && (st.Reader != "serial" || st.Kind != "static" || st.Error != "" || st.Bytes != len(green)) {
			err = fmt.Errorf("scan test: %+v", st)
		}
		tested <- err
	}()
	r.eventually("the scan test waits", func() error {
		r.gate.control.mu.Lock()
		defer r.gate.control.mu.Unlock()
		if r.gate.control.test == nil {
			return errors.New("not yet")
		}
		return nil
	})
	r.scan(green)
	if err := <-tested; err != nil {
		t.Fatal(err)
	}
	if r.gate.Status().Counts.Scans != 0 {
		t.Error("the lane saw a scan of the test")
	}

	// The journal is followed while a person passes.
	lines := make(chan control.JournalLine, 100)
	following, stop := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() {
		followed <- client.Journal(following, 1, true, func(l control.JournalLine) error { lines <- l; return nil })
	}()
	first := <-lines // the day's key: the stream is open
	r.scan(green)
	l := <-lines
	if l.Kind != gate.DecisionRecord || l.Verdict != "admit" || l.Reason != gate.Valid || l.Sequence != first.Sequence+1 {
		t.Errorf("followed: %+v after %+v", l, first)
	}
	if text, err := json.Marshal(l); err != nil || strings.Contains(string(text), "王") {
		t.Errorf("line %s %v", text, err)
	}
	stop()
	if err := <-followed; err == nil {
		t.Error("following ended without being stopped")
	}
	info, err := os.Stat(filepath.Join(r.dir, "gate", "control.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info.Mode(), err)
	}
}

func TestOldestIsTheWorst(t *testing.T) {
	at := func(hours int, f gate.Freshness) display.ListHealth {
		return display.ListHealth{Confirmed: time.Unix(int64(hours)*3600, 0), Freshness: f}
	}
	for name, c := range map[string]struct {
		held, hashes []display.ListHealth
		hours        int
		worst        gate.Freshness
	}{
		"the oldest":                     {[]display.ListHealth{at(9, gate.Fresh), at(8, gate.Fresh)}, nil, 8, gate.Fresh},
		"confirmed in the future":        {[]display.ListHealth{at(9, gate.Fresh), at(99, gate.TooOld)}, nil, 99, gate.TooOld},
		"a revocation list":              {[]display.ListHealth{at(9, gate.Fresh)}, []display.ListHealth{at(3, gate.Stale)}, 3, gate.Stale},
		"a fresh revocation list":        {[]display.ListHealth{at(3, gate.Stale)}, []display.ListHealth{at(9, gate.Fresh)}, 3, gate.Stale},
		"only revocation lists are held": {nil, []display.ListHealth{at(9, gate.Fresh)}, -1, gate.ListMissing},
	} {
		confirmed, worst := oldest(c.held, c.hashes)
		if worst != c.worst || confirmed.IsZero() != (c.hours < 0) || c.hours >= 0 && !confirmed.Equal(time.Unix(int64(c.hours)*3600, 0)) {
			t.Errorf("%s: %s, confirmed %s", name, worst, confirmed)
		}
	}
}
