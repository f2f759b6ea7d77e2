// From the embedded text to the object that encode.py made; small helpers that every other file uses.

async function loadData() {
  const node = document.getElementById("data");
  if (node.type === "application/json") return JSON.parse(node.textContent);
  if (typeof DecompressionStream === "undefined") throw new Error("This browser is too old: it has no DecompressionStream.");
  const bytes = Uint8Array.from(atob(node.textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const $ = (id) => document.getElementById(id);

// An element: h("td.changed", {title: "…"}, "text", child, [more children]).  Text is never taken for markup.
function h(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Addresses are numbers below 2^53, else strings of hexadecimal digits.
const hex = (value) => (typeof value === "string" ? value : value.toString(16));
const x = (value) => "0x" + hex(value);
const plural = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many || one + "s"}`;
const base = (path) => path.slice(path.lastIndexOf("/") + 1);

function bytesText(n) {
  for (const [unit, size] of [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (n >= size) return `${(n / size).toFixed(n % size && n / size < 100 ? 1 : 0)} ${unit}`;
  }
  return `${n} bytes`;
}

function timeText(ns) {
  return `${(ns / 1e6).toFixed(3)} ms`;
}
