"""What differs between two runs, and how it is shown."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Optional

from machine.compare.calls import alike, processes
from machine.compare.sides import Run
from machine.compare.tree import Entry, contents

PARTS = ("stdout", "stderr", "status", "files", "calls")
CONTEXT = 3
"""Lines in front of a difference, and behind it."""


@dataclass
class Ignore:
    """What is not to be compared."""

    parts: set[str] = field(default_factory=set)
    files: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    texts: list[re.Pattern[str]] = field(default_factory=list)

    @classmethod
    def parse(cls, words: Sequence[str]) -> Ignore:
        """``stdout``, ``files``, ``file:*.o``, ``call:mmap``, ``text:REGEX``.  ValueError."""
        ignore = cls()
        for word in words:
            kind, colon, value = word.partition(":")
            if word in PARTS:
                ignore.parts.add(word)
            elif not colon or not value or kind not in ("file", "call", "text"):
                raise ValueError(f"'{word}' is none of {', '.join(PARTS)}, file:PATTERN, call:NAME, text:REGEX")
            elif kind == "file":
                ignore.files.append(value)
            elif kind == "call":
                ignore.calls.add(value)
            else:
                try:
                    ignore.texts.append(re.compile(value))
                except re.error as error:
                    raise ValueError(f"'{value}' is not a regular expression: {error}") from None
        return ignore

    def blank(self, lines: list[str]) -> list[str]:
        """The lines without what `texts` match."""
        for pattern in self.texts:
            lines = [pattern.sub("…", line) for line in lines]
        return lines

    def file(self, name: str) -> bool:
        """Whether a file's name is to be left out."""
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.files)


@dataclass
class Difference:
    """One thing that differs."""

    part: str
    """One of `PARTS`, or ``machine`` for what a machine found wrong with itself, or ``time``."""
    what: str
    """A sentence."""
    native: list[str] = field(default_factory=list)
    nopage: list[str] = field(default_factory=list)
    """Lines of either side."""
    at: Optional[int] = None
    """Index of the first line that differs."""
    alike: Callable[[str, str], bool] = str.__eq__
    """How lines are compared."""

    def text(self, width: int = 118) -> str:
        """The sentence, and both sides next to each other around the first line that differs."""
        if self.at is None:
            return "\n".join([self.what, *(f"  native: {line}" for line in self.native),
                              *(f"  nopage: {line}" for line in self.nopage)])  # fmt: skip
        return "\n".join([self.what, *_side_by_side(self.native, self.nopage, self.at, width, self.alike)])


def _side_by_side(
    left: list[str], right: list[str], at: int, width: int, same: Callable[[str, str], bool]
) -> list[str]:
    column = max(20, (width - 11) // 2)
    rows = [f"{'':8}{'native':<{column}} | nopage"]
    for index in range(max(0, at - CONTEXT), min(max(len(left), len(right)), at + CONTEXT + 1)):
        one, other = _line(left, index), _line(right, index)
        differs = one is None or other is None or not same(one, other)
        skip = _skip(one or "", other or "", column) if differs else 0
        cells = [_cell(line, skip, column, index == len(side)) for line, side in ((one, left), (other, right))]
        rows.append(f"{'>' if differs else ' '}{index + 1:6} {_pad(cells[0], column)} | {cells[1]}".rstrip())
    return rows


def _line(side: list[str], index: int) -> Optional[str]:
    return side[index] if index < len(side) else None


def _skip(one: str, other: str, column: int) -> int:
    """How much of two long lines to leave out at their beginning so that their first difference can be seen."""
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return max(0, same - column // 3) if same >= column - 8 else 0


def _cell(line: Optional[str], skip: int, column: int, at_end: bool) -> str:
    if line is None:
        return "(end)" if at_end else ""
    if skip:
        line = "…" + line[skip + 1 :]
    while _width(line) > column:
        line = line[: max(1, len(line) - 1 - max(1, (_width(line) - column) // 2))] + "…"
    return line


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _pad(text: str, column: int) -> str:
    return text + " " * max(0, column - _width(text))


def as_lines(data: bytes) -> list[str]:
    """Lines of what a program wrote, with what can't be shown as escapes; a last line without its newline says so."""
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    lines = ["".join(each if each.isprintable() or each == "\t" else f"\\x{ord(each):02x}" for each in line)
             .replace("\t", "→   ") for line in lines]  # fmt: skip
    if lines[-1] == "":
        lines.pop()
    else:
        lines[-1] += "⏎̸"
    return lines


def find_differences(native: Run, nopage: Run, ignore: Ignore) -> list[Difference]:
    """Everything that differs, in the order of `PARTS`; at most one difference a stream, a file, a task."""
    found: list[Difference] = []
    if native.timed_out != nopage.timed_out:
        side = "nopage" if nopage.timed_out else "natively"
        found.append(Difference("time", f"the program does not end {'in ' if nopage.timed_out else ''}{side}"))
    for part, name in (("stdout", "standard output"), ("stderr", "standard error")):
        if part not in ignore.parts:
            found += _streams(part, name, getattr(native, part), getattr(nopage, part), ignore)
    if "status" not in ignore.parts and native.status() != nopage.status():
        found.append(Difference("status", "the end differs", [native.status()], [nopage.status()]))
    if "files" not in ignore.parts:
        found += _files(native.files, nopage.files, ignore)
    if "calls" not in ignore.parts and native.calls is not None and nopage.calls is not None:
        found += _calls(native.calls, nopage.calls, ignore)
    found += [Difference("machine", f"nopage complains about itself: {each}") for each in nopage.complaints]
    return found


def _streams(part: str, name: str, native: bytes, nopage: bytes, ignore: Ignore) -> list[Difference]:
    if native == nopage:
        return []
    left, right = ignore.blank(as_lines(native)), ignore.blank(as_lines(nopage))
    at = first_difference(left, right)
    if at is None:
        return []
    return [Difference(part, f"{name} differs from line {at + 1} on", left, right, at)]


def first_difference(
    left: list[str], right: list[str], alike: Callable[[str, str], bool] = str.__eq__
) -> Optional[int]:
    """Index of the first line that differs; None when both are alike."""
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if not alike(one, other):
            return index
    return None if len(left) == len(right) else min(len(left), len(right))


def _files(native: dict[str, Entry], nopage: dict[str, Entry], ignore: Ignore) -> list[Difference]:
    found = []
    for name in sorted({*native, *nopage}):
        one, other = native.get(name), nopage.get(name)
        if ignore.file(name) or (one and other and one.same(other)):
            continue
        if one is None or other is None:
            there, where = (one or other), "natively" if other is None else "in nopage"
            found.append(Difference("files", f"only {where} there is {there.kind if there else ''} {name}"))
        elif (one.kind, one.mode, one.links) != (other.kind, other.mode, other.links):
            shown = [f"{each.kind}, mode {each.mode:04o}, {each.links} links" for each in (one, other)]
            found.append(Difference("files", f"{name} differs", shown[:1], shown[1:]))
        elif one.kind == "a symbolic link":
            found.append(Difference("files", f"the link {name} points elsewhere", [one.digest], [other.digest]))
        else:
            found += _streams("files", f"the file {name}", contents(one), contents(other), ignore)
    return found


def _calls(native: str, nopage: str, ignore: Ignore) -> list[Difference]:
    found = []
    one = {each.place: each.lines for each in processes(native)}
    other = {each.place: each.lines for each in processes(nopage)}
    for place in sorted({*one, *other}, key=lambda text: [int(number) for number in text.split(".")]):
        left, right = (_kept(side.get(place, []), ignore) for side in (one, other))
        at = first_difference(left, right, alike)
        if at is not None:
            who = "the program" if place == "1" else f"task {place}"
            what = f"the system calls of {who} differ from number {at + 1} on"
            found.append(Difference("calls", what, left, right, at, alike))
    return found


def _kept(lines: list[str], ignore: Ignore) -> list[str]:
    return ignore.blank([line for line in lines if line.split("(", 1)[0] not in ignore.calls])
