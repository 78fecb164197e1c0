package viewfinder

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"greengate/cmd/control"
	"greengate/scanner/qr"
)

// chromium starts a browser, or skips the test where there is none.
func chromium(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no chromium, chromium-browser or google-chrome in PATH (Debian: apt install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// shot writes a picture of the page into the folder that GREENGATE_SCREENSHOTS
// names, for people to look at.
func shot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("GREENGATE_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatalf("picture of %s: %v", name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// scene is what a camera may see: a dim hall, and a telephone with a code.
func scene(t *testing.T, code bool, brightness float64) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 480, 270))
	rng := rand.New(rand.NewPCG(5, 6))
	for y := range 270 {
		for x := range 480 {
			v := 70 + 50*float64(x)/480 - 20*float64(y)/270
			if x > 330 && x < 420 {
				v -= 35 // a door
			}
			img.SetGray(x, y, color.Gray{Y: uint8(min(max(brightness*(v+6*rng.NormFloat64()), 0), 255))})
		}
	}
	if code {
		draw.Draw(img, image.Rect(140, 20, 300, 260), image.NewUniform(color.Gray{Y: 20}), image.Point{}, draw.Src)
		draw.Draw(img, image.Rect(148, 34, 292, 246), image.NewUniform(color.Gray{Y: 235}), image.Point{}, draw.Src)
		picture, err := qr.Picture("JKM1:A CODE OF NOBODY", 3)
		if err != nil {
			t.Fatal(err)
		}
		at := image.Pt(220-picture.Rect.Dx()/2, 140-picture.Rect.Dy()/2)
		draw.Draw(img, picture.Rect.Add(at), picture, image.Point{}, draw.Src)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestViewfinderInABrowser(t *testing.T) {
	ctx := chromium(t)
	p, address, stop := serve(t)
	now := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	base := control.CameraLine{Reader: "front", State: "connected since 2020-02-17T07:12:09Z", Settings: "1280×720 YUYV, exposure automatic, within the rate of pictures",
		At: now, Ends: now.Add(9*time.Minute + 5*time.Second), Rate: 29.97, Looks: 4, Millis: 1.3, Mean: 92, Contrast: 118, Sharpness: 61, Width: 1280, Height: 720}
	with := func(change func(*control.CameraLine)) control.CameraLine {
		l := base
		change(&l)
		return l
	}
	dark := with(func(l *control.CameraLine) {
		l.Looks, l.Mean, l.Contrast, l.Sharpness, l.Picture = 1, 4, 7, 0, scene(t, false, .04)
		l.Outcomes = map[string]uint64{"too-dark": 29, "no-finder": 1}
	})
	dim := with(func(l *control.CameraLine) {
		l.Looks, l.Mean, l.Contrast, l.Sharpness, l.Picture = 30, 44, 60, 35, scene(t, true, .4)
		l.Outcomes = map[string]uint64{"no-finder": 30}
	})
	scenes := []struct {
		name, verdict, level string
		advice               string // words of it
		line                 control.CameraLine
	}{
		{"01-nothing", "No code in sight", "", "Hold one up.", with(func(l *control.CameraLine) {
			l.Picture, l.Outcomes = scene(t, false, 1), map[string]uint64{"still": 26, "no-finder": 4}
		})},
		{"02-reads", "Reads", "good", "at which people will hold theirs", with(func(l *control.CameraLine) {
			l.Outcome = "read"
			l.Picture, l.Outcomes = scene(t, true, 1), map[string]uint64{"still": 21, "read": 9}
			l.Last, l.Place = &control.CameraCode{At: now.Add(-time.Second), Kind: "dynamic", Bytes: 219}, &[4]float64{.355, .33, .205, .37}
		})},
		{"03-unread", "Found, not read", "warn", "Come closer", with(func(l *control.CameraLine) {
			l.Picture, l.Outcomes = scene(t, true, 2.2), map[string]uint64{"unread": 27, "overtaken": 3}
			l.Looks, l.Millis, l.Place = 27, 8.4, &[4]float64{.355, .33, .205, .37}
		})},
		{"04-dark", "Too dark", "bad", "Is the lens covered?", dark},
		{"05-dim", "No code in sight", "", "more light helps", dim},
		{"06-silent", "No pictures", "bad", "Is it plugged in?", with(func(l *control.CameraLine) {
			l.Rate, l.Looks, l.Wedges, l.State = 0, 0, 2, "absent since 2020-02-17T07:59:31Z: camera /dev/video0: no picture for 5 s"
		})},
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(address+p.Path())); err != nil {
		t.Fatal(err)
	}
	ask := func(expression string) string {
		t.Helper()
		answer, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	const overflow = `[document.documentElement.scrollWidth > innerWidth ? "page" : "", ...[...document.querySelectorAll("section *, header *")].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map(e => e.tagName + " " + e.id)].filter(Boolean).join("; ")`
	for _, size := range []struct {
		name          string
		width, height int64
	}{{"", 1280, 800}, {"-telephone", 412, 915}} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(size.width, size.height)); err != nil {
			t.Fatal(err)
		}
		for _, s := range scenes {
			p.Show(s.line)
			// A picture that is still loading when a line comes is not asked for again:
			// so the line is shown until its picture is there.
			err := chromedp.Do(ctx, chromedp.Poll[chromedp.Void](fmt.Sprintf(`document.getElementById("verdict").textContent === %q`, s.verdict)))
			for tries := 0; err == nil && ask(`document.body.dataset.count || ""`) != fmt.Sprint(p.count) && tries < 100; tries++ {
				p.Show(s.line)
				err = chromedp.Do(ctx, chromedp.Sleep(50*time.Millisecond))
			}
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if got := ask(`document.body.dataset.level`); got != s.level {
				t.Errorf("%s has the level %q, want %q", s.name, got, s.level)
			}
			if got := ask(`document.getElementById("advice").textContent`); !strings.Contains(got, s.advice) {
				t.Errorf("%s advises %q, want %q in it", s.name, got, s.advice)
			}
			if got, want := ask(`getComputedStyle(document.getElementById("place")).stroke`), "rgb(62, 203, 118)"; (got == want) != (s.line.Outcome == "read") {
				t.Errorf("%s frames the place in %s", s.name, got)
			}
			if wrong := ask(overflow); wrong != "" {
				t.Errorf("%s at %d pixels overflows: %s", s.name, size.width, wrong)
			}
			if width := ask(`String(document.getElementById("picture").naturalWidth)`); width != "480" {
				t.Errorf("%s shows a picture of %s pixels", s.name, width)
			}
			shot(t, ctx, "camera-"+s.name+size.name)
		}
	}
	if got := ask(`document.getElementById("last").textContent`); !strings.Contains(got, "dynamic, 219 bytes") {
		t.Errorf("the last code is %q", got)
	}
	if got := ask(`document.getElementById("left").textContent`); got != "ends by itself in 9:05" {
		t.Errorf("it says %q", got)
	}
	stop()
	if err := chromedp.Do(ctx, chromedp.WaitReady(chromedp.CSS(`body[data-state="over"]`))); err != nil {
		t.Fatal(err)
	}
	if got := ask(`String(document.getElementById("picture").hidden)`); got != "true" {
		t.Error("the last picture is still shown when it is over")
	}
	shot(t, ctx, "camera-07-over-telephone")
}
