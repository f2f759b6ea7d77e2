"""Golden recordings: the register accesses of a test in a text file, which later runs are compared with.

A line an access, in order::

    write timer.period = 0x3e8 (1000)               # start timer.c:31
    write timer.ctrl = 1 (enable=1, mode=slow)      # start timer.c:32

What stands behind ``#`` is for the reader and is not compared: lines of a program move.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine.testing import messages
from machine.testing.buslog import BusLog
from machine.testing.explain import fields_of, register_of, story

if TYPE_CHECKING:
    from machine.testing.context import Context

HEAD = "# Register accesses, written by `pytest --nopage-record`; `--nopage-update` writes them anew.\n"
COLUMN = 56


def line_of(log: BusLog, number: int) -> str:
    """One access, and where it was made."""
    access, context = log[number], log.context
    width = f", {access.width} byte{'' if access.width == 1 else 's'}" if _odd(log, number) else ""
    value = f"{messages.a_number(access.value)}{fields_of(access, context)}{width}"
    text = f"{'write' if access.write else 'read '} {register_of(access)} = {value}"
    place = _place(context, log.indices[number]) if context is not None else ""
    return f"{text:<{COLUMN}} # {place}" if place else text


def _odd(log: BusLog, number: int) -> bool:
    """Whether the access is not as wide as its register."""
    reg = None if log.context is None else log.context.declared(log[number])
    return reg is not None and reg.width != log[number].width


def _place(context: Context, index: int) -> str:
    site = context.site(index)
    if site is None:
        return "the kernel"
    where = context.location(site)
    file = where.file.rsplit("/", 1)[-1]
    return f"{where.function} {file}:{where.line}" if file else where.function or f"{site.rip:#x}"


def compared(line: str) -> str:
    """What of a line counts."""
    return line.partition(" # ")[0].rstrip()


def check(log: BusLog, path: Path, *, record: bool, update: bool) -> None:
    """Compare with the file, or write it: `record` a file that is missing, `update` any.  AssertionError."""
    __tracebackhide__ = True
    made = [line_of(log, number) for number in range(len(log))]
    if update or (record and not path.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + "".join(f"{line}\n" for line in made))
        return
    if not path.exists():
        raise AssertionError(messages.no_recording(str(path)))
    kept = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    if [compared(line) for line in kept] == [compared(line) for line in made]:
        return
    first = next(
        (i for i, (a, b) in enumerate(zip(kept, made, strict=False)) if compared(a) != compared(b)),
        min(len(kept), len(made)),
    )
    told = story(log, first, before=True) if first < len(made) else []
    raise AssertionError(messages.recording_differs(str(path), _diff(kept, made), told))


def _diff(kept: list[str], made: list[str]) -> list[str]:
    """As `diff -u` has it; lines that differ in what is not compared count as equal."""
    old, new = [compared(line) for line in kept], [compared(line) for line in made]
    lines: list[str] = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(3):
        lines.append(f"@@ access {group[0][3]} @@")
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                lines += [f"  {line}" for line in made[j1:j2]]
            else:
                lines += [*(f"- {line}" for line in kept[i1:i2]), *(f"+ {line}" for line in made[j1:j2])]
    return lines


def bus_of(what: Any) -> BusLog:
    """The record of a `RunResult`, or the record itself."""
    return what if isinstance(what, BusLog) else what.bus
