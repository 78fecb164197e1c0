package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"greengate/scanner"
)

// errPGM is a file that is no 8-bit PGM picture in its plainest form.
var errPGM = errors.New("not an 8-bit PGM")

const (
	maxSide   = 1 << 14
	maxPixels = 1 << 24
)

// pgm reads pictures into memory that it keeps, so that reading a file leaves
// nothing to collect while a reader is timed.
type pgm struct {
	file []byte
}

// read takes a whole picture from r: "P5", width, height and 255, one blank
// behind each, and as many bytes as there are pixels. The format also knows
// comments and runs of blanks; nothing here writes them. The frame is good until
// the next read.
func (p *pgm) read(r io.Reader) (scanner.Frame, error) {
	p.file = p.file[:0]
	for {
		if len(p.file) == cap(p.file) {
			p.file = slices.Grow(p.file, max(1<<16, cap(p.file)))
		}
		n, err := r.Read(p.file[len(p.file):cap(p.file)])
		p.file = p.file[:len(p.file)+n]
		if errors.Is(err, io.EOF) {
			return parsePGM(p.file)
		}
		if err != nil {
			return scanner.Frame{}, err
		}
		if len(p.file) > maxPixels+64 {
			return scanner.Frame{}, fmt.Errorf("%w: more than %d bytes", errPGM, maxPixels)
		}
	}
}

// parsePGM makes a frame of the bytes of a file, which it shares.
func parsePGM(b []byte) (scanner.Frame, error) {
	if len(b) < 3 || b[0] != 'P' || b[1] != '5' || !blank(b[2]) {
		return scanner.Frame{}, fmt.Errorf("%w: no P5 in front", errPGM)
	}
	b = b[3:]
	var head [3]int // width, height, white
	for i := range head {
		n, rest, err := number(b)
		if err != nil {
			return scanner.Frame{}, err
		}
		head[i], b = n, rest
	}
	w, h := head[0], head[1]
	if head[2] != 255 || w < 1 || h < 1 || w*h > maxPixels || len(b) != w*h {
		return scanner.Frame{}, fmt.Errorf("%w: %d×%d, white %d, %d bytes", errPGM, w, h, head[2], len(b))
	}
	return scanner.Frame{Pix: b, Stride: w, Width: w, Height: h}, nil
}

// number takes a decimal number of at most maxSide and the blank behind it.
func number(b []byte) (n int, rest []byte, err error) {
	for i, c := range b {
		switch {
		case blank(c) && i > 0:
			return n, b[i+1:], nil
		case c < '0' || c > '9' || i > 0 && n == 0:
			return 0, nil, fmt.Errorf("%w: byte %#02x in a number", errPGM, c)
		}
		if n = 10*n + int(c-'0'); n > maxSide {
			return 0, nil, fmt.Errorf("%w: a number above %d", errPGM, maxSide)
		}
	}
	return 0, nil, fmt.Errorf("%w: cut in its head", errPGM)
}

func blank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
