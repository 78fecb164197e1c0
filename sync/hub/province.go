package hub

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/healthcode"
	"greengate/sync/hub/publisher"
)

// ProvinceRequest names a province that the hub is to issue for from now on.
type ProvinceRequest struct {
	// Province is two digits of GB/T 2260.
	Province string `json:"province"`
	By       string `json:"by"`
}

// AddProvince makes the province's issuer key and issues for it from now on.
// Its lists want a status role, which publisher.AddProvinces makes with the
// offline keys, and gates take the new key once role keys has signed it. A call
// that was cut can be made again; hub.json is written last.
func (h *Hub) AddProvince(ctx context.Context, r ProvinceRequest) error {
	if err := checkBy(r.By); err != nil {
		return err
	}
	if !provincePattern.MatchString(r.Province) {
		return invalid("province %q: want two digits of GB/T 2260", r.Province)
	}
	h.provinces.Lock()
	defer h.provinces.Unlock()
	if _, ok := h.issuers[r.Province]; ok {
		return nil
	}
	config := h.config
	config.Provinces = append(slices.Clone(config.Provinces), r.Province)
	if err := config.complete(); err != nil {
		return invalid("%w", err)
	}
	private, err := openEd25519(h.paths.issuer(r.Province))
	if err != nil {
		return fmt.Errorf("issuer of %s: %w", r.Province, err)
	}
	if err := putKey(ctx, h.store, issuerKey(private, r.Province, h.options.Now())); err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	keys, err := h.keys(ctx)
	if err != nil {
		return err
	}
	known := pass.NewKeyMap(keys).Keys(keyID(private.Public().(ed25519.PublicKey)))
	if len(known) == 0 {
		return fmt.Errorf("issuer of %s: its key is not in the registry", r.Province)
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	if err := writePrivate(h.paths.config(), append(data, '\n')); err != nil {
		return err
	}
	h.config.Provinces = config.Provinces
	h.issuers[r.Province] = healthcode.Signer{Key: known[0], Private: private}
	h.last.keysChanged()
	h.notePending()
	return h.audit(ctx, r.By, "province-add", r.Province)
}

// issuer returns who signs the codes of a region's province.
func (h *Hub) issuer(region string) (healthcode.Signer, error) {
	h.provinces.RLock()
	defer h.provinces.RUnlock()
	s, ok := h.issuers[region[:2]]
	if !ok {
		return s, invalid("region %s: this hub answers for the provinces %v", region, h.config.Provinces)
	}
	return s, nil
}

// OfflineContents is what offline keys sign: it is given out so that they need
// not come to the hub's disk.
type OfflineContents struct {
	// Keys as pass.MarshalKeySet writes them; Policy and Map are empty where none was set.
	Keys   []byte          `json:"keys"`
	Policy json.RawMessage `json:"policy,omitempty"`
	Map    json.RawMessage `json:"map,omitempty"`
}

// OfflineContents returns what the registry holds of it now.
func (h *Hub) OfflineContents(ctx context.Context) (OfflineContents, error) {
	c, err := h.offlineContents(ctx, true, true)
	if err != nil {
		return OfflineContents{}, err
	}
	var out OfflineContents
	if out.Keys, err = pass.MarshalKeySet(c.Keys); err != nil {
		return OfflineContents{}, err
	}
	if c.Policy.Version != 0 {
		if out.Policy, err = c.Policy.Marshal(); err != nil {
			return OfflineContents{}, err
		}
	}
	if c.Map.Version != 0 {
		if out.Map, err = c.Map.Marshal(); err != nil {
			return OfflineContents{}, err
		}
	}
	return out, nil
}

// Contents reads it for a publisher.
func (o OfflineContents) Contents() (c publisher.Contents, err error) {
	if c.Keys, err = pass.ParseKeySet(o.Keys); err != nil {
		return c, err
	}
	if len(o.Policy) > 0 {
		if c.Policy, err = gate.ParsePolicy(o.Policy); err != nil {
			return c, err
		}
	}
	if len(o.Map) > 0 {
		c.Map, err = gate.ParseRiskMap(o.Map)
	}
	return c, err
}

// offlineContents reads the keys, and policy and map, from the registry.
func (h *Hub) offlineContents(ctx context.Context, keys, policy bool) (c publisher.Contents, err error) {
	if keys {
		if c.Keys, err = h.keys(ctx); err != nil {
			return c, err
		}
	}
	if !policy {
		return c, nil
	}
	switch d, _, err := load[document](ctx, h.store.registry, "policy"); {
	case err == nil:
		if c.Policy, err = parseKept(d.JSON); err != nil {
			return c, err
		}
	case !errors.Is(err, ErrNotFound):
		return c, err
	}
	switch d, _, err := load[document](ctx, h.store.registry, "map"); {
	case err == nil:
		if c.Map, err = gate.ParseRiskMap(d.JSON); err != nil {
			return c, fmt.Errorf("map in the registry: %w", err)
		}
	case !errors.Is(err, ErrNotFound):
		return c, err
	}
	return c, nil
}
