// What ties the parts together: the step, the selection, the keys, the search, the address in the URL.

const FILTERS = [["fault", "faults"], ["vma", "areas"], ["task", "processes"], ["signal", "signals"], ["call", "drivers"], ["printk", "log"], ["register", "registers"], ["oops", "oopses"]];
const KEYS = [["← →", "one step back, on"], ["⇧← ⇧→", "to the fault before, after"], ["↑ ↓", "the same within the list"], ["PgUp PgDn", "25 steps"], ["Home End", "first, last step"], ["Space", "play, pause"],
  ["n N", "next, previous problem"], ["s", "next fault of the same page"], ["/", "search; Enter goes to the next hit"], ["m", "address space or frames"],
  ["a", "into the grid of pages: arrow keys move, Enter selects"], ["Esc", "back to the step; ends a search"], ["t", "light or dark"], ["?", "this list"]];
const MEANINGS = { absent: "nothing mapped yet: a touch faults", zero: "the one page of zeros, read-only", private: "memory of this process alone", cow: "read-only until written: the first write copies",
  shared: "a shared mapping", file: "a page of a file, read-only or not yet written", device: "given by a driver, or device memory", reserved: "a reserved frame of the kernel" };

class App {
  constructor(data) {
    this.model = new Model(data);
    this.step = 0;
    this.selection = { what: "step" };
    this.shown = new Set(FILTERS.map(([kind]) => kind));
    this.query = "";
    readColours();
    this.indexFaults();
    this.list = new VirtualList($("list"), 26, (i) => this.row(i), (i) => this.go(this.visible[i]));
    this.frames = new VirtualList($("frames"), 26, (i) => this.frameRow(i), (i) => this.select({ what: "frame", frame: this.frameList[i][0] }));
    this.map = new MemoryMap(this.model, (selection) => this.select(selection));
    this.detail = new Detail(this.model, this);
    this.timeline = new Timeline(this.model, (step) => this.go(step));
    this.header();
    this.wire();
    this.filter();
    const open = data.meta.open;
    this.go(open >= 0 ? this.model.stepOfRow[open] : this.firstOfInterest(), false);
    this.fromHash();
  }

  firstOfInterest() {
    const device = this.timeline.tones.indexOf("device"), fault = this.model.kinds.indexOf("fault");
    return device >= 0 ? device : Math.max(0, fault);
  }

  // -- looking things up ---------------------------------------------------------------------------------------------

  indexFaults() {
    const f = this.model.data.faults;
    this.byPage = new Map();
    this.byFrame = new Map();
    this.model.faultOf.forEach((i, step) => {
      if (i < 0) return;
      const add = (map, key) => { const list = map.get(key); if (list) list.push(step); else map.set(key, [step]); };
      if (typeof f.address[i] !== "string") add(this.byPage, this.model.data.who[f.who[i]][2] * 2 ** 36 + Math.floor(f.address[i] / 4096));
      if (f.pfn[i] >= 0) add(this.byFrame, f.pfn[i]);
    });
  }

  faultsOfPage(space, page) { return this.byPage.get(space * 2 ** 36 + page) || []; }
  faultsOfFrame(frame) { return this.byFrame.get(frame) || []; }

  faultsOfArea(space, area) {
    const f = this.model.data.faults, out = [];
    this.model.faultOf.forEach((i, step) => {
      if (i >= 0 && this.model.data.who[f.who[i]][2] === space && f.address[i] >= area.start && f.address[i] < area.end) out.push(step);
    });
    return out;
  }

  faultBefore(step, address) {
    const f = this.model.data.faults;
    for (let s = step - 1; s >= 0 && s > step - 50; s--) if (this.model.faultOf[s] >= 0 && f.address[this.model.faultOf[s]] === address) return s;
    return -1;
  }

  nameOf(step) {
    const i = this.model.faultOf[step];
    return i >= 0 ? `fault ${this.model.data.faults.number[i]}` : `step ${step + 1}`;
  }

  stepLink(step, here) {
    return h(step === here ? "button.link.here" : "button.link", { onclick: () => this.go(step) }, this.nameOf(step));
  }

  frameLink(frame) {
    return h("button.link.mono", { onclick: () => this.select({ what: "frame", frame }) }, `frame ${x(frame)}`);
  }

  // -- moving --------------------------------------------------------------------------------------------------------

  go(step, remember = true) {
    this.step = Math.max(0, Math.min(this.model.steps - 1, step));
    if (!this.model.steps) return;
    this.model.goto(this.step);
    this.selection = { what: "step" };
    const who = this.model.who(this.step), i = this.model.faultOf[this.step];
    if (who.space) this.space = who.space;
    this.draw(i >= 0 ? this.model.data.faults.address[i] : null);
    if (remember) this.remember(i >= 0 ? `fault-${this.model.data.faults.number[i]}` : `step-${this.step + 1}`);
  }

  select(selection) {
    this.selection = selection;
    if (selection.space) this.space = selection.space;
    if (selection.what === "frame") this.tab("frames");
    this.draw(selection.what === "page" ? selection.page * 4096 : selection.what === "area" ? selection.start : this.address());
    this.remember({ page: () => `page-${selection.space}-${hex(selection.page * 4096)}`, area: () => `area-${selection.space}-${hex(selection.start)}`,
      frame: () => `frame-${hex(selection.frame)}`, step: () => `step-${this.step + 1}` }[selection.what]());
  }

  address() {
    const i = this.model.faultOf[this.step];
    return i >= 0 ? this.model.data.faults.address[i] : null;
  }

  remember(hash) {
    clearTimeout(this.hashTimer);
    this.hashTimer = setTimeout(() => { try { history.replaceState(null, "", `#${hash}`); } catch { /* a browser that counts calls */ } }, 150);
  }

  fromHash() {
    const [what, a, b] = decodeURIComponent(location.hash.slice(1)).split("-");
    if (what === "fault") { const i = this.model.data.faults.number.indexOf(Number(a)); if (i >= 0) this.go(this.model.faultOf.indexOf(i), false); }
    if (what === "step") this.go(Number(a) - 1, false);
    if (what === "frame") this.select({ what, frame: parseInt(a, 16) });
    if (what === "page") this.select({ what, space: Number(a), page: Math.floor(parseInt(b, 16) / 4096) });
    if (what === "area") this.select({ what, space: Number(a), start: parseInt(b, 16) });
  }

  chooseSpace(number) { this.space = number; this.draw(null); }

  problem(direction) {
    for (let s = this.step + direction; s >= 0 && s < this.model.steps; s += direction) if (this.model.isProblem(s)) { this.go(s); return; }
    this.say(direction > 0 ? "no later problem" : "no earlier problem");
  }

  nextFault(direction) {
    for (let s = this.step + direction; s >= 0 && s < this.model.steps; s += direction) if (this.model.faultOf[s] >= 0) { this.go(s); return; }
  }

  samePage() {
    const list = this.byPage.get(this.space * 2 ** 36 + Math.floor((this.address() || 0) / 4096)) || [];
    if (list.length) this.go(list.find((s) => s > this.step) ?? list[0]);
  }

  within(direction) {
    const at = this.position(this.step);
    const i = direction > 0 ? (this.visible[at] === this.step ? at + direction : at) : at + direction;
    if (this.visible.length) this.go(this.visible[Math.max(0, Math.min(this.visible.length - 1, i))]);
  }

  play() {
    if (this.timer) { clearInterval(this.timer); this.timer = 0; } else {
      if (this.step >= this.model.steps - 1) this.go(0);
      const stride = Math.max(1, Math.round(this.model.steps / 600)); // a minute at most
      this.timer = setInterval(() => { if (this.step >= this.model.steps - 1) this.play(); else this.go(this.step + stride); }, 100);
    }
    $("play").textContent = this.timer ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(Boolean(this.timer)));
  }

  // -- drawing ---------------------------------------------------------------------------------------------------------

  draw(address) {
    const { model } = this, s = this.selection, i = model.faultOf[this.step];
    $("where").textContent = `step ${(this.step + 1).toLocaleString("en")} of ${model.steps.toLocaleString("en")}${i >= 0 ? ` · fault ${model.data.faults.number[i].toLocaleString("en")}` : ""}`;
    this.timeline.mark(this.step);
    $("slider").setAttribute("aria-valuetext", `${this.nameOf(this.step)}: ${line(model, this.step).left}`);
    this.list.show(this.position(this.step));
    if (s.what === "step") this.detail.step(this.step);
    else if (s.what === "page") this.detail.page(s.space, s.page);
    else if (s.what === "area") this.detail.area(s.space, s.start);
    else this.detail.frame(s.frame);
    this.processes();
    if (!$("map").hidden) this.map.show(this.space, typeof address === "string" ? null : address, true);
    else this.drawFrames();
  }

  processes() {
    const numbers = [...this.model.spaces.keys()], wanted = numbers.join();
    if (!this.model.spaces.has(this.space)) this.space = numbers[numbers.length - 1];
    if (this.processList !== wanted) {
      this.processList = wanted;
      $("process").replaceChildren(...numbers.map((n) => h("option", { value: n }, this.model.spaceName(n))));
    }
    $("process").value = String(this.space);
  }

  drawFrames() {
    this.frameList = [...this.model.mappers].sort((a, b) => b[1].size - a[1].size || a[0] - b[0]);
    this.frames.setLength(this.frameList.length);
    if (this.selection.what === "frame") {
      const at = this.frameList.findIndex(([frame]) => frame === this.selection.frame);
      if (at >= 0) this.frames.show(at);
    }
    $("under").textContent = `${plural(this.frameList.length, "frame")} mapped by user pages at this step`;
  }

  frameRow(i) {
    const [frame, set] = this.frameList[i], first = this.model.mappersOf(frame)[0];
    const space = this.model.spaces.get(first[0]), area = space && this.model.areaAt(space, first[1] * 4096), value = space && space.pages.get(first[1]);
    return h(this.selection.what === "frame" && this.selection.frame === frame ? "div.row.here" : "div.row", {}, h(`i.swatch.${stateOf(area, value)}`), h("span.mono", {}, x(frame)),
      h("span.left", {}, set.size === 1 ? `${this.model.spaceName(first[0])} ${area ? base(area.name) : ""}` : ""), h("span.right", {}, set.size === 1 ? x(first[1] * 4096) : `${set.size} times mapped`));
  }

  row(i) {
    const step = this.visible[i], l = line(this.model, step), here = step === this.step, fault = this.model.faultOf[step];
    return h(here ? `div.row.here.${l.tone}` : `div.row.${l.tone}`, { role: "option", id: `step-${step}`, "aria-selected": String(here) }, h(`i.swatch.${l.tone}`),
      h("span.number", {}, fault >= 0 ? String(this.model.data.faults.number[fault]) : ""), h("span.left", { title: l.left }, l.left), h("span.right", {}, l.right));
  }

  position(step) {
    let low = 0, high = this.visible.length;
    while (low < high) { const mid = (low + high) >> 1; if (this.visible[mid] < step) low = mid + 1; else high = mid; }
    return low;
  }

  // -- filters, search ----------------------------------------------------------------------------------------------------

  filter() {
    const { model } = this, words = this.query.toLowerCase().trim(), page = /^(0x)?[0-9a-f]{4,}$/.test(words) ? Math.floor(parseInt(words, 16) / 4096) : -1;
    this.visible = [];
    if (words && !this.hay) this.hay = Array.from({ length: model.steps }, (_, step) => haystack(model, step));
    for (let step = 0; step < model.steps; step++) {
      if (!this.shown.has(model.kinds[step])) continue;
      if (words && !this.hits(step, words, page)) continue;
      this.visible.push(step);
    }
    $("found").textContent = words ? `${this.visible.length.toLocaleString("en")} of ${model.steps.toLocaleString("en")}` : "";
    this.list.setLength(this.visible.length);
    if (this.visible.length) this.list.show(Math.min(this.position(this.step), this.visible.length - 1));
  }

  hits(step, words, page) {
    if (words.split(/\s+/).every((word) => this.hay[step].includes(word))) return true;
    const i = this.model.faultOf[step];
    return page >= 0 && i >= 0 && typeof this.model.data.faults.address[i] === "number" && Math.floor(this.model.data.faults.address[i] / 4096) === page;
  }

  hit(direction) {
    if (!this.visible.length) { this.say("nothing found"); return; }
    const at = this.position(this.step), exact = this.visible[at] === this.step;
    const i = direction > 0 ? (exact ? at + 1 : at) : at - 1;
    this.go(this.visible[(i + this.visible.length) % this.visible.length]);
  }

  // -- the frame of the page ---------------------------------------------------------------------------------------------

  header() {
    const { meta } = this.model.data;
    $("list").style.setProperty("--digits", `${String(this.model.data.faults.number.at(-1) || 0).length + 0.6}ch`);
    $("commands").textContent = meta.commands.length ? meta.commands.map((c) => `$ ${c}`).join("   ") : "";
    $("commands").title = meta.commands.join("\n");
    const left = meta.dropped ? `, of which the first ${meta.dropped.toLocaleString("en")} are not kept` : "";
    $("figures").textContent = `${plural(meta.faults, "fault")}${left} · ${plural(this.model.steps, "step")} · written ${meta.written}`;
    $("legend").replaceChildren(...STATES.map((s) => h("span", { title: MEANINGS[s] }, h(`i.swatch.${s}`), STATE_NAMES[s])));
    const tally = {};
    for (const kind of this.model.kinds) tally[kind] = (tally[kind] || 0) + 1;
    $("filters").replaceChildren(...FILTERS.filter(([kind]) => tally[kind]).map(([kind, name]) => h("button", { "aria-pressed": "true", "data-kind": kind, onclick: (event) => {
      if (this.shown.has(kind)) this.shown.delete(kind); else this.shown.add(kind);
      event.currentTarget.setAttribute("aria-pressed", String(this.shown.has(kind)));
      this.filter();
    } }, `${name} `, h("small", {}, tally[kind].toLocaleString("en")))));
    $("problem").disabled = !this.timeline.tones.includes("bad");
    $("keys").replaceChildren(h("h2", { id: "keys-title" }, "Keys"), h("dl", {}, KEYS.map(([key, what]) => [h("dt", {}, key.split(" ").map((k) => h("kbd", {}, k))), h("dd", {}, what)])),
      h("h2", {}, "Pages"), h("dl.meanings", {}, STATES.map((s) => [h("dt", {}, h(`i.swatch.${s}`), STATE_NAMES[s]), h("dd", {}, MEANINGS[s])]), h("dt", {}, "small dot"), h("dd", {}, "dirty")),
      h("form", { method: "dialog" }, h("button", { autofocus: true }, "Close")));
  }

  tab(name) {
    for (const each of ["map", "frames"]) {
      $(each).hidden = each !== name;
      $(`tab-${each}`).setAttribute("aria-selected", String(each === name));
    }
    $("under").textContent = "";
    $("legend").hidden = false;
  }

  say(words) { $("where").textContent = words; }

  theme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("nopage-theme", root.dataset.theme); } catch { /* a page from a file may have no storage */ }
    this.repaint();
  }

  repaint() { readColours(); this.timeline.paint(); this.map.draw(); }

  wire() {
    const on = (id, f) => $(id).addEventListener("click", f);
    on("first", () => this.go(0)); on("last", () => this.go(this.model.steps - 1));
    on("previous", () => this.go(this.step - 1)); on("next", () => this.go(this.step + 1));
    on("play", () => this.play()); on("problem", () => this.problem(1));
    on("theme", () => this.theme()); on("help", () => $("keys").showModal());
    on("tab-map", () => { this.tab("map"); this.draw(this.address()); }); on("tab-frames", () => { this.tab("frames"); this.draw(this.address()); });
    $("process").addEventListener("change", () => this.chooseSpace(Number($("process").value)));
    $("search").addEventListener("input", () => { clearTimeout(this.searchTimer); this.searchTimer = setTimeout(() => { this.query = $("search").value; this.filter(); }, 120); });
    $("searchform").addEventListener("submit", (event) => { event.preventDefault(); this.query = $("search").value; this.filter(); this.hit(1); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
    addEventListener("hashchange", () => this.fromHash());
    addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if ($("keys").open || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === $("search"), choosing = event.target.tagName === "SELECT";
    if (event.key === "Escape") {
      if (typing || this.query) { $("search").value = this.query = ""; $("search").blur(); this.filter(); } else this.select({ what: "step" });
      return;
    }
    if (typing && event.key === "Enter" && event.shiftKey) { event.preventDefault(); this.hit(-1); return; }
    if (typing || choosing || (event.target.tagName === "BUTTON" && (event.key === " " || event.key === "Enter"))) return;
    const actions = {
      ArrowLeft: () => (event.shiftKey ? this.nextFault(-1) : this.go(this.step - 1)), ArrowRight: () => (event.shiftKey ? this.nextFault(1) : this.go(this.step + 1)),
      ArrowUp: () => this.within(-1), ArrowDown: () => this.within(1), PageUp: () => this.go(this.step - 25), PageDown: () => this.go(this.step + 25),
      Home: () => this.go(0), End: () => this.go(this.model.steps - 1), " ": () => this.play(),
      n: () => this.problem(1), N: () => this.problem(-1), s: () => this.samePage(), "/": () => $("search").focus(),
      m: () => { this.tab($("map").hidden ? "map" : "frames"); this.draw(this.address()); }, a: () => { this.tab("map"); this.draw(this.address()); $("map").focus(); },
      t: () => this.theme(), "?": () => $("keys").showModal(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }
}

(async () => {
  try { const theme = localStorage.getItem("nopage-theme"); if (theme) document.documentElement.dataset.theme = theme; } catch { /* no storage */ }
  try {
    const began = performance.now();
    window.report = new App(await loadData());
    document.documentElement.dataset.ready = String(Math.round(performance.now() - began));
  } catch (error) {
    document.querySelector("main").replaceChildren(h("p.failed", {}, `This report can't be shown: ${error.message}`));
    throw error;
  }
})();
