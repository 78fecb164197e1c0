// Qrbench compares the gate's reader of QR codes with stock gozxing, zbar and
// zxing-cpp in one run: `make bench-qr` in the folder above.
//
// It is a module of its own because it needs what the product does not: WebP
// pictures, and the character sets that codes were written in. The readers are
// processes that answer a path with a line (peers/frames.h); they take turns
// picture by picture, so that what else the machine does meets all of them.
// README.md says what each figure means.
package main
