package serial

import "encoding/binary"

// Kinds of command (GM65 manual, ch. 8.2 to 8.4).
const (
	readZones  = 0x07
	writeZone  = 0x08
	saveZones  = 0x09
	maxZones   = 14 // asked for at once: 0x0000 to 0x000D
	replyHead  = 4  // 02 00 | 00 | length
	replyTail  = 2  // CRC
	maxReply   = replyHead + maxZones + replyTail
	maxWritten = 2 // bytes of data of a command
)

// command is what the gate asks of a GM65.
type command struct {
	kind byte
	// zone is the address of the first zone.
	zone uint16
	// data holds what is written, or how many zones are read.
	data []byte
	// answer is how many bytes of data the reply has.
	answer int
}

func read(zone uint16, n byte) command {
	return command{kind: readZones, zone: zone, data: []byte{n}, answer: int(n)}
}

func write(zone uint16, data ...byte) command {
	return command{kind: writeZone, zone: zone, data: data, answer: 1}
}

// save makes the module keep its zones in its flash.
func save() command {
	return command{kind: saveZones, data: []byte{0}, answer: 1}
}

// frame is the command on the wire: 7E 00 | kind | length | zone | data | CRC.
func (c command) frame() []byte {
	b := make([]byte, 0, 6+maxWritten+2)
	b = append(b, 0x7e, 0x00, c.kind, byte(len(c.data)))
	b = binary.BigEndian.AppendUint16(b, c.zone)
	b = append(b, c.data...)
	return binary.BigEndian.AppendUint16(b, crc(b[2:]))
}

// crc is CRC-16/XMODEM: polynomial 0x1021, beginning at 0, not reflected. It
// covers everything between the two bytes in front and itself (manual, 8.1).
func crc(b []byte) uint16 {
	var sum uint16
	for _, c := range b {
		sum ^= uint16(c) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}
