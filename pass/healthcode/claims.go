package healthcode

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"greengate/pass"
)

// Bounds of what a code says, in bytes where not named otherwise.
const (
	maxName       = 64
	maxCategory   = 32
	maxZone       = 32
	maxZones      = 16 // zones
	maxEnterprise = 32
	maxURI        = 256
	maxAudience   = 64
)

// latest is the last second that RFC 3339 can write.
const latest = 253402300799

// payload is the CWT of a code. See the table in doc.go.
type payload struct {
	Expires    int64         `cbor:"4,keyasint"`
	Issued     int64         `cbor:"6,keyasint"`
	Confirm    *confirmation `cbor:"8,keyasint,omitempty"`
	Status     status        `cbor:"65535,keyasint"`
	Name       string        `cbor:"-65537,keyasint,omitempty"`
	Region     uint32        `cbor:"-65538,keyasint,omitempty"`
	Category   string        `cbor:"-65539,keyasint,omitempty"`
	Paper      bool          `cbor:"-65540,keyasint,omitempty"`
	Zones      []string      `cbor:"-65541,keyasint,omitempty"`
	Holder     *entry        `cbor:"-65542,keyasint,omitempty"`
	Enterprise string        `cbor:"-65543,keyasint,omitempty"`
}

// confirmation is cnf, RFC 8747 section 3.1.
type confirmation struct {
	Key coseKey `cbor:"1,keyasint"`
}

// coseKey is an Ed25519 key, RFC 9053 section 7.2.
type coseKey struct {
	Type  int    `cbor:"1,keyasint"`
	Curve int    `cbor:"-1,keyasint"`
	X     []byte `cbor:"-2,keyasint"`
}

// Values of a COSE_Key, RFC 9053 tables 17 and 18.
const (
	keyTypeOKP   = 1
	curveEd25519 = 6
)

// status is the status claim, draft-ietf-oauth-status-list section 6.3.
type status struct {
	List entry `cbor:"status_list"`
}

// entry is a pointer into a status list.
type entry struct {
	Index uint64 `cbor:"idx"`
	URI   string `cbor:"uri"`
}

// proofPayload is the CWT of a holder's proof. See the table in doc.go.
type proofPayload struct {
	Audience string `cbor:"3,keyasint"`
	Issued   int64  `cbor:"6,keyasint"`
	Code     []byte `cbor:"-65544,keyasint"`
}

// decMode reads strangers' CBOR: known keys only, none twice, no tags,
// nothing of indefinite length, little depth.
var decMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   4,
		MaxArrayElements:  16,
		MaxMapPairs:       16,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		panic(err) // the options above are constants
	}
	return m
}()

// encMode writes the core deterministic encoding of RFC 8949 section 4.2.1.
var encMode = func() cbor.UserBufferEncMode {
	m, err := cbor.CoreDetEncOptions().UserBufferEncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

// decode reads v from data and asks that v written again is data. The
// decoder's text may quote what it read, so it is not kept.
func decode(data []byte, v any) error {
	if err := decMode.Unmarshal(data, v); err != nil {
		var extra *cbor.ExtraneousDataError
		if errors.As(err, &extra) {
			return fmt.Errorf("claims: %w", pass.ErrTrailing)
		}
		return fmt.Errorf("claims: %w", pass.ErrMalformed)
	}
	buf := bytes.NewBuffer(make([]byte, 0, len(data)+64))
	if err := encMode.MarshalToBuffer(v, buf); err != nil {
		return fmt.Errorf("claims: %w", pass.ErrMalformed)
	}
	if !bytes.Equal(buf.Bytes(), data) {
		return fmt.Errorf("claims: %w", pass.ErrNotCanonical)
	}
	return nil
}

// check asks for everything that can be asked without a key or a clock, and
// says what kind of code it is.
func (p *payload) check() (pass.Kind, error) {
	switch {
	case p.Issued < 1 || p.Expires > latest || p.Expires <= p.Issued:
		return 0, wrong("period")
	case !validURI(p.Status.List.URI):
		return 0, wrong("status")
	case !optional(p.Name, maxName):
		return 0, wrong("name")
	case !optional(p.Category, maxCategory):
		return 0, wrong("category")
	case p.Region != 0 && (p.Region < 100000 || p.Region > 999999):
		return 0, wrong("region")
	case p.Confirm != nil && !p.Confirm.Key.valid():
		return 0, wrong("holder's key")
	}
	if p.Zones != nil || p.Holder != nil || p.Enterprise != "" {
		return pass.KindPermit, p.checkPermit()
	}
	switch {
	case p.Region == 0:
		return 0, wrong("region")
	case p.Confirm != nil && p.Paper:
		return 0, wrong("paper with a holder's key")
	case p.Confirm != nil:
		return pass.KindBound, nil
	case p.Paper:
		return pass.KindPaper, nil
	}
	return pass.KindStatic, nil
}

// checkPermit asks for what a permit must and must not say.
func (p *payload) checkPermit() error {
	switch {
	case p.Confirm != nil || p.Paper || p.Name != "" || p.Category != "":
		return wrong("permit with a health code's claims")
	case p.Holder == nil || !validURI(p.Holder.URI):
		return wrong("permit's holder")
	case len(p.Zones) < 1 || len(p.Zones) > maxZones:
		return wrong("number of zones")
	case !optional(p.Enterprise, maxEnterprise):
		return wrong("enterprise")
	}
	for i, z := range p.Zones {
		if z == "" || !optional(z, maxZone) || i > 0 && z <= p.Zones[i-1] {
			return wrong("zones")
		}
	}
	return nil
}

// valid reports whether the key is an Ed25519 key.
func (k *coseKey) valid() bool {
	return k.Type == keyTypeOKP && k.Curve == curveEd25519 && len(k.X) == ed25519.PublicKeySize && !weakKey(k.X)
}

// wrong is the error of a claim that the format does not allow. It names the
// claim and never its value.
func wrong(what string) error {
	return fmt.Errorf("%s: %w", what, pass.ErrMalformed)
}

// validURI reports whether s can name a status list: printable ASCII without
// space, as RFC 3986 has it.
func validURI(s string) bool {
	if len(s) < 1 || len(s) > maxURI {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// optional reports whether s is empty, or text of at most n bytes that can be
// shown: no control characters, no line ends, and no format characters that
// turn what stands around them, except the two joiners.
func optional(s string, n int) bool {
	if len(s) > n || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < utf8.RuneSelf {
			if r < ' ' || r == 0x7f {
				return false
			}
			continue
		}
		if r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) ||
			unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' {
			return false
		}
	}
	return true
}

// region returns the six digits, "" for none.
func (p *payload) region() string {
	if p.Region == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(p.Region), 10)
}

// credential says the payload in pass's words.
func (p *payload) credential(kind pass.Kind, kid []byte, key *pass.Key) *pass.Credential {
	c := &pass.Credential{
		Format:   Name,
		Kind:     kind,
		KeyID:    kid,
		Issued:   time.Unix(p.Issued, 0).UTC(),
		Expires:  time.Unix(p.Expires, 0).UTC(),
		Status:   pass.StatusRef{URI: p.Status.List.URI, Index: p.Status.List.Index},
		Name:     p.Name,
		Region:   p.region(),
		Category: p.Category,
	}
	if p.Confirm != nil {
		c.HolderKey = p.Confirm.Key.X
	}
	if kind == pass.KindPermit {
		c.Permit = &pass.Permit{
			Enterprise: key.Enterprise,
			Zones:      p.Zones,
			Holder:     pass.StatusRef{URI: p.Holder.URI, Index: p.Holder.Index},
		}
	}
	return c
}

// fits reports whether key may sign this: its use, its region, its period,
// its enterprise and its zones.
func (p *payload) fits(kind pass.Kind, key *pass.Key) bool {
	use := pass.UseCode
	if kind == pass.KindPermit {
		use = pass.UsePermit
	}
	if key.Use != use || p.Issued < key.NotBefore.Unix() || p.Issued > key.NotAfter.Unix() {
		return false
	}
	if r := p.region(); len(r) < len(key.Region) || r[:len(key.Region)] != key.Region {
		return false
	}
	if kind != pass.KindPermit {
		return true
	}
	if key.Enterprise == "" || p.Enterprise != "" && p.Enterprise != key.Enterprise {
		return false
	}
	for _, z := range p.Zones {
		if !slices.Contains(key.Zones, z) {
			return false
		}
	}
	return true
}
