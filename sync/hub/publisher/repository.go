package publisher

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/pass/statuslist"
)

// repository is the metadata that is visible now, verified from the newest
// root down: a file that somebody else changed is never signed again.
type repository struct {
	root      *metadata.Metadata[metadata.RootType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	targets   map[string]*metadata.Metadata[metadata.TargetsType]
	// resign names top-level roles that are signed as the root before this
	// one says: a rotation was cut between the new root and the rest.
	resign map[string]bool
	// newRoot is signed and not yet written; nil for none.
	newRoot *file
	// repair: the operator changes keys. While online keys are lost, what else
	// is due waits for the next publish, or each rotation would fail by the key
	// that is to be rotated after it.
	repair bool
}

// file is to be written.
type file struct {
	path string
	data []byte
}

var rootFile = regexp.MustCompile(`^([1-9][0-9]{0,17})\.root\.json$`)

// newestRoot returns the highest version of root in the folder, 0 for none.
func newestRoot(dir string) (int64, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "metadata"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("repository %s: %w", dir, err)
	}
	var newest int64
	for _, e := range entries {
		if m := rootFile.FindStringSubmatch(e.Name()); m != nil {
			n, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("repository file %s: %w", e.Name(), err)
			}
			newest = max(newest, n)
		}
	}
	return newest, nil
}

func metadataPath(dir, role string, version int64) string {
	return filepath.Join(dir, "metadata", fmt.Sprintf("%d.%s.json", version, role))
}

func timestampPath(dir string) string { return filepath.Join(dir, "metadata", "timestamp.json") }

// damaged wraps what is wrong with a file of the repository.
func damaged(path string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
}

// loadRepository reads and verifies what is visible now.
func loadRepository(dir string) (*repository, error) {
	if _, err := os.Stat(timestampPath(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("folder %s: %w", dir, ErrNoRepository)
	}
	newest, err := newestRoot(dir)
	if err != nil {
		return nil, err
	}
	if newest == 0 {
		return nil, damaged(metadataPath(dir, metadata.ROOT, 1), fs.ErrNotExist)
	}
	r := &repository{
		targets: map[string]*metadata.Metadata[metadata.TargetsType]{},
		resign:  map[string]bool{},
	}
	path := metadataPath(dir, metadata.ROOT, newest)
	if r.root, err = metadata.Root().FromFile(path); err != nil {
		return nil, damaged(path, err)
	}
	if err := r.root.VerifyDelegate(metadata.ROOT, r.root); err != nil {
		return nil, damaged(path, err)
	}
	var previous *metadata.Metadata[metadata.RootType]
	if newest > 1 {
		path := metadataPath(dir, metadata.ROOT, newest-1)
		if previous, err = metadata.Root().FromFile(path); err != nil {
			return nil, damaged(path, err)
		}
		if err := previous.VerifyDelegate(metadata.ROOT, r.root); err != nil {
			return nil, damaged(path, err)
		}
	}
	verify := func(role, path string, signed any) error {
		err := r.root.VerifyDelegate(role, signed)
		if err == nil {
			return nil
		}
		if previous != nil && previous.VerifyDelegate(role, signed) == nil {
			r.resign[role] = true
			return nil
		}
		return damaged(path, err)
	}

	path = timestampPath(dir)
	if r.timestamp, err = metadata.Timestamp().FromFile(path); err != nil {
		return nil, damaged(path, err)
	}
	if err := verify(metadata.TIMESTAMP, path, r.timestamp); err != nil {
		return nil, err
	}
	meta := r.timestamp.Signed.Meta["snapshot.json"]
	if meta == nil {
		return nil, damaged(path, errors.New("no snapshot named"))
	}
	path = metadataPath(dir, metadata.SNAPSHOT, meta.Version)
	data, err := readMeta(path, meta)
	if err != nil {
		return nil, err
	}
	if r.snapshot, err = metadata.Snapshot().FromBytes(data); err != nil {
		return nil, damaged(path, err)
	}
	if err := verify(metadata.SNAPSHOT, path, r.snapshot); err != nil {
		return nil, err
	}
	targets, path, err := r.loadTargets(dir, metadata.TARGETS)
	if err != nil {
		return nil, err
	}
	if err := verify(metadata.TARGETS, path, targets); err != nil {
		return nil, err
	}
	if targets.Signed.Delegations == nil {
		return nil, damaged(path, errors.New("no delegations"))
	}
	for _, d := range targets.Signed.Delegations.Roles {
		role, path, err := r.loadTargets(dir, d.Name)
		if err != nil {
			return nil, err
		}
		if err := targets.VerifyDelegate(d.Name, role); err != nil {
			return nil, damaged(path, err)
		}
	}
	return r, nil
}

func (r *repository) loadTargets(dir, role string) (*metadata.Metadata[metadata.TargetsType], string, error) {
	meta := r.snapshot.Signed.Meta[role+".json"]
	if meta == nil {
		path := metadataPath(dir, metadata.SNAPSHOT, r.snapshot.Signed.Version)
		return nil, path, damaged(path, fmt.Errorf("role %s is not named", role))
	}
	path := metadataPath(dir, role, meta.Version)
	data, err := readMeta(path, meta)
	if err != nil {
		return nil, path, err
	}
	md, err := metadata.Targets().FromBytes(data)
	if err != nil {
		return nil, path, damaged(path, err)
	}
	r.targets[role] = md
	return md, path, nil
}

func readMeta(path string, meta *metadata.MetaFiles) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, damaged(path, err)
	}
	if err := meta.VerifyLengthHashes(data); err != nil {
		return nil, damaged(path, err)
	}
	return data, nil
}

// issued returns the signed time of the last publish.
func (r *repository) issued() (time.Time, error) {
	s, ok := r.timestamp.Signed.UnrecognizedFields["issued"].(string)
	if !ok {
		return time.Time{}, fmt.Errorf("%w: timestamp has no issued time", ErrDamaged)
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: timestamp's issued time: %w", ErrDamaged, err)
	}
	return t, nil
}

// delegation returns the entry of targets for the role, nil when there is none.
func (r *repository) delegation(role string) *metadata.DelegatedRole {
	d := r.targets[metadata.TARGETS].Signed.Delegations
	for i := range d.Roles {
		if d.Roles[i].Name == role {
			return &d.Roles[i]
		}
	}
	return nil
}

// signers returns which keys may sign for the role and how many must.
func (r *repository) signers(role string) (keyIDs []string, threshold int, err error) {
	if top, ok := r.root.Signed.Roles[role]; ok && top != nil {
		return top.KeyIDs, top.Threshold, nil
	}
	if d := r.delegation(role); d != nil {
		return d.KeyIDs, d.Threshold, nil
	}
	return nil, 0, fmt.Errorf("role %q: %w", role, ErrRole)
}

// sweep removes what no retained snapshot points to: generations older than
// keep snapshots, and what a cut publish left. An old generation of which the
// disk has lost something serves nobody, and what is left of it goes too.
func (r *repository) sweep(dir string, keep int64) error {
	wanted := map[string]bool{timestampPath(dir): true}
	want := func(role string, version int64, md *metadata.Metadata[metadata.TargetsType]) {
		wanted[metadataPath(dir, role, version)] = true
		for _, path := range r.hashDeltaPaths(dir, md) {
			wanted[path] = true
		}
		for name, t := range md.Signed.Targets {
			wanted[targetPath(dir, name, t)] = true
			if !strings.HasPrefix(role, statusPrefix) || t.Custom == nil {
				continue
			}
			// One that does not parse has no deltas that a gate could take.
			if d, err := statuslist.ParseDescription(*t.Custom); err == nil {
				for _, delta := range d.Deltas {
					wanted[filepath.Join(dir, "targets", filepath.FromSlash(deltaPath(name, delta)))] = true
				}
			}
		}
	}
	wanted[metadataPath(dir, metadata.SNAPSHOT, r.snapshot.Signed.Version)] = true
	for role, md := range r.targets {
		want(role, md.Signed.Version, md)
	}
	for v := r.snapshot.Signed.Version - 1; v > 0 && v > r.snapshot.Signed.Version-keep; v-- {
		path := metadataPath(dir, metadata.SNAPSHOT, v)
		old, err := metadata.Snapshot().FromFile(path)
		if err != nil {
			continue
		}
		wanted[path] = true
		for name, meta := range old.Signed.Meta {
			role := strings.TrimSuffix(name, ".json")
			path := metadataPath(dir, role, meta.Version)
			if wanted[path] {
				continue
			}
			if md, err := metadata.Targets().FromFile(path); err == nil {
				want(role, meta.Version, md)
			}
		}
	}
	var errs []error
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() || wanted[path] || filepath.Dir(path) == dir || rootFile.MatchString(e.Name()) {
			return nil
		}
		if !ours(path) {
			return nil
		}
		errs = append(errs, os.Remove(path))
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// ours says whether the publisher may have written the file: what somebody
// else put beside it (a robots.txt) is left alone.
func ours(path string) bool {
	name := filepath.Base(path)
	return strings.HasPrefix(name, tempPrefix) || versioned.MatchString(name)
}

var versioned = regexp.MustCompile(`^([1-9][0-9]*\.[a-z][a-z0-9-]*\.json|[0-9a-f]{64}\..+)$`)

func targetPath(dir, name string, t *metadata.TargetFiles) string {
	return filepath.Join(dir, "targets", filepath.FromSlash(hashed(name, t.Hashes["sha256"].String())))
}

// rawJSON is data as the custom part of a target wants it.
func rawJSON(data []byte) *json.RawMessage {
	raw := json.RawMessage(data)
	return &raw
}
