package wire

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"greengate/display"
	"greengate/gate"
	"greengate/store/journal"
	"greengate/sync/upload"
)

// aliveWithin is how long the lane's loop may stand still, which turns each
// second at least: as long as the WatchdogSec of deploy/gated.service.
const aliveWithin = 10 * time.Second

// pulse is when the lane's loop last turned.
type pulse struct{ last atomic.Pointer[time.Time] }

func (p *pulse) beat() {
	now := time.Now() // the monotonic reading counts, whatever the wall clock does
	p.last.Store(&now)
}

// lacks says what is wrong with the loop; nothing where it turns.
func (p *pulse) lacks() []string {
	last := p.last.Load()
	if last == nil {
		return []string{"lane: its loop has not begun"}
	}
	if still := time.Since(*last); still > aliveWithin {
		return []string{fmt.Sprintf("lane: its loop has stood still for %s", still.Round(time.Second))}
	}
	return nil
}

// beat is called by the lane's loop.
func (g *Gate) beat() {
	g.pulse.beat()
	if g.opt.Beat != nil {
		g.opt.Beat()
	}
}

// readiness is what a gate needs to let people in as its policy says.
type readiness struct {
	pulse   []string // what the loop lacks
	fault   string   // of the lane
	now     time.Time
	clock   gate.ClockQuality
	ends    time.Time // of the gate's certificate
	refused bool      // by the hub
	keys    uint64    // version of the issuers' keys
	lists   gate.Freshness
	room    journal.Room
	drops   bool // the oldest records make room
	readers []display.ReaderHealth
}

// lacks names what is missing, one line each, in words of which none is about a person.
func (r readiness) lacks() []string {
	lacks := r.pulse
	lack := func(what, format string, args ...any) {
		lacks = append(lacks, what+": "+fmt.Sprintf(format, args...))
	}
	ofJournal := strings.HasPrefix(r.fault, "journal-")
	if r.fault != "" && !ofJournal {
		lack("lane", "out of service: %s", r.fault)
	}
	// A clock that is not set knows no end.
	if r.clock != gate.ClockUnset && r.now.After(r.ends) {
		lack("configuration", "the gate's certificate ended %s", r.ends.UTC().Format(time.DateOnly))
	}
	if r.refused {
		lack("configuration", "the hub refuses this gate")
	}
	switch {
	case r.keys == 0:
		lack("lists", "no issuer's key yet")
	case r.lists == gate.ListMissing:
		lack("lists", "none held")
	case r.lists == gate.TooOld:
		lack("lists", "the oldest is too old, and holds people")
	}
	switch r.clock {
	case gate.ClockUnset:
		lack("clock", "not set")
	case gate.ClockFloor:
		lack("clock", "neither network time nor the hub bears it out, and dynamic codes are held")
	}
	switch {
	case r.room == journal.RoomNone && !r.drops:
		lack("journal", "full")
	case ofJournal:
		lack("journal", "does not write: %s", r.fault)
	}
	for _, reader := range r.readers {
		if reader.State != "ready" {
			lack("reader "+reader.Name, "%s", reader.State)
		}
	}
	return lacks
}

// lacks says what the gate needs and does not have; it answers from memory.
func (g *Gate) lacks() []string {
	now, quality := g.clock.Now()
	_, grade := oldest(g.held(now), g.heldHashes(now))
	return readiness{
		pulse: g.pulse.lacks(), fault: g.lane.Outputs().View.FaultCode, now: now, clock: quality,
		ends: g.worn.pair.Load().Leaf.NotAfter, refused: g.uploader.State().Stop == upload.StopForbidden,
		keys: g.db.KeyVersion(), lists: grade, room: g.journal.Room(), drops: g.cfg.Journal.WhenFull == "drop-oldest",
		readers: g.readerHealth(),
	}.lacks()
}

func (g *Gate) readerHealth() []display.ReaderHealth {
	var all []display.ReaderHealth
	for i := range g.readers {
		all = append(all, display.ReaderHealth{Name: g.readers[i].name, State: g.readers[i].word()})
	}
	return all
}

// probe answers a supervisor: "ok", or 503 and a line for each thing that is missing.
func probe(lacks func() []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		text := "ok\n"
		if missing := lacks(); len(missing) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			text = strings.Join(missing, "\n") + "\n"
		}
		// A supervisor that is gone needs no answer.
		_, _ = io.WriteString(w, text)
	})
}
