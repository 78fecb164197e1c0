// Package control is what the gate and its technician's tool say to each other
// over the gate's unix socket: HTTP with JSON, and never a code or a name. The
// gate's end of it is in cmd/wire.
package control
