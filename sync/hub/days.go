package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate"
	"greengate/sync/hub/index"
)

// The bucket of the days' counts. The names must never change.
const (
	daysBucket = "days"
	// daysCheckpoint is the key of the message up to which all is counted; every
	// other key is DAY.GATE.
	daysCheckpoint = "checkpoint"
	// maxDayValue is above 24 full hours and every reason.
	maxDayValue = 16 << 10
	// daysKept is how long counts stay after they last changed: the index of a
	// day four weeks ago compares with four weeks before it.
	daysKept = 62 * 24 * time.Hour
	// daysBack is how old a record may be when it comes in and still count for
	// its day, and daysAhead how far in front a gate's clock may be.
	daysBack, daysAhead = 60 * 24 * time.Hour, 24 * time.Hour
	// countEvery is how often what was counted is written.
	countEvery = 2 * time.Minute
	// maxUnwritten is how many counts wait at most to be written.
	maxUnwritten = 8192
	// closeWithin is how long the last write has when the hub ends.
	closeWithin = 5 * time.Second
)

// dayRecord is what was counted of one gate on one day. It follows from the
// gate's stored records up to Through alone, whoever counted: of two that
// differ, the one with the larger Through holds the other.
type dayRecord struct {
	// Through is the sequence of the last record that is in it.
	Through uint64    `json:"through"`
	Counts  Counts    `json:"counts"`
	Hours   index.Day `json:"hours"`
}

// add counts a record, once.
func (d *dayRecord) add(p Passage, hour int) bool {
	if p.Sequence <= d.Through {
		return false
	}
	d.Through = p.Sequence
	d.Counts.add(p)
	r := gate.Record{Kind: p.Kind, Reason: p.Reason, Outcome: p.Outcome}
	if p.Verdict == gate.Admit.String() {
		r.Verdict = gate.Admit
	}
	if p.Direction == gate.Exit.String() {
		r.Direction = gate.Exit
	}
	d.Hours[hour].Add(r)
	return true
}

// UnmarshalJSON refuses counts that cannot be.
func (d *dayRecord) UnmarshalJSON(data []byte) error {
	var raw struct {
		Through uint64          `json:"through"`
		Counts  Counts          `json:"counts"`
		Hours   json.RawMessage `json:"hours"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	hours, err := index.ParseDay(raw.Hours)
	if err != nil {
		return err
	}
	*d = dayRecord{raw.Through, raw.Counts, hours}
	return nil
}

// counting is one day of one gate on its way into the bucket.
type counting struct {
	day dayRecord
	// revision in the bucket that it was read at, 0 for none.
	revision uint64
	changed  bool
}

// days counts the stored passages by gate and day. One goroutine owns it, but
// for written and told.
type days struct {
	h     *Hub
	kv    jetstream.KeyValue
	every time.Duration
	open  map[string]*counting
	at    uint64 // message up to which all is counted, in open or in the bucket
	saved uint64 // and in the bucket

	mu      sync.Mutex
	written chan struct{} // closed when saved moves
	told    uint64        // saved, for who waits
}

func newDays(h *Hub, kv jetstream.KeyValue) *days {
	d := &days{h: h, kv: kv, every: h.options.countEvery, open: map[string]*counting{}, written: make(chan struct{})}
	if d.every == 0 {
		d.every = countEvery
	}
	return d
}

// openDays makes the bucket where it is missing.
func (s *storage) openDays(ctx context.Context, replicas int) (jetstream.KeyValue, error) {
	if _, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "KV_" + daysBucket, Subjects: []string{"$KV." + daysBucket + ".>"}, Storage: jetstream.FileStorage, Replicas: replicas,
		MaxMsgsPerSubject: 1, MaxBytes: -1, MaxMsgs: -1, MaxMsgSize: maxDayValue, MaxConsumers: -1, MaxAge: daysKept,
		AllowRollup: true, DenyDelete: true, Duplicates: 2 * time.Minute, Discard: jetstream.DiscardNew, AllowDirect: replicas == 1,
	}); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", daysBucket, err)
	}
	kv, err := s.js.KeyValue(ctx, daysBucket)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", daysBucket, err)
	}
	return kv, nil
}

// run counts until ctx ends, and then writes what is counted.
func (d *days) run(ctx context.Context) {
	for {
		err := d.count(ctx)
		if ctx.Err() != nil {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
			defer cancel()
			if err := d.write(end); err != nil {
				// They are counted again at the next start.
				d.h.log.Warn("counts of the days not written at the end", "err", err)
			}
			return
		}
		d.h.log.Warn("stored passages are not counted by the day", "err", err)
		// What is in the bucket is right, whatever is in memory.
		clear(d.open)
		select {
		case <-ctx.Done():
			return
		case <-time.After(followAgain):
		}
	}
}

// count reads on from the checkpoint.
func (d *days) count(ctx context.Context) error {
	saved, _, err := load[uint64](ctx, d.kv, daysCheckpoint)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	info, err := d.h.store.passages.Info(ctx)
	if err != nil {
		return fmt.Errorf("passages: %w", err)
	}
	if saved > info.State.LastSeq {
		// Of another stream, from a copy: Through still says what is counted.
		saved = 0
	}
	d.at, d.saved = saved, saved
	c, err := d.h.store.passages.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: saved + 1, MaxResetAttempts: 1})
	if err != nil {
		return fmt.Errorf("passages: %w", err)
	}
	messages, err := c.Messages(jetstream.PullMaxMessages(followAhead))
	if err != nil {
		return fmt.Errorf("passages: %w", err)
	}
	defer messages.Stop()
	for due := time.Now().Add(d.every); ; {
		until, cancel := context.WithDeadline(ctx, due)
		m, err := messages.Next(jetstream.NextContext(until))
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if err := d.take(ctx, m); err != nil {
				return err
			}
		case !errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("passages: %w", err)
		}
		if len(d.open) >= maxUnwritten || !time.Now().Before(due) {
			if err := d.write(ctx); err != nil {
				return err
			}
			due = time.Now().Add(d.every)
		}
	}
}

// take counts one message.
func (d *days) take(ctx context.Context, m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("passages: %w", err)
	}
	// What cannot be read counts nowhere; follow tells of it.
	if s, err := parseStored(strings.TrimPrefix(m.Subject(), passagesPrefix), m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp); err == nil {
		for _, p := range s.records() {
			if err := d.add(ctx, s.batch.Gate, p); err != nil {
				return err
			}
		}
	}
	d.at = meta.Sequence.Stream
	return nil
}

// add counts one record for the day on which it happened. Which day that is
// depends on the record and on when it was stored, never on the clock here.
func (d *days) add(ctx context.Context, id string, p Passage) error {
	if p.Tombstone || p.Clock == gate.ClockUnset.String() || p.At.Before(p.Received.Add(-daysBack)) || p.At.After(p.Received.Add(daysAhead)) {
		return nil
	}
	at := p.At.In(d.h.options.Location)
	key := index.DateOf(at).String() + "." + id
	c := d.open[key]
	if c == nil {
		c = &counting{}
		var err error
		if c.day, c.revision, err = load[dayRecord](ctx, d.kv, key); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		d.open[key] = c
	}
	if c.day.add(p, at.Hour()) {
		c.changed = true
	}
	return nil
}

// write puts everything that changed into the bucket, and only then moves the
// checkpoint: whoever is killed in between counts again, and Through says what
// is counted already.
func (d *days) write(ctx context.Context) error {
	for _, key := range slices.Sorted(maps.Keys(d.open)) {
		if c := d.open[key]; c.changed {
			if err := d.put(ctx, key, c); err != nil {
				return err
			}
		}
		delete(d.open, key)
	}
	if d.at > d.saved {
		if err := d.checkpoint(ctx); err != nil {
			return err
		}
		d.saved = d.at
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told != d.saved {
		d.told = d.saved
		close(d.written)
		d.written = make(chan struct{})
	}
	return nil
}

// put writes one day, unless another hub has counted as far.
func (d *days) put(ctx context.Context, key string, c *counting) error {
	data, err := json.Marshal(c.day)
	if err != nil {
		return fmt.Errorf("day %s: %w", key, err)
	}
	for try := range maxTries {
		if err := giveWay(ctx, try); err != nil {
			return err
		}
		if c.revision == 0 {
			_, err = create(ctx, d.kv, key, c.day)
		} else {
			_, err = replace(ctx, d.kv, key, data, c.revision)
		}
		if err == nil {
			return nil
		}
		if !isConflict(err) && !errors.Is(err, ErrConflict) {
			return fmt.Errorf("day %s: %w", key, err)
		}
		theirs, revision, err := load[dayRecord](ctx, d.kv, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if theirs.Through >= c.day.Through {
			return nil
		}
		c.revision = revision
	}
	return fmt.Errorf("day %s: %w: changed by others %d times", key, ErrConflict, maxTries)
}

// checkpoint notes that all up to here is in the bucket.
func (d *days) checkpoint(ctx context.Context) error {
	_, _, err := update(ctx, d.kv, daysCheckpoint, func(at *uint64) error {
		*at = max(*at, d.at)
		return nil
	})
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if _, err = create(ctx, d.kv, daysCheckpoint, d.at); errors.Is(err, ErrConflict) {
		return nil // another hub was first; the next write goes beyond it
	}
	return err
}

// wait returns when everything up to a message is counted and written.
func (d *days) wait(ctx context.Context, to uint64) error {
	for {
		d.mu.Lock()
		told, written := d.told, d.written
		d.mu.Unlock()
		if told >= to {
			return nil
		}
		select {
		case <-written:
		case <-ctx.Done():
			return fmt.Errorf("days: counted to message %d of %d: %w", told, to, ctx.Err())
		}
	}
}
