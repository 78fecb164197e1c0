package hub

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate/passage"
)

func newTurns() *turns { return &turns{from: map[string][]*turn{}} }

// TestTurns is a timeline of one gate's uploads, and of another's.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newTurns()
		cut := map[int]int{}
		var each []*turn
		take := func() *turn {
			i := len(each)
			u := all.take("north", func() error { cut[i]++; return nil })
			if u != nil {
				each = append(each, u)
			}
			return u
		}
		for range maxIngestEach {
			if take() == nil {
				t.Fatal("no turn at the start")
			}
			time.Sleep(100 * time.Millisecond)
		}
		// 0.4 s: none is silent for long.
		if take() != nil {
			t.Error("a turn beside uploads that are under way")
		}
		if all.take("south", func() error { return nil }) == nil {
			t.Error("another gate has no turn")
		}
		// The first one goes on, the second is read whole and being stored; the third is silent longest.
		time.Sleep(hungAfter)
		if !each[0].hear() || !each[1].read() {
			t.Error("a turn is lost that nobody took")
		}
		if take() == nil {
			t.Fatal("an upload that hangs kept its turn")
		}
		if cut[0] != 0 || cut[1] != 0 || cut[2] != 1 || cut[3] != 0 {
			t.Errorf("cut off: %v, want the third", cut)
		}
		if each[2].hear() || each[2].read() || !errors.Is(each[2].wait(nil, time.Now()), errSlow) {
			t.Error("an upload that lost its turn goes on")
		}
		each[2].giveBack() // its handler ends, and takes nobody's turn with it
		if len(all.from["north"]) != maxIngestEach || all.total != maxIngestEach+1 {
			t.Errorf("%d turns of the gate, %d in all", len(all.from["north"]), all.total)
		}
		// Those that are stored do not lose theirs, however long it takes.
		for _, u := range each {
			u.read()
		}
		time.Sleep(time.Hour)
		if take() != nil {
			t.Error("an upload that is stored lost its turn")
		}
		for _, u := range each {
			u.giveBack()
		}
		if len(all.from["north"]) != 0 || all.total != 1 {
			t.Errorf("%d turns of the gate, %d in all after the end", len(all.from["north"]), all.total)
		}
		for i := range maxIngest {
			if got := all.take(string(rune('a'+i)), nil) != nil; got != (i < maxIngest-1) {
				t.Errorf("turn %d in all: %v", i+2, got)
			}
		}
	})
}

// closedPipe takes a deadline also when the other end has closed, as a connection does.
type closedPipe struct{ net.Conn }

func (c closedPipe) SetReadDeadline(t time.Time) error {
	if err := c.Conn.SetReadDeadline(t); !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}

// TestBodyByProgress: a body may be as slow as bodyRate, and no slower.
func TestBodyByProgress(t *testing.T) {
	for _, c := range []struct {
		what        string
		first       int           // bytes at once
		each        int           // and then so many
		every       time.Duration // so often
		whole       int
		takes, ends time.Duration // when it is read, or given up
	}{
		{"at once", 300_000, 0, 0, 300_000, time.Nanosecond, 0},
		{"slowly", 0, bodyRate, time.Second, passage.MaxBatchBytes, 256 * time.Second, 0},
		{"a quarter of that", 0, bodyRate / 4, time.Second, passage.MaxBatchBytes, 0, 13 * time.Second},
		{"a byte a second", 0, 1, time.Second, 1000, 0, 10 * time.Second},
		{"nothing", 0, 0, 0, 1000, 0, 10 * time.Second},
		{"nothing behind half of it", 500_000, 0, 0, 1_000_000, 0, 132 * time.Second},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				var sender sync.WaitGroup
				defer sender.Wait()
				defer ours.Close()
				sent := bytes.Repeat([]byte{7}, c.whole)
				sender.Go(func() {
					defer theirs.Close()
					at, step := 0, c.first
					for at < c.whole {
						n, err := theirs.Write(sent[at:min(at+step, c.whole)])
						if at += n; err != nil || at == c.whole {
							return
						}
						if step = c.each; step == 0 {
							// Until the other end closes.
							if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
								t.Errorf("the end: %v", err)
							}
							return
						}
						time.Sleep(c.every)
					}
				})
				u := newTurns().take("north", nil)
				begun := time.Now()
				data, err := u.readAll(ours, closedPipe{ours}, int64(c.whole))
				took := time.Since(begun).Truncate(time.Second)
				if c.ends > 0 {
					if !errors.Is(err, errSlow) || took != c.ends {
						t.Errorf("%v after %s, want errSlow after %s", err, took, c.ends)
					}
					return
				}
				if err != nil || !bytes.Equal(data, sent) || took > c.takes {
					t.Errorf("%d of %d bytes after %s: %v", len(data), c.whole, took, err)
				}
			})
		})
	}
}
