package healthcode

import (
	"bytes"
	"fmt"
	"time"

	"greengate/pass"
)

// Prefix begins every code of this format.
const Prefix = "JKM1:"

// DefaultAudience is the audience (CWT aud) of a holder's proof.
const DefaultAudience = "greengate"

// DefaultProofWindow is how far a holder's proof may be from the gate's
// clock, either way.
const DefaultProofWindow = 90 * time.Second

// Options of a Format; the zero Options are the defaults.
type Options struct {
	// Audience that a holder's proof must name; DefaultAudience when empty.
	Audience string
	// ProofWindow is how far a proof may be from now, either way;
	// DefaultProofWindow when zero.
	ProofWindow time.Duration
}

// Format opens native codes. It implements [pass.Format], keeps no state and
// is safe for use from several goroutines when its keys are.
type Format struct {
	keys     pass.Keys
	audience string
	window   time.Duration
}

// New returns a Format that verifies with these keys.
func New(keys pass.Keys, o Options) *Format {
	f := &Format{keys: keys, audience: o.Audience, window: o.ProofWindow}
	if f.audience == "" {
		f.audience = DefaultAudience
	}
	if f.window == 0 {
		f.window = DefaultProofWindow
	}
	return f
}

// Claims reports whether raw begins with [Prefix].
func (f *Format) Claims(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte(Prefix))
}

// Open verifies raw. See [pass.Reader.Open] for the contract.
func (f *Format) Open(raw []byte, now time.Time) (*pass.Credential, error) {
	return nil, fmt.Errorf("code of %d bytes: %w", len(raw), pass.ErrUnreadable)
}
