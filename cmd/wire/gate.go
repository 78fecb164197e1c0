package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"greengate/display"
	"greengate/display/terminal"
	"greengate/display/web"
	"greengate/gate"
	"greengate/gate/passage"
	"greengate/pass"
	"greengate/pass/healthcode"
	"greengate/store"
	"greengate/store/journal"
	"greengate/sync/enrol"
	"greengate/sync/trust"
	"greengate/sync/upload"
)

// Panel is the lane's hardware as the assembly needs it; *gpio.Panel is one.
type Panel interface {
	gate.Actuator
	Run(ctx context.Context, emit func(gate.Input)) error
	Close() error
}

// Hardware is what differs between a gate and a simulated one.
type Hardware struct {
	// Panel drives lights and turnstile; nil at a gate that only shows.
	Panel Panel
	// Thermometer is nil where there is none.
	Thermometer gate.Thermometer
	// PassageContact and ExitContact say which contacts there are.
	PassageContact, ExitContact bool
}

// Options of a gate.
type Options struct {
	Log *slog.Logger
	// Now is the device's clock and Synchronised whether network time disciplines it.
	Now          func() time.Time
	Synchronised func() bool
	// Beat feeds the watchdog; nil for none.
	Beat func()
	// Screens see each view beside the gate's own faces; Decided each decision's times.
	Screens []gate.Screen
	Decided func(gate.DecisionEvent)
	// Terminal gets a line for each change of the lane; nil for none.
	Terminal *terminal.Screen
	// Version stands in the status.
	Version string
}

// Gate is everything in one process at one lane.
type Gate struct {
	cfg      Config
	opt      Options
	log      *slog.Logger
	hardware Hardware

	id       *enrol.Identity
	worn     worn
	renewer  *enrol.Renewer
	db       *store.DB
	journal  *journal.Log
	clock    *gate.WallClock
	lane     *gate.Lane
	trust    *trust.Client
	uploader *upload.Uploader
	wake     chan struct{} // to the uploader: something was written
	web      *web.Server
	listener net.Listener
	control  *controlServer
	readers  []reader
	started  time.Time
	tally    tally
	pulse    pulse
	first    sync.Once
	shown    chan struct{} // closed at the first view
	order    chan struct{} // closed when the gate is to be wiped
	toWipe   atomic.Bool   // that, as a fault's word
	closed   bool
}

// Open puts a gate together. Nothing moves before Run; the hardware was made
// safe when it was opened. On an error everything opened here is closed again.
func Open(cfg Config, hw Hardware, opt Options) (_ *Gate, err error) {
	g := &Gate{cfg: cfg, opt: opt, log: opt.Log, hardware: hw, started: opt.Now(), shown: make(chan struct{}), order: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := goOn(cfg, opt); err != nil {
		return nil, err
	}
	if g.id, err = enrol.Load(cfg.Identity); err != nil {
		return nil, err
	}
	g.reread()
	guards, err := g.guards()
	if err != nil {
		return nil, err
	}
	g.clock = gate.NewWallClock(opt.Now, opt.Synchronised, g.log)
	if g.db, err = store.Open(filepath.Join(cfg.State, "lists.db"), store.Options{Log: g.log, MaxBytes: int64(cfg.Lists.CapMiB) << 20}); errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("%w\nhint: one gate for each state folder; does gated run already?", err)
	} else if err != nil {
		return nil, err
	}
	if err := g.setFloor(); err != nil {
		return nil, err
	}
	hubKey, err := passage.ParseHubKey(g.id.HubKey)
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", cfg.Identity, err)
	}
	if err := g.openJournal(hubKey); err != nil {
		return nil, err
	}
	if err := g.synchronise(); err != nil {
		return nil, err
	}
	if g.readers, err = openReaders(cfg.Readers, g.log); err != nil {
		return nil, err
	}
	if err := g.assembleLane(); err != nil {
		return nil, err
	}
	if err := g.openPages(guards); err != nil {
		return nil, err
	}
	if opt.Terminal != nil {
		opt.Terminal.Health = g.Health
	}
	if g.control, err = openControl(cfg.Control, g); err != nil {
		return nil, err
	}
	return g, nil
}

// setFloor gives the clock the floor that was on the disk. Before the first
// signed list, and after the store was set aside, the start of the gate's
// certificate stands in for it. Never both: a certificate of more than 30 days
// would make a leap of the stored floor, that waits to be confirmed.
func (g *Gate) setFloor() error {
	floor := g.db.Floor()
	if floor.IsZero() {
		var err error
		if floor, err = g.id.Since(); err != nil {
			return err
		}
	}
	g.clock.Floor(floor)
	return nil
}

// guards reads the file of PINs; without one nobody can log in.
func (g *Gate) guards() (*gate.Guards, error) {
	text, err := os.ReadFile(g.cfg.Guards)
	if errors.Is(err, os.ErrNotExist) {
		g.log.Warn("no guard can log in", "file", g.cfg.Guards, "hint", "gatectl guard add NAME")
		return gate.ParseGuards([]byte(`{"guards":[]}`))
	}
	if err != nil {
		return nil, fmt.Errorf("guards: %w", err)
	}
	guards, err := gate.ParseGuards(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.cfg.Guards, err)
	}
	return guards, nil
}

// assembleLane makes the lane out of its parts.
func (g *Gate) assembleLane() error {
	cfg := gate.DefaultLaneConfig()
	cfg.Zone = g.cfg.Zone
	cfg.ProofWindow = healthcode.DefaultProofWindow
	cfg.ReleaseFor = time.Duration(g.cfg.Lane.ReleaseFor)
	cfg.RefuseFor = time.Duration(g.cfg.Lane.RefuseFor)
	cfg.HoldFor = time.Duration(g.cfg.Lane.HoldFor)
	cfg.PassageContact, cfg.ExitContact = g.hardware.PassageContact, g.hardware.ExitContact
	cfg.Idle = gate.Light{Colour: gate.LightRed}
	if g.cfg.Lane.Idle == "blue" {
		cfg.Idle = gate.Light{Colour: gate.LightBlue}
	}
	var actuator gate.Actuator = showOnly{}
	if g.hardware.Panel != nil {
		actuator = g.hardware.Panel
	}
	var err error
	g.lane, err = gate.NewLane(cfg, gate.Parts{
		Opener:      keyless{pass.NewReader(healthcode.New(g.db, healthcode.Options{})), g.db},
		Authority:   fetching{g.db, g.trust, g.log},
		Journal:     g.journal,
		Actuator:    actuator,
		Thermometer: g.hardware.Thermometer,
		Clock:       g.clock,
		Screens:     append([]gate.Screen{(*faces)(g)}, g.opt.Screens...),
		Rand:        rand.Reader,
		Log:         g.log,
		Beat:        g.beat,
		Decided:     g.decided,
	})
	return err
}

// showOnly is the actuator of a gate without lights and turnstile.
type showOnly struct{}

func (showOnly) Apply(gate.Outputs) error { return nil }

// keyless tells a code of an unknown issuer from a gate that knows no issuer:
// one that is new, or has just lost its file.
type keyless struct {
	gate.Opener
	db *store.DB
}

// Open implements gate.Opener.
func (k keyless) Open(raw []byte, now time.Time) (*pass.Credential, error) {
	c, err := k.Opener.Open(raw, now)
	if errors.Is(err, pass.ErrUnknownKey) && k.db.KeyVersion() == 0 {
		return nil, fmt.Errorf("%w: %w", pass.ErrNoKeys, err)
	}
	return c, err
}

// fetching asks the store, and has an absent list fetched at once.
type fetching struct {
	*store.DB
	trust *trust.Client
	log   *slog.Logger
}

// Lookup implements gate.Authority.
func (f fetching) Lookup(ref pass.StatusRef) gate.Listing {
	l := f.DB.Lookup(ref)
	if !l.Found {
		if err := f.trust.Want(ref.URI); err != nil {
			f.log.Warn("absent list not asked for", "error", err)
		}
	}
	return l
}

// faces hands each view to the gate's own faces.
type faces Gate

// Show implements gate.Screen; it does not block.
func (f *faces) Show(v gate.View) {
	g := (*Gate)(f)
	g.first.Do(func() { close(g.shown) })
	for i := range g.readers {
		if r := &g.readers[i]; r.attend != nil {
			r.attend(takes(v.State, r.direction))
		}
	}
	if g.web != nil {
		g.web.Show(v)
	}
	if g.opt.Terminal != nil {
		g.opt.Terminal.Show(v)
	}
	if g.trust == nil || v.State != gate.Held {
		return
	}
	switch r := v.Decision.Reason; {
	case r == gate.NewerThanList, r == gate.ListsTooOld,
		// A status list that is missing was asked for by its name already.
		r == gate.ListsMissing && (g.db.KeyVersion() == 0 || len(g.cfg.Lists.Foreign) > 0):
		g.trust.Kick()
	}
}

// openPages makes the web server and opens its port.
func (g *Gate) openPages(guards *gate.Guards) error {
	if g.cfg.Web.Listen == "" {
		return nil
	}
	var err error
	if g.web, err = web.New(web.Config{
		Metrics: g.metrics(), Alive: probe(g.pulse.lacks), Ready: probe(g.lacks),
		Lane: g.lane, Guards: guards, Health: g.Health, Languages: g.cfg.Web.Languages, Hosts: g.cfg.Web.Hosts, Log: g.log,
		Now: func() time.Time { now, _ := g.clock.Now(); return now },
	}); err != nil {
		return err
	}
	config, err := g.cfg.Web.tls()
	if err != nil {
		return err
	}
	g.listener, err = web.Listen(g.cfg.Web.Listen, config)
	return err
}

// Address of the pages, "" where there are none.
func (g *Gate) Address() string {
	if g.listener == nil {
		return ""
	}
	return g.listener.Addr().String()
}

// Lane returns the lane.
func (g *Gate) Lane() *gate.Lane { return g.lane }

// Run runs everything until ctx ends, and leaves the lane locked. ready is
// called once the lane has shown its first view, which may be a fault: a gate
// with a full journal must live to empty it. Lists, upload, pages and readers
// that fail do not stop the lane; the lane and its contacts do stop the rest.
// It ends with [ErrWiped] once it has obeyed an order to wipe, and is closed then.
func (g *Gate) Run(ctx context.Context, ready func()) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return stopped(ctx, "lane", g.lane.Run(ctx)) })
	if g.hardware.Panel != nil {
		group.Go(func() error { return stopped(ctx, "contacts", g.hardware.Panel.Run(ctx, g.lane.Input)) })
	}
	group.Go(func() error {
		select {
		case <-g.shown:
			ready()
		case <-ctx.Done():
		}
		return nil
	})
	aside := func(name string, run func(context.Context) error) {
		group.Go(func() error {
			if err := stopped(ctx, name, run(ctx)); err != nil {
				g.log.Error("a part stopped; the lane goes on", "part", name, "error", err)
			}
			return nil
		})
	}
	for i := range g.readers {
		r := &g.readers[i]
		aside("reader "+r.name, func(ctx context.Context) error { return r.source.Run(ctx, g.control.tap(g.lane.Scan)) })
	}
	aside("control socket", g.control.serve)
	if g.web != nil {
		aside("pages", func(ctx context.Context) error { return g.web.Serve(ctx, g.listener) })
	}
	if g.opt.Terminal != nil {
		aside("terminal", g.opt.Terminal.Run)
	}
	aside("lists", g.trust.Run)
	aside("upload", g.uploader.Run)
	aside("certificate", g.renewer.Run)
	aside("journal watch", g.watchJournal)
	aside("destroying keys", g.destroyKeys)
	group.Go(func() error { return g.awaitOrder(ctx) })
	err := group.Wait()
	if errors.Is(err, errObey) {
		return g.obey()
	}
	return err
}

// stopped tells an end that was asked for from a failure.
func stopped(ctx context.Context, name string, err error) error {
	if err == nil && ctx.Err() == nil {
		return fmt.Errorf("%s stopped by itself", name)
	}
	if err == nil || ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Close closes what Open opened, in any state, once. The hardware is the caller's.
func (g *Gate) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	var errs []error
	if g.control != nil {
		errs = append(errs, g.control.close())
	}
	if g.listener != nil {
		if err := g.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if g.journal != nil {
		errs = append(errs, g.journal.Close())
	}
	if g.db != nil {
		errs = append(errs, g.db.Close())
	}
	return errors.Join(errs...)
}

// Health is what the guard's strip shows; it answers from memory.
func (g *Gate) Health() display.Health {
	now, quality := g.clock.Now()
	at := g.journal.State()
	up := g.uploader.State()
	h := display.Health{
		GateName: g.id.Gate, Zone: g.cfg.Zone,
		ClockTime: now, Clock: quality,
		Backlog:     at.Next - 1 - at.Acknowledged,
		JournalFull: g.journal.Room() == journal.RoomNone,
		Hub:         display.HubHealth{Connected: up.Failures == 0 && !up.LastSuccess.IsZero(), LastContact: up.LastSuccess},
	}
	if at.Cap > 0 {
		h.JournalPercent = int(min(100, at.Bytes*100/at.Cap))
	}
	h.Held = g.held(now)
	h.ListIssued, h.Lists = oldest(h.Held, g.heldHashes(now))
	h.MapDay = g.db.MapDay()
	h.Readers = g.readerHealth()
	h.Faults = g.currentFaults()
	return h
}

// held describes the lists that are held.
func (g *Gate) held(now time.Time) []display.ListHealth {
	policy := g.db.Policy()
	var held []display.ListHealth
	for _, info := range g.db.Lists() {
		l := g.db.Lookup(pass.StatusRef{URI: info.URI})
		held = append(held, display.ListHealth{URI: info.URI, Generation: info.Sequence, Confirmed: l.Confirmed,
			Freshness: policy.Freshness(l, now), Extra: !g.trust.Configured(info.URI)})
	}
	return held
}

// heldHashes describes the revocation lists of foreign codes that are held.
func (g *Gate) heldHashes(now time.Time) []display.ListHealth {
	policy := g.db.Policy()
	var held []display.ListHealth
	for _, info := range g.db.HashLists() {
		confirmed := g.db.HashConfirmed(info.ID)
		held = append(held, display.ListHealth{URI: info.String(), Generation: info.Sequence, Confirmed: confirmed,
			Freshness: policy.Freshness(gate.Listing{Found: true, Confirmed: confirmed}, now)})
	}
	return held
}

// oldest returns the worst grade among the lists held, and the oldest
// confirmation that has it: the guard sees the worst. A list that was confirmed
// in the future is too old, and not the oldest. Without a status list, hashes
// are of no use.
func oldest(held, hashes []display.ListHealth) (confirmed time.Time, worst gate.Freshness) {
	if len(held) == 0 {
		return time.Time{}, gate.ListMissing
	}
	for i, l := range slices.Concat(held, hashes) {
		if i == 0 || l.Freshness > worst || l.Freshness == worst && l.Confirmed.Before(confirmed) {
			confirmed, worst = l.Confirmed, l.Freshness
		}
	}
	return confirmed, worst
}

// Condition is what the hub is told with each contact.
func (g *Gate) Condition() gate.Condition {
	now, quality := g.clock.Now()
	held, hashes := g.held(now), g.heldHashes(now)
	confirmed, grade := oldest(held, hashes)
	c := gate.Condition{Lists: grade, Held: uint32(len(held) + len(hashes)), Clock: quality, Policy: g.db.Policy().Version, Map: g.db.MapVersion(),
		Version: g.opt.Version, Faults: strings.ToLower(strings.Join(g.currentFaults(), ","))}
	if at := g.journal.State(); at.Cap > 0 {
		c.Journal = uint8(min(100, at.Bytes*100/at.Cap))
	}
	if !confirmed.IsZero() {
		c.Age = max(now.Sub(confirmed), 0).Truncate(time.Second)
	}
	return c
}

func (g *Gate) currentFaults() []string {
	var faults []string
	if g.db.SetAside() != "" {
		faults = append(faults, "store-set-aside")
	}
	faults = append(faults, journalFaults(g.journal.State().Losses)...)
	if v := g.lane.Outputs().View; v.FaultCode != "" {
		faults = append(faults, v.FaultCode)
	}
	if g.toWipe.Load() {
		faults = append(faults, "wipe-ordered")
	}
	if up := g.uploader.State(); up.Stop != upload.Running {
		faults = append(faults, "upload-"+string(up.Stop))
	}
	return faults
}
