package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shared finds the folder of shared vectors beside the module.
func shared(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the package")
		}
		dir = filepath.Dir(dir)
	}
	p := filepath.Join(dir, "..", "shared", "vectors", path)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("vectors %s are not here", path)
	}
	return p
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wgKey is a key of the COSE working group's examples.
type wgKey struct {
	Kty, Crv, X, Y string
	XHex           string `json:"x_hex"`
	YHex           string `json:"y_hex"`
}

// public returns the key, or nil where its curve is not ours.
func (k wgKey) public(t *testing.T) (Algorithm, crypto.PublicKey) {
	t.Helper()
	coordinate := func(b64, hexed string) []byte {
		if hexed != "" {
			return unhex(t, hexed)
		}
		b, err := base64.RawURLEncoding.DecodeString(b64)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	switch k.Crv {
	case "Ed25519":
		return EdDSA, ed25519.PublicKey(coordinate(k.X, k.XHex))
	case "P-256":
		point := append(append([]byte{4}, coordinate(k.X, k.XHex)...), coordinate(k.Y, k.YHex)...)
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			t.Fatal(err)
		}
		return ES256, pub
	}
	return 0, nil
}

// TestWorkingGroup runs the COSE_Sign1 and CWT examples through Parse and
// Verify, and their Sig_structure through toBeSigned.
func TestWorkingGroup(t *testing.T) {
	root := shared(t, "cose-wg")
	ran := map[string]int{}
	for _, folder := range []string{"sign1-tests", "eddsa-examples", "ecdsa-examples", "CWT"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name := folder + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
			t.Run(name, func(t *testing.T) {
				var v struct {
					Input struct {
						Plaintext    string
						PlaintextHex string `json:"plaintext_hex"`
						Sign0        *struct {
							Key       wgKey
							Protected struct{ Alg string }
							Alg       string
							External  string
						}
						Sign *struct {
							Signers []struct{ Key wgKey }
						}
					}
					Intermediates struct {
						ToBeSign string `json:"ToBeSign_hex"`
						Signers  []struct {
							ToBeSign string `json:"ToBeSign_hex"`
						}
					}
					Output struct{ Cbor string }
					Fail   bool
				}
				readJSON(t, file, &v)
				data := unhex(t, v.Output.Cbor)
				m, err := Parse(data)
				if v.Input.Sign != nil {
					// COSE_Sign is another message; its signature is the same algorithm.
					if !errors.Is(err, ErrMalformed) {
						t.Fatalf("COSE_Sign parsed as COSE_Sign1: %v", err)
					}
					alg, key := v.Input.Sign.Signers[0].Key.public(t)
					if key == nil || name == "ecdsa-examples/ecdsa-04" { // P-256 with SHA-512
						return
					}
					tbs := unhex(t, v.Intermediates.Signers[0].ToBeSign)
					if err := Verify(alg, key, tbs, data[len(data)-SignatureSize:]); err != nil {
						t.Errorf("signature: %v", err)
					}
					ran["sign"]++
					return
				}
				if v.Input.Sign0 == nil {
					if !errors.Is(err, ErrMalformed) {
						t.Fatalf("something else parsed as COSE_Sign1: %v", err)
					}
					return
				}
				in := v.Input.Sign0
				alg, key := in.Key.public(t)
				switch {
				case err != nil:
				case key == nil || in.Alg == "ES512":
					// Curves and digests that are not ours are refused as such.
					if err := m.Verify(m.Algorithm, key, nil); !errors.Is(err, ErrAlgorithm) {
						t.Errorf("got %v, want ErrAlgorithm", err)
					}
					ran["foreign"]++
					return
				default:
					err = m.Verify(alg, key, unhex(t, in.External))
				}
				if v.Fail != (err != nil) {
					t.Errorf("must fail: %v; got %v", v.Fail, err)
				}
				if v.Fail {
					ran["fail"]++
					return
				}
				ran["pass"]++
				tbs := toBeSigned(m.protected, unhex(t, in.External), m.Payload)
				if want := unhex(t, v.Intermediates.ToBeSign); !bytes.Equal(tbs, want) {
					t.Errorf("Sig_structure %x, want %x", tbs, want)
				}
				want := []byte(v.Input.Plaintext)
				if v.Input.PlaintextHex != "" {
					want = unhex(t, v.Input.PlaintextHex)
				}
				if !bytes.Equal(m.Payload, want) {
					t.Errorf("payload %x, want %x", m.Payload, want)
				}
				if err := m.Verify(alg, key, []byte("else")); !errors.Is(err, ErrSignature) {
					t.Errorf("with other external data: %v, want ErrSignature", err)
				}
			})
		}
	}
	if ran["pass"] < 6 || ran["fail"] < 6 || ran["sign"] < 2 || ran["foreign"] < 3 {
		t.Errorf("ran only %v", ran)
	}
}

// TestWycheproof runs the hostile signatures against the bare algorithms.
func TestWycheproof(t *testing.T) {
	for _, file := range []string{"ed25519_test.json", "ecdsa_secp256r1_sha256_p1363_test.json"} {
		t.Run(file, func(t *testing.T) {
			var v struct {
				NumberOfTests int
				TestGroups    []struct {
					PublicKey struct{ Pk, Uncompressed string }
					Tests     []struct {
						TcID                      int
						Comment, Msg, Sig, Result string
					}
				}
			}
			readJSON(t, shared(t, "wycheproof/"+file), &v)
			n := 0
			for _, g := range v.TestGroups {
				alg, key := EdDSA, crypto.PublicKey(ed25519.PublicKey(unhex(t, g.PublicKey.Pk)))
				if g.PublicKey.Uncompressed != "" {
					pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unhex(t, g.PublicKey.Uncompressed))
					if err != nil {
						t.Fatal(err)
					}
					alg, key = ES256, pub
				}
				for _, c := range g.Tests {
					n++
					err := Verify(alg, key, unhex(t, c.Msg), unhex(t, c.Sig))
					if (err == nil) != (c.Result == "valid") {
						t.Errorf("test %d (%s): %v, want %s", c.TcID, c.Comment, err, c.Result)
					}
				}
			}
			if n != v.NumberOfTests || n < 100 {
				t.Errorf("ran %d tests of %d", n, v.NumberOfTests)
			}
		})
	}
}
