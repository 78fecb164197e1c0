package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
)

// The layout of a segment. None of these may change while a segment of the
// old form lies on a card.
const (
	// segmentMagic begins a segment; its last byte is the version.
	segmentMagic = "GGSEGM\x00\x01"
	// headerBytes keeps the header in a page of its own: appending never
	// rewrites the page with the data key in it.
	headerBytes = 4096
	// keyEncapsulated and keySealed are the lengths of a passage.SegmentKey's fields.
	keyEncapsulated, keySealed = 32, 48

	// frameHeader is a length and a CRC32C, four bytes each.
	frameHeader = 8
	// beginFrame is the first in a segment: the sequence of its first record
	// and the head of the chain before it.
	beginFrame byte = 1
	beginBody       = 1 + 8 + 32
	// recordFrame is a record.
	recordFrame byte = 2
	recordFixed      = 1 + 8 + 2
	maxBody          = recordFixed + passage.MaxClear + passage.MaxSealed
	// minRecord is less than any record takes: a sealed part has 80 bytes at least.
	minRecord = frameHeader + recordFixed + 80
	// maxWrite is the longest write of an append: both frames.
	maxWrite = frameHeader + beginBody + frameHeader + maxBody

	segmentSuffix = ".seg"
	freshSuffix   = ".new"
	// damagedSuffix ends the name of what could not be read and was set aside.
	damagedSuffix = ".damaged"
	// asideSuffix ends the name of a record that the hub refused.
	asideSuffix = ".record"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func segmentName(id uint64) string { return fmt.Sprintf("%016x%s", id, segmentSuffix) }

// segmentID is the inverse of segmentName.
func segmentID(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	id, err := strconv.ParseUint(hex, 16, 64)
	return id, err == nil && segmentName(id) == name
}

// encodeHeader writes a segment's header: magic, id, gate (as the head of its
// empty chain), data key, CRC32C. A key that was destroyed is zeros, which no
// real one is.
func encodeHeader(gate [32]byte, key passage.SegmentKey) []byte {
	b := append(make([]byte, 0, headerBytes), segmentMagic...)
	b = binary.BigEndian.AppendUint64(b, key.Segment)
	b = append(b, gate[:]...)
	if key.Destroyed() {
		b = append(b, make([]byte, keyEncapsulated+keySealed)...)
	}
	b = append(b, key.Encapsulated...)
	b = append(b, key.Sealed...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return b[:headerBytes]
}

// decodeHeader reads the header of segment id. The bool is false when it is not one.
func decodeHeader(id uint64, data []byte) (gate [32]byte, key passage.SegmentKey, ok bool) {
	const sum = len(segmentMagic) + 8 + 32 + keyEncapsulated + keySealed
	if len(data) < sum+4 || string(data[:len(segmentMagic)]) != segmentMagic ||
		binary.BigEndian.Uint32(data[sum:]) != crc32.Checksum(data[:sum], castagnoli) ||
		binary.BigEndian.Uint64(data[len(segmentMagic):]) != id {
		return gate, key, false
	}
	rest := data[len(segmentMagic)+8:]
	copy(gate[:], rest)
	rest = rest[32:]
	key.Segment = id
	key.Encapsulated = append([]byte(nil), rest[:keyEncapsulated]...)
	key.Sealed = append([]byte(nil), rest[keyEncapsulated:keyEncapsulated+keySealed]...)
	if !slices.ContainsFunc(rest[:keyEncapsulated+keySealed], func(b byte) bool { return b != 0 }) {
		key.Encapsulated, key.Sealed = nil, nil
	}
	return gate, key, true
}

// frameSum covers the segment and the place besides the bytes, so that a
// frame left over from another segment on the same blocks is not one here.
func frameSum(id uint64, off int64, body []byte) uint32 {
	var place [20]byte
	binary.BigEndian.PutUint64(place[:], id)
	binary.BigEndian.PutUint64(place[8:], uint64(off))
	binary.BigEndian.PutUint32(place[16:], uint32(len(body)))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, body)
}

func appendFrame(b []byte, id uint64, off int64, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, frameSum(id, off, body))
	return append(b, body...)
}

func appendBegin(b []byte, id uint64, off int64, first uint64, prev [32]byte) []byte {
	body := append(make([]byte, 0, beginBody), beginFrame)
	body = binary.BigEndian.AppendUint64(body, first)
	return appendFrame(b, id, off, append(body, prev[:]...))
}

func appendRecord(b []byte, id uint64, off int64, e passage.Entry) []byte {
	body := append(make([]byte, 0, recordFixed+len(e.Clear)+len(e.Sealed)), recordFrame)
	body = binary.BigEndian.AppendUint64(body, e.Seq)
	body = binary.BigEndian.AppendUint16(body, uint16(len(e.Clear)))
	body = append(body, e.Clear...)
	return appendFrame(b, id, off, append(body, e.Sealed...))
}

// frameAt returns the body of the frame that begins data, which lies at off in
// segment id. It is nil when there is none; short says that data ends within
// what its length claims, so that more of the file might complete it.
func frameAt(id uint64, off int64, data []byte) (body []byte, short bool) {
	if len(data) < frameHeader {
		return nil, true
	}
	n := binary.BigEndian.Uint32(data)
	if n < recordFixed || n > maxBody {
		return nil, false
	}
	if len(data) < frameHeader+int(n) {
		return nil, true
	}
	body = data[frameHeader : frameHeader+int(n)]
	if frameSum(id, off, body) != binary.BigEndian.Uint32(data[4:]) {
		return nil, false
	}
	return body, false
}

// decodeBegin reads a begin frame's body.
func decodeBegin(body []byte) (first uint64, prev [32]byte, ok bool) {
	if len(body) != beginBody || body[0] != beginFrame {
		return 0, prev, false
	}
	first = binary.BigEndian.Uint64(body[1:])
	copy(prev[:], body[9:])
	return first, prev, first != 0
}

// decodeRecord reads a record frame's body; the entry shares its bytes and
// lacks its chain.
func decodeRecord(id uint64, body []byte) (passage.Entry, bool) {
	if len(body) < recordFixed || body[0] != recordFrame {
		return passage.Entry{}, false
	}
	rest := body[recordFixed:]
	n := int(binary.BigEndian.Uint16(body[9:]))
	if n > len(rest) || n > passage.MaxClear || len(rest)-n > passage.MaxSealed {
		return passage.Entry{}, false
	}
	return passage.Entry{Seq: binary.BigEndian.Uint64(body[1:]), Segment: id, Clear: rest[:n:n], Sealed: rest[n:]}, true
}

// contents is what lies in the bytes of a segment.
type contents struct {
	// gate and key are the header's; headed says that it is one.
	gate   [32]byte
	key    passage.SegmentKey
	headed bool
	// first and prev are the begin frame's; begun says that there is one.
	first uint64
	prev  [32]byte
	begun bool
	// count of the records, and the head of the chain with the last of them.
	count uint64
	chain [32]byte
	// end of the last whole frame, and where the write that brought it began.
	end, last int64
	// at is the time in the first record; zero where it says that the clock was unset.
	at time.Time
	// beyond: behind the first frame that is not whole lies another that is.
	// No cut leaves that, since each record waits for the one before it.
	// highest is the sequence of the last record there, 0 where none was seen.
	beyond  bool
	highest uint64
}

// recoverSegment reads a segment as a crash may have left it.
func recoverSegment(id uint64, data []byte) contents {
	c := contents{end: headerBytes}
	c.gate, c.key, c.headed = decodeHeader(id, data)
	if len(data) <= headerBytes {
		return c
	}
	body, _ := frameAt(id, c.end, data[c.end:])
	if c.first, c.prev, c.begun = decodeBegin(body); c.begun {
		c.chain = c.prev
		c.end += int64(frameHeader + len(body))
		for {
			body, _ := frameAt(id, c.end, data[c.end:])
			e, ok := decodeRecord(id, body)
			if !ok || e.Seq != c.first+c.count {
				break
			}
			c.last = c.end
			if c.count++; c.count == 1 {
				c.last = headerBytes // together with the begin frame
				if _, r, err := passage.DecodeClear(e.Clear); err == nil && r.Clock != gate.ClockUnset {
					c.at = r.At
				}
			}
			c.chain = passage.Next(c.chain, e.Clear, e.Sealed)
			c.end += int64(frameHeader + len(body))
		}
	}
	from := c.end
	if !c.begun {
		// The first write holds two frames; the disk may have kept the second alone.
		from += frameHeader + beginBody
		if body, _ := frameAt(id, from, data[min(from, int64(len(data))):]); body != nil {
			from += int64(frameHeader + len(body))
		} else {
			from = c.end
		}
	}
	c.beyond, c.highest = framesBeyond(id, data, from)
	return c
}

// framesBeyond looks for whole frames anywhere from end, and for the highest
// sequence in them. A cut write leaves no more than one frame's bytes there, so
// a small budget of checked bytes finds what rot has left and bounds what a
// hostile card can cost; behind a frame the next one lies at its end.
func framesBeyond(id uint64, data []byte, end int64) (found bool, highest uint64) {
	budget := 4 << 20
	for off := end; off+frameHeader < int64(len(data)); {
		if data[off] != 0 || data[off+1] != 0 {
			off++
			continue // a length of 64 KiB and more
		}
		n := int(binary.BigEndian.Uint32(data[off:]))
		if n < recordFixed || n > maxBody {
			off++
			continue
		}
		body, _ := frameAt(id, off, data[off:])
		if body == nil {
			if budget -= n; budget < 0 {
				return found, highest
			}
			off++
			continue
		}
		found = true
		if e, ok := decodeRecord(id, body); ok {
			highest = max(highest, e.Seq)
		}
		off += int64(frameHeader + len(body))
	}
	return found, highest
}
