package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// maxTries is how often a compare-and-set that lost is tried again.
const maxTries = 32

// answerTime is how long the storage has to answer one question, however long
// its asker has: a leader that is gone never answers, and the next one does.
const answerTime = 5 * time.Second

// load reads one value of the registry and its revision.
func load[T any](ctx context.Context, kv jetstream.KeyValue, key string) (T, uint64, error) {
	var v T
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	e, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return v, 0, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	if err != nil {
		return v, 0, fmt.Errorf("registry %s: %w", key, err)
	}
	if err := json.Unmarshal(e.Value(), &v); err != nil {
		return v, 0, fmt.Errorf("registry %s: %w", key, err)
	}
	return v, e.Revision(), nil
}

// create claims a key; ErrConflict when it is there already.
func create(ctx context.Context, kv jetstream.KeyValue, key string, v any) (uint64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("registry %s: %w", key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	rev, err := kv.Create(ctx, key, data)
	if isConflict(err) {
		return 0, fmt.Errorf("%s: %w: it is there already", key, ErrConflict)
	}
	if err != nil {
		return 0, fmt.Errorf("registry %s: %w", key, err)
	}
	return rev, nil
}

// update changes one value by compare-and-set: change is called again with the
// newer value for as long as somebody else was faster.
func update[T any](ctx context.Context, kv jetstream.KeyValue, key string, change func(*T) error) (T, uint64, error) {
	for try := range maxTries {
		if err := giveWay(ctx, try); err != nil {
			var zero T
			return zero, 0, err
		}
		v, rev, err := load[T](ctx, kv, key)
		if err != nil {
			return v, 0, err
		}
		if err := change(&v); err != nil {
			return v, 0, err
		}
		data, err := json.Marshal(v)
		if err != nil {
			return v, 0, fmt.Errorf("registry %s: %w", key, err)
		}
		rev, err = replace(ctx, kv, key, data, rev)
		if isConflict(err) {
			continue
		}
		if err != nil {
			return v, 0, fmt.Errorf("registry %s: %w", key, err)
		}
		return v, rev, nil
	}
	var zero T
	return zero, 0, fmt.Errorf("registry %s: %w: changed by others %d times", key, ErrConflict, maxTries)
}

// giveWay lets others go first after a compare-and-set that lost: on a cluster
// the write that won may be not yet to be read.
func giveWay(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	t := time.NewTimer(rand.N(time.Duration(min(try, 10)) * 2 * time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// replace is one compare-and-set.
func replace(ctx context.Context, kv jetstream.KeyValue, key string, data []byte, rev uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return kv.Update(ctx, key, data, rev)
}

// list reads all values under a prefix, in no order.
func list[T any](ctx context.Context, kv jetstream.KeyValue, prefix string, each func(key string, v T) error) error {
	w, err := kv.Watch(ctx, prefix+">", jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("registry %s: %w", prefix, err)
	}
	for e := range w.Updates() {
		if e == nil {
			break
		}
		var v T
		if err = json.Unmarshal(e.Value(), &v); err == nil {
			err = each(strings.TrimPrefix(e.Key(), prefix), v)
		} else {
			err = fmt.Errorf("registry %s: %w", e.Key(), err)
		}
		if err != nil {
			break
		}
	}
	if serr := w.Stop(); err == nil && serr != nil {
		err = fmt.Errorf("registry %s: %w", prefix, serr)
	}
	for range w.Updates() {
		// A watcher that still has something to say holds on to its goroutine.
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return err
}
