"use strict";
// Takes what changed from the hub's stream of events and puts it in its place;
// where the focus was, it stays.
(() => {
  const state = document.getElementById("live");
  const source = document.body.dataset.events;
  if (source) {
    const events = new EventSource(source);
    events.onmessage = (e) => {
      const parts = JSON.parse(e.data);
      for (const id in parts) {
        const at = document.getElementById(id);
        if (!at) continue;
        const focus = at.contains(document.activeElement) ? document.activeElement.id : "";
        at.innerHTML = parts[id];
        if (focus) document.getElementById(focus)?.focus();
      }
    };
    const text = state.textContent;
    events.onopen = () => { state.textContent = text; state.className = ""; };
    events.onerror = () => { state.textContent = document.body.dataset.stopped; state.className = "stopped"; };
  }
  // Up and down go from gate to gate, "/" to the filter.
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.altKey || e.metaKey) return;
    const q = document.getElementById("q");
    if (e.key === "/" && q && document.activeElement !== q) { q.focus(); e.preventDefault(); return; }
    const links = [...document.querySelectorAll("#gates a")];
    const at = links.indexOf(document.activeElement);
    if (at < 0) return;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[e.key];
    if (to === undefined || !links[to]) return;
    links[to].focus();
    e.preventDefault();
  });
})();
