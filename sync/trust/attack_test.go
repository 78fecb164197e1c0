package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/pass/statuslist"
	"greengate/sync/trust/trusttest"
)

// The attacks that the TUF specification 1.0 names in section 1.5.2, "Goals to
// protect against specific attacks".
const (
	arbitrary     = "arbitrary installation"
	endless       = "endless data"
	extraneous    = "extraneous dependencies"
	fastForward   = "fast-forward"
	freeze        = "indefinite freeze"
	mirrors       = "malicious mirrors preventing updates"
	mixAndMatch   = "mix-and-match"
	rollback      = "rollback"
	keyCompromise = "vulnerability to key compromises"
	wrongSoftware = "wrong software installation"
)

var specified = []string{arbitrary, endless, extraneous, fastForward, freeze, mirrors, mixAndMatch, rollback, keyCompromise, wrongSoftware}

// attack is one way of a hostile server or of a thief on the way.
type attack struct {
	// of is the attack of the specification.
	of   string
	name string
	// now is the honest state, old the one that the gate held before it. The
	// attack returns what the server answers with, path by path.
	server func(now, old *authority) func(path string) ([]byte, error)
	// want is the reason, nil where the attack is without effect.
	want error
}

// answer serves one file in the place of another's.
func answer(path string, data []byte) func(string) ([]byte, error) {
	return func(p string) ([]byte, error) {
		if p == path {
			return data, nil
		}
		return nil, nil
	}
}

func serve(a *authority) func(string) ([]byte, error) {
	return func(p string) ([]byte, error) {
		if data, ok := a.files[p]; ok {
			return data, nil
		}
		return nil, fmt.Errorf("file %s: %w", p, ErrNotFound)
	}
}

func listFile(a *authority, uri string) string {
	path, _, err := pathOf(uri)
	a.must(err)
	return hashed(path, a.targets[roleOf(uri)].Signed.Targets[path].Hashes["sha256"].String())
}

// endlessly answers so for the paths that it is asked about.
func endlessly(which func(path string) bool) func(now, old *authority) func(string) ([]byte, error) {
	return func(_, _ *authority) func(string) ([]byte, error) {
		return func(path string) ([]byte, error) {
			if which(path) {
				return nil, errEndless
			}
			return nil, nil
		}
	}
}

// thief is an authority that has the keys of these roles alone. Its own keys
// sign in the place of the others.
func thief(now *authority, roles ...string) *authority {
	x := now.fork()
	for role, signers := range x.signers {
		if slices.Contains(roles, role) {
			continue
		}
		x.signers[role] = nil
		for range signers {
			_, _, s := x.newKey()
			x.signers[role] = append(x.signers[role], s)
		}
	}
	return x
}

// timestampTrap is a timestamp with its own key's signature and one piece of
// its text replaced.
func timestampTrap(name, old, put string, want error) attack {
	return attack{arbitrary, "a timestamp " + name, func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.SpecVersion = "1.0.31"
		x.timestamp.Signed.Version = 98
		x.signTimestamp()
		signed, err := trusttest.Signed(x.files[timestampFile])
		x.must(err)
		if !strings.Contains(string(signed), old) {
			x.t.Fatalf("no %q in %s", old, signed)
		}
		forged := strings.Replace(string(signed), old, put, 1)
		x.files[timestampFile] = trusttest.Sign([]byte(forged), x.keysOf("timestamp")...)
		return serve(x)
	}, want}
}

// roleTrap is a province's role with its own key's signature and some pieces
// of its text replaced, named by snapshot and timestamp as it is.
func roleTrap(of, name, old, put string, want error) attack {
	return attack{of, name, func(now, _ *authority) func(string) ([]byte, error) {
		const role = "status-33"
		x := now.fork()
		x.list(hangzhou, 3)
		x.infos[hangzhou], x.raws[hangzhou] = now.infos[hangzhou], now.raws[hangzhou]
		if want == nil {
			x.targets[role] = clone(now, now.targets[role])
		}
		x.signRole(role)
		path := fmt.Sprintf("metadata/%d.%s.json", x.targets[role].Signed.Version, role)
		signed, err := trusttest.Signed(x.files[path])
		x.must(err)
		forged := regexp.MustCompile(old).ReplaceAll(signed, []byte(put))
		if bytes.Equal(forged, signed) {
			x.t.Fatalf("no %q in %s", old, signed)
		}
		data := trusttest.Sign(forged, x.keysOf(role)...)
		x.files[path] = data
		x.snapshot.Signed.Meta[role+".json"] = &metadata.MetaFiles{Version: x.targets[role].Signed.Version, Length: int64(len(data)), Hashes: sha(data)}
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, want}
}

var attacks = []attack{
	{arbitrary, "list with other bytes of the same length", func(now, _ *authority) func(string) ([]byte, error) {
		path := listFile(now, hangzhou)
		forged := slices.Clone(now.files[path])
		forged[len(forged)-1] ^= 1
		return answer(path, forged)
	}, ErrHash},
	{wrongSoftware, "list signed for, but packed from another", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		info := x.infos[hangzhou]
		info.Sequence++
		x.putList(info, 2)
		l, err := statuslist.FromRaw(bytes.Repeat([]byte{0xff}, 16), 2)
		x.must(err)
		data, err := l.MarshalCBOR()
		x.must(err)
		custom, err := x.infos[hangzhou].Marshal()
		x.must(err)
		x.target("status-33", "status/3301/0.tsl", data, custom)
		x.publish("status-33")
		return serve(x)
	}, ErrHash},
	{arbitrary, "timestamp signed by a stranger", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		_, _, stranger := x.newKey()
		x.signers["timestamp"] = []signature.Signer{stranger}
		x.signTimestamp()
		return answer(timestampFile, x.files[timestampFile])
	}, ErrSignature},
	{keyCompromise, "targets signed by one of the two needed", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.signers["targets"] = x.signers["targets"][:1]
		x.publish("targets")
		return serve(x)
	}, ErrSignature},
	{keyCompromise, "one key signs twice under two names", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.signers["targets"] = x.signers["targets"][:1]
		x.targets["targets"].Signed.Version++
		md := x.targets["targets"]
		sign(x, md, x.signers["targets"])
		twin := md.Signatures[0]
		twin.KeyID = x.root.Signed.Roles["targets"].KeyIDs[1]
		md.Signatures = append(md.Signatures, twin)
		data, err := md.ToBytes(false)
		x.must(err)
		x.files[fmt.Sprintf("metadata/%d.targets.json", md.Signed.Version)] = data
		x.snapshot.Signed.Meta["targets.json"] = &metadata.MetaFiles{Version: md.Signed.Version}
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrSignature},
	{arbitrary, "root that nobody trusts", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.root.Signed.Version++
		x.newRootKeys("root")
		x.newRootKeys("timestamp")
		x.writeRoot(x.signers["root"]...)
		x.publish()
		return serve(x)
	}, ErrSignature},
	{rollback, "an older timestamp", func(_, old *authority) func(string) ([]byte, error) {
		older := old.fork()
		older.timestamp.Signed.Version -= 2
		older.signTimestamp()
		return answer(timestampFile, older.files[timestampFile])
	}, ErrRollback},
	{rollback, "newer timestamp, older snapshot", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.snapshot.Signed.Version = old.snapshot.Signed.Version - 2
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrRollback},
	{rollback, "newer snapshot, older role", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.targets["status-33"].Signed.Version = old.targets["status-33"].Signed.Version - 2
		x.publish("status-33")
		return serve(x)
	}, ErrRollback},
	{rollback, "snapshot that leaves a role out", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		delete(x.snapshot.Signed.Meta, "status-44.json")
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrRollback},
	{rollback, "newer role, older list", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		info := old.infos[hangzhou]
		info.Sequence = 1
		x.putList(info, 1)
		x.publish("status-33")
		return serve(x)
	}, ErrRollback},
	{rollback, "another list with the held sequence", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.putList(old.infos[hangzhou], 1)
		x.publish("status-33")
		return serve(x)
	}, ErrRollback},
	{rollback, "signed time goes back", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.now = old.now.Add(-60e9)
		x.signTimestamp()
		return serve(x)
	}, ErrRollback},
	{rollback, "the current root again as the next one", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(fmt.Sprintf("metadata/%d.root.json", now.root.Signed.Version+1), now.firstRoot())
	}, ErrVersion},
	{fastForward, "a root that skips one", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.root.Signed.Version += 2
		x.writeRoot(x.signers["root"]...)
		return answer("metadata/2.root.json", x.files["metadata/3.root.json"])
	}, ErrVersion},
	{freeze, "the timestamp has expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.Version++
		x.timestamp.Signed.Expires = now.now.Add(-1e9)
		x.timestamp.Signed.UnrecognizedFields["issued"] = now.now.Add(-2e9).Format("2006-01-02T15:04:05Z07:00")
		return answer(timestampFile, sign(x, x.timestamp, x.signers["timestamp"]))
	}, ErrExpired},
	{freeze, "the snapshot has expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.now = now.now.AddDate(0, 0, -8)
		x.signSnapshot()
		x.now = now.now
		x.signTimestamp()
		return serve(x)
	}, ErrExpired},
	{freeze, "the role has expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.list(hangzhou, 1)
		x.now = now.now.AddDate(0, 0, -91)
		x.signRole("status-33")
		x.now = now.now
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrExpired},
	{freeze, "the root has expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.root.Signed.Version++
		x.root.Signed.Expires = now.now.Add(-1e9)
		x.writeRoot(x.signers["root"]...)
		return serve(x)
	}, ErrExpired},
	{mixAndMatch, "another snapshot than the timestamp's", func(now, old *authority) func(string) ([]byte, error) {
		path := fmt.Sprintf("metadata/%d.snapshot.json", now.snapshot.Signed.Version)
		return answer(path, old.files[fmt.Sprintf("metadata/%d.snapshot.json", old.snapshot.Signed.Version)])
	}, ErrHash},
	{mixAndMatch, "another snapshot, and no hash to tell", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Version: x.snapshot.Signed.Version + 1}
		x.signTimestamp()
		x.files[fmt.Sprintf("metadata/%d.snapshot.json", x.snapshot.Signed.Version+1)] =
			x.files[fmt.Sprintf("metadata/%d.snapshot.json", x.snapshot.Signed.Version)]
		return serve(x)
	}, ErrVersion},
	{mixAndMatch, "another role's metadata", func(now, _ *authority) func(string) ([]byte, error) {
		path := func(role string) string {
			return fmt.Sprintf("metadata/%d.%s.json", now.targets[role].Signed.Version, role)
		}
		return answer(path("status-33"), now.files[path("status-44")])
	}, ErrHash},
	{wrongSoftware, "the list of another region", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(listFile(now, hangzhou), now.files[listFile(now, ningbo)])
	}, ErrHash},
	{endless, "timestamp", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(timestampFile, noise(17<<10))
	}, ErrTooLarge},
	{endless, "root", func(now, _ *authority) func(string) ([]byte, error) {
		return answer("metadata/2.root.json", noise(513<<10))
	}, ErrTooLarge},
	{endless, "snapshot", func(now, _ *authority) func(string) ([]byte, error) {
		path := fmt.Sprintf("metadata/%d.snapshot.json", now.snapshot.Signed.Version)
		return answer(path, append(slices.Clone(now.files[path]), ' '))
	}, ErrTooLarge},
	{endless, "list", func(now, _ *authority) func(string) ([]byte, error) {
		path := listFile(now, hangzhou)
		return answer(path, append(slices.Clone(now.files[path]), 0))
	}, ErrTooLarge},
	{endless, "a list that unpacks to more than it says", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.list(hangzhou, 2)
		l, err := statuslist.New(1<<20, 2, 0)
		x.must(err)
		data, err := l.MarshalCBOR()
		x.must(err)
		custom, err := x.infos[hangzhou].Marshal()
		x.must(err)
		x.target("status-33", "status/3301/0.tsl", data, custom)
		x.publish("status-33")
		return serve(x)
	}, ErrTooLarge},
	{mirrors, "cut in the middle, list", func(now, _ *authority) func(string) ([]byte, error) {
		path := listFile(now, hangzhou)
		return answer(path, now.files[path][:10])
	}, ErrHash},
	{mirrors, "cut in the middle, snapshot", func(now, _ *authority) func(string) ([]byte, error) {
		path := fmt.Sprintf("metadata/%d.snapshot.json", now.snapshot.Signed.Version)
		return answer(path, now.files[path][:100])
	}, ErrHash},
	{mirrors, "cut in the middle, timestamp", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(timestampFile, now.files[timestampFile][:100])
	}, ErrMalformed},
	{mirrors, "withheld, timestamp", func(now, _ *authority) func(string) ([]byte, error) {
		return func(p string) ([]byte, error) {
			if p == timestampFile {
				return nil, fmt.Errorf("file %s: %w", p, ErrNotFound)
			}
			return nil, nil
		}
	}, ErrNotFound},
	{arbitrary, "null, no snapshot in the timestamp", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": nil}
		x.timestamp.Signed.Version++
		return answer(timestampFile, sign(x, x.timestamp, x.signers["timestamp"]))
	}, ErrMalformed},
	{arbitrary, "null, a role in the snapshot", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.snapshot.Signed.Meta["status-33.json"] = nil
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrMalformed},
	{arbitrary, "null, a role that the snapshot did not have", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.snapshot.Signed.Meta["release.json"] = nil
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrMalformed},
	{arbitrary, "null, a target", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.targets["status-33"].Signed.Targets["status/3301/9.tsl"] = nil
		x.publish("status-33")
		return serve(x)
	}, ErrMalformed},
	{arbitrary, "null, a delegated key", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.targets["targets"].Signed.Delegations.Keys[delegation(x.targets["targets"], "status-33").KeyIDs[0]] = nil
		x.publish("targets", "status-33")
		return serve(x)
	}, ErrMalformed},
	{arbitrary, "a timestamp that does not say when", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.Version++
		x.timestamp.Signed.UnrecognizedFields = nil
		return answer(timestampFile, sign(x, x.timestamp, x.signers["timestamp"]))
	}, ErrMalformed},
	{arbitrary, "a list without a description", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.list(hangzhou, 1)
		x.targets["status-33"].Signed.Targets["status/3301/0.tsl"].Custom = nil
		x.publish("status-33")
		return serve(x)
	}, ErrMalformed},
	{arbitrary, "key list that does not parse", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.target("keys", "keys/keys.json", []byte(`{"keys":`), nil)
		x.publish("keys")
		return serve(x)
	}, ErrMalformed},
	{arbitrary, "policy out of bounds", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.target("policy", "policy/policy.json", []byte(`{"fever_at_millicelsius":99000}`), nil)
		x.publish("policy")
		return serve(x)
	}, ErrMalformed},
	{arbitrary, "another kind of metadata", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(timestampFile, now.files[fmt.Sprintf("metadata/%d.snapshot.json", now.snapshot.Signed.Version)])
	}, ErrMalformed},
	{arbitrary, "root of a specification to come", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.root.Signed.Version++
		x.root.Signed.SpecVersion = "2.0.0"
		x.writeRoot(x.signers["root"]...)
		return serve(x)
	}, ErrMalformed},
	{arbitrary, "snapshot of a specification to come", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.snapshot.Signed.SpecVersion = "2.0.0"
		x.publish("status-33")
		return serve(x)
	}, ErrMalformed},
	timestampTrap("of a specification to come", `"spec_version":"1.0.31"`, `"spec_version":"2.0.0"`, ErrMalformed),
	timestampTrap("of no specification", `"spec_version":"1.0.31",`, ``, ErrMalformed),
	timestampTrap("that calls itself a snapshot", `"_type":"timestamp"`, `"_type":"snapshot"`, ErrMalformed),
	timestampTrap("with a negative version", `"version":99}`, `"version":-1}`, ErrRollback),
	timestampTrap("with a null for its version", `"version":99}`, `"version":null}`, ErrSignature),
	timestampTrap("with a version beyond 64 bits", `"version":99}`, `"version":9223372036854775808}`, ErrMalformed),
	timestampTrap("with a version beyond all bounds", `"version":99}`, `"version":1e400}`, ErrMalformed),
	timestampTrap("with a fraction of a version", `"version":99}`, `"version":99.5}`, ErrMalformed),
	timestampTrap("with a version that is no number", `"version":99}`, `"version":NaN}`, ErrMalformed),
	timestampTrap("with a version in words", `"version":99}`, `"version":"99"}`, ErrMalformed),
	timestampTrap("with a snapshot of version 0", `"meta":{`, `"meta":{"snapshot.json":{"version":0},"x":{`, ErrMalformed),
	timestampTrap("that ends on no day", `"expires":"2020`, `"expires":"2020-02-31T25:00:00Z","x":"`, ErrMalformed),
	timestampTrap("issued in a number", `"issued":"`, `"issued":4,"x":"`, ErrMalformed),
	timestampTrap("issued after its end", `"issued":"`, `"issued":"2031-01-01T00:00:00Z","x":"`, ErrMalformed),
	timestampTrap("nested beyond any parser", `"version":99}`, `"version":99,"x":`+strings.Repeat("[", 7900)+strings.Repeat("]", 7900)+`}`, nil),
	timestampTrap("with a field that is not known yet", `"version":99}`, `"version":99,"x-field":{"of":"a later time"}}`, nil),
	{arbitrary, "a name twice, under the honest signature", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(timestampFile, bytes.Replace(now.files[timestampFile], []byte(`"version":`), []byte(`"version":1,"version":9`), -1))
	}, ErrSignature},
	{arbitrary, "a name once more in capitals, under the honest signature", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(timestampFile, bytes.Replace(now.files[timestampFile], []byte(`"expires":`), []byte(`"EXPIRES":"2031-01-01T00:00:00Z","expires":`), 1))
	}, ErrSignature},
	{arbitrary, "something behind the end", func(now, _ *authority) func(string) ([]byte, error) {
		return answer(timestampFile, append(slices.Clone(now.files[timestampFile]), "{}"...))
	}, ErrMalformed},
	{arbitrary, "nested so deep that a parser would fall over", func(_, _ *authority) func(string) ([]byte, error) {
		return answer("metadata/2.root.json", bytes.Repeat([]byte(`{"signed":`), 50000))
	}, ErrMalformed},
	roleTrap(arbitrary, "a list without a hash", `"hashes":\{[^}]*\}`, `"hashes":{}`, ErrMalformed),
	roleTrap(arbitrary, "a list with a hash of another kind alone", `"hashes":\{[^}]*\}`, `"hashes":{"md5":"00"}`, ErrMalformed),
	roleTrap(arbitrary, "a list with a hash of another kind beside", `"hashes":\{`, `"hashes":{"md5":"00",`, ErrHash),
	roleTrap(arbitrary, "a list with half a hash", `"sha256":"[0-9a-f]{32}`, `"sha256":"`, ErrMalformed),
	roleTrap(arbitrary, "a list of negative length", `"length":[0-9]+`, `"length":-5`, ErrMalformed),
	roleTrap(arbitrary, "a description with a name twice", `"sequence":`, `"sequence":7,"sequence":`, ErrMalformed),
	roleTrap(arbitrary, "a description of generation 2^60", `"sequence":[0-9]+`, `"sequence":1152921504606846976`, ErrMalformed),
	roleTrap(arbitrary, "a description that is null", `"custom":\{[^}]*\}`, `"custom":null`, ErrSignature),
	roleTrap(arbitrary, "a role of a specification to come", `"spec_version":"1`, `"spec_version":"2`, ErrMalformed),
	roleTrap(arbitrary, "targets that are a list", `"targets":\{.*\},"version"`, `"targets":[],"version"`, ErrMalformed),
	roleTrap(arbitrary, "a list without a length", `,"length":[0-9]+`, ``, ErrSignature),
	roleTrap(endless, "a list of no bytes, they say", `"length":[0-9]+`, `"length":0`, ErrTooLarge),
	roleTrap(endless, "a list of 4 EiB", `"length":[0-9]+`, `"length":4611686018427387904`, ErrTooLarge),
	{arbitrary, "a description changed under the role's own signature", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		path := fmt.Sprintf("metadata/%d.status-33.json", x.targets["status-33"].Signed.Version)
		// Canonical JSON knows a name once, so the signature holds; the
		// snapshot's hash would tell, and a thief of its key leaves it away.
		x.files[path] = regexp.MustCompile(`"sequence":`).ReplaceAll(x.files[path], []byte(`"sequence":9,"sequence":`))
		x.snapshot.Signed.Meta["status-33.json"] = &metadata.MetaFiles{Version: x.targets["status-33"].Signed.Version}
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrMalformed},
	{endless, "a timestamp that does not end", endlessly(func(string) bool { return true }), ErrTooLarge},
	{endless, "a root that does not end", endlessly(func(p string) bool { return strings.HasSuffix(p, ".root.json") }), ErrTooLarge},
	{endless, "a snapshot that does not end", endlessly(func(p string) bool { return strings.HasSuffix(p, ".snapshot.json") }), ErrTooLarge},
	{endless, "a role that does not end", endlessly(func(p string) bool { return strings.HasSuffix(p, ".status-33.json") }), ErrTooLarge},
	{endless, "a list that does not end", endlessly(func(p string) bool { return strings.HasSuffix(p, ".tsl") }), ErrTooLarge},
	{endless, "keys that do not end", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.issuer("44")
		x.publish("keys")
		*now = *x.fork()
		return endlessly(func(p string) bool { return strings.HasSuffix(p, ".keys.json") && strings.HasPrefix(p, "targets/") })(now, nil)
	}, ErrTooLarge},
	{endless, "a policy that does not end", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.policy(2)
		x.mapped = false // the map is honest, and would go in
		x.publish("policy")
		*now = *x.fork()
		return endlessly(func(p string) bool { return strings.HasSuffix(p, ".policy.json") && strings.HasPrefix(p, "targets/") })(now, nil)
	}, ErrTooLarge},
	{endless, "a thousand roots", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		return func(path string) ([]byte, error) {
			if strings.HasSuffix(path, ".root.json") {
				return x.firstRoot(), nil
			}
			return nil, nil
		}
	}, ErrVersion},
	{extraneous, "a thousand lists that nobody here wants", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		for i := range 1000 {
			x.target("status-33", fmt.Sprintf("status/5%03d/%d.tsl", i, i), []byte("x"), nil)
		}
		x.publish("status-33")
		return serve(x)
	}, ErrDelegation},
	{extraneous, "keys, policy and software in a province's role", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		for _, path := range []string{"keys/keys.json", "policy/policy.json", "map/map.json", "release/gated", "targets.json", "../../etc/passwd"} {
			x.target("status-33", path, []byte(`{}`), nil)
		}
		x.publish("status-33")
		return serve(x)
	}, nil},
	roleTrap(extraneous, "a province that delegates to itself and to everybody", `^\{`, `{"delegations":{"keys":{},"roles":[`+
		`{"name":"status-33","keyids":[],"threshold":1,"terminating":false,"paths":["*/*/*"]},`+
		`{"name":"targets","keyids":[],"threshold":1,"terminating":false,"paths":["*/*"]}]},`, nil),
	{extraneous, "delegations a thousand deep", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		for i := range 1000 {
			x.targets["targets"].Signed.Delegations.Roles = append(x.targets["targets"].Signed.Delegations.Roles, metadata.DelegatedRole{
				Name: fmt.Sprintf("deep-%d", i), KeyIDs: []string{"none"}, Threshold: 1, Paths: []string{"status/*/*"}})
		}
		x.publish("targets", "status-33")
		return serve(x)
	}, nil},
	{fastForward, "a timestamp far ahead, by a stranger", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		_, _, s := x.newKey()
		x.signers["timestamp"] = []signature.Signer{s}
		x.timestamp.Signed.Version = 1 << 50
		x.signTimestamp()
		return answer(timestampFile, x.files[timestampFile])
	}, ErrSignature},
	{fastForward, "a snapshot far ahead that is not there", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.timestamp.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Version: 1<<63 - 1}
		x.signTimestamp()
		return serve(x)
	}, ErrNotFound},
	{fastForward, "a signed time far ahead", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.now = x.now.AddDate(0, 0, 20)
		x.signTimestamp()
		return serve(x)
	}, ErrFuture},
	{freeze, "targets have expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.now = now.now.AddDate(0, 0, -91)
		x.signRole("targets")
		x.now = now.now
		x.signSnapshot()
		x.signTimestamp()
		return serve(x)
	}, ErrExpired},
	{freeze, "the list has expired", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.now = now.now.AddDate(0, 0, -31)
		x.list(hangzhou, 3)
		x.now = now.now
		x.publish("status-33")
		return serve(x)
	}, ErrRollback},
	{freeze, "the same for ever", func(now, old *authority) func(string) ([]byte, error) {
		files := old.fork()
		now.now = now.now.AddDate(0, 0, 2)
		return serve(files)
	}, ErrExpired},
	{mirrors, "nothing is there", func(_, _ *authority) func(string) ([]byte, error) {
		return func(p string) ([]byte, error) { return nil, fmt.Errorf("file %s: %w", p, ErrNotFound) }
	}, ErrNotFound},
	{mirrors, "nothing is answered", func(_, _ *authority) func(string) ([]byte, error) {
		return func(p string) ([]byte, error) { return nil, fmt.Errorf("file %s: %w", p, ErrUnavailable) }
	}, ErrUnavailable},
	{mirrors, "everything breaks off in the middle", func(_, _ *authority) func(string) ([]byte, error) {
		return func(string) ([]byte, error) { return nil, errBroken }
	}, ErrUnavailable},
	{mirrors, "withheld, one role", func(now, _ *authority) func(string) ([]byte, error) {
		return func(p string) ([]byte, error) {
			if strings.HasSuffix(p, ".status-33.json") {
				return nil, fmt.Errorf("file %s: %w", p, ErrNotFound)
			}
			return nil, nil
		}
	}, ErrNotFound},
	{mirrors, "withheld, one list", func(now, _ *authority) func(string) ([]byte, error) {
		path := listFile(now, hangzhou)
		return func(p string) ([]byte, error) {
			if p == path {
				return nil, fmt.Errorf("file %s: %w", p, ErrNotFound)
			}
			return nil, nil
		}
	}, ErrNotFound},
	{mixAndMatch, "targets of before under the snapshot of now", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.publish("targets")
		path := fmt.Sprintf("metadata/%d.targets.json", x.targets["targets"].Signed.Version)
		x.files[path] = old.files[fmt.Sprintf("metadata/%d.targets.json", old.targets["targets"].Signed.Version)]
		return serve(x)
	}, ErrHash},
	{mixAndMatch, "a role of before under the snapshot of now, and no hash to tell", func(now, old *authority) func(string) ([]byte, error) {
		x := now.fork()
		n := x.targets["status-33"].Signed.Version
		x.snapshot.Signed.Meta["status-33.json"] = &metadata.MetaFiles{Version: n}
		x.signSnapshot()
		x.signTimestamp()
		x.files[fmt.Sprintf("metadata/%d.status-33.json", n)] = old.files[fmt.Sprintf("metadata/%d.status-33.json", old.targets["status-33"].Signed.Version)]
		return serve(x)
	}, ErrVersion},
	{mixAndMatch, "the snapshot of now under the timestamp of before", func(now, old *authority) func(string) ([]byte, error) {
		x := old.fork()
		x.signTimestamp()
		x.files[fmt.Sprintf("metadata/%d.snapshot.json", old.snapshot.Signed.Version)] =
			now.files[fmt.Sprintf("metadata/%d.snapshot.json", now.snapshot.Signed.Version)]
		return serve(x)
	}, nil}, // what is held is what this timestamp names, and nobody asks
	{keyCompromise, "the timestamp's key alone, for a snapshot of its own", func(now, _ *authority) func(string) ([]byte, error) {
		x := thief(now, "timestamp")
		x.publish("status-33")
		return serve(x)
	}, ErrSignature},
	{keyCompromise, "the keys of timestamp and snapshot, for a list of their own", func(now, _ *authority) func(string) ([]byte, error) {
		x := thief(now, "timestamp", "snapshot")
		x.list(hangzhou, 0)
		x.publish("status-33")
		return serve(x)
	}, ErrSignature},
	{keyCompromise, "another province's key", func(now, _ *authority) func(string) ([]byte, error) {
		x := thief(now, "timestamp", "snapshot", "status-44")
		x.signers["status-33"] = x.signers["status-44"]
		x.list(hangzhou, 0)
		x.publish("status-33")
		return serve(x)
	}, ErrSignature},
	{keyCompromise, "one of three root keys", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		one := x.signers["root"][0]
		x.root.Signed.Version++
		x.newRootKeys("root")
		x.newRootKeys("timestamp")
		x.writeRoot(append(x.signers["root"], one)...)
		return serve(x)
	}, ErrSignature},
	{keyCompromise, "the old root keys alone", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		by := x.signers["root"]
		x.root.Signed.Version++
		x.newRootKeys("root")
		x.writeRoot(by...)
		return serve(x)
	}, ErrSignature},
	{wrongSoftware, "another list's URI under this one's path", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.listAt("status-33", "status/3301/0.tsl", statuslist.Info{URI: ningbo, Sequence: 9}, 3)
		x.publish("status-33")
		return serve(x)
	}, ErrDelegation},
	{wrongSoftware, "another province's list", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.listAt("status-33", "status/4401/0.tsl", statuslist.Info{URI: canton, Sequence: 9}, 3)
		x.publish("status-33")
		return serve(x)
	}, ErrDelegation},
	{wrongSoftware, "the key list as the policy", func(now, _ *authority) func(string) ([]byte, error) {
		x := now.fork()
		x.policy(2)
		x.mapped = false // the map is honest, and would go in
		x.publish("policy")
		policy := x.targets["policy"].Signed.Targets["policy/policy.json"].Hashes["sha256"].String()
		keys := x.targets["keys"].Signed.Targets["keys/keys.json"].Hashes["sha256"].String()
		x.files[hashed("policy/policy.json", policy)] = x.files[hashed("keys/keys.json", keys)]
		return serve(x)
	}, ErrHash},
}

// errEndless and errBroken are answers that are more than bytes: one that does
// not end, and one that breaks off after half of the honest file.
var (
	errEndless = errors.New("endless")
	errBroken  = errors.New("broken off")
)

// overTLS puts the device's server behind real HTTPS.
func overTLS(t *testing.T, d *device) {
	t.Helper()
	var mu sync.Mutex
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		path := strings.TrimPrefix(r.URL.Path, "/lists/")
		data, err := d.server.read(path)
		honest := d.a.files[path]
		mu.Unlock()
		switch {
		case errors.Is(err, ErrNotFound):
			http.NotFound(w, r)
		case errors.Is(err, errEndless):
			for block := make([]byte, 64<<10); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		case errors.Is(err, errBroken):
			w.Header().Set("Content-Length", strconv.Itoa(len(honest)))
			_, _ = w.Write(honest[:len(honest)/2])
			panic(http.ErrAbortHandler)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			_, _ = w.Write(data) // the client hangs up on what is too long
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	h, err := NewHTTPS(s.URL+"/lists", s.Client())
	if err != nil {
		t.Fatal(err)
	}
	h.pause = 0
	d.fetcher = h
}

// Each attack, over real HTTPS: it is refused with its reason, which the status
// shows; what was held answers unchanged or is the honest next; and the next
// good run goes through, after a restart too.
func TestAttacks(t *testing.T) {
	for _, row := range attacks {
		t.Run(row.of+": "+row.name, func(t *testing.T) {
			a := nation(t)
			a.list(hangzhou, 0)
			a.publish("status-33")
			a.list(hangzhou, 0)
			a.publish("status-33", "targets")
			d := newDevice(t, a, "33", "44")
			overTLS(t, d)
			d.boot("33", "44")
			d.mustOnce()
			lastOK := d.Status().LastOK
			old := a.fork()
			a.list(hangzhou, 3)
			a.publish("status-33")
			before := d.store.content.clone()

			d.server.hostile = row.server(a, old)
			d.server.asked = nil
			r, err := d.once()
			if !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			s := d.Status()
			if !errors.Is(s.LastError, row.want) || row.want != nil && !s.LastOK.Equal(lastOK) || !s.LastTry.Equal(a.now) {
				t.Errorf("the status does not show it: %+v", s)
			}
			if n := len(d.server.asked); n > 40 {
				t.Errorf("asked for %d files: %v", n, d.server.asked)
			}
			if r.Fetched > 1<<20 {
				t.Errorf("%d bytes fetched", r.Fetched)
			}
			for uri, l := range d.store.lists {
				was, ok := before.lists[uri]
				held := ok && sameInfo(l.info, was.info) && bytes.Equal(l.raw, was.raw)
				if next := sameInfo(l.info, a.infos[uri]) && bytes.Equal(l.raw, a.raws[uri]); !held && !next {
					t.Errorf("list %s is held as %+v, colour %d", uri, l.info, l.raw[0]&3)
				}
			}
			if len(d.store.lists) != len(before.lists) {
				t.Errorf("held %v, before %v", d.store.colours(), before.lists)
			}
			if d.store.version != before.version || d.store.policy != before.policy || d.store.riskMap.Version != before.riskMap.Version {
				t.Error("keys, policy or map changed")
			}
			if d.store.floor.After(a.now.Add(maxAhead)) {
				t.Errorf("floor at %s, it is %s", d.store.floor, a.now)
			}
			d.server.hostile = nil
			if a.behind(d) {
				a.outrun(d)
			} else {
				a.list(hangzhou, 3)
				a.publish("status-33")
			}
			d.boot("33", "44")
			d.mustOnce()
			d.mustBeCurrent()
			if s := d.Status(); s.LastError != nil || !s.LastOK.Equal(a.now) {
				t.Errorf("the status after the next good run: %+v", s)
			}
		})
	}
}

// A table that forgot an attack of the specification, or made one up, would be
// easily satisfied.
func TestEveryAttackOfTheSpecificationIsPlayed(t *testing.T) {
	played := map[string]int{}
	for _, row := range attacks {
		played[row.of]++
	}
	for _, name := range specified {
		if played[name] < 2 {
			t.Errorf("%s: %d rows, want some", name, played[name])
		}
		delete(played, name)
	}
	if len(specified) != 10 || len(played) > 0 {
		t.Errorf("%d attacks specified, want 10; rows of none of them: %v", len(specified), played)
	}
}

// behind says whether the device holds metadata that this authority did not
// write: some of these attacks are made with all of its keys.
func (a *authority) behind(d *device) bool {
	for _, raw := range d.store.metadata {
		if !slices.ContainsFunc(slices.Collect(maps.Values(a.files)), func(f []byte) bool { return bytes.Equal(f, raw) }) &&
			!bytes.Equal(raw, a.files[timestampFile]) {
			return true
		}
	}
	return false
}

// outrun publishes beyond what the gate has seen: some of these attacks leave
// higher versions behind, as any publish would.
func (a *authority) outrun(d *device) {
	a.t.Helper()
	a.timestamp.Signed.Version, a.snapshot.Signed.Version = 1000, 1000
	for _, md := range a.targets {
		md.Signed.Version += 10
	}
	if root, err := metadata.Root().FromBytes(d.store.metadata["root"]); err == nil && root.Signed.Version > a.root.Signed.Version {
		a.root.Signed.Version = root.Signed.Version + 1
		a.files[fmt.Sprintf("metadata/%d.root.json", root.Signed.Version)] = d.store.metadata["root"]
		a.root.Signed.Expires = a.now.AddDate(1, 0, 0)
		a.writeRoot(a.signers["root"]...)
	}
	info := a.infos[hangzhou]
	info.Sequence += 10
	a.putList(info, 3)
	a.publish(slices.Collect(maps.Keys(a.targets))...)
}

// A run fetches no more than it may, over all files.
func TestTotalCap(t *testing.T) {
	a := nation(t)
	d := newDevice(t, a, "33", "44")
	d.config.Limits.Run = 6000
	r, err := d.once()
	if !errors.Is(err, ErrTooLarge) || r.Fetched > 6000 {
		t.Errorf("fetched %d bytes, error %v; want ErrTooLarge within 6000", r.Fetched, err)
	}
	a.root.Signed.Version++
	for range 300 {
		a.writeRoot(a.signers["root"]...)
		a.root.Signed.Version++
	}
	d = newDevice(t, a, "33")
	d.mustOnce()
	d.mustOnce()
	if root, err := metadata.Root().FromBytes(d.store.metadata["root"]); err != nil || root.Signed.Version != 257 {
		t.Errorf("one run followed the roots to %v, %v, want 257", root.Signed.Version, err)
	}
}
