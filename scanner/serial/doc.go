// Package serial reads codes from scanners on a serial port: modules of the
// GM65 family and others on a UART, and scanners that show up as USB-CDC.
//
// It is the only package that imports go.bug.st/serial. Four habits of that
// library shape the code (facts from its source, v1.8.0):
//
//   - A read with a timeout returns no bytes and no error when the time is over,
//     so reads here have none; closing the port ends them.
//   - Its list of ports opens every ttyS port and sets it to raw mode, which
//     would take the technician's console away. The hint for a missing port
//     looks at names only.
//   - A write has no timeout, so it has one here, and what hangs is flushed.
//   - A write does not look whether the port was closed, and would go to whatever
//     file has its number next: nobody writes any more when a port is closed here.
//
// # Plain scanners and the GM65 family
//
// A plain scanner is listened to. A GM65 is asked and told (Grow, "GM65 Bar Code
// Reader Module User Manual", ch. 2 serial port, 3 modes, 8 commands and zones,
// appendices A and B; the sums of its examples were worked out again, see
// TestFrames):
//
//   - Found: it is asked for its speed at the speed that is wanted, then at 9600
//     (the factory's), 115200, 57600, 38400, 19200 and 14400, and brought to the
//     one that is wanted. The manual says that a wrong sum, form or speed gets no
//     answer at all, so silence is the only sign of it.
//   - Set up: the zones of its settings are read and never assumed, since the
//     manual contradicts itself on what they are from the factory. Only what
//     differs is written: zone 0x0003 bit 1, setup barcodes locked (they are on
//     from the factory, and a visitor can reset the reader with a printed one);
//     0x0000 bits 1-0, reads when told to; 0x0006, gives up after 5 s; 0x000D bits
//     1-0, codes to the UART, or to the virtual port where that is the port;
//     0x0060 bits 7-5, codes as they are with CR behind. The other bits, light,
//     sounds, kinds of code, are the owner's.
//   - Saved: in its flash only when something was written, and at most once an
//     hour, for flash wears.
//   - Told when to read: zone 0x0002, while the lane takes a code
//     ([Reader.Attend]) and not while somebody's arm turns. Writing 0 there ends a
//     read; a module that does not obey ends it after its 5 s.
//   - Looked after: its zones are read again every 5 s, between two reads, and an
//     answer that does not come is silence. A module that was reset, changed or
//     unplugged is connected to anew and set up again.
//
// Its answers come in one stream with the codes: the answer to a trigger right
// before the code. They are taken out by their form and their sum, wherever they
// are. An answer that was damaged on the way is dropped, at times with the
// beginning of the code behind it.
//
// What it cannot heal: a module on its own USB port that is reset becomes a
// keyboard, and its port is gone until somebody scans the setup barcode for a
// virtual port; on a UART there is no such thing. None of this has met a module
// yet: the tests play one from the manual, and recordings of a GM861 (the
// Tasmota project's driver), a sister module.
package serial
