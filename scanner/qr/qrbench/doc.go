// Qrbench reads pictures and says what was read and for how much time: the
// reader's side of `make bench-qr`.
//
//	go run ./scanner/qr/qrbench -list FILE
//	go run ./scanner/qr/qrbench -list FILE -reader stock
//	go run ./scanner/qr/qrbench -list FILE -clip
//	go run ./scanner/qr/qrbench -empty 10000 -seed 7 -allocs
//
// FILE holds the paths of 8-bit PGM pictures, one a line; - is standard input,
// answered line by line. What comes out is one line a picture, in fields
// between tabs, as the readers that it is compared with print it:
//
//	reader  file  CPU ms  wall ms  number of codes  texts in base64, by commas
//
// The time is the whole process's, the garbage collector's part included, on
// one processor. Each picture is met without what was known of the last one;
// with -clip, what is known is kept while the names are the same up to the last
// underscore.
package main
