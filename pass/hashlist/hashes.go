package hashlist

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxRevoked is the most entries of one issuer key, in all its lists: what
	// a gate's card is measured with.
	MaxRevoked = 10_000_000
	// MaxHashes is the most bytes that [ReadHashes] can use: so many lines of
	// hex with CR LF.
	MaxHashes = MaxRevoked * (2*HashSize + 2)
)

// ErrHashes: not hashes, one a line.
var ErrHashes = errors.New("malformed hashes")

// ReadHashes reads hashes, one a line, as hex or as base64 like the EU's
// gateway writes them. No line is empty or more than a hash: of a whole
// SHA-256 nobody knows here whether it was to be cut. A hash may stand twice.
// The entries are as [Normal] leaves them. Errors name the line; they are
// [ErrHashes] or the reader's.
func ReadHashes(r io.Reader) ([]Entry, error) { return readHashes(r, MaxRevoked) }

func readHashes(r io.Reader, most int) ([]Entry, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	var entries []Entry
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == io.EOF && len(line) == 0:
			return Normal(entries), nil
		case err != nil && err != io.EOF && err != bufio.ErrBufferFull:
			return nil, fmt.Errorf("line %d: %w", n, err)
		case len(entries) == most:
			return nil, fmt.Errorf("%w: line %d: more than %d", ErrHashes, n, most)
		}
		var e Entry
		if e.Hash, err = parseHash(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrHashes, n, err)
		}
		entries = append(entries, e)
	}
}

// Characters of a hash, and of a SHA-256 that was not cut, in hex and base64.
const (
	hexHash    = 2 * HashSize
	base64Hash = 24 // two of them padding
	hexSum     = 64
	base64Sum  = 44
)

func parseHash(line []byte) (h Hash, err error) {
	n := 0
	switch len(line) {
	case 0:
		return h, errors.New("is empty")
	case hexHash:
		if n, err = hex.Decode(h[:], line); err != nil || n != HashSize {
			return h, fmt.Errorf("%q is not hex", line)
		}
		return h, nil
	case base64Hash, base64Hash - 2:
		encoding := base64.StdEncoding.Strict()
		if len(line) < base64Hash {
			encoding = base64.RawStdEncoding.Strict()
		}
		// The decoder would skip line ends, and wants room for padding.
		var b [base64Hash]byte
		n, err = encoding.Decode(b[:], line)
		if err != nil || n != HashSize || bytes.ContainsAny(line, "\r\n") {
			return h, fmt.Errorf("%q is not base64 of %d bytes", line, HashSize)
		}
		return Hash(b[:HashSize]), nil
	case hexSum, base64Sum:
		return h, fmt.Errorf("%d characters are a whole SHA-256; a list has its first %d bytes", len(line), HashSize)
	}
	return h, fmt.Errorf("%d characters, want %d of hex or %d of base64", len(line), hexHash, base64Hash)
}
