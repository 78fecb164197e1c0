package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"greengate/pass/statuslist"
)

// Whatever a thief of these keys drove up, the next root or targets without
// them brings every number down to the authority's.
func TestEachStolenKeyIsRecoveredFrom(t *testing.T) {
	for _, row := range []struct{ stolen, rotated []string }{
		{[]string{"timestamp"}, []string{"timestamp"}},
		{[]string{"timestamp", "snapshot"}, []string{"timestamp", "snapshot"}},
		{[]string{"timestamp", "snapshot"}, []string{"snapshot", "timestamp", "root"}},
		{[]string{"timestamp", "snapshot", "status-33"}, []string{"timestamp", "snapshot", "status-33"}},
		{[]string{"timestamp", "snapshot", "status-33", "status-44"}, []string{"timestamp", "snapshot", "status-33", "status-44"}},
	} {
		t.Run(strings.Join(row.stolen, " "), func(t *testing.T) {
			a := nation(t)
			d := newDevice(t, a, "33", "44")
			d.mustOnce()
			x := thief(a, row.stolen...)
			x.now = x.now.Add(9 * time.Minute) // as far as a clock is believed to be behind
			x.timestamp.Signed.Version = 1<<62 - 1
			if len(row.stolen) > 1 {
				x.snapshot.Signed.Version = 1<<62 - 1
			}
			var changed []string
			for _, role := range row.stolen {
				if !strings.HasPrefix(role, statusPrefix) {
					continue
				}
				changed = append(changed, role)
				x.targets[role].Signed.Version = 1<<62 - 1
				for uri, info := range x.infos {
					if roleOf(uri) == role {
						info.Sequence = statuslist.MaxSequence
						x.putList(info, 3)
					}
				}
			}
			if len(row.stolen) > 1 {
				for _, role := range changed {
					x.signRole(role)
				}
				x.signSnapshot()
			}
			x.signTimestamp()
			d.server.a = x
			if _, err := d.once(); err != nil {
				t.Fatalf("the thief holds the keys, yet: %v", err)
			}
			d.server.a = a
			a.list(hangzhou, 1)
			a.publish("status-33")
			if _, err := d.once(); !errors.Is(err, ErrRollback) {
				t.Errorf("before the rotation: got %v, want ErrRollback", err)
			}
			a.rotate(row.rotated...)
			a.list(canton, 2)
			a.publish("status-44")
			d.boot("33", "44")
			d.mustOnce()
			d.mustBeCurrent()
		})
	}
}

// One run has one time: what ends while it runs was good when it began, and
// the next run sees that it ended.
func TestOneReferenceTimeForARun(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33", "44")
	d.mustOnce()
	a.list(hangzhou, 3)
	a.publish("status-33")
	for _, ends := range []*time.Time{&a.timestamp.Signed.Expires, &a.snapshot.Signed.Expires, &a.targets["status-33"].Signed.Expires} {
		*ends = a.now.Add(time.Second)
	}
	md := a.targets["status-33"]
	data := sign(a, md, a.signers["status-33"])
	a.files[fmt.Sprintf("metadata/%d.status-33.json", md.Signed.Version)] = data
	meta := a.snapshot.Signed.Meta["status-33.json"]
	meta.Length, meta.Hashes = int64(len(data)), sha(data)
	data = sign(a, a.snapshot, a.signers["snapshot"])
	a.files[fmt.Sprintf("metadata/%d.snapshot.json", a.snapshot.Signed.Version)] = data
	meta = a.timestamp.Signed.Meta["snapshot.json"]
	meta.Length, meta.Hashes = int64(len(data)), sha(data)
	a.files[timestampFile] = sign(a, a.timestamp, a.signers["timestamp"])
	d.server.hostile = func(string) ([]byte, error) {
		d.now = d.now.Add(time.Minute) // a slow line
		return nil, nil
	}
	r := d.mustOnce()
	if !r.Reference.Equal(a.now) {
		t.Errorf("reference %s, want %s", r.Reference, a.now)
	}
	d.mustBeCurrent()
	d.server.hostile = nil
	if _, err := d.Once(context.Background()); !errors.Is(err, ErrExpired) {
		t.Errorf("a run that begins after the end: got %v, want ErrExpired", err)
	}
	a.now = d.now
	a.publish("status-33", "status-44", "keys", "policy", "targets")
	d.mustOnce()
	d.mustBeCurrent()
}

// A root that does without consistent snapshots: files lie under their bare
// names, and one that changed between two reads is refused, not mixed.
func TestWithoutConsistentSnapshots(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33", "44")
	d.mustOnce()
	a.root.Signed.Version++
	a.root.Signed.ConsistentSnapshot = false
	a.writeRoot(a.signers["root"]...)
	a.list(hangzhou, 3)
	a.publish("status-33")
	d.server.hostile = func(path string) ([]byte, error) {
		dir, name, _ := strings.Cut(path, "/")
		if dir == "metadata" && !strings.HasSuffix(name, ".root.json") && path != timestampFile {
			role := strings.TrimSuffix(name, ".json")
			switch role {
			case "snapshot":
				return a.files[fmt.Sprintf("metadata/%d.snapshot.json", a.snapshot.Signed.Version)], nil
			default:
				if md := a.targets[role]; md != nil {
					return a.files[fmt.Sprintf("metadata/%d.%s.json", md.Signed.Version, role)], nil
				}
			}
			return nil, fmt.Errorf("file %s: %w", path, ErrNotFound)
		}
		if name == "status/3301/0.tsl" {
			return a.files[listFile(a, hangzhou)], nil
		}
		if dir == "targets" {
			return nil, fmt.Errorf("file %s: %w", path, ErrNotFound)
		}
		return nil, nil
	}
	d.mustOnce()
	d.mustBeCurrent()
}

// Every transaction of the store fails in turn, and every fetch, and the two
// together, with keys rotated in between or not: the next run is complete.
func TestCutAnywhereAndRotated(t *testing.T) {
	broken := errors.New("input/output error")
	rotations := [][]string{nil, {"root", "timestamp", "snapshot", "targets", "keys", "policy", "status-33", "status-44"}}
	cuts := 0
	for _, rotated := range rotations {
		for fetch := 0; ; fetch++ {
			whole := true
			for commit := 0; ; commit++ {
				a := nation(t)
				d := newDevice(t, a, "33", "44")
				d.mustOnce()
				// Something of everything is new.
				a.rotate("root")
				a.issuer("3301")
				a.policy(2)
				a.list(hangzhou, 3)
				a.list(canton, 2)
				a.publish("keys", "policy", "status-33", "status-44", "targets")
				asked, first := 0, d.store.commits
				d.server.hostile = func(path string) ([]byte, error) {
					if asked++; asked == fetch {
						return nil, fmt.Errorf("file %s: %w", path, ErrUnavailable)
					}
					return nil, nil
				}
				failed := false
				d.store.onCommit = func(n int) error {
					if n == first+commit {
						failed = true
						return broken
					}
					return nil
				}
				_, err := d.once()
				whole = whole && asked < fetch
				if (failed || asked >= fetch && fetch > 0) && err == nil {
					t.Fatalf("fetch %d and commit %d failed, and nobody says so", fetch, commit)
				}
				d.server.hostile, d.store.onCommit = nil, nil
				if rotated != nil {
					a.rotate(rotated...)
					a.list(ningbo, 1)
					a.publish("status-33")
				}
				if commit%2 == 0 {
					d.boot("33", "44")
				}
				if _, err := d.once(); err != nil {
					t.Fatalf("after fetch %d and commit %d failed, %v rotated: %v", fetch, commit, rotated, err)
				}
				d.mustBeCurrent()
				if d.store.policy.Version != 2 || len(d.store.keys) != 1 {
					t.Errorf("after fetch %d and commit %d failed: policy %d", fetch, commit, d.store.policy.Version)
				}
				if cuts++; commit > 0 && !failed {
					break
				}
			}
			if whole && fetch > 0 {
				break
			}
		}
	}
	if cuts < 60 {
		t.Errorf("only %d cuts tried", cuts)
	}
}

// While a list of a rotated role does not come, the clock's floor and what guards
// against a rollback go on all the same.
func TestTimeGoesOnWhileARotatedRoleWaits(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.mustOnce()
	a.rotate("status-33")
	a.list(hangzhou, 3)
	a.publish("status-33")
	d.server.hostile = func(path string) ([]byte, error) {
		if strings.HasSuffix(path, ".tsl") {
			return nil, ErrNotFound
		}
		return nil, nil
	}
	for range 2 {
		a.now = a.now.Add(time.Hour)
		a.publish()
		if _, err := d.once(); !errors.Is(err, ErrNotFound) {
			t.Fatalf("got %v, want ErrNotFound", err)
		}
		if !d.store.floor.Equal(a.now) || !bytes.Equal(d.store.metadata["timestamp"], a.files[timestampFile]) {
			t.Errorf("floor %s, want %s; or another timestamp", d.store.floor, a.now)
		}
	}
	d.server.hostile = nil
	d.boot("33")
	d.mustOnce()
	d.mustBeCurrent()
}
