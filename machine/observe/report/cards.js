// The pieces that the middle of the page is made of.

const card = (title, ...body) => h("section.card", {}, h("h3", {}, title), ...body);
const table = (rows) => h("table.facts", {}, h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))));

function errorWords(code) {
  const what = code & 16 ? "fetch" : code & 2 ? "write" : "read";
  return `${code & 4 ? "user" : "kernel"} ${what}, ${code & 8 ? "reserved bit set" : code & 1 ? "not allowed by the entry" : "page not present"}`;
}

function siteLine(site) {
  const where = site.fn ? `${site.fn}${site.offset ? "+0x" + site.offset.toString(16) : ""}` : "";
  return h("p.insn", {}, h("code.asm", {}, site.text || "?"), h("span.dim", {}, `  at ${x(site.rip)} ${where}${site.line ? `, ${base(site.path)}:${site.line}` : ""}`));
}

function sourceBlock(model, site) {
  const lines = model.data.sources[site.path];
  if (!lines || !site.line) return null;
  return h("div.source", { role: "img", "aria-label": `${site.path}, line ${site.line}` }, h("div.file", {}, site.path),
    lines.filter(([n]) => Math.abs(n - site.line) <= 5).map(([n, words]) => h(n === site.line ? "div.at" : "div", {}, h("i", {}, String(n)), h("code", {}, words || " "))));
}

const NAMES64 = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
const NAMES32 = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];

function registers(values, bits) {
  if (!values) return null;
  const names = bits === 64 ? NAMES64 : NAMES32;
  return h("dl.regs", {}, names.map((name, i) => h("div", {}, h("dt", {}, name), h("dd.mono", {}, values[i]))));
}

// An entry in words, its bits as marks; those that `other` does not have stand out.
function entry(e, other) {
  if (!e) return h("span.dim", {}, "no table");
  if (!e.lo && !e.hi) return h("span.dim", {}, "absent");
  const there = other ? new Set(bitsOf(other.lo, other.hi).map(([name]) => name)) : null;
  return h("div.entry", {}, h("code", {}, entryHex(e.lo, e.hi)), h("div.bits", {}, bitsOf(e.lo, e.hi).map(([name, meaning]) =>
    h(there && !there.has(name) ? "span.bit.new" : "span.bit", { title: meaning }, name)), h("span.dim", {}, `frame ${x(frameOf(e.lo, e.hi))}`)));
}

function driverCard(model, call, title) {
  const driver = model.data.drivers[call.path] || { text: "", functions: [] };
  const lines = driver.text.split("\n"), ran = new Set(call.ran);
  const blocks = [];
  const own = driver.functions.find(([name, first]) => name === call.fn && first === call.line) || driver.functions.find(([, first, last]) => first <= call.line && call.line <= last);
  const helpers = driver.functions.filter(([, first, last]) => (!own || first !== own[1]) && call.ran.some((n) => n >= first && n <= last) && (!own || first < own[1] || last > own[2]));
  for (const part of [own, ...helpers]) if (part) blocks.push(functionBlock(call, part, lines, ran));
  return card(title, h("p", {}, h("strong", {}, `${call.driver}.${call.operation}`), h("span.dim", {}, `  ${base(call.path)}:${call.line} ${call.fn}`), " returned ",
    h(call.failed ? "code.result.bad" : "code.result", {}, call.result)),
  call.variables.length > 0 && h("dl.regs.vars", {}, call.variables.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd.mono", {}, value)))),
  blocks, blocks.length > 0 && call.ran.length > 0 && h("p.dim", {}, "Lines with a bar ran."));
}

function functionBlock(call, [name, first, last], lines, ran) {
  const end = Math.min(last, first + 79);
  const rows = [];
  for (let n = first; n <= end; n++) rows.push(h(ran.has(n) ? "div.ran" : "div.idle", {}, h("i", {}, String(n)), h("code", {}, lines[n - 1] || " ")));
  const block = h("div.source", { role: "img", "aria-label": `${base(call.path)}, ${name}` }, h("div.file", {}, `${base(call.path)} · ${name}`), rows);
  return block;
}

function frameCard(model, app, f, space) {
  const change = f.c0 === f.c1 ? `count ${f.c1}` : `count ${f.c0} → ${f.c1}`;
  const whose = ["nothing", "the page of zeros", "anonymous memory", "page cache", "the driver's page", "reserved", "no RAM"][f.kind];
  return card("Frame", h("p", {}, app.frameLink(f.pfn), f.pfn === model.data.meta.zero ? h("span.dim", {}, "  the page of zeros, which is never counted") : h("span", {}, `  ${change}`, h("span.dim", {}, `  ${whose}`))),
    f.pfn !== model.data.meta.zero && mapperList(model, app, f.pfn));
}

const mappersCard = (model, app, frame) => card("Mapped by", mapperList(model, app, frame));

function mapperList(model, app, frame) {
  const list = model.mappersOf(frame);
  if (!list.length) return h("p.dim", {}, "No process maps it at this step.");
  return h("ul.mappers", {}, list.slice(0, 24).map(([space, page]) => {
    const at = model.spaces.get(space), area = at && model.areaAt(at, page * 4096), value = at && at.pages.get(page);
    return h("li", {}, h(`i.swatch.${stateOf(area, value)}`), `${model.spaceName(space)} `, h("button.link.mono", { onclick: () => app.select({ what: "page", space, page }) }, x(page * 4096)),
      h("span.dim", {}, ` ${value && value.lo & BIT.RW ? "writable" : "read-only"} ${area ? base(area.name) : ""}`));
  }), list.length > 24 && h("li.dim", {}, `and ${plural(list.length - 24, "more")}`));
}

// Who mapped which frame before a fork, and after it.
function forkCard(model, app, step, parent, child) {
  const after = model.spaces.get(child), old = new Map();
  for (const change of model.changes[step]) if (change[0] === "page" && change[1].number === parent) old.set(change[2], change[4]);
  if (!after) return null;
  const from = model.spaces.get(parent), rows = [];
  let shared = 0, readonly = 0;
  for (const [page, value] of [...after.pages].sort((a, b) => a[0] - b[0])) {
    if (value.kind === KIND.NONE) continue;
    shared++;
    const before = old.get(page), mine = from && from.pages.get(page);
    const was = before || mine;
    const lost = Boolean(was && mine && was.lo & BIT.RW && !(mine.lo & BIT.RW));
    if (lost) readonly++;
    if (rows.length < 200) {
      const n = model.mappersOf(frameOf(value.lo, value.hi)).length;
      rows.push(h(lost ? "tr.changed" : "tr", {}, h("td", {}, h("button.link.mono", { onclick: () => app.select({ what: "page", space: child, page }) }, x(page * 4096))),
        h("td", {}, app.frameLink(frameOf(value.lo, value.hi))), h("td.n", {}, value.kind === KIND.ZERO ? "–" : `${n - 1} → ${n}`), h("td", {}, lost ? [h("i.swatch.cow"), "no longer writable: copy-on-write"] : "as it was")));
    }
  }
  return card("Frames before and after", h("p", {}, `${plural(shared, "page")} of the parent are in the child too; ${plural(readonly, "page")} became copy-on-write.`),
    h("div.wide", {}, h("table.plain", {}, h("thead", {}, h("tr", {}, h("th", {}, "page"), h("th", {}, "frame"), h("th", {}, "mapped by"), h("th", {}, "entry"))), h("tbody", {}, rows))),
    shared > rows.length && h("p.dim", {}, `and ${plural(shared - rows.length, "more page")}`));
}

function headingOf(model, step, l) {
  const kind = model.kinds[step], row = model.rowOf[step];
  if (kind === "call") { const call = model.call(row[3]); return `${call.driver}.${call.operation}`; }
  if (kind === "printk") return "printk";
  if (kind === "vma") return `${VMA_WORDS[row[3]] || row[3]} ${bytesText(row[5] - row[4])}`;
  if (kind === "task") return `${TASK_WORDS[row[3]] || row[3]}`;
  return l.left;
}
