// Command passagebench measures the outgoing half beside its peers: how fast a
// hub takes passages in, what a fleet of gates costs it, and whether anything is
// lost or doubled when its parts are killed. `make bench-passages` runs it.
//
// Hub, nodes and gates are processes of their own, the shipped program among
// them, over real TLS. It is a module of its own: it links PostgreSQL's driver,
// which the product does not.
package main
