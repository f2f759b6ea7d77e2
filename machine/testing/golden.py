"""Golden recordings: the register accesses of a test in a text file, which later runs are compared with.

A line an access, in order; equal ones behind each other are one line, and so are lines that repeat (`loops.py`)::

    write timer.ctrl = 1 (enable=1, mode=slow)      # start timer.c:32
    read  timer.status = 0  × 37                    # wait timer.c:40
    read  timer.status = 1                          # wait timer.c:40
    repeat × 16:
      write timer.select = 1                        # drain timer.c:51
      read  timer.data = 0                          # drain timer.c:52

What stands behind ``#`` is for the reader and is not compared: lines of a program move.  The number behind ``×`` is
compared.  Where it depends on the compiler, or on how long the device takes, the author of the test changes the file:
``× +`` is any number, ``× *`` also none, and ``= *`` any value.  ``--nopage-update`` leaves these as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from machine.accesses import fields_of, register_of
from machine.errors import ConfigError
from machine.events import RegisterAccess
from machine.testing import messages
from machine.testing.buslog import BusLog
from machine.testing.explain import story
from machine.testing.loops import ANY_NUMBER, Item, Line, Matcher, Repeat, Times, flat, fold, texts
from machine.testing.sidebyside import diff, updated

if TYPE_CHECKING:
    from machine.accesses import Context

HEAD = "# Register accesses, written by `pytest --nopage-record`; `--nopage-update` writes them anew.\n"
_LINE = re.compile(r"(?P<head>(?:read|write) +.+?) = (?P<value>.*?)(?: +[×x] *(?P<times>\d+|[*+]))?")
_REPEAT = re.compile(r"repeat +[×x] *(?P<times>\d+|[*+]) *:?")


# -- what was made -------------------------------------------------------------------------------------------------


def folded(log: BusLog) -> list[Item]:
    """The accesses of a list, those that are written alike as one line, and lines that repeat as such."""
    return fold(lines_of(log))


def lines_of(log: BusLog) -> list[Line]:
    """The accesses of a list, those that are written alike as one line."""
    context = log.context
    lines: list[Line] = []
    known: dict[Any, str] = {}
    for _, group in groupby(range(len(log)), key=lambda number: _alike(log[number])):
        numbers = list(group)
        access = log[numbers[0]]
        width = f", {access.width} byte{'' if access.width == 1 else 's'}" if _odd(context, access) else ""
        places = () if context is None else _places(context, [log.indices[number] for number in numbers], known)
        lines.append(
            Line(f"{'write' if access.write else 'read '} {register_of(access)}",
                 f"{messages.a_number(access.value)}{fields_of(access, context)}{width}",
                 len(numbers), numbers[0], places)
        )  # fmt: skip
    return lines


def _alike(access: RegisterAccess) -> tuple[object, ...]:
    return access.write, access.device, access.register or access.offset, access.value, access.width, access.offset


def _odd(context: Optional[Context], access: RegisterAccess) -> bool:
    """Whether the access is not as wide as its register."""
    reg = None if context is None else context.declared(access)
    return reg is not None and reg.width != access.width


def _places(context: Context, indices: Sequence[int], known: dict[Any, str]) -> tuple[str, ...]:
    """Where they were made, each place once."""
    found: dict[str, None] = {}
    for index in indices:
        site = context.site(index)
        if site not in known:
            known[site] = _place(context, site)
        found[known[site]] = None
    return tuple(found)


def _place(context: Context, site: Any) -> str:
    if site is None:
        return "the kernel"
    where = context.location(site)
    file = where.file.rsplit("/", 1)[-1]
    return f"{where.function} {file}:{where.line}" if file else where.function or f"{site.rip:#x}"


# -- what was recorded ----------------------------------------------------------------------------------------------


class _Open:
    """A ``repeat`` that is being read, or the file."""

    def __init__(self, indent: int, times: Times, number: int = 0, text: str = "") -> None:
        self.indent, self.times, self.number, self.text = indent, times, number, text
        self.inner: Optional[int] = None
        """How far its lines are indented; None until the first."""
        self.body: list[Item] = []


def recorded(path: Path) -> list[Item]:
    """The lines of a file.  ConfigError for one that is no line of a recording."""
    levels = [_Open(-1, 1)]
    levels[0].inner = 0
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        told, _, place = text.partition(" # ")
        indent, told = len(told) - len(told.lstrip()), told.strip()
        while len(levels) > 1 and indent <= levels[-1].indent:
            _end_round(path, levels)
        level = levels[-1]
        level.inner = indent if level.inner is None else level.inner
        found = _LINE.fullmatch(told) or _REPEAT.fullmatch(told)
        if found is None or indent != level.inner:
            raise ConfigError(messages.bad_recording(str(path), number, text))
        times = found["times"] or "1"
        count = times if times in ANY_NUMBER else int(times)
        if found.re is _REPEAT:
            levels.append(_Open(indent, count, number, text))
            continue
        kind, _, register = found["head"].partition(" ")
        head = f"{kind:<5} {register.strip()}"
        level.body.append(Line(head, found["value"].strip(), count, 0, (place,) if place else ()))
    while len(levels) > 1:
        _end_round(path, levels)
    return levels[0].body


def _end_round(path: Path, levels: list[_Open]) -> None:
    """The innermost repeat is whole."""
    done = levels.pop()
    if not done.body:
        raise ConfigError(messages.empty_repeat(str(path), done.number, done.text))
    levels[-1].body.append(Repeat(tuple(done.body), done.times))


def first_difference(kept: Sequence[Item], made: Sequence[Item]) -> Optional[int]:
    """The number of the first access that the recording does not have there; None where all are as recorded."""
    if [each.key for each in kept] == [each.key for each in made]:
        return None
    accesses = [(line.head, line.value) for line in flat(made) for _ in range(int(line.times))]
    matcher, reach = Matcher(accesses), [0]
    for item in kept:
        reach = matcher.after(item, reach)
        if not reach:
            return matcher.furthest
    return None if reach[-1] == len(accesses) else matcher.furthest


def check(log: BusLog, path: Path, *, record: bool, update: bool) -> None:
    """Compare with the file, or write it: `record` a file that is missing, `update` any.  AssertionError."""
    __tracebackhide__ = True
    made = lines_of(log)
    if update or (record and not path.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        items = fold(made)
        if path.exists():
            kept = recorded(path)
            items = updated(kept, made, fits=first_difference(kept, made) is None)
        path.write_text(HEAD + "".join(f"{line}\n" for line in texts(items)), encoding="utf-8")
        return
    if not path.exists():
        raise AssertionError(messages.no_recording(str(path)))
    kept = recorded(path)
    first = first_difference(kept, made)
    if first is not None:
        told = story(log, first, before=True) if first < len(log) else []
        raise AssertionError(messages.recording_differs(str(path), diff(kept, made), told))


def bus_of(what: Any) -> BusLog:
    """The record of a `RunResult`, or the record itself."""
    return what if isinstance(what, BusLog) else what.bus
