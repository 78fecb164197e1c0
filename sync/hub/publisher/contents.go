package publisher

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

// Contents is what one publish says. What is left zero stays as it was, so a
// recolour names its lists and nothing else.
type Contents struct {
	// Issued is the time of the publish, to the second; not before the last one.
	Issued time.Time
	// Keys are all issuer and enterprise keys; nil leaves them. A change needs
	// the offline keys of role keys.
	Keys []pass.Key
	// Policy for all gates; Version 0, the built-in default, leaves it. A
	// change needs the offline keys of role policy.
	Policy gate.Policy
	// Map of the counties; Version 0 leaves it. It comes daily, so its key is online.
	Map gate.RiskMap
	// Lists to publish: those whose bytes are as before cost nothing, those
	// not named stay.
	Lists []List
	// Revocations of foreign codes to publish, each with all of its entries:
	// those that are as before cost nothing, those not named stay.
	Revocations []HashList
	// Drop names lists by URI that are to go.
	Drop []string
}

// List is one status list.
type List struct {
	// Info needs URI and Bits. Sequence, Size and SHA256 are the publisher's
	// to set; Issued and Expires are where they are zero. Issued is not after
	// the publish.
	Info statuslist.Info
	// Raw bytes, packed, not compressed.
	Raw []byte
}

// Version says what a publish made visible.
type Version struct {
	// Root, Timestamp, Snapshot and Targets are the versions of the metadata.
	Root, Timestamp, Snapshot, Targets int64
	// Roles are the versions of the delegated roles.
	Roles map[string]int64
	// Issued is the signed time.
	Issued time.Time
	// Signed names the delegated roles that were signed anew.
	Signed []string
	// Lists are the status lists that were written or got another life, as
	// they were signed.
	Lists []statuslist.Info
	// Revocations are the same for the hash lists of foreign codes.
	Revocations []hashlist.Info
}

// Paths of the targets that are not status lists.
const (
	keysPath   = "keys/keys.json"
	policyPath = "policy/policy.json"
	mapPath    = "map/map.json"
)

// Names of the delegated roles. Gates know them too: they are part of the format.
const (
	keysRole     = "keys"
	policyRole   = "policy"
	mapRole      = "map"
	releaseRole  = "release"
	statusPrefix = "status-"
)

var listURI = regexp.MustCompile(`(?:^|[/:])([0-9]{2}|[0-9]{4}|[0-9]{6})/(0|[1-9][0-9]{0,6})$`)

// Path returns where the list with this URI lies among the targets and which
// province signs it. A list's URI ends in REGION/NUMBER, as
// "https://health.example/3301/0": the region is 2, 4 or 6 digits of GB/T
// 2260, of which the first two are the province. Gates hold the two against
// each other, so that one province cannot answer for another's codes.
func Path(uri string) (path, province string, err error) {
	m := listURI.FindStringSubmatch(uri)
	if m == nil || len(uri) > maxURI {
		return "", "", fmt.Errorf("list %q: %w", uri, ErrURI)
	}
	return "status/" + m[1] + "/" + m[2] + ".tsl", m[1][:2], nil
}

// maxURI is the longest URI that a code may carry, in bytes.
const maxURI = 256

// check says what a gate would refuse the list for.
func (l List) check(now time.Time) error {
	if l.Info.Issued.After(now) {
		return fmt.Errorf("list %s: %w: issued %s, after the publish", l.Info.URI, ErrList, l.Info.Issued.UTC().Format(time.RFC3339))
	}
	switch l.Info.Bits {
	case 1, 2, 4, 8:
	default:
		return fmt.Errorf("list %s: %w: %d bits a code", l.Info.URI, ErrList, l.Info.Bits)
	}
	if len(l.Raw) == 0 || len(l.Raw) > statuslist.MaxSize {
		return fmt.Errorf("list %s: %w: %d bytes, allowed are 1 to %d", l.Info.URI, ErrList, len(l.Raw), statuslist.MaxSize)
	}
	return nil
}

// describe returns the Info to sign for the list's bytes, issued now.
func (l List) describe(sequence uint64, now time.Time, life time.Duration) statuslist.Info {
	i := l.Info
	i.Sequence = sequence
	i.Size = int64(len(l.Raw))
	i.SHA256 = sha256.Sum256(l.Raw)
	if i.Issued.IsZero() {
		i.Issued = now
	}
	if i.Expires.IsZero() {
		i.Expires = now.Add(life)
	}
	i.Issued = i.Issued.UTC().Truncate(time.Second)
	i.Expires = i.Expires.UTC().Truncate(time.Second)
	return i
}
