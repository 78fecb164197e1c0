package main

import (
	"errors"
	"io"
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
	"greengate/pass/statuslist"
	"greengate/store"
	"greengate/sync/hub"
	"greengate/sync/hub/publisher"
	"greengate/sync/trust"
)

// follower is the part of a gate that follows the signed lists: the real client
// on a real store, from a web server that knows nothing but files.
type follower struct {
	t      *testing.T
	db     *store.DB
	client *trust.Client
}

// follow serves the folder over TLS and starts a gate on it, with a store of its own or one that is there.
func follow(t *testing.T, folder string, root []byte, db *store.DB, regions ...string) *follower {
	t.Helper()
	server := httptest.NewTLSServer(http.FileServer(http.Dir(folder)))
	t.Cleanup(server.Close)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if db == nil {
		var err error
		if db, err = store.Open(filepath.Join(t.TempDir(), "lists.db"), store.Options{Log: log}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	fetcher, err := trust.NewHTTPS(server.URL, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	client, err := trust.New(trust.Config{Root: root, Fetcher: fetcher, Store: trustStore{db}, Regions: regions, Log: log,
		Clock: gate.NewWallClock(time.Now, func() bool { return true }, log)})
	if err != nil {
		t.Fatal(err)
	}
	return &follower{t, db, client}
}

// trustStore is the store as the lists' client sees it.
type trustStore struct{ *store.DB }

func (s trustStore) Install(f func(trust.Tx) error) error {
	return s.DB.Install(func(tx *store.Tx) error { return f(tx) })
}

// colour polls once and says what the gate makes of the code.
func (f *follower) colour(ref hub.Ref) gate.Status {
	f.t.Helper()
	if _, err := f.client.Once(f.t.Context()); err != nil {
		f.t.Fatalf("poll: %v", err)
	}
	return f.db.Lookup(ref.StatusRef()).Status
}

func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestKeysOnAStick: the offline keys leave, colours go on, what needs them is
// refused with the next step, the stick comes back for minutes at a time, the
// hub serves all the while, and gates follow a folder of plain files.
func TestKeysOnAStick(t *testing.T) {
	h := serveHub(t)
	tuf := filepath.Join(h.dir, "keys", "tuf")
	out := filepath.Join(t.TempDir(), "www")
	root, err := os.ReadFile(filepath.Join(h.dir, "lists", "metadata", "1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := decode[hub.Declaration](t, h.must("declare", "-name", "王建明", "-region", "330106"))
	h.must("review", "-colour", "green", d.ID)
	code := decode[hub.Issued](t, h.must("issue", d.ID)).Status
	ref := code.URI + "#" + decodeIndex(hub.Issued{Status: code})
	h.must("publish", "-out", out)
	g := follow(t, out, root, nil, "33")
	if got := g.colour(code); got != gate.Green {
		t.Fatalf("at the gate the code is %s", got)
	}
	if text := h.must("keys", "list"); !strings.Contains(text, "root: offline, 2 of 3 keys must sign, 3 at hand") || !strings.Contains(text, "take away") || !strings.Contains(text, filepath.Join(tuf, "offline", "root-1.pem")) {
		t.Errorf("keys list on the first day:\n%s", text)
	}

	// The keys go onto a stick, and the stick into a safe.
	stick := filepath.Join(t.TempDir(), "stick")
	if err := os.Rename(filepath.Join(tuf, "offline"), stick); err != nil {
		t.Fatal(err)
	}
	text := h.must("keys", "list")
	for _, want := range []string{
		"root: offline, 2 of 3 keys must sign, 0 at hand", "absent", "status-33: online, 1 of 1 keys must sign, 1 at hand", filepath.Join(tuf, "online", "status-33-1.pem"),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("keys list without the stick has no %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "take away") {
		t.Errorf("nothing is there to take away:\n%s", text)
	}
	h.must("recolour", ref, "yellow")
	h.must("publish", "-out", out)
	if got := g.colour(code); got != gate.Yellow {
		t.Errorf("recoloured without the stick, the code is %s at the gate", got)
	}

	// A thief copies the hub's online keys and lists.
	loot := copyFolder(t, h.dir+"/lists")
	lootKeys := filepath.Join(t.TempDir(), "keys")
	if err := os.CopyFS(filepath.Join(lootKeys, "online"), os.DirFS(filepath.Join(tuf, "online"))); err != nil {
		t.Fatal(err)
	}

	for _, words := range [][]string{{"keys", "rotate", "status-33"}, {"keys", "rotate", "root"}, {"keys", "renew"}, {"province", "add", "44"}} {
		_, _, err := h.try(words...)
		if !errors.Is(err, publisher.ErrOfflineKeys) || !strings.Contains(err.Error(), "gatehub "+strings.Join(words, " ")+" -offline") {
			t.Errorf("%v without the stick: %v, want the next step", words, err)
		}
	}
	if _, _, err := h.try("keys", "rotate", "-offline", filepath.Join(stick, "none"), "status-33"); err == nil || !strings.Contains(err.Error(), "stick") {
		t.Errorf("a stick that is not there: %v", err)
	}
	if _, _, err := h.try("keys", "rotate", "-offline", t.TempDir(), "status-33"); !errors.Is(err, publisher.ErrOfflineKeys) || !strings.Contains(err.Error(), "keys list") {
		t.Errorf("an empty stick: %v", err)
	}
	if _, _, err := h.try("keys", "rotate", "-offline", stick, "status-99"); err == nil || !strings.Contains(err.Error(), "keys list") {
		t.Errorf("a role that is not there: %v", err)
	}

	// With the stick the stolen role gets a new key.
	said := h.must("keys", "rotate", "status-33", "-offline", stick)
	for _, want := range []string{
		"new key: " + filepath.Join(tuf, "online", "status-33-2.pem"),
		"worth nothing any more, destroy it: " + filepath.Join(tuf, "online", "retired", "status-33-1.pem"),
		"take away from this machine again:\n", filepath.Join(stick, "targets-1.pem"),
	} {
		if !strings.Contains(said, want) {
			t.Errorf("rotate says no %q:\n%s", want, said)
		}
	}
	if _, err := os.Stat(filepath.Join(tuf, "offline")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("offline keys came onto the hub's disk: %v", err)
	}
	// The hub that ran all the while signs with it, and the gate follows.
	h.must("recolour", ref, "red")
	h.must("publish", "-out", out)
	if got := g.colour(code); got != gate.Red {
		t.Errorf("after the rotation the code is %s at the gate", got)
	}

	// The thief recolours with the old keys, as often as it takes to be ahead.
	thief, err := publisher.Open(lootKeys, loot, publisher.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		l := publisher.List{Info: statuslist.Info{URI: code.URI, Bits: 2}, Raw: make([]byte, 1<<18)}
		if _, err := thief.Publish(t.Context(), publisher.Contents{Issued: time.Now(), Lists: []publisher.List{l}}); err != nil {
			t.Fatal(err)
		}
	}
	led := follow(t, loot, root, g.db, "33")
	if _, err := led.client.Once(t.Context()); err == nil {
		t.Error("the gate took what the old key signed")
	}
	if got := g.db.Lookup(code.StatusRef()).Status; got != gate.Red {
		t.Errorf("the thief made the code %s", got)
	}
	if got := g.colour(code); got != gate.Red {
		t.Errorf("after the thief the code is %s", got)
	}

	// The rest of the year: the policy, root's own keys, another life.
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"fever_at_millicelsius":37500}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must("policy", "set", policy)
	if p := decode[hub.Published](t, h.must("publish", "-out", out)); !strings.Contains(p.Waiting, "offline keys") {
		t.Errorf("a policy without the stick: %+v", p)
	}
	if p := decode[hub.Published](t, h.must("publish", "-offline", stick, "-out", out)); p.Waiting != "" {
		t.Errorf("a policy with the stick waits: %s", p.Waiting)
	}
	h.must("keys", "rotate", "-offline", stick, "root")
	h.must("keys", "rotate", "-offline", stick, "timestamp")
	h.must("keys", "renew", "-offline", stick)
	h.must("publish", "-out", out)
	if got := g.colour(code); got != gate.Red || g.db.Policy().FeverAt != 37500 {
		t.Errorf("after a year of rotations the code is %s, fever from %s", got, g.db.Policy().FeverAt)
	}

	// A province more, without a restart.
	if _, _, err := h.try("declare", "-name", "李雷", "-region", "440106"); err == nil {
		t.Error("a province that the hub does not issue for")
	}
	h.must("province", "add", "-offline", stick, "44")
	h.must("province", "add", "-offline", stick, "44")
	d = decode[hub.Declaration](t, h.must("declare", "-name", "李雷", "-region", "440106"))
	h.must("review", "-colour", "yellow", d.ID)
	far := decode[hub.Issued](t, h.must("issue", d.ID)).Status
	if p := decode[hub.Published](t, h.must("publish", "-out", out)); p.Waiting != "" {
		t.Errorf("the new province's key waits: %s", p.Waiting)
	}
	if got := follow(t, out, root, g.db, "33", "44").colour(far); got != gate.Yellow {
		t.Errorf("a code of the new province is %s at the gate", got)
	}
	if roles := decode[[]publisher.RoleStatus](t, h.must("keys", "list", "-json", "-offline", stick)); !slices.ContainsFunc(roles, func(r publisher.RoleStatus) bool {
		return r.Role == "status-44" && r.AtHand() == 1
	}) {
		t.Errorf("keys list: %+v", roles)
	}
	config, err := os.ReadFile(filepath.Join(h.dir, "hub.json"))
	if err != nil || !regexp.MustCompile(`"33",\s*"44"`).Match(config) {
		t.Errorf("hub.json: %s %v", config, err)
	}
}
