package healthcode

import (
	"crypto/ed25519"
	"testing"
	"time"

	"greengate/pass"
	"greengate/pass/base45"
	"greengate/pass/cose"
)

// bench opens code and, beside each opening, verifies the same messages with
// the bare algorithm. The metric "ratio" is the one divided by the other.
func bench(b *testing.B, code string, now time.Time) {
	b.Helper()
	f := New(pass.NewKeyMap([]pass.Key{edSigner.Key}), Options{})
	data, err := base45.Decode(code[len(Prefix):])
	if err != nil {
		b.Fatal(err)
	}
	type bare struct {
		key          ed25519.PublicKey
		message, sig []byte
	}
	var floor []bare
	m, err := parse([]byte(code))
	if err != nil {
		b.Fatal(err)
	}
	floor = append(floor, bare{edSigner.Key.Public.(ed25519.PublicKey), m.code.ToBeSigned(), m.code.Signature})
	if m.outer != nil {
		if *m.outer, err = cose.ParseNative(data); err != nil {
			b.Fatal(err)
		}
		floor = append(floor, bare{m.payload.Confirm.Key.X, m.outer.ToBeSigned(), m.outer.Signature})
	}
	raw := []byte(code)
	var opening, verifying time.Duration
	b.ReportAllocs()
	for b.Loop() {
		t0 := time.Now()
		if _, err := f.Open(raw, now); err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		for _, v := range floor {
			if !ed25519.Verify(v.key, v.message, v.sig) {
				b.Fatal("bare verify failed")
			}
		}
		opening += t1.Sub(t0)
		verifying += time.Since(t1)
	}
	b.ReportMetric(float64(opening)/float64(verifying), "ratio")
	b.ReportMetric(float64(opening.Nanoseconds())/float64(b.N), "open-ns/op")
	b.ReportMetric(float64(verifying.Nanoseconds())/float64(b.N), "bare-ns/op")
}

// BenchmarkOpenStatic opens a static code beside one bare Ed25519 verify.
func BenchmarkOpenStatic(b *testing.B) {
	bench(b, mustIssue(b, edSigner, staticClaims()), noon)
}

// BenchmarkOpenDynamic opens a proved code beside two bare Ed25519 verifies.
func BenchmarkOpenDynamic(b *testing.B) {
	bench(b, mustProve(b, mustIssue(b, edSigner, boundClaims()), noon), noon)
}

// BenchmarkParse is everything but keys, signatures and clock.
func BenchmarkParse(b *testing.B) {
	raw := []byte(mustProve(b, mustIssue(b, edSigner, boundClaims()), noon))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
