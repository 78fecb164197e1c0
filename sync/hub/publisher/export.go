package publisher

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Exported is what an export wrote.
type Exported struct {
	// Timestamp is the version of the timestamp, Issued its signed time and
	// Expires its end, after which no gate takes the export.
	Timestamp int64     `json:"timestamp"`
	Issued    time.Time `json:"issued"`
	Expires   time.Time `json:"expires"`
	Lists     int       `json:"lists"`
	Files     int       `json:"files"`
	Bytes     int64     `json:"bytes"`
}

// file of an export: its path below the repository, and its bytes.
type exportFile func(path string, data []byte) error

// ExportTar writes what is current as a tar: see [ExportDir] for what that is.
// A given state always makes the same bytes.
func ExportTar(repoDir string, regions []string, w io.Writer) (Exported, error) {
	t := tar.NewWriter(w)
	r, err := loadRepository(repoDir)
	if err != nil {
		return Exported{}, err
	}
	issued, err := r.issued()
	if err != nil {
		return Exported{}, err
	}
	out, err := r.export(repoDir, regions, func(path string, data []byte) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Size: int64(len(data)), Mode: 0o644, ModTime: issued, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := t.Write(data)
		return err
	})
	if err != nil {
		return out, err
	}
	return out, t.Close()
}

// ExportDir writes what is current to a folder, such as a USB stick's: all roots,
// the timestamp, the snapshot and roles that it names, and what they deliver; of
// the status lists those of the regions named, all where none is. What an older
// export left there is removed. It only reads the repository, and signs nothing.
func ExportDir(repoDir string, regions []string, dir string) (Exported, error) {
	r, err := loadRepository(repoDir)
	if err != nil {
		return Exported{}, err
	}
	// A publisher works only where its lock lies.
	if _, err := os.Stat(filepath.Join(dir, ".lock")); err == nil {
		return Exported{}, fmt.Errorf("folder %s: %w, which an export does not overwrite", dir, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Exported{}, err
	}
	wrote := map[string]bool{}
	out, err := r.export(repoDir, regions, func(name string, data []byte) error {
		to := filepath.Join(dir, filepath.FromSlash(name))
		wrote[to] = true
		if err := makeDirs(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return writeFile(to, data, 0o644)
	})
	if err != nil {
		return out, err
	}
	for _, top := range []string{"metadata", "targets"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || wrote[path] || !ours(path) {
				return err
			}
			return os.Remove(path)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return out, err
		}
	}
	return out, nil
}

var (
	statusPath   = regexp.MustCompile(`^status/([0-9]{2,6})/`)
	exportRegion = regexp.MustCompile(`^[0-9]{2,6}$`)
)

// export hands the files over, the timestamp last: half an export is none.
func (r *repository) export(dir string, regions []string, file exportFile) (out Exported, err error) {
	for _, region := range regions {
		if !exportRegion.MatchString(region) {
			return out, fmt.Errorf("region %q: want 2 to 6 digits of GB/T 2260", region)
		}
	}
	// in says whether a region's list is wanted: a county lies in its
	// prefecture's list, and a province holds all of its prefectures'.
	in := func(region string) bool {
		return len(regions) == 0 || slices.ContainsFunc(regions, func(s string) bool {
			return strings.HasPrefix(s, region) || strings.HasPrefix(region, s)
		})
	}
	add := func(name string, verify func([]byte) error) error {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return damaged(name, err)
		}
		if verify != nil {
			if err := verify(data); errors.Is(err, ErrMoved) {
				return fmt.Errorf("%s: %w; try again", name, err)
			} else if err != nil {
				return damaged(name, err)
			}
		}
		out.Files++
		out.Bytes += int64(len(data))
		return file(name, data)
	}
	role := func(name string, version int64) string { return fmt.Sprintf("metadata/%d.%s.json", version, name) }

	for v := int64(1); v <= r.root.Signed.Version; v++ {
		if err := add(role(metadata.ROOT, v), nil); err != nil {
			return out, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.targets)) {
		if province, ok := strings.CutPrefix(name, "status-"); ok && !in(province) {
			continue
		}
		meta := r.snapshot.Signed.Meta[name+".json"]
		if err := add(role(name, meta.Version), func(data []byte) error { return meta.VerifyLengthHashes(data) }); err != nil {
			return out, err
		}
		targets := r.targets[name].Signed.Targets
		for _, p := range slices.Sorted(maps.Keys(targets)) {
			m := statusPath.FindStringSubmatch(p)
			if m != nil && !in(m[1]) {
				continue
			}
			t := targets[p]
			if err := add(path.Join("targets", hashed(p, t.Hashes["sha256"].String())), func(data []byte) error { return t.VerifyLengthHashes(data) }); err != nil {
				return out, err
			}
			if m != nil {
				out.Lists++
			}
		}
	}
	named := r.timestamp.Signed.Meta["snapshot.json"]
	if err := add(role(metadata.SNAPSHOT, named.Version), func(data []byte) error { return named.VerifyLengthHashes(data) }); err != nil {
		return out, err
	}
	if out.Issued, err = r.issued(); err != nil {
		return out, err
	}
	out.Timestamp, out.Expires = r.timestamp.Signed.Version, r.timestamp.Signed.Expires
	// A publish since the folder was read has put another in its place.
	err = add("metadata/timestamp.json", func(data []byte) error {
		now, err := metadata.Timestamp().FromBytes(data)
		if err != nil {
			return err
		}
		if now.Signed.Version != out.Timestamp {
			return ErrMoved
		}
		return nil
	})
	return out, err
}
