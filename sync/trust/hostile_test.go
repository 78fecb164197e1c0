package trust

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"greengate/pass/statuslist"
	"greengate/sync/trust/trusttest"
)

// honest is what an authority once said.
type honest struct {
	infos []statuslist.Info
	raws  map[[32]byte][]byte
	files map[string]bool
}

func (h *honest) add(a *authority) {
	if h.raws == nil {
		h.raws, h.files = map[[32]byte][]byte{}, map[string]bool{}
	}
	for uri, info := range a.infos {
		h.infos, h.raws[info.SHA256] = append(h.infos, info), a.raws[uri]
	}
	for _, data := range a.files {
		h.files[string(data)] = true
	}
}

// Hostile repositories of all kinds, a hundred of them: nothing is taken that
// the authority did not sign, nothing that was held is lost, and the next good
// update goes through. A thief's own province is the thief's until the keys are
// rotated.
func TestHostile(t *testing.T) {
	a := nation(t)
	older := a.repository()
	a.list(hangzhou, 1)
	a.publish("status-33")
	first := newDevice(t, a, "33", "44")
	first.mustOnce()
	held, base := a.repository(), a.fork()
	var said honest
	said.add(a)
	a.issuer("3301")
	a.policy(2)
	a.list(hangzhou, 3)
	a.list(canton, 2)
	a.publish("keys", "policy", "status-33", "status-44")
	now := a.repository()
	said.add(a)

	next := a.fork()
	next.list(ningbo, 3)
	next.publish("status-33")
	// After a theft, the authority gives every online role new keys.
	recovered := a.fork()
	recovered.now = recovered.now.Add(15 * time.Minute)
	recovered.rotate("timestamp", "snapshot", "status-33", "status-44")
	recovered.list(ningbo, 3)
	recovered.publish("status-33", "status-44")

	transport := &trusttest.Transport{}
	inside := &http.Client{Transport: transport}
	kinds := map[bool]int{}
	for seed := range uint64(120) {
		hostile := trusttest.New(seed, older, held, now)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d := newDevice(t, a, "33", "44")
			d.store.content = first.store.content.clone()
			var fetcher *HTTPS
			var err error
			if seed%8 == 0 {
				server := httptest.NewUnstartedServer(hostile)
				server.Config.ErrorLog = log.New(io.Discard, "", 0) // it hears of each connection that is broken off
				server.StartTLS()
				defer server.Close()
				fetcher, err = NewHTTPS(server.URL+"/lists", server.Client())
			} else {
				transport.Handler = hostile
				fetcher, err = NewHTTPS("https://h.example/lists", inside)
			}
			if err != nil {
				t.Fatal(err)
			}
			fetcher.pause = 0
			d.boot("33", "44")
			d.config.Fetcher, d.config.Limits.Run = fetcher, 8<<20
			served := transport.Served.Load()
			for range 2 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				d.now = a.now
				r, err := d.Once(ctx)
				if ctx.Err() != nil {
					t.Errorf("%s: the run did not end: %v", hostile.Name, err)
				}
				cancel()
				if r.Fetched > 8<<20 {
					t.Errorf("%s: %d bytes fetched", hostile.Name, r.Fetched)
				}
				if s := d.Status(); err != nil && s.LastError == nil {
					t.Errorf("%s: the status does not say %v", hostile.Name, err)
				}
				kinds[err == nil]++
			}
			if n := transport.Served.Load() - served; n > 17<<20 {
				t.Errorf("%s: %d bytes taken in two runs", hostile.Name, n)
			}
			stolen := func(role string) bool { return slices.Contains(hostile.Stolen, role) }
			for uri := range base.infos {
				l, ok := d.store.lists[uri]
				if stolen(roleOf(uri)) {
					continue
				}
				if !ok {
					t.Errorf("%s: list %s is lost", hostile.Name, uri)
				} else if !slices.ContainsFunc(said.infos, func(i statuslist.Info) bool { return sameInfo(i, l.info) }) || !bytes.Equal(l.raw, said.raws[l.info.SHA256]) {
					t.Errorf("%s: list %s is held as nobody signed it: %+v", hostile.Name, uri, l.info)
				}
			}
			for role, raw := range d.store.metadata {
				if !said.files[string(raw)] && !stolen(role) {
					t.Errorf("%s: metadata of %s is held as nobody signed it: %s", hostile.Name, role, raw)
				}
			}
			if p, v := d.store.policy.Version, d.store.riskMap.Version; p < 1 || p > 2 || (v < 1 || v > 2) && !stolen("map") || d.store.version < 2 || d.store.version > 3 {
				t.Errorf("%s: policy %d, map %d, keys %d", hostile.Name, p, v, d.store.version)
			}

			if floor := d.store.floor; floor.After(a.now.Add(maxAhead)) {
				t.Errorf("%s: the floor is at %s, it is %s", hostile.Name, floor, a.now)
			}

			good := next
			if len(hostile.Stolen) > 0 {
				good = recovered
			}
			d.config.Fetcher = &files{a: good}
			d.now = good.now
			if _, err := d.Once(context.Background()); err != nil {
				t.Errorf("%s: then the next good update: %v", hostile.Name, err)
			}
			d.a = good
			d.mustBeCurrent()
			if d.store.policy.Version != 2 || d.store.version != 3 {
				t.Errorf("%s: then policy %d, keys %d, want 2 and 3", hostile.Name, d.store.policy.Version, d.store.version)
			}
		})
	}
	// A maker of harmless repositories would show nothing.
	if kinds[false] < 100 || kinds[true] < 10 {
		t.Errorf("%d runs refused something, %d did not", kinds[false], kinds[true])
	}
}
