package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"greengate/gate"
)

// followed waits until the hub has read everything that is stored.
func followed(t testing.TB, h *Hub) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	f, err := h.Following(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.follow.wait(ctx, f.Last); err != nil {
		t.Fatal(err)
	}
}

// TestFollow: each stored batch is handed on once and in order, from where
// somebody began to listen to where he stopped.
func TestFollow(t *testing.T) {
	h, _ := newHub(t, quiet())
	url, _ := serve(t, h)
	north, south := addGate(t, h, "north"), addGate(t, h, "south")
	var heard []string
	listen := func() func() {
		return h.follow.listen(func(s stored) {
			heard = append(heard, fmt.Sprintf("%s %d-%d", s.batch.Gate, s.first, s.batch.Last()))
		})
	}
	post := func(g *testGate, first, last uint64) {
		t.Helper()
		if status, _, word := g.post(t, url, g.batch(t, first, last)); status != 200 {
			t.Fatalf("%d-%d: %d %s", first, last, status, word)
		}
	}
	north.pass(t, 6, gate.Valid)
	south.pass(t, 2, gate.RedCode)
	post(north, 1, 2)
	followed(t, h)
	stop := listen()
	post(north, 3, 4)
	post(south, 1, 2)
	post(north, 3, 4) // the answer was lost
	post(north, 4, 5)
	followed(t, h)
	stop()
	post(north, 6, 6)
	followed(t, h)
	want := []string{"north 3-4", "south 1-2", "north 5-5"}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
	f, err := h.Following(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.At != f.Last || f.Unread != 0 {
		t.Errorf("position %+v", f)
	}

	// One message that nobody can read does not keep the others out, now or at the next start.
	if _, err := h.store.js.Publish(t.Context(), passagesPrefix+"west", []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	south.pass(t, 1, gate.Valid)
	post(south, 3, 3)
	followed(t, h)
	if f, err = h.Following(t.Context()); err != nil || f.Unread != 1 || f.At != f.Last {
		t.Errorf("position %+v, %v", f, err)
	}
}

// copied is a hub's folder for another machine, with the modes that keys want.
func copied(t testing.TB, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestHubsSeeTheSame: what a gate tells one hub, another one on the same cluster
// knows, and it reads the same passages; also after the cluster was away.
func TestHubsSeeTheSame(t *testing.T) {
	c := newCluster(t, quiet())
	a := openHub(t, c.hub, c.on(quiet()))
	b := openHub(t, copied(t, c.hub), c.on(quiet()))
	g := addGate(t, a, "north")
	url, _ := serve(t, a)
	var acknowledged uint64
	post := func() error {
		status, n, word := g.post(t, url, g.batch(t, acknowledged+1, g.seq))
		if status != 200 {
			return fmt.Errorf("status %d %q", status, word)
		}
		acknowledged = n
		return nil
	}
	seen := func(h *Hub) func() error {
		return func() error {
			all, err := h.Gates(t.Context())
			if err != nil {
				return err
			}
			if s := all[0]; s.LastSequence != g.seq || s.Today.Admit != g.seq || s.LastContact.IsZero() || s.Condition == nil || s.Condition.Held != uint32(g.seq) {
				return fmt.Errorf("%+v, condition %+v, want %d passages", s, s.Condition, g.seq)
			}
			return nil
		}
	}
	for round := range 2 {
		for i := range c.nodes {
			if round > 0 {
				c.stop(i)
			}
		}
		for i := range c.nodes {
			if round > 0 {
				c.start(i)
			}
		}
		g.pass(t, 5, gate.Valid)
		g.says = fmt.Sprintf("lists=fresh age=1 held=%d clock=network policy=1 map=1", g.seq)
		eventually(t, "taken", post)
		eventually(t, "here", seen(a))
		eventually(t, "at the other hub", seen(b))
	}
}

// badContacts are almost what another hub tells.
var badContacts = []string{
	"", "{", "[]", `{"hub":"x","backlog":-1}`, `{"hub":"x","backlog":1,"more":1}`, `{"hub":"x","backlog":1}{}`,
	`{"hub":"x","backlog":1,"condition":"lists=rotten"}`,
	`{"hub":"` + strings.Repeat("x", maxContact) + `","backlog":1}`,
}

func TestBadContact(t *testing.T) {
	for _, text := range badContacts {
		if c, said, err := parseContact([]byte(text)); !errors.Is(err, errContact) || c != (contact{}) || said != nil {
			t.Errorf("%.60q: %+v %v %v", text, c, said, err)
		}
	}
	c, said, err := parseContact([]byte(`{"hub":"x","backlog":7,"condition":"lists=fresh age=60 held=12 clock=network policy=7 map=3"}`))
	if err != nil || c.Hub != "x" || c.Backlog != 7 || said == nil || said.Policy != 7 {
		t.Errorf("%+v %+v %v", c, said, err)
	}
}

// What another hub tells is bounded, and a condition in it is a gate's.
func FuzzContact(f *testing.F) {
	f.Add([]byte(`{"hub":"x","backlog":7,"condition":"lists=fresh age=60 held=12 clock=network policy=7 map=3"}`))
	for _, text := range badContacts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, said, err := parseContact(data)
		if err != nil {
			if !errors.Is(err, errContact) {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		if len(data) > maxContact || (said == nil) != (c.Condition == "") || said != nil && said.String() != c.Condition {
			t.Errorf("%q: %+v %+v", data, c, said)
		}
	})
}
