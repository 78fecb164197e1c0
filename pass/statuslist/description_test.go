package statuslist

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

var morning = time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)

func described(froms ...uint64) Description {
	d := Description{Info: Info{URI: "https://health.example/3301/0", Sequence: 20, Issued: morning, Expires: morning.AddDate(0, 0, 30),
		Bits: 2, Size: 1 << 18, SHA256: sha256.Sum256([]byte("20"))}}
	for _, f := range froms {
		d.Deltas = append(d.Deltas, Delta{From: f, Issued: morning.Add(-time.Hour), Before: sha256.Sum256(fmt.Append(nil, f)), Size: int64(100 * (20 - f)), SHA256: sha256.Sum256([]byte("delta"))})
	}
	return d
}

func TestDescriptionThereAndBack(t *testing.T) {
	for _, d := range []Description{described(), described(19), described(19, 12, 3, 1)} {
		data, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseDescription(data)
		if err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("%s\nreads as %+v, %v", data, got, err)
		}
		if _, err := ParseInfo(data); len(d.Deltas) > 0 != errors.Is(err, ErrInfo) {
			t.Errorf("as an Info: %v", err)
		}
	}
}

func TestDescriptionIsStrict(t *testing.T) {
	data, err := described(19, 12).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	entry := good[strings.Index(good, `{"from":12`):strings.LastIndex(good, `]`)]
	for name, bad := range map[string]string{
		"no object":                `[` + good + `]`,
		"deltas null":              good[:strings.Index(good, `[`)] + `null}`,
		"deltas empty":             good[:strings.Index(good, `[`)] + `[]}`,
		"deltas twice":             strings.TrimSuffix(good, "}") + `,"deltas":[` + entry + `]}`,
		"ascending":                strings.Replace(good, `"from":19`, `"from":11`, 1),
		"twice the same":           strings.Replace(good, `"from":19`, `"from":12`, 1),
		"from itself":              strings.Replace(good, `"from":19`, `"from":20`, 1),
		"from zero":                strings.Replace(good, `"from":12`, `"from":0`, 1),
		"from text":                strings.Replace(good, `"from":12`, `"from":"12"`, 1),
		"from below zero":          strings.Replace(good, `"from":12`, `"from":-12`, 1),
		"size zero":                strings.Replace(good, `"size":800`, `"size":0`, 1),
		"issued after the list":    strings.Replace(good, `"issued":"2020-02-17T07:00:00Z"`, `"issued":"2020-02-17T09:00:00Z"`, 1),
		"digest of another form":   strings.Replace(good, `"before":"`, `"before":"A`, 1),
		"a name missing":           strings.Replace(good, `"from":12,`, ``, 1),
		"a name in capitals":       strings.Replace(good, `"before"`, `"Before"`, 1),
		"an unknown name":          strings.Replace(good, `"from":12,`, `"from":12,"to":20,`, 1),
		"data behind":              good + `{}`,
		"nested objects":           strings.Replace(good, `"from":12`, `"from":{"from":12}`, 1),
		"more than are allowed":    strings.TrimSuffix(good, "]}") + strings.Repeat(","+entry, MaxDeltas) + "]}",
		"longer than is allowed":   good + strings.Repeat(" ", MaxDescription),
		"broken in the middle":     good[:len(good)/2],
		"deltas before the list's": `{"deltas":[{}],` + good[1:],
	} {
		if bad == good {
			t.Fatalf("%s: the row changes nothing", name)
		}
		if _, err := ParseDescription([]byte(bad)); !errors.Is(err, ErrInfo) {
			t.Errorf("%s: got %v, want ErrInfo\n%s", name, err, bad)
		}
	}
	late := described(19)
	late.Deltas[0].From = 20
	if data, err := late.Marshal(); err == nil {
		t.Errorf("written all the same: %s", data)
	}
}

func TestBestDelta(t *testing.T) {
	d := described(19, 12, 3)
	held := func(sequence uint64) Info {
		i := d.Info
		i.Sequence, i.SHA256 = sequence, sha256.Sum256(fmt.Append(nil, sequence))
		return i
	}
	other := held(19)
	other.SHA256[0] ^= 1
	small := held(12)
	small.Size--
	for _, c := range []struct {
		name string
		held Info
		from uint64 // 0 for none
	}{
		{"the one before", held(19), 19},
		{"between two", held(15), 12},
		{"exactly one", held(12), 12},
		{"the oldest", held(3), 3},
		{"older than all", held(2), 0},
		{"the same", held(20), 0},
		{"newer", held(21), 0},
		{"other bits of the same sequence", other, 12},
		{"a list of another size", small, 0},
	} {
		best, ok := d.Best(c.held)
		if ok != (c.from != 0) || best.From != c.from {
			t.Errorf("%s: from %d, %v; want %d", c.name, best.From, ok, c.from)
		}
	}
	d.Deltas[0].Size = 5000
	if best, _ := d.Best(held(19)); best.From != 12 {
		t.Errorf("a longer delta is taken: from %d", best.From)
	}
}

// FuzzDescription: whatever is read is written back as something that reads the same.
func FuzzDescription(f *testing.F) {
	for _, d := range []Description{described(), described(19, 12, 3)} {
		data, err := d.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDescription(data)
		if err != nil {
			return
		}
		out, err := d.Marshal()
		if err != nil {
			t.Fatalf("%q is read and not written: %v", data, err)
		}
		again, err := ParseDescription(out)
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Fatalf("%q\nis written as\n%s", data, out)
		}
		if second, err := again.Marshal(); err != nil || !bytes.Equal(second, out) {
			t.Fatalf("%s\nand then as\n%s, %v", out, second, err)
		}
	})
}
