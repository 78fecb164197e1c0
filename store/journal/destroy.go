package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"greengate/gate/passage"
)

// DestroyKeys destroys the data keys of all segments whose day is before that
// of a time: their headers are overwritten on the disk, so that nobody can open
// what is sealed in them, the hub neither. The records stay, chained, and go to
// the hub as ever. What was set aside of such a day, or of a day that nobody can
// tell, goes altogether once the segments around it have. It returns how many
// keys were destroyed; one that cannot be does not keep the others.
//
// A segment whose first record had no clock counts as of the day of the segment
// after it. Where the disk puts new bytes elsewhere, as a card does, the old
// header may outlive this on the chip: it holds the key only as sealed to the hub.
func (l *Log) DestroyKeys(before time.Time) (destroyed int, err error) {
	limit := l.dayOf(before)
	l.appendMu.Lock()
	if cur := l.cur; cur != nil && cur.begun && cur.day != undated && cur.day < limit {
		l.retire(false) // nobody has passed here for so long
	}
	l.appendMu.Unlock()
	l.readMu.Lock()
	defer l.readMu.Unlock()
	l.mu.Lock()
	segs, live, closed := slices.Clone(l.segments), l.live, l.closed
	l.mu.Unlock()
	if closed {
		return 0, ErrClosed
	}
	oldest := uint64(1<<64 - 1) // the lowest segment that is kept as it is
	var failed error
	day := limit
	for i := len(segs) - 1; i >= 0; i-- {
		s := segs[i]
		if s.day != undated {
			day = s.day
		}
		if day >= limit || live && i == len(segs)-1 {
			oldest = s.id
			continue
		}
		if s.key.Destroyed() {
			continue
		}
		if err := l.overwriteKey(s.id); errors.Is(err, fs.ErrNotExist) {
			continue // acknowledged meanwhile
		} else if err != nil {
			failed = errors.Join(failed, fmt.Errorf("destroy the key of segment %d: %w", s.id, err))
			continue
		}
		destroyed++
		l.mu.Lock()
		for j := range l.segments {
			if l.segments[j].id == s.id {
				l.segments[j].key = passage.SegmentKey{Segment: s.id}
			}
		}
		l.losses.KeysDestroyed++
		l.mu.Unlock()
	}
	return destroyed, errors.Join(failed, l.removeAside(oldest, limit))
}

// forgetKey destroys the key of a segment that is about to be removed: a name
// that is gone leaves the blocks as they were.
func (l *Log) forgetKey(s segment) {
	if s.key.Destroyed() {
		return
	}
	if err := l.overwriteKey(s.id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("key of a journal segment not destroyed before its removal", "segment", s.id, "error", err)
	}
}

// overwriteKey puts a header without a key over that of a segment, and flushes it.
func (l *Log) overwriteKey(id uint64) (err error) {
	f, err := l.disk.open(segmentName(id))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := encodeHeader(passage.Genesis(l.gate), passage.SegmentKey{Segment: id})
	n, err := f.WriteAt(b, 0)
	if err == nil {
		err = shortWrite(n, len(b))
	}
	if err == nil {
		err = f.sync()
	}
	return err
}

// removeAside removes what was set aside of segments below one, except what is
// known to be of the day limit or a later one.
func (l *Log) removeAside(oldest uint64, limit int64) error {
	names, err := l.disk.list()
	if err != nil {
		return err
	}
	l.mu.Lock()
	oldest = min(oldest, l.lastID)
	l.mu.Unlock()
	removed := 0
	for _, n := range names {
		name, ok := strings.CutSuffix(n, damagedSuffix)
		if !ok {
			continue
		}
		if id, ok := segmentID(name); !ok || id >= oldest {
			continue
		}
		if day, err := l.dayAside(n); err != nil {
			return err
		} else if day >= limit {
			continue
		}
		// Its header goes first, wherever the blocks end up.
		if err := errors.Join(l.wipe(n), l.disk.remove(n)); err != nil {
			return err
		}
		removed++
	}
	if removed > 0 {
		l.mu.Lock()
		l.losses.Files -= removed
		l.mu.Unlock()
		return l.disk.syncDir()
	}
	return nil
}

// dayAside is the day of the first record in a file that was set aside; undated
// where that cannot be told.
func (l *Log) dayAside(name string) (day int64, err error) {
	f, err := l.disk.open(name)
	if err != nil {
		return undated, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	id, _ := segmentID(strings.TrimSuffix(name, damagedSuffix))
	b := make([]byte, headerBytes+maxWrite)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return undated, nil // it goes as well
	}
	if c := recoverSegment(id, b[:n]); !c.at.IsZero() {
		return l.dayOf(c.at), nil
	}
	return undated, nil
}

// wipe overwrites the first page of a file.
func (l *Log) wipe(name string) (err error) {
	f, err := l.disk.open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, headerBytes)
	n, err := f.WriteAt(b, 0)
	if err == nil {
		err = shortWrite(n, len(b))
	}
	return errors.Join(err, f.sync())
}
