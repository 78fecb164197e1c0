package statuslist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// ErrDelta: not a delta, or not one for this list.
var ErrDelta = errors.New("malformed status list delta")

// A delta file is
//
//	magic    "TSD1"
//	bits     1 byte: bits an entry
//	size     uvarint: raw bytes of the list, which a delta does not change
//	count    uvarint: entries that follow
//	entries  bits, most significant first: each the gap to the entry before it
//	         in Golomb-Rice code, then the entry's new value; zeros to a whole byte
//
// The gap counts the entries passed over. Random changes are geometrically
// spaced, for which Rice's code is within a few hundredths of a bit of the best
// (S. Golomb, Run-length encodings, 1966; R. Rice, JPL 79-22, 1979): with 1 % of
// an 8.62 million list changed it takes 109 kB, byte-sized gaps 149.
//
// The parameter of the code follows from size and count, so a set of entries
// has one encoding.
const deltaMagic = "TSD1"

// maxDelta is the most bytes of a delta that Patch reads. A longer one would
// not be shorter than a list.
const maxDelta = MaxSize

// Diff returns a delta with the entries of to that differ from those in from.
// The lists are of one size.
func Diff(from, to *List) ([]byte, error) {
	if err := from.alike(to); err != nil {
		return nil, fmt.Errorf("status list delta: %w", err)
	}
	return encodeDelta(to, changes(from, to)), nil
}

// Widen returns a delta with the entries that the delta old names and those
// that differ between from and to, all with their values in to.
//
// So a delta since generation F grows with each generation, and holds every
// entry that changed since F even where it changed back: it makes generation
// to not only of F, but of every generation from F on.
func Widen(old []byte, from, to *List) ([]byte, error) {
	if err := from.alike(to); err != nil {
		return nil, fmt.Errorf("status list delta: %w", err)
	}
	d, err := openDelta(old, to)
	if err != nil {
		return nil, err
	}
	was := make([]uint64, 0, d.left)
	for {
		index, _, ok, err := d.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		was = append(was, index)
	}
	return encodeDelta(to, union(was, changes(from, to))), nil
}

// Patch sets the entries that the delta names. It checks the delta whole before
// it sets the first, so an error leaves the list as it was. Whether the list
// then is the one that was meant, its digest tells.
func (l *List) Patch(delta []byte) error {
	d, err := openDelta(delta, l)
	if err != nil {
		return err
	}
	check := *d
	for {
		_, _, ok, err := check.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
	}
	per, width := uint64(8/l.bits), uint64(l.bits)
	mask := uint8(math.MaxUint8) >> (8 - l.bits)
	for {
		index, value, ok, err := d.next()
		if err != nil || !ok {
			return err
		}
		shift := index % per * width
		b := &l.raw[index/per]
		*b = *b&^(mask<<shift) | value<<shift
	}
}

// alike says whether a delta can lead from the one list to the other.
func (l *List) alike(to *List) error {
	if !validBits(l.bits) || l.bits != to.bits {
		return fmt.Errorf("%d and %d bits an entry: %w", l.bits, to.bits, ErrBits)
	}
	if len(l.raw) == 0 || len(l.raw) != len(to.raw) {
		return fmt.Errorf("%d and %d bytes: %w", len(l.raw), len(to.raw), ErrSize)
	}
	return nil
}

// changes lists the entries in which two lists of one size differ.
func changes(from, to *List) []uint64 {
	var changed []uint64
	per, mask := 8/from.bits, byte(math.MaxUint8)>>(8-from.bits)
	a, b := from.raw, to.raw
	for i := 0; i < len(a); {
		// Most of two generations is the same: eight bytes at a time.
		if i+8 <= len(a) && binary.NativeEndian.Uint64(a[i:]) == binary.NativeEndian.Uint64(b[i:]) {
			i += 8
			continue
		}
		for end := min(i+8, len(a)); i < end; i++ {
			x := a[i] ^ b[i]
			for j := 0; x != 0; j++ {
				if x&mask != 0 {
					changed = append(changed, uint64(i*per+j))
				}
				x >>= from.bits
			}
		}
	}
	return changed
}

// union merges two ascending lists.
func union(a, b []uint64) []uint64 {
	out := make([]uint64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		case a[0] > b[0]:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// riceParameter is how many low bits of a gap are written as they are: as many
// as a gap of the median length has, which is 0.69 times the mean.
func riceParameter(entries, count uint64) uint {
	if count == 0 {
		return 0
	}
	// 177/256 is ln 2 to three places; entries is at most 2^29.
	median := (entries - count) * 177 / (count * 256)
	if median == 0 {
		return 0
	}
	return uint(bits.Len64(median)) - 1
}

// encodeDelta writes the entries of l at these ascending indices.
func encodeDelta(l *List, indices []uint64) []byte {
	k := riceParameter(l.Len(), uint64(len(indices)))
	out := make([]byte, 0, 16+len(indices)*(int(k)+3+l.bits)/8)
	out = append(out, deltaMagic...)
	out = append(out, byte(l.bits))
	out = binary.AppendUvarint(out, uint64(len(l.raw)))
	out = binary.AppendUvarint(out, uint64(len(indices)))
	w := bitWriter{out: out}
	per := uint64(8 / l.bits)
	mask := uint8(math.MaxUint8) >> (8 - l.bits)
	next := uint64(0)
	for _, i := range indices {
		gap := i - next
		next = i + 1
		for q := gap >> k; q > 0; q-- {
			w.write(1, 1)
		}
		w.write(0, 1)
		w.write(gap&(1<<k-1), k)
		w.write(uint64(l.raw[i/per]>>(i%per*uint64(l.bits))&mask), uint(l.bits))
	}
	return w.bytes()
}

// bitWriter writes bits, the most significant first.
type bitWriter struct {
	out  []byte
	acc  uint64
	have uint // bits in acc, fewer than 8 between calls
}

// write appends the n low bits of v; n is at most 32.
func (w *bitWriter) write(v uint64, n uint) {
	w.acc = w.acc<<n | v
	for w.have += n; w.have >= 8; {
		w.have -= 8
		w.out = append(w.out, byte(w.acc>>w.have))
	}
	w.acc &= 1<<w.have - 1
}

func (w *bitWriter) bytes() []byte {
	if w.have > 0 {
		w.out = append(w.out, byte(w.acc<<(8-w.have)))
		w.have = 0
	}
	return w.out
}

// deltaReader reads the entries of a delta.
type deltaReader struct {
	in      []byte
	at      uint64 // bits read of in
	k, bits uint
	left    uint64 // entries to come
	index   uint64 // the least that the next entry may have
	entries uint64 // of the list
}

// openDelta reads the head of a delta for lists like l.
func openDelta(delta []byte, l *List) (*deltaReader, error) {
	if len(delta) > maxDelta {
		return nil, fmt.Errorf("%w: %d bytes", ErrDelta, len(delta))
	}
	in, ok := bytes.CutPrefix(delta, []byte(deltaMagic))
	if !ok || len(in) == 0 {
		return nil, fmt.Errorf("%w: no delta", ErrDelta)
	}
	if int(in[0]) != l.bits || !validBits(l.bits) {
		return nil, fmt.Errorf("%w: %d bits an entry, the list has %d", ErrDelta, in[0], l.bits)
	}
	in = in[1:]
	size, in, err := uvarint(in)
	if err != nil {
		return nil, err
	}
	if size != uint64(len(l.raw)) {
		return nil, fmt.Errorf("%w: for a list of %d bytes, this one has %d", ErrDelta, size, len(l.raw))
	}
	count, in, err := uvarint(in)
	if err != nil {
		return nil, err
	}
	if count > l.Len() {
		return nil, fmt.Errorf("%w: %d entries, the list has %d", ErrDelta, count, l.Len())
	}
	k := riceParameter(l.Len(), count)
	// Before anybody makes room for so many: each takes a bit for its gap, at least.
	if count*uint64(1+int(k)+l.bits) > uint64(len(in))*8 {
		return nil, fmt.Errorf("%w: cut off", ErrDelta)
	}
	return &deltaReader{in: in, k: k, bits: uint(l.bits), left: count, entries: l.Len()}, nil
}

// uvarint reads a number in its one shortest form.
func uvarint(in []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(in)
	if n <= 0 || n > 1 && in[n-1] == 0 {
		return 0, nil, fmt.Errorf("%w: bad number", ErrDelta)
	}
	return v, in[n:], nil
}

// next returns the next entry; at the end it checks that nothing is behind it.
func (d *deltaReader) next() (index uint64, value uint8, ok bool, err error) {
	if d.left == 0 {
		rest := uint64(len(d.in))*8 - d.at
		if rest >= 8 || rest > 0 && d.in[len(d.in)-1]&(1<<rest-1) != 0 {
			return 0, 0, false, fmt.Errorf("%w: trailing bits", ErrDelta)
		}
		return 0, 0, false, nil
	}
	d.left--
	for {
		one, err := d.read(1)
		if err != nil {
			return 0, 0, false, err
		}
		if one == 0 {
			break
		}
		if d.index += 1 << d.k; d.index >= d.entries {
			return 0, 0, false, fmt.Errorf("%w: entry beyond the list", ErrDelta)
		}
	}
	low, err := d.read(d.k)
	if err != nil {
		return 0, 0, false, err
	}
	v, err := d.read(d.bits)
	if err != nil {
		return 0, 0, false, err
	}
	index = d.index + low
	if index >= d.entries {
		return 0, 0, false, fmt.Errorf("%w: entry beyond the list", ErrDelta)
	}
	d.index = index + 1
	return index, uint8(v), true, nil
}

// read returns the next n bits, at most 32.
func (d *deltaReader) read(n uint) (v uint64, err error) {
	if d.at+uint64(n) > uint64(len(d.in))*8 {
		return 0, fmt.Errorf("%w: cut off", ErrDelta)
	}
	for n > 0 {
		have := 8 - uint(d.at%8)
		take := min(have, n)
		v = v<<take | uint64(d.in[d.at/8]>>(have-take))&(1<<take-1)
		d.at += uint64(take)
		n -= take
	}
	return v, nil
}
