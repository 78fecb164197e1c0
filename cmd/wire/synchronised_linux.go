package wire

import "golang.org/x/sys/unix"

// Synchronised asks the kernel whether network time disciplines the clock
// (adjtimex(2), STA_UNSYNC).
func Synchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}
