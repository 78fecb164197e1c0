package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// replacedSize is the size of the list that replaceOnce stages: every write of
// an install is tried as the one that fails, so there should not be thousands.
const replacedSize = 100 * chunkBytes

// putGeneration puts all lists of a sequence and their metadata in, the last list
// staged ahead.
func putGeneration(db *DB, sequence uint64) error {
	large, raw := made(killedLists, sequence, replacedSize)
	if err := db.Stage(large, raw); err != nil {
		return err
	}
	return db.Install(func(tx *Tx) error {
		for n := range killedLists {
			info, raw := made(n, sequence, killedSize)
			if err := tx.PutList(info, raw); err != nil {
				return err
			}
		}
		return errors.Join(patch(tx, db, patched, sequence, killedSize), tx.PutList(large, raw), tx.SetMetadata("snapshot", fmt.Append(nil, sequence)))
	})
}

// replaceOnce replaces the first generation by the second, and where that
// fails by the third, as the next poll would. In between and at the end it
// answers with one of them.
func replaceOnce(path string) error {
	db, err := Open(path, Options{})
	if err != nil {
		return err
	}
	for sequence := uint64(2); sequence <= 3; sequence++ {
		err := putGeneration(db, sequence)
		now, problem := answered(db)
		fmt.Printf("try %d: answers %d: %v\n", sequence, now, err)
		switch {
		case problem != nil:
			return problem
		case now == 0 || now > sequence:
			return fmt.Errorf("answers generation %d after %d", now, sequence)
		case err == nil && now != sequence:
			return fmt.Errorf("generation %d was installed, %d answers", sequence, now)
		case err == nil:
			fmt.Println("installed", sequence)
			return db.Close()
		case errors.Is(err, ErrDamaged):
			return fmt.Errorf("a disk's error is taken for damage: %w", err)
		}
	}
	if err := db.Close(); err != nil {
		fmt.Println("close:", err) // the disk's, and nothing hangs on it
	}
	return nil
}

// answered is oneGeneration in a process whose disk fails: there may be no
// metadata then, but none of another generation.
func answered(db *DB) (uint64, error) {
	sequence, err := oneGeneration(db)
	if err != nil && db.Metadata("snapshot") == nil {
		return db.Lists()[0].Sequence, answersRight(db)
	}
	return sequence, err
}

// first makes a file with the first generation.
func first(t testing.TB, path string) {
	t.Helper()
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(putGeneration(db, 1), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// restarted says whether a start after the fault finds a whole generation, not
// older than what was reported, and takes the next one.
func restarted(t testing.TB, path string, reported uint64) (problem error) {
	db, err := Open(path, Options{})
	if err != nil {
		return err
	}
	defer func() {
		problem = errors.Join(problem, db.Close())
		check(t, path)
	}()
	sequence, err := oneGeneration(db)
	if err != nil {
		return err
	}
	if sequence < max(reported, 1) {
		return fmt.Errorf("generation %d was reported, %d is there", reported, sequence)
	}
	if err := putGeneration(db, 4); err != nil {
		return err
	}
	if sequence, err = oneGeneration(db); err != nil || sequence != 4 {
		return fmt.Errorf("the next generation: %d, %w", sequence, err)
	}
	return nil
}

// fault is one error that the system gives: from the nth call on a thread, or
// from then on.
type fault struct {
	call, errno string
	nth         int
	lasting     bool
}

func (f fault) String() string {
	s := fmt.Sprintf("%s: %s at call %d", f.call, f.errno, f.nth)
	if f.lasting {
		s += " and after"
	}
	return s
}

// injected runs replaceOnce with the fault, over a copy of whole; injected is
// how often strace says that it gave the error.
func (f fault) injected(t testing.TB, whole []byte) (injected int, readAgain bool, problem error) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	path, trace := filepath.Join(dir, "lists.db"), filepath.Join(dir, "trace")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	when := strconv.Itoa(f.nth)
	if f.lasting {
		when += "+"
	}
	cmd := part(t.Context(), "replace", path)
	cmd.Args = append([]string{"strace", "-f", "-qq", "-o", trace, "-e", "trace=" + f.call, "-e",
		fmt.Sprintf("inject=%s:error=%s:when=%s", f.call, f.errno, when)}, cmd.Args...)
	if cmd.Path, err = exec.LookPath("strace"); err != nil {
		t.Fatal(err)
	}
	out, failed := cmd.CombinedOutput()
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatalf("strace: %v: %s", err, out)
	}
	injected = bytes.Count(calls, []byte("(INJECTED)"))
	if failed != nil {
		return injected, false, fmt.Errorf("%w: %s", failed, out)
	}
	var reported uint64
	if _, after, ok := strings.Cut(string(out), "installed "); ok {
		if _, err := fmt.Sscan(after, &reported); err != nil {
			return injected, false, fmt.Errorf("child says %q", out)
		}
	}
	// Answers 2 though it was not installed: the last flush failed.
	readAgain = bytes.Contains(out, []byte("try 2: answers 2: st"))
	if err := restarted(t, path, reported); err != nil {
		return injected, readAgain, fmt.Errorf("%w; child said %s", err, out)
	}
	return injected, readAgain, os.RemoveAll(dir)
}

// tally counts faults tried and those after which something was wrong.
type tally struct{ tried, failed int }

func (n *tally) note(t testing.TB, what any, problem error) {
	t.Helper()
	n.tried++
	if problem != nil {
		n.failed++
		t.Logf("FAILED: %v: %v", what, problem)
	}
}

// end fails a test; a benchmark that fails would not report its figures.
func (n *tally) end(t *testing.T) {
	t.Helper()
	if n.failed > 0 || n.tried == 0 {
		t.Errorf("%d faults tried, %d failed", n.tried, n.failed)
	}
}

// writeErrors gives an error at the calls of an install, each step-th of them,
// until calls are not reached any more. The few flushes are repeated.
func writeErrors(t testing.TB, n *tally, step, repeat int) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("errors of the system are injected by strace, which is not here: %v", err)
	}
	path := filepath.Join(t.TempDir(), "lists.db")
	first(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again := 0
	for _, call := range []string{"pwrite64", "fdatasync", "fsync", "ftruncate"} {
		for _, errno := range []string{"EIO", "ENOSPC"} {
			for _, lasting := range []bool{false, true} {
				hit, step, times := 0, step, 1
				if call != "pwrite64" {
					// There are few, and strace counts them for each thread:
					// which of them is the nth differs from run to run.
					step, times = max(1, step/10), repeat
				}
				for nth, missed := 1, 0; missed < 2*times; nth += step {
					for range times {
						f := fault{call, errno, nth, lasting}
						injected, readAgain, problem := f.injected(t, whole)
						if injected == 0 {
							missed++ // what was not injected is not counted
							continue
						}
						hit++
						missed = 0
						if readAgain {
							again++
						}
						n.note(t, f, problem)
					}
				}
				t.Logf("%s, %s, lasting %t: %d points", call, errno, lasting, hit)
			}
		}
	}
	t.Logf("after %d of them a commit that had failed was there all the same", again)
}

// fullDisk fills a small file system up to some room, and installs there.
func fullDisk(t testing.TB, n *tally, step int64) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("no small file system to fill, mounting one: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	path, filler := filepath.Join(dir, "lists.db"), filepath.Join(dir, "filler")
	full := 0
	for room := int64(0); room <= 2<<20; room += step {
		first(t, path)
		fill, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		for block := make([]byte, pageSize); err == nil; {
			_, err = fill.Write(block)
		}
		fi, serr := fill.Stat()
		if !errors.Is(err, syscall.ENOSPC) || serr != nil {
			t.Fatal(err, serr)
		}
		if err := errors.Join(fill.Truncate(max(0, fi.Size()-room)), fill.Close()); err != nil {
			t.Fatal(err)
		}
		out, problem := part(t.Context(), "replace", path).CombinedOutput()
		if bytes.Contains(out, []byte("no space left")) {
			full++
		}
		if problem != nil {
			problem = fmt.Errorf("%w: %s", problem, out)
		} else {
			problem = openFull(path)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if problem == nil {
			if problem = restarted(t, path, 0); problem != nil {
				problem = fmt.Errorf("%w; child said %s", problem, out)
			}
		}
		if bytes.Contains(out, []byte("no space left")) || problem != nil {
			n.note(t, fmt.Sprintf("a disk with room for %d bytes", room), problem)
		}
		for _, left := range []string{path, path + ".damaged-1", path + ".opening"} {
			if err := os.Remove(left); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	if full == 0 {
		t.Error("no disk was full")
	}
}

// openFull opens the store while its disk is still full.
func openFull(path string) error {
	db, err := Open(path, Options{})
	if err != nil {
		return fmt.Errorf("on the full disk: %w", err)
	}
	sequence, err := oneGeneration(db)
	if err == nil && sequence == 0 {
		err = errors.New("on the full disk: no list")
	}
	return errors.Join(err, db.Close())
}

func TestWriteErrors(t *testing.T) {
	var n tally
	writeErrors(t, &n, 60, 1)
	n.end(t)
}

func TestFullDisk(t *testing.T) {
	var n tally
	fullDisk(t, &n, 256<<10)
	n.end(t)
}

// BenchmarkFaults is the long form of the tests, and no measure of time: run
// it with -benchtime 1x. It reports how many faults were tried, and after how
// many an answer was wrong, mixed, or missing.
func BenchmarkFaults(b *testing.B) {
	for b.Loop() {
		var n tally
		path := filepath.Join(b.TempDir(), "lists.db")
		for round := range 200 {
			n.note(b, fmt.Sprintf("kill %d", round), killed(b, path))
		}
		writeErrors(b, &n, 2, 4)
		fullDisk(b, &n, 32<<10)
		b.ReportMetric(float64(n.tried), "tried")
		b.ReportMetric(float64(n.failed), "failed")
	}
}
