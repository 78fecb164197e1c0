package qr

import (
	"errors"
	"fmt"
	"slices"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
)

// errDamaged is a code that was found and has more errors than it can repair.
var errDamaged = errors.New("damaged")

const (
	// leastProof is how sure, in bits, a repaired block must be. A block whose
	// check codewords are all used up by few errors is not (ISO/IEC 18004, 7.5.1
	// keeps some back in small codes for the same reason).
	leastProof = 20
	// leastFormat is how well, of 100, the format information must fit one of its
	// 32 values.
	leastFormat = 40
	// goodFormat is the format information of a code, and hardly of anything else.
	goodFormat = 60
	// maxBlocks and maxBlock are the most blocks in a code and codewords in a
	// block (ISO/IEC 18004, table 9).
	maxBlocks = 81
	maxBlock  = 153
)

// symbolReader turns soft modules into the bytes of a code.
type symbolReader struct {
	layouts layouts
	decoder *decoder.Decoder
	words   []byte   // codewords as they are in the code
	doubt   []uint16 // how doubtful each codeword is: small is doubtful
	blocks  []byte
	trust   []uint16
	order   []int
	// fit is how well the format information of the last code did, of 100.
	fit      int
	thorough bool
	// last and mask are of the code that was decoded last.
	last *decoder.ECBlocks
	mask int
}

// format is what the format information says.
type format struct {
	level, mask int
	mirrored    bool
	fit         int // of 100
}

// formatOf finds the value that fits both copies best, read both ways: along
// the rows, and mirrored.
func formatOf(s *softModules) (best format) {
	pitch, limit := s.pitch(), s.scale()
	places := formatPlaces(s.side)
	for _, mirrored := range [2]bool{false, true} {
		var soft [15]int
		all := 0
		for _, copy := range places {
			for i, p := range copy {
				x, y := p[0], p[1]
				if mirrored {
					x, y = y, x
				}
				soft[i] += min(max(int(s.v[(y+1)*pitch+x+1]), -limit), limit)
			}
		}
		for _, v := range soft {
			all += abs(v)
		}
		all = max(all, 15*limit) // two copies that contradict each other say little
		for value, code := range formatCodes {
			sum := 0
			for i, v := range soft {
				if code>>(14-i)&1 == 1 {
					sum += v
				} else {
					sum -= v
				}
			}
			if fit := 100 * sum / all; fit > best.fit {
				best = format{level: value >> 3, mask: value & 7, mirrored: mirrored, fit: fit}
			}
		}
	}
	return best
}

// decode reads the code whose soft modules are s, and says whether it is
// mirrored, in which case s is turned around. It may give up at the first block
// that has more errors than check codewords for them; thorough is taking the
// doubtful codewords as missing then.
func (r *symbolReader) decode(s *softModules, thorough bool) (payload []byte, mirrored bool, err error) {
	l, err := r.layouts.of((s.side - 17) / 4)
	if err != nil {
		return nil, false, err
	}
	f := formatOf(s)
	r.fit = f.fit
	if f.fit < leastFormat {
		return nil, false, errDamaged
	}
	if f.mirrored {
		s.transpose()
	}
	level, err := decoder.ErrorCorrectionLevel_ForBits(uint(f.level))
	if err != nil {
		return nil, f.mirrored, fmt.Errorf("%w: level %d", errDamaged, f.level)
	}
	r.take(s, l, f.mask)
	r.thorough = thorough
	r.last, r.mask = l.version.GetECBlocksForLevel(level), f.mask
	if !r.repair(r.last) {
		return nil, f.mirrored, errDamaged
	}
	payload, err = r.read(l, f)
	return payload, f.mirrored, err
}

// take reads the codewords off the modules, without the mask.
func (r *symbolReader) take(s *softModules, l *layout, mask int) {
	n := len(l.order) / 8
	if cap(r.words) < n {
		r.words, r.blocks = make([]byte, n), make([]byte, n)
		r.doubt, r.trust = make([]uint16, n), make([]uint16, n)
	}
	r.words, r.blocks, r.doubt, r.trust = r.words[:n], r.blocks[:n], r.doubt[:n], r.trust[:n]
	for i := range n {
		var word byte
		least := int16(maxSoft)
		masks := l.masks[8*i : 8*i+8 : 8*i+8]
		for k, at := range l.order[8*i : 8*i+8] {
			v := s.v[at]
			bit := byte(0)
			if v > 0 {
				bit = 1
			}
			word = word<<1 | bit ^ masks[k]>>mask&1
			least = min(least, max(v, -v))
		}
		r.words[i], r.doubt[i] = word, uint16(least)
	}
}

// eachBlock calls do with each block's length, number of data codewords, and
// where it begins when the blocks lie one behind the other.
func eachBlock(b *decoder.ECBlocks, do func(i, start, data int)) (blocks, check int) {
	check = b.GetECCodewordsPerBlock()
	start := 0
	for _, kind := range b.GetECBlocks() {
		for range kind.GetCount() {
			do(blocks, start, kind.GetDataCodewords())
			start += kind.GetDataCodewords() + check
			blocks++
		}
	}
	return blocks, check
}

// interleave moves codewords between their order in the code, taking turns between
// the blocks, and blocks one behind the other (ISO/IEC 18004, 7.6).
func interleave(b *decoder.ECBlocks, do func(code, block int)) {
	var starts, datas [maxBlocks]int
	most := 0
	blocks, check := eachBlock(b, func(i, start, data int) {
		starts[i], datas[i] = start, data
		most = max(most, data)
	})
	code := 0
	for k := range most {
		for i := range blocks {
			if k < datas[i] {
				do(code, starts[i]+k)
				code++
			}
		}
	}
	for k := range check {
		for i := range blocks {
			do(code, starts[i]+datas[i]+k)
			code++
		}
	}
}

// repair corrects every block, or none.
func (r *symbolReader) repair(b *decoder.ECBlocks) bool {
	interleave(b, func(code, block int) {
		r.blocks[block], r.trust[block] = r.words[code], r.doubt[code]
	})
	whole := true
	check := b.GetECCodewordsPerBlock()
	eachBlock(b, func(_, start, data int) {
		n := data + check
		whole = whole && r.block(r.blocks[start:start+n], r.trust[start:start+n], check)
	})
	return whole
}

// block corrects one block: as it is first, then with more and more of its most
// doubtful codewords taken as missing (generalised minimum distance, Forney).
func (r *symbolReader) block(block []byte, trust []uint16, check int) bool {
	var s [maxCheck]uint8
	if syndromes(block, check, &s) {
		return true
	}
	if r.attempt(block, check, &s, nil) {
		return true
	}
	if !r.thorough {
		return false
	}
	r.order = r.order[:0]
	for i := range block {
		r.order = append(r.order, i)
	}
	slices.SortFunc(r.order, func(i, j int) int { return int(trust[i]) - int(trust[j]) })
	for n := 2; n < check; n += 2 {
		if r.attempt(block, check, &s, r.order[:n]) {
			return true
		}
	}
	return false
}

// attempt corrects a block and keeps the result if it is sure enough.
func (r *symbolReader) attempt(block []byte, check int, s *[maxCheck]uint8, erased []int) bool {
	var before [maxBlock]byte
	copy(before[:], block)
	wrong, ok := correct(block, check, s, erased)
	if !ok {
		return false
	}
	if proof(len(block), wrong, check-len(erased)-2*wrong) < leastProof {
		copy(block, before[:])
		return false
	}
	return true
}

// read has the library decode the repaired code, and returns its payload.
func (r *symbolReader) read(l *layout, f format) ([]byte, error) {
	level, err := decoder.ErrorCorrectionLevel_ForBits(uint(f.level))
	if err != nil {
		return nil, fmt.Errorf("%w: level %d", errDamaged, f.level)
	}
	interleave(l.version.GetECBlocksForLevel(level), func(code, block int) { r.words[code] = r.blocks[block] })
	m, err := r.draw(l, f)
	if err != nil {
		return nil, err
	}
	if r.decoder == nil {
		r.decoder = decoder.NewDecoder()
	}
	result, err := r.decoder.Decode(m, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	payload, err := parseSegments(result.GetRawBytes(), l.version.GetVersionNumber())
	if err != nil {
		return nil, err
	}
	if len(payload) == 0 {
		return nil, fmt.Errorf("%w: empty", errDamaged)
	}
	return payload, nil
}

// draw makes the matrix of a code from its codewords: all that a decoder looks
// at.
func (r *symbolReader) draw(l *layout, f format) (*gozxing.BitMatrix, error) {
	d := l.side
	m, err := gozxing.NewSquareBitMatrix(d)
	if err != nil {
		return nil, fmt.Errorf("code of %d modules: %w", d, err)
	}
	pitch := d + 2
	for i, at := range l.order {
		if bit := r.words[i/8] >> (7 - i%8) & 1; bit^l.masks[i]>>f.mask&1 == 1 {
			m.Set(int(at)%pitch-1, int(at)/pitch-1)
		}
	}
	code := formatCodes[f.level<<3|f.mask]
	for _, copy := range formatPlaces(d) {
		for i, p := range copy {
			if code>>(14-i)&1 == 1 {
				m.Set(p[0], p[1])
			}
		}
	}
	if v := l.version.GetVersionNumber(); v >= 7 {
		code := versionCode(v)
		for i := range 18 {
			if code>>i&1 == 1 {
				m.Set(i/3, d-11+i%3)
				m.Set(d-11+i%3, i/3)
			}
		}
	}
	return m, nil
}
