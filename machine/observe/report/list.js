// A list of any length: only the rows in sight have nodes.

class VirtualList {
  constructor(scroller, rowHeight, render, onPick) {
    this.scroller = scroller;
    this.height = rowHeight;
    this.render = render;
    this.sizer = scroller.querySelector(".sizer");
    this.rows = scroller.querySelector(".rows");
    this.length = 0;
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(scroller);
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

  draw() {
    const top = Math.max(0, Math.floor(this.scroller.scrollTop / this.height) - 4);
    const end = Math.min(this.length, top + Math.ceil(this.scroller.clientHeight / this.height) + 9);
    const nodes = [];
    for (let i = top; i < end; i++) {
      const node = this.render(i);
      node.dataset.i = i;
      node.style.height = `${this.height}px`;
      nodes.push(node);
    }
    this.rows.style.transform = `translateY(${top * this.height}px)`;
    this.rows.replaceChildren(...nodes);
  }

  show(i) {
    const top = i * this.height, view = this.scroller.clientHeight;
    const at = this.scroller.scrollTop;
    if (top < at + this.height || top + 2 * this.height > at + view) this.scroller.scrollTop = top - view / 2;
    this.draw();
  }
}
