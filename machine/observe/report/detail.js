// The middle of the page: one step, from the instruction to the entry that was written.

class Detail {
  constructor(model, app) {
    this.model = model;
    this.app = app;
    this.node = $("detail");
  }

  step(step) {
    const kind = this.model.kinds[step];
    const parts = kind === "fault" ? this.fault(step) : this.other(step, kind);
    this.node.replaceChildren(...parts.flat(Infinity).filter(Boolean));
    this.node.scrollTop = 0;
  }

  // -- a fault -----------------------------------------------------------------------------------------------------

  fault(step) {
    const f = this.model.fault(this.model.faultOf[step]);
    const who = this.model.who(step);
    const bad = this.model.isProblem(step);
    return [
      h("header", {}, h(bad ? "span.badge.bad" : "span.badge", {}, bad ? f.outcome : `${f.outcome === "minor" || f.outcome === "major" ? f.outcome + " fault" : f.outcome}`),
        h("h2", {}, `Fault ${f.number}`), h("span.dim", {}, ` ${who.comm}[${who.pid}] · step ${step + 1} · ${timeText(f.time)}`)),
      h("p.why", {}, why(f)),
      this.instruction(f, step),
      this.window(f),
      this.access(f, who.space),
      f.call && driverCard(this.model, f.call, "Driver"),
      this.walk(f),
      f.pfn >= 0 && frameCard(this.model, this.app, f, who.space),
      this.relatives(f, step, who),
    ];
  }

  instruction(f, step) {
    if (!f.site.rip) return card("Instruction", h("p", {}, f.origin === "kernel" ? "The kernel itself touched user memory." : `The kernel touched user memory in ${f.origin}().`));
    return card("Instruction", siteLine(f.site), sourceBlock(this.model, f.site), registers(this.model.refused.get(step), f.site.bits));
  }

  // What ran around the fault, with --trace-window.
  window(f) {
    const parts = (this.model.data.windows || {})[f.number];
    const headings = { before: "Before", at: "The instruction", after: "After" };
    return parts && card("What ran", parts.map(([part, lines]) => [h("p.dim", {}, headings[part]), h("pre", {}, lines.join("\n"))]));
  }

  access(f, space) {
    const area = areaLine(f.area);
    const rows = [[{ read: "Read of", write: "Write to", fetch: "Fetch from" }[f.access],
      [this.pageLink(space, f.address), h("span.dim", {}, `  error code ${x(f.error)}: ${errorWords(f.error)}`)]]];
    if (area) {
      rows.push(["Area", [h("button.link.mono", { onclick: () => this.app.select({ what: "area", space, start: area.start }) },
        `${hex(area.start)}–${hex(area.end)} ${area.permissions}`), ` ${area.path || "anonymous"}`]]);
      if (area.path && !area.path.startsWith("[")) {
        const at = f.address - area.start + area.offset;
        rows.push(["Offset", `${x(at)} (${at.toLocaleString("en")}) of ${base(area.path)}`]);
      }
    } else rows.push(["Area", "none"]);
    rows.push(["Answer", [h("strong", {}, f.answer || "nobody")]]);
    return card("Access", table(rows));
  }

  pageLink(space, address) {
    if (typeof address === "string") return h("span.mono", {}, "0x" + address);
    return h("button.link.mono", { onclick: () => this.app.select({ what: "page", space, page: Math.floor(address / 4096) }) }, x(address));
  }

  walk(f) {
    const rows = [];
    for (let level = 0; level < 4; level++) {
      const b = f.before[level], a = f.after[level];
      if (!a && !b) {
        rows.push(h("tr.nothing", {}, h("th", { scope: "row" }, LEVELS[level]), h("td", { colspan: 3 }, "no table")));
        continue;
      }
      const same = a && b && a.lo === b.lo && a.hi === b.hi;
      rows.push(h(same ? "tr" : "tr.changed", {}, h("th", { scope: "row" }, LEVELS[level], h("small", {}, `[${(a || b).index}]`)),
        h("td.mono.at", {}, x((a || b).at)),
        h("td", {}, entry(b, a)),
        h("td", {}, same ? h("span.dim", {}, "same") : entry(a, b))));
    }
    return card("Page-table walk", h("div.wide", {}, h("table.walk", {},
      h("thead", {}, h("tr", {}, h("th", {}, "level"), h("th", {}, "entry at"), h("th", {}, "before"), h("th", {}, "after"))),
      h("tbody", {}, rows))));
  }

  relatives(f, step, who) {
    if (typeof f.address === "string") return null;
    const same = this.app.faultsOfPage(who.space, Math.floor(f.address / 4096));
    return same.length > 1 && card(`All ${same.length} faults of this page`, h("p.links", {}, same.slice(0, 40).map((each) => this.app.stepLink(each, step))));
  }

  // -- other steps ---------------------------------------------------------------------------------------------------

  other(step, kind) {
    const model = this.model, row = model.rowOf[step], who = model.who(step), l = line(model, step);
    const title = { vma: "Area", task: "Process", signal: "Signal", printk: "Kernel log", register: "Device register", oops: "Oops", call: "Driver call" }[kind];
    const head = h("header", {}, h(l.tone === "bad" ? "span.badge.bad" : "span.badge", {}, title), h("h2", {}, headingOf(model, step, l)),
      h("span.dim", {}, ` ${who.pid ? `${who.comm}[${who.pid}]` : "kernel"} · step ${step + 1} · ${timeText(row[1])}`));
    const body = {
      vma: () => card("Area", table([
        ["Range", h("button.link.mono", { onclick: () => this.app.select({ what: "area", space: who.space, start: row[4] }) }, `${hex(row[4])}–${hex(row[5])}`)],
        ["Size", bytesText(row[5] - row[4])], ["Flags", `${permissions(row[6])}  ${x(row[6])}`], ["Of", model.text(row[7]) || "anonymous memory"],
        ["Inside", row[8] ? `${row[8]}()` : "the kernel"]])),
      task: () => row[3] !== "exit" ? this.task(step, row, who) : card("End", h("p", {}, status(row[5]))),
      signal: () => this.signal(step, row),
      printk: () => card("Message", h("pre", {}, row[4]), h("p.dim", {}, `level ${row[3]}`)),
      register: () => card("Access", table([["Device", row[3]], ["Register", `${row[4]} at ${x(row[5])}`], [row[7] ? "Wrote" : "Read", `${x(row[8])}, ${plural(row[6], "byte")}`]])),
      oops: () => card(row[5] ? "The driver raised" : "Internal error", h("p", {}, row[3]), h("pre", {}, row[4])),
      call: () => driverCard(model, model.call(row[3]), "Method"),
    }[kind];
    return [head, body && body(), this.model.children.has(step) ? null : this.changed(step)];
  }

  signal(step, row) {
    const site = row[8] >= 0 ? this.model.site(row[8]) : null;
    const fault = this.app.faultBefore(step, row[5]);
    const sender = Object.entries(row[9]).map(([name, value]) => `${name} ${value}`).join(", ");
    const action = { core: "the default action: the process ends, with a core", terminate: "the default action: the process ends",
      handler: "the program's handler runs", ignore: "ignored" }[row[6]] || row[6];
    return [card("Signal", table([["Signal", row[4]], ["What happens", action], row[5] ? ["Address", h("span.mono", {}, x(row[5]))] : null,
      sender ? ["Sender", sender] : null, fault >= 0 ? ["Caused by", this.app.stepLink(fault)] : null].filter(Boolean))),
    site && card("Instruction", siteLine(site), sourceBlock(this.model, site))];
  }

  task(step, row, who) {
    const child = this.model.children.get(step);
    if (row[3] === "exec" || row[3] === "spawn") return card("Program", h("pre", {}, row[4]));
    if (!child) return card("New task", h("p", {}, `Task ${row[4]} shares this address space.`));
    return [card("New process", h("p", {}, `Process ${row[4]} begins with a copy of the address space: `,
      h("button.link", { onclick: () => this.app.chooseSpace(child) }, this.model.spaceName(child)), ".")), forkCard(this.model, this.app, step, who.space, child)];
  }

  // Entries that changed at this step without a fault of their own.
  changed(step) {
    const list = this.model.changes[step].filter((change) => change[0] === "page");
    if (!list.length) return null;
    const shown = list.slice(0, 100).map(([, space, page, after, before]) => h("tr", {}, h("td", {}, this.model.spaceName(space.number)), h("td", {}, this.pageLink(space.number, page * 4096)),
      h("td.mono", {}, before ? entryHex(before.lo, before.hi) : "absent"), h("td.mono", {}, after ? entryHex(after.lo, after.hi) : "absent")));
    return card(plural(list.length, "entry changed", "entries changed"), h("div.wide", {}, h("table.plain", {}, h("thead", {}, h("tr", {}, h("th", {}, "process"), h("th", {}, "page"), h("th", {}, "before"), h("th", {}, "after"))),
      h("tbody", {}, shown))), list.length > 100 && h("p.dim", {}, `and ${plural(list.length - 100, "more")}`));
  }

  // -- a page, an area -------------------------------------------------------------------------------------------------

  page(space, page) {
    const model = this.model, at = model.spaces.get(space);
    const area = at && model.areaAt(at, page * 4096), value = at && at.pages.get(page);
    const state = stateOf(area, value), faults = this.app.faultsOfPage(space, page);
    const present = value && value.kind !== KIND.NONE, frame = present ? frameOf(value.lo, value.hi) : -1;
    this.node.replaceChildren(h("header", {}, h("span.badge", {}, h(`i.swatch.${state}`), STATE_NAMES[state]), h("h2.mono", {}, x(page * 4096)),
      h("span.dim", {}, ` page of ${model.spaceName(space)}, at step ${model.now + 1}`), this.back()),
    card("Page", table([["Area", area ? [h("button.link.mono", { onclick: () => this.app.select({ what: "area", space, start: area.start }) }, `${hex(area.start)}–${hex(area.end)} ${permissions(area.flags)}`), ` ${area.name || "anonymous"}`] : "none"],
      area && area.name && !area.name.startsWith("[") ? ["Offset", `${x(page * 4096 - area.start + area.offset)} of ${base(area.name)}`] : null,
      ["Entry", value ? entry(value, null) : "absent"],
      present ? ["Frame", this.app.frameLink(frame)] : null,
      present && value.step >= 0 ? ["Since", this.app.stepLink(value.step)] : null].filter(Boolean))),
    present ? mappersCard(model, this.app, frame) : "",
    card(faults.length ? plural(faults.length, "fault") : "No faults", h("p.links", {}, faults.slice(0, 60).map((each) => this.app.stepLink(each)))));
  }

  area(space, start) {
    const model = this.model, at = model.spaces.get(space), area = at && at.areas.get(start);
    if (!area) { this.node.replaceChildren(h("header", {}, h("h2", {}, "No such area at this step"), this.back())); return; }
    const tally = {};
    let present = 0;
    for (const [page, value] of at.pages) {
      if (page * 4096 < area.start || page * 4096 >= area.end) continue;
      const state = stateOf(area, value);
      if (state !== "absent") present++;
      tally[state] = (tally[state] || 0) + 1;
    }
    const total = (area.end - area.start) / 4096;
    const faults = this.app.faultsOfArea(space, area);
    this.node.replaceChildren(h("header", {}, h("span.badge", {}, "area"), h("h2", {}, area.name || "anonymous memory"),
      h("span.dim", {}, ` of ${model.spaceName(space)}, at step ${model.now + 1}`), this.back()),
    card("Area", table([["Range", h("span.mono", {}, `${hex(area.start)}–${hex(area.end)}`)], ["Size", `${bytesText(area.end - area.start)}, ${plural(total, "page")}`],
      ["Allows", `${permissions(area.flags)}  (vm_flags ${x(area.flags)})`], area.name && !area.name.startsWith("[") ? ["Offset", x(area.offset)] : null,
      ["Present", plural(present, "page")], ...STATES.filter((s) => s !== "absent" && tally[s]).map((s) => [[h(`i.swatch.${s}`), STATE_NAMES[s]], String(tally[s])])].filter(Boolean))),
    card(faults.length ? plural(faults.length, "fault") : "No faults", h("p.links", {}, faults.slice(0, 60).map((each) => this.app.stepLink(each)), faults.length > 60 && ` and ${faults.length - 60} more`)));
  }

  frame(frame) {
    const model = this.model, faults = this.app.faultsOfFrame(frame);
    const count = (model.counts.get(frame) || []).filter(([step]) => step <= model.now).pop();
    this.node.replaceChildren(h("header", {}, h("span.badge", {}, frame === model.data.meta.zero ? "zero page" : "frame"), h("h2.mono", {}, x(frame)),
      h("span.dim", {}, ` at step ${model.now + 1}`), this.back()),
    card("Frame", table([["Physical address", h("span.mono", {}, x(frame * 4096))], count ? ["Count", [`${count[1]} after `, this.app.stepLink(count[0])]] : null].filter(Boolean))),
    mappersCard(model, this.app, frame),
    card(faults.length ? `${plural(faults.length, "fault")} gave it` : "No fault gave it", h("p.links", {}, faults.slice(0, 60).map((each) => this.app.stepLink(each)))));
  }

  back() {
    return h("button.back", { onclick: () => this.app.select({ what: "step" }) }, "back to the step");
  }
}
