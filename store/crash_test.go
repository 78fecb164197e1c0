package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"greengate/pass/statuslist"
)

// The parts that this test binary plays when it is started by itself.
const (
	childPart = "STORE_TEST_PART"
	childPath = "STORE_TEST_PATH"
)

// Lists of the killed process: some small, one large enough to be staged in two
// transactions, and one that comes as deltas.
const (
	killedLists = 4
	killedSize  = 30000
	stagedSize  = 5 << 20
)

func TestMain(m *testing.M) {
	var err error
	switch part, path := os.Getenv(childPart), os.Getenv(childPath); part {
	case "":
		os.Exit(m.Run())
	case "install":
		err = installForEver(path)
	case "open":
		err = openOnce(path)
	case "replace":
		err = replaceOnce(path)
	case "hashes":
		err = hashesForEver(path)
	default:
		err = fmt.Errorf("part %q", part)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(3)
	}
	os.Exit(0)
}

func part(ctx context.Context, part, path string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	// Under the race detector a process would wait a second before it exits.
	cmd.Env = append(os.Environ(), childPart+"="+part, childPath+"="+path, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// installForEver replaces all lists in one Install, again and again, and
// reports each sequence once it is durable.
func installForEver(path string) error {
	db, err := Open(path, Options{})
	if err != nil {
		return err
	}
	sequence := uint64(0)
	if l := db.Lists(); len(l) > 0 {
		sequence = l[0].Sequence
	}
	fmt.Println("installed", sequence)
	for sequence++; ; sequence++ {
		fmt.Println("staging", sequence)
		large, raw := made(killedLists, sequence, stagedSize)
		if err := db.Stage(large, raw); err != nil {
			return err
		}
		err := db.Install(func(tx *Tx) error {
			for n := range killedLists {
				fmt.Println("putting", sequence)
				info, raw := made(n, sequence, killedSize)
				if err := tx.PutList(info, raw); err != nil {
					return err
				}
			}
			err := errors.Join(patch(tx, db, patched, sequence, killedSize), tx.PutList(large, nil), tx.SetMetadata("snapshot", fmt.Append(nil, sequence)))
			fmt.Println("committing", sequence)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println("installed", sequence)
	}
}

// patch brings the next generation of a list in as a delta to what is held, or
// whole where nothing is.
func patch(tx *Tx, db *DB, n int, sequence uint64, size int) error {
	info, raw := made(n, sequence, size)
	held := db.Bits(info.URI)
	if held == nil {
		return tx.PutList(info, raw)
	}
	from, err := statuslist.FromRaw(held, 2)
	if err != nil {
		return err
	}
	to, err := statuslist.FromRaw(raw, 2)
	if err != nil {
		return err
	}
	delta, err := statuslist.Diff(from, to)
	if err != nil {
		return err
	}
	return tx.PatchList(info, delta)
}

// killed kills an install at a random point, and says what the next start finds.
func killed(t testing.TB, path string) (problem error) {
	t.Helper()
	cmd := part(t.Context(), "install", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reported uint64
	var kill *time.Timer
	lines := bufio.NewScanner(out)
	for n, at := 0, rand.IntN(20); lines.Scan(); n++ {
		var what string
		var sequence uint64
		if _, err := fmt.Sscan(lines.Text(), &what, &sequence); err != nil {
			t.Errorf("child says %q", lines.Text())
		}
		if what == "installed" {
			reported = sequence
		}
		if n == at {
			// Between two lines it is in the middle of a write or a flush.
			kill = time.AfterFunc(rand.N(20*time.Millisecond), func() { _ = cmd.Process.Kill() }) // Wait tells
		}
	}
	if kill != nil {
		kill.Stop()
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("child ended by itself: %v", err)
	}
	db, err := Open(path, Options{})
	if err != nil {
		return err
	}
	defer func() {
		problem = errors.Join(problem, db.Close())
		check(t, path)
	}()
	sequence, err := oneGeneration(db)
	switch {
	case err != nil:
		return err
	case sequence < reported:
		return fmt.Errorf("sequence %d was reported, %d is there", reported, sequence)
	case sequence > 0 && generations(t, db) != killedLists+2:
		return fmt.Errorf("%d generations are left", generations(t, db))
	}
	return nil
}

// oneGeneration returns the sequence of all lists that installForEver puts, 0
// for none. A mixture, another byte than was made, and metadata that is not
// theirs are errors.
func oneGeneration(db *DB) (uint64, error) {
	lists := db.Lists()
	if db.SetAside() != "" {
		return 0, fmt.Errorf("set aside as %s", db.SetAside())
	}
	if len(lists) == 0 {
		return 0, nil
	}
	if len(lists) != killedLists+2 {
		return 0, fmt.Errorf("%d lists", len(lists))
	}
	for _, l := range lists {
		if l.Sequence != lists[0].Sequence {
			return 0, fmt.Errorf("list %s of sequence %d beside %d", l.URI, l.Sequence, lists[0].Sequence)
		}
	}
	if got := string(db.Metadata("snapshot")); got != fmt.Sprint(lists[0].Sequence) {
		return 0, fmt.Errorf("metadata of %q, lists of %d", got, lists[0].Sequence)
	}
	return lists[0].Sequence, answersRight(db)
}

func TestKillDuringInstall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	for round := range 12 {
		if err := killed(t, path); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// answersRight says whether every list that is held is what was made of it.
func answersRight(db *DB) error {
	for _, l := range db.Lists() {
		var n int
		if _, err := fmt.Sscanf(l.URI, "https://lists.example.org/33/3301/%d", &n); err != nil {
			return err
		}
		if info, raw := made(n, l.Sequence, int(l.Size)); l != info || !bytes.Equal(db.view.Load().lists[l.URI].raw, raw) {
			return fmt.Errorf("list %d is not what was installed", n)
		}
	}
	return nil
}

// openOnce opens a store that may be damaged, puts the next generation in, and
// opens it again. Whatever answers must be right.
func openOnce(path string) error {
	db, err := Open(path, Options{})
	if err != nil {
		return err
	}
	fmt.Println("opened", len(db.Lists()), db.SetAside())
	if err := answersRight(db); err != nil {
		return err
	}
	next := func(tx *Tx) error {
		var errs []error
		for n := range sweptLists {
			info, raw := made(n, 9, sweptSize)
			errs = append(errs, tx.PutList(info, raw))
		}
		return errors.Join(append(errs, tx.SetMetadata("snapshot", []byte("9")))...)
	}
	if err := db.Install(next); errors.Is(err, ErrDamaged) {
		fmt.Println("mended", err)
		if err := answersRight(db); err != nil {
			return err
		}
		err = db.Install(next)
		if err != nil {
			return fmt.Errorf("again: %w", err)
		}
	} else if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if db, err = Open(path, Options{}); err != nil {
		return err
	}
	if len(db.Lists()) < sweptLists || string(db.Metadata("snapshot")) != "9" || db.SetAside() != "" {
		return fmt.Errorf("after the next generation: %d lists, metadata %q, set aside %q", len(db.Lists()), db.Metadata("snapshot"), db.SetAside())
	}
	return errors.Join(answersRight(db), db.Close())
}

// The lists of the files that are damaged, small ones and one with an index of
// several pages.
const (
	sweptLists = 3
	sweptSize  = 20000
)

// sweep is a whole file, the same two generations earlier, and its pages.
type sweep struct {
	whole, earlier []byte
	kinds          [][]int // pages by kind: meta, freelist, branch, leaf, further and free ones
}

func newSweep(t *testing.T, dir string) *sweep {
	path := filepath.Join(dir, "whole.db")
	db := open(t, path, Options{})
	s := &sweep{}
	for sequence := uint64(1); sequence <= 4; sequence++ {
		filledWith(t, db, sequence, 200*chunkBytes)
		for n := range sweptLists {
			put(t, db, n, sequence, sweptSize)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if s.whole = data; sequence == 2 {
			s.earlier = data
		}
	}
	shut(t, db)
	kinds := map[uint16][]int{}
	used := len(bytes.TrimRight(s.whole, "\x00"))/pageSize + 1
	for page, last := 0, 0; page < used; page++ {
		header, kind := s.whole[page*pageSize:], uint16(0)
		if own := native.Uint64(header); own == uint64(page) && page >= last {
			kind = native.Uint16(header[8:])
			last = page + 1 + int(native.Uint32(header[12:]))
		}
		kinds[kind] = append(kinds[kind], page)
	}
	for _, kind := range []uint16{metaPage, freelistPage, branchPage, leafPage, 0} {
		if len(kinds[kind]) == 0 {
			t.Fatalf("no page of kind %#x", kind)
		}
		s.kinds = append(s.kinds, kinds[kind])
	}
	return s
}

// damage damages a copy of the file in a way that follows from the round.
func (s *sweep) damage(round int) (what string, data []byte) {
	r := rand.New(rand.NewPCG(1, uint64(round)))
	data = bytes.Clone(s.whole)
	kind := round % len(s.kinds)
	pages := s.kinds[kind]
	page := pages[r.IntN(len(pages))]
	p := data[page*pageSize : (page+1)*pageSize]
	garbage := func(b []byte) {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	}
	other := r.IntN(len(s.whole)/pageSize-1) * pageSize
	switch how := round / len(s.kinds) % 10; how {
	case 0:
		what = "bits flipped"
		for range 1 + r.IntN(8) {
			p[r.IntN(pageSize)] ^= 1 << r.IntN(8)
		}
	case 1:
		what = "garbage in the header" // the sort of damage that misleads
		garbage(p[:pageHeader])
	case 2:
		what = "garbage in the entries"
		garbage(p[pageHeader : pageHeader+pageEntry*(1+r.IntN(6))])
	case 3:
		what = "garbage"
		garbage(p)
	case 4:
		what = "zeros"
		clear(p)
	case 5:
		what = "half of it garbage"
		garbage(p[512*r.IntN(8):])
	case 6:
		what = "another page in its place"
		copy(p, s.whole[other:other+pageSize])
	case 7:
		what = "pages swapped"
		copy(p, s.whole[other:other+pageSize])
		copy(data[other:other+pageSize], s.whole[page*pageSize:])
	case 8:
		what = "an earlier page" // a write that the disk has lost
		if page*pageSize < len(s.earlier) {
			copy(p, s.earlier[page*pageSize:])
		}
	case 9:
		what = "cut"
		data = data[:page*pageSize+r.IntN(pageSize)]
	}
	return fmt.Sprintf("page %d of kind %d: %s", page, kind, what), data
}

// TestDamageAnywhere damages pages of each kind in ten ways. Whatever it is,
// the store opens at the first start, gives no wrong answer, and takes the next
// generation; nothing crashes it and nothing keeps it.
func TestDamageAnywhere(t *testing.T) {
	dir := t.TempDir()
	s := newSweep(t, dir)
	rounds := 100
	if testing.Short() {
		rounds = 50
	}
	crashed, aside, mended, fewer := 0, 0, 0, 0
	for round := range rounds {
		what, data := s.damage(round)
		path := filepath.Join(dir, "damaged.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		opened := false
		for range maxTries + 1 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			out, err := part(ctx, "open", path).CombinedOutput()
			cancel()
			if bytes.Contains(out, []byte("mended")) {
				mended++
			}
			var lists int
			var where string
			if n, _ := fmt.Sscanf(string(out), "opened %d %s", &lists, &where); n > 0 && lists < sweptLists+1 && where == "" {
				fewer++
			}
			if opened = err == nil; opened {
				break
			}
			if bytes.Contains(out, []byte("error")) {
				t.Errorf("round %d, %s: %s", round, what, out)
			}
			t.Logf("round %d, %s: a start crashed: %.300s", round, what, out)
			crashed++
		}
		if !opened {
			t.Errorf("round %d, %s: not open after %d starts", round, what, maxTries+1)
		}
		if err := os.Remove(path + ".damaged-1"); err == nil {
			aside++
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if crashed > 0 {
		t.Errorf("%d starts crashed", crashed)
	}
	t.Logf("of %d damaged files %d were set aside, %d lost a list, %d were mended later, %d starts crashed", rounds, aside, fewer, mended, crashed)
}
