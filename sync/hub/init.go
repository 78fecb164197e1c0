package hub

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"greengate/gate/passage"
	"greengate/pass"
	"greengate/sync/hub/publisher"
)

// ErrExists: the folder already holds a hub.
var ErrExists = errors.New("a hub is already there")

// ErrNoHub: the folder holds no hub.
var ErrNoHub = errors.New("no hub there")

// issuerLife is how long an issuer's or enterprise's key may sign.
const issuerLife = 2 * 365 * 24 * time.Hour

// paths are the files of a data folder.
type paths struct{ dir string }

func (p paths) config() string     { return filepath.Join(p.dir, "hub.json") }
func (p paths) ca() string         { return filepath.Join(p.dir, "ca") }
func (p paths) keys() string       { return filepath.Join(p.dir, "keys") }
func (p paths) tufKeys() string    { return filepath.Join(p.dir, "keys", "tuf") }
func (p paths) hpkeKey() string    { return filepath.Join(p.dir, "keys", "passages.pem") }
func (p paths) lists() string      { return filepath.Join(p.dir, "lists") }
func (p paths) served() string     { return filepath.Join(p.dir, "served") }
func (p paths) revocation() string { return filepath.Join(p.dir, "revocation") }
func (p paths) jetstream() string  { return filepath.Join(p.dir, "jetstream") }
func (p paths) token() string      { return filepath.Join(p.dir, "operator.token") }
func (p paths) lock() string       { return filepath.Join(p.dir, "lock") }
func (p paths) socket() string     { return filepath.Join(p.dir, SocketName) }
func (p paths) issuer(province string) string {
	return filepath.Join(p.keys(), "issuer-"+province+".pem")
}
func (p paths) enterprise(number string) string {
	return filepath.Join(p.keys(), "enterprise-"+number+".pem")
}

// Init makes a hub in dir: its authority and certificate, the keys, the empty
// signed lists and the operator's token. One that was cut can be run again;
// hub.json is written last and marks it done.
func Init(ctx context.Context, dir string, c Config, o Options) error {
	o = o.withDefaults()
	p := paths{dir}
	if err := c.complete(); err != nil {
		return fmt.Errorf("hub in %s: %w: %w", dir, ErrInvalid, err)
	}
	if _, err := os.Stat(p.config()); err == nil {
		return fmt.Errorf("hub in %s: %w", dir, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("hub in %s: %w", dir, err)
	}
	for _, d := range []string{dir, p.ca(), p.keys(), p.tufKeys(), p.jetstream()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("hub in %s: %w", dir, err)
		}
		// MkdirAll leaves a folder that was there as it was.
		if err := os.Chmod(d, 0o700); err != nil {
			return fmt.Errorf("hub in %s: %w", dir, err)
		}
	}
	now := o.Now()
	authority, err := openCA(p.ca(), c.Name, now)
	if err != nil {
		return fmt.Errorf("hub in %s: %w", dir, err)
	}
	if _, err := authority.serverCertificate(p.ca(), c.Hosts, now); err != nil {
		return fmt.Errorf("hub in %s: %w", dir, err)
	}
	if err := makePassageKey(p.hpkeKey()); err != nil {
		return fmt.Errorf("hub in %s: %w", dir, err)
	}
	for _, province := range c.Provinces {
		if _, err := openEd25519(p.issuer(province)); err != nil {
			return fmt.Errorf("hub in %s: issuer of %s: %w", dir, province, err)
		}
	}
	if _, err := publisher.Init(p.tufKeys(), p.lists(), publisher.Options{Provinces: c.Provinces, Now: o.Now}); err != nil && !errors.Is(err, publisher.ErrExists) {
		return fmt.Errorf("hub in %s: %w", dir, err)
	}
	if err := o.makeToken(p.token()); err != nil {
		return fmt.Errorf("hub in %s: operator's token: %w", dir, err)
	}
	if !c.Cluster {
		s, err := openEmbedded(ctx, p.jetstream(), o.Log)
		if err != nil {
			return err
		}
		defer s.close()
		if err := putIssuers(ctx, s, p, c, now); err != nil {
			return fmt.Errorf("hub in %s: %w", dir, err)
		}
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("hub in %s: %w", dir, err)
	}
	if err := writePrivate(p.config(), append(data, '\n')); err != nil {
		return fmt.Errorf("hub in %s: %w", dir, err)
	}
	return nil
}

// Join makes dir another hub of those that stand side by side on one cluster: it
// has the same authority, online keys and operator's token as the one in from,
// and none of its offline keys. Its folder is as secret as the first. Done again, with
// the hub in dir stopped, it takes over keys and provinces that were added since.
func Join(ctx context.Context, from, dir string) error {
	src, dst := paths{from}, paths{dir}
	fail := func(err error) error { return fmt.Errorf("join %s to the hub in %s: %w", dir, from, err) }
	data, err := os.ReadFile(src.config())
	if errors.Is(err, fs.ErrNotExist) {
		return fail(ErrNoHub)
	}
	if err != nil {
		return fail(err)
	}
	var c Config
	if err := errors.Join(decodeStrict(data, &c), c.complete()); err != nil {
		return fail(err)
	}
	if !c.Cluster {
		return fail(fmt.Errorf("%w: its registry lies in its own folder, where no other hub can be\nhint: `gatehub init -cluster` makes one for several", ErrConflict))
	}
	if have, err := readCert(filepath.Join(dst.ca(), "ca.pem")); err == nil {
		if theirs, err := readCert(filepath.Join(src.ca(), "ca.pem")); err != nil || !have.Equal(theirs) {
			return fail(fmt.Errorf("%w, of another authority\nhint: choose an empty folder, or the -from that this hub was joined to", errors.Join(ErrExists, err)))
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	for _, d := range []string{dir, dst.ca(), dst.keys(), dst.tufKeys()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fail(err)
		}
	}
	lock, err := lockFile(dst.lock())
	if err != nil {
		return fail(err)
	}
	defer lock.Close()
	err = filepath.WalkDir(src.keys(), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if e.IsDir() {
			if path == filepath.Join(src.tufKeys(), "offline") {
				return fs.SkipDir
			}
			return os.MkdirAll(to, 0o700)
		}
		return copyPrivate(path, to)
	})
	if err != nil {
		return fail(err)
	}
	for _, f := range [][2]string{{filepath.Join(src.ca(), "ca.key"), filepath.Join(dst.ca(), "ca.key")},
		{filepath.Join(src.ca(), "ca.pem"), filepath.Join(dst.ca(), "ca.pem")}, {src.token(), dst.token()}} {
		if err := copyPrivate(f[0], f[1]); err != nil {
			return fail(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dst.lists(), "metadata")); errors.Is(err, fs.ErrNotExist) {
		if _, err := publisher.Mirror(ctx, ListsFolder(from), dst.lists()); err != nil {
			return fail(err)
		}
	} else if err != nil {
		return fail(err)
	}
	if err := writePrivate(dst.config(), data); err != nil {
		return fail(err)
	}
	return nil
}

// copyPrivate copies a file that nobody else may read.
func copyPrivate(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writePrivate(to, data)
}

// putIssuers writes the issuers' keys to the registry where they are missing.
func putIssuers(ctx context.Context, s *storage, p paths, c Config, now time.Time) error {
	for _, province := range c.Provinces {
		private, err := openEd25519(p.issuer(province))
		if err != nil {
			return fmt.Errorf("issuer of %s: %w", province, err)
		}
		if err := putKey(ctx, s, issuerKey(private, province, now)); err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// makeToken makes the operator's token: 32 random bytes.
func (o Options) makeToken(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return err
	}
	return writePrivate(path, []byte(base64.RawURLEncoding.EncodeToString(b)+"\n"))
}

const passageKeyType = "GREENGATE PASSAGE KEY"

func makePassageKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key, err := passage.NewHubKey()
	if err != nil {
		return fmt.Errorf("passage key: %w", err)
	}
	data, err := passage.MarshalHubPrivateKey(key)
	if err != nil {
		return fmt.Errorf("passage key: %w", err)
	}
	if err := writePrivate(path, pem.EncodeToMemory(&pem.Block{Type: passageKeyType, Bytes: data})); err != nil {
		return fmt.Errorf("passage key: %w", err)
	}
	return nil
}

// issuerKey describes a province's key for health codes.
func issuerKey(private ed25519.PrivateKey, province string, now time.Time) pass.Key {
	public := private.Public().(ed25519.PublicKey)
	from := now.UTC().Truncate(time.Second)
	return pass.Key{ID: keyID(public), Algorithm: pass.EdDSA, Public: public, Use: pass.UseCode, Region: province,
		NotBefore: from, NotAfter: from.Add(issuerLife)}
}

// keyRecord is a verification key in the registry: a key list of one.
type keyRecord struct {
	Set json.RawMessage `json:"set"`
}

func putKey(ctx context.Context, s *storage, k pass.Key) error {
	set, err := pass.MarshalKeySet([]pass.Key{k})
	if err != nil {
		return fmt.Errorf("key %x: %w", k.ID, err)
	}
	_, err = create(ctx, s.registry, "key."+hex.EncodeToString(k.ID), keyRecord{set})
	return err
}
