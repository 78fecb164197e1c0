package store

import (
	"path/filepath"
	"testing"
	"time"

	"greengate/gate"
	"greengate/pass"
)

// city fills a store with 9 lists of 2^20 codes.
func city(b *testing.B, path string) *DB {
	b.Helper()
	db := open(b, path, Options{})
	install(b, db, func(tx *Tx) error {
		for n := range 9 {
			info, raw := made(n, 1, 256<<10)
			if err := tx.PutList(info, raw); err != nil {
				return err
			}
		}
		return nil
	})
	return db
}

// BenchmarkLookup looks codes up, and beside it reads as many entries of a
// plain array, which is the least it could cost.
func BenchmarkLookup(b *testing.B) {
	db := city(b, filepath.Join(b.TempDir(), "lists.db"))
	_, raw := made(1, 1, 256<<10)
	const burst = 1000
	ref := pass.StatusRef{URI: uri(1)}
	var lookups, floors time.Duration
	var sum, want uint64
	for b.Loop() {
		start := ref.Index
		t0 := time.Now()
		for i := start; i < start+burst; i++ {
			j := i * 7919 % (1 << 20)
			want += uint64(gate.StatusOf(raw[j/4] >> (j % 4 * 2) & 3))
		}
		t1 := time.Now()
		for i := start; i < start+burst; i++ {
			sum += uint64(db.Lookup(pass.StatusRef{URI: ref.URI, Index: i * 7919 % (1 << 20)}).Status)
		}
		lookups, floors = lookups+time.Since(t1), floors+t1.Sub(t0)
		ref.Index += burst
	}
	if sum != want {
		b.Fatalf("lookups sum up to %d, the array to %d", sum, want)
	}
	b.ReportMetric(float64(lookups.Nanoseconds())/float64(b.N*burst), "ns/lookup")
	b.ReportMetric(float64(floors.Nanoseconds())/float64(b.N*burst), "ns/floor")
	b.ReportMetric(float64(lookups)/float64(floors), "ratio")
}

// BenchmarkOpen reads and verifies 9.4 million codes.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "lists.db")
	shut(b, city(b, path))
	for b.Loop() {
		db, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		shut(b, db)
	}
}
