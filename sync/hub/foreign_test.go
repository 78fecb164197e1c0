package hub

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"greengate/gate"
)

// heardLog is a log that tests read while it is written.
type heardLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *heardLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *heardLog) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

// refuses checks that an error is of a kind and names the next step.
func refuses(t *testing.T, what string, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
		return
	}
	_, hint, ok := strings.Cut(err.Error(), "\nhint: ")
	if !ok {
		t.Errorf("%s: no next step in %q", what, err)
	}
	for _, w := range words {
		if !strings.Contains(hint, w) {
			t.Errorf("%s: the next step is %q, want %q in it", what, hint, w)
		}
	}
}

// copyFile copies a file of a node's folder.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := copyPrivate(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestForeignCluster: two authorities, each with a hub. What one made opens
// nothing of the other, and whoever mixed them up reads what to do.
func TestForeignCluster(t *testing.T) {
	c := newCluster(t, quiet())
	ours := openHub(t, c.hub, c.on(quiet()))
	theirs := filepath.Join(t.TempDir(), "theirs")
	config := testConfig()
	config.Name, config.Cluster = "Another authority", true
	if err := Init(t.Context(), theirs, config, quiet()); err != nil {
		t.Fatal(err)
	}

	t.Run("hub", func(t *testing.T) {
		h, err := Open(t.Context(), theirs, c.on(quiet()))
		if err == nil {
			h.Close()
		}
		refuses(t, "a hub of another authority", err, ErrForeignCluster, "-nats", "gatehub node add")
		if errors.Is(err, ErrAway) {
			t.Errorf("it waited for what does not come: %v", err)
		}
		if !strings.Contains(err.Error(), `"Test authority gate authority"`) {
			t.Errorf("it does not say whose cluster that is: %v", err)
		}
	})

	t.Run("node", func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "n4")
		if err := AddNode(theirs, "n4", []string{"127.0.0.1"}, folder); err != nil {
			t.Fatal(err)
		}
		at := freePorts(t, 2)
		var log heardLog
		n, err := OpenNode(folder, "n4", NodeOptions{Listen: at[0], Cluster: at[1], Routes: c.cluster,
			Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		eventually(t, "the node says what is wrong", func() error {
			if !log.has("handshake error", "hint=", "gatehub node add") {
				return errors.New("not yet")
			}
			return nil
		})
		if got := n.server.NumRoutes(); got != 0 {
			t.Errorf("it has %d routes", got)
		}
		// The cluster is as it was, and takes passages.
		for i, m := range c.nodes {
			for _, p := range m.server.JetStreamClusterPeers() {
				if p == "n4" {
					t.Errorf("node %d has it as a peer", i)
				}
			}
		}
		g := addGate(t, ours, "north")
		gates, _ := serve(t, ours)
		g.pass(t, 3, gate.Valid)
		if status, n, word := g.post(t, gates, g.batch(t, 1, 3)); status != http.StatusOK || n != 3 {
			t.Errorf("beside it: %d, acknowledged %d, %q", status, n, word)
		}
	})

	t.Run("mixed folder", func(t *testing.T) {
		open := func(folder string) error {
			n, err := OpenNode(folder, "n5", NodeOptions{Listen: "127.0.0.1:1", Cluster: "127.0.0.1:2", Routes: c.cluster})
			if err == nil {
				n.Close()
			}
			return err
		}
		mine := nodePaths{c.folder(0)}
		for what, mix := range map[string]func(nodePaths){
			"our authority":   func(p nodePaths) { copyFile(t, mine.ca(), p.ca()) },
			"our certificate": func(p nodePaths) { copyFile(t, mine.cert(), p.cert()) },
			"our key":         func(p nodePaths) { copyFile(t, mine.key(), p.key()) },
			"a hub's certificate": func(p nodePaths) {
				copyFile(t, filepath.Join(paths{c.hub}.ca(), "server.pem"), p.cert())
				copyFile(t, filepath.Join(paths{c.hub}.ca(), "server.key"), p.key())
				copyFile(t, mine.ca(), p.ca())
			},
		} {
			folder := filepath.Join(t.TempDir(), "n5")
			if err := AddNode(theirs, "n5", []string{"127.0.0.1"}, folder); err != nil {
				t.Fatal(err)
			}
			mix(nodePaths{folder})
			refuses(t, "a node with "+what, open(folder), ErrInvalid, "gatehub node add")
		}
	})

	t.Run("join", func(t *testing.T) {
		second := filepath.Join(t.TempDir(), "second")
		if err := Join(t.Context(), c.hub, second); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(filepath.Join(second, "ca", "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, "a hub joined to another", Join(t.Context(), theirs, second), ErrExists, "empty folder")
		if after, err := os.ReadFile(filepath.Join(second, "ca", "ca.pem")); err != nil || !bytes.Equal(before, after) {
			t.Errorf("the folder was changed: %v", err)
		}
	})

	t.Run("gate", func(t *testing.T) {
		other, _ := newHub(t, quiet())
		url, _ := serve(t, other)
		invited, err := ours.InviteGate(t.Context(), InviteRequest{Gate: "east", By: "anna"})
		if err != nil {
			t.Fatal(err)
		}
		stranger := addGate(t, other, "east")
		if _, status, text, err := askCertificate(stranger.client, url, invited.Secret, newKey(t)); err != nil || status != http.StatusForbidden || !strings.Contains(text, "unknown") {
			t.Errorf("a token of another hub: %d %s %v", status, text, err)
		}
		// The same name, and a certificate of the other authority.
		mine := addGate(t, ours, "west")
		mine.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = stranger.tls().RootCAs
		mine.pass(t, 1, gate.Valid)
		resp, err := mine.client.Post(url+"/v1/passages", "", bytes.NewReader(mine.batch(t, 1, 1)))
		if err == nil {
			resp.Body.Close()
			t.Errorf("a gate of another hub was answered %d", resp.StatusCode)
		}
	})
}

// strangersCredentials are of a user whom no server here has. The seed is of no use to anybody.
const strangersCredentials = `-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.AAAA
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
SUAP27R2ZQDE44HN3QHTZ47NJQTG77PIWWNVJ5MPFMEJD2L4M4VCQD7FVU
------END USER NKEY SEED------
`

// TestForeignCredentials: a cluster of somebody else that does not take the
// hub's credentials is not waited for.
func TestForeignCredentials(t *testing.T) {
	dir, p := hubWithNode(t, "node")
	pair, err := tls.LoadX509KeyPair(p.cert(), p.key())
	if err != nil {
		t.Fatal(err)
	}
	opts := nodeOptions("node", p.jetstream())
	opts.Host, opts.Port = "127.0.0.1", server.RANDOM_PORT
	opts.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	opts.Users = []*server.User{{Username: "somebody", Password: "else"}}
	opts.AlwaysEnableNonce = true
	address := serveNATS(t, opts)
	creds := filepath.Join(t.TempDir(), "hub.creds")
	if err := os.WriteFile(creds, []byte(strangersCredentials), 0o600); err != nil {
		t.Fatal(err)
	}
	o := quiet()
	o.Cluster = Cluster{URLs: []string{address}, Replicas: 1, Credentials: creds, SystemCredentials: creds, CA: p.ca()}
	open := func() error {
		h, err := Open(t.Context(), dir, o)
		if err == nil {
			h.Close()
		}
		return err
	}
	refuses(t, "credentials of another cluster", open(), ErrForeignCluster, "-nats-creds")
	// The same with an authority that did not make the cluster's certificate.
	other, _ := hubWithNode(t, "other")
	o.Cluster.CA = filepath.Join(paths{other}.ca(), "ca.pem")
	refuses(t, "the authority of another cluster", open(), ErrForeignCluster, "-nats-ca")
	if err := os.WriteFile(creds, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Cluster.CA = p.ca()
	refuses(t, "a credentials file with nothing in it", open(), ErrInvalid, "-nats-creds")
}
