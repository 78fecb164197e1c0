package publisher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Manifest is a state of a repository: all its files by their digests. Several
// hubs agree on which state is visible by agreeing on the digest of this.
type Manifest struct {
	// Timestamp is the version of the timestamp role.
	Timestamp int64          `json:"timestamp"`
	Files     []ManifestFile `json:"files"`
}

// ManifestFile is one file: its path in the repository, with slashes.
type ManifestFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

const (
	// maxManifestFiles and maxManifestFile are far above what a nation's lists need.
	maxManifestFiles = 100_000
	maxManifestFile  = 64 << 20

	timestampName = "metadata/timestamp.json"
	followerName  = ".follower"
)

// ErrFollower: another hub publishes, and what is signed here would be undone.
var ErrFollower = errors.New("another hub publishes now")

// Follow says whether what is in the folder comes from another hub: then
// nothing is published or signed here.
func Follow(repoDir string, follow bool) error {
	path := filepath.Join(repoDir, followerName)
	if follow {
		return writeFile(path, nil, 0o600)
	}
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(repoDir))
}

// follows reports whether the folder was told so.
func follows(repoDir string) error {
	_, err := os.Stat(filepath.Join(repoDir, followerName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(ErrFollower, err)
}

// Marshal returns the manifest's bytes, the same for the same state.
func (m Manifest) Marshal() ([]byte, error) { return json.Marshal(m) }

// ParseManifest reads what Marshal wrote, and nothing that leads out of a repository.
func ParseManifest(data []byte) (Manifest, error) {
	var m Manifest
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	if len(m.Files) == 0 || len(m.Files) > maxManifestFiles {
		return m, fmt.Errorf("manifest: %d files", len(m.Files))
	}
	for i, f := range m.Files {
		sum, err := hex.DecodeString(f.SHA256)
		if err != nil || len(sum) != sha256.Size || f.Size < 0 || f.Size > maxManifestFile {
			return m, fmt.Errorf("manifest: file %.200q: no digest and size", f.Path)
		}
		top := strings.HasPrefix(f.Path, "metadata/") || strings.HasPrefix(f.Path, "targets/")
		base := f.Path[strings.LastIndexByte(f.Path, '/')+1:]
		if !top || !fs.ValidPath(f.Path) || f.Path != timestampName && !versioned.MatchString(base) {
			return m, fmt.Errorf("manifest: %.200q is no file of a repository", f.Path)
		}
		if i > 0 && m.Files[i-1].Path >= f.Path {
			return m, fmt.Errorf("manifest: %.200q is out of order", f.Path)
		}
	}
	if !slices.ContainsFunc(m.Files, func(f ManifestFile) bool { return f.Path == timestampName }) {
		return m, errors.New("manifest: no timestamp")
	}
	again, err := m.Marshal()
	if err != nil {
		return m, err
	}
	if string(again) != string(data) {
		return m, errors.New("manifest: not as it is written")
	}
	return m, nil
}

// ReadManifest describes what the folder holds. Nobody publishes meanwhile.
func ReadManifest(repoDir string) (m Manifest, err error) {
	unlock, err := lockFolder(repoDir)
	if err != nil {
		return m, err
	}
	defer unlock()
	return readManifest(repoDir)
}

func readManifest(repoDir string) (m Manifest, err error) {
	md, err := metadata.Timestamp().FromFile(timestampPath(repoDir))
	if err != nil {
		return m, damaged(timestampPath(repoDir), err)
	}
	m.Timestamp = md.Signed.Version
	err = walk(repoDir, func(name, path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		m.Files = append(m.Files, ManifestFile{name, hex.EncodeToString(sum[:]), int64(len(data))})
		return nil
	})
	slices.SortFunc(m.Files, func(a, b ManifestFile) int { return strings.Compare(a.Path, b.Path) })
	return m, err
}

// walk visits the files of a repository, and nothing that somebody else put there.
func walk(repoDir string, each func(name, path string) error) error {
	for _, top := range []string{"metadata", "targets"} {
		err := filepath.WalkDir(filepath.Join(repoDir, top), func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			rel, err := filepath.Rel(repoDir, path)
			if err != nil {
				return err
			}
			name := filepath.ToSlash(rel)
			if name != timestampName && !versioned.MatchString(e.Name()) {
				return nil
			}
			return each(name, path)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Restore makes the folder hold this state, fetching what it has not. Whoever
// reads meanwhile sees the state before or this one: roots come after what they
// lead to, and the timestamp last. What the state does not have is removed then.
func (m Manifest) Restore(ctx context.Context, repoDir string, fetch func(context.Context, ManifestFile) ([]byte, error)) error {
	fail := func(err error) error { return fmt.Errorf("repository %s: %w", repoDir, err) }
	if err := makeDirs(filepath.Join(repoDir, "metadata"), 0o755); err != nil {
		return fail(err)
	}
	unlock, err := lockFolder(repoDir)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	rank := func(f ManifestFile) int {
		switch {
		case f.Path == timestampName:
			return 2
		case rootFile.MatchString(filepath.Base(f.Path)):
			return 1
		}
		return 0
	}
	files := slices.Clone(m.Files)
	slices.SortStableFunc(files, func(a, b ManifestFile) int { return rank(a) - rank(b) })
	wanted := map[string]bool{}
	for _, f := range files {
		wanted[f.Path] = true
		path := filepath.Join(repoDir, filepath.FromSlash(f.Path))
		if have, err := os.ReadFile(path); err == nil {
			if sum := sha256.Sum256(have); hex.EncodeToString(sum[:]) == f.SHA256 {
				continue
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fail(err)
		}
		data, err := fetch(ctx, f)
		if err != nil {
			return fail(fmt.Errorf("%s: %w", f.Path, err))
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != f.SHA256 || int64(len(data)) != f.Size {
			return fail(damaged(f.Path, errors.New("it is not what its digest says")))
		}
		if err := makeDirs(filepath.Dir(path), 0o755); err != nil {
			return fail(err)
		}
		if err := writeFile(path, data, 0o644); err != nil {
			return fail(err)
		}
	}
	err = walk(repoDir, func(name, path string) error {
		if wanted[name] {
			return nil
		}
		return os.Remove(path)
	})
	if err != nil {
		return fail(err)
	}
	return nil
}
