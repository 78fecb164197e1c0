package store

import "errors"

var (
	// ErrLocked: another process holds the file.
	ErrLocked = errors.New("another process holds the store")
	// ErrSchema: a later version of the program wrote the file.
	ErrSchema = errors.New("store was written by a later version")
	// ErrDamaged: the file is not as it was written.
	ErrDamaged = errors.New("store damaged")
	// ErrDigest: the bytes are not those that were signed.
	ErrDigest = errors.New("digest does not match")
	// ErrInvalid: a value that no signed list may have.
	ErrInvalid = errors.New("invalid value for the store")
	// ErrFull: the lists would take more than Options.MaxBytes, or the disk is full.
	ErrFull = errors.New("store full")
	// ErrDone: a Tx was used after its Install had ended.
	ErrDone = errors.New("transaction is over")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store closed")
)
