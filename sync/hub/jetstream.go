package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Sizes and names in JetStream. The names must never change: what a hub
// collected lies under them.
const (
	// maxMessage is above a batch (1 MiB) with its headers, and a map of all counties.
	maxMessage = 4 << 20
	// maxRegistryValue bounds a value of the registry.
	maxRegistryValue = 2 << 20

	passagesStream = "PASSAGES"
	passagesPrefix = "passages."
	auditStream    = "AUDIT"
	auditSubject   = "audit"
	codesBucket    = "codes"
	registryBucket = "registry"
)

// storage is the hub's JetStream: an embedded server that listens nowhere, or
// the nodes of a cluster. What lies there and how it is written is the same.
type storage struct {
	// failed tells once that nothing that is stored may be acknowledged any
	// more; down says so to whoever asks.
	failed   chan error
	down     atomic.Bool
	server   *server.Server // nil on a cluster
	conn     *nats.Conn
	js       jetstream.JetStream
	passages jetstream.Stream
	keys     jetstream.Stream
	breaks   jetstream.Stream
	codes    jetstream.KeyValue
	codesLog jetstream.Stream
	registry jetstream.KeyValue
	days     jetstream.KeyValue

	probing sync.Mutex
	probed  time.Time // when the last probe ended
	probe   error     // and how
	end     func()    // of what watches the nodes
}

// fail says that nothing more must be acknowledged.
func (s *storage) fail(err error) {
	s.down.Store(true)
	select {
	case s.failed <- err:
	default:
	}
}

// openEmbedded starts the server on dir and makes the streams where they are missing.
func openEmbedded(ctx context.Context, dir string, log *slog.Logger) (*storage, error) {
	s := &storage{failed: make(chan error, 1)}
	opts := nodeOptions("greengate-hub", dir)
	opts.DontListen = true
	var err error
	if s.server, err = startServer(opts, serverLog{log, s.fail}); err != nil {
		return nil, err
	}
	if s.conn, err = nats.Connect("", nats.InProcessServer(s.server), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.Name("hub")); err != nil {
		s.close()
		return nil, fmt.Errorf("jetstream in %s: connect: %w", dir, err)
	}
	if err := s.open(ctx, 1); err != nil {
		s.close()
		return nil, fmt.Errorf("jetstream in %s: %w", dir, err)
	}
	return s, nil
}

// nodeOptions are what every server has that keeps passages, alone or in a cluster.
func nodeOptions(name, dir string) *server.Options {
	return &server.Options{
		ServerName: name,
		JetStream:  true,
		StoreDir:   dir,
		// An acknowledgement means "on disk". With the default of two minutes a
		// power cut took everything acknowledged in between, on a cluster too
		// when all its nodes lost power (facts, Hub). No flag changes it.
		SyncAlways:   true,
		SyncInterval: time.Minute,
		MaxPayload:   maxMessage,
		NoSigs:       true,
		// What one hub may hold is bounded by its disk, not by a guess of the server.
		JetStreamMaxStore:  1 << 50,
		JetStreamMaxMemory: 64 << 20,
	}
}

// startServer starts a server on what its folder holds.
func startServer(opts *server.Options, log serverLog) (*server.Server, error) {
	dir := opts.StoreDir
	if err := flush(dir); err != nil {
		return nil, fmt.Errorf("jetstream in %s: %w", dir, err)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("jetstream in %s: %w", dir, err)
	}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("jetstream in %s: not ready within 30 s", dir)
	}
	return s, nil
}

// open makes the streams and buckets where they are missing, each on so many nodes.
func (s *storage) open(ctx context.Context, replicas int) (err error) {
	if s.js, err = jetstream.New(s.conn); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	// On a cluster only the stream's leader is asked: what a follower answers
	// may be older than what this hub was told just now.
	direct := replicas == 1
	// No age and no size bound: a device's last message holds its sequence and
	// must never expire. Refuse new ones rather than drop old ones.
	if s.passages, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: passagesStream, Subjects: []string{passagesPrefix + "*"}, Storage: jetstream.FileStorage, Replicas: replicas,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, DenyDelete: true, AllowDirect: direct,
		MaxMsgSize: maxMessage, Compression: jetstream.NoCompression,
	}); err != nil {
		return fmt.Errorf("stream %s: %w", passagesStream, err)
	}
	// Keys are erased one by one when their day is past.
	if s.keys, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: keysStream, Subjects: []string{keysPrefix + "*.*"}, Storage: jetstream.FileStorage, Replicas: replicas,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, AllowDirect: direct, MaxMsgSize: 1 << 12,
		Compression: jetstream.NoCompression,
	}); err != nil {
		return fmt.Errorf("stream %s: %w", keysStream, err)
	}
	if s.breaks, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: breaksStream, Subjects: []string{breaksPrefix + "*.*"}, Storage: jetstream.FileStorage, Replicas: replicas,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxBytes: breaksBytes, MaxMsgSize: maxMessage,
	}); err != nil {
		return fmt.Errorf("stream %s: %w", breaksStream, err)
	}
	if _, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: auditStream, Subjects: []string{auditSubject}, Storage: jetstream.FileStorage, Replicas: replicas,
		Discard: jetstream.DiscardNew, DenyDelete: true, MaxMsgSize: 1 << 16,
	}); err != nil {
		return fmt.Errorf("stream %s: %w", auditStream, err)
	}
	if s.codes, err = s.bucket(ctx, codesBucket, 1, 1<<12, replicas); err != nil {
		return err
	}
	if s.codesLog, err = s.js.Stream(ctx, "KV_"+codesBucket); err != nil {
		return fmt.Errorf("bucket %s: %w", codesBucket, err)
	}
	if s.registry, err = s.bucket(ctx, registryBucket, 5, maxRegistryValue, replicas); err != nil {
		return err
	}
	s.days, err = s.openDays(ctx, replicas)
	return err
}

// bucket makes a key-value bucket where it is missing. It is a stream in the
// client's own shape, with the one difference that its reads are current on a
// cluster; the client has no option for that.
func (s *storage) bucket(ctx context.Context, name string, history int64, most int32, replicas int) (jetstream.KeyValue, error) {
	if _, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"}, Storage: jetstream.FileStorage, Replicas: replicas,
		MaxMsgsPerSubject: history, MaxBytes: -1, MaxMsgs: -1, MaxMsgSize: most, MaxConsumers: -1,
		AllowRollup: true, DenyDelete: true, Duplicates: 2 * time.Minute, Discard: jetstream.DiscardNew, AllowDirect: replicas == 1,
	}); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	kv, err := s.js.KeyValue(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return kv, nil
}

// close stops the connection and the server, and waits for it.
func (s *storage) close() {
	if s.end != nil {
		s.end()
	}
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
}

// probeEvery is how long the answer of a probe holds: each costs a write.
const probeEvery = 5 * time.Second

// Ready says whether the storage takes writes now, by a write; nil when it does.
// What it found is told for some seconds.
func (h *Hub) Ready() error {
	s := h.store
	if s.down.Load() {
		return ErrStorage
	}
	s.probing.Lock()
	defer s.probing.Unlock()
	if !s.probed.IsZero() && time.Since(s.probed) < probeEvery {
		return s.probe
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeEvery)
	defer cancel()
	s.probe = nil
	// Readiness is about both: that passages have a leader, and that a write is acknowledged.
	if _, err := s.passages.Info(ctx); err != nil {
		s.probe = fmt.Errorf("stream %s: %w", passagesStream, err)
	} else if _, err := s.registry.Put(ctx, "probe", nil); err != nil {
		s.probe = fmt.Errorf("bucket %s: %w", registryBucket, err)
	}
	s.probed = time.Now()
	return s.probe
}

// flush makes everything in dir durable. A process that was killed between a
// write and its flush leaves what only the kernel's memory holds; the server
// reads it back as stored, and what is stored is acknowledged.
func flush(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// serverLog hands a server's messages on.
type serverLog struct {
	log    *slog.Logger
	failed func(error)
}

func (l serverLog) line(level slog.Level, format string, v []any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, "handshake error") && strings.Contains(text, "authority") {
		l.log.Log(context.Background(), level, "jetstream", "line", text, "hint", foreignNode)
	} else {
		l.log.Log(context.Background(), level, "jetstream", "line", text)
	}
	// After a write that failed the server leaves every later one without an
	// answer, and says why only here.
	if level >= slog.LevelWarn && slices.ContainsFunc(fatalWords, func(w string) bool { return strings.Contains(text, w) }) {
		l.failed(errors.New(text))
	}
}

// foreignNode is what to do when one end of a connection is of another authority.
const foreignNode = "the other end is of another hub: the folders of all nodes of a cluster come of `gatehub node add` with one hub's folder; look at -route and at what connects here"

// fatalWords are how nats-server says that a stream, or all of JetStream, has
// stopped taking writes. TestFullDisk holds them against the server in use.
var fatalWords = []string{"critical write error", "will be DISABLED", "disabling JetStream"}

func (l serverLog) Noticef(format string, v ...any) { l.line(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.line(slog.LevelWarn, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.line(slog.LevelError, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.line(slog.LevelError, format, v) }
func (l serverLog) Debugf(format string, v ...any)  { l.line(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any)  { l.line(slog.LevelDebug, format, v) }

// isConflict reports whether a compare-and-set lost.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) ||
		errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
			api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// classAway is the class of what a server answers when a stream has no leader
// or not enough nodes.
const classAway = 503

// isAway reports whether the storage could not be asked, or did not answer in
// time: whatever was to be written is then there or not, and the next try looks.
func isAway(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code == classAway {
		return true
	}
	for _, e := range []error{nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed, nats.ErrConnectionReconnecting,
		nats.ErrDisconnected, nats.ErrReconnectBufExceeded, jetstream.ErrNoStreamResponse, context.DeadlineExceeded, ErrStorage} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
