package hub

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"greengate/gate"
	"greengate/gate/passage"
)

var operations = []string{"declare", "declaration", "declarations", "review", "issue", "recolour", "revoke", "enterprise-add",
	"enterprises", "permit-issue", "gate-add", "gate-revoke", "gates", "policy-set", "map-set", "lists", "passages", "verify", "unseal-counts", "revocation-drop", "revocations"}

// FuzzAdmin: whatever comes over the socket is answered, and is never the hub's fault.
func FuzzAdmin(f *testing.F) {
	h, _ := newHub(f, quiet())
	d, i := issueOne(f, h, "green", "static", nil)
	seed := func(op int, v any) {
		data, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(op, data)
	}
	seed(0, DeclareRequest{Name: "王小明", Region: "330106"})
	seed(3, ReviewRequest{Declaration: d.ID, Colour: "red", Reviewer: "r"})
	seed(4, IssueRequest{Declaration: d.ID, Kind: "dynamic", HolderKey: make([]byte, 32), By: "x"})
	seed(5, RecolourRequest{Status: &i.Status, Colour: "yellow", By: "x"})
	seed(6, RevokeRequest{Declaration: d.ID, By: "x"})
	seed(7, EnterpriseRequest{Number: "E", Name: "n", Region: "330106", Zones: []string{"z"}, By: "x"})
	seed(9, PermitRequest{Enterprise: "E", Holder: i.Status, By: "x"})
	seed(10, GateRequest{Gate: "north", By: "x", Replace: true})
	seed(13, Document{json.RawMessage(`{"version":3}`), "x"})
	seed(14, Document{json.RawMessage(`{"day":"2020-02-17","counties":{"330106":"low"}}`), "x"})
	seed(16, PassagesRequest{Gate: "north", After: 1 << 63, Max: 1})
	f.Add(1, []byte(`{"id":"*.>"}`))
	f.Add(5, []byte(`{"status":{"uri":"jkm:3301/0","index":18446744073709551615},"colour":"red","by":"x"}`))
	handler := h.adminHandler(nil)
	f.Fuzz(func(t *testing.T, op int, body []byte) {
		if op < 0 {
			op = -(op + 1)
		}
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/"+operations[op%len(operations)], bytes.NewReader(body))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q: %d %s", operations[op%len(operations)], body, w.Code, w.Body)
		}
	})
}

// FuzzPassages plays a gate, its clone and a vandal against the hub, four
// bytes a move: who, first record, how many, and what is done to the bytes.
// What is acknowledged never shrinks, nothing forged is taken, and what is
// stored is each record once.
func FuzzPassages(f *testing.F) {
	const records = 12
	h, _ := newHub(f, quiet())
	honest := addGate(f, h, "north")
	honest.pass(f, records/2, gate.Valid)
	honest.pass(f, records/2, gate.RedCode)
	clone := gateOf(f, honest.bundle)
	clone.pass(f, records, gate.YellowCode)
	pair, err := tls.X509KeyPair([]byte(honest.bundle.Certificate), []byte(honest.bundle.PrivateKey))
	if err != nil {
		f.Fatal(err)
	}
	post := func(t testing.TB, body []byte) (int, uint64) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/passages", bytes.NewReader(body))
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{pair.Leaf}}
		w := httptest.NewRecorder()
		// A recorder has no deadlines; TestBodyByProgress is about those.
		h.handlePassages(w, r, shown(r), func(w http.ResponseWriter, r *http.Request) ([]byte, error) {
			return io.ReadAll(http.MaxBytesReader(w, r.Body, passage.MaxBatchBytes))
		})
		var a struct{ Acknowledged uint64 }
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatalf("%x: answer %q: %v", body, w.Body, err)
		}
		return w.Code, a.Acknowledged
	}
	// Without a first record the clone could be the honest one.
	if status, _ := post(f, honest.batch(f, 1, 1)); status != 200 {
		f.Fatal(status)
	}
	f.Add([]byte{0, 0, 3, 0, 0, 2, 5, 0})
	f.Add([]byte{1, 0, 3, 0, 0, 9, 1, 0, 0, 0, 11, 0})
	f.Add([]byte{0, 1, 3, 17, 2, 200, 1, 1})
	f.Fuzz(func(t *testing.T, moves []byte) {
		moves = moves[:min(len(moves), 4*16)]
		for ; len(moves) >= 4; moves = moves[4:] {
			who, first, n, harm := moves[0]%3, uint64(moves[1])%records+1, uint64(moves[2])%records, int(moves[3])
			g := honest
			if who == 1 {
				g = clone
			}
			body := g.batch(t, first, min(first+n, records))
			forged := who == 1
			switch {
			case who == 2:
				body, forged = moves, true
			case harm >= 128:
				body, forged = body[:len(body)*(harm-128)/128], true
			case harm > 0:
				body[len(body)*harm/128] ^= byte(1 << (harm % 8))
				forged = true
			}
			status, acknowledged := post(t, body)
			switch status {
			case 200:
				if forged {
					t.Errorf("move %v was taken", moves[:4])
				}
				if acknowledged < min(first+n, records) || acknowledged > records {
					t.Errorf("move %v: acknowledged %d", moves[:4], acknowledged)
				}
			case 403, 409, 413, 422:
			default:
				t.Errorf("move %v: status %d", moves[:4], status)
			}
		}
		v, err := h.Verify(t.Context(), GateRef{Gate: "north"})
		if err != nil || !v.OK() || v.Records > records {
			t.Errorf("stored %+v %v", v, err)
		}
	})
}
