package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/sync/hub/index"
)

// maxTallies are held: what two charts and their days need. One of 100,000 gates
// is 9 MB.
const maxTallies = 2*chartDays + 8

// period is what an index is of: a day, and how many of its hours.
type period struct {
	date  index.Date
	hours int
}

// weeks is how many weeks a day is before the window's, and whether it is the
// day itself or one of its baseline.
func (w period) weeks(date index.Date) (int, bool) {
	n := int(w.date - date)
	return n / 7, n >= 0 && n%7 == 0 && n/7 <= index.Weeks
}

// place is where a gate of the registry stands.
type place struct {
	county, site string
	// counts: it is registered and not revoked.
	counts bool
}

// tally is a window's sums by region: a county's six digits, a province's two,
// and "" for all.
type tally struct {
	parts []index.Part // by the gate's number
	sums  map[string]*index.Sum
	used  uint64
}

// tallies hold the sums that indexes are made of. They are read from the bucket
// of the days once and then follow it, one changed day of one gate after the
// other: an index costs its regions and not its gates.
type tallies struct {
	h  *Hub
	kv jetstream.KeyValue

	mu      sync.Mutex
	numbers map[string]int
	ids     []string // by number
	places  []place
	sites   map[string][]int // numbers by site
	known   uint64           // the fleet's registry when places were read
	kept    map[period]*tally
	asked   uint64
	at      uint64 // revision of the bucket up to which it was followed
	moved   chan struct{}
}

func newTallies(h *Hub, kv jetstream.KeyValue) *tallies {
	return &tallies{h: h, kv: kv, numbers: map[string]int{}, sites: map[string][]int{}, kept: map[period]*tally{}, moved: make(chan struct{})}
}

// run follows the bucket until ctx ends.
func (t *tallies) run(ctx context.Context) {
	for {
		err := t.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		t.h.log.Warn("counts of the days are not followed", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(followAgain):
		}
	}
}

func (t *tallies) follow(ctx context.Context) error {
	w, err := t.kv.Watch(ctx, ">", jetstream.UpdatesOnly(), jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("days: %w", err)
	}
	defer t.h.stopWatching(w)
	status, err := t.kv.Status(ctx)
	if err != nil {
		return fmt.Errorf("days: %w", err)
	}
	// What was written in between without being seen is read again.
	t.mu.Lock()
	clear(t.kept)
	t.mu.Unlock()
	if s, ok := status.(*jetstream.KeyValueBucketStatus); ok {
		// All up to here is in the bucket for whoever asks from now on.
		t.reached(s.StreamInfo().State.LastSeq)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("days: the watch ended")
			}
			if e == nil {
				continue
			}
			if err := t.entry(e); err != nil {
				t.h.log.Error("counts of a day not understood", "key", e.Key(), "err", err)
			}
			t.reached(e.Revision())
		}
	}
}

// reached notes how far the bucket was followed.
func (t *tallies) reached(at uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at > t.at {
		t.at = at
		close(t.moved)
		t.moved = make(chan struct{})
	}
}

// wait returns when the bucket was followed to a revision.
func (t *tallies) wait(ctx context.Context, to uint64) error {
	for {
		t.mu.Lock()
		at, moved := t.at, t.moved
		t.mu.Unlock()
		if at >= to {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("days: followed to %d of %d: %w", at, to, ctx.Err())
		}
	}
}

// entry takes one value of the bucket.
func (t *tallies) entry(e jetstream.KeyValueEntry) error {
	day, id, ok := strings.Cut(e.Key(), ".")
	if !ok {
		return nil // the checkpoint
	}
	date, err := index.ParseDate(day)
	if err != nil {
		return err
	}
	r, err := decoded[dayRecord](e)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(t.kept, date, id, &r.Hours)
	return nil
}

// set puts one day of one gate into the tallies that it counts in. It is locked.
func (t *tallies) set(in map[period]*tally, date index.Date, id string, d *index.Day) {
	n := t.number(id)
	for w, tally := range in {
		if weeks, ok := w.weeks(date); ok {
			tally.grow(n)
			p := &tally.parts[n]
			tally.each(t.places[n], func(s *index.Sum) { s.Remove(p) })
			p.Set(weeks, d, w.hours)
			tally.each(t.places[n], func(s *index.Sum) { s.Add(p) })
		}
	}
}

// grow makes room for a gate's part.
func (t *tally) grow(n int) {
	if more := n + 1 - len(t.parts); more > 0 {
		t.parts = append(t.parts, make([]index.Part, more)...)
	}
}

// each calls f for the sums that a gate at this place is in.
func (t *tally) each(p place, f func(*index.Sum)) {
	if !p.counts {
		return
	}
	regions := []string{""}
	if p.county != "" {
		regions = append(regions, p.county, p.county[:2])
	}
	for _, region := range regions {
		s := t.sums[region]
		if s == nil {
			s = &index.Sum{}
			t.sums[region] = s
		}
		f(s)
	}
}

// number is a gate's. It is locked.
func (t *tallies) number(id string) int {
	n, ok := t.numbers[id]
	if !ok {
		n = len(t.ids)
		t.numbers[id] = n
		t.ids, t.places = append(t.ids, id), append(t.places, place{})
	}
	return n
}

// register brings the places up to date with the registry. It is locked.
func (t *tallies) register() {
	places, version := t.h.fleet.places(t.known)
	if version == t.known {
		return
	}
	t.known = version
	for id := range places {
		t.number(id)
	}
	for n, id := range t.ids {
		now, was := places[id], t.places[n]
		if now == was {
			continue
		}
		for _, tally := range t.kept {
			tally.grow(n)
			p := &tally.parts[n]
			tally.each(was, func(s *index.Sum) { s.Remove(p) })
			tally.each(now, func(s *index.Sum) { s.Add(p) })
		}
		t.places[n] = now
		if now.site != was.site {
			t.sites[was.site] = slices.DeleteFunc(t.sites[was.site], func(m int) bool { return m == n })
			t.sites[now.site] = append(t.sites[now.site], n)
		}
	}
}

// want calls f with the tallies of these windows, in their order, each as far
// as the bucket was followed. What is not held is read, every day of it once.
func (t *tallies) want(ctx context.Context, windows []period, f func([]*tally)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.register()
	t.asked++
	missing := map[period]*tally{}
	dates := map[index.Date]bool{}
	for _, w := range windows {
		if t.kept[w] != nil || missing[w] != nil {
			continue
		}
		added := &tally{parts: make([]index.Part, len(t.ids)), sums: map[string]*index.Sum{}}
		for n, p := range t.places {
			added.each(p, func(s *index.Sum) { s.Add(&added.parts[n]) })
		}
		missing[w] = added
		for weeks := range index.Weeks + 1 {
			dates[w.date-7*index.Date(weeks)] = true
		}
	}
	for _, date := range slices.Sorted(maps.Keys(dates)) {
		if err := list(ctx, t.kv, date.String()+".", func(id string, r dayRecord) error {
			t.set(missing, date, id, &r.Hours)
			return nil
		}); err != nil {
			return err
		}
	}
	maps.Copy(t.kept, missing)
	var out []*tally
	for _, w := range windows {
		t.kept[w].used = t.asked
		out = append(out, t.kept[w])
	}
	for len(t.kept) > maxTallies {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(t.kept)), func(a, b period) int { return int(t.kept[a].used) - int(t.kept[b].used) })
		delete(t.kept, oldest)
	}
	f(out)
	return nil
}

// of is the sum of a region, or of a site where one is named.
func (t *tallies) of(tally *tally, region, site string) index.Sum {
	if site == "" {
		if s := tally.sums[region]; s != nil {
			return *s
		}
		return index.Sum{}
	}
	var sum index.Sum
	for _, n := range t.sites[site] {
		if t.places[n].counts {
			tally.grow(n)
			sum.Add(&tally.parts[n])
		}
	}
	return sum
}
