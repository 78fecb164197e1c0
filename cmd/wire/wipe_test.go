package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"greengate/gate"
	"greengate/gate/wipe"
	"greengate/sync/enrol"
	"greengate/sync/hub"
)

func (r *rig) state() string { return filepath.Join(r.dir, "gate") }

// left names what is in the gate's folder still.
func (r *rig) left() []string {
	r.t.Helper()
	var names []string
	err := filepath.WalkDir(r.state(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, r.state()+"/"))
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return names
}

// east is what the hub says of the gate.
func (r *rig) east() hub.GateStatus {
	r.t.Helper()
	gates, err := r.hub.Gates(r.t.Context())
	if err != nil || len(gates) != 1 {
		r.t.Fatalf("gates %+v, %v", gates, err)
	}
	return gates[0]
}

// wiped waits until the gate has ended, and wants it to have been wiped.
func (r *rig) wiped() {
	r.t.Helper()
	r.eventually("the gate is wiped", func() error {
		if left := r.left(); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
	if err := r.stop(); !errors.Is(err, ErrWiped) {
		r.t.Errorf("the gate ended with %v, want ErrWiped", err)
	}
}

// An operator has a gate wiped: it sends what it has, destroys all it holds,
// tells the hub, and is a device without an identity then. What it had sent is
// at the hub; enrolled anew, it is not wiped again.
func TestWipe(t *testing.T) {
	r := newRig(t)
	guards := filepath.Join(t.TempDir(), "guards.json")
	if err := os.WriteFile(guards, []byte(`{"guards":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r.config = fmt.Sprintf("guards = %q\n", guards) + r.config
	green := r.issue("green")
	r.publish()
	old, err := enrol.Load(filepath.Join(r.state(), "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	// Another's file must not be reached through the gate's folder.
	bystander := filepath.Join(t.TempDir(), "bystander")
	if err := os.WriteFile(bystander, []byte("not the gate's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(bystander, filepath.Join(r.state(), "link")); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.ready()
	r.scan(green)
	r.untilState(gate.Released)
	r.atHub()

	if err := r.hub.WipeGate(t.Context(), hub.WipeRequest{Gate: "east-1", By: "operator"}); err != nil {
		t.Fatal(err)
	}
	if s := r.east(); s.Wipe == nil || s.Wipe.By != "operator" || !s.Wipe.Done.IsZero() || s.Revoked {
		t.Errorf("ordered: %+v", s.Wipe)
	}
	// The passage's end is its next contact.
	if err := r.lane.Walk(t.Context(), gate.Entry); err != nil {
		t.Fatal(err)
	}
	r.wiped()
	if _, err := os.Lstat(guards); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("PINs: %v, want them gone", err)
	}
	if text, err := os.ReadFile(bystander); err != nil || string(text) != "not the gate's" {
		t.Errorf("another's file: %q, %v", text, err)
	}
	s := r.east()
	if s.Wipe == nil || s.Wipe.Done.IsZero() || s.Wipe.Unsent != 0 || !s.Revoked {
		t.Errorf("carried out: %+v, revoked %v", s.Wipe, s.Revoked)
	}
	before, err := r.hub.Verify(t.Context(), hub.GateRef{Gate: "east-1", By: "test"})
	if err != nil || !before.OK() || before.Records < 2 {
		t.Errorf("what it sent before: %+v, %v", before, err)
	}
	if status := r.contact(old); status != http.StatusForbidden {
		t.Errorf("a copy of its key: status %d, want 403", status)
	}
	if err := r.hub.WipeGate(t.Context(), hub.WipeRequest{Gate: "east-1", Cancel: true, By: "operator"}); !errors.Is(err, hub.ErrConflict) {
		t.Errorf("taken back too late: %v, want ErrConflict", err)
	}
	cfg, err := ParseConfig("gate.toml", []byte(r.config))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg, Hardware{}, Options{Log: slog.New(slog.NewTextHandler(r.log, nil)), Now: time.Now, Synchronised: func() bool { return true }}); !errors.Is(err, enrol.ErrNoIdentity) {
		t.Errorf("started again: %v, want ErrNoIdentity", err)
	}

	key, err := enrol.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	id, err := enrol.Enrol(t.Context(), r.invite(hub.InviteRequest{Gate: "east-1", Replace: true}), key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Save(filepath.Join(r.state(), "identity.json")); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.ready()
	r.scan(green)
	r.untilState(gate.Released)
	if s := r.east(); s.Wipe == nil || !s.Wipe.Former {
		t.Errorf("the new device: %+v, want an order for the former", s.Wipe)
	}
	// Its journal is empty, and its passages follow on those of the device before.
	if v := r.atHub(); !v.OK() || v.Records <= before.Records {
		t.Errorf("at the hub: %+v, want more than the %d records of before, in one history", v, before.Records)
	}
}

// A gate that was stolen, and is revoked too: its passages are not taken, the
// order is, and the hub learns how many went with it.
func TestWipeOfARevokedGate(t *testing.T) {
	r := newRig(t)
	green := r.issue("green")
	r.publish()
	r.start()
	r.ready()
	r.atHub()
	if err := r.hub.RevokeGate(t.Context(), hub.GateRef{Gate: "east-1", By: "test"}); err != nil {
		t.Fatal(err)
	}
	// A bare 403 wipes nothing, and passages go on.
	r.scan(green)
	r.untilState(gate.Released)
	r.eventually("the hub refuses", func() error {
		if s := r.gate.Status(); s.Upload.Stop != "forbidden" {
			return fmt.Errorf("upload %+v", s.Upload)
		}
		return nil
	})
	if left := r.left(); !slices.Contains(left, "identity.json") {
		t.Fatalf("a 403 wiped: left %v", left)
	}
	if err := r.hub.WipeGate(t.Context(), hub.WipeRequest{Gate: "east-1", By: "test"}); err != nil {
		t.Fatal(err)
	}
	// The next try is minutes away: the gate is started anew meanwhile.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wiped()
	if s := r.east(); s.Wipe == nil || s.Wipe.Done.IsZero() || s.Wipe.Unsent == 0 {
		t.Errorf("at the hub: %+v, want records lost", s.Wipe)
	}
}

// What is no order for this gate changes nothing: another gate's, another
// certificate's, one that somebody else signed, one from a drawer, one taken back.
func TestWhatDoesNotWipe(t *testing.T) {
	r := newRig(t)
	r.publish()
	// Given and taken back before the gate heard of it.
	for _, cancel := range []bool{false, true} {
		if err := r.hub.WipeGate(t.Context(), hub.WipeRequest{Gate: "east-1", Cancel: cancel, By: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.hub.WipeGate(t.Context(), hub.WipeRequest{Gate: "east-1", Cancel: true, By: "test"}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("taken back twice: %v, want ErrNotFound", err)
	}
	r.start()
	r.ready()
	r.atHub()
	der := r.gate.worn.pair.Load().Leaf.Raw
	mine := wipe.Order{Gate: "east-1", Certificate: sha256.Sum256(der), Issued: time.Now()}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := mine.Sign(stranger)
	if err != nil {
		t.Fatal(err)
	}
	own, err := mine.Sign(r.gate.worn.signer())
	if err != nil {
		t.Fatal(err)
	}
	for _, order := range [][]byte{nil, []byte("wipe"), forged, own} {
		r.gate.ordered(order)
	}
	// Orders that the hub signed, for others.
	caKey, err := os.ReadFile(filepath.Join(r.dir, "hub", "ca", "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	authority := parseKey(t, caKey)
	for _, o := range []wipe.Order{
		{Gate: "east-2", Certificate: mine.Certificate, Issued: time.Now()},
		{Gate: "east-1", Certificate: sha256.Sum256([]byte("the one before")), Issued: time.Now()},
		{Gate: "east-1", Certificate: mine.Certificate, Issued: time.Now().Add(-wipe.Life - time.Hour)},
	} {
		data, err := o.Sign(authority)
		if err != nil {
			t.Fatal(err)
		}
		r.gate.ordered(data)
	}
	if r.gate.toWipe.Load() {
		t.Fatal("an order that is for others was taken")
	}
	if n := strings.Count(r.log.String(), "an order to wipe is not obeyed"); n != 7 {
		t.Errorf("%d orders were refused, want 7", n)
	}
	if left := r.left(); r.gate.toWipe.Load() || !slices.Contains(left, "identity.json") || slices.Contains(left, orderFile) {
		t.Errorf("left: %v", left)
	}
	// And the one that is for it.
	data, err := mine.Sign(authority)
	if err != nil {
		t.Fatal(err)
	}
	r.gate.ordered(data)
	r.wiped()
}

// A wiping that is cut before any of its steps is gone on from, and nothing is
// opened before it is done.
func TestWipeGoesOnBehindACut(t *testing.T) {
	r := newRig(t)
	r.publish()
	r.start()
	r.ready()
	r.atHub()
	if err := r.hub.WipeGate(t.Context(), hub.WipeRequest{Gate: "east-1", By: "test"}); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	cfg, err := ParseConfig("gate.toml", []byte(r.config))
	if err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(filepath.Join(cfg.State, begunFile), []byte(`{"unsent":7}`)); err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for {
		seen := 0
		w := wiping{cfg: cfg, log: slog.New(slog.NewTextHandler(io.Discard, nil)), removing: func(string) error {
			if seen++; seen > 1 {
				return errCut
			}
			return nil
		}}
		if left := r.left(); len(left) <= 2 {
			break // the key and the wiping's own file
		}
		if err := w.carryOut(t.Context()); !errors.Is(err, errCut) {
			t.Fatalf("cut %d: %v", cuts, err)
		}
		cuts++
	}
	if cuts < 3 {
		t.Errorf("only %d cuts were made", cuts)
	}
	opt := Options{Log: slog.New(slog.NewTextHandler(r.log, nil)), Now: time.Now, Synchronised: func() bool { return true }}
	if _, err := Open(cfg, Hardware{}, opt); !errors.Is(err, ErrWiped) {
		t.Errorf("started behind the cuts: %v, want ErrWiped", err)
	}
	if left := r.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if s := r.east(); s.Wipe == nil || s.Wipe.Done.IsZero() || s.Wipe.Unsent != 7 {
		t.Errorf("at the hub: %+v, want 7 unsent", s.Wipe)
	}
	if _, err := Open(cfg, Hardware{}, opt); !errors.Is(err, enrol.ErrNoIdentity) {
		t.Errorf("started again: %v, want ErrNoIdentity", err)
	}
}

// A device whose wiping never came to its end, for a file that could not be
// removed, is enrolled anew: what was begun is not for the new identity.
func TestNewIdentityAfterAnUnfinishedWipe(t *testing.T) {
	r := newRig(t)
	r.publish()
	for name, text := range map[string]string{begunFile: `{"unsent":7,"certificate":"AAAA"}`, orderFile: "an order to another identity"} {
		if err := writeWhole(filepath.Join(r.state(), name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	r.ready()
	for _, name := range []string{begunFile, orderFile} {
		if left := r.left(); slices.Contains(left, name) || !slices.Contains(left, "identity.json") {
			t.Errorf("left %v", left)
		}
	}
}

// parseKey reads a PKCS #8 key in PEM.
func parseKey(t *testing.T, text []byte) crypto.Signer {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(crypto.Signer)
}
