"""Loops in a recording: accesses that are made again and again are written once.

::

    repeat × 37:
      read  timer.status = 0                        # wait timer.c:40
      read  timer.count = 5                         # wait timer.c:41
    read  timer.status = 1                          # wait timer.c:40

The number of rounds is compared, and is left open as that of a line is: ``× +``, ``× *``.  Lines of a round may be left
open too, and a round may have rounds in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Optional, Union

INDENT = "  "
ANY_VALUE = "*"
ANY_NUMBER = {"*": 0, "+": 1}
LEAST_ROUNDS = 3
"""Fewer are written out."""
LONGEST_ROUND = 32
"""Lines of a round that is looked for."""
COLUMN = 56
PLACES_SHOWN = 3

Times = Union[int, str]
"""How many; ``*`` or ``+`` of a recording."""
Made = tuple[str, str]
"""An access as a recording has it: head and value."""


def least(times: Times) -> int:
    """How many there have to be."""
    return ANY_NUMBER[times] if isinstance(times, str) else times


def most(times: Times) -> float:
    """How many there may be."""
    return float("inf") if isinstance(times, str) else times


class Line(NamedTuple):
    """Equal accesses, as a recording has them or as they were made."""

    head: str
    """``read  timer.status``."""
    value: str
    """``1 (enable=1, mode=slow)``; ``*`` of a recording is any."""
    times: Times
    first: int = 0
    """Of those that were made: the number of the first in the list."""
    places: tuple[str, ...] = ()
    """Likewise: where they were made."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What is compared."""
        return self.head, self.value, self.times

    def text(self, indent: str = "") -> Iterator[str]:
        times = "" if self.times == 1 else f"  × {self.times}"
        text = f"{indent}{self.head} = {self.value}{times}"
        shown = ", ".join(self.places[:PLACES_SHOWN]) + (", ..." if len(self.places) > PLACES_SHOWN else "")
        yield f"{text:<{COLUMN}} # {shown}" if self.places else text

    def __str__(self) -> str:
        return next(self.text())


class Repeat(NamedTuple):
    """Lines that are there several times."""

    body: tuple[Item, ...]
    times: Times

    @property
    def key(self) -> tuple[Any, ...]:
        """What is compared."""
        return tuple(each.key for each in self.body), self.times

    @property
    def first(self) -> int:
        """The number of the first access."""
        return self.body[0].first

    def text(self, indent: str = "") -> Iterator[str]:
        yield f"{indent}repeat × {self.times}:"
        for each in self.body:
            yield from each.text(indent + INDENT)


Item = Union[Line, Repeat]


def texts(items: Sequence[Item]) -> list[str]:
    """The lines of a file."""
    return [line for item in items for line in item.text()]


def repeats(items: Sequence[Item]) -> list[Repeat]:
    """Those that are not in others."""
    return [item for item in items if isinstance(item, Repeat)]


def flat(items: Sequence[Item]) -> Iterator[Line]:
    """The lines of accesses that were made, round by round."""
    for item in items:
        if isinstance(item, Line):
            yield item
        else:
            for _ in range(int(item.times)):
                yield from flat(item.body)


# -- finding them -------------------------------------------------------------------------------------------------


def fold(lines: Sequence[Line]) -> list[Item]:
    """Lines with what repeats written once; of several ways the one that says most with a round, then the shortest."""
    numbers: dict[Any, int] = {}
    keys = [numbers.setdefault(line.key, len(numbers)) for line in lines]
    items: list[Item] = []
    at = 0
    while at < len(lines):
        length, rounds = _round_at(keys, at)
        if rounds < LEAST_ROUNDS:
            items.append(lines[at])
            at += 1
            continue
        body = [_with_all_places(lines[at + n : at + length * rounds : length]) for n in range(length)]
        items.append(Repeat(tuple(fold(body)), rounds))
        at += length * rounds
    return items


def _round_at(keys: Sequence[int], at: int) -> tuple[int, int]:
    """(lines of a round, rounds)."""
    best, count = (1, 1), len(keys)
    for length in range(2, min(LONGEST_ROUND, (count - at) // LEAST_ROUNDS) + 1):
        end = at + length
        while end < count and keys[end] == keys[end - length]:
            end += 1
        rounds = (end - at) // length
        if rounds >= LEAST_ROUNDS and length * rounds > best[0] * best[1]:
            best = length, rounds
    return best


def _with_all_places(lines: Sequence[Line]) -> Line:
    return lines[0]._replace(places=tuple(dict.fromkeys(place for line in lines for place in line.places)))


# -- what fits ------------------------------------------------------------------------------------------------------


class Matcher:
    """Where in a list of accesses the lines of a recording can end."""

    def __init__(self, accesses: Sequence[Made]) -> None:
        self._accesses = accesses
        self.furthest = 0
        """How many accesses the recording has explained at most."""

    def after(self, item: Item, reach: Sequence[int]) -> list[int]:
        """The ends, in order, for the starts `reach`, in order; empty: it doesn't fit."""
        ends = self._after_line(item, reach) if isinstance(item, Line) else self._after_rounds(item, reach)
        self.furthest = max(self.furthest, ends[-1] if ends else 0)
        return ends

    def _round(self, body: Sequence[Item], reach: Sequence[int]) -> list[int]:
        found = list(reach)
        for item in body:
            if not found:
                break
            found = self.after(item, found)
        return found

    def _after_rounds(self, item: Repeat, reach: Sequence[int]) -> list[int]:
        found = list(reach)
        for _ in range(least(item.times)):
            before, found = found, self._round(item.body, found)
            if not found or found == before:
                break
        if not isinstance(item.times, str):
            return found
        seen, new = set(found), found
        while new:
            new = [each for each in self._round(item.body, new) if each not in seen]
            seen.update(new)
        return sorted(seen)

    def _after_line(self, line: Line, reach: Sequence[int]) -> list[int]:
        accesses = self._accesses
        fits = (line.head, line.value) if line.value != ANY_VALUE else None
        fewest, largest = least(line.times), most(line.times)
        after: set[int] = set()
        runs: dict[int, int] = {}
        ends: dict[int, int] = {}
        for start in reversed(reach):
            end = start
            stop = len(accesses) if isinstance(line.times, str) else min(len(accesses), start + line.times)
            while end < stop and (accesses[end] == fits if fits else accesses[end][0] == line.head):
                end += 1
                if end in runs:
                    end = runs[end]
                    break
            runs[start] = end
            last = int(min(end, start + largest))
            self.furthest = max(self.furthest, last)
            if last - start >= fewest:
                open_ended = isinstance(line.times, str) and end in ends  # those from `ends[end]` on are there already
                after.update(range(start + fewest, (ends[end] + fewest if open_ended else last + 1)))
                ends[end] = start
        return sorted(after)


def longest_round(body: Sequence[Item], accesses: Sequence[Made], start: int) -> Optional[int]:
    """Where a round that begins at `start` can end at most; None where none begins."""
    ends = Matcher(accesses)._round(body, [start])
    return ends[-1] if ends and ends[-1] > start else None
