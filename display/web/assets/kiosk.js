// The page in front of the gate.
import { follow, languages, say, show } from "./live.js";
import { play, speak } from "./sound.js";

const by = id => document.getElementById(id);
const mute = new URLSearchParams(location.search).has("mute");
const spoken = new Set(["await-permit", "measure", "again", "closer", "released", "refused", "held", "fire"]);
// A green view may outlive its deadline by so much, in milliseconds; then the
// gate is locked, whatever became of the news.
const grace = 1500;

let shown = null, ends = 0, total = 0;

function draw(view) {
  const body = document.body.dataset;
  body.state = view.state;
  body.ground = view.ground;
  body.blink = view.blink ?? "";
  by("shape").setAttribute("href", "#shape-" + view.shape);
  say(by("headline"), view.headline);
  say(by("next"), view.next);
  show(by("name"), view.name);
  show(by("temperature"), view.temperature && view.temperature + " °C");
  show(by("fault"), view.fault);
  total = view.total_ms;
  ends = performance.now() + view.left_ms;
  count();
  fit();
  body.count = view.count;
}

// fit makes words smaller until they stand in their place.
function fit() {
  const room = by("headline").clientWidth;
  for (const span of by("headline").children) {
    span.style.fontSize = "";
    const width = span.getBoundingClientRect().width;
    if (width > room) span.style.fontSize = parseFloat(getComputedStyle(span).fontSize) * room / width * 0.99 + "px";
  }
  const main = document.querySelector("main"), figure = by("figure"), section = document.querySelector("section");
  for (const span of by("next").children) span.style.fontSize = "";
  const pad = parseFloat(getComputedStyle(main).paddingTop) * 2;
  // On a panel on its side the figure stands above the words.
  const height = () => {
    const [a, b] = [figure, section].map(e => e.getBoundingClientRect());
    return Math.max(a.bottom, b.bottom) - Math.min(a.top, b.top);
  };
  for (let tries = 0; tries < 8 && height() > main.clientHeight - pad; tries++) {
    for (const span of by("next").children) span.style.fontSize = parseFloat(getComputedStyle(span).fontSize) * 0.93 + "px";
  }
}

// count draws what is left until the deadline.
function count() {
  const left = ends - performance.now();
  const running = total >= 3000 && shown && shown.state !== "idle";
  by("deadline").hidden = !running;
  show(by("seconds"), running ? Math.max(0, Math.ceil(left / 1000)) + " s" : "");
  if (running) by("deadline").firstElementChild.style.transform = `scaleX(${Math.min(1, Math.max(0, left / total))})`;
  if (shown?.ground === "green" && total > 0 && left < -grace) offline();
}

// offline is what the page shows when it does not know what the gate does.
function offline() {
  shown = null;
  const text = by("offline").content;
  draw({
    state: "offline", ground: "out", shape: "out", count: "", total_ms: 0, left_ms: 0,
    headline: Array.from(text.querySelectorAll("b"), e => e.textContent),
    next: Array.from(text.querySelectorAll("i"), e => e.textContent),
  });
}

let first = true;

follow("/events", {
  hello() { first = true; },
  view(view) {
    if (view.ground === "green" && view.total_ms > 0 && view.left_ms < -grace) {
      if (document.body.dataset.state !== "offline") offline();
      return;
    }
    if (shown && view.count === shown.count && view.state === shown.state) {
      ends = performance.now() + view.left_ms;
      return;
    }
    // A view may change within its state, as when somebody else's code comes in between.
    const news = !shown || view.state !== shown.state || view.since !== shown.since;
    shown = view;
    draw(view);
    // What was going on before this page looked is not news either.
    if (news && !first && !mute) {
      if (view.notes) play(view.notes);
      if (spoken.has(view.state)) speak(languages, view.headline.map((text, i) => text + (/[\u3000-\u9fff]/.test(text) ? "。" : ". ") + view.next[i]));
    }
    first = false;
  },
  health(health) {
    const items = health.items.map(item => {
      const box = document.createElement("div"), label = document.createElement("span"), value = document.createElement("b");
      box.className = "item";
      box.dataset.id = item.id;
      box.dataset.level = item.level;
      label.textContent = item.label.join(" ");
      value.textContent = item.value.filter((text, i) => item.value.indexOf(text) === i).join(" / ");
      box.append(label, value);
      return box;
    });
    const place = document.createElement("div");
    place.className = "place";
    place.textContent = [health.gate, health.zone].filter(Boolean).join(" · ");
    by("strip").replaceChildren(place, ...items);
  },
  lost: offline,
});

setInterval(count, 100);
addEventListener("resize", fit);
fit();
