package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"greengate/gate"
	"greengate/sync/enrol"
	"greengate/sync/trust"
	"greengate/sync/upload"
)

// countingConn counts what goes over the wire, TLS and all.
type countingConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// A poll without news on a kept connection, both ways with TLS, between the
// gate's own client and the hub: at most 1,024 bytes.
func TestPollBytes(t *testing.T) {
	r := newRig(t)
	r.issue("green")
	r.publish()
	id, err := enrol.Load(filepath.Join(r.dir, "gate", "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	clock := gate.NewWallClock(time.Now, func() bool { return true }, slog.New(slog.DiscardHandler))
	config, err := id.TLSConfig(clock)
	if err != nil {
		t.Fatal(err)
	}
	var bytes, dialled atomic.Int64
	client := upload.NewClient(config)
	defer client.CloseIdleConnections()
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		dialled.Add(1)
		return countingConn{c, &bytes}, err
	}
	fetcher, err := trust.NewHTTPS(id.ListsURL, client)
	if err != nil {
		t.Fatal(err)
	}
	poll := func() int64 {
		t.Helper()
		before := bytes.Load()
		if _, err := fetcher.Fetch(t.Context(), "metadata/timestamp.json", 16<<10); err != nil {
			t.Fatal(err)
		}
		return bytes.Load() - before
	}
	first := poll()
	for range 3 {
		n := poll()
		if n > 1024 || n == 0 {
			t.Errorf("a poll without news: %d bytes, want at most 1024", n)
		}
		t.Logf("bench: lists.poll.bytes %d bytes (the first with its handshake: %d)", n, first)
	}
	if dialled.Load() != 1 {
		t.Errorf("%d connections, want one that is kept", dialled.Load())
	}
}

// connectProxy is a proxy on loopback that leads every name to one server.
func connectProxy(t *testing.T, to string, asked *atomic.Value) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test's end
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				req, err := http.ReadRequest(in)
				if err != nil || req.Method != http.MethodConnect {
					return
				}
				asked.Store(req.Host)
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close()
				if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
					return
				}
				go func() {
					defer out.Close()
					_, _ = io.Copy(out, in)
				}()
				_, _ = io.Copy(c, out)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// A gate behind a proxy has it in its environment, as every other program. The
// standard library reads that once a process, so the gate's client is a child.
func TestListsThroughAProxy(t *testing.T) {
	if name := os.Getenv("GREENGATE_TEST_CA"); name != "" {
		throughProxy(t, name)
		return
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.WriteString(w, "root of "+r.Host); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Value
	proxy := connectProxy(t, s.Listener.Addr().String(), &asked)
	child := exec.Command(os.Args[0], "-test.run", "^TestListsThroughAProxy$", "-test.v")
	child.Env = append(os.Environ(), "GREENGATE_TEST_CA="+ca, "HTTPS_PROXY="+proxy, "NO_PROXY=", "no_proxy=")
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "root of lists.example.com") {
		t.Errorf("%v\n%s", err, out)
	}
	if asked.Load() != "lists.example.com:443" {
		t.Errorf("the proxy was asked for %v", asked.Load())
	}
}

func throughProxy(t *testing.T, ca string) {
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("no certificate")
	}
	client := upload.NewClient(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool})
	fetcher, err := trust.NewHTTPS("https://lists.example.com/lists", client)
	if err != nil {
		t.Fatal(err)
	}
	data, err := fetcher.Fetch(t.Context(), "metadata/1.root.json", 100)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", data)
}
