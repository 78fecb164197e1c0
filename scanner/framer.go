package scanner

import (
	"bytes"
	"time"

	"greengate/pass"
)

// Control characters that scanners put around a code.
const (
	nul = 0x00
	stx = 0x02
	etx = 0x03
	tab = '\t'
	lf  = '\n'
	cr  = '\r'
)

const (
	// maxPrefix is room for what a scanner puts in front of a code: STX, an
	// AIM identifier of 3, a one-character code identifier, and ECI texts of 7
	// each.
	maxPrefix = 1 + 3 + 1 + maxECI*eciLen
	maxECI    = 4
	eciLen    = 7
	// MaxFrame is the longest code that a Framer hands out. It is one byte
	// more than pass.MaxRaw, so that a code that was cut is refused as too long
	// and never opened as if it were whole.
	MaxFrame = pass.MaxRaw + 1
)

// Framer cuts a stream of bytes into codes.
//
// A code ends at CR, LF, CRLF, TAB, NUL, at ETX when it began with STX, or when
// the stream falls silent ([Framer.Gap]): whichever comes first, so that no
// scanner needs a setting for it. None of these bytes can be inside a code that
// this gate opens. Spaces stay: they belong to the base45 alphabet (RFC 9285,
// table 1), also at the end of a code.
//
// Taken off in front, once each and in this order: STX, the code identifier
// when CodeID is set, an AIM identifier such as "]Q1", and texts that name a
// character set such as "\000026" (AIM ECI protocol). Behind: ETX.
//
// What is longer than any code comes out once, cut to MaxFrame bytes, and the
// rest up to the next end is dropped: the person in front of the gate sees a
// refusal and not silence. How the stream is cut into chunks makes no
// difference.
//
// The zero value is ready. A Framer is for one goroutine.
type Framer struct {
	// CodeID is the one-character identifier that the scanner was set up to
	// send in front of each code: GM65 sends 'Q' for QR with "Code ID" on. Zero
	// means none. Never guessed: a code may begin with that letter.
	CodeID byte
	// TooLong counts the codes that were cut.
	TooLong uint64

	buf  []byte
	skip bool
	last time.Time
}

// Feed takes bytes that arrived at the time at, and calls emit for each code
// that ends in them. The frame is a copy and belongs to emit.
func (f *Framer) Feed(p []byte, at time.Time, emit func(frame []byte, at time.Time)) {
	for _, b := range p {
		f.last = at
		switch {
		case b == cr || b == lf || b == tab || b == nul:
			f.end(emit)
		case b == etx && len(f.buf) > 0 && f.buf[0] == stx:
			f.end(emit)
		case f.skip:
		default:
			f.buf = append(f.buf, b)
			if len(f.buf) > MaxFrame+maxPrefix {
				f.end(emit)
				f.skip = true
			}
		}
	}
}

// Gap ends the code that has begun, if any: the stream has been silent for
// longer than a scanner pauses within a code.
func (f *Framer) Gap(emit func(frame []byte, at time.Time)) {
	f.end(emit)
}

// Pending reports whether bytes have come since the last end, so that a silence
// would mean something, and when the last of them came.
func (f *Framer) Pending() (last time.Time, ok bool) {
	return f.last, f.skip || len(f.buf) > 0
}

// Reset forgets a code that has begun: its device is gone.
func (f *Framer) Reset() {
	f.buf, f.skip = f.buf[:0], false
}

// end hands out what was collected, if anything is left of it.
func (f *Framer) end(emit func([]byte, time.Time)) {
	frame := f.trim(f.buf)
	f.Reset()
	if len(frame) == 0 {
		return
	}
	if len(frame) > pass.MaxRaw {
		f.TooLong++
		frame = frame[:MaxFrame]
	}
	emit(bytes.Clone(frame), f.last)
}

// trim takes off what the scanner put around the code.
func (f *Framer) trim(b []byte) []byte {
	if len(b) > 0 && b[0] == stx {
		b = b[1:]
	}
	if len(b) > 0 && b[len(b)-1] == etx {
		b = b[:len(b)-1]
	}
	if f.CodeID != 0 && len(b) > 0 && b[0] == f.CodeID {
		b = b[1:]
	}
	if len(b) >= 3 && b[0] == ']' && letter(b[1]) && digit(b[2]) {
		b = b[3:]
	}
	for i := 0; i < maxECI && eci(b); i++ {
		b = b[eciLen:]
	}
	return b
}

// eci reports whether b begins with a backslash and six digits.
func eci(b []byte) bool {
	if len(b) < eciLen || b[0] != '\\' {
		return false
	}
	for _, c := range b[1:eciLen] {
		if !digit(c) {
			return false
		}
	}
	return true
}

func letter(c byte) bool { return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }
