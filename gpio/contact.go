package gpio

import (
	"context"
	"log/slog"
	"time"

	pgpio "periph.io/x/conn/v3/gpio"

	"greengate/gate"
)

// How long a contact waits for an edge before its level is read anyway, so
// that an edge that got lost is found. With FireSettle a lost edge of the fire
// input is found within 35 ms.
const (
	contactPoll = 50 * time.Millisecond
	firePoll    = 20 * time.Millisecond
)

// edgePause is the least time between two edges that are looked at: a line
// that chatters costs a thousand turns a second, not a processor.
const edgePause = time.Millisecond

// contact is one watched input.
type contact struct {
	role Role
	of   gate.Contact
	pin  string
	in   Input
	// closed is the level of a closed contact.
	closed      pgpio.Level
	restsClosed bool
	// guarded: the fire input and the tamper contact. A line that cannot be
	// read, or does not come to rest, is active; the level at start is reported.
	guarded      bool
	settle, poll time.Duration
	log          *slog.Logger

	// failing: Read fails; deaf: WaitForEdge does.
	failing, deaf bool
}

// active reads the contact. A line that cannot be read keeps the state was,
// except on a guarded contact, where it is active.
func (c *contact) active(was bool) bool {
	level, err := c.in.Read()
	if err != nil {
		if !c.failing {
			c.log.Error("contact cannot be read", "role", string(c.role), "pin", c.pin, "error", err)
			c.failing = true
		}
		return c.guarded || was
	}
	if c.failing {
		c.log.Info("contact can be read again", "role", string(c.role), "pin", c.pin)
		c.failing = false
	}
	return (level == c.closed) != c.restsClosed
}

// watch reports every settled change until ctx ends.
func (c *contact) watch(ctx context.Context, emit func(gate.Input)) {
	settled := c.active(false)
	if c.guarded {
		emit(gate.Input{Contact: c.of, Active: settled, At: time.Now()})
	}
	seen := settled
	var (
		moving bool
		left   time.Time // when it left the settled state
		still  time.Time // since when nothing has moved
	)
	for ctx.Err() == nil {
		timeout := c.poll
		if moving {
			timeout = min(timeout, max(c.settle-time.Since(still), time.Millisecond))
		}
		edge := c.wait(ctx, timeout)
		level, now := c.active(seen), time.Now()
		if edge || level != seen {
			if !moving {
				moving, left = true, now
			}
			seen, still = level, now
		}
		if !moving {
			continue
		}
		switch {
		case now.Sub(still) >= c.settle:
			moving = false
		case c.guarded && !settled && now.Sub(left) >= 2*c.settle:
			// Neither open nor closed for too long: a loose wire is a broken one.
			seen = true
			still = now
		default:
			continue
		}
		if seen != settled && ctx.Err() == nil {
			settled = seen
			emit(gate.Input{Contact: c.of, Active: settled, At: now})
		}
	}
}

// wait returns whether there was an edge within the timeout. It never returns
// at once, whatever the driver does: a driver that cannot wait must not make
// the loop spin.
func (c *contact) wait(ctx context.Context, timeout time.Duration) bool {
	began := time.Now()
	edge, err := c.in.WaitForEdge(timeout)
	if err != nil && !c.deaf {
		c.log.Error("contact reports no edges, reading its level", "role", string(c.role), "pin", c.pin, "error", err)
	}
	c.deaf = err != nil
	if edge {
		pause(ctx, edgePause)
		return true
	}
	pause(ctx, timeout-time.Since(began))
	return false
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
