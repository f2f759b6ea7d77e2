// One line for each step, and one sentence for each fault.

const ENTRY_BITS = [
  [0, "P", "present"], [1, "RW", "writable"], [2, "US", "user mode may use it"], [3, "PWT", "write-through"],
  [4, "PCD", "cache disabled"], [5, "A", "accessed: set by the MMU"], [6, "D", "dirty: set by the MMU"],
  [7, "PS", "page size: a large page"], [8, "G", "global"], [9, "DEVICE", "software: device registers, never present"],
  [10, "PROTNONE", "software: kept, but the area is PROT_NONE"], [11, "SPECIAL", "software: mapped by number, not counted"],
];
const LEVELS = ["PML4E", "PDPTE", "PDE", "PTE"];

function bitsOf(lo, hi) {
  const out = [];
  for (const [bit, name, meaning] of ENTRY_BITS) {
    if (bit >= 9 && bit <= 10 && lo & BIT.P) continue; // mean something in entries that aren't present
    if (bit < 9 && !(lo & BIT.P) && bit !== 0) continue;
    if ((lo >>> bit) & 1) out.push([name, meaning]);
  }
  if (lo & BIT.P && hi >>> 31) out.push(["NX", "no execute"]);
  return out;
}

const entryHex = (lo, hi) => (hi >>> 0).toString(16).padStart(8, "0") + (lo >>> 0).toString(16).padStart(8, "0");

function permissions(flags) {
  return (flags & VM.READ ? "r" : "-") + (flags & VM.WRITE ? "w" : "-") + (flags & VM.EXEC ? "x" : "-")
    + (flags & (VM.SHARED | VM.MAYSHARE) ? "s" : "p");
}

// {start, end, offset, path} of a line of /proc/PID/maps.
function areaLine(line) {
  if (!line) return null;
  const parts = line.split(/\s+/);
  const [start, end] = parts[0].split("-").map((part) => parseInt(part, 16));
  return { start, end, permissions: parts[1], offset: parseInt(parts[2], 16), path: parts.slice(5).join(" ") };
}

function place(site) {
  if (!site || !site.rip) return "";
  if (site.line) return `${base(site.path)}:${site.line}`;
  return site.fn ? (site.offset ? `${site.fn}+0x${site.offset.toString(16)}` : site.fn) : x(site.rip);
}

function why(f) {
  const area = areaLine(f.area);
  const verb = { read: "read", write: "write", fetch: "instruction fetch" }[f.access];
  const who = f.origin === "user" ? `a ${verb} by the program` : `a ${verb} by the kernel, for ${f.origin}()`;
  const of = area && area.path ? ` of ${area.path}` : "";
  const a = f.answer;
  if (f.outcome === "EFAULT") return `The kernel itself could not touch this address for ${f.origin}(): the call gets EFAULT.`;
  if (a === "no area") return `No area covers this address: ${f.outcome}.`;
  if (a === "area does not allow it") return `The area allows ${area ? area.permissions : "no access"}, and this was ${who}: ${f.outcome}.`;
  if (f.call && f.call.failed) return `The driver was asked for this page and returned ${f.call.result}: ${f.outcome}.`;
  if (f.outcome.startsWith("SIG") || f.outcome === "OOM") return `${a ? a[0].toUpperCase() + a.slice(1) : "Nobody could help"}: ${f.outcome}.`;
  if (f.call && a.endsWith(", copied")) return `First write to a private page${of}: the driver's page was copied for this process.`;
  if (f.call && a.endsWith("mkwrite")) return `First write to a shared page${of}: the driver was asked, and allowed it.`;
  if (f.call) return `First touch of this page${of}: the driver was asked, and gave frame ${f.pfn < 0 ? "none" : x(f.pfn)}.`;
  switch (a) {
    case "zero page": return "First read of untouched memory: the one page of zeros was mapped, read-only. It costs no memory.";
    case "anonymous": return "First write to untouched memory: a fresh frame of zeros was mapped.";
    case "stack": return "First write to this page of the stack: a fresh frame of zeros was mapped.";
    case "file": return `First touch of this page${of}: the page cache ${f.outcome === "major" ? "read it from the file" : "had it already"}.`;
    case "file, copied": return `First write to this private page${of}: the file's page was copied for this process.`;
    case "copy-on-write": return "A write to a page that was mapped read-only because others see it too: this process got a copy.";
    case "copy-on-write, last user": return "A write to a page that was shared after a fork. Nobody else maps it any more: it became writable, without a copy.";
    case "write enabled": return "First write to a shared page that was mapped read-only: the entry became writable.";
    case "already present": return "Somebody had made the page present meanwhile: the instruction runs again.";
    case "device registers": return "A device register: its page is never present, so that every access is seen.";
  }
  return `${a || "Nobody"} answered ${who}: ${f.outcome}.`;
}

const TASK_WORDS = { spawn: "is started", fork: "forked", thread: "started a thread", exec: "executes", exit: "ended" };
const VMA_WORDS = { mmap: "mapped", munmap: "unmapped", open: "mapped", close: "unmapped", split: "split off", merge: "merged", change: "changed",
  grow: "grew", move: "moved" };

// {kind, tone, left, right}: one line of the list.
function line(model, step) {
  const kind = model.kinds[step];
  const row = model.rowOf[step];
  if (kind === "fault") {
    const f = model.data.faults, i = model.faultOf[step];
    const outcome = model.text(f.outcome[i]), answer = model.text(f.answer[i]);
    const site = model.site(f.site[i]);
    const origin = model.text(f.origin[i]);
    const where = site.rip ? place(site) : origin === "kernel" ? "the kernel" : `in ${origin}()`;
    const access = f.error[i] & 16 ? "x" : f.error[i] & 2 ? "w" : "r";
    return { kind, tone: toneOf(model, step), left: `${where}  ${access} ${hex(f.address[i])}`,
      right: model.isProblem(step) ? outcome.split(" ")[0] : answer.split(",")[0] };
  }
  const who = model.who(step);
  switch (kind) {
    case "vma": return { kind, tone: "vma", left: `${VMA_WORDS[row[3]] || row[3]} ${hex(row[4])}–${hex(row[5])}`,
      right: base(model.text(row[7])) || "anonymous" };
    case "task": return { kind, tone: "task", left: `${who.comm}[${who.pid}] ${TASK_WORDS[row[3]] || row[3]}`,
      right: row[3] === "exit" ? status(row[5]) : row[4] };
    case "signal": return { kind, tone: model.isProblem(step) ? "bad" : "signal", left: row[4],
      right: { core: "killed", terminate: "killed", handler: "handler", ignore: "ignored" }[row[6]] || row[6] };
    case "printk": return { kind, tone: "log", left: row[4], right: "log" };
    case "register": return { kind, tone: "register", left: `${row[3]}.${row[4]} ${row[7] ? "←" : "→"} ${x(row[8])}`, right: `${row[6]} bytes` };
    case "oops": return { kind, tone: "bad", left: row[4].trim().split("\n").pop(), right: "oops" };
    case "call": {
      const call = model.call(row[3]);
      return { kind, tone: "call", left: `${call.driver}.${call.operation}`, right: call.result };
    }
  }
  return { kind, tone: "log", left: kind, right: "" };
}

function status(code) {
  return code & 0x7f ? `signal ${code & 0x7f}` : `status ${(code >> 8) & 0xff}`;
}

function toneOf(model, step) {
  if (model.isProblem(step)) return "bad";
  const kind = model.kinds[step];
  if (kind !== "fault") return { vma: "vma", task: "task", signal: "signal", printk: "log", call: "call" }[kind] || "log";
  const f = model.data.faults, i = model.faultOf[step];
  const answer = model.text(f.answer[i]);
  if (f.call[i] || answer === "device registers") return "device";
  if (answer === "zero page") return "zero";
  if (answer.startsWith("copy-on-write") || answer.endsWith("copied")) return "cow";
  if (answer === "file") return "file";
  return answer === "write enabled" ? "shared" : "private";
}

// Everything a search may hit, in lower case.
function haystack(model, step) {
  const kind = model.kinds[step], who = model.who(step);
  const words = [`${who.comm}[${who.pid}]`, kind];
  if (kind === "fault") {
    const f = model.fault(model.faultOf[step]);
    words.push(`fault ${f.number}`, x(f.address), f.site.rip ? x(f.site.rip) : "", f.site.fn, f.site.path, place(f.site), f.site.text,
      f.area, f.answer, f.outcome, f.origin, f.access, f.pfn >= 0 ? `frame ${x(f.pfn)}` : "");
    if (f.call) words.push(`${f.call.driver}.${f.call.operation}`, f.call.fn, f.call.result);
  } else {
    const l = line(model, step);
    words.push(l.left, l.right);
    if (kind === "vma") words.push(x(model.rowOf[step][4]), model.text(model.rowOf[step][7]), model.rowOf[step][8]);
    if (kind === "call") { const call = model.call(model.rowOf[step][3]); words.push(call.fn, base(call.path)); }
  }
  return words.join(" ").toLowerCase();
}
