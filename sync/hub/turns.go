package hub

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"greengate/gate/passage"
)

const (
	// maxIngest is how many batches are taken in at a time; a batch may be 1 MiB.
	// One gate may have maxIngestEach of these turns: as many as it sends at once
	// while it has a backlog.
	maxIngest     = 64
	maxIngestEach = 4
	// A body has bodyGrace, and a second for each bodyRate bytes of it that came: a
	// batch of 1 MiB at the slowest takes 4 min 26 s, within the server's WriteTimeout,
	// and one that hangs ends after 10 s.
	bodyGrace = 10 * time.Second
	bodyRate  = 4 << 10 // bytes a second
	// hungAfter is how long an upload is silent before another one of its gate
	// may have its turn.
	hungAfter = 2 * time.Second
)

// errSlow: the body did not come fast enough, or another upload has its turn.
var errSlow = errors.New("the body does not come")

// turns bounds the batches that are taken in at a time, in all and from one
// gate. A gate never has more than maxIngestEach on their way, so one that comes
// with another has given one up: the one that is silent longest loses its turn.
type turns struct {
	mu    sync.Mutex
	total int
	from  map[string][]*turn // by gate
}

// turn is one upload.
type turn struct {
	of      *turns
	gate    string
	cut     func() error // ends its reading
	reading bool
	lost    bool      // another upload has it
	heard   time.Time // when it last brought something
}

// take gives a gate's upload a turn; nil when there is none.
func (t *turns) take(gate string, cut func() error) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if len(t.from[gate]) >= maxIngestEach {
		var hung *turn
		for _, u := range t.from[gate] {
			if u.reading && now.Sub(u.heard) >= hungAfter && (hung == nil || u.heard.Before(hung.heard)) {
				hung = u
			}
		}
		// One whose connection takes no deadline keeps its turn.
		if hung == nil || hung.cut() != nil {
			return nil
		}
		hung.lost = true
		t.drop(hung)
	}
	if t.total >= maxIngest {
		return nil
	}
	u := &turn{of: t, gate: gate, cut: cut, reading: true, heard: now}
	t.total++
	t.from[gate] = append(t.from[gate], u)
	return u
}

// drop takes an upload out of the count; mu is held.
func (t *turns) drop(u *turn) {
	for i, other := range t.from[u.gate] {
		if other != u {
			continue
		}
		t.total--
		if t.from[u.gate] = append(t.from[u.gate][:i:i], t.from[u.gate][i+1:]...); len(t.from[u.gate]) == 0 {
			delete(t.from, u.gate)
		}
		return
	}
}

// giveBack ends a turn, also one that was lost.
func (u *turn) giveBack() {
	u.of.mu.Lock()
	defer u.of.mu.Unlock()
	u.reading = false
	u.of.drop(u)
}

// hear notes that something came; false when the turn is lost.
func (u *turn) hear() bool {
	u.of.mu.Lock()
	defer u.of.mu.Unlock()
	u.heard = time.Now()
	return !u.lost
}

// read ends the reading: from here on the turn cannot be lost. False when it was.
func (u *turn) read() bool {
	u.of.mu.Lock()
	defer u.of.mu.Unlock()
	u.reading = false
	return !u.lost
}

// deadline is something whose reads can be bounded in time.
type deadline interface {
	SetReadDeadline(time.Time) error
}

// body reads a batch as it travels. The error wraps errSlow when it does not
// come fast enough.
func (u *turn) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	d := http.NewResponseController(w)
	data, err := u.readAll(http.MaxBytesReader(w, r.Body, passage.MaxBatchBytes), d, r.ContentLength)
	if !u.read() {
		return nil, errSlow
	}
	if err != nil {
		return nil, err
	}
	// The server goes on listening for the client's end, and would take this
	// deadline for it while the batch is stored.
	return data, d.SetReadDeadline(time.Time{})
}

// readAll reads to the end, with a deadline that moves with what came.
func (u *turn) readAll(from io.Reader, d deadline, announced int64) ([]byte, error) {
	begun := time.Now()
	data := make([]byte, 0, min(max(announced, 511)+1, 64<<10))
	for {
		until := begun.Add(bodyGrace + time.Duration(len(data))*time.Second/bodyRate)
		if err := u.wait(d, until); err != nil {
			return nil, err
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := from.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil && !time.Now().Before(until):
			return nil, errors.Join(errSlow, err)
		case err != nil:
			return nil, err
		}
		if n > 0 && !u.hear() {
			return nil, errSlow
		}
	}
}

// wait sets the deadline of the next read, unless the turn is lost: that has
// set one of its own, which must stand.
func (u *turn) wait(d deadline, until time.Time) error {
	u.of.mu.Lock()
	defer u.of.mu.Unlock()
	if u.lost {
		return errSlow
	}
	return d.SetReadDeadline(until)
}
