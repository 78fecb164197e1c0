package hub

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
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
	north.says = "lists=fresh age=42 held=12 clock=hub-confirmed policy=7 map=3 version=v1.4.0 faults=none journal=4"
	south.says = "lists=too-old age=190000 held=12 clock=floor policy=6 map=1 version=v1.3.2 faults=thermometer-broken journal=93"
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
	rows, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.querySelectorAll("#gates tr, #passages tr").length`))
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
	// It is live: what a gate brings comes onto the page that is open. Arrow keys go from gate to gate.
	north.pass(t, 2, gate.Fever)
	if status, _, _ := north.post(t, gates, north.batch(t, 19, 20)); status != 200 {
		t.Fatal(status)
	}
	eventually(t, "the page shows what came", func() error {
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.getElementById("reasons").textContent`))
		if err != nil {
			return err
		}
		if !strings.Contains(text, "fever") {
			return fmt.Errorf("reasons are %q", text)
		}
		return nil
	})
	focused, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(() => {
		document.querySelector("#gates a").focus();
		document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowDown", bubbles: true}));
		return document.activeElement.id })()`))
	if err != nil {
		t.Fatal(err)
	}
	if focused != "g-west-gate" {
		t.Errorf("the arrow key led to %q", focused)
	}
	do("open a gate's day", chromedp.Navigate(page+"/gates/north-gate"), chromedp.WaitVisible("#chart svg"))
	day := shot()
	do("in Chinese", chromedp.Click("button[name=language]"), chromedp.WaitVisible("html[lang=zh-CN] #chart svg"), chromedp.Navigate(page), chromedp.WaitVisible("section.numbers"))
	zh := shot()
	do("on a telephone at night", chromedp.EmulateViewport(390, 844), chromedp.Navigate(page), chromedp.WaitVisible("section.numbers"))
	phone := shot()
	wide, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
	if err != nil {
		t.Fatal(err)
	}
	if wide > 390 {
		t.Errorf("a telephone's page is %d wide", wide)
	}
	if shots := os.Getenv("GREENGATE_SCREENSHOTS"); shots != "" {
		for name, data := range map[string][]byte{"hub-login.png": login, "hub.png": full, "hub-day.png": day, "hub-zh.png": zh, "hub-phone.png": phone} {
			if err := os.WriteFile(shots+"/"+name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
