package hub

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"greengate/gate"
)

var operations = []string{"declare", "declaration", "declarations", "review", "issue", "recolour", "revoke", "enterprise-add",
	"enterprises", "permit-issue", "gate-add", "gate-revoke", "gates", "policy-set", "map-set", "lists", "passages", "verify", "unseal-counts"}

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
	seed(14, Document{json.RawMessage(`{"day":"2020-02-17","counties":{"330106":1}}`), "x"})
	seed(16, PassagesRequest{Gate: "north", After: 1 << 63, Max: 1})
	f.Add(1, []byte(`{"id":"*.>"}`))
	f.Add(5, []byte(`{"status":{"uri":"jkm:3301/0","index":18446744073709551615},"colour":"red","by":"x"}`))
	handler := h.adminHandler()
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

// FuzzPassages: a gate with a good certificate may send anything; the hub
// refuses, and what is stored stays whole.
func FuzzPassages(f *testing.F) {
	h, _ := newHub(f, quiet())
	g := addGate(f, h, "north")
	g.pass(f, 4, gate.Valid)
	f.Add(g.batch(f, 1, 2))
	f.Add(g.batch(f, 2, 4))
	f.Add(g.batch(f, 1, 4)[:100])
	f.Add([]byte{0x87, 1})
	pair, err := tls.X509KeyPair([]byte(g.bundle.Certificate), []byte(g.bundle.PrivateKey))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/passages", bytes.NewReader(body))
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{pair.Leaf}}}
		w := httptest.NewRecorder()
		h.handlePassages(w, r)
		switch w.Code {
		case 200, 403, 409, 413, 422:
		default:
			t.Errorf("%x: %d %s", body, w.Code, w.Body)
		}
		v, err := h.Verify(t.Context(), GateRef{Gate: "north"})
		if err != nil || !v.OK() || v.Records > 4 {
			t.Errorf("after %x: %+v %v", body, v, err)
		}
	})
}
