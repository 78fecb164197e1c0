package camera

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"greengate/gate"
	"greengate/scanner"
)

// Source delivers pictures.
type Source interface {
	// Run calls ready once the device is open, then frames for each picture,
	// from one goroutine, until ctx is done or the device fails. An Image is
	// good until frames returns. It can be run again after it returned.
	Run(ctx context.Context, ready func(), frames func(Image)) error
	// Live reports whether pictures come by themselves and an old one is worth
	// nothing. Of a source that is not live every picture is decoded.
	Live() bool
	// String names the device, as "/dev/video0".
	String() string
}

// SameWithin is how long a code must be out of a camera's sight to be scanned
// again: shorter than the next person takes to step up, longer than a code is
// lost to a moving hand.
const SameWithin = 2 * time.Second

// Reader reads codes from pictures. Set the fields before Run and leave them
// alone afterwards.
type Reader struct {
	// Source of the pictures.
	Source Source
	// Eye that finds the codes.
	Eye Eye
	// Name of the reader in scans and in the log. Empty means "camera".
	Name string
	// Direction the reader faces.
	Direction gate.Direction
	// SameWithin is how long a code must be out of sight to be scanned again.
	// Zero means the constant of that name for a live source and off for
	// others; negative is off.
	SameWithin time.Duration
	// Cores is how many processor cores there are for a live source: with two or
	// more, one picture is unpacked while the one before is looked at. Zero means
	// as many as this program may use.
	Cores int
	// Log gets a line when the camera comes and goes. Nil is silent.
	Log *slog.Logger

	once  sync.Once
	link  scanner.Link
	tally tally
	watch watch
}

// Look is what became of one picture, for whoever watches.
type Look struct {
	// At is when the picture was taken, and Took how long the eye looked.
	At      time.Time
	Took    time.Duration
	Outcome Outcome
	// Sight is what the eye saw, in pixels of Frame.
	Sight
	Light
	// Frame is the picture; empty of a broken one.
	Frame scanner.Frame
}

// Run reads codes until ctx is done and then returns its error. A camera that
// is missing, unplugged or silent is logged once and tried again.
func (r *Reader) Run(ctx context.Context, emit func(gate.Scan)) error {
	if r.Source == nil || r.Eye == nil {
		return fmt.Errorf("reader %s: needs a source and an eye", r.name())
	}
	b := &bench{Reader: r, emit: emit, live: r.Source.Live(), log: r.Log}
	b.repeats.Within = r.SameWithin
	if r.SameWithin == 0 && b.live {
		b.repeats.Within = SameWithin
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if !b.live {
		var s shot
		return r.init().Run(ctx, func(ctx context.Context, up func()) error {
			return r.Source.Run(ctx, up, func(m Image) {
				r.tally.came()
				s.image, s.at = m, time.Now()
				s.develop()
				b.look(&s)
			})
		})
	}

	come, developed := newNewest(), newNewest()
	var used tray
	// hand puts a picture into a box, and one that it overtakes away.
	hand := func(box *newest, s *shot) {
		if old := box.put(s); old != nil {
			r.tally.ended(Overtaken, 0)
			used.put(old)
		}
	}
	var stages sync.WaitGroup
	defer stages.Wait()
	look := func(s *shot) {
		b.look(s)
		used.put(s)
	}
	if r.cores() > 1 {
		stages.Go(func() { come.each(ctx, func(s *shot) { s.develop(); hand(developed, s) }) })
		stages.Go(func() { developed.each(ctx, look) })
	} else {
		stages.Go(func() { come.each(ctx, func(s *shot) { s.develop(); look(s) }) })
	}
	return r.init().Run(ctx, func(ctx context.Context, up func()) error {
		dog := awaken(ctx)
		err := dog.end(r.Source.Run(dog.ctx, func() { dog.feed(); up() }, func(m Image) {
			dog.feed()
			r.tally.came()
			s := used.get()
			s.hold(m)
			hand(come, s)
		}))
		if errors.Is(err, errStalled) {
			r.tally.wedged()
			err = fmt.Errorf("camera %s: %w", r.Source, err)
		}
		return err
	})
}

// bench is where pictures are looked at, one after the other.
type bench struct {
	*Reader
	emit     func(gate.Scan)
	live     bool
	log      *slog.Logger
	repeats  scanner.Repeats
	exposure exposure
	still    still
	track    track
}

// look looks at one picture, if it is worth it, and emits what it finds.
func (b *bench) look(s *shot) {
	l := Look{At: s.at, Frame: s.frame, Light: s.glance.Light}
	switch o, spared := b.spared(s); {
	case spared:
		l.Outcome = o
		if o == Broken {
			l.Frame = scanner.Frame{}
		}
	default:
		began := time.Now()
		l.Sight = b.track.see(b.Eye, s.frame)
		l.Took = time.Since(began)
		l.Outcome = l.Sight.outcome()
		b.still.looked(&s.glance, s.at, l.Outcome)
	}
	b.tally.ended(l.Outcome, l.Took)
	if !b.live && l.Outcome != Read {
		// Most pictures of a live camera hold no code, and a broken one among
		// thirty a second is its ordinary life. One that somebody put in a folder
		// is worth a line.
		log := b.log.With("reader", b.name(), "outcome", l.Outcome.String())
		if s.err != nil {
			log = log.With("err", s.err)
		}
		log.Warn("no scan from picture")
	}
	for _, c := range l.Codes {
		if !b.repeats.Again(c.Raw, s.at) {
			b.emit(gate.Scan{Raw: bytes.Clone(c.Raw), At: s.at, Reader: b.name(), Direction: b.Direction})
		}
	}
	b.watch.saw(l)
}

// spared says why a picture is not looked at, if it is not. Of a source that is
// not live each counts.
func (b *bench) spared(s *shot) (Outcome, bool) {
	switch {
	case s.err != nil:
		return Broken, true
	case !b.live:
		return 0, false
	}
	if o, spared := b.exposure.spares(&s.glance, s.at); spared {
		return o, true
	}
	return Still, b.still.spares(&s.glance, s.at)
}

// Figures says how the camera has done since the start.
func (r *Reader) Figures() Figures { return r.tally.figures() }

// Watch calls saw with each picture that was looked at or skipped, except those
// that were overtaken, until stop is called. Saw must copy what it keeps, and
// be quick: the next picture waits for it. It fails with ErrWatched while
// somebody else watches.
func (r *Reader) Watch(saw func(Look)) (stop func(), err error) { return r.watch.begin(saw) }

// ErrWatched is a camera that somebody watches already.
var ErrWatched = errors.New("the camera is being watched already")

// watch is who is told of each picture.
type watch struct {
	mu  sync.Mutex
	who *func(Look)
}

func (w *watch) begin(saw func(Look)) (stop func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.who != nil {
		return nil, ErrWatched
	}
	w.who = &saw
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.who == &saw {
			w.who = nil
		}
	}, nil
}

// saw tells who watches, if anybody does.
func (w *watch) saw(l Look) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.who != nil {
		(*w.who)(l)
	}
}

// cores is Cores or what stands for it.
func (r *Reader) cores() int {
	if r.Cores > 0 {
		return r.Cores
	}
	return runtime.GOMAXPROCS(0)
}

// State says whether the camera is open and since when, for the status page.
func (r *Reader) State() string { return r.init().State() }

// Connected reports whether the camera is open, and since when it is or is not.
func (r *Reader) Connected() (bool, time.Time) { return r.init().Connected() }

// init carries the fields over, once.
func (r *Reader) init() *scanner.Link {
	r.once.Do(func() {
		r.link.Name, r.link.Log = r.name(), r.Log
		if r.Source != nil {
			r.link.Device = r.Source.String()
		}
	})
	return &r.link
}

// name is Name or what stands for it.
func (r *Reader) name() string {
	if r.Name == "" {
		return "camera"
	}
	return r.Name
}
