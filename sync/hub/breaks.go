package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate/passage"
)

// What a gate's valid certificate sent and the hub did not take, because it
// contradicts what is stored or is not signed by that gate, is kept here as
// evidence: it never becomes passages, and is never acknowledged. The names must
// never change.
const (
	breaksStream = "BREAKS"
	breaksPrefix = "breaks."
	headerWhy    = "Greengate-Why"

	// maxBreaks of one gate are kept, and breaksBytes of all. The first ones tell
	// when it began; what comes behind them raises its alarm and is counted no more.
	maxBreaks   = 32
	breaksBytes = 1 << 30
)

// Why a batch was not taken.
const (
	breakFork    = "fork"    // another record where one is stored, or another chain
	breakKey     = "key"     // another key for a segment whose key is stored
	breakForeign = "foreign" // another gate's name, or a signature that is not this gate's
)

// Break is a batch that was kept but not taken.
type Break struct {
	Gate     string    `json:"gate"`
	Received time.Time `json:"received"`
	Why      string    `json:"why"`
	// First and Last of the sequences that it says it has.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Digest tells this break from others: the same history is kept once.
	Digest []byte `json:"digest"`
}

// keepBreak keeps a batch that was not taken, once, without its keys: those
// would stay when their day's are erased.
func (h *Hub) keepBreak(ctx context.Context, id, why string, b *passage.Batch) error {
	data, err := b.MarshalStored()
	if err != nil {
		return err
	}
	// A gate signs anew whenever it tries again: what counts is the history in it.
	head := b.Head()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %x", why, b.First(), head))
	subject := breaksPrefix + id + "." + hex.EncodeToString(sum[:])
	info, err := h.store.breaks.Info(ctx, jetstream.WithSubjectFilter(breaksPrefix+id+".*"))
	if err != nil {
		return fmt.Errorf("stream %s: %w", breaksStream, err)
	}
	if len(info.State.Subjects) >= maxBreaks || info.State.Subjects[subject] > 0 {
		return nil
	}
	m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	m.Header.Set(headerWhy, why)
	m.Header.Set(headerFirst, strconv.FormatUint(b.First(), 10))
	m.Header.Set(headerLast, strconv.FormatUint(b.Last(), 10))
	_, err = h.store.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(0))
	var api *jetstream.APIError
	switch {
	case isConflict(err):
		return nil // it came twice at once
	case errors.As(err, &api) && strings.Contains(api.Description, "maximum bytes exceeded"):
		h.log.Error("batch that was not taken is not kept: there are too many", "gate", id, "why", why)
		return nil
	case err != nil:
		return fmt.Errorf("keep what gate %s sent: %w", id, err)
	}
	return nil
}

// refuse keeps a batch that is not taken and raises the gate's alarm.
func (h *Hub) refuse(ctx context.Context, id, why string, what wording, b *passage.Batch) error {
	if err := h.keepBreak(ctx, id, why, b); err != nil {
		return err
	}
	h.log.Error("batch not taken", "gate", id, "why", why, "first", b.First(), "last", b.Last())
	kind := AlarmFork
	if why == breakForeign {
		kind = AlarmSignature
	}
	return h.raise(ctx, id, kind, what)
}

// Breaks lists what was kept of one gate, or of all, the oldest first.
func (h *Hub) Breaks(ctx context.Context, r GateRef) ([]Break, error) {
	filter := breaksPrefix + ">"
	if r.Gate != "" {
		if _, err := h.gate(ctx, r.Gate); err != nil {
			return nil, err
		}
		filter = breaksPrefix + r.Gate + ".*"
	}
	out := []Break{}
	for seq := uint64(1); ; {
		m, err := h.store.breaks.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", breaksStream, err)
		}
		seq = m.Sequence + 1
		parts := strings.Split(m.Subject, ".")
		b := Break{Gate: strings.Join(parts[1:len(parts)-1], "."), Received: m.Time, Why: m.Header.Get(headerWhy)}
		var ferr, lerr, derr error
		b.First, ferr = strconv.ParseUint(m.Header.Get(headerFirst), 10, 64)
		b.Last, lerr = strconv.ParseUint(m.Header.Get(headerLast), 10, 64)
		b.Digest, derr = hex.DecodeString(parts[len(parts)-1])
		if err := errors.Join(ferr, lerr, derr); err != nil {
			return nil, fmt.Errorf("stream %s, message %d: %w", breaksStream, m.Sequence, err)
		}
		if out = append(out, b); len(out) > maxBreaksListed {
			return slices.Delete(out, 0, len(out)-maxBreaksListed), nil
		}
	}
}

// purgeBreaks erases the evidence that came before a time: its clear parts are
// of people as those of any batch are.
func (h *Hub) purgeBreaks(ctx context.Context, before time.Time) (purged int, err error) {
	for seq := uint64(1); ; {
		m, err := h.store.breaks.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(breaksPrefix+">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return purged, nil
		}
		if err != nil {
			return purged, fmt.Errorf("stream %s: %w", breaksStream, err)
		}
		// They lie in the order in which they came.
		if !m.Time.Before(before) {
			return purged, nil
		}
		seq = m.Sequence + 1
		if err := h.store.breaks.DeleteMsg(ctx, m.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return purged, fmt.Errorf("stream %s, message %d: %w", breaksStream, m.Sequence, err)
		}
		purged++
	}
}

// maxBreaksListed bounds an answer.
const maxBreaksListed = 10_000
