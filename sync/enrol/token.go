package enrol

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ErrToken: the text is not a token, or was mistyped; the error says where.
var ErrToken = errors.New("not an enrolment token")

// Lengths of a token's parts, in bytes.
const (
	// SecretBytes of the one-time secret: 80 bits, good for an hour or so.
	SecretBytes = 10
	// FingerprintBytes of the hub's authority and root of trust.
	FingerprintBytes = 16
)

// Token is what a technician types or scans to enrol a gate: where the hub is,
// a secret that is good once, and how to know the hub again.
//
// As text it is the hub's URL and behind it "GE1-" with nine groups of six
// characters, in Crockford's base 32: five of data and a check. A group that was
// mistyped is named. Case does not matter, so that it fits the alphanumeric mode
// of a QR code; nor does O for 0, or I and L for 1.
type Token struct {
	// URL of the hub, as "https://hub.example:8443".
	URL         string
	Secret      [SecretBytes]byte
	Fingerprint [FingerprintBytes]byte
}

const (
	tokenPrefix = "GE1"
	tokenGroups = 9
	groupData   = 5
	// alphabet is Crockford's: no I, L, O and U.
	alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	// maxToken is the longest text that is looked at.
	maxToken = 400
)

// Fingerprint is what a token knows a hub by: the certificate of its authority
// (DER) and the root of trust for its lists, byte for byte, together.
func Fingerprint(ca, tufRoot []byte) (f [FingerprintBytes]byte) {
	a, r := sha256.Sum256(ca), sha256.Sum256(tufRoot)
	sum := sha256.Sum256(append(append([]byte("greengate enrolment v1\x00"), a[:]...), r[:]...))
	copy(f[:], sum[:])
	return f
}

// check is the last character of a group: it depends on its place, so that two
// groups that changed places show.
func check(i int, data string) byte {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s %d %s", tokenPrefix, i, data)))
	return alphabet[sum[0]&31]
}

// Code is the token without the URL.
func (t Token) Code() string {
	raw := append(append([]byte{}, t.Secret[:]...), t.Fingerprint[:]...)
	var digits []byte
	bits, n := uint32(0), 0
	for _, b := range append(raw, make([]byte, tokenGroups*groupData*5/8+1-len(raw))...) {
		bits, n = bits<<8|uint32(b), n+8
		for n >= 5 {
			n -= 5
			digits = append(digits, alphabet[bits>>n&31])
		}
	}
	groups := []string{tokenPrefix}
	for i := range tokenGroups {
		data := string(digits[i*groupData : (i+1)*groupData])
		groups = append(groups, data+string(check(i, data)))
	}
	return strings.Join(groups, "-")
}

// String is the token as a QR code holds it.
func (t Token) String() string { return strings.ToUpper(t.URL) + "/" + t.Code() }

// ParseToken reads a token: the URL and the code with blanks or a slash between
// them. Errors wrap [ErrToken].
func ParseToken(text string) (t Token, err error) {
	fail := func(format string, a ...any) (Token, error) {
		return Token{}, fmt.Errorf("%w: %s", ErrToken, fmt.Sprintf(format, a...))
	}
	if len(text) > maxToken {
		return fail("%d characters", len(text))
	}
	fields := strings.Fields(text)
	upper := strings.ToUpper(strings.Join(fields, "/"))
	at := strings.LastIndex(upper, "/"+tokenPrefix+"-")
	if at < 0 {
		return fail("want the hub's URL and behind it %s-..., as `gatehub gate invite` prints it", tokenPrefix)
	}
	t.URL = strings.ToLower(strings.TrimRight(upper[:at], "/"))
	u, err := url.Parse(t.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return fail("%.80q: want https://HOST[:PORT] before %s-", t.URL, tokenPrefix)
	}
	groups := strings.Split(upper[at+len(tokenPrefix)+2:], "-")
	if len(groups) != tokenGroups {
		return fail("%d groups behind %s, want %d", len(groups), tokenPrefix, tokenGroups)
	}
	var raw []byte
	bits, n := uint32(0), 0
	for i, g := range groups {
		g = strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(g)
		if len(g) != groupData+1 || check(i, g[:groupData]) != g[groupData] {
			return fail("group %d of %d, %.12q, was mistyped", i+1, tokenGroups, g)
		}
		for _, c := range []byte(g[:groupData]) {
			v := strings.IndexByte(alphabet, c)
			if v < 0 {
				return fail("group %d of %d, %.12q, was mistyped", i+1, tokenGroups, g)
			}
			bits, n = bits<<5|uint32(v), n+5
			if n >= 8 {
				n -= 8
				raw = append(raw, byte(bits>>n))
				bits &= 1<<n - 1
			}
		}
	}
	copy(t.Secret[:], raw)
	copy(t.Fingerprint[:], raw[SecretBytes:])
	for _, b := range raw[SecretBytes+FingerprintBytes:] {
		if b != 0 || bits != 0 {
			return fail("of another version")
		}
	}
	if bits != 0 {
		return fail("of another version")
	}
	return t, nil
}
