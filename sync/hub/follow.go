package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// followAgain is the pause after the stream could not be read.
	followAgain = time.Second
	// followAhead is how many messages are fetched ahead, of 1 MiB at most each.
	followAhead = 16
	// followBack is how far back a hub reads at its start: what is counted of a
	// gate by the hour reaches back a day.
	followBack = 24 * time.Hour
)

// follow is the one reader of the stored passages: it hands each batch on, in
// the stream's order, to whoever listens. What a hub shows comes from here and
// not from what it took in itself, so that several hubs on one cluster see the
// same.
type follow struct {
	mu        sync.Mutex
	listeners map[uint64]func(stored)
	named     uint64
	at        uint64 // stream sequence up to which everything was handed on
	unread    uint64
	moved     chan struct{} // closed when at moves
}

func newFollow() *follow {
	return &follow{listeners: map[uint64]func(stored){}, moved: make(chan struct{})}
}

// listen hands each batch from now on to f, in order, until stop is called.
// While f runs, nobody else is told anything and nothing more is read: f returns
// at once and calls nothing of follow. Who has slow work, or waits for a
// stranger, keeps a bounded queue of its own and says what it left out; nobody
// is waited for here. stop returns when f is not and will not be called.
func (f *follow) listen(each func(stored)) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.named++
	name := f.named
	f.listeners[name] = each
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.listeners, name)
	}
}

// hand tells all listeners, the oldest first.
func (f *follow) hand(s stored) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.listeners)) {
		f.listeners[name](s)
	}
}

// reached notes how far everything was handed on.
func (f *follow) reached(at uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at <= f.at {
		return
	}
	f.at = at
	close(f.moved)
	f.moved = make(chan struct{})
}

// skip notes a message that cannot be read: it stays in the stream for Verify to tell of.
func (f *follow) skip() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unread++
}

// position returns how far it is, and how many messages it could not read.
func (f *follow) position() (at, unread uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at, f.unread
}

// wait returns when everything up to a sequence was handed on.
func (f *follow) wait(ctx context.Context, to uint64) error {
	for {
		f.mu.Lock()
		at, moved := f.at, f.moved
		f.mu.Unlock()
		if at >= to {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("passages: read to message %d of %d: %w", at, to, ctx.Err())
		}
	}
}

// Following is where the hub's reader of the stored passages is.
type Following struct {
	// At is the message up to which everything is on the page and in the figures; Last is the newest.
	At   uint64 `json:"at"`
	Last uint64 `json:"last"`
	// Unread messages could not be read since the hub started; `gatehub verify` says more.
	Unread uint64 `json:"unread"`
}

// Following asks the stream for its end.
func (h *Hub) Following(ctx context.Context) (Following, error) {
	info, err := h.store.passages.Info(ctx)
	if err != nil {
		return Following{}, fmt.Errorf("passages: %w", err)
	}
	f := Following{Last: info.State.LastSeq}
	f.At, f.Unread = h.follow.position()
	return f, nil
}

// startFollow reads what was received within followBack, and goes on reading
// until watch ends. It returns when the hub has caught up.
func (h *Hub) startFollow(ctx, watch context.Context) error {
	info, err := h.store.passages.Info(ctx)
	if err != nil {
		return fmt.Errorf("passages: %w", err)
	}
	since := h.options.Now().Add(-followBack)
	config := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, MaxResetAttempts: 1}
	h.watching.Go(func() {
		for {
			err := h.read(watch, config, info.State.LastSeq)
			if watch.Err() != nil {
				return
			}
			h.log.Warn("stored passages are not followed", "err", err)
			select {
			case <-watch.Done():
				return
			case <-time.After(followAgain):
			}
			if at, _ := h.follow.position(); at > 0 {
				config = jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: at + 1, MaxResetAttempts: 1}
			}
		}
	})
	return h.follow.wait(ctx, info.State.LastSeq)
}

// read hands on what one consumer brings, until it ends. Whoever has read all
// that there was when it began is at last, or behind it.
func (h *Hub) read(ctx context.Context, config jetstream.OrderedConsumerConfig, last uint64) error {
	c, err := h.store.passages.OrderedConsumer(ctx, config)
	if err != nil {
		return fmt.Errorf("passages: %w", err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		return fmt.Errorf("passages: %w", err)
	}
	if info.NumPending == 0 {
		h.follow.reached(last)
	}
	// The consumer asks again after a connection that was lost, from where it was.
	messages, err := c.Messages(jetstream.PullMaxMessages(followAhead))
	if err != nil {
		return fmt.Errorf("passages: %w", err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("passages: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("passages: %w", err)
		}
		s, err := parseStored(strings.TrimPrefix(m.Subject(), passagesPrefix), m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp)
		if err != nil {
			// One gate's damage is not the others'.
			h.follow.skip()
			h.log.Error("stored passages cannot be read", "err", err)
		} else {
			h.follow.hand(s)
		}
		h.follow.reached(meta.Sequence.Stream)
		if meta.NumPending == 0 {
			h.follow.reached(last)
		}
	}
}
