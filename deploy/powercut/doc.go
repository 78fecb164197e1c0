// Command powercut shows what a power cut leaves of the gate's journal and of a
// hub's node. `make powercut` runs it.
//
// A small machine under QEMU works on a disk of which each write and each flush
// is logged. Then the disk is made up again as it may be after a cut at any
// point of that log, and the product's own code opens what is there. It is a
// module of its own, since it joins rooms of the product that do not meet.
package main
