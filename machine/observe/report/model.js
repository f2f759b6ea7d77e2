// The machine at every step: address spaces, their areas and entries, and who maps which frame.
//
// A step is one row that people look at, with the rows of state behind it.  Every change keeps what was there before, so
// that the model moves forwards and back at the same price.

const VM = { READ: 1, WRITE: 2, EXEC: 4, SHARED: 8, MAYSHARE: 0x80 };
const BIT = { P: 1, RW: 2, US: 4, PWT: 8, PCD: 0x10, A: 0x20, D: 0x40, PS: 0x80, G: 0x100, DEVICE: 0x200, PROTNONE: 0x400, SPECIAL: 0x800 };
const KIND = { NONE: 0, ZERO: 1, ANON: 2, FILE: 3, DRIVER: 4, RESERVED: 5, MMIO: 6 };
const STATES = ["absent", "zero", "private", "cow", "shared", "file", "device", "reserved"];
const STATE_NAMES = { absent: "absent", zero: "zero page", private: "private", cow: "copy-on-write", shared: "shared",
  file: "file", device: "device", reserved: "reserved" };
const STATE_ROWS = new Set(["areas", "entries", "born", "gone", "refused"]);

const BLOCK = 64;

const frameOf = (lo, hi) => (hi & 0xfffff) * 0x100000 + (lo >>> 12);

function stateOf(area, page) {
  if (!page || page.kind === KIND.NONE) return "absent";
  if (page.kind === KIND.ZERO) return "zero";
  if (page.kind === KIND.MMIO || page.kind === KIND.DRIVER) return "device";
  if (page.kind === KIND.RESERVED) return "reserved";
  const flags = area ? area.flags : 0;
  if (flags & (VM.SHARED | VM.MAYSHARE)) return "shared";
  if (flags & VM.WRITE && !(page.lo & BIT.RW)) return "cow";
  return page.kind === KIND.FILE ? "file" : "private";
}

class Model {
  constructor(data) {
    this.data = data;
    this.texts = data.texts;
    this.spaces = new Map();
    this.mappers = new Map(); // frame -> Set of space * 2^36 + page
    this.counts = new Map(); // frame -> [[step, count], ...]: as far as faults told it
    this.users = new Map(); // space -> Map of pid -> name
    this.kinds = []; // of each step
    this.rowOf = [];
    this.faultOf = []; // index into the columns, -1
    this.refused = new Map(); // step -> registers
    this.changes = [];
    this.stepOfRow = new Int32Array(data.rows.length);
    this.now = -1;
    this.children = new Map(); // step -> number of the space that was born there
    for (const name of ["number", "time"]) {
      const column = data.faults[name];
      for (let i = 1; i < column.length; i++) column[i] += column[i - 1];
    }
    this.readBase();
    this.readRows();
    this.steps = this.kinds.length;
    this.now = this.steps - 1;
    this.end = data.faults.number.length;
  }

  text(i) { return this.texts[i]; }

  readBase() {
    for (const [number, bits, areas, entries] of this.data.base) {
      const space = this.newSpace(number, bits, 0);
      this.spaces.set(number, space);
      for (const each of areas) space.areas.set(each[0], this.area(each));
      this.eachEntry(entries, (page, value) => { this.setPage(space, page, value); this.count(number, page, value, true); });
    }
  }

  newSpace(number, bits, parent) {
    // blocks: number of entries in each run of 64 pages, so that a picture need not ask for every page.
    return { number, bits, parent, areas: new Map(), pages: new Map(), blocks: new Map(), sorted: null };
  }

  setPage(space, page, value) {
    const had = space.pages.has(page), block = Math.floor(page / BLOCK);
    if (value) space.pages.set(page, value); else space.pages.delete(page);
    if (had === Boolean(value)) return;
    const n = (space.blocks.get(block) || 0) + (value ? 1 : -1);
    if (n) space.blocks.set(block, n); else space.blocks.delete(block);
  }

  area(row) {
    return { start: row[0], end: row[1], flags: row[2], name: this.text(row[3]), offset: row[4] };
  }

  eachEntry(list, f) {
    let page = 0;
    for (let i = 0; i < list.length; i += 5) {
      page += list[i];
      f(page, { lo: list[i + 1], hi: list[i + 2], kind: list[i + 3], count: list[i + 4], step: -1 });
    }
  }

  readRows() {
    const { rows } = this.data;
    let fault = 0;
    let start = [];
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i];
      const kind = row === 0 ? "fault" : row[0];
      if (STATE_ROWS.has(kind)) {
        const step = this.kinds.length - 1;
        this.stepOfRow[i] = Math.max(step, 0);
        const list = step < 0 ? start : this.changes[step];
        if (kind === "refused") this.refused.set(step, row[1]);
        else this.readState(kind, row, list, step);
        continue;
      }
      const step = this.kinds.length;
      this.stepOfRow[i] = step;
      this.kinds.push(kind);
      this.rowOf.push(row);
      this.faultOf.push(kind === "fault" ? fault : -1);
      this.changes.push([]);
      this.noteUser(step, kind === "fault" ? this.data.faults.who[fault] : row[2]);
      if (kind === "fault") this.readFault(fault++, step);
    }
    this.before = start;
  }

  noteUser(step, who) {
    const [pid, comm, space] = this.data.who[who] || [0, 0, 0];
    if (!space) return;
    if (!this.users.has(space)) this.users.set(space, new Map());
    this.users.get(space).set(pid, this.text(comm));
  }

  readFault(i, step) {
    const f = this.data.faults;
    const space = this.spaces.get(this.data.who[f.who[i]][2]);
    if (f.c1[i] || f.c0[i]) {
      const list = this.counts.get(f.pfn[i]) || [];
      list.push([step, f.c1[i]]);
      this.counts.set(f.pfn[i], list);
    }
    if (!space || typeof f.address[i] === "string" || (f.levels[i] & 15) < 4) return;
    if (f.lo0[i] === f.lo1[i] && f.hi0[i] === f.hi1[i]) return;
    const value = { lo: f.lo1[i], hi: f.hi1[i], kind: f.kind[i], count: f.c1[i] || -1, step };
    this.change(this.changes[step], ["page", space, Math.floor(f.address[i] / 4096), value, undefined]);
  }

  readState(kind, row, list, step) {
    if (kind === "born") {
      const parent = row[3] ? this.spaces.get(row[3]) : null;
      const space = this.newSpace(row[1], row[2], row[3]);
      if (parent) {
        for (const [at, area] of parent.areas) space.areas.set(at, area);
        for (const [at, page] of parent.pages) this.setPage(space, at, page);
        this.children.set(step, space.number);
      }
      this.change(list, ["born", space]);
      return;
    }
    const space = this.spaces.get(row[1]);
    if (!space) return;
    if (kind === "gone") { this.change(list, ["gone", space]); return; }
    if (kind === "areas") {
      for (const at of row[2]) this.change(list, ["area", space, at, undefined, undefined]);
      for (const each of row[3]) this.change(list, ["area", space, each[0], this.area(each), undefined]);
      return;
    }
    this.eachEntry(row[2], (page, value) => {
      value.step = step;
      this.change(list, ["page", space, page, value.kind || value.lo || value.hi ? value : undefined, undefined]);
    });
  }

  // Apply a change for the first time: keep what it replaces.
  change(list, change) {
    if (change[0] === "page") change[4] = change[1].pages.get(change[2]);
    else if (change[0] === "area") change[4] = change[1].areas.get(change[2]);
    list.push(change);
    this.apply(change, true);
  }

  apply(change, forward) {
    const [what, space] = change;
    if (what === "page") {
      const [, , page, after, before] = change;
      const from = forward ? before : after, to = forward ? after : before;
      if (from) this.count(space.number, page, from, false);
      this.setPage(space, page, to);
      if (to) this.count(space.number, page, to, true);
    } else if (what === "area") {
      const to = forward ? change[3] : change[4];
      if (to) space.areas.set(change[2], to); else space.areas.delete(change[2]);
      space.sorted = null;
    } else {
      const alive = (what === "born") === forward;
      if (alive) this.spaces.set(space.number, space); else this.spaces.delete(space.number);
      for (const [page, value] of space.pages) this.count(space.number, page, value, alive);
    }
  }

  count(space, page, value, add) {
    if (value.kind === KIND.NONE) return;
    const frame = frameOf(value.lo, value.hi);
    let set = this.mappers.get(frame);
    if (!set) this.mappers.set(frame, (set = new Set()));
    const key = space * 2 ** 36 + page;
    if (add) set.add(key); else { set.delete(key); if (!set.size) this.mappers.delete(frame); }
  }

  goto(step) {
    const target = Math.max(-1, Math.min(this.steps - 1, step));
    while (this.now < target) for (const change of this.changes[++this.now]) this.apply(change, true);
    while (this.now > target) {
      const list = this.changes[this.now--];
      for (let i = list.length - 1; i >= 0; i--) this.apply(list[i], false);
    }
  }

  // -- questions ------------------------------------------------------------------------------------------------

  areas(space) {
    if (!space.sorted) space.sorted = [...space.areas.values()].sort((a, b) => a.start - b.start);
    return space.sorted;
  }

  areaAt(space, address) {
    const list = this.areas(space);
    let low = 0, high = list.length;
    while (low < high) { const mid = (low + high) >> 1; if (list[mid].end <= address) low = mid + 1; else high = mid; }
    return list[low] && list[low].start <= address ? list[low] : null;
  }

  mappersOf(frame) {
    return [...(this.mappers.get(frame) || [])].map((key) => [Math.floor(key / 2 ** 36), key % 2 ** 36]);
  }

  who(step) {
    const i = this.faultOf[step];
    const [pid, comm, space] = this.data.who[i >= 0 ? this.data.faults.who[i] : this.rowOf[step][2]] || [0, 0, 0];
    return { pid, comm: pid ? this.text(comm) : "kernel", space };
  }

  spaceName(number) {
    const users = [...(this.users.get(number) || [])];
    if (!users.length) return `space ${number}`;
    const [pid, name] = users[users.length - 1];
    return users.length > 1 && new Set(users.map((u) => u[0])).size > 1
      ? `${name}[${users.map((u) => u[0]).join(", ")}]` : `${name}[${pid}]`;
  }

  fault(i) {
    const f = this.data.faults;
    const out = { i };
    for (const name in f) out[name] = f[name][i];
    for (const name of ["origin", "area", "answer", "outcome"]) out[name] = this.text(out[name]);
    out.site = this.site(out.site);
    out.before = this.walk(out.before, out.address, out.levels >> 4, out.lo0, out.hi0);
    out.after = this.walk(out.after, out.address, out.levels & 15, out.lo1, out.hi1);
    out.call = out.call ? this.call(out.call - 1) : null;
    out.access = out.error & 16 ? "fetch" : out.error & 2 ? "write" : "read";
    return out;
  }

  site(i) {
    const [rip, bits, code, text, fn, offset, path, line] = this.data.sites[i];
    return { rip, bits, code, text: this.text(text), fn: this.text(fn), offset, path: this.text(path), line };
  }

  call(i) {
    const [driver, path, operation, fn, line, ran, result, failed, variables] = this.data.calls[i];
    return { driver, path, operation, fn, line, ran, result, failed, variables };
  }

  // The levels as {index, at, lo, hi}: the tables' places follow from the entries above them.
  walk(i, address, levels, lo, hi) {
    const row = this.data.walks[i];
    const out = [];
    let table = row[0];
    for (let level = 0; level < levels; level++) {
      const index = typeof address === "string"
        ? Number((BigInt("0x" + address) >> BigInt(39 - 9 * level)) & 511n) : Math.floor(address / 2 ** (39 - 9 * level)) % 512;
      const entry = level < 3 ? [row[1 + 2 * level], row[2 + 2 * level]] : [lo, hi];
      out.push({ index, at: table + index * 8, lo: entry[0], hi: entry[1] });
      table = frameOf(entry[0], entry[1]) * 4096;
    }
    return out;
  }

  isProblem(step) {
    const kind = this.kinds[step];
    if (kind === "fault") {
      const outcome = this.text(this.data.faults.outcome[this.faultOf[step]]);
      return outcome !== "minor" && outcome !== "major" && outcome !== "device access";
    }
    if (kind === "signal") return this.rowOf[step][6] === "core" || this.rowOf[step][6] === "terminate";
    return kind === "oops";
  }
}
