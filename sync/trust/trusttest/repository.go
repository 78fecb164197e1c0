package trusttest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// TimestampFile is the only file that changes under its name.
const TimestampFile = "metadata/timestamp.json"

// Repository is one generation of an honest repository.
type Repository struct {
	// Files by their slash-separated path.
	Files map[string][]byte
	// Keys of each role that the test holds. A thief is given some of them.
	Keys map[string][]Key
}

// ServeHTTP implements [http.Handler]: the honest server.
func (r Repository) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	data, ok := r.Files[below(q.URL.Path)]
	if !ok {
		http.NotFound(w, q)
		return
	}
	// A client that hangs up has had enough.
	_, _ = w.Write(data)
}

// below returns the path below the repository, which may lie anywhere.
func below(path string) string {
	for _, top := range []string{"/metadata/", "/targets/"} {
		if i := strings.Index(path, top); i >= 0 {
			return path[i+1:]
		}
	}
	return strings.TrimPrefix(path, "/")
}

// Key is one private key of a role.
type Key struct {
	// ID as metadata names it.
	ID      string
	private ed25519.PrivateKey
}

// NewKey returns the key with the identifier that TUF gives it.
func NewKey(private ed25519.PrivateKey) Key {
	public := hex.EncodeToString(private.Public().(ed25519.PublicKey))
	id := sha256.Sum256([]byte(`{"keytype":"ed25519","keyval":{"public":"` + public + `"},"scheme":"ed25519"}`))
	return Key{ID: hex.EncodeToString(id[:]), private: private}
}

// Sign returns metadata: the signed part as it stands, whatever it is, and the
// signatures of these keys over what it means.
func Sign(signed []byte, keys ...Key) []byte {
	message := signed
	if tree, err := decode(signed); err == nil {
		message = encode(tree)
	}
	signatures := []any{}
	for _, k := range keys {
		signatures = append(signatures, map[string]any{"keyid": k.ID, "sig": hex.EncodeToString(ed25519.Sign(k.private, message))})
	}
	return slices.Concat([]byte(`{"signatures":`), encode(signatures), []byte(`,"signed":`), signed, []byte(`}`))
}

// Signed returns the signed part of metadata as it stands.
func Signed(metadata []byte) ([]byte, error) {
	var whole struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(metadata, &whole); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return whole.Signed, nil
}

// decode reads JSON with its numbers as they stand.
func decode(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("trailing data: %v", err)
	}
	return tree, nil
}

// encode writes JSON in the canonical form that is signed, for texts without
// control characters. What the encoder refuses is written as null.
func encode(tree any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return []byte("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

type object = map[string]any

// at follows names into objects, nil where there is nothing.
func at(tree any, names ...string) any {
	for _, n := range names {
		o, ok := tree.(object)
		if !ok {
			return nil
		}
		tree = o[n]
	}
	return tree
}

// signedTree returns the signed part of a file of the repository, nil for none.
func (r Repository) signedTree(path string) object {
	raw, err := Signed(r.Files[path])
	if err != nil {
		return nil
	}
	tree, err := decode(raw)
	if err != nil {
		return nil
	}
	o, ok := tree.(object)
	if !ok {
		return nil
	}
	return o
}

func version(tree any) int64 {
	n, ok := tree.(json.Number)
	if !ok {
		return 0
	}
	v, err := n.Int64()
	if err != nil {
		return 0
	}
	return v
}

// current returns the paths of all metadata that the timestamp leads to, by
// role, and of all target files.
func (r Repository) current() (roles map[string]string, targets []string) {
	roles = map[string]string{"timestamp": TimestampFile}
	snapshot := version(at(r.signedTree(TimestampFile), "meta", "snapshot.json", "version"))
	roles["snapshot"] = fmt.Sprintf("metadata/%d.snapshot.json", snapshot)
	meta, ok := at(r.signedTree(roles["snapshot"]), "meta").(object)
	if !ok {
		return roles, nil
	}
	for name, m := range meta {
		role := strings.TrimSuffix(name, ".json")
		roles[role] = fmt.Sprintf("metadata/%d.%s.json", version(at(m, "version")), role)
	}
	for path := range r.Files {
		if strings.HasPrefix(path, "targets/") {
			targets = append(targets, path)
		}
	}
	slices.Sort(targets)
	return roles, targets
}

// newestRoot returns the highest version of root.
func (r Repository) newestRoot() int64 {
	var newest int64
	for path := range r.Files {
		var n int64
		if _, err := fmt.Sscanf(path, "metadata/%d.root.json", &n); err == nil {
			newest = max(newest, n)
		}
	}
	return newest
}

// keys returns the repository's role names in order.
func (r Repository) roles() []string {
	roles, _ := r.current()
	return slices.Sorted(maps.Keys(roles))
}
