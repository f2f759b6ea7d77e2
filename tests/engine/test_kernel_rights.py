"""LCALL pushes, and IRET and LRET pop, with the rights of ring 0 in the engine: what they can reach then."""

from __future__ import annotations

import struct

import pytest

from machine.hardware.gdt import CPU_ENTRY_AREA, USER_CS
from machine.hardware.paging import PF_PRESENT, PF_WRITE, RW, US, P
from tests.engine.board import BOOT, CODE, DATA, Board

LCALL = b"\x48\xff\x1f"
"""lcall *(%rdi), with a 64-bit offset: pushes CS and the next RIP."""
AFTER = b"\xf4"
OTHERS_PAGE = 0x60_0000
"""Of user space, but for the supervisor alone."""


def lcall(board: Board, stack: int) -> None:
    """LCALL to the HLT behind it."""
    board.map(DATA, content=struct.pack("<QH", CODE + len(LCALL), USER_CS))
    board.on_fault = lambda _address, _error: board.cpu.stop()
    board.start(LCALL + AFTER, rdi=DATA, rsp=stack)


def test_the_engine_pushes_with_the_rights_of_ring_0(board: Board) -> None:
    """If this fails, the engine has been mended, and gdt.py's reason is gone."""
    board.map(OTHERS_PAGE, bits=P | RW)
    lcall(board, OTHERS_PAGE + 0x100)
    assert board.get(OTHERS_PAGE + 0xF0, 16) == struct.pack("<QQ", CODE + len(LCALL), USER_CS)


@pytest.mark.parametrize("entry", range(9))
def test_nobody_writes_to_descriptors(board: Board, entry: int) -> None:
    table = bytes(board.ram.view[BOOT : BOOT + 0x80])
    stack = CPU_ENTRY_AREA + 8 * entry + 16
    lcall(board, stack)
    assert [(fault.address, fault.error_code) for fault in board.faults] == [(stack - 8, PF_WRITE | PF_PRESENT)]
    assert bytes(board.ram.view[BOOT : BOOT + 0x80]) == table
    assert not board.exceptions


def test_no_other_page_of_the_kernel_is_mapped(board: Board) -> None:
    """A process's root has its own half, and one entry more: its last table maps two frames."""
    root = board.tables.cr3 >> 3
    upper = [at for at in range(256, 512) if board.ram.words[root + at]]
    assert upper == [CPU_ENTRY_AREA >> 39 & 511]
    mapped, tables = [], [board.ram.words[root + upper[0]]]
    for level in (1, 2, 3):
        inner = [board.ram.words[(table & 0xF_FFFF_F000) + 8 * i >> 3] for table in tables for i in range(512)]
        tables = [entry for entry in inner if entry & P]
        if level == 3:
            mapped = tables
    assert [entry & 0xF_FFFF_F000 for entry in mapped] == [BOOT, BOOT + 0x1000]
    assert not any(entry & (US | RW) for entry in mapped)
