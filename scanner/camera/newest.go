package camera

import (
	"context"
	"sync"
)

// newest is a box with room for one picture: whoever puts another in takes the
// old one out. What waits in it is always the last that came, so that no work
// behind it, however slow, sees an older one.
type newest struct {
	// news holds one token while a picture waits.
	news chan struct{}

	mu      sync.Mutex
	waiting *shot
}

func newNewest() *newest { return &newest{news: make(chan struct{}, 1)} }

// put lets s wait, and returns the picture that has waited in vain, or nil.
func (n *newest) put(s *shot) (overtaken *shot) {
	n.mu.Lock()
	overtaken, n.waiting = n.waiting, s
	n.mu.Unlock()
	select {
	case n.news <- struct{}{}:
	default:
	}
	return overtaken
}

// take hands out the picture that waits, or nil: it may have been taken by the
// token of the one that it replaced.
func (n *newest) take() *shot {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.waiting
	n.waiting = nil
	return s
}

// each calls f with one picture after the other, as they come, until ctx is
// done.
func (n *newest) each(ctx context.Context, f func(*shot)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.news:
			if s := n.take(); s != nil && ctx.Err() == nil {
				f(s)
			}
		}
	}
}

// tray keeps the memory of pictures that are done with: a camera's are all of
// one size, and thirty a second.
type tray struct {
	mu   sync.Mutex
	free []*shot
}

// get returns a picture to fill.
func (t *tray) get() *shot {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.free); n > 0 {
		s := t.free[n-1]
		t.free = t.free[:n-1]
		return s
	}
	return new(shot)
}

// put takes a picture back; nil is none.
func (t *tray) put(s *shot) {
	if s == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = append(t.free, s)
}
