package gpio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"greengate/gate"
)

// Panel is the lane's lights, relays, buzzer and contacts.
type Panel struct {
	log         *slog.Logger
	entry, exit *relay // nil where there is none
	lamps       *lamps
	beeper      *beeper // nil where there is none
	contacts    []*contact

	// applying orders the callers of Apply. Safe and Close do not wait for it.
	applying sync.Mutex

	mu       sync.Mutex
	closed   bool
	released bool // lines were given back
	cancel   context.CancelFunc
	running  chan struct{} // closed when Run has ended; nil before it began
	lines    []io.Closer
}

var _ gate.Actuator = (*Panel)(nil)

// New makes a panel of pins and drives them safe, the relays first. A role
// whose pin is nil is one that this lane lacks. The pin names in the
// configuration are used in errors only.
func New(pins Pins, cfg Config, log *slog.Logger) (*Panel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	p := &Panel{log: log, lamps: &lamps{log: log}}
	newRelay := func(role Role, out Output, l OutputLine) *relay {
		if out == nil {
			return nil
		}
		return &relay{line: line{role, l.Pin, out, l.ActiveLow}, mode: cfg.Mode, pulse: cfg.PulseWidth, maxOn: cfg.MaxOn, log: log}
	}
	p.entry = newRelay(EntryRelay, pins.EntryRelay, cfg.EntryRelay)
	p.exit = newRelay(ExitRelay, pins.ExitRelay, cfg.ExitRelay)
	for _, l := range []struct {
		colour gate.Colour
		role   Role
		out    Output
		line   OutputLine
	}{
		{gate.LightRed, RedLight, pins.Red, cfg.Red}, {gate.LightAmber, AmberLight, pins.Amber, cfg.Amber},
		{gate.LightGreen, GreenLight, pins.Green, cfg.Green}, {gate.LightBlue, BlueLight, pins.Blue, cfg.Blue},
	} {
		if l.out != nil {
			p.lamps.lines[l.colour] = &line{l.role, l.line.Pin, l.out, l.line.ActiveLow}
		}
	}
	if pins.Buzzer != nil {
		p.beeper = &beeper{line: line{Buzzer, cfg.Buzzer.Pin, pins.Buzzer, cfg.Buzzer.ActiveLow}, log: log}
	}
	for _, c := range []struct {
		of   gate.Contact
		role Role
		in   Input
		line InputLine
	}{
		{gate.FireInput, Fire, pins.Fire, cfg.Fire}, {gate.PassageContact, Passage, pins.Passage, cfg.Passage},
		{gate.ExitContact, ExitPassage, pins.ExitPassage, cfg.ExitPassage}, {gate.ExitButton, ExitButton, pins.ExitButton, cfg.ExitButton},
		{gate.Tamper, Tamper, pins.Tamper, cfg.Tamper},
	} {
		if c.in == nil {
			continue
		}
		contact := &contact{role: c.role, of: c.of, pin: c.line.Pin, in: c.in, closed: c.line.Pull.closed(),
			restsClosed: c.line.RestsClosed, settle: cfg.Settle, poll: contactPoll, log: log}
		switch c.of {
		case gate.FireInput:
			contact.guarded, contact.settle, contact.poll = true, cfg.FireSettle, firePoll
		case gate.Tamper:
			contact.guarded = true
		}
		p.contacts = append(p.contacts, contact)
	}
	if err := p.Safe(); err != nil {
		return nil, errors.Join(fmt.Errorf("make the lane safe: %w", err), p.Close())
	}
	return p, nil
}

// relays that there are.
func (p *Panel) relays() []*relay {
	var rs []*relay
	for _, r := range []*relay{p.entry, p.exit} {
		if r != nil {
			rs = append(rs, r)
		}
	}
	return rs
}

// Apply makes the outputs so: first what locks, then what opens, then the
// light, then the tone. When a relay does not obey, both are locked, the light
// is red, and the error names role and pin; a release by fire (the view's
// state is gate.FireOpen) goes on with the other relay instead. The tone sounds
// once for each state that is entered.
//
// Apply returns ErrClosed after Close, and drives nothing then.
func (p *Panel) Apply(o gate.Outputs) error {
	p.applying.Lock()
	defer p.applying.Unlock()
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return ErrClosed
	}
	fire := o.View.State == gate.FireOpen
	var errs []error
	for _, pass := range []bool{false, true} { // what locks goes first
		if p.entry != nil && o.Entry == pass {
			errs = append(errs, p.entry.set(o.Entry, o.Entries, fire))
		}
		if p.exit != nil && o.Exit == pass {
			errs = append(errs, p.exit.set(o.Exit, o.Exits, fire))
		}
	}
	if err := errors.Join(errs...); err != nil && !fire {
		return errors.Join(err, p.safe(false))
	}
	errs = append(errs, p.lamps.show(o.Light))
	if p.beeper != nil {
		errs = append(errs, p.beeper.play(o))
	}
	return errors.Join(errs...)
}

// Safe locks both relays at once, shows red and silences the buzzer. It does
// not wait for an Apply that hangs, and may be called from a deferred function
// while a panic is under way. The panel stays usable.
func (p *Panel) Safe() error { return p.safe(false) }

func (p *Panel) safe(shut bool) error {
	var errs []error
	for _, r := range p.relays() {
		errs = append(errs, r.lock(shut))
	}
	errs = append(errs, p.lamps.red(shut))
	if p.beeper != nil {
		errs = append(errs, p.beeper.silence(shut))
	}
	return errors.Join(errs...)
}

// stopWithin bounds the wait of Close for Run: a waiting contact looks at its
// context every 50 ms, but emit belongs to somebody else.
const stopWithin = time.Second

// Close makes the lane safe for good, ends Run, waits for it, and gives the
// lines back. It may be called many times, from any goroutine, and from a
// deferred function while a panic is under way. When Run does not end within a
// second because emit hangs, Close returns ErrStuck and keeps the lines.
func (p *Panel) Close() error {
	p.mu.Lock()
	p.closed = true
	cancel, running := p.cancel, p.running
	p.mu.Unlock()
	errs := []error{p.safe(true)}
	if cancel != nil {
		cancel()
	}
	if running != nil {
		late := time.NewTimer(stopWithin)
		defer late.Stop()
		select {
		case <-running:
		case <-late.C:
			return errors.Join(append(errs, ErrStuck)...)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return errors.Join(errs...)
	}
	p.released = true
	for _, l := range p.lines {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Run watches the contacts and calls emit with every settled change, until ctx
// ends or Close is called; then it returns nil, after the last watcher ended.
// The fire input and the tamper contact are reported once at the start. emit is
// called from one goroutine for each contact, so that a slow one cannot hold up
// a fire; it should not block, and must be safe for concurrent use.
//
// A panic in emit locks the lane before it goes on.
func (p *Panel) Run(ctx context.Context, emit func(gate.Input)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return ErrClosed
	case p.running != nil && !ended(p.running):
		p.mu.Unlock()
		return ErrRunning
	}
	p.cancel, p.running = cancel, done
	p.mu.Unlock()
	defer close(done)

	var watchers sync.WaitGroup
	for _, c := range p.contacts {
		watchers.Go(func() { p.watch(ctx, c, emit) })
	}
	<-ctx.Done()
	watchers.Wait()
	return nil
}

// watch makes the lane safe before a panic ends the program.
func (p *Panel) watch(ctx context.Context, c *contact, emit func(gate.Input)) {
	defer func() {
		if r := recover(); r != nil {
			if err := p.Safe(); err != nil {
				p.log.Error("lane is not safe", "error", err)
			}
			panic(r)
		}
	}()
	c.watch(ctx, emit)
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
