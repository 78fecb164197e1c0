package hub

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
)

// search looks for what must be in no log: each input whole or, where it is
// long, any 20 bytes of it, in every form that a log might give it.
type search struct{ of map[string]string } // from what is looked for to the input's name

// window is how much of a long input must not show: a hint such as %.20q would cut it.
const window, windowStep = 15, 5

func (s *search) add(name string, input []byte) {
	if len(input) > window {
		for i := 0; i+window <= len(input); i += windowStep {
			s.addForms(name, input[i:i+window])
		}
		return
	}
	s.addForms(name, input)
}

func (s *search) addForms(name string, b []byte) {
	if s.of == nil {
		s.of = map[string]string{}
	}
	text := string(b)
	quoted := strconv.QuoteToASCII(text)
	forms := []string{text, url.QueryEscape(text), url.PathEscape(text), quoted[1 : len(quoted)-1], strings.Trim(fmt.Sprint(b), "[]"),
		hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), fmt.Sprintf("% x", b)}
	for shift := range 3 {
		// In base64 the same bytes look different in each place of three; what
		// depends on their neighbours is left off.
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := e.EncodeToString(append(make([]byte, shift), b...))
			whole := (shift + len(b)) / 3 * 4
			forms = append(forms, text[min((shift*8+5)/6, whole):whole])
		}
	}
	for _, f := range forms {
		s.of[f] = name
	}
}

// found names the inputs that stand in a log, by the lines that they stand in.
func (s *search) found(log string) map[string]string {
	out := map[string]string{}
	for form, name := range s.of {
		if !strings.Contains(log, form) {
			continue
		}
		for line := range strings.Lines(log) {
			if strings.Contains(line, form) {
				out[line] = name
			}
		}
	}
	return out
}

// TestSearch: what TestLogs looks for it would find.
func TestSearch(t *testing.T) {
	secret := "JKM1:6BFOXN*TS0BI$ZD-PHQ7I9AD66V5B22CH9M9ESI9XBHXK-%69LQOGI.*V76GCV4*XUA"
	var s search
	s.add("secret", []byte(secret))
	s.add("name", []byte("王建明"))
	for _, line := range []string{
		secret, fmt.Sprintf("%.20q", secret), hex.EncodeToString([]byte(secret)), fmt.Sprintf("%X", secret), fmt.Sprint([]byte(secret)), url.QueryEscape(secret),
		base64.StdEncoding.EncodeToString([]byte("x" + secret)), base64.URLEncoding.EncodeToString([]byte("xy" + secret)), base64.StdEncoding.EncodeToString([]byte("xyz" + secret)),
		base64.StdEncoding.EncodeToString([]byte(secret[8:40])), "王建明", fmt.Sprintf("%+q", "王建明"), hex.EncodeToString([]byte("a王建明b")), url.PathEscape("王建明"),
		base64.StdEncoding.EncodeToString([]byte("王建明")), base64.StdEncoding.EncodeToString([]byte("a王建明bc")), base64.StdEncoding.EncodeToString([]byte("ab王建明c")),
	} {
		if len(s.found("time=1 msg=x err="+line+"\n")) == 0 {
			t.Errorf("not found: %s", line)
		}
	}
	if got := s.found("time=1 level=INFO msg=audit op=issue-static object=jkm:3301/0#17 by=desk-1\n"); len(got) > 0 {
		t.Errorf("found where nothing is: %v", got)
	}
}

// TestLogs drives all that brings persons' data and secrets to a hub, good and
// bad, over its real sockets, with its log at its most talkative, and then looks
// for every input in it.
func TestLogs(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	o := quiet()
	o.Log = slog.New(slog.NewTextHandler(lockedWriter{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h, dir := newHub(t, o)
	gates, operator := serve(t, h)
	var s search
	secret := func(name, value string) string {
		s.add(name, []byte(value))
		return value
	}
	const desk = "desk-1" // who does it is what the log is for
	name, latin, identity := secret("a name", "王建明"), secret("a Latin name", "Maximiliana Wang"), secret("an identity number", "330106199001011234")
	guard := secret("a guard's name", "守门人赵大力")
	admin := NewClient(dir)
	defer admin.Close()

	// Codes are issued and permits too.
	public, holder, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.add("a holder's key", holder.Seed())
	must := func(name string, in, out any) {
		t.Helper()
		if status, text := adminCall(t, admin, name, in); status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, status, text)
		} else if out != nil {
			if err := json.Unmarshal(text, out); err != nil {
				t.Fatal(err)
			}
		}
	}
	codes := map[string]string{}
	var ref Ref
	for i, kind := range []string{"static", "paper", "dynamic"} {
		var d Declaration
		must("declare", DeclareRequest{Name: []string{name, latin, name + "二"}[i], Region: "330106", Category: "resident"}, &d)
		must("review", ReviewRequest{Declaration: d.ID, Colour: "green", Reviewer: desk}, nil)
		r := IssueRequest{Declaration: d.ID, Kind: kind, By: desk}
		if kind == "dynamic" {
			r.HolderKey = public
		}
		var issued Issued
		must("issue", r, &issued)
		codes[kind], ref = secret("a "+kind+" code", issued.Code), issued.Status
		must("recolour", RecolourRequest{Declaration: d.ID, Colour: "red", By: desk}, nil)
	}
	must("enterprise-add", EnterpriseRequest{Number: "QJ-1", Name: "Works", Region: "330106", Zones: []string{"A"}, By: desk}, nil)
	var permit Issued
	must("permit-issue", PermitRequest{Enterprise: "QJ-1", Holder: ref, By: desk}, &permit)
	codes["permit"] = secret("a permit", permit.Code)
	must("publish", None{}, nil)

	// A gate enrols with a token, which is spent then; others guess.
	var invited Invitation
	must("gate-invite", InviteRequest{Gate: "north", By: desk}, &invited)
	s.add("an enrolment token", invited.Secret)
	token := secret("an enrolment token as hex", hex.EncodeToString(invited.Secret))
	roots := x509.NewCertPool()
	roots.AddCert(h.ca.cert)
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}, Timeout: 30 * time.Second}
	defer stranger.CloseIdleConnections()
	enrol := func(token string, key *ecdsa.PrivateKey, body []byte) int {
		t.Helper()
		if body == nil {
			csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name, SerialNumber: identity}}, key)
			if err != nil {
				t.Fatal(err)
			}
			body = []byte(base64.StdEncoding.EncodeToString(csr))
		}
		req := newRequest(t, http.MethodPost, gates+"/.well-known/est/simpleenroll", body)
		req.SetBasicAuth(latin, token)
		return do(t, stranger, req)
	}
	key := newKey(t)
	for _, c := range []struct {
		token  string
		key    *ecdsa.PrivateKey
		body   []byte
		status int
	}{
		{token, key, []byte(codes["static"]), 400}, {token, key, nil, 200}, {token, newKey(t), nil, 403},
		{secret("a guessed token", "00112233445566778899"), newKey(t), nil, 403}, {identity, key, nil, 401},
	} {
		if got := enrol(c.token, c.key, c.body); got != c.status {
			t.Errorf("enrolment: %d, want %d", got, c.status)
		}
	}

	// Passages with a guard's name, and uploads of every bad kind.
	var bundle Bundle
	must("gate-add", GateRequest{Gate: "east-1", Site: "East", By: desk}, &bundle)
	block, _ := pem.Decode([]byte(bundle.PrivateKey))
	s.add("a gate's private key", block.Bytes[36:]) // behind what all keys begin with
	secret("a gate's private key as PEM", strings.ReplaceAll(bundle.PrivateKey[100:180], "\n", ""))
	g := gateOf(t, bundle)
	pseudonym := secret("a pseudonym", "pseudonym-of-somebody")
	g.write(t, gate.Record{Kind: gate.ActRecord, At: time.Now(), Verdict: gate.Admit, Reason: gate.ByGuard, GuardReason: gate.GuardReasons()[0],
		Sealed: gate.Sealed{Guard: guard, Pseudonym: []byte(pseudonym), CodeKind: "static", Region: "330106"}})
	g.pass(t, 3, gate.Valid)
	s.add("a sealed part", g.all[0].Sealed)
	s.add("a segment's sealed key", g.keys[0].Sealed)
	g.says = "lists=" + name
	if status, _, word := g.post(t, gates, g.batch(t, 1, 2)); status != http.StatusOK {
		t.Fatalf("a good batch: %d %s", status, word)
	}
	odd := func(change func(*passage.Batch)) []byte {
		b := g.unsigned(3, 4)
		b.Entries = append([]passage.Entry(nil), b.Entries...)
		change(b)
		return g.sign(t, b)
	}
	other := &testGate{id: g.id, key: newKey(t), all: g.all, keys: g.keys}
	forged := other.batch(t, 3, 4)
	for _, c := range []struct {
		what   string
		body   []byte
		status int
	}{
		{"a gap", g.batch(t, 4, 4), 409},
		{"a code for a batch", []byte(codes["static"]), 422},
		{"a fork", g.sign(t, anew(g.unsigned(3, 4))), 409},
		{"another's signature", forged, 403},
		{"a number for a gate's name", odd(func(b *passage.Batch) { b.Gate = identity }), 403},
		{"names for words", []byte("\xa2\x61a\x69" + name + "\x61b\x72" + identity), 422},
		{"a body that is too long", bytes.Repeat([]byte(identity), 1+passage.MaxBatchBytes/len(identity)), 413},
		{"a code for what is clear", odd(func(b *passage.Batch) { forge(b, []byte(codes["paper"])) }), 200},
	} {
		for _, says := range []string{"", "lists=" + identity, codes["permit"], strings.Replace((gate.Condition{Version: "1"}).String(), "clock=unset", "clock="+identity, 1)} {
			g.says = says
			if status, _, word := g.post(t, gates, c.body); status != c.status {
				t.Errorf("%s: %d %s, want %d", c.what, status, word, c.status)
			}
		}
	}
	for _, header := range []string{"Content-Encoding", "Greengate-Backlog", "Greengate-Gate", "Content-Type", "User-Agent", "Cookie", "Authorization"} {
		req := newRequest(t, http.MethodPost, gates+"/v1/passages?code="+url.QueryEscape(codes["static"]), []byte("\x28\xb5\x2f\xfd"+identity))
		req.Header.Set("Content-Encoding", "zstd")
		req.Header.Set(header, identity)
		do(t, g.client, req)
	}
	for _, c := range []*http.Client{g.client, stranger} {
		for _, path := range []string{"/lists/", "/v1/time?", "/v1/", "/.well-known/est/", "/"} {
			for _, tail := range []string{identity, url.PathEscape(name), url.PathEscape(codes["permit"]), token} {
				do(t, c, newRequest(t, http.MethodGet, gates+path+tail, nil))
				do(t, c, newRequest(t, http.MethodPost, gates+path+tail, []byte(tail)))
			}
		}
	}
	// Whoever asks where somebody was may write a name where none belongs.
	must("trace", TraceRequest{Status: ref, Reason: name + " " + identity, By: desk}, nil)
	must("gate-revoke", GateRef{Gate: "east-1", By: desk}, nil)
	do(t, g.client, newRequest(t, http.MethodGet, gates+"/v1/time?"+identity, nil))

	// Strangers below HTTP.
	address := strings.TrimPrefix(gates, "https://")
	for _, words := range []string{identity, "GET /" + identity + " HTTP/1.1\r\nHost: " + identity + "\r\n\r\n", codes["static"]} {
		for _, config := range []*tls.Config{nil, {RootCAs: roots}, {InsecureSkipVerify: true, ServerName: identity + ".example", Certificates: []tls.Certificate{selfSigned(t, name)}}, {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}} {
			shout(t, address, config, words)
		}
	}

	// Every operation with everything in the wrong place.
	asked := 0
	for _, op := range []string{"declare", "declaration", "declarations", "review", "issue", "recolour", "revoke", "enterprise-add", "enterprises", "permit-issue",
		"gate-add", "gate-invite", "gate-revoke", "gates", "alarm-clear", "policy", "policy-set", "policy-try", "map-set", "province-add", "revocation-set", "revocation-drop",
		"breaks", "retention-set", "passages", "export", "tail", "trace", "audit", "index", "verify", "unseal-counts", identity} {
		for _, value := range []string{name, identity, codes["static"], token, latin + "\n"} {
			if status, text := adminCall(t, admin, op, value); status == http.StatusOK {
				t.Errorf("%s took a text: %s", op, text)
			}
			for _, field := range []string{"name", "region", "category", "state", "id", "declaration", "colour", "kind", "enterprise", "number", "zones", "gate", "site", "county", "hub_url",
				"policy", "map", "day", "from", "to", "province", "key_id", "scheme", "format", "reason", "since", "status", "holder", "holder_key"} {
				if field == "gate" && strings.HasPrefix(op, "gate-") || field == "number" {
					continue // how the operator names a gate or an enterprise is for the log
				}
				in := map[string]any{field: value}
				if field == "status" || field == "holder" {
					in[field] = Ref{URI: value, Index: 1}
				}
				for _, by := range []string{"by", "reviewer"} {
					in[by] = desk
					if status, text := adminCall(t, admin, op, in); status == http.StatusInternalServerError {
						t.Errorf("%s with %q: %d %s", op, field, status, text)
					}
					delete(in, by)
					asked++
				}
			}
		}
	}

	// The operator's page: its token right and wrong, and addresses of persons.
	operatorToken, err := OperatorToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	secret("the operator's token", operatorToken)
	var session string
	browser := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer browser.CloseIdleConnections()
	for _, guess := range []string{identity, name, codes["static"], operatorToken} {
		resp, err := browser.PostForm(operator+"/login", url.Values{"token": {guess}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range resp.Cookies() {
			session = secret("a session", c.Value)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/gates/", "/index?county=", "/index?day=", "/?", "/healthz?", "/language?to="} {
		for _, tail := range []string{identity, url.QueryEscape(name), url.QueryEscape(codes["static"])} {
			req := newRequest(t, http.MethodGet, operator+path+tail, nil)
			req.AddCookie(&http.Cookie{Name: sessionCookie, Value: session})
			if status := do(t, browser, req); status >= 500 {
				t.Errorf("page %s: %d", path, status)
			}
		}
	}

	// The hub's own secrets.
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if strings.Contains(block.Type, "PRIVATE") {
				s.add("the key in "+filepath.Base(path), block.Bytes[len(block.Bytes)/3:])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	// The days, the fleet and the follower log what they read by themselves.
	followed(t, h)
	mu.Lock()
	text := out.String()
	mu.Unlock()
	for line, name := range s.found(text) {
		t.Errorf("%s stands in the log: %s", name, line)
	}
	// It was talkative indeed.
	for _, want := range []string{"msg=audit op=issue-dynamic", "op=gate-enrol ", `msg="token refused"`, `msg="batch refused"`, `msg="batch does not unpack"`, `msg="batch not taken"`,
		`msg="gate refused"`, `msg="gate's condition not understood"`, `msg="operator's token refused"`, "level=DEBUG", "TLS handshake error"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if asked < 5000 || len(s.of) < 2000 {
		t.Errorf("%d questions, %d forms: the test does not look", asked, len(s.of))
	}
}

// forge puts other clear parts into a batch, and the chain right.
func forge(b *passage.Batch, clear []byte) {
	for i := range b.Entries {
		b.Entries[i].Clear = clear
		prev := b.Prev
		if i > 0 {
			prev = b.Entries[i-1].Chain
		}
		b.Entries[i].Chain = b.Entries[i].Next(prev)
	}
}

// adminCall asks an operation over the socket, with whatever is given.
func adminCall(t *testing.T, c *Client, name string, in any) (int, []byte) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req := newRequest(t, http.MethodPost, "http://hub/v1/"+url.PathEscape(name), body)
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text
}

func newRequest(t *testing.T, method, url string, body []byte) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// do makes a request and reads its answer to the end.
func do(t *testing.T, c *http.Client, req *http.Request) int {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// selfSigned is a stranger's certificate with a person's name.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, Issuer: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// shout sends words to an address, over TLS where there is a config for it, and
// waits until the other side hangs up or answers. How that ends is the other
// side's to say.
func shout(t *testing.T, address string, config *tls.Config, words string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if config != nil {
		c := config.Clone()
		if c.ServerName == "" {
			c.ServerName = "127.0.0.1"
		}
		conn = tls.Client(conn, c)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, words+"\r\n\r\n"); err != nil {
		return
	}
	_, _ = io.ReadAll(io.LimitReader(conn, 4096))
}
