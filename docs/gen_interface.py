"""Write docs/driver-interface.md: every name of `machine.kernel.linux`, by header, from the docstrings.

python docs/gen_interface.py            write the file
python docs/gen_interface.py --check    exit 1 when it is not what would be written
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
TARGET = TOP / "docs" / "driver-interface.md"
KERNEL = TOP / "machine" / "kernel"

HEAD = """\
# The driver interface

Written by `python docs/gen_interface.py` from the docstrings: don't edit. These are the names that a driver may import
from `machine.kernel.linux`, by the kernel's header. An editor shows what else there is to say about one, or `help()`:
`python -c "from machine.kernel.linux import ioremap; help(ioremap)"`. A name that is not here gives an error that says
what to write in its place.

A pointer to one integer is a list of one element, addresses are integers: [Writing a driver](writing-a-driver.md) has
the rest.
"""

LAZY = {
    "spinlock": "linux/spinlock.h, linux/hardirq.h",
    "wait": "linux/wait.h, asm/semaphore.h",
    "completion": "linux/completion.h, linux/mutex.h",
    "rwsem": "linux/rwsem.h, linux/mmap_lock.h",
    "interrupt": "linux/interrupt.h, linux/workqueue.h",
    "kthread": "linux/kthread.h",
    "timer": "linux/timer.h, linux/jiffies.h, linux/delay.h, linux/sched.h",
    "timekeeping": "linux/time.h, linux/ktime.h",
    "printk": "linux/printk.h, asm/bug.h",
    "pci": "linux/pci.h",
    "dma": "linux/dma-mapping.h",
    "scatterlist": "linux/scatterlist.h, linux/dma-mapping.h: several pieces, masks",
    "gfp": "linux/gfp.h, linux/highmem.h: pages by their struct page",
    "slab": "linux/slab.h: caches, arrays",
    "gup": "linux/mm.h: user pages",
    "pio": "asm/io.h, linux/ioport.h: ports",
    "miscdevice": "linux/miscdevice.h",
    "sysfs": "linux/device.h, linux/kobject.h, linux/sysfs.h",
    "fb": "linux/fb.h",
    "seek": "linux/fs.h: devices without positions",
    "fasync": "linux/fs.h: SIGIO",
}
"""Modules of machine/kernel/include whose names `linux.__all__` takes as a whole -> header."""

NOT_FOR_DRIVERS = {
    "read_iter", "write_iter", "write_most", "read_at_once", "write_at_once", "iterate", "userfault", "today", "owner",
    "where", "mem", "address", "private",
}  # fmt: skip
"""Members that are the kernel's own."""
VARIABLES = {
    "current": "The process for which the driver works: `pid`, `comm`, `euid`; false where there is none.",
    "jiffies": "Ticks since boot, HZ a second: a variable that is always up to date.",
    "mem_map": "The array of all `struct page`: `mem_map[MAP_NR(address)]`.",
    "NOPAGE_SIGBUS": "Answer of a `nopage`: there is no page, the process gets SIGBUS.",
    "NOPAGE_OOM": "Answer of a `nopage`: no memory, the process is killed.",
    "NULL": "0: a pointer to nothing, as the functions of memory return it.",
    "PAGE_SIZE": "4096.",
    "PAGE_SHIFT": "12.",
    "PAGE_MASK": "Clears the offset in a page: `address & PAGE_MASK`.",
    "Ptr": "A pointer to one integer, for annotations: `f_pos[0] += n`.",
    "NopageResult": "What a `nopage` returns, for annotations.",
    "KernelMemory": "What `kernel_memory` gives, for annotations.",
    "kmsg_fops": "The operations of /dev/kmsg.",
    "HZ": "1000: ticks of `jiffies` a second.",
}
"""Names without a docstring of their own that deserve a line."""


def sentence(text: str | None) -> str:
    """The first sentence of a docstring, on one line."""
    line = " ".join((text or "").strip().partition("\n\n")[0].split()).replace("``", "`")
    found = re.match(r"(.*?[^.]\.)(?= [A-Z`(*-]| 0|$)", line)
    return (found[1] if found else line).rstrip(":")


def described(body: list[ast.stmt]) -> dict[str, str]:
    """Name -> the string that stands behind its assignment."""
    found: dict[str, str] = {}
    for here, behind in itertools.pairwise(body):
        if (
            isinstance(behind, ast.Expr)
            and isinstance(behind.value, ast.Constant)
            and isinstance(behind.value.value, str)
        ):
            targets = here.targets if isinstance(here, ast.Assign) else [getattr(here, "target", None)]
            found.update({each.id: behind.value.value for each in targets if isinstance(each, ast.Name)})
    return found


def variables() -> dict[str, str]:
    """Name -> what is said of it where it is assigned, anywhere in the kernel."""
    found: dict[str, str] = {}
    for path in (*KERNEL.glob("*.py"), *KERNEL.glob("*/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.If)):
                found = {**described(node.body), **found}
    return {name: text for name, text in {**found, **VARIABLES}.items() if not name.startswith("VM_FAULT_")}


def groups() -> list[tuple[str, list[str]]]:
    """(headers, names) in the order of `linux.__all__`, then the modules of `LAZY`, then the errnos."""
    from machine.kernel import linux
    from machine.kernel.abi.errno import NAMES

    text = (KERNEL / "linux.py").read_text()
    listed = text[text.index("\n__all__ = [") : text.index("\n]", text.index("\n__all__ = ["))]
    found: list[tuple[str, list[str]]] = []
    for part in listed.split("    # ")[1:]:
        title, _, names = part.partition("\n")
        found.append((title, re.findall(r'"(\w+)"', names)))
    for module, title in LAZY.items():
        found.append((title, list(linux._include(module).__all__)))
    found.append(("asm/errno.h", list(NAMES.values())))
    seen: set[str] = set()
    for _, names in found:
        names[:] = [name for name in names if name not in seen]
        seen.update(names)
    left = sorted(set(linux.__all__) - seen)
    assert not left, f"in no header: {left}"
    return found


def arguments(function: Any) -> str:
    """``(vma, virt_addr, pfn, size, prot)``."""
    names = []
    for each in inspect.signature(function).parameters.values():
        star = "*" if each.kind is each.VAR_POSITIONAL else ""
        names.append(star + each.name.rstrip("_") + ("" if each.default is each.empty else f"={each.default!r}"))
    return f"({', '.join(names)})"


def members(kind: type) -> list[str]:
    """The methods of a table, a line each; or one line with the members of a structure."""
    from machine.kernel import linux

    if kind in (linux.file_operations, linux.vm_operations_struct):
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(tree, ast.ClassDef)
        texts = described(tree.body)
        names = [
            each.target.id
            for each in tree.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        ]
        return [f"  * `{name}`: {' '.join(texts[name].split())}" for name in names if name not in NOT_FOR_DRIVERS]
    slots = list(getattr(kind, "_fields", ())) or getattr(kind, "__slots__", ())
    public = [
        name
        for name in ([slots] if isinstance(slots, str) else slots)
        if not name.startswith("_") and name not in NOT_FOR_DRIVERS
    ]
    return [f"  * members: {', '.join(f'`{name}`' for name in public)}"] if public else []


def lines_of(names: list[str], texts: dict[str, str]) -> list[str]:
    """The section of a header: functions, structures and variables with their sentence, constants together."""
    from machine.kernel import linux

    lines, constants = [], []
    for name in names:
        value = getattr(linux, name, None)
        if inspect.isclass(value) and value.__module__.startswith("machine"):
            lines += [f"* `{name}`: {sentence(inspect.getdoc(value))}", *members(value)]
        elif inspect.isfunction(value):
            lines.append(f"* `{name}{arguments(value)}`: {sentence(inspect.getdoc(value))}")
        elif name in texts:
            lines.append(f"* `{name}`: {sentence(texts[name])}")
        else:
            constants.append(f"`{name}`")
    if constants:
        head = "Constants and types: " if lines else ""
        block = head + ", ".join(constants) + "."
        lines += ["", *textwrap.wrap(block, 120, break_on_hyphens=False)]
    return lines


def document() -> str:
    """The text of docs/driver-interface.md."""
    texts = variables()
    parts = [HEAD.rstrip()]
    parts += [f"## {title}\n\n" + "\n".join(lines_of(names, texts)).lstrip("\n") for title, names in groups() if names]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Write or check."""
    sys.path.insert(0, str(TOP))
    text = document()
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{TARGET.relative_to(TOP)} is out of date: python docs/gen_interface.py", file=sys.stderr)
        return 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
