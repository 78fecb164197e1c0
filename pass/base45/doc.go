// Package base45 is the encoding of RFC 9285: two bytes become three
// characters of the QR code's alphanumeric set, a last single byte two.
//
// It is strict. Decoding refuses whatever encoding would not have made, so
// each byte string has exactly one text.
package base45
