"""Debugging information that asks for more work than it is worth: each loop over it is charged, and done once."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest

from machine.observe.elffile import TooMuch, Work
from machine.observe.lineprogram import Cursor
from machine.observe.units import Units

STEPS = 1 << 20


def unit(code: int, values: bytes = b"", abbrev: int = 0) -> bytes:
    """A unit of version 4 whose first entry has this abbreviation."""
    body = struct.pack("<HIB", 4, abbrev, 8) + bytes((code & 0x7F | 0x80, code >> 7)) + values
    return struct.pack("<I", len(body)) + body


def empty_abbreviations(count: int) -> bytes:
    """Numbers 1 to `count`, without attributes."""
    return b"".join(bytes((n & 0x7F | 0x80, n >> 7, 0x11, 0, 0, 0)) for n in range(1, count + 1)) + b"\0"


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where a LEB128 was read."""
    places: list[int] = []
    read = Cursor.uleb

    def uleb(cursor: Cursor) -> int:
        places.append(cursor.at)
        return read(cursor)

    monkeypatch.setattr(Cursor, "uleb", uleb)
    return places


def test_a_table_of_abbreviations_is_read_once(numbers: list[int]) -> None:
    """Each unit has another one of them, and they have no attributes."""
    count = 300
    info = b"".join(unit(1 + n) for n in range(count))
    work = Work(STEPS)
    units = Units(info, empty_abbreviations(count), b"", work)
    assert len(list(units)) == count
    assert len(numbers) <= 5 * count
    assert work.left <= STEPS - count * (8 + 1)


def test_an_abbreviation_that_is_not_there(numbers: list[int]) -> None:
    """It is searched for once, and that is charged."""
    work = Work(STEPS)
    units = Units(unit(2000) + unit(3000), empty_abbreviations(1000), b"", work)
    with pytest.raises(ValueError):
        units.unit(0)
    assert work.left <= STEPS - 1000
    numbers.clear()
    for at in (0, len(unit(2000))):
        with pytest.raises(ValueError):
            units.unit(at)
    assert len(numbers) == 2


def test_a_table_that_breaks_off_is_read_once(numbers: list[int]) -> None:
    units = Units(unit(2000), empty_abbreviations(1000)[:-4], b"", Work(STEPS))
    with pytest.raises(IndexError):
        units.unit(0)
    numbers.clear()
    with pytest.raises(ValueError):
        units.unit(0)
    assert len(numbers) == 1


def test_searching_for_abbreviations_is_bounded() -> None:
    """Tables that begin within one another."""
    units = Units(b"".join(unit(5000, abbrev=6 * n) for n in range(1000)), empty_abbreviations(1000), b"", Work(10000))
    with pytest.raises(TooMuch):
        for at in range(0, 1000 * len(unit(1)), len(unit(1))):
            with suppress(ValueError):
                units.unit(at)
