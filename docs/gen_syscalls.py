"""Write docs/syscalls.md, and the index of the families, from the kernel's own table of system calls.

python docs/gen_syscalls.py            write the files
python docs/gen_syscalls.py --check    exit 1 when one is not what would be written
"""

from __future__ import annotations

import sys
import textwrap
from importlib import import_module
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
TARGET = TOP / "docs" / "syscalls.md"
FAMILIES = TOP / "machine" / "kernel" / "syscalls"
INDEX = FAMILIES / "index.py"

INDEX_HEAD = '''\
"""Which module of this package declares which calls: written by `python docs/gen_syscalls.py`, don't edit."""

# fmt: off
FAMILIES = {
'''

HEAD = """\
# System calls

Written by `python docs/gen_syscalls.py` from the table that the kernel dispatches with: don't edit.

A call that is not listed as implemented gives ENOSYS, as a kernel without it does, and is counted; `nopage run` says
at the end which ones the program tried. "full" means: every result and errno that manual and kernel give for what this
machine has. Anything else says what is missing.
"""


def index() -> str:
    """The text of machine/kernel/syscalls/index.py: by what the modules declare, not by what it says now."""
    from machine.kernel.syscalls.table import ROWS

    names: dict[str, set[str]] = {}
    for path in sorted(FAMILIES.glob("[a-z]*.py")):
        if path.stem not in ("index", "table"):
            import_module(f"machine.kernel.syscalls.{path.stem}")
    for rows in ROWS.values():
        for row in rows.values():
            names.setdefault(row.family, set()).add(row.name)
    text = INDEX_HEAD
    for family in sorted(names):
        lines = textwrap.wrap(" ".join(sorted(names[family])), 100, break_on_hyphens=False)
        text += f'    "{family}": (\n' + "".join(f'        "{line} "\n' for line in lines) + "    ),\n"
    return text + "}\n"


def document() -> str:
    """The text of docs/syscalls.md."""
    from machine.kernel.abi import unistd_32, unistd_64
    from machine.kernel.syscalls.table import ROWS

    numbers = {"x86_64": unistd_64.NUMBERS, "i386": unistd_32.NUMBERS}
    names = sorted(set(ROWS["x86_64"]) | set(ROWS["i386"]))
    lines = [
        HEAD,
        f"## Implemented: {len(names)}\n",
        "| call | x86-64 | i386 | support |",
        "| --- | ---: | ---: | --- |",
    ]
    for name in names:
        cells = [str(numbers[abi][name]) if name in ROWS[abi] else "" for abi in ("x86_64", "i386")]
        support = " / ".join(dict.fromkeys(ROWS[abi][name].support for abi in ROWS if name in ROWS[abi]))
        lines.append(f"| `{name}` | {cells[0]} | {cells[1]} | {support} |")
    for abi, title in (("x86_64", "x86-64"), ("i386", "i386")):
        absent = sorted(set(numbers[abi]) - set(ROWS[abi]))
        lines += ["", f"## ENOSYS on {title}: {len(absent)}", "", ", ".join(f"`{name}`" for name in absent) + "."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check."""
    sys.path.insert(0, str(TOP))
    if not INDEX.exists():
        INDEX.write_text(INDEX_HEAD + "}\n")
    wrong = 0
    for target, text in ((INDEX, index()), (TARGET, document())):
        if target.read_text() == text:
            continue
        if "--check" in sys.argv[1:]:
            print(f"{target.relative_to(TOP)} is out of date: python docs/gen_syscalls.py", file=sys.stderr)
            wrong = 1
        else:
            target.write_text(text)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
