package gate

// GuardReason is why a guard acted: a fixed word from this list.
type GuardReason string

const (
	// IdentityChecked: the guard looked at the person's papers.
	IdentityChecked GuardReason = "identity-checked"
	// SecondDevice: a second thermometer showed no fever.
	SecondDevice GuardReason = "second-device"
	// CallConfirmed: the authority or the company confirmed by telephone.
	CallConfirmed GuardReason = "call-confirmed"
	// NoPhone: a person without a phone or code, entered on paper.
	NoPhone GuardReason = "no-phone"
	// Emergency: medical or other emergency.
	Emergency GuardReason = "emergency"
	// SentAway: the person was refused.
	SentAway GuardReason = "sent-away"
)

// GuardReasons lists them in the order the page shows them.
func GuardReasons() []GuardReason {
	return []GuardReason{IdentityChecked, SecondDevice, CallConfirmed, NoPhone, Emergency, SentAway}
}

// GuardAction is what a guard may do.
type GuardAction uint8

const (
	// GuardRefuse is the zero value: end a hold by refusing.
	GuardRefuse GuardAction = iota
	// GuardAdmit ends a hold by admitting.
	GuardAdmit
	// GuardPass lets a person through without a code and records it.
	GuardPass
)

// GuardAct is one act of a guard who was authenticated.
type GuardAct struct {
	Action GuardAction
	Reason GuardReason
	// Guard is the guard's identity, as configured, 1 to 32 bytes.
	Guard string
	// Count of the view acted upon, so that a slow tap cannot admit the next person; 0 for GuardPass.
	Count uint64
}
