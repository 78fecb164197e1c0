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
)

// The parts that this test binary plays when it is started by itself.
const (
	childPart = "STORE_TEST_PART"
	childPath = "STORE_TEST_PATH"
)

// Lists of the killed process: some small, and one large enough to be staged
// in two transactions.
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
			err := errors.Join(tx.PutList(large, nil), tx.SetMetadata("snapshot", fmt.Append(nil, sequence)))
			fmt.Println("committing", sequence)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println("installed", sequence)
	}
}

func TestKillDuringInstall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	for round := range 12 {
		cmd := part(t.Context(), "install", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var reported uint64
		lines := bufio.NewScanner(out)
		for n, kill := 0, rand.IntN(20); lines.Scan(); n++ {
			var what string
			var sequence uint64
			if _, err := fmt.Sscan(lines.Text(), &what, &sequence); err != nil {
				t.Errorf("round %d: child says %q", round, lines.Text())
			}
			if what == "installed" {
				reported = sequence
			}
			if n == kill {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("round %d: child ended by itself: %v", round, err)
		}
		db := open(t, path, Options{})
		if db.SetAside() != "" {
			t.Fatalf("round %d: set aside", round)
		}
		lists := db.Lists()
		if len(lists) == 0 && reported == 0 {
			shut(t, db)
			continue
		}
		if len(lists) != killedLists+1 {
			t.Fatalf("round %d: %d lists", round, len(lists))
		}
		sequence := lists[0].Sequence
		if sequence < reported {
			t.Errorf("round %d: sequence %d was reported, %d is there", round, reported, sequence)
		}
		for n, l := range lists {
			size := killedSize
			if n == killedLists {
				size = stagedSize
			}
			if _, raw := made(n, sequence, size); l.Sequence != sequence || !bytes.Equal(db.view.Load().lists[l.URI].raw, raw) {
				t.Errorf("round %d: list %d is of sequence %d, the first of %d", round, n, l.Sequence, sequence)
			}
		}
		if got := string(db.Metadata("snapshot")); got != fmt.Sprint(sequence) {
			t.Errorf("round %d: metadata of %s, lists of %d", round, got, sequence)
		}
		if got := generations(t, db); got != killedLists+1 {
			t.Errorf("round %d: %d generations are left", round, got)
		}
		shut(t, db)
		check(t, path)
	}
}

// openOnce opens a store that may be damaged. Whatever answers must be right.
func openOnce(path string) error {
	db, err := Open(path, Options{})
	if err != nil {
		return err
	}
	for _, l := range db.Lists() {
		var n int
		if _, err := fmt.Sscanf(l.URI, "https://lists.example.org/33/3301/%d", &n); err != nil {
			return err
		}
		if _, raw := made(n, l.Sequence, int(l.Size)); !bytes.Equal(db.view.Load().lists[l.URI].raw, raw) {
			return fmt.Errorf("list %d is not what was installed", n)
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	fmt.Println("opened")
	return nil
}

// TestDamageAnywhere puts garbage over single pages. A start may crash or
// hang; the store must open within three, and never give a wrong answer.
func TestDamageAnywhere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "whole.db")
	db := open(t, path, Options{})
	for sequence := range uint64(3) {
		for n := range 3 {
			put(t, db, n, sequence+1, 20000)
		}
	}
	shut(t, db)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(whole, "\x00"))/pageSize + 1
	r := rand.New(rand.NewPCG(1, 2))
	crashed, aside := 0, 0
	for round := range 120 {
		data := bytes.Clone(whole)
		p := round % used * pageSize
		switch round / used % 3 {
		case 0: // the page's header, the sort of damage that misleads
			for i := range 16 {
				data[p+i] = byte(r.Uint32())
			}
		case 1:
			for i := range pageSize {
				data[p+i] = byte(r.Uint32())
			}
		case 2:
			clear(data[p : p+pageSize])
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.db", round))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		opened := false
		for range maxTries + 1 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			out, err := part(ctx, "open", path).CombinedOutput()
			cancel()
			if opened = err == nil; opened {
				break
			}
			if bytes.HasPrefix(out, []byte("error")) {
				t.Errorf("round %d, page %d: %s", round, p/pageSize, out)
			}
			crashed++
		}
		if !opened {
			t.Errorf("round %d, page %d: not open after %d starts", round, p/pageSize, maxTries+1)
		}
		if _, err := os.Stat(path + ".damaged-1"); err == nil {
			aside++
		}
	}
	t.Logf("%d pages: of 120 damaged files %d were set aside, %d starts crashed", used, aside, crashed)
}
