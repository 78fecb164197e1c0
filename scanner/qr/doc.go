// Package qr finds a QR code in a picture and gives its bytes, and draws one.
//
// It stands around gozxing, which nothing else imports but the bench beside it.
// What it adds is what strangers' pictures make necessary: bounds on size and
// time, panics turned into errors, and the payload as the bytes that are in the
// code. The library's own text runs them through a guessed character set and
// turns what does not fit into U+FFFD.
package qr
