package publisher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/pass/hashlist"
)

// revocationRole signs the hash lists of foreign codes. It is one for all
// schemes: who holds its key can call foreign codes revoked, or no longer
// revoked, and nothing of ours.
const revocationRole = "revocation"

// revocationPaths are the only targets that gates take from the role.
var revocationPaths = []string{"revocation/*/*/*.ghl"}

// unit is how many bytes the lists of one issuer key have at most when it is
// first cut into partitions: half of what one may have, so that they can grow
// before all is cut anew and fetched anew by every gate.
const unit int64 = hashlist.MaxSize / 2

// HashList is what is revoked of one issuer key of a foreign scheme.
type HashList struct {
	Scheme hashlist.Scheme
	// KeyID is the key's identifier in lower-case hex.
	KeyID string
	// Entries are all that are revoked, as hashlist.Normal leaves them. None is
	// a list too: gates hold people whose key has no list.
	Entries []hashlist.Entry
	// Drop takes the key's lists away: its codes are no longer accepted, or
	// never were.
	Drop bool
}

// revocations puts the lists into their role. Those with the bytes that are
// published, and with more than half their life left, cost nothing.
func (p *Publisher) revocations(ctx context.Context, r *repository, lists []HashList, now time.Time,
	put func(role, path string, data, custom []byte), files map[string][]byte, sign map[string]bool) ([]hashlist.Info, error) {
	if len(lists) == 0 {
		return nil, nil
	}
	role := r.targets[revocationRole]
	if role == nil {
		return nil, fmt.Errorf("revocation lists: role %s: %w", revocationRole, ErrRole)
	}
	var infos []hashlist.Info
	for _, l := range lists {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		key := hashlist.ID{Scheme: l.Scheme, KeyID: l.KeyID}
		if err := key.Check(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHashList, err)
		}
		published := map[string]bool{} // paths of the key's lists
		digits := -1
		for path := range role.Signed.Targets {
			if id, err := hashlist.ParsePath(path); err == nil && id.Scheme == l.Scheme && id.KeyID == l.KeyID {
				published[path] = true
				digits = len(id.Part)
			}
		}
		var parts []part
		if !l.Drop {
			var err error
			if parts, err = l.parts(digits); err != nil {
				return nil, err
			}
		}
		for _, part := range parts {
			delete(published, part.id.Path())
			d, list, deltas, err := p.hashList(r, role, part, now)
			if err != nil {
				return nil, err
			}
			if list.File() == nil {
				continue
			}
			custom, err := d.Marshal()
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrHashList, err)
			}
			put(revocationRole, d.Path(), list.File(), custom)
			maps.Copy(files, deltas)
			infos = append(infos, d.Info)
		}
		for path := range published {
			delete(role.Signed.Targets, path)
			sign[revocationRole] = true
		}
	}
	hashlist.Sort(infos)
	return infos, nil
}

// part is one partition of a key's list.
type part struct {
	id      hashlist.ID
	entries []hashlist.Entry
}

// parts cuts the list: as it is published now where that fits, with as few
// digits as will do where not.
func (l HashList) parts(digits int) ([]part, error) {
	for i := 1; i < len(l.Entries); i++ {
		if bytes.Compare(l.Entries[i-1].Hash[:], l.Entries[i].Hash[:]) >= 0 {
			return nil, fmt.Errorf("%w: %s list of key %s: entry %d is not above the one before it", ErrHashList, l.Scheme, l.KeyID, i)
		}
	}
	fits := func(digits int) bool {
		most := 0
		for _, p := range l.cut(digits) {
			most = max(most, len(p.entries))
		}
		return most <= l.Scheme.MaxEntries()
	}
	size := int64(len(l.Entries)) * int64(l.Scheme.Width())
	if digits >= 0 && fits(digits) && (digits == 0 || size > unit/16) {
		return l.cut(digits), nil
	}
	for digits = range 3 {
		if size <= unit<<(4*digits) && fits(digits) {
			return l.cut(digits), nil
		}
	}
	return nil, fmt.Errorf("%w: %s list of key %s: %d entries", ErrHashList, l.Scheme, l.KeyID, len(l.Entries))
}

func (l HashList) cut(digits int) []part {
	var parts []part
	rest := l.Entries
	for i := range 1 << (4 * digits) {
		p := part{id: hashlist.ID{Scheme: l.Scheme, KeyID: l.KeyID}}
		if digits > 0 {
			p.id.Part = fmt.Sprintf("%0*x", digits, i)
		}
		n := 0
		for n < len(rest) && p.id.Contains(rest[n].Hash) {
			n++
		}
		p.entries, rest = rest[:n], rest[n:]
		parts = append(parts, p)
	}
	return parts
}

// hashList returns what to sign and write for one partition with the files of
// its deltas, the zero List when nothing is to be done.
func (p *Publisher) hashList(r *repository, role *metadata.Metadata[metadata.TargetsType], part part, now time.Time) (
	d hashlist.Description, next hashlist.List, deltas map[string][]byte, err error) {
	none := hashlist.List{}
	if next, err = hashlist.New(part.id.Scheme, part.entries); err != nil {
		return d, none, nil, fmt.Errorf("list %s: %w: %w", part.id, ErrHashList, err)
	}
	// Each signature of the role raises its version and a list's sequence by one
	// at most. So a list that was dropped, or cut another way, and comes back
	// begins above all that it had, and no gate takes it for an older one.
	d.Info = hashlist.Info{ID: part.id, Sequence: uint64(role.Signed.Version), Issued: now, Expires: now.Add(p.options.ListLife),
		Entries: int64(next.Len()), SHA256: sha256.Sum256(next.File())}
	path := part.id.Path()
	t := role.Signed.Targets[path]
	if t == nil {
		return d, next, nil, nil
	}
	old, err := hashDescription(path, t)
	if err != nil {
		return d, none, nil, err
	}
	same := old.SHA256 == d.SHA256
	if same && old.Expires.Sub(now) > p.options.ListLife/2 && p.present(path, t) {
		return old, none, nil, nil
	}
	d.Sequence = old.Sequence + 1
	if same {
		d.Deltas = old.Deltas
		return d, next, nil, nil
	}
	d.Deltas, deltas = p.hashDeltas(path, t, old, next, now)
	return d, next, deltas, nil
}

func hashDescription(path string, t *metadata.TargetFiles) (hashlist.Description, error) {
	if t.Custom == nil {
		return hashlist.Description{}, damaged(path, hashlist.ErrDescription)
	}
	d, err := hashlist.ParseDescription(*t.Custom)
	if err != nil {
		return hashlist.Description{}, damaged(path, err)
	}
	return d, nil
}

// hashDeltaFile is where a delta lies in the repository.
func (p *Publisher) hashDeltaFile(d hashlist.Description, x hashlist.DeltaInfo) string {
	return filepath.Join(p.dir, "targets", filepath.FromSlash(hashDeltaName(d.ID, x)))
}

func hashDeltaName(id hashlist.ID, x hashlist.DeltaInfo) string {
	return hashed(id.DeltaPath(x.From), fmt.Sprintf("%x", x.SHA256))
}

// hashDeltas returns the ways from older generations to the next one, with
// their files. Nothing older than what is visible is needed: each delta so far
// is joined with what changed now. What the disk has lost leads nowhere any
// more, and gates fetch the list.
func (p *Publisher) hashDeltas(path string, t *metadata.TargetFiles, old hashlist.Description, next hashlist.List, now time.Time) (
	[]hashlist.DeltaInfo, map[string][]byte) {
	data, err := os.ReadFile(targetPath(p.dir, path, t))
	if err != nil || sha256.Sum256(data) != old.SHA256 {
		return nil, nil
	}
	last, err := hashlist.Parse(old.Scheme, data)
	if err != nil {
		return nil, nil
	}
	step := hashlist.Diff(last, next)
	var deltas []hashlist.DeltaInfo
	contents := map[uint64][]byte{}
	add := func(from hashlist.DeltaInfo, changes []hashlist.Change) bool {
		data, err := hashlist.MarshalDelta(old.Scheme, changes)
		// One of half the list's bytes spares too little to be worth its place.
		if err != nil || len(data) > len(next.File())/2 || now.Sub(from.Issued) > oldestHashDelta {
			return false
		}
		from.Size, from.SHA256 = int64(len(data)), sha256.Sum256(data)
		deltas, contents[from.From] = append(deltas, from), data
		return true
	}
	if !add(hashlist.DeltaInfo{From: old.Sequence, Issued: old.Issued, Before: old.SHA256}, step) {
		return nil, nil
	}
	// The description has the oldest first; a longer one than the last that was
	// of use is of none.
	for _, x := range slices.Backward(old.Deltas) {
		data, err := os.ReadFile(p.hashDeltaFile(old, x))
		if err != nil || sha256.Sum256(data) != x.SHA256 {
			break
		}
		changes, err := hashlist.ParseDelta(old.Scheme, data)
		if err != nil || !add(x, hashlist.Join(changes, step)) {
			break
		}
	}
	deltas = thinHashDeltas(deltas, now)
	slices.Reverse(deltas)
	files := map[string][]byte{}
	for _, x := range deltas {
		files[hashDeltaName(old.ID, x)] = contents[x.From]
	}
	return deltas, files
}

// oldestHashDelta is the age from which a delta is dropped.
const oldestHashDelta = 35 * 24 * time.Hour

// thinHashDeltas keeps, of deltas from the newest to the oldest, the one from
// the last generation and the oldest within an hour, a day, a week and 35 days.
// Each leads on from every later generation too, so whoever was away is served
// by the next older one.
func thinHashDeltas(deltas []hashlist.DeltaInfo, now time.Time) []hashlist.DeltaInfo {
	keep := map[int]bool{0: true}
	for _, age := range []time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, oldestHashDelta} {
		for i := len(deltas) - 1; i >= 0; i-- {
			if now.Sub(deltas[i].Issued) <= age {
				keep[i] = true
				break
			}
		}
	}
	var kept []hashlist.DeltaInfo
	for i, x := range deltas {
		if keep[i] {
			kept = append(kept, x)
		}
	}
	return kept
}

// renewHashLists gives each list that is past half its life another one.
func (p *Publisher) renewHashLists(r *repository, sign map[string]bool, now time.Time) ([]hashlist.Info, error) {
	role := r.targets[revocationRole]
	if role == nil {
		return nil, nil
	}
	var renewed []hashlist.Info
	for path, t := range role.Signed.Targets {
		d, err := hashDescription(path, t)
		if err != nil {
			return nil, err
		}
		if d.Expires.Sub(now) > p.options.ListLife/2 {
			continue
		}
		d.Sequence, d.Expires = d.Sequence+1, now.Add(p.options.ListLife)
		custom, err := d.Marshal()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHashList, err)
		}
		t.Custom = rawJSON(custom)
		sign[revocationRole] = true
		renewed = append(renewed, d.Info)
	}
	hashlist.Sort(renewed)
	return renewed, nil
}

// hashDeltaPaths are the files of a role's deltas, for the sweep to leave.
func (r *repository) hashDeltaPaths(dir string, md *metadata.Metadata[metadata.TargetsType]) []string {
	var paths []string
	for path, t := range md.Signed.Targets {
		if !strings.HasPrefix(path, "revocation/") {
			continue
		}
		// One that does not parse has no deltas that a gate could take.
		if d, err := hashDescription(path, t); err == nil {
			for _, x := range d.Deltas {
				paths = append(paths, filepath.Join(dir, "targets", filepath.FromSlash(hashDeltaName(d.ID, x))))
			}
		}
	}
	return paths
}

// Revocations returns the descriptions of all revocation lists as they are published.
func (p *Publisher) Revocations() ([]hashlist.Info, error) {
	r, err := loadRepository(p.dir)
	if err != nil {
		return nil, err
	}
	role := r.targets[revocationRole]
	if role == nil {
		return nil, nil
	}
	var infos []hashlist.Info
	for path, t := range role.Signed.Targets {
		d, err := hashDescription(path, t)
		if err != nil {
			return nil, err
		}
		infos = append(infos, d.Info)
	}
	hashlist.Sort(infos)
	return infos, nil
}
