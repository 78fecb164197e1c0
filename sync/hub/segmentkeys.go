package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate"
	"greengate/gate/passage"
)

// The data keys of gates' segments lie in a stream of their own, one message
// each, so that those of a day can be erased while the passages stay. The names
// must never change.
const (
	keysStream = "SEGMENTKEYS"
	keysPrefix = "segmentkeys."
	// headerDay is the day of the segment's records, as 2020-02-17, in the
	// operator's time.
	headerDay = "Greengate-Day"
)

// keySubjects are the subjects of all keys of a gate.
func keySubjects(id string) string { return keysPrefix + id + ".*" }

func keySubject(id string, segment uint64) string {
	return keysPrefix + id + "." + strconv.FormatUint(segment, 10)
}

// keepKeys stores the keys of a batch that are not stored yet. The same key may
// come any number of times, and destroyed after it came whole.
func (h *Hub) keepKeys(ctx context.Context, id string, b *passage.Batch) error {
	for _, k := range b.Keys {
		if k.Destroyed() {
			continue
		}
		m := &nats.Msg{Subject: keySubject(id, k.Segment), Data: append(bytes.Clone(k.Encapsulated), k.Sealed...), Header: nats.Header{}}
		m.Header.Set(headerDay, h.segmentDay(b, k.Segment))
		_, err := h.store.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(0))
		if isConflict(err) {
			held, err := h.segmentKey(ctx, id, k.Segment)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			if err == nil && (!bytes.Equal(held.Encapsulated, k.Encapsulated) || !bytes.Equal(held.Sealed, k.Sealed)) {
				return h.fork(ctx, id, breakKey, b)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("key of segment %d of gate %s: %w", k.Segment, id, err)
		}
	}
	return nil
}

// segmentDay is the day that a segment's key is destroyed with: that of its
// first record here, or today where the record says none that can be.
func (h *Hub) segmentDay(b *passage.Batch, segment uint64) string {
	now := h.options.Now()
	at := now
	for _, e := range b.Entries {
		if e.Segment != segment || e.Tombstone {
			continue
		}
		if _, r, err := passage.DecodeClear(e.Clear); err == nil && r.Clock != gate.ClockUnset && r.At.Before(now) {
			at = r.At
			break
		}
	}
	return h.fleet.day(at)
}

// segmentKey reads the key of a segment; [ErrNotFound] where it was never there or is destroyed.
func (h *Hub) segmentKey(ctx context.Context, id string, segment uint64) (passage.SegmentKey, error) {
	m, err := h.store.keys.GetLastMsgForSubject(ctx, keySubject(id, segment))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return passage.SegmentKey{}, fmt.Errorf("key of segment %d of gate %s: %w", segment, id, ErrNotFound)
	}
	if err != nil {
		return passage.SegmentKey{}, fmt.Errorf("key of segment %d of gate %s: %w", segment, id, err)
	}
	const encapsulated = 32 // X25519
	if len(m.Data) <= encapsulated {
		return passage.SegmentKey{}, fmt.Errorf("key of segment %d of gate %s: %d bytes", segment, id, len(m.Data))
	}
	k := passage.SegmentKey{Segment: segment, Encapsulated: m.Data[:encapsulated], Sealed: m.Data[encapsulated:]}
	if err := k.Check(); err != nil {
		return passage.SegmentKey{}, fmt.Errorf("key of segment %d of gate %s: %w", segment, id, err)
	}
	return k, nil
}

// unsealer opens the key of a segment; the error wraps [passage.ErrSealed] where it is destroyed.
func (h *Hub) unsealer(ctx context.Context, id string, segment uint64) (*passage.Unsealer, error) {
	k, err := h.segmentKey(ctx, id, segment)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", passage.ErrSealed, err)
	}
	if err != nil {
		return nil, err
	}
	return passage.OpenSegmentKey(id, k, h.passages)
}

// maxUnsealers bounds the opened keys of segments that are kept at hand. A gate
// sends its records one by one, and opening a key takes as long as judging fifty.
const maxUnsealers = 4096

// unsealers opens sealed parts of many gates in one go, with the keys of their
// segments kept at hand.
type unsealers struct {
	hub  *Hub
	kept map[segmentRef]unsealing
}

type segmentRef struct {
	gate    string
	segment uint64
}

// unsealing is an opened key, or why it does not open: many records ask for the
// one that is destroyed too.
type unsealing struct {
	*passage.Unsealer
	err error
}

func newUnsealers(h *Hub) *unsealers { return &unsealers{h, map[segmentRef]unsealing{}} }

// unseal opens a sealed part. An error that is not [isUntold] is the storage's,
// and says nothing about the record; one that wraps [ErrNotFound] says that the key is destroyed.
func (u *unsealers) unseal(ctx context.Context, b *passage.Batch, e passage.Entry) (gate.Sealed, error) {
	ref := segmentRef{b.Gate, e.Segment}
	k, ok := u.kept[ref]
	if !ok {
		k.Unsealer, k.err = u.hub.unsealer(ctx, b.Gate, e.Segment)
		if k.err != nil && !isUntold(k.err) {
			return gate.Sealed{}, k.err
		}
		if len(u.kept) >= maxUnsealers {
			clear(u.kept)
		}
		u.kept[ref] = k
	}
	if k.err != nil {
		return gate.Sealed{}, k.err
	}
	return k.Open(e)
}

// isUntold reports whether a sealed part cannot be opened by anybody: its key is
// destroyed, or its bytes are not what a gate seals.
func isUntold(err error) bool {
	return errors.Is(err, passage.ErrSealed) || errors.Is(err, passage.ErrMalformed) || errors.Is(err, passage.ErrTooLarge)
}

// EraseKeys erases the keys of all segments whose day is before that of a time:
// their bytes are overwritten in the store, and nobody can open what was sealed
// with them. It returns how many.
func (h *Hub) EraseKeys(ctx context.Context, before time.Time) (erased int, err error) {
	limit := h.fleet.day(before)
	for seq := uint64(1); ; {
		m, err := h.store.keys.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(keysPrefix+">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return erased, nil
		}
		if err != nil {
			return erased, fmt.Errorf("keys of segments: %w", err)
		}
		seq = m.Sequence + 1
		// Days are written so that they sort; one that is not there is as old as can be.
		if m.Header.Get(headerDay) >= limit {
			continue
		}
		if err := h.store.keys.SecureDeleteMsg(ctx, m.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return erased, fmt.Errorf("erase key %s: %w", m.Subject, err)
		}
		erased++
	}
}
