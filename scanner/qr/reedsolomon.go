package qr

import "math/bits"

// maxCheck is how many check codewords a block has at most (ISO/IEC 18004 of
// 2000, table M.4; those of Model 2 have 30).
const maxCheck = 68

// field are the logarithms of GF(2⁸) modulo x⁸+x⁴+x³+x²+1, and what powers of
// the root times each value are.
type field struct {
	exp   [510]uint8
	log   [256]uint8
	times [maxCheck][256]uint8 // αⁱ·x
}

var gf = func() (f field) {
	x := 1
	for i := range 255 {
		f.exp[i], f.exp[i+255] = uint8(x), uint8(x)
		f.log[x] = uint8(i)
		if x <<= 1; x > 255 {
			x ^= 0x11d
		}
	}
	for i := range f.times {
		for v := 1; v < 256; v++ {
			f.times[i][v] = f.exp[i+int(f.log[v])]
		}
	}
	return f
}()

func (f *field) mul(a, b uint8) uint8 {
	if a == 0 || b == 0 {
		return 0
	}
	return f.exp[int(f.log[a])+int(f.log[b])]
}

// div is a/b for b that is not 0.
func (f *field) div(a, b uint8) uint8 {
	if a == 0 {
		return 0
	}
	return f.exp[int(f.log[a])+255-int(f.log[b])]
}

// syndromes of a block with check codewords at its end. It reports whether all
// are zero: the block is right as it is.
func syndromes(block []byte, check int, s *[maxCheck]uint8) bool {
	var any uint8
	for i := range check {
		t := &gf.times[i]
		var v uint8
		for _, c := range block {
			v = t[v] ^ c
		}
		s[i] = v
		any |= v
	}
	return any == 0
}

// correct repairs a block whose syndromes are s, of which the codewords at
// erased are known to be doubtful, and returns how many others were wrong. It
// leaves the block alone when it fails (Berlekamp and Massey, begun with the
// erasures; Chien; Forney).
func correct(block []byte, check int, s *[maxCheck]uint8, erased []int) (wrong int, ok bool) {
	n := len(block)
	var sigma, b, t [maxCheck + 2]uint8
	sigma[0] = 1
	for k, at := range erased {
		x := gf.exp[n-1-at]
		for i := k + 1; i > 0; i-- {
			sigma[i] ^= gf.mul(x, sigma[i-1])
		}
	}
	b = sigma
	degree := len(erased)
	for r := degree + 1; r <= check; r++ {
		var delta uint8
		for i := 0; i <= degree && i < r; i++ {
			delta ^= gf.mul(sigma[i], s[r-1-i])
		}
		copy(b[1:check+2], b[:check+1])
		b[0] = 0
		if delta == 0 {
			continue
		}
		t = sigma
		for i := 1; i <= check; i++ {
			t[i] ^= gf.mul(delta, b[i])
		}
		if 2*degree <= r+len(erased)-1 {
			degree = r + len(erased) - degree
			for i := range check + 1 {
				b[i] = gf.div(sigma[i], delta)
			}
		}
		sigma = t
	}
	wrong = degree - len(erased)
	if degree > check || 2*wrong+len(erased) > check || sigma[degree] == 0 {
		return 0, false
	}
	var omega [maxCheck]uint8
	for i := range check {
		for j := 0; j <= min(i, degree); j++ {
			omega[i] ^= gf.mul(sigma[j], s[i-j])
		}
	}
	var at [maxCheck]int
	var fix [maxCheck]uint8
	roots := 0
	for power := 0; power < n && roots < degree; power++ {
		inverse := (255 - power) % 255
		var v uint8
		for i, e := 0, 0; i <= degree; i++ {
			if sigma[i] != 0 {
				v ^= gf.exp[int(gf.log[sigma[i]])+e]
			}
			if e += inverse; e >= 255 {
				e -= 255
			}
		}
		if v != 0 {
			continue
		}
		var value, slope uint8
		for i, e := 0, 0; i < check; i++ {
			if omega[i] != 0 {
				value ^= gf.exp[int(gf.log[omega[i]])+e]
			}
			if i&1 == 0 && sigma[i+1] != 0 {
				slope ^= gf.exp[int(gf.log[sigma[i+1]])+e]
			}
			if e += inverse; e >= 255 {
				e -= 255
			}
		}
		if slope == 0 {
			return 0, false
		}
		at[roots] = n - 1 - power
		fix[roots] = gf.mul(gf.exp[power], gf.div(value, slope))
		roots++
	}
	if roots != degree {
		return 0, false
	}
	for i := range roots {
		block[at[i]] ^= fix[i]
	}
	return wrong, true
}

// proof is how sure it is, in bits, that a block of n codewords was repaired
// into what it was: one of random codewords would be accepted once in 2^proof.
// Spare are the check codewords that were not used up.
func proof(n, wrong, spare int) int {
	ways := uint64(1) // n choose wrong
	p := 8 * (wrong + spare)
	for i := range wrong {
		ways = ways * uint64(n-i) / uint64(i+1)
		if ways >= 1<<32 {
			ways >>= 24
			p -= 24
		}
	}
	return p - bits.Len64(ways)
}
