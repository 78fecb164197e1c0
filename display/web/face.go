package web

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"greengate/display"
	"greengate/gate"
)

// face is a view as the pages get it: all text is made here, one string for
// each language, so that the scripts only place it.
type face struct {
	// Count of the view, for acts and tests.
	Count    uint64         `json:"count"`
	State    string         `json:"state"`
	Shape    display.Shape  `json:"shape"`
	Ground   display.Ground `json:"ground"`
	Blink    string         `json:"blink,omitempty"`
	Headline []string       `json:"headline"`
	Next     []string       `json:"next"`
	// Name is masked by the issuer.
	Name string `json:"name,omitempty"`
	// Temperature in degrees Celsius, as "36.4".
	Temperature string `json:"temperature,omitempty"`
	// Since tells one entry into a state from the next; it is compared, never read.
	Since string `json:"since"`
	// Left and Total of the deadline, in milliseconds; a page's clock may be
	// anywhere, so moments are not sent. Total is 0 where there is no deadline.
	Left  int64 `json:"left_ms"`
	Total int64 `json:"total_ms"`
	// Notes of the tone, as hertz and milliseconds.
	Notes [][2]int64 `json:"notes,omitempty"`
	Fault string     `json:"fault,omitempty"`
	// Guard is for a guard's page, nil on the kiosk's.
	Guard *guardFace `json:"guard,omitempty"`
}

// guardFace is what only the guard sees.
type guardFace struct {
	// MayAdmit and MayRefuse: somebody waits for the guard, who may do so.
	MayAdmit  bool       `json:"may_admit"`
	MayRefuse bool       `json:"may_refuse"`
	Colour    string     `json:"colour,omitempty"`
	Colours   []string   `json:"colours,omitempty"`
	Kinds     []string   `json:"kinds,omitempty"`
	Notices   [][]string `json:"notices,omitempty"`
	Sequence  uint64     `json:"sequence,omitempty"`
}

func (s *Server) face(v gate.View, now time.Time) face {
	sign := display.SignOf(v)
	f := face{
		Count:  v.Count,
		State:  v.State.String(),
		Shape:  sign.Shape,
		Ground: sign.Ground,
		Name:   v.Name,
		Since:  strconv.FormatInt(v.Since.UnixNano(), 36),
		Fault:  v.FaultCode,
	}
	switch v.Light.Blink {
	case gate.SlowBlink:
		f.Blink = "slow"
	case gate.FastBlink:
		f.Blink = "fast"
	}
	f.Headline = s.each(func(w *display.Words) string { return w.Say(v).Headline })
	f.Next = s.each(func(w *display.Words) string { return w.Say(v).Next })
	// A reading that says nothing about the person is not shown as theirs.
	if r := v.Reading; r != nil && !r.OutOfRange && !r.TooFar {
		f.Temperature = r.Adjusted.String()
	}
	if !v.Until.IsZero() {
		f.Left = v.Until.Sub(now).Milliseconds()
		f.Total = max(v.Until.Sub(v.Since).Milliseconds(), 1)
	}
	for _, n := range display.Notes(v.Tone) {
		f.Notes = append(f.Notes, [2]int64{int64(n.Hertz), n.Length.Milliseconds()})
	}
	return f
}

func (s *Server) guardFace(v gate.View) *guardFace {
	g := &guardFace{
		// A policy may let a guard admit a red code, which is refused and not held.
		MayAdmit:  v.GuardMayAdmit,
		MayRefuse: v.State == gate.Held,
		Sequence:  v.Sequence,
	}
	if v.Colour != gate.StatusUnknown {
		g.Colour = v.Colour.String()
		g.Colours = s.each(func(w *display.Words) string { return w.Colours[v.Colour.String()] })
	}
	if v.Kind != "" {
		g.Kinds = s.each(func(w *display.Words) string { return word(w.Kinds, v.Kind) })
	}
	for _, n := range v.Decision.Notices {
		g.Notices = append(g.Notices, s.each(func(w *display.Words) string {
			if word, ok := w.Reasons[n]; ok {
				return word.Next
			}
			return string(n)
		}))
	}
	return g
}

// item is one value of the status strip.
type item struct {
	// ID names it, as "lists".
	ID string `json:"id"`
	// Level is "good", "warn" or "bad".
	Level string `json:"level"`
	// Label and Value, one for each language.
	Label []string `json:"label"`
	Value []string `json:"value"`
}

// strip is the state of the device as the pages get it.
type strip struct {
	Gate  string `json:"gate"`
	Zone  string `json:"zone"`
	Items []item `json:"items"`
	// Held, and what follows, are for the guard's page: the lists held, those
	// that need a look first, and how many there are in all.
	Held      []heldList `json:"held,omitempty"`
	HeldCount int        `json:"held_count"`
	Faults    []string   `json:"faults,omitempty"`
	Guard     bool       `json:"guard,omitempty"`
	Recent    []passed   `json:"recent,omitempty"`
}

// heldMax is how many lists the guard's page names; a province has hundreds.
const heldMax = 12

// heldList is one list that is held, as the page gets it.
type heldList struct {
	// URI in full, and Name its end, as "3301/0".
	URI   string `json:"uri"`
	Name  string `json:"name"`
	Level string `json:"level"`
	// Facts, one text for each language: generation, age, grade, and whether it is extra.
	Facts []string `json:"facts"`
}

// level of a grade of lists.
func level(f gate.Freshness) string {
	switch f {
	case gate.Fresh:
		return "good"
	case gate.Stale:
		return "warn"
	}
	return "bad"
}

// held names the lists, the oldest first, and among equals the extra ones:
// those are few, and the ones that are asked about.
func (s *Server) held(lists []display.ListHealth, now time.Time) []heldList {
	lists = slices.Clone(lists)
	slices.SortStableFunc(lists, func(a, b display.ListHealth) int {
		switch {
		case a.Freshness != b.Freshness:
			return int(b.Freshness) - int(a.Freshness)
		case a.Extra != b.Extra && a.Extra:
			return -1
		case a.Extra != b.Extra:
			return 1
		}
		return strings.Compare(a.URI, b.URI)
	})
	var out []heldList
	for _, l := range lists[:min(len(lists), heldMax)] {
		name := l.URI
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			name = name[strings.LastIndexByte(name[:i], '/')+1:]
		}
		out = append(out, heldList{l.URI, name, level(l.Freshness), s.each(func(w *display.Words) string {
			age := word(w.Freshness, l.Freshness.String())
			if !l.Confirmed.IsZero() {
				age = w.Age(now.Sub(l.Confirmed)) + " · " + age
			}
			text := w.Label("generation") + " " + strconv.FormatUint(l.Generation, 10) + " · " + age
			if l.Extra {
				text += " · " + w.Label("extra")
			}
			return text
		})})
	}
	return out
}

func (s *Server) strip(h display.Health, now time.Time, guard bool) strip {
	out := strip{Gate: h.GateName, Zone: h.Zone, Guard: guard}
	add := func(id, level string, value func(*display.Words) string) {
		out.Items = append(out.Items, item{id, level, s.each(func(w *display.Words) string { return w.Label(id) }), s.each(value)})
	}
	add("lists", level(h.Lists), func(w *display.Words) string {
		if h.ListIssued.IsZero() {
			return word(w.Freshness, gate.ListMissing.String())
		}
		age := w.Age(now.Sub(h.ListIssued))
		if guard || h.Lists != gate.Fresh {
			age += " · " + word(w.Freshness, h.Lists.String())
		}
		return age
	})
	level := "bad"
	switch h.Clock {
	case gate.ClockNetwork, gate.ClockConfirmed:
		level = "good"
	case gate.ClockFloor:
		level = "warn"
	}
	add("clock", level, func(w *display.Words) string {
		if h.Clock == gate.ClockUnset || h.ClockTime.IsZero() {
			return word(w.Clocks, gate.ClockUnset.String())
		}
		at, quality := h.ClockTime.Format("15:04"), word(w.Clocks, h.Clock.String())
		switch {
		case !guard && level == "good":
			return at
		case w != s.words[0]:
			return quality // the figures stand in the first language already
		}
		return at + " · " + quality
	})
	// A backlog is what a gate without a network has; it is worth a look only
	// while it cannot drain.
	level = "good"
	if h.Backlog > 0 && !h.Hub.Connected {
		level = "warn"
	}
	add("backlog", level, func(*display.Words) string { return strconv.FormatUint(h.Backlog, 10) })
	if !guard {
		return out
	}
	// A map is for one day. One that is missing or older decides what it says,
	// or nothing, and holds nobody: the guard should know.
	level = "warn"
	if days, ok := h.MapAge(); ok && days < display.MapStaleDays {
		level = "good"
	}
	add("map", level, func(w *display.Words) string {
		if _, ok := h.MapAge(); ok && w != s.words[0] {
			_, age, _ := strings.Cut(w.Map(h), ", ")
			return age // the day stands in the first language already
		}
		return strings.Replace(w.Map(h), ", ", " · ", 1)
	})
	level = "warn"
	if h.Hub.Connected {
		level = "good"
	}
	add("hub", level, func(w *display.Words) string {
		switch {
		case h.Hub.Connected:
			return w.Label("hub-connected")
		case h.Hub.LastContact.IsZero():
			return w.Label("hub-never")
		}
		return w.Label("hub-away") + " · " + w.Age(now.Sub(h.Hub.LastContact))
	})
	level = "good"
	if h.JournalFull || h.JournalPercent >= display.JournalAlarmPercent {
		level = "bad"
	}
	add("journal", level, func(*display.Words) string { return strconv.Itoa(h.JournalPercent) + " %" })
	for _, r := range h.Readers {
		level = "good"
		if r.State != "ready" {
			level = "warn"
		}
		out.Items = append(out.Items, item{"reader-" + r.Name, level,
			s.each(func(w *display.Words) string { return w.Label("readers") }),
			s.each(func(*display.Words) string { return r.Name + " · " + r.State })})
	}
	out.Faults = h.Faults
	out.Held, out.HeldCount = s.held(h.Held, now), len(h.Held)
	return out
}

// each makes one text in each language.
func (s *Server) each(text func(*display.Words) string) []string {
	out := make([]string, len(s.words))
	for i, w := range s.words {
		out[i] = text(w)
	}
	return out
}

// word looks a word up, and falls back to the fixed word itself.
func word(table map[string]string, key string) string {
	if s, ok := table[key]; ok {
		return s
	}
	return key
}
