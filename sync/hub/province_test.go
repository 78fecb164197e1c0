package hub

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"greengate/sync/hub/publisher"
)

// TestAddProvince: codes of a new province are issued without a restart, also
// where the first attempt was cut, and after one.
func TestAddProvince(t *testing.T) {
	h, dir := newHub(t, quiet())
	ctx := t.Context()
	declare := func() error {
		_, err := h.Declare(ctx, DeclareRequest{Name: "李雷", Region: "440106"})
		return err
	}
	if err := declare(); !errors.Is(err, ErrInvalid) {
		t.Errorf("before: %v, want ErrInvalid", err)
	}
	for _, r := range []ProvinceRequest{{Province: "4", By: "op"}, {Province: "4a", By: "op"}, {Province: "04", By: "op"}, {Province: "44"}} {
		if err := h.AddProvince(ctx, r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", r, err)
		}
	}
	// Cut before hub.json was written: key file and registry have it already.
	config, err := os.ReadFile(h.paths.config())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.AddProvince(ctx, ProvinceRequest{"44", "op"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hub.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	h = openHub(t, dir, quiet())
	if err := declare(); !errors.Is(err, ErrInvalid) {
		t.Errorf("after the cut: %v, want ErrInvalid", err)
	}
	var group errgroup.Group
	for range 4 {
		group.Go(func() error { return h.AddProvince(ctx, ProvinceRequest{"44", "op"}) })
		group.Go(func() error {
			_, err := h.Declare(ctx, DeclareRequest{Name: "李雷", Region: "330106"})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := declare(); err != nil {
		t.Error(err)
	}
	if got := h.Config().Provinces; !slices.Equal(got, []string{"33", "44"}) {
		t.Errorf("provinces %v", got)
	}
	o, err := h.OfflineContents(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := o.Contents(); err != nil || len(c.Keys) != 2 {
		t.Errorf("keys to sign: %+v %v", c.Keys, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openHub(t, dir, quiet())
	if err := declare(); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

// TestMirrorFollowsEachPublish: another web server's folder is as current as
// the hub, and a folder that cannot be written holds nothing up.
func TestMirrorFollowsEachPublish(t *testing.T) {
	o := quiet()
	o.Mirror = filepath.Join(t.TempDir(), "www")
	h, _ := newHub(t, o)
	_, code := issueOne(t, h, "green", "static", nil)
	for _, colour := range []string{"yellow", "red"} {
		if _, err := h.Recolour(t.Context(), RecolourRequest{Status: &code.Status, Colour: colour, By: "op"}); err != nil {
			t.Fatal(err)
		}
		if p, err := h.Publish(t.Context()); err != nil || p.Mirror != "" {
			t.Fatalf("%+v %v", p, err)
		}
		mine, err := os.ReadFile(filepath.Join(h.paths.lists(), "metadata", "timestamp.json"))
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := os.ReadFile(filepath.Join(o.Mirror, "metadata", "timestamp.json"))
		if err != nil || string(mine) != string(theirs) {
			t.Errorf("the mirror's timestamp is not the hub's: %v", err)
		}
		if _, err := publisher.Open(h.paths.tufKeys(), o.Mirror, publisher.Options{}); err != nil {
			t.Errorf("the mirror is no repository: %v", err)
		}
	}
	if err := os.RemoveAll(o.Mirror); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Mirror, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := h.Publish(t.Context()); err != nil || p.Mirror == "" {
		t.Errorf("a mirror that cannot be written: %+v %v", p, err)
	}
}
