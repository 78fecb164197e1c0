package publisher

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// RoleStatus is one role as it is visible now.
type RoleStatus struct {
	Role string `json:"role"`
	// Offline roles have keys that are away most of the time.
	Offline bool `json:"offline"`
	// Threshold is how many of Keys must sign.
	Threshold int         `json:"threshold"`
	Keys      []KeyStatus `json:"keys"`
	// Version and Ends of its metadata. Online roles are signed again long before.
	Version int64     `json:"version"`
	Ends    time.Time `json:"ends"`
}

// AtHand counts the keys whose private half is there.
func (s RoleStatus) AtHand() (n int) {
	for _, k := range s.Keys {
		if k.File != "" {
			n++
		}
	}
	return n
}

// KeyStatus is one key that may sign for a role.
type KeyStatus struct {
	// ID is the key's identifier in the metadata.
	ID string `json:"id"`
	// File holds the private half; empty where it is away.
	File string `json:"file,omitempty"`
}

// Roles describes all roles: root, targets, snapshot and timestamp, then the
// delegated ones by name.
func (p *Publisher) Roles() ([]RoleStatus, error) {
	r, err := loadRepository(p.dir)
	if err != nil {
		return nil, err
	}
	var out []RoleStatus
	add := func(role string, version int64, ends time.Time) error {
		ids, threshold, err := r.signers(role)
		if err != nil {
			return err
		}
		s := RoleStatus{Role: role, Offline: !online(role), Threshold: threshold, Version: version, Ends: ends}
		numbers, err := p.keys.numbers(role)
		if err != nil {
			return err
		}
		signers, err := p.keys.load(role)
		if err != nil {
			return err
		}
		for _, id := range ids {
			k := KeyStatus{ID: id}
			if i := slices.IndexFunc(signers, func(s signer) bool { return s.id == id }); i >= 0 {
				k.File = p.keys.path(role, numbers[i])
			}
			s.Keys = append(s.Keys, k)
		}
		out = append(out, s)
		return nil
	}
	err = errors.Join(
		add(metadata.ROOT, r.root.Signed.Version, r.root.Signed.Expires),
		add(metadata.TARGETS, r.targets[metadata.TARGETS].Signed.Version, r.targets[metadata.TARGETS].Signed.Expires),
		add(metadata.SNAPSHOT, r.snapshot.Signed.Version, r.snapshot.Signed.Expires),
		add(metadata.TIMESTAMP, r.timestamp.Signed.Version, r.timestamp.Signed.Expires),
	)
	delegated := slices.Clone(r.targets[metadata.TARGETS].Signed.Delegations.Roles)
	slices.SortFunc(delegated, func(a, b metadata.DelegatedRole) int { return strings.Compare(a.Name, b.Name) })
	for _, d := range delegated {
		md := r.targets[d.Name].Signed
		err = errors.Join(err, add(d.Name, md.Version, md.Expires))
	}
	return out, err
}

// KeyFiles lists the private keys at hand: those that are to be away again, and
// those that stay. Retired ones are among them.
func (p *Publisher) KeyFiles() (offline, online []string, err error) {
	if offline, err = keyFiles(p.keys.folder(metadata.ROOT)); err != nil {
		return nil, nil, err
	}
	online, err = keyFiles(p.keys.folder(metadata.TIMESTAMP))
	return offline, online, err
}

func keyFiles(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && keyFile.MatchString(e.Name()) {
			files = append(files, path)
		}
		if errors.Is(err, fs.ErrNotExist) && path == dir {
			return nil
		}
		return err
	})
	return files, err
}
