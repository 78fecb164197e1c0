package trusttest

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Hostile is a repository that a hostile server, or a thief with a server,
// shows. It is an [http.Handler] for paths that begin anywhere before
// metadata/ or targets/.
type Hostile struct {
	// Name says what was done, for whoever reads a failure.
	Name string
	// Stolen are the roles of which the thief has as many keys as must sign:
	// of online roles only. Of all others one key less, at most.
	Stolen []string

	now, held, older Repository
	// files stand in the place of now's; nil is not there.
	files map[string][]byte
	// answers are those that are more than bytes.
	answers map[string]http.HandlerFunc

	rng     *rand.Rand
	current map[string]string
	targets []string
	names   []string
}

// New makes the hostile repository of the seed. The client holds what the
// repository held says, the honest server would show now; older is a
// generation before held.
func New(seed uint64, older, held, now Repository) *Hostile {
	h := &Hostile{now: now, held: held, older: older, files: map[string][]byte{}, answers: map[string]http.HandlerFunc{},
		rng: rand.New(rand.NewPCG(seed, 0x7475660a))}
	h.current, h.targets = now.current()
	h.steal()
	tricks := []struct {
		weight int
		do     func() string
	}{
		{6, h.forge}, {4, h.forgeOther}, {2, h.damage}, {2, h.replay}, {1, h.swap}, {1, h.withhold}, {1, h.root}, {1, h.flood}, {1, h.lie},
	}
	for range 1 + h.rng.IntN(3) {
		n := h.rng.IntN(19)
		for _, t := range tricks {
			if n -= t.weight; n < 0 {
				h.names = append(h.names, t.do())
				break
			}
		}
	}
	h.Name = fmt.Sprintf("seed %d, stolen %v: %s", seed, h.Stolen, strings.Join(h.names, "; "))
	return h
}

// ServeHTTP implements [http.Handler].
func (h *Hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := below(r.URL.Path)
	if f := h.answers[path]; f != nil {
		f(w, r)
		return
	}
	data, ok := h.files[path]
	if !ok {
		data, ok = h.now.Files[path]
	}
	if !ok || data == nil {
		http.NotFound(w, r)
		return
	}
	// A client that hangs up has had enough.
	_, _ = w.Write(data)
}

func (h *Hostile) pick(from []string) string { return from[h.rng.IntN(len(from))] }

func (h *Hostile) online() (roles []string) {
	for _, role := range h.now.roles() {
		if role == "snapshot" || role == "timestamp" || role == "map" || strings.HasPrefix(role, "status-") || role == "revocation" {
			roles = append(roles, role)
		}
	}
	return roles
}

// steal gives the thief online keys, in half of the cases none.
func (h *Hostile) steal() {
	online := h.online()
	switch h.rng.IntN(8) {
	case 0:
		h.Stolen = []string{"timestamp"}
	case 1:
		h.Stolen = []string{h.pick(online)}
	case 2:
		h.Stolen = []string{"snapshot", "timestamp"}
	case 3, 4:
		// A whole province, as from the hub itself.
		h.Stolen = []string{"snapshot", "timestamp", h.pick(slices.DeleteFunc(online, topLevel))}
		slices.Sort(h.Stolen)
	}
}

func topLevel(role string) bool { return role == "snapshot" || role == "timestamp" }

func (h *Hostile) stranger(id string) Key {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(h.rng.Uint32())
	}
	k := NewKey(ed25519.NewKeyFromSeed(seed))
	if id != "" {
		k.ID = id
	}
	return k
}

// sign signs for the role with what the thief has. Where that is not enough,
// it does what it can.
func (h *Hostile) sign(role string, signed []byte) (metadata []byte, how string) {
	own := h.now.Keys[role]
	if slices.Contains(h.Stolen, role) {
		return Sign(signed, own...), "signed with the stolen key"
	}
	var one []Key
	if len(own) > 1 {
		one = own[:1]
	}
	id := func(i int) string {
		if i < len(own) {
			return own[i].ID
		}
		return ""
	}
	switch h.rng.IntN(6) {
	case 0:
		return Sign(signed, h.stranger("")), "signed by a stranger"
	case 1:
		return Sign(signed, append(one, h.stranger(id(1)))...), "signed by a stranger under a key's name"
	case 2:
		return Sign(signed, one...), "signed by too few"
	case 3:
		if len(one) > 0 {
			twin := one[0]
			twin.ID = id(1)
			return Sign(signed, one[0], twin), "signed by one under two names"
		}
		return Sign(signed), "not signed"
	case 4:
		return Sign(signed, append(one, one...)...), "signed by one twice"
	}
	// The signatures that were good for the honest one.
	honest := h.now.Files[h.current[role]]
	if raw, err := Signed(honest); err == nil {
		if i := bytes.Index(honest, raw); i >= 0 {
			return slices.Concat(honest[:i], signed, honest[i+len(raw):]), "under the honest signatures"
		}
	}
	return Sign(signed), "not signed"
}

// tree returns the role's signed part, with what was forged already.
func (h *Hostile) tree(role string) object {
	path := h.current[role]
	r := h.now
	if data, ok := h.files[path]; ok {
		r = Repository{Files: map[string][]byte{path: data}}
	}
	return r.signedTree(path)
}

// forge changes one metadata file in its fields.
func (h *Hostile) forge() string {
	role := h.pick(h.now.roles())
	if len(h.Stolen) > 0 && h.rng.IntN(2) == 0 {
		role = h.pick(h.Stolen)
	}
	tree := h.tree(role)
	if tree == nil {
		return "nothing: " + role + " is in pieces already"
	}
	what := h.mutate(tree)
	signed := encode(tree)
	if h.rng.IntN(6) == 0 {
		signed, what = h.twice(signed), what+", and a name twice"
	}
	return role + ": " + what + ", " + h.put(role, tree, signed)
}

// put puts the forged metadata of a role in the place of the honest one, or
// above it, with all that leads to it.
func (h *Hostile) put(role string, tree object, signed []byte) string {
	if role != "timestamp" && h.rng.IntN(4) > 0 {
		// As the next version, which snapshot and timestamp have to name.
		n := version(tree["version"]) + int64(h.rng.IntN(2))
		if n > 0 {
			tree["version"] = json.Number(fmt.Sprint(n))
			if t, err := decode(signed); err == nil && version(at(t, "version")) != n {
				signed = encode(tree)
			}
		}
		data, how := h.sign(role, signed)
		h.current[role] = fmt.Sprintf("metadata/%d.%s.json", n, role)
		h.files[h.current[role]] = data
		above := "timestamp"
		if role != "snapshot" {
			above = "snapshot"
		}
		return how + h.name(above, role, n, data)
	}
	data, how := h.sign(role, signed)
	h.files[h.current[role]] = data
	return how
}

// name makes the role above speak of this version.
func (h *Hostile) name(above, role string, n int64, data []byte) string {
	tree := h.tree(above)
	meta, ok := at(tree, "meta").(object)
	if !ok {
		return ""
	}
	entry := object{"version": json.Number(fmt.Sprint(n))}
	if h.rng.IntN(4) > 0 {
		sum := sha256.Sum256(data)
		entry["length"], entry["hashes"] = json.Number(fmt.Sprint(len(data))), object{"sha256": hex.EncodeToString(sum[:])}
	}
	meta[role+".json"] = entry
	v := version(tree["version"]) + 1
	tree["version"] = json.Number(fmt.Sprint(v))
	signed, how := h.sign(above, encode(tree))
	how = ", named by " + above + " " + how
	if above == "timestamp" {
		h.files[TimestampFile] = signed
		return how
	}
	h.current[above] = fmt.Sprintf("metadata/%d.%s.json", v, above)
	h.files[h.current[above]] = signed
	return how + h.name("timestamp", above, v, signed)
}

// place is one value in a tree.
type place struct {
	in   any
	name string
	at   int
}

func (p place) get() any {
	if o, ok := p.in.(object); ok {
		return o[p.name]
	}
	return p.in.([]any)[p.at]
}

func (p place) set(v any) {
	if o, ok := p.in.(object); ok {
		o[p.name] = v
		return
	}
	p.in.([]any)[p.at] = v
}

func (p place) String() string {
	if _, ok := p.in.(object); ok {
		return p.name
	}
	return fmt.Sprintf("element %d", p.at)
}

func places(tree any) (all []place) {
	switch t := tree.(type) {
	case object:
		for _, name := range slices.Sorted(maps.Keys(t)) {
			all = append(all, place{in: t, name: name})
			all = append(all, places(t[name])...)
		}
	case []any:
		for i, v := range t {
			all = append(all, place{in: t, at: i})
			all = append(all, places(v)...)
		}
	}
	return all
}

var (
	odd = []string{"null", "true", "-1", "0", "1", "9007199254740993", "9223372036854775807", "9223372036854775808", "1e400", "1.5", "-0",
		`""`, `"NaN"`, `"9999-12-31T23:59:59Z"`, `"../../x"`, `"\u0000"`, `[]`, `{}`, `[null]`, `{"":null}`, strings.Repeat("[", 9000) + strings.Repeat("]", 9000)}
	paths = []string{"keys/keys.json", "policy/policy.json", "map/map.json", "status/3301/0.tsl", "status/4401/0.tsl", "status/33/0.tsl",
		"release/gated", "revocation/x", "../../x", "/etc/passwd", "status/3301/../4401/0.tsl", "status//0.tsl", "status/3301/00.tsl", ""}
)

// mutate changes one value of the tree, or one name.
func (h *Hostile) mutate(tree object) string {
	all := places(tree)
	p := all[h.rng.IntN(len(all))]
	switch h.rng.IntN(9) {
	case 0, 1:
		v := "null"
		if h.rng.IntN(3) > 0 {
			v = h.pick(odd)
		}
		p.set(json.RawMessage(v))
		return fmt.Sprintf("%s is %.20s", p, v)
	case 2:
		if o, ok := p.in.(object); ok {
			delete(o, p.name)
			return "no " + p.name
		}
		p.set(nil)
		return p.String() + " is null"
	case 3:
		q := all[h.rng.IntN(len(all))]
		p.set(json.RawMessage(encode(q.get())))
		return fmt.Sprintf("%s is what %s is", p, q)
	case 4:
		o, ok := p.in.(object)
		if !ok {
			return "nothing"
		}
		name := h.pick(paths)
		o[name] = o[p.name]
		if h.rng.IntN(2) == 0 {
			delete(o, p.name)
		}
		return fmt.Sprintf("%s is called %q", p, name)
	case 5:
		for _, q := range all[h.rng.IntN(len(all)):] {
			if n := version(q.get()); n != 0 {
				by := []int64{1, -1, 1_000_000, -1_000_000, 1 << 50}[h.rng.IntN(5)]
				q.set(json.Number(fmt.Sprint(n + by)))
				return fmt.Sprintf("%s is moved by %d", q, by)
			}
		}
		return "nothing"
	case 6:
		for _, q := range all[h.rng.IntN(len(all)):] {
			s, ok := q.get().(string)
			if !ok {
				continue
			}
			if t, err := time.Parse(time.RFC3339, s); err == nil {
				by := []time.Duration{9 * time.Minute, 20 * time.Minute, -time.Hour, 29 * 24 * time.Hour, -400 * 24 * time.Hour}[h.rng.IntN(5)]
				q.set(t.Add(by).Format(time.RFC3339))
				return fmt.Sprintf("%s is moved by %s", q, by)
			}
			if len(s) > 0 {
				i := h.rng.IntN(len(s))
				q.set(s[:i] + string("0123456789abcdef/.*"[h.rng.IntN(19)]) + s[i+1:])
				return fmt.Sprintf("%s is another text", q)
			}
		}
		return "nothing"
	case 7:
		if o, ok := p.in.(object); ok {
			o["x-"+p.name] = json.RawMessage(h.pick(odd))
			return "an unknown field"
		}
		return "nothing"
	}
	o, ok := p.in.(object)
	if !ok {
		return "nothing"
	}
	// encoding/json does not mind the case of a name.
	o[strings.ToUpper(p.name)] = json.RawMessage(h.pick(odd))
	return p.name + " once more in capitals"
}

// twice writes some name of the text twice.
func (h *Hostile) twice(signed []byte) []byte {
	var starts []int
	for i := range signed {
		if (signed[i] == '{' || signed[i] == ',') && i+1 < len(signed) && signed[i+1] == '"' {
			starts = append(starts, i+1)
		}
	}
	if len(starts) == 0 {
		return signed
	}
	from := starts[h.rng.IntN(len(starts))]
	colon := bytes.Index(signed[from:], []byte(`":`))
	if colon < 0 {
		return signed
	}
	name := signed[from : from+colon+2]
	return slices.Concat(signed[:from], name, []byte(h.pick(odd[:len(odd)-1])), []byte(","), signed[from:])
}

// forgeOther puts a description into a role that is not its own, or another
// file under a description.
func (h *Hostile) forgeOther() string {
	var with []string
	for _, role := range h.now.roles() {
		if t, ok := at(h.tree(role), "targets").(object); ok && len(t) > 0 {
			with = append(with, role)
		}
	}
	if len(with) == 0 {
		return "nothing: no role describes anything"
	}
	from, to := h.pick(with), h.pick(with)
	for _, role := range h.Stolen {
		if slices.Contains(with, role) {
			to = role
		}
	}
	theirs, _ := at(h.tree(from), "targets").(object)
	tree := h.tree(to)
	own, ok := at(tree, "targets").(object)
	if !ok || len(theirs) == 0 || len(own) == 0 {
		return "nothing: in pieces already"
	}
	path := h.pick(slices.Sorted(maps.Keys(theirs)))
	entry, ok := theirs[path].(object)
	if !ok {
		return "nothing: in pieces already"
	}
	entry = maps.Clone(entry)
	if c, ok := entry["custom"].(object); ok {
		c = maps.Clone(c)
		if n := version(c["sequence"]); n > 0 {
			c["sequence"] = json.Number(fmt.Sprint(n + int64(h.rng.IntN(3))))
		}
		entry["custom"] = c
	}
	name := path
	if h.rng.IntN(2) == 0 {
		name = h.pick(slices.Sorted(maps.Keys(own)))
	}
	what := fmt.Sprintf("%s describes %s of %s as %s", to, path, from, name)
	if h.rng.IntN(2) == 0 && len(h.targets) > 0 {
		// Other bytes, described truly.
		other := h.pick(h.targets)
		data := h.now.Files[other]
		if h.rng.IntN(2) == 0 {
			data = h.damaged(data)
		}
		sum := sha256.Sum256(data)
		hash := hex.EncodeToString(sum[:])
		entry["length"], entry["hashes"] = json.Number(fmt.Sprint(len(data))), object{"sha256": hash}
		i := strings.LastIndexByte(name, '/') + 1
		h.files["targets/"+name[:i]+hash+"."+name[i:]] = data
		what += " with the bytes of " + other
	}
	own[name] = entry
	return what + ", " + h.put(to, tree, encode(tree))
}

// asked returns a path that the client is likely to ask for.
func (h *Hostile) asked() string {
	if h.rng.IntN(3) == 0 && len(h.targets) > 0 {
		return h.pick(h.targets)
	}
	return h.current[h.pick(slices.Sorted(maps.Keys(h.current)))]
}

func (h *Hostile) bytes(path string) []byte {
	if data, ok := h.files[path]; ok {
		return data
	}
	return h.now.Files[path]
}

// damaged returns the data with something wrong.
func (h *Hostile) damaged(data []byte) []byte {
	data = slices.Clone(data)
	if len(data) == 0 {
		return []byte{0}
	}
	i := h.rng.IntN(len(data))
	switch h.rng.IntN(5) {
	case 0:
		return data[:i]
	case 1:
		return append(data, data[:i+1]...)
	case 2:
		return slices.Concat(data[:i], data[min(i+1+h.rng.IntN(16), len(data)):])
	case 3:
		return []byte{}
	}
	for range 1 + h.rng.IntN(4) {
		data[h.rng.IntN(len(data))] ^= 1 << h.rng.IntN(8)
	}
	return data
}

func (h *Hostile) damage() string {
	path := h.asked()
	h.files[path] = h.damaged(h.bytes(path))
	return path + " damaged"
}

// replay shows what was right once.
func (h *Hostile) replay() string {
	from, when := h.held, "held"
	if h.rng.IntN(2) == 0 {
		from, when = h.older, "older"
	}
	roles, _ := from.current()
	if h.rng.IntN(4) == 0 {
		maps.Copy(h.files, from.Files)
		for path := range h.now.Files {
			if _, ok := from.Files[path]; !ok {
				h.files[path] = nil
			}
		}
		return "all as it was when " + when
	}
	role := h.pick(slices.Sorted(maps.Keys(roles)))
	if h.rng.IntN(2) == 0 {
		role = "timestamp"
	}
	h.files[h.current[role]] = from.Files[roles[role]]
	return role + " as it was when " + when
}

func (h *Hostile) swap() string {
	a, b := h.asked(), h.asked()
	h.files[a], h.files[b] = h.bytes(b), h.bytes(a)
	return a + " in the place of " + b
}

func (h *Hostile) withhold() string {
	path := h.asked()
	if h.rng.IntN(2) == 0 {
		h.files[path] = nil
		return path + " is not there"
	}
	status := []int{http.StatusInternalServerError, http.StatusForbidden, http.StatusTeapot, http.StatusNoContent}[h.rng.IntN(4)]
	h.answers[path] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	return fmt.Sprintf("%s is status %d", path, status)
}

// root shows a next root that too few signed.
func (h *Hostile) root() string {
	n := h.now.newestRoot()
	newest := fmt.Sprintf("metadata/%d.root.json", n)
	h.current["root"] = newest
	tree := h.now.signedTree(newest)
	if tree == nil {
		return "nothing: no root"
	}
	what := h.mutate(tree)
	roles, ok := tree["roles"].(object)
	if ok && h.rng.IntN(2) == 0 {
		// All power to a stranger.
		k := h.stranger("")
		public := hex.EncodeToString(k.private.Public().(ed25519.PublicKey))
		if keys, ok := tree["keys"].(object); ok {
			keys[k.ID] = object{"keytype": "ed25519", "scheme": "ed25519", "keyval": object{"public": public}}
		}
		for _, role := range slices.Sorted(maps.Keys(roles)) {
			roles[role] = object{"keyids": []any{k.ID}, "threshold": json.Number("1")}
		}
		what += ", a stranger's keys"
	}
	next := n + 1 + int64(h.rng.IntN(2))
	tree["version"] = json.Number(fmt.Sprint(next))
	data, how := h.sign("root", encode(tree))
	h.files[fmt.Sprintf("metadata/%d.root.json", n+1)] = data
	return fmt.Sprintf("root %d: %s, %s", next, what, how)
}

// flood answers with more than was asked for.
func (h *Hostile) flood() string {
	path := h.asked()
	if h.rng.IntN(3) == 0 {
		path = fmt.Sprintf("metadata/%d.root.json", h.now.newestRoot()+1)
	}
	begin := h.bytes(path)
	mib := []int{1, 4, 1 << 20}[h.rng.IntN(3)]
	h.answers[path] = func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write(begin); err != nil {
			return
		}
		block := make([]byte, 64<<10)
		for i := range block {
			block[i] = ' ' + byte(i%90)
		}
		for range mib * 16 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	return fmt.Sprintf("%s is %d MiB", path, mib)
}

// lie says in the header what is not so.
func (h *Hostile) lie() string {
	path := h.asked()
	data := h.bytes(path)
	which := h.rng.IntN(9)
	h.answers[path] = func(w http.ResponseWriter, r *http.Request) {
		switch which {
		case 0: // not modified, though nobody asked
			w.WriteHeader(http.StatusNotModified)
		case 1:
			http.Redirect(w, r, "https://elsewhere.invalid/"+path, http.StatusFound)
		case 2: // round and round
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		case 3:
			w.Header().Set("Content-Length", fmt.Sprint(len(data)+10))
			_, _ = w.Write(data)
			panic(http.ErrAbortHandler)
		case 4: // compressed, and it is not
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(data)
		case 5: // a part that nobody asked for
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(data)/2, len(data)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[:len(data)/2])
		case 6: // compressed, and it is endless
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			block := append(slices.Clone(data), make([]byte, 1<<20)...)
			for range 64 {
				if _, err := z.Write(block); err != nil {
					return
				}
			}
			_ = z.Close()
		case 7: // compressed, with something behind it
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(data)
			_ = z.Close()
			_, _ = w.Write(data)
		case 8: // cut, and gone on with as another file
			half := len(data) / 2
			if r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", fmt.Sprint(len(data)))
				_, _ = w.Write(data[:half])
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", half, len(data)-1, len(data)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(bytes.Repeat([]byte{0xff}, len(data)-half))
		}
	}
	return fmt.Sprintf("%s with lie %d in its header", path, which)
}
