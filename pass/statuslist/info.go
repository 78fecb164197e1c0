// Package statuslist holds IETF Token Status Lists
// (draft-ietf-oauth-status-list): packed arrays of 1, 2, 4 or 8 bits a code.
package statuslist

import "time"

// Info describes one generation of one status list, as the authority signed it.
type Info struct {
	// URI names the list in the codes that point into it.
	URI string `json:"uri"`
	// Sequence counts the generations of this list from 1.
	Sequence uint64 `json:"sequence"`
	// Issued is when this generation was made: a code issued later is newer than the list.
	Issued time.Time `json:"issued"`
	// Expires is when it must no longer be accepted.
	Expires time.Time `json:"expires"`
	// Bits a code: 1, 2, 4 or 8. Colours take 2.
	Bits int `json:"bits"`
	// Size is the number of raw (unpacked, uncompressed) bytes.
	Size int64 `json:"size"`
	// SHA256 of the raw bytes.
	SHA256 [32]byte `json:"-"`
}
