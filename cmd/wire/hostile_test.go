package wire

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/statuslist"
	"greengate/store"
	"greengate/sync/hub/publisher"
	"greengate/sync/trust"
	"greengate/sync/trust/trusttest"
)

// A few hostile repositories in passing; the benchmark tries a thousand.
func TestHostileRepositories(t *testing.T) {
	s := newSiege(t)
	for seed := range uint64(40) {
		if wrong := s.try(t, seed); wrong != nil {
			t.Error(wrong)
		}
	}
}

// BenchmarkHostile tries a thousand hostile repositories on the store's real
// file, one in four of them over real TLS. Run it with -benchtime 1x.
func BenchmarkHostile(b *testing.B) {
	for b.Loop() {
		s := newSiege(b)
		tried, accepted := 0, 0
		for seed := range uint64(1000) {
			tried++
			if wrong := s.try(b, seed); wrong != nil {
				accepted++
				b.Error(wrong)
			}
		}
		b.ReportMetric(float64(tried), "tried")
		b.ReportMetric(float64(accepted), "accepted")
	}
}

// siege is a gate's store between hostile repositories, which are made from
// what the real publisher wrote.
type siege struct {
	dir  string
	root []byte
	// now is the time of the attack, later that of the next good update.
	now, later time.Time

	older, held, current, next, recovered generation
	// files are all that the authority ever signed or published.
	files map[string]bool
	// colours of each honest generation of a list.
	colours map[statuslist.Info]gate.Status
	// file is the store's, with all of held in it.
	file []byte
}

// generation is one publish, with the lists that are current in it.
type generation struct {
	trusttest.Repository
	lists map[string]statuslist.Info
}

const siegeRun = 8 << 20

var siegeLists = []string{"https://h.example/3301/0", "https://h.example/3302/0", "https://h.example/4401/0"}

func newSiege(tb testing.TB) *siege {
	tb.Helper()
	s := &siege{dir: tb.TempDir(), now: time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC), files: map[string]bool{},
		colours: map[statuslist.Info]gate.Status{}}
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	keys, repo := filepath.Join(s.dir, "keys"), filepath.Join(s.dir, "repo")
	p, err := publisher.Init(keys, repo, publisher.Options{Provinces: []string{"33", "44"}, Now: func() time.Time { return s.now }})
	must(err)
	s.root, err = p.Root()
	must(err)

	lists := map[string]statuslist.Info{}
	publish := func(version uint64, colours ...byte) generation {
		tb.Helper()
		s.now = s.now.Add(20 * time.Second)
		c := publisher.Contents{Issued: s.now}
		if version > 0 {
			public := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(version)}, ed25519.SeedSize)).Public()
			c.Keys = []pass.Key{{ID: []byte("k1"), Algorithm: pass.EdDSA, Public: public, Use: pass.UseCode, Region: "33",
				NotBefore: s.now, NotAfter: s.now.AddDate(1, 0, 0)}}
			c.Policy = gate.DefaultPolicy()
			c.Policy.Version = version
			c.Map = gate.RiskMap{Version: version, Day: "2020-02-17", Counties: map[string]gate.RiskLevel{"330106": gate.RiskLow}}
		}
		for i, colour := range colours {
			c.Lists = append(c.Lists, publisher.List{Info: statuslist.Info{URI: siegeLists[i], Bits: 2}, Raw: bytes.Repeat([]byte{colour * 0x55}, 4096)})
		}
		v, err := p.Publish(context.Background(), c)
		must(err)
		for _, info := range v.Lists {
			i := slices.Index(siegeLists, info.URI)
			lists[info.URI] = info
			s.colours[info] = []gate.Status{gate.Green, gate.Green, gate.Yellow, gate.Red}[colours[i]]
		}
		g := generation{Repository: trusttest.Repository{Files: map[string][]byte{}, Keys: map[string][]trusttest.Key{}},
			lists: map[string]statuslist.Info{}}
		for uri, info := range lists {
			g.lists[uri] = info
		}
		must(fs.WalkDir(os.DirFS(repo), ".", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasPrefix(path, "metadata/") && !strings.HasPrefix(path, "targets/") {
				return err
			}
			g.Files[path], err = os.ReadFile(filepath.Join(repo, path))
			s.files[string(g.Files[path])] = true
			return err
		}))
		must(readKeys(keys, g.Keys))
		return g
	}
	s.older = publish(1, 0, 0, 0)
	s.held = publish(0, 2, 0, 0)
	must(s.fill())
	s.current = publish(2, 3, 0, 2)
	now := s.now
	s.next = publish(0, 3, 3, 2)
	// After a theft the authority gives every online role new keys.
	s.now = s.now.Add(15 * time.Minute)
	for _, role := range []string{"timestamp", "snapshot", "status-33", "status-44"} {
		_, err := p.Rotate(context.Background(), role)
		must(err)
	}
	s.recovered = publish(0, 3, 2, 3)
	s.now, s.later = now, s.now
	return s
}

var keyFile = regexp.MustCompile(`/([a-z][a-z0-9-]*?)-[0-9]+\.pem$`)

// readKeys reads the publisher's private keys, offline ones too.
func readKeys(dir string, keys map[string][]trusttest.Key) error {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.pem"))
	if err != nil || len(files) == 0 {
		return errors.Join(errors.New("no keys"), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name := keyFile.FindStringSubmatch(filepath.ToSlash(file))
		block, _ := pem.Decode(data)
		if name == nil || block == nil {
			return fmt.Errorf("%s is no key", file)
		}
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return err
		}
		keys[name[1]] = append(keys[name[1]], trusttest.NewKey(private.(ed25519.PrivateKey)))
	}
	return nil
}

// poll runs the client once on the store against this server.
func (s *siege) poll(db *store.DB, server http.Handler, secure bool, at time.Time) (report trust.Report, err error) {
	discard := slog.New(slog.DiscardHandler)
	client := &http.Client{Transport: &trusttest.Transport{Handler: server}}
	url := "https://h.example/lists"
	if secure {
		web := httptest.NewUnstartedServer(server)
		web.Config.ErrorLog = log.New(io.Discard, "", 0) // it hears of each connection that is broken off
		web.StartTLS()
		defer web.Close()
		client, url = web.Client(), web.URL+"/lists"
	}
	fetcher, err := trust.NewHTTPS(url, client)
	if err != nil {
		return report, err
	}
	clock := gate.NewWallClock(func() time.Time { return at }, func() bool { return true }, discard)
	clock.Floor(db.Floor())
	c, err := trust.New(trust.Config{Root: s.root, Fetcher: fetcher, Store: trusted{db, clock.Floor}, Clock: clock,
		Regions: []string{"33", "44"}, Limits: trust.Limits{Run: siegeRun}, Log: discard})
	if err != nil {
		return report, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	report, err = c.Once(ctx)
	if ctx.Err() != nil {
		err = errors.Join(errHangs, err)
	}
	return report, err
}

var errHangs = errors.New("the run does not end")

// fill makes the store's file, with all of held in it.
func (s *siege) fill() error {
	path := filepath.Join(s.dir, "held.db")
	db, err := store.Open(path, store.Options{})
	if err != nil {
		return err
	}
	_, err = s.poll(db, s.held, false, s.now)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	s.file, err = os.ReadFile(path)
	return err
}

// try holds a gate's store against one hostile repository, opens it anew and
// lets the next good update in. It returns what went wrong.
func (s *siege) try(tb testing.TB, seed uint64) (wrong error) {
	tb.Helper()
	hostile := trusttest.New(seed, s.older.Repository, s.held.Repository, s.current.Repository)
	fail := func(format string, args ...any) {
		wrong = errors.Join(wrong, fmt.Errorf(hostile.Name+": "+format, args...))
	}
	path := filepath.Join(s.dir, "gate.db")
	if err := os.WriteFile(path, s.file, 0o600); err != nil {
		tb.Fatal(err)
	}
	open := func() *store.DB {
		db, err := store.Open(path, store.Options{})
		if err != nil {
			tb.Fatal(err)
		}
		if db.SetAside() != "" {
			fail("the store was set aside")
		}
		return db
	}
	db := open()
	report, err := s.poll(db, hostile, seed%4 == 0, s.now)
	if errors.Is(err, errHangs) {
		fail("%w", err)
	}
	if report.Fetched > siegeRun {
		fail("%d bytes fetched", report.Fetched)
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	// As after a power cut: what was taken is on the disk.
	db = open()
	defer func() {
		if err := db.Close(); err != nil {
			tb.Fatal(err)
		}
	}()
	stolen := func(role string) bool { return slices.Contains(hostile.Stolen, role) }
	province := func(uri string) string { return "status-" + uri[strings.LastIndexByte(uri, '/')-4:][:2] }
	held := map[string]bool{}
	for _, info := range db.Lists() {
		held[info.URI] = true
		if stolen(province(info.URI)) {
			continue
		}
		want, ok := s.colours[info]
		got := db.Lookup(pass.StatusRef{URI: info.URI, Index: 4711})
		if !ok || got.Status != want || info.Sequence < s.held.lists[info.URI].Sequence {
			fail("list %s is held as nobody signed it: %+v, answers %+v", info.URI, info, got)
		}
	}
	for _, uri := range siegeLists {
		if !held[uri] && !stolen(province(uri)) {
			fail("list %s is lost", uri)
		}
	}
	for role := range s.current.Keys {
		if raw := db.Metadata(role); len(raw) > 0 && !stolen(role) && !s.files[string(raw)] {
			fail("metadata of %s is held as nobody signed it: %s", role, raw)
		}
	}
	if p, m, k := db.Policy().Version, db.MapVersion(), db.KeyVersion(); p < 1 || p > 2 || (m < 1 || m > 2) && !stolen("map") || k < 1 || k > 3 {
		fail("policy %d, map %d, keys %d", p, m, k)
	}
	if db.Floor().After(s.now.Add(10 * time.Minute)) {
		fail("floor at %s, it is %s", db.Floor(), s.now)
	}

	good := s.next
	if len(hostile.Stolen) > 0 {
		good = s.recovered
	}
	if _, err := s.poll(db, good, seed%16 == 0, s.later); err != nil {
		fail("then the next good update: %w", err)
	}
	for _, info := range db.Lists() {
		got := db.Lookup(pass.StatusRef{URI: info.URI, Index: 4711})
		if info != good.lists[info.URI] || got.Status != s.colours[info] || !got.Found {
			fail("then list %s is %+v, answers %+v, want %+v", info.URI, info, got, good.lists[info.URI])
		}
	}
	if n := len(db.Lists()); n != len(siegeLists) || db.Policy().Version != 2 || db.MapVersion() != 2 {
		fail("then %d lists, policy %d, map %d", n, db.Policy().Version, db.MapVersion())
	}
	return wrong
}
