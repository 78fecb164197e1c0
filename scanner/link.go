package scanner

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Waits between two attempts to open a device. The first is short because a
// USB scanner that was knocked loose is back within a second; the last keeps a
// gate without that scanner quiet.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 3 * time.Second
)

// Link keeps a device in use that may be unplugged and come back. The zero
// value, with a Name and a Log, is ready.
type Link struct {
	// Name of the reader, as "serial".
	Name string
	// Device is what is opened, as "/dev/ttyACM0".
	Device string
	// Log gets one line when the device comes and one when it goes or is found
	// missing. Nil is silent.
	Log *slog.Logger
	// Hint, when set, says what a technician could do about a device that
	// cannot be opened.
	Hint func() string

	mu    sync.Mutex
	up    bool
	since time.Time
	err   error
}

// Run calls session again and again until ctx is done, and returns ctx's
// error. A session opens the device, calls up once it is open, and returns when
// it is gone; it must return soon after ctx is done.
//
// Between sessions Run waits, from 100 ms up to 3 s and with jitter, so that
// two readers on one failing hub do not knock in step.
func (l *Link) Run(ctx context.Context, session func(ctx context.Context, up func()) error) error {
	log := l.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("reader", l.Name, "device", l.Device)
	l.set(false, nil)

	wait := firstWait
	var told string // the error that is already in the log
	for ctx.Err() == nil {
		opened := false
		err := session(ctx, func() {
			opened = true
			wait, told = firstWait, ""
			l.set(true, nil)
			log.Info("reader connected")
		})
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			err = fmt.Errorf("%s: closed", l.Device)
		}
		l.set(false, err)
		switch {
		case opened:
			log.Warn("reader lost", "err", err)
		case err.Error() != told:
			told = err.Error()
			if l.Hint != nil {
				log.Warn("reader absent, trying on", "err", err, "hint", l.Hint())
			} else {
				log.Warn("reader absent, trying on", "err", err)
			}
		}

		t := time.NewTimer(wait + rand.N(wait/2))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		wait = min(2*wait, lastWait)
	}
	l.set(false, ctx.Err())
	return ctx.Err()
}

// set notes a change. An absence keeps its beginning however many attempts
// fail in it.
func (l *Link) set(up bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() || l.up != up {
		l.since = time.Now()
	}
	l.up, l.err = up, err
}

// Connected reports whether the device is open, and since when it is or is
// not. The time is zero before Run.
func (l *Link) Connected() (bool, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.since
}

// State says the same in words, as "connected since 2020-02-17T08:00:00Z" or
// "absent since …: cause".
func (l *Link) State() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		return "not started"
	}
	since := l.since.UTC().Format(time.RFC3339)
	switch {
	case l.up:
		return "connected since " + since
	case l.err != nil:
		return "absent since " + since + ": " + l.err.Error()
	default:
		return "absent since " + since
	}
}
