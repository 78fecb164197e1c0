package base45

import (
	"errors"
	"fmt"
	"slices"
)

// alphabet is RFC 9285 table 1. The encoding depends on its order for ever.
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

// The ways in which a text is not base45.
var (
	// ErrLength: no bytes encode to this many characters (3n+1).
	ErrLength = errors.New("base45: length not possible")
	// ErrAlphabet: a character outside the alphabet; lower case is outside.
	ErrAlphabet = errors.New("base45: character outside the alphabet")
	// ErrRange: three characters above 65535 or two above 255 (RFC 9285 section 4.3).
	ErrRange = errors.New("base45: value out of range")
)

// none marks a byte outside the alphabet in values.
const none = 0xff

// values is the alphabet the other way round.
var values = func() (v [256]byte) {
	for i := range v {
		v[i] = none
	}
	for i, c := range []byte(alphabet) {
		v[c] = byte(i)
	}
	return v
}()

// EncodedLen is the number of characters for n bytes.
func EncodedLen(n int) int { return n/2*3 + n%2*2 }

// DecodedLen is the number of bytes in n characters, where n is possible.
func DecodedLen(n int) int { return n/3*2 + n%3/2 }

// AppendEncode appends the text of src to dst.
func AppendEncode(dst, src []byte) []byte {
	dst = slices.Grow(dst, EncodedLen(len(src)))
	for ; len(src) >= 2; src = src[2:] {
		v := uint(src[0])<<8 | uint(src[1])
		dst = append(dst, alphabet[v%45], alphabet[v/45%45], alphabet[v/(45*45)])
	}
	if len(src) == 1 {
		v := uint(src[0])
		dst = append(dst, alphabet[v%45], alphabet[v/45])
	}
	return dst
}

// Encode returns the text of src.
func Encode(src []byte) string { return string(AppendEncode(nil, src)) }

// AppendDecode appends the bytes of the text src to dst: two for each three
// characters, so the caller's bound on the text bounds the result. On error
// it returns dst as it was.
func AppendDecode(dst, src []byte) ([]byte, error) {
	if len(src)%3 == 1 {
		return dst, fmt.Errorf("%w: %d characters", ErrLength, len(src))
	}
	start := len(dst)
	dst = slices.Grow(dst, DecodedLen(len(src)))
	i := 0
	for ; i+3 <= len(src); i += 3 {
		a, b, c := values[src[i]], values[src[i+1]], values[src[i+2]]
		if a|b|c == none {
			return dst[:start], fmt.Errorf("%w: in characters %d to %d", ErrAlphabet, i, i+2)
		}
		v := uint(a) + 45*uint(b) + 45*45*uint(c)
		if v > 0xffff {
			return dst[:start], fmt.Errorf("%w: characters %d to %d", ErrRange, i, i+2)
		}
		dst = append(dst, byte(v>>8), byte(v))
	}
	if i < len(src) {
		a, b := values[src[i]], values[src[i+1]]
		if a|b == none {
			return dst[:start], fmt.Errorf("%w: in characters %d to %d", ErrAlphabet, i, i+1)
		}
		v := uint(a) + 45*uint(b)
		if v > 0xff {
			return dst[:start], fmt.Errorf("%w: characters %d to %d", ErrRange, i, i+1)
		}
		dst = append(dst, byte(v))
	}
	return dst, nil
}

// Decode returns the bytes of a text.
func Decode(s string) ([]byte, error) {
	b, err := AppendDecode(nil, []byte(s))
	if err != nil {
		return nil, err
	}
	return b, nil
}
