package publisher

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/statuslist"
)

var start = time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)

// desk is a publisher on folders of its own, with a clock that the test sets.
type desk struct {
	*Publisher
	t          *testing.T
	keys, repo string
	now        time.Time
}

func newDesk(t *testing.T, provinces ...string) *desk {
	t.Helper()
	d := &desk{t: t, keys: filepath.Join(t.TempDir(), "keys"), repo: filepath.Join(t.TempDir(), "repo"), now: start}
	p, err := Init(d.keys, d.repo, d.options(provinces...))
	if err != nil {
		t.Fatal(err)
	}
	d.Publisher = p
	return d
}

func (d *desk) options(provinces ...string) Options {
	return Options{Provinces: provinces, Now: func() time.Time { return d.now }, Keep: 3}
}

func (d *desk) publish(c Contents) Version {
	d.t.Helper()
	d.now = d.now.Add(20 * time.Second)
	c.Issued = d.now
	v, err := d.Publish(context.Background(), c)
	if err != nil {
		d.t.Fatal(err)
	}
	return v
}

// files returns the paths of the repository's files, relative to it.
func (d *desk) files() []string {
	d.t.Helper()
	var paths []string
	err := filepath.WalkDir(d.repo, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, rerr := filepath.Rel(d.repo, path)
			paths, err = append(paths, rel), rerr
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return paths
}

// list is a list of 64 codes, all with the same two bits.
func list(uri string, colour byte) List {
	return List{Info: statuslist.Info{URI: uri, Bits: 2}, Raw: bytes.Repeat([]byte{colour * 0x55}, 16)}
}

func issuer(t *testing.T) []pass.Key {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return []pass.Key{{ID: []byte("k1"), Algorithm: pass.EdDSA, Public: public, Use: pass.UseCode, Region: "33",
		NotBefore: start, NotAfter: start.AddDate(1, 0, 0)}}
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	d := newDesk(t, "33", "44")
	policy := gate.DefaultPolicy()
	policy.Version = 1
	v := d.publish(Contents{Keys: issuer(t), Policy: policy, Lists: []List{
		list("https://h.example/3301/0", 0), list("https://h.example/3301/1", 0), list("https://h.example/4401/0", 0),
	}})
	if want := []string{"keys", "policy", "status-33", "status-44"}; !slices.Equal(v.Signed, want) {
		t.Errorf("signed %v, want %v", v.Signed, want)
	}
	if len(v.Lists) != 3 || v.Lists[0].Sequence != 1 {
		t.Errorf("lists %+v, want three with sequence 1", v.Lists)
	}
	before := d.files()

	v = d.publish(Contents{Policy: policy, Lists: []List{list("https://h.example/3301/0", 3), list("https://h.example/3301/1", 0)}})
	if want := []string{"status-33"}; !slices.Equal(v.Signed, want) {
		t.Errorf("recolour signed %v, want %v", v.Signed, want)
	}
	if len(v.Lists) != 1 || v.Lists[0].URI != "https://h.example/3301/0" || v.Lists[0].Sequence != 2 {
		t.Errorf("recolour wrote lists %+v, want 3301/0 with sequence 2 alone", v.Lists)
	}
	var fresh []string
	for _, f := range d.files() {
		if !slices.Contains(before, f) {
			fresh = append(fresh, f)
		}
	}
	// The list, the role and the snapshot; timestamp.json is replaced.
	if len(fresh) != 3 {
		t.Errorf("recolour wrote %v, want three files", fresh)
	}

	v = d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 3)}})
	if len(v.Signed) != 0 || v.Snapshot != 3 || v.Timestamp != 4 {
		t.Errorf("nothing changed: %+v, want a new timestamp only", v)
	}
	v = d.publish(Contents{Drop: []string{"https://h.example/3301/1"}})
	infos, err := d.Lists()
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) != 2 || infos[0].URI != "https://h.example/3301/0" || infos[1].URI != "https://h.example/4401/0" {
		t.Errorf("after a drop the lists are %+v", infos)
	}
	if !v.Issued.Equal(d.now) {
		t.Errorf("issued %s, want %s", v.Issued, d.now)
	}
}

func TestRecolourNeedsOnlyOnlineKeys(t *testing.T) {
	d := newDesk(t, "33")
	if err := os.RemoveAll(filepath.Join(d.keys, "offline")); err != nil {
		t.Fatal(err)
	}
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 3)}})

	_, err := d.Publish(context.Background(), Contents{Issued: d.now, Keys: issuer(t)})
	if !errors.Is(err, ErrOfflineKeys) || !strings.Contains(err.Error(), "bring the offline keys") {
		t.Errorf("new issuer key without offline keys: got %v, want ErrOfflineKeys with the next step", err)
	}
	if _, err := d.RotateRoot(context.Background()); !errors.Is(err, ErrOfflineKeys) {
		t.Errorf("root rotation without offline keys: got %v, want ErrOfflineKeys", err)
	}
	if _, err := d.AddProvinces(context.Background(), "44"); !errors.Is(err, ErrOfflineKeys) {
		t.Errorf("new province without offline keys: got %v, want ErrOfflineKeys", err)
	}
	if err := os.RemoveAll(filepath.Join(d.keys, "online")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Heartbeat(context.Background()); !errors.Is(err, ErrOnlineKeys) {
		t.Errorf("heartbeat without online keys: got %v, want ErrOnlineKeys", err)
	}
}

func TestTwoOfThreeAreEnough(t *testing.T) {
	d := newDesk(t, "33")
	for _, name := range []string{"root-2.pem", "targets-1.pem"} {
		if err := os.Remove(filepath.Join(d.keys, "offline", name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.AddProvinces(context.Background(), "44"); err != nil {
		t.Errorf("new province with two of three keys: %v", err)
	}
	if _, err := d.RotateRoot(context.Background()); err != nil {
		t.Errorf("root rotation with two of three keys: %v", err)
	}
	if _, err := Open(d.keys, d.repo, d.options()); err != nil {
		t.Error(err)
	}
}

func TestKeyFilesAreSecret(t *testing.T) {
	d := newDesk(t, "33")
	want := map[string]int{"offline": 12, "online": 5}
	for folder, count := range want {
		entries, err := os.ReadDir(filepath.Join(d.keys, folder))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != count {
			t.Errorf("%d keys %s, want %d", len(entries), folder, count)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %o, want 600", e.Name(), info.Mode().Perm())
			}
		}
	}
	if _, err := Init(d.keys, d.repo, d.options("33")); !errors.Is(err, ErrExists) {
		t.Errorf("second Init: got %v, want ErrExists", err)
	}
}

func TestOldGenerationsAreKeptForAWhile(t *testing.T) {
	d := newDesk(t, "33")
	for i := range 8 {
		d.publish(Contents{Lists: []List{list("https://h.example/3301/0", byte(i%4))}})
	}
	count := map[string]int{}
	for _, f := range d.files() {
		switch {
		case strings.HasSuffix(f, ".snapshot.json"):
			count["snapshot"]++
		case strings.HasSuffix(f, ".status-33.json"):
			count["status"]++
		case strings.HasSuffix(f, ".tsl"):
			count["list"]++
		case strings.HasSuffix(f, ".root.json"):
			count["root"]++
		}
	}
	for name, want := range map[string]int{"snapshot": 3, "status": 3, "list": 3, "root": 1} {
		if count[name] != want {
			t.Errorf("%d files of %s after 8 publishes with Keep 3, want %d", count[name], name, want)
		}
	}
}

// A publish that is cut at any file leaves the generation before it visible,
// and the next publish goes through.
func TestCutPublish(t *testing.T) {
	d := newDesk(t, "33")
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 0)}})
	timestamp, err := os.ReadFile(timestampPath(d.repo))
	if err != nil {
		t.Fatal(err)
	}
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 3)}})
	// Everything but the last rename has happened, and a temporary file is left.
	if err := os.WriteFile(timestampPath(d.repo), timestamp, 0o644); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(d.repo, "targets", "status", "3301", tempPrefix+"1")
	if err := os.WriteFile(stray, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	infos, err := d.Lists()
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) != 1 || infos[0].Sequence != 1 {
		t.Fatalf("after the cut %+v is visible, want sequence 1", infos)
	}
	v := d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 2)}})
	if v.Snapshot != 3 || v.Lists[0].Sequence != 2 {
		t.Errorf("publish after the cut: %+v, want snapshot 3 and sequence 2", v)
	}
	if _, err := os.Stat(stray); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("temporary file was not swept: %v", err)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	d := newDesk(t, "33")
	d.publish(Contents{})
	_, err := d.Publish(context.Background(), Contents{Issued: d.now.Add(-time.Hour)})
	if !errors.Is(err, ErrIssued) {
		t.Errorf("publish an hour back: got %v, want ErrIssued", err)
	}
}

func TestRefusedLists(t *testing.T) {
	d := newDesk(t, "33")
	big := list("https://h.example/3301/0", 0)
	big.Raw = make([]byte, statuslist.MaxSize+1)
	odd := list("https://h.example/3301/0", 0)
	odd.Info.Bits = 3
	tomorrow := list("https://h.example/3301/0", 0)
	tomorrow.Info.Issued = d.now.AddDate(0, 0, 1)
	for _, row := range []struct {
		name string
		list List
		want error
	}{
		{"no number", list("https://h.example/3301", 0), ErrURI},
		{"five digits", list("https://h.example/33010/0", 0), ErrURI},
		{"leading zero", list("https://h.example/3301/00", 0), ErrURI},
		{"way out", list("https://h.example/3301/../4401/0", 0), ErrProvince}, // the path is made of the last two parts alone
		{"foreign province", list("https://h.example/4401/0", 0), ErrProvince},
		{"too large", big, ErrList},
		{"empty", List{Info: statuslist.Info{URI: "https://h.example/3301/0", Bits: 2}}, ErrList},
		{"three bits", odd, ErrList},
		{"from tomorrow", tomorrow, ErrList},
	} {
		_, err := d.Publish(context.Background(), Contents{Issued: d.now, Lists: []List{row.list}})
		if !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
}

// Somebody with write access to the web folder must not get their change
// signed by the next publish.
func TestForeignChangeIsNotSigned(t *testing.T) {
	d := newDesk(t, "33")
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 0)}})
	for _, name := range []string{"timestamp.json", "2.snapshot.json", "1.targets.json", "2.status-33.json", "1.root.json"} {
		path := filepath.Join(d.repo, "metadata", name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		forged := bytes.Replace(data, []byte(`"version":`), []byte(`"x":1,"version":`), 1)
		if err := os.WriteFile(path, forged, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Heartbeat(context.Background()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s changed: got %v, want ErrDamaged", name, err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRotation(t *testing.T) {
	d := newDesk(t, "33")
	ctx := context.Background()
	for i, role := range []string{"timestamp", "snapshot", "targets", "root", "keys", "policy", "map", "release", "status-33"} {
		v, err := d.Rotate(ctx, role)
		if err != nil {
			t.Fatalf("rotate %s: %v", role, err)
		}
		if want := int64(min(i+2, 5)); v.Root != want {
			t.Errorf("after %s root is at %d, want %d", role, v.Root, want)
		}
		d.publish(Contents{Lists: []List{list("https://h.example/3301/0", byte(i%4))}})
	}
	if _, err := d.Rotate(ctx, "nobody"); !errors.Is(err, ErrRole) {
		t.Errorf("rotate an unknown role: got %v, want ErrRole", err)
	}
	retired, err := os.ReadDir(filepath.Join(d.keys, "offline", "retired"))
	if err != nil {
		t.Fatal(err)
	}
	if len(retired) != 12 {
		t.Errorf("%d offline keys retired, want 10", len(retired))
	}
}

// Between a new root and the timestamp signed by its key, the process may die.
func TestCutRotation(t *testing.T) {
	d := newDesk(t, "33")
	timestamp, err := os.ReadFile(timestampPath(d.repo))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Rotate(context.Background(), "timestamp"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(timestampPath(d.repo), timestamp, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Heartbeat(context.Background()); err != nil {
		t.Fatal(err)
	}
	r, err := loadRepository(d.repo)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.resign) != 0 {
		t.Errorf("still signed by old keys: %v", r.resign)
	}
}

// The disk with the online keys is lost, and days later, when all that they sign
// is due, somebody comes with the stick: one role after another gets new keys,
// and one that is tried too early leaves everything as it was.
func TestLostOnlineKeys(t *testing.T) {
	d := newDesk(t, "31", "33")
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 1)}})
	d.now = d.now.Add(6 * 24 * time.Hour)
	if err := os.RemoveAll(filepath.Join(d.keys, "online")); err != nil {
		t.Fatal(err)
	}
	before := d.files()
	for _, early := range []string{"snapshot", "status-33"} {
		if _, err := d.Rotate(context.Background(), early); !errors.Is(err, ErrOnlineKeys) {
			t.Errorf("rotate %s before the keys that sign after it: got %v, want ErrOnlineKeys", early, err)
		}
		if err := os.RemoveAll(filepath.Join(d.keys, "online")); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.files(); !slices.Equal(got, before) {
		t.Errorf("a rotation that failed left %q, there were %q", got, before)
	}
	for _, role := range []string{"timestamp", "snapshot", "status-33", "map", "status-31", "revocation"} {
		if _, err := d.Rotate(context.Background(), role); err != nil {
			t.Fatalf("rotate %s: %v", role, err)
		}
	}
	v := d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 2)}})
	if v.Root != 3 || !slices.Contains(v.Signed, "status-33") {
		t.Errorf("publish after all that: %+v", v)
	}
}

func TestRenewal(t *testing.T) {
	d := newDesk(t, "33")
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 0)}})
	hidden := filepath.Join(d.keys, "away")
	if err := os.Rename(filepath.Join(d.keys, "offline"), hidden); err != nil {
		t.Fatal(err)
	}
	d.now = d.now.Add(4 * 24 * time.Hour)
	v, err := d.Heartbeat(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"map", "revocation", "status-33"}; !slices.Equal(v.Signed, want) {
		t.Errorf("after 4 days signed %v, want %v", v.Signed, want)
	}
	d.now = d.now.Add(50 * 24 * time.Hour)
	if _, err := d.Heartbeat(context.Background()); err != nil {
		t.Fatal(err)
	}
	due, err := d.Expiring(d.now)
	if err != nil {
		t.Fatal(err)
	}
	if len(due) != 3 || due[0].Role == due[1].Role || due[1].Role == due[2].Role {
		t.Errorf("due after 54 days: %+v, want keys, policy and release", due)
	}
	if err := os.Rename(hidden, filepath.Join(d.keys, "offline")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Renew(context.Background()); err != nil {
		t.Fatal(err)
	}
	if due, err = d.Expiring(d.now); err != nil || len(due) != 0 {
		t.Errorf("after Renew due are %+v, error %v", due, err)
	}
}

// Whoever publishes names only the lists that changed; one that nobody
// recolours must not run out under the gates that have yet to fetch it.
func TestUnchangedListsAreRenewed(t *testing.T) {
	d := newDesk(t, "33")
	first := d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 2)}}).Lists[0]
	for day := range 40 {
		d.now = d.now.Add(24 * time.Hour)
		v, err := d.Heartbeat(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		infos, err := d.Lists()
		if err != nil {
			t.Fatal(err)
		}
		if left := infos[0].Expires.Sub(d.now); left < 15*24*time.Hour {
			t.Fatalf("day %d: the list has %s left, want half its life", day+1, left)
		}
		if len(v.Lists) > 0 && v.Lists[0] != infos[0] {
			t.Errorf("day %d: published %+v, visible is %+v", day+1, v.Lists[0], infos[0])
		}
	}
	infos, err := d.Lists()
	if err != nil {
		t.Fatal(err)
	}
	// The bits are those of the first publish, so codes issued since are newer than they.
	if i := infos[0]; !i.Issued.Equal(first.Issued) || i.SHA256 != first.SHA256 || i.Sequence != first.Sequence+2 {
		t.Errorf("after 40 days %+v, want the bits and time of %+v, two sequences on", i, first)
	}
}

// What the disk lost is written again when it is named, though it did not change.
func TestLostTargetIsWrittenAgain(t *testing.T) {
	d := newDesk(t, "33")
	keys := issuer(t)
	all := Contents{Keys: keys, Lists: []List{list("https://h.example/3301/0", 2)}}
	d.publish(all)
	for _, f := range d.files() {
		if strings.HasPrefix(f, "targets/keys/") {
			if err := os.Truncate(filepath.Join(d.repo, f), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.RemoveAll(filepath.Join(d.repo, "targets", "status")); err != nil {
		t.Fatal(err)
	}
	d.publish(all)
	r, err := loadRepository(d.repo)
	if err != nil {
		t.Fatal(err)
	}
	for role, md := range r.targets {
		for path, target := range md.Signed.Targets {
			data, err := os.ReadFile(targetPath(d.repo, path, target))
			if err != nil {
				t.Errorf("role %s: %v", role, err)
			} else if err := target.VerifyLengthHashes(data); err != nil {
				t.Errorf("role %s, target %s: %v", role, path, err)
			}
		}
	}
}

// An old generation that the disk lost is no reason to call a publish failed.
func TestLostOldGeneration(t *testing.T) {
	d := newDesk(t, "33")
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 0)}})
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 1)}})
	if err := os.Remove(metadataPath(d.repo, "status-33", 2)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(metadataPath(d.repo, "snapshot", 2), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if v := d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 3)}}); v.Snapshot != 4 {
		t.Errorf("snapshot %d, want 4", v.Snapshot)
	}
}

// Who brings the offline folder back for one publish has renewed all that is
// due, root too; a key file that does not read stops no recolour meanwhile.
func TestOfflineRolesAreRenewedInPassing(t *testing.T) {
	d := newDesk(t, "33")
	d.now = d.now.Add(200 * 24 * time.Hour)
	offline := filepath.Join(d.keys, "offline")
	if err := os.Rename(offline, offline+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(offline, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(offline, "keys-1.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 3)}})
	due, err := d.Expiring(d.now)
	if err != nil {
		t.Fatal(err)
	}
	if len(due) != 5 {
		t.Errorf("without the offline keys due are %+v, want root, targets, keys, policy and release", due)
	}

	if err := os.RemoveAll(offline); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(offline+"-away", offline); err != nil {
		t.Fatal(err)
	}
	v := d.publish(Contents{})
	if due, err = d.Expiring(d.now); err != nil || len(due) != 0 {
		t.Errorf("with the offline keys due are %+v, error %v", due, err)
	}
	if v.Root != 2 {
		t.Errorf("root %d, want 2", v.Root)
	}
	if v = d.publish(Contents{}); v.Root != 2 {
		t.Errorf("a publish later root is %d, want 2 still", v.Root)
	}
}

// A repository of before there was software to release loads as it is, and gets
// the role with the offline keys of targets.
func TestRepositoryWithoutRelease(t *testing.T) {
	d := newDesk(t, "33")
	ctx := context.Background()
	r, err := loadRepository(d.repo)
	if err != nil {
		t.Fatal(err)
	}
	// As it was written before.
	delegations := r.targets["targets"].Signed.Delegations
	delegations.Roles = slices.DeleteFunc(delegations.Roles, func(r metadata.DelegatedRole) bool { return r.Name == "release" })
	delete(r.targets, "release")
	delete(r.snapshot.Signed.Meta, "release.json")
	if _, err := d.commit(r, map[string]bool{"targets": true}, nil, d.now); err != nil {
		t.Fatal(err)
	}
	if d.Publisher, err = Open(d.keys, d.repo, d.options()); err != nil {
		t.Fatal(err)
	}
	if v := d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 1)}}); len(v.Lists) != 1 || v.Roles["release"] != 0 {
		t.Errorf("published %+v", v)
	}
	if _, err := d.AddRole(ctx, "somebody"); !errors.Is(err, ErrRole) {
		t.Errorf("got %v, want ErrRole", err)
	}
	v, err := d.AddRole(ctx, "release")
	if err != nil || v.Roles["release"] != 1 || !slices.Contains(v.Signed, "release") {
		t.Errorf("added: %+v, %v", v, err)
	}
	again, err := d.AddRole(ctx, "release")
	if err != nil || again.Targets != v.Targets || again.Roles["release"] != 1 {
		t.Errorf("added again: %+v, %v", again, err)
	}
	r, err = loadRepository(d.repo)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.delegation("release"); got.Threshold != 2 || len(got.KeyIDs) != 2 || !got.Terminating || !slices.Equal(got.Paths, []string{"release/*"}) {
		t.Errorf("delegated as %+v, want two of two keys for release/*", got)
	}
}
