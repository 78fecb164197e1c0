package gate

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"greengate/pass"
)

// LaneConfig is what a lane is told about the place it stands in.
type LaneConfig struct {
	// Zone the gate opens, for permits; "" where it has none and asks for none.
	Zone string
	// Idle is the light while nobody is there: blue or red, steady.
	Idle Light
	// ReleaseFor is how long a turnstile stays released if nobody turns it.
	ReleaseFor time.Duration
	// RefuseFor is how long a refusal is shown, HoldFor how long a person waits for the guard.
	RefuseFor, HoldFor time.Duration
	// OpenWithin, JournalWithin, MeasureWithin and ActuateWithin are how long
	// the parts of the lane may take to answer before it is a fault.
	OpenWithin, JournalWithin, MeasureWithin, ActuateWithin time.Duration
	// SameCodeFor is how long a code must be out of a reader's sight before
	// the very same bytes count as shown again.
	SameCodeFor time.Duration
	// AgainAfter and CloserAfter are how long a person gets before the second
	// reading, and to step to the mark; 0 measures at once.
	AgainAfter, CloserAfter time.Duration
	// WatchFor is how long after locking the contact still tells of this
	// passage: a person in the arms of the turnstile, or one right behind.
	WatchFor time.Duration
	// ProofWindow is how far a holder's proof may be from the gate's clock;
	// a proof is remembered for twice as long.
	ProofWindow time.Duration
	// PassageContact and ExitContact say whether there is a contact that
	// tells that the turnstile turned, inwards and outwards.
	PassageContact, ExitContact bool
}

// DefaultLaneConfig returns the times of the design, without contacts.
func DefaultLaneConfig() LaneConfig {
	return LaneConfig{
		Idle:          Light{Colour: LightBlue},
		ReleaseFor:    5 * time.Second,
		RefuseFor:     3 * time.Second,
		HoldFor:       60 * time.Second,
		OpenWithin:    2 * time.Second,
		JournalWithin: 2 * time.Second,
		MeasureWithin: 2 * time.Second,
		ActuateWithin: 500 * time.Millisecond,
		SameCodeFor:   3 * time.Second,
		AgainAfter:    time.Second,
		CloserAfter:   time.Second,
		WatchFor:      time.Second,
		ProofWindow:   90 * time.Second,
	}
}

// Check says which value a lane cannot work with.
func (c LaneConfig) Check() error {
	for _, v := range []struct {
		name     string
		value    time.Duration
		min, max time.Duration
	}{
		{"release for", c.ReleaseFor, 100 * time.Millisecond, time.Minute},
		{"refuse for", c.RefuseFor, 100 * time.Millisecond, time.Minute},
		{"hold for", c.HoldFor, time.Second, time.Hour},
		{"open within", c.OpenWithin, 10 * time.Millisecond, time.Minute},
		{"journal within", c.JournalWithin, 10 * time.Millisecond, time.Minute},
		{"measure within", c.MeasureWithin, 10 * time.Millisecond, time.Minute},
		{"actuate within", c.ActuateWithin, 10 * time.Millisecond, time.Minute},
		{"same code for", c.SameCodeFor, 0, time.Minute},
		{"again after", c.AgainAfter, 0, time.Minute},
		{"closer after", c.CloserAfter, 0, time.Minute},
		{"watch for", c.WatchFor, 0, time.Minute},
		{"proof window", c.ProofWindow, time.Second, time.Hour},
	} {
		if v.value < v.min || v.value > v.max {
			return fmt.Errorf("lane: %s is %s, allowed are %s to %s", v.name, v.value, v.min, v.max)
		}
	}
	return nil
}

// Parts are what a lane is made of. Opener, Authority, Journal, Actuator and
// Clock are needed.
type Parts struct {
	Opener    Opener
	Authority Authority
	Journal   Journal
	Actuator  Actuator
	// Thermometer is nil where there is none.
	Thermometer Thermometer
	Clock       Clock
	Screens     []Screen
	// Rand makes the pseudonym keys: crypto/rand.Reader.
	Rand io.Reader
	Log  *slog.Logger
	// Beat is called by the lane's loop every second or so, to feed a
	// watchdog; nil for none. It must not block.
	Beat func()
	// Decided is called by the lane's loop when the outputs of a decision
	// have been applied; nil for nobody. It must not block.
	Decided func(DecisionEvent)
}

// DecisionEvent says how long one decision took.
type DecisionEvent struct {
	Decision Decision
	// Sequence of its record.
	Sequence uint64
	// Scanned is when the code arrived, Decided when the decision was final,
	// Durable when it was on disk, Applied when the outputs had followed.
	Scanned, Decided, Durable, Applied time.Time
}

// Counters count what a lane has done since it was made.
type Counters struct {
	// Scans that reached the lane; Busy of them were ignored because another
	// person was in hand or the lane was out of service. Dropped found no room
	// in the queue.
	Scans, Busy, Dropped uint64
	// Admitted counts releases of the way in; Refused and Held, decisions.
	Admitted, Refused, Held uint64
	// Turned, NotTurned and TurnedTwice count outcomes; Forced, turns of a locked turnstile.
	Turned, NotTurned, TurnedTwice, Forced uint64
	// Exits, GuardActs, Fires and Faults count just these.
	Exits, GuardActs, Fires, Faults uint64
	// Lost records found no room; a GapRecord says so.
	Lost uint64
	// Waiting is how many records wait for the disk now.
	Waiting uint64
}

// ErrNotRunning is returned by [Lane.Guard] before and after [Lane.Run].
var ErrNotRunning = errors.New("lane is not running")

// maxScans is how many scans wait for the loop at most.
const maxScans = 8

// eventKind is what the loop is told.
type eventKind uint8

const (
	evScan eventKind = iota
	evInput
	evGuard
	evOpened
	evMeasured
	evAppended
	evApplied
)

// event is one thing that happened.
type event struct {
	kind     eventKind
	scan     Scan
	code     uint64
	input    Input
	guard    *guardCall
	opened   *opened
	measured *measured
	number   uint64
	err      error
}

// guardCall is a guard's act, and where the answer goes.
type guardCall struct {
	act   GuardAct
	reply chan error // one place
}

// Lane carries out decisions. One goroutine, [Lane.Run]'s, owns the machine;
// everything that may hang runs in a worker of its own, answers by event and
// has a deadline. The methods are safe for use from any goroutine.
type Lane struct {
	cfg   LaneConfig
	parts Parts
	seed  maphash.Seed

	events  chan event
	scans   atomic.Int32 // waiting in events
	dropped atomic.Uint64
	missed  atomic.Bool // a scan was dropped and not shown yet

	// The fire input has a place of its own, which is never full.
	fireMu   sync.Mutex
	fireSeen bool // became active since the loop looked
	fireNow  Input
	fireWake chan struct{}

	running atomic.Bool
	done    chan struct{} // closed when Run returns

	mu       sync.Mutex
	outputs  Outputs
	counters Counters

	// What the actuator's worker is to apply: the latest only.
	applyMu   sync.Mutex
	wanted    Outputs
	version   uint64
	applyWake chan struct{}

	openJobs    chan openJob
	measureJobs chan measureJob
	records     chan Record
	faces       []face
	lines       chan logLine
	linesLost   atomic.Uint64
	workers     sync.WaitGroup

	// Only the loop touches these.
	m        *machine
	driven   Outputs // as handed to the actuator
	began    bool    // driven is set
	shown    uint64  // count of the view the screens have
	beat     time.Time
	timer    *time.Timer
	armed    time.Time
	observed pendingEvent
}

type measureJob struct{ code, permit *pass.Credential }

// maxViews is how many views wait for a screen at most; the oldest goes.
const maxViews = 16

// face is a screen with the views it is to show.
type face struct {
	screen Screen
	views  chan View
}

// pendingEvent waits for the outputs of a decision to be applied.
type pendingEvent struct {
	waiting bool
	version uint64
	event   DecisionEvent
}

// NewLane returns a lane that is locked and out of service until it runs.
func NewLane(cfg LaneConfig, p Parts) (*Lane, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"opener", p.Opener == nil},
		{"authority", p.Authority == nil},
		{"journal", p.Journal == nil},
		{"actuator", p.Actuator == nil},
		{"clock", p.Clock == nil},
		{"source of randomness", p.Rand == nil},
		{"log", p.Log == nil},
	} {
		if part.missing {
			return nil, fmt.Errorf("lane: no %s", part.name)
		}
	}
	l := &Lane{
		cfg: cfg, parts: p, seed: maphash.MakeSeed(),
		events:      make(chan event, 64),
		fireWake:    make(chan struct{}, 1),
		done:        make(chan struct{}),
		applyWake:   make(chan struct{}, 1),
		openJobs:    make(chan openJob, 1),
		measureJobs: make(chan measureJob, 1),
		records:     make(chan Record, 1),
		lines:       make(chan logLine, maxLines),
	}
	for _, s := range p.Screens {
		l.faces = append(l.faces, face{s, make(chan View, maxViews)})
	}
	l.parts.Log = slog.New(logQueue{p.Log.Handler(), l.lines, &l.linesLost})
	l.m = newMachine(cfg, p.Thermometer != nil, p.Rand, l.parts.Log)
	l.outputs = l.m.outputs()
	return l, nil
}

// Scan hands a code to the lane. It never blocks: when too many wait already,
// the scan is dropped, counted, and shown as a notice. The lane keeps a copy
// of the bytes.
func (l *Lane) Scan(s Scan) {
	if l.scans.Add(1) > maxScans {
		l.dropScan()
		return
	}
	// One byte more than a reader looks at is enough to know it as too long.
	raw := s.Raw
	if len(raw) > pass.MaxRaw+1 {
		raw = raw[:pass.MaxRaw+1]
	}
	s.Raw = append([]byte(nil), raw...)
	select {
	case l.events <- event{kind: evScan, scan: s, code: maphash.Bytes(l.seed, s.Raw)}:
	default:
		l.dropScan()
	}
}

func (l *Lane) dropScan() {
	l.scans.Add(-1)
	l.dropped.Add(1)
	l.missed.Store(true)
}

// Input hands a settled change of a contact to the lane. It does not block. A
// fire is never lost, however many other events wait.
func (l *Lane) Input(in Input) {
	if in.Contact == FireInput {
		l.fireMu.Lock()
		l.fireSeen = l.fireSeen || in.Active
		l.fireNow = in
		l.fireMu.Unlock()
		select {
		case l.fireWake <- struct{}{}:
		default:
		}
		return
	}
	select {
	case l.events <- event{kind: evInput, input: in}:
	default:
		l.parts.Log.Error("input dropped, too many events wait", "contact", in.Contact.String())
	}
}

// Guard does what a guard asked for. It returns when the lane has taken the
// act, not when the turnstile has turned. Errors wrap [ErrNothingHeld],
// [ErrViewChanged], [ErrNotAllowed] or [ErrNotRunning], or are ctx's.
func (l *Lane) Guard(ctx context.Context, a GuardAct) error {
	if !l.running.Load() {
		return ErrNotRunning
	}
	call := &guardCall{act: a, reply: make(chan error, 1)}
	select {
	case l.events <- event{kind: evGuard, guard: call}:
	case <-l.done:
		return ErrNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-call.reply:
		return err
	case <-l.done:
		return ErrNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Outputs returns what the lane drives now.
func (l *Lane) Outputs() Outputs {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outputs
}

// Counters returns what the lane has done.
func (l *Lane) Counters() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counters
	c.Dropped = l.dropped.Load()
	return c
}

// Run runs the lane until ctx is done; it may be called once. Before it
// returns, and should it panic, the outputs are made safe: locked and red.
// Records that are still to be written get as long as one record may take. It
// returns an error when the actuator did not confirm the safe outputs or a
// part still hangs; a decision that a hanging journal still brings to disk
// after that has no outcome.
func (l *Lane) Run(ctx context.Context) (err error) {
	if l.running.Swap(true) {
		return errors.New("lane: runs already, or has run")
	}
	l.timer = time.NewTimer(time.Hour)
	l.startWorkers()
	defer func() {
		// During a panic this runs too, and the panic goes on afterwards.
		err = l.shutDown()
	}()
	l.m.start(l.moment())
	l.after()
	for {
		select {
		case ev := <-l.events:
			l.step(&ev)
		case <-l.fireWake:
			l.stepFire()
		case <-l.timer.C:
			l.armed = time.Time{}
			l.m.begin(l.moment())
		case <-ctx.Done():
			l.finish()
			return nil
		}
		l.after()
	}
}

// moment reads the clocks.
func (l *Lane) moment() moment {
	wall, quality := l.parts.Clock.Now()
	return moment{now: time.Now(), wall: wall, clock: quality}
}

// step gives one event to the machine.
func (l *Lane) step(ev *event) {
	m := l.m
	m.begin(l.moment())
	if l.missed.CompareAndSwap(true, false) {
		m.noteBusy()
	}
	switch ev.kind {
	case evScan:
		l.scans.Add(-1)
		m.scan(ev.scan, ev.code)
	case evInput:
		m.input(ev.input)
	case evGuard:
		ev.guard.reply <- m.act(ev.guard.act)
	case evOpened:
		m.openedCode(ev.opened)
	case evMeasured:
		m.measuredReading(ev.measured)
	case evAppended:
		m.appended(ev.number, ev.err)
	case evApplied:
		m.applied(ev.err, ev.number != l.version)
		l.observe(ev.number, ev.err)
	}
}

// stepFire gives the fire input to the machine: at least once active if it was.
func (l *Lane) stepFire() {
	l.fireMu.Lock()
	seen, now := l.fireSeen, l.fireNow
	l.fireSeen = false
	l.fireMu.Unlock()
	l.m.begin(l.moment())
	if seen {
		l.m.input(Input{Contact: FireInput, Active: true, At: now.At})
		if !now.Active {
			l.after()
		}
	}
	if !now.Active {
		l.m.input(now)
	}
}

// after hands out what the step asked for.
func (l *Lane) after() {
	m := l.m
	if job, ok := m.takeOpen(); ok {
		l.openJobs <- job
	}
	if p, ok := m.takeMeasure(); ok {
		l.measureJobs <- measureJob{p.credential, p.permit}
	}
	if r, ok := m.takeRecord(); ok {
		l.records <- r
	}
	if m.changed {
		l.publish()
	}
	if m.takeReapply() {
		l.apply(l.driven)
	}
	l.mu.Lock()
	l.counters = m.counters
	l.counters.Waiting = uint64(len(m.queue))
	l.mu.Unlock()
	if m.at.now.Sub(l.beat) >= time.Second && l.parts.Beat != nil {
		l.parts.Beat()
	}
	if m.at.now.Sub(l.beat) >= time.Second {
		l.beat = m.at.now
	}
	l.arm()
}

// publish hands the outputs to the actuator if it has something to do, and the
// view to the screens when it has done it.
func (l *Lane) publish() {
	m := l.m
	o := m.outputs()
	entered := m.taken()
	l.mu.Lock()
	l.outputs = o
	l.mu.Unlock()
	d := &l.driven
	moves := !l.began || d.Entry != o.Entry || d.Exit != o.Exit || d.Entries != o.Entries || d.Exits != o.Exits || d.Light != o.Light || d.Tone != o.Tone ||
		entered && o.Tone != Silent
	if !moves {
		l.show()
		return
	}
	l.driven, l.began = o, true
	l.apply(o)
	if entered && m.p != nil && (m.state == Released || m.state == Refused || m.state == Held) {
		l.observed = pendingEvent{waiting: true, version: l.version, event: DecisionEvent{
			Decision: o.View.Decision, Sequence: m.p.of,
			Scanned: m.p.scanned, Decided: m.p.decided, Durable: m.p.durable,
		}}
	}
	if m.faults[faultActuator] != "" {
		// It may never answer; the screens can still say so.
		l.show()
	}
}

// show gives the screens the latest view.
func (l *Lane) show() {
	v := &l.outputs.View // written by this goroutine only
	if v.Count == l.shown {
		return
	}
	l.shown = v.Count
	for _, f := range l.faces {
		select {
		case f.views <- *v:
			continue
		default:
		}
		select {
		case <-f.views:
		default:
		}
		f.views <- *v // nobody else sends, so there is room
	}
}

// observe reports a decision whose outputs were applied.
func (l *Lane) observe(version uint64, err error) {
	if version >= l.version || err != nil {
		l.show()
	}
	if !l.observed.waiting || version < l.observed.version || err != nil {
		return
	}
	l.observed.waiting = false
	if l.parts.Decided != nil {
		l.observed.event.Applied = time.Now()
		l.parts.Decided(l.observed.event)
	}
}

// apply gives the actuator's worker something newer to do.
func (l *Lane) apply(o Outputs) {
	l.applyMu.Lock()
	l.version++
	l.wanted = o
	l.applyMu.Unlock()
	l.m.applies()
	select {
	case l.applyWake <- struct{}{}:
	default:
	}
}

// arm sets the timer to the next deadline, or the next beat. It leaves a timer
// alone that goes off sooner: the loop will find that nothing was due.
func (l *Lane) arm() {
	next := l.beat.Add(time.Second)
	if d := l.m.next(); !d.IsZero() && d.Before(next) {
		next = d
	}
	if !l.armed.IsZero() && !next.Before(l.armed) {
		return
	}
	l.armed = next
	l.timer.Reset(time.Until(next))
}

// finish locks, and waits a little for what is still to be written.
func (l *Lane) finish() {
	l.m.stop(l.moment())
	l.after()
	end := time.NewTimer(l.cfg.JournalWithin)
	defer end.Stop()
	for !l.m.settled() {
		select {
		case ev := <-l.events:
			l.step(&ev)
		case <-l.fireWake:
			l.stepFire()
		case <-l.timer.C:
			l.armed = time.Time{}
			l.m.begin(l.moment())
		case <-end.C:
			return
		}
		l.after()
	}
}

// shutDown makes the outputs safe and ends the workers.
func (l *Lane) shutDown() error {
	safe := Outputs{View: View{Decision: Decision{Reason: Fault}, FaultCode: "stopped", Count: l.m.count + 1}}
	l.mu.Lock()
	l.outputs = safe
	l.mu.Unlock()
	l.apply(safe)
	var problems []error
	end := time.NewTimer(l.cfg.ActuateWithin)
	defer end.Stop()
	for waiting := true; waiting; {
		select {
		case ev := <-l.events:
			if ev.kind == evApplied && ev.number == l.version {
				waiting = false
				if ev.err != nil {
					problems = append(problems, fmt.Errorf("lane stopped: safe outputs: %w", ev.err))
				}
			}
		case <-end.C:
			waiting = false
			problems = append(problems, errors.New("lane stopped: actuator did not confirm the safe outputs"))
		}
	}
	l.show()
	if n := len(l.m.queue); n > 0 {
		problems = append(problems, fmt.Errorf("lane stopped: %d records not written", n))
	}
	close(l.done)
	close(l.openJobs)
	close(l.measureJobs)
	close(l.records)
	close(l.applyWake)
	for _, f := range l.faces {
		close(f.views)
	}
	gone := make(chan struct{})
	go func() {
		l.workers.Wait()
		close(gone)
	}()
	grace := time.NewTimer(l.cfg.ActuateWithin)
	defer grace.Stop()
	select {
	case <-gone:
	case <-grace.C:
		problems = append(problems, errors.New("lane stopped: a part still hangs"))
	}
	return errors.Join(problems...)
}

// startWorkers starts a goroutine for each part that may hang.
func (l *Lane) startWorkers() {
	l.workers.Go(l.openWorker)
	l.workers.Go(l.journalWorker)
	l.workers.Go(l.applyWorker)
	l.workers.Go(l.logWorker)
	if l.parts.Thermometer != nil {
		l.workers.Go(l.measureWorker)
	}
	for _, f := range l.faces {
		l.workers.Go(func() { l.screenWorker(f) })
	}
}

// post tells the loop, unless it is gone.
func (l *Lane) post(ev event) {
	select {
	case l.events <- ev:
	case <-l.done:
	}
}

// errPanic is what a worker makes of a panic in its part.
var errPanic = errors.New("panic")

// recovered turns a panic into an error. What a part panicked with may hold a
// person's code, so only the runtime's own words are kept.
func recovered(err *error) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("%w: %w", errPanic, r)
	default:
		*err = fmt.Errorf("%w: a %T", errPanic, r)
	}
}

// openWorker opens codes and looks them up. It has one answer, which it reuses:
// the loop has read the last one before it asks again.
func (l *Lane) openWorker() {
	var answer opened
	for job := range l.openJobs {
		answer = opened{}
		l.openOne(job, &answer)
		l.post(event{kind: evOpened, opened: &answer})
	}
}

func (l *Lane) openOne(job openJob, answer *opened) {
	defer recovered(&answer.fault)
	code, permit := job.code, job.permit
	if job.kind != openNothing {
		c, err := l.parts.Opener.Open(job.raw, job.now)
		answer.credential, answer.err = c, err
		if job.kind == openPermit {
			permit = c
		} else {
			code = c
		}
	}
	if job.kind != openExit {
		answer.look = lookUp(l.parts.Authority, code, permit)
	}
}

func (l *Lane) measureWorker() {
	var answer measured
	for job := range l.measureJobs {
		answer = measured{}
		l.measureOne(job, &answer)
		l.post(event{kind: evMeasured, measured: &answer})
	}
}

func (l *Lane) measureOne(job measureJob, answer *measured) {
	defer recovered(&answer.fault)
	answer.reading, answer.err = l.readOne()
	answer.look = lookUp(l.parts.Authority, job.code, job.permit)
}

func (l *Lane) readOne() (r Reading, err error) {
	defer recovered(&err)
	ctx, cancel := context.WithTimeout(context.Background(), l.cfg.MeasureWithin)
	defer cancel()
	return l.parts.Thermometer.Measure(ctx)
}

func (l *Lane) journalWorker() {
	for r := range l.records {
		seq, err := l.appendOne(r)
		l.post(event{kind: evAppended, number: seq, err: err})
	}
}

func (l *Lane) appendOne(r Record) (seq uint64, err error) {
	defer recovered(&err)
	return l.parts.Journal.Append(r)
}

// screenWorker shows views.
func (l *Lane) screenWorker(f face) {
	for v := range f.views {
		if err := showOne(f.screen, v); err != nil {
			l.parts.Log.Error("view not shown", "err", err)
		}
	}
}

func showOne(s Screen, v View) (err error) {
	defer recovered(&err)
	s.Show(v)
	return nil
}

// applyWorker applies the latest outputs, and none that are older.
func (l *Lane) applyWorker() {
	var last uint64
	for range l.applyWake {
		l.applyMu.Lock()
		version, o := l.version, l.wanted
		l.applyMu.Unlock()
		if version == last {
			continue
		}
		last = version
		l.post(event{kind: evApplied, number: version, err: l.applyOne(o)})
	}
}

func (l *Lane) applyOne(o Outputs) (err error) {
	defer recovered(&err)
	return l.parts.Actuator.Apply(o)
}
