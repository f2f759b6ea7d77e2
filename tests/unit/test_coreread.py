"""`nopage core` of a file whose header lies: one line, soon, and without the memory that it asks for."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from machine import cli, coreread

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
IDENT = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
START = EHDR.size + PHDR.size


def core(
    offset: int, size: int, tail: bytes = b"", phnum: int = 1, phentsize: int = PHDR.size, shoff: int = 0
) -> bytes:
    """A core with one segment of notes."""
    head = EHDR.pack(IDENT, 4, 62, 1, 0, EHDR.size, shoff, 0, EHDR.size, phentsize, phnum, 64, 1 if shoff else 0, 0)
    return head + PHDR.pack(4, 0, offset, 0, 0, size, 0, 1) + tail


ONE_SECTION = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0xFFFF_FFF0, 0, 0)
"""The first section header: it has the number of segments where that is more than 16 bits (PN_XNUM)."""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (core(START, 1 << 62), "its notes end after the file"),
        (core((1 << 64) - 1, 8), "its notes end after the file"),
        (core(START, 100, b"x" * 99), "its notes end after the file"),
        (core(START, 0, ONE_SECTION, 0xFFFF, 0, START), "more program headers than the file has room for"),
        (core(START, 10, b"x" * 10), "unpack_from requires a buffer"),
    ],
)
def test_a_header_that_lies(data: bytes, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "core"
    path.write_bytes(data)
    assert cli.main(["core", str(path)]) == 125
    said = capsys.readouterr().err
    assert said.startswith(f"nopage: {path}: no ELF core, or a damaged one ({why}") and said.count("\n") == 1, said


def test_more_notes_than_there_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sparse file they cost nothing."""
    path = tmp_path / "core"
    path.write_bytes(core(START, 1 << 33))
    with open(path, "r+b") as file:
        file.truncate(1 << 34)
    assert cli.main(["core", str(path)]) == 125
    assert "(more than 16 MiB of notes)" in capsys.readouterr().err


def test_too_little_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def notes(_data: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(coreread, "_notes", notes)
    path = tmp_path / "core"
    path.write_bytes(core(START, 0))
    assert cli.main(["core", str(path)]) == 125
    assert capsys.readouterr().err == f"nopage: {path}: no ELF core, or a damaged one (MemoryError)\n"
