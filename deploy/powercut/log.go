package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The log's format is that of Linux's dm-log-writes, which QEMU's blklogwrites
// writes too: a superblock, then entries, each with its data behind it, all in
// whole sectors.
const (
	sectorBytes  = 512
	logMagic     = 0x6a736677736872
	logVersion   = 1
	maxEntries   = 1 << 20
	maxWrite     = 32 << 20 // bytes
	flagFlush    = 1 << 0
	flagFUA      = 1 << 1
	flagDiscard  = 1 << 2
	flagMark     = 1 << 3
	flagMetadata = 1 << 4
	knownFlags   = flagFlush | flagFUA | flagDiscard | flagMark | flagMetadata
)

// ErrLog is wrapped by what is said about a log that is not one.
var ErrLog = errors.New("not a log of writes")

// entry is what the disk was told once.
type entry struct {
	flush, through bool   // a flush; a write that went through the cache
	at             int64  // in bytes
	data           []byte // nil for a flush
}

// readLog reads a whole log of a disk of so many bytes.
func readLog(r io.ReaderAt, disk int64) ([]entry, error) {
	head := make([]byte, sectorBytes)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("%w: superblock: %w", ErrLog, err)
	}
	le := binary.LittleEndian
	if m, v, s := le.Uint64(head), le.Uint64(head[8:]), le.Uint32(head[24:]); m != logMagic || v != logVersion || s != sectorBytes {
		return nil, fmt.Errorf("%w: magic %x, version %d, sectors of %d bytes", ErrLog, m, v, s)
	}
	count := le.Uint64(head[16:])
	if count > maxEntries {
		return nil, fmt.Errorf("%w: %d entries", ErrLog, count)
	}
	log := make([]entry, 0, count)
	off := int64(sectorBytes)
	for i := range count {
		if _, err := r.ReadAt(head, off); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrLog, i, err)
		}
		off += sectorBytes
		sector, sectors, flags := le.Uint64(head), le.Uint64(head[8:]), le.Uint64(head[16:])
		switch {
		case flags&^knownFlags != 0, flags&flagMark != 0:
			return nil, fmt.Errorf("%w: entry %d: flags %x", ErrLog, i, flags)
		case sectors > maxWrite/sectorBytes, sector > uint64(disk)/sectorBytes, sector+sectors > uint64(disk)/sectorBytes:
			return nil, fmt.Errorf("%w: entry %d: %d sectors at %d", ErrLog, i, sectors, sector)
		case flags&flagDiscard != 0:
			continue // what was discarded may as well still be there
		}
		e := entry{flush: flags&flagFlush != 0, through: flags&flagFUA != 0, at: int64(sector) * sectorBytes}
		if sectors > 0 {
			e.data = make([]byte, sectors*sectorBytes)
			if _, err := r.ReadAt(e.data, off); err != nil {
				return nil, fmt.Errorf("%w: data of entry %d: %w", ErrLog, i, err)
			}
			off += int64(len(e.data))
		}
		log = append(log, e)
	}
	return log, nil
}
