package qr

import (
	"errors"
	"fmt"
)

// errSegments is a code whose corrected bits are not what ISO/IEC 18004
// allows.
var errSegments = errors.New("malformed QR segments")

// alphanumeric is the alphabet of that mode (ISO/IEC 18004, table 5).
const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

// Mode indicators (ISO/IEC 18004, table 2; Hanzi: GB/T 18284).
const (
	modeEnd     = 0
	modeNumeric = 1
	modeAlnum   = 2
	modeAppend  = 3
	modeByte    = 4
	modeFNC1    = 5
	modeECI     = 7
	modeKanji   = 8
	modeFNC1b   = 9
	modeHanzi   = 13
)

// countBits is the width of the character count (ISO/IEC 18004, table 3).
func countBits(mode, version int) int {
	size := 2
	switch {
	case version <= 9:
		size = 0
	case version <= 26:
		size = 1
	}
	switch mode {
	case modeNumeric:
		return 10 + 2*size
	case modeAlnum:
		return 9 + 2*size
	case modeByte:
		return 8 + 8*min(size, 1)
	default: // Kanji and Hanzi
		return 8 + 2*size
	}
}

// bitString reads a string of bits. Past the end it reads nothing and is short from
// then on.
type bitString struct {
	data  []byte
	at    int
	short bool
}

// left is how many bits there are still.
func (b *bitString) left() int { return 8*len(b.data) - b.at }

// read takes n bits, at most 16.
func (b *bitString) read(n int) int {
	if b.short || n > b.left() {
		b.short = true
		return 0
	}
	v, got := 0, 0
	for got < n {
		here := min(8-b.at%8, n-got) // of this byte
		v = v<<here | int(b.data[b.at/8]<<(b.at%8)>>(8-here))
		b.at, got = b.at+here, got+here
	}
	return v
}

// parseSegments returns the bytes that a code of that version carries in its
// data codewords: byte segments as they are, digits and letters as ASCII, Kanji
// as Shift JIS and Hanzi as GB 2312. What names a character set and the header
// of a code in several parts are passed over, and so are the lead bits at the
// beginning.
func parseSegments(data []byte, lead, version int) ([]byte, error) {
	b := bitString{data: data, at: lead}
	out := make([]byte, 0, len(data))
	fnc1 := false
	for b.left() >= 4 {
		mode := b.read(4)
		switch mode {
		case modeEnd:
			return out, nil
		case modeFNC1:
			fnc1 = true
		case modeFNC1b:
			fnc1 = true
			b.read(8) // application indicator
		case modeAppend:
			b.read(16)
		case modeECI:
			switch first := b.read(8); {
			case first&0x80 == 0:
			case first&0xC0 == 0x80:
				b.read(8)
			case first&0xE0 == 0xC0:
				b.read(16)
			default:
				return nil, fmt.Errorf("%w: ECI designator %#x", errSegments, first)
			}
		case modeNumeric, modeAlnum, modeByte, modeKanji, modeHanzi:
			if mode == modeHanzi {
				b.read(4) // subset
			}
			var err error
			if out, err = b.segment(out, mode, b.read(countBits(mode, version)), fnc1); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%w: mode %d", errSegments, mode)
		}
		if b.short {
			return nil, fmt.Errorf("%w: cut in mode %d", errSegments, mode)
		}
	}
	return out, nil
}

// segment appends count characters of one mode.
func (b *bitString) segment(out []byte, mode, count int, fnc1 bool) ([]byte, error) {
	switch mode {
	case modeByte:
		for ; count > 0 && !b.short; count-- {
			out = append(out, byte(b.read(8)))
		}
	case modeNumeric:
		for ; count > 0 && !b.short; count -= 3 {
			n := min(count, 3)
			v := b.read(3*n + 1)
			if v >= [4]int{1, 10, 100, 1000}[n] {
				return nil, fmt.Errorf("%w: %d as %d digits", errSegments, v, n)
			}
			digits := [3]byte{'0' + byte(v/100), '0' + byte(v/10%10), '0' + byte(v%10)}
			out = append(out, digits[3-n:]...)
		}
	case modeAlnum:
		start := len(out)
		for ; count > 1 && !b.short; count -= 2 {
			v := b.read(11)
			if v >= len(alphanumeric)*len(alphanumeric) {
				return nil, fmt.Errorf("%w: character pair %d", errSegments, v)
			}
			out = append(out, alphanumeric[v/len(alphanumeric)], alphanumeric[v%len(alphanumeric)])
		}
		if count == 1 {
			v := b.read(6)
			if v >= len(alphanumeric) {
				return nil, fmt.Errorf("%w: character %d", errSegments, v)
			}
			out = append(out, alphanumeric[v])
		}
		if fnc1 {
			out = percent(out, start)
		}
	case modeKanji:
		for ; count > 0 && !b.short; count-- {
			v := b.read(13)
			v = v/0xC0<<8 | v%0xC0
			if v < 0x1F00 {
				v += 0x8140
			} else {
				v += 0xC140
			}
			out = append(out, byte(v>>8), byte(v))
		}
	case modeHanzi:
		for ; count > 0 && !b.short; count-- {
			v := b.read(13)
			v = v/0x60<<8 | v%0x60
			if v < 0xA00 {
				v += 0xA1A1
			} else {
				v += 0xA6A1
			}
			out = append(out, byte(v>>8), byte(v))
		}
	}
	return out, nil
}

// percent undoes, from start on, what FNC1 does to '%': doubled it is itself,
// alone it is the separator GS (ISO/IEC 18004, 7.4.8.2).
func percent(out []byte, start int) []byte {
	kept := out[:start]
	for i := start; i < len(out); i++ {
		c := out[i]
		if c == '%' {
			if i+1 < len(out) && out[i+1] == '%' {
				i++
			} else {
				c = 0x1D
			}
		}
		kept = append(kept, c)
	}
	return kept
}
