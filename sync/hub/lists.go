package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/pass/statuslist"
)

const (
	// listCodes is how many codes one status list has: 2^20, 256 KiB at 2 bits.
	listCodes = 1 << 20
	// listFull is from how many codes on the next list of a region is begun.
	// At 90 % a random index is free in ten draws out of eleven tries or so.
	listFull = listCodes / 10 * 9
	// maxDraws bounds the draws for one index.
	maxDraws = 200
)

// codeRecord is one code in the registry, under REGION.LIST.INDEX. The colour
// is here and nowhere else.
type codeRecord struct {
	// Kind as pass.Kind's words.
	Kind string `json:"kind"`
	// Value in the status list: 0 green, 1 void, 2 yellow, 3 red.
	Value uint8 `json:"value"`
	// Declaration it was issued for; empty in a permit.
	Declaration string `json:"declaration,omitempty"`
	// Enterprise and Holder of a permit.
	Enterprise string `json:"enterprise,omitempty"`
	Holder     *Ref   `json:"holder,omitempty"`
	// Issued and Expires in Unix seconds.
	Issued  int64 `json:"issued"`
	Expires int64 `json:"expires"`
	// By is who changed it last.
	By string `json:"by"`
}

// slot is the place of a code: region (prefecture, four digits), list and index.
type slot struct {
	region string
	list   int
	index  uint64
}

func (s slot) key() string { return fmt.Sprintf("%s.%d.%d", s.region, s.list, s.index) }

func parseSlot(key string) (slot, error) {
	part := strings.Split(key, ".")
	if len(part) != 3 || len(part[0]) != 4 {
		return slot{}, fmt.Errorf("code %q: not REGION.LIST.INDEX", key)
	}
	list, err := strconv.ParseUint(part[1], 10, 20)
	if err != nil {
		return slot{}, fmt.Errorf("code %q: %w", key, err)
	}
	index, err := strconv.ParseUint(part[2], 10, 64)
	if err != nil || index >= listCodes {
		return slot{}, fmt.Errorf("code %q: no such index", key)
	}
	return slot{part[0], int(list), index}, nil
}

// codeList is one status list, made from the registry.
type codeList struct {
	uri    string
	region string
	number int
	array  *statuslist.List
	// codes issued, and how many have each value.
	codes  uint64
	values [4]uint64
	// changed is the revision of its last change, done the one that was published last.
	changed, done uint64
	info          statuslist.Info // as published; zero before the first time
}

// lists are all status lists, kept current by a watch on the registry.
type lists struct {
	base string
	mu   sync.Mutex
	// moved is closed and made anew whenever revision grows.
	moved    chan struct{}
	revision uint64
	byURI    map[string]*codeList
	info     map[string]statuslist.Info // published before this start
	marks    []mark                     // the last ones, in their order
	broken   error                      // the watch ended
}

// mark stands in the codes' stream where a hub began to make lists of this time.
// They hold all that is before it, so that a code behind it must be later than
// they are: one of that time that they do not hold would be void at a gate,
// instead of newer than the list.
type mark struct {
	revision uint64
	issued   time.Time
}

const (
	// markKey is the key of the last mark; no code has it.
	markKey = "mark"
	// maxMarks is how many are remembered. A claim looks back over the seconds
	// that its write took, and lists are made a second apart.
	maxMarks = 1024
)

// markRecord is a mark in the registry; its place there says the rest.
type markRecord struct {
	Issued int64 `json:"issued"` // Unix seconds
}

func newLists(base string, published []statuslist.Info) *lists {
	l := &lists{base: base, moved: make(chan struct{}), byURI: map[string]*codeList{}, info: map[string]statuslist.Info{}}
	var last time.Time
	for _, i := range published {
		l.info[i.URI] = i
		if i.Issued.After(last) {
			last = i.Issued
		}
	}
	l.marks = []mark{{0, last}}
	return l
}

// ref names a slot as codes do.
func (l *lists) ref(s slot) Ref {
	return Ref{fmt.Sprintf("%s%s/%d", l.base, s.region, s.list), s.index}
}

// slot finds the place that a ref names.
func (l *lists) slot(r Ref) (slot, error) {
	rest, ok := strings.CutPrefix(r.URI, l.base)
	region, number, found := strings.Cut(rest, "/")
	if !ok || !found || strings.Contains(number, "/") || strings.Contains(rest, ".") {
		return slot{}, fmt.Errorf("status list %.300q: %w", r.URI, ErrNotFound)
	}
	s, err := parseSlot(fmt.Sprintf("%s.%s.%d", region, number, r.Index))
	if err != nil || l.ref(s) != r {
		return slot{}, fmt.Errorf("status list %.300q index %d: %w", r.URI, r.Index, ErrNotFound)
	}
	return s, nil
}

// get returns the list, made where it is missing. mu is held.
func (l *lists) get(s slot) (*codeList, error) {
	uri := l.ref(s).URI
	if c := l.byURI[uri]; c != nil {
		return c, nil
	}
	// What is not issued is void: a forger gains nothing by guessing an index.
	array, err := statuslist.New(listCodes, 2, statuslist.Invalid)
	if err != nil {
		return nil, fmt.Errorf("status list %s: %w", uri, err)
	}
	c := &codeList{uri: uri, region: s.region, number: s.list, array: array, info: l.info[uri]}
	l.byURI[uri] = c
	return c, nil
}

// apply takes one change from the registry.
func (l *lists) apply(key string, value []byte, revision uint64) error {
	s, err := parseSlot(key)
	if err != nil {
		return err
	}
	var rec codeRecord
	if err := json.Unmarshal(value, &rec); err != nil {
		return fmt.Errorf("code %s: %w", key, err)
	}
	if rec.Value > 3 {
		return fmt.Errorf("code %s: value %d", key, rec.Value)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := l.get(s)
	if err != nil {
		return err
	}
	old, err := c.array.Get(s.index)
	if err != nil {
		return fmt.Errorf("code %s: %w", key, err)
	}
	// A code is first seen as green, yellow or red, and void is for ever, so
	// void before this change means "not issued", unless it stays void: then it
	// was revoked before this start.
	switch {
	case old == statuslist.Invalid:
		c.codes++
	default:
		c.values[old]--
	}
	c.values[rec.Value]++
	if err := c.array.Set(s.index, rec.Value); err != nil {
		return fmt.Errorf("code %s: %w", key, err)
	}
	c.changed = revision
	l.reached(revision)
	return nil
}

// mark takes a mark from the registry.
func (l *lists) mark(value []byte, revision uint64) error {
	var m markRecord
	if err := json.Unmarshal(value, &m); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = append(l.marks, mark{revision, time.Unix(m.Issued, 0).UTC()})
	if len(l.marks) > maxMarks {
		l.marks = slices.Delete(l.marks, 0, len(l.marks)-maxMarks)
	}
	l.reached(revision)
	return nil
}

// latest is the time of the newest lists that anybody began to make.
func (l *lists) latest() (t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.marks {
		if m.issued.After(t) {
			t = m.issued
		}
	}
	return t
}

// late says whether a code of this time came behind the mark of lists that are
// not older. The watch has reached the revision, so all marks before it are known.
func (l *lists) late(issued time.Time, revision uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.marks, func(m mark) bool { return m.revision < revision && !m.issued.Before(issued) })
}

// reached tells waiters. mu is held.
func (l *lists) reached(revision uint64) {
	if revision > l.revision {
		l.revision = revision
		close(l.moved)
		l.moved = make(chan struct{})
	}
}

// wait returns once the change with this revision is in the arrays.
func (l *lists) wait(ctx context.Context, revision uint64) error {
	for {
		l.mu.Lock()
		at, moved, broken := l.revision, l.moved, l.broken
		l.mu.Unlock()
		if at >= revision {
			return nil
		}
		if broken != nil {
			return broken
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}

// open returns the number of the list of the region that new codes go into.
func (l *lists) open(region string) (number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		c := l.byURI[l.ref(slot{region, number, 0}).URI]
		if c == nil || c.codes < listFull {
			return number
		}
		number++
	}
}

var errWatchEnded = errors.New("codes: the watch on the registry ended")

// watchCodes fills the arrays from the registry and keeps them current. It
// returns when everything that is there now is in.
func (h *Hub) watchCodes(ctx, watch context.Context) error {
	info, err := h.store.codesLog.Info(ctx)
	if err != nil {
		return fmt.Errorf("codes: %w", err)
	}
	w, err := h.store.codes.WatchAll(watch)
	if err != nil {
		return fmt.Errorf("codes: %w", err)
	}
	h.watching.Go(func() {
		err := errWatchEnded
		for e := range w.Updates() {
			if e == nil || e.Operation() != jetstream.KeyValuePut {
				continue
			}
			if e.Key() == markKey {
				if merr := h.lists.mark(e.Value(), e.Revision()); merr != nil {
					err = merr
					break
				}
				continue
			}
			if aerr := h.lists.apply(e.Key(), e.Value(), e.Revision()); aerr != nil {
				err = aerr
				break
			}
			h.notePending()
		}
		h.stopWatching(w)
		for range w.Updates() {
			// What still comes is not applied: it must not hold up the end.
		}
		if watch.Err() != nil {
			err = watch.Err()
		} else {
			h.log.Error("status lists are no longer current", "err", err)
		}
		h.lists.mu.Lock()
		h.lists.broken = err
		close(h.lists.moved)
		h.lists.moved = make(chan struct{})
		h.lists.mu.Unlock()
	})
	context.AfterFunc(watch, func() { h.stopWatching(w) })
	return h.lists.wait(ctx, info.State.LastSeq)
}

// stopWatching ends the range over the watcher's updates.
func (h *Hub) stopWatching(w jetstream.KeyWatcher) {
	if err := w.Stop(); err != nil {
		h.log.Debug("watch on the registry", "err", err)
	}
}

// notePending wakes the publish loop.
func (h *Hub) notePending() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Lists describes the status lists, by URI.
func (h *Hub) Lists(ctx context.Context) ([]ListStatus, error) {
	if err := h.current(ctx); err != nil {
		return nil, err
	}
	h.lists.mu.Lock()
	defer h.lists.mu.Unlock()
	out := []ListStatus{}
	for _, c := range h.lists.byURI {
		out = append(out, ListStatus{
			URI: c.uri, Sequence: c.info.Sequence, Issued: c.info.Issued, Pending: c.changed != c.done, Codes: c.codes,
			Green: c.values[statuslist.Valid], Void: c.values[statuslist.Invalid],
			Yellow: c.values[statuslist.Suspended], Red: c.values[statuslist.ApplicationSpecific],
		})
	}
	slices.SortFunc(out, func(a, b ListStatus) int { return strings.Compare(a.URI, b.URI) })
	return out, nil
}

// begin says in the codes' stream that lists of this time are being made, and
// waits until the arrays hold all that is before it.
func (h *Hub) begin(ctx context.Context, issued time.Time) error {
	data, err := json.Marshal(markRecord{issued.Unix()})
	if err != nil {
		return err
	}
	rev, err := h.store.codes.Put(ctx, markKey, data)
	if err != nil {
		return fmt.Errorf("codes: %w", err)
	}
	return h.lists.wait(ctx, rev)
}

// current waits until the arrays hold everything that the registry holds now.
func (h *Hub) current(ctx context.Context) error {
	info, err := h.store.codesLog.Info(ctx)
	if err != nil {
		return fmt.Errorf("codes: %w", err)
	}
	return h.lists.wait(ctx, info.State.LastSeq)
}
