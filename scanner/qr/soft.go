package qr

// maxSoft bounds what a module's value and doubt can be.
const maxSoft = 8191

// softModules say of each module how surely it is dark: above zero is dark, and
// the further from it the surer. The layout is that of modules.
type softModules struct {
	side int
	v    []int16

	sums []int32
}

func (s *softModules) fit(side int) {
	s.side = side
	n := (side + 2) * (side + 2)
	if cap(s.v) < n {
		s.v = make([]int16, n)
		s.sums = make([]int32, (side+1)*(side+1))
	}
	s.v, s.sums = s.v[:n], s.sums[:(side+1)*(side+1)]
}

// pitch is the length of a row with its margins.
func (s *softModules) pitch() int { return s.side + 2 }

// around is how far, in modules, a module is compared with those around it. The
// masks see to it that half of them are dark.
const around = 5

// judge compares each module with the mean of those around it.
func (s *softModules) judge(m *modules) {
	s.fit(m.side)
	d, pitch, wide := m.side, m.pitch(), m.side+1
	clear(s.sums[:wide])
	for y := range d {
		row := m.v[(y+1)*pitch+1:][:d]
		above, sums := s.sums[y*wide:][:wide], s.sums[(y+1)*wide:][:wide]
		sums[0] = 0
		var sum int32
		for x, v := range row {
			sum += int32(v)
			sums[x+1] = above[x+1] + sum
		}
	}
	for y := range d {
		y0, y1 := max(y-around, 0), min(y+around+1, d)
		top, bottom := s.sums[y0*wide:][:wide], s.sums[y1*wide:][:wide]
		row, out := m.v[(y+1)*pitch+1:][:d], s.v[(y+1)*pitch+1:][:d]
		for x, v := range row {
			x0, x1 := max(x-around, 0), min(x+around+1, d)
			sum := bottom[x1] - top[x1] - bottom[x0] + top[x0]
			mean := sum / int32((x1-x0)*(y1-y0))
			out[x] = int16(min(max(mean-int32(v), -maxSoft), maxSoft))
		}
	}
}

// transpose mirrors the modules along the diagonal from the top left.
func (s *softModules) transpose() {
	pitch := s.pitch()
	for y := 1; y <= s.side; y++ {
		for x := y + 1; x <= s.side; x++ {
			i, j := y*pitch+x, x*pitch+y
			s.v[i], s.v[j] = s.v[j], s.v[i]
		}
	}
}

// scale is what a sure module is worth: the mean of what the modules are.
func (s *softModules) scale() int {
	sum, n := 0, 0
	pitch := s.pitch()
	for y := 1; y <= s.side; y += 3 {
		for _, v := range s.v[y*pitch+1:][:s.side] {
			sum += abs(int(v))
			n++
		}
	}
	return max(sum/n, 1)
}
