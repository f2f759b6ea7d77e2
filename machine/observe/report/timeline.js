// The strip over the slider: where in the run faults, areas, tasks and signals are.

class Timeline {
  constructor(model, go) {
    this.model = model;
    this.canvas = $("density");
    this.slider = $("slider");
    this.slider.max = String(Math.max(0, model.steps - 1));
    this.slider.addEventListener("input", () => go(Number(this.slider.value)));
    this.canvas.addEventListener("pointerdown", (event) => { this.point(event, go); this.canvas.setPointerCapture(event.pointerId); });
    this.canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) this.point(event, go); });
    this.tones = [];
    for (let step = 0; step < model.steps; step++) this.tones.push(toneOf(model, step));
    new ResizeObserver(() => this.paint()).observe(this.canvas);
    this.step = 0;
  }

  point(event, go) {
    const box = this.canvas.getBoundingClientRect();
    go(Math.round(((event.clientX - box.left) / box.width) * (this.model.steps - 1)));
  }

  // The picture without the mark is made once a size and theme.
  paint() {
    const width = this.canvas.clientWidth, height = 44, scale = devicePixelRatio || 1;
    if (!width) return;
    this.picture = document.createElement("canvas");
    for (const canvas of [this.canvas, this.picture]) { canvas.width = width * scale; canvas.height = height * scale; }
    const g = this.picture.getContext("2d");
    g.scale(scale, scale);
    const steps = this.model.steps, columns = Math.max(1, Math.min(steps, Math.floor(width / 2)));
    const wide = width / columns;
    for (let column = 0; column < columns; column++) {
      const first = Math.floor((column * steps) / columns), last = Math.max(first + 1, Math.floor(((column + 1) * steps) / columns));
      const tally = {};
      for (let step = first; step < last; step++) tally[this.tones[step]] = (tally[this.tones[step]] || 0) + 1;
      let y = height - 8;
      for (const tone of ["private", "zero", "file", "shared", "cow", "device"]) {
        if (!tally[tone]) continue;
        const tall = Math.max(2, (tally[tone] / (last - first)) * (height - 14));
        g.fillStyle = colour(tone);
        g.fillRect(column * wide, y - tall, Math.max(1, wide - 0.5), tall);
        y -= tall;
      }
      for (const [tone, at] of [["vma", height - 6], ["call", height - 6], ["log", height - 3], ["task", height - 3], ["signal", height - 3]]) {
        if (!tally[tone]) continue;
        g.fillStyle = colour(tone);
        g.fillRect(column * wide, at, Math.max(1, wide - 0.5), 3);
      }
      if (tally.bad) {
        g.fillStyle = colour("bad");
        g.fillRect(column * wide, 0, Math.max(2, wide - 0.5), height);
      }
    }
    this.mark(this.step);
  }

  mark(step) {
    this.step = step;
    this.slider.value = String(step);
    const g = this.canvas.getContext("2d");
    g.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.picture || !this.picture.width) return;
    g.drawImage(this.picture, 0, 0);
    const at = this.model.steps < 2 ? 0 : (step / (this.model.steps - 1)) * (this.canvas.width - 2);
    g.fillStyle = colour("ink");
    g.fillRect(at, 0, 2 * (devicePixelRatio || 1), this.canvas.height);
  }
}

let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  colours = {};
  for (const name of [...STATES, "bad", "vma", "task", "signal", "log", "call", "register", "ink", "dim", "line", "paper", "accent"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}
const colour = (name) => colours[name] || colours.dim;
