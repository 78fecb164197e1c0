package hub

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"greengate/gate"
	"greengate/pass/statuslist"
)

// testCluster is a cluster of real nodes on loopback.
type testCluster struct {
	t       testing.TB
	hub     string // folder of the hub whose authority made the nodes
	names   []string
	listen  []string
	cluster []string
	nodes   []*Node
	at      string // where the nodes' folders are
}

// freePorts returns addresses on loopback that nobody listens on.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out
}

// newCluster makes a hub for a cluster and starts its three nodes.
func newCluster(t testing.TB, o Options) *testCluster {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hub")
	config := testConfig()
	config.Cluster = true
	if err := Init(t.Context(), dir, config, o); err != nil {
		t.Fatal(err)
	}
	return clusterOf(t, dir)
}

// clusterOf starts three nodes of the authority of the hub in dir.
func clusterOf(t testing.TB, dir string) *testCluster {
	t.Helper()
	c := &testCluster{t: t, hub: dir, at: t.TempDir(), listen: freePorts(t, 3), cluster: freePorts(t, 3), nodes: make([]*Node, 3)}
	for i := range 3 {
		c.names = append(c.names, fmt.Sprintf("n%d", i+1))
		if err := AddNode(c.hub, c.names[i], []string{"127.0.0.1"}, c.folder(i)); err != nil {
			t.Fatal(err)
		}
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.stop(i)
		}
	})
	return c
}

func (c *testCluster) folder(i int) string { return filepath.Join(c.at, c.names[i]) }

func (c *testCluster) start(i int) {
	c.t.Helper()
	o := NodeOptions{Listen: c.listen[i], Cluster: c.cluster[i]}
	for j, r := range c.cluster {
		if j != i {
			o.Routes = append(o.Routes, r)
		}
	}
	var err error
	if c.nodes[i], err = OpenNode(c.folder(i), c.names[i], o); err != nil {
		c.t.Fatal(err)
	}
}

func (c *testCluster) stop(i int) {
	c.t.Helper()
	if c.nodes[i] == nil {
		return
	}
	if err := c.nodes[i].Close(); err != nil {
		c.t.Error(err)
	}
	c.nodes[i] = nil
}

// on are the options of a hub on this cluster.
func (c *testCluster) on(o Options) Options {
	for _, a := range c.listen {
		o.Cluster.URLs = append(o.Cluster.URLs, "nats://"+a)
	}
	return o
}

// eventually waits for a condition, however long the machine takes for it.
func eventually(t testing.TB, what string, done func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(90 * time.Second); ; <-tick.C {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// TestCluster: a hub keeps its passages on three nodes. With one of them gone it
// goes on; with two gone it acknowledges nothing and says when to come again;
// when they are back every record is there once.
func TestCluster(t *testing.T) {
	c := newCluster(t, quiet())
	h := openHub(t, c.hub, c.on(quiet()))
	for i, n := range c.nodes {
		if conf := n.server.JetStreamConfig(); !conf.SyncAlways {
			t.Errorf("node %d does not flush each write", i)
		}
	}
	if got := h.store.passages.CachedInfo().Config; got.Replicas != 3 || got.AllowDirect {
		t.Errorf("passages on %d nodes, asked of any: %v", got.Replicas, got.AllowDirect)
	}
	if err := h.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	g := addGate(t, h, "north")
	gates, _ := serve(t, h)
	var acknowledged uint64
	post := func() error {
		status, n, word := g.post(t, gates, g.batch(t, acknowledged+1, g.seq))
		if status != 200 || n != g.seq {
			return fmt.Errorf("status %d, acknowledged %d of %d, %q", status, n, g.seq, word)
		}
		acknowledged = n
		return nil
	}
	g.pass(t, 5, gate.Valid)
	if err := post(); err != nil {
		t.Fatal(err)
	}
	c.stop(0)
	g.pass(t, 5, gate.Valid)
	eventually(t, "with two of three nodes", post)

	c.stop(1)
	g.pass(t, 5, gate.Valid)
	status, n, word := g.post(t, gates, g.batch(t, acknowledged+1, g.seq))
	if status != 503 || n != 0 {
		t.Errorf("with one of three nodes: %d, acknowledged %d, %q; want 503", status, n, word)
	}
	h.store.probed = time.Time{}
	if err := h.Ready(); err == nil {
		t.Error("ready with one of three nodes")
	}

	c.start(0)
	c.start(1)
	eventually(t, "with all nodes again", post)
	verifyGate(t, h, "north", g.seq)
	eventually(t, "all nodes are current", func() error {
		nodes, err := h.Nodes(t.Context())
		if err != nil {
			return err
		}
		leaders := 0
		for _, n := range nodes {
			if n.Leads {
				leaders++
			}
			if !n.Current || n.Offline || n.Lag > 0 {
				return fmt.Errorf("%+v", n)
			}
		}
		if len(nodes) != 3 || leaders != 1 {
			return fmt.Errorf("%d nodes, %d lead", len(nodes), leaders)
		}
		return nil
	})
}

// TestFormingCluster: two of three nodes elect a leader and have no place for a
// stream on three. A hub that starts then waits for the third.
func TestFormingCluster(t *testing.T) {
	c := newCluster(t, quiet())
	c.stop(2)
	eventually(t, "two nodes have a leader", func() error {
		if !c.nodes[0].server.JetStreamIsLeader() && !c.nodes[1].server.JetStreamIsLeader() {
			return errors.New("not yet")
		}
		return nil
	})
	o := c.on(quiet())
	var log heardLog
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	opened := make(chan error, 1)
	go func() {
		h, err := Open(t.Context(), c.hub, o)
		if err == nil {
			err = h.Close()
		}
		opened <- err
	}()
	eventually(t, "the hub waits", func() error {
		select {
		case err := <-opened:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		if !log.has("the cluster is not ready") {
			return errors.New("not yet")
		}
		return nil
	})
	c.start(2)
	if err := <-opened; err != nil {
		t.Errorf("with the third node: %v", err)
	}
}

// TestClusterLetsNobodyElseIn: a certificate of the same authority is not enough.
func TestClusterLetsNobodyElseIn(t *testing.T) {
	c := newCluster(t, quiet())
	h := openHub(t, c.hub, c.on(quiet()))
	g := addGate(t, h, "north")
	gate, err := tls.X509KeyPair([]byte(g.bundle.Certificate), []byte(g.bundle.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(h.ca.cert)
	url := "nats://" + c.listen[0]
	for what, config := range map[string]*tls.Config{
		"a gate":                              {RootCAs: roots, Certificates: []tls.Certificate{gate}},
		"the hub's own certificate for gates": {RootCAs: roots, Certificates: []tls.Certificate{*h.cert.Load()}},
		"nobody":                              {RootCAs: roots},
	} {
		nc, err := nats.Connect(url, nats.Secure(config), nats.MaxReconnects(0))
		if err == nil {
			nc.Close()
			t.Errorf("%s was let in", what)
		}
	}
	if nc, err := nats.Connect(url, nats.MaxReconnects(0)); err == nil {
		nc.Close()
		t.Error("somebody without TLS was let in")
	}
}

// hubWithNode makes a hub for a cluster, and the folder of a node of its authority.
func hubWithNode(t testing.TB, name string) (dir string, p nodePaths) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "hub")
	config := testConfig()
	config.Cluster = true
	if err := Init(t.Context(), dir, config, quiet()); err != nil {
		t.Fatal(err)
	}
	p = nodePaths{filepath.Join(t.TempDir(), name)}
	if err := AddNode(dir, name, []string{"127.0.0.1"}, p.dir); err != nil {
		t.Fatal(err)
	}
	return dir, p
}

// serveNATS starts a server that is set up by hand, and returns its URL.
func serveNATS(t testing.TB, opts *server.Options) string {
	t.Helper()
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("not ready")
	}
	u := url.URL{Scheme: "nats", Host: s.Addr().String()}
	return u.String()
}

// TestLazyClusterIsRefused: a cluster that somebody else set up, and that
// flushes every two minutes, is not written to.
func TestLazyClusterIsRefused(t *testing.T) {
	dir, p := hubWithNode(t, "lazy")
	ca, err := readCert(p.ca())
	if err != nil {
		t.Fatal(err)
	}
	own := func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(p.cert(), p.key())
		return &c, err
	}
	opts := nodeOptions("lazy", p.jetstream())
	opts.SyncAlways, opts.SyncInterval = false, 2*time.Minute
	opts.Host, opts.Port = "127.0.0.1", server.RANDOM_PORT
	opts.TLS, opts.TLSVerify, opts.TLSMap = true, true, true
	opts.TLSConfig = clusterTLS(ca, own, time.Now, partHub, partSystem)
	system := server.NewAccount(systemAccount)
	opts.Accounts, opts.SystemAccount = []*server.Account{system}, systemAccount
	opts.Users = []*server.User{{Username: partHub}, {Username: partSystem, Account: system}}
	o := quiet()
	o.Cluster = Cluster{URLs: []string{serveNATS(t, opts)}, Replicas: 1}
	if h, err := Open(t.Context(), dir, o); !errors.Is(err, ErrNotFlushed) {
		if err == nil {
			h.Close()
		}
		t.Errorf("open on a cluster that does not flush: %v", err)
	}
	// A node alone is no cluster.
	if _, err := OpenNode(p.dir, "lazy", NodeOptions{Listen: "127.0.0.1:4222", Cluster: "127.0.0.1:6222"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a node without routes: %v", err)
	}
	// A hub that has its registry on a cluster does not start without it.
	if _, err := Open(t.Context(), dir, quiet()); !errors.Is(err, ErrInvalid) {
		t.Errorf("open without the cluster: %v", err)
	}
}

// TestClaimsAgainstLists: while codes are claimed as fast as they can be, lists
// are published. Each code is in the lists, or later than they are.
func TestClaimsAgainstLists(t *testing.T) {
	h, _ := newHub(t, quiet())
	d, _ := issueOne(t, h, "green", "static", nil)
	claimsAgainstLists(t, []*Hub{h}, h, d.ID)
}

// claimsAgainstLists claims at all hubs while one of them publishes.
func claimsAgainstLists(t *testing.T, hubs []*Hub, leader *Hub, declaration string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var claimed []Issued
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				out, err := hubs[i%len(hubs)].claim(t.Context(), "3301", time.Hour, codeRecord{Kind: "static", Declaration: declaration, By: "x"},
					func(Ref, time.Time, time.Time) (string, error) { return "code", nil })
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				mu.Lock()
				claimed = append(claimed, out)
				mu.Unlock()
			}
		})
	}
	held := 0
	for range 4 {
		out, err := leader.Publish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// What the files say now, against every code that was given out until now.
		mu.Lock()
		codes := slices.Clone(claimed)
		mu.Unlock()
		raw, info := publishedList(t, leader, "jkm:3301/0")
		for _, c := range codes {
			v, err := raw.Get(c.Status.Index)
			if err != nil {
				t.Fatal(err)
			}
			if v == statuslist.Valid {
				held++
			} else if !c.Issued.After(info.Issued) {
				t.Errorf("code %s of %s is void in the list of %s", c.Status, c.Issued, info.Issued)
			}
		}
		eventually(t, "the next second", func() error {
			if time.Now().UTC().Truncate(time.Second).Equal(out.Issued) {
				return errors.New("not yet")
			}
			return nil
		})
	}
	cancel()
	wg.Wait()
	if held == 0 {
		t.Error("no list held any code: nothing was shown")
	}
}

// publishedList reads a list as a gate would find it in the files.
func publishedList(t *testing.T, h *Hub, uri string) (*statuslist.List, statuslist.Info) {
	t.Helper()
	infos, err := h.publisher.Lists()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(infos, func(i statuslist.Info) bool { return i.URI == uri })
	if i < 0 {
		t.Fatalf("%s is not published", uri)
	}
	files, err := filepath.Glob(filepath.Join(h.paths.lists(), "targets", "status", "3301", "*.0.tsl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		l, err := statuslist.ParseCBOR(data, listCodes)
		if err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(l.Raw()) == infos[i].SHA256 {
			return l, infos[i]
		}
	}
	t.Fatalf("%s: its file is not there", uri)
	return nil, statuslist.Info{}
}
