"""Debugging information that asks for more work than it is worth: each loop over it is charged, and done once."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import pytest

from machine.observe import symbols
from machine.observe.elffile import TooMuch, Work
from machine.observe.lineprogram import Cursor, LineProgram
from machine.observe.symbols import ElfSymbols
from machine.observe.units import Units
from tests.safety.test_names import BASE, CODE, COMPRESSED, PROGBITS, Row, elf

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
    assert len([units.unit(at) for at in units.offsets()]) == count
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


# -- one bad unit ----------------------------------------------------------------------------------------

ABBREV = bytes((1, 0x11, 0, 0x10, 0x17, 0, 0, 2, 0x11, 0, 0x1B, 0x0E, 0x10, 0x17, 0, 0, 3, 0x11, 0, 3, 0x7F, 0, 0))
ABBREV += bytes((4, 0x11, 0, 0x1B, 0x25, 0x10, 0x17, 0, 0, 0))
"""Units with a line program; with a directory in .debug_str; with a form that nobody knows; with DW_FORM_strx1."""


def rows_of(address: int, name: bytes) -> bytes:
    """A program with line 1 of a file, two bytes long."""
    body = b"\0\x09\2" + struct.pack("<Q", address) + b"\1\2\2\0\1\1"
    return line_program(b"\0" + name + b"\0\0\0\0\0", body)


FIRST, LAST = rows_of(BASE + CODE, b"first.c"), rows_of(BASE + CODE + 2, b"last.c")


def placed(offset: int) -> bytes:
    return struct.pack("<I", offset)


def with_unit(bad: bytes, *sections: Row, program: bytes = b"") -> ElfSymbols:
    """A unit for the first two bytes of code, a bad one, whose program this is, and one for the next two bytes."""
    info = unit(1, placed(0)) + bad + unit(1, placed(len(FIRST)))
    line = FIRST + LAST + program
    known = ((".debug_info", info), (".debug_abbrev", ABBREV), (".debug_line", line))
    return ElfSymbols(elf(*((name, PROGBITS, 0, data, 0) for name, data in known), *sections, code=bytes(9)))


def damaged(program: bytes, old: bytes, new: bytes) -> bytes:
    assert program.count(old) == 1
    return program.replace(old, new)


BAD_PROGRAM = unit(1, placed(len(FIRST + LAST)))
BAD_STRINGS = (".debug_str", PROGBITS, COMPRESSED, struct.pack("<IIQQ", 1, 0, 1000, 1) + b"no zlib", 0)
BAD_UNITS = {
    "no abbreviation": (unit(77), b""),
    "a form": (unit(3, bytes(8)), b""),
    "a strx without its section": (unit(4, b"\1" + placed(len(FIRST + LAST))), LAST),
    "nothing": (placed(0), b""),
    "a program behind the end": (unit(1, placed(0x10000)), b""),
    "a program that begins before its end": (unit(1, placed(len(FIRST + LAST))), b"\1\0"),
    "a program's version": (BAD_PROGRAM, damaged(FIRST, b"\0\0\4\0", b"\0\0\x09\0")),
    "line_range 0": (BAD_PROGRAM, damaged(line_program(b"\0\0", b"\x20"), b"\xfb\x0e\x0d", b"\xfb\0\x0d")),
    "a program that breaks off": (BAD_PROGRAM, line_program(b"\0\0", b"\2" + b"\xff" * 20)),
}


@pytest.mark.parametrize("bad", BAD_UNITS)
def test_one_bad_unit(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others have their lines, and nobody reads them again."""
    read = with_unit(BAD_UNITS[bad][0], program=BAD_UNITS[bad][1])
    places = [read.line(BASE + CODE + at) for at in range(5)]
    assert places == [("first.c", 1), ("first.c", 1), ("last.c", 1), ("last.c", 1), ("", 0)]
    monkeypatch.delattr(symbols, "LineProgram")
    assert read.line(BASE + CODE) == ("first.c", 1)
    assert len(read.all_lines()) >= 4


def test_a_unit_that_has_an_address_and_is_bad(numbers: list[int]) -> None:
    """It is parsed once."""
    first = len(unit(1, placed(0)))
    header = struct.pack("<HIBB4x", 2, first, 8, 0) + struct.pack("<QQQQ", BASE + CODE, 2, 0, 0)
    aranges = struct.pack("<I", len(header)) + header
    read = with_unit(unit(77), (".debug_aranges", PROGBITS, 0, aranges, 0))
    assert read.line(BASE + CODE) == ("", 0) and numbers
    numbers.clear()
    assert read.line(BASE + CODE) == ("", 0) and not numbers


@pytest.mark.parametrize("section", [
    (".debug_aranges", PROGBITS, 0, b"\1\2\3\4\5\6\7\x08\x09", 0),
    (".debug_aranges", PROGBITS, COMPRESSED, b"\1", 0),
    (".debug_str_offsets", PROGBITS, COMPRESSED, struct.pack("<IIQQ", 1, 0, 99, 1) + zlib.compress(b"x")[:-1], 0),
    BAD_STRINGS,
])  # fmt: skip
def test_one_bad_section(section: Row) -> None:
    """It is none: a unit whose directory was there has none, and the other units have theirs."""
    read = with_unit(unit(2, placed(5) + placed(len(FIRST + LAST))), section, program=rows_of(BASE + CODE + 4, b"x.c"))
    assert [read.line(BASE + CODE + at)[0] for at in (0, 2, 4)] == ["first.c", "last.c", "x.c"]


def test_of_a_sequence_that_breaks_off_the_last_row_is_one_byte() -> None:
    """Nobody knows how long it was to be."""
    program = rows_of(BASE + CODE + 8, b"x.c")[:-5] + b"\2" + b"\xff" * 20
    read = with_unit(BAD_PROGRAM, program=program)
    assert [read.line(BASE + CODE + at)[0] for at in (7, 8, 9)] == ["", "x.c", ""]


# -- code that the linker has removed ------------------------------------------------------------------


def uleb(value: int) -> bytes:
    """In five bytes."""
    return bytes((value >> 7 * n & 0x7F | (0x80 if n < 4 else 0)) for n in range(5))


def removed(size: int) -> bytes:
    """The program of a dead function: it begins at 0, where the linker has left it, and goes on over real code."""
    rows = b"\x01\2" + uleb(BASE + CODE + 1) + b"\x01\2" + uleb(size) + b"\0\1\1"
    return line_program(b"\0dead.c\0\0\0\0\0", b"\0\x09\2" + bytes(8) + rows)


def with_removed(aranges: bytes = b"", code: int = 6, segment: int = 5) -> ElfSymbols:
    info = unit(1, placed(0)) + unit(1, placed(len(FIRST)))
    known = {".debug_info": info, ".debug_abbrev": ABBREV, ".debug_line": FIRST + removed(100)}
    known[".debug_aranges"] = aranges
    data = elf(*((name, PROGBITS, 0, each, 0) for name, each in known.items() if each), flags=code)
    return ElfSymbols(data[:68] + bytes((segment,)) + data[69:])


def test_removed_code_has_no_lines() -> None:
    """In a position-independent program its addresses would be those of other code."""
    read = with_removed()
    assert [read.line(BASE + CODE + at) for at in range(4)] == [("first.c", 1), ("first.c", 1), ("", 0), ("", 0)]
    assert {name for _, _, name in read.all_lines()} == {"first.c"}
    assert read.line(0) == ("", 0)


def test_removed_code_has_no_addresses() -> None:
    """A range of it hides none of a unit whose compiler has written no ranges."""
    header = struct.pack("<HIBB4x", 2, len(unit(1, placed(0))), 8, 0) + struct.pack("<QQQQ", 0, 2 * BASE, 0, 0)
    read = with_removed(struct.pack("<I", len(header)) + header)
    assert read.line(BASE + CODE) == ("first.c", 1)


@pytest.mark.parametrize("segment, kept", [(5, {"first.c"}), (4, {"first.c", "dead.c"})])
def test_code_that_no_section_says(segment: int, kept: set[str]) -> None:
    """Then it is where the segments say it is, and without these anywhere."""
    assert {name for _, _, name in with_removed(code=2, segment=segment).all_lines()} == kept


def test_a_sequence_that_is_cut_short_may_be_of_removed_code() -> None:
    read = with_unit(BAD_PROGRAM, program=rows_of(0, b"x.c")[:-5] + b"\2" + b"\xff" * 20)
    assert {name for _, _, name in read.all_lines()} == {"first.c", "last.c"}
