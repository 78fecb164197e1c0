// Package trusttest makes hostile repositories: from honest generations of one
// repository, and from the keys that a thief may have, [New] makes what a
// hostile server could answer with. The same seed makes the same one.
//
// It knows the files of a repository and how they are signed, and nothing of
// the client. It reads and signs metadata as plain JSON, so that it can write
// what no library would: a null, a key twice, a number that is none.
package trusttest
