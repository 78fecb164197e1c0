package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"greengate/cmd/metrics"
	"greengate/gate"
	"greengate/sync/hub"
)

const (
	// figuresWithin bounds one look.
	figuresWithin = 10 * time.Second
	// silentAfter is from when on a gate counts as silent: three contacts missed.
	silentAfter = 3 * time.Minute
	// indexEvery is how long an index that was computed is shown: it moves by the
	// hour, and reads five days of every gate.
	indexEvery = 5 * time.Minute
	// maxCounties bounds the series of the index. China has fewer; whoever names
	// more has mistyped them.
	maxCounties = 3000
)

// figures serves the hub's figures. Gates are counted by what they say of
// themselves and not named: a series for each of a hundred thousand would cost
// the monitor more than it tells, and each gate serves its own.
func figures(log *slog.Logger) func(*hub.Hub) http.Handler {
	return func(h *hub.Hub) http.Handler {
		kept := &indexes{of: h.Indexes, now: time.Now, most: maxCounties, log: log}
		return metrics.Handler(log, func(s metrics.Sheet) error {
			ctx, cancel := context.WithTimeout(context.Background(), figuresWithin)
			defer cancel()
			gates, err := h.Gates(ctx)
			if err != nil {
				return err
			}
			lists, err := h.Lists(ctx)
			if err != nil {
				return err
			}
			gateFigures(s, gates, time.Now())
			listFigures(s, lists)
			following, err := h.Following(ctx)
			if err != nil {
				return err
			}
			s.Gauge("greengate_hub_follow_behind_messages", "Stored batches that are not on the page and in these figures yet.", float64(following.Last-min(following.At, following.Last)))
			s.Counter("greengate_hub_follow_unread_total", "Stored batches since the start that could not be read.", following.Unread)
			s.Gauge("greengate_hub_ready", "1 while the storage takes writes.", metrics.Bool(h.Ready() == nil))
			for outcome, n := range h.Ingested() {
				s.Counter("greengate_hub_ingest_total", "Batches that gates brought since the start, by what came of them.", n, metrics.Label{Name: "outcome", Value: outcome})
			}
			asked, lost := h.IngestHeads()
			s.Counter("greengate_hub_ingest_heads_total", "How often the storage was asked where a gate's records end, since the start.", asked)
			s.Counter("greengate_hub_ingest_lost_total", "Batches that another hub had stored behind first, and that were looked at again, since the start.", lost)
			p, at, failed := h.Publishing()
			s.Gauge("greengate_hub_timestamp_version", "Version of the newest timestamp published, 0 before the first since the start.", float64(p.Timestamp))
			s.Time("greengate_hub_issued_timestamp_seconds", "Signed time of that timestamp.", p.Issued)
			s.Time("greengate_hub_published_timestamp_seconds", "When the last publish ended.", at)
			s.Gauge("greengate_hub_publish_failing", "1 while publishing fails.", metrics.Bool(failed != ""))
			s.Gauge("greengate_hub_publish_waiting", "1 while something waits for the offline keys.", metrics.Bool(p.Waiting != ""))
			s.Gauge("greengate_hub_revocations_failing", "1 while a revocation list of foreign codes cannot be published.", metrics.Bool(p.RevocationsFailed != ""))
			for _, d := range p.Due {
				s.Time("greengate_hub_role_end_timestamp_seconds", "End of a role of offline keys that is past half its life.", d.Ends, metrics.Label{Name: "role", Value: d.Role})
			}
			kept.figures(ctx, s)
			return nil
		})
	}
}

// gateFigures counts gates, and what they say of themselves.
func gateFigures(s metrics.Sheet, gates []hub.GateStatus, now time.Time) {
	states := map[string]int{}
	grades, clocks := map[string]int{}, map[string]int{}
	var backlog, most uint64
	var oldest int64
	decisions := map[string]uint64{}
	reasons := map[gate.Reason]uint64{}
	var tombstones, acts uint64
	alarms := map[string]int{}
	hour := map[string]uint64{}
	for _, g := range gates {
		state := "online"
		switch {
		case g.Revoked:
			state = "revoked"
		case g.Alarm != "":
			state = "alarm"
		case g.LastContact.IsZero():
			state = "never-seen"
		case now.Sub(g.LastContact) > silentAfter:
			state = "silent"
		}
		states[state]++
		for _, a := range g.Alarms {
			alarms[string(a.Kind)]++
		}
		if g.Revoked {
			continue
		}
		backlog += g.Backlog
		most = max(most, g.Backlog)
		if c := g.Condition; c != nil {
			grades[c.Lists]++
			clocks[c.Clock]++
			oldest = max(oldest, c.AgeSeconds)
		}
		for verdict, n := range map[string]uint64{gate.Admit.String(): g.Today.Admit, gate.Hold.String(): g.Today.Hold, gate.Refuse.String(): g.Today.Refuse} {
			decisions[verdict] += n
		}
		hour[gate.Admit.String()] += g.HourBefore.Admit
		hour[gate.Hold.String()] += g.HourBefore.Hold
		hour[gate.Refuse.String()] += g.HourBefore.Refuse
		for r, n := range g.Today.Reasons {
			reasons[r] += n
		}
		tombstones += g.Today.Tombstones
		acts += g.Today.Acts
	}
	each := func(name, help, label string, counts map[string]int, words ...string) {
		for _, w := range words {
			s.Gauge(name, help, float64(counts[w]), metrics.Label{Name: label, Value: w})
		}
	}
	each("greengate_hub_gates", "Gates by their state.", "state", states, "online", "silent", "never-seen", "alarm", "revoked")
	each("greengate_hub_gates_lists", "Gates by the worst grade among their lists, as they last said since the hub's start.", "grade", grades,
		gate.ListMissing.String(), gate.Fresh.String(), gate.Stale.String(), gate.TooOld.String())
	each("greengate_hub_gates_clock", "Gates by the quality of their clock, as they last said since the hub's start.", "quality", clocks,
		gate.ClockUnset.String(), gate.ClockFloor.String(), gate.ClockNetwork.String(), gate.ClockConfirmed.String())
	s.Gauge("greengate_hub_gates_lists_age_seconds", "Oldest list at any gate, as it said at its last contact.", float64(oldest))
	s.Gauge("greengate_hub_backlog_records", "Records that all gates said they still have.", float64(backlog))
	s.Gauge("greengate_hub_backlog_largest_records", "Records that the gate with the most said it still has.", float64(most))
	for _, v := range []gate.Verdict{gate.Admit, gate.Hold, gate.Refuse} {
		s.Gauge("greengate_hub_today_decisions", "Decisions since the hub's midnight, by verdict.", float64(decisions[v.String()]), metrics.Label{Name: "verdict", Value: v.String()})
	}
	for _, v := range []gate.Verdict{gate.Admit, gate.Hold, gate.Refuse} {
		s.Gauge("greengate_hub_hour_decisions", "Decisions of the last full hour of the clock, by verdict.", float64(hour[v.String()]), metrics.Label{Name: "verdict", Value: v.String()})
	}
	var kinds []string
	for _, k := range hub.AlarmKinds() {
		kinds = append(kinds, string(k))
	}
	each("greengate_hub_alarms", "Alarms of gates now, by kind.", "kind", alarms, kinds...)
	for _, r := range gate.Reasons() {
		s.Gauge("greengate_hub_today_reasons", "Decisions since the hub's midnight, by reason.", float64(reasons[r]), metrics.Label{Name: "reason", Value: string(r)})
	}
	s.Gauge("greengate_hub_today_acts", "Acts of guards, exit buttons and fire inputs since the hub's midnight.", float64(acts))
	s.Gauge("greengate_hub_today_tombstones", "Records that could not be read since the hub's midnight.", float64(tombstones))
}

// listFigures counts lists and codes.
func listFigures(s metrics.Sheet, lists []hub.ListStatus) {
	var pending int
	var codes [4]uint64
	for _, l := range lists {
		if l.Pending {
			pending++
		}
		for i, n := range []uint64{l.Green, l.Yellow, l.Red, l.Void} {
			codes[i] += n
		}
	}
	s.Gauge("greengate_hub_lists", "Status lists.", float64(len(lists)))
	s.Gauge("greengate_hub_lists_pending", "Status lists with changes that are not published yet.", float64(pending))
	for i, c := range []gate.Status{gate.Green, gate.Yellow, gate.Red, gate.Void} {
		s.Gauge("greengate_hub_codes", "Codes issued, by their colour now.", float64(codes[i]), metrics.Label{Name: "colour", Value: c.String()})
	}
}
