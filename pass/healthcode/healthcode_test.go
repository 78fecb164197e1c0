package healthcode

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"greengate/pass"
	"greengate/pass/base45"
	"greengate/pass/cose"
)

// reader opens codes as a gate does.
func reader(keys pass.Keys) *pass.Reader { return pass.NewReader(New(keys, Options{})) }

func TestOpen(t *testing.T) {
	r := reader(allKeys())
	paper, company := staticClaims(), staticClaims()
	paper.Paper = true
	company.Category, company.Name, company.Region = "resident", "", "331002"
	at := noon.Add(-30 * time.Second)
	credential := func(edit func(*pass.Credential)) *pass.Credential {
		c := &pass.Credential{
			Format: "JKM1", Kind: pass.KindStatic, KeyID: edSigner.Key.ID,
			Issued: noon.Add(-time.Hour), Expires: noon.AddDate(0, 0, 14),
			Status: pass.StatusRef{URI: "sl:330106/0", Index: 987654},
			Name:   "王*明", Region: "330106",
		}
		edit(c)
		return c
	}
	bound := mustProve(t, mustIssue(t, edSigner, boundClaims()), at)
	outer := decoded(t, bound)
	m, err := cose.ParseNative(outer)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, code string
		want       *pass.Credential
	}{
		{"static", mustIssue(t, edSigner, staticClaims()), credential(func(*pass.Credential) {})},
		{"paper", mustIssue(t, edSigner, paper), credential(func(c *pass.Credential) { c.Kind = pass.KindPaper })},
		{"ES256", mustIssue(t, ecSigner, company), credential(func(c *pass.Credential) {
			c.KeyID, c.Name, c.Category, c.Region = ecSigner.Key.ID, "", "resident", "331002"
		})},
		{"dynamic", bound, credential(func(c *pass.Credential) {
			c.Kind, c.HolderKey = pass.KindBound, holder.Public().(ed25519.PublicKey)
			c.Proof = pass.Proof{At: at, ID: sha256.Sum256(m.Payload)}
		})},
		{"permit", mustPermit(t, permitSigner, permitClaims()), credential(func(c *pass.Credential) {
			c.Kind, c.KeyID, c.Expires = pass.KindPermit, permitSigner.Key.ID, noon.AddDate(0, 1, 0)
			c.Status = pass.StatusRef{URI: "sl:co42/0", Index: 5}
			c.Name, c.Region = "", ""
			c.Permit = &pass.Permit{
				Enterprise: "91330100", Zones: []string{"canteen", "office"},
				Holder: pass.StatusRef{URI: "sl:330106/0", Index: 987654},
			}
		})},
	} {
		got, err := r.Open([]byte(c.code), noon)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
		for _, ch := range []byte(c.code) {
			if !bytes.ContainsRune([]byte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"), rune(ch)) {
				t.Errorf("%s: character %q is not of QR's alphanumeric mode", c.name, ch)
			}
		}
	}
}

// TestAlgorithms: an EdDSA key opens -8 and -19, and a key bound to -19 that alone.
func TestAlgorithms(t *testing.T) {
	full := edSigner
	full.Key.Algorithm = pass.Ed25519
	old, fully := mustIssue(t, edSigner, staticClaims()), mustIssue(t, full, staticClaims())
	if _, err := reader(allKeys()).Open([]byte(fully), noon); err != nil {
		t.Errorf("-19 with an EdDSA key: %v", err)
	}
	only := pass.NewKeyMap([]pass.Key{full.Key})
	if _, err := reader(only).Open([]byte(old), noon); !errors.Is(err, pass.ErrAlgorithm) {
		t.Errorf("-8 with a key bound to -19: %v, want ErrAlgorithm", err)
	}
}

// decoded returns the bytes behind the prefix.
func decoded(tb testing.TB, code string) []byte {
	tb.Helper()
	data, err := base45.Decode(strings.TrimPrefix(code, Prefix))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// sign makes a code of any claims, past all that Issue checks.
func sign(tb testing.TB, s Signer, alg cose.Algorithm, claims []byte) string {
	tb.Helper()
	data, err := cose.SignNative(alg, s.Private, s.Key.ID, claims)
	if err != nil {
		tb.Fatal(err)
	}
	return text(data)
}

// claims returns the CWT of a code as a map that a test may spoil.
func claims(tb testing.TB, code string) map[int64]any {
	tb.Helper()
	m, err := parse([]byte(code))
	if err != nil {
		tb.Fatal(err)
	}
	var v map[int64]any
	if err := cbor.Unmarshal(m.code.Payload, &v); err != nil {
		tb.Fatal(err)
	}
	return v
}

// spoiled changes the claims of a code and signs them with the right key.
func spoiled(tb testing.TB, s Signer, code string, edit func(map[int64]any)) string {
	tb.Helper()
	v := claims(tb, code)
	edit(v)
	data, err := encMode.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return sign(tb, s, cose.Algorithm(s.Key.Algorithm), data)
}

// proved wraps anything into a proof of anybody.
func proved(tb testing.TB, key ed25519.PrivateKey, alg cose.Algorithm, p proofPayload) string {
	tb.Helper()
	data, err := encMode.Marshal(&p)
	if err != nil {
		tb.Fatal(err)
	}
	outer, err := cose.SignNative(alg, key, nil, data)
	if err != nil {
		tb.Fatal(err)
	}
	return text(outer)
}

// TestErrors has a row for each way a code fails to open.
func TestErrors(t *testing.T) {
	static := mustIssue(t, edSigner, staticClaims())
	bare := mustIssue(t, edSigner, boundClaims())
	live := mustProve(t, bare, noon)
	permit := mustPermit(t, permitSigner, permitClaims())
	es256 := mustIssue(t, ecSigner, staticClaims())
	data, liveData := decoded(t, static), decoded(t, live)
	edit := func(f func(map[int64]any)) string { return spoiled(t, edSigner, static, f) }
	editBound := func(f func(map[int64]any)) string { return spoiled(t, edSigner, bare, f) }
	editPermit := func(f func(map[int64]any)) string { return spoiled(t, permitSigner, permit, f) }
	changed := func(data []byte, at int) string {
		b := bytes.Clone(data)
		b[at] ^= 1
		return text(b)
	}
	// keys with one key changed.
	keys := func(s Signer, f func(*pass.Key)) pass.KeyMap {
		k := s.Key
		f(&k)
		return pass.NewKeyMap([]pass.Key{k})
	}
	wrongKey := func(k *pass.Key) { k.Public = seed(9).Public() }
	weak := make([]byte, 32)
	weak[0] = 1
	es := decoded(t, es256)
	s := new(big.Int).SetBytes(es[len(es)-32:])
	twin := bytes.Clone(es)
	s.Sub(elliptic.P256().Params().N, s).FillBytes(twin[len(es)-32:])

	for _, c := range []struct {
		name string
		code string
		keys pass.Keys // nil: all
		now  time.Time // zero: noon
		err  error
		kind pass.Kind // of the credential beside the error; 0: none
	}{
		// What no format knows.
		{name: "nothing", code: "", err: pass.ErrUnreadable},
		{name: "garbage", code: "https://example.com/buy", err: pass.ErrUnreadable},
		{name: "binary", code: "\x00\xff\xfe\x01", err: pass.ErrUnreadable},
		{name: "half of the prefix", code: "JKM", err: pass.ErrUnreadable},
		{name: "lower case prefix", code: "jkm1:" + static[5:], err: pass.ErrUnreadable},
		{name: "another version", code: "JKM2:" + static[5:], err: pass.ErrUnreadable},
		{name: "space before", code: " " + static, err: pass.ErrUnreadable},

		// Size and text.
		{name: "huge", code: Prefix + strings.Repeat("A", 1<<20), err: pass.ErrTooLong},
		{name: "too long for the format", code: Prefix + strings.Repeat("0", MaxText), err: pass.ErrTooLong},
		{name: "prefix alone", code: Prefix, err: pass.ErrMalformed},
		{name: "binary behind the prefix", code: Prefix + "\x00\x01\xff", err: pass.ErrMalformed},
		{name: "half", code: static[:len(static)/2], err: pass.ErrMalformed},
		{name: "one character less", code: static[:len(static)-1], err: pass.ErrMalformed},
		{name: "one character more", code: static + "0", err: pass.ErrMalformed},
		{name: "newline behind", code: static + "\r\n", err: pass.ErrMalformed},
		{name: "lower case", code: Prefix + strings.ToLower(static[5:]), err: pass.ErrMalformed},
		{name: "prefix twice", code: Prefix + static, err: pass.ErrMalformed},
		{name: "base45 out of range", code: Prefix + ":::" + static[5:], err: pass.ErrMalformed},

		// The envelope.
		{name: "trailing bytes", code: text(append(bytes.Clone(data), 0, 0)), err: pass.ErrTrailing},
		{name: "code twice", code: text(append(bytes.Clone(data), data...)), err: pass.ErrTrailing},
		{name: "no tag", code: text(data[1:]), err: pass.ErrMalformed},
		{name: "tag 61", code: text(append([]byte{0xd8, 61}, data...)), err: pass.ErrMalformed},
		{name: "unprotected kid", code: text(bytes.Replace(data, []byte("\xa0"), []byte("\xa1\x04\x41k"), 1)), err: pass.ErrMalformed},
		{name: "long form", code: text(bytes.Replace(data, []byte("\xd2\x84\x49"), []byte("\xd2\x84\x58\x09"), 1)), err: pass.ErrNotCanonical},
		{name: "twin signature", code: text(twin), err: pass.ErrNotCanonical},

		// The claims, signed by the right key.
		{name: "claims no map", code: sign(t, edSigner, cose.EdDSA, []byte{0x80}), err: pass.ErrMalformed},
		{name: "claims cut", code: sign(t, edSigner, cose.EdDSA, []byte{0xa5, 4}), err: pass.ErrMalformed},
		{name: "claims with trailing bytes", code: sign(t, edSigner, cose.EdDSA, append(payloadOf(t, static), 0)), err: pass.ErrTrailing},
		{name: "claims reordered", code: sign(t, edSigner, cose.EdDSA, reordered(t, static)), err: pass.ErrNotCanonical},
		{name: "claims indefinite", code: sign(t, edSigner, cose.EdDSA, []byte{0xbf, 0xff}), err: pass.ErrMalformed},
		{name: "claim twice", code: sign(t, edSigner, cose.EdDSA, append([]byte{0xa2, 4, 1, 4}, 2)), err: pass.ErrMalformed},
		{name: "unknown claim", code: edit(func(v map[int64]any) { v[1] = "me" }), err: pass.ErrMalformed},
		{name: "unknown private claim", code: edit(func(v map[int64]any) { v[-70000] = 1 }), err: pass.ErrMalformed},
		{name: "colour inside", code: edit(func(v map[int64]any) { v[-65537] = 0 }), err: pass.ErrMalformed},
		{name: "no exp", code: edit(func(v map[int64]any) { delete(v, 4) }), err: pass.ErrMalformed},
		{name: "no iat", code: edit(func(v map[int64]any) { delete(v, 6) }), err: pass.ErrMalformed},
		{name: "no status", code: edit(func(v map[int64]any) { delete(v, 65535) }), err: pass.ErrMalformed},
		{name: "no region", code: edit(func(v map[int64]any) { delete(v, -65538) }), err: pass.ErrMalformed},
		{name: "exp before iat", code: edit(func(v map[int64]any) { v[4] = noon.AddDate(0, 0, -9).Unix() }), err: pass.ErrMalformed},
		{name: "exp after all calendars", code: edit(func(v map[int64]any) { v[4] = int64(latest + 1) }), err: pass.ErrMalformed},
		{name: "iat negative", code: edit(func(v map[int64]any) { v[6] = -1 }), err: pass.ErrMalformed},
		{name: "exp a float", code: edit(func(v map[int64]any) { v[4] = float64(noon.AddDate(0, 1, 0).Unix()) }), err: pass.ErrMalformed},
		{name: "exp with a tag", code: edit(func(v map[int64]any) { v[4] = cbor.Tag{Number: 1, Content: 1700000000} }), err: pass.ErrMalformed},
		{name: "exp null", code: edit(func(v map[int64]any) { v[4] = nil }), err: pass.ErrMalformed},
		{name: "region of five digits", code: edit(func(v map[int64]any) { v[-65538] = 33010 }), err: pass.ErrMalformed},
		{name: "region of seven digits", code: edit(func(v map[int64]any) { v[-65538] = 3301060 }), err: pass.ErrMalformed},
		{name: "region zero", code: edit(func(v map[int64]any) { v[-65538] = 0 }), err: pass.ErrNotCanonical},
		{name: "name empty", code: edit(func(v map[int64]any) { v[-65537] = "" }), err: pass.ErrNotCanonical},
		{name: "name too long", code: edit(func(v map[int64]any) { v[-65537] = strings.Repeat("x", 65) }), err: pass.ErrMalformed},
		{name: "name with a control character", code: edit(func(v map[int64]any) { v[-65537] = "a\x1b[31m" }), err: pass.ErrMalformed},
		{name: "name turned round", code: edit(func(v map[int64]any) { v[-65537] = "a\u202eb" }), err: pass.ErrMalformed},
		{name: "name with a line end", code: edit(func(v map[int64]any) { v[-65537] = "a\u2028b" }), err: pass.ErrMalformed},
		{name: "name not UTF-8", code: sign(t, edSigner, cose.EdDSA, bytes.Replace(payloadOf(t, static), []byte("王"), []byte("\xe7\xff\x8b"), 1)), err: pass.ErrMalformed},
		{name: "category too long", code: edit(func(v map[int64]any) { v[-65539] = strings.Repeat("x", 33) }), err: pass.ErrMalformed},
		{name: "paper false", code: edit(func(v map[int64]any) { v[-65540] = false }), err: pass.ErrNotCanonical},
		{name: "uri empty", code: edit(func(v map[int64]any) { v[65535] = status{entry{1, ""}} }), err: pass.ErrMalformed},
		{name: "uri too long", code: edit(func(v map[int64]any) { v[65535] = status{entry{1, strings.Repeat("u", 257)}} }), err: pass.ErrMalformed},
		{name: "uri not ASCII", code: edit(func(v map[int64]any) { v[65535] = status{entry{1, "sl:杭州"}} }), err: pass.ErrMalformed},
		{name: "index negative", code: edit(func(v map[int64]any) {
			v[65535] = map[string]any{"status_list": map[string]any{"idx": -1, "uri": "u"}}
		}), err: pass.ErrMalformed},
		{name: "status in capitals", code: edit(func(v map[int64]any) {
			v[65535] = map[string]any{"STATUS_LIST": map[string]any{"idx": 1, "uri": "u"}}
		}), err: pass.ErrMalformed},
		{name: "paper with a holder's key", code: editBound(func(v map[int64]any) { v[-65540] = true }), err: pass.ErrMalformed},
		{name: "holder's key short", code: editBound(func(v map[int64]any) { v[8] = confirmation{coseKey{1, 6, weak[:31]}} }), err: pass.ErrMalformed},
		{name: "holder's key of another curve", code: editBound(func(v map[int64]any) { v[8] = confirmation{coseKey{1, 4, seed(4)[32:]}} }), err: pass.ErrMalformed},
		{name: "holder's key that is everybody's", code: editBound(func(v map[int64]any) { v[8] = confirmation{coseKey{1, 6, weak}} }), err: pass.ErrMalformed},
		{name: "cnf null", code: edit(func(v map[int64]any) { v[8] = nil }), err: pass.ErrNotCanonical},
		{name: "permit with cnf", code: editPermit(func(v map[int64]any) { v[8] = confirmation{coseKey{1, 6, seed(4)[32:]}} }), err: pass.ErrMalformed},
		{name: "permit with a name", code: editPermit(func(v map[int64]any) { v[-65537] = "x" }), err: pass.ErrMalformed},
		{name: "permit on paper", code: editPermit(func(v map[int64]any) { v[-65540] = true }), err: pass.ErrMalformed},
		{name: "permit without holder", code: editPermit(func(v map[int64]any) { delete(v, -65542) }), err: pass.ErrMalformed},
		{name: "permit without zones", code: editPermit(func(v map[int64]any) { delete(v, -65541) }), err: pass.ErrMalformed},
		{name: "zones empty", code: editPermit(func(v map[int64]any) { v[-65541] = []string{} }), err: pass.ErrMalformed},
		{name: "zones unsorted", code: editPermit(func(v map[int64]any) { v[-65541] = []string{"office", "canteen"} }), err: pass.ErrMalformed},
		{name: "zone twice", code: editPermit(func(v map[int64]any) { v[-65541] = []string{"office", "office"} }), err: pass.ErrMalformed},
		{name: "zone without a name", code: editPermit(func(v map[int64]any) { v[-65541] = []string{""} }), err: pass.ErrMalformed},
		{name: "zones beyond number", code: editPermit(func(v map[int64]any) { v[-65541] = make([]string, 17) }), err: pass.ErrMalformed},
		{name: "code with an enterprise", code: edit(func(v map[int64]any) { v[-65543] = "91330100" }), err: pass.ErrMalformed},

		// Keys.
		{name: "unknown kid", code: static, keys: pass.KeyMap{}, err: pass.ErrUnknownKey},
		{name: "key for permits", code: static, keys: keys(edSigner, func(k *pass.Key) { k.Use = pass.UsePermit }), err: pass.ErrUnknownKey},
		{name: "key for codes under a permit", code: permit, keys: keys(permitSigner, func(k *pass.Key) { k.Use = pass.UseCode }), err: pass.ErrUnknownKey},
		{name: "key without use", code: static, keys: keys(edSigner, func(k *pass.Key) { k.Use = "" }), err: pass.ErrUnknownKey},
		{name: "key of another region", code: static, keys: keys(edSigner, func(k *pass.Key) { k.Region = "3302" }), err: pass.ErrUnknownKey},
		{name: "key of a region under a permit of none", code: permit, keys: keys(permitSigner, func(k *pass.Key) { k.Region = "33" }), err: pass.ErrUnknownKey},
		{name: "issued before the key's period", code: static, keys: keys(edSigner, func(k *pass.Key) { k.NotBefore = noon }), err: pass.ErrUnknownKey},
		{name: "issued after the key's period", code: static, keys: keys(edSigner, func(k *pass.Key) { k.NotAfter = noon.AddDate(0, 0, -1) }), err: pass.ErrUnknownKey},
		{name: "key without a period", code: static, keys: keys(edSigner, func(k *pass.Key) { k.NotBefore, k.NotAfter = time.Time{}, time.Time{} }), err: pass.ErrUnknownKey},
		{name: "zone that is not the key's", code: permit, keys: keys(permitSigner, func(k *pass.Key) { k.Zones = []string{"office"} }), err: pass.ErrUnknownKey},
		{name: "enterprise that is not the key's", code: editPermit(func(v map[int64]any) { v[-65543] = "other" }), err: pass.ErrUnknownKey},
		{name: "key without an enterprise", code: permit, keys: keys(permitSigner, func(k *pass.Key) { k.Enterprise = "" }), err: pass.ErrUnknownKey},
		{name: "wrong alg: ES256 key", code: static, keys: keys(edSigner, func(k *pass.Key) { k.Algorithm, k.Public = pass.ES256, scalar(2).Public() }), err: pass.ErrAlgorithm},
		{name: "wrong alg: EdDSA key", code: es256, keys: keys(ecSigner, func(k *pass.Key) { k.Algorithm, k.Public = pass.EdDSA, seed(1).Public() }), err: pass.ErrAlgorithm},
		{name: "wrong alg: key that says none", code: static, keys: keys(edSigner, func(k *pass.Key) { k.Algorithm = 0 }), err: pass.ErrAlgorithm},
		{name: "alg that does not exist", code: text(bytes.Replace(data, []byte("\xa2\x01\x27"), []byte("\xa2\x01\x15"), 1)), err: pass.ErrAlgorithm},
		{name: "wrong key", code: static, keys: keys(edSigner, wrongKey), err: pass.ErrBadSignature},
		{name: "wrong key, ES256", code: es256, keys: keys(ecSigner, func(k *pass.Key) { k.Public = scalar(9).Public() }), err: pass.ErrBadSignature},
		{name: "wrong key of a live code", code: live, keys: keys(edSigner, wrongKey), err: pass.ErrBadSignature},
		{name: "key without its public half", code: static, keys: keys(edSigner, func(k *pass.Key) { k.Public = nil }), err: pass.ErrBadSignature},
		{name: "signature changed", code: changed(data, len(data)-1), err: pass.ErrBadSignature},
		{name: "index changed", code: changed(data, bytes.Index(data, []byte("idx"))+6), err: pass.ErrBadSignature},
		{name: "wrong key and expired", code: static, keys: keys(edSigner, wrongKey), now: noon.AddDate(1, 0, 0), err: pass.ErrBadSignature},

		// The holder's proof.
		{name: "proof stripped", code: bare, err: pass.ErrProofMissing, kind: pass.KindBound},
		{name: "proof changed", code: changed(liveData, len(liveData)-1), err: pass.ErrBadSignature},
		{name: "proof of somebody else", code: proved(t, seed(5), cose.EdDSA, proofPayload{"greengate", noon.Unix(), decoded(t, bare)}), err: pass.ErrBadSignature},
		{name: "proof of the issuer", code: proved(t, seed(1), cose.EdDSA, proofPayload{"greengate", noon.Unix(), decoded(t, bare)}), err: pass.ErrBadSignature},
		{name: "proof for another audience", code: proved(t, holder, cose.EdDSA, proofPayload{"else", noon.Unix(), decoded(t, bare)}), err: pass.ErrProofMissing, kind: pass.KindBound},
		{name: "proof around a static code", code: proved(t, holder, cose.EdDSA, proofPayload{"greengate", noon.Unix(), data}), err: pass.ErrMalformed},
		{name: "proof around a permit", code: proved(t, holder, cose.EdDSA, proofPayload{"greengate", noon.Unix(), decoded(t, permit)}), err: pass.ErrMalformed},
		{name: "proof around a proof", code: proved(t, holder, cose.EdDSA, proofPayload{"greengate", noon.Unix(), liveData}), err: pass.ErrMalformed},
		{name: "proof around nothing", code: proved(t, holder, cose.EdDSA, proofPayload{"greengate", noon.Unix(), nil}), err: pass.ErrMalformed},
		{name: "proof around a longer code", code: proved(t, holder, cose.EdDSA, proofPayload{"greengate", noon.Unix(), append(decoded(t, bare), 0)}), err: pass.ErrTrailing},
		{name: "proof without a time", code: proved(t, holder, cose.EdDSA, proofPayload{"greengate", 0, decoded(t, bare)}), err: pass.ErrMalformed},
		{name: "proof of another alg", code: text(bytes.Replace(liveData, []byte("\xa2\x01\x27\x04\x40"), []byte("\xa2\x01\x15\x04\x40"), 1)), err: pass.ErrAlgorithm},
		{name: "proof 91 s old", code: live, now: noon.Add(91 * time.Second), err: pass.ErrProofStale, kind: pass.KindBound},
		{name: "proof 91 s early", code: live, now: noon.Add(-91 * time.Second), err: pass.ErrProofStale, kind: pass.KindBound},
		{name: "proof just too old", code: live, now: noon.Add(90*time.Second + 1), err: pass.ErrProofStale, kind: pass.KindBound},
		{name: "proof at the edge", code: live, now: noon.Add(90 * time.Second), kind: pass.KindBound},
		{name: "proof at the other edge", code: live, now: noon.Add(-90 * time.Second), kind: pass.KindBound},

		// Times.
		{name: "the last moment", code: static, now: noon.AddDate(0, 0, 14).Add(-1), kind: pass.KindStatic},
		{name: "expired at exp", code: static, now: noon.AddDate(0, 0, 14), err: pass.ErrExpired, kind: pass.KindStatic},
		{name: "expired", code: permit, now: noon.AddDate(1, 0, 0), err: pass.ErrExpired, kind: pass.KindPermit},
		{name: "expired before stale", code: live, now: noon.AddDate(1, 0, 0), err: pass.ErrExpired, kind: pass.KindBound},
		{name: "expired before missing", code: bare, now: noon.AddDate(1, 0, 0), err: pass.ErrExpired, kind: pass.KindBound},
		{name: "the first moment", code: static, now: noon.Add(-time.Hour - 90*time.Second), kind: pass.KindStatic},
		{name: "not yet valid", code: static, now: noon.Add(-time.Hour - 91*time.Second), err: pass.ErrNotYetValid, kind: pass.KindStatic},
		{name: "clock at 1970", code: static, now: time.Unix(0, 0), err: pass.ErrNotYetValid, kind: pass.KindStatic},
	} {
		keys, now := c.keys, c.now
		if keys == nil {
			keys = allKeys()
		}
		if now.IsZero() {
			now = noon
		}
		got, err := reader(keys).Open([]byte(c.code), now)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
		switch {
		case (got != nil) != (c.kind != 0):
			t.Errorf("%s: credential %+v, want kind %v", c.name, got, c.kind)
		case got != nil && got.Kind != c.kind:
			t.Errorf("%s: kind %v, want %v", c.name, got.Kind, c.kind)
		}
		if err != nil && (strings.Contains(err.Error(), "王") || len(c.code) > 20 && strings.Contains(err.Error(), c.code[5:20])) {
			t.Errorf("%s: the error tells the name or the code: %v", c.name, err)
		}
	}
}

func payloadOf(tb testing.TB, code string) []byte {
	tb.Helper()
	m, err := parse([]byte(code))
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Clone(m.code.Payload)
}

// reordered puts the last claim of a static code (region) first.
func reordered(tb testing.TB, code string) []byte {
	tb.Helper()
	p := payloadOf(tb, code)
	cut := len(p) - 10
	out := append([]byte{p[0]}, p[cut:]...)
	return append(out, p[1:cut]...)
}

// TestSharedKeyID: a reader tries each key with the code's kid.
func TestSharedKeyID(t *testing.T) {
	wrongKey, otherUse, otherAlg := edSigner.Key, edSigner.Key, edSigner.Key
	wrongKey.Public = seed(9).Public()
	otherUse.Use = pass.UsePermit
	otherAlg.Algorithm, otherAlg.Public = pass.ES256, scalar(2).Public()
	code := []byte(mustIssue(t, edSigner, staticClaims()))
	all := pass.NewKeyMap([]pass.Key{otherUse, otherAlg, wrongKey, edSigner.Key})
	if _, err := reader(all).Open(code, noon); err != nil {
		t.Errorf("right key last: %v", err)
	}
	// Without it, the error is that of the key that came furthest.
	for _, c := range []struct {
		keys []pass.Key
		err  error
	}{
		{[]pass.Key{wrongKey, otherAlg, otherUse}, pass.ErrBadSignature},
		{[]pass.Key{otherUse, otherAlg}, pass.ErrAlgorithm},
		{[]pass.Key{otherUse}, pass.ErrUnknownKey},
	} {
		_, err := reader(pass.NewKeyMap(c.keys)).Open(code, noon)
		if !errors.Is(err, c.err) {
			t.Errorf("got %v, want %v", err, c.err)
		}
	}
}

func TestOptions(t *testing.T) {
	bare := mustIssue(t, edSigner, boundClaims())
	live, err := Prove(holder, bare, noon, "kiosk")
	if err != nil {
		t.Fatal(err)
	}
	f := New(allKeys(), Options{Audience: "kiosk", ProofWindow: 5 * time.Second})
	if _, err := f.Open([]byte(live), noon.Add(5*time.Second)); err != nil {
		t.Errorf("within the window: %v", err)
	}
	if _, err := f.Open([]byte(live), noon.Add(6*time.Second)); !errors.Is(err, pass.ErrProofStale) {
		t.Errorf("outside the window: %v", err)
	}
	if _, err := f.Open([]byte(mustProve(t, bare, noon)), noon); !errors.Is(err, pass.ErrProofMissing) {
		t.Errorf("another audience: %v", err)
	}
}

// TestProofID: one for each proof, whatever key signed the code.
func TestProofID(t *testing.T) {
	bare := mustIssue(t, edSigner, boundClaims())
	ids := map[[32]byte]bool{}
	for i := range 3 {
		c, err := reader(allKeys()).Open([]byte(mustProve(t, bare, noon.Add(time.Duration(i)*time.Second))), noon)
		if err != nil {
			t.Fatal(err)
		}
		ids[c.Proof.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d identifiers of 3 proofs", len(ids))
	}
}

// TestIssueRefuses: the issuer makes nothing that a gate would not open.
func TestIssueRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		signer func(*Signer)
		claims func(*Claims)
		err    error
	}{
		{"private key of another", func(s *Signer) { s.Private = seed(9) }, nil, pass.ErrBadSignature},
		{"no private key", func(s *Signer) { s.Private = nil }, nil, cose.ErrAlgorithm},
		{"alg of another key", func(s *Signer) { s.Key.Algorithm = pass.ES256 }, nil, cose.ErrAlgorithm},
		{"P-384", func(s *Signer) {
			s.Key.Algorithm = pass.ES256
			s.Private = crypto.Signer(&ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P384()}})
		}, nil, cose.ErrAlgorithm},
		{"key for permits", func(s *Signer) { s.Key.Use = pass.UsePermit }, nil, pass.ErrUnknownKey},
		{"no kid", func(s *Signer) { s.Key.ID = nil }, nil, pass.ErrUnknownKey},
		{"long kid", func(s *Signer) { s.Key.ID = make([]byte, 33) }, nil, cose.ErrMalformed},
		{"region of another key", nil, func(c *Claims) { c.Region = "110101" }, pass.ErrUnknownKey},
		{"after the key's period", nil, func(c *Claims) { c.Issued = c.Issued.AddDate(2, 0, 0); c.Expires = c.Expires.AddDate(2, 0, 0) }, pass.ErrUnknownKey},
		{"region with letters", nil, func(c *Claims) { c.Region = "33010x" }, pass.ErrMalformed},
		{"region with a sign", nil, func(c *Claims) { c.Region = "+33010" }, pass.ErrMalformed},
		{"region from zero", nil, func(c *Claims) { c.Region = "033010" }, pass.ErrMalformed},
		{"no region", nil, func(c *Claims) { c.Region = "" }, pass.ErrMalformed},
		{"ends before it begins", nil, func(c *Claims) { c.Expires = c.Issued }, pass.ErrMalformed},
		{"no times", nil, func(c *Claims) { c.Issued, c.Expires = time.Time{}, time.Time{} }, pass.ErrMalformed},
		{"name not UTF-8", nil, func(c *Claims) { c.Name = "\xff" }, pass.ErrMalformed},
		{"long name", nil, func(c *Claims) { c.Name = strings.Repeat("王", 22) }, pass.ErrMalformed},
		{"no uri", nil, func(c *Claims) { c.Status.URI = "" }, pass.ErrMalformed},
		{"paper with a key", nil, func(c *Claims) { c.Paper, c.HolderKey = true, holder.Public().(ed25519.PublicKey) }, pass.ErrMalformed},
		{"empty holder's key", nil, func(c *Claims) { c.HolderKey = ed25519.PublicKey{} }, pass.ErrMalformed},
	} {
		s, claims := edSigner, staticClaims()
		if c.signer != nil {
			c.signer(&s)
		}
		if c.claims != nil {
			c.claims(&claims)
		}
		if code, err := Issue(s, claims); !errors.Is(err, c.err) || code != "" {
			t.Errorf("%s: %q, %v; want %v", c.name, code, err, c.err)
		}
	}
	for _, c := range []struct {
		name   string
		claims func(*PermitClaims)
		err    error
	}{
		{"zone of another", func(c *PermitClaims) { c.Zones = []string{"vault"} }, pass.ErrUnknownKey},
		{"zone twice", func(c *PermitClaims) { c.Zones = []string{"office", "office"} }, pass.ErrMalformed},
		{"no zones", func(c *PermitClaims) { c.Zones = nil }, pass.ErrMalformed},
		{"no holder", func(c *PermitClaims) { c.Holder = pass.StatusRef{} }, pass.ErrMalformed},
		{"region with letters", func(c *PermitClaims) { c.Region = "x" }, pass.ErrMalformed},
	} {
		claims := permitClaims()
		c.claims(&claims)
		if code, err := IssuePermit(permitSigner, claims); !errors.Is(err, c.err) || code != "" {
			t.Errorf("permit, %s: %q, %v; want %v", c.name, code, err, c.err)
		}
	}
}

func TestPermitOfRegion(t *testing.T) {
	s, c := permitSigner, permitClaims()
	s.Key.Region, c.Region = "33", "330106"
	code := mustPermit(t, s, c)
	got, err := reader(pass.NewKeyMap([]pass.Key{s.Key})).Open([]byte(code), noon)
	if err != nil || got.Region != "330106" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestProveRefuses(t *testing.T) {
	bare := mustIssue(t, edSigner, boundClaims())
	for _, c := range []struct {
		name, code string
		key        ed25519.PrivateKey
		err        error
	}{
		{"static", mustIssue(t, edSigner, staticClaims()), holder, pass.ErrMalformed},
		{"permit", mustPermit(t, permitSigner, permitClaims()), holder, pass.ErrMalformed},
		{"proved already", mustProve(t, bare, noon), holder, pass.ErrMalformed},
		{"another's key", bare, seed(5), pass.ErrBadSignature},
		{"no key", bare, nil, pass.ErrMalformed},
		{"garbage", "garbage", holder, pass.ErrUnreadable},
	} {
		if code, err := Prove(c.key, c.code, noon, ""); !errors.Is(err, c.err) || code != "" {
			t.Errorf("%s: %q, %v; want %v", c.name, code, err, c.err)
		}
	}
	if _, err := Prove(holder, bare, time.Time{}, ""); !errors.Is(err, pass.ErrMalformed) {
		t.Errorf("without a time: %v", err)
	}
	if _, err := Prove(holder, bare, noon, strings.Repeat("a", maxAudience+1)); !errors.Is(err, pass.ErrMalformed) {
		t.Errorf("long audience: %v", err)
	}
}

// TestSizes: codes with a name fit the QR versions of DESIGN section 3, at
// error correction M: 262 characters in version 9, 483 in version 13
// (ISO/IEC 18004 table 7).
func TestSizes(t *testing.T) {
	static := mustIssue(t, edSigner, staticClaims())
	if n := len(decoded(t, static)); n > 160 || len(static) > 262 {
		t.Errorf("static code: %d bytes, %d characters; want up to 160, 262", n, len(static))
	}
	live := mustProve(t, mustIssue(t, edSigner, boundClaims()), noon)
	if n := len(decoded(t, live)); n > 320 || len(live) > 483 {
		t.Errorf("dynamic code: %d bytes, %d characters; want up to 320, 483", n, len(live))
	}
	t.Logf("static %d bytes, dynamic %d bytes", len(decoded(t, static)), len(decoded(t, live)))
}

// TestLargest: a code with everything at its bound still fits its envelope.
func TestLargest(t *testing.T) {
	s, c := edSigner, boundClaims()
	s.Key.ID = make([]byte, 32)
	c.Status = pass.StatusRef{URI: strings.Repeat("u", maxURI), Index: 1<<64 - 1}
	c.Name, c.Category = strings.Repeat("n", maxName), strings.Repeat("c", maxCategory)
	live := mustProve(t, mustIssue(t, s, c), noon)
	if _, err := reader(pass.NewKeyMap([]pass.Key{s.Key})).Open([]byte(live), noon); err != nil {
		t.Errorf("code: %v", err)
	}
	p, pc := permitSigner, permitClaims()
	p.Key.ID = make([]byte, 32)
	p.Key.Zones, pc.Zones = nil, nil
	for i := range maxZones {
		pc.Zones = append(pc.Zones, strings.Repeat(string(rune('a'+i)), maxZone))
	}
	p.Key.Zones = pc.Zones
	pc.Status.URI, pc.Holder.URI = c.Status.URI, c.Status.URI
	if code := mustPermit(t, p, pc); len(code) > MaxText {
		t.Errorf("permit of %d characters", len(code))
	}
}

// TestWeakKeys: every point of small order is refused. The torsion points are
// from the published list of Ed25519 small-order encodings; that each has
// small order shows in that signatures of zeros verify with it.
func TestWeakKeys(t *testing.T) {
	identity := make([]byte, 32)
	identity[0] = 1
	n := 0
	for _, y := range smallOrder {
		for _, sign := range []byte{0, 0x80} {
			k := bytes.Clone(y[:])
			k[31] |= sign
			if !weakKey(k) {
				t.Errorf("%x is not refused", k)
			}
			// With R the identity and s = 0, the equation is h·A = 0, which
			// holds for one message in at most eight.
			sig := append(bytes.Clone(identity), make([]byte, 32)...)
			for m := range 200 {
				if ed25519.Verify(k, []byte{byte(m)}, sig) {
					n++
					break
				}
			}
		}
	}
	// Encodings of 0 with the sign of x may be refused by the verifier itself;
	// the eight proper points never are.
	if n < 8 {
		t.Errorf("only %d of the encodings verify anything", n)
	}
	if weakKey(holder.Public().(ed25519.PublicKey)) {
		t.Error("an honest key is refused")
	}
}

// TestPinned: the format of a code is for ever. This one was made by the
// first version, and opens in every later one.
func TestPinned(t *testing.T) {
	code := mustIssue(t, edSigner, staticClaims())
	const want = "d28449a201270444687a3031a0584ea5041a5e550c40061a5e42893019ffffa16b7374617475735f6c697374a2636964" +
		"781a000f1206637572696b736c3a3333303130362f303a0001000067e78e8b2ae6988e3a000100011a0005097a58407b" +
		"6e8ccfab4384316428586c7b3dce2e5a0a83f37f6757af4df762eabfdd312b34a148256118fd527e8d92454b826948ea" +
		"b28bc256157785a07ea4b79eb91502"
	if got := hex.EncodeToString(decoded(t, code)); got != want {
		t.Errorf("code is now %s, was %s", got, want)
	}
}
