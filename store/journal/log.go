package journal

import (
	"cmp"
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
	"time"

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
	// DropOldest gives the oldest records up where the cap or the disk leaves no
	// room, in the place of ErrFull.
	DropOldest bool
	// Location is where the gate's day begins: segments never hold records of two
	// days, so that keys are destroyed by the day. China's time (UTC+8) if nil.
	Location *time.Location
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
	// Losses since Open, and those from before of which the hub does not know yet.
	Losses Losses
}

// Losses are records that are no more, or no more as they were.
type Losses struct {
	// Dropped records made room for others; Damaged ones could not be read.
	Dropped, Damaged uint64
	// Aside records were refused by the hub, and are told to it as tombstones.
	Aside uint64
	// Files that could not be read and lie aside.
	Files int
	// KeysDestroyed counts segments that nobody can open any more.
	KeysDestroyed int
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
	day   int64 // of its first record, since 1970; undated where that is not known
}

// undated is the day of a segment whose first record had no clock.
const undated = -1 << 62

// active is a segment that can be appended to.
type active struct {
	f      file
	sealer *passage.Sealer
	key    passage.SegmentKey
	off    int64 // of the next frame
	size   int64
	begun  bool
	day    int64
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
	drops  bool // the oldest, where there is no room
	where  *time.Location
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
	gaps     []gap    // as the cursor has them
	graves   []uint64 // sequences of which Read gives a tombstone
	losses   Losses
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
		drops: o.DropOldest, where: o.Location, appended: make(chan struct{})}
	if l.where == nil {
		l.where = time.FixedZone("UTC+8", 8*3600)
	}
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
		if id, ok := segmentID(strings.TrimSuffix(name, damagedSuffix)); ok {
			l.lastID = max(l.lastID, id)
		}
	}
	slices.Sort(ids)

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
	l.gaps, l.graves = now.gaps, now.graves

	segs, ended, highest, err := l.loadSegments(ids, now.head)
	if err != nil {
		return err
	}
	switch {
	case len(segs) == 0 && !found && cursor.f != nil:
		if l.lastID == 0 {
			return fmt.Errorf("%w: no slot of the cursor is readable and nothing else is left that tells of a record\nhint: enrol this device under a new name, and keep this folder", ErrDamaged)
		}
		// The names of the segments are left. No record was ever in another, so that
		// none has a higher sequence than so many of them can hold.
		highest = max(highest, l.lastID*uint64(max(l.size, DefaultSegmentBytes)/minRecord))
		l.log.Error("nothing of the journal can be read: it begins anew behind every sequence that was given", "next", highest+1)
	case len(segs) > 0 && !found:
		l.log.Warn("journal cursor was lost, the hub will be sent what it may have", "from", segs[0].first)
		now.acknowledged = segs[0].first - 1
	}
	l.acked, l.segments = now.acknowledged, segs
	// What is missing between what is there was damaged, unless the cursor says
	// that it was dropped.
	next := now.acknowledged + 1
	for _, s := range segs {
		if s.first > next {
			l.lose(passage.Skip{First: next, Last: s.first - 1, Why: passage.Damaged})
		}
		next = max(next, s.last+1)
	}
	l.next, l.chain = next, now.chain
	if len(segs) > 0 && segs[len(segs)-1].last == next-1 {
		l.chain = ended
	}
	// No sequence is given twice: neither one that the cursor knows of nor one
	// whose record lies behind the damage.
	if top := max(highest, now.head); top >= next {
		l.lose(passage.Skip{First: next, Last: top, Why: passage.Damaged})
		l.next = top + 1
		if top == now.head {
			l.chain = now.chain
		} else {
			l.chain = passage.Restart(l.chain, next, top)
		}
	}
	for _, g := range l.gaps {
		switch g.Why {
		case passage.Dropped:
			l.losses.Dropped += g.Count()
		case passage.Damaged:
			l.losses.Damaged += g.Count()
		}
	}
	l.losses.Aside = uint64(len(l.graves))
	for _, name := range names {
		if strings.HasSuffix(name, damagedSuffix) {
			l.losses.Files++
		}
	}
	// Writing at once shows a disk that cannot be written now, not at the first passage.
	if err := l.cursor.write(l.cursorNow(genesis)); err != nil {
		return err
	}
	l.drop()
	return nil
}

// errUnreadable: the disk does not give a segment's bytes, and will not.
var errUnreadable = errors.New("unreadable")

// spoiled marks the errors of a disk that has lost what it held. Others, as the
// wrong user's, are no reason to give anything up.
func spoiled(err error) error {
	if slices.ContainsFunc(lostErrors, func(lost error) bool { return errors.Is(err, lost) }) {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return err
}

// loadSegments finds out what each segment holds, from the newest to the
// oldest, and sets aside what cannot be read. It returns those with records,
// rising, the head of the chain behind the last one, and the highest sequence
// that was seen behind damage. head is the last sequence that the cursor knows.
func (l *Log) loadSegments(ids []uint64, head uint64) (segs []segment, ended [32]byte, highest uint64, err error) {
	unknown := true // where the segment to be looked at ends
	for i := len(ids) - 1; i >= 0; i-- {
		s, c, err := l.loadSegment(ids[i], unknown)
		if err == nil && !unknown && !c.begun {
			s, c, err = l.loadSegment(ids[i], true)
		}
		if errors.Is(err, errUnreadable) {
			l.log.Error("journal segment set aside: the disk does not read it", "segment", ids[i], "error", err)
			if err := l.disk.rename(segmentName(ids[i]), segmentName(ids[i])+damagedSuffix); err != nil {
				return nil, ended, 0, err
			}
			if unknown {
				// Nothing newer says where it ends.
				highest = max(highest, head+uint64(max(l.size, DefaultSegmentBytes)/minRecord))
			}
			unknown = true
			continue
		}
		if err != nil {
			return nil, ended, 0, err
		}
		newer := uint64(0) // the first sequence of the segment after this one
		if len(segs) > 0 {
			newer = segs[len(segs)-1].first
		}
		switch {
		case c.count == 0 && !c.beyond && unknown && !c.begun, !c.begun && !c.beyond,
			c.begun && newer != 0 && s.first == newer, c.begun && unknown && c.count == 0 && !c.beyond:
			// The newest ones that never got a record go. So does what a failed write
			// left, when it could not be taken away then: the one record that it may
			// hold was given to the segment after it.
			if err := l.disk.remove(segmentName(s.id)); err != nil {
				return nil, ended, 0, err
			}
			continue
		case !c.begun, newer != 0 && s.first > newer, c.begun && unknown && c.count == 0:
			l.log.Error("journal segment set aside: it cannot be read", "segment", s.id)
			highest = max(highest, l.believable(c.highest, head, s.size))
			if err := l.disk.rename(segmentName(s.id), segmentName(s.id)+damagedSuffix); err != nil {
				return nil, ended, 0, err
			}
			unknown = true
			continue
		}
		if !c.headed {
			// The records are there, and nobody can open them.
			l.log.Error("journal segment without its header: its key is lost", "segment", s.id)
			s.key = passage.SegmentKey{Segment: s.id}
		}
		if !unknown {
			// Whether it holds all of them is seen when they are read: opening
			// does not read a backlog of weeks.
			s.last = newer - 1
			segs = append(segs, s)
			continue
		}
		s.last = s.first + c.count - 1
		if newer != 0 && s.last >= newer {
			s.last = newer - 1
		}
		if c.beyond {
			l.log.Error("journal segment set aside from its damage on", "segment", s.id, "record", s.last+1)
			highest = max(highest, l.believable(c.highest, head, s.size))
			if s.size, err = l.cutDamage(s, c); err != nil {
				return nil, ended, 0, err
			}
		}
		if len(segs) == 0 {
			ended = c.chain
		}
		segs = append(segs, s)
		unknown = false
	}
	slices.Reverse(segs)
	return segs, ended, highest, nil
}

// believable bounds a sequence that was found behind damage: a segment holds no
// more records than it has room for.
func (l *Log) believable(seq, head uint64, size int64) uint64 {
	if seq > head+uint64(size) {
		return 0
	}
	return seq
}

// cutDamage moves what lies behind the last good record of s into a file of its
// own, and returns the size that is left.
func (l *Log) cutDamage(s segment, c contents) (size int64, err error) {
	f, err := l.disk.open(segmentName(s.id))
	if err != nil {
		return s.size, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	rest := make([]byte, s.size-c.end)
	if _, err := f.ReadAt(rest, c.end); err != nil && !errors.Is(err, io.EOF) {
		return s.size, err
	}
	name := segmentName(s.id) + damagedSuffix
	if err := l.disk.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.size, err
	}
	kept, err := l.disk.create(name)
	if err != nil {
		return s.size, err
	}
	if _, err := kept.WriteAt(rest, 0); err != nil {
		return s.size, errors.Join(err, kept.Close())
	}
	if err := errors.Join(kept.sync(), kept.Close(), f.truncate(c.end), f.sync()); err != nil {
		return s.size, err
	}
	return c.end, nil
}

// lose notes that records are no more, except those of which that is known
// already. It is durable with the next write of the cursor. The caller holds mu
// or is alone.
func (l *Log) lose(s passage.Skip) {
	from := s.First
	fresh := slices.Clone(l.gaps)
	for _, g := range l.gaps {
		if g.First > s.Last {
			break
		}
		if from < g.First {
			fresh = append(fresh, gap{Skip: passage.Skip{First: from, Last: g.First - 1, Why: s.Why}})
		}
		from = max(from, g.Last+1)
	}
	if from <= s.Last {
		fresh = append(fresh, gap{Skip: passage.Skip{First: from, Last: s.Last, Why: s.Why}})
	}
	slices.SortFunc(fresh, func(a, b gap) int { return cmp.Compare(a.First, b.First) })
	l.gaps = l.fewerGaps(joinGaps(fresh))
}

// fewerGaps makes one of the two with the fewest records between them until the
// cursor has room for all. Those records are given up with them: a card that
// rots in so many places holds more losses than this, and the lane goes on.
func (l *Log) fewerGaps(gaps []gap) []gap {
	for len(gaps) > maxGaps {
		at := 0
		between := func(i int) uint64 { return gaps[i+1].First - gaps[i].Last - 1 }
		for i := range len(gaps) - 1 {
			if between(i) < between(at) {
				at = i
			}
		}
		l.log.Error("too many gaps: the records between two of them are given up", "from", gaps[at].Last+1, "count", between(at))
		one := gap{Skip: passage.Skip{First: gaps[at].First, Last: gaps[at+1].Last, Why: passage.Damaged}}
		gaps = slices.Replace(slices.Clone(gaps), at, at+2, one)
	}
	return gaps
}

// joinGaps makes one of those that touch and are of one kind.
func joinGaps(gaps []gap) []gap {
	var joined []gap
	for _, g := range gaps {
		if n := len(joined); n > 0 && joined[n-1].Last+1 == g.First && joined[n-1].Why == g.Why && joined[n-1].told == g.told {
			joined[n-1].Last = g.Last
			continue
		}
		joined = append(joined, g)
	}
	return joined
}

// loadSegment reads a segment; whole, or only its beginning. One that is read
// whole and holds records is cut behind the last, which takes away a torn tail
// and gives back the zeros, and its last record is made durable.
func (l *Log) loadSegment(id uint64, whole bool) (s segment, c contents, err error) {
	s.id = id
	f, err := l.disk.open(segmentName(id))
	if err != nil {
		return s, c, spoiled(fmt.Errorf("segment %d: %w", id, err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s.size, err = f.size(); err != nil {
		return s, c, spoiled(fmt.Errorf("read segment %d: %w", id, err))
	}
	if s.size > MaxSegmentBytes {
		return s, c, fmt.Errorf("%w: segment %d of %d bytes", errUnreadable, id, s.size)
	}
	n := min(s.size, headerBytes+maxWrite)
	if whole {
		n = s.size
	}
	data := make([]byte, n)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return s, c, spoiled(fmt.Errorf("read segment %d: %w", id, err))
	}
	c = recoverSegment(id, data)
	if c.headed && c.gate != passage.Genesis(l.gate) {
		return s, c, fmt.Errorf("segment %d: %w: not of %s", id, ErrGate, l.gate)
	}
	s.key, s.first, s.prev, s.day = c.key, c.first, c.prev, undated
	if !c.at.IsZero() {
		s.day = l.dayOf(c.at)
	}
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
	c := cursor{gate: genesis, acknowledged: l.acked, head: l.next - 1, chain: l.chain, segment: l.lastID}
	c.gaps, c.graves = l.gaps, l.graves
	return c
}

// forgetTold gives up the gaps and graves that both chain and hub know of. The
// caller holds mu; the slices that were there stay as they are.
func (l *Log) forgetTold() {
	l.gaps = slices.DeleteFunc(slices.Clone(l.gaps), func(g gap) bool { return g.told && g.Last <= l.acked })
	l.graves = slices.DeleteFunc(slices.Clone(l.graves), func(seq uint64) bool { return seq <= l.acked })
}

// dayOf is the gate's day of a time, counted since 1970.
func (l *Log) dayOf(t time.Time) int64 {
	y, m, d := t.In(l.where).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
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
// as it may a record whose Append had not returned. Where records were lost
// since, a gap record that says so goes before it.
//
// Errors wrap ErrFull, ErrClosed, passage.ErrInvalid, or are the disk's.
func (l *Log) Append(r gate.Record) (uint64, error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	// Days of few passages leave small segments, of which one makes no room for
	// the next. But the disk may be full of other things: no more is dropped than
	// makes room for a segment.
	for freed := int64(0); ; {
		seq, err := l.appendTold(r)
		if !errors.Is(err, ErrFull) || !l.drops || freed >= l.size {
			return seq, err
		}
		size, derr := l.dropOldest()
		if derr != nil {
			return 0, errors.Join(err, derr)
		}
		freed += size
	}
}

// appendTold appends what tells of the gaps, and then r.
func (l *Log) appendTold(r gate.Record) (uint64, error) {
	if err := l.tellGaps(r); err != nil {
		return 0, err
	}
	return l.append(r)
}

// tellGaps appends a record for each gap of which none tells yet. r lends its
// time. The caller holds appendMu.
func (l *Log) tellGaps(r gate.Record) error {
	l.mu.Lock()
	gaps := slices.Clone(l.gaps)
	l.mu.Unlock()
	told := false
	for _, g := range gaps {
		if g.told {
			continue
		}
		if _, err := l.append(gate.Record{Kind: gate.GapRecord, At: r.At, Clock: r.Clock, Of: g.First, Dropped: g.Count(), Reason: gate.Reason(g.Why)}); err != nil {
			return fmt.Errorf("gap record: %w", err)
		}
		l.markTold(g)
		told = true
	}
	if !told {
		return nil
	}
	// A crash before this is written makes one more gap record, of the same gap.
	if err := l.writeCursor(func() error { l.gaps = joinGaps(l.gaps); return nil }); err != nil {
		l.log.Warn("journal cursor not written behind a gap record", "error", err)
	}
	return nil
}

// markTold notes that a gap record tells of g. Writing it may have dropped
// more, which joined g: that part is still to be told.
func (l *Log) markTold(g gap) {
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	var gaps []gap
	for _, have := range l.gaps {
		if have.told || have.Last < g.First || have.First > g.Last {
			gaps = append(gaps, have)
			continue
		}
		before, inside, behind := have, have, have
		before.Last = g.First - 1
		inside.First, inside.Last, inside.told = max(have.First, g.First), min(have.Last, g.Last), true
		behind.First = g.Last + 1
		for _, part := range []gap{before, inside, behind} {
			if part.First <= part.Last {
				gaps = append(gaps, part)
			}
		}
	}
	l.gaps = l.fewerGaps(gaps)
}

// writeCursor changes what the cursor holds and makes it durable. Nobody sees
// the change before, nor after an error: the hub is told of no gap that a crash
// would undo.
func (l *Log) writeCursor(change func() error) error {
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	l.mu.Lock()
	gaps, graves := l.gaps, l.graves
	l.forgetTold()
	err := change()
	c := l.cursorNow(l.cursor.now.gate)
	l.gaps, l.graves = gaps, graves
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := l.cursor.write(c); err != nil {
		return diskError(err)
	}
	l.mu.Lock()
	l.gaps, l.graves = c.gaps, c.graves
	l.mu.Unlock()
	return nil
}

// dropOldest gives up the oldest segment that is not written to, and returns
// its size. What is lost with it is durably noted first, so that it is told
// after any crash. The caller holds appendMu.
func (l *Log) dropOldest() (int64, error) {
	l.mu.Lock()
	if len(l.segments) == 0 || l.live && len(l.segments) == 1 {
		l.mu.Unlock()
		return 0, fmt.Errorf("%w: there is nothing to drop", ErrFull)
	}
	s := l.segments[0]
	l.mu.Unlock()
	lost, err := l.giveUp(passage.Skip{First: s.first, Last: s.last, Why: passage.Dropped})
	if err != nil {
		return 0, fmt.Errorf("drop records %d to %d: %w", s.first, s.last, err)
	}
	if lost > 0 {
		l.log.Error("journal full: the oldest records were dropped", "to", s.last, "count", lost)
	}
	l.mu.Lock()
	if len(l.segments) > 0 && l.segments[0].id == s.id {
		l.segments = slices.Clone(l.segments[1:])
	}
	l.losses.Dropped += lost
	l.diskFull = false
	l.mu.Unlock()
	l.forgetKey(s)
	if err := l.disk.remove(segmentName(s.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("drop records %d to %d: %w", s.first, s.last, err)
	}
	return s.size, nil
}

// giveUp durably notes that records are no more, except those that the hub has
// by now and those of which that is known, and returns how many that is.
func (l *Log) giveUp(s passage.Skip) (lost uint64, err error) {
	err = l.writeCursor(func() error {
		before := countGaps(l.gaps)
		if s.First = max(s.First, l.acked+1); s.First <= s.Last {
			l.lose(s)
		}
		lost = countGaps(l.gaps) - before
		return nil
	})
	return lost, err
}

func countGaps(gaps []gap) (n uint64) {
	for _, g := range gaps {
		n += g.Count()
	}
	return n
}

// append is Append of one record. The caller holds appendMu.
func (l *Log) append(r gate.Record) (uint64, error) {
	l.mu.Lock()
	seq, chain, closed := l.next, l.chain, l.closed
	l.mu.Unlock()
	if closed {
		return 0, ErrClosed
	}
	day := int64(undated)
	if r.Clock != gate.ClockUnset {
		day = l.dayOf(r.At)
	}
	// A day's keys must go without those of the next. An outcome that is a moment
	// older than its segment's first record stays with it; a clock that was set
	// right does not.
	if cur := l.cur; cur != nil && (cur.size-cur.off < maxWrite || cur.begun && (day > cur.day || day < cur.day-1)) {
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
		cur.day = day
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
		l.segments = append(l.segments, segment{id: e.Segment, key: cur.key, first: seq, prev: chain, size: cur.size, day: cur.day})
		l.live = true
	}
	l.segments[len(l.segments)-1].last = seq
	l.used, l.next, l.chain = cur.off, seq+1, e.Chain
	close(l.appended)
	l.appended = make(chan struct{})
	l.mu.Unlock()
	cur.begun = true

	if l.spare == nil && cur.off > cur.size/2 {
		err := l.prepare()
		if errors.Is(err, ErrFull) && l.drops {
			// Now, so that no record waits for it.
			if _, err = l.dropOldest(); err == nil {
				err = l.prepare()
			}
		}
		if err != nil && !errors.Is(err, ErrFull) {
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
	// The zeros that are left are given back where a day ended early.
	if cur.begun && (spoiled || cur.size-cur.off >= maxWrite) {
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
		l.forgetKey(s)
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
	s := State{First: l.next, Next: l.next, Acknowledged: l.acked, Bytes: l.taken(), Cap: l.cap, Losses: l.losses}
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
// passage.Batch takes, within its bounds. Records that are no more are a Skip.
// Without records behind after it returns none. A segment that turns out to be
// unreadable is set aside once the hub has what is before it. Errors wrap
// ErrGone, ErrDamaged, ErrClosed, or are the disk's.
func (l *Log) Read(after uint64, most int) (passage.Run, error) {
	l.readMu.Lock()
	defer l.readMu.Unlock()
	for {
		run, bad, err := l.read(after, most)
		if bad == nil {
			return run, err
		}
		if aerr := l.setAside(*bad); aerr != nil {
			return passage.Run{}, errors.Join(err, aerr)
		}
		l.log.Error("journal segment set aside: it cannot be read", "segment", bad.segment.id, "from", bad.from, "to", bad.segment.last, "error", err)
	}
}

// unreadable is a segment of which the records from one on cannot be read.
type unreadable struct {
	segment segment
	from    uint64
}

// setAside gives up the rest of a segment. The caller holds readMu.
func (l *Log) setAside(bad unreadable) error {
	lost, err := l.giveUp(passage.Skip{First: bad.from, Last: bad.segment.last, Why: passage.Damaged})
	if err != nil {
		return err
	}
	name := segmentName(bad.segment.id)
	if err := l.disk.rename(name, name+damagedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = slices.DeleteFunc(slices.Clone(l.segments), func(s segment) bool { return s.id == bad.segment.id })
	l.losses.Damaged += lost
	l.losses.Files++
	return nil
}

// read is Read; bad is set where it needs a segment set aside first.
func (l *Log) read(after uint64, most int) (run passage.Run, bad *unreadable, err error) {
	l.mu.Lock()
	segs, next, chain, closed := slices.Clone(l.segments), l.next, l.chain, l.closed
	gaps, graves, acked, live := slices.Clone(l.gaps), slices.Clone(l.graves), l.acked, l.live
	l.mu.Unlock()
	if closed {
		return run, nil, ErrClosed
	}
	if after >= next-1 || most <= 0 {
		if after > next-1 {
			return run, nil, fmt.Errorf("records behind %d of %d: %w", after, next-1, ErrGone)
		}
		run.Prev = chain
		return run, nil, nil
	}
	most = min(most, passage.MaxBatchRecords)
	want := after + 1
	for _, g := range gaps {
		if g.First > want || g.Last < want {
			continue
		}
		if run.Skip == nil {
			run.Skip = &passage.Skip{First: want, Why: g.Why}
		} else if g.Why == passage.Damaged {
			run.Skip.Why = g.Why
		}
		run.Skip.Last = g.Last
		want = g.Last + 1
	}
	if want == next {
		// Nothing is behind the gap yet: the record that tells of it comes with the next one.
		return passage.Run{Prev: chain}, nil, nil
	}
	i := slices.IndexFunc(segs, func(s segment) bool { return s.first <= want && want <= s.last })
	if i < 0 {
		return passage.Run{}, nil, fmt.Errorf("record %d: %w", want, ErrGone)
	}
	at := l.place
	if at.seq != want || at.segment != segs[i].id {
		at = start(segs[i]) // not where the last Read ended
	}
	stop := next // the first behind want that is not given out
	for _, g := range gaps {
		if g.First > want {
			stop = min(stop, g.First) // what a crash left of what was given up, too
		}
	}
	bytes := 0
	for ; i < len(segs); i++ {
		if len(run.Entries) > 0 && at.segment != segs[i].id {
			if segs[i].first != at.seq {
				break // a gap; the next Read tells of it
			}
			if at.chain != segs[i].prev {
				l.log.Error("journal's chain does not go on in its next segment", "segment", segs[i].id, "record", at.seq)
				break // the hub sees it in the next batch
			}
		}
		if at.segment != segs[i].id {
			at = start(segs[i])
		}
		done := false
		at, err = l.walk(segs[i], at, func(e passage.Entry, before [32]byte) bool {
			if e.Seq < want {
				return true
			}
			cost := len(e.Clear) + len(e.Sealed) + entryOverhead
			newKey := len(run.Keys) == 0 || run.Keys[len(run.Keys)-1].Segment != e.Segment
			if newKey {
				cost += keyOverhead
			}
			if done = e.Seq >= stop || len(run.Entries) == most || (len(run.Entries) > 0 && bytes+cost > readBytes); done {
				return false
			}
			bytes += cost
			if len(run.Entries) == 0 {
				run.Prev = before
			}
			if newKey {
				run.Keys = append(run.Keys, segs[i].key)
			}
			if slices.Contains(graves, e.Seq) {
				e = e.Bury()
			}
			run.Entries = append(run.Entries, e)
			return true
		})
		if errors.Is(err, ErrDamaged) && len(run.Entries) > 0 {
			break // what is before the damage goes out first
		}
		// The one that is written to is set aside when it has ended.
		if errors.Is(err, ErrDamaged) && after <= acked && !(live && i == len(segs)-1) {
			return passage.Run{}, &unreadable{segs[i], max(at.seq, acked+1)}, err
		}
		if err != nil {
			return passage.Run{}, nil, err
		}
		if done {
			break
		}
	}
	l.place = at
	return run, nil, nil
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
// the sequence of the first of them: those behind the last gap. n is at most MaxTail.
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
	for i, s := range segs {
		if i > 0 && s.first != segs[i-1].last+1 {
			first = max(first, s.first)
		}
	}
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
