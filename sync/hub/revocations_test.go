package hub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/gate"
	"greengate/pass/hashlist"
)

const (
	berlin   = "DEsVUSvpFAE=" // an EU kid
	berlinID = "0c4b15512be91401"
	ontario  = "3Kfdg-XwP-7gXyywtUfUADwBumDOPKMQx-iELL11W9s" // an SHC kid
)

// hashLines writes n hashes, one a line.
func hashLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%x\n", hashlist.EUUCI(fmt.Sprint(i)))
	}
	return b.String()
}

func cards(counter int, rids ...string) string {
	for i, r := range rids {
		rids[i] = `"` + r + `"`
	}
	return fmt.Sprintf(`{"kid":%q,"method":"rid","ctr":%d,"rids":[%s]}`, ontario, counter, strings.Join(rids, ","))
}

// revoker sets lists over the hub's socket.
type revoker struct {
	*testing.T
	*Client
}

func newRevoker(t *testing.T, dir string) revoker {
	c := NewClient(dir)
	t.Cleanup(c.Close)
	return revoker{t, c}
}

func (r revoker) set(scheme, kid, text string) error {
	_, err := r.SetRevocation(r.Context(), RevocationRequest{Scheme: scheme, KID: kid, By: "op"}, strings.NewReader(text))
	return err
}

func (r revoker) must(scheme, kid, text string) {
	r.Helper()
	if err := r.set(scheme, kid, text); err != nil {
		r.Fatal(err)
	}
}

func (r revoker) publish() Published {
	r.Helper()
	p, err := r.Publish(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return p
}

// want compares the list of lists, one a line: scheme, parts, entries, and what waits.
func (r revoker) want(lines ...string) {
	r.Helper()
	all, err := r.Revocations(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	wantLists(r.T, all, lines)
}

func wantLists(t *testing.T, all []RevocationStatus, lines []string) {
	t.Helper()
	var got []string
	for _, s := range all {
		line := fmt.Sprintf("%s %d %d", s.Scheme, s.Parts, s.Entries)
		if s.Pending != "" {
			line += fmt.Sprintf(" %s %d", s.Pending, s.PendingEntries)
		}
		got = append(got, line)
	}
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		t.Errorf("lists are %q, want %q", got, lines)
	}
}

func TestRevocationsRefused(t *testing.T) {
	h, dir := newHub(t, quiet())
	serve(t, h)
	r := newRevoker(t, dir)
	good := hashLines(1)
	for _, c := range []struct{ scheme, kid, text, says string }{
		{"eu", berlin, good + "zz" + good, "line 2"},
		{"eu", berlin, good + strings.Repeat("0", 64), "line 2"},
		{"eu", berlin, "", "-empty"},
		// The answer comes also where it is clear long before the end.
		{"eu", berlin, "\n" + hashLines(200_000), "line 1"},
		{"eu", ontario, good, "kid"},
		{"eu", "", good, "kid"},
		{"nz", berlin, good, "scheme"},
		{"shc", ontario, good, ".well-known/crl/" + ontario},
		{"shc", ontario, cards(1, "ok", "not ok"), "number 2"},
		{"shc", ontario, cards(0), "ctr"},
		{"shc", berlinID, cards(1), "is the list of key " + ontario},
	} {
		if err := r.set(c.scheme, c.kid, c.text); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s %.40q: %v, want %q", c.scheme, c.kid, c.text, err, c.says)
		}
	}
	if _, err := r.SetRevocation(t.Context(), RevocationRequest{Scheme: "eu", KID: berlin}, strings.NewReader(good)); !errors.Is(err, ErrInvalid) {
		t.Errorf("set by nobody: %v", err)
	}
	if _, err := r.DropRevocation(t.Context(), RevocationRequest{Scheme: "eu", KID: berlin, By: "op"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing to drop: %v", err)
	}
	// Cut between two lines: what came looks whole, and is not.
	c, err := net.Dial("unix", h.paths.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/revocation-set?scheme=eu&kid=%s&by=op HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000\r\n\r\n%s", berlinID, good)
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !bytes.Contains(answer, []byte("cut off")) {
		t.Errorf("cut: %q %v", answer, err)
	}
	// Queries that no client of ours makes.
	socket := r.http
	for _, q := range []string{"scheme=eu&scheme=shc&kid=" + berlinID + "&by=op", "scheme=eu&kid=" + berlinID + "&by=op&colour=red", "%zz"} {
		resp, err := socket.Post("http://hub/v1/revocation-set?"+q, "application/octet-stream", strings.NewReader(good))
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s %v", q, resp.Status, err)
		}
	}
	r.want()
	if files, err := os.ReadDir(h.paths.revocation()); err != nil || len(files) != 0 {
		t.Errorf("left behind: %v %v", files, err)
	}
}

// TestRevocationsWait: what was set waits on the disk, the last word counts,
// and what was published does not wait any more.
func TestRevocationsWait(t *testing.T) {
	var c clock
	o := quiet()
	o.Now = c.now
	h, dir := newHub(t, o)
	restart := func() {
		t.Helper()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = openHub(t, dir, o)
	}
	set := func(scheme, kid, text string) error {
		_, err := h.SetRevocation(t.Context(), RevocationRequest{Scheme: scheme, KID: kid, Empty: true, By: "op"}, strings.NewReader(text))
		return err
	}
	want := func(lines ...string) []RevocationStatus {
		t.Helper()
		all, err := h.Revocations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantLists(t, all, lines)
		return all
	}
	publish := func(written ...string) {
		t.Helper()
		p, err := h.Publish(t.Context())
		if err != nil || p.RevocationsFailed != "" || strings.Join(p.Revocations, " ") != strings.Join(written, " ") {
			t.Fatalf("%+v %v, want %q", p, err, written)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	must(set("eu", berlin, hashLines(9)))
	must(set("eu", berlinID, hashLines(3)))
	must(set("shc", ontario, cards(5, "revoked-1.1600000000")))
	want("eu 0 0 set 3", "shc 0 0 set 1")
	// A write that was cut leaves a file that counts for nothing.
	must(os.WriteFile(filepath.Join(h.paths.revocation(), ".new-1"), []byte("GHL1"), 0o600))
	restart()
	want("eu 0 0 set 3", "shc 0 0 set 1")
	publish("eu/"+berlinID+"/all", "shc/dca7dd83e5f03feee05f2cb0b547d4003c01ba60ce3ca310c7e8842cbd755bdb/all")
	all := want("eu 1 3", "shc 1 1")
	if all[0].KID != berlin || all[1].KID != ontario || all[0].Sequence == 0 || !all[0].Expires.After(c.now()) {
		t.Errorf("%+v", all)
	}
	restart()
	want("eu 1 3", "shc 1 1")
	publish()
	if files, err := os.ReadDir(h.paths.revocation()); err != nil || len(files) != 0 {
		t.Errorf("left behind: %v %v", files, err)
	}

	// An issuer's older file, from a cache, is not taken; the same one is.
	if err := set("shc", ontario, cards(4)); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "ctr 4") {
		t.Errorf("an older list: %v", err)
	}
	must(set("shc", ontario, cards(5, "revoked-1.1600000000")))
	publish()
	must(set("eu", berlin, ""))
	must(set("shc", ontario, cards(6)))
	publish("eu/"+berlinID+"/all", "shc/dca7dd83e5f03feee05f2cb0b547d4003c01ba60ce3ca310c7e8842cbd755bdb/all")
	all = want("eu 1 0", "shc 1 0")

	// Nobody sets anything, and they do not end: each is signed again in passing.
	c.advance(16 * 24 * time.Hour)
	publish("eu/"+berlinID+"/all", "shc/dca7dd83e5f03feee05f2cb0b547d4003c01ba60ce3ca310c7e8842cbd755bdb/all")
	if again := want("eu 1 0", "shc 1 0"); !again[0].Expires.After(all[0].Expires.Add(15 * 24 * time.Hour)) {
		t.Errorf("renewed until %s, was %s", again[0].Expires, all[0].Expires)
	}

	for _, q := range []RevocationRequest{{Scheme: "eu", KID: berlin, By: "op"}, {Scheme: "shc", KID: ontario, By: "op"}} {
		if _, err := h.DropRevocation(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	want("eu 1 0 drop 0", "shc 1 0 drop 0")
	restart()
	want("eu 1 0 drop 0", "shc 1 0 drop 0")
	publish()
	want()
	must(set("shc", ontario, cards(1)))
	want("shc 0 0 set 0")
	if set, drop := auditCount(t, h, "revocation-set"), auditCount(t, h, "revocation-drop"); set != 7 || drop != 2 {
		t.Errorf("audited: %d set, %d dropped", set, drop)
	}
}

// TestColoursGoBeforeRevocations: whatever is wrong with revocation lists, a
// recolour is published, and what is wrong is said until it is mended.
func TestColoursGoBeforeRevocations(t *testing.T) {
	h, dir := newHub(t, quiet())
	serve(t, h)
	r := newRevoker(t, dir)
	_, code := issueOne(t, h, "green", "static", nil)
	r.publish()
	recolour := func(colour, failed string) {
		t.Helper()
		if _, err := h.Recolour(t.Context(), RecolourRequest{Status: &code.Status, Colour: colour, By: "op"}); err != nil {
			t.Fatal(err)
		}
		p := r.publish()
		if len(p.Lists) != 1 || failed == "" && p.RevocationsFailed != "" || !strings.Contains(p.RevocationsFailed, failed) {
			t.Errorf("%s: %+v, want %q", colour, p, failed)
		}
	}
	r.must("eu", berlin, hashLines(100))
	r.must("shc", ontario, cards(1, "revoked-1"))
	path := filepath.Join(h.paths.revocation(), "eu-"+berlinID)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, harm := range [][]byte{whole[:50], bytes.Replace(whole, whole[20:24], []byte("bits"), 1), append(bytes.Clone(whole), 0), {}, []byte("GHL1\x10\xff\xff\xff\xff")} {
		if err := os.WriteFile(path, harm, 0o600); err != nil {
			t.Fatal(err)
		}
		recolour([]string{"yellow", "red"}[i%2], "damaged")
	}
	r.want("eu 0 0 set 100", "shc 1 1") // the other one did not wait for it
	r.must("eu", berlin, hashLines(100))

	keys, err := filepath.Glob(filepath.Join(h.paths.tufKeys(), "*", "revocation*"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if err := os.Rename(keys[0], keys[0]+".away"); err != nil {
		t.Fatal(err)
	}
	recolour("green", "online key")
	r.want("eu 0 0 set 100", "shc 1 1")
	if err := os.Rename(keys[0]+".away", keys[0]); err != nil {
		t.Fatal(err)
	}
	recolour("red", "")
	r.want("eu 1 100", "shc 1 1")
	if got := colourOf(t, h, code.Status); got != gate.Red {
		t.Errorf("the code is %s", got)
	}
}

// TestSetWhilePublished: what is set while the last one is being published
// waits for the next.
func TestSetWhilePublished(t *testing.T) {
	h, dir := newHub(t, quiet())
	serve(t, h)
	r := newRevoker(t, dir)
	r.must("eu", berlin, hashLines(3))
	id := hashlist.ID{Scheme: hashlist.EU, KeyID: berlinID}
	l, count, err := h.revocations.load(id)
	if err != nil || len(l.Entries) != 3 {
		t.Fatal(l, err)
	}
	r.must("eu", berlin, hashLines(4))
	if err := h.revocations.done(id, count); err != nil {
		t.Fatal(err)
	}
	r.want("eu 0 0 set 4")
	r.publish()
	r.want("eu 1 4")
}
