package main

import "math"

// melexis is an MLX90614 at its address from the factory (Melexis application
// note 390119061402): its memory, and what may be wrong with it.
type melexis struct {
	object, ambient float64 // °C
	absent          bool    // nobody acknowledges
	badPEC          bool
}

// melexisAddress on the bus.
const melexisAddress = 0x5a

// transfer implements slave. A read is the word, low byte first, and its PEC.
func (m *melexis) transfer(address byte, written []byte, n int) ([]byte, bool) {
	if m.absent || address != melexisAddress {
		return nil, false
	}
	if n == 0 {
		return nil, true
	}
	var register byte
	if len(written) > 0 {
		register = written[0]
	}
	word := m.word(register)
	read := []byte{byte(word), byte(word >> 8)}
	sum := crc8(address<<1, register, address<<1|1, read[0], read[1])
	if m.badPEC {
		sum = ^sum
	}
	read = append(read, sum)
	for len(read) < n {
		read = append(read, 0xff) // nobody pulls the line low
	}
	return read[:n], true
}

func (m *melexis) word(register byte) uint16 {
	kelvin := func(celsius float64) uint16 { return uint16(math.Round((celsius + 273.15) * 50)) } // 0.02 K a step
	switch register {
	case 0x06:
		return kelvin(m.ambient)
	case 0x07, 0x08:
		return kelvin(m.object)
	case 0x24:
		return 0xffff // emissivity 1
	}
	return 0
}

// crc8 is the packet error code of SMBus, x⁸+x²+x+1.
func crc8(bytes ...byte) byte {
	var crc byte
	for _, b := range bytes {
		crc ^= b
		for range 8 {
			carry := crc >> 7
			crc = crc<<1 ^ carry*0x07
		}
	}
	return crc
}
