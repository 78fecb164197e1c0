package hub

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"greengate/gate"
)

// TestScreenshots opens the operator's page in Debian's Chromium: it must log
// in, show its gate, and break no rule of its own Content-Security-Policy.
// With GREENGATE_SCREENSHOTS=DIR the pictures are kept there.
func TestScreenshots(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium on this machine")
	}
	c := &clock{}
	o := quiet()
	o.Now = c.now
	h, dir := newHub(t, o)
	gates, page := serve(t, h)
	for _, colour := range []string{"green", "green", "green", "yellow", "red"} {
		issueOne(t, h, colour, "static", nil)
	}
	if _, err := h.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	north, south := addGate(t, h, "north-gate"), addGate(t, h, "factory-turnstile-2")
	addGate(t, h, "west-gate")
	north.says = "lists=fresh age=42 held=12 clock=hub-confirmed policy=7 map=3"
	south.says = "lists=too-old age=190000 held=12 clock=floor policy=6 map=1"
	south.pass(t, 9, gate.Valid)
	if status, _, _ := south.post(t, gates, south.batch(t, 1, 9)); status != 200 {
		t.Fatal(status)
	}
	c.advance(10 * time.Minute)
	issueOne(t, h, "green", "static", nil)
	for _, r := range []gate.Reason{gate.Valid, gate.RedCode, gate.Valid, gate.Expired, gate.Valid, gate.Valid} {
		north.pass(t, 3, r)
	}
	if status, _, _ := north.post(t, gates, north.batch(t, 1, 18)); status != 200 {
		t.Fatal(status)
	}
	followed(t, h)
	token, err := OperatorToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(1440, 1200), chromedp.UserDataDir(t.TempDir()))...)
	defer stop()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	ctx, timeout := context.WithTimeout(ctx, time.Minute)
	defer timeout()
	do := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		for _, step := range steps {
			if _, err := chromedp.Run(ctx, step); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	shot := func() []byte {
		t.Helper()
		data, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	do("open the page", chromedp.Navigate(page), chromedp.WaitVisible("#token"))
	login := shot()
	do("log in", chromedp.SendKeys("#token", token), chromedp.Click("form button"), chromedp.WaitVisible("section.numbers"))
	full := shot()
	title, err := chromedp.Run(ctx, chromedp.Title())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.querySelectorAll("section.wide tbody tr").length`))
	if err != nil {
		t.Fatal(err)
	}
	font, err := chromedp.Run(ctx, chromedp.Evaluate[string](`getComputedStyle(document.querySelector(".number b")).fontSize`))
	if err != nil {
		t.Fatal(err)
	}
	// The style sheet came through the policy: without it the numbers have 16 px.
	if title != "Test authority · gatehub" || rows != 3+27 || font == "16px" {
		t.Errorf("title %q, %d rows, numbers of %s", title, rows, font)
	}
	if shots := os.Getenv("GREENGATE_SCREENSHOTS"); shots != "" {
		for name, data := range map[string][]byte{"hub-login.png": login, "hub.png": full} {
			if err := os.WriteFile(shots+"/"+name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
