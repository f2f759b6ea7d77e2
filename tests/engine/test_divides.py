"""A quotient that is too large for the host's IDIV, too: exception 0 of the program (any other SIGFPE is the host's:
test_guards.py)."""

from __future__ import annotations

from machine.hardware import divides
from machine.hardware.cpu import DIVIDE_ERROR, RAX, RDX, RIP
from tests.engine.board import CODE, Board

IDIV = b"\xf7\xf9"  # idiv ecx


def test_an_exception_of_the_program(board: Board) -> None:
    """With RIP at the instruction, in the middle of a block, and registers as they were; again and again."""
    guard = divides.guard_divides(None)
    assert guard is not None
    before = guard.count
    for _ in range(100):
        board.exceptions.clear()
        board.start(b"\x90\x90" + IDIV + b"\x0f\x05", rax=0, rdx=0x8000_0000, rcx=0xFFFF_FFFF)
        assert board.exceptions == [(DIVIDE_ERROR, CODE + 2)]
        assert board.cpu.regs[RIP] == CODE + 2
        assert (board.cpu.regs[RAX], board.cpu.regs[RDX]) == (0, 0x8000_0000)
    assert guard.count == before + 100
    board.exceptions.clear()
    board.start(IDIV + b"\x0f\x05", rax=7, rdx=0, rcx=2)
    assert (board.cpu.regs[RAX], board.cpu.regs[RDX], board.exceptions) == (3, 1, [])
