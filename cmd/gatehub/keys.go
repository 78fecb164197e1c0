package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"greengate/sync/hub"
	"greengate/sync/hub/publisher"
)

// This file is what works with the keys of the signed lists. The offline ones
// are away but for the minutes in which somebody brings them, on a stick as a
// rule, and says with -offline where they lie. The hub may run meanwhile: a lock
// in the folder of the lists lets one of them write at a time, and the hub reads
// roles and keys anew with each publish.

// offlineFlag declares -offline.
func offlineFlag(f *flag.FlagSet) *string {
	return f.String("offline", "", "the `folder` of the offline keys, a stick's; keys/tuf/offline in the hub's folder where nothing is said")
}

// desk is a publisher on the hub's folder.
type desk struct {
	*publisher.Publisher
	call
	words   string // of the command
	offline string // as it was given
	folder  string // where the offline keys are looked for
}

func openDesk(c call, words, offline string) (*desk, error) {
	keys := filepath.Join(c.dir, "keys", "tuf")
	d := &desk{call: c, words: words, offline: offline, folder: offline}
	if offline == "" {
		d.folder = filepath.Join(keys, "offline")
	} else if info, err := os.Stat(offline); err != nil {
		return nil, fmt.Errorf("-offline: %w\nhint: is the stick there? the folder is the one that was keys/tuf/offline", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("-offline: %s is no folder", offline)
	}
	// Files of another owner would be out of the hub's reach.
	info, err := os.Stat(c.dir)
	if err != nil {
		return nil, fmt.Errorf("%w\nhint: -dir names the hub's folder", err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to uid %d, and this is uid %d\nhint: be the hub's user: `sudo -u \\#%d gatehub %s`", c.dir, s.Uid, os.Geteuid(), s.Uid, words)
	}
	if d.Publisher, err = publisher.Open(keys, filepath.Join(c.dir, "lists"), publisher.Options{OfflineKeys: offline}); err != nil {
		return nil, err
	}
	return d, nil
}

// explain adds what to do when keys are away.
func (d *desk) explain(err error) error {
	if errors.Is(err, publisher.ErrOfflineKeys) && d.offline == "" {
		return fmt.Errorf("%w\nhint: nothing was changed; bring the stick and say where its keys lie: `gatehub %s -offline /media/STICK/offline`", err, d.words)
	}
	if errors.Is(err, publisher.ErrOfflineKeys) {
		return fmt.Errorf("%w\nhint: nothing was changed; `gatehub keys list -offline %s` says which keys are there", err, d.offline)
	}
	return err
}

// change does what needs the offline keys, and says which key files are new,
// which are worth nothing any more, and which are to go away again.
func (d *desk) change(do func() (publisher.Version, error)) error {
	offline, online, err := d.KeyFiles()
	if err != nil {
		return err
	}
	before := append(offline, online...)
	v, err := do()
	if err != nil {
		return d.explain(err)
	}
	offline, online, err = d.KeyFiles()
	if err != nil {
		return err
	}
	fmt.Fprintf(d.stdout, "published as timestamp %d, root %d; signed: %s\n", v.Timestamp, v.Root, strings.Join(append([]string{"timestamp"}, v.Signed...), ", "))
	for _, f := range append(slices.Clone(online), offline...) {
		switch {
		case slices.Contains(before, f):
		case retired(f):
			fmt.Fprintf(d.stdout, "worth nothing any more, destroy it: %s\n", f)
		default:
			fmt.Fprintf(d.stdout, "new key: %s\n", f)
		}
	}
	d.takeAway(offline)
	return nil
}

func retired(path string) bool { return filepath.Base(filepath.Dir(path)) == "retired" }

// takeAway names the files that no machine of the hub's should hold.
func (d *desk) takeAway(offline []string) {
	offline = slices.DeleteFunc(slices.Clone(offline), retired)
	if len(offline) == 0 {
		return
	}
	fmt.Fprintf(d.stdout, "take away from this machine again:\n")
	for _, f := range offline {
		fmt.Fprintf(d.stdout, "  %s\n", f)
	}
}

// listKeys is `gatehub keys list`.
func listKeys(f *flag.FlagSet) action {
	offline := offlineFlag(f)
	asJSON := f.Bool("json", false, "print it as JSON")
	return func(_ context.Context, c call) error {
		d, err := openDesk(c, "keys list", *offline)
		if err != nil {
			return err
		}
		roles, err := d.Roles()
		if err != nil {
			return err
		}
		if *asJSON {
			return c.print(roles)
		}
		for _, r := range roles {
			kind := "online"
			if r.Offline {
				kind = "offline"
			}
			fmt.Fprintf(c.stdout, "%s: %s, %d of %d keys must sign, %d at hand; version %d, ends %s\n",
				r.Role, kind, r.Threshold, len(r.Keys), r.AtHand(), r.Version, r.Ends.Format(time.DateOnly))
			for _, k := range r.Keys {
				file := k.File
				if file == "" {
					file = "absent"
				}
				fmt.Fprintf(c.stdout, "  %.8s  %s\n", k.ID, file)
			}
			if !r.Offline && r.AtHand() < r.Threshold {
				fmt.Fprintf(c.stdout, "  its key is lost: nothing of it can be published\n  next: `gatehub keys rotate %s -offline FOLDER`\n", r.Role)
			}
		}
		files, _, err := d.KeyFiles()
		if err != nil {
			return err
		}
		if *offline == "" {
			d.takeAway(files)
		}
		return nil
	}
}

// rotateKeys is `gatehub keys rotate ROLE`.
func rotateKeys(f *flag.FlagSet) action {
	offline := offlineFlag(f)
	return func(ctx context.Context, c call) error {
		d, err := openDesk(c, "keys rotate "+c.args[0], *offline)
		if err != nil {
			return err
		}
		err = d.change(func() (publisher.Version, error) { return d.Rotate(ctx, c.args[0]) })
		if errors.Is(err, publisher.ErrRole) {
			return fmt.Errorf("%w\nhint: `gatehub keys list` names the roles", err)
		}
		return err
	}
}

// renewKeys is `gatehub keys renew`.
func renewKeys(f *flag.FlagSet) action {
	offline := offlineFlag(f)
	return func(ctx context.Context, c call) error {
		d, err := openDesk(c, "keys renew", *offline)
		if err != nil {
			return err
		}
		return d.change(func() (publisher.Version, error) { return d.Renew(ctx) })
	}
}

// addRole is `gatehub keys add-role ROLE`.
func addRole(f *flag.FlagSet) action {
	offline := offlineFlag(f)
	return func(ctx context.Context, c call) error {
		d, err := openDesk(c, "keys add-role "+c.args[0], *offline)
		if err != nil {
			return err
		}
		err = d.change(func() (publisher.Version, error) { return d.AddRole(ctx, c.args[0]) })
		if errors.Is(err, publisher.ErrRole) {
			return fmt.Errorf("%w\nhint: map, release and revocation can be added; provinces by `gatehub province add`", err)
		}
		return err
	}
}

// addProvince is `gatehub province add NN`: a status role, an issuer's key at
// the hub, and that key among those that gates take. Each step can be done again.
func addProvince(f *flag.FlagSet) action {
	offline := offlineFlag(f)
	return func(ctx context.Context, c call) error {
		province := c.args[0]
		d, err := openDesk(c, "province add "+province, *offline)
		if err != nil {
			return err
		}
		// The hub is asked first, so that none that is away leaves half a province.
		if _, err := c.hub.OfflineContents(ctx); err != nil {
			return err
		}
		return d.change(func() (publisher.Version, error) {
			if _, err := d.AddProvinces(ctx, province); err != nil {
				return publisher.Version{}, err
			}
			if err := c.hub.AddProvince(ctx, hub.ProvinceRequest{Province: province, By: whoami()}); err != nil {
				return publisher.Version{}, err
			}
			return d.signContents(ctx)
		})
	}
}

// signTries is how often a publish that the hub overtook is made again.
const signTries = 3

// signContents signs and publishes what needs the offline keys, as the hub has it now.
func (d *desk) signContents(ctx context.Context) (v publisher.Version, err error) {
	o, err := d.hub.OfflineContents(ctx)
	if err != nil {
		return v, err
	}
	contents, err := o.Contents()
	if err != nil {
		return v, err
	}
	for range signTries {
		contents.Issued = time.Now()
		if v, err = d.Publish(ctx, contents); !errors.Is(err, publisher.ErrIssued) {
			return v, err
		}
	}
	return v, err
}

// publish is `gatehub publish`.
func publish(f *flag.FlagSet) action {
	offline := f.String("offline", "", "sign issuer keys and policy with the offline keys in this `folder`, a stick's")
	out := f.String("out", "", "then make this `folder` hold the lists as plain files for a web server; what it has already is not written again")
	return func(ctx context.Context, c call) error {
		if *offline != "" {
			d, err := openDesk(c, "publish", *offline)
			if err != nil {
				return err
			}
			report := d.call
			report.stdout = c.stderr // the answer of the hub stands alone
			d.call = report
			if err := d.change(func() (publisher.Version, error) { return d.signContents(ctx) }); err != nil {
				return err
			}
		}
		done, err := c.hub.Publish(ctx)
		if err != nil {
			return err
		}
		if done.Waiting != "" && *offline == "" {
			fmt.Fprintln(c.stderr, "hint: something waits for offline keys: `gatehub publish -offline /media/STICK/offline`")
		}
		if *out != "" {
			m, err := publisher.Mirror(ctx, hub.ListsFolder(c.dir), *out)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "%s: %d files written, %d bytes, %d removed\n", *out, m.Written, m.Bytes, m.Removed)
		}
		return c.print(done)
	}
}
