// One address space: its areas in order, each with its pages as a grid.  One canvas, of which only what is in sight is drawn.

const CELL = 13, HEAD = 34, HOLE = 20, PAD = 10;
const COLLAPSE = 4; // rows of absent pages that become one line

class MemoryMap {
  constructor(model, select) {
    this.model = model;
    this.box = $("map");
    this.canvas = this.box.querySelector("canvas");
    this.sizer = this.box.querySelector(".sizer");
    this.select = select;
    this.space = null;
    this.cursor = null;
    this.items = [];
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => { this.layout(); this.draw(); }).observe(this.box);
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("pointermove", (event) => this.hover(event));
    this.canvas.addEventListener("pointerleave", () => ($("under").textContent = ""));
    this.box.addEventListener("keydown", (event) => this.key(event));
  }

  // Show `number`, with the page of `address` in sight where there is one.
  show(number, address, follow) {
    this.space = this.model.spaces.get(number) || null;
    this.cursor = address === null ? null : Math.floor(address / 4096);
    this.layout();
    if (follow && this.cursor !== null) this.reveal(this.cursor);
    this.draw();
  }

  // items: {y, tall, area} heads, {y, tall, area, page, n} rows of cells, {…, skipped} lines, {hole}
  layout() {
    const width = this.box.clientWidth - 2 * PAD;
    this.perRow = [64, 32, 16, 8].find((n) => n * CELL <= width) || 8;
    this.items = [];
    let y = PAD / 2, last = null;
    const add = (item) => { item.y = y; y += item.tall; this.items.push(item); };
    for (const area of this.space ? this.model.areas(this.space) : []) {
      if (last !== null && area.start > last) add({ tall: HOLE, hole: area.start - last });
      last = area.end;
      add({ tall: HEAD, area });
      for (const row of this.rowsOf(area)) add({ tall: row.skipped ? 16 : CELL, area, ...row });
      y += 6;
    }
    this.tall = y + PAD;
    this.sizer.style.height = `${this.tall}px`;
  }

  // Rows of cells; runs of rows without any entry are one line, in areas that are long.
  rowsOf(area) {
    const first = area.start / 4096, end = area.end / 4096, n = this.perRow;
    const total = Math.ceil((end - first) / n);
    const rows = [];
    const row = (r) => ({ page: first + r * n, n: Math.min(n, end - first - r * n) });
    if (total <= COLLAPSE) {
      for (let r = 0; r < total; r++) rows.push(row(r));
      return rows;
    }
    const used = new Set();
    const mark = (block) => {
      const low = Math.max(block * BLOCK, first), high = Math.min((block + 1) * BLOCK, end);
      for (let r = Math.floor((low - first) / n); r <= Math.floor((high - 1 - first) / n); r++) used.add(r);
    };
    const { blocks } = this.space, low = Math.floor(first / BLOCK), high = Math.floor((end - 1) / BLOCK);
    if (high - low < blocks.size) for (let block = low; block <= high; block++) { if (blocks.has(block)) mark(block); }
    else for (const block of blocks.keys()) if (block >= low && block <= high) mark(block);
    if (this.cursor !== null && this.cursor >= first && this.cursor < end) used.add(Math.floor((this.cursor - first) / n));
    let next = 0;
    for (const r of [...used].sort((a, b) => a - b)) {
      if (r > next) rows.push({ skipped: (r - next) * n });
      rows.push(row(r));
      next = r + 1;
    }
    if (next < total) rows.push({ skipped: end - first - next * n });
    return rows;
  }

  itemAt(y) {
    let low = 0, high = this.items.length;
    while (low < high) { const mid = (low + high) >> 1; if (this.items[mid].y + this.items[mid].tall <= y) low = mid + 1; else high = mid; }
    return low;
  }

  draw() {
    const width = this.box.clientWidth, height = this.box.clientHeight, scale = devicePixelRatio || 1;
    if (!width || !height) return;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const g = this.canvas.getContext("2d"), top = this.box.scrollTop;
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, width, height);
    g.translate(0, -top);
    g.textBaseline = "alphabetic";
    for (let i = this.itemAt(top); i < this.items.length && this.items[i].y < top + height; i++) this.drawItem(g, this.items[i], width);
    if (!this.items.length) { g.fillStyle = colour("dim"); g.font = FONT; g.fillText("This process has no memory at this step.", PAD, 24); }
  }

  drawItem(g, item, width) {
    if (item.hole) {
      g.strokeStyle = colour("line");
      g.setLineDash([2, 3]);
      g.beginPath(); g.moveTo(PAD + 92, item.y + HOLE / 2); g.lineTo(width - PAD, item.y + HOLE / 2); g.stroke();
      g.setLineDash([]);
      text(g, bytesText(item.hole), PAD, item.y + HOLE / 2 + 4, "dim", FONT, 88);
    } else if (item.skipped) {
      text(g, `… ${plural(item.skipped, "page")} absent`, PAD, item.y + 12, "dim", FONT, width);
    } else if (item.n === undefined) {
      const area = item.area;
      text(g, area.name || "anonymous", PAD, item.y + 14, "ink", BOLD, width - 2 * PAD - 66, true);
      text(g, permissions(area.flags), width - PAD - 34, item.y + 14, "dim", MONO, 60);
      text(g, `${hex(area.start)}–${hex(area.end)}  ${bytesText(area.end - area.start)}`, PAD, item.y + 28, "dim", MONO, width - 2 * PAD);
    } else {
      for (let i = 0; i < item.n; i++) this.cell(g, item, i);
    }
  }

  cell(g, item, i) {
    const page = item.page + i, value = this.space.pages.get(page);
    const state = stateOf(item.area, value), at = PAD + i * CELL;
    if (state === "absent") {
      g.strokeStyle = colour("line");
      g.lineWidth = 1;
      g.strokeRect(at + 0.5, item.y + 1.5, CELL - 3, CELL - 3);
    } else {
      g.fillStyle = colour(state);
      g.fillRect(at, item.y + 1, CELL - 2, CELL - 2);
      if (value.lo & BIT.D && state !== "zero") { g.fillStyle = colour("paper"); g.fillRect(at + CELL - 6, item.y + CELL - 5, 2, 2); }
    }
    if (page === this.cursor) {
      g.strokeStyle = colour("accent");
      g.lineWidth = 2.5;
      g.strokeRect(at - 1, item.y, CELL, CELL);
      g.lineWidth = 1;
    }
  }

  reveal(page) {
    const item = this.items.find((each) => each.n !== undefined && page >= each.page && page < each.page + each.n);
    if (!item) return;
    const view = this.box.clientHeight;
    if (item.y - HEAD < this.box.scrollTop || item.y + CELL + 8 > this.box.scrollTop + view) this.box.scrollTop = item.y - view / 2;
  }

  hit(event) {
    const box = this.canvas.getBoundingClientRect();
    const item = this.items[this.itemAt(event.clientY - box.top + this.box.scrollTop)];
    if (!item) return null;
    const i = Math.floor((event.clientX - box.left - PAD) / CELL);
    if (item.n !== undefined && i >= 0 && i < item.n) return { area: item.area, page: item.page + i };
    return item.area ? { area: item.area, page: null } : null;
  }

  hover(event) {
    const hit = this.hit(event);
    this.canvas.style.cursor = hit ? "pointer" : "default";
    $("under").textContent = !hit || hit.page === null ? "" : this.describe(hit.area, hit.page);
  }

  describe(area, page) {
    const value = this.space.pages.get(page), state = stateOf(area, value);
    const frame = value && value.kind !== KIND.NONE ? `, frame ${x(frameOf(value.lo, value.hi))}` : "";
    return `${x(page * 4096)}  ${STATE_NAMES[state]}${frame}`;
  }

  click(event) {
    const hit = this.hit(event);
    if (!hit) return;
    if (hit.page === null) this.select({ what: "area", space: this.space.number, start: hit.area.start });
    else this.select({ what: "page", space: this.space.number, page: hit.page });
  }

  key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.perRow, ArrowDown: this.perRow };
    if (!this.space || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" && this.cursor !== null) {
      this.select({ what: "page", space: this.space.number, page: this.cursor });
    } else if (event.key in moves) {
      const areas = this.model.areas(this.space);
      if (!areas.length) return;
      const from = this.cursor === null ? areas[0].start / 4096 - 1 : this.cursor;
      this.cursor = this.nearest(areas, from + moves[event.key], moves[event.key] > 0);
      this.layout();
      this.reveal(this.cursor);
      this.draw();
      $("under").textContent = this.describe(this.model.areaAt(this.space, this.cursor * 4096), this.cursor);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  nearest(areas, page, up) {
    for (const area of areas) if (page * 4096 >= area.start && page * 4096 < area.end) return page;
    const later = areas.find((area) => area.start > page * 4096), earlier = [...areas].reverse().find((area) => area.end <= page * 4096);
    const target = (up && later) || !earlier ? later : earlier;
    return target === later ? later.start / 4096 : earlier.end / 4096 - 1;
  }
}

const FONT = "12px system-ui, sans-serif", BOLD = "600 12.5px system-ui, sans-serif", MONO = "11.5px ui-monospace, Menlo, Consolas, monospace";

function text(g, words, left, y, tone, font, room, keepEnd) {
  g.fillStyle = colour(tone);
  g.font = font;
  while (words.length > 4 && g.measureText(words).width > room) words = keepEnd ? "…" + words.slice(Math.ceil(words.length / 16) + 1) : words.slice(0, -2) + "…";
  g.fillText(words, left, y);
}
