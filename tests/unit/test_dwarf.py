"""What the readers of debugging information make of DWARF's rarer forms (DWARF 5 §7.5.6)."""

from __future__ import annotations

import struct

import pytest

from machine.observe.elffile import Work
from machine.observe.lineprogram import LineProgram
from machine.observe.units import Units

DW_AT_LOCATION, DW_AT_STMT_LIST = 0x02, 0x10
DW_FORM_SEC_OFFSET, DW_FORM_STRING, DW_FORM_BLOCK, DW_FORM_DATA1 = 0x17, 0x08, 0x09, 0x0B
DW_LNCT_PATH, DW_LNCT_DIRECTORY_INDEX, DW_LNCT_VENDOR = b"\x01", b"\x02", b"\x81\x40"


@pytest.mark.parametrize(
    "form, block",
    [
        (0x0A, b"\x03abc"),  # block1
        (0x03, b"\3\0abc"),  # block2
        (0x04, b"\3\0\0\0abc"),  # block4
        (0x09, b"\x83\0abc"),  # block
        (0x18, b"\x03abc"),  # exprloc
        (0x0A, b"\0"),
    ],
)
def test_a_block_is_passed_over(form: int, block: bytes) -> None:
    """With its length: what follows it is read from the right byte."""
    abbrev = bytes((1, 0x11, 0, DW_AT_LOCATION, form, DW_AT_STMT_LIST, DW_FORM_SEC_OFFSET, 0, 0, 0))
    body = struct.pack("<HIB", 4, 0, 8) + b"\1" + block + struct.pack("<I", 0x1234)
    info = struct.pack("<I", len(body)) + body
    assert Units(info, abbrev, b"", Work(1000)).unit(0).program == 0x1234


def line_table(vendor: bytes) -> bytes:
    """A table of version 5 with the files a.c and b.c; each has the field of a vendor, in a block."""
    start = bytes((1, 1, 1, 0xFB, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1))
    directories = b"\1" + DW_LNCT_PATH + bytes((DW_FORM_STRING,)) + b"\1/d\0"
    form = DW_LNCT_PATH + bytes((DW_FORM_STRING,)) + DW_LNCT_DIRECTORY_INDEX + bytes((DW_FORM_DATA1,))
    files = b"\3" + DW_LNCT_VENDOR + bytes((DW_FORM_BLOCK,)) + form
    files += b"\2" + vendor + b"a.c\0\0" + vendor + b"b.c\0\0"
    body = struct.pack("<HBBI", 5, 8, 0, len(start + directories + files)) + start + directories + files
    return struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("vendor", [b"\0", b"\x03abc", b"\x83\0abc", b"\x80\x01" + b"x" * 128])
def test_a_block_in_a_table_of_files(vendor: bytes) -> None:
    program = LineProgram(line_table(vendor), 0, "", lambda form, at: b"", Work(1000))
    assert program.paths == ["/d/a.c", "/d/b.c"]
