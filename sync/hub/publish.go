package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"greengate/gate"
	"greengate/sync/hub/publisher"
)

// publishState is what the hub knows of its last publish.
type publishState struct {
	mu     sync.Mutex
	at     time.Time
	result Published
	err    string
	keys   bool // the key list changed
	policy bool // the policy or the map changed
	ever   bool
}

// Publishing says how the last publish went: what it made visible, zero before
// the first, when, and what failed since, "" for nothing.
func (h *Hub) Publishing() (p Published, at time.Time, failed string) {
	h.last.mu.Lock()
	defer h.last.mu.Unlock()
	return h.last.result, h.last.at, h.last.err
}

func (s *publishState) keysChanged()   { s.mu.Lock(); s.keys = true; s.mu.Unlock() }
func (s *publishState) policyChanged() { s.mu.Lock(); s.policy = true; s.mu.Unlock() }

// document is a policy or a map in the registry.
type document struct {
	JSON json.RawMessage `json:"json"`
	By   string          `json:"by"`
}

// SetPolicy sets the policy for all gates: the JSON of a gate.Policy, in which
// a field that is left out has its default. Its version must be above the one
// in force; 0 takes the next one.
func (h *Hub) SetPolicy(ctx context.Context, r Document) error {
	if err := checkBy(r.By); err != nil {
		return err
	}
	p, err := gate.ParsePolicy(r.JSON)
	if err != nil {
		return invalid("%w", err)
	}
	var set []byte
	err = h.setDocument(ctx, "policy", r.By, func(old json.RawMessage) (_ []byte, err error) {
		var have uint64
		if old != nil {
			o, err := gate.ParsePolicy(old)
			if err != nil {
				return nil, fmt.Errorf("policy in the registry: %w", err)
			}
			have = o.Version
		}
		q := p
		if q.Version == 0 {
			q.Version = have + 1
		}
		if q.Version <= have {
			return nil, fmt.Errorf("policy version %d: %w: %d is in force", q.Version, ErrConflict, have)
		}
		set, err = q.Marshal()
		return set, err
	})
	if err != nil {
		return err
	}
	if err := h.keepPolicy(ctx, set, r.By); err != nil {
		return err
	}
	return h.audit(ctx, r.By, "policy-set", "policy")
}

// SetMap sets the five-colour map: the JSON of a gate.RiskMap. Its version
// must be above the one in force; 0 takes the next one.
func (h *Hub) SetMap(ctx context.Context, r Document) error {
	if err := checkBy(r.By); err != nil {
		return err
	}
	m, err := gate.ParseRiskMap(r.JSON)
	if err != nil {
		return invalid("%w", err)
	}
	err = h.setDocument(ctx, "map", r.By, func(old json.RawMessage) ([]byte, error) {
		var have uint64
		if old != nil {
			o, err := gate.ParseRiskMap(old)
			if err != nil {
				return nil, fmt.Errorf("map in the registry: %w", err)
			}
			have = o.Version
		}
		n := m
		if n.Version == 0 {
			n.Version = have + 1
		}
		if n.Version <= have {
			return nil, fmt.Errorf("map version %d: %w: %d is in force", n.Version, ErrConflict, have)
		}
		return n.Marshal()
	})
	if err != nil {
		return err
	}
	return h.audit(ctx, r.By, "map-set", "map")
}

// setDocument replaces a document by compare-and-set.
func (h *Hub) setDocument(ctx context.Context, key, by string, next func(old json.RawMessage) ([]byte, error)) error {
	_, _, err := update(ctx, h.store.registry, key, func(d *document) error {
		data, err := next(d.JSON)
		if err == nil {
			*d = document{data, by}
		}
		return err
	})
	if errors.Is(err, ErrNotFound) {
		var data []byte
		if data, err = next(nil); err == nil {
			_, err = create(ctx, h.store.registry, key, document{data, by})
		}
	}
	if err != nil {
		return err
	}
	h.last.policyChanged()
	h.notePending()
	return nil
}

// Publish makes all changes visible to the gates now, at once.
func (h *Hub) Publish(ctx context.Context) (Published, error) {
	h.publish.Lock()
	defer h.publish.Unlock()
	out, err := h.publishNow(ctx)
	if err == nil {
		h.publishRevocations(ctx, &out)
		out.Mirror = h.mirror(ctx)
	}
	h.last.mu.Lock()
	defer h.last.mu.Unlock()
	h.last.err = ""
	if errors.Is(err, ErrNotLeader) {
		return Published{}, fmt.Errorf("publish: %w", err) // nothing failed
	}
	if err != nil {
		h.last.err = err.Error()
		return Published{}, fmt.Errorf("publish: %w", err)
	}
	h.last.at, h.last.result = h.options.Now(), out
	return out, nil
}

// mirror brings the folder of another web server up to what was published. That
// it cannot does not take the publish back, and the next one tries again.
func (h *Hub) mirror(ctx context.Context) string {
	if h.options.Mirror == "" {
		return ""
	}
	m, err := publisher.Mirror(ctx, h.visible(), h.options.Mirror)
	if err != nil {
		h.log.Error("published here, but the mirror is behind", "err", err)
		return err.Error()
	}
	h.log.Debug("mirrored", "written", m.Written, "removed", m.Removed, "bytes", m.Bytes)
	return ""
}

func (h *Hub) publishNow(ctx context.Context) (_ Published, err error) {
	if err := h.mustLead(); err != nil {
		return Published{}, err
	}
	if err := h.current(ctx); err != nil {
		return Published{}, err
	}
	h.last.mu.Lock()
	keys, policy, ever := h.last.keys, h.last.policy, h.last.ever
	h.last.keys, h.last.policy = false, false
	h.last.mu.Unlock()
	defer func() {
		h.last.mu.Lock()
		defer h.last.mu.Unlock()
		if err != nil {
			h.last.keys, h.last.policy = h.last.keys || keys, h.last.policy || policy
		} else {
			h.last.ever = true
		}
	}()
	if h.shared != nil {
		keys, policy = true, true // who changed them may have asked another hub
	}
	c, err := h.offlineContents(ctx, keys || !ever, policy || !ever)
	if err != nil {
		return Published{}, err
	}
	c.Issued = h.options.Now().UTC().Truncate(time.Second)
	colours := !ever || h.coloursWait()
	if colours {
		// A code is either in the lists, or later than they are.
		if err := h.begin(ctx, c.Issued); err != nil {
			return Published{}, err
		}
	}
	type snapshot struct {
		list    *codeList
		changed uint64
	}
	var snapshots []snapshot
	h.lists.mu.Lock()
	for _, l := range h.lists.byURI {
		if !colours || l.changed == l.done && ever {
			continue
		}
		var p publisher.List
		p.Info.URI, p.Info.Bits = l.uri, l.array.Bits()
		p.Raw = slices.Clone(l.array.Raw())
		c.Lists = append(c.Lists, p)
		snapshots = append(snapshots, snapshot{l, l.changed})
	}
	h.lists.mu.Unlock()
	slices.SortFunc(c.Lists, func(a, b publisher.List) int { return strings.Compare(a.Info.URI, b.Info.URI) })
	v, err := h.release(ctx, c)
	waiting := ""
	if errors.Is(err, publisher.ErrOfflineKeys) {
		// A colour, of a code or a county, must not wait for somebody to fetch the offline keys: what
		// needs them stays as it was, and is tried again with each publish.
		waiting = err.Error()
		c.Keys, c.Policy = nil, gate.Policy{}
		v, err = h.release(ctx, c)
	}
	if err != nil {
		return Published{}, err
	}
	if waiting != "" {
		h.last.mu.Lock()
		h.last.keys, h.last.policy = h.last.keys || keys || !ever, h.last.policy || policy || !ever
		h.last.mu.Unlock()
		h.log.Error("keys or policy wait for the offline keys; colours and map were published", "err", waiting)
	}
	out := Published{Issued: v.Issued, Timestamp: v.Timestamp, Waiting: waiting}
	due, err := h.publisher.Expiring(c.Issued)
	if err != nil {
		return Published{}, err
	}
	for _, d := range due {
		out.Due = append(out.Due, Due{Role: d.Role, Ends: d.At})
		h.log.Warn("a role wants the offline keys before its end", "role", d.Role, "ends", d.At)
	}
	h.lists.mu.Lock()
	for _, s := range snapshots {
		s.list.done = s.changed
	}
	h.lists.mu.Unlock()
	h.noteLists(v, &out)
	return out, nil
}

// noteLists takes note of the status lists that a publish wrote or renewed.
func (h *Hub) noteLists(v publisher.Version, out *Published) {
	h.lists.mu.Lock()
	defer h.lists.mu.Unlock()
	for _, i := range v.Lists {
		out.Lists = append(out.Lists, i.URI)
		if l := h.lists.byURI[i.URI]; l != nil {
			l.info = i
		}
	}
	for _, i := range v.Revocations {
		out.Revocations = append(out.Revocations, i.ID.String())
	}
}

// coloursWait says whether a status list has changes that are not published.
func (h *Hub) coloursWait() bool {
	h.lists.mu.Lock()
	defer h.lists.mu.Unlock()
	for _, l := range h.lists.byURI {
		if l.changed != l.done {
			return true
		}
	}
	return false
}

// publishLoop publishes by itself until ctx ends: PublishDelay after a change,
// or after a publish that failed, and each Heartbeat without one.
func (h *Hub) publishLoop(ctx context.Context) {
	never := make(chan time.Time)
	var due <-chan time.Time = never
	waiting := false
	try := func() {
		out, err := h.Publish(ctx)
		if err != nil {
			if errors.Is(err, ErrNotLeader) {
				return // the leader sees the same changes
			}
			if ctx.Err() == nil {
				h.log.Error("publish failed", "err", err)
			}
			if h.options.PublishDelay > 0 && !waiting {
				due, waiting = time.After(h.options.PublishDelay), true
			}
			return
		}
		h.log.Debug("published", "lists", len(out.Lists), "timestamp", out.Timestamp)
	}
	var beat <-chan time.Time = never
	if h.options.Heartbeat > 0 {
		t := time.NewTicker(h.options.Heartbeat)
		defer t.Stop()
		beat = t.C
		try()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.changed:
			if h.options.PublishDelay > 0 && !waiting {
				due, waiting = time.After(h.options.PublishDelay), true
			}
		case <-due:
			due, waiting = never, false
			try()
		case <-beat:
			try()
		}
	}
}
