// Listbench prints the figures of the status lists, each beside its floor or
// its peer in the same run: `make bench-lists` in the folder above.
//
// It is a module of its own because SQLite, which the store is compared with,
// is no part of the product. What it measures is the product's own code: the
// publisher's repository, the trust client, the store, and a hub with a fleet.
// What is about memory or a slow disk runs in a child process (child.go), which
// is put into a control group where that is allowed. `listbench -only NAME`
// measures one part.
package main
