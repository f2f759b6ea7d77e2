"""DWARF's units as far as their lines need them (versions 2 to 5): where a unit's line program is, who has an address.

pyelftools reads every abbreviation of every unit for that, some thousand steps each; the first one is nearly always it.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple, Optional, Union

from machine.observe.elffile import TooMuch, Work
from machine.observe.lineprogram import DW_FORM_STRP, Cursor

_DW_AT_STMT_LIST, _DW_AT_COMP_DIR, _DW_AT_STR_OFFSETS_BASE = 0x10, 0x1B, 0x72
_DW_UT_TYPE, _DW_UT_SKELETON, _DW_UT_SPLIT_COMPILE, _DW_UT_SPLIT_TYPE = 2, 4, 5, 6
_DW_FORM_ADDR, _DW_FORM_STRING, _DW_FORM_INDIRECT, _DW_FORM_IMPLICIT_CONST = 0x01, 0x08, 0x16, 0x21
_FIXED = {0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x1C: 4, 0x1E: 16,
          0x20: 8, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4}  # fmt: skip
_BLOCKS = {0x03: 2, 0x04: 4, 0x0A: 1}
"""Bytes of the length before a block; those of the next have a LEB128."""
_LEB_BLOCKS = (0x09, 0x18)
_LEBS = (0x0D, 0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23, 0x1F01, 0x1F02)
_OFFSETS = (0x0E, 0x10, 0x17, 0x1D, 0x1F, 0x1F20, 0x1F21)
_STRX = (0x1A, 0x25, 0x26, 0x27, 0x28)
Value = Union[int, bytes]
SENSELESS = (IndexError, ValueError, ZeroDivisionError)
"""What the readers raise where debugging information makes no sense."""
_HEADER_STEPS, _ABBREVIATION_STEPS = 8, 2
"""For a unit, or a set of addresses, and for an abbreviation; whatever is in them comes on top."""


class Unit(NamedTuple):
    """What the first entry of a unit says; `place` is (form, value) of the compiler's directory."""

    program: Optional[int]
    place: tuple[int, Value]
    str_offsets: int
    word: int


class _Abbreviations:
    """One table of .debug_abbrev, read once, as far as somebody has asked for: the first one is nearly always it."""

    def __init__(self, data: bytes, at: int, work: Work) -> None:
        self._cursor, self._work = Cursor(data, at, work), work
        self._known: dict[int, tuple[tuple[int, int], ...]] = {}
        self._ended = False

    def pairs(self, code: int) -> tuple[tuple[int, int], ...]:
        """(attribute, form) of an abbreviation.  ValueError where it is not there, IndexError, TooMuch."""
        while code not in self._known:
            if self._ended:
                raise ValueError("an abbreviation that is not there")
            self._read_one()
        return self._known[code]

    def _read_one(self) -> None:
        self._ended = True  # and nobody reads on from within one that makes no sense
        self._work.charge(_ABBREVIATION_STEPS)
        number = self._cursor.uleb()
        if number:
            self._cursor.uleb()
            self._cursor.skip(1)
            self._known.setdefault(number, tuple(self._read_pairs()))
            self._ended = False

    def _read_pairs(self) -> Iterator[tuple[int, int]]:
        cursor = self._cursor
        while (pair := (cursor.uleb(), cursor.uleb())) != (0, 0):
            self._work.charge(1)
            if pair[1] == _DW_FORM_IMPLICIT_CONST:
                cursor.sleb()
            yield pair


class Units:
    """The units of one file, in .debug_info; `abbrev` and `aranges` are the sections of these names.

    Sets of addresses are taken as far as they make sense.
    """

    def __init__(
        self,
        info: bytes,
        abbrev: bytes,
        aranges: bytes,
        work: Work,
        is_code: Callable[[int], bool] = lambda address: True,
    ) -> None:
        self._info, self._abbrev, self._work = info, abbrev, work
        self._tables: dict[int, _Abbreviations] = {}
        """By their place in .debug_abbrev."""
        self._ranges: list[tuple[int, int, int]] = []
        with suppress(TooMuch, *SENSELESS):
            for each in self._read_ranges(aranges):
                if is_code(each[0]):  # the rest is of what the linker has removed
                    self._ranges.append(each)
        self._ranges.sort()
        self._starts = [each[0] for each in self._ranges]

    # -- by address -------------------------------------------------------------------------------

    def _read_ranges(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """(start, end, the unit's offset): DWARF 5 §6.1.2."""
        cursor = Cursor(data, 0, self._work)
        while cursor.at < len(data):
            self._work.charge(_HEADER_STEPS)
            start = cursor.at
            length, word = cursor.length()
            end = min(cursor.at + length, len(data))
            cursor.at += 2
            unit, size, segment = cursor.number(word), cursor.number(1), cursor.number(1)
            form = {4: "<II", 8: "<QQ"}.get(size)
            if form is not None and not segment:
                first = cursor.at + (start - cursor.at) % (2 * size)  # aligned, from the beginning of the set
                count = max(0, end - first) // (2 * size) * 2 * size
                for address, many in struct.iter_unpack(form, data[first : first + count]):
                    self._work.charge(1)
                    if many:
                        yield address, address + many, unit
            cursor.at = end

    def at(self, address: int) -> Optional[int]:
        """The offset of the unit that has an address; None where the file does not say it."""
        index = bisect_right(self._starts, address) - 1
        return self._ranges[index][2] if index >= 0 and address < self._ranges[index][1] else None

    # -- units ------------------------------------------------------------------------------------

    def offsets(self) -> Iterator[int]:
        """Where the units begin, as far as their lengths lead: what is in one of them says nothing about the next."""
        cursor = Cursor(self._info, 0, self._work)
        with suppress(IndexError):
            while cursor.at < len(self._info):
                yield cursor.at
                cursor.skip(cursor.length()[0])

    def unit(self, at: int) -> Unit:
        """The unit whose header is there.  `SENSELESS`, TooMuch."""
        self._work.charge(_HEADER_STEPS)
        cursor = Cursor(self._info, at, self._work)
        _, word = cursor.length()
        version = cursor.number(2)
        kind = cursor.number(1) if version >= 5 else 0
        size = cursor.number(1) if version >= 5 else 0
        abbrev = cursor.number(word)
        size = size or cursor.number(1)
        cursor.at += 8 * (kind in (_DW_UT_SKELETON, _DW_UT_SPLIT_COMPILE))
        cursor.at += (8 + word) * (kind in (_DW_UT_TYPE, _DW_UT_SPLIT_TYPE))
        code = cursor.uleb()
        found = dict(self._values(cursor, abbrev, code, size, word)) if code else {}
        program, base = found.get(_DW_AT_STMT_LIST, (0, None))[1], found.get(_DW_AT_STR_OFFSETS_BASE, (0, 8))[1]
        place = found.get(_DW_AT_COMP_DIR, (_DW_FORM_STRING, b""))
        return Unit(program if isinstance(program, int) else None, place, base if isinstance(base, int) else 8, word)

    def _values(
        self, cursor: Cursor, abbrev: int, code: int, size: int, word: int
    ) -> Iterator[tuple[int, tuple[int, Value]]]:
        """(attribute, (form, value)) of an entry."""
        if abbrev not in self._tables:
            self._tables[abbrev] = _Abbreviations(self._abbrev, abbrev, self._work)
        for attribute, form in self._tables[abbrev].pairs(code):
            self._work.charge(1)
            while form == _DW_FORM_INDIRECT:  # which may be indirect again
                self._work.charge(1)
                form = cursor.uleb()
            yield attribute, (form, _value(cursor, form, size, word))

    # -- names --------------------------------------------------------------------------------------

    def place_of(self, unit: Unit, str_offsets: bytes) -> tuple[int, Value]:
        """(form, value) of the compiler's directory: a name, or an offset in .debug_str or .debug_line_str."""
        form, value = unit.place
        if form in _STRX and isinstance(value, int):
            cursor = Cursor(str_offsets, unit.str_offsets + value * unit.word, self._work)
            return DW_FORM_STRP, cursor.number(unit.word)
        return form, value


def _value(cursor: Cursor, form: int, size: int, word: int) -> Value:
    """The value of a form; 0 for blocks and the like, that are passed over."""
    if form in _FIXED:
        return cursor.number(_FIXED[form])
    if form in _OFFSETS:
        return cursor.number(word)
    if form in _LEBS:
        return cursor.uleb()
    if form == _DW_FORM_STRING:
        return cursor.string()
    if form == _DW_FORM_ADDR:
        return cursor.number(size)
    if form in _BLOCKS:
        cursor.skip(cursor.number(_BLOCKS[form]))
    elif form in _LEB_BLOCKS:
        cursor.skip(cursor.uleb())
    elif form != _DW_FORM_IMPLICIT_CONST:
        raise ValueError(f"a form {form:#x}")
    return 0
