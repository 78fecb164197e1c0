package trust

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/pass/statuslist"
)

// attack is one way of a hostile server or of a thief on the way, after the
// TUF specification 1.0, section 1.5.2.
type attack struct {
	name string
	// now is the honest state, old the one that the gate held before it. The
	// attack returns what the server answers with, path by path.
	server func(now, old *authority) func(path string) ([]byte, error)
	want   error
}

// answer serves one file in the place of another's.
func answer(path string, data []byte) func(string) ([]byte, error) {
	return func(p string) ([]byte, error) {
		if p == path {
			return data, nil
		}
		return nil, nil
	}
}

func serve(a *authority) func(string) ([]byte, error) {
	return func(p string) ([]byte, error) {
		if data, ok := a.files[p]; ok {
			return data, nil
		}
		return nil, fmt.Errorf("file %s: %w", p, ErrNotFound)
	}
}

func listFile(a *authority, uri string) string {
	path, _, err := pathOf(uri)
	a.must(err)
	return hashed(path, a.targets[roleOf(uri)].Signed.Targets[path].Hashes["sha256"].String())
}

var attacks = []attack{
	{"arbitrary software: list with other bytes of the same length", func(now, _ *authority) func(string) ([]byte, error) {
		path := listFile(now, hangzhou)
		forged := slices.Clone(now.files[path])
		forged[len(forged)-1] ^= 1
		return answer(path, forged)
	}, ErrHash},
	{"arbitrary software: list signed for, but packed from another", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		info := x.infos[hangzhou]
		info.Sequence++
		x.putList(info, 2)
		l, err := statuslist.FromRaw(bytes.Repeat([]byte{0xff}, 16), 2)
		x.must(err)
		data, err := l.MarshalCBOR()
		x.must(err)
		custom, err := x.infos[hangzhou].Marshal()
		x.must(err)
		x.target("status-33", "status/3301/0.tsl", data, custom)
		x.publish("status-33")
		return serve(x)
	}, ErrHash},
	{"arbitrary software: timestamp signed by a stranger", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		_, _, stranger := x.newKey()
		x.signers["timestamp"] = []signature.Signer{stranger}
		x.signTimestamp()
		return answer(timestampFile, x.files[timestampFile])
	}, ErrSignature},
	{"arbitrary software: targets signed by one of the two needed", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.signers["targets"] = x.signers["targets"][:1]
		x.publish("targets")
		return serve(x)
	}, ErrSignature},
	{"arbitrary software: one key signs twice under two names", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.signers["targets"] = x.signers["targets"][:1]
		x.targets["targets"].Signed.Version++
		md := x.targets["targets"]
		sign(x, md, x.signers["targets"])
		twin := md.Signatures[0]
		twin.KeyID = x.root.Signed.Roles["targets"].KeyIDs[1]
		md.Signatures = append(md.Signatures, twin)
		data, err := md.ToBytes(false)
		x.must(err)
		x.files[fmt.Sprintf("metadata/%d.targets.json", md.Signed.Version)] = data
		x.snapshot.Signed.Meta["targets.json"] = &metadata.MetaFiles{Version: md.Signed.Version}
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrSignature},
	{"arbitrary software: root that nobody trusts", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.root.Signed.Version++
		x.newRootKeys("root")
		x.newRootKeys("timestamp")
		x.writeRoot(x.signers["root"]...)
		x.publish()
		return serve(x)
	}, ErrSignature},
	{"rollback: an older timestamp", func(_, old *authority) func(string) ([]byte, error) {
		older := old.fork()
		older.timestamp.Signed.Version -= 2
		older.signTimestamp()
		return answer(timestampFile, older.files[timestampFile])
	}, ErrRollback},
	{"rollback: newer timestamp, older snapshot", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.snapshot.Signed.Version = old.snapshot.Signed.Version - 2
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrRollback},
	{"rollback: newer snapshot, older role", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.targets["status-33"].Signed.Version = old.targets["status-33"].Signed.Version - 2
		x.publish("status-33")
		return serve(x)
	}, ErrRollback},
	{"rollback: snapshot that leaves a role out", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		delete(x.snapshot.Signed.Meta, "status-44.json")
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrRollback},
	{"rollback: newer role, older list", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		info := old.infos[hangzhou]
		info.Sequence = 1
		x.putList(info, 1)
		x.publish("status-33")
		return serve(x)
	}, ErrRollback},
	{"rollback: another list with the held sequence", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.putList(old.infos[hangzhou], 1)
		x.publish("status-33")
		return serve(x)
	}, ErrRollback},
	{"rollback: signed time goes back", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.now = old.now.Add(-60e9)
		x.signTimestamp()
		return serve(x)
	}, ErrRollback},
	{"rollback: the current root again as the next one", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(fmt.Sprintf("metadata/%d.root.json", now.root.Signed.Version+1), now.firstRoot())
	}, ErrVersion},
	{"fast-forward: a root that skips one", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.root.Signed.Version += 2
		x.writeRoot(x.signers["root"]...)
		return answer("metadata/2.root.json", x.files["metadata/3.root.json"])
	}, ErrVersion},
	{"freeze: the timestamp has expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.Version++
		x.timestamp.Signed.Expires = now.now.Add(-1e9)
		x.timestamp.Signed.UnrecognizedFields["issued"] = now.now.Add(-2e9).Format("2006-01-02T15:04:05Z07:00")
		return answer(timestampFile, sign(x, x.timestamp, x.signers["timestamp"]))
	}, ErrExpired},
	{"freeze: the snapshot has expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.now = now.now.AddDate(0, 0, -8)
		x.signSnapshot()
		x.now = now.now
		x.signTimestamp()
		return serve(x)
	}, ErrExpired},
	{"freeze: the role has expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.list(hangzhou, 1)
		x.now = now.now.AddDate(0, 0, -91)
		x.signRole("status-33")
		x.now = now.now
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrExpired},
	{"freeze: the root has expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.root.Signed.Version++
		x.root.Signed.Expires = now.now.Add(-1e9)
		x.writeRoot(x.signers["root"]...)
		return serve(x)
	}, ErrExpired},
	{"mix and match: another snapshot than the timestamp's", func(now, old *authority) func(string) ([]byte, error) {
		path := fmt.Sprintf("metadata/%d.snapshot.json", now.snapshot.Signed.Version)
		return answer(path, old.files[fmt.Sprintf("metadata/%d.snapshot.json", old.snapshot.Signed.Version)])
	}, ErrHash},
	{"mix and match: another snapshot, and no hash to tell", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Version: x.snapshot.Signed.Version + 1}
		x.signTimestamp()
		x.files[fmt.Sprintf("metadata/%d.snapshot.json", x.snapshot.Signed.Version+1)] =
			x.files[fmt.Sprintf("metadata/%d.snapshot.json", x.snapshot.Signed.Version)]
		return serve(x)
	}, ErrVersion},
	{"mix and match: another role's metadata", func(now, _ *authority) func(string) ([]byte, error) {
		path := func(role string) string {
			return fmt.Sprintf("metadata/%d.%s.json", now.targets[role].Signed.Version, role)
		}
		return answer(path("status-33"), now.files[path("status-44")])
	}, ErrHash},
	{"mix and match: the list of another region", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(listFile(now, hangzhou), now.files[listFile(now, ningbo)])
	}, ErrHash},
	{"endless data: timestamp", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(timestampFile, noise(17<<10))
	}, ErrTooLarge},
	{"endless data: root", func(now, _ *authority) func(string) ([]byte, error) {
		return answer("metadata/2.root.json", noise(513<<10))
	}, ErrTooLarge},
	{"endless data: snapshot", func(now, _ *authority) func(string) ([]byte, error) {
		path := fmt.Sprintf("metadata/%d.snapshot.json", now.snapshot.Signed.Version)
		return answer(path, append(slices.Clone(now.files[path]), ' '))
	}, ErrTooLarge},
	{"endless data: list", func(now, _ *authority) func(string) ([]byte, error) {
		path := listFile(now, hangzhou)
		return answer(path, append(slices.Clone(now.files[path]), 0))
	}, ErrTooLarge},
	{"endless data: a list that unpacks to more than it says", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.list(hangzhou, 2)
		l, err := statuslist.New(1<<20, 2, 0)
		x.must(err)
		data, err := l.MarshalCBOR()
		x.must(err)
		custom, err := x.infos[hangzhou].Marshal()
		x.must(err)
		x.target("status-33", "status/3301/0.tsl", data, custom)
		x.publish("status-33")
		return serve(x)
	}, ErrTooLarge},
	{"cut in the middle: list", func(now, _ *authority) func(string) ([]byte, error) {
		path := listFile(now, hangzhou)
		return answer(path, now.files[path][:10])
	}, ErrHash},
	{"cut in the middle: snapshot", func(now, _ *authority) func(string) ([]byte, error) {
		path := fmt.Sprintf("metadata/%d.snapshot.json", now.snapshot.Signed.Version)
		return answer(path, now.files[path][:100])
	}, ErrHash},
	{"cut in the middle: timestamp", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(timestampFile, now.files[timestampFile][:100])
	}, ErrMalformed},
	{"withheld: timestamp", func(now, _ *authority) func(string) ([]byte, error) {
		return func(p string) ([]byte, error) {
			if p == timestampFile {
				return nil, fmt.Errorf("file %s: %w", p, ErrNotFound)
			}
			return nil, nil
		}
	}, ErrNotFound},
	{"null: no snapshot in the timestamp", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": nil}
		x.timestamp.Signed.Version++
		return answer(timestampFile, sign(x, x.timestamp, x.signers["timestamp"]))
	}, ErrMalformed},
	{"null: a role in the snapshot", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.snapshot.Signed.Meta["status-33.json"] = nil
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrMalformed},
	{"null: a role that the snapshot did not have", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.snapshot.Signed.Meta["release.json"] = nil
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrMalformed},
	{"null: a target", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.targets["status-33"].Signed.Targets["status/3301/9.tsl"] = nil
		x.publish("status-33")
		return serve(x)
	}, ErrMalformed},
	{"null: a delegated key", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.targets["targets"].Signed.Delegations.Keys[delegation(x.targets["targets"], "status-33").KeyIDs[0]] = nil
		x.publish("targets", "status-33")
		return serve(x)
	}, ErrMalformed},
	{"a timestamp that does not say when", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.Version++
		x.timestamp.Signed.UnrecognizedFields = nil
		return answer(timestampFile, sign(x, x.timestamp, x.signers["timestamp"]))
	}, ErrMalformed},
	{"a list without a description", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.list(hangzhou, 1)
		x.targets["status-33"].Signed.Targets["status/3301/0.tsl"].Custom = nil
		x.publish("status-33")
		return serve(x)
	}, ErrMalformed},
	{"key list that does not parse", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.target("keys", "keys/keys.json", []byte(`{"keys":`), nil)
		x.publish("keys")
		return serve(x)
	}, ErrMalformed},
	{"policy out of bounds", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.target("policy", "policy/policy.json", []byte(`{"fever_at_millicelsius":99000}`), nil)
		x.publish("policy")
		return serve(x)
	}, ErrMalformed},
}

// Each attack is refused with its reason, what was held answers unchanged, and
// the next good run goes through, after a restart too.
func TestAttacks(t *testing.T) {
	for _, row := range attacks {
		t.Run(row.name, func(t *testing.T) {
			a := nation(t)
			a.list(hangzhou, 0)
			a.publish("status-33")
			a.list(hangzhou, 0)
			a.publish("status-33", "targets")
			d := newDevice(t, a, "33", "44")
			d.mustOnce()
			old := a.fork()
			a.list(hangzhou, 3)
			a.publish("status-33")
			before := d.store.content.clone()

			d.server.hostile = row.server(a, old)
			_, err := d.once()
			if !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			held := d.store.lists[hangzhou]
			if s := held.info.Sequence; s != before.lists[hangzhou].info.Sequence && s != a.infos[hangzhou].Sequence || held.raw[0] != 0 && held.raw[0] != 0xff {
				t.Errorf("list %s is held at sequence %d with colour %d", hangzhou, s, held.raw[0]&3)
			}
			if !maps.EqualFunc(d.store.lists, before.lists, func(x, y heldList) bool {
				return x.info.URI == hangzhou || sameInfo(x.info, y.info)
			}) {
				t.Errorf("held %v, before %v", d.store.colours(), before.lists)
			}
			if d.store.version != before.version || d.store.policy != before.policy {
				t.Error("keys or policy changed")
			}
			d.server.hostile = nil
			a.outrun(d)
			d.boot("33", "44")
			d.mustOnce()
			d.mustBeCurrent()
		})
	}
}

// outrun publishes beyond what the gate has seen: some of these attacks
// are made with all of the authority's keys, and leave higher versions behind
// as any publish would.
func (a *authority) outrun(d *device) {
	a.t.Helper()
	a.timestamp.Signed.Version += 10
	a.snapshot.Signed.Version += 10
	for _, md := range a.targets {
		md.Signed.Version += 10
	}
	if root, err := metadata.Root().FromBytes(d.store.metadata["root"]); err == nil && root.Signed.Version > a.root.Signed.Version {
		a.root.Signed.Version = root.Signed.Version + 1
		a.files[fmt.Sprintf("metadata/%d.root.json", root.Signed.Version)] = d.store.metadata["root"]
		a.root.Signed.Expires = a.now.AddDate(1, 0, 0)
		a.writeRoot(a.signers["root"]...)
	}
	info := a.infos[hangzhou]
	info.Sequence += 10
	a.putList(info, 3)
	a.publish(slices.Collect(maps.Keys(a.targets))...)
}

// A run fetches no more than it may, over all files.
func TestTotalCap(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33", "44")
	d.config.Limits.Run = 6000
	r, err := d.once()
	if !errors.Is(err, ErrTooLarge) || r.Fetched > 6000 {
		t.Errorf("fetched %d bytes, error %v; want ErrTooLarge within 6000", r.Fetched, err)
	}
	a.root.Signed.Version++
	for range 300 {
		a.writeRoot(a.signers["root"]...)
		a.root.Signed.Version++
	}
	d = newDevice(t, a, "33")
	d.mustOnce()
	d.mustOnce()
	if root, err := metadata.Root().FromBytes(d.store.metadata["root"]); err != nil || root.Signed.Version != 257 {
		t.Errorf("one run followed the roots to %v, %v, want 257", root.Signed.Version, err)
	}
}
