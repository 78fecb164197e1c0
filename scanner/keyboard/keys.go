package keyboard

import (
	"encoding/binary"
	"io"
	"strconv"
)

// Numbers of linux/input-event-codes.h.
const (
	evSyn = 0
	evKey = 1

	synDropped = 3

	keyEnter      = 28
	keyLeftShift  = 42
	keyRightShift = 54
	keyCapsLock   = 58
	keyKPEnter    = 96

	released = 0
	pressed  = 1
)

// eventSize is struct input_event: a time of two longs, then type, code and
// value. A 32-bit program has 16 bytes also on a 64-bit kernel, which looks at
// who asks.
const eventSize = strconv.IntSize/8*2 + 8

// us is what the keys of a US keyboard type, alone and with shift.
var us = map[uint16][2]byte{
	2: {'1', '!'}, 3: {'2', '@'}, 4: {'3', '#'}, 5: {'4', '$'}, 6: {'5', '%'},
	7: {'6', '^'}, 8: {'7', '&'}, 9: {'8', '*'}, 10: {'9', '('}, 11: {'0', ')'},
	12: {'-', '_'}, 13: {'=', '+'}, 15: {'\t', '\t'},
	16: {'q', 'Q'}, 17: {'w', 'W'}, 18: {'e', 'E'}, 19: {'r', 'R'}, 20: {'t', 'T'},
	21: {'y', 'Y'}, 22: {'u', 'U'}, 23: {'i', 'I'}, 24: {'o', 'O'}, 25: {'p', 'P'},
	26: {'[', '{'}, 27: {']', '}'}, keyEnter: {'\r', '\r'},
	30: {'a', 'A'}, 31: {'s', 'S'}, 32: {'d', 'D'}, 33: {'f', 'F'}, 34: {'g', 'G'},
	35: {'h', 'H'}, 36: {'j', 'J'}, 37: {'k', 'K'}, 38: {'l', 'L'},
	39: {';', ':'}, 40: {'\'', '"'}, 41: {'`', '~'}, 43: {'\\', '|'},
	44: {'z', 'Z'}, 45: {'x', 'X'}, 46: {'c', 'C'}, 47: {'v', 'V'}, 48: {'b', 'B'},
	49: {'n', 'N'}, 50: {'m', 'M'}, 51: {',', '<'}, 52: {'.', '>'}, 53: {'/', '?'},
	55: {'*', '*'}, 57: {' ', ' '},
	71: {'7', '7'}, 72: {'8', '8'}, 73: {'9', '9'}, 74: {'-', '-'},
	75: {'4', '4'}, 76: {'5', '5'}, 77: {'6', '6'}, 78: {'+', '+'},
	79: {'1', '1'}, 80: {'2', '2'}, 81: {'3', '3'}, 82: {'0', '0'}, 83: {'.', '.'},
	keyKPEnter: {'\r', '\r'}, 98: {'/', '/'},
}

// unknown stands for a key that types nothing here, and for keys that the
// kernel dropped: a code that lost a character must not look whole.
const unknown = 0x1A // SUB

// keys turns input events into what was typed. The zero value, with a size, is
// ready.
type keys struct {
	// size of an event in bytes, 16 or 24.
	size int

	rest        []byte // the beginning of an event
	left, right bool   // shift keys that are down
	caps        bool
}

// feed appends to out what the events in p type.
func (k *keys) feed(out, p []byte) []byte {
	k.rest = append(k.rest, p...)
	at := 0
	for ; len(k.rest)-at >= k.size; at += k.size {
		e := k.rest[at+k.size-8:]
		out = k.event(out, binary.NativeEndian.Uint16(e), binary.NativeEndian.Uint16(e[2:]), int32(binary.NativeEndian.Uint32(e[4:])))
	}
	k.rest = append(k.rest[:0], k.rest[at:]...)
	return out
}

// event appends what one event types.
func (k *keys) event(out []byte, kind, code uint16, value int32) []byte {
	switch {
	case kind == evSyn && code == synDropped:
		// The kernel's queue ran over. Which keys are down is not known either.
		k.left, k.right = false, false
		return append(out, unknown)
	case kind != evKey:
		return out
	case code == keyLeftShift:
		k.left = value != released
		return out
	case code == keyRightShift:
		k.right = value != released
		return out
	case value != pressed: // released, or repeated because it is held down
		return out
	case code == keyCapsLock:
		k.caps = !k.caps
		return out
	}
	chars, ok := us[code]
	if !ok {
		if modifier(code) {
			return out
		}
		return append(out, unknown)
	}
	shift := k.left || k.right
	if k.caps && 'a' <= chars[0] && chars[0] <= 'z' {
		shift = !shift
	}
	if shift {
		return append(out, chars[1])
	}
	return append(out, chars[0])
}

// modifier reports whether a key is Ctrl, Alt, Meta, Num Lock or Scroll Lock,
// which scanners press around a code and which type nothing.
func modifier(code uint16) bool {
	switch code {
	case 29, 97, 56, 100, 125, 126, 69, 70:
		return true
	}
	return false
}

// typist reads input events from a device and gives what they type.
type typist struct {
	io.ReadCloser
	keys  keys
	typed []byte
	buf   [64 * eventSize]byte
}

// Read returns what was typed, at least one character, or the device's error.
func (t *typist) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(t.typed) == 0 {
		n, err := t.ReadCloser.Read(t.buf[:])
		t.typed = t.keys.feed(t.typed, t.buf[:n])
		if err != nil && len(t.typed) == 0 {
			return 0, err
		}
		if n == 0 && err == nil {
			return 0, io.ErrNoProgress
		}
	}
	n := copy(p, t.typed)
	t.typed = append(t.typed[:0], t.typed[n:]...)
	return n, nil
}
