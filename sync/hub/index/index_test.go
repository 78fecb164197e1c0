package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"greengate/gate"
)

// monday is 2020-02-17.
var monday = DateOf(time.Date(2020, 2, 17, 23, 59, 0, 0, time.FixedZone("", 8*3600)))

// at is a day with everything in the hour from nine on.
func at(passed, judged, serious, mild uint32) *Day {
	return &Day{9: {passed, judged, serious, mild}}
}

// usual is a gate with the same four Mondays before.
func usual(base, today *Day) Series {
	s := Series{monday - 7: base, monday - 14: base, monday - 21: base, monday - 28: base}
	if today != nil {
		s[monday] = today
	}
	return s
}

// TestWhatCounts: which records count as what.
func TestWhatCounts(t *testing.T) {
	entry := func(v gate.Verdict, r gate.Reason) gate.Record {
		return gate.Record{Kind: gate.DecisionRecord, Direction: gate.Entry, Verdict: v, Reason: r}
	}
	outcome := func(v gate.Verdict, o gate.Outcome, r gate.Reason) gate.Record {
		return gate.Record{Kind: gate.OutcomeRecord, Verdict: v, Outcome: o, Reason: r}
	}
	for _, c := range []struct {
		what string
		r    gate.Record
		want Hour
	}{
		{"green", entry(gate.Admit, gate.Valid), Hour{Judged: 1}},
		{"red", entry(gate.Refuse, gate.RedCode), Hour{Judged: 1, Serious: 1}},
		{"fever", entry(gate.Hold, gate.Fever), Hour{Judged: 1, Serious: 1}},
		{"a region of high risk", entry(gate.Refuse, gate.RiskHighRegion), Hour{Judged: 1, Serious: 1}},
		{"yellow", entry(gate.Hold, gate.YellowCode), Hour{Judged: 1, Mild: 1}},
		{"a region of medium risk", entry(gate.Hold, gate.RiskMediumRegion), Hour{Judged: 1, Mild: 1}},
		{"an expired code says nothing of health", entry(gate.Refuse, gate.Expired), Hour{}},
		{"nor does a broken thermometer", entry(gate.Hold, gate.ThermometerBroken), Hour{}},
		{"nor whoever leaves", gate.Record{Kind: gate.DecisionRecord, Direction: gate.Exit, Verdict: gate.Admit, Reason: gate.ExitFree}, Hour{}},
		{"one walked through", outcome(gate.Admit, gate.Turned, gate.Valid), Hour{Passed: 1}},
		{"two did", outcome(gate.Admit, gate.TurnedTwice, gate.Valid), Hour{Passed: 2}},
		{"no contact says", outcome(gate.Admit, gate.OutcomeUnknown, gate.ByGuard), Hour{Passed: 1}},
		{"nobody did", outcome(gate.Admit, gate.NotTurned, gate.Valid), Hour{}},
		{"a fire is no traffic", outcome(gate.Admit, gate.OutcomeUnknown, gate.ByFire), Hour{}},
		{"a day's key", gate.Record{Kind: gate.KeyRecord}, Hour{}},
	} {
		var h Hour
		if h.Add(c.r); h != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, h, c.want)
		}
	}
}

// TestFlow is the table of docs/index.md: one gate that 1,000 people usually pass.
func TestFlow(t *testing.T) {
	for _, c := range []struct {
		passed uint32
		level  gate.RiskLevel
		few    bool
		crowd  bool
	}{
		{1000, gate.RiskLow, false, false},
		{850, gate.RiskLow, false, false},
		{750, gate.RiskLower, false, false},
		{600, gate.RiskMedium, false, false},
		{400, gate.RiskHigher, false, false},
		{200, gate.RiskHigh, false, false},
		{5, gate.RiskHigh, false, false},
		{4, gate.RiskHigh, true, false},
		{0, gate.RiskHigh, true, false},
		{1500, gate.RiskLow, false, false},
		{1700, gate.RiskLow, false, true},
	} {
		f := Compute([]Series{usual(at(1000, 0, 0, 0), at(c.passed, 0, 0, 0))}, monday, Hours).Flow
		if f.Level != c.level || f.Few != c.few || f.Crowded != c.crowd {
			t.Errorf("%d passed: %+v", c.passed, f)
		}
		if !f.Few && (f.Percent != float64(c.passed)/10 || f.Low >= f.Percent || f.High <= f.Percent) {
			t.Errorf("%d passed: %+v", c.passed, f)
		}
		if f.Few && (f.Passed != 0 || f.Percent != 0 || f.Low != 0 || f.High != 0) {
			t.Errorf("%d passed can be told: %+v", c.passed, f)
		}
	}
}

// TestControl: one gate where ten in 2,000 are usually stopped.
func TestControl(t *testing.T) {
	for _, c := range []struct {
		what                  string
		judged, serious, mild uint32
		level                 gate.RiskLevel
		few, risen            bool
	}{
		{"nobody", 2000, 0, 0, gate.RiskLow, true, false},
		{"four are as nobody", 2000, 4, 0, gate.RiskLow, true, false},
		{"as usual", 2000, 10, 0, gate.RiskLow, false, false},
		{"thirty: 10 to 21 per mille, and surely twice the usual", 2000, 30, 0, gate.RiskMedium, false, true},
		{"thirty of yellow count half", 2000, 0, 30, gate.RiskLower, false, false},
		{"fifty: 18 to 33 per mille, and risen", 2000, 50, 0, gate.RiskHigher, false, true},
		{"half of them", 2000, 1000, 0, gate.RiskHigh, false, true},
		{"too little data", 199, 199, 0, gate.RiskUnknown, false, false},
	} {
		got := Compute([]Series{usual(at(0, 2000, 10, 0), at(0, c.judged, c.serious, c.mild))}, monday, Hours).Control
		if got.Level != c.level || got.Few != c.few || got.Risen != c.risen {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
}

// TestTooLittle: what there is no index of has no colour, and green least of all.
func TestTooLittle(t *testing.T) {
	full := usual(at(1000, 1000, 0, 0), at(1000, 1000, 0, 0))
	silent := usual(at(1000, 1000, 0, 0), nil)
	young := Series{monday - 7: at(1000, 0, 0, 0), monday - 14: at(1000, 0, 0, 0), monday: at(3000, 0, 0, 0)}
	small := usual(at(49, 0, 0, 0), at(49, 0, 0, 0))
	for _, c := range []struct {
		what            string
		gates           []Series
		heard, compared int
		level           gate.RiskLevel
		percent         float64
	}{
		{"no gate", nil, 0, 0, gate.RiskUnknown, 0},
		{"a gate of two weeks", []Series{young}, 1, 0, gate.RiskUnknown, 0},
		{"a gate that is too small", []Series{small}, 1, 1, gate.RiskUnknown, 0},
		{"a gate not heard of is no standstill", []Series{silent}, 0, 0, gate.RiskUnknown, 0},
		{"half of the usual flow was heard of", []Series{full, silent}, 1, 1, gate.RiskLow, 100},
		{"less than half", []Series{full, silent, silent}, 1, 1, gate.RiskUnknown, 0},
		{"a new gate does not raise the flow", []Series{full, young}, 2, 1, gate.RiskLow, 100},
	} {
		i := Compute(c.gates, monday, Hours)
		if i.Heard != c.heard || i.Compared != c.compared || i.Flow.Level != c.level || i.Flow.Percent != c.percent {
			t.Errorf("%s: %+v", c.what, i)
		}
	}
	// One odd day of four, as a holiday, does not move the usual.
	odd := usual(at(1000, 0, 0, 0), at(1000, 0, 0, 0))
	odd[monday-14] = at(0, 0, 0, 0)
	if i := Compute([]Series{odd}, monday, Hours); i.Flow.Usual != 1000 {
		t.Errorf("a holiday: %+v", i.Flow)
	}
	// At nine nothing of the hour from nine on counts, today or before.
	if i := Compute([]Series{full}, monday, 9); i.Flow.Level != gate.RiskUnknown || i.Control.Level != gate.RiskUnknown {
		t.Errorf("at nine: %+v", i)
	}
}

// TestPoisson holds Byar's approximation against the exact interval's table.
func TestPoisson(t *testing.T) {
	for _, c := range []struct {
		n         uint64
		low, high float64
	}{{0, 0, 3.69}, {5, 1.62, 11.67}, {10, 4.80, 18.39}, {20, 12.22, 30.89}, {100, 81.36, 121.63}} {
		low, high := Poisson(c.n)
		if math.Abs(low-c.low) > 0.03 || math.Abs(high-c.high) > 0.03 {
			t.Errorf("%d: %.2f to %.2f, want %.2f to %.2f", c.n, low, high, c.low, c.high)
		}
	}
}

// TestProperties: the order of gates says nothing; more people never make the
// flow worse, more who are stopped never the control better; nothing below the
// smallest cell can be told; each number is finite.
func TestProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		day := func(scale int) *Day {
			var d Day
			for h := range d {
				j := random.IntN(scale)
				s := random.IntN(j/20 + 1)
				d[h] = Hour{uint32(random.IntN(scale)), uint32(j + s), uint32(s), 0}
			}
			return &d
		}
		scale := 1 + random.IntN(200)
		var gates []Series
		for range 1 + random.IntN(5) {
			s := Series{}
			for w := range Date(5) {
				if random.IntN(8) > 0 {
					s[monday-7*w] = day(scale)
				}
			}
			gates = append(gates, s)
		}
		hours := random.IntN(Hours + 1)
		a := Compute(gates, monday, hours)
		random.Shuffle(len(gates), func(i, j int) { gates[i], gates[j] = gates[j], gates[i] })
		// Sums of medians are halves of whole numbers: equal in any order.
		if b := Compute(gates, monday, hours); !reflect.DeepEqual(a, b) {
			t.Fatalf("in another order: %+v, %+v", a, b)
		}
		for _, v := range []float64{a.Flow.Percent, a.Flow.Low, a.Flow.High, a.Control.PerMille, a.Control.Low, a.Control.High, a.Control.Usual} {
			if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
				t.Fatalf("%+v", a)
			}
		}
		if a.Flow.Passed > 0 && a.Flow.Passed < MinCell || a.Control.Stopped > 0 && a.Control.Stopped < MinCell {
			t.Fatalf("a small cell: %+v", a)
		}
		for _, g := range gates {
			if hours > 0 && g[monday] != nil {
				more := *g[monday]
				more[0].Passed += 50
				more[0].Serious += 10
				more[0].Judged += 10
				g[monday] = &more
				b := Compute(gates, monday, hours)
				if a.Flow.Level != gate.RiskUnknown && b.Flow.Level > a.Flow.Level {
					t.Fatalf("more people: %+v, %+v", a.Flow, b.Flow)
				}
				if a.Control.Level != gate.RiskUnknown && b.Control.Level < a.Control.Level {
					t.Fatalf("more stopped: %+v, %+v", a.Control, b.Control)
				}
				break
			}
		}
	}
}

func FuzzParseDay(f *testing.F) {
	whole, err := json.Marshal(at(7, 6, 1, 2))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`[{"p":4294967295}]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDay(data)
		if err != nil {
			if !errors.Is(err, ErrDay) {
				t.Fatal(err)
			}
			return
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := ParseDay(again); err != nil || e != d {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

func FuzzParseDate(f *testing.F) {
	f.Add("2020-02-17")
	f.Add("2020-02-30")
	f.Add("9999-12-31")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDate(s)
		if err != nil {
			if !errors.Is(err, ErrDay) {
				t.Fatal(err)
			}
			return
		}
		if d.String() != s {
			t.Fatalf("%q is %s", s, d)
		}
	})
}

func TestDate(t *testing.T) {
	if s := monday.String(); s != "2020-02-17" || monday.Weekday() != time.Monday {
		t.Errorf("%s is a %s", s, monday.Weekday())
	}
}

// TestExample is the worked example of docs/index.md.
func TestExample(t *testing.T) {
	s := Series{monday: at(600, 2000, 30, 0)}
	for w, passed := range []uint32{980, 1010, 990, 40} {
		s[monday-7*Date(w+1)] = at(passed, 2000, 10, 0)
	}
	i := Compute([]Series{s}, monday, Hours)
	if f := i.Flow; f.Usual != 985 || fmt.Sprintf("%.1f %.1f %.1f %s", f.Percent, f.Low, f.High, f.Level) != "60.9 56.1 66.0 medium" {
		t.Errorf("%+v", f)
	}
	if c := i.Control; fmt.Sprintf("%.1f %.1f %.1f %.1f %v %s", c.PerMille, c.Low, c.High, c.Usual, c.Risen, c.Level) != "15.0 10.1 21.4 5.0 true medium" {
		t.Errorf("%+v", c)
	}
}

// However much a gate claims to have seen in an hour, what is counted of it can
// be read again: its day must not keep the days of others from being counted.
func TestFullHourIsReadAgain(t *testing.T) {
	var d Day
	for _, reason := range []gate.Reason{gate.RedCode, gate.YellowCode, gate.Valid} {
		r := gate.Record{Kind: gate.DecisionRecord, Reason: reason}
		if reason == gate.Valid {
			r.Verdict = gate.Admit
		}
		for range MaxCount + 2 {
			d[7].Add(r)
		}
	}
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseDay(data); err != nil || got != d {
		t.Errorf("%+v: %v, want it read again", d[7], err)
	}
}
