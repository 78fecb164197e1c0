package hub

import (
	"context"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"greengate/gate/passage"
	"greengate/pass"
	"greengate/pass/healthcode"
	"greengate/sync/hub/publisher"
)

// Options of a running hub; the zero value of each field means its default.
type Options struct {
	// Log for the hub's messages; discarded by default.
	Log *slog.Logger
	// Now tells the time; time.Now by default.
	Now func() time.Time
	// PublishDelay is how long after a change the hub publishes by itself; 10 s
	// by default, so that gates which poll each minute have it within 90 s.
	// Negative: only when told to.
	PublishDelay time.Duration
	// Heartbeat is how often the timestamp is signed anew; ten minutes by
	// default, a small part of the 24 h for which lists are fresh: between two
	// of them each poll of each gate is answered without a body.
	// Negative: only when told to publish.
	Heartbeat time.Duration
	// Metrics makes what serves /metrics beside the operator's page, for this
	// machine and without logging in: it may show nothing about persons. None
	// by default.
	Metrics func(*Hub) http.Handler
	// Mirror is a folder that holds the signed lists as plain files after each
	// publish, for another web server; none by default.
	Mirror string
	// Cluster is where the registry and the passages lie; the hub's own folder by default.
	Cluster Cluster
	// PerAddress is how many connections of gates one address may hold; 512 by
	// default, a campus. Behind a load balancer that does not pass addresses on, all
	// gates come from one.
	PerAddress int
	// leaseByHand leaves the lease to tests.
	leaseByHand bool
	// countEvery is for tests that do not want to wait.
	countEvery time.Duration
	// Location is where the operator's day begins; China's time (UTC+8) by default.
	Location *time.Location
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PublishDelay == 0 {
		o.PublishDelay = 10 * time.Second
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 10 * time.Minute
	}
	if o.PerAddress <= 0 {
		o.PerAddress = maxPerAddress
	}
	if o.Location == nil {
		o.Location = time.FixedZone("UTC+8", 8*3600)
	}
	return o
}

// Hub is the authority's end. Its methods are safe for concurrent use.
type Hub struct {
	config      Config
	options     Options
	paths       paths
	log         *slog.Logger
	lock        *os.File
	store       *storage
	shared      *shared // nil where no other hub may stand beside it
	ca          *ca
	cert        atomic.Pointer[tls.Certificate]
	passages    hpke.PrivateKey
	provinces   sync.RWMutex                 // of config.Provinces and issuers
	issuers     map[string]healthcode.Signer // by province
	publisher   *publisher.Publisher
	token       [32]byte // SHA-256 of the operator's token
	lists       *lists
	revocations revocations
	fleet       *fleet
	follow      *follow
	days        *days
	tallies     *tallies
	ingested    ingestCounts
	dayCache    readDays
	self        string        // names this hub to the others while it runs
	changed     chan struct{} // something waits to be published
	publish     sync.Mutex    // one publish at a time
	last        publishState
	stopWatch   context.CancelFunc
	watching    sync.WaitGroup
}

// Open opens the hub that Init made in dir. One process at a time may have it open.
func Open(ctx context.Context, dir string, o Options) (_ *Hub, err error) {
	o = o.withDefaults()
	h := &Hub{options: o, paths: paths{dir}, log: o.Log, issuers: map[string]healthcode.Signer{}, changed: make(chan struct{}, 1)}
	if h.config, err = readConfig(h.paths); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("hub in %s: %w", dir, err), h.Close())
		}
	}()
	if h.lock, err = lockFile(h.paths.lock()); err != nil {
		return nil, err
	}
	if h.ca, err = openCA(h.paths.ca(), h.config.Name, o.Now()); err != nil {
		return nil, err
	}
	if err := h.renew(); err != nil {
		return nil, err
	}
	if h.passages, err = readPassageKey(h.paths.hpkeKey()); err != nil {
		return nil, err
	}
	token, err := readPrivate(h.paths.token())
	if err != nil {
		return nil, fmt.Errorf("operator's token: %w", err)
	}
	h.token = sha256.Sum256([]byte(strings.TrimSpace(string(token))))
	if h.publisher, err = publisher.Open(h.paths.tufKeys(), h.paths.lists(), publisher.Options{Now: o.Now}); err != nil {
		return nil, err
	}
	if h.store, err = h.openStorage(ctx); err != nil {
		return nil, err
	}
	if h.config.Cluster {
		// Init could not reach it.
		if err := putIssuers(ctx, h.store, h.paths, h.config, o.Now()); err != nil {
			return nil, err
		}
	}
	keys, err := h.keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, province := range h.config.Provinces {
		private, err := openEd25519(h.paths.issuer(province))
		if err != nil {
			return nil, fmt.Errorf("issuer of %s: %w", province, err)
		}
		k := issuerKey(private, province, o.Now())
		known := pass.NewKeyMap(keys).Keys(k.ID)
		if len(known) == 0 {
			return nil, fmt.Errorf("issuer of %s: its key is not in the registry", province)
		}
		h.issuers[province] = healthcode.Signer{Key: known[0], Private: private}
	}
	published, err := h.publisher.Lists()
	if err != nil {
		return nil, err
	}
	h.lists = newLists(h.config.ListBase, published)
	if err := h.revocations.open(h.paths.revocation()); err != nil {
		return nil, err
	}
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h.stopWatch = cancel
	if err := h.watchCodes(ctx, watch); err != nil {
		return nil, err
	}
	if h.config.Cluster {
		if h.shared, err = h.share(ctx, watch); err != nil {
			return nil, err
		}
		if err := h.watchDocuments(watch); err != nil {
			return nil, err
		}
		if err := h.shared.begin(ctx); err != nil {
			return nil, err
		}
		if !o.leaseByHand {
			h.watching.Go(func() { h.shared.run(watch) })
		}
	}
	h.fleet = newFleet(o.Location, o.Now())
	h.follow = newFollow()
	if err := h.loadFleet(ctx); err != nil {
		return nil, err
	}
	if err := h.watchRegistry(ctx, watch); err != nil {
		return nil, err
	}
	if err := h.hearOthers(); err != nil {
		return nil, err
	}
	if err := h.startFollow(ctx, watch); err != nil {
		return nil, err
	}
	h.days = newDays(h, h.store.days)
	h.tallies = newTallies(h, h.store.days)
	h.watching.Go(func() { h.days.run(watch) })
	h.watching.Go(func() { h.tallies.run(watch) })
	return h, nil
}

// lockFile takes the lock of a folder, for as long as the file is open.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another gatehub has it open: %w", err), f.Close())
	}
	return f, nil
}

// renew makes the hub's certificate anew when it is near its end.
func (h *Hub) renew() error {
	if c := h.cert.Load(); c != nil && !nearEnd(c.Leaf, h.options.Now()) {
		return nil
	}
	c, err := h.ca.serverCertificate(h.paths.ca(), h.config.Hosts, h.options.Now())
	if err != nil {
		return err
	}
	h.cert.Store(&c)
	return nil
}

func readPassageKey(path string) (hpke.PrivateKey, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("passage key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != passageKeyType {
		return nil, fmt.Errorf("passage key: %s: no key in it", path)
	}
	return passage.ParseHubPrivateKey(block.Bytes)
}

// Close closes what Open opened, in any state.
func (h *Hub) Close() error {
	if h.stopWatch != nil {
		h.stopWatch()
		h.watching.Wait()
	}
	if h.shared != nil {
		h.shared.close(context.Background())
		h.shared = nil
	}
	if h.store != nil {
		h.store.close()
		h.store = nil
	}
	if h.lock != nil {
		err := h.lock.Close()
		h.lock = nil
		return err
	}
	return nil
}

// Config returns what the hub was told at init, and the provinces added since.
func (h *Hub) Config() Config {
	h.provinces.RLock()
	defer h.provinces.RUnlock()
	return h.config
}

// OperatorToken reads the token that opens the operator's page.
func OperatorToken(dir string) (string, error) {
	data, err := readPrivate(paths{dir}.token())
	if err != nil {
		return "", fmt.Errorf("operator's token: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// maxSocketPath is the longest path of a unix socket, in bytes (unix(7): 108 with the NUL behind it).
const maxSocketPath = 107

// ListenAdmin opens the admin socket in the data folder, mode 0600. A socket
// that a crash left behind is replaced; the lock that Open takes says that
// nobody else serves it.
func (h *Hub) ListenAdmin() (net.Listener, error) {
	path := h.paths.socket()
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("admin socket %s: a path of %d bytes, the system allows %d\nhint: give the hub a folder with a shorter path", path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	// Until here the folder's own mode, 0700, keeps others out.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), l.Close())
	}
	return l, nil
}

// Serve answers gates (TLS is put on here), the operator's browser and the
// admin socket until ctx ends, and publishes by itself. A nil listener is not
// served. It returns nil when ctx ended, and an error that wraps [ErrStorage]
// when the storage takes nothing any more.
func (h *Hub) Serve(ctx context.Context, gates, operator, admin net.Listener) error {
	if operator != nil {
		if a, ok := operator.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
			return fmt.Errorf("operator's page on %s: %w: only a loopback address is allowed", operator.Addr(), ErrInvalid)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	failed := h.store.failed // Close takes the storage away
	serve := func(name string, l net.Listener, s *http.Server) {
		s.ErrorLog = slog.NewLogLogger(h.log.With("server", name).Handler(), slog.LevelDebug)
		s.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
		group.Go(func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("%s on %s: %w", name, l.Addr(), err)
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			// What is being answered may end; what hangs is cut.
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := s.Shutdown(end); err != nil {
				return s.Close()
			}
			return nil
		})
	}
	if gates != nil {
		serve("gates", tls.NewListener(newLimitListener(gates, maxConnections, h.options.PerAddress), h.tlsConfig()), h.gateServer())
	}
	if operator != nil {
		serve("operator", newLimitListener(operator, 64, 64), h.operatorServer())
	}
	if admin != nil {
		serve("admin", admin, h.adminServer())
	}
	group.Go(func() error { h.publishLoop(ctx); return nil })
	group.Go(func() error { h.sweepLoop(ctx); return nil })
	group.Go(func() error {
		again := time.NewTicker(renewEvery)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case err := <-failed:
				// What is in its memory now may not be on the disk, so nothing more
				// must be acknowledged by it. The next start reads the disk.
				return fmt.Errorf("%w: %w\nhint: is the disk full? the hub must be started again", ErrStorage, err)
			case <-again.C:
				if err := h.renew(); err != nil {
					h.log.Error("certificate not renewed", "err", err)
				}
			}
		}
	})
	return group.Wait()
}
