package hub

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// What a certificate of the hub's authority may do in a cluster stands in it as
// a URI. Gates have certificates of the same authority, without any.
const (
	partNode   = "greengate:node"   // keeps the streams, and speaks to other nodes
	partHub    = "greengate:hub"    // reads and writes them
	partSystem = "greengate:system" // asks nodes how they are set
)

// systemAccount is the account in which nodes say how they are set.
const systemAccount = "$SYS"

// NodeOptions say what one node of a cluster is told.
type NodeOptions struct {
	// Listen is where hubs connect, as "10.0.0.1:4222", and Cluster where the
	// other nodes do.
	Listen, Cluster string
	// Routes are the addresses of the other nodes, HOST:PORT each.
	Routes []string
	// Log for the node's messages; discarded by default.
	Log *slog.Logger
}

// nodePaths are the files of a node's folder.
type nodePaths struct{ dir string }

func (p nodePaths) ca() string        { return filepath.Join(p.dir, "ca.pem") }
func (p nodePaths) cert() string      { return filepath.Join(p.dir, "node.pem") }
func (p nodePaths) key() string       { return filepath.Join(p.dir, "node.key") }
func (p nodePaths) jetstream() string { return filepath.Join(p.dir, "jetstream") }

var nodePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// AddNode makes the folder of a cluster's node: the authority's certificate, and
// the node's own with its key, good for the authority's life. It is carried to
// the node's machine; hosts are the names and addresses that hubs and other
// nodes reach it by. It works on the hub's folder and needs no hub that runs.
func AddNode(dir, name string, hosts []string, out string) error {
	if !nodePattern.MatchString(name) {
		return invalid("node %.40q: want 1 to 32 of a-z, 0-9 and \"-\"", name)
	}
	if len(hosts) == 0 {
		return invalid("node %s: want the names or addresses that it is reached by", name)
	}
	p := nodePaths{out}
	if _, err := os.Stat(p.cert()); err == nil {
		return fmt.Errorf("node in %s: %w", out, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(paths{dir}.ca(), "ca.pem")); err != nil {
		return fmt.Errorf("hub in %s: %w\nhint: nodes belong to a hub; make one with `gatehub init -cluster`", dir, errors.Join(ErrNoHub, err))
	}
	now := time.Now()
	authority, err := openCA(paths{dir}.ca(), "", now)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "node " + name},
		NotBefore: now.Add(-backdate), NotAfter: authority.cert.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: "greengate", Opaque: "node"}},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if hostPattern.MatchString(h) {
			t.DNSNames = append(t.DNSNames, h)
		} else {
			return invalid("host %q: want a name or an IP address", h)
		}
	}
	der, key, err := authority.issue(t)
	if err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	private, err := marshalKey(key)
	if err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	if err := errors.Join(writePrivate(p.ca(), certPEM(authority.cert.Raw)), writePrivate(p.key(), private), writePrivate(p.cert(), certPEM(der))); err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	return nil
}

// Node is one JetStream server of a cluster. It flushes each write before it
// acknowledges it; there is no way to tell it otherwise.
type Node struct {
	server *server.Server
	failed chan error
	lock   *os.File
}

// OpenNode starts the node in dir, which AddNode made. It forms the cluster with
// the others as they come.
func OpenNode(dir, name string, o NodeOptions) (_ *Node, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := nodePaths{dir}
	fail := func(err error) (*Node, error) { return nil, fmt.Errorf("node %s in %s: %w", name, dir, err) }
	if !nodePattern.MatchString(name) {
		return fail(invalid("want 1 to 32 of a-z, 0-9 and \"-\" as its name"))
	}
	ca, err := readCert(p.ca())
	if errors.Is(err, fs.ErrNotExist) {
		return fail(fmt.Errorf("%w\nhint: `gatehub node add %s` beside the hub makes this folder", err, name))
	}
	if err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(p.jetstream(), 0o700); err != nil {
		return fail(err)
	}
	// Two servers on one folder would each think it their own.
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	opts := nodeOptions(name, p.jetstream())
	if opts.Host, opts.Port, err = splitAddress(o.Listen); err != nil {
		return fail(fmt.Errorf("address for hubs: %w", err))
	}
	opts.Cluster.Name = "greengate"
	// A node hears of no address but those it was told: each has its name in a certificate.
	opts.Cluster.NoAdvertise = true
	opts.Cluster.ConnectBackoff = true
	if opts.Cluster.Host, opts.Cluster.Port, err = splitAddress(o.Cluster); err != nil {
		return fail(fmt.Errorf("address for other nodes: %w", err))
	}
	if len(o.Routes) < 2 {
		return fail(fmt.Errorf("%w: %d routes\nhint: a cluster has three nodes, so that it goes on without one: -route HOST:PORT for each of the others", ErrInvalid, len(o.Routes)))
	}
	for _, r := range o.Routes {
		if _, _, err := net.SplitHostPort(r); err != nil {
			return fail(fmt.Errorf("route: %w", err))
		}
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: r})
	}
	keys := func() (*tls.Certificate, error) {
		cert, err := readCert(p.cert())
		if err != nil {
			return nil, err
		}
		key, err := readKey(p.key())
		if err != nil {
			return nil, err
		}
		return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
	}
	own, err := keys()
	if err != nil {
		return fail(err)
	}
	if err := checkNode(own, ca); err != nil {
		return fail(err)
	}
	opts.TLS, opts.TLSVerify, opts.TLSMap, opts.TLSTimeout = true, true, true, 5
	opts.TLSConfig = clusterTLS(ca, keys, time.Now, partHub, partSystem)
	opts.Cluster.TLSConfig = clusterTLS(ca, keys, time.Now, partNode)
	opts.Cluster.TLSTimeout = 5
	system := server.NewAccount(systemAccount)
	opts.Accounts, opts.SystemAccount = []*server.Account{system}, systemAccount
	// Nobody has a password: the certificate says who it is.
	opts.Users = []*server.User{{Username: partHub}, {Username: partSystem, Account: system}}
	n := &Node{failed: make(chan error, 1), lock: lock}
	n.server, err = startServer(opts, serverLog{o.Log, func(err error) {
		select {
		case n.failed <- err:
		default:
		}
	}})
	if err != nil {
		return fail(err)
	}
	return n, nil
}

// checkNode holds the files of a node's folder against each other: with those of
// two hubs in it no other node would ever be reached, and the log alone would say so.
func checkNode(own *tls.Certificate, authority *x509.Certificate) error {
	const again = "hint: `gatehub node add` beside the hub makes the folder whole; do not mix two"
	if !samePublic(own.PrivateKey.(crypto.Signer).Public(), own.Leaf.PublicKey) {
		return fmt.Errorf("%w: its key is not that of its certificate\n%s", ErrInvalid, again)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	// The time is not asked: a node may start before its clock is right.
	if _, err := own.Leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: own.Leaf.NotBefore.Add(backdate), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return fmt.Errorf("%w: its certificate is of %q, and its authority is %q: %w\n%s", ErrInvalid, own.Leaf.Issuer.CommonName, authority.Subject.CommonName, err, again)
	}
	if !slices.ContainsFunc(own.Leaf.URIs, func(u *url.URL) bool { return u.String() == partNode }) {
		return fmt.Errorf("%w: the certificate of %q is not a node's\n%s", ErrInvalid, own.Leaf.Subject.CommonName, again)
	}
	return nil
}

// Run returns when ctx ends, or an error that wraps [ErrStorage] when the node
// takes no more writes: started again it reads what its disk really holds.
func (n *Node) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.failed:
		return fmt.Errorf("%w: %w\nhint: is the disk full? the node must be started again", ErrStorage, err)
	}
}

// Close stops the node; others take over what it led.
func (n *Node) Close() error {
	n.server.Shutdown()
	n.server.WaitForShutdown()
	return n.lock.Close()
}

// splitAddress reads HOST:PORT; an empty host is every address.
func splitAddress(s string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q: want HOST:PORT", s)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, int(n), nil
}

// clusterTLS lets in, and connects to, who shows a certificate of the authority
// for one of these parts. Each handshake asks for its own certificate, so that
// a new one needs no restart.
func clusterTLS(ca *x509.Certificate, own func() (*tls.Certificate, error), now func() time.Time, parts ...string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own() },
		ClientAuth:           tls.RequireAndVerifyClientCert,
		ClientCAs:            pool,
		RootCAs:              pool,
		Time:                 now,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("no certificate")
			}
			for _, u := range s.PeerCertificates[0].URIs {
				if slices.Contains(parts, u.String()) {
					return nil
				}
			}
			return fmt.Errorf("the certificate of %q is for none of %v", s.PeerCertificates[0].Subject.CommonName, parts)
		},
	}
}
