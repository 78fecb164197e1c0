package index

import (
	"math"
	"slices"

	"greengate/gate"
)

// The definition's constants, as docs/index.md has them.
const (
	// Weeks is how many same weekdays make the baseline, MinWeeks how many a gate must have.
	Weeks, MinWeeks = 4, 3
	// FlowFloor is the fewest usual passages that a flow index is told of.
	FlowFloor = 50
	// ControlFloor is the fewest decided entries that a control index is told of.
	ControlFloor = 200
	// MinCell is the smallest count that is told: of fewer people none is to be found out.
	MinCell = 5
	// MinCoverage is the part of the usual flow, in percent, that must be of gates heard of on the day.
	MinCoverage = 50
	// z95 is the normal distribution's quantile of a 95 % interval.
	z95 = 1.959964
)

// Series is what is known of one gate: its days.
type Series map[Date]*Day

// Flow says how many people pass, against what is usual.
type Flow struct {
	// Level is green for as free as usual, red for nearly shut; unknown for too little data.
	Level gate.RiskLevel `json:"level"`
	// Percent of the usual, with the bounds of its 95 % interval; 0 where Few or unknown.
	Percent float64 `json:"percent"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	// Passed in the window, and how many usually: 0 where Few or unknown.
	Passed uint64  `json:"passed"`
	Usual  float64 `json:"usual"`
	// Few: fewer than MinCell, and not told how many.
	Few bool `json:"few,omitempty"`
	// Crowded: surely above one and a half times the usual.
	Crowded bool `json:"crowded,omitempty"`
}

// Control says how many of those who came were stopped for health's sake.
type Control struct {
	// Level is green for hardly anybody; unknown for too little data.
	Level gate.RiskLevel `json:"level"`
	// PerMille is the weighted share, with the bounds of its 95 % interval; 0 where Few or unknown.
	PerMille float64 `json:"per_mille"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	// Judged entries; Stopped of them, 0 where Few.
	Judged  uint64 `json:"judged"`
	Stopped uint64 `json:"stopped"`
	// Few: fewer than MinCell were stopped, none perhaps, and it is not told how many.
	Few bool `json:"few,omitempty"`
	// Usual is the baseline's share, where it has one that may be told.
	Usual float64 `json:"usual_per_mille,omitempty"`
	// Risen: surely above twice the usual, and so one level up.
	Risen bool `json:"risen,omitempty"`
}

// Index of a place or a county on one day, up to an hour.
type Index struct {
	Day Date `json:"-"`
	// Hours of the day that count, from midnight: 24 for a whole day.
	Hours int `json:"hours"`
	// Gates that there are, Heard those with a record on the day, Compared those with a baseline as well.
	Gates    int     `json:"gates"`
	Heard    int     `json:"heard"`
	Compared int     `json:"compared"`
	Flow     Flow    `json:"flow"`
	Control  Control `json:"control"`
}

// Part is what one gate adds to the index of a day: that day, and its
// baseline's days, over the same hours.
type Part struct {
	now   count
	base  [Weeks]count
	heard bool
	there [Weeks]bool
}

// count is a total of one gate's day.
type count struct{ passed, judged, serious, mild uint32 }

func (c count) total() total {
	return total{uint64(c.passed), uint64(c.judged), uint64(c.serious), uint64(c.mild)}
}

// Set puts a day of the gate in, of which the first hours count; it is so many
// weeks before the index's, 0 to [Weeks].
func (p *Part) Set(weeks int, d *Day, hours int) {
	c := d.sum(hours)
	if weeks == 0 {
		p.now, p.heard = c, true
		return
	}
	p.base[weeks-1], p.there[weeks-1] = c, true
}

// usual is the median of what passed on the baseline's days, -1 where there are
// too few of them; and their sum.
func (p *Part) usual() (float64, total) {
	var sum total
	counts := make([]uint32, 0, Weeks)
	for i, c := range p.base {
		if p.there[i] {
			sum.add(c.total())
			counts = append(counts, c.passed)
		}
	}
	if len(counts) < MinWeeks {
		return -1, sum
	}
	slices.Sort(counts)
	n := len(counts)
	return (float64(counts[(n-1)/2]) + float64(counts[n/2])) / 2, sum
}

// Sum is the sum of many gates' parts; what was added can be taken away again.
// Medians are halves of whole numbers, so that no order of it leaves a rest.
type Sum struct {
	gates, heard, compared int
	now, before            total
	passed                 uint64 // of the compared
	usual, missing         float64
}

// Add puts a gate's part in.
func (s *Sum) Add(p *Part) {
	usual, before := p.usual()
	s.gates++
	s.before.add(before)
	if !p.heard {
		s.missing += max(usual, 0)
		return
	}
	s.heard++
	s.now.add(p.now.total())
	if usual >= 0 {
		s.compared++
		s.passed += uint64(p.now.passed)
		s.usual += usual
	}
}

// Remove takes a part out that is in.
func (s *Sum) Remove(p *Part) {
	usual, before := p.usual()
	s.gates--
	s.before.remove(before)
	if !p.heard {
		s.missing -= max(usual, 0)
		return
	}
	s.heard--
	s.now.remove(p.now.total())
	if usual >= 0 {
		s.compared--
		s.passed -= uint64(p.now.passed)
		s.usual -= usual
	}
}

// Index of the sum, on a day over its first hours.
func (s *Sum) Index(day Date, hours int) Index {
	out := Index{Day: day, Hours: hours, Gates: s.gates, Heard: s.heard, Compared: s.compared}
	if s.compared > 0 && s.usual >= FlowFloor && s.usual*100 >= (s.usual+s.missing)*MinCoverage {
		out.Flow = flow(s.passed, s.usual)
	}
	if s.now.judged >= ControlFloor {
		out.Control = control(s.now, s.before)
	}
	return out
}

// Compute makes the index of the gates on a day, of its first hours, 0 to 24.
func Compute(gates []Series, day Date, hours int) Index {
	hours = max(0, min(hours, Hours))
	var sum Sum
	for _, g := range gates {
		var p Part
		for weeks := range Weeks + 1 {
			if d := g[day-7*Date(weeks)]; d != nil {
				p.Set(weeks, d, hours)
			}
		}
		sum.Add(&p)
	}
	return sum.Index(day, hours)
}

func flow(passed uint64, usual float64) Flow {
	low, high := Poisson(passed)
	f := Flow{Usual: usual, Few: passed < MinCell}
	if f.Few {
		// All of these read alike, so that nothing tells one from none.
		f.Level = gate.RiskHigh
		return f
	}
	f.Passed = passed
	f.Percent, f.Low, f.High = 100*float64(passed)/usual, 100*low/usual, 100*high/usual
	f.Crowded = f.Low > 150
	// The colour that is nearest to the usual of those that the interval allows.
	f.Level = band(-f.High, -85, -70, -50, -30)
	return f
}

func control(now, before total) Control {
	n := now.serious + now.mild
	c := Control{Judged: now.judged, Few: n < MinCell}
	usual := share(before)
	known := before.judged >= ControlFloor && before.serious+before.mild >= MinCell
	if known {
		c.Usual = usual
	}
	if c.Few {
		c.Level = gate.RiskLow
		return c
	}
	low, high := Poisson(n)
	c.Stopped, c.PerMille = n, share(now)
	c.Low, c.High = c.PerMille*low/float64(n), c.PerMille*high/float64(n)
	// The mildest colour that the interval allows.
	c.Level = band(c.Low, 5, 15, 40, 100)
	if c.Risen = known && c.Low > 2*usual; c.Risen && c.Level < gate.RiskHigh {
		c.Level++
	}
	return c
}

// share is the weighted share in per mille: a serious case counts whole, a mild one half.
func share(t total) float64 {
	if t.judged == 0 {
		return 0
	}
	return 1000 * (float64(t.serious) + float64(t.mild)/2) / float64(t.judged)
}

// band is the level of a value among four rising bounds: what reaches a bound is beyond it.
func band(v float64, bounds ...float64) gate.RiskLevel {
	level := gate.RiskLow
	for _, b := range bounds {
		if v >= b {
			level++
		}
	}
	return level
}

// Poisson is the 95 % interval of the mean behind a count, by Byar's
// approximation to the exact one: within a hundredth of it from 5 on.
func Poisson(n uint64) (low, high float64) {
	if n > 0 {
		x := float64(n)
		low = x * math.Pow(1-1/(9*x)-z95/(3*math.Sqrt(x)), 3)
	}
	x := float64(n) + 1
	return max(low, 0), x * math.Pow(1-1/(9*x)+z95/(3*math.Sqrt(x)), 3)
}
