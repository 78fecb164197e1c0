package web

import (
	"time"

	"greengate/display"
	"greengate/gate"
)

// recentMax is how many passages the guard's page looks back.
const recentMax = 20

// passage is one line of the guard's look back. It names nobody, and is kept in
// memory only.
type passage struct {
	at        time.Time
	verdict   gate.Verdict
	reason    gate.Reason
	kind      string
	direction gate.Direction
}

// passed is a passage as the page gets it.
type passed struct {
	At      string   `json:"at"`
	Verdict string   `json:"verdict"`
	Ways    []string `json:"ways"`
	Words   []string `json:"words"`
	Reasons []string `json:"reasons"`
	Kinds   []string `json:"kinds,omitempty"`
}

// recent remembers the ends of decisions, newest first. The caller holds the lock.
type recent struct {
	list []passage
	last gate.View
}

// see takes a view, and remembers it when it is the end of a decision that the
// view before was not.
func (r *recent) see(v gate.View) {
	before := r.last
	r.last = v
	switch v.State {
	case gate.Released, gate.Refused, gate.Held:
	default:
		return
	}
	if v.State == before.State && v.Since.Equal(before.Since) && v.Scanned.Equal(before.Scanned) && v.Decision.Reason == before.Decision.Reason {
		return
	}
	if len(r.list) == recentMax {
		r.list = r.list[:recentMax-1]
	}
	r.list = append([]passage{{v.Since, v.Decision.Verdict, v.Decision.Reason, v.Kind, v.Direction}}, r.list...)
}

// recently returns the passages in words. ClockTime's zone is the one to show them in.
func (s *Server) recently(list []passage, zone *time.Location) []passed {
	out := make([]passed, 0, len(list))
	for _, p := range list {
		line := passed{
			At:      p.at.In(zone).Format("15:04:05"),
			Verdict: p.verdict.String(),
			Ways:    s.each(func(w *display.Words) string { return w.Label(p.direction.String()) }),
			Words:   s.each(func(w *display.Words) string { return word(w.Verdicts, p.verdict.String()) }),
			Reasons: s.each(func(w *display.Words) string {
				if word, ok := w.Reasons[p.reason]; ok {
					return word.Headline
				}
				return string(p.reason)
			}),
		}
		if p.kind != "" {
			line.Kinds = s.each(func(w *display.Words) string { return word(w.Kinds, p.kind) })
		}
		out = append(out, line)
	}
	return out
}
