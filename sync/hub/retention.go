package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate/passage"
)

// Retention is how long each field of a passage is kept, in days of 24 hours
// from when it happened (keys) or came here (the rest).
type Retention struct {
	// SealedDays: after them the keys of the sealed parts (pseudonym, colour,
	// temperature, permit) are erased, and nobody can open them; 1 to 365.
	SealedDays int `json:"sealed_days"`
	// ClearDays: after them the clear parts go too, but for each gate's last
	// batch, which holds its sequence, and what was kept without being taken;
	// SealedDays to 3650.
	ClearDays int `json:"clear_days"`
}

// defaultRetention holds where nobody has set another.
var defaultRetention = Retention{SealedDays: 30, ClearDays: 730}

const (
	retentionKey = "retention"
	// sweepEvery is how often a running hub looks whether something is past its
	// time. What is found costs a read a key, what is not costs little.
	sweepEvery = time.Hour
)

// RetentionRequest sets it.
type RetentionRequest struct {
	Retention
	By string `json:"by"`
}

// Retention returns what is in force.
func (h *Hub) Retention(ctx context.Context) (Retention, error) {
	r, _, err := load[Retention](ctx, h.store.registry, retentionKey)
	if errors.Is(err, ErrNotFound) {
		return defaultRetention, nil
	}
	return r, err
}

// SetRetention sets it for everything that is stored, also what is there already.
func (h *Hub) SetRetention(ctx context.Context, r RetentionRequest) error {
	if err := checkBy(r.By); err != nil {
		return err
	}
	if r.SealedDays < 1 || r.SealedDays > 365 || r.ClearDays < r.SealedDays || r.ClearDays > 3650 {
		return invalid("sealed parts %d days, clear parts %d: want 1 to 365, and from that to 3650", r.SealedDays, r.ClearDays)
	}
	data, err := json.Marshal(r.Retention)
	if err != nil {
		return err
	}
	if _, err := h.store.registry.Put(ctx, retentionKey, data); err != nil {
		return fmt.Errorf("registry %s: %w", retentionKey, err)
	}
	return h.audit(ctx, r.By, "retention-set", fmt.Sprintf("sealed %d clear %d", r.SealedDays, r.ClearDays))
}

// Swept is what a sweep took away.
type Swept struct {
	// Keys of segments erased, and batches with clear parts purged.
	Keys    int `json:"keys"`
	Batches int `json:"batches"`
	// Breaks are batches that were kept as evidence.
	Breaks int `json:"breaks,omitempty"`
}

// Sweep takes away what is past its retention. Of several hubs the one that
// publishes sweeps; a second one at the same time would do no harm.
func (h *Hub) Sweep(ctx context.Context) (s Swept, err error) {
	r, err := h.Retention(ctx)
	if err != nil {
		return s, err
	}
	now := h.options.Now()
	if s.Keys, err = h.EraseKeys(ctx, now.AddDate(0, 0, -r.SealedDays)); err != nil {
		return s, err
	}
	if s.Batches, err = h.purgeClear(ctx, now.AddDate(0, 0, -r.ClearDays)); err != nil {
		return s, err
	}
	if s.Breaks, err = h.purgeBreaks(ctx, now.AddDate(0, 0, -r.ClearDays)); err != nil {
		return s, err
	}
	if s.Keys+s.Batches+s.Breaks > 0 {
		err = h.audit(ctx, "retention", "sweep", fmt.Sprintf("keys %d batches %d breaks %d", s.Keys, s.Batches, s.Breaks))
	}
	return s, err
}

// sweepLoop sweeps until ctx ends.
func (h *Hub) sweepLoop(ctx context.Context) {
	again := time.NewTicker(sweepEvery)
	defer again.Stop()
	for {
		if h.shared == nil || h.shared.leading() {
			if _, err := h.Sweep(ctx); err != nil && ctx.Err() == nil {
				h.log.Error("retention not kept", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// checkpointRecord is kept under checkpoint.GATE: where a gate's history begins
// since its older part was purged.
type checkpointRecord struct {
	Last uint64 `json:"last"`
	Head []byte `json:"head"`
}

// checkpoint is where verifying a gate begins.
type checkpoint struct {
	Last  uint64
	Chain [32]byte
}

func (h *Hub) checkpoint(ctx context.Context, id string) (checkpoint, error) {
	r, _, err := load[checkpointRecord](ctx, h.store.registry, "checkpoint."+id)
	if errors.Is(err, ErrNotFound) {
		return checkpoint{Chain: passage.Genesis(id)}, nil
	}
	if err != nil {
		return checkpoint{}, err
	}
	c := checkpoint{Last: r.Last}
	if copy(c.Chain[:], r.Head) != len(c.Chain) || len(r.Head) != len(c.Chain) {
		return checkpoint{}, fmt.Errorf("checkpoint of gate %s: a head of %d bytes", id, len(r.Head))
	}
	return c, nil
}

// purgeClear purges the batches that came before a time, all but each gate's
// last. Where the history begins then is kept first: one that was cut short by
// somebody else does not follow it.
func (h *Hub) purgeClear(ctx context.Context, before time.Time) (purged int, err error) {
	info, err := h.store.passages.Info(ctx, jetstream.WithSubjectFilter(passagesPrefix+"*"))
	if err != nil {
		return 0, fmt.Errorf("passages: %w", err)
	}
	for subject := range info.State.Subjects {
		id := subject[len(passagesPrefix):]
		at, err := h.head(ctx, id)
		if err != nil {
			return purged, err
		}
		var last *checkpointRecord
		keep, n := uint64(0), 0
		for seq := uint64(1); ; {
			m, err := h.store.passages.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
			if err != nil {
				return purged, fmt.Errorf("stored passages of gate %s: %w", id, err)
			}
			if keep = m.Sequence; keep >= at.message || !m.Time.Before(before) {
				break
			}
			_, to, chain, err := parseHeaders(m.Header)
			if err != nil {
				return purged, fmt.Errorf("stored passages of gate %s, message %d: %w", id, m.Sequence, err)
			}
			last = &checkpointRecord{Last: to, Head: chain[:]}
			seq, n = m.Sequence+1, n+1
		}
		if last == nil {
			continue
		}
		data, err := json.Marshal(last)
		if err != nil {
			return purged, err
		}
		if _, err := h.store.registry.Put(ctx, "checkpoint."+id, data); err != nil {
			return purged, fmt.Errorf("checkpoint of gate %s: %w", id, err)
		}
		if err := h.store.passages.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(keep)); err != nil {
			return purged, fmt.Errorf("purge passages of gate %s: %w", id, err)
		}
		purged += n
	}
	return purged, nil
}
