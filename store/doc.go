// Package store keeps what the authority signed: keys, status lists, policy,
// map and the metadata that vouches for them, with the clock's floor, in one
// bbolt file; and copies in memory to look codes up in.
//
// The file is the truth, the memory answers. [DB.Install] changes the file in
// one transaction and then, in one step, the memory. What is read at open is
// compared with its SHA-256 first. README.md beside this file tells the layout
// and the reason for each odd number. The pass log is not here: see
// store/journal.
//
// A [DB] is safe for concurrent use, and lookups wait for nothing.
package store
