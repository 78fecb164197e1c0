package serial

import "encoding/binary"

// splitter takes a GM65's replies out of the bytes of its codes: the reply to
// a trigger comes right before the code, in one stream with it.
//
// A reply is 02 00 | 00 | length | data | CRC, with one of the lengths that the
// gate asks for. None of it can be in a code: the gate opens no code with a NUL,
// which the framing takes as an end. So what begins as a reply and does not hold
// is noise on the line, and is dropped and counted. Noise that changed the length
// takes the beginning of the code behind it along: what is left of that is no
// genuine code, and the person shows it again.
//
// A splitter holds back at most maxReply bytes, and [splitter.quiet] takes them
// from it when no more come. How the stream is cut makes no difference. The zero
// value is ready.
type splitter struct {
	held []byte
	// damaged counts what began as a reply and was none.
	damaged uint64
}

// feed appends to codes what of p belongs to codes, and hands each reply's data
// to reply, which keeps a copy of what it needs.
func (s *splitter) feed(codes, p []byte, reply func(data []byte)) []byte {
	for _, b := range p {
		s.held = append(s.held, b)
		codes = s.settle(codes, reply)
	}
	return codes
}

// settle decides what can be decided of the bytes held back.
func (s *splitter) settle(codes []byte, reply func([]byte)) []byte {
	for len(s.held) > 0 {
		n := len(s.held)
		if s.held[0] != 0x02 || n >= 2 && s.held[1] != 0 {
			// The end of a code, or STX before one.
			codes = append(codes, s.held[0])
			s.held = append(s.held[:0], s.held[1:]...)
			continue
		}
		if n >= 3 && s.held[2] != 0 || n >= replyHead && !asked(s.held[3]) {
			// The last byte may begin something; the ones before it are noise.
			s.damaged++
			s.held = append(s.held[:0], s.held[n-1])
			continue
		}
		if n < replyHead || n < replyHead+int(s.held[3])+replyTail {
			return codes
		}
		body := s.held[2 : n-replyTail]
		if binary.BigEndian.Uint16(s.held[n-replyTail:]) == crc(body) {
			reply(body[2:])
		} else {
			s.damaged++
		}
		s.held = s.held[:0]
	}
	return codes
}

// quiet appends to codes what is held back, as nothing more comes: an STX. The
// beginning of a reply is noise.
func (s *splitter) quiet(codes []byte) []byte {
	if len(s.held) == 1 {
		codes = append(codes, s.held[0])
	} else if len(s.held) > 1 {
		s.damaged++
	}
	s.held = s.held[:0]
	return codes
}

// waits reports whether bytes are held back.
func (s *splitter) waits() bool { return len(s.held) > 0 }

// asked reports whether the gate asks for replies of this length.
func asked(length byte) bool { return length == 1 || length == 2 || length == maxZones }
