package hub

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"greengate/gate"
)

// TestPagesThatAreBroken: what names hold is text and nothing else, the longest
// of them make no page wider than a telephone, no gate at all is said so, a
// clock that jumps makes no nonsense, and a hub that was started again says that
// the page must be opened anew.
func TestPagesThatAreBroken(t *testing.T) {
	c := &clock{}
	o := quiet()
	o.Now = c.now
	h, dir := newHub(t, o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	start := func(h *Hub, l net.Listener) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- h.Serve(ctx, nil, l, nil) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	}
	stop := start(h, l)
	b := openTab(t, 390, 844)
	b.do("a telephone", chromedp.EmulateViewport(390, 844))
	b.login(url, dir)
	b.until("no gate", `updates.length > 0 && document.getElementById("gates-none") !== null && document.getElementById("alarms-none") !== null`)
	narrow := func(what string) {
		t.Helper()
		if wide := ask[int](b, `document.documentElement.scrollWidth`); wide > 390 {
			t.Errorf("%s: the page is %d wide, for %s", what, wide, ask[string](b, `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 391 && !e.closest("section")?.scrollWidth).map(e => e.tagName + "." + e.className).slice(0, 5).join(" ")`))
		}
		b.allowed()
	}
	narrow("no gate")

	// The longest names that there may be, and such as are no names.
	long := strings.Repeat("x", 64)
	site := `<script>document.title="mine"</script><img src=x onerror=alert(1)>` + "\u202e"
	for id, site := range map[string]string{long: strings.Repeat("长", 30), "evil": site, "quotes": `"'&quot;><b>`} {
		if _, err := h.AddGate(t.Context(), GateRequest{Gate: id, Site: site, County: "331127", By: "op"}); err != nil {
			t.Fatal(err)
		}
	}
	said := gate.Condition{Lists: gate.TooOld, Age: 100 * 24 * time.Hour, Clock: gate.ClockUnset, Version: strings.Repeat("9", 40), Faults: strings.Repeat("fault-", 20) + "x,upload-gap", Journal: 100}
	for _, id := range []string{long, "evil", "quotes"} {
		h.fleet.contact(id, c.now(), 1<<60, &said)
	}
	h.fleet.alarm("evil", AlarmFork, alarmRecord{What: site, At: c.now()})
	b.until("they came by themselves", fmt.Sprintf(`document.getElementById("row-%s") !== null && document.getElementById("row-evil") !== null && document.getElementById("gates-none") === null`, long))
	if title := ask[string](b, `document.title`); title != "Test authority · gatehub" {
		t.Errorf("a name made the title %q", title)
	}
	if n := ask[int](b, `document.querySelectorAll("#gates script, #gates img, #gates b, #alarms script, #alarms img").length`); n != 0 {
		t.Errorf("a name made %d elements", n)
	}
	if text := ask[string](b, `document.querySelector("#row-evil bdi").textContent`); text != site {
		t.Errorf("the name is shown as %q", text)
	}
	narrow("long names")
	if wide := ask[string](b, `[...document.querySelectorAll(".cards")].filter(e => e.closest("section").scrollWidth > e.closest("section").clientWidth).map(e => e.className).join()`); wide != "" {
		t.Errorf("a long name makes tables wider than a telephone: %s", wide)
	}
	b.shot("hub-broken-phone.png")
	for _, path := range []string{"/gates/" + long, "/gates/evil", "/index?province=33", "/index?county=331127", "/?q=" + strings.Repeat("y", 64)} {
		b.do(path, chromedp.Navigate(url+path))
		b.until(path, fmt.Sprintf(`document.readyState === "complete" && location.pathname + location.search === %q`, path))
		narrow(path)
		b.shot("hub-broken-" + strings.Trim(strings.NewReplacer("/", "-", "?", "-", "=", "-").Replace(path[:min(len(path), 14)]), "-") + ".png")
	}
	// The hub's clock goes six hours forward, and twelve back; nobody is logged out by that.
	b.do("the fleet", chromedp.Navigate(url))
	for _, jump := range []time.Duration{6 * time.Hour, -12 * time.Hour} {
		c.advance(jump)
		h.fleet.contact("evil", c.now(), 0, &said)
		want := `document.getElementById("row-quotes").textContent.includes("6 h ago")`
		if jump < 0 {
			want = `document.getElementById("row-quotes").textContent.includes("now")`
		}
		b.until(fmt.Sprint("the clock jumps by ", jump), want)
	}
	c.advance(6 * time.Hour)
	b.do("in Chinese", chromedp.Click("button[name=language]"), chromedp.WaitVisible("html[lang=zh-CN] #gates tr"))
	narrow("in Chinese")
	for _, word := range []string{"last heard", "records", "of its room", " old", "stale", "any"} {
		if ask[bool](b, fmt.Sprintf(`document.querySelector("main").innerText.includes(%q)`, word)) {
			t.Errorf("%q stands on the Chinese page", word)
		}
	}

	// Another hub process: whoever looks hears of it, and that he must log in anew.
	b.until("live again", `updates.length > 0`)
	stop()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	b.until("the hub is away", `document.getElementById("live").className === "stopped"`)
	h = openHub(t, dir, o)
	if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer start(h, l)()
	b.until("it is back, and knows nobody", `document.getElementById("live").textContent.includes("重新载入")`)
	b.do("load again", chromedp.Navigate(url), chromedp.WaitVisible("#token"))
	narrow("log-in")
}
