package trust

import (
	"slices"
	"time"
)

const (
	// maxPartials is how many bytes of files that were cut are kept in memory,
	// and maxPartialFiles of how many files.
	maxPartials     = 8 << 20
	maxPartialFiles = 64
	// partialLife is how long they are: a day later their list is another.
	partialLife = 24 * time.Hour
)

// partial is the beginning of a file, which somebody sent: it proves nothing.
type partial struct {
	data []byte
	// etag is what the server calls this state of the file, empty for nothing.
	etag string
	// total is the length of the whole file, negative where it is not known.
	total int64
}

func (p *partial) forget() { *p = partial{total: -1} }

// partials keeps the beginnings of files that were cut, for a later Fetch. The
// least recent one goes first; of a file that is larger than all there is room
// for, what there is room for is kept.
type partials struct {
	kept []kept // least recent first
}

type kept struct {
	path string
	at   time.Time
	partial
}

// take returns what is kept of a file, and forgets it: whoever took it gives it
// back if the file was cut once more.
func (p *partials) take(path string, limit int64, now time.Time) partial {
	taken := partial{total: -1}
	p.kept = slices.DeleteFunc(p.kept, func(k kept) bool {
		if k.path == path && int64(len(k.data)) <= limit && k.total <= limit {
			taken = k.partial
		}
		return k.path == path || now.Sub(k.at) > partialLife
	})
	return taken
}

// keep puts a partial by.
func (p *partials) keep(path string, part partial, now time.Time) {
	if len(part.data) == 0 {
		return
	}
	// What was read into has room to spare, which would not be counted.
	part.data = slices.Clone(part.data[:min(len(part.data), maxPartials)])
	p.kept = append(p.kept, kept{path, now, part})
	size := 0
	for i := len(p.kept) - 1; i >= 0; i-- {
		if size += len(p.kept[i].data); size > maxPartials || len(p.kept)-i > maxPartialFiles {
			p.kept = slices.Delete(p.kept, 0, i+1)
			break
		}
	}
}
