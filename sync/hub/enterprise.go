package hub

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"greengate/pass"
	"greengate/pass/healthcode"
	"greengate/pass/statuslist"
)

// AddEnterprise delegates a key to an enterprise. In this form the key is made
// at the hub and stays there in a file; permits are signed here in the
// enterprise's name. Gates know the key after the next publish.
func (h *Hub) AddEnterprise(ctx context.Context, r EnterpriseRequest) (Enterprise, error) {
	if err := checkBy(r.By); err != nil {
		return Enterprise{}, err
	}
	if !enterprisePattern.MatchString(r.Number) {
		return Enterprise{}, invalid("number %.40q: want 1 to 32 of A-Z, a-z, 0-9 and \"-\"", r.Number)
	}
	if !validText(r.Name, 1, 128) {
		return Enterprise{}, invalid("name: want 1 to 128 bytes of text")
	}
	if !countyPattern.MatchString(r.Region) {
		return Enterprise{}, invalid("region %.20q: want six digits of GB/T 2260", r.Region)
	}
	if _, err := h.issuer(r.Region); err != nil {
		return Enterprise{}, err
	}
	zones, err := checkZones(r.Zones)
	if err != nil {
		return Enterprise{}, err
	}
	if _, _, err := load[Enterprise](ctx, h.store.registry, "enterprise."+r.Number); err == nil {
		return Enterprise{}, fmt.Errorf("enterprise %s: %w: it is there already", r.Number, ErrConflict)
	} else if !errors.Is(err, ErrNotFound) {
		return Enterprise{}, err
	}
	private, err := openEd25519(h.paths.enterprise(r.Number))
	if err != nil {
		return Enterprise{}, fmt.Errorf("enterprise %s: %w", r.Number, err)
	}
	public := private.Public().(ed25519.PublicKey)
	from := h.options.Now().UTC().Truncate(time.Second)
	k := pass.Key{ID: keyID(public), Algorithm: pass.EdDSA, Public: public, Use: pass.UsePermit, Region: r.Region,
		NotBefore: from, NotAfter: from.Add(issuerLife), Enterprise: r.Number, Zones: zones}
	if err := putKey(ctx, h.store, k); err != nil && !errors.Is(err, ErrConflict) {
		return Enterprise{}, err
	}
	e := Enterprise{Number: r.Number, Name: r.Name, Region: r.Region, Zones: zones, KeyID: k.ID, Added: from}
	if _, err := create(ctx, h.store.registry, "enterprise."+r.Number, e); err != nil {
		return Enterprise{}, err
	}
	h.last.keysChanged()
	h.notePending()
	return e, h.audit(ctx, r.By, "enterprise-add", r.Number)
}

func checkZones(zones []string) ([]string, error) {
	if len(zones) < 1 || len(zones) > 16 {
		return nil, invalid("zones: %d, want 1 to 16", len(zones))
	}
	zones = slices.Clone(zones)
	slices.Sort(zones)
	for i, z := range zones {
		if !validText(z, 1, 32) {
			return nil, invalid("zone %.40q: want 1 to 32 bytes of text", z)
		}
		if i > 0 && zones[i-1] == z {
			return nil, invalid("zone %s is named twice", z)
		}
	}
	return zones, nil
}

// Enterprises lists them by number.
func (h *Hub) Enterprises(ctx context.Context) ([]Enterprise, error) {
	out := []Enterprise{}
	err := list(ctx, h.store.registry, "enterprise.", func(_ string, e Enterprise) error {
		out = append(out, e)
		return nil
	})
	slices.SortFunc(out, func(a, b Enterprise) int { return strings.Compare(a.Number, b.Number) })
	return out, err
}

// keys returns all verification keys that gates are to have, by kid.
func (h *Hub) keys(ctx context.Context) ([]pass.Key, error) {
	keys := []pass.Key{}
	err := list(ctx, h.store.registry, "key.", func(_ string, r keyRecord) error {
		k, err := pass.ParseKeySet(r.Set)
		keys = append(keys, k...)
		return err
	})
	slices.SortFunc(keys, func(a, b pass.Key) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return keys, err
}

// IssuePermit makes an entry permit for the holder of a health code. The
// permit has a status entry of its own in the enterprise's region.
func (h *Hub) IssuePermit(ctx context.Context, r PermitRequest) (Issued, error) {
	if err := checkBy(r.By); err != nil {
		return Issued{}, err
	}
	valid, err := validity(r.ValidSeconds)
	if err != nil {
		return Issued{}, err
	}
	if !enterprisePattern.MatchString(r.Enterprise) {
		return Issued{}, invalid("enterprise %.40q: want 1 to 32 of A-Z, a-z, 0-9 and \"-\"", r.Enterprise)
	}
	e, _, err := load[Enterprise](ctx, h.store.registry, "enterprise."+r.Enterprise)
	if err != nil {
		return Issued{}, err
	}
	zones := e.Zones
	if len(r.Zones) > 0 {
		if zones, err = checkZones(r.Zones); err != nil {
			return Issued{}, err
		}
		for _, z := range zones {
			if !slices.Contains(e.Zones, z) {
				return Issued{}, invalid("zone %s is not enterprise %s's", z, e.Number)
			}
		}
	}
	holder, err := h.lists.slot(r.Holder)
	if err != nil {
		return Issued{}, fmt.Errorf("holder: %w", err)
	}
	code, _, err := load[codeRecord](ctx, h.store.codes, holder.key())
	if errors.Is(err, ErrNotFound) {
		return Issued{}, fmt.Errorf("holder %s: %w: never issued", r.Holder, ErrNotFound)
	}
	if err != nil {
		return Issued{}, err
	}
	if code.Kind == pass.KindPermit.String() || code.Value == statuslist.Invalid {
		return Issued{}, fmt.Errorf("holder %s: %w: not a health code in force", r.Holder, ErrConflict)
	}
	private, err := readKey(h.paths.enterprise(e.Number))
	if err != nil {
		return Issued{}, fmt.Errorf("enterprise %s: %w", e.Number, err)
	}
	k, _, err := load[keyRecord](ctx, h.store.registry, "key."+hex.EncodeToString(e.KeyID))
	if err != nil {
		return Issued{}, err
	}
	keys, err := pass.ParseKeySet(k.Set)
	if err != nil || len(keys) != 1 {
		return Issued{}, fmt.Errorf("enterprise %s: its key in the registry: %d keys, %w", e.Number, len(keys), err)
	}
	signer := healthcode.Signer{Key: keys[0], Private: private}
	rec := codeRecord{Kind: pass.KindPermit.String(), Value: statuslist.Valid, Enterprise: e.Number, Holder: &r.Holder, By: r.By}
	issued, err := h.claim(ctx, e.Region[:4], valid, rec, func(ref Ref, from, to time.Time) (string, error) {
		return healthcode.IssuePermit(signer, healthcode.PermitClaims{Issued: from, Expires: to, Status: ref.StatusRef(),
			Region: e.Region, Zones: zones, Holder: r.Holder.StatusRef()})
	})
	if err != nil {
		return Issued{}, fmt.Errorf("permit of enterprise %s: %w", e.Number, err)
	}
	return issued, h.audit(ctx, r.By, "issue-permit", issued.Status.String())
}
