package qr

import (
	"errors"
	"fmt"
	"slices"
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
	// sureFormat is one of Model 2, and not of Model 1 with another mask.
	sureFormat = 90
	// maxBlocks and maxBlock are the most blocks in a code and codewords in a
	// block (ISO/IEC 18004, table 9; of 2000, table M.4).
	maxBlocks = 81
	maxBlock  = 238
)

// symbolReader turns soft modules into the bytes of a code.
type symbolReader struct {
	layouts layouts
	first   firstLayouts
	words   []byte   // codewords as they are in the code
	doubt   []uint16 // how doubtful each codeword is: small is doubtful
	blocks  []byte
	trust   []uint16
	order   []int
	data    []byte // data codewords, without the blocks
	// fit is how well the format information of the last code did, of 100.
	fit      int
	thorough bool
	// laid, last and mask are of the code that was decoded last.
	laid *layout
	last *blocks
	mask int
}

// format is what the format information says.
type format struct {
	level, mask int
	mirrored    bool
	fit         int // of 100
}

// formatOf finds the value that fits both copies best, read both ways: along
// the rows, and mirrored. Turned are the bits that another mask than Model 2's
// turns around.
func formatOf(s *softModules, turned uint16) (best format) {
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
			code ^= turned
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
	f := formatOf(s, 0)
	var first format
	if f.fit < sureFormat && s.side <= maxFirstSide {
		if first = formatOf(s, firstTurns); first.fit < goodFormat || first.fit < f.fit {
			first = format{}
		}
	}
	if r.fit = max(f.fit, first.fit); r.fit < leastFormat {
		return nil, false, errDamaged
	}
	if payload, err = r.decodeAs(s, l, f, thorough); err == nil || first.fit == 0 {
		return payload, f.mirrored, err
	}
	payload, err = r.decodeAs(s, r.first.of(l.version), first, thorough)
	return payload, first.mirrored, err
}

// decodeAs reads the code whose soft modules are s, if it has that layout and
// format. What is mirrored is turned around while it is looked at, and stays so
// when it was read.
func (r *symbolReader) decodeAs(s *softModules, l *layout, f format, thorough bool) ([]byte, error) {
	if f.mirrored {
		s.transpose()
	}
	r.take(s, l, f.mask)
	r.thorough = thorough
	r.laid, r.last, r.mask = l, &l.levels[f.level], f.mask
	err := errDamaged
	if r.repair(r.last) {
		var payload []byte
		if payload, err = r.read(); err == nil {
			return payload, nil
		}
	}
	if f.mirrored {
		s.transpose()
	}
	return nil, err
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
	r.words[0] &= 0xff >> l.lead
}

// eachBlock calls do with each block's length, number of data codewords, and
// where it begins when the blocks lie one behind the other.
func eachBlock(b *blocks, do func(i, start, data int)) (n, check int) {
	start := 0
	for kind, count := range b.count {
		for range count {
			do(n, start, b.data[kind])
			start += b.data[kind] + b.check
			n++
		}
	}
	return n, b.check
}

// interleave moves codewords between their order in the code, taking turns between
// the blocks, and blocks one behind the other (ISO/IEC 18004, 7.6).
func interleave(b *blocks, do func(code, block int)) {
	if b.first {
		inRow(b, do)
		return
	}
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

// inRow is interleave for Model 1: the data of each block, one behind the other,
// then the check codewords of each.
func inRow(b *blocks, do func(code, block int)) {
	code := 0
	eachBlock(b, func(_, start, data int) {
		for k := range data {
			do(code, start+k)
			code++
		}
	})
	eachBlock(b, func(_, start, data int) {
		for k := range b.check {
			do(code, start+data+k)
			code++
		}
	})
}

// repair corrects every block, or none.
func (r *symbolReader) repair(b *blocks) bool {
	interleave(b, func(code, block int) {
		r.blocks[block], r.trust[block] = r.words[code], r.doubt[code]
	})
	whole := true
	eachBlock(b, func(_, start, data int) {
		n := data + b.check
		whole = whole && r.block(r.blocks[start:start+n], r.trust[start:start+n], b.check)
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

// read takes the payload out of the repaired blocks.
func (r *symbolReader) read() ([]byte, error) {
	r.data = r.data[:0]
	eachBlock(r.last, func(_, start, data int) { r.data = append(r.data, r.blocks[start:start+data]...) })
	payload, err := parseSegments(r.data, r.laid.lead, r.laid.version)
	if err != nil {
		return nil, err
	}
	if len(payload) == 0 {
		return nil, fmt.Errorf("%w: empty", errDamaged)
	}
	return payload, nil
}
