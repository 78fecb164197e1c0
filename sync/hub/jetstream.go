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

// storage is the hub's JetStream: an embedded server that listens nowhere.
type storage struct {
	// failed tells once that the server takes no more writes; down says so to whoever asks.
	failed   chan error
	down     atomic.Bool
	server   *server.Server
	conn     *nats.Conn
	js       jetstream.JetStream
	passages jetstream.Stream
	codes    jetstream.KeyValue
	codesLog jetstream.Stream
	registry jetstream.KeyValue
}

// openStorage starts the server on dir and makes the streams where they are missing.
func openStorage(ctx context.Context, dir string, log *slog.Logger) (*storage, error) {
	s := &storage{failed: make(chan error, 1)}
	if err := flush(dir); err != nil {
		return nil, fmt.Errorf("jetstream in %s: %w", dir, err)
	}
	opts := &server.Options{
		ServerName: "greengate-hub",
		DontListen: true,
		JetStream:  true,
		StoreDir:   dir,
		// An acknowledgement means "on disk". With the default of two minutes a
		// power cut took everything acknowledged in between (facts, Hub).
		SyncAlways:   true,
		SyncInterval: time.Minute,
		MaxPayload:   maxMessage,
		NoSigs:       true,
		// What one hub may hold is bounded by its disk, not by a guess of the server.
		JetStreamMaxStore:  1 << 50,
		JetStreamMaxMemory: 64 << 20,
	}
	var err error
	if s.server, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("jetstream in %s: %w", dir, err)
	}
	s.server.SetLoggerV2(serverLog{log, s}, false, false, false)
	s.server.Start()
	if !s.server.ReadyForConnections(30 * time.Second) {
		s.close()
		return nil, fmt.Errorf("jetstream in %s: not ready within 30 s", dir)
	}
	fail := func(what string, err error) (*storage, error) {
		s.close()
		return nil, fmt.Errorf("jetstream in %s: %s: %w", dir, what, err)
	}
	if s.conn, err = nats.Connect("", nats.InProcessServer(s.server), nats.MaxReconnects(-1), nats.Name("hub")); err != nil {
		return fail("connect", err)
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return fail("client", err)
	}
	// No age and no size bound: a device's last message holds its sequence and
	// must never expire. Refuse new ones rather than drop old ones.
	if s.passages, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: passagesStream, Subjects: []string{passagesPrefix + "*"}, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, DenyDelete: true, AllowDirect: true,
		MaxMsgSize: maxMessage, Compression: jetstream.NoCompression,
	}); err != nil {
		return fail("stream "+passagesStream, err)
	}
	if _, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: auditStream, Subjects: []string{auditSubject}, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardNew, DenyDelete: true, MaxMsgSize: 1 << 16,
	}); err != nil {
		return fail("stream "+auditStream, err)
	}
	if s.codes, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: codesBucket, History: 1, MaxValueSize: 1 << 12, Storage: jetstream.FileStorage,
	}); err != nil {
		return fail("bucket "+codesBucket, err)
	}
	if s.codesLog, err = s.js.Stream(ctx, "KV_"+codesBucket); err != nil {
		return fail("bucket "+codesBucket, err)
	}
	if s.registry, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: registryBucket, History: 5, MaxValueSize: maxRegistryValue, Storage: jetstream.FileStorage,
	}); err != nil {
		return fail("bucket "+registryBucket, err)
	}
	return s, nil
}

// close stops the connection and the server, and waits for it.
func (s *storage) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.server.Shutdown()
	s.server.WaitForShutdown()
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

// serverLog hands the embedded server's messages on.
type serverLog struct {
	log     *slog.Logger
	storage *storage
}

func (l serverLog) line(level slog.Level, format string, v []any) {
	text := fmt.Sprintf(format, v...)
	l.log.Log(context.Background(), level, "jetstream", "line", text)
	// After a write that failed the server leaves every later one without an
	// answer, and says why only here.
	if level >= slog.LevelWarn && slices.ContainsFunc(fatalWords, func(w string) bool { return strings.Contains(text, w) }) {
		l.storage.down.Store(true)
		select {
		case l.storage.failed <- errors.New(text):
		default:
		}
	}
}

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
