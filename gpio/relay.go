package gpio

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	pgpio "periph.io/x/conn/v3/gpio"
)

// line is a driven line with its role and polarity.
type line struct {
	role      Role
	pin       string
	out       Output
	activeLow bool
}

// drive makes the line on or off.
func (l *line) drive(on bool) error {
	if err := l.out.Out(pgpio.Level(on != l.activeLow)); err != nil {
		word := "off"
		if on {
			word = "on"
		}
		return fmt.Errorf("%s %s: drive %s: %w", l.role, l.pin, word, err)
	}
	return nil
}

// lockRetry is the pause between attempts to switch a relay off that does not obey.
const lockRetry = 50 * time.Millisecond

// firePause separates the pulses of a release by fire in pulse mode.
const firePause = 800 * time.Millisecond

// relay is one direction of the turnstile. Its timers run without the lane, so
// that a lane that hangs cannot hold it.
type relay struct {
	line
	mode         Mode
	pulse, maxOn time.Duration
	log          *slog.Logger

	mu sync.Mutex
	// want is what the lane asked for last, fire whether it asked because of
	// fire, and count which release it was.
	want, fire bool
	count      uint64
	// fireErr is why the last attempt to release by fire failed.
	fireErr error
	// busy: a pulse, or the gap after it, has not ended; again: another was asked for meanwhile.
	busy, again bool
	shut        bool
	failing     bool
	timer       *time.Timer
	// turn tells a timer that fired too late from the current one.
	turn uint64
}

// after calls f, with the lock held, unless something else happens first.
func (r *relay) after(d time.Duration, f func()) {
	r.stop()
	turn := r.turn
	r.timer = time.AfterFunc(d, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.turn == turn {
			f()
		}
	})
}

func (r *relay) stop() {
	r.turn++
	if r.timer != nil {
		r.timer.Stop()
	}
}

// rest switches off from a timer, again and again until it works, and then calls next.
func (r *relay) rest(next func()) {
	if err := r.drive(false); err != nil {
		if !r.failing {
			r.log.Error("relay does not switch off, trying on", "error", err)
			r.failing = true
		}
		r.after(lockRetry, func() { r.rest(next) })
		return
	}
	r.failing = false
	next()
}

// set is what the lane asks for. In pulse mode each rise of want, and each new
// count while it stands, gives one pulse, which ends by itself even if want
// falls before: a shorter one would be no signal to the controller. In level
// mode want is followed for at most maxOn after the last new release. Release
// by fire has no maximum: in level mode the relay is held, in pulse mode
// pulses are repeated, because such a controller opens for some seconds or one
// passage only.
func (r *relay) set(want bool, count uint64, fire bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return ErrClosed
	}
	fresh := want && (!r.want || r.fire || count != r.count)
	r.count = count
	if want && fire {
		if r.fire && r.fireErr == nil {
			return nil
		}
		r.want, r.fire, r.busy, r.again = true, true, false, false
		return r.releaseByFire()
	}
	if r.fire { // the fire is over: lock, and let a controller that counts pulses see a gap
		r.stop()
		r.fire, r.want = false, false
		if err := r.off(); err != nil {
			return err
		}
		if r.mode == PulseMode {
			r.gap()
		}
	}
	switch {
	case !want:
		r.want, r.again = false, false
		if r.busy {
			return nil
		}
		r.stop()
		return r.off()
	case !fresh:
		return nil
	case r.busy:
		r.want, r.again = true, true
		return nil
	}
	return r.open()
}

// open energises once.
func (r *relay) open() error {
	if err := r.drive(true); err != nil {
		// Nobody knows what the line did: lock it, and let a later release try again.
		r.stop()
		r.want, r.busy, r.again = false, false, false
		if offErr := r.off(); offErr != nil {
			r.log.Error("relay state unknown", "error", offErr)
		}
		return err
	}
	r.want = true
	if r.mode == LevelMode {
		r.after(r.maxOn, func() {
			// want stays: only a new release may energise again.
			r.rest(func() {
				r.log.Warn("relay locked by its own maximum on-time", "role", string(r.role), "max_on", r.maxOn)
			})
		})
		return nil
	}
	r.busy = true
	r.after(r.pulse, func() { r.rest(r.gap) })
	return nil
}

// gap keeps the relay off for as long as a pulse, then gives the one that was asked for meanwhile.
func (r *relay) gap() {
	r.busy = true
	r.after(r.pulse, func() {
		r.busy = false
		if !r.again {
			return
		}
		r.again = false
		if err := r.open(); err != nil {
			r.log.Error("relay does not switch on", "error", err)
		}
	})
}

// releaseByFire energises, and in pulse mode keeps pulsing. An error does not
// end it: it is tried again for as long as the fire lasts.
func (r *relay) releaseByFire() error {
	err := r.drive(true)
	r.fireErr = err
	switch {
	case r.mode == PulseMode:
		r.after(r.pulse, func() { r.rest(func() { r.after(firePause, r.fireAgain) }) })
	case err != nil:
		r.after(lockRetry, r.fireAgain)
	default:
		r.stop()
	}
	return err
}

func (r *relay) fireAgain() {
	if err := r.releaseByFire(); err != nil && !r.failing {
		r.failing = true
		r.log.Error("relay does not release by fire, trying on", "error", err)
	} else if err == nil {
		r.failing = false
	}
}

// off switches off and, where that fails, keeps trying by timer.
func (r *relay) off() error {
	err := r.drive(false)
	if err != nil && !r.shut {
		r.after(lockRetry, func() { r.rest(func() {}) })
	}
	return err
}

// lock switches off at once, whatever was going on. With shut it is final.
func (r *relay) lock(shut bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return nil
	}
	r.stop()
	r.want, r.fire, r.busy, r.again = false, false, false, false
	r.shut = shut
	return r.off()
}
