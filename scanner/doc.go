// Package scanner holds what every reader of codes at a gate has in common.
//
// A reader turns what a device delivers into [gate.Scan] values: a serial or
// USB-CDC scanner (scanner/serial), a scanner that types like a keyboard
// (scanner/keyboard), or a camera (scanner/camera, with scanner/qr to find the
// code in the picture). Each is a [Source].
//
// The bytes are a stranger's. Nothing here looks into a code: framing finds
// where one ends and takes off what the scanner put around it, and no more.
// Whether it is a code, and whose, is for package pass.
//
// Three things are shared:
//
//   - [Framer] cuts a stream of bytes into codes, whatever the scanner puts
//     behind them, and [Stream] runs it on a device that may come and go.
//   - [Repeats] makes one scan of a code that is held up for seconds.
//   - [Link] keeps trying to open a device, and tells for the status page
//     since when it is there or not.
package scanner
