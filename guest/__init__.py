"""What runs inside the machine: the demo programs, and the compiler that makes more of them.

`guest/programs/NAME.c` is kept built in `guest/bin/TARGET/NAME`; the machine shows these files in the
guest's /usr/local/bin.
"""

from __future__ import annotations

from pathlib import Path

TARGETS = ("x86_64", "i386")

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
INCLUDE = HERE / "include"
BIN = HERE / "bin"


def bin_directory(target: str = "x86_64") -> Path:
    """The directory of built demo programs for `target` (one of `TARGETS`)."""
    if target not in TARGETS:
        raise ValueError(f"no such target: {target!r} (there are {', '.join(TARGETS)})")
    return BIN / target


def program_names() -> list[str]:
    """The demo programs, sorted."""
    return sorted(source.stem for source in PROGRAMS.glob("*.c"))
