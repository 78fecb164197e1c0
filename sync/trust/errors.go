package trust

import (
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Why something was refused. Every error of a run wraps one of these; whatever
// it is, the lists that are held go on answering and the next run starts anew.
var (
	// ErrUnavailable: the server did not answer, or was cut off in the middle.
	ErrUnavailable = errors.New("not available")
	// ErrNotFound: the server has no such file.
	ErrNotFound = errors.New("no such file")
	// ErrTooLarge: more bytes than the file may have, or the run may fetch.
	ErrTooLarge = errors.New("too large")
	// ErrSignature: not signed by enough keys of its role.
	ErrSignature = errors.New("not signed by its role")
	// ErrRollback: older than what is held.
	ErrRollback = errors.New("older than what is held")
	// ErrVersion: not the version that the file above it names.
	ErrVersion = errors.New("not the version that was named")
	// ErrExpired: past its end; a server or somebody before it holds back newer files.
	ErrExpired = errors.New("expired")
	// ErrFuture: signed for a time that has not come, by a synchronised clock.
	ErrFuture = errors.New("issued in the future")
	// ErrHash: not the bytes that were signed for.
	ErrHash = errors.New("not the bytes that were signed for")
	// ErrDelegation: signed by a role that may not deliver it.
	ErrDelegation = errors.New("role may not deliver this")
	// ErrMalformed: signed or not, it is not what the format allows.
	ErrMalformed = errors.New("malformed")
	// ErrStore: verified, but it could not be stored.
	ErrStore = errors.New("could not be stored")
	// ErrRoom: the store has no room for it.
	ErrRoom = errors.New("no room for it")
	// ErrURI: a list's URI does not end in REGION/NUMBER.
	ErrURI = errors.New("list URI does not end in region/number")
)

// kinds are the words for the sentinels, in the order in which they are looked
// for: what a server or a thief did comes before what a network does.
var kinds = []struct {
	word string
	err  error
}{
	{"signature", ErrSignature}, {"rollback", ErrRollback}, {"version", ErrVersion}, {"expired", ErrExpired}, {"future", ErrFuture},
	{"hash", ErrHash}, {"delegation", ErrDelegation}, {"malformed", ErrMalformed}, {"uri", ErrURI}, {"too-large", ErrTooLarge},
	{"store", ErrStore}, {"not-found", ErrNotFound}, {"unavailable", ErrUnavailable},
}

// otherKind is the word for an error that wraps none of the sentinels.
const otherKind = "other"

// Kinds lists all that Kind returns, for who counts them.
func Kinds() []string {
	words := make([]string, 0, len(kinds)+1)
	for _, k := range kinds {
		words = append(words, k.word)
	}
	return append(words, otherKind)
}

// Kind returns one fixed word for an error of a run, "" for none. Where a run
// failed in several ways it is the gravest.
func Kind(err error) string {
	if err == nil {
		return ""
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.word
		}
	}
	return otherKind
}

// protect runs a step of go-tuf on a stranger's bytes. Its types hold pointers
// that a JSON null leaves nil (a target, a key, an entry of a snapshot), and it
// follows them before or after the signature is checked: such a file is
// malformed, and must not stop the gate.
func protect(step func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrMalformed, r)
		}
	}()
	return step()
}

// refused gives an error of go-tuf, whose types carry only a message, the
// sentinel that says what was refused. The badVersion depends on the step.
func refused(role string, err, badVersion error) error {
	var (
		unsigned *metadata.ErrUnsignedMetadata
		version  *metadata.ErrBadVersionNumber
		equal    *metadata.ErrEqualVersionNumber
		expired  *metadata.ErrExpiredMetadata
		hash     *metadata.ErrLengthOrHashMismatch
	)
	kind := ErrMalformed
	switch {
	case errors.Is(err, ErrMalformed):
		return fmt.Errorf("%s: %w", role, err)
	case errors.As(err, &unsigned):
		kind = ErrSignature
	case errors.As(err, &version), errors.As(err, &equal):
		// go-tuf prints expected and got the wrong way round in one of these.
		return fmt.Errorf("%s: %w", role, badVersion)
	case errors.As(err, &expired):
		kind = ErrExpired
	case errors.As(err, &hash):
		kind = ErrHash
	}
	return fmt.Errorf("%s: %w: %w", role, kind, err)
}
