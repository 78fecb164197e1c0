package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster is where the registry and the passages lie when they do not lie in
// the hub itself.
type Cluster struct {
	// URLs of the nodes, as "nats://10.0.0.1:4222". Empty: the hub's own server.
	URLs []string
	// Replicas is on how many nodes everything lies, 3 by default.
	Replicas int
	// Credentials is a NATS credentials file for a cluster that is not of
	// `gatehub node`, SystemCredentials one of its system account: only there
	// its nodes say whether they flush each write. Nodes of ours take the
	// hub's own certificate.
	Credentials, SystemCredentials string
	// CA is a file with the authority of such a cluster's certificates; the
	// system's ones by default.
	CA string
}

var (
	// ErrNotFlushed: a node of the cluster acknowledges what is not on its disk.
	ErrNotFlushed = errors.New("the cluster acknowledges what is not on its disks")
	// ErrForeignCluster: the cluster is of another authority, or does not take these credentials.
	ErrForeignCluster = errors.New("the cluster is not this hub's")
	// ErrAway: the storage cannot be reached, or has too few nodes.
	ErrAway = errors.New("the hub's storage cannot be reached")
)

const (
	// clusterWait is how long a hub that starts waits for its cluster.
	clusterWait = 60 * time.Second
	// flushCheck is how often a running hub asks the nodes whether they flush:
	// one that was away may come back with other settings.
	flushCheck = 10 * time.Second
	// flushAnswers is how long nodes have to answer.
	flushAnswers = 2 * time.Second
)

// connect opens the streams on a cluster.
func connect(ctx context.Context, c Cluster, authority *ca, now func() time.Time, log *slog.Logger) (*storage, error) {
	return c.reach(ctx, authority, now, log, func(s *storage, system *nats.Conn, replicas int) error {
		return s.openOn(ctx, system, replicas, authority)
	})
}

// reach connects to a cluster, and waits until open finds it ready.
func (c Cluster) reach(ctx context.Context, authority *ca, now func() time.Time, log *slog.Logger,
	open func(s *storage, system *nats.Conn, replicas int) error) (_ *storage, err error) {
	if c.Replicas == 0 {
		c.Replicas = 3
	}
	if c.Replicas < 1 || c.Replicas > 5 || c.Replicas%2 == 0 {
		return nil, invalid("replicas %d: want 1, 3 or 5", c.Replicas)
	}
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil {
			return nil, invalid("cluster: %w", err)
		}
		if u.Scheme != "nats" && u.Scheme != "tls" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
			return nil, invalid("cluster %q: want nats://HOST:PORT, without a password in it", u.Redacted())
		}
	}
	if (c.Credentials == "") != (c.SystemCredentials == "") {
		return nil, invalid("a cluster with credentials wants two: the hub's, and the system account's, in which nodes say whether they flush each write")
	}
	s := &storage{failed: make(chan error, 1)}
	var system *nats.Conn
	defer func() {
		if err != nil {
			if system != nil {
				system.Close()
			}
			s.close()
			err = fmt.Errorf("cluster %s: %w", strings.Join(c.URLs, ","), err)
		}
	}()
	if s.conn, err = c.dial("hub", partHub, c.Credentials, authority, now, log); err != nil {
		return nil, err
	}
	if system, err = c.dial("hub, asking nodes", partSystem, c.SystemCredentials, authority, now, log); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, clusterWait)
	defer cancel()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		err := open(s, system, c.Replicas)
		if err == nil {
			break
		}
		if !isAway(err) && !isForming(err) {
			return nil, err
		}
		for _, nc := range []*nats.Conn{s.conn, system} {
			last := nc.LastError()
			if last == nil || nc.IsConnected() {
				continue
			}
			if refused := refusal(last); refused != nil {
				return nil, refused
			}
			err = fmt.Errorf("%w (%w)", err, last)
		}
		log.Info("the cluster is not ready", "err", err)
		select {
		case <-wait.Done():
			return nil, fmt.Errorf("%w: %w\nhint: %d of %d nodes must run; `gatehub node` starts one", ErrAway, err, c.Replicas/2+1, c.Replicas)
		case <-again.C:
		}
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.watchFlush(watch, system, c.Replicas, log)
	}()
	s.end = func() {
		stop()
		<-done
		system.Close()
	}
	return s, nil
}

// noPeers is how a cluster answers (JSClusterNoPeersErrF) that has a leader and
// does not know of enough nodes yet to lay a stream on.
const noPeers = 10005

// isForming reports whether the nodes of a cluster have not all found each other.
func isForming(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == noPeers
}

// refusal says what to do about a connection that no waiting mends: nil for one
// that may come yet.
func refusal(err error) error {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &authority):
		who := "somebody"
		if authority.Cert != nil {
			who = fmt.Sprintf("%q of %q", authority.Cert.Subject.CommonName, authority.Cert.Issuer.CommonName)
		}
		return fmt.Errorf("%w: there is %s, and this hub's authority did not make that certificate (%w)\nhint: -nats names nodes whose folders `gatehub node add -dir FOLDER` made with the folder of this hub; for a cluster of somebody else -nats-ca names its authority",
			ErrForeignCluster, who, err)
	case errors.As(err, &host):
		return fmt.Errorf("%w: %w\nhint: -nats names a node by what `gatehub node add -host` was told; make the node's folder again with this address", ErrForeignCluster, err)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return fmt.Errorf("%w: it does not take the credentials: %w\nhint: -nats-creds and -nats-system-creds are files that this cluster's operator made for it; ask there for new ones", ErrForeignCluster, err)
	case strings.Contains(err.Error(), "error signing nonce"): // how nats.go tells of a file that it cannot use
		return fmt.Errorf("%w: %w\nhint: -nats-creds and -nats-system-creds want files as `nsc generate creds` writes them", ErrInvalid, err)
	case strings.Contains(err.Error(), "remote error: tls: "): // how crypto/tls tells what the other end thought of ours
		return fmt.Errorf("%w: its node does not take this hub's certificate: %w\nhint: -nats names nodes whose folders `gatehub node add -dir FOLDER` made with the folder of this hub; and are the clocks right?", ErrForeignCluster, err)
	}
	return nil
}

// openOn opens the streams once enough nodes say that they flush.
func (s *storage) openOn(ctx context.Context, system *nats.Conn, replicas int, authority *ca) error {
	n, err := flushed(ctx, system)
	if err != nil {
		return err
	}
	if n < replicas/2+1 {
		return fmt.Errorf("%w: %d nodes say how they are set, and %d are needed", nats.ErrNoResponders, n, replicas/2+1)
	}
	js, err := jetstream.New(s.conn)
	if err != nil {
		return err
	}
	// The first question may come before the nodes have a leader, and is not
	// answered then: the next one is soon.
	first, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if have, err := js.Stream(first, passagesStream); err == nil && have.CachedInfo().Config.Replicas > replicas {
		return fmt.Errorf("%w: its streams lie on %d nodes each, and are not taken off them\nhint: -replicas %d", ErrConflict,
			have.CachedInfo().Config.Replicas, have.CachedInfo().Config.Replicas)
	} else if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	// From here on what lies there is no copy that could be made again.
	if mark, err := js.Stream(ctx, moveStream); err == nil {
		if err := checkMark(mark, authority); err != nil {
			return err
		}
		if err := js.DeleteStream(ctx, moveStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("mark of a move: %w", err)
		}
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("mark of a move: %w", err)
	}
	return s.open(ctx, replicas)
}

// dial connects for ever: a connection that is lost comes back, and meanwhile
// what is asked fails at once instead of waiting in a buffer.
func (c Cluster) dial(name, part, credentials string, authority *ca, now func() time.Time, log *slog.Logger) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(500 * time.Millisecond), nats.Timeout(5 * time.Second), nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // not closed by us
				log.Warn("connection to the cluster lost", "for", name, "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to the cluster again", "for", name, "node", nc.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("cluster", "for", name, "err", err) }),
	}
	if credentials == "" {
		own := func() (*tls.Certificate, error) { return authority.partCertificate(part, now()) }
		options = append(options, nats.Secure(clusterTLS(authority.cert, own, now, partNode)))
	} else {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if c.CA != "" {
			data, err := os.ReadFile(c.CA)
			if err != nil {
				return nil, err
			}
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(data) {
				return nil, fmt.Errorf("%s: no certificate in it", c.CA)
			}
		}
		options = append(options, nats.Secure(config), nats.UserCredentials(credentials))
	}
	return nats.Connect(strings.Join(c.URLs, ","), options...)
}

// partCertificate is what the hub shows to nodes: made for each connection, good
// for a day, and never written down.
func (c *ca) partCertificate(part string, now time.Time) (*tls.Certificate, error) {
	u, err := url.Parse(part)
	if err != nil {
		return nil, err
	}
	der, key, err := c.issue(&x509.Certificate{
		Subject:   pkix.Name{CommonName: part},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{u},
	})
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// nodeAnswer is what a node says of itself, as far as it matters here.
type nodeAnswer struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Data *struct {
		Disabled bool `json:"disabled"`
		Config   struct {
			SyncAlways bool `json:"sync_always"`
		} `json:"config"`
		Meta *struct {
			Size int `json:"cluster_size"`
		} `json:"meta_cluster"`
		// Accounts has what was asked for of one account.
		Accounts []struct {
			Streams []struct {
				Name  string `json:"name"`
				State extent `json:"state"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	} `json:"data"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

// eachNode asks all nodes, and calls each with their answers until it says that
// it has all, or nobody has answered any more for a while.
func eachNode(ctx context.Context, system *nats.Conn, question []byte, each func(nodeAnswer) (all bool, err error)) error {
	inbox := system.NewRespInbox()
	sub, err := system.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	// The subscription goes with the connection if it cannot be ended now.
	defer func() { _ = sub.Unsubscribe() }()
	if err := system.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, question); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, flushAnswers)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrNoResponders) {
			return fmt.Errorf("%w: nobody answers in the system account", err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		var a nodeAnswer
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return fmt.Errorf("a node's answer: %w", err)
		}
		if all, err := each(a); all || err != nil {
			return err
		}
	}
}

// flushed asks all nodes, and returns how many said that they flush each write
// before they acknowledge it. One that does not is an error that wraps
// [ErrNotFlushed]; one that is away says nothing, and acknowledges nothing.
func flushed(ctx context.Context, system *nats.Conn) (int, error) {
	good, most, heard := map[string]bool{}, 0, map[string]bool{}
	err := eachNode(ctx, system, nil, func(a nodeAnswer) (bool, error) {
		heard[a.Server.Name] = true
		switch {
		case a.Error != nil:
			return false, fmt.Errorf("node %s: %s", a.Server.Name, a.Error.Description)
		case a.Data == nil || a.Data.Disabled:
			// It keeps nothing.
		case !a.Data.Config.SyncAlways:
			return false, fmt.Errorf("%w: node %s flushes only now and then, and a power cut takes the rest\nhint: set `sync_interval: always` in its jetstream block and start it again",
				ErrNotFlushed, a.Server.Name)
		default:
			good[a.Server.Name] = true
			if a.Data.Meta != nil {
				most = max(most, a.Data.Meta.Size)
			}
		}
		return most > 0 && len(good) >= most && len(heard) >= most, nil
	})
	if err != nil {
		return 0, err
	}
	return len(good), nil
}

// watchFlush asks again and again, since nodes are started anew.
func (s *storage) watchFlush(ctx context.Context, system *nats.Conn, replicas int, log *slog.Logger) {
	again := time.NewTicker(flushCheck)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		n, err := flushed(ctx, system)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrNotFlushed):
			log.Error("nothing is acknowledged any more", "err", err)
			s.fail(err)
			return
		case err != nil:
			log.Warn("nodes not asked whether they flush", "err", err)
		case n < replicas:
			log.Warn("nodes are away", "answered", n, "replicas", replicas)
		}
	}
}

// check holds what the hub was made for against what it is started with.
func (c Cluster) check(config Config) error {
	switch {
	case config.Cluster && len(c.URLs) == 0:
		return fmt.Errorf("%w: its registry lies on a cluster, and an empty one would make every code void\nhint: -nats with the addresses of its nodes, nats://HOST:PORT", ErrInvalid)
	case !config.Cluster && len(c.URLs) > 0:
		return fmt.Errorf("%w: its registry lies in its own folder, and a cluster knows nothing of it\nhint: `gatehub move -nats ...` carries what it has there, once; `gatehub init -cluster` makes a new hub for a cluster", ErrInvalid)
	}
	return nil
}

// openStorage opens where the registry and the passages lie.
func (h *Hub) openStorage(ctx context.Context) (*storage, error) {
	if err := h.options.Cluster.check(h.config); err != nil {
		return nil, err
	}
	if h.config.Cluster {
		left, err := os.ReadDir(h.paths.jetstream())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if len(left) > 0 {
			h.log.Warn("what the hub held before it moved is in its folder still, and retention does not reach it", "folder", h.paths.jetstream(),
				"hint", "remove the folder once the cluster has proved itself")
		}
		return connect(ctx, h.options.Cluster, h.ca, h.options.Now, h.log)
	}
	return openEmbedded(ctx, h.paths.jetstream(), h.log)
}
