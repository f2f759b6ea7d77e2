"""Golden recordings: the register accesses of a test in a text file, which later runs are compared with.

A line an access, in order; equal ones behind each other are one line::

    write timer.ctrl = 1 (enable=1, mode=slow)      # start timer.c:32
    read  timer.status = 0  × 37                    # wait timer.c:40
    read  timer.status = 1                          # wait timer.c:40

What stands behind ``#`` is for the reader and is not compared: lines of a program move.  The number behind ``×`` is
compared.  Where it depends on the compiler, or on how long the device takes, the author of the test changes the file:
``× +`` is any number, ``× *`` also none, and ``= *`` any value.  ``--nopage-update`` leaves these as they are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

from machine.accesses import fields_of, register_of
from machine.errors import ConfigError
from machine.events import RegisterAccess
from machine.testing import messages
from machine.testing.buslog import BusLog
from machine.testing.explain import story

if TYPE_CHECKING:
    from machine.accesses import Context

HEAD = "# Register accesses, written by `pytest --nopage-record`; `--nopage-update` writes them anew.\n"
COLUMN = 56
PLACES_SHOWN = 3
ANY_VALUE = "*"
_ANY_NUMBER = {"*": 0, "+": 1}
_LINE = re.compile(r"(?P<head>(?:read|write) +.+?) = (?P<value>.*?)(?: +[×x] *(?P<times>\d+|[*+]))?")


class Line(NamedTuple):
    """Equal accesses, as a recording has them or as they were made."""

    head: str
    """``read  timer.status``."""
    value: str
    """``1 (enable=1, mode=slow)``; ``*`` of a recording is any."""
    times: Union[int, str]
    """How many; ``*`` or ``+`` of a recording."""
    first: int = 0
    """Of those that were made: the number of the first in the list."""
    places: tuple[str, ...] = ()
    """Likewise: where they were made."""

    def __str__(self) -> str:
        times = "" if self.times == 1 else f"  × {self.times}"
        text = f"{self.head} = {self.value}{times}"
        return f"{text:<{COLUMN}} # {_shown(self.places)}" if self.places else text

    @property
    def least(self) -> int:
        """How many there have to be."""
        return _ANY_NUMBER[self.times] if isinstance(self.times, str) else self.times

    @property
    def most(self) -> float:
        """How many there may be."""
        return float("inf") if isinstance(self.times, str) else self.times


def _shown(places: Sequence[str]) -> str:
    return ", ".join(places[:PLACES_SHOWN]) + (", ..." if len(places) > PLACES_SHOWN else "")


# -- what was made -------------------------------------------------------------------------------------------------


def folded(log: BusLog) -> list[Line]:
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


def recorded(path: Path) -> list[Line]:
    """The lines of a file.  ConfigError for one that is no line of a recording."""
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip() or text.startswith("#"):
            continue
        told, _, place = text.partition(" # ")
        found = _LINE.fullmatch(told.rstrip())
        if found is None:
            raise ConfigError(messages.bad_recording(str(path), number, text))
        times = found["times"] or "1"
        kind, _, register = found["head"].partition(" ")
        head = f"{kind:<5} {register.strip()}"
        lines.append(Line(head, found["value"].strip(), times if times in _ANY_NUMBER else int(times), 0,
                          (place,) if place else ()))  # fmt: skip
    return lines


def first_difference(kept: Sequence[Line], made: Sequence[Line]) -> Optional[int]:
    """The number of the first access that the recording does not have there; None where all are as recorded."""
    if [each[:3] for each in kept] == [each[:3] for each in made]:
        return None
    accesses = [(line.head, line.value) for line in made for _ in range(int(line.times))]
    reach = [0]
    """After how many accesses the recording may be at its next line."""
    for line in kept:
        fits = (line.head, line.value) if line.value != ANY_VALUE else None
        after: set[int] = set()
        runs: dict[int, int] = {}
        ends: dict[int, int] = {}
        furthest = 0
        for start in reversed(reach):
            end = start
            while end < len(accesses) and (accesses[end] == fits if fits else accesses[end][0] == line.head):
                end += 1
                if end in runs:
                    end = runs[end]
                    break
            runs[start] = end
            last = int(min(end, start + line.most))
            furthest = max(furthest, last)
            if last - start >= line.least:
                open_ended = isinstance(line.times, str) and end in ends  # those from `ends[end]` on are there already
                after.update(range(start + line.least, (ends[end] + line.least if open_ended else last + 1)))
                ends[end] = start
        if not after:
            return furthest
        reach = sorted(after)
    return None if reach[-1] == len(accesses) else reach[-1]


def check(log: BusLog, path: Path, *, record: bool, update: bool) -> None:
    """Compare with the file, or write it: `record` a file that is missing, `update` any.  AssertionError."""
    __tracebackhide__ = True
    made = folded(log)
    if update or (record and not path.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = made if not path.exists() else _updated(recorded(path), made)
        path.write_text(HEAD + "".join(f"{line}\n" for line in lines), encoding="utf-8")
        return
    if not path.exists():
        raise AssertionError(messages.no_recording(str(path)))
    kept = recorded(path)
    first = first_difference(kept, made)
    if first is not None:
        told = story(log, first, before=True) if first < len(log) else []
        raise AssertionError(messages.recording_differs(str(path), _diff(kept, made), told))


# -- side by side ---------------------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    """A line that was made, or several that one line of the recording stands for."""

    key: tuple[str, str, Union[int, str]]
    lines: tuple[Line, ...]


def _key(line: Line) -> tuple[str, str, Union[int, str]]:
    return line.head, line.value, "any" if isinstance(line.times, str) else line.times


def _entries(kept: Sequence[Line], made: Sequence[Line]) -> list[_Entry]:
    """What was made, under the keys of the lines of the recording that fit."""
    keys = {_key(line) for line in kept}
    plain = {line[:2] for line in kept}
    entries = []
    for (head, value), group in groupby(made, key=lambda line: _value_key(line, plain)):
        lines = tuple(group)
        count = sum(int(line.times) for line in lines)
        exact = head, value, count
        entries.append(
            _Entry(exact if exact in keys or (head, value, "any") not in keys else (*exact[:2], "any"), lines)
        )
    return entries


def _value_key(line: Line, plain: set[tuple[Any, ...]]) -> tuple[str, str]:
    star = line.head, ANY_VALUE
    return star if star in plain and line[:2] not in plain else (line.head, line.value)


def _updated(kept: Sequence[Line], made: Sequence[Line]) -> list[Line]:
    """What was made, with what the recording leaves open left open."""
    if first_difference(kept, made) is None:
        return _with_places(kept, made)
    entries = _entries(kept, made)
    lines: list[Line] = []
    for kind, i1, i2, j1, j2 in _matcher(kept, entries).get_opcodes():
        if kind == "equal":
            pairs = zip(kept[i1:i2], entries[j1:j2], strict=True)
            lines += [old._replace(places=_all_places(new.lines)) for old, new in pairs]
        else:
            lines += [line for each in entries[j1:j2] for line in each.lines]
    return lines


def _with_places(kept: Sequence[Line], made: Sequence[Line]) -> list[Line]:
    """The lines of a recording that fits, with the places of today, as far as it is clear which access is whose."""
    accesses = [line for line in made for _ in range(int(line.times))]
    at, lines = 0, []
    for line in kept:
        start = at
        while at < len(accesses) and at - start < line.most and accesses[at].head == line.head and (
            line.value in (ANY_VALUE, accesses[at].value)
        ):  # fmt: skip
            at += 1
        if at - start < line.least:
            return list(kept)
        lines.append(line._replace(places=_all_places(accesses[start:at])) if at > start else line)
    return lines if at == len(accesses) else list(kept)


def _all_places(lines: Sequence[Line]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(place for line in lines for place in line.places))


def _matcher(kept: Sequence[Line], entries: Sequence[_Entry]) -> difflib.SequenceMatcher[Any]:
    return difflib.SequenceMatcher(None, [_key(line) for line in kept], [each.key for each in entries], autojunk=False)


def _diff(kept: Sequence[Line], made: Sequence[Line]) -> list[str]:
    """As `diff -u` has it; lines that differ in what is not compared count as equal."""
    entries = _entries(kept, made)
    lines: list[str] = []
    for group in _matcher(kept, entries).get_grouped_opcodes(3):
        lines.append(f"@@ access {_number(entries, group[0][3])} @@")
        for kind, i1, i2, j1, j2 in group:
            new = [str(line) for each in entries[j1:j2] for line in each.lines]
            if kind == "equal":
                lines += [f"  {line}" for line in new]
            else:
                lines += [*(f"- {line}" for line in kept[i1:i2]), *(f"+ {line}" for line in new)]
    return lines


def _number(entries: Sequence[_Entry], index: int) -> int:
    """Which access an entry begins with."""
    if index < len(entries):
        return entries[index].lines[0].first
    last = entries[-1].lines[-1] if entries else None
    return 0 if last is None else last.first + int(last.times)


def bus_of(what: Any) -> BusLog:
    """The record of a `RunResult`, or the record itself."""
    return what if isinstance(what, BusLog) else what.bus
