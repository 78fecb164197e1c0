package qr

import (
	"encoding/binary"

	"greengate/scanner"
)

// blockSide is the width and height in pixels of the squares that share one
// threshold: two words of eight pixels.
const (
	blockSide  = 16
	blockShift = 4
)

// Eight pixels are looked at in one word. Seven bits of each are enough to find
// a code, and leave the eighth to carry the answer of a comparison.
const (
	lanes = 0x0101010101010101
	high  = 0x80 * lanes
	low   = 0x7f * lanes
)

const (
	// minContrast is the difference of brightness below which a block, or its
	// neighbourhood, holds nothing but noise.
	minContrast = 14
	// flat marks a block whose neighbourhood has no contrast.
	flat = -1
)

// thresholdMap says for each block of a picture at which brightness dark ends,
// after Bernsen: the middle between the darkest and the lightest pixel, there
// where both are seen, and what the neighbours say elsewhere.
type thresholdMap struct {
	w, h int // in blocks
	// at holds the thresholds. Each is odd, so that comparing seven bits gives
	// what comparing eight would.
	at []uint8
	// local trusts each block whose contrast is above the noise of the picture.
	// Otherwise a block must hold two fifths of the contrast around it: what is
	// inside a large module, or is noise beside a code, has no say. Shadows need
	// the first, large modules the second.
	local bool

	min, max    []uint8 // of each block, and a word more
	lows, highs []uint8 // of a row and its neighbours
	sums        []uint32
	raw, mid    []int16
}

// levelAt is the threshold of the pixel at x, y.
func (m *thresholdMap) levelAt(x, y int) int {
	return int(m.at[(y>>blockShift)*m.w+x>>blockShift])
}

// fit makes room for a picture.
func (m *thresholdMap) fit(f scanner.Frame) {
	m.w, m.h = (f.Width+blockSide-1)/blockSide, (f.Height+blockSide-1)/blockSide
	n := m.w * m.h
	if cap(m.at) < n {
		m.at, m.min, m.max = make([]uint8, n), make([]uint8, n+8), make([]uint8, n+8)
		m.raw, m.mid = make([]int16, n), make([]int16, n)
	}
	if cap(m.lows) < m.w+3*margin {
		m.lows, m.highs = make([]uint8, m.w+3*margin), make([]uint8, m.w+3*margin)
		m.sums = make([]uint32, m.w+2)
	}
	m.at, m.min, m.max, m.raw, m.mid = m.at[:n], m.min[:n+8], m.max[:n+8], m.raw[:n], m.mid[:n]
}

// build makes the map of f.
func (m *thresholdMap) build(f scanner.Frame) {
	m.fit(f)
	for by := range m.h {
		m.extremes(f, by)
	}
	m.settle()
}

// settle turns the extremes into thresholds.
func (m *thresholdMap) settle() {
	m.trust()
	m.smooth()
	m.fill()
}

// maxLanes is the larger of each pair of lanes of seven bits.
func maxLanes(a, b uint64) uint64 {
	ge := ((a | high) - b) & high
	ge -= ge >> 7
	return b ^ (a^b)&ge
}

// extremes finds the darkest and lightest pixel of each block of a row of
// blocks, of every fourth row of pixels.
func (m *thresholdMap) extremes(f scanner.Frame, by int) {
	y0 := by * blockSide
	rows := m.sparse(f, y0)
	whole := f.Width / blockSide
	r0, r1, r2, r3 := rows[0], rows[1], rows[2], rows[3]
	mins, maxs := m.min[by*m.w:][:m.w], m.max[by*m.w:][:m.w]
	for bx := range whole {
		x := bx * blockSide
		var top, bottom uint64 // the largest, and the complement of the smallest
		for _, r := range [4][]byte{r0, r1, r2, r3} {
			r := r[x : x+16 : x+16]
			p := binary.LittleEndian.Uint64(r) >> 1 & low
			q := binary.LittleEndian.Uint64(r[8:]) >> 1 & low
			// Ordered first, a pair needs one comparison more, not two.
			ge := ((p | high) - q) & high
			ge -= ge >> 7
			d := (p ^ q) & ge
			top = maxLanes(top, q^d)
			bottom = maxLanes(bottom, p^d^low)
		}
		// Fold the lanes, the two questions side by side.
		top = maxLanes(top, top>>32)
		bottom = maxLanes(bottom, bottom>>32)
		both := top&0xffffffff | bottom<<32
		both = maxLanes(both, both>>16&0x00007f7f00007f7f)
		both = maxLanes(both, both>>8&0x0000007f0000007f)
		maxs[bx] = uint8(both&0x7f)<<1 | 1
		mins[bx] = (uint8(both>>32&0x7f) ^ 0x7f) << 1
	}
	if whole < m.w {
		lo, hi := uint8(255), uint8(0)
		for _, r := range rows {
			for _, p := range r[whole*blockSide : f.Width] {
				lo, hi = min(lo, p), max(hi, p)
			}
		}
		mins[whole], maxs[whole] = lo, hi
	}
}

// sparse returns the four rows that stand for the row of blocks from y0 on. In
// the last blocks of a picture they may be the same.
func (m *thresholdMap) sparse(f scanner.Frame, y0 int) (rows [4][]byte) {
	for i := range rows {
		y := min(y0+1+i*blockSide/4, f.Height-1)
		rows[i] = f.Pix[y*f.Stride:][:f.Width]
	}
	return rows
}

// noise is a contrast that a block of this picture has by itself.
func (m *thresholdMap) noise() int {
	var seen [256]int
	for i, lo := range m.min[:len(m.at)] {
		seen[max(m.max[i], lo)-lo]++
	}
	quarter, n := 0, 0
	for n < len(m.at)/4 && quarter < 255 {
		n += seen[quarter]
		quarter++
	}
	return quarter/2 + 10
}

// margin is how many columns stand on either side of the blocks in the arrays
// of trust, so that a word that reaches over the edge reads something.
const margin = 8

// trust sets raw: a threshold where a block has its own, what its neighbourhood
// would say as -2-threshold, or flat.
func (m *thresholdMap) trust() {
	w, h := m.w, m.h
	noise := 256
	if m.local {
		noise = m.noise()
	}
	wide := w + 3*margin
	lows, highs := m.lows[:wide], m.highs[:wide]
	for i := range lows {
		lows[i], highs[i] = 0x7f, 0
	}
	for by := range h {
		// Five rows into one, then five columns of it, eight blocks a word, in
		// seven bits.
		first, last := max(by-2, 0), min(by+2, h-1)
		for bx := 0; bx < w; bx += 8 {
			lo, hi := uint64(low), uint64(0)
			for y := first; y <= last; y++ {
				lo = low ^ maxLanes(low^lo, low^binary.LittleEndian.Uint64(m.min[y*w+bx:])>>1&low)
				hi = maxLanes(hi, binary.LittleEndian.Uint64(m.max[y*w+bx:])>>1&low)
			}
			binary.LittleEndian.PutUint64(lows[margin+bx:], lo)
			binary.LittleEndian.PutUint64(highs[margin+bx:], hi)
		}
		for i := margin + w; i < min(margin+w+8, wide); i++ {
			lows[i], highs[i] = 0x7f, 0
		}
		row := by * w
		for bx := 0; bx < w; bx += 8 {
			var lo, hi uint64
			for d := margin - 2; d <= margin+2; d++ {
				lo = maxLanes(lo, low^binary.LittleEndian.Uint64(lows[bx+d:]))
				hi = maxLanes(hi, binary.LittleEndian.Uint64(highs[bx+d:]))
			}
			lo ^= low
			n := min(8, w-bx)
			mins, maxs, raw := m.min[row+bx:][:n], m.max[row+bx:][:n], m.raw[row+bx:][:n]
			for k := range raw {
				l, t := int(lo&0x7f)<<1, int(hi&0x7f)<<1|1
				lo, hi = lo>>8, hi>>8
				own, around := int(maxs[k])-int(mins[k]), t-l
				switch {
				case around < minContrast:
					raw[k] = flat
				case own >= minContrast && (5*own >= 2*around || own >= noise):
					raw[k] = int16((int(mins[k]) + int(maxs[k])) / 2)
				default:
					raw[k] = int16(-2 - (l+t)/2)
				}
			}
		}
	}
}

// ninth of n is about 2¹⁶ over n.
var ninth = [10]uint32{0, 65536, 32768, 21846, 16384, 13108, 10923, 9363, 8192, 7282}

// smooth takes the mean of the trusted of nine blocks, or their median where
// shadows are to stay sharp.
func (m *thresholdMap) smooth() {
	if m.local {
		m.medians()
		return
	}
	w, h := m.w, m.h
	// Each column's sum over three rows, and how many there are in the upper
	// half.
	sums := m.sums[:w+2]
	for by := range h {
		clear(sums)
		for y := max(by-1, 0); y <= min(by+1, h-1); y++ {
			for x, v := range m.raw[y*w:][:w] {
				if v >= 0 {
					sums[x+1] += 1<<16 | uint32(v)
				}
			}
		}
		raw, mid := m.raw[by*w:][:w], m.mid[by*w:][:w]
		for x := range mid {
			sum := sums[x] + sums[x+1] + sums[x+2]
			switch n := sum >> 16; {
			case n > 0:
				mid[x] = int16((sum & 0xffff) * ninth[n] >> 16)
			case raw[x] != flat:
				mid[x] = -2 - raw[x]
			default:
				mid[x] = flat
			}
		}
	}
}

// medians is smooth with medians.
func (m *thresholdMap) medians() {
	w, h := m.w, m.h
	var near [9]int16
	for by := range h {
		for bx := range w {
			n := 0
			for y := max(by-1, 0); y <= min(by+1, h-1); y++ {
				for _, v := range m.raw[y*w+max(bx-1, 0) : y*w+min(bx+1, w-1)+1] {
					if v >= 0 {
						near[n] = v
						n++
					}
				}
			}
			i := by*w + bx
			switch {
			case n > 0:
				m.mid[i] = median(near[:n])
			case m.raw[i] != flat:
				m.mid[i] = -2 - m.raw[i]
			default:
				m.mid[i] = flat
			}
		}
	}
}

// median sorts v and returns its middle.
func median(v []int16) int16 {
	for i, x := range v {
		for ; i > 0 && v[i-1] > x; i-- {
			v[i] = v[i-1]
		}
		v[i] = x
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// fill gives blocks without any contrast around them what a neighbour has, so
// that a wide white margin stays white up to the code.
func (m *thresholdMap) fill() {
	w, n := m.w, len(m.mid)
	for i, v := range m.mid {
		switch {
		case v >= 0:
		case i%w > 0 && m.mid[i-1] >= 0:
			m.mid[i] = m.mid[i-1]
		case i >= w:
			m.mid[i] = m.mid[i-w]
		}
	}
	for i := n - 1; i >= 0; i-- {
		if m.mid[i] < 0 {
			switch {
			case i%w < w-1 && m.mid[i+1] >= 0:
				m.mid[i] = m.mid[i+1]
			case i+w < n && m.mid[i+w] >= 0:
				m.mid[i] = m.mid[i+w]
			default:
				m.mid[i] = 127
			}
		}
		m.at[i] = uint8(m.mid[i]) | 1
	}
}
