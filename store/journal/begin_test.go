package journal

import (
	"errors"
	"testing"

	"greengate/gate/passage"
)

// A gate that wrote before, on another device, goes on behind what the hub has;
// and what a device wrote itself is not begun anew.
func TestBeginBehindWhatTheHubHas(t *testing.T) {
	dir := t.TempDir()
	o := options()
	at := Start{Last: 41, Chain: [32]byte{1, 2, 3}, Segment: 7}
	if err := Begin(dir, o.Gate, at); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, o)
	if s := l.State(); s.Next != 42 || s.Acknowledged != 41 || s.First != 42 || s.Losses != (Losses{}) {
		t.Errorf("begun: %+v, want to go on at 42 without a loss", s)
	}
	if err := Begin(dir, o.Gate, at); !errors.Is(err, ErrLocked) {
		t.Errorf("begun while it is open: %v, want ErrLocked", err)
	}
	add(t, l, 42, 42)
	run, err := l.Read(41, 10)
	if err != nil || len(run.Entries) != 1 || run.Skip != nil {
		t.Fatalf("read %+v, %v, want one record", run, err)
	}
	if e := run.Entries[0]; e.Seq != 42 || run.Prev != at.Chain || e.Chain != e.Next(at.Chain) || e.Segment <= at.Segment {
		t.Errorf("record %d of segment %d behind %x, want 42 of a segment above 7 behind the hub's head", e.Seq, e.Segment, run.Prev)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// The same identity at the next start, and an older one.
	for _, again := range []Start{at, {Last: 3, Segment: 1}} {
		if err := Begin(dir, o.Gate, again); err != nil {
			t.Fatal(err)
		}
	}
	if s := open(t, dir, o).State(); s.Next != 43 || s.Acknowledged != 41 {
		t.Errorf("begun again: %+v, want what was there", s)
	}
}

// Another gate's name is not taken, and a beginning that was cut is made anew.
func TestBeginCut(t *testing.T) {
	dir := t.TempDir()
	o := options()
	if err := Begin(dir, "no/gate", Start{}); !errors.Is(err, passage.ErrInvalid) {
		t.Errorf("a bad name: %v, want ErrInvalid", err)
	}
	f, err := osDisk(dir).create(cursorName + freshSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Begin(dir, o.Gate, Start{Last: 9, Chain: [32]byte{9}}); err != nil {
		t.Fatal(err)
	}
	if s := open(t, dir, o).State(); s.Next != 10 {
		t.Errorf("%+v, want to go on at 10", s)
	}
}
