// Package wire puts a gate together: it is the one place that knows every
// room of the house. The programs gated and gatesim share it and differ only
// in the [Hardware] that they hand in.
package wire
