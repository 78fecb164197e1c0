package camera

import (
	"bufio"
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"io"
	"sync"
)

// JPEG markers (ITU-T T.81, table B.1), each after 0xFF.
const (
	markTEM  = 0x01
	markDHT  = 0xC4
	markRST0 = 0xD0
	markRST7 = 0xD7
	markSOI  = 0xD8
	markEOI  = 0xD9
	markSOS  = 0xDA
)

// maxJPEG is the most bytes of one picture in a stream: ten times what a
// camera makes of 1920×1080.
const maxJPEG = 4 << 20

// splitter cuts a stream of JPEGs, one behind the other (Motion JPEG), into
// pictures. Segments are passed over by their length, since a thumbnail inside
// one has an end of its own. What is no picture between them, or grows beyond
// maxJPEG, is dropped up to the next beginning.
type splitter struct {
	r   *bufio.Reader
	buf []byte
}

// errNotJPEG makes the splitter look for the next beginning.
var errNotJPEG = errors.New("not a JPEG")

// newSplitter reads from r.
func newSplitter(r io.Reader) *splitter {
	return &splitter{r: bufio.NewReaderSize(r, 1<<15)}
}

// next returns the next picture, good until the following call, or the error of
// the stream.
func (s *splitter) next() ([]byte, error) {
	begun := false // SOI has been read already
	for {
		if !begun {
			if err := s.begin(); err != nil {
				return nil, err
			}
		}
		s.buf = append(s.buf[:0], 0xFF, markSOI)
		var err error
		if begun, err = s.picture(); err == nil {
			return s.buf, nil
		} else if !errors.Is(err, errNotJPEG) {
			return nil, err
		}
	}
}

// begin reads up to and with the next SOI.
func (s *splitter) begin() error {
	ff := false
	for {
		b, err := s.r.ReadByte()
		if err != nil {
			return err
		}
		if ff && b == markSOI {
			return nil
		}
		ff = b == 0xFF
	}
}

// picture reads what follows SOI, up to and with EOI. With errNotJPEG, begun
// says that it met the SOI of another picture.
func (s *splitter) picture() (begun bool, err error) {
	for {
		b, err := s.r.ReadByte()
		if err != nil {
			return false, err
		}
		if b != 0xFF {
			return false, errNotJPEG
		}
		mark := b
		for mark == 0xFF { // fill bytes
			if mark, err = s.r.ReadByte(); err != nil {
				return false, err
			}
		}
		for {
			switch {
			case mark == markSOI:
				return true, errNotJPEG
			case mark == 0x00:
				return false, errNotJPEG
			}
			s.buf = append(s.buf, 0xFF, mark)
			if mark == markEOI {
				return false, nil
			}
			if mark == markTEM || markRST0 <= mark && mark <= markRST7 {
				break
			}
			if err := s.segment(); err != nil {
				return false, err
			}
			if mark != markSOS {
				break
			}
			if mark, err = s.scan(); err != nil {
				return false, err
			}
		}
	}
}

// segment reads a length and what it counts.
func (s *splitter) segment() error {
	var l [2]byte
	if _, err := io.ReadFull(s.r, l[:]); err != nil {
		return err
	}
	n := int(l[0])<<8 | int(l[1])
	if n < 2 || len(s.buf)+n > maxJPEG {
		return errNotJPEG
	}
	s.buf = append(s.buf, l[:]...)
	at := len(s.buf)
	s.buf = append(s.buf, make([]byte, n-2)...)
	_, err := io.ReadFull(s.r, s.buf[at:])
	return err
}

// scan reads entropy-coded data and returns the marker behind it.
func (s *splitter) scan() (mark byte, err error) {
	for {
		part, err := s.r.ReadSlice(0xFF)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, err
		}
		if len(s.buf)+len(part)+2 > maxJPEG {
			return 0, errNotJPEG
		}
		s.buf = append(s.buf, part...)
		if err != nil {
			continue // no 0xFF in a whole buffer
		}
		b, err := s.r.ReadByte()
		for err == nil && b == 0xFF { // fill bytes
			b, err = s.r.ReadByte()
		}
		if err != nil {
			return 0, err
		}
		if b == 0x00 || markRST0 <= b && b <= markRST7 {
			s.buf = append(s.buf, b)
			continue
		}
		s.buf = s.buf[:len(s.buf)-1] // the 0xFF belongs to the marker
		return b, nil
	}
}

// withTables puts the standard Huffman tables into a JPEG that has none: USB
// cameras leave them out (the AVI1 habit), and the decoder wants them.
func withTables(data []byte) []byte {
	if len(data) < 4 || data[0] != 0xFF || data[1] != markSOI {
		return data
	}
	i := 2
	for i+4 <= len(data) && data[i] == 0xFF {
		switch data[i+1] {
		case 0xFF:
			i++
			continue
		case markDHT:
			return data
		case markSOS:
			return bytes.Join([][]byte{data[:i], standardTables(), data[i:]}, nil)
		}
		i += 2 + int(data[i+2])<<8 + int(data[i+3])
	}
	return data
}

// standardTables are the DHT segments of ITU-T T.81, annex K.3, as the standard
// library writes them into each JPEG.
var standardTables = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, 8, 8), image.YCbCrSubsampleRatio420), nil); err != nil {
		return nil // writing to memory does not fail
	}
	var tables []byte
	data := b.Bytes()
	for i := 2; i+4 <= len(data) && data[i+1] != markSOS; {
		n := 2 + int(data[i+2])<<8 + int(data[i+3])
		if data[i+1] == markDHT {
			tables = append(tables, data[i:i+n]...)
		}
		i += n
	}
	return tables
})
