package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate"
)

// This file is what policy and map are and were.

// DocumentRequest asks for a policy or a map.
type DocumentRequest struct {
	// Version of the policy; the one in force when zero. Maps of other days are not kept.
	Version uint64 `json:"version,omitempty"`
}

// Policy returns the policy as it was set; By is empty and its version 0 while
// the gates' built-in default is in force.
func (h *Hub) Policy(ctx context.Context, r DocumentRequest) (Document, error) {
	if r.Version != 0 {
		d, err := h.policyDocument(ctx, r.Version)
		return Document(d), err
	}
	d, _, err := load[document](ctx, h.store.registry, "policy")
	if errors.Is(err, ErrNotFound) {
		data, err := gate.DefaultPolicy().Marshal()
		return Document{JSON: data}, err
	}
	return Document(d), err
}

// Map returns the five-colour map in force.
func (h *Hub) Map(ctx context.Context) (Document, error) {
	d, _, err := load[document](ctx, h.store.registry, "map")
	if errors.Is(err, ErrNotFound) {
		return Document{}, fmt.Errorf("map: %w: none was set yet", ErrNotFound)
	}
	return Document(d), err
}

// policyInForce parses what is in force.
func (h *Hub) policyInForce(ctx context.Context) (gate.Policy, error) {
	d, err := h.Policy(ctx, DocumentRequest{})
	if err != nil {
		return gate.Policy{}, err
	}
	return parseKept(d.JSON)
}

// policyVersion returns what the version said; 0 is the gates' built-in default.
func (h *Hub) policyVersion(ctx context.Context, version uint64) (gate.Policy, error) {
	if version == 0 {
		return gate.DefaultPolicy(), nil
	}
	d, err := h.policyDocument(ctx, version)
	if err != nil {
		return gate.Policy{}, err
	}
	return parseKept(d.JSON)
}

func parseKept(data json.RawMessage) (gate.Policy, error) {
	p, err := gate.ParsePolicy(data)
	if err != nil {
		return gate.Policy{}, fmt.Errorf("policy in the registry: %w", err)
	}
	return p, nil
}

func policyKey(version uint64) string { return "policy." + strconv.FormatUint(version, 10) }

// keepPolicy keeps a version under its number: decisions name it for as long as
// they are kept. A crash before this leaves it among the revisions of the one
// in force, where policyDocument looks too.
func (h *Hub) keepPolicy(ctx context.Context, data json.RawMessage, by string) error {
	p, err := parseKept(data)
	if err != nil {
		return err
	}
	if _, err := create(ctx, h.store.registry, policyKey(p.Version), document{data, by}); err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	return nil
}

// policyDocument finds a version that was set.
func (h *Hub) policyDocument(ctx context.Context, version uint64) (document, error) {
	d, _, err := load[document](ctx, h.store.registry, policyKey(version))
	if !errors.Is(err, ErrNotFound) {
		return d, err
	}
	revisions, err := h.store.registry.History(ctx, "policy")
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return document{}, fmt.Errorf("policies in the registry: %w", err)
	}
	for _, r := range revisions {
		if r.Operation() != jetstream.KeyValuePut {
			continue
		}
		if err := json.Unmarshal(r.Value(), &d); err != nil {
			return document{}, fmt.Errorf("policy in the registry: %w", err)
		}
		if p, err := parseKept(d.JSON); err != nil {
			return document{}, err
		} else if p.Version == version {
			return d, nil
		}
	}
	return document{}, fmt.Errorf("policy %d: %w", version, ErrNotFound)
}
