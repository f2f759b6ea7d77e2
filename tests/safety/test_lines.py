"""Debugging information that asks for more work than it is worth: each loop over it is charged, and done once."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest

from machine.observe.elffile import TooMuch, Work
from machine.observe.lineprogram import Cursor, LineProgram
from machine.observe.units import Units

STEPS, MiB = 1 << 20, 1 << 20


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


# -- loops that cost nothing once ----------------------------------------------------------------------


def test_a_form_that_is_indirect_again() -> None:
    work = Work(1000)
    units = Units(unit(1, b"\x16" * 10000), bytes((1, 0x11, 0, 0x10, 0x16, 0, 0, 0)), b"", work)
    with pytest.raises(TooMuch):
        units.unit(0)


def test_sets_of_no_addresses() -> None:
    work = Work(1000)
    with suppress(TooMuch):
        Units(unit(1), empty_abbreviations(1), bytes(40000), work)
    assert work.left < 0


def test_units_share_a_long_string() -> None:
    """Each of them passes over the others in a block, to the name of its directory."""
    size, count = MiB, 100
    abbrev = bytes((1, 0x11, 0, 0x02, 0x04, 0x1B, 0x08, 0, 0, 0))
    each = len(unit(1, bytes(4)))
    info = b"".join(unit(1, struct.pack("<I", (count - 1 - n) * each)) for n in range(count)) + b"A" * size + b"\0"
    work = Work(count * size // 64)
    units = Units(info, abbrev, b"", work)
    with pytest.raises(TooMuch):
        for n in range(count):
            units.unit(n * each)


def line_program(tables: bytes, body: bytes = b"", operands: int = 0, skipped: int = 0) -> bytes:
    """A program of version 4, whose opcode 10 has so many operands and whose body begins so much later."""
    start = bytes((1, 1, 1, 0xFB, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, operands, 0, 1)) + tables
    rest = struct.pack("<HI", 4, len(start) + skipped) + start + body
    return struct.pack("<I", MiB if skipped else len(rest)) + rest


def steps_of(section: bytes, at: int = 0) -> int:
    """What the program there costs, but for its last opcode."""
    work = Work(STEPS)
    LineProgram(section, at, "", lambda form, place: b"", work).run([])
    return STEPS - work.left


def test_operands_are_charged() -> None:
    """255 of each opcode: 8 of them a step."""
    count = 100
    assert steps_of(line_program(b"\0\0", (b"\x0a" + bytes(255)) * count, 255)) >= (count - 1) * 256 // 8
    assert steps_of(line_program(b"\0\0", b"\3\1" * count)) <= count


def test_what_a_vendor_adds_costs_nothing() -> None:
    """However long it is."""
    vendor = b"\0" + bytes((0xFF, 0xFF, 3)) + b"\x80" + bytes(0xFFFE)
    assert len(vendor) == 4 + 0xFFFF and steps_of(line_program(b"\0\0", vendor * 3)) < 20


def test_programs_share_a_body() -> None:
    body, header = (b"\x0a" + bytes(255)) * 100, len(line_program(b"\0\0"))
    section = b"".join(line_program(b"\0\0", operands=255, skipped=(7 - n) * header) for n in range(8))
    section = section[: 7 * header] + line_program(b"\0\0", body, 255)
    assert all(steps_of(section, n * header) >= (len(body) - 256) // 8 for n in range(8))


def test_a_path_is_charged_as_it_is_written() -> None:
    """And not as it is without its dots."""
    tables = b"a/../" * 800 + b"\0\0" + b"x\0\1\0\0" * 100 + b"\0"
    assert steps_of(line_program(tables)) >= 100 * 4000 // 64


def test_a_header_is_charged() -> None:
    """Programs may lie in one another."""
    opcodes = bytes((1, 1, 1, 0xFB, 14, 255)) + bytes(254) + b"\0\0"
    rest = struct.pack("<HI", 4, len(opcodes)) + opcodes
    assert steps_of(struct.pack("<I", len(rest)) + rest) >= 255 // 8
    fields = b"\xff" + b"\x01\x0b" * 255 + b"\0"
    rest = struct.pack("<HBBI", 5, 8, 0, 6 + 1024) + bytes((1, 1, 1, 0xFB, 14, 1)) + fields * 2
    assert steps_of(struct.pack("<I", len(rest)) + rest) >= 2 * 255
