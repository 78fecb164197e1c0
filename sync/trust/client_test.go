package trust

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/gate"
	"greengate/pass/statuslist"
)

const (
	hangzhou = "https://h.example/3301/0"
	ningbo   = "https://h.example/3302/0"
	canton   = "https://h.example/4401/0"
)

// nation is an authority with two provinces and something of everything.
func nation(t testing.TB) *authority {
	t.Helper()
	a := newAuthority(t, "33", "44")
	a.issuer("33")
	a.policy(1)
	a.list(hangzhou, 0)
	a.list(ningbo, 0)
	a.list(canton, 0)
	a.publish("keys", "policy", "status-33", "status-44")
	return a
}

func TestEverythingComesIn(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33", "44")
	r := d.mustOnce()
	if want := []string{"keys", "policy", "map", hangzhou, ningbo, canton}; !slices.Equal(r.Installed, want) {
		t.Errorf("installed %v, want %v", r.Installed, want)
	}
	d.mustBeCurrent()
	if len(d.store.keys) != 1 || d.store.version != 2 || d.store.policy.Version != 1 || d.store.riskMap.Risk("330106") != gate.RiskLow {
		t.Errorf("keys %d at version %d, policy %d, map %+v", len(d.store.keys), d.store.version, d.store.policy.Version, d.store.riskMap)
	}
	if !d.store.floor.Equal(a.now) || !d.clock.FloorTime().Equal(a.now) {
		t.Errorf("floor on disk %s, of the clock %s, want %s", d.store.floor, d.clock.FloorTime(), a.now)
	}
	for uri, l := range d.store.lists {
		if !l.confirmed.Equal(a.now) {
			t.Errorf("list %s confirmed at %s, want %s", uri, l.confirmed, a.now)
		}
	}
}

func TestNothingChanged(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.mustOnce()
	commits := d.store.commits
	d.server.asked = nil
	r := d.mustOnce()
	if !r.Unchanged || r.Fetched > 1024 || d.store.commits != commits {
		t.Errorf("unchanged poll: %+v, %d commits; want at most 1024 bytes and no commit", r, d.store.commits-commits)
	}
	if want := []string{timestampFile}; !slices.Equal(d.server.asked, want) {
		t.Errorf("asked for %v, want %v", d.server.asked, want)
	}
	// A restart finds everything too, and looks for roots once.
	d.boot("33")
	r = d.mustOnce()
	if len(r.Installed) > 0 || d.store.commits != commits {
		t.Errorf("after a restart: %+v, %d commits, want none", r, d.store.commits-commits)
	}
}

// The hub says every minute that all is well. The clock hears it each time,
// the disk now and then.
func TestHeartbeatsDoNotWearTheCard(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.mustOnce()
	commits := d.store.commits
	for range 55 {
		a.now = a.now.Add(40 * time.Second)
		a.publish()
		d.server.asked = nil
		r := d.mustOnce()
		if !r.Unchanged || r.Fetched > 1024 || len(d.server.asked) != 1 || !d.clock.FloorTime().Equal(a.now) {
			t.Fatalf("heartbeat: %+v, asked for %v, floor %s", r, d.server.asked, d.clock.FloorTime())
		}
		if late := a.now.Sub(d.store.lists[hangzhou].confirmed); late >= writeEvery {
			t.Errorf("confirmed on disk %s ago, want less than %s", late, writeEvery)
		}
	}
	if n := d.store.commits - commits; n != 3 {
		t.Errorf("%d transactions in 55 minutes, want 3", n)
	}
	// What was kept in memory counts against a rollback.
	old := a.fork()
	a.publish()
	d.mustOnce()
	d.server.a = old
	if _, err := d.once(); !errors.Is(err, ErrRollback) {
		t.Errorf("an older timestamp: got %v, want ErrRollback", err)
	}
	d.server.a = a
	a.list(hangzhou, 3)
	a.publish("status-33")
	d.mustOnce()
	d.mustBeCurrent()
	// A policy with little patience is heard.
	p := gate.DefaultPolicy()
	p.Version, p.StaleAfter, p.TooOldAfter = 2, 120, 240
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	a.target("policy", "policy/policy.json", data, nil)
	a.publish("policy")
	d.mustOnce()
	a.now = a.now.Add(40 * time.Second)
	a.publish()
	d.mustOnce()
	if l := d.store.lists[hangzhou]; !l.confirmed.Equal(a.now) {
		t.Errorf("stale after two minutes, but confirmed at %s, want %s", l.confirmed, a.now)
	}
}

// A thief of the timestamp's key cannot drive a synchronised clock's floor up.
func TestSignedForTheFuture(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.mustOnce()
	floor := d.store.floor
	thief := a.fork()
	thief.now = thief.now.AddDate(0, 0, 29)
	thief.publish()
	d.server.a = thief
	for range 2 {
		if _, err := d.once(); !errors.Is(err, ErrFuture) {
			t.Errorf("got %v, want ErrFuture", err)
		}
	}
	if !d.store.floor.Equal(floor) || !d.clock.FloorTime().Equal(floor) {
		t.Errorf("floor %s, want %s", d.clock.FloorTime(), floor)
	}
}

func TestRecolourIsOneTransaction(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.mustOnce()
	commits := d.store.commits
	a.list(hangzhou, 3)
	a.publish("status-33")
	r := d.mustOnce()
	if want := []string{hangzhou}; !slices.Equal(r.Installed, want) || d.store.commits != commits+1 {
		t.Errorf("recolour: installed %v in %d transactions, want %v in one", r.Installed, d.store.commits-commits, want)
	}
	if c := d.store.colours(); c[hangzhou] != 3 || c[ningbo] != 0 {
		t.Errorf("colours %v", c)
	}
	if !d.store.lists[ningbo].confirmed.Equal(a.now) {
		t.Errorf("untouched list confirmed at %s, want %s", d.store.lists[ningbo].confirmed, a.now)
	}
}

func TestRegions(t *testing.T) {
	a := nation(t)
	for _, row := range []struct {
		regions []string
		want    []string
	}{
		{[]string{"33"}, []string{hangzhou, ningbo}},
		{[]string{"3302"}, []string{ningbo}},
		{[]string{"330106"}, []string{hangzhou}}, // a county lies in its prefecture's list
		{[]string{"3301", "44"}, []string{hangzhou, canton}},
		{nil, nil},
	} {
		d := newDevice(t, a, row.regions...)
		d.mustOnce()
		got := slices.Sorted(maps.Keys(d.store.lists))
		if !slices.Equal(got, row.want) {
			t.Errorf("regions %v hold %v, want %v", row.regions, got, row.want)
		}
	}
	d := newDevice(t, a, "55")
	if _, err := d.once(); !errors.Is(err, ErrNotFound) {
		t.Errorf("province without a role: got %v, want ErrNotFound", err)
	}
	if d.store.policy.Version != 1 {
		t.Error("a province without a role kept the policy out")
	}
}

func TestWantFetchesAnAbsentList(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "3301")
	d.mustOnce()
	if err := d.Want(canton); err != nil {
		t.Fatal(err)
	}
	if len(d.kick) != 1 {
		t.Error("Want does not start a run")
	}
	d.mustOnce()
	if d.store.colours()[canton] != 0 || len(d.store.lists) != 2 {
		t.Fatalf("held %v", d.store.colours())
	}
	// It is kept and kept up to date.
	a.list(canton, 2)
	a.publish("status-44")
	d.mustOnce()
	if d.store.colours()[canton] != 2 {
		t.Errorf("colour of the wanted list is %d, want 2", d.store.colours()[canton])
	}
	if err := d.Want("https://h.example/3301/77"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.once(); !errors.Is(err, ErrNotFound) {
		t.Errorf("list that nobody publishes: got %v, want ErrNotFound", err)
	}
	d.mustOnce() // and it is forgotten
	if err := d.Want("no list"); !errors.Is(err, ErrURI) {
		t.Errorf("got %v, want ErrURI", err)
	}
	for i := range maxWanted {
		if err := d.Want(fmt.Sprintf("https://h.example/3301/%d", 100+i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Want("https://h.example/3301/9999"); err == nil {
		t.Error("asked for more lists than may be waited for")
	}
}

func TestDroppedList(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.mustOnce()
	delete(a.targets["status-33"].Signed.Targets, "status/3302/0.tsl")
	a.publish("status-33")
	r := d.mustOnce()
	if want := []string{ningbo}; !slices.Equal(r.Dropped, want) || len(d.store.lists) != 1 {
		t.Errorf("dropped %v, held %v", r.Dropped, d.store.colours())
	}
}

// One list whose file is gone does not keep the other from the gate, nor its
// own old generation from answering; and it is finished when it is back.
func TestOneFailingList(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.mustOnce()
	before := a.now
	a.list(hangzhou, 3)
	a.list(ningbo, 2)
	a.policy(2)
	a.publish("status-33", "policy")
	lost := hashed("status/3301/0.tsl", a.targets["status-33"].Signed.Targets["status/3301/0.tsl"].Hashes["sha256"].String())
	d.server.hostile = func(path string) ([]byte, error) {
		if path == lost {
			return nil, fmt.Errorf("file %s: %w", path, ErrUnavailable)
		}
		return nil, nil
	}
	r, err := d.once()
	if !errors.Is(err, ErrUnavailable) || len(r.Failures) != 1 || r.Failures[0].What != hangzhou {
		t.Fatalf("failures %+v, error %v, want %s alone", r.Failures, err, hangzhou)
	}
	if c := d.store.colours(); c[hangzhou] != 0 || c[ningbo] != 2 || d.store.policy.Version != 2 {
		t.Errorf("colours %v, policy %d; want the old list and the rest new", c, d.store.policy.Version)
	}
	if l := d.store.lists[hangzhou]; !l.confirmed.Equal(before) {
		t.Errorf("the list that is behind is confirmed at %s, want %s", l.confirmed, before)
	}
	if l := d.store.lists[ningbo]; !l.confirmed.Equal(a.now) {
		t.Errorf("the list that came in is confirmed at %s, want %s", l.confirmed, a.now)
	}
	d.server.hostile = nil
	r = d.mustOnce()
	if want := []string{hangzhou}; !slices.Equal(r.Installed, want) {
		t.Errorf("then installed %v, want %v", r.Installed, want)
	}
	d.mustBeCurrent()
	if l := d.store.lists[hangzhou]; !l.confirmed.Equal(a.now) {
		t.Errorf("the list that came in late is confirmed at %s, want %s", l.confirmed, a.now)
	}
}

// A list that the store has no room for does not keep the others out, and is
// not called current.
func TestNoRoomForOneList(t *testing.T) {
	for _, refused := range []string{hangzhou, ningbo, canton} {
		a := nation(t)
		d := newDevice(t, a, "33", "44")
		d.mustOnce()
		before := a.now
		for _, uri := range []string{hangzhou, ningbo, canton} {
			a.list(uri, 3)
		}
		a.publish("status-33", "status-44")
		d.store.refuse = refused
		r, err := d.once()
		if !errors.Is(err, ErrStore) || !errors.Is(err, errNoRoom) || len(r.Failures) != 1 || r.Failures[0].What != refused {
			t.Errorf("failures %+v, error %v, want %s alone", r.Failures, err, refused)
		}
		for uri, l := range d.store.lists {
			colour, confirmed := byte(3), a.now
			if uri == refused {
				colour, confirmed = 0, before
			}
			if l.raw[0]&3 != colour || !l.confirmed.Equal(confirmed) {
				t.Errorf("no room for %s: list %s has colour %d, confirmed at %s, want %d at %s",
					refused, uri, l.raw[0]&3, l.confirmed, colour, confirmed)
			}
		}
		d.store.refuse = ""
		d.mustOnce()
		d.mustBeCurrent()
	}
}

// The store fails at each of its commits in turn: whatever was committed
// before stands, and the next run finishes.
func TestCutAtEachCommit(t *testing.T) {
	full := errors.New("no space left on device")
	for n := 1; ; n++ {
		a := nation(t)
		a.rotate("root")
		d := newDevice(t, a, "33", "44")
		// A transaction for each list, as large ones have it.
		d.limits.Batch = 1
		d.boot("33", "44")
		d.store.onCommit = func(commit int) error {
			if commit == n {
				return full
			}
			return nil
		}
		_, err := d.once()
		if err == nil {
			if n < 4 {
				t.Fatalf("only %d commits seen", n-1)
			}
			return
		}
		if !errors.Is(err, ErrStore) || !errors.Is(err, full) {
			t.Fatalf("commit %d: got %v, want ErrStore", n, err)
		}
		d.store.onCommit = nil
		d.boot("33", "44")
		d.mustOnce()
		d.mustBeCurrent()
	}
}

// The connection is cut at each file in turn.
func TestCutAtEachFile(t *testing.T) {
	for n := 0; ; n++ {
		a := nation(t)
		d := newDevice(t, a, "33", "44")
		asked := 0
		d.server.hostile = func(path string) ([]byte, error) {
			asked++
			if asked == n+1 {
				return nil, fmt.Errorf("file %s: %w", path, ErrUnavailable)
			}
			return nil, nil
		}
		_, err := d.once()
		if err == nil {
			if n < 8 {
				t.Fatalf("only %d files seen", n)
			}
			return
		}
		if !errors.Is(err, ErrUnavailable) {
			t.Fatalf("cut at file %d: got %v, want ErrUnavailable", n, err)
		}
		d.server.hostile = nil
		d.mustOnce()
		d.mustBeCurrent()
	}
}

func TestRootRotation(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.mustOnce()
	for _, role := range []string{"root", "targets", "snapshot", "timestamp", "root", "keys", "policy", "status-33"} {
		a.rotate(role)
		a.list(hangzhou, 3)
		a.publish("status-33")
		d.mustOnce()
		if d.store.lists[hangzhou].info.Sequence != a.infos[hangzhou].Sequence {
			t.Errorf("after the rotation of %s the gate does not follow", role)
		}
	}
	// A gate that slept through it all starts from the first root.
	late := newDevice(t, a, "33")
	r := late.mustOnce()
	if !slices.Contains(r.Installed, "root") {
		t.Errorf("installed %v, want root among them", r.Installed)
	}
	if root := late.store.metadata["root"]; !strings.Contains(string(root), fmt.Sprintf(`"version":%d`, a.root.Signed.Version)) {
		t.Error("the newest root is not stored")
	}
}

func TestRootNeedsBothThresholds(t *testing.T) {
	a := nation(t)
	old := a.signers["root"]
	a.root.Signed.Version++
	a.newRootKeys("root")
	for _, row := range []struct {
		name string
		by   []int // of the six keys, the first three are old
		want error
	}{
		{"new keys only", []int{3, 4, 5}, ErrSignature},
		{"old keys only", []int{0, 1, 2}, ErrSignature},
		{"one old, all new", []int{0, 3, 4, 5}, ErrSignature},
		{"all old, one new", []int{0, 1, 2, 5}, ErrSignature},
		{"two of each", []int{0, 2, 3, 4}, nil},
	} {
		all := slices.Concat(old, a.signers["root"])
		by := all[:0:0]
		for _, i := range row.by {
			by = append(by, all[i])
		}
		a.writeRoot(by...)
		d := newDevice(t, a, "33")
		if _, err := d.once(); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
}

// A thief drove every version up with stolen online keys. The authority
// rotates them; the gate follows, although all its numbers go down.
func TestFastForwardRecovery(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33", "44")
	d.mustOnce()

	thief := a.fork()
	thief.timestamp.Signed.Version = 1 << 50
	thief.snapshot.Signed.Version = 1 << 50
	thief.targets["status-33"].Signed.Version = 1 << 50
	for _, uri := range []string{hangzhou, ningbo} {
		info := thief.infos[uri]
		info.Sequence = statuslist.MaxSequence
		thief.putList(info, 0)
	}
	thief.publish("status-33")
	d.server.a = thief
	if _, err := d.once(); err != nil {
		t.Fatalf("the thief holds the keys, yet: %v", err)
	}
	if d.store.lists[hangzhou].info.Sequence != statuslist.MaxSequence {
		t.Fatal("the thief's list is not held")
	}

	a.now = thief.now
	d.server.a = a
	a.rotate("timestamp", "snapshot", "status-33")
	a.list(hangzhou, 3)
	a.list(ningbo, 3)
	a.publish("status-33")
	// Even when it does not go through at once.
	d.server.hostile = func(path string) ([]byte, error) {
		if strings.HasPrefix(path, "targets/status/3302/") {
			return nil, fmt.Errorf("file %s: %w", path, ErrUnavailable)
		}
		return nil, nil
	}
	if _, err := d.once(); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	if c := d.store.colours(); c[hangzhou] != 3 || c[ningbo] != 0 {
		t.Errorf("colours %v, want hangzhou's new one", c)
	}
	d.server.hostile = nil
	d.mustOnce()
	d.mustBeCurrent()
	if c := d.store.colours(); c[ningbo] != 3 {
		t.Errorf("colours %v, want the authority's again", c)
	}
}

// Each path has one role, whatever targets delegates.
func TestEachPathHasOneRole(t *testing.T) {
	a := newAuthority(t, "33", "44")
	for _, role := range []string{"release", "revocation"} {
		a.delegate(role, "*", "*/*", "*/*/*", "*/*/*/*")
	}
	targets := a.targets["targets"]
	for i := range targets.Signed.Delegations.Roles {
		targets.Signed.Delegations.Roles[i].Paths = []string{"*", "*/*", "*/*/*", "*/*/*/*"}
	}
	for path, owner := range map[string]string{
		"keys/keys.json": "keys", "policy/policy.json": "policy", "map/map.json": "map",
		"release/gated-arm64": "release", "revocation/eu/0c4b15512be91401/3f.ghl": "revocation", "revocation/EU.hrl": "",
		"status/33/0.tsl": "status-33", "status/330106/7.tsl": "status-33", "status/4401/0.tsl": "status-44",
		"release/a/b": "", "release": "", "keys/other.json": "", "status/3301/00.tsl": "", "status/3301/0.txt": "", "x": "",
	} {
		for _, role := range []string{"keys", "policy", "map", "release", "revocation", "status-33", "status-44"} {
			err := may(targets, role, path)
			if role == owner && err != nil || role != owner && !errors.Is(err, ErrDelegation) {
				t.Errorf("%s for %s: %v", path, role, err)
			}
		}
	}
	narrow := delegation(targets, "release")
	narrow.Paths = []string{"release/b*"}
	if err := may(targets, "release", "release/a"); !errors.Is(err, ErrDelegation) {
		t.Errorf("beyond what targets delegates: got %v, want ErrDelegation", err)
	}
}

// Each online key by itself, and all of them without a province's: whatever
// their thief signs, no colour, key, policy or map changes.
func TestEachStolenOnlineKeyAlone(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33", "44")
	d.mustOnce()
	before := d.store.content.clone()
	for _, stolen := range [][]string{{"timestamp"}, {"snapshot"}, {"status-33"}, {"status-44"}, {"timestamp", "snapshot"}, {"timestamp", "status-33"}, {"snapshot", "status-33"}} {
		for _, change := range []func(*authority){
			func(x *authority) { x.publish() },
			func(x *authority) { x.list(hangzhou, 3); x.publish("status-33") },
			func(x *authority) { x.list(canton, 3); x.publish("status-44") },
			func(x *authority) { x.issuer(""); x.publish("keys") },
			func(x *authority) { x.policy(9); x.publish("policy") },
			func(x *authority) { x.publish("targets") },
			func(x *authority) { x.rotate("root", "timestamp", "snapshot", "targets", "status-33") },
		} {
			d.store.content = before.clone()
			d.boot("33", "44")
			x := thief(a, stolen...)
			change(x)
			d.server.a = x
			if _, err := d.once(); err == nil && !slices.Contains(stolen, "timestamp") {
				t.Errorf("%v: nothing was refused", stolen)
			}
			if !maps.EqualFunc(d.store.lists, before.lists, func(x, y heldList) bool {
				return sameInfo(x.info, y.info) && slices.Equal(x.raw, y.raw)
			}) || d.store.version != before.version || d.store.policy != before.policy || d.store.riskMap.Version != before.riskMap.Version {
				t.Errorf("%v: %v, keys %d, policy %d", stolen, d.store.colours(), d.store.version, d.store.policy.Version)
			}
		}
	}
}

// A thief of one province's online key, with timestamp's and snapshot's
// beside it, recolours that province until the key is rotated. Nothing else.
func TestStolenOnlineKeys(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33", "44")
	d.mustOnce()
	before := d.store.content.clone()
	steal := func(change func(thief *authority)) error {
		thief := a.fork()
		// What lies offline, and the other province's key, the thief does not
		// have: its own keys sign in their place.
		for _, role := range []string{"root", "targets", "keys", "policy", "status-44"} {
			_, _, s := thief.newKey()
			thief.signers[role] = []signature.Signer{s}
		}
		change(thief)
		d.server.a = thief
		_, err := d.once()
		return err
	}
	for _, row := range []struct {
		name   string
		change func(*authority)
		want   error
	}{
		{"another province's list in its own role", func(x *authority) {
			x.listAt("status-33", "status/4401/0.tsl", statuslist.Info{URI: canton, Sequence: 9}, 3)
			x.publish("status-33")
		}, ErrDelegation},
		{"another province's URI under its own path", func(x *authority) {
			x.listAt("status-33", "status/3301/0.tsl", statuslist.Info{URI: canton, Sequence: 9}, 3)
			x.publish("status-33")
		}, ErrDelegation},
		{"the other province's role", func(x *authority) {
			x.list(canton, 3)
			x.publish("status-44")
		}, ErrSignature},
		{"new issuer keys", func(x *authority) {
			x.issuer("")
			x.publish("keys")
		}, ErrSignature},
		{"issuer keys in the province's role", func(x *authority) {
			x.target("status-33", "keys/keys.json", []byte("[]"), nil)
			x.publish("status-33")
		}, nil}, // nobody looks there
		{"a softer policy", func(x *authority) {
			x.policy(9)
			x.publish("policy")
		}, ErrSignature},
		{"wider paths", func(x *authority) {
			delegation(x.targets["targets"], "status-33").Paths = []string{"*/*", "*/*/*"}
			x.publish("targets")
		}, ErrSignature},
		{"a root of its own", func(x *authority) {
			x.root.Signed.Version++
			x.newRootKeys("root")
			x.writeRoot(x.signers["root"]...)
		}, ErrSignature},
	} {
		d.store.content = before.clone()
		d.boot("33", "44")
		if err := steal(row.change); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
		if d.store.version != before.version || d.store.policy != before.policy {
			t.Errorf("%s: keys or policy changed", row.name)
		}
		if l := d.store.lists[canton]; !sameInfo(l.info, before.lists[canton].info) || l.raw[0] != before.lists[canton].raw[0] {
			t.Errorf("%s: the other province's list changed", row.name)
		}
	}

	d.store.content = before.clone()
	d.boot("33", "44")
	err := steal(func(x *authority) {
		x.list(hangzhou, 3)
		x.publish("status-33")
	})
	if err != nil || d.store.colours()[hangzhou] != 3 {
		t.Fatalf("its own province the thief can recolour: colour %d, error %v", d.store.colours()[hangzhou], err)
	}
	// Until the keys are rotated.
	a.now = d.now
	d.server.a = a
	a.rotate("timestamp", "snapshot", "status-33")
	d.mustOnce()
	d.mustBeCurrent()
}

func TestClockUnset(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.synced = false
	d.now = time.Date(1970, 1, 1, 0, 0, 5, 0, time.UTC)
	r, err := d.Once(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !r.Reference.Equal(a.now) || !d.store.floor.Equal(a.now) {
		t.Errorf("reference %s, floor %s, want %s", r.Reference, d.store.floor, a.now)
	}
	// After a power cut the clock is in 1970 again; the floor stands, so a
	// timestamp of last week is refused although 1970 would take it.
	old := a.fork()
	a.now = a.now.AddDate(0, 0, 7)
	a.publish("status-33", "status-44", "keys", "policy")
	if _, err := d.Once(context.Background()); err != nil {
		t.Fatal(err)
	}
	d.boot("33")
	delete(d.store.metadata, "timestamp") // so that it is not the version that tells
	d.server.a = old
	if _, err := d.Once(context.Background()); !errors.Is(err, ErrExpired) {
		t.Errorf("got %v, want ErrExpired", err)
	}
}

func TestLeapNeedsAClock(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	d.mustOnce()
	floor := d.store.floor
	d.synced = false
	a.now = a.now.AddDate(0, 0, 40)
	a.list(hangzhou, 3)
	a.publish("targets", "keys", "policy", "status-33", "status-44")
	d.now = floor.Add(time.Hour) // was off for long, its battery ran down
	r, err := d.Once(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !r.Leap || !d.store.floor.Equal(floor) {
		t.Errorf("leap %v, floor %s, want it left at %s", r.Leap, d.store.floor, floor)
	}
	if d.store.colours()[hangzhou] != 3 {
		t.Error("the list behind the leap is not taken")
	}
	d.synced, d.now = true, a.now.Add(time.Second)
	r, err = d.Once(context.Background())
	if err != nil || r.Leap || !d.store.floor.Equal(a.now) {
		t.Errorf("with network time: leap %v, floor %s, error %v; want the floor at %s", r.Leap, d.store.floor, err, a.now)
	}
}

func TestDamagedStore(t *testing.T) {
	a := nation(t)
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "keys", "status-33"} {
		d := newDevice(t, a, "33")
		d.mustOnce()
		d.store.metadata[role] = []byte(`{"signed":{"_type":"` + strings.Split(role, "-")[0] + `","meta":{"snapshot.json":null},"targets":{"a":null}}}`)
		d.boot("33")
		d.mustOnce()
		d.mustOnce()
		if _, err := metadata.Targets().FromBytes(d.store.metadata["status-33"]); err != nil {
			t.Errorf("after a damaged %s: %v", role, err)
		}
	}
}

func TestNewRefusesABadRoot(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	for name, root := range map[string][]byte{
		"none":      nil,
		"garbage":   []byte("{"),
		"null keys": []byte(`{"signed":{"_type":"root","roles":{"root":null}},"signatures":[]}`),
		"timestamp": a.files[timestampFile],
		"unsigned":  []byte(strings.Replace(string(a.firstRoot()), `"sig":"`, `"sig":"00`, 3)),
	} {
		c := d.config
		c.Root = root
		if _, err := New(c); err == nil {
			t.Errorf("root %s was trusted", name)
		}
	}
	c := d.config
	c.Regions = []string{"Zhejiang"}
	if _, err := New(c); err == nil {
		t.Error("region in letters was taken")
	}
}
