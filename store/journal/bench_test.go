package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"greengate/gate/passage"
)

// The figures of this file are metrics named as they are printed by
// deploy/bench-passages.

// flushes counts the flushes of a journal's files.
type flushes struct {
	disk
	n atomic.Int64
}

func (d *flushes) create(name string) (file, error) {
	f, err := d.disk.create(name)
	return flushedFile{f, &d.n}, err
}

func (d *flushes) open(name string) (file, error) {
	f, err := d.disk.open(name)
	return flushedFile{f, &d.n}, err
}

type flushedFile struct {
	file
	n *atomic.Int64
}

func (f flushedFile) sync() error {
	f.n.Add(1)
	return f.file.sync()
}

// floor is a zero-filled file as long as a segment: writing a record's bytes
// into it and flushing them is the least that a durable record could cost.
type floor struct {
	f         *os.File
	off, size int64
}

func newFloor(b *testing.B, dir string) *floor {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := f.Write(make([]byte, DefaultSegmentBytes)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return &floor{f: f, size: DefaultSegmentBytes}
}

// write is one durable write of so many bytes behind the one before.
func (f *floor) write(b *testing.B, frame []byte) time.Duration {
	b.Helper()
	if f.off+int64(len(frame)) > f.size {
		f.off = 0
	}
	t0 := time.Now()
	if _, err := f.f.WriteAt(frame, f.off); err != nil {
		b.Fatal(err)
	}
	if err := datasync(f.f); err != nil {
		b.Fatal(err)
	}
	f.off += int64(len(frame))
	return time.Since(t0)
}

// device is the block device under a folder, as the kernel counts it. The bytes
// that a process has had written, in /proc/self/io, are no use here: they
// count the large folios of the page cache, of which a few blocks are written.
type device string

// newDevice finds it; "" where there is none, as on a tmpfs.
func newDevice(b *testing.B, dir string) device {
	b.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		b.Fatal(err)
	}
	dev := uint64(st.Dev)
	path := fmt.Sprintf("/sys/dev/block/%d:%d/stat", dev>>8&0xfff, dev&0xff|dev>>12&0xfff00)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	} else if err != nil {
		b.Fatal(err)
	}
	return device(path)
}

// written is how many bytes the device was given so far, by everybody.
func (d device) written(b *testing.B) int64 {
	b.Helper()
	if d == "" {
		return 0
	}
	text, err := os.ReadFile(string(d))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(text))
	if len(f) < 7 {
		b.Fatalf("%s: %q", d, text)
	}
	sectors, err := strconv.ParseInt(f[6], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return sectors * 512
}

// BenchmarkAppendRatio appends records, and before each writes as many bytes
// into a zero-filled file and flushes them. Both are done in turn, since a disk is
// faster and slower by the minute. Run it with -benchtime 1x: it takes 2,000
// records, 500 with -short. The bytes written are the median over the records of
// what the block device was given meanwhile: others write to it too.
func BenchmarkAppendRatio(b *testing.B) {
	records := 2000
	if testing.Short() {
		records = 500
	}
	for b.Loop() {
		dir := b.TempDir()
		count := &flushes{disk: osDisk(dir)}
		o := options()
		o.SegmentBytes, o.CapBytes, o.disk = DefaultSegmentBytes, 1<<30, count
		l := open(b, dir, o)
		add(b, l, 1, 1)
		before := l.State().Bytes
		add(b, l, 2, 2)
		size := l.State().Bytes - before
		bare, frame := newFloor(b, dir), bytes.Repeat([]byte{0x5a}, int(size))
		var appends, floors []time.Duration
		disk := newDevice(b, dir)
		var given, givenBare []int64
		var flushed int64
		n := uint64(3)
		for range records {
			w := disk.written(b)
			floors = append(floors, bare.write(b, frame))
			givenBare = append(givenBare, disk.written(b)-w)
			w = disk.written(b)
			s, t0 := count.n.Load(), time.Now()
			add(b, l, n, n)
			appends = append(appends, time.Since(t0))
			given = append(given, disk.written(b)-w)
			flushed += count.n.Load() - s
			n++
		}
		slices.Sort(appends)
		slices.Sort(floors)
		at := func(d []time.Duration, percent int) float64 { return float64(d[len(d)*percent/100]) }
		for _, p := range []int{50, 99} {
			b.ReportMetric(at(appends, p)/at(floors, p), fmt.Sprintf("journal.append.ratio.p%d", p))
			b.ReportMetric(at(appends, p)/1e6, fmt.Sprintf("journal.append.ms.p%d", p))
			b.ReportMetric(at(floors, p)/1e6, fmt.Sprintf("journal.floor.ms.p%d", p))
		}
		b.ReportMetric(float64(size), "journal.frame.bytes")
		if disk != "" {
			// On a busy machine the bare write shows how much of it is not ours.
			slices.Sort(given)
			slices.Sort(givenBare)
			b.ReportMetric(float64(given[len(given)/2]), "journal.written.bytes")
			b.ReportMetric(float64(givenBare[len(givenBare)/2]), "journal.floor.bytes")
		} else {
			b.Log("no block device under the folder: journal.written.bytes is not known")
		}
		b.ReportMetric(float64(flushed)/float64(records), "journal.flushes")
	}
}

// BenchmarkBacklog fills a journal with a month of a busy gate, 600,000
// passages, and drains it as the upload does, in batches of 500. They are written
// without flushes, which is for time's sake: draining flushes. Run it with
// -benchtime 1x; with -short it takes a day, 20,000.
func BenchmarkBacklog(b *testing.B) {
	records := uint64(30 * 20_000)
	if testing.Short() {
		records = 20_000
	}
	for b.Loop() {
		dir := b.TempDir()
		_, o := faulty(dir)
		o.SegmentBytes, o.CapBytes = DefaultSegmentBytes, DefaultCapBytes
		l := open(b, dir, o)
		for n := uint64(1); n <= records; n++ {
			r := record(n)
			r.At = r.At.AddDate(0, 0, int(n/20_000))
			if _, err := l.Append(r); err != nil {
				b.Fatalf("record %d: %v", n, err)
			}
		}
		shut(b, l)
		o.disk = nil
		l = open(b, dir, o)
		backlog := size(b, dir)
		t0 := time.Now()
		for at := uint64(0); at < records; {
			run, err := l.Read(at, passage.MaxBatchRecords)
			if err != nil || len(run.Entries) == 0 || run.Skip != nil {
				b.Fatalf("Read(%d): %d records, skip %v, %v", at, len(run.Entries), run.Skip, err)
			}
			at = run.Entries[len(run.Entries)-1].Seq
			if err := l.Acknowledge(at); err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(t0)
		b.ReportMetric(float64(records), "journal.backlog.records")
		b.ReportMetric(float64(backlog)/(1<<20), "journal.backlog.mib")
		b.ReportMetric(float64(records)/took.Seconds(), "journal.drain.records_per_s")
		// With the next segment, which is made before it is needed.
		b.ReportMetric(float64(size(b, dir))/(1<<20), "journal.drained.mib")
		if s := l.State(); s.Acknowledged != records || s.Next != records+1 {
			b.Fatalf("after the drain: %+v", s)
		}
	}
}

// size of all files below a folder.
func size(b *testing.B, dir string) (sum int64) {
	b.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			b.Fatal(err)
		}
		sum += fi.Size()
	}
	return sum
}
