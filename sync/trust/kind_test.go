package trust

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestKind(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{fmt.Errorf("%w: %w", errStopped, fmt.Errorf("timestamp: %w", ErrUnavailable)), "unavailable"},
		{errors.Join(fmt.Errorf("status-33: %w", ErrUnavailable), fmt.Errorf("keys: %w", ErrSignature)), "signature"},
		{fmt.Errorf("list: %w", ErrTooLarge), "too-large"},
		{errors.New("new"), "other"},
	} {
		if got := Kind(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
		if c.want != "" && !slices.Contains(Kinds(), c.want) {
			t.Errorf("%q is not among the kinds %v", c.want, Kinds())
		}
	}
	// Each sentinel has a word of its own.
	seen := map[string]bool{}
	for _, err := range []error{ErrUnavailable, ErrNotFound, ErrTooLarge, ErrSignature, ErrRollback, ErrVersion, ErrExpired,
		ErrFuture, ErrHash, ErrDelegation, ErrMalformed, ErrStore, ErrURI} {
		kind := Kind(err)
		if kind == otherKind || seen[kind] {
			t.Errorf("%v is of kind %q, which says nothing or is taken", err, kind)
		}
		seen[kind] = true
	}
}

// The totals are the sum of what the runs reported.
func TestTotals(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33")
	first := d.mustOnce()
	second := d.mustOnce()
	d.server.hostile = func(string) ([]byte, error) { return nil, ErrUnavailable }
	if _, err := d.once(); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	third := d.Status().Report
	want := Totals{Runs: 3, Failed: 1, Unchanged: 1, Fetched: uint64(first.Fetched + second.Fetched + third.Fetched), Installed: uint64(len(first.Installed)), Snapshots: uint64(first.Snapshots)}
	if got := d.Status().Totals; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What is held by the configuration, and what a code asked for.
func TestConfigured(t *testing.T) {
	d := newDevice(t, nation(t), "33", "440106")
	for uri, want := range map[string]bool{
		"jkm:3301/0": true, "jkm:33/0": true, "jkm:330106/7": true, "jkm:4401/0": true, "jkm:44/0": true, "jkm:440106/1": true,
		"jkm:4403/0": false, "jkm:440107/0": false, "jkm:11/0": false, "nonsense": false, "": false,
	} {
		if got := d.Configured(uri); got != want {
			t.Errorf("%q: %v, want %v", uri, got, want)
		}
	}
}
