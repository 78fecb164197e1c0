package gatetest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Timeline collects what happened, one line for each thing.
type Timeline struct {
	mu    sync.Mutex
	start time.Time
	lines []line
}

type line struct {
	at     time.Duration
	what   string
	detail string
	// after is a record that nothing waits for: within one instant it stands
	// last, because the disk and the relay are not ordered then.
	after bool
}

// Add writes a line down.
func (t *Timeline) Add(what, detail string) { t.add(what, detail, false) }

func (t *Timeline) add(what, detail string, after bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line{time.Since(t.start), what, detail, after})
}

// Clear forgets what happened so far.
func (t *Timeline) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = nil
}

// String returns the lines as "2s  scan  alice", in columns.
func (t *Timeline) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for i := 0; i < len(t.lines); {
		j := i
		for j < len(t.lines) && t.lines[j].at == t.lines[i].at {
			j++
		}
		for _, after := range []bool{false, true} {
			for _, l := range t.lines[i:j] {
				if l.after == after {
					fmt.Fprintf(&b, "%s %s %s\n", l.at, l.what, l.detail)
				}
			}
		}
		i = j
	}
	return b.String()
}

// words brings a timeline to one blank between words, so that a test may
// align its columns as it likes; lines that begin with # are comments.
func words(s string) string {
	var b strings.Builder
	for _, l := range strings.Split(s, "\n") {
		l = strings.Join(strings.Fields(l), " ")
		if l != "" && !strings.HasPrefix(l, "#") {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// columns is the reverse, for people.
func columns(s string) string {
	var b strings.Builder
	for _, l := range strings.Split(strings.TrimSuffix(s, "\n"), "\n") {
		f := strings.SplitN(l, " ", 3)
		for len(f) < 3 {
			f = append(f, "")
		}
		fmt.Fprintf(&b, "%7s  %-10s %s\n", f[0], f[1], f[2])
	}
	return b.String()
}
