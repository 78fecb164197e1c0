package qr

// Model 1 is the first QR code, of 1994, which is still printed on parts of
// cars (ISO/IEC 18004 of 2000, annex M). It has the finder and timing patterns of
// today's, Model 2, no alignment patterns, another mask of its format
// information, and its codewords lie as bricks of eight modules.
const (
	maxFirstVersion = 14
	maxFirstSide    = 4*maxFirstVersion + 17
	// firstTurns are the bits of the format information that its mask turns
	// around and Model 2's does not, or the other way round.
	firstTurns = 0x2825 ^ 0x5412
	// firstLead is how many bits of the first codeword are in no module.
	firstLead = 4
)

// firstBlocks are the blocks of each version, by the bits of the level: M, L, H,
// Q (table M.4). All of a code are alike.
var firstBlocks = [maxFirstVersion][4]struct{ check, count, data int }{
	{{10, 1, 16}, {7, 1, 19}, {17, 1, 9}, {13, 1, 13}},
	{{16, 1, 30}, {10, 1, 36}, {30, 1, 16}, {22, 1, 24}},
	{{28, 1, 44}, {15, 1, 57}, {48, 1, 24}, {36, 1, 36}},
	{{40, 1, 60}, {20, 1, 80}, {66, 1, 34}, {50, 1, 50}},
	{{52, 1, 82}, {26, 1, 108}, {44, 2, 23}, {66, 1, 68}},
	{{32, 2, 53}, {34, 1, 136}, {56, 2, 29}, {42, 2, 43}},
	{{40, 2, 66}, {42, 1, 170}, {46, 3, 24}, {52, 2, 54}},
	{{48, 2, 80}, {24, 2, 104}, {56, 3, 29}, {64, 2, 64}},
	{{60, 2, 93}, {30, 2, 123}, {68, 3, 34}, {50, 3, 52}},
	{{68, 2, 111}, {34, 2, 145}, {58, 4, 31}, {58, 3, 61}},
	{{40, 4, 64}, {40, 2, 168}, {54, 5, 29}, {52, 4, 52}},
	{{46, 4, 73}, {46, 2, 192}, {62, 5, 33}, {58, 4, 61}},
	{{52, 4, 83}, {36, 3, 144}, {58, 6, 32}, {66, 4, 69}},
	{{60, 4, 92}, {40, 3, 163}, {66, 6, 35}, {60, 5, 62}},
}

// firstLayouts makes each layout when a code first needs it.
type firstLayouts [maxFirstVersion + 1]*layout

// of returns the layout of a version from 1 to maxFirstVersion.
func (l *firstLayouts) of(version int) *layout {
	if l[version] == nil {
		l[version] = newFirstLayout(version)
	}
	return l[version]
}

func newFirstLayout(version int) *layout {
	d := 17 + 4*version
	pitch := d + 2
	l := &layout{version: version, side: d, lead: firstLead}
	for level, b := range firstBlocks[version-1] {
		l.levels[level] = blocks{check: b.check, count: [2]int{b.count}, data: [2]int{b.data}, first: true}
	}
	know := func(x, y int, dark bool) {
		if x >= 0 && y >= 0 && x < d && y < d {
			l.known = append(l.known, knownModule{uint16((y+1)*pitch + x + 1), dark})
		}
	}
	finderModules(d, know)
	timingModules(d, know)
	// A brick begins at its lower right module and goes left, then up.
	brick := func(x, y, wide int) {
		for i := range 8 {
			u, v := x-i%wide, y-i/wide
			l.order = append(l.order, uint16((v+1)*pitch+u+1))
			l.masks = append(l.masks, masksAt(u, v))
		}
	}
	// Two columns of upright bricks on the right, up to the finder pattern. In the
	// outer one every other place is taken by an extension pattern.
	for column := range 2 {
		rows := (d - 8) / 4
		for i := range rows {
			if column == 1 || i%2 == 1 || i == 0 || i == rows-1 {
				brick(d-1-2*column, d-1-4*i, 2)
			}
		}
	}
	// Columns of lying bricks, leaving out the timing pattern; the lowest places
	// have extension patterns in turn.
	columns := d/4 - 3
	for column := range columns {
		rows := d / 2
		if column == 0 {
			rows -= 4 // under the finder pattern
		}
		for i := range rows {
			if i == 0 && column%2 == 1 && column != columns-1 {
				continue
			}
			y := d - 1 - 2*i
			if i >= d/2-3 {
				y--
			}
			brick(d-5-4*column, y, 4)
		}
	}
	// Four columns of upright bricks on the left, between the finder patterns.
	for _, x := range [4]int{8, 5, 3, 1} {
		for i := range (d - 16) / 4 {
			brick(x, d-9-4*i, 2)
		}
	}
	return l
}
