// What both pages share: following the gate, and placing its words.

// The server speaks every two seconds (beat, in server.go). Three beats missed
// is a lost connection.
const silence = 6000;

// follow opens the stream and calls on.view, on.health and on.end with its
// events, and on.lost once whenever what was shown can no longer be trusted.
// It comes back by itself. The returned function ends it.
export function follow(url, on) {
  let source, heard, again, lost = false, over = false;
  const lose = () => { if (!lost) { lost = true; on.lost(); } };
  const listen = (name, take) => source.addEventListener(name, event => {
    if (over) return;
    heard = performance.now();
    take(JSON.parse(event.data));
  });
  const open = () => {
    source = new EventSource(url);
    heard = performance.now();
    listen("hello", hello => {
      // The gate was updated: this page is the old one's.
      if (hello.build !== document.body.dataset.build) location.reload();
      on.hello?.();
    });
    listen("view", view => { lost = false; on.view(view); });
    listen("health", health => on.health(health));
    listen("end", () => { stop(); on.end?.(); });
    source.onerror = () => {
      if (over) return;
      lose();
      // The browser reconnects by itself after a cut, not after an answer other than 200.
      if (source.readyState === EventSource.CLOSED) reopen();
    };
  };
  const reopen = () => {
    source.close();
    clearTimeout(again);
    again = setTimeout(open, 2000);
    heard = performance.now();
  };
  const watch = setInterval(() => {
    if (performance.now() - heard > silence) { lose(); reopen(); }
  }, 500);
  const stop = () => { over = true; clearInterval(watch); clearTimeout(again); source.close(); };
  open();
  return stop;
}

export const languages = document.body.dataset.languages.split(" ");

// say fills an element with one span for each language; a text that is the same
// in the next language stands once.
export function say(element, texts, same = true) {
  const spans = [];
  texts.forEach((text, i) => {
    if (!same && texts.indexOf(text) !== i) return;
    const span = document.createElement("span");
    span.lang = languages[i];
    span.textContent = text;
    spans.push(span);
  });
  element.replaceChildren(...spans);
}

// show sets the text of an element, and hides it while there is none.
export function show(element, text) {
  element.hidden = !text;
  element.textContent = text ?? "";
}
