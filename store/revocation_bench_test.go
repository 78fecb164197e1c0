package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"greengate/pass"
	"greengate/pass/hashlist"
)

// hashOf gives number n a hash that falls anywhere.
func hashOf(n uint64) hashlist.Hash {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	return hashlist.Hash(sum[:16])
}

// nation makes lists with the hashes from 0 to n, one for each first digit,
// with what each has beyond the last generation.
func nation(b *testing.B, sequence uint64, n uint64) (infos []hashlist.Info, lists []hashlist.List) {
	b.Helper()
	parts := make([][]hashlist.Entry, 16)
	for i := range n {
		h := hashOf(i)
		parts[h[0]>>4] = append(parts[h[0]>>4], hashlist.Entry{Hash: h})
	}
	for p, entries := range parts {
		id := hashID(hashlist.EU, fmt.Sprintf("%x", p))
		l, err := hashlist.New(hashlist.EU, hashlist.Normal(entries))
		if err != nil {
			b.Fatal(err)
		}
		infos = append(infos, hashlist.Info{ID: id, Sequence: sequence, Issued: day.Add(time.Duration(sequence) * time.Minute), Expires: day.Add(1000 * time.Hour),
			Entries: int64(l.Len()), SHA256: sha256.Sum256(l.File())})
		lists = append(lists, l)
	}
	return infos, lists
}

// written is how many bytes this process had the disk write so far.
func written(b *testing.B) int64 {
	b.Helper()
	f, err := os.Open("/proc/self/io")
	if err != nil {
		b.Skip("no /proc/self/io")
	}
	defer f.Close()
	var name string
	var n int64
	for {
		if _, err := fmt.Fscan(f, &name, &n); err != nil {
			b.Fatal(err)
		}
		if name == "write_bytes:" {
			return n
		}
	}
}

// BenchmarkHashLists loads a nation's revocations, looks up what is there and
// what is not, and brings in 10,000 more.
func BenchmarkHashLists(b *testing.B) {
	for _, n := range []uint64{1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			infos, lists := nation(b, 1, n)
			infos2, lists2 := nation(b, 2, n+10_000)
			var load, hit, miss, delta time.Duration
			var file, wrote int64
			const lookups = 100_000
			for b.Loop() {
				path := filepath.Join(b.TempDir(), "lists.db")
				db, err := Open(path, Options{})
				if err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				for i, info := range infos {
					putHashes(b, db, info, lists[i])
				}
				load += time.Since(start)
				fi, err := os.Stat(path)
				if err != nil {
					b.Fatal(err)
				}
				file += fi.Size()

				r := rand.New(rand.NewPCG(1, n))
				for _, what := range []struct {
					from  uint64
					spent *time.Duration
				}{{0, &hit}, {n + 10_000, &miss}} {
					ids := make([]pass.RevocationID, lookups)
					for i := range ids {
						ids[i] = pass.RevocationID{Scheme: "eu", KeyID: issuerKey, Hash: hashOf(what.from + r.Uint64N(n))}
					}
					start = time.Now()
					for _, id := range ids {
						if a := db.Revoked(id); !a.Found || a.Revoked != (what.from == 0) {
							b.Fatalf("%+v", a)
						}
					}
					*what.spent += time.Since(start)
				}

				changes := make([][]hashlist.Change, len(infos))
				for i := range infos {
					changes[i] = hashlist.Diff(lists[i], lists2[i])
				}
				before := written(b)
				start = time.Now()
				for i, info := range infos2 {
					if err := db.StageHashDelta(info, changes[i]); err != nil {
						b.Fatal(err)
					}
				}
				install(b, db, func(tx *Tx) error {
					for _, info := range infos2 {
						if err := tx.PutHashes(info); err != nil {
							return err
						}
					}
					return nil
				})
				delta += time.Since(start)
				wrote += written(b) - before
				shut(b, db)
			}
			runs := float64(b.N)
			b.ReportMetric(load.Seconds()/runs, "load-s")
			b.ReportMetric(float64(file)/runs/float64(n), "bytes/entry")
			b.ReportMetric(lookups*runs/hit.Seconds()/1000, "hit-k/s")
			b.ReportMetric(lookups*runs/miss.Seconds()/1000, "miss-k/s")
			b.ReportMetric(float64(delta.Milliseconds())/runs, "delta-ms")
			b.ReportMetric(float64(wrote)/runs/1e6, "delta-MB")
		})
	}
}
