package trust

import (
	"errors"
	"slices"
	"testing"
)

// FuzzOnce changes one file of a repository on its way. Whatever it becomes,
// the run ends, what is held is one of the two generations, whole, and the next
// good run goes through.
func FuzzOnce(f *testing.F) {
	f.Add(uint8(0), uint16(0), []byte("{"), uint16(1))
	f.Add(uint8(1), uint16(40), []byte("null"), uint16(4))
	f.Add(uint8(3), uint16(200), []byte(`"a":null,`), uint16(0))
	f.Add(uint8(5), uint16(9), []byte{0xff, 0x00}, uint16(2))
	f.Add(uint8(7), uint16(0), []byte{}, uint16(60000))
	a := nation(f)
	first := newDevice(f, a, "33")
	first.mustOnce()
	held := a.fork()
	a.rotate("root")
	a.issuer("3301")
	a.policy(2)
	a.list(hangzhou, 3)
	a.list(ningbo, 2)
	a.publish("keys", "policy", "status-33", "targets")
	f.Fuzz(func(t *testing.T, which uint8, at uint16, put []byte, cut uint16) {
		d := newDevice(t, a, "33")
		d.store.content = first.store.content.clone()
		d.boot("33")
		n := 0
		d.server.hostile = func(path string) ([]byte, error) {
			data, ok := a.files[path]
			if !ok {
				return nil, nil
			}
			n++
			if n-1 != int(which)%11 {
				return nil, nil
			}
			from := min(int(at), len(data))
			to := min(from+int(cut), len(data))
			return slices.Concat(data[:from], put, data[to:]), nil
		}
		_, err := d.once()
		for _, kind := range []error{ErrUnavailable, ErrNotFound, ErrTooLarge, ErrSignature, ErrRollback, ErrVersion,
			ErrExpired, ErrFuture, ErrHash, ErrDelegation, ErrMalformed, nil} {
			if errors.Is(err, kind) {
				break
			} else if kind == nil {
				t.Errorf("error without a reason: %v", err)
			}
		}
		for uri, l := range d.store.lists {
			if !sameInfo(l.info, held.infos[uri]) && !sameInfo(l.info, a.infos[uri]) {
				t.Errorf("list %s is neither the old nor the new: %+v", uri, l.info)
			}
		}
		d.server.hostile = nil
		d.mustOnce()
		d.mustBeCurrent()
	})
}
