package camera

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate"
	"greengate/scanner"
)

// A frame every 33 ms is what a camera gives.
const frameEvery = 33 * time.Millisecond

// film is a live Source whose pictures the test makes, one for each frame.
type film struct {
	picture func(n int) Image
	sent    atomic.Int64 // pictures delivered
}

func (*film) Live() bool     { return true }
func (*film) String() string { return "film" }

func (f *film) Run(ctx context.Context, ready func(), frames func(Image)) error {
	ready()
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			m := f.picture(int(f.sent.Load()))
			f.sent.Add(1)
			frames(m)
		}
	}
}

// pixel is a picture of one pixel.
func pixel(b byte) Image {
	return Image{Format: Luma, Width: 1, Height: 1, Stride: 1, Data: []byte{b}}
}

// eyeFunc is an Eye.
type eyeFunc func(scanner.Frame) Sight

func (e eyeFunc) See(f scanner.Frame) Sight { return e(f) }

// play runs r for that long in the bubble that the test is in.
func play(t *testing.T, r *Reader, d time.Duration) (scans []gate.Scan) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx, func(s gate.Scan) { scans = append(scans, s) }) }()
	time.Sleep(d)
	synctest.Wait()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	return scans
}

// TestNewestWins has eyes that are slower than the camera: whatever they begin
// to look at is the last picture that came, on one core and on two.
func TestNewestWins(t *testing.T) {
	for _, cores := range []int{1, 2} {
		for _, slow := range []time.Duration{40 * time.Millisecond, 100 * time.Millisecond, time.Second} {
			t.Run(fmt.Sprint(cores, " cores ", slow), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					src := &film{picture: func(n int) Image { return pixel(byte(n)) }}
					looks := 0
					r := &Reader{Source: src, Cores: cores, SameWithin: -1, Eye: eyeFunc(func(f scanner.Frame) Sight {
						if newest := byte(src.sent.Load() - 1); f.Pix[0] != newest {
							t.Errorf("look %d at picture %d, when %d was the newest", looks, f.Pix[0], newest)
						}
						looks++
						time.Sleep(slow + time.Duration(looks)*time.Microsecond) // never at the moment of a frame
						return Sight{Codes: []Code{{Raw: []byte{f.Pix[0]}}}}
					})}
					scans := play(t, r, 10*time.Second)
					for i := range scans[1:] {
						if scans[i+1].Raw[0] <= scans[i].Raw[0] && src.sent.Load() < 256 || !scans[i+1].At.After(scans[i].At) {
							t.Errorf("scan of picture %d behind %d", scans[i+1].Raw[0], scans[i].Raw[0])
						}
					}
					f := r.Figures()
					if f.Looks < uint64(9*time.Second/(slow+frameEvery)) || f.Frames != uint64(src.sent.Load()) {
						t.Errorf("%d looks at %d of %d pictures", f.Looks, f.Frames, src.sent.Load())
					}
					// One may be looked at, and one wait, when it ends.
					if left := f.Frames - f.Looks - f.Of(Overtaken); left > 2 {
						t.Errorf("%d pictures are unaccounted for: %+v", left, f)
					}
				})
			})
		}
	}
}

// TestOneShowingIsOneScan holds a code up for a minute, then takes it away for
// longer than SameWithin and shows it again.
func TestOneShowingIsOneScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		shown := func() bool {
			at := time.Since(start)
			return at > time.Second && at < time.Minute || at > time.Minute+SameWithin+frameEvery
		}
		scene := canvas()
		r := &Reader{Source: &film{picture: func(n int) Image { return scene.shot(shown(), n, 4) }}, Eye: marker}
		scans := play(t, r, 70*time.Second)
		var at []time.Duration
		for _, s := range scans {
			at = append(at, s.At.Sub(start).Truncate(time.Second))
		}
		if got, want := fmt.Sprint(at), fmt.Sprint([]time.Duration{time.Second, time.Minute + SameWithin}); got != want {
			t.Errorf("scans at %s, want %s", got, want)
		}
		f := r.Figures()
		if spared := f.Of(Still); spared < f.Frames*3/4 {
			t.Errorf("%d of %d pictures of a still scene were spared", spared, f.Frames)
		}
	})
}

// set is a scene: a soft background, and a bright square with a black corner as
// the code.
type set struct {
	scanner.Frame
	takes map[take][]byte
}

// take is one picture of the scene; noise repeats after so many.
type take struct {
	code  bool
	n     int
	noise float64
}

const takes = 7

func canvas() *set {
	const w, h = 352, 144
	return &set{scanner.Frame{Pix: make([]byte, w*h), Stride: w, Width: w, Height: h}, map[take][]byte{}}
}

// image is the scene as it stands in Pix.
func (s *set) image() Image {
	return Image{Format: Luma, Width: s.Width, Height: s.Height, Stride: s.Stride, Data: s.Pix}
}

// where the square lies, and its corner.
var square, corner = image.Rect(200, 40, 280, 120), image.Rect(210, 50, 240, 80)

// shot is picture n of the scene with so much noise (σ, in levels).
func (s *set) shot(code bool, n int, noise float64) Image {
	key := take{code, n % takes, noise}
	pix, ok := s.takes[key]
	if !ok {
		rng := rand.New(rand.NewPCG(uint64(n), 7))
		pix = make([]byte, len(s.Pix))
		for y := range s.Height {
			row := pix[y*s.Stride:][:s.Width]
			for x := range row {
				v := 60 + float64(100*x/s.Width)
				switch p := image.Pt(x, y); {
				case code && p.In(corner):
					v = 10
				case code && p.In(square):
					v = 230
				}
				row[x] = byte(min(max(v+noise*rng.NormFloat64(), 0), 255))
			}
		}
		s.takes[key] = pix
	}
	copy(s.Pix, pix)
	return s.image()
}

// marker reads that square, and knows where it is.
var marker = eyeFunc(func(f scanner.Frame) Sight {
	for y := 0; y < f.Height; y += 8 {
		for x := 0; x < f.Width; x += 8 {
			if f.Pix[y*f.Stride+x] < 20 {
				return Sight{Codes: []Code{{Raw: []byte("square"), Place: image.Rect(x-10, y-10, x+70, y+70)}}}
			}
		}
	}
	return Sight{}
})

// unread finds something and does not read it.
var unread = eyeFunc(func(f scanner.Frame) Sight { return Sight{Finder: image.Rect(0, 0, f.Width, f.Height)} })

// TestStill: a scene without a code is looked at four times a second, whatever
// the noise; one that changes at once; one with a finder thirty times in a row.
func TestStill(t *testing.T) {
	for _, tt := range []struct {
		name       string
		picture    func(s *set, n int) Image
		eye        Eye
		looks      [2]uint64 // from, to in 3 s, that are 90 pictures
		firstAfter int       // picture of which the first scan must come, -1 for none
	}{
		{"an empty room", func(s *set, n int) Image { return s.shot(false, n, 0) }, marker, [2]uint64{10, 13}, -1},
		{"a little noise", func(s *set, n int) Image { return s.shot(false, n, 2) }, marker, [2]uint64{10, 13}, -1},
		{"a dim room's noise", func(s *set, n int) Image { return s.shot(false, n, 9) }, marker, [2]uint64{10, 13}, -1},
		{"a code comes", func(s *set, n int) Image { return s.shot(n >= 45, n, 4) }, marker, [2]uint64{11, 20}, 45},
		{"a code comes out of much noise", func(s *set, n int) Image { return s.shot(n >= 45, n, 9) }, marker, [2]uint64{11, 20}, 45},
		{"a finder that is not read", func(s *set, n int) Image { return s.shot(true, n, 4) },
			unread, [2]uint64{36, 40}, -1},
		{"a finder that moves", func(s *set, n int) Image { return s.shot(n%2 == 0, n, 4) },
			unread, [2]uint64{88, 91}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				scene := canvas()
				src := &film{picture: func(n int) Image { return tt.picture(scene, n) }}
				r := &Reader{Source: src, Eye: tt.eye}
				scans := play(t, r, 3*time.Second)
				f := r.Figures()
				if f.Looks < tt.looks[0] || f.Looks > tt.looks[1] {
					t.Errorf("%d looks at %d pictures, want %d to %d", f.Looks, f.Frames, tt.looks[0], tt.looks[1])
				}
				switch {
				case tt.firstAfter < 0 && len(scans) > 0:
					t.Errorf("%d scans", len(scans))
				case tt.firstAfter >= 0 && len(scans) != 1:
					t.Errorf("%d scans, want 1", len(scans))
				case tt.firstAfter >= 0:
					if got, want := scans[0].At.Sub(start), time.Duration(tt.firstAfter+1)*frameEvery; got != want {
						t.Errorf("scanned after %v, want %v: the first picture with the code", got, want)
					}
				}
			})
		})
	}
}

// TestExposure: pictures that show nothing are skipped under their reason, and
// one a second is looked at all the same.
func TestExposure(t *testing.T) {
	flat := func(v byte) func(*set, int) Image {
		return func(s *set, n int) Image {
			for i := range s.Pix {
				s.Pix[i] = v + byte(n%2*5) // not the same twice: it flickers
			}
			return s.image()
		}
	}
	fog := func(s *set, n int) Image {
		for i := range s.Pix {
			x := (i + 7*n) % s.Width
			s.Pix[i] = byte(255 * x / s.Width)
			if x > s.Width*9/10 { // back to black without an edge
				s.Pix[i] = byte(255 * 9 * (s.Width - x) / s.Width)
			}
		}
		return s.image()
	}
	for _, tt := range []struct {
		name    string
		picture func(*set, int) Image
		want    Outcome
	}{
		{"the lights are off", flat(4), TooDark},
		{"the sun is in the lens", flat(250), TooBright},
		{"a hand on the lens", flat(120), Featureless},
		{"the lens is out of focus", fog, Blurred},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scene := canvas()
				r := &Reader{Source: &film{picture: func(n int) Image { return tt.picture(scene, n) }}, Eye: marker}
				play(t, r, 3*time.Second)
				f := r.Figures()
				if f.Of(tt.want) < 70 || f.Looks < 2 || f.Looks > 8 {
					t.Errorf("of %d pictures %d %s, and %d looks: want most skipped and some looks; %+v", f.Frames, f.Of(tt.want), tt.want, f.Looks, f)
				}
			})
		})
	}
}

// TestSilence has a camera that delivers for a while and then hangs: it is
// opened again, and that is counted and said once.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		src := sourceFunc(func(ctx context.Context, ready func(), frames func(Image)) error {
			opened++
			ready()
			for range 10 {
				time.Sleep(frameEvery)
				frames(pixel(0))
			}
			<-ctx.Done()
			return ctx.Err()
		})
		var log bytes.Buffer
		r := &Reader{Source: src, Eye: marker, Log: slog.New(slog.NewTextHandler(&log, nil))}
		play(t, r, 13*time.Second)
		if f := r.Figures(); opened != 3 || f.Wedges != 2 {
			t.Errorf("opened %d times, %d wedges, want 3 and 2", opened, f.Wedges)
		}
		if got := strings.Count(log.String(), "no picture for 5 s"); got != 2 {
			t.Errorf("said %d times that no picture came, want 2:\n%s", got, &log)
		}
	})
}

// sourceFunc is a live Source.
type sourceFunc func(ctx context.Context, ready func(), frames func(Image)) error

func (sourceFunc) Live() bool     { return true }
func (sourceFunc) String() string { return "source" }
func (s sourceFunc) Run(ctx context.Context, ready func(), frames func(Image)) error {
	return s(ctx, ready, frames)
}

// TestWatch: one watcher at a time hears of every picture, until it stops.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scene := canvas()
		r := &Reader{Source: &film{picture: func(n int) Image {
			if n == 20 {
				return Image{Data: []byte("no picture")}
			}
			return scene.shot(n >= 10, n, 3)
		}}, Eye: marker}
		var heard []Outcome
		var places []image.Rectangle
		stop, err := r.Watch(func(l Look) {
			heard = append(heard, l.Outcome)
			if l.Outcome == Read {
				places = append(places, l.Codes[0].Place)
			}
			if err := l.Frame.Check(); (err != nil) != (l.Outcome == Broken) {
				t.Errorf("%s with a frame of %d×%d", l.Outcome, l.Frame.Width, l.Frame.Height)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Watch(func(Look) {}); !errors.Is(err, ErrWatched) {
			t.Errorf("a second watcher: %v", err)
		}
		time.AfterFunc(time.Second+time.Millisecond, stop)
		play(t, r, 2*time.Second)
		if len(heard) != 30 {
			t.Errorf("heard of %d pictures in a second, want 30", len(heard))
		}
		if heard[0] != NoFinder || heard[1] != Still || heard[10] != Read || heard[20] != Broken {
			t.Errorf("heard %v", heard)
		}
		for _, p := range places {
			if d := p.Min.Sub(square.Min); d.X < -10 || d.Y < -10 || d.X > 10 || d.Y > 10 {
				t.Errorf("the code is said to be at %v, want near %v", p, square)
			}
		}
		if stop, err := r.Watch(func(Look) {}); err != nil {
			t.Errorf("after the first has stopped: %v", err)
		} else {
			stop()
		}
	})
}

// BenchmarkJPEG shows what the second core does: unpacking one picture while
// the one before is looked at.
func BenchmarkJPEG(b *testing.B) {
	var data [2][]byte // not one picture again and again, which would be spared
	for n := range data {
		img := image.NewGray(image.Rect(0, 0, 1280, 720))
		rng := rand.New(rand.NewPCG(3, 4))
		for i := range img.Pix {
			img.Pix[i] = byte((i+640*n)%1280/8 + rng.IntN(8))
		}
		data[n] = asJPEG(b, img)
	}
	for _, cores := range []int{1, 2} {
		b.Run(fmt.Sprint(cores, " cores"), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			looks := 0
			r := &Reader{Cores: cores, Source: sourceFunc(func(ctx context.Context, ready func(), frames func(Image)) error {
				ready()
				for n := 0; ctx.Err() == nil; n++ {
					frames(Image{Data: data[n%2]})
					time.Sleep(time.Millisecond)
				}
				return ctx.Err()
			}), Eye: eyeFunc(func(f scanner.Frame) Sight {
				for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
				}
				if looks++; looks == b.N {
					cancel()
				}
				return Sight{Finder: image.Rect(0, 0, f.Width, f.Height)}
			})}
			if err := r.Run(ctx, func(gate.Scan) {}); !errors.Is(err, context.Canceled) {
				b.Error(err)
			}
		})
	}
}
