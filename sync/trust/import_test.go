package trust

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// dead is a server that never answers.
type dead struct{ asked int }

func (d *dead) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	d.asked++
	<-ctx.Done()
	return nil, errors.Join(ErrUnavailable, ctx.Err())
}

// A stick brings everything in while the server is down, and the server goes on
// where the stick ended.
func TestImport(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33", "44")
	d.server.a = a.fork() // the server stays behind
	d.mustOnce()
	roots, status := d.rootsAt, d.Status()
	a.list(hangzhou, 3)
	a.publish("status-33")
	stick := &files{a: a}
	d.now = a.now
	r, err := d.Import(t.Context(), stick)
	if want := []string{hangzhou}; err != nil || !slices.Equal(r.Installed, want) {
		t.Fatalf("import: %+v, %v", r, err)
	}
	d.mustBeCurrent()
	if !d.rootsAt.Equal(roots) {
		t.Error("a stick counts as a look at the server's roots")
	}
	if now := d.Status(); now.LastTry != status.LastTry || now.LastOK != status.LastOK {
		t.Errorf("the server's status moved: %+v", now)
	}
	if len(d.kick) != 1 {
		t.Error("no poll follows the import")
	}
	// What came by stick counts against the server's rollback, and the same once
	// more is nothing new.
	if _, err := d.once(); !errors.Is(err, ErrRollback) {
		t.Errorf("the server is older than the stick: %v", err)
	}
	if r, err := d.Import(t.Context(), stick); err != nil || len(r.Installed) > 0 {
		t.Errorf("the same stick: %+v, %v", r, err)
	}
	d.server.a = a
	commits := d.store.commits
	if r := d.mustOnce(); len(r.Installed) > 0 || d.store.commits != commits {
		t.Errorf("the server has the same: %+v", r)
	}
	if r := d.mustOnce(); !r.Unchanged {
		t.Errorf("and then there is no news: %+v", r)
	}
}

// Bad sticks change nothing and say what is wrong with them.
func TestBadSticks(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(a, stick *authority, d *device)
		want  error
		words []string
	}{
		{"old", func(a, stick *authority, d *device) { a.publish("status-33"); d.mustOnce() }, ErrRollback, nil},
		{"expired", func(a, stick *authority, d *device) {
			stick.publish("status-33")
			d.now = stick.now.AddDate(0, 0, 3)
		}, ErrExpired, []string{"issued 2020-02-17T08:0", "expired on 2020-02-18T08:0"}},
		{"without a timestamp", func(a, stick *authority, d *device) { delete(stick.files, timestampFile) }, ErrNotFound, nil},
		{"without the snapshot", func(a, stick *authority, d *device) {
			stick.publish("status-33")
			for path := range stick.files {
				if strings.HasSuffix(path, ".snapshot.json") {
					delete(stick.files, path)
				}
			}
		}, ErrNotFound, nil},
		{"of somebody else", func(a, stick *authority, d *device) {
			other := a.fork()
			other.newRootKeys("timestamp")
			other.publish("status-33")
			stick.files = other.files
		}, ErrSignature, nil},
		{"tampered with", func(a, stick *authority, d *device) {
			a.list(hangzhou, 3)
			a.publish("status-33")
			d.now = a.now
			stick.files = maps.Clone(a.files)
			for path, data := range stick.files {
				if strings.HasSuffix(path, ".0.tsl") {
					bad := slices.Clone(data)
					bad[len(bad)-1] ^= 1
					stick.files[path] = bad
				}
			}
		}, ErrHash, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := nation(t)
			d := newDevice(t, a, "33", "44")
			d.mustOnce()
			stick := a.fork()
			d.now = a.now
			row.spoil(a, stick, d)
			before := d.store.colours()
			r, err := d.Import(t.Context(), &files{a: stick})
			if !errors.Is(err, row.want) || len(r.Installed) > 0 {
				t.Errorf("got %v, installed %v, want %v", err, r.Installed, row.want)
			}
			for _, word := range row.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			for uri, colour := range d.store.colours() {
				if before[uri] != colour {
					t.Errorf("list %s has another colour", uri)
				}
			}
			// The next good word of the server is taken.
			a.now = d.now
			a.list(hangzhou, 2)
			a.publish("status-33", "status-44", "keys", "policy", "targets")
			d.mustOnce()
			d.mustBeCurrent()
		})
	}
}

// A stick holds what it holds: a list that somebody at the gate asked for stays
// asked for when the stick has it not, and one that rests after it failed is
// tried.
func TestImportOfAPart(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "3301")
	d.mustOnce()
	if err := d.Want(canton); err != nil {
		t.Fatal(err)
	}
	a.list(hangzhou, 2)
	a.publish("status-33")
	part := &authority{files: map[string][]byte{}}
	for path, data := range a.files {
		if !strings.Contains(path, "/4401/") && !strings.Contains(path, "status-44") {
			part.files[path] = data
		}
	}
	d.now = a.now
	r, err := d.Import(t.Context(), &files{a: part})
	if !errors.Is(err, ErrNotFound) || !slices.Equal(r.Installed, []string{hangzhou}) || len(r.Failures) != 1 || r.Failures[0].Role != "status-44" {
		t.Errorf("%+v, %v", r, err)
	}
	if !d.wanted[canton] {
		t.Error("what the stick has not is not asked for any more")
	}
	d.mustOnce()
	if d.store.colours()[canton] != 0 || len(d.store.lists) != 2 {
		t.Errorf("held %v", d.store.colours())
	}
}

// An import does not wait for a server that does not answer, and the poll
// begins again right after.
func TestImportCutsAPollShort(t *testing.T) {
	a := nation(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, a, "33")
		server := &dead{}
		d.config.Fetcher = server
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		d.now = a.now
		begin := time.Now()
		if _, err := d.Import(t.Context(), &files{a: a}); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		d.mustBeCurrent()
		if s := d.Status(); s.LastError != nil {
			t.Errorf("the poll that gave way is an error: %v", s.LastError)
		}
		time.Sleep(restAfter + time.Second)
		synctest.Wait()
		if server.asked != 2 {
			t.Errorf("the server was asked %d times, want twice", server.asked)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A server that feeds a run for ever does not keep the next one from starting.
func TestRunEnds(t *testing.T) {
	a := nation(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, a, "33")
		d.config.Fetcher = &dead{}
		d.config.Log = slog.New(slog.DiscardHandler)
		begin := time.Now()
		if _, err := d.Once(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != longestRun {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}
