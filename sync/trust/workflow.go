package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// Limits bound what one run fetches; the zero value of each field means its default.
type Limits struct {
	// Roots is how many new roots one run follows; 256.
	Roots int
	// Root, Timestamp, Snapshot and Targets are the most bytes of one such
	// file: 512 KiB, 16 KiB, 512 KiB and 2 MiB.
	Root, Timestamp, Snapshot, Targets int64
	// Keys, List: the most bytes of the key list and of one compressed list;
	// 16 MiB and 64 MiB. Policy and map have the bounds of their parsers.
	Keys, List int64
	// Run is the most bytes of all files of a run together; 256 MiB.
	Run int64
	// Batch is how many bytes of lists one transaction brings in at most; 4 MiB.
	// Each transaction costs two flushes of the disk, and memory of several times
	// its bytes. A larger list is staged.
	Batch int64
}

func (l Limits) withDefaults() Limits {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	if l.Roots == 0 {
		l.Roots = 256
	}
	set(&l.Root, 512<<10)
	set(&l.Timestamp, 16<<10)
	set(&l.Snapshot, 512<<10)
	set(&l.Targets, 2<<20)
	set(&l.Keys, 16<<20)
	set(&l.List, 64<<20)
	set(&l.Run, 256<<20)
	set(&l.Batch, 4<<20)
	return l
}

// workflow is the client workflow of the TUF specification, section 5, for one
// run. It knows nothing of our roles, and stores nothing.
type workflow struct {
	fetcher Fetcher
	limits  Limits
	// left is how many bytes the run may still fetch, and came how many have
	// come: a file that was cut off or too large counts as if it were whole.
	left, came int64
	trusted    *trustedmetadata.TrustedMetadata
	// raw is the newest verified file of each role.
	raw map[string][]byte
}

// newWorkflow starts from a trusted root. The reference time decides what has
// expired, for the whole run.
func newWorkflow(fetcher Fetcher, limits Limits, root []byte, reference time.Time) (*workflow, error) {
	w := &workflow{fetcher: fetcher, limits: limits, left: limits.Run, raw: map[string][]byte{}}
	err := protect(func() (err error) {
		w.trusted, err = trustedmetadata.New(root)
		return err
	})
	if err != nil {
		return nil, refused("trusted root", err, ErrVersion)
	}
	w.trusted.RefTime = reference
	w.raw[metadata.ROOT] = root
	return w, nil
}

// fetch counts what the run fetches.
func (w *workflow) fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	if limit > w.left {
		limit = w.left
	}
	if limit <= 0 {
		return nil, fmt.Errorf("file %s: %w: the run has fetched %d bytes", path, ErrTooLarge, w.limits.Run)
	}
	data, err := w.fetcher.Fetch(ctx, path, limit)
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("file %s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			// As much may have come before it failed: a server that cuts every
			// file off just before its end must not be asked for ever.
			w.left -= limit
		}
		return nil, err
	}
	w.left -= int64(len(data))
	w.came += int64(len(data))
	return data, nil
}

// name returns where the metadata of a version lies (section 5.5, 5.6): under
// its bare name where the root does without consistent snapshots.
func (w *workflow) name(role string, version int64) string {
	if !w.trusted.Root.Signed.ConsistentSnapshot {
		return "metadata/" + role + ".json"
	}
	return fmt.Sprintf("metadata/%d.%s.json", version, role)
}

// understood refuses metadata of another major version of the specification
// (section 4.3), which go-tuf takes as it comes.
func understood(version string) error {
	major, _, ok := strings.Cut(version, ".")
	if !ok || major != "1" {
		return fmt.Errorf("%w: of specification %.16q, understood is 1.x", ErrMalformed, version)
	}
	return nil
}

// roots follows the chain of roots, one version at a time (section 5.3). Each
// is handed to persist as soon as it is verified, with whether the keys of
// timestamp or snapshot changed: then what is stored of them is forgotten
// (5.3.11), since a thief may have driven their versions up.
func (w *workflow) roots(ctx context.Context, persist func(raw []byte, forget bool) error) error {
	for range w.limits.Roots {
		next := w.trusted.Root.Signed.Version + 1
		raw, err := w.fetch(ctx, fmt.Sprintf("metadata/%d.root.json", next), w.limits.Root)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return fmt.Errorf("root %d: %w", next, err)
		}
		before := w.trusted.Root
		err = protect(func() error {
			root, err := w.trusted.UpdateRoot(raw)
			if err != nil {
				return err
			}
			return understood(root.Signed.SpecVersion)
		})
		if err != nil {
			return refused(fmt.Sprintf("root %d", next), err, ErrVersion)
		}
		forget := false
		for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT} {
			old, now := before.Signed.Roles[role], w.trusted.Root.Signed.Roles[role]
			forget = forget || old == nil || now == nil || !sameKeys(old.KeyIDs, now.KeyIDs)
		}
		if err := persist(raw, forget); err != nil {
			return err
		}
		w.raw[metadata.ROOT] = raw
	}
	if w.trusted.Root.Signed.IsExpired(w.trusted.RefTime) {
		return fmt.Errorf("root %d: %w on %s", w.trusted.Root.Signed.Version, ErrExpired, day(w.trusted.Root.Signed.Expires))
	}
	return nil
}

func sameKeys(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// timestamp verifies the file that was fetched against the stored one
// (section 5.4) and says whether it is a newer one.
func (w *workflow) timestamp(stored, fetched []byte) (newer bool, err error) {
	if len(stored) > 0 {
		// Whatever is wrong with the stored one (its key was rotated, it
		// expired), it only serves to compare with.
		_ = protect(func() error {
			_, err := w.trusted.UpdateTimestamp(stored)
			return err
		})
		if w.trusted.Timestamp != nil {
			if w.trusted.Timestamp.Signed.Meta["snapshot.json"] == nil {
				w.trusted.Timestamp = nil
			} else {
				w.raw[metadata.TIMESTAMP] = stored
			}
		}
	}
	// go-tuf reads this entry without asking whether it is there.
	err = protect(func() error {
		md, err := metadata.Timestamp().FromBytes(fetched)
		if err != nil {
			return err
		}
		if md.Signed.Meta["snapshot.json"] == nil || md.Signed.Meta["snapshot.json"].Version < 1 {
			return errors.New("no snapshot named")
		}
		return understood(md.Signed.SpecVersion)
	})
	if err != nil {
		return false, refused("timestamp", err, ErrVersion)
	}
	err = protect(func() error {
		_, err := w.trusted.UpdateTimestamp(fetched)
		return err
	})
	var equal *metadata.ErrEqualVersionNumber
	var expired *metadata.ErrExpiredMetadata
	switch {
	case err == nil:
		w.raw[metadata.TIMESTAMP] = fetched
		return true, nil
	case errors.As(err, &expired) && w.trusted.Timestamp != nil:
		// Everything else about it was verified before.
		return false, expiredTimestamp(w.trusted.Timestamp)
	case errors.As(err, &equal):
		if w.trusted.Timestamp.Signed.IsExpired(w.trusted.RefTime) {
			return false, expiredTimestamp(w.trusted.Timestamp)
		}
		return false, nil
	}
	return false, refused("timestamp", err, ErrRollback)
}

// expiredTimestamp says how old it is: whoever carries a stick wants to know.
func expiredTimestamp(t *metadata.Metadata[metadata.TimestampType]) error {
	when := ""
	if at, err := issued(t); err == nil {
		when = ", issued " + day(at)
	}
	return fmt.Errorf("timestamp %d%s: %w on %s", t.Signed.Version, when, ErrExpired, day(t.Signed.Expires))
}

// snapshot takes the stored snapshot if it is the one that the timestamp
// names, or fetches that one (section 5.5).
func (w *workflow) snapshot(ctx context.Context, stored []byte) error {
	meta := w.trusted.Timestamp.Signed.Meta["snapshot.json"]
	if len(stored) > 0 {
		err := protect(func() error {
			_, err := w.trusted.UpdateSnapshot(stored, true)
			return err
		})
		if err == nil && meta.VerifyLengthHashes(stored) == nil {
			w.raw[metadata.SNAPSHOT] = stored
			return nil
		}
		if hasNil(w.trusted.Snapshot) {
			w.trusted.Snapshot = nil
		}
	}
	raw, err := w.fetch(ctx, w.name(metadata.SNAPSHOT, meta.Version), lengthOr(meta.Length, w.limits.Snapshot))
	if err != nil {
		return fmt.Errorf("snapshot %d: %w", meta.Version, err)
	}
	before := w.trusted.Snapshot
	err = protect(func() error {
		_, err := w.trusted.UpdateSnapshot(raw, false)
		if hasNil(w.trusted.Snapshot) {
			return errors.Join(errors.New("an entry is null"), err)
		}
		if err != nil {
			return err
		}
		return understood(w.trusted.Snapshot.Signed.SpecVersion)
	})
	if err != nil {
		var removed *metadata.ErrRepository
		var unsigned *metadata.ErrUnsignedMetadata
		switch {
		case w.trusted.Snapshot != before:
			// It was taken as newer, but it is not the one that was named.
			return refused(fmt.Sprintf("snapshot %d", meta.Version), err, ErrVersion)
		case errors.As(err, &removed) && !errors.As(err, &unsigned):
			return fmt.Errorf("snapshot %d: %w: %w", meta.Version, ErrRollback, err)
		}
		return refused(fmt.Sprintf("snapshot %d", meta.Version), err, ErrRollback)
	}
	w.raw[metadata.SNAPSHOT] = raw
	return nil
}

func hasNil(s *metadata.Metadata[metadata.SnapshotType]) bool {
	if s == nil {
		return false
	}
	for _, m := range s.Signed.Meta {
		if m == nil {
			return true
		}
	}
	return false
}

// targets takes the stored metadata of a targets role if it is what the
// snapshot names, or fetches that (section 5.6).
func (w *workflow) targets(ctx context.Context, role, delegator string, stored []byte) (*metadata.Metadata[metadata.TargetsType], error) {
	meta := w.trusted.Snapshot.Signed.Meta[role+".json"]
	if meta == nil {
		return nil, fmt.Errorf("role %s: %w: the snapshot does not name it", role, ErrNotFound)
	}
	// Stored metadata takes every check again: the keys of its role may have
	// been rotated since.
	if len(stored) > 0 && w.update(stored, role, delegator) == nil {
		return w.trusted.Targets[role], nil
	}
	raw, err := w.fetch(ctx, w.name(role, meta.Version), lengthOr(meta.Length, w.limits.Targets))
	if err != nil {
		return nil, fmt.Errorf("role %s: %w", role, err)
	}
	if err := w.update(raw, role, delegator); err != nil {
		return nil, refused(fmt.Sprintf("role %s, version %d", role, meta.Version), err, ErrVersion)
	}
	return w.trusted.Targets[role], nil
}

func (w *workflow) update(raw []byte, role, delegator string) error {
	return protect(func() error {
		md, err := w.trusted.UpdateDelegatedTargets(raw, role, delegator)
		if err != nil {
			return err
		}
		if err := understood(md.Signed.SpecVersion); err != nil {
			delete(w.trusted.Targets, role)
			return err
		}
		for path, t := range md.Signed.Targets {
			if t == nil || t.Length < 0 {
				delete(w.trusted.Targets, role)
				return fmt.Errorf("target %.64q is null or has a negative length", path)
			}
		}
		w.raw[role] = raw
		return nil
	})
}

// target fetches a target file that a role's metadata describes.
func (w *workflow) target(ctx context.Context, path string, t *metadata.TargetFiles, limit int64) ([]byte, error) {
	if t.Length > limit {
		return nil, fmt.Errorf("target %s: %w: %d bytes, allowed are %d", path, ErrTooLarge, t.Length, limit)
	}
	hash := t.Hashes["sha256"]
	if len(hash) != 32 {
		return nil, fmt.Errorf("target %s: %w: no SHA-256", path, ErrMalformed)
	}
	name := "targets/" + path
	if w.trusted.Root.Signed.ConsistentSnapshot {
		name = hashed(path, hash.String())
	}
	data, err := w.fetch(ctx, name, max(t.Length, 1))
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", path, err)
	}
	if err := protect(func() error { return t.VerifyLengthHashes(data) }); err != nil {
		return nil, refused("target "+path, err, ErrVersion)
	}
	return data, nil
}

// delegation returns the entry of targets for the role, nil for none.
func delegation(targets *metadata.Metadata[metadata.TargetsType], role string) *metadata.DelegatedRole {
	if targets == nil || targets.Signed.Delegations == nil {
		return nil
	}
	for i := range targets.Signed.Delegations.Roles {
		if d := &targets.Signed.Delegations.Roles[i]; d.Name == role {
			return d
		}
	}
	return nil
}

// issued returns the signed time of a timestamp. It is a field of ours that
// the specification lets us add.
func issued(t *metadata.Metadata[metadata.TimestampType]) (time.Time, error) {
	s, ok := t.Signed.UnrecognizedFields["issued"].(string)
	if !ok {
		return time.Time{}, fmt.Errorf("timestamp %d: %w: no issued time", t.Signed.Version, ErrMalformed)
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("timestamp %d: %w: issued time: %w", t.Signed.Version, ErrMalformed, err)
	}
	if at.After(t.Signed.Expires) {
		return time.Time{}, fmt.Errorf("timestamp %d: %w: issued after its end", t.Signed.Version, ErrMalformed)
	}
	return at.UTC(), nil
}

// lengthOr returns the signed length where there is one within the limit.
func lengthOr(length, limit int64) int64 {
	if length > 0 && length < limit {
		return length
	}
	return limit
}

// sameTarget says whether two generations of metadata describe the same file.
func sameTarget(a, b *metadata.TargetFiles) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Length == b.Length && a.Hashes.Equal(b.Hashes) && bytes.Equal(custom(a), custom(b))
}

func custom(t *metadata.TargetFiles) json.RawMessage {
	if t.Custom == nil {
		return nil
	}
	return *t.Custom
}
