package main

import "math/rand/v2"

// wholeBytes at the disk's start are written whole or not at all: a torn
// superblock is the file system's matter, and e2fsck has copies of it.
const wholeBytes = 4096

// platter is a disk made up from a log: what is surely on it after a cut.
type platter struct {
	log     []entry
	image   []byte
	done    int // entries that are in image
	ignored int // flushes do not hold for the last so many writes
}

// cut is the disk after a cut behind the first n entries; rising n only. What
// was written before the last flush is there. Of each write after it any
// sectors may be there, in whatever order the disk took them: all, none, or
// each by itself as chance has it. A disk that lies about flushes keeps the last
// writes in its cache whatever it was told.
func (p *platter) cut(n int, rng *rand.Rand) []byte {
	sure := p.done
	for i := p.done; i < n; i++ {
		if p.log[i].flush {
			sure = i // a flush's own data, if it has any, is written after it
		}
	}
	if p.ignored > 0 {
		sure = max(p.done, n-p.ignored)
	}
	for ; p.done < sure; p.done++ {
		copy(p.image[p.log[p.done].at:], p.log[p.done].data)
	}
	image := make([]byte, len(p.image))
	copy(image, p.image)
	mood := rng.IntN(4)
	for _, e := range p.log[p.done:n] {
		switch {
		case mood == 0, e.through && p.ignored == 0:
			copy(image[e.at:], e.data)
		case mood == 1:
		case mood == 2 || e.at < wholeBytes:
			if rng.IntN(2) == 0 {
				copy(image[e.at:], e.data)
			}
		default:
			for off := 0; off < len(e.data); off += sectorBytes {
				if rng.IntN(2) == 0 {
					copy(image[e.at+int64(off):], e.data[off:off+sectorBytes])
				}
			}
		}
	}
	return image
}
