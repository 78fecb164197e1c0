package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"greengate/gate"
)

// director moves a simulated lane and sees what it does.
type director struct {
	conn   net.Conn
	events chan event
	view   gate.View // the latest
}

// direct connects to the lane's socket, which may take a moment to be there.
func direct(ctx context.Context, socket string) (*director, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", socket)
		if err == nil {
			d := &director{conn: conn, events: make(chan event, 1024)}
			go d.listen()
			return d, nil
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return nil, fmt.Errorf("simulated gate did not come up: %w", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *director) listen() {
	defer close(d.events)
	lines := bufio.NewScanner(d.conn)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			return
		}
		d.events <- e
	}
}

func (d *director) close() error { return d.conn.Close() }

func (d *director) do(c command) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = d.conn.Write(append(text, '\n'))
	return err
}

var (
	errGone = errors.New("the simulated gate is gone")
	errLate = errors.New("did not happen")
)

// until reads events until want says that it saw what it waits for.
func (d *director) until(ctx context.Context, within time.Duration, what string, want func(event) bool) error {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		select {
		case e, ok := <-d.events:
			if !ok {
				return fmt.Errorf("waiting for %s: %w", what, errGone)
			}
			if e.Error != "" {
				return fmt.Errorf("waiting for %s: %s", what, e.Error)
			}
			if e.View != nil {
				d.view = *e.View
			}
			if want(e) {
				return nil
			}
		case <-timeout.C:
			return fmt.Errorf("%w within %s: %s; the lane is %s %s", errLate, within, what, d.view.State, d.view.Decision.Reason)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// state waits until the lane is in one of the states; at once if it is.
func (d *director) state(ctx context.Context, within time.Duration, states ...gate.State) error {
	in := func() bool {
		for _, s := range states {
			if d.view.State == s {
				return true
			}
		}
		return false
	}
	if in() {
		return nil
	}
	return d.until(ctx, within, fmt.Sprint(states), func(e event) bool { return e.View != nil && in() })
}
