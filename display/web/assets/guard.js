// The guard's page.
import { follow, say } from "./live.js";
import { play } from "./sound.js";

const by = id => document.getElementById(id);
const passing = by("passing"), passForm = passing.querySelector("form");
// A hold that has just come up takes no tap for so long, in milliseconds: the
// finger was on its way to something else.
const settle = 600;
// A request that is not answered in this time, in milliseconds, has failed: the
// gate gives the lane five seconds. Left open, it could bring a release to the
// gate long after the guard looked away.
const answerWithin = 8000;
// How long the news that an act was taken stands, in milliseconds.
const said = 5000;

let view = null, stop = null, ends = 0, shownAt = 0, taken = false;

async function post(path, body = {}) {
  try {
    const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: AbortSignal.timeout(answerWithin) });
    return { status: response.status, ...await response.json() };
  } catch {
    return { status: 0, message: "failed" };
  }
}

let waiting;

// tell shows one of the page's messages, with the seconds to wait running down.
function tell(element, name, good = false, wait = 0) {
  clearTimeout(waiting); // an interval too: the two share their numbers
  const line = name && by("messages").content.querySelector(`[data-message="${CSS.escape(name)}"]`);
  element.replaceChildren(...(line ? line.cloneNode(true).childNodes : []));
  element.dataset.message = name ?? "";
  element.toggleAttribute("data-good", good);
  if (good) waiting = setTimeout(() => tell(element, ""), said);
  if (wait > 0) {
    const until = performance.now() + wait * 1000, seconds = document.createElement("b");
    element.append(seconds);
    const draw = () => {
      const left = Math.ceil((until - performance.now()) / 1000);
      if (left <= 0) tell(element, ""); else seconds.textContent = ` ${left} s`;
    };
    waiting = setInterval(draw, 250);
    draw();
  }
}

function span(texts, name) {
  const box = document.createElement("span");
  box.className = name ?? "";
  say(box, texts, false);
  return box;
}

// Log-in

async function enter() {
  const response = await fetch("/guard/session").then(r => r.ok ? r.json() : null, () => null);
  if (!response) { leave(); return; }
  by("guard").textContent = response.guard;
  by("login").hidden = true;
  for (const id of ["desk", "who", "logout"]) by(id).hidden = false;
  document.body.dataset.page = "desk";
  stop?.();
  stop = follow("/guard/events", {
    view: draw,
    health: strip,
    lost() { lost(); ask(); },
    end() { leave("logged-out"); },
  });
}

// ask finds out whether a lost stream means that the session has ended.
async function ask() {
  const response = await fetch("/guard/session").catch(() => null);
  if (response?.status === 401) leave("logged-out");
}

function leave(message) {
  stop?.();
  stop = null;
  view = null;
  if (passing.open) passing.close();
  for (const id of ["desk", "who", "logout"]) by(id).hidden = true;
  // Nothing of what was on the desk stays in the page.
  for (const id of ["headline", "next", "facts", "recent", "strip", "faults", "guard"]) by(id).replaceChildren();
  by("login").hidden = false;
  document.body.dataset.page = "login";
  by("pin").value = "";
  tell(by("login-message"), message);
  by("pin").focus();
}

by("login").addEventListener("submit", async event => {
  event.preventDefault();
  const pin = by("pin").value;
  by("pin").value = "";
  if (!pin) return;
  const answer = await post("/guard/login", { pin });
  if (answer.status === 200) { tell(by("login-message"), ""); enter(); return; }
  tell(by("login-message"), answer.message, false, answer.wait_seconds);
});

by("pad").addEventListener("click", event => {
  const key = event.target.closest("button");
  if (!key || key.type === "submit") return;
  const pin = by("pin");
  pin.value = key.id === "delete" ? pin.value.slice(0, -1) : pin.value + key.textContent;
});

by("logout").addEventListener("click", async () => {
  await post("/guard/logout");
  leave();
});

// A touch keeps the session, at most one message in half a minute.
let alive = 0;
for (const name of ["pointerdown", "keydown"]) addEventListener(name, () => {
  if (!stop || performance.now() - alive < 30000) return;
  alive = performance.now();
  post("/guard/alive");
});

// The lane

function draw(next) {
  const fresh = !view || view.count !== next.count || view.state !== next.state;
  ends = performance.now() + next.left_ms;
  if (!fresh) return;
  const first = !view, news = first || view.state !== next.state || view.since !== next.since;
  view = next;
  by("now").dataset.ground = view.ground;
  by("now").dataset.state = view.state;
  by("shape").setAttribute("href", "#shape-" + view.shape);
  say(by("headline"), view.headline);
  say(by("next"), view.next);
  const facts = [];
  const fact = (content, name = "") => {
    const line = document.createElement("li");
    line.className = name;
    line.append(content);
    facts.push(line);
  };
  const guard = view.guard;
  if (view.name) fact(view.name, "name");
  if (view.temperature) fact(view.temperature + " °C", "temperature");
  if (guard.colours) fact(span(guard.colours), "colour");
  if (guard.kinds) fact(span(guard.kinds), "kind");
  if (view.fault) fact(view.fault, "fault");
  if (guard.sequence) fact("№ " + guard.sequence, "sequence");
  for (const notice of guard.notices ?? []) fact(span(notice), "notice");
  by("facts").replaceChildren(...facts);

  const waits = guard.may_admit || guard.may_refuse;
  by("nothing").hidden = waits || view.state === "offline"; // that is not known then
  by("resolve-fields").hidden = !waits;
  if (news) {
    shownAt = performance.now();
    taken = false;
    by("resolve").reset();
    if (waits) tell(by("message"), guard.may_admit ? "" : "held-no-admit");
    if (waits && !first && view.notes) play(view.notes);
  }
  choose();
  count();
  by("now").dataset.count = view.count;
}

// lost is what the desk shows when it does not know what the gate does.
function lost() {
  const words = name => Array.from(by("messages").content.querySelector(`[data-message="${name}"]`).children, e => e.textContent);
  draw({
    state: "offline", ground: "out", shape: "out", count: "", total_ms: 0, left_ms: 0,
    headline: words("offline"), next: words("offline-guard"), since: "", guard: {},
  });
  view = null;
  if (passing.open) passing.close();
  choose();
}

function count() {
  const left = ends - performance.now(), running = Boolean(view && view.total_ms >= 3000 && view.state !== "idle");
  by("deadline").hidden = !running;
  if (running) by("deadline").firstElementChild.style.transform = `scaleX(${Math.min(1, Math.max(0, left / view.total_ms))})`;
  if (view?.ground === "green" && view.total_ms > 0 && left < -1500) lost();
}
setInterval(count, 100);

// Acts

const chosen = (form, name) => new FormData(form).get(name);

function choose() {
  by("pass").disabled = !view;
  const reason = chosen(by("resolve"), "reason");
  const ready = Boolean(view && reason && !taken);
  by("admit").disabled = !ready || !view.guard.may_admit || reason === "sent-away";
  by("refuse").disabled = !ready || !view.guard.may_refuse;
}
by("resolve").addEventListener("change", choose);
by("resolve").addEventListener("submit", event => event.preventDefault());

async function resolve(action) {
  if (!view || performance.now() - shownAt < settle) return;
  const count = view.count, reason = chosen(by("resolve"), "reason");
  by("admit").disabled = by("refuse").disabled = true;
  taken = true; // a second tap does nothing until the first has failed
  const answer = await post("/guard/act", { action, reason, count });
  if (answer.status !== 200) taken = false;
  done(answer);
}
by("admit").addEventListener("click", () => resolve("admit"));
by("refuse").addEventListener("click", () => resolve("refuse"));

function done(answer) {
  if (answer.status === 401) { leave("logged-out"); return; }
  tell(by("message"), answer.message, answer.status === 200);
  choose();
}

by("pass").addEventListener("click", () => { passForm.reset(); by("pass-confirm").disabled = true; passing.showModal(); });
passForm.addEventListener("change", () => { by("pass-confirm").disabled = !chosen(passForm, "pass-reason"); });
by("pass-confirm").addEventListener("click", async () => {
  const reason = chosen(passForm, "pass-reason");
  by("pass-confirm").disabled = true; // a second tap lets nobody else through
  const answer = await post("/guard/act", { action: "pass", reason, count: 0 });
  passing.close();
  done(answer);
});

// The device

function strip(health) {
  by("place").textContent = [health.gate, health.zone].filter(Boolean).join(" · ") || "greengate";
  by("strip").replaceChildren(...health.items.map(item => {
    const line = document.createElement("li");
    line.dataset.id = item.id;
    line.dataset.level = item.level;
    line.append(span(item.label, "label"), span(item.value, "value"));
    return line;
  }));
  by("faults").replaceChildren(...(health.faults ?? []).map(fault => {
    const line = document.createElement("li");
    line.textContent = fault;
    return line;
  }));
  by("held-count").textContent = health.held_count;
  const held = (health.held ?? []).map(list => {
    const line = document.createElement("li"), name = document.createElement("b");
    line.dataset.level = list.level;
    line.title = list.uri;
    name.textContent = list.name;
    line.append(name, span(list.facts, "facts"));
    return line;
  });
  const more = health.held_count - held.length;
  if (more > 0) {
    const line = document.createElement("li");
    line.className = "more";
    line.textContent = `+ ${more}`;
    held.push(line);
  }
  by("held").replaceChildren(...held);
  const shapes = { admit: "go", hold: "attention", refuse: "stop" };
  const lines = (health.recent ?? []).map(past => {
    const line = document.createElement("li"), time = document.createElement("time"), words = document.createElement("div");
    line.dataset.verdict = past.verdict;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", "#shape-" + shapes[past.verdict]);
    svg.append(use);
    time.textContent = past.at;
    const what = document.createElement("div");
    what.className = "what";
    what.append(span(past.words, "said"), " · ", span(past.ways, "said"));
    if (past.kinds) what.append(" · ", span(past.kinds, "said"));
    const why = document.createElement("div");
    why.className = "why";
    why.append(span(past.reasons, "said"));
    words.append(why, what);
    line.append(svg, time, words);
    return line;
  });
  by("recent").replaceChildren(...lines);
  by("none").hidden = lines.length > 0;
}

enter();
