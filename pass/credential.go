package pass

import "time"

// Kind says what sort of code a credential came from.
type Kind uint8

const (
	// KindUnknown is the zero value; no opened credential has it.
	KindUnknown Kind = iota
	// KindStatic is a health code without a holder's key: a picture that may be copied.
	KindStatic
	// KindPaper is a static code issued to be printed, and marked so by the issuer.
	KindPaper
	// KindBound is a health code bound to the holder's key. Without the
	// holder's proof around it, it opens with [ErrProofMissing].
	KindBound
	// KindPermit is an entry permit, signed by an enterprise.
	KindPermit
)

// String returns the word that the journal, the pages and the tests use.
func (k Kind) String() string {
	switch k {
	case KindStatic:
		return "static"
	case KindPaper:
		return "paper"
	case KindBound:
		return "dynamic"
	case KindPermit:
		return "permit"
	}
	return "unknown"
}

// StatusRef names one entry of one status list. It is the identity of a code
// for lookup, revocation and anti-passback: it stands inside the signature,
// so unlike the raw string or the signature it has no twin.
type StatusRef struct {
	// URI of the status list, at most 256 bytes.
	URI string
	// Index of the entry in the list, from 0.
	Index uint64
}

// RevocationID is what a foreign code may be revoked by: an entry of the hash
// list of its scheme and issuer key (package hashlist makes the hashes).
type RevocationID struct {
	// Scheme of the list, as "eu" or "shc".
	Scheme string
	// KeyID is the identifier of the issuer's key that verified the code.
	KeyID []byte
	// Hash is the first 128 bits of a SHA-256.
	Hash [16]byte
}

// Credential is a code whose issuer's signature verified.
type Credential struct {
	// Format that opened it, as "JKM1".
	Format string
	// Kind of code; permits are credentials too.
	Kind Kind
	// KeyID is the issuer key's identifier (COSE kid).
	KeyID []byte
	// Issued (CWT iat) and Expires (CWT exp) bound its validity, to the second.
	Issued, Expires time.Time
	// Status is the entry of the status list that holds its colour.
	Status StatusRef
	// Revocation are the identifiers under which a foreign code may be listed
	// as revoked; nil for codes whose status list says it all.
	Revocation []RevocationID
	// Name is the masked name that may be shown, as "王*明". Never logged.
	Name string
	// Region is the county the holder belongs to, six digits of GB/T 2260.
	Region string
	// Category is the issuer's category of holder, as "resident"; may be empty.
	Category string
	// HolderKey is the holder's Ed25519 public key (CWT cnf), nil where the code is not bound.
	HolderKey []byte
	// Proof is the holder's proof of possession; the zero Proof where there was none.
	Proof Proof
	// Permit holds what only a permit says; nil in a health code.
	Permit *Permit
}

// Proof is the outer signature of a dynamic code.
type Proof struct {
	// At is when the holder's device made it (the outer iat).
	At time.Time
	// ID is the SHA-256 of the signed outer payload: one for each proof, and
	// so what a gate remembers against replay.
	ID [32]byte
}

// Permit is the part of an entry permit beyond a credential's.
type Permit struct {
	// Enterprise number of the signer, from its delegated key.
	Enterprise string
	// Zones that the permit opens.
	Zones []string
	// Holder is the status entry of the health code it was issued for: a
	// permit opens nothing for anybody else.
	Holder StatusRef
}
