package hub

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"greengate/gate"
	"greengate/gate/passage"
	"greengate/pass"
	"greengate/pass/healthcode"
	"greengate/pass/statuslist"
)

// clock is a clock that tests move.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func testConfig() Config {
	return Config{Name: "Test authority", URL: "https://127.0.0.1:8443", Hosts: []string{"localhost"}, Provinces: []string{"33"}}
}

// quiet publishes only when told to, and lives where it is noon: no test
// crosses midnight.
func quiet() Options {
	now := time.Now().UTC()
	noon := 12*3600 - (now.Hour()*3600 + now.Minute()*60 + now.Second())
	return Options{PublishDelay: -1, Heartbeat: -1, Location: time.FixedZone("noon", noon)}
}

// newHub makes and opens a hub; it is closed at the end of the test.
func newHub(t testing.TB, o Options) (*Hub, string) {
	t.Helper()
	dir := t.TempDir()
	if err := Init(t.Context(), dir, testConfig(), o); err != nil {
		t.Fatal(err)
	}
	return openHub(t, dir, o), dir
}

func openHub(t testing.TB, dir string, o Options) *Hub {
	t.Helper()
	h, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// serve starts the hub on loopback, and returns the gates' URL. It is stopped
// before the hub is closed.
func serve(t testing.TB, h *Hub) (gates, operator string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	op, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := h.ListenAdmin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, l, op, admin) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "https://" + l.Addr().String(), "http://" + op.Addr().String()
}

// issueOne declares, reviews and issues.
func issueOne(t testing.TB, h *Hub, colour, kind string, holder ed25519.PublicKey) (Declaration, Issued) {
	t.Helper()
	ctx := t.Context()
	d, err := h.Declare(ctx, DeclareRequest{Name: "王小明", Region: "330106", Category: "resident"})
	if err != nil {
		t.Fatal(err)
	}
	if d, err = h.Review(ctx, ReviewRequest{Declaration: d.ID, Colour: colour, Reviewer: "reviewer-1"}); err != nil {
		t.Fatal(err)
	}
	i, err := h.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: kind, HolderKey: holder, By: "desk-1"})
	if err != nil {
		t.Fatal(err)
	}
	return d, i
}

// colourOf reads an entry of the array that the next publish would sign.
func colourOf(t testing.TB, h *Hub, r Ref) gate.Status {
	t.Helper()
	h.lists.mu.Lock()
	defer h.lists.mu.Unlock()
	l := h.lists.byURI[r.URI]
	if l == nil {
		t.Fatalf("no list %s", r.URI)
	}
	v, err := l.array.Get(r.Index)
	if err != nil {
		t.Fatal(err)
	}
	return gate.StatusOf(v)
}

func TestFromDeclarationToList(t *testing.T) {
	h, dir := newHub(t, quiet())
	ctx := t.Context()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := h.keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	reader := pass.NewReader(healthcode.New(pass.NewKeyMap(keys), healthcode.Options{}))

	_, static := issueOne(t, h, "green", "static", nil)
	c, err := reader.Open([]byte(static.Code), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c.Kind != pass.KindStatic || c.Name != "王*明" || c.Region != "330106" || c.Status != static.Status.StatusRef() || c.Category != "resident" {
		t.Errorf("opened %+v", c)
	}
	d, bound := issueOne(t, h, "yellow", "dynamic", public)
	if _, err := reader.Open([]byte(bound.Code), time.Now()); !errors.Is(err, pass.ErrProofMissing) {
		t.Errorf("bound code by itself: %v, want ErrProofMissing", err)
	}
	shown, err := healthcode.Prove(private, bound.Code, time.Now(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Open([]byte(shown), time.Now()); err != nil {
		t.Errorf("bound code with proof: %v", err)
	}
	paper, err := h.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "paper", By: "desk-1"})
	if err != nil {
		t.Fatal(err)
	}
	if got := colourOf(t, h, static.Status); got != gate.Green {
		t.Errorf("static code is %s, want green", got)
	}
	if got := colourOf(t, h, bound.Status); got != gate.Yellow {
		t.Errorf("bound code is %s, want yellow", got)
	}
	if got := colourOf(t, h, Ref{static.Status.URI, static.Status.Index ^ 1}); got != gate.Void && got != colourOf(t, h, bound.Status) {
		t.Errorf("an index that was not issued is %s, want void", got)
	}

	// All codes of a declaration change together; a void one stays void.
	if _, err := h.Recolour(ctx, RecolourRequest{Declaration: d.ID, Colour: "red", By: "reviewer-2"}); err != nil {
		t.Fatal(err)
	}
	if a, b := colourOf(t, h, bound.Status), colourOf(t, h, paper.Status); a != gate.Red || b != gate.Red {
		t.Errorf("after the recolour: %s and %s, want red", a, b)
	}
	if _, err := h.Revoke(ctx, RevokeRequest{Status: &paper.Status, By: "reviewer-2"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Recolour(ctx, RecolourRequest{Status: &paper.Status, Colour: "green", By: "reviewer-2"}); !errors.Is(err, ErrConflict) {
		t.Errorf("void to green: %v, want ErrConflict", err)
	}

	first, err := h.Publish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Lists) != 1 || first.Lists[0] != static.Status.URI {
		t.Errorf("published %v, want %s", first.Lists, static.Status.URI)
	}
	again, err := h.Publish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Lists) != 0 || again.Timestamp <= first.Timestamp {
		t.Errorf("second publish %+v after %+v", again, first)
	}
	lists, err := h.Lists(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(lists) != 1 || lists[0].Codes != 3 || lists[0].Green != 1 || lists[0].Red != 1 || lists[0].Void != 1 || lists[0].Pending || lists[0].Sequence == 0 {
		t.Errorf("lists %+v", lists)
	}

	// A code issued after a publish is later than the list of that publish.
	_, late := issueOne(t, h, "green", "static", nil)
	if !late.Issued.After(again.Issued) && !late.Issued.After(lists[0].Issued) {
		t.Errorf("issued %s, list of %s: a gate would call it void", late.Issued, lists[0].Issued)
	}

	// Everything is there after a restart.
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openHub(t, dir, quiet())
	for ref, want := range map[Ref]gate.Status{static.Status: gate.Green, bound.Status: gate.Red, paper.Status: gate.Void, late.Status: gate.Green} {
		if got := colourOf(t, h, ref); got != want {
			t.Errorf("after restart %s is %s, want %s", ref, got, want)
		}
	}
	after, err := h.Lists(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if after[0].Codes != 4 || after[0].Void != 1 {
		t.Errorf("after restart %+v", after)
	}
}

func TestPermit(t *testing.T) {
	h, _ := newHub(t, quiet())
	ctx := t.Context()
	_, code := issueOne(t, h, "green", "static", nil)
	if _, err := h.AddEnterprise(ctx, EnterpriseRequest{Number: "E-7", Name: "Works", Region: "330106", Zones: []string{"plant", "canteen"}, By: "op"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.AddEnterprise(ctx, EnterpriseRequest{Number: "E-7", Name: "Works", Region: "330106", Zones: []string{"plant"}, By: "op"}); !errors.Is(err, ErrConflict) {
		t.Errorf("same enterprise again: %v, want ErrConflict", err)
	}
	p, err := h.IssuePermit(ctx, PermitRequest{Enterprise: "E-7", Holder: code.Status, Zones: []string{"plant"}, By: "hr"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := h.keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pass.NewReader(healthcode.New(pass.NewKeyMap(keys), healthcode.Options{})).Open([]byte(p.Code), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c.Permit == nil || c.Permit.Enterprise != "E-7" || c.Permit.Holder != code.Status.StatusRef() || len(c.Permit.Zones) != 1 {
		t.Errorf("permit %+v", c.Permit)
	}
	if _, err := h.IssuePermit(ctx, PermitRequest{Enterprise: "E-7", Holder: code.Status, Zones: []string{"vault"}, By: "hr"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("foreign zone: %v, want ErrInvalid", err)
	}
	if _, err := h.IssuePermit(ctx, PermitRequest{Enterprise: "E-7", Holder: p.Status, By: "hr"}); !errors.Is(err, ErrConflict) {
		t.Errorf("permit for a permit: %v, want ErrConflict", err)
	}
	if _, err := h.Recolour(ctx, RecolourRequest{Status: &p.Status, Colour: "red", By: "hr"}); !errors.Is(err, ErrConflict) {
		t.Errorf("red permit: %v, want ErrConflict", err)
	}
	if _, err := h.Revoke(ctx, RevokeRequest{Status: &p.Status, By: "hr"}); err != nil {
		t.Fatal(err)
	}
	if got := colourOf(t, h, p.Status); got != gate.Void {
		t.Errorf("revoked permit is %s", got)
	}
}

// TestNextCodeHasTheLastColour: whoever was turned red does not get a green
// paper copy, also while both happen at once.
func TestNextCodeHasTheLastColour(t *testing.T) {
	h, _ := newHub(t, quiet())
	ctx := t.Context()
	d, first := issueOne(t, h, "green", "static", nil)
	next := func() Ref {
		t.Helper()
		i, err := h.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "paper", By: "desk-1"})
		if err != nil {
			t.Fatal(err)
		}
		return i.Status
	}
	if _, err := h.Recolour(ctx, RecolourRequest{Declaration: d.ID, Colour: "red", By: "reviewer-2"}); err != nil {
		t.Fatal(err)
	}
	second := next()
	if got := colourOf(t, h, second); got != gate.Red {
		t.Errorf("after all were turned red the next code is %s", got)
	}
	if _, err := h.Recolour(ctx, RecolourRequest{Status: &first.Status, Colour: "yellow", By: "reviewer-2"}); err != nil {
		t.Fatal(err)
	}
	if got := colourOf(t, h, second); got != gate.Red {
		t.Errorf("the recolour of one code made another %s", got)
	}
	if got := colourOf(t, h, next()); got != gate.Yellow {
		t.Errorf("after one code was turned yellow the next one is %s", got)
	}
	// A lost code is revoked; the person's colour stays.
	if _, err := h.Revoke(ctx, RevokeRequest{Declaration: d.ID, By: "reviewer-2"}); err != nil {
		t.Fatal(err)
	}
	if got := colourOf(t, h, next()); got != gate.Yellow {
		t.Errorf("after a revocation the next code is %s, want yellow", got)
	}

	for range 5 {
		d, _ := issueOne(t, h, "green", "static", nil)
		var group errgroup.Group
		for range 8 {
			group.Go(func() error {
				_, err := h.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "paper", By: "desk-1"})
				return err
			})
		}
		group.Go(func() error {
			_, err := h.Recolour(ctx, RecolourRequest{Declaration: d.ID, Colour: "red", By: "reviewer-2"})
			return err
		})
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		d, err := h.Declaration(ctx, IDRequest{d.ID})
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Codes) != 9 {
			t.Errorf("%d codes, want 9", len(d.Codes))
		}
		for _, ref := range d.Codes {
			if got := colourOf(t, h, ref); got != gate.Red {
				t.Errorf("%s is %s, want red", ref, got)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	h, _ := newHub(t, quiet())
	ctx := t.Context()
	d, _ := issueOne(t, h, "green", "static", nil)
	waiting, err := h.Declare(ctx, DeclareRequest{Name: "A", Region: "330106"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		want error
		do   func() error
	}{
		"no name":          {ErrInvalid, func() error { _, err := h.Declare(ctx, DeclareRequest{Region: "330106"}); return err }},
		"blank name":       {ErrInvalid, func() error { _, err := h.Declare(ctx, DeclareRequest{Name: "  ", Region: "330106"}); return err }},
		"newline in name":  {ErrInvalid, func() error { _, err := h.Declare(ctx, DeclareRequest{Name: "a\nb", Region: "330106"}); return err }},
		"short region":     {ErrInvalid, func() error { _, err := h.Declare(ctx, DeclareRequest{Name: "A", Region: "3301"}); return err }},
		"foreign province": {ErrInvalid, func() error { _, err := h.Declare(ctx, DeclareRequest{Name: "A", Region: "110101"}); return err }},
		"unknown":          {ErrNotFound, func() error { _, err := h.Declaration(ctx, IDRequest{"0123456789abcdef"}); return err }},
		"not an id":        {ErrInvalid, func() error { _, err := h.Declaration(ctx, IDRequest{"*.>"}); return err }},
		"issue unreviewed": {ErrConflict, func() error {
			_, err := h.Issue(ctx, IssueRequest{Declaration: waiting.ID, Kind: "static", By: "x"})
			return err
		}},
		"review void": {ErrInvalid, func() error {
			_, err := h.Review(ctx, ReviewRequest{Declaration: waiting.ID, Colour: "void", Reviewer: "x"})
			return err
		}},
		"review nobody": {ErrInvalid, func() error {
			_, err := h.Review(ctx, ReviewRequest{Declaration: waiting.ID, Colour: "red"})
			return err
		}},
		"review issued": {ErrConflict, func() error {
			_, err := h.Review(ctx, ReviewRequest{Declaration: d.ID, Colour: "red", Reviewer: "x"})
			return err
		}},
		"kind": {ErrInvalid, func() error {
			_, err := h.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "permit", By: "x"})
			return err
		}},
		"short key": {ErrInvalid, func() error {
			_, err := h.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "dynamic", HolderKey: []byte{1}, By: "x"})
			return err
		}},
		"key in static": {ErrInvalid, func() error {
			_, err := h.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "static", HolderKey: make([]byte, 32), By: "x"})
			return err
		}},
		"valid for ever": {ErrInvalid, func() error {
			_, err := h.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "static", ValidSeconds: 1 << 40, By: "x"})
			return err
		}},
		"other list": {ErrNotFound, func() error {
			_, err := h.Revoke(ctx, RevokeRequest{Status: &Ref{"elsewhere:3301/0", 1}, By: "x"})
			return err
		}},
		"index too large": {ErrNotFound, func() error {
			_, err := h.Revoke(ctx, RevokeRequest{Status: &Ref{"jkm:3301/0", 1 << 20}, By: "x"})
			return err
		}},
		"other spelling": {ErrNotFound, func() error {
			_, err := h.Revoke(ctx, RevokeRequest{Status: &Ref{"jkm:3301/00", 1}, By: "x"})
			return err
		}},
		"wildcard": {ErrNotFound, func() error { _, err := h.Revoke(ctx, RevokeRequest{Status: &Ref{"jkm:*/>", 1}, By: "x"}); return err }},
		"two objects": {ErrInvalid, func() error {
			_, err := h.Revoke(ctx, RevokeRequest{Status: &Ref{"jkm:3301/0", 1}, Declaration: d.ID, By: "x"})
			return err
		}},
		"gate in no county": {ErrInvalid, func() error {
			_, err := h.AddGate(ctx, GateRequest{Gate: "g", County: "33010", By: "x"})
			return err
		}},
		"gate with a dot": {ErrInvalid, func() error { _, err := h.AddGate(ctx, GateRequest{Gate: "a.b", By: "x"}); return err }},
		"gate at elsewhere": {ErrInvalid, func() error {
			_, err := h.AddGate(ctx, GateRequest{Gate: "g", HubURL: "https://other.example", By: "x"})
			return err
		}},
		"unknown gate": {ErrNotFound, func() error { return h.RevokeGate(ctx, GateRef{"nobody", "x"}) }},
		"bad policy":   {ErrInvalid, func() error { return h.SetPolicy(ctx, Document{json.RawMessage(`{"fever_at":1}`), "x"}) }},
		"bad map":      {ErrInvalid, func() error { return h.SetMap(ctx, Document{json.RawMessage(`{"day":"yesterday"}`), "x"}) }},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestPolicyAndMapVersions(t *testing.T) {
	h, _ := newHub(t, quiet())
	ctx := t.Context()
	if err := h.SetPolicy(ctx, Document{json.RawMessage(`{"fever_at_millicelsius":37500}`), "op"}); err != nil {
		t.Fatal(err)
	}
	if err := h.SetPolicy(ctx, Document{json.RawMessage(`{"version":1}`), "op"}); !errors.Is(err, ErrConflict) {
		t.Errorf("version 1 again: %v, want ErrConflict", err)
	}
	if err := h.SetMap(ctx, Document{json.RawMessage(`{"day":"2020-02-17","counties":{"330106":"low"}}`), "op"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range []string{"policy/*.policy.json", "map/*.map.json", "keys/*.keys.json"} {
		m, err := filepath.Glob(filepath.Join(h.paths.lists(), "targets", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		found += len(m)
	}
	if found != 3 {
		t.Errorf("%d of policy, map and keys are among the published files", found)
	}
}

// TestColoursDoNotWaitForOfflineKeys: with the offline keys in their safe, a
// new enterprise and a policy wait, said aloud; a recolour goes out; and with
// the keys back all of it does.
func TestColoursDoNotWaitForOfflineKeys(t *testing.T) {
	h, dir := newHub(t, quiet())
	ctx := t.Context()
	_, code := issueOne(t, h, "green", "static", nil)
	if _, err := h.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	offline, safe := filepath.Join(dir, "keys", "tuf", "offline"), filepath.Join(t.TempDir(), "safe")
	if err := os.Rename(offline, safe); err != nil {
		t.Fatal(err)
	}
	if _, err := h.AddEnterprise(ctx, EnterpriseRequest{Number: "QJ-9", Name: "Works", Region: "330106", Zones: []string{"A"}, By: "op"}); err != nil {
		t.Fatal(err)
	}
	if err := h.SetPolicy(ctx, Document{json.RawMessage(`{"fever_at_millicelsius":37500}`), "op"}); err != nil {
		t.Fatal(err)
	}
	for i, colour := range []string{"yellow", "red"} {
		if _, err := h.Recolour(ctx, RecolourRequest{Status: &code.Status, Colour: colour, By: "op"}); err != nil {
			t.Fatal(err)
		}
		out, err := h.Publish(ctx)
		if err != nil {
			t.Fatalf("recolour %d: %v", i, err)
		}
		if len(out.Lists) != 1 || !strings.Contains(out.Waiting, "offline keys") {
			t.Errorf("recolour %d: published %v, waiting %q", i, out.Lists, out.Waiting)
		}
	}
	if err := os.Rename(safe, offline); err != nil {
		t.Fatal(err)
	}
	out, err := h.Publish(ctx)
	if err != nil || out.Waiting != "" {
		t.Fatalf("with the keys back: %v, waiting %q", err, out.Waiting)
	}
	policies, err := filepath.Glob(filepath.Join(h.paths.lists(), "targets", "policy", "*.policy.json"))
	if err != nil || len(policies) != 1 {
		t.Errorf("published policies: %v %v", policies, err)
	}
}

// TestLongFolder: a folder too deep for its socket is refused with the next step.
func TestLongFolder(t *testing.T) {
	h, _ := newHub(t, quiet())
	h.paths.dir = "/" + strings.Repeat("d", 120)
	if _, err := h.ListenAdmin(); err == nil || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("got %v, want a hint", err)
	}
}

// TestTwoDrawers: many at once claim indices; no index is given twice.
func TestTwoDrawers(t *testing.T) {
	h, _ := newHub(t, quiet())
	d, _ := issueOne(t, h, "green", "static", nil)
	var mu sync.Mutex
	seen := map[Ref]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			i, err := h.claim(t.Context(), "3301", time.Hour, codeRecord{Kind: "static", Value: statuslist.Suspended, Declaration: d.ID, By: "x"},
				func(Ref, time.Time, time.Time) (string, error) { return "code", nil })
			mu.Lock()
			defer mu.Unlock()
			if err != nil || seen[i.Status] {
				t.Errorf("claim: %v %v", i.Status, err)
			}
			seen[i.Status] = true
		})
	}
	wg.Wait()
	// A taken index is not taken again.
	for ref := range seen {
		s, err := h.lists.slot(ref)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := create(t.Context(), h.store.codes, s.key(), codeRecord{}); !errors.Is(err, ErrConflict) {
			t.Errorf("second claim of %s: %v, want ErrConflict", ref, err)
		}
	}
}

// testGate is a small gate: it makes batches as the journal would.
type testGate struct {
	id     string
	bundle Bundle
	key    crypto.Signer
	hub    []byte
	seq    uint64
	chain  [32]byte
	all    []passage.Entry
	keys   []passage.SegmentKey
	says   string // of its condition, "" for nothing
	client *http.Client
}

func addGate(t testing.TB, h *Hub, id string) *testGate {
	t.Helper()
	b, err := h.AddGate(t.Context(), GateRequest{Gate: id, Site: "North gate", By: "op"})
	if err != nil {
		t.Fatal(err)
	}
	return gateOf(t, b)
}

func gateOf(t testing.TB, b Bundle) *testGate {
	t.Helper()
	g := &testGate{id: b.Gate, bundle: b, hub: b.HubKey, chain: passage.Genesis(b.Gate)}
	pair, err := tls.X509KeyPair([]byte(b.Certificate), []byte(b.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	g.key = pair.PrivateKey.(crypto.Signer)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(b.HubCA)) {
		t.Fatal("hub_ca_pem: no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}}
	t.Cleanup(transport.CloseIdleConnections)
	g.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return g
}

// pass appends n decisions to the gate's journal.
func (g *testGate) pass(t testing.TB, n int, reason gate.Reason) {
	t.Helper()
	records := make([]gate.Record, n)
	for i := range records {
		records[i] = gate.Record{Kind: gate.DecisionRecord, At: time.Now(), Clock: gate.ClockConfirmed, Reason: reason,
			Sealed: gate.Sealed{CodeKind: "static", Colour: gate.Green, Region: "330106"}}
		if reason == gate.Valid {
			records[i].Verdict = gate.Admit
		}
	}
	g.write(t, records...)
}

// batch signs the records first to last.
func (g *testGate) batch(t testing.TB, first, last uint64) []byte {
	t.Helper()
	b := g.unsigned(first, last)
	if err := b.Sign(g.key); err != nil {
		t.Fatal(err)
	}
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (g *testGate) unsigned(first, last uint64) *passage.Batch {
	b := &passage.Batch{Gate: g.id, Prev: passage.Genesis(g.id), Entries: g.all[first-1 : last]}
	if first > 1 {
		b.Prev = g.all[first-2].Chain
	}
	for _, k := range g.keys {
		if k.Segment >= b.Entries[0].Segment && k.Segment <= b.Entries[len(b.Entries)-1].Segment {
			b.Keys = append(b.Keys, k)
		}
	}
	return b
}

// post sends a batch and returns the status with what was acknowledged or expected.
func (g *testGate) post(t testing.TB, url string, body []byte) (status int, n uint64, word string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/v1/passages", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.greengate.passages+cbor")
	if g.says != "" {
		req.Header.Set("Greengate-Condition", g.says)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		Acknowledged, Expected uint64
		Error                  string
		Time                   time.Time
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		if a.Time.IsZero() {
			t.Error("no time in the answer")
		}
		return resp.StatusCode, a.Acknowledged, ""
	}
	return resp.StatusCode, a.Expected, a.Error
}

func verifyGate(t testing.TB, h *Hub, id string, want uint64) Verification {
	t.Helper()
	v, err := h.Verify(t.Context(), GateRef{Gate: id})
	if err != nil {
		t.Fatal(err)
	}
	if !v.OK() || v.Records != want {
		t.Errorf("gate %s: %+v, want %d records, each once", id, v, want)
	}
	return v
}

func TestPassagesEachOnce(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	north, south := addGate(t, h, "north"), addGate(t, h, "south")
	north.pass(t, 10, gate.Valid)
	north.pass(t, 10, gate.RedCode)
	south.pass(t, 3, gate.Valid)

	type step struct {
		what   string
		g      *testGate
		body   []byte
		status int
		n      uint64
		word   string
	}
	for _, s := range []step{
		{"first", north, north.batch(t, 1, 5), 200, 5, ""},
		{"the same again: the answer was lost", north, north.batch(t, 1, 5), 200, 5, ""},
		{"out of order", north, north.batch(t, 9, 12), 409, 6, "gap"},
		{"another gate between", south, south.batch(t, 1, 3), 200, 3, ""},
		{"overlap", north, north.batch(t, 3, 12), 200, 12, ""},
		{"long ago", north, north.batch(t, 2, 4), 200, 12, ""},
		{"inside", north, north.batch(t, 6, 11), 200, 12, ""},
		{"the rest", north, north.batch(t, 13, 20), 200, 20, ""},
		{"north's batch from south", south, north.batch(t, 1, 5), 403, 0, "not this gate's batch"},
		{"garbage", north, []byte("\x85\x01garbage"), 422, 0, "malformed"},
		{"nothing", north, nil, 422, 0, "malformed"},
		{"too much", north, make([]byte, 1<<20+1), 413, 0, "too large"},
	} {
		status, n, word := s.g.post(t, url, s.body)
		if status != s.status || n != s.n || word != s.word {
			t.Errorf("%s: %d %d %q, want %d %d %q", s.what, status, n, word, s.status, s.n, s.word)
		}
	}
	v := verifyGate(t, h, "north", 20)
	if v.Decisions != 20 || !bytes.Equal(v.Head, north.chain[:]) {
		t.Errorf("north: %+v", v)
	}
	verifyGate(t, h, "south", 3)
	ps, err := h.Passages(t.Context(), PassagesRequest{Gate: "north", After: 4, Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) != 10 || ps[0].Sequence != 5 || ps[0].Reason != gate.Valid || ps[9].Sequence != 14 || ps[9].Reason != gate.RedCode {
		t.Errorf("passages behind 4: %+v", ps)
	}
	counts, err := h.UnsealCounts(t.Context(), GateRef{"north", "auditor"})
	if err != nil {
		t.Fatal(err)
	}
	if counts.Kinds["static"] != 20 || counts.Failed != 0 || counts.Colours["green"] != 20 {
		t.Errorf("unsealed %+v", counts)
	}
	check := func(h *Hub) {
		t.Helper()
		followed(t, h)
		gates, err := h.Gates(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(gates) != 2 || gates[0].Gate != "north" || gates[0].LastSequence != 20 || gates[0].Today.Admit != 10 ||
			gates[0].Today.Refuse != 10 || gates[0].Today.Reasons[gate.RedCode] != 10 || gates[0].LastContact.IsZero() {
			t.Errorf("gates %+v", gates)
		}
	}
	check(h)
}

func TestCountsSurviveRestart(t *testing.T) {
	h, dir := newHub(t, quiet())
	g := addGate(t, h, "north")
	g.pass(t, 4, gate.Valid)
	rec, err := h.gate(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := h.ingest(t.Context(), "north", rec, g.batch(t, 1, 4)); n != 4 || err != nil {
		t.Fatalf("ingest: %d %v", n, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openHub(t, dir, quiet())
	gates, err := h.Gates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(gates) != 1 || gates[0].Today.Admit != 4 || gates[0].LastSequence != 4 || len(h.fleet.latest()) != 4 {
		t.Errorf("after restart: %+v", gates)
	}
}

func TestForgedAndForked(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	g.pass(t, 6, gate.Valid)

	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := g.unsigned(1, 3)
	if err := b.Sign(other); err != nil {
		t.Fatal(err)
	}
	forged, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if status, _, word := g.post(t, url, forged); status != 403 {
		t.Errorf("forged signature: %d %s, want 403", status, word)
	}
	if status, n, _ := g.post(t, url, g.batch(t, 1, 4)); status != 200 || n != 4 {
		t.Fatalf("honest batch: %d %d", status, n)
	}
	// The same card in another gate: it begins at the same place and goes on otherwise.
	clone := gateOf(t, g.bundle)
	clone.pass(t, 6, gate.RedCode)
	for _, span := range [][2]uint64{{1, 2}, {1, 4}, {1, 6}, {5, 6}} {
		if status, _, word := clone.post(t, url, clone.batch(t, span[0], span[1])); status != 409 || word != "fork" {
			t.Errorf("clone's %v: %d %q, want 409 fork", span, status, word)
		}
	}
	gates, err := h.Gates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if gates[0].Alarm == "" {
		t.Error("no alarm after a fork")
	}
	if status, n, _ := g.post(t, url, g.batch(t, 5, 6)); status != 200 || n != 6 {
		t.Errorf("honest gate after the fork: %d %d", status, n)
	}
	verifyGate(t, h, "north", 6)
}

func TestTombstoneKeepsItsPlace(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	g.pass(t, 3, gate.Valid)
	// A record of a future or broken gate: signed and chained, but unreadable.
	e := passage.Entry{Seq: 4, Segment: 1, Clear: []byte("\xa1\x01\x04junk"), Sealed: []byte{1}}
	e.Chain = passage.Next(g.chain, e.Clear, e.Sealed)
	g.all, g.chain, g.seq = append(g.all, e), e.Chain, 4
	g.pass(t, 2, gate.Valid)
	if status, n, word := g.post(t, url, g.batch(t, 1, 6)); status != 200 || n != 6 {
		t.Fatalf("batch with a poison record: %d %d %s", status, n, word)
	}
	if v := verifyGate(t, h, "north", 6); v.Tombstones != 1 {
		t.Errorf("%+v, want one tombstone", v)
	}
}

func TestRevokedAndReplacedGate(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	g.pass(t, 4, gate.Valid)
	if status, _, _ := g.post(t, url, g.batch(t, 1, 2)); status != 200 {
		t.Fatalf("before: %d", status)
	}
	if err := h.RevokeGate(t.Context(), GateRef{"north", "op"}); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := g.post(t, url, g.batch(t, 3, 4)); status != 403 {
		t.Errorf("revoked gate: %d, want 403", status)
	}
	resp, err := g.client.Get(url + "/v1/time")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 403 {
		t.Errorf("contact of a revoked gate: %d, want 403", resp.StatusCode)
	}
	if _, err := h.AddGate(t.Context(), GateRequest{Gate: "north", By: "op"}); !errors.Is(err, ErrConflict) {
		t.Errorf("the same name again: %v, want ErrConflict", err)
	}
	b, err := h.AddGate(t.Context(), GateRequest{Gate: "north", Replace: true, By: "op"})
	if err != nil {
		t.Fatal(err)
	}
	again := gateOf(t, b)
	again.all, again.keys, again.chain, again.seq = g.all, g.keys, g.chain, g.seq
	if status, n, _ := again.post(t, url, again.batch(t, 3, 4)); status != 200 || n != 4 {
		t.Errorf("with the new certificate: %d %d", status, n)
	}
	if status, _, _ := g.post(t, url, g.batch(t, 3, 4)); status != 403 {
		t.Errorf("with the old certificate: %d, want 403", status)
	}
	verifyGate(t, h, "north", 4)
	if nodes, err := h.Nodes(t.Context()); err != nil || len(nodes) != 1 || !nodes[0].Leads || !nodes[0].Current {
		t.Errorf("nodes of an embedded server: %+v, %v", nodes, err)
	}
}

// TestOneGateDoesNotHoldUpTheOthers: a gate with half-open uploads takes its
// turns and no more, and its own next upload has one of them.
func TestOneGateDoesNotHoldUpTheOthers(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	slow, other := addGate(t, h, "slow"), addGate(t, h, "other")
	other.pass(t, 1, gate.Valid)
	slow.pass(t, 1, gate.Valid)
	var hanging sync.WaitGroup
	release := make(chan struct{})
	t.Cleanup(func() { close(release); hanging.Wait() })
	contact := func() time.Time {
		h.fleet.mu.Lock()
		defer h.fleet.mu.Unlock()
		return h.fleet.get("slow").contact
	}
	statuses := make(chan int, maxIngestEach)
	for range maxIngestEach {
		before := contact()
		hanging.Go(func() {
			resp, err := slow.client.Post(url+"/v1/passages", "", &halfSent{release: release})
			if err != nil {
				statuses <- 0 // its connection was ended before the answer was read
				return
			}
			statuses <- resp.StatusCode
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		})
		// It has its turn once the hub has heard of it: before that the next
		// request could take it.
		for !contact().After(before) {
			select {
			case <-t.Context().Done():
				t.Fatal("the hub does not hear of an upload")
			case <-time.After(time.Millisecond):
			}
		}
	}
	if status, n, word := other.post(t, url, other.batch(t, 1, 1)); status != 200 || n != 1 {
		t.Errorf("another gate: %d %d %q, want 200", status, n, word)
	}
	eventually(t, "the gate's own next upload", func() error {
		if status, n, word := slow.post(t, url, slow.batch(t, 1, 1)); status != 200 || n != 1 {
			return fmt.Errorf("%d %d %q", status, n, word)
		}
		return nil
	})
	// Whose turn it took, or who was silent for too long, is told so.
	if status := <-statuses; status != http.StatusRequestTimeout && status != 0 {
		t.Errorf("the upload that hung was answered %d, want 408", status)
	}
}

// halfSent is a body of which one byte comes, and the end when it is released.
type halfSent struct {
	begun   bool
	release chan struct{}
}

func (h *halfSent) Read(p []byte) (int, error) {
	if !h.begun {
		h.begun, p[0] = true, 1
		return 1, nil
	}
	<-h.release
	return 0, io.EOF
}

// stubborn is a listener whose connections do not close well.
type stubborn struct{ net.Listener }

type stubbornConn struct{ net.Conn }

func (l stubborn) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return stubbornConn{c}, err
}

func (c stubbornConn) Close() error {
	return errors.Join(c.Conn.Close(), errors.New("does not close well"))
}

// TestLimitOutlivesBadConnections: a connection beyond the limit is closed, and
// what goes wrong with that does not end the server.
func TestLimitOutlivesBadConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimitListener(stubborn{inner}, 10, 1)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("beyond the limit: %v, want EOF", err)
	}
	if err := first.Close(); err == nil {
		t.Fatal("the stub closes well")
	}
	dial()
	if err := <-accepted; err != nil {
		t.Errorf("accept behind a connection that did not close well: %v", err)
	}
}

func TestTLS(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	g.pass(t, 1, gate.Valid)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(g.bundle.HubCA))
	with := func(c *tls.Config) *http.Client {
		tr := &http.Transport{TLSClientConfig: c}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	anonymous := with(&tls.Config{RootCAs: roots})
	resp, err := anonymous.Post(url+"/v1/passages", "", bytes.NewReader(g.batch(t, 1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 401 {
		t.Errorf("without a certificate: %d, want 401", resp.StatusCode)
	}
	if _, err := with(&tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12}).Get(url + "/v1/time"); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	// A certificate of the same name from another authority.
	foreign, err := makeCA(filepath.Join(t.TempDir(), "c"), filepath.Join(t.TempDir(), "k"), "other", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	der, key, err := foreign.gateCertificate("north", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if resp, err := with(&tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}).Get(url + "/v1/time"); err == nil {
		t.Errorf("a foreign authority's gate was answered %d", resp.StatusCode)
	}
	// The hub's own server certificate is no gate's.
	if _, _, err := h.authenticate(t.Context(), h.cert.Load().Leaf); !errors.Is(err, errRevoked) {
		t.Errorf("server certificate as gate: %v", err)
	}
}

func TestListsAreStaticFiles(t *testing.T) {
	h, dir := newHub(t, quiet())
	url, _ := serve(t, h)
	g := addGate(t, h, "north")
	issueOne(t, h, "green", "static", nil)
	if _, err := h.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lists", "stray"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "hub.json"), filepath.Join(dir, "lists", "metadata", "link.json")); err != nil {
		t.Fatal(err)
	}
	get := func(path, etag string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequest("GET", url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if etag != "" {
			req.Header.Set("If-None-Match", etag)
		}
		resp, err := g.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, data
	}
	resp, data := get("/lists/metadata/timestamp.json", "")
	etag := resp.Header.Get("ETag")
	if resp.StatusCode != 200 || etag == "" || !json.Valid(data) || resp.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("timestamp: %d %q %s", resp.StatusCode, etag, data)
	}
	if resp, data := get("/lists/metadata/timestamp.json", etag); resp.StatusCode != 304 || len(data) != 0 {
		t.Errorf("unchanged: %d with %d bytes, want 304", resp.StatusCode, len(data))
	}
	if _, err := h.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if resp, _ := get("/lists/metadata/timestamp.json", etag); resp.StatusCode != 200 {
		t.Errorf("after a publish: %d, want 200", resp.StatusCode)
	}
	if resp, _ := get("/lists/metadata/1.root.json", ""); resp.StatusCode != 200 {
		t.Errorf("root: %d", resp.StatusCode)
	}
	for _, path := range []string{"/lists/", "/lists/metadata", "/lists/metadata/", "/lists/stray", "/lists/metadata/..%2f..%2fhub.json",
		"/lists/metadata/none.json", "/lists/targets/../../hub.json", "/lists/metadata/.hidden", "/hub.json"} {
		if resp, _ := get(path, ""); resp.StatusCode != 404 {
			t.Errorf("%s: %d, want 404", path, resp.StatusCode)
		}
	}
	// The next root appears under a name that was not there: no cache may keep that.
	if resp, _ := get("/lists/metadata/2.root.json", ""); resp.StatusCode != 404 || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("next root: %d %q, want 404 and no-store", resp.StatusCode, resp.Header.Get("Cache-Control"))
	}
	if resp, _ := get("/lists/metadata/link.json", ""); resp.StatusCode == 200 {
		t.Error("a link led out of the folder")
	}
}

func TestClientSpeaksTheSame(t *testing.T) {
	h, dir := newHub(t, quiet())
	serve(t, h)
	c := NewClient(dir)
	defer c.Close()
	ctx := t.Context()
	d, err := c.Declare(ctx, DeclareRequest{Name: "李雷", Region: "330106"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "static", By: "x"}); !errors.Is(err, ErrConflict) {
		t.Errorf("issue before review: %v, want ErrConflict", err)
	}
	if _, err := c.Review(ctx, ReviewRequest{Declaration: d.ID, Colour: "green", Reviewer: "r"}); err != nil {
		t.Fatal(err)
	}
	i, err := c.Issue(ctx, IssueRequest{Declaration: d.ID, Kind: "static", By: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(i.Code, healthcode.Prefix) {
		t.Errorf("code %q", i.Code)
	}
	if got, err := c.Declarations(ctx, DeclarationsRequest{State: IssuedState}); err != nil || len(got) != 1 || got[0].Reviewer != "r" {
		t.Errorf("declarations: %+v %v", got, err)
	}
	if _, err := c.AddEnterprise(ctx, EnterpriseRequest{Number: "E1", Name: "n", Region: "330106", Zones: []string{"z"}, By: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.IssuePermit(ctx, PermitRequest{Enterprise: "E1", Holder: i.Status, By: "x"}); err != nil {
		t.Fatal(err)
	}
	if e, err := c.Enterprises(ctx); err != nil || len(e) != 1 {
		t.Errorf("enterprises: %+v %v", e, err)
	}
	if err := c.SetPolicy(ctx, Document{json.RawMessage(`{"permit_required":true}`), "x"}); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Publish(ctx); err != nil || len(p.Lists) != 1 {
		t.Errorf("publish: %+v %v", p, err)
	}
	if _, err := c.AddGate(ctx, GateRequest{Gate: "north", County: "330106", HubURL: "https://localhost:9", By: "x"}); err != nil {
		t.Fatal(err)
	}
	if gates, err := c.Gates(ctx); err != nil || len(gates) != 1 || gates[0].County != "330106" {
		t.Errorf("gates: %+v %v", gates, err)
	}
	if v, err := c.Verify(ctx, GateRef{Gate: "north"}); err != nil || !v.OK() {
		t.Errorf("verify: %+v %v", v, err)
	}
	if err := c.RevokeGate(ctx, GateRef{"north", "x"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, SocketName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info, err)
	}
	// An unknown field, two values, and too much are refused.
	for _, body := range []string{`{"name":"a","region":"330106","nmae":"b"}`, `{} {}`, `[]`, ``, `{"name":"` + strings.Repeat("a", 1<<20) + `"}`} {
		resp, err := c.http.Post("http://hub/v1/declare", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 400 && resp.StatusCode != 413 {
			t.Errorf("%.40s: %d, want a refusal", body, resp.StatusCode)
		}
	}
}

func TestInitAndOpen(t *testing.T) {
	_, dir := newHub(t, quiet())
	if err := Init(t.Context(), dir, testConfig(), quiet()); !errors.Is(err, ErrExists) {
		t.Errorf("init again: %v, want ErrExists", err)
	}
	if _, err := Open(t.Context(), dir, quiet()); err == nil || !strings.Contains(err.Error(), "another gatehub") {
		t.Errorf("second open: %v, want that another has it", err)
	}
	if _, err := Open(t.Context(), t.TempDir(), quiet()); !errors.Is(err, ErrNoHub) {
		t.Errorf("open of nothing: %v, want ErrNoHub", err)
	}
	for _, c := range []Config{
		{}, {Name: "n", URL: "http://h", Provinces: []string{"33"}}, {Name: "n", URL: "https://h", Provinces: []string{"3"}},
		{Name: "n", URL: "https://h", Provinces: []string{"33", "33"}}, {Name: "n", URL: "https://h/x", Provinces: []string{"33"}},
		{Name: "n", URL: "https://h", Provinces: []string{"33"}, ListBase: "no end"},
	} {
		if err := Init(t.Context(), t.TempDir(), c, quiet()); !errors.Is(err, ErrInvalid) {
			t.Errorf("config %+v: %v, want ErrInvalid", c, err)
		}
	}
	// No secret can be read by others.
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !d.IsDir() && (strings.HasSuffix(path, ".key") || strings.Contains(path, "/keys/") || strings.HasSuffix(path, ".token") || strings.HasSuffix(path, "hub.json")) && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "jetstream")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("jetstream folder: %v %v", info, err)
	}
}

// TestNoNameInLogs: nothing that the hub logs or audits has a person's name or a code.
func TestNoNameInLogs(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	o := quiet()
	o.Log = slog.New(slog.NewTextHandler(lockedWriter{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h, _ := newHub(t, o)
	_, i := issueOne(t, h, "green", "static", nil)
	if _, err := h.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	msgs, err := h.store.js.Stream(t.Context(), auditStream)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 3; seq++ {
		m, err := msgs.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		out.Write(m.Data)
		mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(out.String(), "issue-static") || !strings.Contains(out.String(), "reviewer-1") {
		t.Errorf("the audit trail does not say who did what:\n%s", &out)
	}
	for _, secret := range []string{"王小明", "王*明", i.Code} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q stands in the log", secret)
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestServerCertificateIsRenewed(t *testing.T) {
	c := &clock{}
	o := quiet()
	o.Now = c.now
	h, dir := newHub(t, o)
	first := h.cert.Load().Leaf.SerialNumber
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openHub(t, dir, o)
	if h.cert.Load().Leaf.SerialNumber.Cmp(first) != 0 {
		t.Error("a good certificate was made anew")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	c.advance(serverLife - serverRenew + time.Hour)
	h = openHub(t, dir, o)
	second := h.cert.Load().Leaf.SerialNumber
	if second.Cmp(first) == 0 {
		t.Error("a certificate near its end was kept")
	}
	// Also a hub that is not started again for a year has a good one.
	url, _ := serve(t, h)
	c.advance(serverLife - serverRenew + time.Hour)
	if err := h.renew(); err != nil {
		t.Fatal(err)
	}
	client := addGate(t, h, "north").client
	client.Transport.(*http.Transport).TLSClientConfig.Time = c.now
	resp, err := client.Get(url + "/v1/time")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if n := resp.TLS.PeerCertificates[0].SerialNumber; n.Cmp(second) == 0 {
		t.Error("a running hub shows a certificate near its end")
	}
}

func TestMask(t *testing.T) {
	for name, want := range map[string]string{
		"王小明": "王*明", "王明": "王*", "王": "*", "欧阳小明明": "欧***明", "John Smith": "J*** S***", "Ö": "Ö***", " ": "", "a b c d e f": "a*** b*** c*** d***",
	} {
		if got := Mask(name); got != want {
			t.Errorf("Mask(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestBundleIsPEM(t *testing.T) {
	h, _ := newHub(t, quiet())
	b, err := h.AddGate(t.Context(), GateRequest{Gate: "north", By: "op"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	// The names are sync/enrol's Identity: what it reads strictly.
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gate", "hub_url", "lists_url", "hub_ca_pem", "certificate_pem", "private_key_pem", "tuf_root", "hub_hpke_public_key"} {
		if fields[name] == nil || fields[name] == "" {
			t.Errorf("bundle has no %s", name)
		}
		delete(fields, name)
	}
	if len(fields) != 0 {
		t.Errorf("bundle also has %v", fields)
	}
	if block, rest := pem.Decode([]byte(b.PrivateKey)); block == nil || len(rest) != 0 || block.Type != "PRIVATE KEY" {
		t.Error("private_key_pem is not one PKCS #8 block")
	}
	if len(b.HubKey) != 32 || !json.Valid(b.TUFRoot) {
		t.Errorf("hub key of %d bytes, root %.20s", len(b.HubKey), b.TUFRoot)
	}
}
