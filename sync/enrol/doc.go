// Package enrol is who this gate is: the identity that the hub gave it.
//
// In this first form the operator makes the whole identity at the hub
// (`gatehub gate add NAME`) and carries one file to the gate. The file holds
// the gate's private key, so it is refused when anybody but its owner may read
// it. Everything after is mutual TLS with a pinned authority: the system's own
// roots are never asked.
package enrol
