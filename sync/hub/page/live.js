"use strict";
// Takes what changed from the hub's stream of events and puts it in its place;
// where the focus was, it stays, or goes to the row that is there now.
(() => {
  const place = (focus) => {
    if (document.activeElement === focus) return;
    const at = focus.id && document.getElementById(focus.id);
    if (at) { at.focus({preventScroll: true}); return; }
    if (!focus.rows) return;
    const links = [...focus.rows.querySelectorAll("a")];
    links[Math.min(focus.index, links.length - 1)]?.focus({preventScroll: true});
  };
  // Rows that stay are not touched: only what is gone goes, only what is new or elsewhere moves.
  const order = (body, ids) => {
    const stay = new Set(ids);
    for (const row of [...body.children]) if (!stay.has(row.id)) row.remove();
    ids.forEach((id, i) => {
      const at = body.children[i];
      if (at?.id === id) return;
      let row = document.getElementById(id);
      if (!row) { row = document.createElement("tr"); row.id = id; }
      body.insertBefore(row, at ?? null);
    });
  };
  const take = (parts) => {
    const focus = document.activeElement;
    const rows = focus?.closest("tbody");
    const was = {id: focus?.id, rows, index: rows ? [...rows.querySelectorAll("a")].indexOf(focus) : -1};
    for (const id in parts.rows) { const body = document.getElementById(id); if (body) order(body, parts.rows[id]); }
    for (const id in parts.set) {
      const at = document.getElementById(id);
      if (!at) continue;
      const fresh = at.cloneNode(false);
      fresh.innerHTML = parts.set[id];
      if (!fresh.isEqualNode(at)) at.replaceChildren(...fresh.childNodes);
    }
    if (document.activeElement !== focus) place(was);
  };
  const state = document.getElementById("live");
  const source = document.body.dataset.events;
  if (source) {
    const events = new EventSource(source);
    const text = state.textContent;
    events.onmessage = (e) => take(JSON.parse(e.data));
    events.onopen = () => { state.textContent = text; state.className = ""; };
    events.onerror = () => {
      state.textContent = events.readyState === EventSource.CLOSED ? document.body.dataset.stopped : document.body.dataset.waiting;
      state.className = "stopped";
    };
  }
  // Up and down go from gate to gate, the page keys to other pages, "/" to the filter.
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.altKey || e.metaKey) return;
    const q = document.getElementById("q");
    const focus = document.activeElement;
    if (e.key === "/" && q && !focus?.matches("input, select")) { q.focus(); q.select(); e.preventDefault(); return; }
    const links = [...document.querySelectorAll("#gates a")];
    const at = links.indexOf(focus);
    if (at < 0) return;
    const turn = { PageDown: "page-after", PageUp: "page-before" }[e.key];
    if (turn) {
      const link = document.getElementById(turn);
      if (link) { sessionStorage.setItem("turned", turn); link.click(); }
      e.preventDefault();
      return;
    }
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[e.key];
    if (to === undefined || !links[to]) return;
    links[to].focus();
    e.preventDefault();
  });
  // Who turned the page by a key goes on there.
  if (sessionStorage.getItem("turned")) {
    sessionStorage.removeItem("turned");
    document.querySelector("#gates a")?.focus();
  }
})();
