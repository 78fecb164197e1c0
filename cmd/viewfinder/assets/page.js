// Shows what gatectl tells of the camera.

const $ = id => document.getElementById(id);
const body = document.body;

// What an outcome means to whoever aims: a level, words, and what to do.
const outcomes = {
  "read": ["good", "Reads", "The camera reads the code. Try the distances and angles at which people will hold theirs."],
  "unread": ["warn", "Found, not read", "The corners of a code are seen, and not all of it can be read. Come closer, turn away a reflection, or hold still."],
  "no-finder": ["", "No code in sight", "Nothing in the picture looks like a code. Hold one up."],
  "still": ["", "Nothing moves", "The picture is the one before: it is looked at four times a second only."],
  "too-dark": ["bad", "Too dark", "There is nothing to be seen in the picture. Is the lens covered? Add light, or set a longer exposure or more gain."],
  "too-bright": ["bad", "Too bright", "The picture is white all over. Turn the camera away from the light, or set a shorter exposure."],
  "featureless": ["bad", "Nothing to see", "The picture is of one grey. Is something in front of the lens?"],
  "blurred": ["bad", "Out of focus", "There is no edge in the whole picture. Clean the lens and set its focus; sharpness should rise."],
  "broken": ["bad", "Broken pictures", "The camera's pictures cannot be unpacked. Try another cable or port."],
  "overtaken": ["", "Overtaken", "A newer picture came before its turn: the camera is faster than this device reads, which is no fault."],
};

// The order in which the outcomes of a second make its verdict: what was found
// says more than what was skipped.
const telling = ["read", "unread", "too-dark", "too-bright", "featureless", "blurred", "broken", "no-finder", "still"];

function say(level, verdict, advice) {
  body.dataset.level = level;
  $("verdict").textContent = verdict;
  $("advice").textContent = advice;
}

// What the light says about a picture in which no code is found, though there
// may be one.
function hint(line) {
  if (line.mean < 60) return " The picture is dark: more light helps, at the code or at the gate.";
  if (line.mean > 200) return " The picture is very bright: turn the camera away from the light.";
  if (line.sharpness < 22) return " The picture is soft: clean the lens and set its focus until sharpness rises.";
  if (line.contrast < 40) return " The picture has little contrast.";
  return "";
}

function number(id, value, digits, unit) {
  $(id).textContent = value.toFixed(digits) + unit;
}

function gauge(id, value) {
  $(id).value = value;
  $(id + "-value").textContent = value;
}

let heard = 0;

function show(line) {
  heard = performance.now();
  body.dataset.state = "live";
  $("reader").textContent = line.reader;
  $("state").textContent = line.state;
  $("settings").textContent = line.settings ? "Camera: " + line.settings + "." : "";
  const left = Math.max(0, Math.round((new Date(line.ends) - new Date(line.at)) / 1000));
  $("left").textContent = `ends by itself in ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;

  number("rate", line.rate, 1, "");
  number("looks", line.looks, 1, " a second");
  $("ms").textContent = line.looks > 0 ? line.ms.toFixed(1) + " ms" : "–";
  $("size").textContent = line.width ? `${line.width} × ${line.height}` : "–";
  $("wedges").textContent = line.wedges === 1 ? "once" : `${line.wedges} times`;
  if (line.last) {
    const ago = Math.max(0, Math.round((new Date(line.at) - new Date(line.last.at)) / 1000));
    $("last").textContent = `${line.last.kind}, ${line.last.bytes} bytes, ${ago} s ago`;
  }
  gauge("mean", line.mean);
  gauge("contrast", line.contrast);
  gauge("sharpness", line.sharpness);

  const counts = line.outcomes || {};
  $("outcomes").replaceChildren(...Object.keys(outcomes).filter(o => counts[o]).map(o => {
    const li = document.createElement("li"), name = document.createElement("span"), n = document.createElement("b");
    name.textContent = outcomes[o][1];
    n.textContent = counts[o];
    li.append(name, n);
    return li;
  }));

  const outcome = telling.find(o => counts[o]) || "";
  body.dataset.last = line.outcome || "";
  if (outcome) {
    const [level, verdict, advice] = outcomes[outcome];
    say(level, verdict, advice + (outcome === "no-finder" || outcome === "unread" ? hint(line) : ""));
  }
  else if (line.rate === 0) {
    body.dataset.state = "silent";
    say("bad", "No pictures", "The camera delivers nothing; its state stands above. Is it plugged in? It is opened again by itself.");
  }

  const [x, y, w, h] = line.place || [0, 0, 0, 0];
  for (const [name, value] of Object.entries({ x, y, width: w, height: h })) $("place").setAttribute(name, value);
  if (line.width) fetchPicture(line.count);
}

// One picture at a time: a slow line shows fewer, and none late.
let loading = false;
function fetchPicture(count) {
  if (loading) return;
  loading = true;
  const next = new Image();
  next.onload = () => {
    loading = false;
    $("picture").src = next.src;
    $("picture").hidden = false;
    $("none").hidden = true;
    body.dataset.count = count;
  };
  next.onerror = () => { loading = false; };
  next.src = "picture?" + count;
}

const source = new EventSource("events");
source.addEventListener("line", event => show(JSON.parse(event.data)));
source.addEventListener("over", () => {
  source.close();
  clearInterval(watch);
  body.dataset.state = "over";
  $("picture").hidden = true;
  $("none").hidden = false;
  $("none").textContent = "It is over: gatectl has ended. Ask again with gatectl camera.";
  $("left").textContent = "";
  say("", "Ended", "");
});
const watch = setInterval(() => {
  if (heard && performance.now() - heard > 3000) {
    body.dataset.state = "lost";
    say("bad", "Connection lost", "gatectl or the gate does not answer any more.");
  }
}, 500);
