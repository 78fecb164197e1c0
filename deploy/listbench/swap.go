package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"greengate/pass"
	"greengate/pass/statuslist"
)

// perBatch is how many lookups are timed together, since to read the clock
// takes about as long as a lookup.
const perBatch = 64

// swap measures lookups while a snapshot of all lists is installed: the worst,
// and the 99th percentile against that at rest. The thread that looks up is
// never moved; on two processors the install has the other one.
func (b *bench) swap(ctx context.Context, s size) error {
	return b.temp(func(dir string) error {
		path := filepath.Join(dir, "lists.db")
		a, err := fill(ctx, dir, path, newColours(s, 1))
		if err != nil {
			return err
		}
		g, end, err := a.gate(path)
		if err != nil {
			return err
		}
		var worst, worstRest, worstBeside, ratios, taken []float64
		l, err := statuslist.FromRaw(newColours(size{"1m", perList}, 1).raw[0], 2)
		if err != nil {
			return errors.Join(err, end())
		}
		one, err := l.MarshalCBOR()
		if err != nil {
			return errors.Join(err, end())
		}
		for round := range b.rounds(5, 3) {
			// Other people altogether, so that a snapshot is what is fewer bytes.
			if _, err := a.publish(ctx, newColours(s, uint64(round)+2), time.Minute); err != nil {
				return errors.Join(err, end())
			}
			// The machine's own part: the same work, which the store has nothing to do with.
			beside, err := watchLookups(g, s, func() error { return unpack(one, s.lists(), path+".beside") })
			if err != nil {
				return errors.Join(err, end())
			}
			rest, err := watchLookups(g, s, func() error { time.Sleep(500 * time.Millisecond); return nil })
			if err != nil {
				return errors.Join(err, end())
			}
			busy, err := watchLookups(g, s, func() error {
				report, err := g.poll(ctx)
				if err == nil && len(report.Installed) < s.lists() {
					err = errors.New("not all lists were installed")
				}
				return err
			})
			if err != nil {
				return errors.Join(err, end())
			}
			worst, worstRest, worstBeside = append(worst, busy.worst), append(worstRest, rest.worst), append(worstBeside, beside.worst)
			ratios, taken = append(ratios, busy.p99/rest.p99), append(taken, float64(busy.taken))
		}
		b.say("max_during_swap.ms", median(worst), "ms")
		b.say("max_beside_work.ms", median(worstBeside), "ms")
		b.say("max_at_rest.ms", median(worstRest), "ms")
		b.say("swap.preempted", median(taken), "batches")
		b.say("swap.p99.ratio", median(ratios), "ratio")
		return end()
	})
}

// unpack inflates a list n times, takes its digest, and writes it all to a
// file that is flushed every 4 MiB: what an install does, without a store.
func unpack(packed []byte, n int, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	for k := range n {
		l, err := statuslist.ParseCBOR(packed, perList/4)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(l.Raw()); sum == [32]byte{} {
			return errors.New("a digest of nothing but zeros")
		}
		if _, err := f.Write(l.Raw()); err != nil {
			return err
		}
		if k%16 == 15 {
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	return f.Sync()
}

// lookups is how they went: milliseconds of the worst batch, nanoseconds of a
// lookup at the 99th percentile of the batches, and how many batches do not
// count: the system gave the processor to somebody else in them, and the
// thread waited for nothing.
type lookups struct {
	worst, p99 float64
	taken      int
}

// switches is how often this thread has waited for something, and how often
// the system took the processor from it.
func switches() (waits, preemptions int64) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		panic(err) // only a wrong argument
	}
	return int64(u.Nvcsw), int64(u.Nivcsw)
}

// watchLookups looks codes up without a pause while f runs.
func watchLookups(g *listGate, s size, f func() error) (lookups, error) {
	var stop atomic.Bool
	done := make(chan lookups)
	missing := false
	refs := make([]pass.StatusRef, 1<<12)
	for i := range refs {
		code := i * 7919 * 131 % s.codes
		refs[i] = pass.StatusRef{URI: uri(code / perList), Index: uint64(code % perList)}
	}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var took [1 << 14]int // batches by length, in steps of 64 ns
		var batches, taken int
		var worst time.Duration
		waits, preemptions := switches()
		for k := 0; !stop.Load(); {
			before := time.Now()
			for range perBatch {
				k = (k + 1) % len(refs)
				missing = missing || !g.db.Lookup(refs[k]).InBounds
			}
			d := time.Since(before)
			w, p := switches()
			if p > preemptions && w == waits {
				taken++
			} else {
				worst = max(worst, d)
				took[min(int(d)/64, len(took)-1)]++
				batches++
			}
			waits, preemptions = w, p
		}
		l := lookups{worst: float64(worst.Nanoseconds()) / 1e6, taken: taken}
		sum := 0
		for i, n := range took {
			if sum += n; sum*100 >= batches*99 {
				l.p99 = float64(i*64+32) / perBatch
				break
			}
		}
		done <- l
	}()
	err := f()
	stop.Store(true)
	l := <-done
	if missing {
		err = errors.Join(err, errors.New("a code was not found"))
	}
	return l, err
}
