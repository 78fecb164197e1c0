package journal

import (
	"context"
	"crypto/hpke"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"

	"greengate/gate"
	"greengate/gate/passage"
)

// Sizes in bytes.
const (
	// DefaultSegmentBytes is the size of a segment: about 13,000 passages.
	DefaultSegmentBytes = 4 << 20
	// DefaultCapBytes holds some 800,000 passages, more than a month of 20,000 a day.
	DefaultCapBytes = 256 << 20
	// MinSegmentBytes is the smallest segment worth its header.
	MinSegmentBytes = 16 << 10
	// MaxSegmentBytes bounds what opening reads at once.
	MaxSegmentBytes = 64 << 20
	// zeroStep is how much of a new segment is written between two flushes: an
	// append beside it waits for so much at most, 13 ms on a card of 10 MB/s.
	zeroStep = 128 << 10
	// readStep is how much of a segment is read at once.
	readStep = 1 << 20
	// readBytes bounds the entries of one Read, so that a batch with its keys fits passage.MaxBatchBytes.
	readBytes = passage.MaxBatchBytes - 128<<10
	// entryOverhead and keyOverhead are what an entry and a key take in a batch beyond their bytes.
	entryOverhead, keyOverhead = 24, 128
	// MaxTail is the most records that Tail returns.
	MaxTail = 1000
)

// Options of a log.
type Options struct {
	// Gate is the name of this gate; see passage.CheckGate.
	Gate string
	// Hub is whom records are sealed to.
	Hub hpke.PublicKey
	// SegmentBytes is the size of a segment, DefaultSegmentBytes if 0.
	SegmentBytes int64
	// CapBytes is the most that all segments may take, DefaultCapBytes if 0; at least one segment.
	CapBytes int64
	// Rand makes the data keys.
	Rand io.Reader
	// Log hears of trouble that is handled here; nil for none.
	Log *slog.Logger

	disk disk // for tests; the directory itself if nil
}

// State of a log.
type State struct {
	// First is the oldest sequence held, and Next the one to be given. They are equal when none is held.
	First, Next uint64
	// Acknowledged is the last sequence that the hub has, 0 for none.
	Acknowledged uint64
	// Bytes are taken of Cap.
	Bytes, Cap int64
}

// Room says how much room there is.
type Room uint8

const (
	// RoomNone is the zero value: Append returns ErrFull.
	RoomNone Room = iota
	// RoomLow: 90 % of the cap are taken, or the disk has no room for another segment.
	RoomLow
	// RoomEnough is everything else.
	RoomEnough
)

// String returns the word that pages and metrics use.
func (r Room) String() string { return [...]string{"none", "low", "enough"}[min(r, RoomEnough)] }

// segment is a segment with records, or the one being written.
type segment struct {
	id    uint64
	key   passage.SegmentKey
	first uint64 // sequence of the first record
	last  uint64 // and the last; first-1 while there is none
	prev  [32]byte
	size  int64 // of the file
}

// active is a segment that can be appended to.
type active struct {
	f      file
	sealer *passage.Sealer
	key    passage.SegmentKey
	off    int64 // of the next frame
	size   int64
	begun  bool
}

// spare is a segment being prepared.
type spare struct {
	id   uint64
	size int64
	done chan struct{} // closed when seg or err is set
	seg  *active
	err  error
}

// Log is the journal of one gate. It implements gate.Journal.
type Log struct {
	disk   disk
	lock   io.Closer
	gate   string
	hub    hpke.PublicKey
	rand   io.Reader
	log    *slog.Logger
	size   int64
	cap    int64
	cursor *cursorFile // ackMu

	// appendMu is held while a record goes to the disk. It guards cur and spare.
	appendMu sync.Mutex
	cur      *active
	spare    *spare

	ackMu  sync.Mutex // held while the cursor is written
	readMu sync.Mutex // guards place
	place  place

	// mu is held for moments, never during disk work.
	mu       sync.Mutex
	closed   bool
	segments []segment // rising; the last is cur's if live
	live     bool
	used     int64 // bytes of cur's file that hold frames
	reserved int64 // size of the spare's file
	diskFull bool  // the disk had no room for the segment tried last
	next     uint64
	acked    uint64
	chain    [32]byte
	lastID   uint64
	appended chan struct{} // closed and replaced after each append

	preparing sync.WaitGroup
}

// place is where a Read ended: the next usually goes on there.
type place struct {
	segment, seq uint64
	off          int64
	chain        [32]byte
}

// Open opens the journal in dir, which must exist, and makes ready what a
// crash has left. Errors wrap ErrLocked, ErrGate, ErrDamaged, or are the disk's.
func Open(dir string, o Options) (*Log, error) {
	l, err := load(dir, o)
	if err != nil {
		return nil, err
	}
	// The first segment is zeroed while the rest of the program starts. Without
	// room for it the first Append says so.
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.prepare(); err != nil {
		l.log.Warn("journal has no room for a segment", "error", err)
	}
	return l, nil
}

// load is Open without its goroutine.
func load(dir string, o Options) (*Log, error) {
	if err := passage.CheckGate(o.Gate); err != nil {
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	if o.Hub == nil || o.Rand == nil {
		return nil, fmt.Errorf("journal %s: no hub key or no source of randomness", dir)
	}
	l := &Log{disk: o.disk, gate: o.Gate, hub: o.Hub, rand: o.Rand, log: o.Log, size: o.SegmentBytes, cap: o.CapBytes,
		appended: make(chan struct{})}
	if l.disk == nil {
		l.disk = osDisk(dir)
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.size == 0 {
		l.size = DefaultSegmentBytes
	}
	if l.cap == 0 {
		l.cap = DefaultCapBytes
	}
	if l.size < MinSegmentBytes || l.size > MaxSegmentBytes || l.cap < l.size {
		return nil, fmt.Errorf("journal %s: segments of %d bytes under a cap of %d", dir, l.size, l.cap)
	}
	lock, err := l.disk.lock("lock")
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	l.lock = lock
	if err := l.restore(); err != nil {
		if l.cursor != nil {
			err = errors.Join(err, l.cursor.close())
		}
		return nil, errors.Join(fmt.Errorf("journal %s: %w", dir, err), lock.Close())
	}
	return l, nil
}

// restore reads the directory.
func (l *Log) restore() error {
	genesis := passage.Genesis(l.gate)
	names, err := l.disk.list()
	if err != nil {
		return err
	}
	var ids []uint64
	for _, name := range names {
		if strings.HasSuffix(name, freshSuffix) {
			if err := l.disk.remove(name); err != nil {
				return err
			}
		}
		if id, ok := segmentID(name); ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if len(ids) > 0 {
		l.lastID = ids[len(ids)-1]
	}

	cursor, found, err := openCursor(l.disk, genesis)
	if err != nil {
		return err
	}
	l.cursor = cursor
	now := cursor.now
	if now.gate != genesis {
		return fmt.Errorf("%w: not of %s", ErrGate, l.gate)
	}
	l.lastID = max(l.lastID, now.segment)

	// The newest segments that never got a record go; the newest that did ends
	// the log.
	segs := make([]segment, 0, len(ids))
	for i := len(ids) - 1; i >= 0; i-- {
		s, c, err := l.loadSegment(ids[i], len(segs) == 0)
		if err != nil {
			return err
		}
		if len(segs) > 0 && !c.begun {
			if s, c, err = l.loadSegment(ids[i], true); err != nil {
				return err
			}
		}
		if len(segs) > 0 {
			after := segs[len(segs)-1]
			switch {
			case !c.begun && !c.beyond, c.begun && s.first == after.first:
				// What a failed write left, when it could not be taken away then:
				// the one record that it may hold was given to the segment after it.
				if err := l.disk.remove(segmentName(s.id)); err != nil {
					return err
				}
				continue
			case !c.headed || !c.begun || s.first > after.first:
				return fmt.Errorf("%w: segment %d does not end where segment %d begins, at record %d", ErrDamaged, s.id, after.id, after.first)
			}
			// Whether it holds all of them is seen when they are read: opening
			// does not read a backlog of weeks.
			s.last = after.first - 1
			segs = append(segs, s)
			continue
		}
		if c.beyond || (c.count > 0 && !c.headed) {
			return fmt.Errorf("%w: segment %d at byte %d", ErrDamaged, s.id, c.end)
		}
		if c.count == 0 {
			if err := l.disk.remove(segmentName(s.id)); err != nil {
				return err
			}
			continue
		}
		s.last = s.first + c.count - 1
		l.next, l.chain = s.last+1, c.chain
		segs = append(segs, s)
	}
	slices.Reverse(segs)

	switch {
	case len(segs) == 0 && !found && cursor.f != nil:
		return fmt.Errorf("%w: no slot of the cursor is readable and no record is left", ErrDamaged)
	case len(segs) == 0:
		if now.head != now.acknowledged {
			return fmt.Errorf("%w: records %d to %d are missing", ErrDamaged, now.acknowledged+1, now.head)
		}
		l.next, l.chain = now.head+1, now.chain
	case !found:
		l.log.Warn("journal cursor was lost, the hub will be sent what it may have", "from", segs[0].first)
		now.acknowledged = segs[0].first - 1
	}
	if l.next-1 < now.head {
		return fmt.Errorf("%w: records %d to %d are missing", ErrDamaged, l.next, now.head)
	}
	if len(segs) > 0 && segs[0].first > now.acknowledged+1 {
		return fmt.Errorf("%w: records %d to %d are missing", ErrDamaged, now.acknowledged+1, segs[0].first-1)
	}
	l.acked, l.segments = now.acknowledged, segs
	// Writing at once shows a disk that cannot be written now, not at the first passage.
	if err := l.cursor.write(l.cursorNow(genesis)); err != nil {
		return err
	}
	l.drop()
	return nil
}

// loadSegment reads a segment; whole, or only its beginning. One that is read
// whole and holds records is cut behind the last, which takes away a torn tail
// and gives back the zeros, and its last record is made durable.
func (l *Log) loadSegment(id uint64, whole bool) (s segment, c contents, err error) {
	s.id = id
	f, err := l.disk.open(segmentName(id))
	if err != nil {
		return s, c, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s.size, err = f.size(); err != nil {
		return s, c, err
	}
	if s.size > MaxSegmentBytes {
		return s, c, fmt.Errorf("%w: segment %d of %d bytes", ErrDamaged, id, s.size)
	}
	n := min(s.size, headerBytes+maxWrite)
	if whole {
		n = s.size
	}
	data := make([]byte, n)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return s, c, fmt.Errorf("read segment %d: %w", id, err)
	}
	c = recoverSegment(id, data)
	if c.headed && c.gate != passage.Genesis(l.gate) {
		return s, c, fmt.Errorf("segment %d: %w: not of %s", id, ErrGate, l.gate)
	}
	s.key, s.first, s.prev = c.key, c.first, c.prev
	if whole && c.count > 0 && !c.beyond {
		// The last record may never have been flushed, or in vain: after a failed
		// flush the kernel takes its pages for clean. So it is written once more.
		last := data[c.last:c.end]
		n, err := f.WriteAt(last, c.last)
		if err == nil {
			err = shortWrite(n, len(last))
		}
		if err == nil && c.end < s.size {
			err = f.truncate(c.end)
		}
		if err == nil {
			err = f.sync()
		}
		if err != nil {
			return s, c, fmt.Errorf("end segment %d: %w", id, err)
		}
		s.size = c.end
	}
	return s, c, nil
}

// cursorNow is the cursor as it should be on the disk. The caller holds mu or is alone.
func (l *Log) cursorNow(genesis [32]byte) cursor {
	return cursor{gate: genesis, acknowledged: l.acked, head: l.next - 1, chain: l.chain, segment: l.lastID}
}

// diskError marks the errors of a full disk with ErrFull.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Append writes a record and returns its sequence once it is durable. It is
// gate.Journal's. After an error the record does not count: its sequence goes
// to the next one. Only a crash right after a failed flush may bring it back,
// as it may a record whose Append had not returned.
//
// Errors wrap ErrFull, ErrClosed, passage.ErrInvalid, or are the disk's.
func (l *Log) Append(r gate.Record) (uint64, error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.mu.Lock()
	seq, chain, closed := l.next, l.chain, l.closed
	l.mu.Unlock()
	if closed {
		return 0, ErrClosed
	}
	if l.cur != nil && l.cur.size-l.cur.off < maxWrite {
		l.retire(false)
	}
	if l.cur == nil {
		if err := l.rotate(); err != nil {
			return 0, fmt.Errorf("record %d: %w", seq, err)
		}
	}
	cur := l.cur
	e, err := cur.sealer.Entry(seq, chain, r)
	if err != nil {
		return 0, err
	}
	var b []byte
	if !cur.begun {
		b = appendBegin(b, e.Segment, cur.off, seq, chain)
	}
	b = appendRecord(b, e.Segment, cur.off+int64(len(b)), e)
	n, err := cur.f.WriteAt(b, cur.off)
	if err == nil {
		err = shortWrite(n, len(b))
	}
	if err == nil {
		err = cur.f.sync()
	}
	if err != nil {
		// What lies there now is unknown, and the data key has sealed this
		// sequence once: the next try is in another segment, under another key.
		l.retire(true)
		return 0, fmt.Errorf("record %d: %w", seq, diskError(err))
	}
	cur.off += int64(len(b))

	l.mu.Lock()
	if !cur.begun {
		l.segments = append(l.segments, segment{id: e.Segment, key: cur.key, first: seq, prev: chain, size: cur.size})
		l.live = true
	}
	l.segments[len(l.segments)-1].last = seq
	l.used, l.next, l.chain = cur.off, seq+1, e.Chain
	close(l.appended)
	l.appended = make(chan struct{})
	l.mu.Unlock()
	cur.begun = true

	if l.spare == nil && cur.off > cur.size/2 {
		if err := l.prepare(); err != nil && !errors.Is(err, ErrFull) {
			l.log.Warn("journal could not begin its next segment", "error", err)
		}
	}
	return seq, nil
}

// retire ends the current segment. A spoiled one is cut behind its last whole
// record, or removed when there is none; when the disk refuses that too, the
// next segment's begin frame says where this one ends. The caller holds
// appendMu.
func (l *Log) retire(spoiled bool) {
	cur := l.cur
	l.cur = nil
	size := cur.size
	if spoiled && cur.begun {
		if err := cur.f.truncate(cur.off); err != nil {
			l.log.Warn("journal segment not cut", "segment", cur.key.Segment, "error", err)
		} else {
			size = cur.off
		}
	}
	if err := cur.f.Close(); err != nil {
		l.log.Warn("journal segment not closed", "segment", cur.key.Segment, "error", err)
	}
	l.mu.Lock()
	if cur.begun {
		l.segments[len(l.segments)-1].size = size
	}
	l.live, l.used = false, 0
	l.mu.Unlock()
	if spoiled && !cur.begun {
		if err := l.disk.remove(segmentName(cur.key.Segment)); err != nil {
			l.log.Warn("journal segment not removed", "segment", cur.key.Segment, "error", err)
		}
	}
	l.drop()
}

// rotate makes the spare segment the current one, and waits for it if it must.
// The caller holds appendMu.
func (l *Log) rotate() error {
	if s := l.spare; s != nil {
		<-s.done
		if s.err != nil {
			// An attempt from before; there may be room by now.
			l.forget()
		}
	}
	if l.spare == nil {
		if err := l.prepare(); err != nil {
			return err
		}
	}
	s := l.spare
	<-s.done
	l.forget()
	if s.err != nil {
		return s.err
	}
	l.cur = s.seg
	l.mu.Lock()
	l.used = s.seg.off
	l.mu.Unlock()
	return nil
}

// forget gives the spare up, and its reservation.
func (l *Log) forget() {
	l.spare = nil
	l.mu.Lock()
	l.reserved = 0
	l.mu.Unlock()
}

// prepare begins to make the spare segment, if the cap has room for one. The
// caller holds appendMu.
func (l *Log) prepare() error {
	l.mu.Lock()
	size := min(l.size, l.cap-l.files())
	if size < MinSegmentBytes {
		defer l.mu.Unlock()
		return fmt.Errorf("%w: %d bytes of %d", ErrFull, l.files(), l.cap)
	}
	l.lastID++
	s := &spare{id: l.lastID, size: size, done: make(chan struct{})}
	l.reserved = size
	l.mu.Unlock()
	l.spare = s
	l.preparing.Go(func() {
		defer close(s.done)
		if s.seg, s.err = l.fill(s.id, size); s.err != nil {
			s.err = diskError(s.err)
			l.log.Warn("journal segment not prepared", "segment", s.id, "error", s.err)
		}
		l.mu.Lock()
		l.diskFull = errors.Is(s.err, ErrFull)
		l.mu.Unlock()
	})
	return nil
}

// files is the size of all segment files. The caller holds mu.
func (l *Log) files() int64 {
	n := l.reserved
	for _, s := range l.segments {
		n += s.size
	}
	return n
}

// fill makes a segment: zeros, a header with a new data key, and its name.
func (l *Log) fill(id uint64, size int64) (*active, error) {
	sealer, key, err := passage.NewSegmentSealer(l.gate, id, l.hub, l.rand)
	if err != nil {
		return nil, err
	}
	name := segmentName(id) + freshSuffix
	f, err := l.disk.create(name)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*active, error) {
		err = errors.Join(fmt.Errorf("segment %d: %w", id, err), f.Close())
		if e := l.disk.remove(name); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
		return nil, err
	}
	// A full disk says so here, before megabytes of zeros were written in vain.
	if err := f.reserve(size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fail(err)
	}
	header := encodeHeader(passage.Genesis(l.gate), key)
	zeros := make([]byte, zeroStep)
	for off := int64(0); off < size; {
		// Zeros are written, not just reserved: writing into reserved blocks
		// later changes the file's map of blocks, which is a second flush.
		b := zeros[:min(zeroStep, size-off)]
		if off == 0 {
			b = slices.Concat(header, b[len(header):])
		}
		n, err := f.WriteAt(b, off)
		if err == nil {
			err = shortWrite(n, len(b))
		}
		if err == nil {
			err = f.sync()
		}
		if err != nil {
			return fail(err)
		}
		off += int64(len(b))
	}
	if err := l.disk.rename(name, segmentName(id)); err != nil {
		return fail(err)
	}
	if err := l.disk.syncDir(); err != nil {
		name = segmentName(id)
		return fail(err)
	}
	return &active{f: f, sealer: sealer, key: key, off: headerBytes, size: size}, nil
}

// drop removes the segments whose records the hub has, the current one excepted.
func (l *Log) drop() {
	l.mu.Lock()
	n := 0
	for n < len(l.segments) && l.segments[n].last <= l.acked && !(l.live && n == len(l.segments)-1) {
		n++
	}
	gone := slices.Clone(l.segments[:n])
	l.segments = slices.Clone(l.segments[n:])
	l.mu.Unlock()
	for _, s := range gone {
		if err := l.disk.remove(segmentName(s.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			// It is found again, and dropped again, at the next start.
			l.log.Warn("acknowledged journal segment not removed", "segment", s.id, "error", err)
		}
	}
}

// Acknowledge says that the hub has everything up to seq. That is durable when
// it returns; segments of which nothing is left to send are deleted. A
// sequence at or below the last acknowledged one changes nothing; one that was
// never given is an error that wraps ErrGone.
func (l *Log) Acknowledge(seq uint64) error {
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	if seq <= l.acked {
		l.mu.Unlock()
		return nil
	}
	if seq >= l.next {
		defer l.mu.Unlock()
		return fmt.Errorf("acknowledge %d of %d: %w", seq, l.next-1, ErrGone)
	}
	c := l.cursorNow(l.cursor.now.gate)
	c.acknowledged = seq
	l.mu.Unlock()
	if err := l.cursor.write(c); err != nil {
		return fmt.Errorf("acknowledge %d: %w", seq, diskError(err))
	}
	l.mu.Lock()
	l.acked = seq
	l.mu.Unlock()
	l.drop()
	return nil
}

// State returns where the log stands. It does not wait for the disk.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{First: l.next, Next: l.next, Acknowledged: l.acked, Bytes: l.taken(), Cap: l.cap}
	if len(l.segments) > 0 {
		s.First = l.segments[0].first
	}
	return s
}

// taken is the bytes of ended segments and the used ones of the current. The caller holds mu.
func (l *Log) taken() int64 {
	n := l.used
	for i, s := range l.segments {
		if !l.live || i < len(l.segments)-1 {
			n += s.size
		}
	}
	return n
}

// Room returns how much room the cap and, as far as it was tried, the disk
// leave. It does not wait for the disk.
func (l *Log) Room() Room {
	l.mu.Lock()
	defer l.mu.Unlock()
	var free int64
	if !l.diskFull {
		free = l.reserved
		if left := l.cap - l.files(); left >= MinSegmentBytes {
			free += left
		}
	}
	if l.live {
		free += l.segments[len(l.segments)-1].size - l.used
	}
	switch {
	case free < maxWrite:
		return RoomNone
	case l.diskFull || l.taken() >= l.cap/10*9:
		return RoomLow
	}
	return RoomEnough
}

// Wait returns nil once there is a record behind after, at once if there is
// one already; else the context's error or ErrClosed.
func (l *Log) Wait(ctx context.Context, after uint64) error {
	for {
		l.mu.Lock()
		next, closed, appended := l.next, l.closed, l.appended
		l.mu.Unlock()
		if closed {
			return ErrClosed
		}
		if next > 1 && next-1 > after {
			return nil
		}
		select {
		case <-appended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Read returns up to most records behind after, the data keys of the segments
// they lie in, and the head of the chain before the first of them: what a
// passage.Batch takes, within its bounds. Without records behind after it
// returns none. Errors wrap ErrGone, ErrDamaged, ErrClosed, or are the disk's.
func (l *Log) Read(after uint64, most int) (entries []passage.Entry, keys []passage.SegmentKey, prev [32]byte, err error) {
	l.readMu.Lock()
	defer l.readMu.Unlock()
	l.mu.Lock()
	segs, next, chain, closed := slices.Clone(l.segments), l.next, l.chain, l.closed
	l.mu.Unlock()
	if closed {
		return nil, nil, prev, ErrClosed
	}
	if after >= next-1 || most <= 0 {
		if after > next-1 {
			return nil, nil, prev, fmt.Errorf("records behind %d of %d: %w", after, next-1, ErrGone)
		}
		return nil, nil, chain, nil
	}
	most = min(most, passage.MaxBatchRecords)
	want := after + 1
	i := slices.IndexFunc(segs, func(s segment) bool { return s.first <= want && want <= s.last })
	if i < 0 {
		return nil, nil, prev, fmt.Errorf("record %d: %w", want, ErrGone)
	}
	at := l.place
	if at.seq != want {
		at = start(segs[i]) // not where the last Read ended
	}
	bytes := 0
	for ; i < len(segs); i++ {
		if at.segment != segs[i].id {
			if at.chain != segs[i].prev {
				return nil, nil, prev, fmt.Errorf("%w: the chain at record %d is not the one that segment %d began with", ErrDamaged, at.seq-1, segs[i].id)
			}
			at = start(segs[i])
		}
		done := false
		at, err = l.walk(segs[i], at, func(e passage.Entry, before [32]byte) bool {
			if e.Seq < want {
				return true
			}
			cost := len(e.Clear) + len(e.Sealed) + entryOverhead
			if len(keys) == 0 || keys[len(keys)-1].Segment != e.Segment {
				cost += keyOverhead
			}
			if done = len(entries) == most || (len(entries) > 0 && bytes+cost > readBytes); done {
				return false
			}
			bytes += cost
			if len(entries) == 0 {
				prev = before
			}
			if len(keys) == 0 || keys[len(keys)-1].Segment != e.Segment {
				keys = append(keys, segs[i].key)
			}
			entries = append(entries, e)
			return true
		})
		if err != nil {
			return nil, nil, [32]byte{}, err
		}
		if done {
			break
		}
	}
	l.place = at
	return entries, keys, prev, nil
}

// start is the place of a segment's first record.
func start(s segment) place {
	return place{segment: s.id, seq: s.first, off: headerBytes + frameHeader + beginBody, chain: s.prev}
}

// walk calls fn with the records of s from at to its last, each with the chain
// before it, until fn returns false, and returns the place of the first record
// that fn did not take. An entry's bytes are fn's to keep.
func (l *Log) walk(s segment, at place, fn func(e passage.Entry, before [32]byte) bool) (_ place, err error) {
	if at.seq > s.last {
		return at, nil
	}
	f, err := l.disk.open(segmentName(s.id))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrGone, err) // acknowledged meanwhile
	}
	if err != nil {
		return at, fmt.Errorf("segment %d: %w", s.id, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for at.seq <= s.last {
		buf := make([]byte, max(min(readStep, s.size-at.off), 0))
		n, err := f.ReadAt(buf, at.off)
		if err != nil && !errors.Is(err, io.EOF) {
			return at, fmt.Errorf("segment %d at byte %d: %w", s.id, at.off, err)
		}
		rest, took := buf[:n], false
		for at.seq <= s.last {
			body, short := frameAt(s.id, at.off, rest)
			if short && took {
				break // the rest of this frame is in the next step
			}
			e, ok := decodeRecord(s.id, body)
			if !ok || e.Seq != at.seq {
				return at, fmt.Errorf("%w: record %d in segment %d at byte %d", ErrDamaged, at.seq, s.id, at.off)
			}
			before := at.chain
			e.Chain = passage.Next(before, e.Clear, e.Sealed)
			if !fn(e, before) {
				return at, nil
			}
			size := frameHeader + len(body)
			at.seq, at.off, at.chain, rest, took = at.seq+1, at.off+int64(size), e.Chain, rest[size:], true
		}
	}
	return at, nil
}

// Tail returns the clear parts of the last n records held, oldest first, and
// the sequence of the first of them. n is at most MaxTail.
func (l *Log) Tail(n int) (first uint64, records []gate.Record, err error) {
	l.mu.Lock()
	segs, next, closed := slices.Clone(l.segments), l.next, l.closed
	l.mu.Unlock()
	if closed {
		return 0, nil, ErrClosed
	}
	n = max(min(n, MaxTail), 0)
	first = next - min(next-1, uint64(n))
	if len(segs) == 0 {
		return next, nil, nil
	}
	first = max(first, segs[0].first)
	for _, s := range segs {
		if s.last < first {
			continue
		}
		var bad error
		_, err := l.walk(s, start(s), func(e passage.Entry, _ [32]byte) bool {
			if e.Seq < first {
				return true
			}
			var r gate.Record
			if _, r, bad = passage.DecodeClear(e.Clear); bad != nil {
				return false
			}
			records = append(records, r)
			return true
		})
		if err = errors.Join(err, bad); err != nil {
			return 0, nil, err
		}
	}
	return first, records, nil
}

// Close waits for what is being written and closes the log. The data key of
// the current segment is gone with it. Close may be called twice.
func (l *Log) Close() error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.appended)
	l.mu.Unlock()
	l.preparing.Wait()
	var err error
	if s := l.spare; s != nil && s.seg != nil {
		// Nobody can append to it without its key.
		err = errors.Join(err, s.seg.f.Close(), l.disk.remove(segmentName(s.id)))
	}
	if l.cur != nil {
		err = errors.Join(err, l.cur.f.Close())
	}
	return errors.Join(err, l.cursor.close(), l.lock.Close())
}

var _ gate.Journal = (*Log)(nil)
