package hub

import (
	"encoding/json"
	"errors"
	"time"

	"greengate/gate"
	"greengate/pass"
)

// What a caller may act on. Over the API they keep their identity.
var (
	// ErrInvalid: the request itself is wrong.
	ErrInvalid = errors.New("invalid request")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrConflict: it is there already, or its state does not allow this.
	ErrConflict = errors.New("conflict")
	// ErrStorage: a write to the hub's disk failed; it must be started again.
	ErrStorage = errors.New("the hub's storage failed")
	// ErrFull: no index was free in many draws.
	ErrFull = errors.New("status list is full")
)

// Ref names one entry of one status list.
type Ref struct {
	URI   string `json:"uri"`
	Index uint64 `json:"index"`
}

// StatusRef converts.
func (r Ref) StatusRef() pass.StatusRef { return pass.StatusRef{URI: r.URI, Index: r.Index} }

// State of a declaration.
type State string

const (
	// Declared waits for review.
	Declared State = "declared"
	// Reviewed has a colour and may be issued.
	Reviewed State = "reviewed"
	// Rejected is closed.
	Rejected State = "rejected"
	// IssuedState has at least one code.
	IssuedState State = "issued"
)

// DeclareRequest is what a person says of themselves.
type DeclareRequest struct {
	// Name in full, 1 to 64 bytes; it stays in the registry.
	Name string `json:"name"`
	// Region is the county, six digits of GB/T 2260.
	Region string `json:"region"`
	// Category, as "resident", at most 32 bytes; may be empty.
	Category string `json:"category,omitempty"`
}

// Declaration is one person's request for a code.
type Declaration struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Region   string    `json:"region"`
	Category string    `json:"category,omitempty"`
	Declared time.Time `json:"declared"`
	State    State     `json:"state"`
	// Colour of the next code: the reviewer's, or the last recolour's. Green, yellow or red.
	Colour   string    `json:"colour,omitempty"`
	Reviewer string    `json:"reviewer,omitempty"`
	Reviewed time.Time `json:"reviewed,omitzero"`
	// Codes issued for it.
	Codes []Ref `json:"codes,omitempty"`
}

// DeclarationsRequest lists declarations.
type DeclarationsRequest struct {
	// State to list; empty for all.
	State State `json:"state,omitempty"`
	// Max number, 100 when zero, at most 1000.
	Max int `json:"max,omitempty"`
}

// IDRequest names a declaration.
type IDRequest struct {
	ID string `json:"id"`
}

// ReviewRequest decides on a declaration.
type ReviewRequest struct {
	Declaration string `json:"declaration"`
	// Colour to issue with: green, yellow or red. Ignored when Reject is set.
	Colour string `json:"colour,omitempty"`
	Reject bool   `json:"reject,omitempty"`
	// Reviewer is who decided, 1 to 64 bytes.
	Reviewer string `json:"reviewer"`
}

// IssueRequest asks for a code of a reviewed declaration.
type IssueRequest struct {
	Declaration string `json:"declaration"`
	// Kind is "static", "paper" or "dynamic".
	Kind string `json:"kind"`
	// HolderKey is the holder's Ed25519 public key (32 bytes), for a dynamic code only.
	HolderKey []byte `json:"holder_key,omitempty"`
	// ValidSeconds is how long it is valid; 30 days when zero, at most a year.
	ValidSeconds int64 `json:"valid_seconds,omitempty"`
	// By is who issued it, 1 to 64 bytes.
	By string `json:"by"`
}

// Issued is a code that was issued. The code itself is given out once and not kept.
type Issued struct {
	// Code is what the QR code shows, without the holder's proof.
	Code    string    `json:"code"`
	Status  Ref       `json:"status"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
}

// RecolourRequest changes the colour of one code, or of all health codes of a declaration.
type RecolourRequest struct {
	Status      *Ref   `json:"status,omitempty"`
	Declaration string `json:"declaration,omitempty"`
	// Colour is green, yellow, red or void. Void is for ever.
	Colour string `json:"colour"`
	By     string `json:"by"`
}

// RevokeRequest makes a code or permit void, for ever.
type RevokeRequest struct {
	Status      *Ref   `json:"status,omitempty"`
	Declaration string `json:"declaration,omitempty"`
	By          string `json:"by"`
}

// Changed says which entries changed.
type Changed struct {
	Codes []Ref `json:"codes"`
}

// EnterpriseRequest delegates a key to an enterprise.
type EnterpriseRequest struct {
	// Number of the enterprise, 1 to 32 of A-Z, a-z, 0-9 and "-".
	Number string `json:"number"`
	// Name as the operator's page shows it.
	Name string `json:"name"`
	// Region is the county it may issue permits for, six digits.
	Region string `json:"region"`
	// Zones its permits may open, 1 to 16.
	Zones []string `json:"zones"`
	By    string   `json:"by"`
}

// Enterprise that issues entry permits.
type Enterprise struct {
	Number string    `json:"number"`
	Name   string    `json:"name"`
	Region string    `json:"region"`
	Zones  []string  `json:"zones"`
	KeyID  []byte    `json:"kid"`
	Added  time.Time `json:"added"`
}

// PermitRequest asks for an entry permit.
type PermitRequest struct {
	Enterprise string `json:"enterprise"`
	// Holder is the status entry of the holder's health code.
	Holder Ref `json:"holder"`
	// Zones to open; all of the enterprise's when empty.
	Zones []string `json:"zones,omitempty"`
	// ValidSeconds is how long it is valid; 30 days when zero, at most a year.
	ValidSeconds int64  `json:"valid_seconds,omitempty"`
	By           string `json:"by"`
}

// GateRequest names a gate to add or to revoke.
type GateRequest struct {
	// Gate is the new gate's id: 1 to 64 of a-z, 0-9 and "-".
	Gate string `json:"gate"`
	// Site is where it stands, as the operator's page shows it.
	Site string `json:"site,omitempty"`
	// County it stands in, six digits of GB/T 2260; may be empty.
	County string `json:"county,omitempty"`
	// HubURL is where this gate finds the hub; the hub's own when empty.
	HubURL string `json:"hub_url,omitempty"`
	// Replace gives a gate that is known a new certificate; the old one ends.
	Replace bool   `json:"replace,omitempty"`
	By      string `json:"by"`
}

// Bundle is the identity of a new gate: the file that goes onto it. It holds
// the gate's private key and is given out once.
type Bundle struct {
	Gate        string `json:"gate"`
	HubURL      string `json:"hub_url"`
	ListsURL    string `json:"lists_url"`
	HubCA       string `json:"hub_ca_pem"`
	Certificate string `json:"certificate_pem"`
	PrivateKey  string `json:"private_key_pem"`
	TUFRoot     []byte `json:"tuf_root"`
	HubKey      []byte `json:"hub_hpke_public_key"`
	// History is where the passages of a gate of this name ended; nil for none.
	History *History `json:"history,omitempty"`
}

// GateStatus is one gate as the hub sees it.
type GateStatus struct {
	Gate    string    `json:"gate"`
	Site    string    `json:"site,omitempty"`
	County  string    `json:"county,omitempty"`
	Added   time.Time `json:"added"`
	Revoked bool      `json:"revoked,omitempty"`
	// Wipe is the order to destroy what it holds, nil for none.
	Wipe *WipeStatus `json:"wipe,omitempty"`
	// LastContact is when it was last heard of, zero if never.
	LastContact time.Time `json:"last_contact,omitzero"`
	// Backlog is what it said it still has, at its last contact.
	Backlog uint64 `json:"backlog"`
	// LastSequence is the last record stored here.
	LastSequence uint64 `json:"last_sequence"`
	// Today counts the decisions since midnight at the hub.
	Today Counts `json:"today"`
	// Hour counts the decisions of this hour of the clock, HourBefore those of the last.
	Hour       Counts `json:"hour"`
	HourBefore Counts `json:"hour_before"`
	// Alarm is what is wrong with its history, "" for nothing; Alarms is all that
	// is wrong, the gravest first.
	Alarm  string  `json:"alarm,omitempty"`
	Alarms []Alarm `json:"alarms,omitempty"`
	// CertificateEnds is when its certificate does.
	CertificateEnds time.Time `json:"certificate_ends,omitzero"`
	// Condition is how it said it is at its last contact; nil where it has said
	// nothing since the hub started.
	Condition *GateCondition `json:"condition,omitempty"`
}

// GateCondition is a gate.Condition in the words that pages and metrics use.
type GateCondition struct {
	Lists      string `json:"lists"`
	AgeSeconds int64  `json:"lists_age_seconds"`
	Held       uint32 `json:"lists_held"`
	Clock      string `json:"clock"`
	Policy     uint64 `json:"policy"`
	Map        uint64 `json:"map"`
	// Version is the gate's program, "" for one that does not say; such a one
	// says nothing of its faults and its journal either.
	Version string `json:"version,omitempty"`
	// Faults are words with a comma between them, "" for none.
	Faults string `json:"faults,omitempty"`
	// Journal is how much of its room the gate's journal has taken, in percent.
	Journal uint8 `json:"journal_percent"`
}

// Counts of decisions.
type Counts struct {
	Admit  uint64 `json:"admit"`
	Hold   uint64 `json:"hold"`
	Refuse uint64 `json:"refuse"`
	// Acts of guards, exit buttons and the fire input.
	Acts uint64 `json:"acts"`
	// Tombstones are records that could not be read.
	Tombstones uint64 `json:"tombstones"`
	// Reasons counts decisions by their reason.
	Reasons map[gate.Reason]uint64 `json:"reasons,omitempty"`
}

// ListStatus is one status list.
type ListStatus struct {
	URI string `json:"uri"`
	// Sequence and Issued of the published generation; zero before the first.
	Sequence uint64    `json:"sequence"`
	Issued   time.Time `json:"issued,omitzero"`
	// Pending: there are changes that are not published yet.
	Pending bool `json:"pending"`
	// Codes issued, and their colours as they are now.
	Codes  uint64 `json:"codes"`
	Green  uint64 `json:"green"`
	Yellow uint64 `json:"yellow"`
	Red    uint64 `json:"red"`
	// Void counts revoked codes; what was never issued is void too but not counted.
	Void uint64 `json:"void"`
}

// Published says what a publish made visible.
type Published struct {
	Issued time.Time `json:"issued"`
	// Timestamp is the version of the timestamp role.
	Timestamp int64 `json:"timestamp"`
	// Lists that were written.
	Lists []string `json:"lists,omitempty"`
	// Revocations are the hash lists of foreign codes that were written.
	Revocations []string `json:"revocations,omitempty"`
	// RevocationsFailed says which of them were not, and why; "" for none. They
	// are tried again with each publish.
	RevocationsFailed string `json:"revocations_failed,omitempty"`
	// Waiting says what was left out because it must be signed by keys that are
	// offline, and what to do; "" for nothing. Colours never wait.
	Waiting string `json:"waiting,omitempty"`
	// Mirror says why the folder of another web server is behind; "" where it is not.
	Mirror string `json:"mirror,omitempty"`
	// Due names the roles signed by offline keys that are past half their life.
	Due []Due `json:"due,omitempty"`
}

// Due is a role that wants the offline keys before its end.
type Due struct {
	Role string    `json:"role"`
	Ends time.Time `json:"ends"`
}

// PassagesRequest reads stored passages of a gate.
type PassagesRequest struct {
	Gate string `json:"gate"`
	// After is the sequence to begin behind; Max is 100 when zero, at most 1000.
	After uint64 `json:"after,omitempty"`
	Max   int    `json:"max,omitempty"`
}

// Passage is the clear part of one stored record.
type Passage struct {
	Gate     string    `json:"gate"`
	Sequence uint64    `json:"sequence"`
	Received time.Time `json:"received"`
	// Tombstone: the clear part could not be read; nothing below is set but Digest.
	Tombstone bool `json:"tombstone,omitempty"`
	// Digest is the SHA-256 of the clear part.
	Digest      []byte           `json:"digest"`
	Kind        gate.RecordKind  `json:"kind,omitempty"`
	At          time.Time        `json:"at,omitzero"`
	Clock       string           `json:"clock,omitempty"`
	Direction   string           `json:"direction,omitempty"`
	Verdict     string           `json:"verdict,omitempty"`
	Reason      gate.Reason      `json:"reason,omitempty"`
	Notices     []gate.Reason    `json:"notices,omitempty"`
	Policy      uint64           `json:"policy,omitempty"`
	List        uint64           `json:"list,omitempty"`
	Of          uint64           `json:"of,omitempty"`
	Outcome     gate.Outcome     `json:"outcome,omitempty"`
	GuardReason gate.GuardReason `json:"guard_reason,omitempty"`
	Dropped     uint64           `json:"dropped,omitempty"`
}

// GateRef names a gate.
type GateRef struct {
	Gate string `json:"gate"`
	By   string `json:"by,omitempty"`
}

// Verification is a replay of all that is stored of a gate.
type Verification struct {
	Gate string `json:"gate"`
	// Records is how many are stored, and Last the last sequence: equal when
	// there is each exactly once and none was lost at the gate.
	Records uint64 `json:"records"`
	Last    uint64 `json:"last"`
	// Decisions counts the records of that kind.
	Decisions uint64 `json:"decisions"`
	// Duplicates and Gaps are sequences stored twice or not at all.
	Duplicates uint64 `json:"duplicates"`
	Gaps       uint64 `json:"gaps"`
	// Tombstones are records whose clear part cannot be read.
	Tombstones uint64 `json:"tombstones"`
	// Lost records are those that the gate says it no longer has, and signed that.
	Lost uint64 `json:"lost"`
	// Purged is the last sequence that is past the retention of clear parts: what
	// is behind it follows the head that was kept of it.
	Purged uint64 `json:"purged"`
	// Dropped is what gap records count that never got a sequence.
	Dropped uint64 `json:"dropped"`
	// Chain and Signatures: each batch verifies, from the first record on.
	Chain      bool `json:"chain"`
	Signatures bool `json:"signatures"`
	// Head of the chain.
	Head []byte `json:"head"`
}

// OK reports whether every record that the gate has not owned up to have lost
// is there exactly once, chained and signed.
func (v Verification) OK() bool {
	return v.Chain && v.Signatures && v.Duplicates == 0 && v.Gaps == 0 && v.Records+v.Lost+v.Purged == v.Last
}

// UnsealedCounts is what the sealed parts of a gate's decisions say, counted.
type UnsealedCounts struct {
	Kinds   map[string]uint64 `json:"kinds"`
	Colours map[string]uint64 `json:"colours"`
	// Guards are the acts of each guard.
	Guards map[string]uint64 `json:"guards"`
	// Failed parts did not open.
	Failed uint64 `json:"failed"`
}

// Document is a policy or a map, as JSON.
type Document struct {
	JSON json.RawMessage `json:"json"`
	By   string          `json:"by"`
}

// None is an empty request or answer.
type None struct{}
