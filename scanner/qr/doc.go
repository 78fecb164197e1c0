// Package qr finds QR codes in a picture and gives their bytes, and draws one.
//
// A [Reader] goes through a row of small rooms, each a file: the threshold map,
// the search for finder patterns, the grid that three of them span and the mesh
// that bends it, the sampling of modules, the equaliser, and the correction of
// errors. README.md in this folder says what each does and what it gave.
//
// Of gozxing, which nothing else imports, it has the tables of versions, and the
// drawing. The payload are the bytes that are in the code: the library's own
// text runs them through a guessed character set and turns what does not fit
// into U+FFFD.
//
// What it reads is what strangers hold up: work and memory have bounds, and a
// panic is an error.
package qr
