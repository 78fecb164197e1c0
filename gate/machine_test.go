package gate

import (
	"errors"
	"math/rand"
	"testing"
	"time"

	"greengate/pass"
)

// bench drives a machine by hand: whatever it asks for waits until the test
// answers, or does not.
type bench struct {
	t       testing.TB
	m       *machine
	now     time.Time
	job     *openJob
	measure bool
	record  *Record
	written []entry

	version, applying uint64

	fire bool // the fire input, as the test set it
}

func newBench(t testing.TB, flags byte) *bench {
	cfg := DefaultLaneConfig()
	cfg.Zone = "east"
	cfg.PassageContact = flags&1 != 0
	cfg.ExitContact = flags&2 != 0
	b := &bench{t: t, now: judgeNow, m: newMachine(cfg, flags&4 != 0, rand.New(rand.NewSource(1)), quiet)}
	b.m.start(b.at())
	b.take()
	return b
}

func (b *bench) at() moment { return moment{now: b.now, wall: b.now, clock: ClockNetwork} }

// take does what Lane.after does.
func (b *bench) take() {
	m := b.m
	if job, ok := m.takeOpen(); ok {
		if b.job != nil {
			b.t.Fatal("the opener was asked twice")
		}
		b.job = &job
	}
	if _, ok := m.takeMeasure(); ok {
		if b.measure {
			b.t.Fatal("the thermometer was asked twice")
		}
		b.measure = true
	}
	if r, ok := m.takeRecord(); ok {
		if b.record != nil {
			b.t.Fatal("the journal was asked twice")
		}
		b.record = &r
	}
	if m.changed {
		m.outputs()
		m.taken()
		b.apply()
	}
	if m.takeReapply() {
		b.apply()
	}
	b.check()
}

func (b *bench) apply() {
	b.version++
	if b.applying == 0 {
		b.applying = b.version
	}
	b.m.applies()
}

// pass lets time pass, through every deadline on the way.
func (b *bench) pass(d time.Duration) {
	end := b.now.Add(d)
	for n := 0; ; n++ {
		if n > 100_000 {
			b.t.Fatalf("deadlines without end in state %s", b.m.state)
		}
		next := b.m.next()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(b.now) {
			b.now = next
		}
		b.m.begin(b.at())
		b.take()
		// What is due now and cannot be done yet, because its worker hangs, waits.
		if again := b.m.next(); !again.IsZero() && !again.After(b.now) && n > 50_000 {
			b.t.Fatalf("deadline %s does not go away in state %s", again, b.m.state)
		}
	}
	b.now = end
	b.m.begin(b.at())
	b.take()
}

func (b *bench) event(do func(m *machine)) {
	b.m.begin(b.at())
	do(b.m)
	b.take()
}

// input sets the fire input.
func (b *bench) input(fire bool) {
	b.fire = fire
	b.event(func(m *machine) { m.input(Input{Contact: FireInput, Active: fire}) })
}

// leave asks for the way out, which nothing may refuse.
func (b *bench) leave(ask func(m *machine)) {
	b.event(ask)
	if !b.m.outputs().Exit {
		b.t.Fatalf("the way out stays locked in state %s", b.m.state)
	}
}

func (b *bench) answerOpen(kind, colour byte, fails bool) {
	job := b.job
	if job == nil {
		return
	}
	b.job = nil
	o := &opened{look: look{policy: DefaultPolicy(), listing: Listing{
		Found: colour != 0, InBounds: true, Status: Status(colour % 6), Issued: judgeNow, Confirmed: b.now,
	}}}
	o.look.policy.PermitRequired = kind&8 != 0
	o.look.policy.RedOverride = kind&16 != 0
	o.look.permitListing = o.look.listing
	c := &pass.Credential{
		Kind: pass.Kind(kind % 5), Issued: judgeNow.Add(-time.Hour), Expires: judgeNow.Add(240 * time.Hour),
		Status: pass.StatusRef{URI: "u", Index: uint64(kind % 3)},
		Proof:  pass.Proof{At: b.now, ID: [32]byte{kind}},
	}
	if job.kind == openPermit {
		c.Kind = pass.KindPermit
		c.Permit = &pass.Permit{Enterprise: "9", Zones: []string{"east"}, Holder: job.code.Status}
	}
	switch {
	case fails && kind&1 != 0:
		o.err = pass.ErrBadSignature
	case fails:
		*o = opened{fault: errPanic}
	case job.kind != openNothing:
		o.credential = c
	}
	b.event(func(m *machine) { m.openedCode(o) })
}

func (b *bench) answerMeasure(tenths byte, fails bool) {
	if !b.measure {
		return
	}
	b.measure = false
	r := &measured{look: b.m.measured.look, reading: Reading{Adjusted: 35000 + 20*MilliCelsius(tenths), TooFar: tenths < 20}}
	if fails {
		r.err = ErrThermometer
	}
	b.event(func(m *machine) { m.measuredReading(r) })
}

func (b *bench) answerAppend(err error) {
	if b.record == nil {
		return
	}
	r := *b.record
	b.record = nil
	seq := uint64(0)
	if err == nil {
		b.written = append(b.written, entry{r, b.m.queue[0].p})
		seq = uint64(len(b.written))
	}
	b.event(func(m *machine) { m.appended(seq, err) })
}

func (b *bench) answerApply(err error) {
	if b.applying == 0 {
		return
	}
	more := b.applying != b.version
	b.applying = 0
	if more {
		b.applying = b.version
	}
	b.event(func(m *machine) { m.applied(err, more) })
}

// check holds at any time.
func (b *bench) check() {
	m, t := b.m, b.t
	t.Helper()
	o := m.outputs()
	if m.fire != b.fire {
		t.Fatalf("the fire input is %v, and the lane's state is %s", b.fire, m.state)
	}
	if m.fire {
		if !o.Entry || !o.Exit || m.state != FireOpen {
			t.Fatalf("fire, and the outputs are %+v", o)
		}
	} else if o.Entry && m.state != Released {
		t.Fatalf("entry released in state %s", m.state)
	}
	if m.state == Released {
		if m.until.IsZero() || !b.now.Before(m.until) || m.until.Sub(b.now) > m.cfg.ReleaseFor {
			t.Fatalf("released until %s, it is %s", m.until, b.now)
		}
		if m.p.byGuard {
			if m.p.guard.Guard == "" || m.p.guard.Action == GuardRefuse {
				t.Fatalf("released by a guard who did not: %+v", m.p.guard)
			}
		} else {
			if m.p.seq == 0 || m.p.seq > uint64(len(b.written)) {
				t.Fatalf("released, and no decision is on disk")
			}
			e := b.written[m.p.seq-1]
			if e.p != m.p || e.record.Kind != DecisionRecord || e.record.Verdict != Admit {
				t.Fatalf("released by %+v", e.record)
			}
		}
	}
	switch m.state {
	case Idle, OutOfService, FireOpen:
		if m.p != nil {
			t.Fatalf("a passage is in hand in state %s", m.state)
		}
	default:
		if m.p == nil || m.until.IsZero() {
			t.Fatalf("state %s without a passage or a deadline", m.state)
		}
	}
	if o.Exit && !m.fire {
		for _, x := range m.exits {
			if !b.now.Before(x.until) {
				t.Fatalf("exit released until %s, it is %s", x.until, b.now)
			}
		}
	}
	if m.state == OutOfService && (m.faultCode() == "" || o.Light.Colour != LightRed) {
		t.Fatalf("out of service with code %q and light %s", m.faultCode(), o.Light)
	}
	if len(m.queue) > maxQueue || len(m.exits) > maxExits || len(m.opens) > maxExits+2 {
		t.Fatalf("%d records, %d exits and %d codes wait", len(m.queue), len(m.exits), len(m.opens))
	}
}

// settle answers everything until nothing is left to do, and looks at what is on disk.
func (b *bench) settle() {
	t := b.t
	t.Helper()
	if b.m.fire {
		b.input(false)
	}
	for range 200 {
		for range 8 {
			b.answerOpen(1, 1, false)
			b.answerMeasure(70, false)
			b.answerAppend(nil)
			b.answerApply(nil)
		}
		b.pass(2 * time.Second)
	}
	for n := 0; b.record != nil && n < 2*maxQueue; n++ {
		b.answerAppend(nil)
	}
	b.answerApply(nil)
	b.pass(time.Second)
	if b.m.state != Idle || len(b.m.queue) != 0 {
		t.Fatalf("ends in state %s %q with %d records", b.m.state, b.m.faultCode(), len(b.m.queue))
	}
	outcomes := map[uint64]int{}
	for _, e := range b.written {
		if e.record.Kind == OutcomeRecord {
			outcomes[e.record.Of]++
		}
	}
	if outcomes[0] != 0 {
		t.Fatalf("%d outcomes of nothing", outcomes[0])
	}
	admitted := uint64(0)
	for i, e := range b.written {
		r := e.record
		n := outcomes[uint64(i+1)]
		switch {
		case r.Verdict == Admit && r.Kind == DecisionRecord, r.Verdict == Admit && r.Reason == ByGuard && r.Kind == ActRecord:
			admitted++
			if n != 1 && b.m.counters.Lost == 0 {
				t.Fatalf("record %d %s %s has %d outcomes", i+1, r.Kind, r.Reason, n)
			}
		case n > 1:
			t.Fatalf("record %d %s %s has %d outcomes", i+1, r.Kind, r.Reason, n)
		}
	}
	if b.m.counters.Admitted > admitted && b.m.counters.Lost == 0 {
		t.Fatalf("%d releases, and %d records that admit", b.m.counters.Admitted, admitted)
	}
}

// FuzzLane plays any order of events on the machine: an open entry always has
// a decision on disk that admits (fire and guard exempt) and a deadline, fire
// wins and the way out opens at once whatever hangs, nothing is released out
// of service, and whatever admits has exactly one outcome in the end.
func FuzzLane(f *testing.F) {
	const grant = "\x09\x00" // the day's key is on disk
	f.Add([]byte("\x01" + grant + "\x00\x01\x07\x01\x09\x00\x0b\x00\x02\x00\x0d\x02\x09\x00"))
	f.Add([]byte("\x00" + grant + "\x00\x01\x07\x01\x0d\x03\x09\x00\x03\x00\x0d\x01\x04\x00"))
	f.Add([]byte("\x07" + grant + "\x00\x01\x07\x01\x08\x90\x09\x00\x0e\x01"))
	f.Add([]byte("\x03" + grant + "\x01\x01\x06\x00\x05\x00\x0a\x00\x0d\x06\x0c\x00"))
	f.Add([]byte("\x05" + grant + "\x00\x01\x07\x42\x09\x00\x0e\x01\x07\x03\x0d\x04"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 1 || len(data) > 400 {
			return
		}
		playLane(t, data)
	})
}

// TestRandomLanes plays FuzzLane's game without a fuzzer. The walks lean
// towards answers, so that most people get through the gate.
func TestRandomLanes(t *testing.T) {
	random := rand.New(rand.NewSource(20200217))
	// What happens in a row; 0xff stands for any byte.
	rows := [][]byte{
		{0, 0xff, 7, 33, 9, 0, 11, 0, 2, 0, 13, 3, 9, 0}, // green, and walks through
		{0, 0xff, 7, 33, 9, 0, 11, 0, 13, 4, 13, 3, 9, 0},
		{0, 0xff, 7, 33, 8, 0xff, 13, 3, 8, 0xff, 9, 0, 11, 0, 2, 0},
		{0, 0xff, 7, 65, 9, 0, 11, 0, 14, 0xff, 7, 0xff, 9, 0, 11, 0}, // yellow
		{0, 0xff, 7, 41, 0, 0xff, 7, 41, 8, 60, 9, 0},                 // with a permit
		{0, 0xff, 7, 0xff, 9, 0, 11, 0},
		{9, 0, 11, 0}, {9, 0, 9, 0, 9, 0}, {11, 0}, {7, 0xff}, {8, 0xff}, {13, 0xff}, {13, 1},
		{1, 0xff, 7, 0xff}, {5, 0}, {6, 0}, {2, 0}, {14, 0xff}, {14, 2}, {15, 0},
		{3, 0, 11, 0, 4, 0}, {3, 0}, {23, 0xff}, {24, 0}, {10, 0}, {12, 0},
	}
	var sum Counters
	for range 400 {
		data := []byte{byte(random.Intn(8)), 9, 0}
		for range 60 {
			// The first rows, the people, come more often than the trouble.
			n := min(random.Intn(len(rows)), random.Intn(len(rows)), random.Intn(len(rows)))
			for _, c := range rows[n] {
				if c == 0xff {
					c = byte(random.Intn(256))
				}
				data = append(data, c)
			}
		}
		c := playLane(t, data)
		sum.Admitted += c.Admitted
		sum.Held += c.Held
		sum.Refused += c.Refused
		sum.Turned += c.Turned
		sum.NotTurned += c.NotTurned
		sum.Fires += c.Fires
		sum.GuardActs += c.GuardActs
		sum.Faults += c.Faults
	}
	if min(sum.Admitted, sum.Held, sum.Refused, sum.Turned, sum.NotTurned, sum.Fires, sum.GuardActs, sum.Faults) < 50 {
		t.Errorf("the walks are too dull: %+v", sum)
	}
}

// playLane plays events on a machine: two bytes each, what and how.
func playLane(t *testing.T, data []byte) Counters {
	t.Helper()
	b := newBench(t, data[0])
	broken := errors.New("broken")
	times := []time.Duration{time.Millisecond, 100 * time.Millisecond, 600 * time.Millisecond, 2 * time.Second, 5 * time.Second, 20 * time.Second, time.Minute, 13 * time.Hour}
	for data = data[1:]; len(data) >= 2; data = data[2:] {
		op, arg := data[0], data[1]
		switch op % 16 {
		case 0:
			b.event(func(m *machine) { m.scan(Scan{Raw: []byte{arg}, At: b.now}, uint64(arg)+1) })
		case 1:
			b.leave(func(m *machine) { m.scan(Scan{Raw: []byte{arg}, At: b.now, Direction: Exit}, uint64(arg)+1) })
		case 2:
			b.event(func(m *machine) { m.input(Input{Contact: PassageContact, Active: true}) })
		case 3:
			b.input(true)
		case 4:
			b.input(false)
		case 5:
			b.leave(func(m *machine) { m.input(Input{Contact: ExitButton, Active: true}) })
		case 6:
			b.event(func(m *machine) { m.input(Input{Contact: ExitContact, Active: true}) })
		case 7:
			b.answerOpen(arg%32, arg>>5, op&16 != 0)
		case 8:
			b.answerMeasure(arg, op&16 != 0)
		case 9:
			b.answerAppend(nil)
		case 10:
			b.answerAppend(broken)
		case 11:
			b.answerApply(nil)
		case 12:
			b.answerApply(broken)
		case 13:
			b.pass(times[int(arg)%len(times)])
		case 14:
			a := GuardAct{Action: GuardAction(arg % 4), Reason: GuardReasons()[int(arg/4)%6], Guard: "g", Count: b.m.count}
			b.event(func(m *machine) {
				before := m.state
				if err := m.act(a); err != nil && m.state != before {
					t.Fatalf("act refused with %v, and the state went from %s to %s", err, before, m.state)
				}
			})
		case 15:
			b.event(func(m *machine) { m.noteBusy() })
		}
	}
	b.settle()
	return b.m.counters
}

// A journal that is gone for long loses records only beyond its bound, and
// then says how many.
func TestGap(t *testing.T) {
	b := newBench(t, 0)
	b.answerAppend(nil)
	for range maxQueue + 100 {
		b.event(func(m *machine) { m.input(Input{Contact: ExitButton, Active: true}) })
		b.pass(5 * time.Second)
		b.answerApply(nil)
	}
	if b.m.counters.Lost != 100 {
		t.Errorf("%d records lost, want 100", b.m.counters.Lost)
	}
	for b.record != nil {
		b.answerAppend(nil)
	}
	var gaps []uint64
	for _, e := range b.written {
		if e.record.Kind == GapRecord {
			gaps = append(gaps, e.record.Dropped)
		}
	}
	if len(gaps) != 1 || gaps[0] < 100 {
		t.Errorf("gaps %v", gaps)
	}
	var keys int
	for _, e := range b.written {
		if e.record.Kind == KeyRecord {
			keys++
		}
	}
	if keys < 1 || uint64(len(b.written)) < maxQueue {
		t.Errorf("%d keys among %d records", keys, len(b.written))
	}
}

func TestZeroOutputs(t *testing.T) {
	var o Outputs
	if o.Entry || o.Exit || o.Light.String() != "red" || o.View.State != OutOfService || o.View.Decision.Verdict != Refuse {
		t.Errorf("the zero Outputs is %+v", o)
	}
}
