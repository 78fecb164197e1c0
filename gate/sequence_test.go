package gate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// what happens.
type what uint8

const (
	comes     what = iota // somebody shows a code at the way in
	shows                 // the permit, or another code
	leaves                // shows a code at the way out
	presses               // the exit button
	turnsIn               // the turnstile, inwards
	letsGo                // of it
	turnsOut              // the turnstile, outwards
	burns                 // the fire input becomes active
	burntOut              // and is over
	guards                // a guard acts
	disk                  // the journal changes its condition
	reader                // so does what opens codes
	sensor                // the thermometer
	turnstile             // the actuator
	body                  // the next person's temperature changes
	leaps                 // the wall clock
	grades                // the clock's quality
	network               // comes and goes
	recolours             // the authority, a code
	orders                // the authority, another policy
	renews                // the phone, its proof
	stops                 // the program, and is started again
	dies                  // the program by a kill, and is started again
	whats
)

func (k what) String() string {
	return [...]string{"comes", "shows", "leaves", "presses", "turns in", "lets go", "turns out", "fire", "fire over", "guard", "journal", "opener",
		"thermometer", "actuator", "body", "clock leaps", "clock grade", "network", "recolour", "policy", "proof", "stop", "kill"}[k]
}

// happening is one thing that happens, and the time that passes afterwards.
type happening struct {
	what what
	n    byte // how
	wait time.Duration
}

// how says it in words.
func (h happening) String() string {
	how := strconv.Itoa(int(h.n))
	switch h.what {
	case comes, shows, leaves:
		c := codeOf(h)
		how = fmt.Sprintf("%s %d", c.kind, c.n)
		if h.sameAgain() {
			how = "the last code again"
		}
	case disk, reader, sensor, turnstile:
		how = conditionOf(h).String()
	case leaps:
		how = leapOf(h).String()
	}
	return fmt.Sprintf("%s %s, then %s", h.what, how, h.wait)
}

// sequence is a life of a lane.
type sequence struct {
	setup  byte
	events []happening
}

// String is a line for each happening.
func (s sequence) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "setup %05b\n", s.setup)
	for _, h := range s.events {
		fmt.Fprintf(&b, "  %s\n", h)
	}
	return b.String()
}

// often is how often each thing happens: people more than trouble.
var often = [whats]int{comes: 60, shows: 14, leaves: 8, presses: 6, turnsIn: 24, letsGo: 6, turnsOut: 8, burns: 5, burntOut: 6, guards: 20, disk: 8, reader: 5,
	sensor: 4, turnstile: 8, body: 4, leaps: 4, grades: 3, network: 2, recolours: 4, orders: 2, renews: 2, stops: 2, dies: 2}

// waits are picked at random; the short ones meet answers on their way.
var waits = []time.Duration{0, 0, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond, 5 * time.Millisecond, 9 * time.Millisecond,
	20 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond, 60 * time.Millisecond, 300 * time.Millisecond, 300 * time.Millisecond, time.Second,
	time.Second, 2100 * time.Millisecond, 3 * time.Second, 3100 * time.Millisecond, 6 * time.Second, 21 * time.Second, 61 * time.Second}

// table has each thing as often as it happens.
var table = func() (t []what) {
	for k, n := range often {
		for range n {
			t = append(t, what(k))
		}
	}
	return t
}()

// sequenceOf makes the sequence of a seed.
func sequenceOf(seed uint64) sequence {
	random := rand.New(rand.NewPCG(seed, 6))
	s := sequence{setup: byte(random.IntN(32)), events: make([]happening, 0, 64)}
	for range 8 + random.IntN(48) {
		if random.IntN(32) == 0 {
			// Somebody goes in, out, and in again.
			s.events = append(s.events, happening{comes, byte(random.IntN(224)), waits[random.IntN(len(waits))]}, happening{turnsIn, 0, 300 * time.Millisecond},
				happening{leaves, 0, 9 * time.Millisecond}, happening{turnsOut, 0, 3100 * time.Millisecond}, happening{comes, 255, 20 * time.Millisecond})
		}
		s.events = append(s.events, happening{table[random.IntN(len(table))], byte(random.IntN(256)), waits[random.IntN(len(waits))]})
	}
	return s
}

// codeOf is what is shown: half of the time a plain code.
func codeOf(h happening) code {
	n := h.n
	switch {
	case h.what == shows && n < 128:
		return code{permit, n % 12}
	case n < 128:
		return code{plain, n % 12}
	}
	return code{codeKind(n % byte(codeKinds)), n / byte(codeKinds) % 12}
}

// sameAgain: the code that was shown last comes back, or leaves.
func (h happening) sameAgain() bool {
	return h.what == comes && h.n >= 224 || h.what == leaves && h.n < 64
}

// conditionOf is how a part does: well in two of six cases.
func conditionOf(h happening) condition {
	return [...]condition{quick, quick, slow, late, failing, hanging}[h.n%6]
}

func leapOf(h happening) time.Duration {
	d := [...]time.Duration{time.Second, time.Minute, 13 * time.Hour, 25 * time.Hour, 49 * time.Hour, 40 * 24 * time.Hour, 50 * 365 * 24 * time.Hour}[h.n/2%7]
	if h.n&1 != 0 {
		return -d
	}
	return d
}

// happen does it.
func (w *model) happen(h happening) {
	switch h.what {
	case comes:
		c := codeOf(h)
		if h.sameAgain() {
			c = w.shown
		}
		w.scan(c)
	case shows:
		c := codeOf(h)
		if n := len(w.said); c.kind == permit && n > 0 && h.n&1 == 0 {
			c.n = w.said[n-1].n // their own
		}
		w.scan(c)
	case leaves:
		c := codeOf(h)
		if h.sameAgain() {
			c = w.shown
		}
		w.leave(c)
	case presses:
		w.leaveWay(0, -1, func(m *machine) { m.input(Input{Contact: ExitButton, Active: true}) })
	case turnsIn:
		w.turnIn()
	case letsGo:
		w.event(func(m *machine) { m.input(Input{Contact: PassageContact}) })
	case turnsOut:
		if w.m != nil && w.cfg.ExitContact && !w.fire && len(w.ways) > 0 {
			if p := w.ways[0].person; p >= 0 {
				w.inside[p] = time.Time{}
			}
			w.ways = w.ways[1:]
		}
		w.event(func(m *machine) { m.input(Input{Contact: ExitContact, Active: true}) })
	case burns, burntOut:
		w.burn(h.what == burns)
		if h.n >= 192 {
			w.burn(false) // a loose wire
		}
	case guards:
		w.act(h.n)
	case disk:
		w.journal.set(conditionOf(h), w.now)
	case reader:
		w.opener.set(conditionOf(h), w.now)
	case sensor:
		w.sensor.set(conditionOf(h), w.now)
	case turnstile:
		w.actuator.set(conditionOf(h), w.now)
	case body:
		w.body = [...]Reading{{Adjusted: 36400}, {Adjusted: 36400}, {Adjusted: 38200}, {Adjusted: 37300}, {TooFar: true}, {Adjusted: 36400, OutOfRange: true}}[h.n%6]
	case leaps:
		w.offset += leapOf(h)
		w.offset = max(min(w.offset, 60*365*24*time.Hour), -60*365*24*time.Hour)
	case grades:
		w.quality = ClockQuality(h.n % 4)
	case network:
		w.confirmed, w.network = w.wall(), h.n&1 != 0
	case recolours:
		w.colours[h.n%12] = [...]Status{Green, Yellow, Red, Void}[h.n/12%4]
	case orders:
		w.policy.PermitRequired, w.policy.RedOverride = h.n&1 != 0, h.n&2 != 0
	case renews:
		w.proofs += people
	case stops, dies:
		if w.m != nil {
			if h.what == stops {
				w.stop()
			} else {
				w.kill(h.n&1 != 0)
			}
			w.now = w.now.Add(h.wait)
		}
		w.start()
		return
	}
	w.pass(h.wait)
}

// scan shows a code at the way in.
func (w *model) scan(c code) {
	if c.kind == bound {
		// The phone makes proofs anew, now and then. 12 is half of the people,
		// so that a proof's number gives the person.
		c.n = c.n%12 + w.proofs
	}
	w.scans++
	w.shown = c
	before := w.first
	w.event(func(m *machine) { m.scan(Scan{Raw: c.raw(w.scans), At: w.now}, c.fingerprint()) })
	if w.state == ReadingCode && w.first != before {
		w.inHand = w.scans
	}
}

// leave shows a code at the way out.
func (w *model) leave(c code) {
	w.inside[c.person()] = time.Time{}
	w.scans++
	w.leaveWay(c.fingerprint(), c.person(), func(m *machine) { m.scan(Scan{Raw: c.raw(w.scans), At: w.now, Direction: Exit}, c.fingerprint()) })
}

// leaveWay asks for the way out, which nothing refuses. The same code asks once.
func (w *model) leaveWay(code uint64, person int, ask func(*machine)) {
	if w.m == nil {
		return
	}
	for len(w.ways) > 0 && !w.now.Before(w.ways[0].until) {
		w.ways = w.ways[1:]
	}
	known := code != 0 && slices.ContainsFunc(w.ways, func(x wayOut) bool { return x.code == code })
	if !w.fire && !known {
		if len(w.ways) >= maxExits {
			w.ways = w.ways[1:]
		}
		w.ways = append(w.ways, wayOut{code, person, w.now.Add(w.cfg.ReleaseFor)})
		w.owed++
	}
	w.event(ask)
}

// turnIn is a person in the arms of the turnstile, or force.
func (w *model) turnIn() {
	if w.m == nil {
		return
	}
	if w.cfg.PassageContact && !w.fire {
		w.turns++
		if r := &w.release; w.out.Entry {
			r.turns++
			if r.of >= 0 && r.turns == 1 {
				s := &w.said[r.of]
				if s.err == nil && s.kind != unlisted {
					w.inside[s.person()] = w.wall()
				}
				if s.kind == bound {
					w.used[s.n] = w.now
				}
			}
		}
	}
	w.event(func(m *machine) { m.input(Input{Contact: PassageContact, Active: true}) })
}

// burn changes the fire input.
func (w *model) burn(fire bool) {
	if w.burning == fire {
		return
	}
	w.burning = fire
	if w.m != nil {
		w.alarm(fire)
	}
}

// alarm tells the program of it, which looks at the input when it starts, too.
func (w *model) alarm(fire bool) {
	w.fire = fire
	if fire {
		w.ways, w.guard.good, w.admitted.good, w.inside = nil, false, false, [people]time.Time{}
	}
	w.event(func(m *machine) { m.input(Input{Contact: FireInput, Active: fire}) })
}

// act is a guard who looks at a view, now and then at one that is gone.
func (w *model) act(n byte) {
	if w.m == nil {
		return
	}
	v := w.out.View
	a := GuardAct{Action: GuardAction(n % 3), Reason: IdentityChecked, Guard: "g", Count: v.Count}
	old := n >= 224
	if old {
		a.Count = w.first - 1
	}
	if a.Action == GuardRefuse {
		a.Reason = SentAway
	}
	g := grant{at: w.now, of: len(w.said) - 1, good: true}
	if a.Action == GuardPass {
		g.of = -1
	}
	w.m.begin(w.at())
	before := w.guard
	if a.Action != GuardRefuse {
		w.guard = g
	}
	if err := w.m.act(a); err != nil {
		w.guard = before
		w.take()
		return
	}
	w.demand(!w.fire, "a guard acted during a fire")
	if a.Action != GuardPass {
		w.demand(v.State == Held || v.GuardMayAdmit && a.Action == GuardAdmit, "a guard resolved state %s", v.State)
		w.demand(!old, "a guard resolved what is no more shown")
		if g.of >= 0 {
			w.said[g.of].again = false
		}
	} else {
		w.demand(v.State == Idle || v.State == OutOfService || v.Direction == Exit, "a guard let somebody in in state %s", v.State)
	}
	w.take()
}

// mend makes everything well, and waits until nobody is in hand.
func (w *model) mend() {
	if w.m == nil {
		w.start()
	}
	for _, p := range []*part{&w.opener, &w.journal, &w.sensor, &w.actuator} {
		p.set(quick, w.now)
	}
	w.burn(false)
	w.offset, w.quality, w.network = 0, ClockConfirmed, true
	w.body = Reading{Adjusted: 36400}
	w.pass(35 * time.Second)
	w.demand(w.out.View.State != OutOfService && w.out.View.FaultCode == "", "everything is well, and the lane is %s with fault %q", w.out.View.State, w.out.View.FaultCode)
	w.pass(w.cfg.HoldFor + 30*time.Second)
	w.demand(w.out.View.State == Idle, "nobody is there, and the lane is %s", w.out.View.State)
}

// serve lets one person in and out, as on any day, and has a fire.
func (w *model) serve() {
	const stranger = people - 1 // never seen before
	w.colours[stranger] = Green
	n := w.out.Entries
	w.scan(code{plain, stranger})
	w.pass(50 * time.Millisecond)
	if w.policy.PermitRequired {
		w.scan(code{permit, stranger})
		w.pass(50 * time.Millisecond)
	}
	w.demand(w.out.Entries == n+1 && w.entry, "everything is well, somebody came, and the lane is %s (%s)", w.out.View.State, w.out.View.Decision.Reason)
	w.turnIn()
	w.pass(50 * time.Millisecond)
	w.demand(!w.cfg.PassageContact || !w.entry, "somebody went through, and the turnstile is released")
	w.leave(code{plain, stranger})
	w.pass(20 * time.Millisecond)
	w.demand(w.exit, "somebody leaves, and the way out is locked")
	w.burn(true)
	w.pass(fireWithin)
	w.demand(w.entry && w.exit, "fire, and the turnstile is locked")
	w.burn(false)
	w.pass(10 * time.Second)
	w.demand(!w.entry && !w.exit, "the fire is over, and the turnstile is released")
	w.balance()
	w.stop()
}

// play plays a sequence, and says which invariant broke.
func (s sequence) play(mut *mutant) (c Counters, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			err = fmt.Errorf("%s", string(r))
		default:
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	w := newModel(s.setup, mut)
	for _, h := range s.events {
		w.happen(h)
	}
	w.mend()
	w.serve()
	return w.counters, nil
}

// shrink leaves out what a broken sequence does not need.
func (s sequence) shrink(mut *mutant) sequence {
	breaks := func(events []happening) bool {
		_, err := sequence{s.setup, events}.play(mut)
		return err != nil
	}
	for size := len(s.events); size > 0; {
		shorter := false
		for i := 0; i+size <= len(s.events); {
			if without := slices.Delete(slices.Clone(s.events), i, i+size); breaks(without) {
				s.events, shorter = without, true
				continue
			}
			i++
		}
		if !shorter || size > len(s.events) {
			size /= 2
		}
	}
	for i := range s.events {
		for _, d := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, time.Second} {
			calmer := slices.Clone(s.events)
			if calmer[i].wait <= d {
				break
			}
			if calmer[i].wait = d; breaks(calmer) {
				s.events = calmer
				break
			}
		}
	}
	return s
}

// runModel plays n sequences from a seed on all cores, until the time is up, and returns how many.
func runModel(t *testing.T, first uint64, n int, limit time.Duration, tell func(done uint64)) (uint64, uint64, Counters) {
	t.Helper()
	var next, done, bad atomic.Uint64
	var mu sync.Mutex
	var sum Counters
	var wg sync.WaitGroup
	began := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var mine Counters
			for bad.Load() < 3 {
				i := next.Add(1) - 1
				if i >= uint64(n) || limit > 0 && i%16 == 0 && time.Since(began) > limit {
					break
				}
				s := sequenceOf(first + i)
				c, err := s.play(nil)
				mine.add(c)
				done.Add(1)
				if err != nil {
					bad.Add(1)
					short := s.shrink(nil)
					_, again := short.play(nil)
					mu.Lock()
					t.Errorf("seed %d: %v\n%d of its %d happenings do: %v\n%s", first+i, err, len(short.events), len(s.events), again, short)
					mu.Unlock()
				}
				if tell != nil && (i+1)%50_000 == 0 {
					tell(i + 1)
				}
			}
			mu.Lock()
			sum.add(mine)
			mu.Unlock()
		})
	}
	wg.Wait()
	return done.Load(), bad.Load(), sum
}

func (c *Counters) add(d Counters) {
	c.Admitted += d.Admitted
	c.Refused += d.Refused
	c.Held += d.Held
	c.Turned += d.Turned
	c.NotTurned += d.NotTurned
	c.TurnedTwice += d.TurnedTwice
	c.Forced += d.Forced
	c.Exits += d.Exits
	c.GuardActs += d.GuardActs
	c.Fires += d.Fires
	c.Faults += d.Faults
}

// TestModel plays random lives of a lane. GREENGATE_SEQUENCES is how many, as
// `make model` sets it; GREENGATE_SEED the first one's seed.
func TestModel(t *testing.T) {
	n, limit := 20_000, 2500*time.Millisecond
	if testing.Short() {
		n, limit = 2000, time.Second
	}
	var seed uint64 = 1
	var tell func(uint64)
	if v := os.Getenv("GREENGATE_SEED"); v != "" {
		s, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("GREENGATE_SEED: %v", err)
		}
		seed = s
	}
	long := os.Getenv("GREENGATE_SEQUENCES")
	if long != "" {
		s, err := strconv.Atoi(long)
		if err != nil {
			t.Fatalf("GREENGATE_SEQUENCES: %v", err)
		}
		n, limit = s, 0
		tell = func(done uint64) { fmt.Fprintf(os.Stderr, "model: %d of %d sequences\n", done, n) }
	}
	done, bad, sum := runModel(t, seed, n, limit, tell)
	if long != "" {
		fmt.Printf("bench: lane.model.sequences %d sequences\nbench: lane.model.broken %d sequences\n", done, bad)
	}
	t.Logf("%d sequences: %+v", done, sum)
	if done >= 100 && min(sum.Admitted, sum.Held, sum.Refused, sum.Turned, sum.NotTurned, sum.Forced, sum.Exits, sum.Fires, sum.GuardActs, sum.Faults) < done/20 {
		t.Errorf("the lives are too dull: %+v", sum)
	}
	if done == 0 {
		t.Error("nothing was played")
	}
}

// TestFoundByTheModel plays again what broke an invariant once.
func TestFoundByTheModel(t *testing.T) {
	for name, s := range map[string]sequence{
		"the way out was released, and the stop came before the code was open": {0b10001, []happening{
			{reader, 3, 0}, {leaves, 77, 0}, {stops, 14, 0}}},
		"a guard's act was to be released in the step in which the actuator's time was up": {0b01101, []happening{
			{disk, 2, 0}, {leaves, 69, 0}, {turnstile, 3, 0}, {disk, 3, 0}, {leaves, 71, 6 * time.Second}, {comes, 10, time.Second},
			{guards, 247, 300 * time.Millisecond}, {burntOut, 254, 300 * time.Millisecond}, {comes, 1, 3100 * time.Millisecond}, {guards, 140, 300 * time.Millisecond}}},
		"a guard's act waited for the disk when word came that the code is red": {0b01011, []happening{
			{presses, 25, 20 * time.Millisecond}, {comes, 212, 20 * time.Millisecond}, {disk, 5, 0}, {reader, 3, 3100 * time.Millisecond}, {guards, 76, 2100 * time.Millisecond}}},
	} {
		if _, err := s.play(nil); err != nil {
			t.Errorf("%s: %v\n%s", name, err, s)
		}
	}
}

// mutant is a lane with a fault, which the model must find.
type mutant struct {
	name string
	// meddle changes what the lane drives.
	meddle func(*model, *Outputs)
	// early: the journal answers before the record is on the disk.
	early bool
}

// TestModelFindsFaults shows that each invariant can break.
func TestModelFindsFaults(t *testing.T) {
	for _, mut := range []mutant{
		{name: "released before the record is on the disk", early: true},
		{name: "released while the record is on its way", meddle: func(w *model, o *Outputs) {
			if o.View.State == Recording && !o.Entry {
				o.Entry, o.Entries = true, o.Entries+1
			}
		}},
		{name: "fire is ignored while somebody is held", meddle: func(w *model, o *Outputs) {
			if w.fire && w.state == Held {
				*o = w.out
			}
		}},
		{name: "the way out is refused out of service", meddle: func(w *model, o *Outputs) {
			if o.View.State == OutOfService {
				o.Exit = false
			}
		}},
		{name: "stays released past the deadline, and for a second person", meddle: func(w *model, o *Outputs) {
			if w.out.Entry && !w.fire && w.state == Released {
				o.Entry = true
			}
		}},
		{name: "out of service without a word", meddle: func(w *model, o *Outputs) {
			if o.View.State == OutOfService {
				o.View.FaultCode = ""
			}
		}},
		{name: "never comes back from a fault", meddle: func(w *model, o *Outputs) {
			if w.out.View.FaultCode == "journal-timeout" && o.View.FaultCode == "" {
				o.View.FaultCode = "journal-timeout"
			}
		}},
		{name: "released while it stops", meddle: func(w *model, o *Outputs) {
			if w.stopping {
				o.Entry, o.Entries = true, o.Entries+1
			}
		}},
	} {
		t.Run(mut.name, func(t *testing.T) {
			for seed := range uint64(3000) {
				s := sequenceOf(seed)
				if _, err := s.play(&mut); err != nil {
					short := s.shrink(&mut)
					if _, err := short.play(&mut); err == nil || len(short.events) > len(s.events) {
						t.Errorf("shrunk to nothing that breaks:\n%s", short)
					} else {
						t.Logf("seed %d: %v\n%s", seed, err, short)
					}
					return
				}
			}
			t.Error("not found")
		})
	}
}
