package gate

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"strconv"
	"strings"
	"time"

	"greengate/pass"
)

// model is the world around a machine, on simulated time: the people, the
// authority, the journal's disk, the thermometer, the turnstile, and a program
// that is stopped, killed and started again. It knows what everybody was told
// and what stands at the turnstile's edge, and nothing of the machine's inside.
// What must hold at any moment it works out from that alone; see check.
type model struct {
	cfg         LaneConfig
	thermometer bool
	mutant      *mutant
	policy      Policy
	colours     [people]Status
	confirmed   time.Time // of the lists, while the network is away
	network     bool
	body        Reading
	proofs      byte // count of proofs made

	now     time.Time
	offset  time.Duration // of the wall clock
	quality ClockQuality
	day     int64

	m        *machine // nil while the program is down
	began    time.Time
	stopping bool
	burning  bool // the fire input
	fire     bool // the same as the program was told

	opener, journal, sensor, actuator part
	job                               openJob
	measureFor                        int
	record                            Record
	applying                          Outputs
	version, begun                    uint64

	// out is what the lane drives, and moved when that last changed.
	out   Outputs
	moved time.Time
	// entry and exit stand at the edge.
	entry, exit bool
	state       State // of the view, and the count of its first one
	first       uint64

	scans    uint16
	inHand   uint16 // the scan that the lane took last
	shown    code   // the last code at the way in
	said     []saying
	admitted grant // the last decision on disk that admits
	guard    grant // the last act of a guard that admits
	release  release
	ways     []wayOut
	inside   [people]time.Time
	used     map[byte]time.Time // proofs that somebody walked through with

	written []written
	kept    int // how many of these the program before wrote
	owed    int // acts of the way out that must come to the disk
	paid    int
	turns   int // inwards, as the program was told
	told    int // of these in outcomes

	counters Counters // of the programs that ended
}

// people are the codes that the model's authority knows.
const people = 24

// condition of a part.
type condition uint8

const (
	// quick answers in 2 ms.
	quick condition = iota
	// slow is still in time, where little waits.
	slow
	// late answers a second after its deadline.
	late
	failing
	hanging
)

func (c condition) String() string {
	return [...]string{"quick", "slow", "late", "failing", "hanging"}[c]
}

// lag is how long a part that is quick takes.
const lag = 2 * time.Millisecond

// part may be slow, fail and hang.
type part struct {
	is     condition
	well   time.Time // since when it has been quick
	within time.Duration
	busy   bool
	asked  time.Time
	due    time.Time // of its answer, zero while it hangs
}

func (p *part) set(c condition, now time.Time) {
	if c == quick && p.is != quick {
		p.well = now
	}
	p.is = c
	if p.busy {
		p.due = p.answers(now)
	}
}

func (p *part) ask(now time.Time) { p.busy, p.asked, p.due = true, now, p.answers(now) }

// overdue reports whether it should have answered by now.
func (p *part) overdue(now time.Time) bool { return p.busy && now.Sub(p.asked) >= p.within }

func (p *part) answers(now time.Time) time.Time {
	switch p.is {
	case slow:
		return now.Add(p.within / 5)
	case late:
		return now.Add(p.within + time.Second)
	case hanging:
		return time.Time{}
	}
	return now.Add(lag)
}

// quickFor is how long it has been quick; nothing if it is not.
func (p *part) quickFor(now time.Time) time.Duration {
	if p.is != quick {
		return 0
	}
	return now.Sub(p.well)
}

// saying is what the machine was told about one code at the way in.
type saying struct {
	code
	err      error
	wall     time.Time // of the last look
	clock    ClockQuality
	expires  time.Time
	listing  Listing
	policy   Policy
	inside   bool
	replayed bool
	permit   bool
	measured bool
	reading  Reading
	again    bool // looked up again for a guard
	gone     bool // who showed it is not in hand any more
}

// grant entitles to one release.
type grant struct {
	at   time.Time
	seq  uint64
	of   int // saying, -1 for none
	good bool
}

// release is the last one of the way in.
type release struct {
	until time.Time
	of    int
	turns int
}

// wayOut is a release of the way out that was asked for.
type wayOut struct {
	code   uint64
	person int // -1 for the button
	until  time.Time
}

// written is what the model remembers of a record on the disk.
type written struct {
	kind     RecordKind
	verdict  Verdict
	reason   Reason
	outcomes int
}

// broken is an invariant that does not hold.
type broken string

func (w *model) breaks(format string, args ...any) { panic(broken(fmt.Sprintf(format, args...))) }

// demand is for what is not looked at all the time.
func (w *model) demand(holds bool, format string, args ...any) {
	if !holds {
		w.breaks(format, args...)
	}
}

func newModel(setup byte, mut *mutant) *model {
	w := &model{
		cfg: DefaultLaneConfig(), policy: DefaultPolicy(), mutant: mut, thermometer: setup&4 != 0,
		now: judgeNow, quality: ClockNetwork, network: true, used: make(map[byte]time.Time),
		body: Reading{Object: 36400, Adjusted: 36400, Ambient: 22000},
	}
	w.cfg.Zone = "east"
	w.cfg.PassageContact, w.cfg.ExitContact = setup&1 != 0, setup&2 != 0
	w.policy.PermitRequired = setup&8 != 0
	w.policy.RedOverride = setup&16 != 0
	for i := range w.colours {
		w.colours[i] = [...]Status{Green, Green, Green, Green, Yellow, Red, Green, Void}[i%8]
	}
	for p, within := range map[*part]time.Duration{&w.opener: w.cfg.OpenWithin, &w.journal: w.cfg.JournalWithin,
		&w.sensor: w.cfg.MeasureWithin, &w.actuator: w.cfg.ActuateWithin} {
		p.within, p.well = within, w.now.Add(-time.Hour)
	}
	w.start()
	return w
}

func (w *model) wall() time.Time { return w.now.Add(w.offset) }
func (w *model) at() moment      { return moment{now: w.now, wall: w.wall(), clock: w.quality} }

// The program.

func (w *model) start() {
	w.m = newMachine(w.cfg, w.thermometer, rand.New(source(w.now.UnixNano())), slog.New(slog.DiscardHandler))
	w.began, w.stopping = w.now, false
	w.day = w.wall().Unix() / 86400
	w.demand(!w.m.outputs().Entry, "entry released before the start")
	w.m.start(w.at())
	w.take()
	if w.burning {
		w.alarm(true)
	}
}

// source gives bytes for keys; nobody needs them to be good.
type source int64

func (s source) Int63() int64 { return int64(s) & (1<<63 - 1) }
func (s source) Seed(int64)   {}

// stop ends the program as SIGTERM does.
func (w *model) stop() {
	w.stopping = true
	w.m.stop(w.at())
	w.take()
	for end := w.now.Add(w.cfg.JournalWithin); !w.m.settled() && w.now.Before(end); {
		w.passOne(end)
	}
	if w.journal.quickFor(w.now) > 35*time.Second && w.actuator.quickFor(w.now) > 35*time.Second {
		w.demand(len(w.m.queue) == 0, "stopped in good health with %d records unwritten", len(w.m.queue))
		w.balance()
	}
	w.kill(false)
}

// kill ends it at once. What was on its way to the disk may or may not have come there.
func (w *model) kill(lands bool) {
	if w.journal.busy && lands && w.journal.is != failing {
		w.keep(w.record)
	}
	w.count()
	w.m, w.out, w.entry, w.exit, w.fire = nil, Outputs{}, false, false, false
	w.opener.busy, w.journal.busy, w.sensor.busy, w.actuator.busy = false, false, false, false
	w.said, w.admitted, w.guard, w.release, w.ways = nil, grant{}, grant{}, release{}, nil
	w.inside = [people]time.Time{}
	clear(w.used)
	w.kept = len(w.written)
	w.owed, w.paid, w.turns, w.told = 0, 0, 0, 0
	w.version, w.begun, w.state, w.first = 0, 0, 0, 0
}

func (w *model) count() {
	if w.m == nil {
		return
	}
	c := &w.m.counters
	w.counters.Admitted += c.Admitted
	w.counters.Refused += c.Refused
	w.counters.Held += c.Held
	w.counters.Turned += c.Turned
	w.counters.NotTurned += c.NotTurned
	w.counters.TurnedTwice += c.TurnedTwice
	w.counters.Forced += c.Forced
	w.counters.Exits += c.Exits
	w.counters.GuardActs += c.GuardActs
	w.counters.Fires += c.Fires
	w.counters.Faults += c.Faults
}

// event gives the machine one event, as Lane.step does.
func (w *model) event(do func(*machine)) {
	if w.m == nil {
		return
	}
	w.m.begin(w.at())
	do(w.m)
	w.take()
}

// take hands out what the step asked for, as Lane.after does.
func (w *model) take() {
	m := w.m
	if job, ok := m.takeOpen(); ok {
		w.demand(!w.opener.busy, "the opener was asked twice")
		w.job = job
		w.opener.ask(w.now)
	}
	if _, ok := m.takeMeasure(); ok {
		w.demand(!w.sensor.busy, "the thermometer was asked twice")
		w.measureFor = len(w.said) - 1
		w.sensor.ask(w.now)
	}
	if r, ok := m.takeRecord(); ok {
		w.demand(!w.journal.busy, "the journal was asked twice")
		w.handed(r)
		w.record = r
		w.journal.ask(w.now)
		if w.mutant != nil && w.mutant.early {
			w.answerRecord()
		}
	}
	if m.changed {
		o := m.outputs()
		entered := m.taken()
		if w.mutant != nil && w.mutant.meddle != nil {
			w.mutant.meddle(w, &o)
		}
		w.publish(o, entered)
	}
	if m.takeReapply() {
		w.apply()
	}
	w.check()
}

func (w *model) publish(o Outputs, entered bool) {
	d := w.out
	w.out = o
	if v := &o.View; v.State != w.state || entered {
		w.state, w.first = v.State, v.Count
	}
	w.releases(d, o)
	if w.version == 0 || d.Entry != o.Entry || d.Exit != o.Exit || d.Entries != o.Entries || d.Exits != o.Exits ||
		d.Light != o.Light || d.Tone != o.Tone || entered && o.Tone != Silent {
		w.moved = w.now
		w.apply()
	}
}

func (w *model) apply() {
	w.version++
	w.m.applies()
	if !w.actuator.busy {
		w.drive()
	}
}

// drive begins to apply the latest outputs.
func (w *model) drive() {
	w.begun, w.applying = w.version, w.out
	w.actuator.ask(w.now)
}

// pass lets time pass, through every deadline and answer on the way.
func (w *model) pass(d time.Duration) {
	for end := w.now.Add(d); ; {
		if !w.passOne(end) {
			return
		}
	}
}

// passOne goes on to the next thing that happens by itself, or to the end.
func (w *model) passOne(end time.Time) bool {
	if w.m == nil {
		w.now = end
		return false
	}
	next, p := w.m.next(), (*part)(nil)
	for _, q := range []*part{&w.opener, &w.journal, &w.sensor, &w.actuator} {
		if q.busy && !q.due.IsZero() && (next.IsZero() || !q.due.After(next)) {
			next, p = q.due, q
		}
	}
	if next.IsZero() || next.After(end) {
		w.now = end
		w.edge()
		w.m.begin(w.at())
		w.take()
		return false
	}
	if next.After(w.now) {
		w.now = next
	}
	w.edge()
	switch p {
	case nil:
		w.m.begin(w.at())
		w.take()
		if again := w.m.next(); !again.IsZero() && !again.After(w.now) {
			w.breaks("a deadline that has come does not go away in state %s", w.out.View.State)
		}
	case &w.opener:
		w.answerOpen()
	case &w.journal:
		w.answerRecord()
	case &w.sensor:
		w.answerMeasure()
	case &w.actuator:
		w.answerApply()
	}
	return true
}

// The parts.

// code is what somebody shows.
type code struct {
	kind codeKind
	n    byte // of the person, or of the proof and the person
}

type codeKind uint8

const (
	plain codeKind = iota
	paper
	bound
	stripped
	expired
	early
	forged
	unreadable
	newer
	unlisted
	permit
	permitElsewhere
	codeKinds
)

func (k codeKind) String() string {
	return [...]string{"static", "paper", "dynamic", "stripped", "expired", "not-yet-valid", "forged", "unreadable", "newer-than-list",
		"unlisted", "permit", "permit for elsewhere"}[k]
}

// raw is what a reader reads of it; the count of the scan tells two of one code apart.
func (c code) raw(scan uint16) []byte {
	return []byte{byte(c.kind), c.n, byte(scan >> 8), byte(scan)}
}

func (c code) fingerprint() uint64 { return uint64(c.kind)<<8 | uint64(c.n) + 1 }
func (c code) person() int         { return int(c.n) % people }

func (c code) ref() pass.StatusRef {
	ref := pass.StatusRef{URI: "u", Index: uint64(c.person())}
	switch c.kind {
	case permit, permitElsewhere:
		ref.Index += 100
	case unlisted:
		ref.URI = "elsewhere"
	}
	return ref
}

// period of a code.
func (c code) period() (issued, expires time.Time) {
	issued, expires = judgeNow.Add(-time.Hour), judgeNow.Add(240*time.Hour)
	switch c.kind {
	case expired:
		issued, expires = judgeNow.Add(-48*time.Hour), judgeNow.Add(-time.Hour)
	case early:
		issued = judgeNow.Add(100 * time.Hour)
	case newer:
		issued = judgeNow.Add(time.Hour)
	}
	return issued, expires
}

// open does what pass.Reader would.
func (w *model) open(c code, at time.Time) (*pass.Credential, error) {
	issued, expires := c.period()
	p := &pass.Credential{Kind: pass.KindStatic, Issued: issued, Expires: expires, Status: c.ref(), Region: strconv.Itoa(len(w.said))}
	switch c.kind {
	case forged:
		return nil, pass.ErrBadSignature
	case unreadable:
		return nil, pass.ErrUnreadable
	case stripped:
		return nil, pass.ErrProofMissing
	case paper:
		p.Kind = pass.KindPaper
	case bound:
		p.Kind, p.Proof = pass.KindBound, pass.Proof{At: at, ID: [32]byte{1, c.n}}
	case permit, permitElsewhere:
		p.Kind, p.Permit = pass.KindPermit, &pass.Permit{Enterprise: "9", Zones: []string{"east"}, Holder: code{n: c.n}.ref()}
		if c.kind == permitElsewhere {
			p.Permit.Zones[0] = "west"
		}
	}
	switch {
	case !at.Before(expires):
		return nil, pass.ErrExpired
	case at.Before(issued) && c.kind != newer:
		return nil, pass.ErrNotYetValid
	}
	return p, nil
}

func (w *model) listing(ref pass.StatusRef) Listing {
	if ref.URI != "u" {
		return Listing{}
	}
	l := Listing{Found: true, InBounds: true, Status: Green, Sequence: 7, Issued: judgeNow, Confirmed: w.confirmed}
	if ref.Index < people {
		l.Status = w.colours[ref.Index]
	}
	if w.network {
		l.Confirmed = w.wall()
	}
	return l
}

// look notes that the machine is told what the lists say by now.
func (w *model) look(s *saying) look {
	s.wall, s.clock, s.policy = w.wall(), w.quality, w.policy
	s.listing = w.listing(s.ref())
	entered := w.inside[s.person()]
	s.inside = !entered.IsZero() && s.kind != unlisted && s.wall.Sub(entered) < w.policy.PassbackWindow.Duration()
	if s.kind == bound {
		at, ok := w.used[s.n]
		s.replayed = ok && w.now.Sub(at) < 2*w.cfg.ProofWindow
	}
	return look{policy: w.policy, listing: s.listing, permitListing: w.listing(pass.StatusRef{URI: "u", Index: people})}
}

func (w *model) answerOpen() {
	w.opener.busy = false
	o := &opened{}
	if w.opener.is == failing {
		o.fault = errPanic
		w.event(func(m *machine) { m.openedCode(o) })
		return
	}
	var shown code
	var scan uint16
	if w.job.kind != openNothing {
		shown, scan = code{codeKind(w.job.raw[0]), w.job.raw[1]}, uint16(w.job.raw[2])<<8|uint16(w.job.raw[3])
		o.credential, o.err = w.open(shown, w.job.now)
	}
	switch w.job.kind {
	case openCode:
		w.said = append(w.said, saying{code: shown, err: o.err, gone: scan != w.inHand})
		s := &w.said[len(w.said)-1]
		_, s.expires = shown.period()
		o.look = w.look(s)
	case openExit:
		w.inside[shown.person()] = time.Time{}
	case openPermit:
		s := &w.said[len(w.said)-1]
		s.permit = o.err == nil && shown.kind == permit && w.job.code.Status == code{n: shown.n}.ref()
		o.look = w.look(s)
	case openNothing:
		s := &w.said[len(w.said)-1]
		s.again = true
		o.look = w.look(s)
	}
	w.event(func(m *machine) { m.openedCode(o) })
}

func (w *model) answerMeasure() {
	w.sensor.busy = false
	s := &w.said[w.measureFor]
	r := &measured{look: w.look(s), reading: w.body}
	if w.sensor.is == failing {
		r.err = ErrThermometer
	} else {
		s.measured, s.reading = true, w.body
	}
	w.event(func(m *machine) { m.measuredReading(r) })
}

func (w *model) answerApply() {
	o, fire := w.applying, w.applying.View.State == FireOpen
	var err error
	if w.actuator.is == failing {
		// A panel whose relay does not obey locks.
		err = errors.New("line does not obey")
		w.entry, w.exit = w.entry && fire, w.exit && fire
	} else {
		w.entry, w.exit = o.Entry, o.Exit
	}
	more := w.begun != w.version
	w.actuator.busy = false
	if more {
		w.drive()
	}
	w.event(func(m *machine) { m.applied(err, more) })
}

// answerRecord brings a record to the disk, and then says so.
func (w *model) answerRecord() {
	w.journal.busy = false
	if w.journal.is == failing {
		w.event(func(m *machine) { m.appended(0, errors.New("no disk")) })
		return
	}
	if w.mutant != nil && w.mutant.early {
		w.event(func(m *machine) { m.appended(uint64(len(w.written)+1), nil) })
		w.keep(w.record)
		return
	}
	seq := w.keep(w.record)
	w.event(func(m *machine) { m.appended(seq, nil) })
}

// keep has a record on the disk.
func (w *model) keep(r Record) uint64 {
	w.written = append(w.written, written{kind: r.Kind, verdict: r.Verdict, reason: r.Reason})
	seq := uint64(len(w.written))
	w.demand(len(w.written) != w.kept+1 || r.Kind == KeyRecord, "the first record of a program is %s %s and not its key", r.Kind, r.Reason)
	switch r.Kind {
	case DecisionRecord:
		if r.Verdict == Admit {
			w.admitted = grant{at: w.now, seq: seq, of: saidOf(r), good: true}
		}
	case ActRecord:
		if r.Reason == ExitFree || r.Reason == ByButton {
			w.paid++
		}
	case OutcomeRecord:
		w.demand(r.Of > uint64(w.kept) && r.Of < seq, "record %d is the outcome of record %d", seq, r.Of)
		of := &w.written[r.Of-1]
		of.outcomes++
		w.demand(of.outcomes == 1, "record %d %s %s has %d outcomes", r.Of, of.kind, of.reason, of.outcomes)
		w.demand(of.kind == ActRecord || of.kind == DecisionRecord && of.verdict != Refuse, "record %d %s %s %s has an outcome", r.Of, of.kind, of.verdict, of.reason)
		if r.Direction == Entry {
			switch r.Outcome {
			case Turned:
				w.told++
			case TurnedTwice:
				w.told += 2
			}
		}
		w.demand(w.told <= w.turns, "%d turns written, %d were", w.told, w.turns)
	}
	return seq
}

func saidOf(r Record) int {
	n, err := strconv.Atoi(r.Sealed.Region)
	if err != nil {
		return -1
	}
	return n
}

// What must hold.

// handed looks at a record on its way to the disk: who is let in may come in.
func (w *model) handed(r Record) {
	if r.Kind == KeyRecord {
		w.inside = [people]time.Time{} // nobody is known any more
	}
	if r.Kind != DecisionRecord || r.Verdict != Admit || r.Direction == Exit {
		return
	}
	n := saidOf(r)
	w.demand(n >= 0 && n < len(w.said), "a decision admits nobody: %+v", r)
	s := &w.said[n]
	no := func(why string) {
		w.breaks("a decision admits a code %s of person %d: %s", s.kind, s.person(), why)
	}
	age := s.wall.Sub(s.listing.Confirmed)
	switch issued, _ := s.period(); {
	case s.err != nil:
		no(s.err.Error())
	case s.gone:
		no("who is gone")
	case s.kind == permit, s.kind == permitElsewhere:
		no("that is none")
	case s.clock == ClockUnset:
		no("at no time")
	case s.kind == bound && s.clock < ClockNetwork:
		no("at an uncertain time")
	case s.replayed:
		no("replayed")
	case !s.wall.Before(s.expires):
		no("expired")
	case !s.listing.Found, issued.After(s.listing.Issued):
		no("in no list")
	case age >= 48*time.Hour, age < -10*time.Minute:
		no("by a list that is too old")
	case s.listing.Status != Green:
		no("that is " + s.listing.Status.String())
	case s.inside && !w.inside[s.person()].IsZero():
		no("who is inside")
	case s.policy.PermitRequired && !s.permit:
		no("without a permit")
	case w.thermometer && !s.measured:
		no("without a temperature")
	case w.thermometer && (s.reading.TooFar || s.reading.OutOfRange || s.reading.Adjusted >= 37300):
		no("with a fever, or none that was measured")
	}
}

// releases looks at a change of what the lane drives: who opens has a right to.
func (w *model) releases(before, o Outputs) {
	if o.Entries == before.Entries {
		w.demand(!o.Entry || before.Entry || w.fire, "entry released without being counted")
		return
	}
	w.demand(o.Entries == before.Entries+1, "%d releases at once", o.Entries-before.Entries)
	w.demand(o.Entry, "a release was counted that is none")
	g := &w.admitted
	if !g.good || !g.at.Equal(w.now) {
		g = &w.guard
		w.demand(g.good && w.now.Sub(g.at) <= w.cfg.OpenWithin+w.cfg.JournalWithin, "entry released without a decision on disk that admits, and without a guard")
		if g.of >= 0 {
			s := &w.said[g.of]
			w.demand(!s.again || s.listing.Status != Void && (s.listing.Status != Red || s.policy.RedOverride), "a guard let in a code that is %s", s.listing.Status)
		}
	} else {
		w.demand(o.View.Sequence == g.seq, "released by record %d, and the view names %d", g.seq, o.View.Sequence)
	}
	g.good = false // one release each
	w.release = release{until: w.now.Add(w.cfg.ReleaseFor), of: g.of}
}

// check holds after every step.
func (w *model) check() {
	o, v := &w.out, &w.out.View
	if day := w.wall().Unix() / 86400; day != w.day {
		w.day, w.inside = day, [people]time.Time{}
	}
	for len(w.ways) > 0 && !w.now.Before(w.ways[0].until) {
		w.ways = w.ways[1:]
	}
	switch {
	case w.stopping && o.Entry:
		w.breaks("entry released while the lane stops")
	case w.stopping:
	case w.fire && (!o.Entry || !o.Exit || v.State != FireOpen):
		w.breaks("fire, and entry is %s, exit %s, state %s", released(o.Entry), released(o.Exit), v.State)
	case w.fire:
	case v.State == FireOpen:
		w.breaks("open as by fire, and there is none")
	case o.Entry && !w.now.Before(w.release.until):
		w.breaks("entry released past its deadline")
	case o.Entry && w.cfg.PassageContact && w.release.turns > 0:
		w.breaks("entry still released after somebody went through")
	case o.Exit != (len(w.ways) > 0):
		w.breaks("exit is %s, and %d ask for it, in state %s", released(o.Exit), len(w.ways), v.State)
	}
	switch {
	case v.State == OutOfService && v.FaultCode == "":
		w.breaks("out of service, and nobody knows why")
	case v.State == OutOfService && o.Light.Colour != LightRed:
		w.breaks("out of service, and the light is %s", o.Light)
	case v.FaultCode != "" && !w.faulty(v.FaultCode):
		w.breaks("fault %s, and the part is well", v.FaultCode)
	case v.FaultCode == "" && (w.opener.overdue(w.now) || w.journal.overdue(w.now) || w.actuator.overdue(w.now)):
		w.breaks("a part does not answer, and nobody is told")
	}
	w.edge()
}

// faulty reports whether the part that a fault names has been ill lately. The
// journal is tried again every half a minute at least.
func (w *model) faulty(word string) bool {
	const lately = 31 * time.Second
	switch part, _, _ := strings.Cut(word, "-"); part {
	case "journal":
		return w.journal.quickFor(w.now) < lately
	case "starting":
		return w.journal.quickFor(w.now) < lately || w.now.Sub(w.began) < lately
	case "opener", "internal":
		return w.opener.quickFor(w.now) < lately
	case "actuator":
		return w.actuator.quickFor(w.now) < lately
	case "stopping":
		return w.stopping
	}
	return false
}

// fireWithin is the design's bound.
const fireWithin = 50 * time.Millisecond

// edge looks at the turnstile itself, where the actuator is well.
func (w *model) edge() {
	well := w.actuator.quickFor(w.now)
	stands := w.now.Sub(w.moved)
	switch {
	case w.stopping || stands < 3*lag:
	case w.fire && well >= fireWithin-3*lag && !(w.entry && w.exit):
		w.breaks("fire for %s, and at the turnstile entry is %s, exit %s", stands, released(w.entry), released(w.exit))
	case well > actuatorRetry+3*lag && (w.entry != w.out.Entry || w.exit != w.out.Exit):
		w.breaks("entry is %s and exit %s at the turnstile, driven are %s and %s",
			released(w.entry), released(w.exit), released(w.out.Entry), released(w.out.Exit))
	}
}

func released(b bool) string {
	if b {
		return "released"
	}
	return "locked"
}

// balance: what the program owes the disk is there.
func (w *model) balance() {
	if w.m.counters.Lost > 0 {
		return
	}
	w.demand(w.paid == w.owed, "%d acts of the way out on disk, %d were", w.paid, w.owed)
	for i, r := range w.written[w.kept:] {
		if r.verdict == Admit && (r.kind == DecisionRecord || r.kind == ActRecord && r.reason == ByGuard) {
			w.demand(r.outcomes == 1, "record %d %s %s has %d outcomes", w.kept+i+1, r.kind, r.reason, r.outcomes)
		}
	}
}
