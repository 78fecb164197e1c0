package camera

import (
	"context"
	"fmt"
	"log/slog"
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

// Decoder finds the code in a picture. An error means that there is none.
type Decoder interface {
	Decode(scanner.Frame) ([]byte, error)
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
	// Decoder that finds the code. It is called from one goroutine.
	Decoder Decoder
	// Name of the reader in scans and in the log. Empty means "camera".
	Name string
	// Direction the reader faces.
	Direction gate.Direction
	// SameWithin is how long a code must be out of sight to be scanned again.
	// Zero means the constant of that name for a live source and off for
	// others; negative is off.
	SameWithin time.Duration
	// Log gets a line when the camera comes and goes. Nil is silent.
	Log *slog.Logger

	once sync.Once
	link scanner.Link
}

// Run reads codes until ctx is done and then returns its error. A camera that
// is missing or unplugged is logged once and tried again.
func (r *Reader) Run(ctx context.Context, emit func(gate.Scan)) error {
	if r.Source == nil || r.Decoder == nil {
		return fmt.Errorf("reader %s: needs a source and a decoder", r.name())
	}
	live := r.Source.Live()
	repeats := scanner.Repeats{Within: r.SameWithin}
	if r.SameWithin == 0 && live {
		repeats.Within = SameWithin
	}
	log := r.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	look := func(m Image, at time.Time) {
		var f scanner.Frame
		var raw []byte
		err := m.Luma(&f)
		if err == nil {
			raw, err = r.Decoder.Decode(f)
		}
		if err != nil {
			// Most pictures of a live camera hold no code, and a broken one among
			// thirty a second is its ordinary life. One that somebody put in a
			// folder is worth a line.
			if !live {
				log.Warn("no scan from picture", "reader", r.name(), "err", err)
			}
			return
		}
		if repeats.Again(raw, at) {
			return
		}
		emit(gate.Scan{Raw: raw, At: at, Reader: r.name(), Direction: r.Direction})
	}
	if !live {
		return r.init().Run(ctx, func(ctx context.Context, up func()) error {
			return r.Source.Run(ctx, up, func(m Image) { look(m, time.Now()) })
		})
	}

	box := newest{news: make(chan struct{}, 1)}
	var worker sync.WaitGroup
	worker.Go(func() {
		var m Image
		var at time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case <-box.news:
				m, at = box.take(m)
				look(m, at)
			}
		}
	})
	defer worker.Wait()
	return r.init().Run(ctx, func(ctx context.Context, up func()) error {
		return r.Source.Run(ctx, up, box.put)
	})
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

// newest holds one picture: the last that came.
type newest struct {
	news chan struct{} // one is in when a picture waits

	mu    sync.Mutex
	image Image
	at    time.Time
}

// put replaces the waiting picture by a copy of m.
func (n *newest) put(m Image) {
	n.mu.Lock()
	buf := append(n.image.Data[:0], m.Data...)
	n.image, n.at = m, time.Now()
	n.image.Data = buf
	n.mu.Unlock()
	select {
	case n.news <- struct{}{}:
	default:
	}
}

// take hands out the waiting picture and keeps old's memory for the next.
func (n *newest) take(old Image) (Image, time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.image
	n.image = Image{Data: old.Data[:0]}
	return m, n.at
}
