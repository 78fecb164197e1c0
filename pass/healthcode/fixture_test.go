package healthcode

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"testing"
	"time"

	"greengate/pass"
)

// noon of the day on which the scheme began is now in these tests.
var noon = time.Date(2020, 2, 11, 12, 0, 0, 0, time.UTC)

// seed makes a key of a test: the same one each time.
func seed(b byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, 32)) }

// scalar makes a P-256 key of a test.
func scalar(b byte) *ecdsa.PrivateKey {
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{b}, 32))
	if err != nil {
		panic(err) // a constant
	}
	return k
}

var (
	edSigner = Signer{
		Key: pass.Key{
			ID: []byte("hz01"), Algorithm: pass.EdDSA, Public: seed(1).Public(), Use: pass.UseCode, Region: "3301",
			NotBefore: noon.AddDate(0, -1, 0), NotAfter: noon.AddDate(1, 0, 0),
		},
		Private: seed(1),
	}
	ecSigner = Signer{
		Key: pass.Key{
			ID: []byte("zj07"), Algorithm: pass.ES256, Public: scalar(2).Public(), Use: pass.UseCode, Region: "33",
			NotBefore: noon.AddDate(0, -1, 0), NotAfter: noon.AddDate(1, 0, 0),
		},
		Private: scalar(2),
	}
	permitSigner = Signer{
		Key: pass.Key{
			ID: []byte("co42"), Algorithm: pass.EdDSA, Public: seed(3).Public(), Use: pass.UsePermit,
			NotBefore: noon.AddDate(0, -1, 0), NotAfter: noon.AddDate(1, 0, 0),
			Enterprise: "91330100", Zones: []string{"office", "dock", "canteen"},
		},
		Private: seed(3),
	}
	holder = seed(4)
)

// allKeys are the public halves of the signers.
func allKeys() pass.KeyMap {
	return pass.NewKeyMap([]pass.Key{edSigner.Key, ecSigner.Key, permitSigner.Key})
}

func staticClaims() Claims {
	return Claims{
		Issued: noon.Add(-time.Hour), Expires: noon.AddDate(0, 0, 14),
		Status: pass.StatusRef{URI: "sl:330106/0", Index: 987654},
		Name:   "王*明", Region: "330106",
	}
}

func boundClaims() Claims {
	c := staticClaims()
	c.HolderKey = holder.Public().(ed25519.PublicKey)
	return c
}

func permitClaims() PermitClaims {
	return PermitClaims{
		Issued: noon.Add(-time.Hour), Expires: noon.AddDate(0, 1, 0),
		Status: pass.StatusRef{URI: "sl:co42/0", Index: 5},
		Zones:  []string{"office", "canteen"},
		Holder: pass.StatusRef{URI: "sl:330106/0", Index: 987654},
	}
}

func mustIssue(tb testing.TB, s Signer, c Claims) string {
	tb.Helper()
	code, err := Issue(s, c)
	if err != nil {
		tb.Fatal(err)
	}
	return code
}

func mustPermit(tb testing.TB, s Signer, c PermitClaims) string {
	tb.Helper()
	code, err := IssuePermit(s, c)
	if err != nil {
		tb.Fatal(err)
	}
	return code
}

func mustProve(tb testing.TB, code string, at time.Time) string {
	tb.Helper()
	proved, err := Prove(holder, code, at, "")
	if err != nil {
		tb.Fatal(err)
	}
	return proved
}
