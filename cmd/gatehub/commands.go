package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"greengate/scanner/qr"
	"greengate/sync/enrol"
	"greengate/sync/hub"
)

// whoami names the operator in the hub's audit: the system's user.
func whoami() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// parseRef reads "URI#INDEX", as the commands print it.
func parseRef(s string) (hub.Ref, error) {
	i := strings.LastIndexByte(s, '#')
	if i < 1 {
		return hub.Ref{}, fmt.Errorf("%q is not URI#INDEX, as `gatehub issue` prints it", s)
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil {
		return hub.Ref{}, fmt.Errorf("%q does not end in #INDEX", s)
	}
	return hub.Ref{URI: s[:i], Index: n}, nil
}

// list collects a flag that may stand several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

var commands = []command{
	{words: "init", help: "make a hub in an empty folder: keys, authority, signed lists", offline: true, prepare: initialise},
	{words: "serve", help: "run the hub", offline: true, prepare: serve},

	{words: "move", help: "carry a hub that is stopped from its own storage to a cluster of nodes: compared, and only then final", offline: true, prepare: move},
	{words: "join", help: "make another hub on the same cluster, with the keys of the first", offline: true, prepare: join},
	{words: "node add", args: "NAME", help: "make the folder of a cluster's node, to be carried there", offline: true, prepare: addNode},
	{words: "node list", help: "show which nodes hold the passages, who leads them, and who is behind", prepare: func(*flag.FlagSet) action {
		return func(ctx context.Context, c call) error { return show(c)(c.hub.Nodes(ctx)) }
	}},
	{words: "node", help: "run one node of a JetStream cluster; -dir is the folder that node add made", offline: true, prepare: node},

	{words: "declare", help: "take a person's declaration", prepare: func(f *flag.FlagSet) action {
		var r hub.DeclareRequest
		f.StringVar(&r.Name, "name", "", "the person's `name`")
		f.StringVar(&r.Region, "region", "", "the county, six `digits` of GB/T 2260")
		f.StringVar(&r.Category, "category", "", "category of holder, as resident")
		return func(ctx context.Context, c call) error { return show(c)(c.hub.Declare(ctx, r)) }
	}},
	{words: "declarations", help: "list declarations", prepare: func(f *flag.FlagSet) action {
		state := f.String("state", "", "only those in this `state`: declared, reviewed, rejected, issued")
		n := f.Int("max", 100, "at most so many")
		return func(ctx context.Context, c call) error {
			return show(c)(c.hub.Declarations(ctx, hub.DeclarationsRequest{State: hub.State(*state), Max: *n}))
		}
	}},
	{words: "review", args: "DECLARATION", help: "decide on a declaration", prepare: func(f *flag.FlagSet) action {
		colour := f.String("colour", "", "green, yellow or red")
		reject := f.Bool("reject", false, "close it without a code")
		return func(ctx context.Context, c call) error {
			return show(c)(c.hub.Review(ctx, hub.ReviewRequest{Declaration: c.args[0], Colour: *colour, Reject: *reject, Reviewer: whoami()}))
		}
	}},
	{words: "issue", args: "DECLARATION", help: "make a code for a reviewed declaration", prepare: func(f *flag.FlagSet) action {
		kind := f.String("kind", "static", "static, paper or dynamic")
		holder := f.String("holder", "", "the holder's Ed25519 public key in `hex`, for a dynamic code")
		valid := f.Duration("valid", 30*24*time.Hour, "how long it is valid")
		picture := f.String("png", "", "also write the QR code to this `file`")
		return func(ctx context.Context, c call) error {
			key, err := hex.DecodeString(*holder)
			if err != nil {
				return fmt.Errorf("-holder: %w", err)
			}
			issued, err := c.hub.Issue(ctx, hub.IssueRequest{Declaration: c.args[0], Kind: *kind, HolderKey: key, ValidSeconds: int64(*valid / time.Second), By: whoami()})
			if err != nil {
				return err
			}
			return giveOut(c, issued, *picture)
		}
	}},
	{words: "recolour", args: "URI#INDEX COLOUR", help: "change a code's colour: green, yellow, red", prepare: func(f *flag.FlagSet) action {
		return func(ctx context.Context, c call) error {
			ref, err := parseRef(c.args[0])
			if err != nil {
				return err
			}
			return show(c)(c.hub.Recolour(ctx, hub.RecolourRequest{Status: &ref, Colour: c.args[1], By: whoami()}))
		}
	}},
	{words: "revoke", args: "URI#INDEX", help: "make a code void, for ever", prepare: revoke},

	{words: "enterprise add", args: "NUMBER", help: "delegate a key for entry permits to an enterprise", prepare: func(f *flag.FlagSet) action {
		r := hub.EnterpriseRequest{}
		f.StringVar(&r.Name, "name", "", "the enterprise's `name`")
		f.StringVar(&r.Region, "region", "", "the county, six `digits`")
		f.Var((*list)(&r.Zones), "zone", "a `zone` its permits may open; repeat for more")
		return func(ctx context.Context, c call) error {
			r.Number, r.By = c.args[0], whoami()
			return show(c)(c.hub.AddEnterprise(ctx, r))
		}
	}},
	{words: "enterprise list", help: "list enterprises", prepare: func(f *flag.FlagSet) action {
		return func(ctx context.Context, c call) error { return show(c)(c.hub.Enterprises(ctx)) }
	}},
	{words: "permit issue", args: "ENTERPRISE URI#INDEX", help: "make an entry permit for the holder of a health code", prepare: func(f *flag.FlagSet) action {
		var zones list
		f.Var(&zones, "zone", "a `zone` it opens; all of the enterprise's where none is given")
		valid := f.Duration("valid", 30*24*time.Hour, "how long it is valid")
		picture := f.String("png", "", "also write the QR code to this `file`")
		return func(ctx context.Context, c call) error {
			holder, err := parseRef(c.args[1])
			if err != nil {
				return err
			}
			issued, err := c.hub.IssuePermit(ctx, hub.PermitRequest{Enterprise: c.args[0], Holder: holder, Zones: zones, ValidSeconds: int64(*valid / time.Second), By: whoami()})
			if err != nil {
				return err
			}
			return giveOut(c, issued, *picture)
		}
	}},
	{words: "permit revoke", args: "URI#INDEX", help: "make a permit void, for ever", prepare: revoke},

	{words: "gate add", args: "NAME", help: "make the identity of a new gate", prepare: func(f *flag.FlagSet) action {
		out := f.String("out", "identity.json", "where to write it; the `file` holds the gate's private key")
		site := f.String("site", "", "where it stands")
		county := f.String("county", "", "the county it stands in, six `digits` of GB/T 2260")
		url := f.String("hub-url", "", "where this gate finds the hub, where it is not the hub's own `URL`")
		replace := f.Bool("replace", false, "give a known gate a new certificate; the old one ends")
		return func(ctx context.Context, c call) error {
			if err := vacant(*out, c.args[0], *replace); err != nil {
				return err
			}
			b, err := c.hub.AddGate(ctx, hub.GateRequest{Gate: c.args[0], Site: *site, County: *county, HubURL: *url, Replace: *replace, By: whoami()})
			if errors.Is(err, hub.ErrConflict) && !*replace {
				return fmt.Errorf("%w\nhint: -replace gives it a new certificate; the old one ends", err)
			}
			if err != nil {
				return err
			}
			id := enrol.Identity{Gate: b.Gate, HubURL: b.HubURL, ListsURL: b.ListsURL, HubCA: b.HubCA,
				Certificate: b.Certificate, PrivateKey: b.PrivateKey, TUFRoot: b.TUFRoot, HubKey: b.HubKey}
			if b.History != nil {
				id.History = &enrol.History{Last: b.History.Last, Head: b.History.Head, Segment: b.History.Segment}
			}
			if err := id.Save(*out); err != nil {
				return fmt.Errorf("the gate is registered, but its identity was not written: %w\nhint: mend that, then `gatehub gate add -replace %s`", err, b.Gate)
			}
			path, err := filepath.Abs(*out)
			if err != nil {
				path = *out
			}
			fmt.Fprintf(c.stdout, "%s\ncarry it to the gate as identity.json, mode 0600, and delete it here\n", path)
			return nil
		}
	}},
	{words: "gate invite", args: "NAME", help: "make a token with which a device enrols as this gate, once", prepare: inviteGate},
	{words: "gate revoke", args: "NAME", help: "end a gate's certificate", prepare: func(f *flag.FlagSet) action {
		return func(ctx context.Context, c call) error {
			return c.hub.RevokeGate(ctx, hub.GateRef{Gate: c.args[0], By: whoami()})
		}
	}},
	{words: "gate wipe", args: "NAME", help: "order a device to send what it has and then destroy all it holds: passages, lists, PINs, key; audited", prepare: func(f *flag.FlagSet) action {
		var r hub.WipeRequest
		f.BoolVar(&r.Cancel, "cancel", false, "take the order back, where the gate has not heard of it yet")
		return func(ctx context.Context, c call) error {
			r.Gate, r.By = c.args[0], whoami()
			return c.hub.WipeGate(ctx, r)
		}
	}},
	{words: "gate list", help: "list gates with their last contact", prepare: func(f *flag.FlagSet) action {
		return func(ctx context.Context, c call) error { return show(c)(c.hub.Gates(ctx)) }
	}},
	{words: "alarms clear", args: "NAME KIND", help: "end an alarm of a gate's history, once somebody has looked; audited", prepare: func(*flag.FlagSet) action {
		return func(ctx context.Context, c call) error {
			return c.hub.ClearAlarm(ctx, hub.AlarmRef{Gate: c.args[0], Kind: hub.AlarmKind(c.args[1]), By: whoami()})
		}
	}},
	{words: "alarms", help: "list what is wrong at gates, since when, and what to do; the gravest first", prepare: func(f *flag.FlagSet) action {
		chinese := f.Bool("chinese", false, "say it in Chinese")
		return func(ctx context.Context, c call) error {
			all, err := c.hub.Alarms(ctx)
			for i := range all {
				if *chinese {
					all[i] = all[i].Chinese()
				}
			}
			return show(c)(all, err)
		}
	}},

	{words: "policy show", help: "print the policy in force", prepare: showPolicy},
	{words: "policy try", args: "FILE", help: "say what a policy would have changed yesterday; audited", prepare: try(false)},
	{words: "policy set", args: "FILE", help: "sign and publish a policy", prepare: setPolicy},
	{words: "map show", help: "print the five-colour map in force", prepare: showMap},
	{words: "map try", args: "FILE", help: "say what a map would have changed yesterday; audited", prepare: try(true)},
	{words: "map set", args: "FILE", help: "sign and publish the five-colour map, JSON or county,level", prepare: setMap},
	{words: "revocation set", args: "SCHEME KID FILE", help: "set all that is revoked of a foreign issuer's key: eu, 16-byte hashes a line; shc, its crl/KID.json; - is stdin", prepare: setRevocation},
	{words: "revocation list", help: "list the issuer keys with revocation lists, and what waits", prepare: func(*flag.FlagSet) action {
		return func(ctx context.Context, c call) error { return show(c)(c.hub.Revocations(ctx)) }
	}},
	{words: "revocation drop", args: "SCHEME KID", help: "take a key's lists away: its codes are held then", prepare: dropRevocation},
	{words: "publish", help: "make all changes visible to the gates now; -out writes them to a folder", prepare: publish},
	{words: "keys list", help: "show who must sign for what, and where the keys are", offline: true, prepare: listKeys},
	{words: "keys rotate", args: "ROLE", help: "give a role new keys; the old ones are worth nothing then", offline: true, prepare: rotateKeys},
	{words: "keys renew", help: "sign what the offline keys sign for another life", offline: true, prepare: renewKeys},
	{words: "keys add-role", args: "ROLE", help: "give lists that were made before it a role: map, release, revocation", offline: true, prepare: addRole},
	{words: "province add", args: "NN", help: "issue and publish for another province", prepare: addProvince},
	{words: "lists export", help: "write what is current to a USB stick's folder or a bundle", offline: true, prepare: exportLists},
	{words: "lists", help: "show the status lists", prepare: func(f *flag.FlagSet) action {
		return func(ctx context.Context, c call) error { return show(c)(c.hub.Lists(ctx)) }
	}},
	{words: "index", help: "show the flow and control index of a county, a site or everything", prepare: func(f *flag.FlagSet) action {
		var r hub.IndexRequest
		f.StringVar(&r.County, "county", "", "of one county, six `digits` of GB/T 2260")
		f.StringVar(&r.Site, "site", "", "of one `site`")
		f.StringVar(&r.Day, "day", "", "of a `day` as 2020-02-17; today by default")
		f.BoolVar(&r.Chart, "chart", false, "with the 28 days before it")
		return func(ctx context.Context, c call) error { return show(c)(c.hub.Index(ctx, r)) }
	}},
	{words: "passages", args: "GATE", help: "show the clear part of a gate's passages", prepare: func(f *flag.FlagSet) action {
		after := f.Uint64("after", 0, "begin behind this sequence")
		n := f.Int("max", 100, "at most so many")
		return func(ctx context.Context, c call) error {
			return show(c)(c.hub.Passages(ctx, hub.PassagesRequest{Gate: c.args[0], After: *after, Max: *n}))
		}
	}},
	{words: "breaks", help: "show what gates sent and the hub did not take: forks, foreign signatures; -gate for one", prepare: func(f *flag.FlagSet) action {
		id := f.String("gate", "", "only this `gate`'s")
		return func(ctx context.Context, c call) error { return show(c)(c.hub.Breaks(ctx, hub.GateRef{Gate: *id})) }
	}},
	{words: "retention show", help: "show how long each field of a passage is kept", prepare: func(*flag.FlagSet) action {
		return func(ctx context.Context, c call) error { return show(c)(c.hub.Retention(ctx)) }
	}},
	{words: "retention set", help: "set how long sealed and clear parts are kept, in days; audited", prepare: func(f *flag.FlagSet) action {
		sealed := f.Int("sealed", 30, "`days` after which the keys of sealed parts are erased")
		clear := f.Int("clear", 730, "`days` after which clear parts are purged")
		return func(ctx context.Context, c call) error {
			return c.hub.SetRetention(ctx, hub.RetentionRequest{Retention: hub.Retention{SealedDays: *sealed, ClearDays: *clear}, By: whoami()})
		}
	}},
	{words: "export", help: "write the clear parts of passages to a CSV or Parquet file; audited", prepare: exportPassages},
	{words: "tail", help: "print passages as JSON lines while they come, until Ctrl-C", prepare: tail},
	{words: "verify", args: "GATE", help: "replay a gate's history: chain, signatures, each record once", prepare: func(f *flag.FlagSet) action {
		return func(ctx context.Context, c call) error {
			v, err := c.hub.Verify(ctx, hub.GateRef{Gate: c.args[0], By: whoami()})
			if err != nil {
				return err
			}
			if err := c.print(v); err != nil {
				return err
			}
			if !v.OK() {
				return errors.New("the history is not whole")
			}
			return nil
		}
	}},
	{words: "unseal counts", args: "GATE", help: "count what the sealed parts of a gate's decisions say; audited", prepare: func(f *flag.FlagSet) action {
		return func(ctx context.Context, c call) error {
			return show(c)(c.hub.UnsealCounts(ctx, hub.GateRef{Gate: c.args[0], By: whoami()}))
		}
	}},
	{words: "trace", args: "URI#INDEX", help: "list where a code passed, at all gates, of the last 14 days; wants -reason; audited", prepare: trace},
	{words: "audit", help: "print the audit trail, the oldest line first", prepare: audit},
}

// inviteGate prints a token to be typed, and draws it where a file is named.
func inviteGate(f *flag.FlagSet) action {
	var r hub.InviteRequest
	f.StringVar(&r.Site, "site", "", "where it stands")
	f.StringVar(&r.County, "county", "", "the county it stands in, six `digits` of GB/T 2260")
	f.StringVar(&r.HubURL, "hub-url", "", "where this gate finds the hub, where it is not the hub's own `URL`")
	valid := f.Duration("valid", time.Hour, "how long the token is good")
	f.BoolVar(&r.Replace, "replace", false, "give a known gate a new identity; the old one ends when the token is used")
	picture := f.String("png", "", "also draw the token as a QR code into this `file`")
	return func(ctx context.Context, c call) error {
		r.Gate, r.By, r.ValidSeconds = c.args[0], whoami(), int64(*valid/time.Second)
		i, err := c.hub.InviteGate(ctx, r)
		if errors.Is(err, hub.ErrConflict) && !r.Replace {
			return fmt.Errorf("%w\nhint: -replace gives it a new identity; the old one ends when the token is used", err)
		}
		if err != nil {
			return err
		}
		t := enrol.Token{URL: i.HubURL, Fingerprint: enrol.Fingerprint(i.HubCA, i.TUFRoot)}
		if copy(t.Secret[:], i.Secret) != len(i.Secret) {
			return fmt.Errorf("a secret of %d bytes", len(i.Secret))
		}
		if *picture != "" {
			if err := draw(t.String(), *picture); err != nil {
				return err
			}
		}
		fmt.Fprintf(c.stdout, "on the device, until %s:\n\n    gatectl enrol %s %s\n\n", i.Until.Local().Format(time.DateTime), t.URL, t.Code())
		return nil
	}
}

// revoke serves codes and permits alike: both are entries of a status list.
func revoke(*flag.FlagSet) action {
	return func(ctx context.Context, c call) error {
		ref, err := parseRef(c.args[0])
		if err != nil {
			return err
		}
		return show(c)(c.hub.Revoke(ctx, hub.RevokeRequest{Status: &ref, By: whoami()}))
	}
}

// maxDocument is the longest policy or map, in bytes; the hub takes no longer request.
const maxDocument = 1 << 20

func readDocument(path string) ([]byte, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	if !json.Valid(text) {
		return nil, fmt.Errorf("%s is not JSON", path)
	}
	return text, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxDocument)
	}
	return text, nil
}

// vacant says whether an identity may be written to path: one that is there is
// the only copy of some gate's key.
func vacant(path, gate string, replace bool) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if id, err := enrol.Load(path); err == nil && id.Gate == gate && replace {
		return nil
	}
	return fmt.Errorf("%s is there already; nothing was changed\nhint: -out names another file", path)
}

// show prints an answer unless there is an error.
func show(c call) func(any, error) error {
	return func(v any, err error) error {
		if err != nil {
			return err
		}
		return c.print(v)
	}
}

// giveOut prints a code, and draws it where a file is named. The hub does not keep it.
func giveOut(c call, issued hub.Issued, picture string) error {
	if picture != "" {
		if err := draw(issued.Code, picture); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.stderr, "entry %s#%d\n", issued.Status.URI, issued.Status.Index)
	return c.print(issued)
}

// draw writes a QR code into a file that only its owner may read.
func draw(text, path string) error {
	img, err := qr.Picture(text, 8)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(png.Encode(f, img), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
