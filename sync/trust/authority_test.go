package trust

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/statuslist"
	"greengate/sync/trust/trusttest"
)

var start = time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)

// authority makes repositories in memory, honest ones and, where a test holds
// some of its keys, any others. It is not the publisher: it signs whatever it
// is told.
type authority struct {
	t     testing.TB
	now   time.Time
	files map[string][]byte

	signers   map[string][]signature.Signer
	root      *metadata.Metadata[metadata.RootType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	targets   map[string]*metadata.Metadata[metadata.TargetsType]
	infos     map[string]statuslist.Info
	raws      map[string][]byte
	since     map[string][]byte // deltas from the first generation
	mapped    bool              // the map changed since the last publish
	seed      uint64
	// private keys of the signers.
	private map[signature.Signer]ed25519.PrivateKey
}

func newAuthority(t testing.TB, provinces ...string) *authority {
	t.Helper()
	a := &authority{t: t, now: start, files: map[string][]byte{}, signers: map[string][]signature.Signer{},
		targets: map[string]*metadata.Metadata[metadata.TargetsType]{}, infos: map[string]statuslist.Info{}, raws: map[string][]byte{},
		since: map[string][]byte{}, private: map[signature.Signer]ed25519.PrivateKey{}}
	a.root = metadata.Root(a.now.AddDate(1, 0, 0))
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		a.newRootKeys(role)
	}
	a.timestamp = metadata.Timestamp(a.now)
	a.snapshot = metadata.Snapshot(a.now)
	a.timestamp.Signed.Version, a.snapshot.Signed.Version = 0, 0
	top := metadata.Targets(a.now)
	top.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	a.targets["targets"] = top
	top.Signed.Version = 0
	a.delegate("keys", "keys/keys.json")
	a.delegate("policy", "policy/policy.json")
	a.delegate("map", "map/map.json")
	for _, p := range provinces {
		a.delegate("status-"+p, "status/"+p+"*/*.tsl")
	}
	a.writeRoot(a.signers["root"]...)
	a.publish(slices.Collect(maps.Keys(a.targets))...)
	return a
}

func (a *authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// newKey makes a key that is the same in every run of the test.
func (a *authority) newKey() (*metadata.Key, string, signature.Signer) {
	a.seed++
	private := ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("key %028d", a.seed)))
	key, err := metadata.KeyFromPublicKey(private.Public())
	a.must(err)
	id, err := key.ID()
	a.must(err)
	s, err := signature.LoadED25519Signer(private)
	a.must(err)
	a.private[s] = private
	return key, id, s
}

// newRootKeys gives a top-level role new keys: three with threshold two for
// root and targets, one for the others.
func (a *authority) newRootKeys(role string) {
	count, threshold := 1, 1
	if role == "root" || role == "targets" {
		count, threshold = 3, 2
	}
	for _, id := range slices.Clone(a.root.Signed.Roles[role].KeyIDs) {
		a.must(a.root.Signed.RevokeKey(id, role))
	}
	a.signers[role] = nil
	for range count {
		key, _, s := a.newKey()
		a.must(a.root.Signed.AddKey(key, role))
		a.signers[role] = append(a.signers[role], s)
	}
	a.root.Signed.Roles[role].Threshold = threshold
}

func (a *authority) delegate(role string, paths ...string) {
	top := a.targets["targets"]
	top.Signed.Delegations.Roles = append(top.Signed.Delegations.Roles,
		metadata.DelegatedRole{Name: role, Threshold: 1, Terminating: true, Paths: paths})
	a.targets[role] = metadata.Targets(a.now)
	a.targets[role].Signed.Version = 0
	a.newDelegatedKey(role)
}

func (a *authority) newDelegatedKey(role string) {
	key, id, s := a.newKey()
	d := delegation(a.targets["targets"], role)
	d.KeyIDs = []string{id}
	a.targets["targets"].Signed.Delegations.Keys[id] = key
	a.signers[role] = []signature.Signer{s}
}

// writeRoot signs the root with these keys.
func (a *authority) writeRoot(by ...signature.Signer) {
	a.t.Helper()
	a.files[fmt.Sprintf("metadata/%d.root.json", a.root.Signed.Version)] = sign(a, a.root, by)
}

func sign[T metadata.Roles](a *authority, md *metadata.Metadata[T], by []signature.Signer) []byte {
	a.t.Helper()
	md.ClearSignatures()
	for _, s := range by {
		_, err := md.Sign(s)
		a.must(err)
	}
	data, err := md.ToBytes(false)
	a.must(err)
	return data
}

// target puts a file into a role's targets.
func (a *authority) target(role, path string, data, custom []byte) {
	t := &metadata.TargetFiles{Length: int64(len(data)), Hashes: sha(data)}
	if custom != nil {
		raw := jsonRaw(custom)
		t.Custom = &raw
	}
	a.targets[role].Signed.Targets[path] = t
	a.files[hashed(path, t.Hashes["sha256"].String())] = data
}

func sha(data []byte) metadata.Hashes {
	sum := sha256.Sum256(data)
	return metadata.Hashes{"sha256": sum[:]}
}

// list puts a list of 64 codes, all of one colour, into its province's role,
// as the next generation.
func (a *authority) list(uri string, colour byte) {
	a.t.Helper()
	info := a.infos[uri]
	info.URI = uri
	info.Sequence++
	a.putList(info, colour)
}

func (a *authority) putList(info statuslist.Info, colour byte) {
	a.t.Helper()
	path, region, err := pathOf(info.URI)
	a.must(err)
	a.listAt("status-"+region[:2], path, info, colour)
}

// listAt puts a list where it may not belong.
func (a *authority) listAt(role, path string, info statuslist.Info, colour byte) {
	a.t.Helper()
	raw := slices.Repeat([]byte{colour * 0x55}, 16)
	info.Bits, info.Size, info.SHA256 = 2, int64(len(raw)), sha256.Sum256(raw)
	info.Issued, info.Expires = a.now, a.now.AddDate(0, 0, 30)
	l, err := statuslist.FromRaw(raw, 2)
	a.must(err)
	data, err := l.MarshalCBOR()
	a.must(err)
	custom, err := info.Marshal()
	a.must(err)
	a.target(role, path, data, custom)
	a.infos[info.URI], a.raws[info.URI] = info, raw
}

func (a *authority) issuer(region string) {
	a.t.Helper()
	_, _, _ = a.newKey()
	public := ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("key %028d", a.seed))).Public()
	data, err := pass.MarshalKeySet([]pass.Key{{ID: []byte("k1"), Algorithm: pass.EdDSA, Public: public, Use: pass.UseCode,
		Region: region, NotBefore: start, NotAfter: start.AddDate(1, 0, 0)}})
	a.must(err)
	a.target("keys", "keys/keys.json", data, nil)
}

func (a *authority) policy(version uint64) {
	a.t.Helper()
	p := gate.DefaultPolicy()
	p.Version = version
	data, err := p.Marshal()
	a.must(err)
	a.target("policy", "policy/policy.json", data, nil)
	m := gate.RiskMap{Version: version, Day: "2020-02-17", Counties: map[string]gate.RiskLevel{"330106": gate.RiskLow}}
	data, err = m.Marshal()
	a.must(err)
	a.target("map", "map/map.json", data, nil)
	a.mapped = true
}

// publish signs the roles that changed, the snapshot and the timestamp, 20 s
// after the last time.
func (a *authority) publish(changed ...string) {
	a.t.Helper()
	a.now = a.now.Add(20 * time.Second)
	if a.mapped && !slices.Contains(changed, "map") {
		changed = append(slices.Clone(changed), "map")
	}
	a.mapped = false
	for _, role := range changed {
		a.signRole(role)
	}
	if len(changed) > 0 {
		a.signSnapshot()
	}
	a.signTimestamp()
}

func (a *authority) signRole(role string) {
	a.t.Helper()
	md := a.targets[role]
	md.Signed.Version++
	md.Signed.Expires = a.now.AddDate(0, 0, 90)
	data := sign(a, md, a.signers[role])
	a.files[fmt.Sprintf("metadata/%d.%s.json", md.Signed.Version, role)] = data
	a.snapshot.Signed.Meta[role+".json"] = &metadata.MetaFiles{Version: md.Signed.Version, Length: int64(len(data)), Hashes: sha(data)}
}

func (a *authority) signSnapshot() {
	a.t.Helper()
	a.snapshot.Signed.Version++
	a.snapshot.Signed.Expires = a.now.AddDate(0, 0, 7)
	data := sign(a, a.snapshot, a.signers["snapshot"])
	a.files[fmt.Sprintf("metadata/%d.snapshot.json", a.snapshot.Signed.Version)] = data
	a.timestamp.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Version: a.snapshot.Signed.Version, Length: int64(len(data)), Hashes: sha(data)}
}

func (a *authority) signTimestamp() {
	a.t.Helper()
	a.timestamp.Signed.Version++
	a.timestamp.Signed.Expires = a.now.AddDate(0, 0, 1)
	a.timestamp.Signed.UnrecognizedFields = map[string]any{"issued": a.now.Format(time.RFC3339)}
	a.files[timestampFile] = sign(a, a.timestamp, a.signers["timestamp"])
}

// fork returns an authority with the same keys and history that goes its own
// way: what a thief of all keys could publish, or what was published long ago.
func (a *authority) fork() *authority {
	a.t.Helper()
	f := &authority{t: a.t, now: a.now, seed: a.seed + 1000, files: maps.Clone(a.files), signers: maps.Clone(a.signers),
		targets: map[string]*metadata.Metadata[metadata.TargetsType]{}, infos: maps.Clone(a.infos), raws: maps.Clone(a.raws), since: maps.Clone(a.since), private: maps.Clone(a.private)}
	f.root, f.timestamp, f.snapshot = clone(a, a.root), clone(a, a.timestamp), clone(a, a.snapshot)
	for role, md := range a.targets {
		f.targets[role] = clone(a, md)
	}
	return f
}

func clone[T metadata.Roles](a *authority, md *metadata.Metadata[T]) *metadata.Metadata[T] {
	a.t.Helper()
	data, err := md.ToBytes(false)
	a.must(err)
	c, err := new(metadata.Metadata[T]).FromBytes(data)
	a.must(err)
	return c
}

// rootAt returns the first root, which a gate is enrolled with.
func (a *authority) firstRoot() []byte { return a.files["metadata/1.root.json"] }

// rotate gives roles new keys, and publishes everything that changed.
func (a *authority) rotate(roles ...string) {
	a.t.Helper()
	old := a.signers["root"]
	top := false
	var changed []string
	for _, role := range roles {
		if slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], role) {
			a.newRootKeys(role)
			top = true
			if role == "targets" {
				changed = append(changed, "targets")
			}
			continue
		}
		a.newDelegatedKey(role)
		changed = append(changed, "targets", role)
	}
	if top {
		a.root.Signed.Version++
		by := slices.Clone(old)
		for _, s := range a.signers["root"] {
			if !slices.Contains(by, s) {
				by = append(by, s)
			}
		}
		a.writeRoot(by...)
		if slices.Contains(roles, "snapshot") && len(changed) == 0 {
			changed = append(changed, "targets")
		}
	}
	slices.Sort(changed)
	a.publish(slices.Compact(changed)...)
}

// keysOf returns the keys that sign for the role.
func (a *authority) keysOf(role string) (keys []trusttest.Key) {
	for _, s := range a.signers[role] {
		keys = append(keys, trusttest.NewKey(a.private[s]))
	}
	return keys
}

// repository is the generation as the maker of hostile ones takes it.
func (a *authority) repository() trusttest.Repository {
	r := trusttest.Repository{Files: maps.Clone(a.files), Keys: map[string][]trusttest.Key{}}
	for role := range a.signers {
		r.Keys[role] = a.keysOf(role)
	}
	return r
}

// noise returns bytes that no compressor makes small, the same each time.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func roleOf(uri string) string {
	i := strings.LastIndexByte(uri, '/')
	j := strings.LastIndexByte(uri[:i], '/')
	return "status-" + uri[j+1:j+3]
}
