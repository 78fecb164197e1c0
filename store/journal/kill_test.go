package journal

import (
	"bufio"
	cryptorand "crypto/rand"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"greengate/gate/passage"
)

// childDir is set in the process that TestKill kills.
const childDir, childHub = "JOURNAL_TEST_DIR", "JOURNAL_TEST_HUB"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir, os.Getenv(childHub)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// child appends for ever, acknowledges now and then, and reports each on its
// standard output once it is durable.
func child(dir, hub string) error {
	raw, err := hex.DecodeString(hub)
	if err != nil {
		return err
	}
	key, err := passage.ParseHubKey(raw)
	if err != nil {
		return err
	}
	l, err := Open(dir, Options{Gate: testGate, Hub: key, SegmentBytes: MinSegmentBytes, CapBytes: 1 << 20, Rand: cryptorand.Reader})
	if err != nil {
		return err
	}
	for {
		seq, err := l.Append(record(l.State().Next))
		if err != nil {
			return err
		}
		fmt.Println("appended", seq)
		if seq%50 == 0 {
			if err := l.Acknowledge(seq - 20); err != nil {
				return err
			}
			fmt.Println("acknowledged", seq-20)
		}
	}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, childHub+"="+hubHex())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed as soon as so many reports came, while it goes on with its work.
		var appended, acknowledged uint64
		lines := bufio.NewScanner(out)
		for n, kill := 0, 1+rand.IntN(150); lines.Scan(); n++ {
			what, rest, _ := strings.Cut(lines.Text(), " ")
			into := &appended
			switch what {
			case "appended":
			case "acknowledged":
				into = &acknowledged
			default:
				t.Errorf("round %d: child says %q", round, lines.Text())
			}
			if _, err := fmt.Sscan(rest, into); err != nil {
				// The kill cut its last line.
				t.Logf("round %d: last line %q", round, lines.Text())
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
		l := open(t, dir, options())
		s := l.State()
		if s.Next-1 < appended || s.Next-1 > appended+1 || s.Acknowledged < acknowledged {
			t.Errorf("round %d: reported %d and acknowledged %d, found %+v", round, appended, acknowledged, s)
		}
		if got := readAll(t, l); got != s.Next-1 {
			t.Errorf("round %d: read up to %d of %d", round, got, s.Next-1)
		}
		shut(t, l)
	}
}
