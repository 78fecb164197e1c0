package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"greengate/gate/passage"
	"greengate/sync/enrol"
	"greengate/sync/hub"
	"greengate/sync/upload"
)

// faultSite is a hub with a published list, and its authority's key.
type faultSite struct {
	hub       *hub.Hub
	url       string
	authority faultAuthority
}

// newFaultSite serves a hub in this process.
func newFaultSite(t testing.TB, dir string) *faultSite {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &faultSite{url: "https://" + l.Addr().String()}
	f.make(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.hub.Serve(ctx, l, nil, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, f.hub.Close()); err != nil {
			t.Errorf("hub: %v", err)
		}
	})
	return f
}

// make makes the hub, with one green code on its list.
func (f *faultSite) make(t testing.TB, dir string) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(hub.Init(ctx, dir, hub.Config{Name: "test", URL: f.url, Provinces: []string{"33"}}, hub.Options{}))
	f.open(t, dir)
	d, err := f.hub.Declare(ctx, hub.DeclareRequest{Name: "王建明", Region: "330106"})
	must(err)
	_, err = f.hub.Review(ctx, hub.ReviewRequest{Declaration: d.ID, Colour: "green", Reviewer: "test"})
	must(err)
	_, err = f.hub.Issue(ctx, hub.IssueRequest{Declaration: d.ID, Kind: "static", By: "test"})
	must(err)
	_, err = f.hub.Publish(ctx)
	must(err)
	f.authority.cert = readPEM(t, filepath.Join(dir, "ca", "ca.pem"), x509.ParseCertificate)
	f.authority.key = readPEM(t, filepath.Join(dir, "ca", "ca.key"), x509.ParsePKCS8PrivateKey).(crypto.Signer)
}

func (f *faultSite) open(t testing.TB, dir string) {
	t.Helper()
	var err error
	if f.hub, err = hub.Open(t.Context(), dir, hub.Options{PublishDelay: -1}); err != nil {
		t.Fatal(err)
	}
}

func readPEM[T any](t testing.TB, path string, parse func([]byte) (T, error)) T {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("%s is no PEM", path)
	}
	v, err := parse(block.Bytes)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// gate enrols one.
func (f *faultSite) gate(t testing.TB, name string) *enrol.Identity {
	t.Helper()
	b, err := f.hub.AddGate(t.Context(), hub.GateRequest{Gate: name, By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return &enrol.Identity{Gate: b.Gate, HubURL: b.HubURL, ListsURL: b.ListsURL, HubCA: b.HubCA, Certificate: b.Certificate,
		PrivateKey: b.PrivateKey, TUFRoot: b.TUFRoot, HubKey: b.HubKey}
}

// dial connects to the hub from another address of this machine, with or without TLS.
func (f *faultSite) dial(t testing.TB, from string, secure bool) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(f.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		pool := x509.NewCertPool()
		pool.AddCert(f.authority.cert)
		c = tls.Client(c, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13})
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// drip sends a byte a second of a request that never ends, until it is cut off.
func drip(c net.Conn) error {
	if _, err := io.WriteString(c, "G"); err != nil {
		return nil
	}
	if _, ok := c.(*tls.Conn); ok {
		if _, err := io.WriteString(c, "ET /v1/time HTTP/1.1\r\nHost: hub\r\nX-Slow: "); err != nil {
			return nil
		}
	}
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for range 90 {
		<-beat.C
		if _, err := io.WriteString(c, "1"); err != nil {
			return nil
		}
	}
	return errors.New("a stranger was never cut off")
}

// faultAuthority signs certificates of servers.
type faultAuthority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

type certificate = tls.Certificate

func newFaultAuthority(t testing.TB) faultAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "somebody"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return faultAuthority{cert, key}
}

// certificate of a server at an address, to its end.
func (a faultAuthority) certificate(t testing.TB, end time.Time, address string) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"},
		NotBefore: end.Add(-48 * time.Hour), NotAfter: end, IPAddresses: []net.IP{net.ParseIP(address)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// middle stands before the hub as a load balancer does: with a certificate of
// the hub's authority, and the gate's own towards the hub.
type middle struct {
	*httptest.Server
	client *http.Client
	hub    atomic.Value // its URL
	// asked counts all requests, played those for passages.
	asked, played atomic.Int64
	// lists answers in the place of the hub's; set before use.
	lists http.HandlerFunc
	mu    sync.Mutex
	fault func(http.ResponseWriter, *http.Request, []byte) bool
}

// middle puts one before the scene's hub.
func (s *faultScene) middle() *middle {
	s.Helper()
	m := newMiddle(s.TB, s.site, s.id, s.site.authority.certificate(s.TB, time.Now().Add(time.Hour), "127.0.0.1"))
	s.up.URL = m.URL
	s.listsFrom(m.URL)
	return m
}

func newMiddle(t testing.TB, site *faultSite, id *enrol.Identity, cert certificate) *middle {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(site.authority.cert)
	pair, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{client: upload.NewClient(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})}
	m.hub.Store(site.url)
	onward := &httputil.ReverseProxy{Transport: m.client.Transport, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		to, err := url.Parse(m.hub.Load().(string))
		if err != nil {
			t.Error(err)
			return
		}
		r.SetURL(to)
	}}
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.asked.Add(1)
		if m.lists != nil && strings.HasPrefix(r.URL.Path, "/lists/") {
			m.lists(w, r)
			return
		}
		if r.URL.Path == "/v1/passages" {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the gate has hung up
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			m.mu.Lock()
			fault := m.fault
			m.mu.Unlock()
			m.played.Add(1)
			if fault != nil && fault(w, r, body) {
				return
			}
		}
		onward.ServeHTTP(w, r)
	}))
	m.Config.ErrorLog = log.New(io.Discard, "", 0)
	m.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	m.StartTLS()
	t.Cleanup(func() {
		m.Close()
		m.client.CloseIdleConnections()
	})
	return m
}

// play sets what happens to requests for passages: the fault says whether it has
// answered. With nil there is no fault.
func (m *middle) play(fault func(http.ResponseWriter, *http.Request, []byte) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// pass hands a request to the hub and reads its answer. The request that it came
// with may be over.
func (m *middle) pass(t testing.TB, r *http.Request, body []byte) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.Method, m.hub.Load().(string)+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	req.Header = r.Header.Clone()
	resp, err := m.client.Do(req)
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		t.Error(err)
	}
	return resp.StatusCode, answer
}

// openBatch reads the batch of a request.
func openBatch(t testing.TB, r *http.Request, body []byte) *passage.Batch {
	t.Helper()
	if r.Header.Get("Content-Encoding") == "zstd" {
		d, err := zstd.NewReader(nil)
		if err != nil {
			t.Error(err)
			panic(http.ErrAbortHandler)
		}
		defer d.Close()
		if body, err = d.DecodeAll(body, nil); err != nil {
			t.Error(err)
		}
	}
	b, err := passage.ParseBatch(body)
	if err != nil {
		t.Error(err)
		panic(http.ErrAbortHandler)
	}
	return b
}

// changeTime puts another time into the hub's answer.
func changeTime(t testing.TB, answer []byte, to time.Time) []byte {
	t.Helper()
	var a map[string]any
	if err := json.Unmarshal(answer, &a); err != nil {
		t.Error(err)
		return answer
	}
	a["time"] = to
	out, err := json.Marshal(a)
	if err != nil {
		t.Error(err)
	}
	return out
}

// midBody is how many bytes a gate has sent when it is in the middle of a batch
// of 40 records, behind its handshake.
const midBody = 6000

// relay hands bytes on between gate and hub, and knows nothing of TLS.
type relay struct {
	net.Listener
	to     string // the hub's address
	end    chan struct{}
	letGo  func() // ends every connection that there is
	conns  sync.WaitGroup
	played atomic.Int64
	busy   atomic.Int64 // connections that are neither over nor played with
	mu     sync.Mutex
	most   int64
	fault  func(r *relay, gate, hub net.Conn)
}

// relay puts one before the scene's hub.
func (s *faultScene) relay() *relay {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	r := &relay{Listener: l, end: make(chan struct{}), to: strings.TrimPrefix(s.id.HubURL, "https://")}
	r.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the row's end
			}
			r.conns.Go(func() { r.lead(c) })
		}
	})
	r.letGo = sync.OnceFunc(func() { close(r.end) })
	s.Cleanup(func() {
		s.must(l.Close())
		r.letGo()
		r.conns.Wait()
	})
	s.up.URL = "https://" + l.Addr().String()
	return r
}

// after sets what happens once a gate has sent so many bytes. The connections
// that there are stay as they are, so the gate's are closed by their owner first.
func (r *relay) after(most int64, fault func(r *relay, gate, hub net.Conn)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most, r.fault = most, fault
}

func (r *relay) lead(gate net.Conn) {
	// How a connection ends is the subject of the rows: its errors are theirs to see.
	defer gate.Close()
	r.busy.Add(1)
	idle := sync.OnceFunc(func() { r.busy.Add(-1) })
	defer idle()
	hub, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer hub.Close()
	r.mu.Lock()
	most, fault := r.most, r.fault
	r.mu.Unlock()
	done := make(chan struct{}, 2)
	var mute atomic.Bool
	go func() {
		var in io.Reader = gate
		if fault != nil {
			in = io.LimitReader(gate, most)
		}
		if n, _ := io.Copy(hub, in); fault != nil && n == most {
			mute.Store(true)
			r.played.Add(1)
			idle()
			fault(r, gate, hub)
		}
		done <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(unlessMute{gate, &mute}, hub)
		if mute.Load() {
			<-r.end
		}
		done <- struct{}{}
	}()
	select {
	case <-done:
	case <-r.end:
	}
}

// unlessMute writes into nothing once it is mute.
type unlessMute struct {
	io.Writer
	mute *atomic.Bool
}

func (u unlessMute) Write(p []byte) (int, error) {
	if u.mute.Load() {
		return len(p), nil
	}
	return u.Writer.Write(p)
}

// cutBoth ends the connection on both sides.
func cutBoth(*relay, net.Conn, net.Conn) {}

// vanish leaves the connection as it is when a cable is pulled: no byte more, and no end.
func vanish(r *relay, _, _ net.Conn) { <-r.end }

// passwordProxy is a proxy that leads with CONNECT, and only whom it knows.
type passwordProxy struct {
	address string
	led     atomic.Int64
}

func authProxy(t testing.TB, name, password string) *passwordProxy {
	t.Helper()
	p := &passwordProxy{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Basic is read of Authorization only.
		who := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
		if n, pw, ok := who.BasicAuth(); !ok || n != name || pw != password {
			w.Header().Set("Proxy-Authenticate", `Basic realm="out"`)
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		out, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer out.Close()
		in, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer in.Close()
		if _, err := io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			return
		}
		p.led.Add(1)
		go func() {
			defer out.Close()
			_, _ = io.Copy(out, buffered)
		}()
		_, _ = io.Copy(in, out)
	}))
	t.Cleanup(s.Close)
	p.address = s.Listener.Addr().String()
	return p
}

// faultsHub is the folder of the hub that a child serves.
const faultsHub = "GREENGATE_TEST_FAULTS_HUB"

// TestFaultsHub is the hub of the rows that kill it: a process of its own.
func TestFaultsHub(t *testing.T) {
	dir := os.Getenv(faultsHub)
	if dir == "" {
		return // this is no child
	}
	h, err := hub.Open(t.Context(), dir, hub.Options{PublishDelay: -1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("https://" + l.Addr().String())
	err = h.Serve(context.Background(), l, nil, nil)
	t.Fatal(errors.Join(err, h.Close()))
}

// childHub is a hub in a process of its own.
type childHub struct {
	t    testing.TB
	dir  string
	url  string
	kill func() error // and wait for its end
	wait func() error
}

// own gives the scene a hub of its own in a folder, which a child serves, and a
// gate there, behind a server of the hub's name that has the lists as files.
func (s *faultScene) own(dir string) (*childHub, *middle) {
	s.Helper()
	site := &faultSite{url: "https://127.0.0.1:1"}
	site.make(s.TB, dir)
	s.equip(site, s.id.Gate, s.mkdir("own"))
	s.must(site.hub.Close())
	c := &childHub{t: s.TB, dir: dir}
	s.at = func(r hub.GateRef) (hub.Verification, error) {
		_ = c.kill() // that it was killed is what it then says
		site.open(s.TB, dir)
		v, err := site.hub.Verify(s.Context(), r)
		return v, errors.Join(err, site.hub.Close())
	}
	c.start()
	m := s.middle()
	m.hub.Store(c.url)
	m.lists = http.StripPrefix("/lists", http.FileServer(http.Dir(filepath.Join(dir, "lists")))).ServeHTTP
	return c, m
}

func (c *childHub) start() {
	c.t.Helper()
	child := exec.CommandContext(c.t.Context(), os.Args[0], "-test.run=^TestFaultsHub$", "-test.timeout=10m")
	child.Env = append(os.Environ(), faultsHub+"="+c.dir)
	said := &lockedBuffer{}
	child.Stderr = said
	out, err := child.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		c.t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "https://") {
		c.t.Fatalf("the hub's process says %q, %v, %s", line, err, said)
	}
	c.url = strings.TrimSpace(line)
	c.wait = sync.OnceValue(func() error {
		rest, rerr := io.ReadAll(lines)
		if err := child.Wait(); err != nil {
			return fmt.Errorf("%w: %s%s", err, rest, said)
		}
		return rerr
	})
	wait := c.wait
	c.kill = func() error {
		if err := child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return wait()
	}
	c.t.Cleanup(func() { _ = c.kill() }) // it may have ended by itself
}

// hubKilled: kill -9 of the hub's process between what it stored and the answer.
func hubKilled(s *faultScene) {
	c, m := s.own(filepath.Join(s.dir, "hub"))
	m.play(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if status, answer := m.pass(s.TB, r, body); status != http.StatusOK {
			s.Errorf("%d %s", status, answer)
		}
		if err := c.kill(); err == nil {
			s.Error("the hub's process ended by itself")
		}
		panic(http.ErrAbortHandler)
	})
	s.write(40)
	s.fails(upload.Running, "killed hub")
	m.play(nil)
	s.fails(upload.Running, "no hub")
	s.lists()
	c.start()
	m.hub.Store(c.url)
	s.drain()
}

// hubDiskFull: what the hub writes finds no room, and the gate is not told that it did.
func hubDiskFull(s *faultScene) {
	disk := s.small("hub-disk", "64m")
	c, m := s.own(filepath.Join(disk, "hub"))
	s.write(20)
	s.drain()
	filler, err := os.Create(filepath.Join(disk, "filler"))
	s.must(err)
	for block := make([]byte, 4096); err == nil; {
		_, err = filler.Write(block)
	}
	if s.must(filler.Close()); !errors.Is(err, syscall.ENOSPC) {
		s.Fatal(err)
	}
	s.write(20)
	s.up.Timeout = 10 * time.Second
	s.fails(upload.Running, "full disk")
	// It ends by itself, for the service manager to start it again.
	if err := c.wait(); err == nil || !strings.Contains(err.Error(), hub.ErrStorage.Error()) {
		s.Errorf("the hub's process: %v", err)
	}
	s.lists()
	s.must(os.Remove(filler.Name()))
	c.start()
	m.hub.Store(c.url)
	s.up.Timeout = time.Minute
	s.drain()
}

func (s *faultScene) mkdir(name string) string {
	s.Helper()
	dir := filepath.Join(s.dir, name)
	s.must(os.Mkdir(dir, 0o700))
	return dir
}
