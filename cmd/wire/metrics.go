package wire

import (
	"net/http"
	"sync"

	"greengate/cmd/metrics"
	"greengate/gate"
	"greengate/scanner/camera"
	"greengate/store/journal"
	"greengate/sync/trust"
	"greengate/sync/upload"
)

// tally counts decisions by what was decided. Reasons are fixed words, so it
// is as large as their table at most.
type tally struct {
	mu     sync.Mutex
	counts map[outcome]uint64
}

// outcome is what was decided.
type outcome struct {
	verdict gate.Verdict
	reason  gate.Reason
}

func (t *tally) add(e gate.DecisionEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[outcome]uint64{}
	}
	t.counts[outcome{e.Decision.Verdict, e.Decision.Reason}]++
}

func (t *tally) each(f func(outcome, uint64)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for o, n := range t.counts {
		f(o, n)
	}
}

// decided hands each decision's times on, and counts it.
func (g *Gate) decided(e gate.DecisionEvent) {
	g.tally.add(e)
	if g.opt.Decided != nil {
		g.opt.Decided(e)
	}
}

// metrics serves the gate's figures. None is about a person.
func (g *Gate) metrics() http.Handler { return metrics.Handler(g.log, g.figures) }

// figures writes them.
func (g *Gate) figures(s metrics.Sheet) error {
	label := func(name, value string) metrics.Label { return metrics.Label{Name: name, Value: value} }
	now, quality := g.clock.Now()
	s.Gauge("greengate_gate_info", "The gate and its version, always 1.", 1, label("gate", g.id.Gate), label("zone", g.cfg.Zone), label("version", g.opt.Version))
	s.Gauge("greengate_ready", "1 while the gate lacks nothing; /readyz names what it lacks.", metrics.Bool(len(g.lacks()) == 0))
	s.Time("greengate_start_timestamp_seconds", "When the gate was started, by its own clock.", g.started)

	s.State("greengate_clock_quality", "How far the clock may be trusted: 1 for the quality that holds.", "quality", quality.String(),
		gate.ClockUnset.String(), gate.ClockFloor.String(), gate.ClockNetwork.String(), gate.ClockConfirmed.String())
	s.Time("greengate_clock_timestamp_seconds", "The gate's own time of day.", now)
	s.Time("greengate_clock_floor_timestamp_seconds", "Latest signed time believed, before which it cannot be.", g.clock.FloorTime())

	held := g.held(now)
	hashes := g.heldHashes(now)
	confirmed, grade := oldest(held, hashes)
	grades := map[gate.Freshness]int{}
	for _, l := range held {
		grades[l.Freshness]++
		uri := label("uri", l.URI)
		if !l.Confirmed.IsZero() {
			s.Gauge("greengate_list_age_seconds", "Time since the authority last called this list current.", now.Sub(l.Confirmed).Seconds(), uri)
		}
		s.Gauge("greengate_list_generation", "Generation of this list.", float64(l.Generation), uri)
		s.Gauge("greengate_list_freshness", "Grade of this list's age, always 1.", 1, uri, label("grade", l.Freshness.String()))
		s.Gauge("greengate_list_extra", "1 for a list of no region of the configuration, that a code asked for.", metrics.Bool(l.Extra), uri)
	}
	if !confirmed.IsZero() {
		s.Gauge("greengate_lists_age_seconds", "Age of the oldest list held, of both kinds.", now.Sub(confirmed).Seconds())
	}
	words := []string{gate.ListMissing.String(), gate.Fresh.String(), gate.Stale.String(), gate.TooOld.String()}
	s.State("greengate_lists_freshness", "Worst grade of a list held, of both kinds: 1 for the grade that holds.", "grade", grade.String(), words...)
	for f := gate.Fresh; f <= gate.TooOld; f++ {
		s.Gauge("greengate_lists_held", "Status lists held, by the grade of their age.", float64(grades[f]), label("grade", f.String()))
	}
	var bytes int64
	for _, info := range g.db.Lists() {
		bytes += info.Size
	}
	s.Gauge("greengate_lists_held_bytes", "Size of all status lists held, unpacked.", float64(bytes))
	// Not one by one: a scheme has hundreds of issuer keys.
	hashGrades := map[gate.Freshness]int{}
	for _, l := range hashes {
		hashGrades[l.Freshness]++
	}
	for f := gate.Fresh; f <= gate.TooOld; f++ {
		s.Gauge("greengate_revocation_lists_held", "Revocation lists of foreign codes held, by the grade of their age.", float64(hashGrades[f]), label("grade", f.String()))
	}
	if at, _ := oldest(hashes, nil); !at.IsZero() {
		s.Gauge("greengate_revocation_lists_age_seconds", "Age of the oldest revocation list held.", now.Sub(at).Seconds())
	}
	s.Gauge("greengate_policy_version", "Version of the policy in force, 0 for the built-in one.", float64(g.db.Policy().Version))
	s.Gauge("greengate_map_version", "Version of the map in force, 0 for none.", float64(g.db.MapVersion()))
	if days, ok := g.Health().MapAge(); ok {
		s.Gauge("greengate_map_age_seconds", "Whole days since the day of the map, in seconds.", float64(days)*86400)
	}
	s.Gauge("greengate_keys_version", "Version of the key list, 0 for none.", float64(g.db.KeyVersion()))
	g.downloadFigures(s)

	at, up := g.journal.State(), g.uploader.State()
	s.Gauge("greengate_journal_backlog_records", "Records that the hub does not have yet.", float64(at.Next-1-at.Acknowledged))
	s.Gauge("greengate_journal_bytes", "Room that the journal takes.", float64(at.Bytes))
	s.Gauge("greengate_journal_cap_bytes", "Most room that the journal may take.", float64(at.Cap))
	s.State("greengate_journal_room", "Room left in the journal: 1 for the word that holds.", "room", g.journal.Room().String(),
		journal.RoomEnough.String(), journal.RoomLow.String(), journal.RoomNone.String())
	lost := at.Losses
	for _, l := range []struct {
		what string
		n    uint64
	}{{"dropped", lost.Dropped}, {"damaged", lost.Damaged}, {"aside", lost.Aside}} {
		s.Counter("greengate_journal_losses_total", "Records since the start that made room for others, could not be read, or were refused by the hub.", l.n, label("what", l.what))
	}
	s.Gauge("greengate_journal_damaged_files", "Files of the journal that could not be read and lie aside.", float64(lost.Files))
	s.Counter("greengate_journal_keys_destroyed_total", "Segments whose key was destroyed since the start, since their day is past.", uint64(lost.KeysDestroyed))
	s.Time("greengate_upload_last_success_timestamp_seconds", "When the hub last answered well.", up.LastSuccess)
	s.Gauge("greengate_upload_failures", "Exchanges with the hub that failed in a row.", float64(up.Failures))
	s.State("greengate_upload_stop", "Why no passages are sent although the hub can be reached: 1 for the word that holds, none while they are.", "stop", string(up.Stop),
		string(upload.StopForbidden), string(upload.StopGap), string(upload.StopFork), string(upload.StopRecord))

	view := g.lane.Outputs().View
	for state := gate.OutOfService; state <= gate.FireOpen; state++ {
		s.Gauge("greengate_lane_state", "State of the lane: 1 for the one that holds.", metrics.Bool(state == view.State), label("state", state.String()))
	}
	g.tally.each(func(o outcome, n uint64) {
		s.Counter("greengate_decisions_total", "Decisions since the start, by verdict and reason.", n, label("verdict", o.verdict.String()), label("reason", string(o.reason)))
	})
	c := g.lane.Counters()
	for _, n := range []struct {
		what  string
		count uint64
	}{
		{"turned", c.Turned}, {"not-turned", c.NotTurned}, {"turned-twice", c.TurnedTwice}, {"forced", c.Forced},
		{"exit", c.Exits}, {"guard", c.GuardActs}, {"fire", c.Fires},
	} {
		s.Counter("greengate_passages_total", "What happened at the turnstile since the start.", n.count, label("what", n.what))
	}
	s.Counter("greengate_scans_total", "Scans that reached the lane since the start.", c.Scans)
	s.Counter("greengate_scans_dropped_total", "Scans that found no room or a busy lane since the start.", c.Busy+c.Dropped)
	s.Counter("greengate_faults_total", "Faults of the lane since the start.", c.Faults)
	s.Counter("greengate_records_lost_total", "Records that found no room since the start.", c.Lost)
	seen := map[string]bool{}
	for _, f := range g.currentFaults() {
		if !seen[f] {
			seen[f] = true
			s.Gauge("greengate_fault", "What is wrong now, 1 for each; no series where nothing is.", 1, label("fault", f))
		}
	}
	for i := range g.readers {
		r := &g.readers[i]
		s.Gauge("greengate_reader_ready", "1 while the reader is ready.", metrics.Bool(r.word() == "ready"), label("reader", r.name))
		if r.camera != nil {
			cameraFigures(s, label("reader", r.name), r.camera.Figures())
		}
	}
	return nil
}

// cameraFigures writes what became of a camera's pictures.
func cameraFigures(s metrics.Sheet, reader metrics.Label, f camera.Figures) {
	s.Counter("greengate_camera_frames_total", "Pictures that came from the camera since the start.", f.Frames, reader)
	for _, o := range camera.Outcomes() {
		if o.Looked() {
			s.Counter("greengate_camera_looked_total", "Pictures that were looked at since the start, by what was found.", f.Of(o), reader, metrics.Label{Name: "outcome", Value: o.String()})
		} else {
			s.Counter("greengate_camera_skipped_total", "Pictures that were not looked at since the start, by the reason.", f.Of(o), reader, metrics.Label{Name: "reason", Value: o.String()})
		}
	}
	s.Seconds("greengate_camera_look_seconds_total", "Time that looking at pictures took since the start.", f.LookTime, reader)
	s.Counter("greengate_camera_wedges_total", "Times that the camera was open and silent, and was opened anew, since the start.", f.Wedges, reader)
}

// downloadFigures writes how the download of lists stands.
func (g *Gate) downloadFigures(s metrics.Sheet) {
	t := g.trust.Status()
	s.Time("greengate_download_last_success_timestamp_seconds", "When a poll last went through without an error.", t.LastOK)
	s.Time("greengate_download_last_try_timestamp_seconds", "When the last poll ended.", t.LastTry)
	s.State("greengate_download_error", "What was wrong with the last poll: 1 for the kind that holds, none where all is well.", "kind", trust.Kind(t.LastError), trust.Kinds()...)
	if t.Report.Timestamp > 0 {
		s.Gauge("greengate_download_timestamp_version", "Version of the timestamp that the last poll verified.", float64(t.Report.Timestamp))
	}
	s.Time("greengate_download_issued_timestamp_seconds", "Signed time of that timestamp.", t.Report.Issued)
	s.Gauge("greengate_download_leap", "1 while a signed time more than 30 days ahead waits to be confirmed.", metrics.Bool(t.Report.Leap))
	n := t.Totals
	s.Counter("greengate_download_runs_total", "Polls since the start.", n.Runs)
	s.Counter("greengate_download_failed_runs_total", "Polls that ended with an error since the start.", n.Failed)
	s.Counter("greengate_download_unchanged_runs_total", "Polls that found nothing new since the start.", n.Unchanged)
	s.Counter("greengate_download_fetched_bytes_total", "Bytes fetched since the start.", n.Fetched)
	s.Counter("greengate_download_installed_total", "Keys, policies, maps, roots and lists installed since the start.", n.Installed)
	for _, way := range []struct {
		name string
		n    uint64
	}{{"delta", n.Deltas}, {"snapshot", n.Snapshots}, {"signature", n.Renewed}} {
		s.Counter("greengate_download_lists_total", "Lists brought in since the start: as a delta, as a whole snapshot, or as a new signature of what is held.", way.n, metrics.Label{Name: "as", Value: way.name})
	}
	s.Counter("greengate_download_evicted_total", "Lists that nobody configured and that made room for others since the start.", n.Evicted)
	s.Counter("greengate_download_dropped_total", "Lists dropped since the start because the authority no longer publishes them.", n.Dropped)
}
