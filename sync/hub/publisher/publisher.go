package publisher

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

// Options of a publisher; the zero value of each field means its default.
type Options struct {
	// Provinces to make status roles for, two digits of GB/T 2260 each; for Init only.
	Provinces []string
	// OfflineKeys is the folder of the offline keys, a stick's; "offline" in the
	// folder of all keys by default.
	OfflineKeys string
	// Now tells the time for Init and Heartbeat; time.Now by default.
	Now func() time.Time
	// TimestampLife is how long a gate accepts a timestamp; 1 day by default.
	TimestampLife time.Duration
	// OnlineLife is the same for snapshot and status roles; 7 days.
	OnlineLife time.Duration
	// OfflineLife is the same for keys and policy; 90 days.
	OfflineLife time.Duration
	// RootLife is the same for root and targets; 365 days.
	RootLife time.Duration
	// ListLife is how long a gate accepts one generation of a list; 30 days.
	ListLife time.Duration
	// Keep is how many snapshots' files stay for gates and caches that are in
	// the middle of a fetch; 30 by default, which at one publish in 20 s is
	// ten minutes.
	Keep int64
}

func (o Options) withDefaults() Options {
	const day = 24 * time.Hour
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.TimestampLife, day)
	set(&o.OnlineLife, 7*day)
	set(&o.OfflineLife, 90*day)
	set(&o.RootLife, 365*day)
	set(&o.ListLife, 30*day)
	if o.Keep == 0 {
		o.Keep = 30
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// life is how long the role's metadata is accepted.
func (o Options) life(role string) time.Duration {
	switch {
	case role == metadata.TIMESTAMP:
		return o.TimestampLife
	case online(role):
		return o.OnlineLife
	case role == metadata.ROOT, role == metadata.TARGETS:
		return o.RootLife
	}
	return o.OfflineLife
}

// Publisher writes one repository. Its methods may be called from several
// goroutines, and from several processes on one machine: a lock file lets one
// publish at a time. Several machines need a lease above it, which the hub has;
// what another one publishes is taken over by [Manifest.Restore].
type Publisher struct {
	dir     string
	keys    keyring
	options Options
	mu      sync.Mutex
}

var provinceCode = regexp.MustCompile(`^[0-9]{2}$`)

// Init makes the keys and an empty repository, and opens it. Keys that are
// there already are used, so an Init that was cut can be run again; a
// repository that is there already is ErrExists.
func Init(keysDir, repoDir string, o Options) (*Publisher, error) {
	p := &Publisher{dir: repoDir, keys: keyring{dir: keysDir, offline: o.OfflineKeys}, options: o.withDefaults()}
	for _, v := range o.Provinces {
		if !provinceCode.MatchString(v) {
			return nil, fmt.Errorf("province %q: want two digits of GB/T 2260", v)
		}
	}
	if err := makeDirs(filepath.Join(repoDir, "metadata"), 0o755); err != nil {
		return nil, fmt.Errorf("repository %s: %w", repoDir, err)
	}
	unlock, err := p.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Stat(timestampPath(repoDir)); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("folder %s: %w", repoDir, errors.Join(ErrExists, err))
	}
	now := p.options.Now().UTC().Truncate(time.Second)

	r := &repository{
		root:      metadata.Root(now.Add(p.options.life(metadata.ROOT))),
		timestamp: metadata.Timestamp(now),
		snapshot:  metadata.Snapshot(now),
		targets:   map[string]*metadata.Metadata[metadata.TargetsType]{metadata.TARGETS: metadata.Targets(now)},
		resign:    map[string]bool{},
	}
	// commit counts each of these up by one.
	r.timestamp.Signed.Version, r.snapshot.Signed.Version = 0, 0
	r.targets[metadata.TARGETS].Signed.Version = 0
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		signers, err := p.keysFor(role)
		if err != nil {
			return nil, err
		}
		if err := setRootKeys(r.root, role, signers); err != nil {
			return nil, err
		}
	}
	r.targets[metadata.TARGETS].Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	roles := []string{keysRole, policyRole, mapRole, releaseRole, revocationRole}
	for _, v := range o.Provinces {
		roles = append(roles, statusPrefix+v)
	}
	sign := map[string]bool{metadata.TARGETS: true}
	for _, role := range roles {
		if r.delegation(role) != nil {
			continue
		}
		if err := p.delegate(r, role, sign); err != nil {
			return nil, err
		}
	}
	if err := p.signRoot(r, nil); err != nil {
		return nil, err
	}
	if _, err := p.commit(r, sign, nil, now); err != nil {
		return nil, err
	}
	return p, nil
}

// Open opens a repository that Init made and verifies it.
func Open(keysDir, repoDir string, o Options) (*Publisher, error) {
	p := &Publisher{dir: repoDir, keys: keyring{dir: keysDir, offline: o.OfflineKeys}, options: o.withDefaults()}
	if _, err := loadRepository(repoDir); err != nil {
		return nil, err
	}
	return p, nil
}

// keysFor returns the role's keys, made now where there are none.
func (p *Publisher) keysFor(role string) ([]signer, error) {
	signers, err := p.keys.load(role)
	if err != nil {
		return nil, err
	}
	count, _ := quorum(role)
	if len(signers) >= count {
		return signers[len(signers)-count:], nil
	}
	return p.keys.make(role)
}

// delegate adds the role to targets, with keys of its own.
func (p *Publisher) delegate(r *repository, role string, sign map[string]bool) error {
	signers, err := p.keysFor(role)
	if err != nil {
		return err
	}
	d := r.targets[metadata.TARGETS].Signed.Delegations
	d.Roles = append(d.Roles, metadata.DelegatedRole{Name: role, Terminating: true, Paths: pathsOf(role)})
	setDelegationKeys(r, role, signers)
	md := metadata.Targets()
	md.Signed.Version = 0
	r.targets[role] = md
	sign[metadata.TARGETS], sign[role] = true, true
	return nil
}

// pathsOf are the only targets that gates take from the role.
func pathsOf(role string) []string {
	switch role {
	case keysRole:
		return []string{keysPath}
	case policyRole:
		return []string{policyPath}
	case mapRole:
		return []string{mapPath}
	case releaseRole:
		return []string{"release/*"}
	case revocationRole:
		return revocationPaths
	}
	return []string{"status/" + role[len(statusPrefix):] + "*/*.tsl"}
}

func setRootKeys(root *metadata.Metadata[metadata.RootType], role string, signers []signer) error {
	for _, id := range slices.Clone(root.Signed.Roles[role].KeyIDs) {
		if err := root.Signed.RevokeKey(id, role); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	}
	for _, s := range signers {
		if err := root.Signed.AddKey(s.key, role); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	}
	_, root.Signed.Roles[role].Threshold = quorum(role)
	return nil
}

func setDelegationKeys(r *repository, role string, signers []signer) {
	delegations := r.targets[metadata.TARGETS].Signed.Delegations
	d := r.delegation(role)
	for _, id := range d.KeyIDs {
		delete(delegations.Keys, id)
	}
	d.KeyIDs = nil
	for _, s := range signers {
		d.KeyIDs = append(d.KeyIDs, s.id)
		delegations.Keys[s.id] = s.key
	}
	_, d.Threshold = quorum(role)
}

// Publish makes the contents visible to all gates at once, or not at all. Only
// what changed is signed and written: a recolour needs the online keys alone.
// Roles past half their life are signed anew where their keys are at hand, and
// lists past half theirs get another.
func (p *Publisher) Publish(ctx context.Context, c Contents) (Version, error) {
	unlock, err := p.lock()
	if err != nil {
		return Version{}, err
	}
	defer unlock()
	r, err := loadRepository(p.dir)
	if err != nil {
		return Version{}, err
	}
	now := c.Issued.UTC().Truncate(time.Second)
	last, err := r.issued()
	if err != nil {
		return Version{}, err
	}
	if now.Before(last) {
		return Version{}, fmt.Errorf("publish of %s: %w, of %s",
			now.Format(time.RFC3339), ErrIssued, last.Format(time.RFC3339))
	}

	sign := map[string]bool{}
	files := map[string][]byte{}
	put := func(role, path string, data, custom []byte) {
		t := &metadata.TargetFiles{Length: int64(len(data)), Hashes: sha(data), Path: path}
		if custom != nil {
			t.Custom = rawJSON(custom)
		}
		old := r.targets[role].Signed.Targets[path]
		same := old != nil && old.Equal(*t) && custom == nil
		if same && p.present(path, old) {
			return
		}
		files[hashed(path, t.Hashes["sha256"].String())] = data
		if same {
			return // only the file was lost
		}
		r.targets[role].Signed.Targets[path] = t
		sign[role] = true
	}
	if c.Keys != nil {
		data, err := pass.MarshalKeySet(c.Keys)
		if err != nil {
			return Version{}, fmt.Errorf("key list: %w", err)
		}
		put(keysRole, keysPath, data, nil)
	}
	if c.Policy.Version != 0 {
		data, err := c.Policy.Marshal()
		if err != nil {
			return Version{}, fmt.Errorf("policy %d: %w", c.Policy.Version, err)
		}
		put(policyRole, policyPath, data, nil)
	}
	if c.Map.Version != 0 {
		if r.targets[mapRole] == nil {
			return Version{}, fmt.Errorf("role %q: %w in this repository", mapRole, ErrRole)
		}
		data, err := c.Map.Marshal()
		if err != nil {
			return Version{}, fmt.Errorf("map %d: %w", c.Map.Version, err)
		}
		put(mapRole, mapPath, data, nil)
	}
	var lists []statuslist.Info
	for _, uri := range c.Drop {
		path, province, err := Path(uri)
		if err != nil {
			return Version{}, err
		}
		role := r.targets[statusPrefix+province]
		if role == nil {
			return Version{}, fmt.Errorf("list %s: province %s: %w", uri, province, ErrProvince)
		}
		if _, ok := role.Signed.Targets[path]; ok {
			delete(role.Signed.Targets, path)
			sign[statusPrefix+province] = true
		}
	}
	for _, l := range c.Lists {
		if err := ctx.Err(); err != nil {
			return Version{}, err
		}
		d, data, deltas, err := p.list(r, l, now)
		if err != nil {
			return Version{}, err
		}
		if data == nil {
			continue
		}
		custom, err := d.Marshal()
		if err != nil {
			return Version{}, fmt.Errorf("list %s: %w", l.Info.URI, err)
		}
		path, province, err := Path(d.URI)
		if err != nil {
			return Version{}, err
		}
		put(statusPrefix+province, path, data, custom)
		maps.Copy(files, deltas)
		lists = append(lists, d.Info)
	}
	revocations, err := p.revocations(ctx, r, c.Revocations, now, put, files, sign)
	if err != nil {
		return Version{}, err
	}
	if err := ctx.Err(); err != nil {
		return Version{}, err
	}
	v, err := p.commit(r, sign, files, now)
	if err != nil {
		return Version{}, err
	}
	v.Lists = append(lists, v.Lists...)
	v.Revocations = append(revocations, v.Revocations...)
	return v, nil
}

// Heartbeat says again, at a new time, that what was published is current.
func (p *Publisher) Heartbeat(ctx context.Context) (Version, error) {
	return p.Publish(ctx, Contents{Issued: p.options.Now()})
}

// list returns what to sign and write for the list and the files of its
// deltas, nil data when the same bytes are published and have more than half
// their life left.
func (p *Publisher) list(r *repository, l List, now time.Time) (d statuslist.Description, data []byte, deltas map[string][]byte, err error) {
	if err := l.check(now); err != nil {
		return d, nil, nil, err
	}
	path, province, err := Path(l.Info.URI)
	if err != nil {
		return d, nil, nil, err
	}
	role := r.targets[statusPrefix+province]
	if role == nil {
		return d, nil, nil, fmt.Errorf("list %s: province %s: %w", l.Info.URI, province, ErrProvince)
	}
	d.Info = l.describe(1, now, p.options.ListLife)
	next, err := statuslist.FromRaw(l.Raw, l.Info.Bits)
	if err != nil {
		return d, nil, nil, fmt.Errorf("list %s: %w", d.URI, err)
	}
	t := role.Signed.Targets[path]
	if t == nil {
		if data, err = next.MarshalCBOR(); err != nil {
			err = fmt.Errorf("list %s: %w", d.URI, err)
		}
		return d, data, nil, err
	}
	old, err := descriptionOf(path, t)
	if err != nil {
		return d, nil, nil, err
	}
	same := old.URI == d.URI && old.SHA256 == d.SHA256 && old.Bits == d.Bits
	if same && old.Expires.Sub(now) > p.options.ListLife/2 && p.present(path, t) {
		return old, nil, nil, nil
	}
	d.Sequence = old.Sequence + 1
	if data, err = next.MarshalCBOR(); err != nil {
		return d, nil, nil, fmt.Errorf("list %s: %w", d.URI, err)
	}
	if same {
		d.Deltas = old.Deltas
		return d, data, nil, nil
	}
	d.Deltas, deltas = p.deltas(path, t, old, next, len(data), now)
	return d, data, deltas, nil
}

// present says whether the target's file is there, as far as its length tells.
func (p *Publisher) present(path string, t *metadata.TargetFiles) bool {
	info, err := os.Stat(targetPath(p.dir, path, t))
	return err == nil && info.Size() == t.Length
}

// renewLists gives each list that is past half its life another one. Its bits
// stay those of its issued time. A list that was given an end of its own,
// sooner than ListLife, keeps it.
func (p *Publisher) renewLists(r *repository, sign map[string]bool, now time.Time) ([]statuslist.Info, error) {
	life := p.options.ListLife
	var renewed []statuslist.Info
	for role, md := range r.targets {
		if !strings.HasPrefix(role, statusPrefix) {
			continue
		}
		for path, t := range md.Signed.Targets {
			d, err := descriptionOf(path, t)
			if err != nil {
				return nil, err
			}
			if d.Expires.Sub(now) > life/2 || d.Expires.Sub(d.Issued) < life {
				continue
			}
			d.Sequence, d.Expires = d.Sequence+1, now.Add(life)
			custom, err := d.Marshal()
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", d.URI, err)
			}
			t.Custom = rawJSON(custom)
			sign[role] = true
			renewed = append(renewed, d.Info)
		}
	}
	slices.SortFunc(renewed, byURI)
	return renewed, nil
}

func byURI(a, b statuslist.Info) int { return strings.Compare(a.URI, b.URI) }

func descriptionOf(path string, t *metadata.TargetFiles) (statuslist.Description, error) {
	if t.Custom == nil {
		return statuslist.Description{}, damaged(path, errors.New("list without a description"))
	}
	d, err := statuslist.ParseDescription(*t.Custom)
	if err != nil {
		return statuslist.Description{}, damaged(path, err)
	}
	return d, nil
}

// Lists returns the descriptions of all lists as they are published.
func (p *Publisher) Lists() ([]statuslist.Info, error) {
	r, err := loadRepository(p.dir)
	if err != nil {
		return nil, err
	}
	var infos []statuslist.Info
	for name, role := range r.targets {
		if !strings.HasPrefix(name, statusPrefix) {
			continue
		}
		for path, t := range role.Signed.Targets {
			d, err := descriptionOf(path, t)
			if err != nil {
				return nil, err
			}
			infos = append(infos, d.Info)
		}
	}
	slices.SortFunc(infos, byURI)
	return infos, nil
}

// Root returns the newest root metadata, which a gate is given at enrolment.
func (p *Publisher) Root() ([]byte, error) {
	n, err := newestRoot(p.dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(metadataPath(p.dir, metadata.ROOT, n))
	if err != nil {
		return nil, damaged(p.dir, err)
	}
	return data, nil
}

// Expiring is a role whose metadata must be signed again by keys that are offline.
type Expiring struct {
	Role string
	At   time.Time
}

// Expiring returns the offline roles that are past half their life, the first
// to end first. Renew signs them.
func (p *Publisher) Expiring(now time.Time) ([]Expiring, error) {
	r, err := loadRepository(p.dir)
	if err != nil {
		return nil, err
	}
	var due []Expiring
	add := func(role string, at time.Time) {
		if at.Sub(now) < p.options.life(role)/2 {
			due = append(due, Expiring{role, at})
		}
	}
	add(metadata.ROOT, r.root.Signed.Expires)
	for role, md := range r.targets {
		if !online(role) {
			add(role, md.Signed.Expires)
		}
	}
	slices.SortFunc(due, func(a, b Expiring) int { return a.At.Compare(b.At) })
	return due, nil
}

// commit signs the roles, then the snapshot if any changed, then the
// timestamp, and writes them in an order in which nothing is visible before
// all it points to.
func (p *Publisher) commit(r *repository, sign map[string]bool, files map[string][]byte, now time.Time) (Version, error) {
	o := p.options
	// Renewed in passing where the keys are at hand. Whatever is wrong with
	// those that are offline, it does not keep a recolour from the gates;
	// Expiring tells the operator.
	passing := true
	if r.repair {
		lost, err := p.onlineLost(r)
		if err != nil {
			return Version{}, err
		}
		passing = !lost
	}
	if passing && len(r.resign) == 0 && r.newRoot == nil && r.root.Signed.Expires.Sub(now) <= o.life(metadata.ROOT)/2 {
		if signers, err := p.rootSigners(r); err == nil {
			r.root.Signed.Version++
			if err := p.signRoot(r, signers); err != nil {
				return Version{}, err
			}
		}
	}
	for role, md := range r.targets {
		if r.resign[role] {
			sign[role] = true
		}
		if sign[role] || !passing || md.Signed.Expires.Sub(now) > o.life(role)/2 {
			continue
		}
		keyIDs, threshold, err := r.signers(role)
		if err != nil {
			return Version{}, err
		}
		switch _, err := p.keys.quorumOf(role, keyIDs, threshold); {
		case err == nil:
			sign[role] = true
		case online(role):
			return Version{}, err
		}
	}
	var renewed []statuslist.Info
	var renewedHashes []hashlist.Info
	if passing {
		var err error
		if renewed, err = p.renewLists(r, sign, now); err != nil {
			return Version{}, err
		}
		if renewedHashes, err = p.renewHashLists(r, sign, now); err != nil {
			return Version{}, err
		}
	}

	var write []file
	var signed []string
	for role, md := range r.targets {
		if !sign[role] {
			continue
		}
		md.Signed.Version++
		md.Signed.Expires = now.Add(o.life(role))
		data, err := signWith(p, r, role, md)
		if err != nil {
			return Version{}, err
		}
		r.snapshot.Signed.Meta[role+".json"] = describe(md.Signed.Version, data)
		write = append(write, file{metadataPath(p.dir, role, md.Signed.Version), data})
		signed = append(signed, role)
	}
	if len(signed) > 0 || r.resign[metadata.SNAPSHOT] ||
		passing && r.snapshot.Signed.Expires.Sub(now) <= o.life(metadata.SNAPSHOT)/2 {
		r.snapshot.Signed.Version++
		r.snapshot.Signed.Expires = now.Add(o.life(metadata.SNAPSHOT))
		data, err := signWith(p, r, metadata.SNAPSHOT, r.snapshot)
		if err != nil {
			return Version{}, err
		}
		r.timestamp.Signed.Meta["snapshot.json"] = describe(r.snapshot.Signed.Version, data)
		write = append(write, file{metadataPath(p.dir, metadata.SNAPSHOT, r.snapshot.Signed.Version), data})
	}
	r.timestamp.Signed.Version++
	r.timestamp.Signed.Expires = now.Add(o.life(metadata.TIMESTAMP))
	r.timestamp.Signed.UnrecognizedFields = map[string]any{"issued": now.Format(time.RFC3339)}
	timestamp, err := signWith(p, r, metadata.TIMESTAMP, r.timestamp)
	if err != nil {
		return Version{}, err
	}

	for path, data := range files {
		path = filepath.Join(p.dir, "targets", filepath.FromSlash(path))
		if err := makeDirs(filepath.Dir(path), 0o755); err != nil {
			return Version{}, fmt.Errorf("publish: %w", err)
		}
		if err := writeFile(path, data, 0o644); err != nil {
			return Version{}, fmt.Errorf("publish: %w", err)
		}
	}
	if r.newRoot != nil {
		write = append(write, *r.newRoot)
	}
	write = append(write, file{timestampPath(p.dir), timestamp})
	for _, f := range write {
		if err := writeFile(f.path, f.data, 0o644); err != nil {
			return Version{}, fmt.Errorf("publish: %w", err)
		}
	}

	slices.Sort(signed)
	v := Version{
		Root:      r.root.Signed.Version,
		Timestamp: r.timestamp.Signed.Version,
		Snapshot:  r.snapshot.Signed.Version,
		Targets:   r.targets[metadata.TARGETS].Signed.Version,
		Roles:     map[string]int64{},
		Issued:    now,
		Signed:    signed,
		Lists:     renewed, Revocations: renewedHashes,
	}
	for role, md := range r.targets {
		if role != metadata.TARGETS {
			v.Roles[role] = md.Signed.Version
		}
	}
	if len(write) > 1 {
		if err := r.sweep(p.dir, o.Keep); err != nil {
			return v, fmt.Errorf("published as timestamp %d, but old files are left: %w", v.Timestamp, err)
		}
	}
	return v, nil
}

// onlineLost says whether the key of any online role is not at hand.
func (p *Publisher) onlineLost(r *repository) (bool, error) {
	roles := append(slices.Collect(maps.Keys(r.targets)), metadata.SNAPSHOT, metadata.TIMESTAMP)
	for _, role := range roles {
		if !online(role) {
			continue
		}
		keyIDs, threshold, err := r.signers(role)
		if err != nil {
			return false, err
		}
		if _, err := p.keys.quorumOf(role, keyIDs, threshold); errors.Is(err, ErrOnlineKeys) {
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
	return false, nil
}

// signWith signs the metadata with the role's keys and returns the file.
func signWith[T metadata.Roles](p *Publisher, r *repository, role string, md *metadata.Metadata[T]) ([]byte, error) {
	keyIDs, threshold, err := r.signers(role)
	if err != nil {
		return nil, err
	}
	signers, err := p.keys.quorumOf(role, keyIDs, threshold)
	if err != nil {
		return nil, err
	}
	return signBy(role, md, signers)
}

func signBy[T metadata.Roles](role string, md *metadata.Metadata[T], signers []signer) ([]byte, error) {
	md.ClearSignatures()
	for _, s := range signers {
		if _, err := md.Sign(s.signer); err != nil {
			return nil, fmt.Errorf("sign role %s: %w", role, err)
		}
	}
	data, err := md.ToBytes(false)
	if err != nil {
		return nil, fmt.Errorf("role %s: %w", role, err)
	}
	return data, nil
}

func describe(version int64, data []byte) *metadata.MetaFiles {
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: sha(data)}
}

func sha(data []byte) metadata.Hashes {
	sum := sha256.Sum256(data)
	return metadata.Hashes{"sha256": sum[:]}
}

// lock keeps other publishers out, in this process and in others.
func (p *Publisher) lock() (unlock func(), err error) {
	p.mu.Lock()
	defer func() {
		if err != nil {
			p.mu.Unlock()
		}
	}()
	f, err := os.OpenFile(filepath.Join(p.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNoRepository
		}
		return nil, fmt.Errorf("lock of repository %s: %w", p.dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock of repository %s: %w", p.dir, errors.Join(err, f.Close()))
	}
	if err := follows(p.dir); err != nil {
		return nil, fmt.Errorf("repository %s: %w", p.dir, errors.Join(err, f.Close()))
	}
	return func() {
		// Closing gives the lock back; there is nothing to lose in a file
		// without content.
		_ = f.Close()
		p.mu.Unlock()
	}, nil
}
