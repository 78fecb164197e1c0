package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"greengate/pass/hashlist"
	"greengate/sync/hub"
)

// What an operator does with the revocations of foreign issuers, and what is
// said about files that are not what they should be.
func TestRevocationCommands(t *testing.T) {
	h := serveHub(t)
	const kid = "DEsVUSvpFAE="
	path := filepath.Join(t.TempDir(), "hashes.txt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(says string, args ...string) {
		t.Helper()
		if _, _, err := h.try(args...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", args, err, says)
		}
	}
	if out := h.must("revocation", "list"); strings.TrimSpace(out) != "[]" {
		t.Errorf("at first: %s", out)
	}
	line := fmt.Sprintf("%x\n", hashlist.EUUCI("URN:UVCI:1"))
	write(line + "zzz\n")
	refused("line 2", "revocation", "set", "eu", kid, path)
	write("")
	refused("-empty", "revocation", "set", "eu", kid, path)
	refused("directory", "revocation", "set", "eu", kid, t.TempDir())
	refused("no such file", "revocation", "set", "eu", kid, path+".not")
	refused("scheme", "revocation", "set", "nz", kid, path)
	refused("kid", "revocation", "set", "eu", "Berlin", path)
	refused("revocation list", "revocation", "drop", "eu", kid)
	endless := filepath.Join(t.TempDir(), "endless")
	if err := os.WriteFile(endless, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(endless, hashlist.MaxHashes+1); err != nil {
		t.Fatal(err)
	}
	refused("more than", "revocation", "set", "eu", kid, endless)
	refused("line 1", "revocation", "set", "eu", kid, "/dev/zero")

	write(line + line)
	if s := decode[hub.RevocationStatus](t, h.must("revocation", "set", "eu", kid, path)); s.Pending != "set" || s.PendingEntries != 1 || s.KID != kid {
		t.Errorf("set: %+v", s)
	}
	h.must("publish")
	all := decode[[]hub.RevocationStatus](t, h.must("revocation", "list"))
	if len(all) != 1 || all[0].KeyID != "0c4b15512be91401" || all[0].Parts != 1 || all[0].Entries != 1 || all[0].Sequence == 0 || all[0].Pending != "" {
		t.Errorf("list: %+v", all)
	}
	write("")
	h.must("revocation", "set", "-empty", "eu", kid, path)
	h.must("publish")
	if all = decode[[]hub.RevocationStatus](t, h.must("revocation", "list")); len(all) != 1 || all[0].Parts != 1 || all[0].Entries != 0 {
		t.Errorf("an empty list: %+v", all)
	}
	if s := decode[hub.RevocationStatus](t, h.must("revocation", "drop", "eu", all[0].KeyID)); s.Pending != "drop" {
		t.Errorf("drop: %+v", s)
	}
	h.must("publish")
	if out := h.must("revocation", "list"); strings.TrimSpace(out) != "[]" {
		t.Errorf("dropped: %s", out)
	}

	// The role is there already; one that nobody knows is not made.
	h.must("keys", "add-role", "-offline", filepath.Join(h.dir, "keys", "tuf", "offline"), "revocation")
	refused("map, release and revocation", "keys", "add-role", "somebody")
}
