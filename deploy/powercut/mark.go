package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"syscall"
)

// Marks lie behind the file system, on the same disk: so the log itself says
// what was promised by when. They are not flushed, since a flush would help
// what is tested; that one stands in the log is enough.
const (
	markRoom  = 4 << 20
	markMagic = "powercut"
)

// promise is what a mark says: up to value, and the mark was made when Append,
// Acknowledge or the hub had answered.
type promise uint64

const (
	appended     promise = iota + 1 // records up to it are durable
	acknowledged                    // the journal knows that the hub has them
	destroyed                       // keys of the days before it are no more
)

// marker writes marks.
type marker struct {
	f     *os.File
	buf   []byte // aligned, as a direct write wants it
	start int64
	n     int64
}

func newMarker(device string, start int64) (*marker, error) {
	f, err := os.OpenFile(device, os.O_WRONLY|syscall.O_DIRECT, 0)
	if err != nil {
		return nil, err
	}
	buf, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a page for marks: %w", err), f.Close())
	}
	return &marker{f: f, buf: buf, start: start}, nil
}

func (m *marker) mark(what promise, value uint64) error {
	copy(m.buf[:sectorBytes], encodeMark(what, value))
	_, err := m.f.WriteAt(m.buf[:sectorBytes], m.start+m.n%(markRoom/sectorBytes)*sectorBytes)
	m.n++
	return err
}

func encodeMark(what promise, value uint64) []byte {
	b := make([]byte, sectorBytes)
	copy(b, markMagic)
	binary.LittleEndian.PutUint64(b[8:], uint64(what))
	binary.LittleEndian.PutUint64(b[16:], value)
	binary.LittleEndian.PutUint32(b[24:], crc32.ChecksumIEEE(b[:24]))
	return b
}

// promises are what was promised by a point of the log.
type promises map[promise]uint64

// read adds what an entry says, if it is a mark.
func (p promises) read(e entry, start int64) error {
	if e.at < start || len(e.data) == 0 {
		return nil
	}
	if len(e.data) != sectorBytes || string(e.data[:8]) != markMagic || crc32.ChecksumIEEE(e.data[:24]) != binary.LittleEndian.Uint32(e.data[24:]) {
		return fmt.Errorf("%w: %d bytes at %d are no mark", ErrLog, len(e.data), e.at)
	}
	what := promise(binary.LittleEndian.Uint64(e.data[8:]))
	p[what] = max(p[what], binary.LittleEndian.Uint64(e.data[16:]))
	return nil
}
