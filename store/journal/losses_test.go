package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
)

// onDay is record(n), so many days later.
func onDay(n uint64, days int) gate.Record {
	r := record(n)
	r.At = r.At.AddDate(0, 0, days)
	return r
}

// drained reads and acknowledges everything, as the upload does.
type drained struct {
	records, skipped, tombstones, gapRecords uint64
	destroyed                                int // keys
	last                                     uint64
}

func drain(t *testing.T, l *Log) (d drained) {
	t.Helper()
	d.last = l.State().Acknowledged
	var head *[32]byte
	for {
		run, err := l.Read(d.last, 100)
		if err != nil {
			t.Fatalf("Read(%d): %v", d.last, err)
		}
		if len(run.Entries) == 0 {
			return d
		}
		b := passage.Batch{Gate: testGate, Skip: run.Skip, Prev: run.Prev, Keys: run.Keys, Entries: run.Entries}
		if _, err := b.Marshal(); err != nil {
			t.Fatal(err)
		}
		if run.Skip != nil {
			if run.Skip.First != d.last+1 {
				t.Errorf("behind %d: skip %+v", d.last, *run.Skip)
			}
			d.skipped += run.Skip.Count()
		} else if b.First() != d.last+1 || head != nil && *head != run.Prev {
			t.Errorf("behind %d: records from %d, chain follows %v", d.last, b.First(), head == nil || *head == run.Prev)
		}
		for _, k := range run.Keys {
			if k.Destroyed() {
				d.destroyed++
			}
		}
		for _, e := range run.Entries {
			if e.Tombstone {
				d.tombstones++
				continue
			}
			d.records++
			if _, r, err := passage.DecodeClear(e.Clear); err == nil && r.Kind == gate.GapRecord {
				d.gapRecords += r.Dropped
			}
		}
		h := b.Head()
		head, d.last = &h, b.Last()
		if err := l.Acknowledge(d.last); err != nil {
			t.Fatal(err)
		}
	}
}

// Three days at a gate without a network: after 30 more the keys of the first
// two are gone from the disk; everything still chains and goes to the hub.
func TestKeysAreDestroyedByTheDay(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	n := uint64(0)
	for day := range 3 {
		for range 5 {
			n++
			if _, err := l.Append(onDay(n, day)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// An outcome that comes a moment after midnight with a time before it stays.
	late := onDay(16, 2)
	late.At = late.At.Add(-24 * time.Hour)
	if _, err := l.Append(late); err != nil {
		t.Fatal(err)
	}
	run, err := l.Read(0, 100)
	if err != nil || len(run.Keys) != 3 || len(run.Entries) != 16 {
		t.Fatalf("%d keys for %d records, %v; want a segment for each of 3 days", len(run.Keys), len(run.Entries), err)
	}
	raw := func() (all []byte) {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		return all
	}
	for i, k := range run.Keys {
		if !bytes.Contains(raw(), k.Sealed) {
			t.Fatalf("the key of day %d is not found, so this test finds nothing", i)
		}
	}
	if got, err := l.DestroyKeys(record(1).At.AddDate(0, 0, -30)); err != nil || got != 0 {
		t.Fatalf("%d keys destroyed before their time, %v", got, err)
	}
	if got, err := l.DestroyKeys(record(1).At.AddDate(0, 0, 2)); err != nil || got != 2 {
		t.Fatalf("%d keys destroyed, %v; want those of 2 days", got, err)
	}
	for i, k := range run.Keys {
		if got := bytes.Contains(raw(), k.Sealed) || bytes.Contains(raw(), k.Encapsulated); got != (i == 2) {
			t.Errorf("the key of day %d is on the disk: %v", i, got)
		}
	}
	if got, err := l.DestroyKeys(record(1).At.AddDate(0, 0, 2)); err != nil || got != 0 {
		t.Errorf("%d destroyed again, %v", got, err)
	}
	shut(t, l)
	l = open(t, dir, options())
	if got := drain(t, l); got.records != 16 || got.destroyed != 2 || got.skipped != 0 {
		t.Errorf("the hub gets %+v; want 16 records, 2 keys destroyed", got)
	}
}

// Nobody passes for a month: the day that was last written to goes as well.
func TestQuietGateDestroysItsLastDay(t *testing.T) {
	l := open(t, t.TempDir(), options())
	add(t, l, 1, 3)
	if got, err := l.DestroyKeys(record(1).At.AddDate(0, 0, 31)); err != nil || got != 1 {
		t.Fatalf("%d keys destroyed, %v", got, err)
	}
	if seq, err := l.Append(onDay(4, 31)); err != nil || seq != 4 {
		t.Fatalf("Append = %d, %v", seq, err)
	}
	if got := drain(t, l); got.records != 4 || got.destroyed != 1 {
		t.Errorf("the hub gets %+v", got)
	}
}

// A gate that booted in 1970 and has no network yet: its records are not taken
// for fifty years old once the clock is set.
func TestUndatedRecordsKeepTheirKeys(t *testing.T) {
	l := open(t, t.TempDir(), options())
	lost := record(1)
	lost.At, lost.Clock = time.Unix(60, 0), gate.ClockUnset
	if _, err := l.Append(lost); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(record(2)); err != nil {
		t.Fatal(err)
	}
	if got, err := l.DestroyKeys(record(2).At.AddDate(0, 0, -30)); err != nil || got != 0 {
		t.Errorf("%d keys destroyed, %v", got, err)
	}
	if got, err := l.DestroyKeys(record(2).At.AddDate(0, 0, 1)); err != nil || got != 2 {
		t.Errorf("%d keys destroyed with the day after, %v; want 2", got, err)
	}
}

// The journal is full for days and drops its oldest: whatever fails meanwhile,
// each sequence reaches the hub once, as a record or as dropped.
func TestDropOldest(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.CapBytes, o.DropOldest = 4*MinSegmentBytes, true
	l := open(t, dir, o)
	given := uint64(0)
	for range 1000 {
		seq, err := l.Append(record(0))
		if err != nil {
			t.Fatalf("behind record %d: %v", given, err)
		}
		if seq <= given {
			t.Fatalf("sequence %d behind %d", seq, given)
		}
		given = seq
		if l.Room() == RoomNone {
			t.Fatal("a journal that drops its oldest says that it has no room")
		}
	}
	if size := diskUsage(t, dir); size > o.CapBytes+64<<10 {
		t.Errorf("%d bytes on the disk under a cap of %d", size, o.CapBytes)
	}
	dropped := l.State().Losses.Dropped
	if dropped == 0 {
		t.Fatal("nothing was dropped, so this test shows nothing")
	}
	shut(t, l)
	l = open(t, dir, o)
	got := drain(t, l)
	if got.records+got.skipped != given || got.last != given || got.skipped != dropped {
		t.Errorf("the hub gets %+v of %d, %d dropped", got, given, dropped)
	}
}

// Each write, flush and removal of a drop fails in its turn, as a crash there
// would leave the disk, and the gate is opened anew.
func TestDropOldestCutAnywhere(t *testing.T) {
	cuts := 0
	for step := 0; ; step++ {
		dir := t.TempDir()
		d, o := faulty(dir)
		o.CapBytes, o.DropOldest = 4*MinSegmentBytes, true
		l := open(t, dir, o)
		given := uint64(0)
		for l.State().Losses.Dropped == 0 && given < 400 {
			seq, err := l.Append(record(0))
			if err != nil {
				t.Fatal(err)
			}
			given = seq
		}
		left, struck := step, false
		strike := func(string) error {
			if left--; left < 0 {
				struck = true
				return errDisk
			}
			return nil
		}
		d.set(func() {
			d.sync, d.remove, d.truncate = strike, strike, strike
			d.write = func(name string, _ int64, p []byte) (int, error) {
				if err := strike(name); err != nil {
					return len(p) / 2, err
				}
				return -1, nil
			}
		})
		for range 120 {
			seq, err := l.Append(record(0))
			if err != nil {
				break
			}
			given = seq
		}
		d.set(func() { d.sync, d.remove, d.truncate, d.write = nil, nil, nil, nil })
		if err := l.Close(); err != nil && !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		l = open(t, dir, o)
		if next := l.State().Next; next <= given {
			t.Fatalf("step %d: %d would be given again, %d was given", step, next, given)
		}
		if _, err := l.Append(record(0)); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		last := l.State().Next - 1
		if got := drain(t, l); got.records+got.skipped != last || got.last != last {
			t.Fatalf("step %d: the hub gets %+v of %d", step, got, last)
		}
		shut(t, l)
		if !struck {
			break
		}
		cuts++
		step += step / 12 // closely first, where the drop is
	}
	if cuts < 20 {
		t.Errorf("only %d places were cut", cuts)
	}
}

// A record that the hub refuses: what is behind it goes on, its tombstone takes
// its place, and it lies in a file.
func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	add(t, l, 1, 10)
	before, err := l.Read(3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetAside(4, "unparsable"); err != nil {
		t.Fatal(err)
	}
	if err := l.SetAside(4, "unparsable"); err != nil {
		t.Errorf("again: %v", err)
	}
	for _, seq := range []uint64{11, 500} {
		if err := l.SetAside(seq, "never was"); !errors.Is(err, ErrGone) {
			t.Errorf("record %d: %v, want ErrGone", seq, err)
		}
	}
	shut(t, l)
	l = open(t, dir, options())
	run, err := l.Read(0, 100)
	if err != nil || len(run.Entries) != 10 {
		t.Fatalf("%d entries, %v", len(run.Entries), err)
	}
	for _, e := range run.Entries {
		if e.Tombstone != (e.Seq == 4) {
			t.Errorf("record %d is a tombstone: %v", e.Seq, e.Tombstone)
		}
	}
	if run.Entries[3].Chain != before.Entries[0].Chain {
		t.Error("the chain is another with the tombstone")
	}
	kept, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%016x%s", 4, asideSuffix)))
	if err != nil || !bytes.Contains(kept, before.Entries[0].Clear) || !bytes.Contains(kept, before.Entries[0].Sealed) {
		t.Errorf("the record is not kept: %v", err)
	}
	if got := drain(t, l); got.tombstones != 1 || got.records != 9 {
		t.Errorf("the hub gets %+v", got)
	}
	// The cursor has room for so many that wait, and says when it is full.
	add(t, l, 11, 90)
	for seq := uint64(11); seq < 11+maxGraves; seq++ {
		if err := l.SetAside(seq, "no"); err != nil {
			t.Fatalf("record %d: %v", seq, err)
		}
	}
	if err := l.SetAside(80, "no"); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v, want ErrFull", err)
	}
	if got := drain(t, l); got.tombstones != maxGraves || got.last != 90 {
		t.Errorf("the hub gets %+v", got)
	}
	add(t, l, 91, 91)
	if err := l.SetAside(91, "no"); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// The cursor of the version before is read.
func TestFormerCursor(t *testing.T) {
	c := cursor{generation: 3, acknowledged: 4, head: 9, segment: 2}
	b := c.encode()[:formerSum]
	copy(b, formerMagic)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	got, ok := decodeCursor(append(b, make([]byte, slotBytes)...))
	if !ok || got.acknowledged != 4 || got.head != 9 || len(got.gaps)+len(got.graves) != 0 {
		t.Errorf("read as %+v, %v", got, ok)
	}
}

// Months of few passages: each day's segment is too small to make room for the
// next. The gate goes on, and no record is told as dropped twice.
func TestDropOldestOfSmallDays(t *testing.T) {
	o := options()
	o.CapBytes, o.DropOldest = 4*MinSegmentBytes, true
	l := open(t, t.TempDir(), o)
	told := map[uint64]bool{}
	seen := uint64(0)
	for day := range 90 {
		seq, err := l.Append(onDay(0, day))
		if err != nil {
			t.Fatalf("day %d: %v", day, err)
		}
		first, records, err := l.Tail(MaxTail)
		if err != nil || first > seen+1 {
			t.Fatalf("the tail begins at %d behind %d, %v", first, seen, err)
		}
		for _, r := range records[seen+1-first:] {
			for lost := r.Of; r.Kind == gate.GapRecord && lost < r.Of+r.Dropped; lost++ {
				if told[lost] {
					t.Fatalf("day %d: record %d is told as dropped again", day, lost)
				}
				told[lost] = true
			}
		}
		seen = seq
	}
	dropped := l.State().Losses.Dropped
	if got := drain(t, l); got.records+got.skipped != seen || got.skipped != dropped || dropped < 50 {
		t.Errorf("the hub gets %+v of %d, %d dropped", got, seen, dropped)
	}
	add(t, l, l.State().Next, l.State().Next)
	if uint64(len(told)) > dropped {
		t.Errorf("%d told of %d", len(told), dropped)
	}
}

// A gap record is being written while more is dropped and while the hub's
// refusal changes the cursor: it counts as told all the same, and no more does.
func TestGapIsToldOnce(t *testing.T) {
	l := open(t, t.TempDir(), options())
	add(t, l, 1, 9)
	skip := func(first, last uint64) gap {
		return gap{Skip: passage.Skip{First: first, Last: last, Why: passage.Dropped}}
	}
	l.gaps = []gap{skip(1, 6)} // 4 to 6 were dropped when 1 to 3 had been told
	l.markTold(skip(1, 3))
	want := []gap{skip(1, 3), skip(4, 6)}
	want[0].told = true
	if !slices.Equal(l.gaps, want) {
		t.Fatalf("%+v, want %+v", l.gaps, want)
	}
	if _, err := l.Append(record(10)); err != nil {
		t.Fatal(err)
	}
	_, records, err := l.Tail(2)
	if err != nil || records[0].Kind != gate.GapRecord || records[0].Of != 4 || records[0].Dropped != 3 {
		t.Errorf("told: %+v, %v", records[0], err)
	}
	// The cursor is on its way to the disk, with what was there before.
	began, end, once := make(chan struct{}), make(chan struct{}), sync.Once{}
	d, o := faulty(t.TempDir())
	l = open(t, string(d.disk.(osDisk)), o)
	add(t, l, 1, 9)
	l.gaps = []gap{skip(1, 3)}
	d.set(func() {
		d.sync = func(name string) error {
			if name == cursorName {
				once.Do(func() { close(began); <-end })
			}
			return nil
		}
	})
	done := make(chan error)
	go func() { done <- l.SetAside(7, "no") }()
	<-began
	marked := make(chan struct{})
	go func() { l.markTold(skip(1, 3)); close(marked) }()
	select {
	case <-marked:
	case <-time.After(50 * time.Millisecond):
	}
	close(end)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	<-marked
	if want := []gap{{skip(1, 3).Skip, true}}; !slices.Equal(l.gaps, want) {
		t.Errorf("%+v, want %+v", l.gaps, want)
	}
}

// The hub is told of no gap before it is durable: where the cursor cannot be
// written, the records are there still, and Read gives them.
func TestGapIsSeenWhenItIsDurable(t *testing.T) {
	d, o := faulty(t.TempDir())
	l := open(t, string(d.disk.(osDisk)), o)
	add(t, l, 1, 9)
	read := func() (skip *passage.Skip) {
		run, err := l.Read(0, 10)
		if err != nil || len(run.Entries) == 0 {
			t.Fatalf("%d entries, %v", len(run.Entries), err)
		}
		return run.Skip
	}
	d.set(func() {
		d.sync = func(name string) error {
			if s := read(); s != nil {
				t.Errorf("skip %+v before the cursor is flushed", *s)
			}
			return errDisk
		}
	})
	if _, err := l.giveUp(passage.Skip{First: 1, Last: 5, Why: passage.Dropped}); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	d.set(func() { d.sync = nil })
	if s := read(); s != nil {
		t.Errorf("skip %+v", *s)
	}
	// What the hub got meanwhile is not lost.
	if err := l.Acknowledge(3); err != nil {
		t.Fatal(err)
	}
	if lost, err := l.giveUp(passage.Skip{First: 1, Last: 5, Why: passage.Dropped}); err != nil || lost != 2 {
		t.Errorf("%d lost, %v; want 2", lost, err)
	}
	if lost, err := l.giveUp(passage.Skip{First: 1, Last: 5, Why: passage.Dropped}); err != nil || lost != 0 {
		t.Errorf("%d lost again, %v", lost, err)
	}
}

// A segment that was given up came back with a crash, readable or not: the
// records before it end where the gap begins.
func TestReadEndsAtAGap(t *testing.T) {
	l := open(t, t.TempDir(), options())
	add(t, l, 1, 20)
	if _, err := l.giveUp(passage.Skip{First: 11, Last: 15, Why: passage.Damaged}); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, l); got.records != 15 || got.skipped != 5 || got.last != 20 {
		t.Errorf("the hub gets %+v", got)
	}
}

// What is set aside today is there tomorrow, for whoever looks into it; and a
// segment that the disk does not let go keeps no other.
func TestDestroyKeysOfItsDaysOnly(t *testing.T) {
	dir := t.TempDir()
	d, o := faulty(dir)
	l := open(t, dir, o)
	for day := range 4 {
		if _, err := l.Append(onDay(uint64(day+1), day)); err != nil {
			t.Fatal(err)
		}
	}
	aside := func(i int) string { return segmentName(l.segments[i].id) }
	third := aside(2)
	if err := l.setAside(unreadable{l.segments[2], 3}); err != nil {
		t.Fatal(err)
	}
	if err := l.Acknowledge(3); err != nil {
		t.Fatal(err)
	}
	there := func() bool {
		_, err := os.Stat(filepath.Join(dir, third+damagedSuffix))
		return err == nil
	}
	if _, err := l.DestroyKeys(record(1).At.AddDate(0, 0, 2)); err != nil || !there() {
		t.Errorf("what is of the day is there: %v, %v", there(), err)
	}
	if _, err := l.DestroyKeys(record(1).At.AddDate(0, 0, 3)); err != nil || there() {
		t.Errorf("what is of the day before is there: %v, %v", there(), err)
	}
	for day := 4; day < 7; day++ {
		if _, err := l.Append(onDay(0, day)); err != nil {
			t.Fatal(err)
		}
	}
	stuck := aside(1)
	d.set(func() {
		d.sync = func(name string) error {
			if name == stuck {
				return errDisk
			}
			return nil
		}
	})
	if got, err := l.DestroyKeys(record(1).At.AddDate(0, 0, 6)); got != 2 || !errors.Is(err, errDisk) {
		t.Errorf("%d keys destroyed, %v; want those of the 2 others", got, err)
	}
}

// A disk that does not give back a segment, or the cursor, or both, or anything
// at all but the names of the files: the gate goes on, and no sequence is given
// twice.
func TestDiskThatDoesNotRead(t *testing.T) {
	newest := func(t *testing.T, dir string) string {
		all := segments(t, dir)
		return filepath.Base(all[len(all)-1])
	}
	for name, c := range map[string]struct {
		is   func(t *testing.T, dir, file string) bool
		err  error
		kept uint64 // records that are sent still, at least
	}{
		"one in the middle": {is: func(t *testing.T, dir, file string) bool { return file == filepath.Base(segments(t, dir)[1]) }, err: syscall.EIO, kept: 80},
		"the newest":        {is: func(t *testing.T, dir, file string) bool { return file == newest(t, dir) }, err: syscall.EIO, kept: 80},
		"the cursor":        {is: func(_ *testing.T, _, file string) bool { return file == cursorName }, err: syscall.EIO, kept: 155},
		"newest and cursor": {is: func(t *testing.T, dir, file string) bool { return file == cursorName || file == newest(t, dir) }, err: syscall.EBADMSG, kept: 80},
		"all segments":      {is: func(_ *testing.T, _, file string) bool { return strings.HasSuffix(file, segmentSuffix) }, err: syscall.EIO},
		"nothing but names": {is: func(*testing.T, string, string) bool { return true }, err: syscall.EIO},
		"the wrong user's":  {is: func(_ *testing.T, _, file string) bool { return strings.HasSuffix(file, segmentSuffix) }, err: syscall.EACCES},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d, o := faulty(dir)
			l := open(t, dir, o)
			add(t, l, 1, 150)
			shut(t, l)
			l = open(t, dir, o)
			add(t, l, 151, 155)
			shut(t, l)
			bad := map[string]bool{cursorName: c.is(t, dir, cursorName)}
			for _, path := range segments(t, dir) {
				bad[filepath.Base(path)] = c.is(t, dir, filepath.Base(path))
			}
			d.set(func() {
				d.read = func(name string) error {
					if bad[name] {
						return fmt.Errorf("read %s: %w", name, c.err)
					}
					return nil
				}
			})
			l, err := Open(dir, o)
			if c.err == syscall.EACCES {
				if !errors.Is(err, c.err) {
					t.Fatalf("opened with %v, want it to say so and to touch nothing", err)
				}
				if left, err := filepath.Glob(filepath.Join(dir, "*"+damagedSuffix)); err != nil || len(left) > 0 {
					t.Errorf("set aside: %v, %v", left, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { shut(t, l) })
			d.set(func() { d.read = nil })
			if next := l.State().Next; next <= 155 {
				t.Fatalf("the next record is %d, which was given before", next)
			}
			seq, err := l.Append(record(0))
			if err != nil {
				t.Fatal(err)
			}
			got := drain(t, l)
			if got.last < seq || got.records < c.kept || got.records+got.skipped != got.last {
				t.Errorf("sent %+v of %d; want each sequence once, as a record or as lost", got, seq)
			}
		})
	}
}

// A card that rots in more places than the cursor has room for, while the hub is
// away: gaps are made one with what lies between them, and the lane goes on.
func TestMoreGapsThanThereIsRoomFor(t *testing.T) {
	dir := t.TempDir()
	_, o := faulty(dir)
	o.CapBytes = 8 << 20
	l := open(t, dir, o)
	const holes, apart = maxGaps + 8, 100
	add(t, l, 1, holes*apart)
	var lost uint64
	for i := range uint64(holes) {
		// Those further on lie further apart, so that the first ones are joined.
		n, err := l.giveUp(passage.Skip{First: i*apart + 1, Last: i*apart + 60 - i, Why: passage.Damaged})
		if err != nil {
			t.Fatal(err)
		}
		lost += n
		if len(l.gaps) > maxGaps {
			t.Fatalf("%d gaps", len(l.gaps))
		}
	}
	seq, err := l.Append(record(0))
	if err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	l = open(t, dir, o)
	got := drain(t, l)
	if got.last != seq || got.records+got.skipped != got.last {
		t.Errorf("sent %+v of %d; want each sequence once, as a record or as lost", got, seq)
	}
	// Eight times the least that lies between two was given up with them.
	if want := uint64(8 * 40); got.skipped != lost || got.skipped < 40*holes+want || got.skipped > 60*holes+2*want {
		t.Errorf("%d skipped, %d counted as lost", got.skipped, lost)
	}
	if got.gapRecords != got.skipped {
		t.Errorf("the chain tells of %d lost, the hub was told of %d", got.gapRecords, got.skipped)
	}
	shut(t, l)
}
