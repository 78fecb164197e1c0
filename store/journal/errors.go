package journal

import "errors"

var (
	// ErrFull: the journal's cap is reached, or the disk is full. Once records
	// are acknowledged or the disk has room, Append works again.
	ErrFull = errors.New("journal full")
	// ErrDamaged: records that were durable are missing or unreadable. The
	// journal does not start over by itself, because sequences would return.
	ErrDamaged = errors.New("journal damaged")
	// ErrLocked: another process has the journal open.
	ErrLocked = errors.New("another process holds the journal")
	// ErrGate: the journal belongs to another gate.
	ErrGate = errors.New("journal of another gate")
	// ErrGone: the records asked for were acknowledged and deleted, or never were.
	ErrGone = errors.New("records not held")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("journal closed")
)
