package journal

import (
	"bytes"
	"context"
	"crypto/hpke"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
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

const testGate = "gate-1"

// hub is one key pair for all tests of this package.
var hub = sync.OnceValue(func() hpke.PrivateKey {
	k, err := passage.NewHubKey()
	if err != nil {
		panic(err)
	}
	return k
})

func options() Options {
	return Options{Gate: testGate, Hub: hub().PublicKey(), SegmentBytes: MinSegmentBytes, CapBytes: 1 << 20, Rand: rand.Reader}
}

func open(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, l) })
	return l
}

func shut(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// record carries its number in clear and sealed, so that one in another's place shows.
func record(n uint64) gate.Record {
	return gate.Record{
		Kind: gate.DecisionRecord, At: time.UnixMilli(1581926399123).UTC(), Clock: gate.ClockNetwork, Verdict: gate.Admit,
		Reason: gate.Valid, Policy: n, List: 31,
		Sealed: gate.Sealed{Pseudonym: bytes.Repeat([]byte{byte(n)}, 16), CodeKind: "dynamic", Colour: gate.Green, Region: "330106",
			Reading: &gate.Reading{Object: 36200, Ambient: 21000, Adjusted: 36600}},
	}
}

// add appends record(from) to record(to), and wants those sequences.
func add(t testing.TB, l *Log, from, to uint64) {
	t.Helper()
	for n := from; n <= to; n++ {
		if seq, err := l.Append(record(n)); err != nil || seq != n {
			t.Fatalf("Append of record %d = %d, %v", n, seq, err)
		}
	}
}

// readAll reads what the hub has not got, as batches, verifies the chain and
// opens the sealed parts. It returns the last sequence.
func readAll(t testing.TB, l *Log) uint64 {
	t.Helper()
	at := l.State().Acknowledged
	var head *[32]byte
	for {
		run, err := l.Read(at, passage.MaxBatchRecords)
		if err != nil {
			t.Fatalf("Read(%d): %v", at, err)
		}
		entries, keys, prev := run.Entries, run.Keys, run.Prev
		if run.Skip != nil {
			t.Fatalf("Read(%d) skips %+v", at, *run.Skip)
		}
		if head != nil && prev != *head {
			t.Fatalf("chain before record %d is not the one after record %d", at+1, at)
		}
		if len(entries) == 0 {
			return at
		}
		b := passage.Batch{Gate: testGate, Prev: prev, Keys: keys, Entries: entries}
		if _, err := b.Marshal(); err != nil {
			t.Fatalf("batch behind %d: %v", at, err)
		}
		if at == 0 && prev != passage.Genesis(testGate) {
			t.Fatal("the chain does not begin at its genesis")
		}
		u := map[uint64]*passage.Unsealer{}
		for _, k := range keys {
			if u[k.Segment], err = passage.OpenSegmentKey(testGate, k, hub()); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range entries {
			seq, r, err := passage.DecodeClear(e.Clear)
			if err != nil {
				t.Fatal(err)
			}
			s, err := u[e.Segment].Open(e)
			if err != nil {
				t.Fatal(err)
			}
			if seq != e.Seq || seq != at+1 || r.Policy != seq || s.Pseudonym[0] != byte(seq) {
				t.Fatalf("behind record %d: sequence %d holds %d, clear part of %d, sealed part of %d", at, e.Seq, seq, r.Policy, s.Pseudonym[0])
			}
			at = seq
		}
		h := b.Head()
		head = &h
	}
}

// faults is a disk that fails when told. It does not flush, which is for the
// kernel's sake only: these tests do not cut the power.
type faults struct {
	disk
	mu sync.Mutex
	// write is asked before each write, with how much of it goes to the disk
	// and what is said; n < 0 lets all of it through.
	write func(name string, off int64, p []byte) (n int, err error)
	// sync, truncate, remove and reserve are asked before each.
	sync, truncate, remove, reserve func(name string) error
	// read is asked before each read. Its own lock lets what is asked at a flush read.
	reads sync.Mutex
	read  func(name string) error
}

func (d *faults) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads.Lock()
	defer d.reads.Unlock()
	f()
}

func ask(d *faults, f *func(string) error, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if *f == nil {
		return nil
	}
	return (*f)(name)
}

func (d *faults) wrap(name string, f file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{file: f, d: d, name: name}, nil
}

func (d *faults) create(name string) (file, error) {
	f, err := d.disk.create(name)
	return d.wrap(strings.TrimSuffix(name, freshSuffix), f, err)
}

func (d *faults) open(name string) (file, error) {
	f, err := d.disk.open(name)
	return d.wrap(name, f, err)
}

func (d *faults) remove_(name string) error { return ask(d, &d.remove, name) }

func (d *faults) syncDir() error { return nil }

type faultyFile struct {
	file
	d    *faults
	name string
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.write != nil {
		if n, err := f.d.write(f.name, off, p); n >= 0 {
			if _, e := f.file.WriteAt(p[:n], off); e != nil {
				return 0, e
			}
			return n, err
		}
	}
	return f.file.WriteAt(p, off)
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.reads.Lock()
	defer f.d.reads.Unlock()
	if f.d.read != nil {
		if err := f.d.read(f.name); err != nil {
			return 0, err
		}
	}
	return f.file.ReadAt(p, off)
}

func (f *faultyFile) sync() error { return ask(f.d, &f.d.sync, f.name) }

func (f *faultyFile) reserve(size int64) error {
	if err := ask(f.d, &f.d.reserve, f.name); err != nil {
		return err
	}
	return f.file.reserve(size)
}

func (f *faultyFile) truncate(size int64) error {
	if err := ask(f.d, &f.d.truncate, f.name); err != nil {
		return err
	}
	return f.file.truncate(size)
}

// faultyDisk adds remove, whose name a field of faults has taken.
type faultyDisk struct{ *faults }

func (d faultyDisk) remove(name string) error {
	if err := d.remove_(name); err != nil {
		return err
	}
	return d.disk.remove(name)
}

func faulty(dir string) (*faults, Options) {
	d := &faults{disk: osDisk(dir)}
	o := options()
	o.disk = faultyDisk{d}
	return d, o
}

var errDisk = errors.New("disk says no")

func TestRecordsSurviveReopening(t *testing.T) {
	dir, o := t.TempDir(), options()
	next := uint64(1)
	for range 4 {
		l := open(t, dir, o)
		if got := l.State().Next; got != next {
			t.Fatalf("next = %d, want %d", got, next)
		}
		add(t, l, next, next+99) // several segments
		next += 100
		if got := readAll(t, l); got != next-1 {
			t.Fatalf("read up to %d, want %d", got, next-1)
		}
		shut(t, l)
	}
	l := open(t, dir, o)
	if got := readAll(t, l); got != next-1 {
		t.Fatalf("read up to %d, want %d", got, next-1)
	}
	if err := l.Acknowledge(250); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, l); got != next-1 {
		t.Fatalf("behind 250 read up to %d, want %d", got, next-1)
	}
	if s := l.State(); s.First > 251 || s.First < 200 {
		t.Errorf("after Acknowledge(250) the oldest held is %d", s.First)
	}
	if _, err := l.Read(0, 10); !errors.Is(err, ErrGone) {
		t.Errorf("Read of what was deleted: %v, want ErrGone", err)
	}
	if _, err := l.Read(next, 10); !errors.Is(err, ErrGone) {
		t.Errorf("Read behind the end: %v, want ErrGone", err)
	}
	if err := l.Acknowledge(next); !errors.Is(err, ErrGone) {
		t.Errorf("Acknowledge of what is not yet: %v, want ErrGone", err)
	}
	if err := l.Acknowledge(3); err != nil || l.State().Acknowledged != 250 {
		t.Errorf("Acknowledge backwards: %v, now %d", err, l.State().Acknowledged)
	}
}

func TestSequenceAndChainOutliveTheRecords(t *testing.T) {
	dir, o := t.TempDir(), options()
	l := open(t, dir, o)
	add(t, l, 1, 150)
	run, err := l.Read(150, 1)
	head := run.Prev
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Acknowledge(150); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	for range 2 { // the second time no segment is left
		l = open(t, dir, o)
		want := State{First: 151, Next: 151, Acknowledged: 150, Bytes: 0, Cap: 1 << 20}
		if got := l.State(); got != want {
			t.Fatalf("state %+v, want %+v", got, want)
		}
		shut(t, l)
	}
	l = open(t, dir, o)
	add(t, l, 151, 152)
	run, err = l.Read(150, 10)
	prev := run.Prev
	if err != nil || prev != head {
		t.Errorf("chain before record 151 is another than after record 150 (%v)", err)
	}
	readAll(t, l)
}

func TestRestartsDoNotFillTheCap(t *testing.T) {
	dir := t.TempDir()
	_, o := faulty(dir)
	for n := uint64(1); n <= 100; n++ {
		l := open(t, dir, o)
		add(t, l, n, n)
		shut(t, l)
	}
	l := open(t, dir, o)
	if s := l.State(); s.Bytes > 100*(headerBytes+600) || l.Room() != RoomEnough {
		t.Errorf("100 records of 100 starts take %d bytes, room %s", s.Bytes, l.Room())
	}
	readAll(t, l)
}

// TestTornAppend cuts a write at each of its bytes: as the first part that
// reached the disk, and as the last part that did.
func TestTornAppend(t *testing.T) {
	for name, before := range map[string]uint64{"first of a segment": 0, "later": 2} {
		t.Run(name, func(t *testing.T) {
			size, whole := maxWrite, false
			for cut := 0; cut <= size; cut++ {
				for _, front := range []bool{true, false} {
					dir := t.TempDir()
					d, o := faulty(dir)
					l := open(t, dir, o)
					add(t, l, 1, before)
					d.set(func() {
						d.write = func(name string, off int64, p []byte) (int, error) {
							if off == 0 {
								return -1, nil // a segment being prepared
							}
							size = len(p)
							full := slices.Clone(p)
							if front {
								clear(p[min(cut, len(p)):])
							} else {
								clear(p[:min(cut, len(p))])
							}
							whole = bytes.Equal(p, full) // zeros cut off are zeros still
							return len(p), errDisk
						}
						// The power is gone: nothing of the tidying happens.
						d.truncate = func(string) error { return errDisk }
						d.remove = d.truncate
					})
					if _, err := l.Append(record(before + 1)); !errors.Is(err, errDisk) {
						t.Fatalf("Append on a failing disk: %v", err)
					}
					d.set(func() { d.write, d.truncate, d.remove = nil, nil, nil })
					shut(t, l)

					_, o = faulty(dir)
					l = open(t, dir, o)
					last := readAll(t, l)
					if last != before && (!whole || last != before+1) {
						t.Fatalf("cut at %d of %d (front %t): read up to %d", cut, size, front, last)
					}
					add(t, l, last+1, last+2)
					if got := readAll(t, l); got != last+2 {
						t.Fatalf("cut at %d: after two more read up to %d, want %d", cut, got, last+2)
					}
					shut(t, l)
				}
			}
			if size > 1000 {
				t.Errorf("the write was never seen")
			}
		})
	}
}

// TestFailedAppendGivesItsSequenceToTheNext makes the disk fail in each way,
// with and without being able to tidy up after.
func TestFailedAppendGivesItsSequenceToTheNext(t *testing.T) {
	isSegment := func(name string) bool { return strings.HasSuffix(name, segmentSuffix) }
	for name, fail := range map[string]func(*faults){
		"short write": func(d *faults) {
			d.write = func(_ string, off int64, p []byte) (int, error) {
				if off == 0 {
					return -1, nil
				}
				return len(p) - 1, nil
			}
		},
		"write error": func(d *faults) {
			d.write = func(_ string, off int64, p []byte) (int, error) {
				if off == 0 {
					return -1, nil
				}
				return 0, errDisk
			}
		},
		"flush error, all written": func(d *faults) {
			d.sync = func(name string) error {
				if isSegment(name) {
					return errDisk
				}
				return nil
			}
		},
		"disk full": func(d *faults) {
			d.write = func(string, int64, []byte) (int, error) { return 0, syscall.ENOSPC }
		},
	} {
		for _, before := range []uint64{0, 3} {
			for _, tidy := range []bool{true, false} {
				t.Run(name, func(t *testing.T) {
					dir := t.TempDir()
					d, o := faulty(dir)
					l := open(t, dir, o)
					if before == 0 {
						l.appendMu.Lock()
						<-l.spare.done // prepared before the disk fails
						l.appendMu.Unlock()
					}
					add(t, l, 1, before)
					for range 3 {
						d.set(func() {
							fail(d)
							if !tidy {
								d.truncate = func(string) error { return errDisk }
								d.remove = d.truncate
							}
						})
						seq, err := l.Append(record(77))
						if err == nil {
							t.Fatalf("Append on a failing disk = %d", seq)
						}
						if name == "disk full" && !errors.Is(err, ErrFull) {
							t.Errorf("%v, want ErrFull", err)
						}
						d.set(func() { d.write, d.sync, d.truncate, d.remove = nil, nil, nil, nil })
						if s := l.State(); s.Next != before+1 {
							t.Fatalf("next = %d, want %d", s.Next, before+1)
						}
					}
					add(t, l, before+1, before+5)
					if got := readAll(t, l); got != before+5 {
						t.Errorf("read up to %d, want %d", got, before+5)
					}
					shut(t, l)
					l = open(t, dir, options())
					if got := readAll(t, l); got != before+5 {
						t.Errorf("reopened: read up to %d, want %d", got, before+5)
					}
				})
			}
		}
	}
}

// TestLastRecordIsFlushedAtOpen: a process that was killed between a write and
// its flush, or in a flush that then failed, leaves a record that only the
// kernel's memory holds. Before it counts it must be on the disk, also where
// the start before this one was killed behind cutting the segment.
func TestLastRecordIsFlushedAtOpen(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	add(t, l, 1, 3)
	shut(t, l)
	shut(t, open(t, dir, options())) // cuts the zeros off
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil || len(names) != 1 {
		t.Fatalf("segments %q, %v", names, err)
	}
	before, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	var did []string
	d, o := faulty(dir)
	d.write = func(name string, off int64, p []byte) (int, error) {
		if name == filepath.Base(names[0]) {
			if !bytes.Equal(p, before[off:]) {
				t.Errorf("wrote %d bytes at %d that are not those of the last record", len(p), off)
			}
			did = append(did, "write")
		}
		return -1, nil
	}
	d.sync = func(name string) error {
		if name == filepath.Base(names[0]) {
			did = append(did, "flush")
		} else if name == cursorName {
			did = append(did, "cursor")
		}
		return nil
	}
	l = open(t, dir, o)
	if want := []string{"write", "flush", "cursor"}; !slices.Equal(did, want) {
		t.Errorf("at open %q, want %q", did, want)
	}
	if got := readAll(t, l); got != 3 {
		t.Errorf("read up to %d, want 3", got)
	}
	d.set(func() { d.write, d.sync = nil, nil })
	shut(t, l)
}

func TestInvalidRecordCostsNothing(t *testing.T) {
	l := open(t, t.TempDir(), options())
	if _, err := l.Append(gate.Record{}); !errors.Is(err, passage.ErrInvalid) {
		t.Errorf("empty record: %v, want ErrInvalid", err)
	}
	add(t, l, 1, 3)
	if _, err := l.Append(gate.Record{}); !errors.Is(err, passage.ErrInvalid) {
		t.Errorf("empty record: %v, want ErrInvalid", err)
	}
	add(t, l, 4, 5)
	readAll(t, l)
}

func TestCap(t *testing.T) {
	dir := t.TempDir()
	_, o := faulty(dir)
	o.CapBytes = 5*MinSegmentBytes + 1000 // the odd bytes hold no segment
	l := open(t, dir, o)
	var n uint64
	rooms := map[Room]uint64{}
	for {
		rooms[l.Room()]++
		if _, err := l.Append(record(n + 1)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatalf("at the cap: %v, want ErrFull", err)
			}
			break
		}
		if n++; n > 10000 {
			t.Fatal("the cap is not kept")
		}
		if s := l.State(); s.Bytes > s.Cap {
			t.Fatalf("%d bytes of %d", s.Bytes, s.Cap)
		}
	}
	if rooms[RoomNone] != 1 || rooms[RoomLow] == 0 || rooms[RoomEnough] < 8*rooms[RoomLow] {
		t.Errorf("room was enough %d times, low %d, none %d", rooms[RoomEnough], rooms[RoomLow], rooms[RoomNone])
	}
	if used := diskUsage(t, dir); used > o.CapBytes {
		t.Errorf("%d bytes in files, cap is %d", used, o.CapBytes)
	}
	if got := readAll(t, l); got != n {
		t.Fatalf("read up to %d, want %d", got, n)
	}
	shut(t, l)
	l = open(t, dir, o) // full at start is not an error
	if _, err := l.Append(record(n + 1)); err == nil {
		// Cutting the last segment's zeros may have given room for one.
		n++
	}
	if err := l.Acknowledge(n / 2); err != nil {
		t.Fatal(err)
	}
	add(t, l, n+1, n+5)
	if got := readAll(t, l); got != n+5 {
		t.Fatalf("read up to %d, want %d", got, n+5)
	}
}

func diskUsage(t *testing.T, dir string) (sum int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		fi, err := os.Stat(n)
		if err != nil {
			t.Fatal(err)
		}
		sum += fi.Size()
	}
	return sum
}

// TestFullDisk fills a real file system under the journal.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	o := options()
	l := open(t, dir, o) // its cap is more than the disk
	t.Cleanup(func() { shut(t, l) })
	var n uint64
	for {
		_, err := l.Append(record(n + 1))
		if err != nil {
			if !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("on a full disk: %v, want ErrFull and ENOSPC", err)
			}
			break
		}
		if n++; n > 10000 {
			t.Fatal("the disk does not fill")
		}
	}
	if _, err := l.Append(record(n + 1)); !errors.Is(err, ErrFull) {
		t.Fatalf("once more: %v, want ErrFull", err)
	}
	if room := l.Room(); room != RoomNone {
		t.Errorf("room on a full disk %q, want %q", room, RoomNone)
	}
	if got := readAll(t, l); got != n {
		t.Fatalf("read up to %d, want %d", got, n)
	}
	if err := l.Acknowledge(n - 10); err != nil {
		t.Fatalf("acknowledging must need no room: %v", err)
	}
	add(t, l, n+1, n+20)
	if room := l.Room(); room != RoomEnough {
		t.Errorf("room once there is some %q, want %q", room, RoomEnough)
	}
	if got := readAll(t, l); got != n+20 {
		t.Fatalf("read up to %d, want %d", got, n+20)
	}
	shut(t, l)
	l = open(t, dir, o)
	if got := readAll(t, l); got != n+20 {
		t.Fatalf("reopened: read up to %d, want %d", got, n+20)
	}
}

// TestFullDiskIsNotWritten: trying for room again at each passage costs no
// writes, which would wear the card and keep the person waiting.
func TestFullDiskIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	d, o := faulty(dir)
	d.reserve = func(string) error { return syscall.ENOSPC }
	l := open(t, dir, o)
	written := 0
	d.set(func() {
		d.write = func(_ string, _ int64, p []byte) (int, error) {
			written += len(p)
			return -1, nil
		}
	})
	for range 3 {
		if _, err := l.Append(record(1)); !errors.Is(err, ErrFull) {
			t.Errorf("%v, want ErrFull", err)
		}
	}
	d.set(func() {
		if written != 0 {
			t.Errorf("three appends to a full disk wrote %d bytes", written)
		}
		// A file system that cannot reserve is filled as it is.
		d.reserve = func(string) error { return syscall.EOPNOTSUPP }
	})
	add(t, l, 1, 3)
	shut(t, l)
}

func TestTornCursor(t *testing.T) {
	for cut := 0; cut <= slotBytes; cut += 1 + cut/40 {
		dir := t.TempDir()
		d, o := faulty(dir)
		l := open(t, dir, o)
		add(t, l, 1, 60)
		if err := l.Acknowledge(20); err != nil {
			t.Fatal(err)
		}
		d.set(func() {
			d.write = func(name string, _ int64, p []byte) (int, error) {
				if name != cursorName {
					return -1, nil
				}
				return min(cut, len(p)), errDisk
			}
		})
		if err := l.Acknowledge(40); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		if got := l.State().Acknowledged; got != 20 {
			t.Fatalf("failed Acknowledge moved to %d", got)
		}
		d.set(func() { d.write = nil })
		shut(t, l)
		l = open(t, dir, o)
		if got := l.State().Acknowledged; got != 20 && (cut < slotBytes || got != 40) {
			t.Fatalf("cut at %d: acknowledged %d", cut, got)
		}
		if got := readAll(t, l); got != 60 {
			t.Fatalf("cut at %d: read up to %d", cut, got)
		}
		if err := l.Acknowledge(50); err != nil {
			t.Fatal(err)
		}
		shut(t, l)
	}
}

// segments lists the files, oldest first.
func segments(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil || len(names) < 4 {
		t.Fatalf("%d segments, %v", len(names), err)
	}
	return names
}

// removeFile takes a file away.
func removeFile(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// Whatever of the journal rots or goes, the gate goes on, gives no sequence
// twice, sends what is left, and owns up to the rest: by a skip to the hub and by
// a record in the chain.
func TestGateGoesOnWithDamage(t *testing.T) {
	flip := func(t *testing.T, name string, off int64) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[off] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		do   func(t *testing.T, dir string)
		open error // of Open
		// lost is whether records are skipped, and next the least sequence that
		// may be given then: 156 where the last one given is known.
		lost bool
		next uint64
	}{
		"nothing": {do: func(*testing.T, string) {}},
		"rot in the newest segment": {
			do:   func(t *testing.T, dir string) { s := segments(t, dir); flip(t, s[len(s)-1], headerBytes+100) },
			lost: true, next: 156},
		"rot in the newest segment's first record": {
			do:   func(t *testing.T, dir string) { s := segments(t, dir); flip(t, s[len(s)-1], headerBytes+12) },
			lost: true, next: 156},
		"rot in the newest header": {
			do:   func(t *testing.T, dir string) { s := segments(t, dir); flip(t, s[len(s)-1], 20) },
			next: 156},
		"rot in an old segment": {
			do:   func(t *testing.T, dir string) { flip(t, segments(t, dir)[1], headerBytes+1000) },
			lost: true, next: 156},
		"rot in an old beginning": {
			do:   func(t *testing.T, dir string) { flip(t, segments(t, dir)[1], headerBytes+12) },
			lost: true, next: 156},
		"oldest segment gone": {
			do:   func(t *testing.T, dir string) { removeFile(t, segments(t, dir)[0]) },
			lost: true, next: 156},
		"middle segment gone": {
			do:   func(t *testing.T, dir string) { removeFile(t, segments(t, dir)[1]) },
			lost: true, next: 156},
		"newest segments gone": {
			do: func(t *testing.T, dir string) {
				for _, s := range segments(t, dir)[2:] {
					removeFile(t, s)
				}
			},
			lost: true, next: 151}, // what the cursor knew of
		"all segments gone": {
			do: func(t *testing.T, dir string) {
				for _, s := range segments(t, dir) {
					removeFile(t, s)
				}
			},
			lost: true, next: 151}, // what the cursor knew of
		"cursor gone": {do: func(t *testing.T, dir string) { removeFile(t, filepath.Join(dir, cursorName)) }},
		"cursor unreadable": {do: func(t *testing.T, dir string) {
			flip(t, filepath.Join(dir, cursorName), 30)
			flip(t, filepath.Join(dir, cursorName), slotStride+30)
		}},
		"everything unreadable": {
			do: func(t *testing.T, dir string) {
				for _, s := range segments(t, dir) {
					removeFile(t, s)
				}
				flip(t, filepath.Join(dir, cursorName), 30)
				flip(t, filepath.Join(dir, cursorName), slotStride+30)
			},
			open: ErrDamaged},
		"stray files": {do: func(t *testing.T, dir string) {
			for _, n := range []string{"0000000000000099.seg.new", "lost+found", "12.seg", "00000000000000AA.seg"} {
				if err := os.WriteFile(filepath.Join(dir, n), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, o := faulty(dir)
			l := open(t, dir, o)
			add(t, l, 1, 150)
			shut(t, l)
			l = open(t, dir, o) // writes the cursor with this head
			add(t, l, 151, 155)
			shut(t, l)
			c.do(t, dir)
			l, err := Open(dir, o)
			if !errors.Is(err, c.open) || (err != nil && c.open == nil) {
				t.Fatalf("Open: %v, want %v", err, c.open)
			}
			if err != nil {
				return
			}
			first := l.State().Next
			if first < c.next {
				t.Fatalf("the next record is %d, which was given before; want %d at least", first, max(c.next, 156))
			}
			// What the gate tells the hub: each sequence once, as a record or as lost.
			if _, err := l.Append(record(0)); err != nil {
				t.Fatal(err)
			}
			last := l.State().Next - 1
			var lost, told uint64
			var head *[32]byte
			for at := uint64(0); at < last; {
				run, err := l.Read(at, 10)
				if err != nil || len(run.Entries) == 0 {
					t.Fatalf("Read(%d) of %d: %d entries, %v", at, last, len(run.Entries), err)
				}
				if run.Skip != nil {
					if run.Skip.First != at+1 || run.Skip.Why != passage.Damaged {
						t.Errorf("behind %d: skip %+v", at, *run.Skip)
					}
					lost += run.Skip.Count()
				} else if head != nil && run.Prev != *head {
					t.Errorf("the chain breaks at %d without a skip", at+1)
				}
				b := passage.Batch{Gate: testGate, Skip: run.Skip, Prev: run.Prev, Keys: run.Keys, Entries: run.Entries}
				if _, err := b.Marshal(); err != nil {
					t.Fatal(err)
				}
				for _, e := range run.Entries {
					if _, r, err := passage.DecodeClear(e.Clear); err == nil && r.Kind == gate.GapRecord && r.Of > 0 {
						told += r.Dropped
					}
				}
				h := b.Head()
				head, at = &h, b.Last()
				// The next damage is set aside once what is before it has arrived.
				if err := l.Acknowledge(at); err != nil {
					t.Fatal(err)
				}
				if _, err := l.Append(record(0)); err != nil {
					t.Fatal(err)
				}
				if lost == 0 || told > 0 {
					continue
				}
				last = l.State().Next - 1
			}
			if (lost > 0) != c.lost || told != lost {
				t.Errorf("%d records skipped, gap records tell of %d; want some %v", lost, told, c.lost)
			}
			if n := l.State().Losses.Damaged; (n > 0) != c.lost {
				t.Errorf("%d records counted as damaged, %d skipped", n, lost)
			}
			// And all of that survives.
			next := l.State().Next
			shut(t, l)
			l = open(t, dir, o)
			if got := l.State(); got.Next != next {
				t.Errorf("opened again: next %d, was %d", got.Next, next)
			}
		})
	}
}

func TestOneProcessOneGate(t *testing.T) {
	dir, o := t.TempDir(), options()
	l := open(t, dir, o)
	if _, err := Open(dir, o); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
	add(t, l, 1, 2)
	shut(t, l)
	if _, err := l.Append(record(3)); !errors.Is(err, ErrClosed) {
		t.Errorf("Append after Close: %v, want ErrClosed", err)
	}
	if err := l.Wait(t.Context(), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("Wait after Close: %v, want ErrClosed", err)
	}
	o.Gate = "gate-2"
	if _, err := Open(dir, o); !errors.Is(err, ErrGate) {
		t.Errorf("Open for another gate: %v, want ErrGate", err)
	}
	for name, change := range map[string]func(*Options){
		"no gate": func(o *Options) { o.Gate = "" },
		"no hub":  func(o *Options) { o.Hub = nil },
		"no rand": func(o *Options) { o.Rand = nil },
		"no cap":  func(o *Options) { o.CapBytes = 1 },
		"tiny":    func(o *Options) { o.SegmentBytes = 1 },
	} {
		o := options()
		change(&o)
		if l, err := Open(t.TempDir(), o); err == nil {
			shut(t, l)
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := Open(filepath.Join(dir, "absent"), options()); err == nil {
		t.Error("a directory that is not there was opened")
	}
}

func TestReadStaysWithinABatch(t *testing.T) {
	dir := t.TempDir()
	_, o := faulty(dir)
	o.CapBytes = 16 << 20
	l := open(t, dir, o)
	big := record(0)
	for range passage.MaxNotices {
		big.Notices = append(big.Notices, gate.Reason(strings.Repeat("x", passage.MaxWord)))
	}
	big.Sealed.Guard, big.Sealed.Enterprise, big.Sealed.DayKey = strings.Repeat("g", 32), strings.Repeat("e", 128), make([]byte, 64)
	for n := uint64(1); n <= 1200; n++ {
		big.Policy, big.Sealed.Pseudonym = n, bytes.Repeat([]byte{byte(n)}, 16)
		if _, err := l.Append(big); err != nil {
			t.Fatal(err)
		}
	}
	if got := readAll(t, l); got != 1200 { // readAll marshals each batch
		t.Errorf("read up to %d", got)
	}
	run, err := l.Read(17, 3)
	entries := run.Entries
	if err != nil || len(entries) != 3 || entries[0].Seq != 18 {
		t.Errorf("Read(17, 3) = %d entries, %v", len(entries), err)
	}
	if run, err := l.Read(17, 0); err != nil || len(run.Entries) != 0 {
		t.Errorf("Read(17, 0) = %d entries, %v", len(run.Entries), err)
	}
}

func TestTail(t *testing.T) {
	dir := t.TempDir()
	_, o := faulty(dir)
	l := open(t, dir, o)
	if first, r, err := l.Tail(5); err != nil || first != 1 || len(r) != 0 {
		t.Errorf("Tail of nothing = %d, %d records, %v", first, len(r), err)
	}
	add(t, l, 1, 120)
	for n, want := range map[int]int{-1: 0, 0: 0, 1: 1, 70: 70, 500: 120} {
		first, r, err := l.Tail(n)
		if err != nil || len(r) != want {
			t.Fatalf("Tail(%d) = %d records, %v; want %d", n, len(r), err, want)
		}
		for i := range r {
			if r[i].Policy != first+uint64(i) || r[i].Sealed.Pseudonym != nil {
				t.Fatalf("Tail(%d): record %d is %+v", n, first+uint64(i), r[i])
			}
		}
	}
}

func TestWait(t *testing.T) {
	l := open(t, t.TempDir(), options())
	woken := make(chan error)
	go func() { woken <- l.Wait(t.Context(), 0) }()
	add(t, l, 1, 1)
	if err := <-woken; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { woken <- l.Wait(ctx, 1) }()
	cancel()
	if err := <-woken; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Wait: %v", err)
	}
	go func() { woken <- l.Wait(t.Context(), 1) }()
	shut(t, l)
	if err := <-woken; !errors.Is(err, ErrClosed) {
		t.Errorf("Wait while closing: %v", err)
	}
}

// TestAllAtOnce lets a writer, an uploader and an onlooker run beside each other.
func TestAllAtOnce(t *testing.T) {
	dir := t.TempDir()
	_, o := faulty(dir)
	l := open(t, dir, o)
	const total = 3000
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := uint64(1); n <= total; {
			switch _, err := l.Append(record(n)); {
			case err == nil:
				n++
			case errors.Is(err, ErrFull): // the uploader will make room
			default:
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		head := passage.Genesis(testGate)
		for at := uint64(0); at < total; {
			if err := l.Wait(t.Context(), at); err != nil {
				t.Error(err)
				return
			}
			run, err := l.Read(at, 100)
			entries, keys, prev := run.Entries, run.Keys, run.Prev
			if err != nil || prev != head {
				t.Errorf("Read(%d): %v, chain follows: %t", at, err, prev == head)
				return
			}
			b := passage.Batch{Gate: testGate, Prev: prev, Keys: keys, Entries: entries}
			if _, err := b.Marshal(); err != nil {
				t.Error(err)
				return
			}
			head, at = b.Head(), b.Last()
			if err := l.Acknowledge(at); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for l.State().Acknowledged < total && !t.Failed() {
			l.Room()
			if _, _, err := l.Tail(3); err != nil && !errors.Is(err, ErrGone) {
				t.Error(err)
				return
			}
		}
	})
	wg.Wait()
}

func FuzzRecover(f *testing.F) {
	dir := f.TempDir()
	l, err := Open(dir, options())
	if err != nil {
		f.Fatal(err)
	}
	add(f, l, 1, 5)
	shut(f, l)
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil || len(names) != 1 {
		f.Fatal(names, err)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		f.Fatal(err)
	}
	// What lies in front of the frames is the header; the fuzzer gets the frames.
	f.Add(whole[headerBytes:headerBytes+900], true)
	f.Add(whole[headerBytes:headerBytes+500], false)
	f.Add([]byte{0, 0, 0, 11}, true)
	f.Fuzz(func(t *testing.T, frames []byte, headed bool) {
		if len(frames) > 1<<20 {
			return // larger than any segment of this test
		}
		data := make([]byte, headerBytes, headerBytes+len(frames))
		if headed {
			copy(data, whole[:headerBytes])
		}
		data = append(data, frames...)
		c := recoverSegment(1, data)
		if c.headed != headed || c.end < headerBytes || c.end > int64(len(data)) || (c.count > 0 && !c.begun) {
			t.Fatalf("recovered %+v of %d bytes", c, len(data))
		}
		// Opening it neither panics nor hangs, and what opens can be read.
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, o := faulty(dir)
		l, err := load(dir, o)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		defer shut(t, l)
		for at, s := l.State().Acknowledged, l.State(); at < s.Next-1; {
			run, err := l.Read(at, 500)
			if err != nil {
				t.Fatalf("Read(%d) of %+v: %v", at, s, err)
			}
			if len(run.Entries) == 0 {
				return // nothing behind a gap
			}
			at = run.Entries[len(run.Entries)-1].Seq
		}
	})
}

func FuzzDecodeCursor(f *testing.F) {
	f.Add(cursor{generation: 3, acknowledged: 4, head: 9, segment: 2}.encode())
	f.Add(cursor{generation: 4, acknowledged: 4, head: 99, segment: 7, graves: []uint64{12, 30},
		gaps: []gap{{Skip: passage.Skip{First: 5, Last: 9, Why: passage.Dropped}, told: true}, {Skip: passage.Skip{First: 10, Last: 11, Why: passage.Damaged}}}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := decodeCursor(b); ok && string(b[:len(formerMagic)]) != formerMagic && !bytes.Equal(c.encode(), b[:slotBytes]) {
			t.Errorf("%x encodes back to %x", b, c.encode())
		}
	})
}

// hubHex is the test hub's public key for a child process.
func hubHex() string { return hex.EncodeToString(passage.MarshalHubKey(hub().PublicKey())) }

var _ io.Closer = (*Log)(nil)
