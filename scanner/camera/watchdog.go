package camera

import (
	"context"
	"errors"
	"time"
)

// quiet is how long a live camera may deliver nothing before it is opened
// again: a driver or a program that hangs mostly comes back from it.
const quiet = 5 * time.Second

// errStalled is a camera that is open and delivers nothing.
var errStalled = errors.New("no picture for 5 s")

// watchdog ends a session in which no picture comes.
type watchdog struct {
	ctx    context.Context // ends with the session
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// awaken makes a watchdog that sleeps until the first feed.
func awaken(ctx context.Context) *watchdog {
	w := new(watchdog)
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(quiet, func() { w.cancel(errStalled) })
	w.timer.Stop()
	return w
}

// feed says that there is life.
func (w *watchdog) feed() { w.timer.Reset(quiet) }

// end sends the watchdog away. It returns errStalled in err's place when it was
// the watchdog who ended the session.
func (w *watchdog) end(err error) error {
	w.timer.Stop()
	defer w.cancel(nil)
	if errors.Is(context.Cause(w.ctx), errStalled) {
		return errStalled
	}
	return err
}
