package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/store"
)

// fill publishes the colours and has a gate take them, whose store then lies at path.
func fill(ctx context.Context, dir, path string, c *colours) (*authority, error) {
	a, err := newAuthority(dir)
	if err != nil {
		return nil, err
	}
	if _, err := a.publish(ctx, c, time.Second); err != nil {
		return nil, err
	}
	g, end, err := a.gate(path)
	if err != nil {
		return nil, err
	}
	_, err = g.poll(ctx)
	return a, errors.Join(err, end())
}

// temp makes a folder for a part and removes it when the part is done.
func (b *bench) temp(f func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(b.dir, "part-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return f(dir)
}

// lookup measures a lookup as the gate does it against the same read from a
// plain array. A gate looks up one code after the other, so each waits here
// for the answer before it: what is measured is how long an answer takes, not
// how many a processor can have in flight.
func (b *bench) lookup(s size) error {
	return b.temp(func(dir string) error {
		c := newColours(s, 1)
		path := filepath.Join(dir, "lists.db")
		if _, err := fill(context.Background(), dir, path, c); err != nil {
			return err
		}
		db, err := store.Open(path, store.Options{})
		if err != nil {
			return err
		}
		array := make([]byte, 0, s.bytes())
		for _, raw := range c.raw {
			array = append(array, raw...)
		}
		const n = 1 << 16
		rng := rand.New(rand.NewPCG(5, 6))
		refs, places := make([]pass.StatusRef, n), make([]uint32, n)
		for i := range refs {
			code := rng.IntN(s.codes)
			// Each its own string, as it comes out of a code.
			refs[i] = pass.StatusRef{URI: fmt.Sprintf("jkm:3301/%d", code/perList), Index: uint64(code % perList)}
			places[i] = uint32(code)
		}
		var sums [2]int
		lookup := func() time.Duration {
			start, last := time.Now(), gate.Green
			for i := range n {
				// last>>7 is 0, which the processor finds out when it has the answer.
				last = db.Lookup(refs[(i+int(last>>7))%n]).Status
				sums[0] += int(last)
			}
			return time.Since(start) / n
		}
		statuses := [4]gate.Status{gate.StatusOf(0), gate.StatusOf(1), gate.StatusOf(2), gate.StatusOf(3)}
		floor := func() time.Duration {
			start, last := time.Now(), gate.Green
			for i := range n {
				p := places[(i+int(last>>7))%n]
				last = statuses[array[p/4]>>(p%4*2)&3]
				sums[1] += int(last)
			}
			return time.Since(start) / n
		}
		ratio, t, f := takeTurns(b.rounds(41, 15), lookup, floor)
		if sums[0] != sums[1] {
			return fmt.Errorf("lookups sum up to %d, the array to %d", sums[0], sums[1])
		}
		b.say("lookup.ratio."+s.name, ratio, "ratio")
		b.say("lookup.ns."+s.name, t, "ns")
		b.say("lookup.floor.ns."+s.name, f, "ns")
		return db.Close()
	})
}

// takeTurns lets a thing and its floor take turns, and returns the median of
// the ratios and of each in nanoseconds: on a noisy machine a thing is judged
// by its floor.
func takeTurns(rounds int, thing, floor func() time.Duration) (ratio, t, f float64) {
	thing()
	floor()
	var ratios, things, floors []float64
	for range rounds {
		t, f := float64(thing()), float64(floor())
		ratios, things, floors = append(ratios, t/f), append(things, t), append(floors, f)
	}
	return median(ratios), median(things), median(floors)
}

// foreignHashes is how many revocations of foreign codes the view is measured
// with, all of one issuer.
const foreignHashes = 500_000

// revocations puts that many hashes into the store, and returns what looks one
// of them up.
func revocations(db *store.DB) (lookup func() bool, err error) {
	issuer := []byte("issuer-1")
	id := hashlist.ID{Scheme: hashlist.EU, KeyID: hex.EncodeToString(issuer)}
	r := rand.New(rand.NewPCG(4, 4))
	entries := make([]hashlist.Entry, foreignHashes)
	for i := range entries {
		binary.BigEndian.PutUint64(entries[i].Hash[:], r.Uint64())
		binary.BigEndian.PutUint64(entries[i].Hash[8:], r.Uint64())
	}
	wanted := make([]pass.RevocationID, 1000)
	for i := range wanted {
		wanted[i] = pass.RevocationID{Scheme: string(id.Scheme), KeyID: issuer, Hash: entries[i].Hash}
	}
	l, err := hashlist.New(id.Scheme, hashlist.Normal(entries))
	if err != nil {
		return nil, err
	}
	file := l.File()
	info := hashlist.Info{ID: id, Sequence: 1, Issued: dayOne, Expires: dayOne.AddDate(0, 0, 30), Entries: int64(l.Len()), SHA256: sha256.Sum256(file)}
	if err := db.StageHashes(info, file); err != nil {
		return nil, err
	}
	if err := db.Install(func(tx *store.Tx) error { return tx.PutHashes(info) }); err != nil {
		return nil, err
	}
	n := 0
	return func() bool {
		n++
		a := db.Revoked(wanted[n%len(wanted)])
		return a.Found && a.Revoked
	}, nil
}

// viewed returns what reads one code's status from the store's file as it
// lies there, in a transaction of bbolt's for itself: what a lookup would cost
// that was not served from memory.
func viewed(path string) (lookup func() bool, end func() error, err error) {
	b, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return nil, nil, err
	}
	var generations [][]byte
	err = b.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("generations")).ForEachBucket(func(k []byte) error {
			generations = append(generations, bytes.Clone(k))
			return nil
		})
	})
	if err != nil || len(generations) == 0 {
		return nil, nil, errors.Join(err, errors.New("no list in the file"), b.Close())
	}
	const piece = 4068
	r := rand.New(rand.NewPCG(5, 5))
	return func() bool {
		var status byte
		var key [4]byte
		code := r.Uint64N(perList)
		binary.BigEndian.PutUint32(key[:], uint32(code/4/piece))
		err := b.View(func(tx *bolt.Tx) error {
			v := tx.Bucket([]byte("generations")).Bucket(generations[code%uint64(len(generations))]).Get(key[:])
			status = v[code/4%piece]>>(code%4*2)&3 + 1
			return nil
		})
		return err == nil && status != 0
	}, b.Close, nil
}

// view measures two reads of the file against one verification: one code's
// status, and what is asked of the file while a person with a foreign code
// waits, which is a hash among revocations that are not in memory, with the
// check of its block.
func (b *bench) view(ctx context.Context) error {
	return b.temp(func(dir string) error {
		path := filepath.Join(dir, "lists.db")
		if _, err := fill(ctx, dir, path, newColours(city, 1)); err != nil {
			return err
		}
		db, err := store.Open(path, store.Options{})
		if err != nil {
			return err
		}
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		revoked, err := revocations(db)
		if err != nil {
			return err
		}
		message := make([]byte, 100)
		signature := ed25519.Sign(private, message)
		failed := false
		calls := func(n int, f func() bool) func() time.Duration {
			return func() time.Duration {
				start := time.Now()
				for range n {
					failed = failed || !f()
				}
				return time.Since(start) / time.Duration(n)
			}
		}
		verify := calls(100, func() bool { return ed25519.Verify(public, message, signature) })
		ratio, t, _ := takeTurns(b.rounds(41, 15), calls(2000, revoked), verify)
		b.say("revoked.ratio", ratio, "ratio")
		b.say("revoked.ns", t, "ns")
		b.say("view.metadata.ns", float64(calls(2000, func() bool { return len(db.Metadata("timestamp")) > 0 })()), "ns")
		if err := db.Close(); err != nil {
			return err
		}
		one, end, err := viewed(path)
		if err != nil {
			return err
		}
		ratio, t, f := takeTurns(b.rounds(41, 15), calls(2000, one), verify)
		if failed {
			return errors.New("a view found nothing, or a verification failed")
		}
		b.say("view.ratio", ratio, "ratio")
		b.say("view.ns", t, "ns")
		b.say("view.floor.ns", f, "ns")
		return end()
	})
}

// start measures from the opening of the file to the first lookup, with the
// file in the kernel's memory and without.
func (b *bench) start(s size) error {
	return b.temp(func(dir string) error {
		path := filepath.Join(dir, "lists.db")
		if _, err := fill(context.Background(), dir, path, newColours(s, 1)); err != nil {
			return err
		}
		open := func() (float64, error) {
			start := time.Now()
			db, err := store.Open(path, store.Options{})
			if err != nil {
				return 0, err
			}
			found := db.Lookup(pass.StatusRef{URI: uri(0), Index: 4711}).InBounds
			took := time.Since(start)
			if !found {
				err = errors.New("the list is not there")
			}
			return float64(took.Microseconds()) / 1000, errors.Join(err, db.Close())
		}
		var warm, cold []float64
		for range b.rounds(9, 5) {
			ms, err := open()
			if err != nil {
				return err
			}
			warm = append(warm, ms)
			if err := forget(path); err != nil {
				return err
			}
			if ms, err = open(); err != nil {
				return err
			}
			cold = append(cold, ms)
		}
		b.say("start.ms."+s.name, median(warm), "ms")
		b.say("start.cold.ms."+s.name, median(cold), "ms")
		return nil
	})
}
