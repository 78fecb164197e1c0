package gate

// Verdict is the answer to "may this person pass".
type Verdict uint8

const (
	// Refuse is the zero value: a decision that slipped through lets nobody in.
	Refuse Verdict = iota
	// Hold waits for the guard.
	Hold
	// Admit opens.
	Admit
)

// String returns the word that journal, pages and tests use.
func (v Verdict) String() string {
	switch v {
	case Hold:
		return "hold"
	case Admit:
		return "admit"
	}
	return "refuse"
}

// Next is what the lane must do before the decision is final.
type Next uint8

const (
	// NextNone is the zero value: the decision is final.
	NextNone Next = iota
	// NextPermit waits for the entry permit.
	NextPermit
	// NextTemperature measures.
	NextTemperature
	// NextAgain measures once more.
	NextAgain
	// NextCloser asks the person to step to the mark, and measures.
	NextCloser
)

// Decision is what Judge makes of the facts. While Next is not NextNone it is
// not final, its verdict is Refuse, and it is not journalled.
type Decision struct {
	Verdict Verdict
	Reason  Reason
	Next    Next
	// Notices are for the guard and the journal; they decide nothing.
	Notices []Reason
}
