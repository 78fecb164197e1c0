package trust

import (
	"errors"
	"fmt"
	"time"
)

// Report says what a run found and did.
type Report struct {
	// Reference is the time that the run took for now.
	Reference time.Time
	// Timestamp is the version of the timestamp, and Issued its signed time;
	// zero where no timestamp could be verified.
	Timestamp int64
	Issued    time.Time
	// Unchanged: all that the timestamp leads to is held, and nothing else was
	// fetched. The signed time may be a new one.
	Unchanged bool
	// Installed names what is new: "root", "keys", "policy", "map" and the
	// URIs of lists.
	Installed []string
	// Dropped names lists that the authority no longer publishes.
	Dropped []string
	// Evicted names lists that nobody configured and that had to make room.
	Evicted []string
	// Deltas and Snapshots count how lists came in: as a delta to what was held,
	// or whole. Renewed counts those of which only the signature was new.
	Deltas, Snapshots, Renewed int
	// Failures are what could not be brought up to date, while the rest was.
	Failures []Failure
	// Leap: the signed time is more than 30 days beyond the last one and no
	// clock agrees, so the clock's floor was left where it is.
	Leap bool
	// Fetched is the number of bytes of all files of the run.
	Fetched int64
}

// Failure is one role or list that could not be brought up to date.
type Failure struct {
	// Role that delivers it.
	Role string
	// What is a list's URI or path, or the role again.
	What string
	// Err wraps one of the package's sentinels.
	Err error
}

// errStopped marks errors that ended a run before it reached the roles.
var errStopped = errors.New("lists not updated")

// err joins the failures.
func (r *Report) err() error {
	var errs []error
	for _, f := range r.Failures {
		errs = append(errs, fmt.Errorf("%s: %w", f.What, f.Err))
	}
	return errors.Join(errs...)
}
