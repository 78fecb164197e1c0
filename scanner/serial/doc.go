// Package serial reads codes from scanners on a serial port: modules of the
// GM65 family and others on a UART, and scanners that show up as USB-CDC.
//
// It is the only package that imports go.bug.st/serial. Two habits of that
// library shape the code (facts from its source, v1.8.0):
//
//   - A read with a timeout returns no bytes and no error when the time is over,
//     so reads here have none; closing the port ends them.
//   - Its list of ports opens every ttyS port and sets it to raw mode, which
//     would take the technician's console away. The hint for a missing port
//     looks at names only.
package serial
