package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// tab is a page in Debian's Chromium.
type tab struct {
	t   testing.TB
	ctx context.Context
}

// watching runs before a page's own script: it keeps what the policy forbade
// and, of each event, its bytes and how long the page took to show it.
const watching = `
window.forbidden = [];
document.addEventListener("securitypolicyviolation", (e) => forbidden.push(e.violatedDirective + " " + e.blockedURI));
window.updates = [];
window.EventSource = class extends EventSource {
	set onmessage(f) {
		super.onmessage = (e) => {
			const from = performance.now();
			f(e);
			document.body.getBoundingClientRect(); // with its layout
			updates.push({bytes: new TextEncoder().encode(e.data).length, ms: performance.now() - from, text: e.data});
		};
	}
};`

// openTab starts a browser. Without one there is nothing to test a page in.
func openTab(t testing.TB, width, height int) *tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium on this machine")
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(width, height), chromedp.UserDataDir(t.TempDir()))...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	ctx, timeout := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(timeout)
	b := &tab{t, ctx}
	b.do("watch", func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watching})
		return chromedp.Void{}, err
	})
	return b
}

func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for _, step := range steps {
		if _, err := chromedp.Run(b.ctx, step); err != nil {
			b.t.Fatalf("%s: %v", what, err)
		}
	}
}

// ask evaluates an expression in the page.
func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for something to be so in the page.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	eventually(b.t, what, func() error {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		if err == nil && !ok {
			err = fmt.Errorf("not yet: %s", expression)
		}
		return err
	})
}

// login opens the fleet's page.
func (b *tab) login(url, dir string) {
	b.t.Helper()
	token, err := OperatorToken(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	b.do("log in", chromedp.Navigate(url), chromedp.WaitVisible("#token"), chromedp.SendKeys("#token", token), chromedp.Click("form button"), chromedp.WaitVisible("#numbers"))
}

// night makes the browser ask for dark pages, or for light ones.
func (b *tab) night(dark bool) {
	b.t.Helper()
	value := "light"
	if dark {
		value = "dark"
	}
	b.do("by night", func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}})
		return chromedp.Void{}, err
	})
}

// shot keeps a picture where GREENGATE_SCREENSHOTS=DIR asks for them.
func (b *tab) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("GREENGATE_SCREENSHOTS")
	if dir == "" {
		return
	}
	data, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// allowed fails where the page wanted what its policy forbids.
func (b *tab) allowed() {
	b.t.Helper()
	if list := ask[json.RawMessage](b, "forbidden"); string(list) != "[]" {
		b.t.Errorf("the policy forbade %s", list)
	}
}
