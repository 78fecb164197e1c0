package gate

// Reason is why a decision fell as it did: a fixed word that stands unchanged
// in the journal, the upload, the tests and the translation table.
type Reason string

// The reasons. Those marked † in the design's policy table cannot be changed by a signed policy.
const (
	Valid             Reason = "valid"
	Unreadable        Reason = "unreadable"
	Malformed         Reason = "malformed"
	UnknownKey        Reason = "unknown-key"
	BadSignature      Reason = "bad-signature"
	VoidCode          Reason = "void"
	OutOfBounds       Reason = "out-of-bounds"
	Expired           Reason = "expired"
	NotYetValid       Reason = "not-yet-valid"
	ProofMissing      Reason = "proof-missing"
	ProofStale        Reason = "proof-stale"
	Replayed          Reason = "replayed"
	RedCode           Reason = "red"
	YellowCode        Reason = "yellow"
	PermitNeeded      Reason = "permit-needed"
	PermitWrongZone   Reason = "permit-wrong-zone"
	PermitExpired     Reason = "permit-expired"
	PermitNotHolders  Reason = "permit-not-holders" // issued for another person's code
	Measuring         Reason = "measuring"
	Again             Reason = "again"
	Closer            Reason = "closer"
	Fever             Reason = "fever"
	ThermometerAbsent Reason = "thermometer-absent" // policy demands one, none is configured
	ThermometerBroken Reason = "thermometer-broken"
	OutOfRange        Reason = "ambient-out-of-range" // outside the validated ambient range
	RiskHighRegion    Reason = "region-risk-high"
	RiskMediumRegion  Reason = "region-risk-medium"
	Passback          Reason = "passback"
	ListsMissing      Reason = "list-missing"
	NewerThanList     Reason = "newer-than-list"
	ListsTooOld       Reason = "lists-too-old"
	ListsStale        Reason = "lists-stale" // only a notice, never a decision
	ClockIsUnset      Reason = "clock-unset"
	PaperCode         Reason = "paper" // policy holds paper codes
	Fault             Reason = "fault"
	ExitFree          Reason = "exit"        // exit direction: always admitted
	ByGuard           Reason = "guard"       // a guard resolved a hold or recorded a passage without a code
	ByFire            Reason = "fire"        // fire input: released past everything
	ByButton          Reason = "exit-button" // exit button
	Forced            Reason = "forced"      // the turnstile turned inwards while it was locked
	Busy              Reason = "busy"        // only a notice: a scan came while another was in hand
)

// Reasons lists every reason once, in the order above: translation tables and tests run over it.
func Reasons() []Reason {
	return []Reason{Valid, Unreadable, Malformed, UnknownKey, BadSignature, VoidCode, OutOfBounds, Expired, NotYetValid,
		ProofMissing, ProofStale, Replayed, RedCode, YellowCode, PermitNeeded, PermitWrongZone, PermitExpired, PermitNotHolders,
		Measuring, Again, Closer, Fever, ThermometerAbsent, ThermometerBroken, OutOfRange, RiskHighRegion, RiskMediumRegion,
		Passback, ListsMissing, NewerThanList, ListsTooOld, ListsStale, ClockIsUnset, PaperCode, Fault, ExitFree, ByGuard, ByFire, ByButton, Forced, Busy}
}
