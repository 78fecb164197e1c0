package web

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"greengate/display"
	"greengate/gate"
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
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("mute-audio", true))
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

// ask evaluates an expression in the page.
func ask(t *testing.T, ctx context.Context, expression string) string {
	t.Helper()
	answer, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		t.Fatal(err)
	}
	return answer
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

// poster shows views to a server with rising counts.
type poster struct {
	*Server
	mu    sync.Mutex
	count uint64
}

func (p *poster) show(v gate.View) gate.View {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	v.Count = p.count
	if v.Since.IsZero() {
		v.Since = time.Now()
	}
	p.Server.Show(v)
	return v
}

func (p *poster) await(v gate.View) chromedp.Action[chromedp.Void] {
	return chromedp.WaitReady(chromedp.CSS(fmt.Sprintf(`[data-count="%d"]`, v.Count)))
}

// scenes are the views that a day at the gate shows.
func scenes() []struct {
	name string
	view gate.View
} {
	var out []struct {
		name string
		view gate.View
	}
	add := func(name string, v gate.View) {
		out = append(out, struct {
			name string
			view gate.View
		}{name, v})
	}
	now := time.Now()
	in := func(d time.Duration) time.Time { return now.Add(d) }
	normal := &gate.Reading{Object: 35900, Ambient: 21000, Adjusted: 36400}
	high := &gate.Reading{Object: 37400, Ambient: 21000, Adjusted: 37900}
	add("01-out-of-service", gate.View{Light: gate.Light{Colour: gate.LightRed, Blink: gate.SlowBlink}, FaultCode: "journal-timeout"})
	add("02-idle", gate.View{State: gate.Idle, Light: gate.Light{Colour: gate.LightBlue}})
	add("03-reading", gate.View{State: gate.ReadingCode, Light: gate.Light{Colour: gate.LightBlue}})
	add("04-await-permit", gate.View{State: gate.AwaitPermit, Decision: gate.Decision{Reason: gate.PermitNeeded, Next: gate.NextPermit}, Name: "王*明", Kind: "dynamic", Colour: gate.Green, Until: in(20 * time.Second), Light: gate.Light{Colour: gate.LightAmber}})
	add("05-measure", gate.View{State: gate.Measure, Decision: gate.Decision{Reason: gate.Measuring, Next: gate.NextTemperature}, Name: "王*明", Kind: "dynamic", Colour: gate.Green, Light: gate.Light{Colour: gate.LightAmber}})
	add("06-again", gate.View{State: gate.MeasureAgain, Decision: gate.Decision{Reason: gate.Again, Next: gate.NextAgain}, Name: "王*明", Kind: "dynamic", Colour: gate.Green, Light: gate.Light{Colour: gate.LightAmber}})
	add("07-closer", gate.View{State: gate.StepCloser, Decision: gate.Decision{Reason: gate.Closer, Next: gate.NextCloser}, Name: "王*明", Kind: "dynamic", Colour: gate.Green, Light: gate.Light{Colour: gate.LightAmber}})
	add("08-recording", gate.View{State: gate.Recording, Decision: gate.Decision{Verdict: gate.Admit, Reason: gate.Valid}, Name: "王*明", Kind: "dynamic", Colour: gate.Green, Reading: normal, Light: gate.Light{Colour: gate.LightAmber}})
	add("09-released", gate.View{State: gate.Released, Decision: gate.Decision{Verdict: gate.Admit, Reason: gate.Valid}, Name: "王*明", Kind: "dynamic", Colour: gate.Green, Reading: normal, Sequence: 4711, Until: in(60 * time.Second), Light: gate.Light{Colour: gate.LightGreen}, Tone: gate.OneHigh})
	add("10-refused-red", gate.View{State: gate.Refused, Decision: gate.Decision{Reason: gate.RedCode}, Name: "李*", Kind: "dynamic", Colour: gate.Red, Sequence: 4712, Until: in(5 * time.Second), Light: gate.Light{Colour: gate.LightRed, Blink: gate.FastBlink}, Tone: gate.LowTriple})
	add("11-refused-proof-missing", gate.View{State: gate.Refused, Decision: gate.Decision{Reason: gate.ProofMissing}, Sequence: 4713, Until: in(5 * time.Second), Light: gate.Light{Colour: gate.LightRed, Blink: gate.FastBlink}})
	add("12-refused-unreadable", gate.View{State: gate.Refused, Decision: gate.Decision{Reason: gate.Unreadable}, Sequence: 4714, Until: in(5 * time.Second), Light: gate.Light{Colour: gate.LightRed, Blink: gate.SlowBlink}})
	add("13-refused-permit-zone", gate.View{State: gate.Refused, Decision: gate.Decision{Reason: gate.PermitWrongZone}, Name: "欧阳**", Sequence: 4715, Until: in(5 * time.Second), Light: gate.Light{Colour: gate.LightRed, Blink: gate.SlowBlink}})
	add("14-held-yellow", gate.View{State: gate.Held, GuardMayAdmit: true, Decision: gate.Decision{Verdict: gate.Hold, Reason: gate.YellowCode}, Name: "张*", Kind: "static", Colour: gate.Yellow, Sequence: 4716, Until: in(60 * time.Second), Light: gate.Light{Colour: gate.LightAmber, Blink: gate.SlowBlink}, Tone: gate.TwoMid})
	add("15-held-fever", gate.View{State: gate.Held, GuardMayAdmit: true, Decision: gate.Decision{Verdict: gate.Hold, Reason: gate.Fever, Notices: []gate.Reason{gate.ListsStale}}, Name: "J*** S****", Kind: "paper", Colour: gate.Green, Reading: high, Sequence: 4717, Until: in(60 * time.Second), Light: gate.Light{Colour: gate.LightAmber, Blink: gate.SlowBlink}, Tone: gate.TwoMid})
	add("16-exit", gate.View{State: gate.Released, Direction: gate.Exit, Decision: gate.Decision{Verdict: gate.Admit, Reason: gate.ExitFree}, Sequence: 4718, Until: in(60 * time.Second), Light: gate.Light{Colour: gate.LightGreen}})
	add("17-fire", gate.View{State: gate.FireOpen, Decision: gate.Decision{Verdict: gate.Admit, Reason: gate.ByFire}, Light: gate.Light{Colour: gate.LightGreen, Blink: gate.FastBlink}})
	return out
}

func goodHealth() display.Health {
	return display.Health{
		GateName: "东门 1 号", Zone: "A 区", ListIssued: time.Now().Add(-4 * time.Minute), Lists: gate.Fresh,
		Held: []display.ListHealth{
			{URI: "https://health.example/lists/3301/0", Generation: 41, Confirmed: time.Now().Add(-4 * time.Minute), Freshness: gate.Fresh},
			{URI: "https://health.example/lists/3301/1", Generation: 12, Confirmed: time.Now().Add(-4 * time.Minute), Freshness: gate.Fresh},
			{URI: "https://health.example/lists/4403/7", Generation: 3, Confirmed: time.Now().Add(-4 * time.Minute), Freshness: gate.Fresh, Extra: true},
		},
		MapDay:    "2020-02-17",
		ClockTime: time.Date(2020, 2, 17, 8, 41, 7, 0, time.UTC), Clock: gate.ClockConfirmed, Backlog: 3, JournalPercent: 12,
		Hub: display.HubHealth{Connected: true}, Readers: []display.ReaderHealth{{Name: "serial", State: "ready"}, {Name: "camera", State: "ready"}},
	}
}

func badHealth() display.Health {
	h := goodHealth()
	h.ListIssued, h.Lists = time.Now().Add(-75*time.Hour), gate.TooOld
	h.Held = nil
	for i := range 40 {
		l := display.ListHealth{URI: fmt.Sprintf("https://health.example/lists/3301/%d", i), Generation: uint64(40 - i), Confirmed: time.Now().Add(-4 * time.Minute), Freshness: gate.Fresh}
		switch i {
		case 3:
			l.Confirmed, l.Freshness, l.Extra = h.ListIssued, gate.TooOld, true
		case 30:
			l.Confirmed, l.Freshness = time.Now().Add(-25*time.Hour), gate.Stale
		}
		h.Held = append(h.Held, l)
	}
	h.MapDay = "2020-02-15"
	h.Clock, h.Backlog, h.JournalPercent = gate.ClockUnset, 20417, 93
	h.Hub = display.HubHealth{LastContact: time.Now().Add(-74 * time.Hour)}
	h.Readers[1].State = "absent"
	h.Faults = []string{"journal-timeout", "thermometer-broken"}
	return h
}

// fits is what every kiosk view must keep, measured in the page.
const fits = `(() => {
	// On a panel on its side, what counts is the shorter edge: it is the same panel.
	const wrong = [], box = e => e.getBoundingClientRect(), vh = Math.min(innerHeight, innerWidth) / 100;
	for (const span of document.querySelectorAll("h1 span")) {
		const size = parseFloat(getComputedStyle(span).fontSize);
		if (size < 8 * vh) wrong.push("headline " + span.textContent + " is " + (size / vh).toFixed(1) + " % high");
	}
	for (const span of document.querySelectorAll("#next span")) {
		const size = parseFloat(getComputedStyle(span).fontSize);
		if (size < (span.lang === "zh" ? 5.8 : 4.2) * vh) wrong.push("next step " + span.textContent + " is " + (size / vh).toFixed(1) + " % high");
	}
	const strip = box(document.getElementById("strip")).top;
	for (const e of document.querySelectorAll("h1 span, #next span, #facts li:not([hidden]), #figure")) {
		const b = box(e);
		if (b.left < 0 || b.top < 0 || b.right > innerWidth + 0.5 || b.bottom > strip + 0.5) wrong.push((e.textContent.trim() || e.id) + " leaves the screen");
		if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0) wrong.push(e.textContent + " overflows");
	}
	for (const e of document.querySelectorAll("#strip > *")) if (box(e).right > innerWidth + 0.5) wrong.push("strip: " + e.textContent + " is cut");
	return wrong.join("; ");
})()`

func TestKioskInABrowser(t *testing.T) {
	ctx := chromium(t)
	b := start(t, goodHealth)
	p := &poster{Server: b.server}

	first := p.show(gate.View{State: gate.Idle})
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 720), chromedp.Navigate(b.url+"/"), p.await(first),
		chromedp.WaitVisible(chromedp.CSS(`#strip [data-id="backlog"]`))); err != nil {
		t.Fatal(err)
	}
	for _, size := range []struct{ width, height int64 }{{1280, 720}, {800, 480}, {1024, 600}, {720, 1280}} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(size.width, size.height)); err != nil {
			t.Fatal(err)
		}
		look := func(name string, v gate.View) {
			t.Helper()
			v = p.show(v)
			if err := chromedp.Do(ctx, p.await(v)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			shape := ask(t, ctx, `document.getElementById("shape").getAttribute("href")`)
			ground := ask(t, ctx, `document.body.dataset.ground`)
			if wrong := ask(t, ctx, fits); wrong != "" {
				t.Errorf("%s at %dx%d: %s", name, size.width, size.height, wrong)
			}
			if sign := display.SignOf(v); shape != "#shape-"+string(sign.Shape) || ground != string(sign.Ground) {
				t.Errorf("%s shows %s on %s, want %v", name, shape, ground, sign)
			}
		}
		for _, scene := range scenes() {
			look(scene.name, scene.view)
			shot(t, ctx, fmt.Sprintf("kiosk-%dx%d-%s", size.width, size.height, scene.name))
		}
		// Every reason in every state that shows one, with the longest that goes beside it.
		for _, reason := range gate.Reasons() {
			for _, state := range []gate.State{gate.Refused, gate.Held, gate.Released} {
				look(state.String()+" "+string(reason), gate.View{State: state, Decision: gate.Decision{Reason: reason},
					Name: "J*** S****", Reading: &gate.Reading{Adjusted: 36400}, Until: time.Now().Add(time.Minute)})
			}
		}
	}
}

func TestKioskDoesNotKeepTheLastGreen(t *testing.T) {
	ctx := chromium(t)
	b := start(t, badHealth)
	p := &poster{Server: b.server}
	green := gate.View{State: gate.Released, Decision: gate.Decision{Verdict: gate.Admit, Reason: gate.Valid}, Until: time.Now().Add(time.Hour)}
	v := p.show(green)
	err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 720), chromedp.Navigate(b.url+"/"), p.await(v),
		chromedp.WaitReady(chromedp.CSS(`body[data-ground="green"]`)))
	if err != nil {
		t.Fatal(err)
	}
	b.stop()
	if err := chromedp.Do(ctx, chromedp.WaitReady(chromedp.CSS(`body[data-state="offline"][data-ground="out"]`))); err != nil {
		t.Fatal(err)
	}
	headline := ask(t, ctx, `document.getElementById("headline").innerText`)
	if !strings.Contains(headline, "连接中断") || !strings.Contains(headline, "Connection lost") {
		t.Errorf("a cut connection shows %q", headline)
	}
	shot(t, ctx, "kiosk-1280x720-18-offline")

	// The gate is back under the same address: the page finds it by itself.
	b.again()
	if err := chromedp.Do(ctx, chromedp.WaitReady(chromedp.CSS(`body[data-ground="green"]`))); err != nil {
		t.Fatalf("after the gate came back: %v", err)
	}

	// A release whose time ran out is not green any more, though nothing new came.
	green.Since, green.Until = time.Now().Add(-time.Second), time.Now().Add(200*time.Millisecond)
	p.show(green)
	if err := chromedp.Do(ctx, chromedp.WaitReady(chromedp.CSS(`body[data-state="offline"][data-ground="out"]`))); err != nil {
		t.Fatalf("after the deadline: %v", err)
	}
	// And the next person finds it working.
	v = p.show(gate.View{State: gate.Idle})
	if err := chromedp.Do(ctx, p.await(v), chromedp.WaitReady(chromedp.CSS(`body[data-ground="blue"]`))); err != nil {
		t.Fatalf("the next view: %v", err)
	}
	shot(t, ctx, "kiosk-1280x720-19-idle-bad-health")
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(800, 480)); err != nil {
		t.Fatal(err)
	}
	// The page hears of its new size in its own time; a view that comes after is drawn for it.
	v = p.show(gate.View{State: gate.Idle})
	if err := chromedp.Do(ctx, p.await(v), chromedp.WaitReady(chromedp.CSS(`body[data-ground="blue"]`))); err != nil {
		t.Fatal(err)
	}
	if wrong := ask(t, ctx, fits); wrong != "" {
		t.Errorf("bad health at 800x480: %s", wrong)
	}
	shot(t, ctx, "kiosk-800x480-19-idle-bad-health")
}

func TestGuardInABrowser(t *testing.T) {
	ctx := chromium(t)
	var mu sync.Mutex
	health := goodHealth()
	b := start(t, func() display.Health { mu.Lock(); defer mu.Unlock(); return health })
	p := &poster{Server: b.server}
	v := p.show(gate.View{State: gate.Idle})

	message := func(id, name string) chromedp.Action[chromedp.Void] {
		return chromedp.WaitReady(chromedp.CSS(fmt.Sprintf(`#%s[data-message="%s"]`, id, name)))
	}
	run := func(name string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	key := func(digit int) chromedp.Action[chromedp.Void] {
		return chromedp.Click(chromedp.Search(fmt.Sprintf(`//div[@id="pad"]/button[text()="%d"]`, digit)))
	}
	submit := chromedp.Click(chromedp.CSS(`#pad [type=submit]`))

	run("open", chromedp.EmulateViewport(1024, 768), chromedp.Navigate(b.url+"/guard"), chromedp.WaitVisible(chromedp.CSS("#pad")))
	shot(t, ctx, "guard-01-login")
	run("wrong pin", key(1), key(2), key(3), key(9), submit, message("login-message", "pin-wrong"))
	shot(t, ctx, "guard-02-wrong-pin")
	run("locked out", key(0), key(0), key(0), key(0), submit, message("login-message", "pin-locked"))
	shot(t, ctx, "guard-03-locked-out")
	run("log in", key(1), key(2), key(3), key(4), submit, chromedp.WaitVisible(chromedp.CSS("#desk")), p.await(v), chromedp.WaitVisible(chromedp.CSS(`#strip [data-id="lists"]`)))
	shot(t, ctx, "guard-04-idle")

	for _, scene := range scenes()[8:16] {
		v = p.show(scene.view)
		run(scene.name, p.await(v))
	}
	held := scenes()[14].view
	v = p.show(held)
	run("held", p.await(v), chromedp.WaitVisible(chromedp.CSS("#resolve-fields")), chromedp.WaitReady(chromedp.CSS("#admit[disabled]")))
	shot(t, ctx, "guard-05-held")
	overflow := `(() => { const w = [document.documentElement.scrollWidth > innerWidth ? "page" : "", document.documentElement.scrollHeight > innerHeight ? "page down" : ""];
		for (const e of document.querySelectorAll("#lane *, aside section")) if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && e.tagName != "INPUT") w.push(e.tagName + " " + e.id + " " + e.textContent.trim().slice(0, 40));
		const f = document.getElementById("resolve"); if (f.scrollHeight > f.clientHeight + 1) w.push("resolve is cut");
		return w.filter(Boolean).join("; "); })()`
	if wrong := ask(t, ctx, overflow); wrong != "" {
		t.Errorf("the held desk overflows: %s", wrong)
	}
	// What the lane takes is what was chosen, for the view that was shown. The
	// page takes no tap in the first 0.6 s, so tap until it is taken.
	chosen := chromedp.Click(chromedp.CSS(`#resolve input[value="second-device"]`))
	run("choose", chosen, chromedp.WaitEnabled(chromedp.CSS("#admit")))
	shot(t, ctx, "guard-06-reason-chosen")
	run("admit", chromedp.Poll[chromedp.Void](`document.getElementById("admit").click(), document.getElementById("message").dataset.message === "done"`, chromedp.WithPollingInterval(200*time.Millisecond)))
	got := b.lane.acts()
	want := gate.GuardAct{Action: gate.GuardAdmit, Reason: gate.SecondDevice, Guard: "guard-7", Count: v.Count}
	if len(got) != 1 || got[0] != want {
		t.Fatalf("the lane got %+v, want %+v", got, want)
	}
	v = p.show(gate.View{State: gate.Released, Decision: gate.Decision{Verdict: gate.Admit, Reason: gate.ByGuard}, Kind: "paper", Until: time.Now().Add(time.Minute), Sequence: 4719})
	run("released", p.await(v), chromedp.WaitVisible(chromedp.CSS(`#recent li[data-verdict="admit"]`)))
	shot(t, ctx, "guard-07-released")

	// A hold that may not be admitted can only be refused; who was sent away is refused too.
	v = p.show(gate.View{State: gate.Held, Decision: gate.Decision{Verdict: gate.Hold, Reason: gate.RedCode}, Colour: gate.Red, Until: time.Now().Add(time.Minute)})
	run("red held", p.await(v), message("message", "held-no-admit"), chromedp.Click(chromedp.CSS(`#resolve input[value="sent-away"]`)), chromedp.WaitEnabled(chromedp.CSS("#refuse")), chromedp.WaitReady(chromedp.CSS("#admit[disabled]")))
	run("refuse", chromedp.Poll[chromedp.Void](`document.getElementById("refuse").click(), document.getElementById("message").dataset.message === "done"`, chromedp.WithPollingInterval(200*time.Millisecond)))
	if got := b.lane.acts(); len(got) != 2 || got[1] != (gate.GuardAct{Action: gate.GuardRefuse, Reason: gate.SentAway, Guard: "guard-7", Count: v.Count}) {
		t.Fatalf("the lane got %+v", got)
	}

	// Without a code.
	v = p.show(gate.View{State: gate.Idle})
	mu.Lock()
	health = badHealth()
	mu.Unlock()
	run("pass", p.await(v), chromedp.Click(chromedp.CSS("#pass")), chromedp.WaitVisible(chromedp.CSS("#passing")), chromedp.WaitReady(chromedp.CSS("#pass-confirm[disabled]")),
		chromedp.Click(chromedp.CSS(`#passing input[value="no-phone"]`)), chromedp.WaitEnabled(chromedp.CSS("#pass-confirm")))
	shot(t, ctx, "guard-08-pass")
	// The word of the act before may still stand there.
	run("confirm", chromedp.Evaluate[chromedp.Void](`delete document.getElementById("message").dataset.message`), chromedp.Click(chromedp.CSS("#pass-confirm")), message("message", "done"))
	if got := b.lane.acts(); len(got) != 3 || got[2] != (gate.GuardAct{Action: gate.GuardPass, Reason: gate.NoPhone, Guard: "guard-7"}) {
		t.Fatalf("the lane got %+v", got)
	}
	run("bad health", chromedp.WaitVisible(chromedp.CSS(`#faults li`)))
	shot(t, ctx, "guard-09-bad-health")
	if wrong := ask(t, ctx, overflow); wrong != "" {
		t.Errorf("the desk with faults overflows: %s", wrong)
	}
	run("which lists", chromedp.Click(chromedp.CSS("#lists summary")), chromedp.WaitVisible(chromedp.CSS(`#held li[data-level="bad"]`)))
	shot(t, ctx, "guard-12-lists")
	if wrong := ask(t, ctx, overflow); wrong != "" {
		t.Errorf("the desk with its lists overflows: %s", wrong)
	}
	run("lists away", chromedp.Click(chromedp.CSS("#lists summary")))

	// What was done is not said for ever: the next look is at somebody else.
	run("said", message("message", ""))

	// While nobody knows what the gate does, nobody is let through from here.
	run("passing", chromedp.Click(chromedp.CSS("#pass")), chromedp.WaitVisible(chromedp.CSS("#passing")))
	b.stop()
	run("lost", chromedp.WaitReady(chromedp.CSS(`#now[data-state="offline"]`)), chromedp.WaitReady(chromedp.CSS("#pass[disabled]")),
		chromedp.WaitReady(chromedp.CSS("#passing:not([open])")))
	if text := ask(t, ctx, `document.getElementById("lane").innerText`); strings.Contains(text, "Nobody is waiting") || !strings.Contains(text, "unknown") {
		t.Errorf("without a connection the desk says %q", text)
	}
	shot(t, ctx, "guard-11-connection-lost")
	b.again()
	run("back", chromedp.WaitReady(chromedp.CSS(`#now[data-state="idle"]`)), chromedp.WaitEnabled(chromedp.CSS("#pass")))

	run("small", chromedp.EmulateViewport(412, 915), chromedp.WaitVisible(chromedp.CSS("#desk")))
	shot(t, ctx, "guard-10-telephone")
	run("log out", chromedp.Click(chromedp.CSS("#logout")), chromedp.WaitVisible(chromedp.CSS("#pad")))
	left := ask(t, ctx, `["now", "strip", "faults", "recent", "who"].map(id => document.getElementById(id).textContent.trim()).join("")`)
	if left != "值班员Guard" {
		t.Errorf("after logging out the page still holds %q", left)
	}
}
