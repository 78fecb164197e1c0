package wire

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"greengate/gate"
	"greengate/gate/passage"
	"greengate/pass"
	"greengate/pass/base45"
	"greengate/pass/healthcode"
	"greengate/sync/hub"
)

// The PIN of the guard on duty, and what a thief should not learn of people.
const (
	dutyPIN          = "4829137706"
	dutyName         = "老王, north"
	stolenName       = "王建明"
	stolenEnterprise = "JX-7788"
	stolenZone       = "plant-2"
)

// forms are the ways in which a program may have written b.
func forms(b []byte) map[string][]byte {
	f := map[string][]byte{
		"as it is": b, "hex": []byte(hex.EncodeToString(b)), "upper hex": []byte(strings.ToUpper(hex.EncodeToString(b))),
		"base45": base45.AppendEncode(nil, b), "reversed": slices.Clone(b),
	}
	slices.Reverse(f["reversed"])
	// Base64 of something that b lies in, at any of the three places.
	for off := range 3 {
		for name, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := e.EncodeToString(append(make([]byte, off), b...))
			f[fmt.Sprint(name, off)] = []byte(text[(off*8+5)/6 : (off+len(b))*8/6])
		}
	}
	if text := string(b); strings.ToValidUTF8(text, "") == text {
		for name, order := range map[string]binary.AppendByteOrder{"UTF-16LE": binary.LittleEndian, "UTF-16BE": binary.BigEndian} {
			var wide []byte
			for _, u := range utf16.Encode([]rune(text)) {
				wide = order.AppendUint16(wide, u)
			}
			f[name] = wide
		}
		quoted := fmt.Sprintf("%+q", text)
		f["escaped"] = []byte(quoted[1 : len(quoted)-1])
	}
	return f
}

// numbers are the ways in which a program may have written a number of at
// least five digits.
func numbers(n uint64) map[string][]byte {
	return map[string][]byte{
		"decimal": fmt.Append(nil, n), "CBOR": binary.BigEndian.AppendUint32([]byte{0x1a}, uint32(n)),
		"big-endian": binary.BigEndian.AppendUint64(nil, n), "little-endian": binary.LittleEndian.AppendUint64(nil, n),
	}
}

// needle is something that nobody may find, in all its forms.
type needle struct {
	what  string
	forms map[string][]byte
}

// traces says which needles lie in data.
func traces(data []byte, needles []needle) (hits []string) {
	for _, n := range needles {
		for form, b := range n.forms {
			if bytes.Contains(data, b) {
				hits = append(hits, n.what+" ("+form+")")
			}
		}
	}
	return hits
}

// pieces reports whether any eight bytes of a secret lie in data.
func pieces(data []byte, secrets map[string][]byte) (hits []string) {
	const size = 8
	windows := map[uint64]string{}
	for what, s := range secrets {
		for i := 0; i+size <= len(s); i++ {
			windows[binary.BigEndian.Uint64(s[i:])] = what
		}
	}
	delete(windows, 0) // a segment is zeros
	var w uint64
	for i, b := range data {
		if w = w<<8 | uint64(b); i < size-1 {
			continue
		}
		if what, ok := windows[w]; ok {
			hits = append(hits, fmt.Sprintf("8 bytes of %s at %d", what, i-size+1))
		}
	}
	return hits
}

// files reads everything below a folder that is a file.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir+"/")] = b
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// join is all that lies below a prefix, without most of the zeros that segments
// are filled with.
func join(all map[string][]byte, prefix string) (joined []byte) {
	for name, b := range all {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		joined = append(joined, "\x00\xff\x00\xff"...)
		for page := range slices.Chunk(b, 4096) {
			if bytes.Count(page, []byte{0}) < len(page) {
				joined = append(joined, page...)
			}
		}
	}
	return joined
}

// hubPassageKey reads the key that the hub opens passages with.
func (r *rig) hubPassageKey() hpke.PrivateKey {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "hub", "keys", "passages.pem"))
	if err != nil {
		r.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		r.t.Fatal("no key in passages.pem")
	}
	key, err := passage.ParseHubPrivateKey(block.Bytes)
	if err != nil {
		r.t.Fatal(err)
	}
	return key
}

// dataKey opens a segment's data key to its bytes, which the product never does.
func dataKey(t *testing.T, gateID string, k passage.SegmentKey, private hpke.PrivateKey) []byte {
	t.Helper()
	info := append([]byte("greengate segment v1\x00"+gateID), 0)
	r, err := hpke.NewRecipient(k.Encapsulated, private, hpke.HKDFSHA256(), hpke.AES256GCM(), binary.BigEndian.AppendUint64(info, k.Segment))
	if err != nil {
		t.Fatal(err)
	}
	key, err := r.Open(nil, k.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A card is stolen out of a gate where people of every kind have passed. All
// files on it are searched for all that was put in, in whatever form a program
// may have written it; what is meant to be clear is found by the same search.
// Then the hub comes back, and what is given back to the disk is looked at too.
// Then a month goes by.
func TestStolenCard(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	state := filepath.Join(r.dir, "gate")
	r.config = strings.Replace(r.config, "[lane]\n", "[lane]\nrelease_for = \"1s\"\n", 1)
	entry, err := gate.HashPIN(dutyPIN, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	entry.Name = dutyName
	guards, err := gate.MarshalGuards([]gate.GuardEntry{entry})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "guards.json"), guards, 0o600); err != nil {
		t.Fatal(err)
	}
	// Those who will pass: one of each colour, one with a phone that proves
	// itself, and one with an enterprise's permit.
	codes := map[string]string{}
	for _, colour := range []string{"green", "yellow", "red"} {
		codes[colour] = r.issue(colour)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.hub.Declare(ctx, hub.DeclareRequest{Name: stolenName, Region: "330106"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.hub.Review(ctx, hub.ReviewRequest{Declaration: d.ID, Colour: "green", Reviewer: "test"}); err != nil {
		t.Fatal(err)
	}
	bound, err := r.hub.Issue(ctx, hub.IssueRequest{Declaration: d.ID, Kind: "dynamic", HolderKey: public, By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.hub.AddEnterprise(ctx, hub.EnterpriseRequest{Number: stolenEnterprise, Name: "works", Region: "330106", Zones: []string{stolenZone}, By: "test"}); err != nil {
		t.Fatal(err)
	}
	permit, err := r.hub.IssuePermit(ctx, hub.PermitRequest{Enterprise: stolenEnterprise, Holder: bound.Status, By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	codes["permit"] = permit.Code
	if codes["dynamic"], err = healthcode.Prove(private, bound.Code, time.Now(), ""); err != nil {
		t.Fatal(err)
	}
	r.publish()
	r.start()
	r.ready()
	r.stopHub() // so that everything stays on the card

	// They pass, and the guard lets one more through.
	for _, who := range []string{"green", "yellow", "red", "dynamic", "permit"} {
		before := r.gate.journal.State().Next
		r.scan(codes[who])
		r.eventually(who+" is recorded", func() error {
			if at := r.gate.journal.State().Next; at == before {
				return errors.New("nothing written")
			}
			return nil
		})
		if s := r.gate.lane.Outputs().View; s.State == gate.Held {
			if err := r.gate.lane.Guard(ctx, gate.GuardAct{Action: gate.GuardRefuse, Reason: gate.SentAway, Guard: dutyName, Count: s.Count}); err != nil {
				t.Fatal(err)
			}
		}
		r.eventually("the lane is idle", func() error {
			if s := r.gate.Status(); s.Lane != "idle" || s.Counts.Waiting > 0 {
				return fmt.Errorf("lane: %s", s.Lane)
			}
			return nil
		})
	}
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+r.gate.Address()+"/guard/login", strings.NewReader(`{"pin":"`+dutyPIN+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Origin", "http://"+r.gate.Address())
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("login: %s %s %v", answer.Status, body, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	r.eventually("the guard passes one", func() error {
		return r.gate.lane.Guard(ctx, gate.GuardAct{Action: gate.GuardPass, Reason: gate.NoPhone, Guard: dutyName})
	})
	r.eventually("the act is recorded", func() error {
		if s := r.gate.Status(); s.Lane != "idle" || s.Counts.Waiting > 0 {
			return fmt.Errorf("lane: %s", s.Lane)
		}
		return nil
	})

	// What only the hub can open, opened: those are needles too.
	run, err := r.gate.journal.Read(0, 500)
	if err != nil {
		t.Fatal(err)
	}
	hubKey := r.hubPassageKey()
	openers := map[uint64]*passage.Unsealer{}
	var sealedKeys [][]byte
	var people, everywhere []needle // in the journal, and on the whole card
	secret := map[string][]byte{}   // no eight bytes of which may lie in the journal
	for _, k := range run.Keys {
		if openers[k.Segment], err = passage.OpenSegmentKey("east-1", k, hubKey); err != nil {
			t.Fatal(err)
		}
		key := dataKey(t, "east-1", k, hubKey)
		secret[fmt.Sprint("data key ", k.Segment)] = key
		everywhere = append(everywhere, needle{fmt.Sprint("data key of segment ", k.Segment), forms(key)})
		sealedKeys = append(sealedKeys, k.Sealed)
	}
	var pseudonyms, dayKeys, readings, kinds int
	for _, e := range run.Entries {
		s, err := openers[e.Segment].Open(e)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Pseudonym) > 0 {
			pseudonyms++
			secret[fmt.Sprint("pseudonym ", e.Seq)] = s.Pseudonym
			everywhere = append(everywhere, needle{fmt.Sprint("pseudonym of record ", e.Seq), forms(s.Pseudonym)})
		}
		if len(s.DayKey) > 0 {
			dayKeys++
			secret[fmt.Sprint("day key ", e.Seq)] = s.DayKey
			everywhere = append(everywhere, needle{"day key", forms(s.DayKey)})
		}
		if s.CodeKind != "" {
			kinds++
			people = append(people, needle{"kind of code", forms([]byte(s.CodeKind))})
		}
		if s.Reading != nil {
			readings++
			// As the sealed part holds it, and as a log would.
			cbor := []byte{0x19}
			cbor = append(binary.BigEndian.AppendUint16(cbor, uint16(s.Reading.Object)), 0x19)
			cbor = binary.BigEndian.AppendUint16(cbor, uint16(s.Reading.Ambient))
			n := needle{"temperature", map[string][]byte{"CBOR": cbor}}
			for what, v := range map[string]gate.MilliCelsius{"object": s.Reading.Object, "ambient": s.Reading.Ambient, "adjusted": s.Reading.Adjusted} {
				n.forms[what] = fmt.Append(nil, int(v))
				n.forms[what+" in degrees"] = fmt.Appendf(nil, "%d.%d", int(v)/1000, int(v)%1000/100)
			}
			people = append(people, n)
		}
	}
	if pseudonyms < 4 || dayKeys != 1 || readings < 2 || kinds < 4 {
		t.Fatalf("%d pseudonyms, %d day keys, %d readings, %d kinds: too little passed here to show anything", pseudonyms, dayKeys, readings, kinds)
	}
	everywhere = append(everywhere, needle{"name", forms([]byte(stolenName))}, needle{"name in GB 18030", forms([]byte("\xcd\xf5\xbd\xa8\xc3\xf7"))},
		needle{"masked name", forms([]byte("王*明"))}, needle{"PIN", forms([]byte(dutyPIN))}, needle{"holder's key", forms(public)}, needle{"declaration", forms([]byte(d.ID))})
	people = append(people, needle{"guard's name", forms([]byte(dutyName))}, needle{"enterprise", forms([]byte(stolenEnterprise))}, needle{"zone", forms([]byte(stolenZone))}, needle{"region", forms([]byte("330106"))},
		needle{"region as a number", numbers(330106)})
	reader := pass.NewReader(healthcode.New(r.gate.db, healthcode.Options{}))
	for who, code := range codes {
		raw, err := base45.Decode(strings.TrimPrefix(code, "JKM1:"))
		if err != nil {
			t.Fatal(err)
		}
		secret[who+"'s code"], secret[who+"'s bytes"] = []byte(code), raw
		everywhere = append(everywhere, needle{who + "'s code", forms([]byte(code))}, needle{who + "'s bytes", forms(raw)})
		c, err := reader.Open([]byte(code), time.Now())
		if err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		people = append(people, needle{who + "'s list", forms([]byte(c.Status.URI))}, needle{who + "'s index", numbers(uint64(c.Status.Index))})
	}

	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	card := files(t, state)
	whole, diary := join(card, ""), join(card, "journal/")
	if hits := traces(whole, everywhere); len(hits) > 0 {
		t.Errorf("on the card: %q", hits)
	}
	if hits := slices.Concat(traces(diary, people), pieces(diary, secret)); len(hits) > 0 {
		t.Errorf("in the journal: %q", hits)
	}
	if hits := traces([]byte(r.log.String()), everywhere); len(hits) > 0 {
		t.Errorf("in the log: %q", hits)
	}

	// The same search finds what is meant to be clear, and all of the above where it is.
	clearly := []needle{{"reason valid", forms([]byte(gate.Valid))}, {"reason red", forms([]byte(gate.RedCode))}, {"act", forms([]byte(gate.NoPhone))}}
	for _, n := range clearly {
		if !slices.Contains(traces(diary, []needle{n}), n.what+" (as it is)") {
			t.Errorf("%s is not found in the journal, so this search finds nothing", n.what)
		}
	}
	if hits := traces(whole, []needle{{"gate", forms([]byte("east-1"))}}); len(hits) == 0 {
		t.Error("the gate's name is not found on the card, so this search finds nothing")
	}
	for _, n := range slices.Concat(everywhere, people) {
		for form, b := range n.forms {
			if hits := traces(slices.Concat(diary[:1000], b, diary[1000:2000]), []needle{n}); !slices.Contains(hits, n.what+" ("+form+")") {
				t.Errorf("%s is not found where it is", n.what)
			}
		}
	}
	for what, s := range secret {
		if hits := pieces(slices.Concat(diary[:1000], s[1:9], diary[1000:2000]), map[string][]byte{what: s}); len(hits) == 0 {
			t.Errorf("a piece of %s is not found where it is", what)
		}
	}
	for _, k := range sealedKeys {
		if !bytes.Contains(diary, k) {
			t.Error("a data key as it was sealed is not on the card, so its destruction shows nothing")
		}
	}
	stolenAfterUpload(t, r, state, sealedKeys)
}

// stolenAfterUpload lets the hub have everything. The segments are given back
// to the disk: what lies in their blocks is seen through files that were open.
func stolenAfterUpload(t *testing.T, r *rig, state string, sealedKeys [][]byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(state, "journal", "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("segments %q, %v", names, err)
	}
	var blocks []*os.File
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		blocks = append(blocks, f)
	}
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	r.serveHub(l)
	r.start()
	r.atHub()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start() // gives back what the last run wrote, too
	r.atHub()
	for i, f := range blocks {
		if _, err := os.Stat(names[i]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there after the upload: %v", filepath.Base(names[i]), err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range sealedKeys {
			if bytes.Contains(b, k) {
				t.Errorf("the blocks of %s, which was deleted, hold a data key, sealed to the hub", filepath.Base(names[i]))
			}
		}
	}
}

// A gate that never reaches its hub keeps for keep_days what the hub could open.
func TestKeysGoAfterTheirDays(t *testing.T) {
	r := newRig(t)
	green := r.issue("green")
	r.publish()
	r.config += "[journal]\nkeep_days = 3\n"
	r.start()
	r.ready()
	r.stopHub()
	r.scan(green)
	r.untilState(gate.Released)
	run, err := r.gate.journal.Read(0, 500)
	if err != nil || len(run.Keys) != 1 {
		t.Fatalf("%d keys, %v", len(run.Keys), err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	journal := func() []byte { return join(files(t, filepath.Join(r.dir, "gate")), "journal/") }
	if !bytes.Contains(journal(), run.Keys[0].Sealed) {
		t.Fatal("the key is not found, so this test finds nothing")
	}
	for _, c := range []struct {
		days int
		gone bool
	}{{3, false}, {4, true}} {
		r.now = func() time.Time { return time.Now().AddDate(0, 0, c.days) }
		r.start()
		r.eventually("the gate has looked at its keys", func() error {
			if s := r.gate.Status(); s.Lane != "idle" || (s.Journal.KeysDestroyed > 0) != c.gone {
				return fmt.Errorf("lane %s, %d keys destroyed", s.Lane, s.Journal.KeysDestroyed)
			}
			return nil
		})
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if got := !bytes.Contains(journal(), run.Keys[0].Sealed); got != c.gone {
			t.Errorf("after %d days the key is gone: %v", c.days, got)
		}
	}
}
