// A list of any length: only the rows in sight have nodes.

class VirtualList {
  constructor(scroller, rowHeight, render, onPick) {
    this.scroller = scroller;
    this.height = rowHeight;
    this.render = render;
    this.sizer = scroller.querySelector(".sizer");
    this.rows = scroller.querySelector(".rows");
    this.length = 0;
    this.drawn = new Map();
    scroller.addEventListener("scroll", () => this.fill(), { passive: true });
    new ResizeObserver(() => this.fill()).observe(scroller);
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest("[data-i]");
      if (row) onPick(Number(row.dataset.i), event);
    });
  }

  setLength(length) {
    this.length = length;
    this.sizer.style.height = `${length * this.height}px`;
    this.draw();
  }

  // What the rows say has changed: make all of them anew.
  draw() {
    this.drawn.clear();
    this.fill();
  }

  // The rows in sight.  Those that were there keep their nodes: a click is lost where its node goes between press
  // and release, and a scroll event comes a frame after what scrolled.
  fill() {
    const top = Math.max(0, Math.floor(this.scroller.scrollTop / this.height) - 4);
    const end = Math.min(this.length, top + Math.ceil(this.scroller.clientHeight / this.height) + 9);
    this.rows.style.transform = `translateY(${top * this.height}px)`;
    const before = this.drawn;
    this.drawn = new Map();
    for (let i = top; i < end; i++) this.drawn.set(i, before.get(i) ?? this.row(i));
    const kept = new Set(this.drawn.values());
    for (const node of [...this.rows.children]) if (!kept.has(node)) node.remove();
    let next = this.rows.firstChild;
    for (const node of kept)
      if (node === next) next = node.nextSibling;
      else this.rows.insertBefore(node, next);
  }

  row(i) {
    const node = this.render(i);
    node.dataset.i = i;
    node.style.height = `${this.height}px`;
    return node;
  }

  show(i) {
    const top = i * this.height, view = this.scroller.clientHeight;
    const at = this.scroller.scrollTop;
    if (top < at + this.height || top + 2 * this.height > at + view) this.scroller.scrollTop = top - view / 2;
    this.draw();
  }
}
