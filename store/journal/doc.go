// Package journal is the pass log of a gate: records that are on the disk
// before the turnstile moves, kept until the hub has them.
//
// It is a log of zero-filled segments. A record costs one write and one
// fdatasync, about 4 KB of disk traffic. README.md in the folder above tells
// the layout, the reason for each odd number, and the life of a record.
//
// A [Log] is safe for concurrent use. Appending, reading for the upload and
// acknowledging do not wait for one another's disk.
package journal
