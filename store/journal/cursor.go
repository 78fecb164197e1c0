package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"

	"greengate/gate/passage"
)

// The layout of the cursor file: two slots, written in turn, so that a write
// that is cut leaves the other.
const (
	cursorName  = "cursor"
	cursorMagic = "GGCURS\x00\x02"
	// formerMagic began a slot that had neither gaps nor graves. It is read for
	// as long as a card may hold one.
	formerMagic = "GGCURS\x00\x01"
	formerSum   = len(formerMagic) + 8 + 32 + 8 + 8 + 32 + 8
	// slotStride puts each slot into a page of its own.
	slotStride  = 4096
	cursorBytes = 2 * slotStride
	// maxGaps and maxGraves are what a slot has room for. Gaps that touch are
	// one, and both go once the hub has acknowledged what is behind them.
	maxGaps   = 32
	gapBytes  = 8 + 8 + 1 + 1
	maxGraves = 64
	slotSum   = formerSum + maxGaps*gapBytes + maxGraves*8
	slotBytes = slotSum + 4
)

// gap is a run of records that are no more, though the hub may not have them.
type gap struct {
	passage.Skip
	// told: a gap record in the chain says so.
	told bool
}

// gapCodes are the reasons in a slot.
var gapCodes = []passage.SkipReason{1: passage.Dropped, 2: passage.Damaged}

// cursor is what must outlive the segments.
type cursor struct {
	// generation counts the writes; the slot with the higher one is in force.
	generation uint64
	// gate is the head of the gate's empty chain.
	gate [32]byte
	// acknowledged is the last sequence that the hub has.
	acknowledged uint64
	// head is the last sequence when the cursor was written, chain the chain's head with it.
	head  uint64
	chain [32]byte
	// segment is the highest segment number used so far: numbers never return.
	segment uint64
	// gaps rise and do not touch where they are of one kind; graves are the
	// sequences of which a tombstone is sent. No more than a slot has room for.
	gaps   []gap
	graves []uint64
}

func (c cursor) encode() []byte {
	b := append(make([]byte, 0, slotBytes), cursorMagic...)
	b = binary.BigEndian.AppendUint64(b, c.generation)
	b = append(b, c.gate[:]...)
	b = binary.BigEndian.AppendUint64(b, c.acknowledged)
	b = binary.BigEndian.AppendUint64(b, c.head)
	b = append(b, c.chain[:]...)
	b = binary.BigEndian.AppendUint64(b, c.segment)
	for _, g := range c.gaps {
		b = binary.BigEndian.AppendUint64(b, g.First)
		b = binary.BigEndian.AppendUint64(b, g.Last)
		told := byte(0)
		if g.told {
			told = 1
		}
		b = append(b, byte(slices.Index(gapCodes, g.Why)), told)
	}
	b = b[:formerSum+maxGaps*gapBytes]
	for _, seq := range c.graves {
		b = binary.BigEndian.AppendUint64(b, seq)
	}
	b = b[:slotSum]
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeCursor(b []byte) (cursor, bool) {
	former := len(b) >= formerSum+4 && string(b[:len(formerMagic)]) == formerMagic
	sum := slotSum
	if former {
		sum = formerSum
	}
	if len(b) < sum+4 || !former && string(b[:len(cursorMagic)]) != cursorMagic ||
		binary.BigEndian.Uint32(b[sum:]) != crc32.Checksum(b[:sum], castagnoli) {
		return cursor{}, false
	}
	var c cursor
	b = b[len(cursorMagic):]
	c.generation = binary.BigEndian.Uint64(b)
	copy(c.gate[:], b[8:])
	c.acknowledged = binary.BigEndian.Uint64(b[40:])
	c.head = binary.BigEndian.Uint64(b[48:])
	copy(c.chain[:], b[56:])
	c.segment = binary.BigEndian.Uint64(b[88:])
	if c.acknowledged > c.head || former {
		return c, c.acknowledged <= c.head
	}
	b = b[formerSum-len(cursorMagic):]
	for i := range maxGaps {
		f := b[i*gapBytes:]
		g := gap{Skip: passage.Skip{First: binary.BigEndian.Uint64(f), Last: binary.BigEndian.Uint64(f[8:])}, told: f[17] == 1}
		if g.First == 0 && g.Last == 0 && f[16] == 0 && f[17] == 0 {
			continue // the rest is empty, which what is encoded again shows
		}
		if code := int(f[16]); code == 0 || code >= len(gapCodes) || f[17] > 1 || g.First == 0 || g.Last < g.First ||
			len(c.gaps) != i || i > 0 && c.gaps[i-1].Last >= g.First {
			return cursor{}, false
		}
		g.Why = gapCodes[f[16]]
		c.gaps = append(c.gaps, g)
	}
	b = b[maxGaps*gapBytes:]
	for i := range maxGraves {
		seq := binary.BigEndian.Uint64(b[i*8:])
		if seq == 0 {
			continue
		}
		if len(c.graves) != i {
			return cursor{}, false
		}
		c.graves = append(c.graves, seq)
	}
	return c, true
}

// cursorFile is the cursor on the disk.
type cursorFile struct {
	disk disk
	f    file // nil until the first write, where there was none
	slot int  // the next to be written
	now  cursor
}

// openCursor reads the cursor. found says whether a slot held one; without it
// now is the zero cursor of this gate.
func openCursor(d disk, gate [32]byte) (c *cursorFile, found bool, err error) {
	c = &cursorFile{disk: d, now: cursor{gate: gate, chain: gate}}
	c.f, err = d.open(cursorName)
	if errors.Is(err, fs.ErrNotExist) {
		c.f = nil
		return c, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	for slot := range 2 {
		b := make([]byte, slotBytes)
		if _, err := c.f.ReadAt(b, int64(slot)*slotStride); errors.Is(spoiled(err), errUnreadable) {
			clear(b) // no slot; writing it may mend the page
		} else if err != nil && !errors.Is(err, io.EOF) {
			return nil, false, errors.Join(fmt.Errorf("read cursor: %w", err), c.f.Close())
		}
		if v, ok := decodeCursor(b); ok && (!found || v.generation > c.now.generation) {
			c.now, c.slot, found = v, 1-slot, true
		}
	}
	return c, found, nil
}

// createCursor makes the file under another name first, so that it is there
// whole or not at all.
func createCursor(d disk, c cursor) (file, error) {
	name := cursorName + freshSuffix
	if err := d.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := d.create(name)
	if err != nil {
		return nil, err
	}
	b := make([]byte, cursorBytes)
	copy(b, c.encode())
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.sync()
	}
	if err == nil {
		err = d.rename(name, cursorName)
	}
	if err == nil {
		err = d.syncDir()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create cursor: %w", err), f.Close())
	}
	return f, nil
}

// write makes c durable, with the next generation. After an error the same
// slot is written again, so the other one stays good.
func (f *cursorFile) write(c cursor) error {
	c.generation = f.now.generation + 1
	if f.f == nil {
		made, err := createCursor(f.disk, c)
		if err != nil {
			return err
		}
		f.f, f.now, f.slot = made, c, 1
		return nil
	}
	b := c.encode()
	if n, err := f.f.WriteAt(b, int64(f.slot)*slotStride); err != nil || n != len(b) {
		return fmt.Errorf("write cursor: %w", errors.Join(err, shortWrite(n, len(b))))
	}
	if err := f.f.sync(); err != nil {
		return fmt.Errorf("flush cursor: %w", err)
	}
	f.now, f.slot = c, 1-f.slot
	return nil
}

// close closes the file, if there is one.
func (f *cursorFile) close() error {
	if f.f == nil {
		return nil
	}
	return f.f.Close()
}

// shortWrite is io.ErrShortWrite when fewer than want bytes were written.
func shortWrite(n, want int) error {
	if n < want {
		return io.ErrShortWrite
	}
	return nil
}
