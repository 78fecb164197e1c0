package trust

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"greengate/pass/hashlist"
)

// heldHashes is a hash list as the memory store holds it.
type heldHashes struct {
	info      hashlist.Info
	list      hashlist.List
	confirmed time.Time
}

func (m *memory) HashLists() []hashlist.Info {
	var infos []hashlist.Info
	for _, l := range m.hashes {
		infos = append(infos, l.info)
	}
	return infos
}

func (m *memory) StageHashes(info hashlist.Info, file []byte) error {
	l, err := hashlist.Parse(info.Scheme, file)
	if err != nil {
		return err
	}
	if info.ID == m.refuseHashes {
		return errNoRoom
	}
	if sha256.Sum256(file) != info.SHA256 || int64(l.Len()) != info.Entries {
		return errors.New("another list")
	}
	m.stagedHashes[info.ID] = heldHashes{info: info, list: l}
	return nil
}

func (m *memory) StageHashDelta(info hashlist.Info, changes []hashlist.Change) error {
	held, ok := m.hashes[info.ID]
	if !ok {
		return errors.New("not held")
	}
	l, err := hashlist.Apply(info.Scheme, held.list, changes)
	if err != nil {
		return err
	}
	return m.StageHashes(info, l.File())
}

func (x *memoryTx) PutHashes(info hashlist.Info) error {
	x.writes++
	l := x.hashes[info.ID]
	if l.info.SHA256 != info.SHA256 {
		if l = x.stagedHashes[info.ID]; l.info.SHA256 != info.SHA256 {
			return fmt.Errorf("list %s was not staged", info)
		}
	}
	x.hashes[info.ID] = heldHashes{info: info, list: l.list}
	return nil
}

func (x *memoryTx) DropHashes(id hashlist.ID) error {
	x.writes++
	delete(x.hashes, id)
	return nil
}

func (x *memoryTx) ConfirmHashes(ids []hashlist.ID, issued time.Time) error {
	for _, id := range ids {
		x.writes++
		l, ok := x.hashes[id]
		if !ok {
			return fmt.Errorf("list %s confirmed, but not held", id)
		}
		l.confirmed = issued
		x.hashes[id] = l
	}
	return nil
}

var (
	berlin = hashlist.ID{Scheme: hashlist.EU, KeyID: "0c4b15512be91401"}
	paris  = hashlist.ID{Scheme: hashlist.EU, KeyID: "53d05a1d94ce43b8"}
	boston = hashlist.ID{Scheme: hashlist.SHC, KeyID: "dca7dd83"}
)

// revoke puts the hash list of numbers from 0 to n into the role as the next
// generation, with a delta from the last.
func (a *authority) revoke(id hashlist.ID, n int) hashlist.Description {
	a.t.Helper()
	var entries []hashlist.Entry
	for i := range n {
		if h := hashlist.EUUCI(fmt.Sprint(i)); id.Contains(h) {
			entries = append(entries, hashlist.Entry{Hash: h})
		}
	}
	next, err := hashlist.New(id.Scheme, hashlist.Normal(entries))
	a.must(err)
	d := hashlist.Description{Info: hashlist.Info{ID: id, Sequence: 1, Issued: a.now, Expires: a.now.AddDate(0, 0, 30),
		Entries: int64(next.Len()), SHA256: sha256.Sum256(next.File())}}
	if t := a.targets[revocationRole].Signed.Targets[id.Path()]; t != nil {
		old, err := hashlist.ParseDescription(*t.Custom)
		a.must(err)
		before, err := hashlist.Parse(id.Scheme, a.files[hashed(id.Path(), t.Hashes["sha256"].String())])
		a.must(err)
		file, err := hashlist.MarshalDelta(id.Scheme, hashlist.Diff(before, next))
		a.must(err)
		d.Sequence = old.Sequence + 1
		d.Deltas = []hashlist.DeltaInfo{{From: old.Sequence, Issued: old.Issued, Before: old.SHA256, Size: int64(len(file)), SHA256: sha256.Sum256(file)}}
		a.files[hashed(id.DeltaPath(old.Sequence), fmt.Sprintf("%x", sha256.Sum256(file)))] = file
	}
	a.describeHashes(d, next.File())
	return d
}

func (a *authority) describeHashes(d hashlist.Description, file []byte) {
	a.t.Helper()
	custom, err := d.Marshal()
	a.must(err)
	a.target(revocationRole, d.Path(), file, custom)
}

// abroad is a nation that takes foreign codes, and a gate that does.
func abroad(t *testing.T) (*authority, *device) {
	t.Helper()
	a := nation(t)
	a.delegate(revocationRole, "revocation/*/*/*.ghl")
	a.revoke(berlin, 1000)
	a.revoke(paris, 0)
	a.revoke(boston, 50)
	a.publish("targets", revocationRole)
	d := newDevice(t, a, "33")
	d.foreign = []string{"eu", "shc"}
	d.boot("33")
	return a, d
}

// mustHold fails unless the gate holds exactly these many entries of each list.
func (d *device) mustHold(want map[hashlist.ID]int) {
	d.t.Helper()
	got := map[hashlist.ID]int{}
	for id, l := range d.store.hashes {
		got[id] = l.list.Len()
		if sha256.Sum256(l.list.File()) != l.info.SHA256 {
			d.t.Errorf("list %s held with bytes that are not its own", id)
		}
	}
	if !maps.Equal(got, want) {
		d.t.Errorf("held %v, want %v", got, want)
	}
}

// asked counts what was fetched for hash lists since the last call.
func (d *device) askedHashes() (lists, deltas int) {
	for _, path := range d.server.asked {
		if strings.HasSuffix(path, ".ghl") {
			lists++
		}
		if strings.HasSuffix(path, ".ghd") {
			deltas++
		}
	}
	d.server.asked = nil
	return lists, deltas
}

func TestHashListsComeIn(t *testing.T) {
	a, d := abroad(t)
	d.mustOnce()
	d.mustHold(map[hashlist.ID]int{berlin: 1000, paris: 0, boston: 50})
	for id, l := range d.store.hashes {
		if !l.confirmed.Equal(a.now) {
			t.Errorf("list %s confirmed at %s, want %s", id, l.confirmed, a.now)
		}
	}
	d.askedHashes()
	if r := d.mustOnce(); !r.Unchanged {
		t.Errorf("a second run: %+v", r)
	}
	d.boot("33")
	if r := d.mustOnce(); len(r.Installed) > 0 {
		t.Errorf("after a start: %+v", r)
	}

	// What changed comes as a delta, and nothing else of the role.
	a.revoke(berlin, 1010)
	a.publish(revocationRole)
	if r := d.mustOnce(); !slices.Equal(r.Installed, []string{berlin.String()}) {
		t.Errorf("installed %v", r.Installed)
	}
	if lists, deltas := d.askedHashes(); lists != 0 || deltas != 1 {
		t.Errorf("%d lists and %d deltas fetched, want a delta", lists, deltas)
	}
	d.mustHold(map[hashlist.ID]int{berlin: 1010, paris: 0, boston: 50})

	// A gate that was away longer than the delta reaches back fetches the list.
	a.revoke(berlin, 1020)
	a.revoke(berlin, 1030)
	a.publish(revocationRole)
	d.mustOnce()
	if lists, deltas := d.askedHashes(); lists != 1 || deltas != 0 {
		t.Errorf("%d lists and %d deltas fetched, want a list", lists, deltas)
	}
	d.mustHold(map[hashlist.ID]int{berlin: 1030, paris: 0, boston: 50})

	// A heartbeat confirms them.
	a.now = a.now.Add(20 * time.Minute)
	a.publish()
	d.mustOnce()
	if l := d.store.hashes[boston]; !l.confirmed.Equal(a.now) {
		t.Errorf("confirmed at %s, want %s", l.confirmed, a.now)
	}

	// The configuration changes.
	d.foreign = []string{"shc"}
	d.boot("33")
	d.mustOnce()
	d.mustHold(map[hashlist.ID]int{boston: 50})
	d.foreign = nil
	d.boot("33")
	d.mustOnce()
	d.mustHold(map[hashlist.ID]int{})
}

func TestOnlyConfiguredSchemes(t *testing.T) {
	_, d := abroad(t)
	d.foreign = nil
	d.boot("33")
	d.mustOnce()
	d.mustHold(map[hashlist.ID]int{})
	for _, path := range d.server.asked {
		if strings.Contains(path, revocationRole) {
			t.Errorf("asked for %s", path)
		}
	}
	d.foreign = []string{"nzcp"}
	if _, err := New(Config{Root: d.a.firstRoot(), Fetcher: d.server, Store: d.store, Clock: d.clock, Foreign: d.foreign, Log: d.config.Log}); err == nil {
		t.Error("a scheme without revocation lists was taken")
	}
}

// TestHashListsRefused: one list that is wrong keeps its old generation, and
// the others come in.
func TestHashListsRefused(t *testing.T) {
	for _, row := range []struct {
		what string
		do   func(a *authority)
		want error
	}{
		{"an older generation", func(a *authority) {
			d := a.revoke(berlin, 1010)
			d.Sequence, d.Deltas = 1, nil
			a.describeHashes(d, a.files[hashed(berlin.Path(), fmt.Sprintf("%x", d.SHA256))])
		}, ErrRollback},
		{"issued before the held one", func(a *authority) {
			d := a.revoke(berlin, 1010)
			d.Issued, d.Deltas = d.Issued.Add(-time.Hour), nil
			a.describeHashes(d, a.files[hashed(berlin.Path(), fmt.Sprintf("%x", d.SHA256))])
		}, ErrRollback},
		{"expired", func(a *authority) {
			d := a.revoke(berlin, 1010)
			d.Expires = d.Issued.Add(time.Second)
			a.describeHashes(d, a.files[hashed(berlin.Path(), fmt.Sprintf("%x", d.SHA256))])
		}, ErrExpired},
		{"issued after the timestamp", func(a *authority) {
			d := a.revoke(berlin, 1010)
			d.Issued = d.Issued.Add(time.Hour)
			a.describeHashes(d, a.files[hashed(berlin.Path(), fmt.Sprintf("%x", d.SHA256))])
		}, ErrMalformed},
		{"the description of another list", func(a *authority) {
			d := a.revoke(berlin, 1010)
			file := a.files[hashed(berlin.Path(), fmt.Sprintf("%x", d.SHA256))]
			d.KeyID, d.Deltas = "ff", nil
			custom, err := d.Marshal()
			a.must(err)
			a.target(revocationRole, berlin.Path(), file, custom)
		}, ErrDelegation},
		{"the description of another file", func(a *authority) {
			d := a.revoke(berlin, 1010)
			file := a.files[hashed(berlin.Path(), fmt.Sprintf("%x", d.SHA256))]
			d.SHA256[0] ^= 1
			a.describeHashes(d, file)
		}, ErrMalformed},
		{"no description", func(a *authority) {
			d := a.revoke(berlin, 1010)
			a.target(revocationRole, berlin.Path(), a.files[hashed(berlin.Path(), fmt.Sprintf("%x", d.SHA256))], nil)
		}, ErrMalformed},
		{"signed for, and no list", func(a *authority) {
			d := a.revoke(berlin, 1010)
			file := bytes.Clone(a.files[hashed(berlin.Path(), fmt.Sprintf("%x", d.SHA256))])
			file[len(file)-16] ^= 0xff // no longer sorted
			d.SHA256, d.Deltas = sha256.Sum256(file), nil
			a.describeHashes(d, file)
		}, ErrMalformed},
		{"other bytes than were signed for", func(a *authority) {
			d := a.revoke(berlin, 1010)
			for path, file := range a.files {
				if strings.Contains(path, fmt.Sprintf("%x", d.SHA256)) || strings.HasSuffix(path, ".ghd") {
					file = bytes.Clone(file)
					file[40] ^= 1
					a.files[path] = file
				}
			}
		}, ErrHash},
	} {
		t.Run(row.what, func(t *testing.T) {
			a, d := abroad(t)
			d.mustOnce()
			row.do(a)
			a.revoke(boston, 60)
			a.publish(revocationRole)
			if _, err := d.once(); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			d.mustHold(map[hashlist.ID]int{berlin: 1000, paris: 0, boston: 60})
			// The next good one comes in.
			next := a.fork()
			delete(next.targets[revocationRole].Signed.Targets, berlin.Path())
			var good hashlist.Description
			for good.Sequence < 5 {
				good = next.revoke(berlin, 1020+int(good.Sequence))
			}
			next.publish(revocationRole)
			d.server.a, d.a = next, next
			d.mustOnce()
			d.mustHold(map[hashlist.ID]int{berlin: 1024, paris: 0, boston: 60})
		})
	}
}

// TestHashDeltaOfAnotherKind: a delta that does not make what was signed is not
// used, and the list comes whole in the same run.
func TestHashDeltaOfAnotherKind(t *testing.T) {
	for _, what := range []string{"missing", "other bytes", "makes another list"} {
		t.Run(what, func(t *testing.T) {
			a, d := abroad(t)
			d.mustOnce()
			x := a.revoke(berlin, 1010)
			name := hashed(berlin.DeltaPath(1), fmt.Sprintf("%x", x.Deltas[0].SHA256))
			switch what {
			case "missing":
				delete(a.files, name)
			case "other bytes":
				file := bytes.Clone(a.files[name])
				file[20] ^= 1
				a.files[name] = file
			case "makes another list":
				file, err := hashlist.MarshalDelta(hashlist.EU, nil)
				a.must(err)
				x.Deltas[0].Size, x.Deltas[0].SHA256 = int64(len(file)), sha256.Sum256(file)
				a.files[hashed(berlin.DeltaPath(1), fmt.Sprintf("%x", sha256.Sum256(file)))] = file
				a.describeHashes(x, a.files[hashed(berlin.Path(), fmt.Sprintf("%x", x.SHA256))])
			}
			a.publish(revocationRole)
			d.askedHashes()
			d.mustOnce()
			if lists, deltas := d.askedHashes(); lists != 1 || deltas != 1 {
				t.Errorf("%d lists and %d deltas asked for", lists, deltas)
			}
			d.mustHold(map[hashlist.ID]int{berlin: 1010, paris: 0, boston: 50})
		})
	}
}

// TestDamagedHashListComesAnew: the store lost a list while nothing new was
// published.
func TestDamagedHashListComesAnew(t *testing.T) {
	_, d := abroad(t)
	d.mustOnce()
	if r := d.mustOnce(); !r.Unchanged {
		t.Fatalf("%+v", r)
	}
	delete(d.store.hashes, berlin)
	d.mustOnce()
	d.mustHold(map[hashlist.ID]int{berlin: 1000, paris: 0, boston: 50})
	if r := d.mustOnce(); !r.Unchanged {
		t.Errorf("and then %+v", r)
	}
}

func TestNoRoomForOneHashList(t *testing.T) {
	_, d := abroad(t)
	d.store.refuseHashes = berlin
	for range 3 {
		if _, err := d.once(); !errors.Is(err, ErrRoom) {
			t.Errorf("got %v, want %v", err, ErrRoom)
		}
	}
	d.mustHold(map[hashlist.ID]int{paris: 0, boston: 50})
	if lists, _ := d.askedHashes(); lists > 4 {
		t.Errorf("%d lists fetched in three polls", lists)
	}
	d.store.refuseHashes = hashlist.ID{}
	d.boot("33")
	d.mustOnce()
	d.mustHold(map[hashlist.ID]int{berlin: 1000, paris: 0, boston: 50})
}

// TestHashListsAreCutAnotherWay: while a part does not come, what was held
// before it goes on answering.
func TestHashListsAreCutAnotherWay(t *testing.T) {
	a, d := abroad(t)
	d.mustOnce()
	delete(a.targets[revocationRole].Signed.Targets, berlin.Path())
	want := map[hashlist.ID]int{paris: 0, boston: 50}
	var part hashlist.Description
	for digit := range 16 {
		id := berlin
		id.Part = fmt.Sprintf("%x", digit)
		part = a.revoke(id, 1000)
		want[id] = int(part.Entries)
	}
	a.publish(revocationRole)
	name := hashed(part.Path(), fmt.Sprintf("%x", part.SHA256))
	file := a.files[name]
	delete(a.files, name)
	if _, err := d.once(); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want %v", err, ErrNotFound)
	}
	if d.store.hashes[berlin].list.Len() != 1000 || len(d.store.hashes) != 3+15 {
		t.Errorf("%d lists held, want the old one beside 15 parts", len(d.store.hashes))
	}
	a.files[name] = file
	d.mustOnce()
	d.mustHold(want)
}

// TestStolenRevocationKey: it reaches no further than the hash lists, and a
// rotation takes back what it did.
func TestStolenRevocationKey(t *testing.T) {
	a, d := abroad(t)
	d.mustOnce()
	thief := a.fork()
	for range 5 {
		thief.revoke(berlin, 1)
	}
	list := thief.targets["status-33"].Signed.Targets["status/3301/0.tsl"]
	thief.targets[revocationRole].Signed.Targets["status/3301/0.tsl"] = list
	thief.targets[revocationRole].Signed.Targets["revocation/eu/0c/../../keys.ghl"] = list
	thief.publish(revocationRole)
	d.server.a, d.a = thief, thief
	d.mustOnce()
	d.mustHold(map[hashlist.ID]int{berlin: 1, paris: 0, boston: 50})

	a.now = thief.now
	a.timestamp.Signed.Version, a.snapshot.Signed.Version = thief.timestamp.Signed.Version+5, thief.snapshot.Signed.Version+5
	a.targets[revocationRole].Signed.Version = thief.targets[revocationRole].Signed.Version + 5
	a.rotate(revocationRole)
	d.server.a, d.a = a, a
	d.mustOnce()
	d.mustHold(map[hashlist.ID]int{berlin: 1000, paris: 0, boston: 50})
}

// TestCutDuringHashLists stops the store at each commit; the next run goes on.
func TestCutDuringHashLists(t *testing.T) {
	for cut := 1; ; cut++ {
		a, d := abroad(t)
		d.mustOnce()
		a.revoke(berlin, 1010)
		a.revoke(boston, 60)
		a.publish(revocationRole)
		cuts := 0
		d.store.onCommit = func(n int) error {
			if cuts++; cuts >= cut {
				return errors.New("power cut")
			}
			return nil
		}
		_, err := d.once()
		d.store.onCommit = nil
		if cuts < cut {
			if err != nil || cut < 3 {
				t.Errorf("%d commits, %v", cuts, err)
			}
			return
		}
		for id, l := range d.store.hashes {
			if sha256.Sum256(l.list.File()) != l.info.SHA256 {
				t.Errorf("cut at commit %d: list %s is neither the old nor the new one", cut, id)
			}
		}
		d.boot("33")
		d.mustOnce()
		d.mustHold(map[hashlist.ID]int{berlin: 1010, paris: 0, boston: 60})
	}
}
