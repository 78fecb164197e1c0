package display

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"greengate/gate"
	"greengate/pass"
)

//go:embed words/*.json
var files embed.FS

// ErrNoLanguage is wrapped when words are asked for in a language that has no file.
var ErrNoLanguage = errors.New("no words in this language")

// Word is what is said of one state or reason.
type Word struct {
	// Headline is what fits on a panel at two metres: a few characters.
	Headline string `json:"headline"`
	// Next is what the person does now, in one short sentence.
	Next string `json:"next"`
}

// Words is the table of one language.
type Words struct {
	// Tag is the language's BCP 47 tag, and the name of its file.
	Tag string `json:"-"`
	// Name is what the language calls itself.
	Name string `json:"name"`
	// States by gate.State's words.
	States map[string]Word `json:"states"`
	// Reasons by gate.Reason.
	Reasons map[gate.Reason]Word `json:"reasons"`
	// GuardReasons by gate.GuardReason.
	GuardReasons map[gate.GuardReason]string `json:"guard_reasons"`
	// Verdicts, Colours, Kinds, Freshness and Clocks name the words of
	// gate.Verdict, gate.Status, the kinds of code, gate.Freshness and
	// gate.ClockQuality for the guard.
	Verdicts  map[string]string `json:"verdicts"`
	Colours   map[string]string `json:"colours"`
	Kinds     map[string]string `json:"kinds"`
	Freshness map[string]string `json:"freshness"`
	Clocks    map[string]string `json:"clocks"`
	// Labels of the pages.
	Labels map[string]string `json:"labels"`
	// Ages are the patterns of spans of time, each with one %d: seconds, minutes, hours, days.
	Ages map[string]string `json:"ages"`
}

// Languages lists the languages that have words, sorted.
func Languages() []string {
	names, err := fs.Glob(files, "words/*.json")
	if err != nil {
		return nil // only a malformed pattern fails, and this one is a constant
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(path.Base(name), ".json")
	}
	slices.Sort(names)
	return names
}

// Load returns the words of a language, as "zh". The table is complete, or an
// error says what it lacks.
func Load(tag string) (*Words, error) {
	if !slices.Contains(Languages(), tag) {
		return nil, fmt.Errorf("language %q: %w; there are: %s", tag, ErrNoLanguage, strings.Join(Languages(), ", "))
	}
	raw, err := files.ReadFile("words/" + tag + ".json")
	if err != nil {
		return nil, fmt.Errorf("words of %s: %w", tag, err)
	}
	w, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("words of %s: %w", tag, err)
	}
	w.Tag = tag
	return w, nil
}

func parse(raw []byte) (*Words, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	w := new(Words)
	if err := d.Decode(w); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the table")
	}
	if lacks := w.lacks(); len(lacks) > 0 {
		return nil, fmt.Errorf("missing: %s", strings.Join(lacks, ", "))
	}
	return w, nil
}

// labels are the words that pages ask for by name.
var labels = []string{
	"lists", "clock", "backlog", "hub", "hub-connected", "hub-away", "hub-never", "journal", "readers",
	"recent", "none-yet", "guard", "pin", "pin-wrong", "pin-locked", "log-in", "log-out", "logged-out", "admit", "refuse",
	"pass", "pass-help", "why", "confirm", "cancel", "done", "too-late", "failed", "held-no-admit", "not-allowed", "nothing-held",
	"map", "map-none", "today", "yesterday", "held-lists", "generation", "extra",
	"temperature", "fault", "offline", "offline-next", "offline-guard", "delete", "busy", "entry", "exit",
}

// lacks lists the words that are missing, as "reasons.valid".
func (w *Words) lacks() []string {
	var out []string
	need := func(where, key, word string) {
		if strings.TrimSpace(word) == "" {
			out = append(out, where+"."+key)
		}
	}
	need("", "name", w.Name)
	for s := gate.OutOfService; s <= gate.FireOpen; s++ {
		need("states", s.String()+".headline", w.States[s.String()].Headline)
		need("states", s.String()+".next", w.States[s.String()].Next)
	}
	for _, r := range gate.Reasons() {
		need("reasons", string(r)+".headline", w.Reasons[r].Headline)
		need("reasons", string(r)+".next", w.Reasons[r].Next)
	}
	for _, r := range gate.GuardReasons() {
		need("guard_reasons", string(r), w.GuardReasons[r])
	}
	for v := gate.Refuse; v <= gate.Admit; v++ {
		need("verdicts", v.String(), w.Verdicts[v.String()])
	}
	for s := gate.StatusUnknown; s <= gate.Void; s++ {
		need("colours", s.String(), w.Colours[s.String()])
	}
	for k := pass.KindStatic; k <= pass.KindPermit; k++ {
		need("kinds", k.String(), w.Kinds[k.String()])
	}
	for f := gate.ListMissing; f <= gate.TooOld; f++ {
		need("freshness", f.String(), w.Freshness[f.String()])
	}
	for q := gate.ClockUnset; q <= gate.ClockConfirmed; q++ {
		need("clocks", q.String(), w.Clocks[q.String()])
	}
	for _, l := range labels {
		need("labels", l, w.Labels[l])
	}
	for _, a := range []string{"seconds", "minutes", "hours", "days"} {
		if strings.Count(w.Ages[a], "%d") != 1 {
			out = append(out, "ages."+a)
		}
	}
	return out
}

// Say returns the words of a view: those of its reason where the state is the
// end of a decision, those of its state otherwise. The words never contradict
// the turnstile: a reason that lets people through speaks only while it is
// released (a guard who refuses has the reason "guard" too), and no other
// reason speaks then.
func (w *Words) Say(v gate.View) Word {
	switch v.State {
	case gate.Released, gate.Refused, gate.Held:
		if word, ok := w.Reasons[v.Decision.Reason]; ok && opens(v.Decision.Reason) == (v.State == gate.Released) {
			return word
		}
	}
	if v.State > gate.FireOpen {
		v.State = gate.OutOfService
	}
	return w.States[v.State.String()]
}

// opens tells whether the words of a reason invite to walk through.
func opens(r gate.Reason) bool {
	switch r {
	case gate.Valid, gate.RiskMediumRegion, gate.ExitFree, gate.ByGuard, gate.ByFire, gate.ByButton:
		return true
	}
	return false
}

// Label returns a label of the pages, or its name where there is none.
func (w *Words) Label(name string) string {
	if s, ok := w.Labels[name]; ok {
		return s
	}
	return name
}

// Map says which map is in force and how old it is, as "2020-02-17, 2 days".
func (w *Words) Map(h Health) string {
	if h.MapDay == "" {
		return w.Label("map-none")
	}
	days, ok := h.MapAge()
	switch {
	case !ok:
		return h.MapDay
	case days == 0:
		return h.MapDay + ", " + w.Label("today")
	case days == 1:
		return h.MapDay + ", " + w.Label("yesterday")
	}
	return h.MapDay + ", " + strings.Replace(w.Ages["days"], "%d", strconv.Itoa(days), 1)
}

// Age returns a span in the largest unit that fills it at least twice, as
// "90 min" or "3 days", so that it is never more than half a unit off by much.
// A negative span is none.
func (w *Words) Age(d time.Duration) string {
	unit, n := "seconds", d/time.Second
	switch {
	case d < 0:
		n = 0
	case d >= 48*time.Hour:
		unit, n = "days", d/(24*time.Hour)
	case d >= 2*time.Hour:
		unit, n = "hours", d/time.Hour
	case d >= 2*time.Minute:
		unit, n = "minutes", d/time.Minute
	}
	return strings.Replace(w.Ages[unit], "%d", strconv.FormatInt(int64(n), 10), 1)
}
