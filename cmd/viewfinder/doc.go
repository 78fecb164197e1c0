// Package viewfinder is the page on which a technician who aims a gate's camera
// sees what it sees, how fast, and why it does not read.
//
// It is served by gatectl, on this device alone, for as long as gatectl runs,
// under a path that nobody can guess: other users of the device reach the port
// and not the page. The last picture is in memory and nowhere else.
package viewfinder
