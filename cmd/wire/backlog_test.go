package wire

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"greengate/store/journal"
	"greengate/sync/upload"
)

// A decision is written while a batch hangs on the way, and so do lists come:
// nothing at the gate waits for the upload.
func TestNothingWaitsForTheUpload(t *testing.T) {
	s := newFaultScene(t, newFaultSite(t, t.TempDir()), "north")
	r := s.relay()
	r.after(midBody, vanish)
	s.write(40)
	done := make(chan error, 1)
	go func() {
		_, err := s.up.Once(t.Context())
		done <- err
	}()
	s.eventually("the batch hangs", func() bool { return r.played.Load() == 1 })
	s.write(500)
	s.lists()
	select {
	case err := <-done:
		t.Errorf("the batch did not hang: %v", err)
	default:
	}
	if u := s.up.State(); u.Backlog != 540 || u.Acknowledged != 0 {
		t.Errorf("state %+v", u)
	}
	r.letGo()
	if err := <-done; err == nil {
		t.Error("the batch went through on a connection that broke")
	}
	s.up.URL = s.id.HubURL
	s.drain()
	if v := s.found(); !v.OK() || v.Records != 540 {
		t.Errorf("at the hub: %+v", v)
	}
}

// BenchmarkBacklogDrain sends a week's backlog to a real hub over links of 2 and
// 10 Mbit/s with 100 ms round trip, while passages go on. Run it with
// -benchtime 1x; with -short it is a day's.
func BenchmarkBacklogDrain(b *testing.B) {
	records := 140_000
	if testing.Short() {
		records = 20_000
	}
	for b.Loop() {
		for _, mbit := range []int{2, 10} {
			drainOver(b, mbit, records)
		}
		b.ReportMetric(0, "ns/op")
	}
}

// drainOver is one link of the benchmark.
func drainOver(b *testing.B, mbit, records int) {
	b.Helper()
	// The hub is another machine: its flushes are not on the gate's disk. Nor
	// are those of the week before.
	away := inMemory(b)
	s := newFaultScene(b, newFaultSite(b, filepath.Join(away, "hub")), "north")
	l := newSlowLink(b, s.site.url, float64(mbit)*1e6/8, 50*time.Millisecond)
	s.up.URL = l.url
	s.open(filepath.Join(away, "journal"), journal.Options{})
	s.write(records)
	s.close()
	onDisk := filepath.Join(s.dir, "week")
	s.must(os.CopyFS(onDisk, os.DirFS(filepath.Join(away, "journal"))))
	s.open(onDisk, journal.Options{})
	idle := s.paced(func() bool { return false }, 500)
	begun := time.Now()
	var over atomic.Bool
	var drained time.Duration
	var sent float64
	var sending sync.WaitGroup
	sending.Go(func() {
		defer over.Store(true)
		s.until("the backlog drained", func(u upload.State) bool { return u.Acknowledged >= uint64(records) })
		drained, sent = time.Since(begun), float64(l.up.Load())
	})
	beside := s.paced(over.Load, 1<<30)
	sending.Wait()
	s.drain()
	if v := s.found(); !v.OK() || v.Records != s.written {
		b.Errorf("at the hub: %+v, written %d", v, s.written)
	}
	name := fmt.Sprintf("upload.drain.%dmbit.", mbit)
	b.ReportMetric(sent/drained.Seconds()/l.rate, name+"link.ratio")
	b.ReportMetric(float64(records)/drained.Seconds(), name+"records_per_s")
	b.ReportMetric(sent/float64(records), name+"bytes")
	for when, d := range map[string][]time.Duration{"idle": idle, "beside": beside} {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds())/1000, name+"append."+when+".p50.ms")
		b.ReportMetric(float64(d[len(d)*99/100].Microseconds())/1000, name+"append."+when+".p99.ms")
	}
}

// inMemory is a folder in memory, where the machine has that.
func inMemory(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "greengate-")
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return dir
}

// paced appends a record each 20 ms, as no queue of people is faster, and says how long each took.
func (s *faultScene) paced(over func() bool, most int) (took []time.Duration) {
	s.Helper()
	beat := time.NewTicker(20 * time.Millisecond)
	defer beat.Stop()
	for len(took) < most && !over() {
		<-beat.C
		begun := time.Now()
		s.write(1)
		took = append(took, time.Since(begun))
	}
	return took
}

// slowLink is a relay with a rate and a delay each way, as a mobile link has.
// TCP's own slow start is not modelled: both ends of it are on this machine.
type slowLink struct {
	url   string
	rate  float64 // bytes a second, each way
	delay time.Duration
	up    atomic.Int64 // bytes towards the hub

	mu   sync.Mutex
	free [2]time.Time // when it has sent all that it was given, up and down
}

// passes says when so many bytes more have left, of all connections together.
func (l *slowLink) passes(way, n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.free[way].Before(now) {
		l.free[way] = now
	}
	l.free[way] = l.free[way].Add(time.Duration(float64(n) / l.rate * 1e9))
	return l.free[way]
}

func newSlowLink(tb testing.TB, to string, rate float64, delay time.Duration) *slowLink {
	tb.Helper()
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := in.Close(); err != nil {
			tb.Error(err)
		}
	})
	l := &slowLink{url: "https://" + in.Addr().String(), rate: rate, delay: delay}
	go func() {
		for {
			gate, err := in.Accept()
			if err != nil {
				return // the end
			}
			hub, err := net.Dial("tcp", to[len("https://"):])
			if err != nil {
				tb.Error(err)
				return
			}
			go l.carry(0, hub, gate)
			go l.carry(1, gate, hub)
		}
	}()
	return l
}

// parcel is some bytes and when they are there.
type parcel struct {
	bytes []byte
	at    time.Time
}

// carry moves bytes one way until an end closes.
func (l *slowLink) carry(way int, to, from net.Conn) {
	defer to.Close()
	// What is on the way, and a queue of as much again at the sender.
	sent := make(chan parcel, max(1, int(2*l.rate*l.delay.Seconds())/1460))
	go func() {
		defer close(sent)
		for {
			b := make([]byte, 1460)
			n, err := from.Read(b)
			if n > 0 {
				if way == 0 {
					l.up.Add(int64(n))
				}
				sent <- parcel{b[:n], l.passes(way, n).Add(l.delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range sent {
		<-time.After(time.Until(p.at))
		if _, err := to.Write(p.bytes); err != nil {
			_ = from.Close() // the other end is gone, and so is this one
			_, _ = io.Copy(io.Discard, from)
			for range sent {
			}
			return
		}
	}
}
