package journal

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkAppend appends, and beside each append writes as many bytes to a
// zero-filled file and flushes them, which is the least it could cost. The
// ratio is that of the medians: the disk is faster and slower by the minute.
func BenchmarkAppend(b *testing.B) {
	dir := b.TempDir()
	o := options()
	o.SegmentBytes, o.CapBytes, o.Rand = DefaultSegmentBytes, 1<<30, rand.Reader
	l := open(b, dir, o)
	add(b, l, 1, 1)
	before := l.State().Bytes
	add(b, l, 2, 2)
	size := l.State().Bytes - before

	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, DefaultSegmentBytes)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	frame, off := make([]byte, size), int64(0)
	var appends, floors []time.Duration
	n := uint64(3)
	for b.Loop() {
		if off+size > DefaultSegmentBytes {
			off = 0
		}
		t0 := time.Now()
		if _, err := f.WriteAt(frame, off); err != nil {
			b.Fatal(err)
		}
		if err := datasync(f); err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		add(b, l, n, n)
		appends, floors = append(appends, time.Since(t1)), append(floors, t1.Sub(t0))
		off, n = off+size, n+1
	}
	b.ReportMetric(float64(size), "B/record")
	b.ReportMetric(float64(median(appends).Nanoseconds()), "ns/append")
	b.ReportMetric(float64(median(floors).Nanoseconds()), "ns/floor")
	b.ReportMetric(float64(median(appends))/float64(median(floors)), "ratio")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
