package display

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"greengate/gate"
)

func TestEveryLanguageIsComplete(t *testing.T) {
	tags := Languages()
	if strings.Join(tags, " ") != "en zh" {
		t.Errorf("languages are %v, want en and zh at least; extend this test with the new file", tags)
	}
	for _, tag := range tags {
		w, err := Load(tag)
		if err != nil {
			t.Fatal(err)
		}
		// What stands in a table and is asked for by nobody is a spelling mistake.
		if got, want := len(w.States), int(gate.FireOpen)+1; got != want {
			t.Errorf("%s: %d states, want %d", tag, got, want)
		}
		if got, want := len(w.Reasons), len(gate.Reasons()); got != want {
			t.Errorf("%s: %d reasons, want %d", tag, got, want)
		}
		if got, want := len(w.GuardReasons), len(gate.GuardReasons()); got != want {
			t.Errorf("%s: %d guard reasons, want %d", tag, got, want)
		}
		if got, want := len(w.Labels), len(labels); got != want {
			t.Errorf("%s: %d labels, want %d", tag, got, want)
		}
		// Headlines are read at two metres: the web page sets them 8 % of the height at least.
		for key, word := range w.States {
			checkLength(t, tag, key, word)
		}
		for key, word := range w.Reasons {
			checkLength(t, tag, string(key), word)
		}
	}
}

func checkLength(t *testing.T, tag, key string, word Word) {
	headline, next := 17, 52
	if tag == "zh" {
		headline, next = 6, 18
	}
	if n := utf8.RuneCountInString(word.Headline); n > headline {
		t.Errorf("%s %s: headline %q has %d characters, at most %d fit", tag, key, word.Headline, n, headline)
	}
	if n := utf8.RuneCountInString(word.Next); n > next {
		t.Errorf("%s %s: next step %q has %d characters, at most %d fit", tag, key, word.Next, n, next)
	}
}

func TestLoadNamesWhatThereIs(t *testing.T) {
	for _, tag := range []string{"xx", "", "../words", "en.json"} {
		_, err := Load(tag)
		if !errors.Is(err, ErrNoLanguage) || !strings.Contains(err.Error(), "en, zh") {
			t.Errorf("Load(%q) = %v, want ErrNoLanguage with the languages there are", tag, err)
		}
	}
}

func TestIncompleteTableIsRefused(t *testing.T) {
	whole, err := files.ReadFile("words/en.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, from, to, want string }{
		{"a reason without a word", `"Code expired"`, `" "`, "reasons.expired.headline"},
		{"a guard reason left out", `"emergency": "Emergency",`, ``, "guard_reasons.emergency"},
		{"a state misspelt", `"await-permit": {`, `"awaits-permit": {`, "states.await-permit.headline"},
		{"an age without a number", `"%d min"`, `"minutes"`, "ages.minutes"},
		{"an unknown table", `"name":`, `"nom":`, "unknown field"},
		{"two tables", "\n}\n", "\n}\n{}", "something follows"},
	} {
		if !strings.Contains(string(whole), test.from) {
			t.Fatalf("%s: the table does not contain %q", test.name, test.from)
		}
		_, err := parse([]byte(strings.Replace(string(whole), test.from, test.to, 1)))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want it to name %q", test.name, err, test.want)
		}
	}
}

func TestSay(t *testing.T) {
	w, err := Load("en")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		view gate.View
		want string
	}{
		{gate.View{}, "Out of service"},
		{gate.View{State: 200}, "Out of service"},
		{gate.View{State: gate.Idle, Decision: gate.Decision{Reason: gate.RedCode}}, "Show your code"},
		{gate.View{State: gate.Refused, Decision: gate.Decision{Reason: gate.RedCode}}, "Red code"},
		{gate.View{State: gate.Refused, Decision: gate.Decision{Reason: "no-such-reason"}}, "No entry"},
		{gate.View{State: gate.Held, Decision: gate.Decision{Verdict: gate.Hold, Reason: gate.Fever}}, "Temperature high"},
		{gate.View{State: gate.Released, Decision: gate.Decision{Verdict: gate.Admit, Reason: gate.ExitFree}}, "Goodbye"},
		{gate.View{State: gate.Refused, Decision: gate.Decision{Reason: gate.ByGuard}}, "No entry"},
		{gate.View{State: gate.Released, Decision: gate.Decision{Reason: gate.RedCode}}, "Walk through"},
		{gate.View{State: gate.Held, Decision: gate.Decision{Reason: gate.Valid}}, "Please wait"},
		{gate.View{State: gate.AwaitPermit, Decision: gate.Decision{Reason: gate.PermitNeeded}}, "Show your permit"},
	} {
		if got := w.Say(test.view).Headline; got != test.want {
			t.Errorf("Say(%v %v) = %q, want %q", test.view.State, test.view.Decision.Reason, got, test.want)
		}
	}
}

func TestAge(t *testing.T) {
	w, err := Load("en")
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[time.Duration]string{
		-time.Hour:                "0 s",
		0:                         "0 s",
		119 * time.Second:         "119 s",
		2 * time.Minute:           "2 min",
		119*time.Minute + 59*1e9:  "119 min",
		2 * time.Hour:             "2 h",
		47*time.Hour + 59*60*1e9:  "47 h",
		48 * time.Hour:            "2 days",
		20 * 365 * 24 * time.Hour: "7300 days",
	} {
		if got := w.Age(d); got != want {
			t.Errorf("Age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestSigns(t *testing.T) {
	// Two states share the hourglass, for both ask for the same thing.
	same := map[gate.State]gate.State{gate.Recording: gate.ReadingCode}
	seen := map[Shape]gate.State{}
	for s := gate.OutOfService; s <= gate.FireOpen; s++ {
		sign := SignOf(gate.View{State: s})
		if other, ok := seen[sign.Shape]; ok && same[s] != other {
			t.Errorf("%v and %v share the shape %s", other, s, sign.Shape)
		}
		if _, ok := seen[sign.Shape]; !ok {
			seen[sign.Shape] = s
		}
		if (sign.Ground == GroundGreen) != (s == gate.Released) {
			t.Errorf("%v has ground %s: green is for the open turnstile alone", s, sign.Ground)
		}
	}
	leave := SignOf(gate.View{State: gate.Released, Direction: gate.Exit})
	if _, ok := seen[leave.Shape]; ok {
		t.Errorf("the way out has the shape of a state of the way in, %s", leave.Shape)
	}
	seen[leave.Shape] = gate.Released
	if len(seen) != len(Shapes()) {
		t.Errorf("%d shapes in use, Shapes lists %d", len(seen), len(Shapes()))
	}
	marks := map[string]bool{}
	for _, s := range Shapes() {
		marks[s.Mark()] = true
	}
	if len(marks) < 9 {
		t.Errorf("only %d different marks", len(marks))
	}
	if got := SignOf(gate.View{State: 99}); got != (Sign{OutShape, GroundOut}) {
		t.Errorf("a state that is none is %v, want out of service", got)
	}
}

func TestTones(t *testing.T) {
	seen := map[string]gate.Tone{}
	for tone := gate.Silent; tone <= gate.Click; tone++ {
		var length time.Duration
		var key strings.Builder
		for _, n := range Notes(tone) {
			if n.Length <= 0 || n.Hertz < 0 || n.Hertz > 4000 {
				t.Errorf("%v: note %v", tone, n)
			}
			length += n.Length
			key.WriteString(n.Length.String())
			key.WriteByte(byte(n.Hertz / 20))
		}
		if length > 1500*time.Millisecond {
			t.Errorf("%v lasts %v", tone, length)
		}
		if (length == 0) != (tone == gate.Silent) {
			t.Errorf("%v lasts %v", tone, length)
		}
		if other, ok := seen[key.String()]; ok {
			t.Errorf("%v sounds like %v", tone, other)
		}
		seen[key.String()] = tone
	}
	if Notes(99) != nil {
		t.Error("a tone that is none makes a sound")
	}
}

func TestAlarm(t *testing.T) {
	good := Health{Lists: gate.Fresh, Clock: gate.ClockNetwork}
	if good.Alarm() {
		t.Error("a healthy gate alarms")
	}
	if !(Health{}).Alarm() {
		t.Error("the zero Health does not alarm")
	}
	for name, spoil := range map[string]func(*Health){
		"stale lists":     func(h *Health) { h.Lists = gate.Stale },
		"unset clock":     func(h *Health) { h.Clock = gate.ClockFloor },
		"journal at 90 %": func(h *Health) { h.JournalPercent = JournalAlarmPercent },
		"journal full":    func(h *Health) { h.JournalFull = true },
		"a fault":         func(h *Health) { h.Faults = []string{"journal-timeout"} },
	} {
		h := good
		spoil(&h)
		if !h.Alarm() {
			t.Errorf("%s does not alarm", name)
		}
	}
}

func TestMapAge(t *testing.T) {
	shanghai := time.FixedZone("UTC+8", 8*3600)
	for _, c := range []struct {
		name, day string
		now       time.Time
		clock     gate.ClockQuality
		en, zh    string
	}{
		{"none", "", time.Date(2020, 2, 19, 8, 0, 0, 0, shanghai), gate.ClockNetwork, "none", "无"},
		{"today, just after midnight", "2020-02-19", time.Date(2020, 2, 19, 0, 1, 0, 0, shanghai), gate.ClockFloor, "2020-02-19, today", "2020-02-19, 今天"},
		{"yesterday, though less than a day ago", "2020-02-18", time.Date(2020, 2, 19, 0, 1, 0, 0, shanghai), gate.ClockNetwork, "2020-02-18, yesterday", "2020-02-18, 昨天"},
		{"two days", "2020-02-17", time.Date(2020, 2, 19, 23, 59, 0, 0, shanghai), gate.ClockNetwork, "2020-02-17, 2 days", "2020-02-17, 2 天"},
		{"over a leap day", "2020-02-28", time.Date(2020, 3, 1, 8, 0, 0, 0, shanghai), gate.ClockNetwork, "2020-02-28, 2 days", "2020-02-28, 2 天"},
		{"tomorrow's", "2020-02-20", time.Date(2020, 2, 19, 8, 0, 0, 0, shanghai), gate.ClockNetwork, "2020-02-20, today", "2020-02-20, 今天"},
		{"no clock", "2020-02-17", time.Unix(0, 0), gate.ClockUnset, "2020-02-17", "2020-02-17"},
	} {
		h := Health{MapDay: c.day, ClockTime: c.now, Clock: c.clock}
		for tag, want := range map[string]string{"en": c.en, "zh": c.zh} {
			w, err := Load(tag)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.Map(h); got != want {
				t.Errorf("%s in %s: %q, want %q", c.name, tag, got, want)
			}
		}
	}
}

// Figures belong to the policy: a table that says "within 20 seconds" is wrong
// at the first gate whose policy says 60. The count-down shows them.
func TestWordsNameNoFigures(t *testing.T) {
	for _, tag := range Languages() {
		w, err := Load(tag)
		if err != nil {
			t.Fatal(err)
		}
		check := func(where string, word Word) {
			if text := word.Headline + " " + word.Next; strings.ContainsAny(text, "0123456789秒") || strings.Contains(text, "second") {
				t.Errorf("%s: %s says %q", tag, where, text)
			}
		}
		for state, word := range w.States {
			check(state, word)
		}
		for reason, word := range w.Reasons {
			check(string(reason), word)
		}
	}
}
