package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
)

// logOf writes a log as QEMU does.
func logOf(entries ...entry) []byte {
	head := func(v ...uint64) []byte {
		b := make([]byte, sectorBytes)
		for i, x := range v {
			binary.LittleEndian.PutUint64(b[8*i:], x)
		}
		return b
	}
	out := head(logMagic, logVersion, uint64(len(entries)), sectorBytes)
	for _, e := range entries {
		flags := uint64(0)
		if e.flush {
			flags |= flagFlush
		}
		if e.through {
			flags |= flagFUA
		}
		out = append(out, head(uint64(e.at/sectorBytes), uint64(len(e.data)/sectorBytes), flags, uint64(len(e.data)))...)
		out = append(out, e.data...)
	}
	return out
}

func sector(b byte) []byte { return bytes.Repeat([]byte{b}, sectorBytes) }

func TestReadLog(t *testing.T) {
	want := []entry{{at: 8192, data: sector('a')}, {flush: true}, {at: 8704, data: append(sector('b'), sector('c')...), through: true}}
	raw := logOf(want...)
	got, err := readLog(bytes.NewReader(raw), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("got %d entries, want %d", len(got), len(want))
	}
	for i, e := range got {
		if e.flush != want[i].flush || e.through != want[i].through || e.at != want[i].at || !bytes.Equal(e.data, want[i].data) {
			t.Errorf("entry %d: got %+v, want %+v", i, e, want[i])
		}
	}
	bad := func(name string, change func([]byte) []byte) {
		if _, err := readLog(bytes.NewReader(change(bytes.Clone(raw))), 1<<20); !errors.Is(err, ErrLog) {
			t.Errorf("%s: %v, want ErrLog", name, err)
		}
	}
	bad("empty", func([]byte) []byte { return nil })
	bad("magic", func(b []byte) []byte { b[0]++; return b })
	bad("version", func(b []byte) []byte { b[8]++; return b })
	bad("count", func(b []byte) []byte { b[16]++; return b })
	bad("cut short", func(b []byte) []byte { return b[:len(b)-1] })
	bad("beyond the disk", func(b []byte) []byte { b[sectorBytes+6] = 1; return b })
	bad("more than the disk", func(b []byte) []byte { b[sectorBytes+14] = 1; return b })
	bad("flags", func(b []byte) []byte { b[sectorBytes+17] = 1; return b })
}

// TestCut: what was flushed is always there, what was not is there or not.
func TestCut(t *testing.T) {
	log := []entry{{at: 8192, data: sector('a')}, {flush: true}, {at: 8192, data: append(sector('b'), sector('c')...)}}
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[string]int{}
	for range 200 {
		p := &platter{log: log, image: make([]byte, 16384)}
		image := p.cut(len(log), rng)
		seen[string([]byte{image[8192], image[8704]})]++
	}
	for _, want := range []string{"a\x00", "bc", "b\x00", "ac"} {
		if seen[want] == 0 {
			t.Errorf("never %q after a cut: %v", want, seen)
		}
	}
	if len(seen) != 4 {
		t.Errorf("after a cut %v", seen)
	}
	// A disk that lies about flushes may lose what was flushed.
	lost := 0
	for range 200 {
		p := &platter{log: log[:2], image: make([]byte, 16384), ignored: 8}
		if p.cut(2, rng)[8192] != 'a' {
			lost++
		}
	}
	if lost == 0 || lost == 200 {
		t.Errorf("a lying disk lost %d of 200", lost)
	}
}

func TestMarks(t *testing.T) {
	p := promises{}
	for _, v := range []uint64{7, 9, 8} {
		if err := p.read(entry{at: 4096, data: encodeMark(appended, v)}, 4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.read(entry{at: 0, data: sector('x')}, 4096); err != nil {
		t.Errorf("a write of the file system: %v", err)
	}
	if p[appended] != 9 || len(p) != 1 {
		t.Errorf("promised %v, want 9 appended", p)
	}
	if err := p.read(entry{at: 4096, data: sector('x')}, 4096); !errors.Is(err, ErrLog) {
		t.Errorf("a sector that is no mark: %v, want ErrLog", err)
	}
}

func FuzzReadLog(f *testing.F) {
	f.Add(logOf(entry{at: 8192, data: sector('a')}, entry{flush: true}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		log, err := readLog(bytes.NewReader(raw), 1<<20)
		if err != nil && !errors.Is(err, ErrLog) {
			t.Errorf("%v, want ErrLog", err)
		}
		for _, e := range log {
			if e.at+int64(len(e.data)) > 1<<20 {
				t.Errorf("%d bytes at %d are beyond the disk", len(e.data), e.at)
			}
		}
	})
}
