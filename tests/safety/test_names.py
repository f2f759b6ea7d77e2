"""ELF files that lie to who makes names of them: the line about a crash, --faults, --report, --cov, gdb's questions."""

from __future__ import annotations

import random
import struct
import subprocess
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from machine import Machine
from machine.observe import symbols, unwind
from machine.observe.coverage import Coverage
from machine.observe.covformats import cobertura, lcov
from machine.observe.faults import area_text
from machine.observe.symbols import ElfSymbols, Symbols
from tests.conftest import build

MiB = 1 << 20
BASE, CODE = 0x400000, 0x1000
PROGBITS, SYMTAB, STRTAB, NOBITS = 1, 2, 3, 8
COMPRESSED = 0x800
Row = tuple[str, int, int, bytes, int]
"""(name, type, flags, contents, size) of a section."""


def elf(
    *sections: Row,
    strings: bytes = b"\0main\0",
    symbols: Sequence[tuple[int, int]] = ((1, CODE),),
    code: bytes = b"\x8b\0",
    flags: int = 6,
) -> bytes:
    """An x86-64 program of one instruction, at `BASE + CODE`; `symbols` are (where the name is, offset of the code),
    `flags` those of .text."""
    table = b"\0" * 24 + b"".join(struct.pack("<IBBHQQ", name, 2, 0, 1, BASE + at, 1) for name, at in symbols)
    text = (".text", PROGBITS, flags, code, len(code))
    rows: list[Row] = [("", 0, 0, b"", 0), text, (".symtab", SYMTAB, 0, table, 0), (".strtab", STRTAB, 0, strings, 0),
                       *sections]  # fmt: skip
    names = b"".join(row[0].encode() + b"\0" for row in rows) + b".shstrtab\0"
    rows.append((".shstrtab", STRTAB, 0, names, 0))
    body, headers, name_at = bytearray(CODE), b"", 0
    for name, kind, flags, contents, size in rows:
        address = BASE + CODE if name == ".text" else 0
        headers += struct.pack(
            "<IIQQQQIIQQ", name_at, kind, flags, address, len(body), size or len(contents), 3, 0, 1, 24
        )
        name_at += len(name) + 1
        body += contents
    body[:64] = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, BASE + CODE, 64, len(body), 0, 64, 56, 1, 64, len(rows), len(rows) - 1
    )
    body[64:120] = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, len(body), len(body), 0x1000)
    return bytes(body) + headers


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Python's memory grows by less than that."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def where(program: bytes) -> str:
    return str(Symbols(lambda path: program).locate(BASE + CODE, ("/p", BASE, 0)))


@pytest.mark.parametrize("name", [".debug_info", ".debug_line", ".eh_frame", ".strtab", ".dynsym"])
@pytest.mark.parametrize("kind", [NOBITS, PROGBITS])
def test_a_section_without_its_bytes(name: str, kind: int) -> None:
    """Half a gigabyte of zeros, or behind the end of the file."""
    bad = (name, kind, 0, b"", 512 * MiB)
    with at_most(16 * MiB):
        assert where(elf(bad)) == "main"


def test_a_compressed_section_is_bounded() -> None:
    packed = struct.pack("<IIQQ", 1, 0, 300 * MiB, 1) + zlib.compress(bytes(300 * MiB))
    bad = elf((".debug_info", PROGBITS, COMPRESSED, packed, 0), (".debug_line", PROGBITS, 0, b"x", 0))
    with at_most(16 * MiB):
        assert where(bad) == "main"


def test_inflated_sections_are_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files that grow a thousandfold when somebody asks, a few are kept."""
    monkeypatch.setattr(symbols, "KEPT", 40 * MiB)
    one_unit = struct.pack("<I", 16 * MiB - 4).ljust(16 * MiB, b"\0")
    packed = b"ZLIB" + len(one_unit).to_bytes(8, "big") + zlib.compress(one_unit)
    bad = elf((".zdebug_info", PROGBITS, 0, packed, 0), (".debug_line", PROGBITS, 0, b"x", 0))
    one = ElfSymbols(bad)
    before = one.weight()
    assert one.line(BASE + CODE) == ("", 0) and one.weight() >= before + 16 * MiB
    del one
    known = Symbols(lambda path: bad)
    with at_most(80 * MiB):
        for n in range(10):
            assert str(known.locate(BASE + CODE, (f"/p{n}", BASE, 0))) == "main"


def test_sections_do_not_lie_on_one_another() -> None:
    """Each of them the whole file."""
    program = elf(*((f".debug_{name}", PROGBITS, 0, b"", 8 * MiB) for name in ("info", "line", "abbrev", "str")))
    whole = program.ljust(9 * MiB, b"\0")
    with at_most(24 * MiB):
        assert where(whole) == "main"


def test_names_that_share_their_bytes() -> None:
    """1500 symbols whose names are the ends of one string."""
    strings = b"\0" + b"A" * (MiB + 1500) + b"\0"
    program = elf(strings=strings, symbols=[(1 + n, CODE + n % 700) for n in range(1500)])
    with at_most(16 * MiB):
        text = where(program)
    assert text.startswith("AAAA") and "..." in text and len(text) < 300


def test_a_path_in_a_line_is_cut() -> None:
    assert len(area_text(f"7ffff7ff8000-7ffff7ff9000 r--p 00000000 00:00 0 /{'d/' * MiB}x")) < 400


# -- debugging information ----------------------------------------------------------------------------

ABBREV = bytes((1, 0x11, 0, 0x10, 0x17, 0, 0, 0))
"""A unit whose only attribute is DW_AT_stmt_list."""


def unit(program_at: int) -> bytes:
    body = struct.pack("<HIB", 4, 0, 8) + b"\1" + struct.pack("<I", program_at)
    return struct.pack("<I", len(body)) + body


def with_lines(header: bytes, program: bytes, version: int = 4, units: bytes = b"") -> bytes:
    """A file with a line program whose header has these tables."""
    start = bytes((1, 1, 1, 0xFB, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1)) + header
    body = struct.pack("<I", len(start)) + start + program
    body = struct.pack("<H", version) + (b"\x08\0" if version >= 5 else b"") + body
    line = struct.pack("<I", len(body)) + body
    return elf(
        (".debug_info", PROGBITS, 0, units or unit(0), 0),
        (".debug_abbrev", PROGBITS, 0, ABBREV, 0),
        (".debug_line", PROGBITS, 0, line, 0),
    )


SET_ADDRESS = b"\0\x09\2" + struct.pack("<Q", BASE + CODE)


def test_a_line_program_is_read() -> None:
    """The file that the next tests spoil."""
    program = with_lines(b"\0a.c\0\0\0\0\0", SET_ADDRESS + b"\1\x20\0\1\1")
    assert where(program) == "main a.c:1"


def test_spoiled_files() -> None:
    """Whatever a byte is: a name, or none."""
    rng = random.Random(5)
    whole = with_lines(b"\0a.c\0\0\0\0\0", SET_ADDRESS + b"\1\x20\0\1\1")
    found = set()
    for _ in range(1500):
        spoiled = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(whole)) if rng.random() < 0.1 else rng.randrange(CODE, len(whole))
            spoiled[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        found.add(where(bytes(spoiled)))
    assert {"main a.c:1", "main", ""} < found


def test_a_line_program_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows without end: the first ones are kept; numbers of units that run the same program are one."""
    monkeypatch.setattr(symbols, "LINES_WORK", 10000)
    program = with_lines(b"\0a.c\0\0\0\0\0", SET_ADDRESS + b"\1" + b"\x20" * 100000, units=unit(0) * 1000)
    read = ElfSymbols(program)
    assert 8000 < len(read.all_lines()) <= 10000
    assert read.line(BASE + CODE)[0] == "a.c"


def test_a_table_of_files_of_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """DWARF 5 lets a header say 2^60 entries of no fields."""
    monkeypatch.setattr(symbols, "LINES_WORK", 10000)
    header = b"\0" + b"\xff" * 8 + b"\x0f"
    assert where(with_lines(header, SET_ADDRESS + b"\1", version=5)) == "main"


def test_call_frames_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwind, "FRAMES_WORK", 1000)
    body = struct.pack("<I", 0) + b"\1\0\1\x78\x10" + bytes(100000)
    frames = struct.pack("<I", len(body)) + body
    table = unwind._Table(ElfSymbols(elf((".eh_frame", PROGBITS, 2, frames, 0))).file)
    assert table.row(BASE + CODE) is None


@pytest.mark.parametrize("how", ["--compress-debug-sections=zlib", "--compress-debug-sections=zlib-gnu",
                                 "--only-keep-debug"])  # fmt: skip
def test_honest_files_are_read(tmp_path: Path, how: str) -> None:
    """Compressed sections, and the debugging information alone, whose .text has no bits."""
    source = tmp_path / "touch.c"
    source.write_text("int touch(void) { return 1; }\nint main(void) { return touch(); }\n")
    program = build(source, static=True, pie=False, flags=("-g", "-O0"))
    other = tmp_path / "other"
    subprocess.run(["objcopy", how, str(program), str(other)], check=True)
    plain, changed = ElfSymbols(program.read_bytes()), ElfSymbols(other.read_bytes())
    address = next(address for address, name in plain.functions() if name == "touch")
    assert changed.symbol(address) == ("touch", 0)
    assert changed.line(address) == plain.line(address) == (str(plain.line(address)[0]), 1)


def test_a_file_of_holes_is_not_read() -> None:
    """Its zeros cost the program nothing."""
    with Machine() as machine:
        result = machine.run(["/bin/sh", "-c", "truncate -s 900M /tmp/x; truncate -s 1M /tmp/y"])
        assert result.exit == 0
        assert len(machine.read_file("/tmp/y")) == MiB
        with at_most(16 * MiB), pytest.raises(OSError, match="too large"):
            machine.read_file("/tmp/x")


def test_names_of_sources_in_coverage() -> None:
    """Debugging information is the program's: a line of it is no record of ours."""
    coverage = Coverage()
    path = "a\nend_of_record\nSF:/etc/passwd\x1b"
    coverage.line(path, 1, 1)
    coverage.function(path, "f\nDA:1,99", 1, 1)
    text = lcov(coverage)
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        "TN", "SF", "FN", "FNDA", "FNF", "FNH", "DA", "LF", "LH", "end_of_record",
    ]  # fmt: skip
    assert text.replace("\n", "").isprintable()
    root = ElementTree.fromstring(cobertura(coverage))
    assert [each.get("filename") for each in root.iter("class")] == ["a\\x0aend_of_record\\x0aSF:/etc/passwd\\x1b"]
