package qr

import (
	"fmt"

	"github.com/makiuchi-d/gozxing/qrcode/decoder"
)

// layout says what the modules of a version are for (ISO/IEC 18004, 6.3 and
// 7.7.3). Places are indices into modules.v.
type layout struct {
	version int
	side    int
	// levels are the blocks of each level of error correction, by its two bits.
	levels [4]blocks
	// lead is how many bits of the first codeword are none: they are not in the
	// code.
	lead int
	// centres of the alignment patterns in each direction.
	centres []int
	// order of the modules that carry bits of codewords.
	order []uint16
	// masks tells for each of order which of the eight patterns turn it around.
	masks []uint8
	// known are the modules that look the same in every code.
	known []knownModule
}

// blocks says into which blocks the codewords of a code are divided: so many
// that hold so much data, and so many others that hold one more.
type blocks struct {
	check       int // codewords of each
	count, data [2]int
	first       bool // Model 1's, which do not take turns
}

// knownModule is a module whose colour the standard says.
type knownModule struct {
	at   uint16
	dark bool
}

// layouts makes each layout when a code first needs it.
type layouts [41]*layout

// of returns the layout of a version from 1 to 40.
func (l *layouts) of(version int) (*layout, error) {
	if version < 1 || version > 40 {
		return nil, fmt.Errorf("%w: version %d", ErrNoCode, version)
	}
	if l[version] == nil {
		v, err := decoder.Version_GetVersionForNumber(version)
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", version, err)
		}
		l[version] = newLayout(v)
	}
	return l[version], nil
}

func newLayout(v *decoder.Version) *layout {
	l := &layout{version: v.GetVersionNumber(), side: v.GetDimensionForVersion(), centres: v.GetAlignmentPatternCenters()}
	for level, of := range [4]decoder.ErrorCorrectionLevel{
		decoder.ErrorCorrectionLevel_M, decoder.ErrorCorrectionLevel_L, decoder.ErrorCorrectionLevel_H, decoder.ErrorCorrectionLevel_Q,
	} {
		b := v.GetECBlocksForLevel(of)
		l.levels[level].check = b.GetECCodewordsPerBlock()
		for i, kind := range b.GetECBlocks() {
			l.levels[level].count[i], l.levels[level].data[i] = kind.GetCount(), kind.GetDataCodewords()
		}
	}
	d := l.side
	pitch := d + 2
	taken := make([]bool, d*d)
	take := func(x, y int) { taken[y*d+x] = true }
	know := func(x, y int, dark bool) {
		if x < 0 || y < 0 || x >= d || y >= d || taken[y*d+x] {
			return
		}
		take(x, y)
		l.known = append(l.known, knownModule{uint16((y+1)*pitch + x + 1), dark})
	}
	finderModules(d, know)
	last := len(l.centres) - 1
	for j, cy := range l.centres {
		for i, cx := range l.centres {
			if i == 0 && j == 0 || i == 0 && j == last || i == last && j == 0 {
				continue // finder patterns
			}
			for y := -2; y <= 2; y++ {
				for x := -2; x <= 2; x++ {
					know(cx+x, cy+y, max(abs(x), abs(y)) != 1)
				}
			}
		}
	}
	timingModules(d, know)
	for i := range 9 { // format
		take(i, 8)
		take(8, i)
	}
	for i := d - 8; i < d; i++ {
		take(i, 8)
		take(8, i)
	}
	if v.GetVersionNumber() >= 7 {
		for i := range 6 {
			for j := d - 11; j < d-8; j++ {
				take(i, j)
				take(j, i)
			}
		}
	}
	total := 8 * v.GetTotalCodewords()
	l.order, l.masks = make([]uint16, 0, total), make([]uint8, 0, total)
	up := true
	for x := d - 1; x > 0; x -= 2 {
		if x == 6 {
			x-- // the upright timing pattern
		}
		for k := range d {
			y := k
			if up {
				y = d - 1 - k
			}
			for c := x; c >= x-1; c-- {
				if !taken[y*d+c] && len(l.order) < total {
					l.order = append(l.order, uint16((y+1)*pitch+c+1))
					l.masks = append(l.masks, masksAt(c, y))
				}
			}
		}
		up = !up
	}
	return l
}

// finderModules calls know with the modules of the finder patterns and of what
// separates them from the rest, also with those that would be outside.
func finderModules(side int, know func(x, y int, dark bool)) {
	for _, o := range [3][2]int{{0, 0}, {side - 7, 0}, {0, side - 7}} {
		for y := -1; y <= 7; y++ {
			for x := -1; x <= 7; x++ {
				r := max(abs(x-3), abs(y-3))
				know(o[0]+x, o[1]+y, r == 3 || r <= 1)
			}
		}
	}
}

// timingModules calls know with the modules of the timing patterns.
func timingModules(side int, know func(x, y int, dark bool)) {
	for i := 8; i < side-8; i++ {
		know(i, 6, i&1 == 0)
		know(6, i, i&1 == 0)
	}
}

// masksAt returns which of the eight mask patterns turn the module at column x,
// row y around (ISO/IEC 18004, table 10).
func masksAt(x, y int) (m uint8) {
	for i, on := range [8]bool{
		(y+x)%2 == 0,
		y%2 == 0,
		x%3 == 0,
		(y+x)%3 == 0,
		(y/2+x/3)%2 == 0,
		y*x%2+y*x%3 == 0,
		(y*x%2+y*x%3)%2 == 0,
		((y+x)%2+y*x%3)%2 == 0,
	} {
		if on {
			m |= 1 << i
		}
	}
	return m
}

// formatPlaces are the modules of both copies of the format information, the
// most significant bit first (ISO/IEC 18004, 7.9), as column and row.
func formatPlaces(side int) (p [2][15][2]int) {
	for i := range 15 {
		switch {
		case i < 6:
			p[0][i] = [2]int{i, 8}
		case i < 8:
			p[0][i] = [2]int{i + 1, 8}
		case i == 8:
			p[0][i] = [2]int{8, 7}
		default:
			p[0][i] = [2]int{8, 14 - i}
		}
		if i < 7 {
			p[1][i] = [2]int{8, side - 1 - i}
		} else {
			p[1][i] = [2]int{side - 15 + i, 8}
		}
	}
	return p
}

// bch appends the remainder of BCH codes as the standard has them (annexes C
// and D): value shifted by the generator's degree, plus the remainder.
func bch(value, generator uint32, degree int) uint32 {
	r := value << degree
	for i := 31; i >= degree; i-- {
		if r>>i&1 == 1 {
			r ^= generator << (i - degree)
		}
	}
	return value<<degree | r
}

// formatCodes are the 32 values of the format information.
var formatCodes = func() (codes [32]uint16) {
	for i := range codes {
		codes[i] = uint16(bch(uint32(i), 0x537, 10) ^ 0x5412)
	}
	return codes
}()

// versionCode is the version information of a version from 7 on.
func versionCode(version int) uint32 { return bch(uint32(version), 0x1f25, 12) }
