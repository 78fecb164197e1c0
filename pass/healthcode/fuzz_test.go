package healthcode

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"greengate/pass"
	"greengate/pass/base45"
)

// seeds are a code of each kind.
func seeds(tb testing.TB) []string {
	tb.Helper()
	paper := staticClaims()
	paper.Paper = true
	bare := mustIssue(tb, edSigner, boundClaims())
	return []string{
		mustIssue(tb, edSigner, staticClaims()),
		mustIssue(tb, ecSigner, paper),
		bare,
		mustProve(tb, bare, noon),
		mustPermit(tb, permitSigner, permitClaims()),
	}
}

// again writes what was parsed from its claims up, with the old signatures.
func again(tb testing.TB, m *message) string {
	tb.Helper()
	rebuild := func(claims any, protected, signature []byte) []byte {
		payload, err := encMode.Marshal(claims)
		if err != nil {
			tb.Fatal(err)
		}
		data, err := encMode.Marshal([]any{protected, map[int]int{}, payload, signature})
		if err != nil {
			tb.Fatal(err)
		}
		return append([]byte{0xd2}, data...)
	}
	header := func(alg, kid any) []byte {
		b, err := encMode.Marshal(map[int]any{1: alg, 4: kid})
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	data := rebuild(&m.payload, header(m.code.Algorithm, m.code.KeyID), m.code.Signature)
	if m.outer != nil {
		p := m.proof
		p.Code = data
		data = rebuild(&p, header(m.outer.Algorithm, m.outer.KeyID), m.outer.Signature)
	}
	return Prefix + base45.Encode(data)
}

// FuzzOpen: no bytes make Open panic, its errors are the documented ones, and
// what parses is the one encoding of what it says.
func FuzzOpen(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s))
		f.Add([]byte(s[:len(s)/2]))
	}
	f.Add([]byte(""))
	f.Add([]byte("JKM1:"))
	f.Add([]byte("HC1:6BF"))
	r := reader(allKeys())
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := r.Open(raw, noon)
		beside := errors.Is(err, pass.ErrExpired) || errors.Is(err, pass.ErrNotYetValid) ||
			errors.Is(err, pass.ErrProofMissing) || errors.Is(err, pass.ErrProofStale)
		if (c != nil) != (err == nil || beside) {
			t.Errorf("%q: credential %v beside error %v", raw, c, err)
		}
		if c == nil && !errors.Is(err, pass.ErrUnreadable) && !errors.Is(err, pass.ErrMalformed) &&
			!errors.Is(err, pass.ErrUnknownKey) && !errors.Is(err, pass.ErrBadSignature) {
			t.Errorf("%q: error %v is not one of pass's", raw, err)
		}
		m, err := parse(raw)
		if err != nil {
			if c != nil {
				t.Errorf("%q opened and does not parse: %v", raw, err)
			}
			return
		}
		if s := again(t, m); s != string(raw) {
			t.Errorf("%q encodes again as %q", raw, s)
		}
	})
}

// FuzzMalleability: a genuine code with some bytes changed opens only if it is
// the code itself. Two strings for one credential would be two entries in any
// memory that goes by the string.
func FuzzMalleability(f *testing.F) {
	codes := seeds(f)
	for i := range codes {
		f.Add(uint8(i), uint16(8), []byte{1}, false)
		f.Add(uint8(i), uint16(20), []byte{0x58, 0}, true)
	}
	r := reader(allKeys())
	f.Fuzz(func(t *testing.T, which uint8, at uint16, patch []byte, insert bool) {
		code := codes[int(which)%len(codes)]
		data, err := base45.Decode(code[len(Prefix):])
		if err != nil {
			t.Fatal(err)
		}
		i := int(at) % (len(data) + 1)
		changed := bytes.Clone(data[:i])
		changed = append(changed, patch...)
		if rest := data[i:]; insert {
			changed = append(changed, rest...)
		} else if len(patch) < len(rest) {
			changed = append(changed, rest[len(patch):]...)
		}
		if bytes.Equal(changed, data) {
			return
		}
		if c, err := r.Open([]byte(text(changed)), noon); c != nil {
			// A change that makes another issued code, as by cutting the proof
			// off, made nothing new.
			if slices.Contains(codes, text(changed)) {
				return
			}
			t.Errorf("code %d changed at %d to %x still opens: %+v, %v", which, i, changed, c, err)
		}
	})
}
