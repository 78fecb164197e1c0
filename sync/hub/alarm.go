package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate"
)

// AlarmKind is what is wrong at a gate: a fixed word that stands unchanged in
// the API, the metrics and the page's table of words.
type AlarmKind string

// The kinds, the gravest first.
const (
	// AlarmFork: two devices write one gate's history, or its card went back in time.
	AlarmFork AlarmKind = "fork"
	// AlarmSignature: a batch came over the gate's connection that its key did not sign.
	AlarmSignature AlarmKind = "bad-signature"
	// AlarmLost: the gate owned up to records that it no longer has.
	AlarmLost AlarmKind = "records-lost"
	// AlarmTombstones: records came that cannot be read, within the last day.
	AlarmTombstones AlarmKind = "tombstones"
	// AlarmSilent: nothing was heard of the gate for [silentAfter].
	AlarmSilent AlarmKind = "silent"
	// AlarmJournal: the gate's journal has taken [journalAlarm] percent of its room.
	AlarmJournal AlarmKind = "journal-filling"
	// AlarmLists: the gate's lists are stale, too old, or not there.
	AlarmLists AlarmKind = "stale-lists"
	// AlarmClock: the gate does not know the time.
	AlarmClock AlarmKind = "clock-unset"
	// AlarmRefusals: the gate refuses many more than it usually does.
	AlarmRefusals AlarmKind = "many-refusals"
	// AlarmCertificate: the gate's certificate ends within [certificateAlarm].
	AlarmCertificate AlarmKind = "certificate-ends"
)

// AlarmKinds lists every kind once, the gravest first.
func AlarmKinds() []AlarmKind {
	return []AlarmKind{AlarmFork, AlarmSignature, AlarmLost, AlarmTombstones, AlarmSilent, AlarmJournal, AlarmLists, AlarmClock, AlarmRefusals, AlarmCertificate}
}

// kept are the kinds that stay until an operator clears them: each is about
// history, which does not mend by itself.
var kept = []AlarmKind{AlarmFork, AlarmSignature, AlarmLost}

const (
	// silentAfter is from when on a gate counts as silent: three contacts missed.
	silentAfter = 3 * time.Minute
	// journalAlarm is where the gate itself begins to warn.
	journalAlarm = 90
	// certificateAlarm leaves a month to get to the gate.
	certificateAlarm = 30 * 24 * time.Hour
)

// What many refusals are: in this hour of the clock at least refusalsFloor, and
// of all that was decided three times the gate's usual share, or half-way from
// that share to everything where three times is more than that. Usual is what it
// refused in the 23 hours before, of at least usualDecisions; not below, and
// without so many decisions, one in twenty.
const (
	refusalsFloor  = 20
	refusalsTimes  = 3
	refusalsLeast  = 0.05
	usualDecisions = 50
)

// manyRefusals is that rule.
func manyRefusals(hour, before Counts) bool {
	if hour.Refuse < refusalsFloor {
		return false
	}
	usual := refusalsLeast
	if n := before.decided(); n >= usualDecisions {
		usual = max(usual, float64(before.Refuse)/float64(n))
	}
	return float64(hour.Refuse)/float64(hour.decided()) >= min(refusalsTimes*usual, (1+usual)/2)
}

// Alarm is one thing that is wrong at one gate.
type Alarm struct {
	Gate string    `json:"gate"`
	Site string    `json:"site,omitempty"`
	Kind AlarmKind `json:"kind"`
	// Since is from when on, as the hub came to know.
	Since time.Time `json:"since"`
	// Detail has the figures, in English, and DetailChinese the same.
	Detail        string `json:"detail,omitempty"`
	DetailChinese string `json:"detail_zh,omitempty"`
	// What and Next say in a sentence each what it is and what to do, in English;
	// the page has them in Chinese too.
	What string `json:"what"`
	Next string `json:"next"`
}

// Chinese is the alarm with its words in Chinese.
func (a Alarm) Chinese() Alarm {
	w := alarmWords[a.Kind]
	a.What, a.Next = w.what.zh, w.next.zh
	// What was kept before there was Chinese of it is told in English.
	a.Detail, a.DetailChinese = cmp.Or(a.DetailChinese, a.Detail), ""
	return a
}

// alarmRecord is kept under alarm.GATE.KIND.
type alarmRecord struct {
	What    string    `json:"what"`
	Chinese string    `json:"what_zh,omitempty"`
	At      time.Time `json:"at"`
}

// AlarmRef names an alarm that is to be cleared.
type AlarmRef struct {
	Gate string    `json:"gate"`
	Kind AlarmKind `json:"kind"`
	By   string    `json:"by"`
}

// raise keeps an alarm of a gate's history until it is cleared. One that is
// there already keeps its moment, and says the newest.
func (h *Hub) raise(ctx context.Context, id string, kind AlarmKind, what wording) error {
	if h.fleet.raised(id, kind) == what.en {
		return nil // whoever causes it again and again causes one write
	}
	key := "alarm." + id + "." + string(kind)
	at := h.options.Now().UTC()
	_, err := create(ctx, h.store.registry, key, alarmRecord{what.en, what.zh, at})
	if errors.Is(err, ErrConflict) {
		var r alarmRecord
		r, _, err = update(ctx, h.store.registry, key, func(r *alarmRecord) error {
			r.What, r.Chinese = what.en, what.zh
			return nil
		})
		at = r.At
	}
	if err != nil {
		return fmt.Errorf("alarm of gate %s: %w", id, err)
	}
	h.fleet.alarm(id, kind, alarmRecord{what.en, what.zh, at})
	return nil
}

// ClearAlarm ends an alarm that would stay, once somebody has looked.
func (h *Hub) ClearAlarm(ctx context.Context, r AlarmRef) error {
	if err := checkBy(r.By); err != nil {
		return err
	}
	if !gatePattern.MatchString(r.Gate) {
		return invalid("gate %.80q", r.Gate)
	}
	if !slices.Contains(kept, r.Kind) {
		return invalid("alarm %.40q: want one of %s; others end by themselves", r.Kind, words(kept))
	}
	key := "alarm." + r.Gate + "." + string(r.Kind)
	if _, _, err := load[alarmRecord](ctx, h.store.registry, key); err != nil {
		return err
	}
	// The trail first: nothing of it is cleared that nobody answers for.
	if err := h.audit(ctx, r.By, "alarm-clear", r.Gate+" "+string(r.Kind)); err != nil {
		return err
	}
	if err := h.store.registry.Delete(ctx, key); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	h.fleet.clear(r.Gate, r.Kind)
	return nil
}

func words[W ~string](all []W) string {
	var out []string
	for _, w := range all {
		out = append(out, string(w))
	}
	return strings.Join(out, ", ")
}

// Alarms lists what is wrong now, the gravest first, and of one kind the oldest.
func (h *Hub) Alarms(ctx context.Context) ([]Alarm, error) {
	gates, err := h.Gates(ctx)
	if err != nil {
		return nil, err
	}
	out := []Alarm{}
	for _, g := range gates {
		out = append(out, g.Alarms...)
	}
	sortAlarms(out)
	return out, nil
}

func sortAlarms(all []Alarm) {
	rank := map[AlarmKind]int{}
	for i, k := range AlarmKinds() {
		rank[k] = i
	}
	slices.SortFunc(all, func(a, b Alarm) int {
		return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), a.Since.Compare(b.Since), cmp.Compare(a.Gate, b.Gate))
	})
}

// alarms are what is wrong at one gate. The fleet is locked.
func (g *gateState) alarms(id string, started, now time.Time) []Alarm {
	if g.known.revoked {
		return nil
	}
	var out []Alarm
	add := func(kind AlarmKind, since time.Time, detail wording) {
		w := alarmWords[kind]
		out = append(out, Alarm{Gate: id, Site: g.known.site, Kind: kind, Since: since, Detail: detail.en, DetailChinese: detail.zh, What: w.what.en, Next: w.next.en})
	}
	for kind, r := range g.history {
		add(kind, r.At, wording{r.What, r.Chinese})
	}
	if !g.unreadable.IsZero() && now.Sub(g.unreadable) < 24*time.Hour {
		add(AlarmTombstones, g.unreadableSince, worded("%d records within a day", "一天内 %d 条记录", g.unreadables))
	}
	// A hub that has just started has not listened long enough to say so.
	if !g.contact.IsZero() && now.Sub(g.contact) > silentAfter && now.Sub(started) > silentAfter {
		d := now.Sub(g.contact)
		add(AlarmSilent, g.contact, wording{"last heard of " + english.span(d) + " ago", "最后联系于" + chinese.span(d) + "前"})
	}
	if c := g.said; c != nil {
		if c.Journal >= journalAlarm {
			add(AlarmJournal, g.since[AlarmJournal], worded("%d %% of its room", "已用空间 %d %%", c.Journal))
		}
		if c.Lists != gate.Fresh {
			add(AlarmLists, g.since[AlarmLists], wording{fmt.Sprintf("%s, %s old", c.Lists, english.span(c.Age)), chinese.word(c.Lists) + "，已有" + chinese.span(c.Age)})
		}
		if c.Clock == gate.ClockUnset {
			add(AlarmClock, g.since[AlarmClock], wording{})
		}
	}
	if hour := g.hours.at(now); hour.Refuse >= refusalsFloor {
		if before := g.hours.before(now); manyRefusals(hour, before) {
			add(AlarmRefusals, g.refusals, worded("%d of %d this hour, %d of %d in the 23 hours before", "本小时拒绝 %d / %d，此前 23 小时拒绝 %d / %d",
				hour.Refuse, hour.decided(), before.Refuse, before.decided()))
		}
	}
	if end := g.known.ends; !end.IsZero() && end.Sub(now) < certificateAlarm {
		add(AlarmCertificate, end.Add(-certificateAlarm), worded("ends on %s", "%s 到期", end.Format(time.DateOnly)))
	}
	sortAlarms(out)
	return out
}

// lasting notes since when the gate says what is an alarm. The fleet is locked.
func (g *gateState) lasting(c gate.Condition, now time.Time) {
	for kind, wrong := range map[AlarmKind]bool{
		AlarmJournal: c.Journal >= journalAlarm, AlarmLists: c.Lists != gate.Fresh, AlarmClock: c.Clock == gate.ClockUnset,
	} {
		switch _, was := g.since[kind]; {
		case !wrong:
			delete(g.since, kind)
		case !was:
			if g.since == nil {
				g.since = map[AlarmKind]time.Time{}
			}
			g.since[kind] = now
		}
	}
}

// watchRegistry keeps what the fleet knows of gates and of their alarms as the
// registry has it, whichever hub wrote it. It returns when all is read once.
func (h *Hub) watchRegistry(ctx, watch context.Context) error {
	first := make(chan struct{})
	h.watching.Go(func() {
		for once := first; ; once = nil {
			err := h.readRegistry(watch, once)
			if watch.Err() != nil {
				return
			}
			h.log.Warn("registry is not followed", "err", err)
			select {
			case <-watch.Done():
				return
			case <-time.After(followAgain):
			}
		}
	})
	select {
	case <-first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("registry: %w", ctx.Err())
	}
}

// readRegistry follows the registry until the watch ends; read is closed when
// everything that was there has been read.
func (h *Hub) readRegistry(ctx context.Context, read chan struct{}) error {
	w, err := h.store.registry.WatchFiltered(ctx, []string{"gate.>", "alarm.>"})
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	defer h.stopWatching(w)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("registry: the watch ended")
			case e == nil && read != nil:
				close(read)
				read = nil
			case e != nil:
				if err := h.fleet.entry(e); err != nil {
					// One record's damage is not the others'.
					h.log.Error("registry not understood", "key", e.Key(), "err", err)
				}
			}
		}
	}
}

// entry takes one record of the registry.
func (f *fleet) entry(e jetstream.KeyValueEntry) error {
	is := e.Operation() == jetstream.KeyValuePut
	if id, ok := strings.CutPrefix(e.Key(), "gate."); ok && gatePattern.MatchString(id) {
		if !is {
			f.know(id, nil)
			return nil
		}
		rec, err := decoded[gateRecord](e)
		if err != nil {
			return err
		}
		k, err := knownOf(rec)
		if err != nil {
			return err
		}
		f.know(id, &k)
		return nil
	}
	id, kind, ok := strings.Cut(strings.TrimPrefix(e.Key(), "alarm."), ".")
	if !strings.HasPrefix(e.Key(), "alarm.") || !gatePattern.MatchString(id) {
		return nil
	}
	if !ok {
		kind = string(AlarmFork) // hubs of before wrote no other
	}
	if !is {
		f.clear(id, AlarmKind(kind))
		return nil
	}
	r, err := decoded[alarmRecord](e)
	if err != nil {
		return err
	}
	f.alarm(id, AlarmKind(kind), r)
	return nil
}
