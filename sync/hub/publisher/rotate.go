package publisher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// RotateRoot gives root new keys: the new root is signed by the threshold of
// the old keys and of the new ones, so every gate follows.
func (p *Publisher) RotateRoot(ctx context.Context) (Version, error) {
	return p.Rotate(ctx, metadata.ROOT)
}

// Rotate makes new keys for the role and signs everything of the role's with
// them; the old ones are worth nothing to a gate that has heard of it. It
// needs the offline keys: root's for root, timestamp, snapshot and targets;
// those of targets for the others.
//
// After an online key was stolen, rotate its role, and snapshot and timestamp
// with it if they lay on the same machine: a gate that sees their keys change
// forgets versions that a thief may have driven up.
func (p *Publisher) Rotate(ctx context.Context, role string) (Version, error) {
	return p.change(ctx, func(r *repository, sign map[string]bool) (retire func() error, err error) {
		if _, top := r.root.Signed.Roles[role]; top {
			signers, err := p.rootSigners(r)
			if err != nil {
				return nil, err
			}
			fresh, err := p.keys.make(role)
			if err != nil {
				return nil, err
			}
			if err := setRootKeys(r.root, role, fresh); err != nil {
				return nil, err
			}
			r.root.Signed.Version++
			if err := p.signRoot(r, signers); err != nil {
				return nil, err
			}
			r.resign[role] = true
			return func() error { return p.keys.retire(role, r.root.Signed.Roles[role].KeyIDs) }, nil
		}
		d := r.delegation(role)
		if d == nil {
			return nil, fmt.Errorf("role %q: %w", role, ErrRole)
		}
		if err := p.mayTargets(r); err != nil {
			return nil, err
		}
		fresh, err := p.keys.make(role)
		if err != nil {
			return nil, err
		}
		setDelegationKeys(r, role, fresh)
		sign[metadata.TARGETS], sign[role] = true, true
		return func() error { return p.keys.retire(role, r.delegation(role).KeyIDs) }, nil
	})
}

// AddProvinces makes status roles for provinces that have none. It needs the
// offline keys of targets.
func (p *Publisher) AddProvinces(ctx context.Context, provinces ...string) (Version, error) {
	return p.change(ctx, func(r *repository, sign map[string]bool) (func() error, error) {
		if err := p.mayTargets(r); err != nil {
			return nil, err
		}
		for _, v := range provinces {
			if !provinceCode.MatchString(v) {
				return nil, fmt.Errorf("province %q: want two digits of GB/T 2260", v)
			}
			if r.delegation(statusPrefix+v) != nil {
				continue
			}
			if err := p.delegate(r, statusPrefix+v, sign); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
}

// AddRole makes a delegated role that Init makes today and a repository of
// before may not have: map, release, revocation. It needs the offline keys of targets, and is
// nothing where the role is there.
func (p *Publisher) AddRole(ctx context.Context, role string) (Version, error) {
	if role != releaseRole && role != mapRole && role != revocationRole {
		return Version{}, fmt.Errorf("role %q: %w", role, ErrRole)
	}
	return p.change(ctx, func(r *repository, sign map[string]bool) (func() error, error) {
		if r.delegation(role) != nil {
			return nil, nil
		}
		if err := p.mayTargets(r); err != nil {
			return nil, err
		}
		return nil, p.delegate(r, role, sign)
	})
}

// Renew signs root, targets, keys, policy and release again for another life. It needs
// all offline keys.
func (p *Publisher) Renew(ctx context.Context) (Version, error) {
	return p.change(ctx, func(r *repository, sign map[string]bool) (func() error, error) {
		signers, err := p.rootSigners(r)
		if err != nil {
			return nil, err
		}
		r.root.Signed.Version++
		if err := p.signRoot(r, signers); err != nil {
			return nil, err
		}
		for role := range r.targets {
			if !online(role) {
				sign[role] = true
			}
		}
		return nil, nil
	})
}

func (p *Publisher) change(ctx context.Context, prepare func(*repository, map[string]bool) (func() error, error)) (Version, error) {
	unlock, err := p.lock()
	if err != nil {
		return Version{}, err
	}
	defer unlock()
	if err := ctx.Err(); err != nil {
		return Version{}, err
	}
	r, err := loadRepository(p.dir)
	if err != nil {
		return Version{}, err
	}
	now := p.options.Now().UTC().Truncate(time.Second)
	last, err := r.issued()
	if err != nil {
		return Version{}, err
	}
	if now.Before(last) {
		now = last
	}
	r.repair = true
	sign := map[string]bool{}
	retire, err := prepare(r, sign)
	if err != nil {
		return Version{}, err
	}
	v, err := p.commit(r, sign, nil, now)
	if err != nil {
		return v, err
	}
	if retire != nil {
		if err := retire(); err != nil {
			return v, err
		}
	}
	return v, nil
}

func (p *Publisher) mayTargets(r *repository) error {
	role := r.root.Signed.Roles[metadata.TARGETS]
	_, err := p.keys.quorumOf(metadata.TARGETS, role.KeyIDs, role.Threshold)
	return err
}

// rootSigners returns the keys at hand that the visible root names for itself.
func (p *Publisher) rootSigners(r *repository) ([]signer, error) {
	role := r.root.Signed.Roles[metadata.ROOT]
	return p.keys.quorumOf(metadata.ROOT, role.KeyIDs, role.Threshold)
}

// signRoot signs r.root by the keys it names and by those of the root before it,
// for commit to write: a root that is visible binds the hub, so it must not be
// while anything that comes with it could still fail.
func (p *Publisher) signRoot(r *repository, before []signer) error {
	r.root.Signed.Expires = p.options.Now().UTC().Truncate(time.Second).Add(p.options.life(metadata.ROOT))
	signers, err := p.rootSigners(r)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, s := range signers {
		named[s.id] = true
	}
	for _, s := range before {
		if !named[s.id] {
			signers = append(signers, s)
		}
	}
	data, err := signBy(metadata.ROOT, r.root, signers)
	if err != nil {
		return err
	}
	path := metadataPath(p.dir, metadata.ROOT, r.root.Signed.Version)
	// A root that gates may have seen is never written over. Before the first
	// timestamp nobody has seen any.
	if _, err := os.Stat(path); before != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("root %s: %w", path, errors.Join(fs.ErrExist, err))
	}
	r.newRoot = &file{path, data}
	return nil
}
