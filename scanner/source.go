package scanner

import (
	"context"

	"greengate/gate"
)

// Source is a reader of codes.
//
// Run delivers scans until ctx is done and then returns ctx's error. A device
// that is missing, unplugged or talks nonsense does not end it: it is logged
// once and tried again. Any other error from Run is a mistake in how the
// reader was set up.
//
// emit is called from one goroutine at a time and must not block for long: a
// scanner has no way to be told to wait. The scan's bytes belong to emit.
type Source interface {
	Run(ctx context.Context, emit func(gate.Scan)) error
}
