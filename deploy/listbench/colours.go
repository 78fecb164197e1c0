package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"

	"greengate/pass/statuslist"
	"greengate/sync/hub/publisher"
)

// perList is how many codes one list holds, as the hub makes them.
const perList = 1 << 20

// size is how many codes to measure with.
type size struct {
	name  string // as it stands behind a figure's name
	codes int
}

// The sizes that the figures are asked for: a city, a province within days, a
// large province.
var (
	city     = size{"8.62m", 8_620_000}
	province = size{"15m", 15_000_000}
	large    = size{"150m", 150_000_000}
)

// lists is how many lists the codes take.
func (s size) lists() int { return (s.codes + perList - 1) / perList }

// bytes is how many raw bytes the lists have.
func (s size) bytes() int64 { return int64(s.lists()) * perList / 4 }

// colours are the lists as the authority holds them: 97 % green, 2 % yellow,
// 1 % red, and void what is not issued. The seed is fixed, so each run
// measures the same.
type colours struct {
	size
	raw [][]byte
	rng *rand.Rand
}

func newColours(s size, seed uint64) *colours {
	c := &colours{size: s, rng: rand.New(rand.NewPCG(seed, 33))}
	for n := range s.lists() {
		raw := make([]byte, perList/4)
		for i := range perList {
			v := statuslist.Invalid
			if n*perList+i < s.codes {
				v = c.draw()
			}
			raw[i/4] |= v << (i % 4 * 2)
		}
		c.raw = append(c.raw, raw)
	}
	return c
}

func (c *colours) draw() byte {
	switch p := c.rng.IntN(100); {
	case p < 97:
		return statuslist.Valid
	case p < 99:
		return statuslist.Suspended
	}
	return statuslist.ApplicationSpecific
}

// change recolours a share of the codes: half of the changes take a green code
// to yellow or red, the other half one of those back to green, so that a year
// of them leaves the shares as they are.
func (c *colours) change(share float64) {
	for k := range int(math.Round(float64(c.codes) * share)) {
		for {
			code := c.rng.IntN(c.codes)
			b, shift := &c.raw[code/perList][code%perList/4], code%4*2
			old := *b >> shift & 3
			if (old == statuslist.Valid) != (k%2 == 0) {
				continue
			}
			v := statuslist.Valid
			if k%2 == 0 {
				v = statuslist.Suspended + byte(c.rng.IntN(3)/2) // two yellow, one red
			}
			*b = *b&^(3<<shift) | v<<shift
			break
		}
	}
}

// joined are all lists' bytes, one behind the other.
func (c *colours) joined() []byte { return bytes.Join(c.raw, nil) }

// changesSince are the codes whose colour is another than in before.
func (c *colours) changesSince(before []byte) (out []change) {
	for code := range c.codes {
		shift := code % 4 * 2
		if v := c.raw[code/perList][code%perList/4] >> shift & 3; v != before[code/4]>>shift&3 {
			out = append(out, change{code, v})
		}
	}
	return out
}

func uri(list int) string { return fmt.Sprintf("jkm:3301/%d", list) }

// published returns the lists as the publisher takes them.
func (c *colours) published() []publisher.List {
	var out []publisher.List
	for n, raw := range c.raw {
		out = append(out, publisher.List{Info: statuslist.Info{URI: uri(n), Bits: 2}, Raw: raw})
	}
	return out
}
