"""Write docs/syscalls.md from the kernel's own table of system calls.

python docs/gen_syscalls.py            write the file
python docs/gen_syscalls.py --check    exit 1 when the file is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
TARGET = TOP / "docs" / "syscalls.md"

HEAD = """\
# System calls

Written by `python docs/gen_syscalls.py` from the table that the kernel dispatches with: don't edit.

A call that is not listed as implemented gives ENOSYS, as a kernel without it does, and is counted; `nopage run` says
at the end which ones the program tried. "full" means: every result and errno that manual and kernel give for what this
machine has. Anything else says what is missing.
"""


def document() -> str:
    """The text of docs/syscalls.md."""
    sys.path.insert(0, str(TOP))
    from machine.kernel.abi import unistd_32, unistd_64
    from machine.kernel.syscalls import load_families
    from machine.kernel.syscalls.table import ROWS

    load_families()
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
    text = document()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text() == text:
            return 0
        print("docs/syscalls.md is out of date: python docs/gen_syscalls.py", file=sys.stderr)
        return 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
