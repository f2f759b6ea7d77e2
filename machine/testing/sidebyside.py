"""A recording beside what was made: the difference, and what `--nopage-update` writes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple, Optional

from machine.testing.loops import ANY_VALUE, Item, Line, Repeat, fold, least, longest_round, most, repeats, texts

Key = tuple[Any, ...]


class _Entry(NamedTuple):
    """What was made, as an item of the recording stands for it."""

    key: Key
    items: tuple[Item, ...]
    first: int
    """The number of its first access."""
    end: int
    """The number of the access behind it."""


def _key(item: Item) -> Key:
    times = "any" if isinstance(item.times, str) else item.times
    return (*item.key[:-1], times)


# -- what was made, in the recording's words -------------------------------------------------------------------


def _entries(kept: Sequence[Item], made: Sequence[Line]) -> list[_Entry]:
    """What was made, under the keys of the items of the recording that fit."""
    wanted = {repeat.key: repeat for repeat in repeats(kept)}
    if not wanted:
        return _line_entries(kept, made)
    single = [line._replace(times=1, first=line.first + n) for line in made for n in range(int(line.times))]
    accesses = [(line.head, line.value) for line in single]
    keys = {_key(item) for item in kept}
    entries: list[_Entry] = []
    start = at = 0
    while at < len(single):
        claims = [(*_rounds(repeat, accesses, at), repeat) for repeat in wanted.values()]
        end, rounds, repeat = max(claims, key=lambda claim: claim[0])
        if end == at or (rounds == 1 and repeat.times not in (1, "*", "+")):
            at += 1
            continue
        entries += _line_entries(kept, _runs(single[start:at]))
        exact = repeat._replace(times=rounds)
        open_key = (*exact.key[:-1], "any")
        key = open_key if exact.key not in keys and open_key in keys else exact.key
        walked = _walk(exact, single[:end], at)
        shown = walked[1] if walked is not None and walked[0] == end else exact
        entries.append(_Entry(key, (shown,), at, end))
        start = at = end
    return entries + _line_entries(kept, _runs(single[start:]))


def _rounds(repeat: Repeat, accesses: Sequence[tuple[str, str]], start: int) -> tuple[int, int]:
    """(end, how many) of the rounds that begin at `start`."""
    rounds, at = 0, start
    while (end := longest_round(repeat.body, accesses, at)) is not None:
        rounds, at = rounds + 1, end
    return at, rounds


def _runs(single: Sequence[Line]) -> list[Line]:
    """Accesses, those alike as one line again."""
    lines = []
    for _, group in groupby(single, key=lambda line: line[:2]):
        alike = list(group)
        lines.append(alike[0]._replace(times=len(alike), places=_all_places(alike)))
    return lines


def _line_entries(kept: Sequence[Item], made: Sequence[Line]) -> list[_Entry]:
    """Of accesses that no repeat of the recording stands for."""
    keys = {_key(item) for item in kept}
    plain = {item[:2] for item in kept if isinstance(item, Line)}
    entries = []
    for (head, value), group in groupby(made, key=lambda line: _value_key(line, plain)):
        lines = tuple(group)
        count = sum(int(line.times) for line in lines)
        exact = head, value, count
        key = exact if exact in keys or (head, value, "any") not in keys else (head, value, "any")
        entries.append(_Entry(key, lines, lines[0].first, lines[0].first + count))
    return entries


def _value_key(line: Line, plain: set[tuple[Any, ...]]) -> tuple[str, str]:
    star = line.head, ANY_VALUE
    return star if star in plain and line[:2] not in plain else (line.head, line.value)


# -- places of today -----------------------------------------------------------------------------------------------


def _walk(item: Item, single: Sequence[Line], at: int) -> Optional[tuple[int, Item]]:
    """(where it ends, the item with the places of what it stands for), taking as much as it can.  None: no fit."""
    start = at
    if isinstance(item, Line):
        while at < len(single) and at - start < most(item.times) and single[at].head == item.head and (
            item.value in (ANY_VALUE, single[at].value)
        ):  # fmt: skip
            at += 1
        if at - start < least(item.times):
            return None
        return at, item._replace(places=_all_places(single[start:at])) if at > start else item
    rounds, body = 0, list(item.body)
    while rounds < most(item.times):
        walked = _walk_all(item.body, single, at)
        if walked is None or walked[0] == at:
            break
        body = walked[1] if not rounds else [_both(*pair) for pair in zip(body, walked[1], strict=True)]
        at, rounds = walked[0], rounds + 1
    return None if rounds < least(item.times) else (at, item._replace(body=tuple(body)))


def _walk_all(items: Sequence[Item], single: Sequence[Line], at: int) -> Optional[tuple[int, list[Item]]]:
    found = []
    for item in items:
        walked = _walk(item, single, at)
        if walked is None:
            return None
        at = walked[0]
        found.append(walked[1])
    return at, found


def _both(one: Item, other: Any) -> Item:
    """The places of both."""
    if isinstance(one, Line):
        return one._replace(places=tuple(dict.fromkeys(one.places + other.places)))
    return one._replace(body=tuple(_both(*pair) for pair in zip(one.body, other.body, strict=True)))


def _all_places(lines: Sequence[Line]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(place for line in lines for place in line.places))


# -- the two of them -----------------------------------------------------------------------------------------------


def updated(kept: Sequence[Item], made: Sequence[Line], *, fits: bool) -> list[Item]:
    """What was made, with what the recording leaves open left open."""
    if fits:  # the places of today, as far as it is clear which access is whose
        single = [line._replace(times=1) for line in made for _ in range(int(line.times))]
        walked = _walk_all(kept, single, 0)
        return walked[1] if walked is not None and walked[0] == len(single) else list(kept)
    entries = _entries(kept, made)
    items: list[Item] = []
    for kind, i1, i2, j1, j2 in _matcher(kept, entries).get_opcodes():
        if kind == "equal":
            items += [_kept_open(old, new) for old, new in zip(kept[i1:i2], entries[j1:j2], strict=True)]
        else:
            items += _folded(entries[j1:j2])
    return items


def _kept_open(old: Item, new: _Entry) -> Item:
    if isinstance(old, Line):
        return old._replace(places=_all_places([each for each in new.items if isinstance(each, Line)]))
    shown = new.items[0]
    return shown._replace(times=old.times) if isinstance(shown, Repeat) else old


def _folded(entries: Sequence[_Entry]) -> list[Item]:
    """With what repeats, and is new, written once."""
    items: list[Item] = []
    lines: list[Line] = []
    for item in (item for each in entries for item in each.items):
        if isinstance(item, Line):
            lines.append(item)
        else:
            items += [*fold(lines), item]
            lines.clear()
    return items + fold(lines)


def _matcher(kept: Sequence[Item], entries: Sequence[_Entry]) -> difflib.SequenceMatcher[Any]:
    return difflib.SequenceMatcher(None, [_key(item) for item in kept], [each.key for each in entries], autojunk=False)


def diff(kept: Sequence[Item], made: Sequence[Line]) -> list[str]:
    """As `diff -u` has it; lines that differ in what is not compared count as equal."""
    entries = _entries(kept, made)
    lines: list[str] = []
    for group in _matcher(kept, entries).get_grouped_opcodes(3):
        lines.append(f"@@ access {_number(entries, group[0][3])} @@")
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                lines += [f"  {line}" for each in entries[j1:j2] for line in texts(each.items)]
            else:
                lines += [f"- {line}" for line in texts(kept[i1:i2])]
                lines += [f"+ {line}" for line in texts(_folded(entries[j1:j2]))]
    return lines


def _number(entries: Sequence[_Entry], index: int) -> int:
    """Which access an entry begins with."""
    if index < len(entries):
        return entries[index].first
    return entries[-1].end if entries else 0
