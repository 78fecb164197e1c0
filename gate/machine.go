package gate

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"greengate/pass"
)

// The errors of a guard's act.
var (
	// ErrNothingHeld: nobody waits for the guard.
	ErrNothingHeld = errors.New("nobody is held")
	// ErrViewChanged: the view acted upon is no longer the one shown; the next person may stand there.
	ErrViewChanged = errors.New("the view has changed")
	// ErrNotAllowed: no guard may do this, or not now.
	ErrNotAllowed = errors.New("not allowed")
)

const (
	// maxQueue bounds the records that wait for the disk; beyond it they are
	// counted, and a GapRecord says how many.
	maxQueue = 4096
	// maxExits bounds the releases of the way out that overlap.
	maxExits = 16
	// startFactor is how many times longer the first record may take.
	startFactor = 10
	// A journal that failed is tried again after firstRetry, doubling to lastRetry.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	// An actuator that failed is tried again after this, during a fire sooner.
	actuatorRetry     = 500 * time.Millisecond
	actuatorRetryFire = 20 * time.Millisecond
)

// moment is when a step happens.
type moment struct {
	// now counts deadlines and keeps its monotonic reading.
	now time.Time
	// wall is the time of day that decisions and records carry, and clock how far to trust it.
	wall  time.Time
	clock ClockQuality
}

// fault is a part of the lane that is out of order. While any stands, the
// lane is out of service.
type fault uint8

const (
	faultStopping fault = iota
	faultActuator
	faultJournal
	faultOpener
	faultKey
	faultStarting
	faultCount
)

// machine is the lane without its goroutines: events in, requests and outputs
// out, and every moment a value. Nothing in it blocks. It is a Moore machine:
// the outputs follow from what it is in, not from how it came there.
type machine struct {
	cfg         LaneConfig
	thermometer bool
	log         *slog.Logger
	day         dayKey
	present     *presence
	proofs      *proofs

	at       moment // of the step being made
	state    State
	shown    Decision
	light    Light // of ReadingCode and Recording
	since    time.Time
	until    time.Time
	first    uint64 // count of the first view of this state
	count    uint64 // of the present view
	changed  bool   // since the lane last took the outputs
	entered  bool   // a state was entered since then
	busy     bool   // a scan was ignored in this state
	faults   [faultCount]string
	fire     bool
	fireAct  *passage
	p        *passage   // the passage inwards that is in hand
	watch    *passage   // the one before, locked, but perhaps not through yet
	exits    []*passage // releases of the way out that stand, oldest first
	lately   [4]sighting
	counters Counters

	// The opener.
	opens   []openJob
	opening bool
	open    openJob
	openDue time.Time

	// The thermometer.
	measureFor *passage // wanted
	measureAt  time.Time
	measuring  bool
	measured   *passage // under way
	measureDue time.Time

	// The journal.
	queue      []entry
	appending  bool
	appendDue  time.Time
	retryAt    time.Time
	retryAfter time.Duration
	gap        uint64

	// The actuator.
	applying bool
	applyDue time.Time
	reapply  time.Time
	forced   time.Time // when a locked turnstile last turned and was written down
}

func newMachine(cfg LaneConfig, thermometer bool, rand io.Reader, log *slog.Logger) *machine {
	m := &machine{
		cfg: cfg, thermometer: thermometer, log: log,
		day:     dayKey{rand: rand},
		present: newPresence(maxPresent),
		proofs:  newProofs(maxProofs),
	}
	m.faults[faultStarting] = "starting"
	m.shown = Decision{Reason: Fault}
	return m
}

// begin starts a step: deadlines that have passed come before the event.
func (m *machine) begin(at moment) {
	m.at = at
	if m.p == nil && m.day.stale(at.wall) && m.faults[faultStopping] == "" {
		m.rotate()
	}
	m.expire()
}

// rotate makes the day's key and sends it to the journal. At rest only, so
// that a passage has one pseudonym.
func (m *machine) rotate() {
	if len(m.queue) >= maxQueue {
		// The hub would never learn the new key; nobody is decided upon while
		// the journal is in this state, so the old one may stay.
		return
	}
	if err := m.day.rotate(m.at.wall); err != nil {
		if m.faults[faultKey] == "" {
			m.log.Error("no key for pseudonyms", "err", err)
			m.fail(faultKey, "no-key")
		}
		return
	}
	m.present.clear()
	r := m.record(KeyRecord, nil, Refuse, "")
	r.Sealed.DayKey = append([]byte(nil), m.day.key[:]...)
	m.enqueue(entry{record: r})
	m.clear(faultKey)
}

// start is the first step. The lane is in service when its first record, the
// day's key, is on disk: that proves the journal.
func (m *machine) start(at moment) {
	m.at = at
	m.since = at.now
	m.changed, m.entered = true, true
	m.count++
	m.begin(at)
}

// stop locks for good. What is left is to write down what happened.
func (m *machine) stop(at moment) {
	m.begin(at)
	m.faults[faultStopping] = "stopping"
	m.drop(NotTurned, Fault)
	if m.watch != nil {
		m.settleWatch()
	}
	m.recordWaitingExits()
	m.endExits()
	if m.fire {
		m.fireOver()
	}
	m.rest()
}

// settled reports whether nothing is left to write or to apply, or nothing
// that still can be.
func (m *machine) settled() bool {
	return (len(m.queue) == 0 || m.faults[faultJournal] != "") && !m.applying
}

// next returns the earliest deadline, zero for none.
func (m *machine) next() time.Time {
	var t time.Time
	sooner := func(u time.Time) {
		if !u.IsZero() && (t.IsZero() || u.Before(t)) {
			t = u
		}
	}
	sooner(m.until)
	if m.opening {
		sooner(m.openDue)
	}
	if m.measuring {
		sooner(m.measureDue)
	} else if m.measureFor != nil {
		sooner(m.measureAt)
	}
	if m.appending {
		sooner(m.appendDue)
	} else if len(m.queue) > 0 {
		sooner(m.retryAt)
	}
	if m.applying {
		sooner(m.applyDue)
	}
	sooner(m.reapply)
	if m.watch != nil {
		sooner(m.watch.until)
	}
	for _, x := range m.exits {
		sooner(x.until)
	}
	return t
}

// passed reports whether a deadline is set and has come.
func (m *machine) passed(t time.Time) bool { return !t.IsZero() && !m.at.now.Before(t) }

// expire handles the deadlines that have come.
func (m *machine) expire() {
	// First what moves the turnstile: a guard whose act no longer waits for the
	// journal releases nothing that cannot be released.
	if m.applying && m.passed(m.applyDue) {
		m.applyDue = time.Time{}
		m.fail(faultActuator, "actuator-timeout")
	}
	for len(m.exits) > 0 && m.passed(m.exits[0].until) {
		m.endExit(m.exits[0], NotTurned)
	}
	if m.watch != nil && m.passed(m.watch.until) {
		m.settleWatch()
	}
	if m.opening && m.passed(m.openDue) {
		m.openDue = time.Time{}
		m.fail(faultOpener, "opener-timeout")
		m.recordWaitingExits()
	}
	if m.measuring && m.passed(m.measureDue) {
		m.measureDue = time.Time{}
		m.log.Warn("thermometer does not answer in time")
	}
	if m.appending && m.passed(m.appendDue) {
		m.appendDue = time.Time{}
		m.fail(faultJournal, "journal-timeout")
	}
	if m.passed(m.until) {
		m.timeUp()
	}
}

// timeUp ends the state whose deadline has come.
func (m *machine) timeUp() {
	p := m.p
	switch m.state {
	case ReadingCode:
		m.fail(faultOpener, "opener-timeout")
		m.recordWaitingExits()
	case AwaitPermit:
		m.decide(p, Decision{Verdict: Refuse, Reason: PermitNeeded, Notices: p.decision.Notices})
	case Measure, MeasureAgain, StepCloser:
		p.thermometerFailed = true
		m.measureFor = nil
		m.judge(p)
	case Recording:
		switch {
		case p.looking:
			m.guardRecords(p)
		default:
			m.fail(faultJournal, "journal-timeout")
		}
	case Released:
		m.lock()
	case Held:
		m.outcome(p, NotTurned, p.decision.Reason)
		m.rest()
	case Refused:
		m.rest()
	}
}

// enter enters a state. While something is looked up or written down, the
// light stays what the person was last told.
func (m *machine) enter(s State, shown Decision, until time.Time) {
	switch m.state {
	case ReadingCode, Recording:
	case Idle:
		m.light = m.cfg.Idle
	default:
		m.light, _ = m.shown.Presentation()
	}
	m.state, m.shown, m.until = s, shown, until
	m.since = m.at.now
	m.busy = false
	m.entered = true
	m.touch()
	m.first = m.count
}

// touch makes a new view.
func (m *machine) touch() {
	m.changed = true
	m.count++
}

// rest enters the state in which nobody is in hand.
func (m *machine) rest() {
	m.p = nil
	m.measureFor = nil
	switch {
	case m.fire:
		m.enter(FireOpen, Decision{Verdict: Admit, Reason: ByFire}, time.Time{})
	case m.faultCode() != "":
		m.enter(OutOfService, Decision{Reason: Fault}, time.Time{})
	default:
		m.enter(Idle, Decision{}, time.Time{})
	}
}

func (m *machine) faultCode() string {
	for _, code := range m.faults {
		if code != "" {
			return code
		}
	}
	return ""
}

// fail notes a fault. What is in hand and still needs the broken part is
// refused; a person who is walking through is not shut in, and a guard's act
// does not wait for the disk.
func (m *machine) fail(f fault, code string) {
	if m.faults[f] == "" {
		m.counters.Faults++
		m.log.Error("fault", "code", code)
		m.touch() // the view names it
	}
	m.faults[f] = code
	switch m.state {
	case Idle, OutOfService:
		m.rest()
	case ReadingCode, AwaitPermit, Measure, MeasureAgain, StepCloser:
		m.refuseByFault()
	case Recording:
		switch {
		case f == faultOpener && m.p.looking:
			m.guardRecords(m.p)
		case f == faultOpener:
		case f == faultJournal && m.p.byGuard && !m.p.looking:
			m.release(m.p, Decision{Verdict: Admit, Reason: ByGuard})
		case f == faultJournal && m.p.byGuard:
		default:
			m.refuseByFault()
		}
	case Released:
		if f == faultActuator {
			m.lock()
		}
	}
}

// clear says that a part works again.
func (m *machine) clear(f fault) {
	if m.faults[f] == "" {
		return
	}
	m.log.Info("fault is over", "code", m.faults[f])
	m.faults[f] = ""
	m.touch()
	if m.state == OutOfService {
		m.rest()
	}
}

// refuseByFault ends the passage in hand because a part failed under it.
func (m *machine) refuseByFault() {
	p := m.p
	if m.state == Recording {
		m.giveUp(p, NotTurned, Fault)
	} else {
		p.decision = Decision{Verdict: Refuse, Reason: Fault}
		m.enqueue(entry{m.record(DecisionRecord, p, Refuse, Fault), p})
	}
	m.counters.Refused++
	m.rest()
}

// giveUp leaves a passage whose record may be on its way to the disk.
func (m *machine) giveUp(p *passage, o Outcome, r Reason) {
	p.abandoned, p.abandonedAs, p.abandonReason = true, o, r
	if p.looking {
		// On disk is only the hold, or the refusal of a red code.
		p.looking, p.byGuard = false, false
		if p.decision.Verdict == Hold {
			m.outcome(p, o, r)
		}
	}
}

// drop ends the passage in hand for a reason outside of it.
func (m *machine) drop(o Outcome, r Reason) {
	p := m.p
	if p == nil {
		return
	}
	switch m.state {
	case Recording:
		m.giveUp(p, o, r)
	case Released:
		if !m.cfg.PassageContact {
			o = OutcomeUnknown
		}
		m.outcome(p, o, r)
	case Held:
		m.outcome(p, o, r)
	}
	m.p = nil
}

// Events.

// scan takes a code from a reader; code is its fingerprint.
func (m *machine) scan(s Scan, code uint64) {
	m.counters.Scans++
	if s.Direction == Exit {
		m.scanExit(s, code)
		return
	}
	if m.fire {
		return
	}
	if m.repeated(code) {
		return
	}
	switch m.state {
	case Idle:
		m.sighted(code)
		p := &passage{scanned: s.At, code: code}
		m.p = p
		m.opens = append(m.opens, openJob{kind: openCode, p: p, raw: s.Raw, now: m.at.wall})
		m.enter(ReadingCode, Decision{}, m.at.now.Add(m.cfg.OpenWithin))
	case AwaitPermit:
		m.sighted(code)
		p := m.p
		p.permitRaw = code
		m.opens = append(m.opens, openJob{kind: openPermit, p: p, raw: s.Raw, now: m.at.wall, code: p.credential})
		m.enter(ReadingCode, Decision{}, m.at.now.Add(m.cfg.OpenWithin))
	default:
		m.counters.Busy++
		if m.state != OutOfService && !m.busy {
			m.busy = true
			m.touch()
		}
	}
}

// noteBusy shows that a scan was dropped before it came here.
func (m *machine) noteBusy() {
	if m.p != nil && !m.busy {
		m.busy = true
		m.touch()
	}
}

// repeated reports whether this is a code that lies before the reader still,
// and notes that it does.
func (m *machine) repeated(code uint64) bool {
	if m.p != nil && (code == m.p.code || code == m.p.permitRaw) {
		m.sighted(code)
		return true
	}
	for i := range m.lately {
		s := &m.lately[i]
		if s.code == code && !s.at.IsZero() && m.at.now.Sub(s.at) < m.cfg.SameCodeFor {
			s.at = m.at.now
			return true
		}
	}
	return false
}

// sighted notes a code that was taken.
func (m *machine) sighted(code uint64) {
	oldest := &m.lately[0]
	for i := range m.lately {
		s := &m.lately[i]
		if s.code == code {
			s.at = m.at.now
			return
		}
		if s.at.Before(oldest.at) {
			oldest = s
		}
	}
	*oldest = sighting{code, m.at.now}
}

// opened takes the opener's answer.
func (m *machine) openedCode(o *opened) {
	job := m.open
	m.opening, m.open = false, openJob{}
	m.clear(faultOpener)
	p := job.p
	if job.kind == openExit {
		p.credential = o.credential
		m.identify(p)
		if p.known && (!m.cfg.ExitContact || p.turns > 0) {
			m.present.leave(p.who)
		}
		m.recordExit(p)
		return
	}
	if p != m.p || p.abandoned {
		return
	}
	if o.fault != nil {
		m.log.Error("code not opened", "err", o.fault)
	}
	switch {
	case o.fault != nil && m.state == ReadingCode:
		m.decide(p, Decision{Verdict: Refuse, Reason: Fault})
		return
	case job.kind == openCode && m.state == ReadingCode:
		p.credential, p.openErr = o.credential, o.err
		m.identify(p)
	case job.kind == openPermit && m.state == ReadingCode:
		p.permitScanned, p.permit, p.permitErr = true, o.credential, o.err
	case job.kind == openNothing && m.state == Recording && p.looking:
		if o.fault == nil {
			p.look = o.look
		}
		m.guardLooked(p)
		return
	case job.kind == openNothing && m.state == Recording && p.byGuard && o.fault == nil:
		m.guardLate(p, o.look)
		return
	default:
		return
	}
	p.look = o.look
	m.judge(p)
}

// identify gives a passage its pseudonym, where a code opened.
func (m *machine) identify(p *passage) {
	if p.credential != nil && p.credential.Status.URI != "" && m.day.mac != nil {
		p.who, p.known = m.day.pseudonym(p.credential.Status), true
	}
}

// judge judges the passage in hand on what is known by now.
func (m *machine) judge(p *passage) {
	f := Facts{
		Now: m.at.wall, Clock: m.at.clock, Direction: p.direction,
		Credential: p.credential, OpenErr: p.openErr,
		Listing: p.look.listing, Revocations: p.look.revocations, Risk: p.look.risk,
		PermitScanned: p.permitScanned, Permit: p.permit, PermitErr: p.permitErr, PermitListing: p.look.permitListing,
		Zone: m.cfg.Zone, Readings: p.readings,
	}
	if p.credential != nil && p.credential.Proof != (pass.Proof{}) {
		f.Replayed = m.proofs.known(p.credential.Proof.ID, m.at.now)
	}
	if p.known {
		f.LastSeen = m.present.last(p.who)
	}
	switch {
	case !m.thermometer:
	case p.thermometerFailed:
		f.Thermometer = ThermometerFailed
	default:
		f.Thermometer = ThermometerReady
	}
	d := p.look.policy.Judge(f)
	p.decision, p.judged = d, circumstancesOf(f)
	switch d.Next {
	case NextNone:
		m.decide(p, d)
	case NextPermit:
		p.permitScanned, p.permit, p.permitErr = false, nil, nil
		if !p.permitAsked {
			p.permitAsked = true
			p.permitUntil = m.at.now.Add(p.look.policy.PermitWithin.Duration())
		}
		m.enter(AwaitPermit, d, p.permitUntil)
	case NextTemperature:
		m.measure(p, Measure, d, 0)
	case NextAgain:
		m.measure(p, MeasureAgain, d, m.cfg.AgainAfter)
	case NextCloser:
		m.measure(p, StepCloser, d, m.cfg.CloserAfter)
	default:
		m.decide(p, Decision{Verdict: Refuse, Reason: Fault})
	}
}

// measure asks for a reading, after a while in which the person may move. A
// thermometer that still has not answered for the person before has failed.
func (m *machine) measure(p *passage, s State, d Decision, after time.Duration) {
	if m.measuring && m.measureDue.IsZero() {
		p.thermometerFailed = true
		m.judge(p)
		return
	}
	m.measureFor, m.measureAt = p, m.at.now.Add(after)
	m.enter(s, d, m.measureAt.Add(m.cfg.MeasureWithin))
}

// measuredReading takes the thermometer's answer.
func (m *machine) measuredReading(r *measured) {
	p := m.measured
	m.measuring, m.measured = false, nil
	if p != m.p || p.abandoned || m.measureFor != nil {
		return
	}
	switch m.state {
	case Measure, MeasureAgain, StepCloser:
	default:
		return
	}
	if r.fault != nil {
		m.log.Error("code not looked up again", "err", r.fault)
		m.decide(p, Decision{Verdict: Refuse, Reason: Fault})
		return
	}
	p.look = r.look
	if r.err != nil {
		m.log.Warn("thermometer failed", "err", r.err)
		p.thermometerFailed = true
	} else {
		p.readings = append(p.readings, r.reading)
	}
	m.judge(p)
}

// decide sends a final decision to the disk; it is shown when it is there.
func (m *machine) decide(p *passage, d Decision) {
	p.decision, p.decided = d, m.at.now
	m.enqueue(entry{m.record(DecisionRecord, p, d.Verdict, d.Reason), p})
	m.enter(Recording, Decision{}, m.at.now.Add(m.cfg.JournalWithin))
}

// appended takes the journal's answer for the record at the head of the queue.
func (m *machine) appended(seq uint64, err error) {
	m.appending = false
	head := m.queue[0]
	if err != nil {
		m.retryAfter = min(max(2*m.retryAfter, firstRetry), lastRetry)
		m.retryAt = m.at.now.Add(m.retryAfter)
		m.log.Error("record not written, will try again", "kind", head.record.Kind, "after", m.retryAfter, "err", err)
		m.fail(faultJournal, "journal-error")
		return
	}
	copy(m.queue, m.queue[1:])
	m.queue[len(m.queue)-1] = entry{}
	m.queue = m.queue[:len(m.queue)-1]
	m.retryAfter, m.retryAt = 0, time.Time{}
	if m.gap > 0 {
		n := m.gap
		m.gap = 0
		r := m.record(GapRecord, nil, Refuse, "")
		r.Dropped = n
		m.enqueue(entry{record: r})
	}
	p := head.p
	if p != nil && head.record.Kind != OutcomeRecord {
		p.of = seq
		if head.record.Kind == DecisionRecord {
			p.seq = seq
		}
		switch {
		case p.abandoned:
			if head.record.Verdict == Admit {
				m.outcome(p, p.abandonedAs, p.abandonReason)
			}
		case p == m.p && m.state == Recording && !p.looking:
			p.durable = m.at.now
			m.carryOut(p)
		}
	}
	if head.record.Kind == KeyRecord {
		m.clear(faultStarting)
	}
	m.clear(faultJournal)
}

// carryOut does what was decided and is on disk.
func (m *machine) carryOut(p *passage) {
	if p.byGuard {
		m.release(p, Decision{Verdict: Admit, Reason: ByGuard})
		return
	}
	switch p.decision.Verdict {
	case Admit:
		m.release(p, p.decision)
	case Hold:
		m.counters.Held++
		m.enter(Held, p.decision, m.at.now.Add(m.cfg.HoldFor))
	default:
		m.counters.Refused++
		m.enter(Refused, p.decision, m.at.now.Add(m.cfg.RefuseFor))
	}
}

// release opens the way in, with a deadline.
func (m *machine) release(p *passage, d Decision) {
	if m.watch != nil {
		m.settleWatch()
	}
	m.counters.Admitted++
	if c := p.credential; c != nil && c.Proof != (pass.Proof{}) {
		m.proofs.remember(c.Proof.ID, m.at.now, 2*m.cfg.ProofWindow)
	}
	if !m.cfg.PassageContact && p.known {
		m.present.enter(p.who, m.at.wall)
	}
	m.enter(Released, d, m.at.now.Add(m.cfg.ReleaseFor))
}

// lock ends a release. Where a contact tells, the person may still be in the
// arms of the turnstile, so the outcome waits a little.
func (m *machine) lock() {
	p := m.p
	if m.cfg.PassageContact {
		p.until = m.at.now.Add(m.cfg.WatchFor)
		m.watch = p
	} else {
		m.outcome(p, OutcomeUnknown, m.shown.Reason)
	}
	m.rest()
}

// settleWatch writes down what came of the last release.
func (m *machine) settleWatch() {
	p := m.watch
	m.watch = nil
	o := Turned
	switch {
	case p.turns == 0:
		o = NotTurned
	case p.turns > 1:
		o = TurnedTwice
	}
	m.outcome(p, o, p.releasedBy())
}

// releasedBy is the reason of the record that released.
func (p *passage) releasedBy() Reason {
	if p.byGuard {
		return ByGuard
	}
	return p.decision.Reason
}

// outcome writes down what came of a passage. Who did not walk through may try
// again with the same proof.
func (m *machine) outcome(p *passage, o Outcome, r Reason) {
	switch o {
	case Turned:
		m.counters.Turned++
	case NotTurned:
		m.counters.NotTurned++
		if p.credential != nil {
			m.proofs.forget(p.credential.Proof.ID)
		}
	case TurnedTwice:
		m.counters.TurnedTwice++
	}
	rec := m.record(OutcomeRecord, p, p.verdict(), r)
	rec.Outcome = o
	rec.Sealed = Sealed{}
	m.enqueue(entry{rec, p})
}

// verdict is that of the record the outcome belongs to.
func (p *passage) verdict() Verdict {
	if p.byGuard || p.direction == Exit {
		return Admit
	}
	return p.decision.Verdict
}

// input takes a settled change of a contact.
func (m *machine) input(in Input) {
	switch in.Contact {
	case FireInput:
		switch {
		case in.Active && !m.fire:
			m.fireStarts()
		case !in.Active && m.fire:
			m.fireOver()
			m.rest()
		}
	case PassageContact:
		if in.Active && m.cfg.PassageContact {
			m.turnedIn()
		}
	case ExitContact:
		if in.Active && m.cfg.ExitContact {
			m.turnedOut()
		}
	case ExitButton:
		if in.Active && !m.fire {
			x := &passage{direction: Exit, scanned: m.at.now, reason: ByButton}
			m.releaseExit(x)
			m.recordExit(x)
		}
	case Tamper:
		m.log.Warn("housing", "open", in.Active)
	}
}

// turnedIn: the turnstile turned inwards. The first turn locks it again.
func (m *machine) turnedIn() {
	switch {
	case m.fire:
	case m.state == Released:
		p := m.p
		m.turn(p)
		m.lock()
	case m.watch != nil:
		m.turn(m.watch)
		if m.watch.turns > 1 {
			m.settleWatch()
		}
	default:
		m.counters.Forced++
		// A contact that chatters must not fill the journal.
		if m.forced.IsZero() || m.at.now.Sub(m.forced) >= time.Second {
			m.forced = m.at.now
			m.log.Warn("turnstile turned inwards while it was locked")
			m.enqueue(entry{m.record(ActRecord, nil, Refuse, Forced), nil})
		}
	}
}

func (m *machine) turn(p *passage) {
	p.turns++
	if p.turns == 1 && p.known && m.cfg.PassageContact {
		m.present.enter(p.who, m.at.wall)
	}
}

// fireStarts releases everything, past whatever is in hand.
func (m *machine) fireStarts() {
	m.counters.Fires++
	m.log.Error("fire input is active, everything is released")
	m.drop(OutcomeUnknown, ByFire)
	if m.watch != nil {
		m.settleWatch()
	}
	m.endExits()
	m.fire = true
	// Nobody counted who left.
	m.present.clear()
	m.fireAct = &passage{}
	m.enqueue(entry{m.record(ActRecord, nil, Admit, ByFire), m.fireAct})
	m.rest()
}

// fireOver locks again; the caller enters the state that follows.
func (m *machine) fireOver() {
	m.fire = false
	m.log.Warn("fire input is over")
	r := m.record(OutcomeRecord, nil, Admit, ByFire)
	m.enqueue(entry{r, m.fireAct})
	m.fireAct = nil
}
