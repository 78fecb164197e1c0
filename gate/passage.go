package gate

import (
	"time"

	"greengate/pass"
)

// passage is one person on the way through, or one release of a turnstile.
type passage struct {
	direction Direction
	scanned   time.Time
	code      uint64 // fingerprints of the raw codes, to know repeats by
	permitRaw uint64

	credential *pass.Credential
	openErr    error
	who        Pseudonym
	known      bool // who is set
	look       look

	permitAsked   bool
	permitUntil   time.Time
	permitScanned bool
	permit        *pass.Credential
	permitErr     error

	thermometerFailed bool
	readings          []Reading

	decision Decision
	judged   *Circumstances // what the decision rests on; nil before anything was judged
	decided  time.Time
	durable  time.Time
	seq      uint64 // of its decision
	of       uint64 // of the record that its outcome names

	guard   GuardAct
	byGuard bool
	looking bool // the guard admits; looking once more whether the code became red

	// abandoned: its record is still on its way to the disk, but it will not
	// be released; if the record admits, this outcome follows it.
	abandoned     bool
	abandonReason Reason
	abandonedAs   Outcome

	until    time.Time // of a watch, or of a release of the way out
	turns    int
	reason   Reason // of an exit
	recorded bool   // the act of an exit is queued
	ended    bool   // the exit is locked again
	outcome  Outcome
}

// colour is the code's colour, unknown where the list is older than the code:
// its entry then still says that nothing was issued.
func (p *passage) colour() Status {
	if p.credential == nil || p.credential.Issued.After(p.look.listing.Issued) {
		return StatusUnknown
	}
	return p.look.listing.Status
}

// look is what the authority's lists said, all at one time.
type look struct {
	policy        Policy
	listing       Listing
	revocations   []Revocation
	permitListing Listing
	risk          RiskLevel
}

// lookUp asks the authority about a health code and perhaps a permit.
func lookUp(a Authority, code, permit *pass.Credential) look {
	l := look{policy: a.Policy()}
	if code != nil {
		l.listing = a.Lookup(code.Status)
		for _, id := range code.Revocation {
			l.revocations = append(l.revocations, a.Revoked(id))
		}
		l.risk = a.Risk(code.Region)
	}
	if permit != nil {
		l.permitListing = a.Lookup(permit.Status)
	}
	return l
}

// openKind is what is asked of the opener.
type openKind uint8

const (
	openCode openKind = iota
	openPermit
	openExit
	// openNothing only looks up again.
	openNothing
)

// openJob asks to open a code and to look it up.
type openJob struct {
	kind openKind
	p    *passage
	raw  []byte
	now  time.Time
	// code and permit are what is open already.
	code, permit *pass.Credential
}

// opened answers an openJob.
type opened struct {
	credential *pass.Credential
	err        error
	look       look
	// fault is set when the opener or the authority panicked; then nothing
	// above counts.
	fault error
}

// measured answers a measurement; the lists were asked again after it.
type measured struct {
	reading Reading
	err     error
	look    look
	// fault is set when the authority panicked; then look does not count.
	fault error
}

// entry is a record on its way to the disk, with the passage it belongs to.
type entry struct {
	record Record
	p      *passage
}

// sighting is a code that a reader saw lately.
type sighting struct {
	code uint64
	at   time.Time
}
