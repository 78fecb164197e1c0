package healthcode

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"greengate/pass"
	"greengate/pass/base45"
	"greengate/pass/cose"
)

// Signer is an issuer's private key with what its public half may sign.
type Signer struct {
	// Key is the public half as the signed key list gives it. Issue refuses
	// to sign what a gate with this key would refuse.
	Key pass.Key
	// Private is an ed25519.PrivateKey, an *ecdsa.PrivateKey on P-256, or a
	// device that signs for one of them.
	Private crypto.Signer
}

// Claims is what a health code says.
type Claims struct {
	// Issued and Expires bound its validity; Issued before Expires. Parts of
	// a second are cut off.
	Issued, Expires time.Time
	// Status is the entry of the status list that holds its colour.
	Status pass.StatusRef
	// Name is the masked name, at most 64 bytes of UTF-8; may be empty.
	Name string
	// Region is the holder's county, six digits of GB/T 2260.
	Region string
	// Category of the holder, at most 32 bytes of UTF-8; may be empty.
	Category string
	// Paper marks a code made to be printed. A paper code has no HolderKey.
	Paper bool
	// HolderKey binds the code to its holder; nil for a static or paper code.
	HolderKey ed25519.PublicKey
}

// PermitClaims is what an entry permit says. Its enterprise is the key's.
type PermitClaims struct {
	// Issued and Expires bound its validity; Issued before Expires. Parts of
	// a second are cut off.
	Issued, Expires time.Time
	// Status is the permit's own entry of a status list.
	Status pass.StatusRef
	// Region the permit is for, six digits of GB/T 2260. It may be empty when
	// the enterprise's key is not bound to a region.
	Region string
	// Zones it opens, 1 to 16, each among the key's; in any order, no two alike.
	Zones []string
	// Holder is the status entry of the health code it is issued for.
	Holder pass.StatusRef
}

// Issue returns a signed health code, ready to be shown as a QR code. A bound
// code needs [Prove] around it before a gate admits it.
//
// Issue makes nothing that [Format.Open] would refuse: the error then wraps
// the same sentinel of package pass.
func Issue(s Signer, c Claims) (string, error) {
	region, err := parseRegion(c.Region)
	if err != nil {
		return "", fmt.Errorf("issue: %w", err)
	}
	p := payload{
		Expires:  c.Expires.Unix(),
		Issued:   c.Issued.Unix(),
		Status:   status{entry{c.Status.Index, c.Status.URI}},
		Name:     c.Name,
		Region:   region,
		Category: c.Category,
		Paper:    c.Paper,
	}
	if c.HolderKey != nil {
		p.Confirm = &confirmation{coseKey{keyTypeOKP, curveEd25519, c.HolderKey}}
	}
	return s.issue(&p)
}

// IssuePermit returns a signed entry permit, ready to be shown as a QR code.
//
// Like [Issue] it makes nothing that Open would refuse.
func IssuePermit(s Signer, c PermitClaims) (string, error) {
	region, err := parseRegion(c.Region)
	if err != nil {
		return "", fmt.Errorf("issue permit: %w", err)
	}
	zones := slices.Clone(c.Zones)
	slices.Sort(zones)
	return s.issue(&payload{
		Expires: c.Expires.Unix(),
		Issued:  c.Issued.Unix(),
		Status:  status{entry{c.Status.Index, c.Status.URI}},
		Region:  region,
		Zones:   zones,
		Holder:  &entry{c.Holder.Index, c.Holder.URI},
	})
}

// parseRegion reads six digits, or none.
func parseRegion(s string) (uint32, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || len(s) != 6 || n < 100000 {
		return 0, wrong("region")
	}
	return uint32(n), nil
}

// issue signs p and opens the result as a gate would.
func (s Signer) issue(p *payload) (string, error) {
	if len(s.Key.ID) == 0 {
		return "", fmt.Errorf("issue: key without a kid: %w", pass.ErrUnknownKey)
	}
	if _, err := p.check(); err != nil {
		return "", fmt.Errorf("issue: %w", err)
	}
	claims, err := encMode.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("issue: %w", err)
	}
	data, err := cose.SignNative(cose.Algorithm(s.Key.Algorithm), s.Private, s.Key.ID, claims)
	if err != nil {
		return "", fmt.Errorf("issue with key %x: %w", s.Key.ID, err)
	}
	code := text(data)
	// The gate's own check is the last word. It also finds a private key that
	// is not the public one's, and a signature that went wrong.
	f := New(pass.NewKeyMap([]pass.Key{s.Key}), Options{})
	if _, err := f.Open([]byte(code), time.Unix(p.Issued, 0)); err != nil && !errors.Is(err, pass.ErrProofMissing) {
		return "", fmt.Errorf("issue: %w", err)
	}
	return code, nil
}

// text is what a QR code shows for these bytes.
func text(data []byte) string {
	b := make([]byte, 0, len(Prefix)+base45.EncodedLen(len(data)))
	b = append(b, Prefix...)
	return string(base45.AppendEncode(b, data))
}

// Prove wraps a bound code into its holder's proof: the code to show at this
// moment. The audience is [DefaultAudience] when empty. The code must be bound
// to the holder's key.
func Prove(holder ed25519.PrivateKey, code string, at time.Time, audience string) (string, error) {
	if audience == "" {
		audience = DefaultAudience
	}
	if len(holder) != ed25519.PrivateKeySize {
		return "", fmt.Errorf("prove: holder's key of %d bytes: %w", len(holder), pass.ErrMalformed)
	}
	m, err := parse([]byte(code))
	if err != nil {
		return "", fmt.Errorf("prove: %w", err)
	}
	if m.outer != nil || m.kind != pass.KindBound {
		return "", fmt.Errorf("prove: not a bound code by itself: %w", pass.ErrMalformed)
	}
	if !bytes.Equal(holder.Public().(ed25519.PublicKey), m.payload.Confirm.Key.X) {
		return "", fmt.Errorf("prove: the code is bound to another key: %w", pass.ErrBadSignature)
	}
	data, err := base45.Decode(code[len(Prefix):])
	if err != nil {
		return "", fmt.Errorf("prove: %w", err)
	}
	claims, err := encMode.Marshal(&proofPayload{Audience: audience, Issued: at.Unix(), Code: data})
	if err != nil {
		return "", fmt.Errorf("prove: %w", err)
	}
	outer, err := cose.SignNative(cose.EdDSA, holder, nil, claims)
	if err != nil {
		return "", fmt.Errorf("prove: %w", err)
	}
	proved := text(outer)
	if _, err := parse([]byte(proved)); err != nil {
		return "", fmt.Errorf("prove: %w", err)
	}
	return proved, nil
}
