package publisher

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// keyring finds the private keys of roles. A key is a PKCS #8 PEM file,
// DIR/offline/ROLE-N.pem or DIR/online/ROLE-N.pem, mode 0600.
type keyring struct {
	dir string
	// offline is where the offline keys lie instead of DIR/offline: on a stick.
	offline string
}

// signer is one private key with its TUF identifier.
type signer struct {
	id     string
	key    *metadata.Key
	signer signature.Signer
}

// online says whether a role's key lies with the hub. All others are offline.
func online(role string) bool {
	switch role {
	case metadata.TIMESTAMP, metadata.SNAPSHOT, mapRole, revocationRole:
		return true
	}
	return strings.HasPrefix(role, statusPrefix)
}

// quorum is how many keys a role has and how many of them must sign (DESIGN section 4).
func quorum(role string) (keys, threshold int) {
	switch {
	case online(role):
		return 1, 1
	case role == metadata.ROOT, role == metadata.TARGETS:
		return 3, 2
	}
	return 2, 2
}

func (k keyring) folder(role string) string {
	if online(role) {
		return filepath.Join(k.dir, "online")
	}
	if k.offline != "" {
		return k.offline
	}
	return filepath.Join(k.dir, "offline")
}

var keyFile = regexp.MustCompile(`^([a-z][a-z0-9-]*?)-([0-9]{1,9})\.pem$`)

// numbers returns the numbers of the role's key files, ascending.
func (k keyring) numbers(role string) ([]int, error) {
	entries, err := os.ReadDir(k.folder(role))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keys of role %s: %w", role, err)
	}
	var ns []int
	for _, e := range entries {
		m := keyFile.FindStringSubmatch(e.Name())
		if m == nil || m[1] != role {
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", e.Name(), err)
		}
		ns = append(ns, n)
	}
	slices.Sort(ns)
	return ns, nil
}

func (k keyring) path(role string, n int) string {
	return filepath.Join(k.folder(role), fmt.Sprintf("%s-%d.pem", role, n))
}

// make writes as many new keys as the role has, numbered on from those that are there.
func (k keyring) make(role string) ([]signer, error) {
	if err := makeDirs(k.folder(role), 0o700); err != nil {
		return nil, fmt.Errorf("keys of role %s: %w", role, err)
	}
	have, err := k.numbers(role)
	if err != nil {
		return nil, err
	}
	next := 1
	if len(have) > 0 {
		next = have[len(have)-1] + 1
	}
	count, _ := quorum(role)
	var made []signer
	for i := range count {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("key of role %s: %w", role, err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return nil, fmt.Errorf("key of role %s: %w", role, err)
		}
		block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		if err := writeFile(k.path(role, next+i), block, 0o600); err != nil {
			return nil, fmt.Errorf("key of role %s: %w", role, err)
		}
		s, err := newSigner(private)
		if err != nil {
			return nil, fmt.Errorf("key of role %s: %w", role, err)
		}
		made = append(made, s)
	}
	return made, nil
}

// load returns all keys of the role that are at hand.
func (k keyring) load(role string) ([]signer, error) {
	ns, err := k.numbers(role)
	if err != nil {
		return nil, err
	}
	var signers []signer
	for _, n := range ns {
		path := k.path(role, n)
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("key of role %s: %w", role, err)
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("key file %s: not PEM", path)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", path, err)
		}
		private, ok := parsed.(ed25519.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("key file %s: not an Ed25519 key", path)
		}
		s, err := newSigner(private)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", path, err)
		}
		signers = append(signers, s)
	}
	return signers, nil
}

// quorumOf returns the keys at hand that may sign for the role, at least threshold of them.
func (k keyring) quorumOf(role string, keyIDs []string, threshold int) ([]signer, error) {
	all, err := k.load(role)
	if err != nil {
		return nil, err
	}
	may := slices.DeleteFunc(all, func(s signer) bool { return !slices.Contains(keyIDs, s.id) })
	if len(may) >= max(threshold, 1) {
		return may, nil
	}
	if online(role) {
		return nil, fmt.Errorf("role %s: %w: none of its keys is in %s; restore it, or rotate the role with the offline keys",
			role, ErrOnlineKeys, k.folder(role))
	}
	return nil, fmt.Errorf("role %s: %w: %d of the %d needed are in %s; bring the offline keys there and publish again",
		role, ErrOfflineKeys, len(may), threshold, k.folder(role))
}

// retire moves the role's keys that no longer may sign into a folder beside
// them, so that a crash during a rotation never loses one.
func (k keyring) retire(role string, keyIDs []string) error {
	ns, err := k.numbers(role)
	if err != nil {
		return err
	}
	all, err := k.load(role)
	if err != nil {
		return err
	}
	retired := filepath.Join(k.folder(role), "retired")
	for i, s := range all {
		if slices.Contains(keyIDs, s.id) {
			continue
		}
		if err := makeDirs(retired, 0o700); err != nil {
			return fmt.Errorf("retired keys of role %s: %w", role, err)
		}
		from := k.path(role, ns[i])
		if err := os.Rename(from, filepath.Join(retired, filepath.Base(from))); err != nil {
			return fmt.Errorf("retired keys of role %s: %w", role, err)
		}
	}
	return nil
}

func newSigner(private ed25519.PrivateKey) (signer, error) {
	s, err := signature.LoadED25519Signer(private)
	if err != nil {
		return signer{}, err
	}
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		return signer{}, err
	}
	id, err := key.ID()
	if err != nil {
		return signer{}, err
	}
	return signer{id: id, key: key, signer: s}, nil
}
