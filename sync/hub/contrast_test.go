package hub

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"greengate/gate"
)

// pale lists what a page shows with less contrast than WCAG 2.1 AA asks for:
// text below 4.5, large text below 3, and what is drawn below 3.
const pale = `(() => {
	const rgb = (c) => c.match(/[\d.]+/g).map(Number);
	const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
	const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if ((c[3] ?? 1) === 1) return c; } return [255, 255, 255]; };
	const out = [];
	const want = (e, colour, back, least, what) => { const n = ratio(rgb(colour), back); if (n < least) out.push(what + " in " + e.tagName + "." + (e.getAttribute("class") ?? "") + ": " + n.toFixed(2)); };
	let seen = 0;
	for (const e of document.querySelectorAll("body *")) {
		const style = getComputedStyle(e);
		if (!e.getClientRects().length || style.visibility === "hidden") continue;
		const text = [...e.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data.trim()).join(" ").trim();
		if (text && !e.closest("title, option")) {
			seen++;
			const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
			const drawn = e.closest("svg");
			const rect = drawn && e.parentElement.querySelector(":scope > rect:not([class])");
			want(e, drawn ? style.fill : style.color, rect ? rgb(getComputedStyle(rect).fill) : ground(drawn ?? e), large ? 3 : 4.5, text.slice(0, 30));
		}
		if (e.matches(".bar i")) want(e, style.backgroundColor, ground(e.parentElement), 3, "bar");
		if (e.matches("rect.admit, rect.hold, rect.refuse, .dot")) want(e, style.fill, ground(e.closest("svg")), 3, "drawn");
		if (e.matches("input:not([type=hidden]), select")) want(e, style.borderTopColor, ground(e.parentElement), 3, "border");
	}
	return seen < 5 ? ["only " + seen + " texts"] : [...new Set(out)];
})()`

// TestContrast: by day and by night each text can be read.
func TestContrast(t *testing.T) {
	c := &clock{}
	o := quiet()
	o.Now = c.now
	h, dir := newHub(t, o)
	gates, page := serve(t, h)
	north := addGate(t, h, "north-gate")
	north.says = "lists=too-old age=190000 held=12 clock=floor policy=6 map=1 version=v1.3.2 faults=thermometer-broken,journal-damaged journal=93"
	for _, r := range []gate.Reason{gate.Valid, gate.RedCode} {
		north.pass(t, 3, r)
	}
	for range 3 {
		north.write(t, gate.Record{Kind: gate.DecisionRecord, At: c.now(), Clock: gate.ClockConfirmed, Verdict: gate.Hold, Reason: gate.YellowCode})
	}
	if status, _, _ := north.post(t, gates, north.batch(t, 1, 9)); status != 200 {
		t.Fatal(status)
	}
	c.advance(10 * time.Minute)
	fill(h, 60)
	followed(t, h)
	b := openTab(t, 1280, 900)
	look := func(name string) {
		t.Helper()
		for _, dark := range []bool{false, true} {
			b.night(dark)
			if dark {
				b.shot(name + "-night.png")
			}
			for _, text := range ask[[]string](b, pale) {
				t.Errorf("%s, dark %v: %s", name, dark, text)
			}
			if back := ask[string](b, `getComputedStyle(document.body).backgroundColor`); dark != (back == "rgb(14, 21, 28)") {
				t.Errorf("%s, dark %v: the ground is %s", name, dark, back)
			}
		}
	}
	b.do("log-in", chromedp.Navigate(page), chromedp.WaitVisible("#token"))
	look("hub-login")
	b.login(page, dir)
	look("hub")
	// The measure sees what is too pale.
	ask[string](b, `document.querySelector("h2").style.color = "#606060"`)
	if text := ask[[]string](b, pale); len(text) != 1 {
		t.Errorf("one heading is made pale: %v", text)
	}
	for name, path := range map[string]string{"hub-gate": "/gates/north-gate", "index-none": "/index?province=33"} {
		b.do(name, chromedp.Navigate(page+path))
		b.until(name, fmt.Sprintf(`location.pathname + location.search === %q && document.readyState === "complete"`, path))
		look(name)
	}
	b.allowed()
}
